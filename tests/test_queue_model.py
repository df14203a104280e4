"""The queue against a plain list, with a loop that is stepped by hand."""

import asyncio
import heapq
import queue
import select

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from helpers import FULL
from test_queue import counts
from wakefd import LifoQueue, PriorityQueue, Queue, QueueShutDown
from wakefd._wakefd import turn_ended


class Model:
    """What is in there, and nobody waits."""

    def __init__(self, kind, maxsize):
        self.kind, self.maxsize = kind, maxsize
        self.items = []
        self.shut = False
        self.unfinished = 0

    def room(self):
        return max(self.maxsize - len(self.items), 0) if self.maxsize > 0 else 1 << 30

    def put(self, item):
        if self.shut:
            raise QueueShutDown
        if not self.room():
            raise queue.Full
        if self.kind is PriorityQueue:
            heapq.heappush(self.items, item)
        else:
            self.items.append(item)
        self.unfinished += 1

    def get(self):
        if not self.items:
            raise QueueShutDown if self.shut else queue.Empty
        if self.kind is PriorityQueue:
            return heapq.heappop(self.items)
        return self.items.pop(0 if self.kind is Queue else -1)

    def get_many(self, most):
        return [self.get() for _ in range(min(most, max(1, len(self.items))))]


class Wait:
    """A task: what it does to the queue is in the log at the very moment when it is done."""

    def __init__(self, machine, verb, argument=None):
        self.verb, self.argument = verb, argument
        self.cancelled = False
        self.in_line = False  # since the last rest
        self.task = machine.loop.create_task(self.run(machine.q, machine.log))

    async def run(self, q, log):
        try:
            if self.verb == "put":
                result = await q.async_put(self.argument)
            elif self.verb == "get":
                result = await q.async_get()
            elif self.verb == "get_many":
                result = await q.async_get_many(self.argument)
            elif self.verb == "next":
                result = await anext(self.argument)
            else:
                result = await q.async_join()
        except (QueueShutDown, StopAsyncIteration):
            result = QueueShutDown
        log.append((self, result))


class QueueMachine(RuleBasedStateMachine):
    @initialize(kind=st.sampled_from([Queue, LifoQueue, PriorityQueue]), maxsize=st.integers(-1, 4))
    def begin(self, kind, maxsize):
        self.q, self.model = kind(maxsize), Model(kind, maxsize)
        self.loop = asyncio.new_event_loop()
        self.log, self.waits = [], []
        self.iterators = [aiter(self.q), aiter(self.q)]
        self.iterators[0].at_once = True
        self.serial = 0
        self.barged = False
        self.exposed = False

    def teardown(self):
        for wait in self.waits:
            wait.task.cancel()
        self.turns()
        self.loop.close()

    # ---- both at once

    def item(self, rank):
        self.serial += 1
        return (rank, self.serial)

    def same(self, call, expected):
        """The same result, or the same exception; it."""
        try:
            wanted = expected()
        except (queue.Empty, queue.Full, QueueShutDown, ValueError) as error:
            with pytest.raises(type(error)):
                call()
            return error
        assert call() == wanted
        return wanted

    @rule(rank=st.integers(0, 5), how=st.sampled_from(["put_nowait", "timeout", "block"]))
    def put(self, rank, how):
        item = self.item(rank)
        call = {
            "put_nowait": lambda: self.q.put_nowait(item),
            "timeout": lambda: self.q.put(item, timeout=0),
            "block": lambda: self.q.put(item, False),
        }[how]
        self.same(call, lambda: self.model.put(item))
        self.barged = True

    @rule(ranks=st.lists(st.integers(0, 5), max_size=6))
    def put_many(self, ranks):
        items = [self.item(rank) for rank in ranks]
        try:
            self.q.put_many(items, timeout=0)
        except (queue.Full, QueueShutDown) as error:
            assert error.accepted < len(items) or not items
            refused = QueueShutDown if self.model.shut else queue.Full
            assert type(error) is refused
            items[error.accepted + 1 :] = []
            accepted = items[: error.accepted]
            if items:
                for item in accepted:
                    self.model.put(item)
                with pytest.raises(refused):
                    self.model.put(items[-1])
        else:
            for item in items:
                self.model.put(item)
        self.barged = True

    @rule(how=st.sampled_from(["get_nowait", "timeout", "block"]))
    def get(self, how):
        call = {
            "get_nowait": self.q.get_nowait,
            "timeout": lambda: self.q.get(timeout=0),
            "block": lambda: self.q.get(False),
        }[how]
        self.same(call, self.model.get)
        self.barged = True

    @rule(most=st.integers(0, 4), wait=st.booleans())
    def get_many(self, most, wait):
        if not most:
            with pytest.raises(ValueError, match="at least 1"):
                self.q.get_many_nowait(most)
        elif wait:
            self.same(lambda: self.q.get_many(most, timeout=0), lambda: self.model.get_many(most))
        elif self.model.items or self.model.shut:
            self.same(lambda: self.q.get_many_nowait(most), lambda: self.model.get_many(most))
        else:
            assert self.q.get_many_nowait(most) == []
        self.barged = True

    @rule()
    def task_done(self):
        if self.model.unfinished:
            self.model.unfinished -= 1
            self.q.task_done()
        else:
            with pytest.raises(ValueError, match="too many"):
                self.q.task_done()

    @rule(maxsize=st.integers(-1, 5))
    def set_maxsize(self, maxsize):
        self.q.maxsize = self.model.maxsize = maxsize

    @precondition(lambda self: self.serial > 12)
    @rule(immediate=st.booleans(), close=st.booleans())
    def shutdown(self, immediate, close):
        if close:
            self.q.close()
        else:
            self.q.shutdown(immediate)
        self.model.shut = True
        if immediate or close:
            self.model.unfinished = max(0, self.model.unfinished - len(self.model.items))
            self.model.items.clear()

    @rule()
    def expose(self):
        self.q.fileno()
        self.exposed = True

    # ---- tasks

    @rule(rank=st.integers(0, 5), run=st.booleans())
    def begin_to_put(self, rank, run):
        self.wait("put", self.item(rank), run)

    @rule(run=st.booleans())
    def begin_to_get(self, run):
        self.wait("get", None, run)

    @rule(most=st.integers(1, 4), run=st.booleans())
    def begin_to_get_many(self, most, run):
        self.wait("get_many", most, run)

    @rule(which=st.integers(0, 1), run=st.booleans())
    def begin_the_next_of_async_for(self, which, run):
        self.wait("next", self.iterators[which], run)

    @rule()
    def begin_to_join(self):
        self.wait("join", None, True)

    @rule(which=st.integers(0, 1), keep=st.integers(0, 2))
    def an_item_that_nobody_awaits(self, which, keep):
        """One turn of an `async for` that comes to nothing: the item goes back where it was."""
        turn_ended()
        nexts = [self.iterators[which].__anext__() for _ in range(keep + 1)]
        while nexts:
            it = nexts.pop()
            getattr(it, "close", int)()
            del it
        self.barged = True

    @precondition(lambda self: self.waits)
    @rule(data=st.data(), run=st.booleans())
    def cancel(self, data, run):
        wait = data.draw(st.sampled_from(self.waits))
        wait.cancelled |= wait.task.cancel()
        if run:
            self.rest()

    @rule()
    def let_the_loop_run(self):
        self.rest()

    def wait(self, verb, argument, run):
        self.waits.append(Wait(self, verb, argument))
        if run:
            self.rest()

    # ---- the loop

    def turns(self):
        """Until nothing goes on any more."""
        idle = 0
        while idle < 5:
            before = len(self.log), counts(self.q)
            self.loop.call_soon(self.loop.stop)
            self.loop.run_forever()
            idle = idle + 1 if (len(self.log), counts(self.q)) == before else 0

    def rest(self):
        in_line = [wait for wait in self.waits if wait.in_line]
        served = {"put": [], "get": []}
        self.turns()
        for wait, result in self.log:
            self.replay(wait, result)
            self.waits.remove(wait)
            if wait.in_line and wait.verb != "join":
                served["put" if wait.verb == "put" else "get"].append(in_line.index(wait))
        self.log.clear()
        if not self.barged:
            for order in served.values():
                assert order == sorted(order), "not served in order"
        for wait in list(self.waits):
            assert wait.task.done() is wait.cancelled
            if wait.cancelled:
                assert wait.task.cancelled()
                self.waits.remove(wait)
            wait.in_line = True
        self.barged = False
        verbs = [wait.verb for wait in self.waits]
        getting = sum(verb in ("get", "get_many", "next") for verb in verbs)
        putting = verbs.count("put")
        assert counts(self.q) == (getting, putting)
        model = self.model
        assert not (getting and (model.items or model.shut)), "LOST WAKE: beside an item"
        assert not (putting and (model.room() or model.shut)), "LOST WAKE: beside room"
        assert not ("join" in verbs and model.unfinished == 0), "LOST WAKE: all is done"

    def replay(self, wait, result):
        """What the task says that it did must be what the model does."""
        assert not wait.cancelled
        model, verb = self.model, wait.verb
        if verb == "join":
            assert result is None
        elif result is QueueShutDown:
            assert model.shut
            assert verb == "put" or not model.items
        elif verb == "put":
            model.put(wait.argument)
        elif verb == "get_many":
            assert result == model.get_many(wait.argument)
        else:
            assert result == model.get()

    # ---- what is seen

    @invariant()
    def looks_as_the_model_does(self):
        q, model = self.q, self.model
        assert q.qsize() == len(model.items)
        assert q.empty() is (not model.items)
        assert q.full() is (not model.room())
        assert q.maxsize == model.maxsize
        assert q.unfinished_tasks == model.unfinished
        assert q.is_shutdown is model.shut
        if self.exposed:
            assert bool(select.select([q], [], [], 0)[0]) is bool(model.items or model.shut)


QueueMachine.TestCase.settings = settings(
    max_examples=3000 if FULL else 100,
    stateful_step_count=50,
    deadline=None,
    derandomize=not FULL,
    database=None,
    suppress_health_check=list(HealthCheck),
)
TestTheQueueAgainstTheModel = QueueMachine.TestCase

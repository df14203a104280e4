"""Each kind of queue behaves as a plain model says, on a loop that is stepped by hand."""

import asyncio
import queue
from collections import deque
from itertools import count

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from helpers import FULL
from test_queue import counts
from wakefd import LifoQueue, PriorityQueue, Queue, QueueShutDown

SIZES = st.integers(-1, 5)
SOME = st.integers(1, 5)


class QueueMachine(RuleBasedStateMachine):
    kind = Queue

    def __init__(self):
        super().__init__()
        self.maxsize = 0
        self.q = self.kind(0)
        self.items = deque()
        self.unfinished = 0
        self.shut = False
        self.getters = deque()  # (task, its `max` or 0 for async_get), first in line first
        self.putters = deque()  # (task, its item)
        self.numbers = count()
        self.loop = asyncio.new_event_loop()

    def teardown(self):
        for task, _ in (*self.getters, *self.putters):
            task.cancel()
        self.step()
        self.loop.close()

    def step(self):
        """Run the loop for a few turns, so that every task that can go on does so."""
        for _ in range(6):
            self.loop.call_soon(self.loop.stop)
            self.loop.run_forever()

    # ---- the model ----

    @property
    def full(self):
        return 0 < self.maxsize <= len(self.items)

    def next(self):
        if self.kind is PriorityQueue:
            item = min(self.items)
            self.items.remove(item)
            return item
        return self.items.pop() if self.kind is LifoQueue else self.items.popleft()

    def add(self, item):
        self.items.append(item)
        self.unfinished += 1

    def run_and_check(self):
        """Run the loop, and check that each getter and putter ended as the model says."""
        self.step()
        while True:
            if self.getters and (self.items or self.shut):
                self.check_getter(*self.getters.popleft())
            elif self.putters and (self.shut or not self.full):
                task, item = self.putters.popleft()
                if self.shut:
                    with pytest.raises(QueueShutDown):
                        task.result()
                else:
                    assert task.result() is None
                    self.add(item)
            else:
                break

    def check_getter(self, task, most):
        if not self.items:
            with pytest.raises(QueueShutDown):
                task.result()
        elif most == 0:
            assert task.result() == self.next()
        else:
            items = [self.next() for _ in range(min(most, len(self.items)))]
            assert task.result() == items

    # ---- the operations ----

    @rule()
    def put(self):
        item = next(self.numbers)
        try:
            self.q.put_nowait(item)
        except queue.Full:
            assert self.full and not self.shut
        except QueueShutDown:
            assert self.shut
        else:
            assert not self.full and not self.shut
            self.add(item)
        self.run_and_check()

    @precondition(lambda self: not self.getters and not self.putters)
    @rule(many=SOME)
    def put_many(self, many):
        items = [next(self.numbers) for _ in range(many)]
        try:
            self.q.put_many(items, timeout=0)
        except (queue.Full, QueueShutDown) as error:
            assert self.shut or len(self.items) + many > self.maxsize > 0
            items = items[: error.accepted]
        for item in items:
            assert not self.full and not self.shut
            self.add(item)

    @rule()
    def get(self):
        try:
            item = self.q.get_nowait()
        except queue.Empty:
            assert not self.items and not self.shut
        except QueueShutDown:
            assert not self.items and self.shut
        else:
            assert item == self.next()
        self.run_and_check()

    @precondition(lambda self: not self.putters)
    @rule(most=SOME)
    def get_many(self, most):
        try:
            items = self.q.get_many_nowait(most)
        except QueueShutDown:
            assert not self.items and self.shut
        else:
            assert items == [self.next() for _ in range(min(most, len(self.items)))]
        self.run_and_check()

    @precondition(lambda self: not self.putters)
    @rule(most=st.integers(0, 3))
    def async_get(self, most):
        coroutine = self.q.async_get_many(most) if most else self.q.async_get()
        self.getters.append((self.loop.create_task(coroutine), most))
        self.run_and_check()

    @rule()
    def async_put(self):
        item = next(self.numbers)
        self.putters.append((self.loop.create_task(self.q.async_put(item)), item))
        self.run_and_check()

    @precondition(lambda self: self.getters)
    @rule(at=st.integers(0, 9), put_first=st.booleans())
    def cancel_a_getter(self, at, put_first):
        """Cancel a getter, which `put_first` may have woken just before."""
        if put_first:
            item = next(self.numbers)
            try:
                self.q.put_nowait(item)
            except QueueShutDown:
                pass
            else:
                self.add(item)
        at %= len(self.getters)
        task, _ = self.getters[at]
        task.cancel()
        del self.getters[at]
        self.run_and_check()
        assert task.cancelled()

    @precondition(lambda self: self.putters)
    @rule(at=st.integers(0, 9), get_first=st.booleans())
    def cancel_a_putter(self, at, get_first):
        if get_first:
            assert self.q.get_nowait() == self.next()
        at %= len(self.putters)
        task, _ = self.putters[at]
        task.cancel()
        del self.putters[at]
        self.run_and_check()
        assert task.cancelled()

    @rule(maxsize=SIZES)
    def set_maxsize(self, maxsize):
        self.q.maxsize = self.maxsize = maxsize
        self.run_and_check()

    @rule()
    def task_done(self):
        if self.unfinished:
            self.q.task_done()
            self.unfinished -= 1
        else:
            with pytest.raises(ValueError, match="too many"):
                self.q.task_done()

    @precondition(lambda self: next(self.numbers) > 30)
    @rule(immediate=st.booleans())
    def shutdown(self, immediate):
        self.q.shutdown(immediate)
        self.shut = True
        if immediate:
            self.unfinished = max(0, self.unfinished - len(self.items))
            self.items.clear()
        self.run_and_check()

    # ---- the invariant between operations ----

    @invariant()
    def queue_and_model_agree(self):
        q = self.q
        assert (q.qsize(), q.empty(), q.full()) == (len(self.items), not self.items, self.full)
        assert (q.unfinished_tasks, q.is_shutdown) == (self.unfinished, self.shut)
        assert counts(q) == (len(self.getters), len(self.putters))
        assert q._readable().is_set() == bool(self.items or self.shut)
        assert q._finished().is_set() == (self.unfinished == 0)


class LifoMachine(QueueMachine):
    kind = LifoQueue


class PriorityMachine(QueueMachine):
    kind = PriorityQueue


LIMITS = settings(
    max_examples=2000 if FULL else 50,
    stateful_step_count=60 if FULL else 40,
    deadline=None,
    suppress_health_check=list(HealthCheck),
)
for machine in (QueueMachine, LifoMachine, PriorityMachine):
    machine.TestCase.settings = LIMITS
TestQueue = QueueMachine.TestCase
TestLifoQueue = LifoMachine.TestCase
TestPriorityQueue = PriorityMachine.TestCase

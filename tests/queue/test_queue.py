"""A queue keeps its promises in threads and on every kind of loop."""

import asyncio
import gc
import os
import queue
import select
import signal
import threading
import time
import traceback
import warnings
import weakref
from contextlib import suppress
from functools import partial

import pytest

import kits
from helpers import PATIENCE, Thread, fds, forked, in_child, new_turn, reaped, stress, until
from wakefd import (
    IoEvent,
    LifoQueue,
    PriorityQueue,
    Queue,
    QueueShutDown,
    any_notified,
    wait_any,
)

KINDS = {"fifo": Queue, "lifo": LifoQueue, "priority": PriorityQueue}


@pytest.fixture(params=KINDS)
def kind(request):
    return KINDS[request.param]


@pytest.fixture
def q():
    return Queue()


def counts(q):
    """Return the numbers of getters and of putters in line, as the queue's repr tells them."""
    words = repr(q).split(",")[1].split()
    return int(words[0]), int(words[3])


async def getting(kit, q, count):
    async with kit.patient(f"{count} getters of {q}"):
        while counts(q)[0] != count:
            await kit.sleep(0.0005)


async def putting(kit, q, count):
    async with kit.patient(f"{count} putters of {q}"):
        while counts(q)[1] != count:
            await kit.sleep(0.0005)


# ---- threads ----


def test_each_kind_of_queue_gives_its_items_in_its_own_order(kind):
    q = kind()
    for item in (2, 3, 1):
        q.put(item)
    expected = {Queue: [2, 3, 1], LifoQueue: [1, 3, 2], PriorityQueue: [1, 2, 3]}[kind]
    assert [q.get() for _ in range(3)] == expected
    q.put_many((2, 3, 1))
    assert q.get_many(2) == expected[:2]
    assert q.get_many_nowait(9) == expected[2:]
    assert q.get_many_nowait(9) == []


def test_get_from_an_empty_queue_and_put_into_a_full_one_raise(kind):
    q = kind(2)
    assert q.empty() and not q.full() and q.qsize() == 0 and q.maxsize == 2
    for get in (q.get_nowait, lambda: q.get(False), lambda: q.get(timeout=0.01)):
        with pytest.raises(queue.Empty):
            get()
    with pytest.raises(queue.Empty):
        q.get_many(1, 0.01)
    q.put(1)
    q.put_nowait(2)
    assert q.full() and not q.empty() and q.qsize() == 2
    for put in (q.put_nowait, lambda x: q.put(x, False), lambda x: q.put(x, timeout=0.01)):
        with pytest.raises(queue.Full):
            put(3)
    assert q.qsize() == 2
    assert counts(q) == (0, 0)


def test_a_negative_max_or_timeout_raises_value_error(q):
    for call in (q.get_many, q.get_many_nowait):
        with pytest.raises(ValueError, match="negative"):
            call(-1)
    for call in (lambda: q.get(timeout=-1), lambda: q.get(timeout=float("nan"))):
        with pytest.raises(ValueError, match="timeout"):
            call()
    with pytest.raises(ValueError, match="timeout"):
        Queue(1).put_many([1, 2], timeout=-1)
    # The timeout is checked even if the call need not wait, as in the standard library.
    with pytest.raises(ValueError, match="timeout"):
        q.put(1, timeout=-1)
    q.put(1, False, timeout=-1)
    with pytest.raises(ValueError, match="timeout"):
        q.get(timeout=-1)
    assert q.get(False, timeout=-1) == 1


def test_get_waits_for_a_put(q):
    thread = Thread(q.get)
    until(lambda: counts(q) == (1, 0))
    q.put("item")
    assert thread.finish() == "item"
    assert counts(q) == (0, 0)


def test_put_waits_for_room():
    q = Queue(1)
    q.put(1)
    thread = Thread(q.put, 2)
    until(lambda: counts(q) == (0, 1))
    assert q.get() == 1
    thread.finish()
    assert q.get() == 2


def test_a_larger_maxsize_wakes_putters():
    q = Queue(1)
    q.put(0)
    threads = [Thread(q.put, 1), Thread(q.put, 2)]
    until(lambda: counts(q) == (0, 2))
    q.maxsize = 2
    until(lambda: counts(q) == (0, 1))
    q.maxsize = 0
    for thread in threads:
        thread.finish()
    assert q.get() == 0
    assert set(q.get_many(9)) == {1, 2}


def test_waiting_getters_are_served_in_order(q):
    served = []
    threads = []
    for n in range(3):
        threads.append(Thread(lambda n=n: served.append((n, q.get()))))
        until(lambda n=n: counts(q) == (n + 1, 0))
    for item in "abc":
        q.put(item)
        until(lambda item=item: len(served) == "abc".index(item) + 1)
    assert served == [(0, "a"), (1, "b"), (2, "c")]


def test_put_many_that_fails_tells_how_many_items_were_accepted():
    q = Queue(3)
    with pytest.raises(queue.Full) as caught:
        q.put_many(range(5), timeout=0.01)
    assert caught.value.accepted == 3
    assert q.get_many(9) == [0, 1, 2]
    thread = Thread(q.put_many, range(5))
    until(lambda: counts(q) == (0, 1))
    q.shutdown()
    with pytest.raises(QueueShutDown) as caught:
        thread.finish()
    assert caught.value.accepted == 3
    with pytest.raises(QueueShutDown) as caught:
        q.put_many([1])
    assert caught.value.accepted == 0


def test_put_many_waits_for_room_item_by_item():
    q = Queue(2)
    thread = Thread(q.put_many, range(10))
    assert [q.get(timeout=PATIENCE) for _ in range(10)] == list(range(10))
    thread.finish()


def test_put_many_of_an_iterable_that_raises_puts_nothing(q):
    def items():
        yield 1
        raise KeyError

    with pytest.raises(KeyError):
        q.put_many(items())
    assert q.empty()


def test_a_for_loop_ends_at_shutdown(q):
    q.put_many([1, 2, 3])
    thread = Thread(lambda: list(q))
    until(lambda: counts(q) == (1, 0))
    q.put(4)
    q.shutdown()
    assert thread.finish() == [1, 2, 3, 4]


def test_shutdown_refuses_puts_and_leaves_the_items_to_getters(kind):
    q = kind()
    q.put(1)
    q.shutdown()
    q.shutdown()
    assert q.is_shutdown
    for put in (q.put, q.put_nowait):
        with pytest.raises(QueueShutDown):
            put(2)
    assert q.get() == 1
    for get in (q.get, q.get_nowait, lambda: q.get_many(1), lambda: q.get_many_nowait(1)):
        with pytest.raises(QueueShutDown):
            get()


def test_shutdown_releases_all_getters_and_putters():
    empty, full = Queue(), Queue(1)
    full.put(0)
    threads = [Thread(empty.get) for _ in range(2)] + [Thread(full.put, 1) for _ in range(2)]
    until(lambda: counts(empty) == (2, 0) and counts(full) == (0, 2))
    empty.shutdown()
    full.shutdown()
    for thread in threads:
        with pytest.raises(QueueShutDown):
            thread.finish()
    assert full.get() == 0


def test_immediate_shutdown_discards_the_items(q):
    q.put_many([1, 2])
    assert q.get() == 1
    q.shutdown(immediate=True)
    assert q.empty() and q.unfinished_tasks == 1
    with pytest.raises(QueueShutDown):
        q.get()
    q.task_done()
    q.join()


def test_the_end_of_a_with_block_shuts_the_queue_down_immediately():
    with Queue() as q:
        q.put(1)
    assert q.is_shutdown and q.empty()


def test_join_returns_when_every_item_is_done_or_the_queue_is_closed(q):
    q.join()
    q.put_many([1, 2])
    assert q.unfinished_tasks == 2
    thread = Thread(q.join)
    for _ in range(2):
        time.sleep(0.01)
        assert thread.is_alive()
        q.get()
        q.task_done()
    thread.finish()
    with pytest.raises(ValueError, match="too many times"):
        q.task_done()
    q.put(3)
    thread = Thread(q.join)
    time.sleep(0.01)
    assert thread.is_alive()
    q.close()
    thread.finish()


def test_a_maxsize_of_zero_or_less_means_no_limit():
    for maxsize in (0, -1):
        q = Queue(maxsize)
        q.put_many(range(100))
        assert q.maxsize == maxsize and not q.full()


def test_a_queue_cannot_be_copied_or_pickled(q):
    import copy
    import pickle

    for call in (copy.copy, copy.deepcopy, pickle.dumps):
        with pytest.raises(TypeError, match="multiprocessing"):
            call(q)


def test_the_repr_tells_the_items_the_waiters_and_the_shutdown(q):
    assert repr(q).startswith("<wakefd.Queue 0 items, 0 getting and 0 putting at 0x")
    q.put(1)
    assert "Queue 1 item, 0" in repr(q)
    q.shutdown()
    assert "shut down" in repr(q)
    assert "<wakefd.LifoQueue 0 of 3 items, " in repr(LifoQueue(3))


def test_a_queue_is_generic_and_can_be_referenced_weakly(q):
    assert isinstance(Queue[int](3), Queue)
    assert weakref.ref(q)() is q


# ---- priority ----


class Odd:
    """An item whose comparison first calls a function of the test, which may raise."""

    def __init__(self, rank, act=None):
        self.rank, self.act = rank, act

    def __lt__(self, other):
        if self.act is not None:
            self.act()
        return self.rank < other.rank


def test_an_item_whose_comparison_raises_is_not_accepted():
    q = PriorityQueue()
    q.put_many([3, 1, 2])
    for put in (q.put, q.put_nowait):
        with pytest.raises(TypeError):
            put("x")
    with pytest.raises(TypeError):
        q.put_many([0, "x"])
    assert q.unfinished_tasks == 4
    assert [q.get() for _ in range(4)] == [0, 1, 2, 3]


class Interrupted:
    """An item whose comparisons raise the errors of a list, as if a signal arrived meanwhile."""

    def __init__(self, rank, errors):
        self.rank, self.errors = rank, errors

    def __lt__(self, other):
        if self.errors and (error := self.errors.pop(0)):
            raise error
        return self.rank < other.rank


def interrupted(count, *errors):
    """A queue of `count` items, and the errors that their next comparisons raise (None: none)."""
    armed = []
    q = PriorityQueue()
    q.put_many([Interrupted(n, armed) for n in range(count)])
    armed += errors
    return q, armed


@pytest.mark.parametrize("error", [KeyboardInterrupt, SystemExit, GeneratorExit])
@pytest.mark.parametrize("way", ["get_many", "get_many_nowait"])
def test_an_interrupt_in_a_comparison_is_not_swallowed_and_no_item_is_lost(error, way):
    for quiet in range(60):
        q, armed = interrupted(20, *[None] * quiet, error)
        with pytest.raises(error):
            getattr(q, way)(20)
        assert not armed
        assert q.qsize() == q.unfinished_tasks == 20
        assert [item.rank for item in q.get_many(20)] == list(range(20))


def test_an_interrupt_while_items_are_given_back_is_not_swallowed():
    for quiet in range(30):
        q, armed = interrupted(20, *[None] * 40, KeyboardInterrupt, *[None] * quiet, SystemExit)
        with pytest.raises((KeyboardInterrupt, SystemExit)):
            q.get_many(20)
        armed.clear()
        assert [item.rank for item in q.get_many(20)] == list(range(20))


def test_a_get_many_whose_comparisons_keep_raising_loses_no_item():
    q, armed = interrupted(20, *[None] * 40, *[KeyboardInterrupt] * 1000)
    with pytest.raises(KeyboardInterrupt):
        q.get_many(20)
    armed.clear()
    assert sorted(item.rank for item in q.get_many(20)) == list(range(20))


def test_getters_get_the_items_that_an_interrupted_get_many_gave_back():
    q, _ = interrupted(20, *[None] * 40, KeyboardInterrupt)
    with pytest.raises(KeyboardInterrupt):
        q.get_many(20)
    threads = [Thread(q.get) for _ in range(20)]
    assert sorted(thread.finish().rank for thread in threads) == list(range(20))


@pytest.mark.parametrize("error", [KeyboardInterrupt, SystemExit])
def test_an_interrupt_in_a_comparison_of_an_async_for_is_not_swallowed(error):
    q, armed = interrupted(20)
    got = []

    async def take():
        async for item in q:
            got.append(item.rank)
            if len(got) == 3:  # the iterator knows by now that it need not wait
                armed.append(error)
            if len(got) == 20:
                break

    with pytest.raises(error):
        asyncio.run(take())
    assert not armed
    assert got + [item.rank for item in q.get_many(20)] == list(range(20))


def test_a_comparison_that_raises_ends_get_many_early_and_the_next_call_raises():
    q, armed = interrupted(20, *[None] * 40, ValueError, ValueError)
    got = q.get_many(20)
    assert armed == [ValueError] and 0 < len(got) < 20
    with pytest.raises(ValueError):
        q.get_many(20)
    assert [item.rank for item in got + q.get_many(20)] == list(range(20))


def test_a_get_whose_comparison_raises_loses_no_item():
    q = PriorityQueue()
    q.put_many(items := [Odd(n) for n in range(5)])

    def fail():
        raise ZeroDivisionError

    for item in items:
        item.act = fail
    with pytest.raises(ZeroDivisionError):
        q.get()
    for item in items:
        item.act = None
    assert q.get_many(9) == items


def test_a_comparison_may_use_the_queue():
    q = PriorityQueue()
    todo = [Odd(7), Odd(0)]
    q.put_many([Odd(n) for n in (3, 1, 2)])
    q.put(Odd(0.5, lambda: q.put(todo.pop()) if todo else None))
    assert [q.get().rank for _ in range(6)] == [0, 0.5, 1, 2, 3, 7]


def test_a_put_with_a_slow_comparison_succeeds_beside_busy_threads():
    """Busy threads change the heap during each comparison, until they let the slow put finish."""
    q = PriorityQueue()
    q.put_many(Odd(n) for n in range(1, 100))
    stop = threading.Event()

    def busy():
        n = 1000
        while not stop.is_set():
            q.put(Odd(n := n + 1))
            q.get()

    threads = [Thread(busy) for _ in range(2)]
    Thread(q.put, slow := Odd(0, lambda: time.sleep(0.002))).finish()
    stop.set()
    for thread in threads:
        thread.finish()
    slow.act = None
    assert len(q.get_many(999)) == 100  # each busy thread took an item for each one that it put


def test_a_comparison_may_wait_for_a_thread_that_uses_the_queue():
    """Threads wait for a put that they have overtaken often, but not for ever: no deadlock."""
    q = PriorityQueue()
    q.put_many(Odd(n) for n in range(1, 100))
    turns = [0]
    stop = threading.Event()

    def busy():
        while not stop.is_set():
            q.put(Odd(1000))
            q.get()
            turns[0] += 1

    def wait_for_a_turn_of_busy():
        seen = turns[0]
        until(lambda: turns[0] > seen or stop.is_set())

    thread = Thread(busy)
    other = Thread(q.put, Odd(0, wait_for_a_turn_of_busy))
    until(lambda: turns[0] > 20)
    stop.set()
    thread.finish()
    other.finish()


def test_a_priority_queue_always_gives_its_least_item():
    import random

    chance = random.Random(5)
    q = PriorityQueue()
    inside = []
    for _ in range(3000):
        if chance.random() < 0.55:
            q.put(item := chance.randrange(100))
            inside.append(item)
        elif inside:
            inside.remove(least := min(inside))
            assert q.get() == least
    assert q.get_many(9999) == sorted(inside)


# ---- loops ----


def test_async_get_is_a_trio_checkpoint_even_if_an_item_arrives_as_it_lines_up():
    pytest.importorskip("trio")
    import trio.testing

    class PutsWhileLiningUp(Queue):
        def _place(self, putter):
            place = super()._place(putter)
            self.put(7)
            return place

    async def main():
        for get in ("async_get", "async_get_many", "async_peek"):
            with trio.testing.assert_checkpoints():
                await getattr(PutsWhileLiningUp(), get)(*[1] * get.endswith("many"))

    trio.run(main)


async def test_async_get_takes_an_item_or_waits_for_one(kit, q):
    await q.async_put(1)
    assert await q.async_get() == 1
    task = kit.spawn(q.async_get)
    await getting(kit, q, 1)
    Thread(q.put, 2).finish()
    assert await task.join() == 2
    assert counts(q) == (0, 0)


async def test_async_get_many_takes_at_most_max_items_or_waits_for_one(kit, q):
    q.put_many(range(5))
    assert await q.async_get_many(3) == [0, 1, 2]
    assert await q.async_get_many(3) == [3, 4]
    task = kit.spawn(q.async_get_many, 3)
    await getting(kit, q, 1)
    Thread(q.put_many, range(5)).finish()
    assert await task.join() == [0, 1, 2]
    with pytest.raises(ValueError, match="negative"):
        await q.async_get_many(-1)


async def test_async_put_waits_for_room(kit):
    q = Queue(1)
    q.put(1)
    task = kit.spawn(q.async_put, 2)
    await putting(kit, q, 1)
    assert q.get() == 1
    await task.join()
    assert q.get() == 2


async def test_async_for_yields_objects_of_any_kind_and_ends_at_shutdown(kit, q):
    async def consume():
        return [item async for item in q]

    items = [None, (1, 2), (), StopIteration(3), KeyError, ValueError("x"), q, 7]
    q.put_many(items)
    task = kit.spawn(consume)
    await getting(kit, q, 1)
    Thread(q.put_many, items).finish()
    await getting(kit, q, 1)
    q.shutdown()
    assert await task.join() == 2 * items


async def test_a_break_out_of_async_for_leaves_the_rest_in_the_queue(kit, q):
    q.put_many(range(10))
    for n in range(3):
        async for item in q:
            assert item == n
            break
    assert q.get_many(99) == list(range(3, 10))


async def test_an_awaitable_that_is_never_awaited_takes_no_item(aio, q):
    q.put_many(range(4))
    items = aiter(q)
    assert await anext(items) == 0
    new_turn()
    first, second = items.__anext__(), items.__anext__()
    assert q.qsize() == 3
    del first
    second.close()
    with pytest.raises(RuntimeError, match="again"):
        await second
    assert await anext(items) == 1
    ready = items.__anext__()
    del ready, items
    assert q.get_many(9) == [2, 3]


@pytest.mark.parametrize("wait", [False, True])
async def test_awaitables_of_one_iterator_are_independent(aio, q, wait):
    items = aiter(q)
    if not wait:
        q.put_many("abc")
    first = [asyncio.ensure_future(items.__anext__()) for _ in range(3)]
    await asyncio.sleep(0.01)
    if wait:
        q.put_many("abc")
    # A task that finds the time of the turn used up pauses, so another one may overtake it.
    assert sorted(await asyncio.gather(*first)) == ["a", "b", "c"]
    awaitable = items.__anext__()
    q.put(1)
    assert await awaitable == 1
    q.put(2)
    with pytest.raises(RuntimeError, match="again"):
        await awaitable
    assert await anext(items) == 2
    q.put(3)
    assert await anext(items, None) == 3


async def test_the_awaitable_of_async_for_can_be_stepped_like_a_coroutine(aio, q):
    """Each awaitable is stepped by hand with send(), throw(), close() and next()."""
    items = aiter(q)

    def begun():
        wait = items.__anext__().__await__()
        assert wait.send(None) is not None
        assert counts(q) == (1, 0)
        return wait

    wait = begun()
    with pytest.raises(ZeroDivisionError):
        wait.throw(ZeroDivisionError())
    assert counts(q) == (0, 0)
    with pytest.raises(RuntimeError, match="again"):
        wait.send(None)
    wait = begun()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # throw() with three arguments is deprecated
        with pytest.raises(KeyError, match="here"):
            wait.throw(KeyError, "here", None)
    wait = begun()
    wait.close()
    wait.close()
    assert counts(q) == (0, 0)
    wait = begun()
    del wait
    assert counts(q) == (0, 0)
    wait = items.__anext__()
    with pytest.raises(ZeroDivisionError):
        wait.throw(ZeroDivisionError())  # the wait has not begun
    for item in (None, (1, 2), StopIteration(3), ValueError(4)):
        q.put(item)
        new_turn()
        with pytest.raises(StopIteration) as caught:
            next(items.__anext__())
        assert caught.value.value is item
    q.shutdown()
    with pytest.raises(StopAsyncIteration):
        next(items.__anext__())


@pytest.mark.parametrize("begun", [False, True])
def test_an_iterator_that_is_an_item_of_its_own_queue_is_collected(begun):
    """The queue holds the awaitable, which holds the iterator, which holds the queue."""

    async def main():
        q = Queue()
        items = aiter(q)
        awaitable = items.__anext__()
        if begun:
            awaitable.send(None)
        q.put(awaitable)
        q.put(items)
        return weakref.ref(q)

    gone = asyncio.run(main())
    gc.collect()
    assert gone() is None


@pytest.mark.parametrize("unawaited", [0, 3])
async def test_awaitables_that_are_never_awaited_do_not_disturb_the_next_ones(aio, kind, unawaited):
    q = kind()
    q.put_many([7, 1, 5, 2])
    items = aiter(q)
    expected = sorted([7, 1, 5, 2]) if kind is PriorityQueue else [7, 1, 5, 2]
    order = expected if kind is not LifoQueue else expected[::-1]
    assert await anext(items) == order[0]
    new_turn()
    assert await anext(items) == order[1]  # the iterator reuses an earlier awaitable
    for _ in range(unawaited):
        items.__anext__()
        assert q.qsize() == 2, "the awaitable has taken an item before its first step"
    assert [await anext(items) for _ in range(2)] == order[2:]


async def test_a_cancelled_getter_leaves_the_line(kit, q):
    tasks = [kit.spawn(q.async_get) for _ in range(3)]
    await getting(kit, q, 3)
    tasks[1].cancel()
    assert await tasks[1].join() == kits.CANCELLED
    assert counts(q) == (2, 0)
    q.put_many("ab")
    assert sorted([await tasks[0].join(), await tasks[2].join()]) == ["a", "b"]


async def test_a_getter_that_is_woken_and_cancelled_passes_the_baton(kit, q):
    tasks = [kit.spawn(q.async_get) for _ in range(2)]
    await getting(kit, q, 2)
    q.put("item")  # wakes the first getter
    tasks[0].cancel()
    results = [await tasks[0].join(), None]
    if results[0] == "item":  # the first getter took the item before it was cancelled
        tasks[1].cancel()
    results[1] = await tasks[1].join()
    assert set(results) == {"item", kits.CANCELLED}
    assert q.empty() and counts(q) == (0, 0)


async def test_a_putter_that_is_woken_and_cancelled_passes_the_baton(kit):
    q = Queue(1)
    q.put(0)
    tasks = [kit.spawn(q.async_put, n) for n in (1, 2)]
    await putting(kit, q, 2)
    assert q.get() == 0
    tasks[0].cancel()
    cancelled = await tasks[0].join() == kits.CANCELLED
    if not cancelled:
        assert await q.async_get() == 1
    assert await q.async_get() == 2
    await tasks[1].join()
    assert q.empty() and counts(q) == (0, 0)


async def test_shutdown_releases_tasks_that_get_and_tasks_that_put(kit):
    empty, full = Queue(), Queue(1)
    full.put(0)
    tasks = [kit.spawn(empty.async_get), kit.spawn(empty.async_get_many, 9)]
    tasks.append(kit.spawn(full.async_put, 1))
    await getting(kit, empty, 2)
    await putting(kit, full, 1)
    empty.shutdown()
    full.shutdown()
    for task in tasks:
        with pytest.raises(QueueShutDown):
            await task.join()


async def test_async_join_waits_until_every_item_is_done(kit, q):
    await q.async_join()
    q.put(1)
    task = kit.spawn(q.async_join)
    await kit.sleep(0.01)
    assert not task.done()
    q.get()
    q.task_done()
    await task.join()


def test_async_get_without_an_event_loop_raises_runtime_error(q):
    coroutine = q.async_get()
    with pytest.raises(RuntimeError, match="no event loop"):
        coroutine.send(None)


# ---- wait_any, any_notified, and the descriptor for other libraries' selectors ----


def readable(q):
    return bool(select.select([q], [], [], 0)[0])


def test_fileno_is_readable_while_there_is_an_item_or_after_shutdown(kind):
    q = kind()
    q.put(1)
    assert q.fileno() == q.fileno() and readable(q)
    q.get()
    assert not readable(q)
    q.put_many([1, 2])
    assert readable(q)
    q.get()
    assert readable(q)
    q.get_many(9)
    assert not readable(q)
    q.shutdown()
    assert readable(q)


def test_a_dropped_queue_gives_its_descriptor_back():
    before = fds()
    q = Queue()
    q.fileno()
    assert fds() > before
    del q
    assert fds() == before


def test_wait_any_returns_the_queues_and_events_that_are_ready(q):
    other, event = Queue(), IoEvent()
    assert wait_any(q, other, event, timeout=0.01) == []
    other.put(1)
    assert wait_any(q, other, event) == [other]
    event.notify()
    assert wait_any(q, event, other, q) == [event, other]
    other.get()
    event.clear()
    thread = Thread(wait_any, q, other, event)
    time.sleep(0.01)
    q.put(1)
    assert thread.finish() == [q]
    assert q.qsize() == 1
    other.shutdown()
    assert wait_any(q, other) == [q, other]


async def test_any_notified_returns_a_queue_that_got_an_item(kit, q):
    event = IoEvent()
    task = kit.spawn(any_notified, event, q)
    await kit.sleep(0.005)
    Thread(q.put, 1).finish()
    assert await task.join() == [q]


# ---- fairness ----


async def eat(q):
    async for _ in q:
        pass


async def eat_one_by_one(q):
    with suppress(QueueShutDown):
        while True:
            await q.async_get()


async def eat_batches(q):
    with suppress(QueueShutDown):
        while True:
            await q.async_get_many(100)


async def feed(q):
    with suppress(QueueShutDown):
        while True:
            await q.async_put(None)


@pytest.mark.parametrize("how", [eat, eat_one_by_one, eat_batches, feed])
async def test_a_task_that_never_has_to_wait_leaves_the_loop_its_turns(loop_kit, how, q):
    if how is not feed:
        q.put_many(range(stress(200_000, 2_000_000)))
        q.shutdown()
    task = loop_kit.spawn(how, q)
    shares, before = [], time.thread_time()
    while not task.done() and len(shares) < 50:
        await loop_kit.turn()
        shares.append((now := time.thread_time()) - before)
        before = now
    q.close()
    await task.join()
    # The slowest quarter does not count: the first turn imports, and in some the collector runs.
    assert len(shares) > 5 and sorted(shares)[len(shares) * 3 // 4] < 0.005, shares


def test_slow_bodies_of_an_async_for_use_up_the_time_of_the_turn(q):
    """The clock is read more often when the bodies are slow."""

    async def main():
        q.put_many(range(1000))
        turns, n = 0, 0

        async def tick():
            nonlocal turns
            while True:
                turns += 1
                await asyncio.sleep(0)

        ticker = asyncio.create_task(tick())
        async for _ in q:
            n += 1
            time.sleep(0.002)
            if n == 50:
                break
        ticker.cancel()
        return turns

    assert asyncio.run(main()) > 20


# ---- signals and forks ----


@in_child
def test_ctrl_c_ends_a_blocked_get_and_takes_nothing():
    q = Queue()
    threading.Timer(0.1, os.kill, (os.getpid(), signal.SIGINT)).start()
    with pytest.raises(KeyboardInterrupt):
        q.get()
    assert counts(q) == (0, 0)
    q.put(1)
    assert q.get() == 1
    full = Queue(1)
    full.put(1)
    threading.Timer(0.1, os.kill, (os.getpid(), signal.SIGINT)).start()
    with pytest.raises(KeyboardInterrupt):
        full.put(2)
    assert full.get_many(9) == [1] and counts(full) == (0, 0)


@in_child
def test_a_signal_handler_may_put_the_item_that_its_own_thread_waits_for():
    q = Queue()
    signal.signal(signal.SIGALRM, lambda *_: q.put_nowait("item"))
    signal.setitimer(signal.ITIMER_REAL, 0.05)
    assert q.get(timeout=PATIENCE) == "item"


@in_child
def test_the_child_of_a_fork_has_the_items_and_none_of_the_waiters():
    q, full = Queue(), Queue(1)
    full.put("full")
    getters = [Thread(q.get) for _ in range(2)]
    putter = Thread(full.put, "more")
    until(lambda: counts(q) == (2, 0) and counts(full) == (0, 1))

    def child():
        thread = Thread(q.get)  # the parent's two getters are not in line before this one
        until(lambda: counts(q) == (1, 0))
        q.put(1)
        assert thread.finish() == 1
        assert full.get() == "full" and full.empty()
        full.put(2)

        async def main():
            task = asyncio.create_task(q.async_get())
            await asyncio.sleep(0)
            await q.async_put(2)
            return await task

        assert asyncio.run(main()) == 2

    forked(child)
    q.put_many("ab")
    assert {thread.finish() for thread in getters} == {"a", "b"}
    assert full.get() == "full"
    putter.finish()


def test_a_getter_whose_loop_was_closed_leaves_the_line(q):
    loop = asyncio.new_event_loop()
    task = loop.create_task(q.async_get())
    loop.run_until_complete(asyncio.sleep(0))
    assert counts(q) == (1, 0)
    loop.close()
    assert counts(q) == (0, 0)
    thread = Thread(q.get)
    until(lambda: counts(q) == (1, 0))
    q.put("item")
    assert thread.finish() == "item"
    task._log_destroy_pending = False


# ---- descriptors and memory ----


def test_an_idle_queue_has_no_descriptor():
    before = fds()
    queues = [Queue() for _ in range(10)]
    for q in queues:
        q.put(1)
        q.get()
    assert fds() == before


def test_a_queue_that_holds_itself_is_collected(kind):
    q = kind()
    q.put(q)
    gone = weakref.ref(q)
    del q
    gc.collect()
    assert gone() is None


def test_items_are_dropped_with_the_queue():
    class Item:
        pass

    q = Queue()
    q.put(item := Item())
    gone = weakref.ref(item)
    del item
    assert gone() is not None
    del q
    assert gone() is None


def test_the_destructor_of_an_item_may_put_an_item(q):
    class Item:
        def __del__(self):
            q.put_nowait("again")

    q.put(Item())
    q.get()
    gc.collect()
    assert q.get() == "again"


def test_threads_and_tasks_share_queues_and_lose_no_item(loop_kit):
    total = 4 * 500
    q, out = Queue(10), Queue()
    producers = [Thread(lambda: [q.put(n) for n in range(500)]) for _ in range(4)]

    async def consume():
        async for item in q:
            await out.async_put(item)

    consumers = [Thread(lambda: loop_kit.run(consume))]
    consumers += [Thread(lambda: [out.put(item) for item in q]) for _ in range(2)]
    got = [out.get(timeout=PATIENCE) for _ in range(total)]
    q.shutdown()
    for thread in producers + consumers:
        thread.finish()
    assert sorted(got) == sorted(4 * list(range(500)))


# ---- signals and forks while threads wait ----


@pytest.mark.parametrize("side", ["get", "put", "get_many", "put_many"])
@in_child
def test_a_wait_goes_on_in_the_child_when_a_signal_handler_forks(side):
    """In the child, the thread still stands in line, and a put or get of the child wakes it."""
    q = Queue(1)
    if side.startswith("put"):
        q.put("old")
    here, pids = threading.get_ident(), []

    def handler(*_):
        pids.append(os.fork())

    signal.signal(signal.SIGUSR1, handler)
    in_line = (1, 0) if side.startswith("get") else (0, 1)

    def serve():
        if side.startswith("get"):
            q.put("new")
        else:
            assert q.get() == "old"

    def interrupt():
        until(lambda: counts(q) == in_line)
        time.sleep(0.05)
        signal.pthread_kill(here, signal.SIGUSR1)
        until(lambda: pids)
        serve()

    def in_the_child():
        # The child has no other thread. Its SIGALRM handler starts this one.
        time.sleep(0.1)
        serve()

    signal.signal(signal.SIGALRM, lambda *_: Thread(in_the_child))
    thread = Thread(interrupt)
    os.register_at_fork(after_in_child=lambda: signal.setitimer(signal.ITIMER_REAL, 0.1))
    calls = {
        "get": lambda: q.get(timeout=PATIENCE / 2) == "new",
        "get_many": lambda: q.get_many(3, PATIENCE / 2) == ["new"],
        "put": lambda: q.put("x", timeout=PATIENCE / 2) is None,
        "put_many": lambda: q.put_many(["x"], timeout=PATIENCE / 2) is None,
    }
    began = time.monotonic()
    try:
        assert calls[side]()
        assert time.monotonic() - began < PATIENCE / 4, (
            "the waiter was not woken: it took the item when its timeout ended"
        )
    except BaseException:
        if pids == [0]:
            traceback.print_exc()
            os._exit(1)
        raise
    if pids == [0]:
        os._exit(0)
    thread.finish()
    reaped(pids[0])


@in_child
def test_an_item_put_in_the_child_of_a_fork_goes_to_a_getter_of_the_child():
    """The getters of the parent do not exist in the child."""
    q = Queue()
    threads = [Thread(q.get) for _ in range(3)]
    until(lambda: counts(q) == (3, 0))

    def child():
        own = [Thread(q.get) for _ in range(2)]
        time.sleep(0.1)
        q.put_many("ab")
        assert sorted(thread.finish() for thread in own) == ["a", "b"]
        q.shutdown()

    forked(child)
    q.put_many("xyz")
    assert sorted(thread.finish() for thread in threads) == ["x", "y", "z"]


@in_child
def test_a_getter_that_is_woken_and_interrupted_by_ctrl_c_loses_no_item():
    """A getter that is interrupted after it was woken passes the baton."""
    q = Queue()
    here = threading.get_ident()
    got = []
    other = Thread(lambda: got.extend(q))
    armed = False

    def interrupt(*_):
        nonlocal armed
        if armed:
            armed = False
            raise KeyboardInterrupt

    signal.signal(signal.SIGINT, interrupt)

    def heard():
        return not armed

    def both():
        until(lambda: counts(q) == (2, 0))
        q.put("item")
        while armed:  # a signal just before the system call is noticed only when the next one comes
            signal.pthread_kill(here, signal.SIGINT)
            time.sleep(0.01)

    for n in range(50):
        until(lambda: counts(q) == (1, 0))
        before = len(got)
        thread = None
        armed = True
        thread = Thread(both)
        with suppress(KeyboardInterrupt):
            got.append(q.get())
            until(heard)
        thread.finish()
        if len(got) == before:
            until(lambda before=before: len(got) == before + 1, f"{q} {n}")
    q.shutdown()
    other.finish()


# ---- failed allocations, and comparisons that use the queue ----


@in_child
def test_a_failed_allocation_in_get_many_loses_no_item():
    testcapi = pytest.importorskip("_testcapi")
    gc.disable()
    calls = {"get_many_nowait": [30], "get_many": [30], "_take_many": [30, True]}
    for kind in KINDS.values():
        for name, args, start in [(*call, start) for call in calls.items() for start in range(20)]:
            q = kind()
            q.put_many(range(40))
            call, got = partial(getattr(q, name), *args), None
            testcapi.set_nomemory(start, start + 1)
            try:
                got = call()
            except MemoryError:
                pass
            finally:
                testcapi.remove_mem_hooks()
            assert len(got or ()) + q.qsize() == 40, (kind, name, start)
            rest = (got or []) + q.get_many(40)
            assert rest == (list(range(40))[::-1] if kind is LifoQueue else list(range(40)))


async def test_a_comparison_may_use_the_queue_while_tasks_wait(kit):
    """Places in line are in use meanwhile, and the garbage collector visits them."""
    q = PriorityQueue(3)
    seen = []

    def act():
        gc.collect()
        seen.append((repr(q), q.full(), q.unfinished_tasks))
        new_turn()
        if len(seen) in (3, 6, 9, 12) and (items := q.get_many_nowait(1)):
            q.maxsize += 1
            q.put_nowait(Odd(items[0].rank))

    items = [Odd(n, act if n < 6 else None) for n in (5, 3, 9, 1, 7, 2, 8, 0, 6, 4)]
    tasks = [kit.spawn(q.async_put, item) for item in items]
    got = []
    async with kit.patient(f"{q}"):
        while len(got) < len(items):
            got += await q.async_get_many(2)
            await kit.turn()
    for task in tasks:
        await task.join()
    assert sorted(item.rank for item in got) == list(range(10))
    assert seen and q.empty() and counts(q) == (0, 0)


# ---- the repr of a waiting task ----


def full_queue():
    q = Queue(1)
    q.put(1)
    return q


@pytest.mark.parametrize(
    ("waits", "words"),
    [
        (
            lambda q: q.async_get(),
            "an item of <wakefd.Queue 0 items, 1 getting and 0 putting at 0x",
        ),
        (lambda q: q.async_get_many(2), "an item of <wakefd.Queue 0 items, 1 getting"),
        (
            lambda _: full_queue().async_put(2),
            "room in <wakefd.Queue 1 of 1 items, 0 getting and 1 putting at 0x",
        ),
        (lambda _: IoEvent().notified(), "<wakefd.IoEvent down, 1 waiting at 0x"),
        (
            lambda _: any_notified(*(IoEvent() for _ in range(7))),
            "the first of <wakefd.IoEvent down, 1 waiting at 0x",
        ),
    ],
)
def test_the_repr_of_a_waiting_task_names_the_object_of_the_wait(q, waits, words):
    async def main():
        task = asyncio.ensure_future(waits(q))
        await asyncio.sleep(0)
        waiter = task._fut_waiter
        assert repr(waiter) in repr(task)
        assert repr(waiter).startswith(f"<wakefd.Waiter waits for {words}")
        task.cancel()
        assert "ended" in repr(waiter)
        await asyncio.wait([task])
        return repr(waiter)

    asyncio.run(main())

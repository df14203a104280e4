"""What a queue promises, in threads and on every kind of loop."""

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
    """How many wait to get, and how many to put."""
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


def test_order(kind):
    q = kind()
    for item in (2, 3, 1):
        q.put(item)
    expected = {Queue: [2, 3, 1], LifoQueue: [1, 3, 2], PriorityQueue: [1, 2, 3]}[kind]
    assert [q.get() for _ in range(3)] == expected
    q.put_many((2, 3, 1))
    assert q.get_many(2) == expected[:2]
    assert q.get_many_nowait(9) == expected[2:]
    assert q.get_many_nowait(9) == []


def test_empty_and_full(kind):
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


def test_wrong_arguments(q):
    for call in (q.get_many, q.get_many_nowait):
        with pytest.raises(ValueError, match="negative"):
            call(-1)
    for call in (lambda: q.get(timeout=-1), lambda: q.get(timeout=float("nan"))):
        with pytest.raises(ValueError, match="timeout"):
            call()
    with pytest.raises(ValueError, match="timeout"):
        Queue(1).put_many([1, 2], timeout=-1)
    # Also if there is no need to wait, as in the standard library.
    with pytest.raises(ValueError, match="timeout"):
        q.put(1, timeout=-1)
    q.put(1, False, timeout=-1)
    with pytest.raises(ValueError, match="timeout"):
        q.get(timeout=-1)
    assert q.get(False, timeout=-1) == 1


def test_get_waits_for_a_put(q):
    thread = Thread(q.get)
    until(lambda: counts(q) == (1, 0))
    q.put("it")
    assert thread.finish() == "it"
    assert counts(q) == (0, 0)


def test_put_waits_for_room():
    q = Queue(1)
    q.put(1)
    thread = Thread(q.put, 2)
    until(lambda: counts(q) == (0, 1))
    assert q.get() == 1
    thread.finish()
    assert q.get() == 2


def test_more_room_lets_putters_in():
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


def test_put_many_tells_how_many_were_accepted():
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


def test_for_ends_at_shutdown(q):
    q.put_many([1, 2, 3])
    thread = Thread(lambda: list(q))
    until(lambda: counts(q) == (1, 0))
    q.put(4)
    q.shutdown()
    assert thread.finish() == [1, 2, 3, 4]


def test_shutdown(kind):
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


def test_shutdown_releases_everybody():
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


def test_immediate_shutdown_throws_away(q):
    q.put_many([1, 2])
    assert q.get() == 1
    q.shutdown(immediate=True)
    assert q.empty() and q.unfinished_tasks == 1
    with pytest.raises(QueueShutDown):
        q.get()
    q.task_done()
    q.join()


def test_close_is_an_immediate_shutdown():
    with Queue() as q:
        q.put(1)
    assert q.is_shutdown and q.empty()


def test_join(q):
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


def test_maxsize_can_be_anything():
    for maxsize in (0, -1):
        q = Queue(maxsize)
        q.put_many(range(100))
        assert q.maxsize == maxsize and not q.full()


def test_what_it_cannot(q):
    import copy
    import pickle

    for call in (copy.copy, copy.deepcopy, pickle.dumps):
        with pytest.raises(TypeError, match="multiprocessing"):
            call(q)


def test_repr(q):
    assert repr(q).startswith("<wakefd.Queue 0 items, 0 getting and 0 putting at 0x")
    q.put(1)
    assert "Queue 1 item, 0" in repr(q)
    q.shutdown()
    assert "shut down" in repr(q)
    assert "<wakefd.LifoQueue 0 of 3 items, " in repr(LifoQueue(3))


def test_generic_and_weakref(q):
    assert isinstance(Queue[int](3), Queue)
    assert weakref.ref(q)() is q


# ---- priority ----


class Odd:
    """Comparison raises, or does what it is told."""

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
    """Its comparisons raise now and then, as if a signal had come meanwhile."""

    def __init__(self, rank, errors):
        self.rank, self.errors = rank, errors

    def __lt__(self, other):
        if self.errors and (error := self.errors.pop(0)):
            raise error
        return self.rank < other.rank


def interrupted(count, *errors):
    """A queue of so many, whose comparisons will raise these, and None of them none."""
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


def test_an_interrupt_while_items_are_given_back_is_not_swallowed_either():
    for quiet in range(30):
        q, armed = interrupted(20, *[None] * 40, KeyboardInterrupt, *[None] * quiet, SystemExit)
        with pytest.raises((KeyboardInterrupt, SystemExit)):
            q.get_many(20)
        armed.clear()
        assert [item.rank for item in q.get_many(20)] == list(range(20))


def test_comparisons_that_are_interrupted_for_ever_lose_no_item():
    q, armed = interrupted(20, *[None] * 40, *[KeyboardInterrupt] * 1000)
    with pytest.raises(KeyboardInterrupt):
        q.get_many(20)
    armed.clear()
    assert sorted(item.rank for item in q.get_many(20)) == list(range(20))


def test_getters_get_what_an_interrupt_gave_back():
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
            if len(got) == 3:  # the first ones have found out that the others need not wait
                armed.append(error)
            if len(got) == 20:
                break

    with pytest.raises(error):
        asyncio.run(take())
    assert not armed
    assert got + [item.rank for item in q.get_many(20)] == list(range(20))


def test_an_exception_from_a_comparison_of_get_many_comes_again():
    q, armed = interrupted(20, *[None] * 40, ValueError, ValueError)
    got = q.get_many(20)
    assert armed == [ValueError] and 0 < len(got) < 20
    with pytest.raises(ValueError):
        q.get_many(20)
    assert [item.rank for item in got + q.get_many(20)] == list(range(20))


def test_a_comparison_that_raises_at_get_loses_nothing():
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


def test_a_slow_comparison_beside_busy_threads():
    """Its plan is out of date each time that it is made, until the others let it finish."""
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
    assert len(q.get_many(999)) in (99, 100)  # they may have taken it


def test_threads_that_a_comparison_waits_for():
    """They wait for it in turn, but not for ever."""
    q = PriorityQueue()
    q.put_many(Odd(n) for n in range(1, 100))
    turns = [0]
    stop = threading.Event()

    def busy():
        while not stop.is_set():
            q.put(Odd(1000))
            q.get()
            turns[0] += 1

    def wait_for_it():
        seen = turns[0]
        until(lambda: turns[0] > seen or stop.is_set())

    thread = Thread(busy)
    other = Thread(q.put, Odd(0, wait_for_it))
    until(lambda: turns[0] > 20)
    stop.set()
    thread.finish()
    other.finish()


def test_priorities_beside_heapq():
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


def test_on_trio_an_item_that_comes_at_the_last_moment_is_no_shortcut():
    pytest.importorskip("trio")
    import trio.testing

    class Sly(Queue):
        def _place(self, putter):
            place = super()._place(putter)
            self.put(7)
            return place

    async def main():
        for get in ("async_get", "async_get_many", "async_peek"):
            with trio.testing.assert_checkpoints():
                await getattr(Sly(), get)(*[1] * get.endswith("many"))

    trio.run(main)


async def test_async_put_and_get(kit, q):
    await q.async_put(1)
    assert await q.async_get() == 1
    task = kit.spawn(q.async_get)
    await getting(kit, q, 1)
    Thread(q.put, 2).finish()
    assert await task.join() == 2
    assert counts(q) == (0, 0)


async def test_async_get_many(kit, q):
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


async def test_async_for(kit, q):
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


async def test_a_break_leaves_the_rest_in(kit, q):
    q.put_many(range(10))
    for n in range(3):
        async for item in q:
            assert item == n
            break
    assert q.get_many(99) == list(range(3, 10))


async def test_an_item_that_nobody_awaits_stays_in(aio, q):
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
    # Whoever finds the turn's time used up lets the others go first.
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


async def test_a_wait_in_async_for_is_stepped_as_a_coroutine_is(aio, q):
    """By hand: what it yields, what it is thrown, how it ends."""
    items = aiter(q)

    def begun():
        it = items.__anext__().__await__()
        assert it.send(None) is not None
        assert counts(q) == (1, 0)
        return it

    it = begun()
    with pytest.raises(ZeroDivisionError):
        it.throw(ZeroDivisionError())
    assert counts(q) == (0, 0)
    with pytest.raises(RuntimeError, match="again"):
        it.send(None)
    it = begun()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the old way
        with pytest.raises(KeyError, match="here"):
            it.throw(KeyError, "here", None)
    it = begun()
    it.close()
    it.close()
    assert counts(q) == (0, 0)
    it = begun()
    del it
    assert counts(q) == (0, 0)
    it = items.__anext__()
    with pytest.raises(ZeroDivisionError):
        it.throw(ZeroDivisionError())  # before it has begun
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
def test_an_iterator_that_is_in_its_own_queue_is_collected(begun):
    """It holds the awaitable, which holds the iterator or its coroutine, which hold the queue."""

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


@pytest.mark.parametrize("item", [0, 3])
async def test_an_item_that_nobody_awaits_is_not_overwritten(aio, kind, item):
    q = kind()
    q.put_many([7, 1, 5, 2])
    items = aiter(q)
    expected = sorted([7, 1, 5, 2]) if kind is PriorityQueue else [7, 1, 5, 2]
    order = expected if kind is not LifoQueue else expected[::-1]
    assert await anext(items) == order[0]
    new_turn()
    assert await anext(items) == order[1]  # its awaitable is used again
    for _ in range(item):
        items.__anext__()
        assert q.qsize() == 2, "in limbo"
    assert [await anext(items) for _ in range(2)] == order[2:]


async def test_cancelled(kit, q):
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
    q.put("it")  # wakes the first
    tasks[0].cancel()
    results = [await tasks[0].join(), None]
    if results[0] == "it":  # it was quicker
        tasks[1].cancel()
    results[1] = await tasks[1].join()
    assert set(results) == {"it", kits.CANCELLED}
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


async def test_shutdown_releases_tasks(kit):
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


async def test_async_join(kit, q):
    await q.async_join()
    q.put(1)
    task = kit.spawn(q.async_join)
    await kit.sleep(0.01)
    assert not task.done()
    q.get()
    q.task_done()
    await task.join()


def test_no_loop(q):
    coroutine = q.async_get()
    with pytest.raises(RuntimeError, match="no event loop"):
        coroutine.send(None)


# ---- as one of several, and for selectors that are not ours ----


def readable(q):
    return bool(select.select([q], [], [], 0)[0])


def test_fileno_is_readable_while_there_is_something_to_get(kind):
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


def test_the_descriptor_goes_with_the_queue():
    before = fds()
    q = Queue()
    q.fileno()
    assert fds() > before
    del q
    assert fds() == before


def test_wait_any(q):
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


async def test_any_notified(kit, q):
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
async def test_others_on_the_loop_have_their_turn(loop_kit, how, q):
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
    # All but the first, which imports, and those in which the garbage collector ran.
    assert len(shares) > 5 and sorted(shares)[len(shares) * 3 // 4] < 0.005, shares


def test_slow_bodies_count(q):
    """The clock is looked at more often when they are slow."""

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
def test_a_signal_handler_puts_what_its_own_thread_waits_for():
    q = Queue()
    signal.signal(signal.SIGALRM, lambda *_: q.put_nowait("it"))
    signal.setitimer(signal.ITIMER_REAL, 0.05)
    assert q.get(timeout=PATIENCE) == "it"


@in_child
def test_the_child_of_a_fork_has_the_items_and_nobody_who_waits():
    q, full = Queue(), Queue(1)
    full.put("full")
    getters = [Thread(q.get) for _ in range(2)]
    putter = Thread(full.put, "more")
    until(lambda: counts(q) == (2, 0) and counts(full) == (0, 1))

    def child():
        thread = Thread(q.get)  # the parent's two are not in its way
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


def test_a_getter_whose_loop_was_closed_keeps_nobody_waiting(q):
    loop = asyncio.new_event_loop()
    task = loop.create_task(q.async_get())
    loop.run_until_complete(asyncio.sleep(0))
    assert counts(q) == (1, 0)
    loop.close()
    assert counts(q) == (0, 0)
    thread = Thread(q.get)
    until(lambda: counts(q) == (1, 0))
    q.put("it")
    assert thread.finish() == "it"
    task._log_destroy_pending = False


# ---- what it costs, and its end ----


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


def test_a_destructor_may_put(q):
    class Item:
        def __del__(self):
            q.put_nowait("again")

    q.put(Item())
    q.get()
    gc.collect()
    assert q.get() == "again"


def test_queues_of_threads_and_tasks_at_once(loop_kit):
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


# ---- signals and forks ----


@pytest.mark.parametrize("side", ["get", "put", "get_many", "put_many"])
@in_child
def test_a_signal_handler_forks_in_the_middle_of_a_wait(side):
    """The child goes on waiting, and whoever serves it there finds it in line."""
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
        # Its threads are gone; the handler of a second signal begins one.
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
        assert time.monotonic() - began < PATIENCE / 4, "not before its time was up"
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
def test_a_fork_with_waiters_elsewhere():
    """They do not exist in the child: what is put there is for its own."""
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
def test_ctrl_c_loses_no_item():
    """Whoever is interrupted between being woken and taking passes the baton."""
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
        q.put("it")
        while armed:  # one that falls just before the system call is seen after the next
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


# ---- the worst moments ----


@in_child
def test_no_memory_loses_no_item():
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
    """Places in line are in use meanwhile, and the collector looks at them."""
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


# ---- what a task that hangs says


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
def test_the_repr_of_a_task_names_what_it_waits_for(q, waits, words):
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

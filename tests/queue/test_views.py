"""The views of a queue have the names of janus and culsans, and raise their side's exceptions."""

import asyncio
import queue
import sys

import pytest

import wakefd
from helpers import Thread, program, until
from wakefd import compat

SYNC = (compat.SyncQueueEmpty, compat.SyncQueueFull, compat.SyncQueueShutDown)
ASYNC = (compat.AsyncQueueEmpty, compat.AsyncQueueFull, compat.AsyncQueueShutDown)


def test_the_exceptions_of_the_views_are_those_of_the_standard_library():
    assert (queue.Empty, queue.Full) == SYNC[:2]
    assert (asyncio.QueueEmpty, asyncio.QueueFull) == ASYNC[:2]
    assert SYNC[2] is wakefd.QueueShutDown
    if sys.version_info >= (3, 13):
        assert (queue.ShutDown, asyncio.QueueShutDown) == (SYNC[2], ASYNC[2])


@pytest.mark.parametrize(("view", "errors"), [("sync_q", SYNC), ("async_q", ASYNC)])
def test_each_view_raises_the_exceptions_of_its_side(view, errors):
    view = getattr(wakefd.Queue(1), view)
    empty, full, shut = errors
    for take in (view.get_nowait, view.peek_nowait):
        with pytest.raises(empty):
            take()
    view.put_nowait(1)
    with pytest.raises(full):
        view.put_nowait(2)
    assert view.peek_nowait() == view.get_nowait() == 1
    view.shutdown()
    for call in (view.get_nowait, view.peek_nowait, lambda: view.put_nowait(2)):
        with pytest.raises(shut):
            call()


@pytest.mark.parametrize("view", ["sync_q", "async_q"])
def test_a_view_shows_and_changes_the_state_of_its_queue(view):
    q = wakefd.Queue(2)
    view = getattr(q, view)
    assert view.wrapped is q and repr(q) in repr(view)
    view.put_nowait(1)
    q.put(2)
    assert (view.qsize(), view.full(), view.empty(), view.maxsize) == (2, True, False, 2)
    view.maxsize = 3
    assert q.maxsize == 3 and not view.full()
    assert view.peekable() and view.clearable()
    assert view.unfinished_tasks == 2
    view.task_done()
    view.clear()
    assert view.empty() and q.unfinished_tasks == 0
    with pytest.raises(ValueError):
        view.task_done()
    assert not (view.closed or view.is_shutdown or q.closed)
    view.close()
    assert view.closed and view.is_shutdown and q.closed


def test_attributes_that_only_the_queue_sets_cannot_be_assigned_on_a_view():
    for view in (wakefd.Queue().sync_q, wakefd.Queue().async_q):
        for name in ("unfinished_tasks", "is_shutdown", "closed", "no_such"):
            with pytest.raises(AttributeError):
                setattr(view, name, 1)


def test_the_methods_of_sync_q_wait_in_a_thread():
    q = wakefd.Queue(1)
    view = q.sync_q
    for call in (lambda: view.get(False), lambda: view.get(0), lambda: view.peek(timeout=0.01)):
        with pytest.raises(queue.Empty):
            call()
    view.put(1)
    for call in (lambda: view.put(2, block=0), lambda: view.put(2, timeout=0.01)):
        with pytest.raises(queue.Full):
            call()
    for call in (lambda: view.get(timeout=-1), lambda: view.put(2, timeout=-1)):
        with pytest.raises(ValueError):
            call()
    putter, joiner = Thread(view.put, 2), Thread(view.join)
    until(lambda: q.putting == 1)
    assert view.get() == 1
    putter.finish()
    assert view.get() == 2
    for _ in range(2):
        view.task_done()
    joiner.finish()
    getter = Thread(view.get)
    until(lambda: q.getting == 1)
    view.close()
    with pytest.raises(compat.SyncQueueShutDown):
        getter.finish()


def test_the_methods_of_async_q_wait_in_a_task(loop_kit):
    async def main():
        q = wakefd.Queue(1)
        view = q.async_q
        await view.put(1)
        task = loop_kit.spawn(view.put, 2)
        async with loop_kit.patient():
            while q.putting == 0:
                await loop_kit.sleep(0.001)
        assert await view.peek() == await view.get() == 1
        await task.join()
        assert await view.get() == 2
        for _ in range(2):
            view.task_done()
        await view.join()
        waiting = [loop_kit.spawn(wait) for wait in (view.get, view.peek)]
        async with loop_kit.patient():
            while q.getting != 2:
                await loop_kit.sleep(0.001)
        with pytest.raises(RuntimeError, match="non-closed"):
            await q.wait_closed()
        q.close()
        await q.wait_closed()
        for task in waiting:
            with pytest.raises(compat.AsyncQueueShutDown):
                await task.join()
        with pytest.raises(compat.AsyncQueueShutDown):
            await view.put(3)
        for closes in (q, view):
            await closes.aclose()

    loop_kit.run(main)


def test_a_peek_leaves_the_item_to_the_next_getter_in_line(loop_kit):
    async def main():
        q = wakefd.Queue()
        peeker = loop_kit.spawn(q.async_peek)
        async with loop_kit.patient():
            while q.getting == 0:
                await loop_kit.sleep(0.001)
        getter, late = Thread(q.get), Thread(q.peek)
        async with loop_kit.patient():
            while q.getting != 3:
                await loop_kit.sleep(0.001)
        q.put(1)
        assert await peeker.join() == getter.finish() == 1
        q.put(2)
        assert late.finish() in (1, 2)

    loop_kit.run(main)


@pytest.mark.parametrize(
    ("kind", "first"),
    [(wakefd.Queue, 2), (wakefd.LifoQueue, 3), (wakefd.PriorityQueue, 1)],
)
def test_peek_returns_the_item_that_get_takes_next(kind, first):
    q = kind()
    q.put_many([2, 1, 3])
    assert q.peek() == q.peek(False) == q.peek_nowait() == q.get() == first
    assert q.qsize() == 2 and q.unfinished_tasks == 3


def test_clear_makes_room_for_putters():
    q = wakefd.Queue(2)
    q.put_many([1, 2])
    putter = Thread(q.put_many, [3, 4])
    until(lambda: q.putting == 1)
    q.clear()
    putter.finish()
    assert q.get_many(9) == [3, 4] and q.unfinished_tasks == 2
    q.clear()


def test_wakefd_and_its_views_do_not_import_asyncio():
    # A program in a string, because `helpers` imports asyncio.
    program("import sys, wakefd; wakefd.Queue().async_q; assert 'asyncio' not in sys.modules")
    with pytest.raises(AttributeError, match="no_such"):
        _ = wakefd.no_such


def test_a_get_that_makes_no_room_wakes_no_putter():
    q = wakefd.Queue(2)
    q.put_many([1, 2])
    putter = Thread(q.put, 3)
    until(lambda: q.putting == 1)
    q.maxsize = 1
    assert q.get() == 1
    assert q.putting == 1
    assert q.get() == 2
    putter.finish()

"""`sync_q` and `async_q`: the names of janus and culsans."""

import asyncio
import queue

import pytest

from helpers import Thread, until
from test_queue import counts, getting
from wakefd import LifoQueue, PriorityQueue, Queue, QueueShutDown


@pytest.fixture
def q():
    return Queue(2)


def test_threads(q):
    s = q.sync_q
    assert (s.maxsize, s.qsize(), s.empty(), s.full(), s.closed) == (2, 0, True, False, False)
    s.put(1)
    s.put_nowait(2)
    assert (q.qsize(), s.full(), s.unfinished_tasks) == (2, True, 2)
    with pytest.raises(queue.Full):
        s.put(3, timeout=0.001)
    assert (s.peek(), s.get(), s.peek_nowait(), s.get_nowait()) == (1, 1, 2, 2)
    for get in (s.get_nowait, s.peek_nowait, lambda: s.peek(timeout=0.001), lambda: s.get(False)):
        with pytest.raises(queue.Empty):
            get()
    s.task_done()
    s.task_done()
    s.join()
    s.maxsize = 5
    assert q.maxsize == 5
    s.shutdown()
    assert s.is_shutdown and s.closed and q.closed
    with pytest.raises(QueueShutDown):
        s.get()


async def test_coroutines(kit, q):
    a = q.async_q
    await a.put(1)
    a.put_nowait(2)
    with pytest.raises(asyncio.QueueFull):
        a.put_nowait(3)
    assert (await a.peek(), await a.get(), a.peek_nowait(), a.get_nowait()) == (1, 1, 2, 2)
    for get in (a.get_nowait, a.peek_nowait):
        with pytest.raises(asyncio.QueueEmpty):
            get()
    a.task_done()
    a.task_done()
    await a.join()
    a.maxsize = 1
    assert a.maxsize == 1
    with pytest.raises(RuntimeError, match="after close"):
        await q.wait_closed()
    await q.aclose()
    await q.wait_closed()
    ended = getattr(asyncio, "QueueShutDown", QueueShutDown)
    for call in (a.get, a.peek, lambda: a.put(1)):
        with pytest.raises(ended):
            await call()
    for call in (a.get_nowait, a.peek_nowait, lambda: a.put_nowait(1)):
        with pytest.raises(ended):
            call()


async def test_one_side_and_the_other(kit, q):
    task = kit.spawn(q.async_q.get)
    await getting(kit, q, 1)
    Thread(q.sync_q.put, "it").finish()
    assert await task.join() == "it"


def test_peek_sees_what_get_would_take():
    for kind, first in ((Queue, 2), (LifoQueue, 1), (PriorityQueue, 0)):
        q = kind()
        q.put_many([2, 0, 1])
        assert q.peek() == q.peek_nowait() == first == q.get()


def test_who_peeks_takes_nothing_from_the_next_in_line():
    q = Queue()
    threads = [Thread(q.peek)]
    until(lambda: counts(q) == (1, 0))
    threads.append(Thread(q.get))
    until(lambda: counts(q) == (2, 0))
    q.put("it")
    assert [thread.finish() for thread in threads] == ["it", "it"]

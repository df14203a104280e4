"""Queues give the same results in their code for Pythons without a GIL, run here with one."""

import asyncio
import threading

import pytest

from helpers import Thread
from test_byte_queue import pusher
from wakefd import ByteQueue, LifoQueue, PriorityQueue, Queue, _wakefd

COUNT = 2000


@pytest.fixture(autouse=True)
def free_threaded():
    _wakefd.assume_free_threaded(True)
    yield
    _wakefd.assume_free_threaded(False)


@pytest.mark.parametrize("kind", [Queue, LifoQueue, PriorityQueue])
def test_get_many_takes_items_in_order(kind):
    q = kind()
    q.put_many(range(10))
    assert q.get_many_nowait(3) == ([9, 8, 7] if kind is LifoQueue else [0, 1, 2])
    assert sorted(q.get_many(100)) == (list(range(7)) if kind is LifoQueue else list(range(3, 10)))
    assert q.get_many_nowait(1) == []


def test_threads_that_get_many_lose_no_item():
    q = Queue(maxsize=10)
    got = []

    def take():
        while (batch := q.get_many(7)) != [None]:
            got.extend(item for item in batch if item is not None)
            if None in batch:
                return

    taker = Thread(take)
    putters = [Thread(lambda n=n: [q.put((n, k)) for k in range(COUNT)]) for n in range(3)]
    for putter in putters:
        putter.finish()
    q.put(None)
    taker.finish()
    assert sorted(got) == [(n, k) for n in range(3) for k in range(COUNT)]


def test_get_many_takes_messages_in_order():
    q = ByteQueue(1 << 16, 64)
    with pusher(q) as push:
        for n in range(10):
            push(b"%d" % n)
    assert q.get_many(4) == [b"0", b"1", b"2", b"3"]
    assert q.get_many_nowait(100) == [b"4", b"5", b"6", b"7", b"8", b"9"]


async def test_async_for_yields_every_item_that_a_thread_puts(aio):
    q = Queue()

    def put():
        q.put_many(range(COUNT))
        for n in range(COUNT):
            q.put(COUNT + n)
        q.shutdown()

    thread = threading.Thread(target=put)
    thread.start()
    async with asyncio.timeout(20):
        assert [item async for item in q] == list(range(2 * COUNT))
    thread.join()

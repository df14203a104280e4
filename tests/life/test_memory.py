"""Tests of memory: a lack of memory is MemoryError, and the memory of a burst is given back."""

import asyncio
import ctypes
import itertools
import resource
import sys

import pytest

import wakefd
from helpers import PATIENCE, in_child

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="RLIMIT_AS, /proc/self/statm")

MB = 1 << 20
KINDS = ["Queue", "LifoQueue", "PriorityQueue"]


def size():
    """The address space of this process, in bytes."""
    with open("/proc/self/statm") as statm:
        return int(statm.read().split()[0]) * resource.getpagesize()


def used():
    """The memory of this process, in bytes, without the free memory that malloc keeps."""
    ctypes.CDLL(None).malloc_trim(0)
    with open("/proc/self/statm") as statm:
        return int(statm.read().split()[1]) * resource.getpagesize()


class Limited:
    """A limit on the address space: `more` bytes above the size at the entry."""

    def __init__(self, more):
        self.more = more
        self.for_the_end = bytearray(4 * MB)

    def __enter__(self):
        self.before = resource.getrlimit(resource.RLIMIT_AS)
        resource.setrlimit(resource.RLIMIT_AS, (size() + self.more, self.before[1]))

    def __exit__(self, *_):
        self.for_the_end = None  # setrlimit needs some memory itself
        resource.setrlimit(resource.RLIMIT_AS, self.before)


def works(items):
    """Put items into the empty queue, and take them out again."""
    for n in range(5):
        items.put(n)
    assert sorted(items.get() for _ in range(5)) == list(range(5))


@pytest.mark.parametrize("kind", KINDS)
@in_child
def test_a_put_that_finds_no_memory_is_memoryerror_and_the_item_is_not_in(kind):
    items = getattr(wakefd, kind)()
    count = 0
    with Limited(48 * MB):
        with pytest.raises(MemoryError):
            while True:
                items.put(0)
                count += 1
        assert items.qsize() == items.unfinished_tasks == count > 100_000
        with pytest.raises(MemoryError):
            items.put_nowait(0)
        with pytest.raises(MemoryError):
            asyncio.run(items.async_put(0))
        assert items.qsize() == items.unfinished_tasks == count
        assert items.get() == 0
        items.put(0)  # the queue still has the memory of the item that was taken
        assert items.qsize() == count
    items.clear()
    works(items)


@in_child
def test_put_many_without_memory_says_how_many_items_went_in():
    items = wakefd.Queue()
    count = 1 << 21
    batch = [None] * count
    with Limited(24 * MB):  # enough for a copy of the batch, but not for the queue's memory as well
        with pytest.raises(MemoryError) as raised:
            items.put_many(batch)
        assert getattr(raised.value, "accepted", 0) == items.qsize() == items.unfinished_tasks
        assert items.qsize() in (0, count)
    with Limited(8 * MB), pytest.raises(MemoryError):
        items.put_many(batch)
    items.clear()
    works(items)


@in_child
def test_a_batch_that_finds_no_memory_leaves_the_items_in():
    items = wakefd.Queue()
    count = 1 << 21
    items.put_many([None] * count)
    with Limited(8 * MB):
        with pytest.raises(MemoryError):
            items.get_many(count)
        with pytest.raises(MemoryError):
            items.get_many_nowait(count)
    assert items.qsize() == count
    assert len(items.get_many(count)) == count
    works(items)


@in_child
def test_a_portal_that_finds_no_memory_does_not_accept_the_call():
    async def main():
        portal = wakefd.Portal()
        accepted, ran = 0, itertools.count()
        call = ran.__next__
        with pytest.raises(MemoryError), Limited(96 * MB):
            while True:  # the loop runs no calls in the meantime
                portal.call_soon(call)
                accepted += 1
        size = portal._inbox.size
        assert size > 100_000
        assert size - accepted in (0, 1)  # 1 if `accepted += 1` found no memory
        last = portal.submit(int)
        assert await asyncio.wait_for(wakefd.wrap_future(last), PATIENCE) == 0
        assert portal._inbox.size == 0
        assert next(ran) == size

    asyncio.run(main())


@in_child
def test_a_byte_queue_that_finds_no_memory_keeps_its_message():
    items = wakefd.ByteQueue(64 * MB, 32 * MB)
    with Limited(8 * MB), pytest.raises(MemoryError):
        wakefd.ByteQueue(64 * MB, 32 * MB)
    items.shutdown()
    with pytest.raises(wakefd.QueueShutDown):
        items.get_nowait()


@pytest.mark.parametrize("kind", KINDS)
@in_child
def test_the_memory_of_a_burst_is_given_back(kind):
    items = getattr(wakefd, kind)()
    count = 500_000
    works(items)
    before = used()
    for _ in range(2):
        items.put_many([0] * count) if kind != "PriorityQueue" else [
            items.put(0) for _ in range(count)
        ]
        assert used() - before > 7 * count
        for left in reversed(range(count)):
            items.get()
            if left == count // 8:
                assert used() - before < 5 * count
        assert used() - before < MB
        works(items)


@in_child
def test_the_memory_of_a_burst_taken_in_batches_is_given_back():
    items = wakefd.Queue()
    before = used()
    items.put_many([0] * 4_000_000)
    while items.qsize():
        items.get_many(1000)
    assert used() - before < MB
    works(items)

"""Who is woken for an item, or for room, and never runs, passes it on: the next one is woken.

A task waits on a loop, and somebody else after it. The loop stops, the task is woken, and then the
loop is closed, while the task is still referenced.
"""

import asyncio
import gc

import pytest

from helpers import PATIENCE, Thread, until
from kit_asyncio import ThreadedLoop, UnknownLoop, UnknownThreadedLoop
from test_byte_queue import pusher
from wakefd import ByteQueue, LifoQueue, PriorityQueue, Queue, QueueFull


def uvloops():
    return pytest.importorskip("uvloop").new_event_loop()


LOOPS = {
    "asyncio": asyncio.SelectorEventLoop,
    "future": UnknownLoop,
    "uvloop": uvloops,
    "thread": ThreadedLoop,
    "future-thread": UnknownThreadedLoop,
}


@pytest.fixture(params=LOOPS)
def loop(request):
    loop = LOOPS[request.param]()
    yield loop
    loop.close()


def waits(loop, awaitable):
    """A task on the loop, which stops when the task waits."""
    task = loop.create_task(awaitable)
    task._log_destroy_pending = False
    loop.run_until_complete(asyncio.sleep(0.01))
    assert not task.done()
    return task


def then(queue, call, *args):
    """Somebody in a thread, who has come to wait."""
    before = in_line(queue)
    thread = Thread(call, *args)  # at the end of a timeout it would look again
    until(lambda: in_line(queue) == before + 1)
    return thread


def in_line(queue):
    """How many there are in both lines."""
    return queue.getting + queue.putting


async def comes_in_a_loop(queue):
    async for _ in queue:
        break


GETS = {
    "get": lambda queue: queue.async_get(),
    "peek": lambda queue: queue.async_peek(),
    "get_many": lambda queue: queue.async_get_many(3),
    "async for": comes_in_a_loop,
    "view": lambda queue: queue.async_q.get(),
}


@pytest.mark.parametrize("gets", GETS.values(), ids=GETS)
@pytest.mark.parametrize("kind", [Queue, LifoQueue, PriorityQueue])
def test_an_item_beside_a_getter(loop, kind, gets):
    queue = kind()
    task = waits(loop, gets(queue))
    thread = then(queue, queue.get)
    queue.put(1)  # for the task
    loop.close()
    assert thread.finish() == 1
    del task


def test_many_items_and_getters(loop):
    queue = Queue()
    tasks = [waits(loop, queue.async_get()) for _ in range(5)]
    threads = [then(queue, queue.get) for _ in range(5)]
    queue.put_many(range(4))
    queue.put(4)
    loop.close()
    assert sorted(thread.finish() for thread in threads) == [*range(5)]
    assert in_line(queue) == 0
    del tasks


def test_room_beside_a_putter(loop):
    queue = Queue(1)
    queue.put(1)
    task = waits(loop, queue.async_put(2))
    threads = [then(queue, queue.put, 3), then(queue, queue.put_many, [4, 5])]
    assert queue.get() == 1  # there is room for the task
    loop.close()
    got = [queue.get(timeout=PATIENCE) for _ in range(3)]
    assert got == [3, 4, 5]
    for thread in threads:
        thread.finish()
    with pytest.raises(QueueFull):
        queue.put(6) or queue.put_nowait(7)
    del task


@pytest.mark.parametrize("grows", [True, False])
def test_room_that_comes_otherwise(loop, grows):
    queue = Queue(1)
    queue.put(1)
    task = waits(loop, queue.async_put(2))
    thread = then(queue, queue.put, 3)
    if grows:
        queue.maxsize = 2
    else:
        queue.clear()
    loop.close()
    thread.finish()
    del task


def test_a_task_of_another_loop_is_the_next(loop):
    queue, there = Queue(), []
    task = waits(loop, queue.async_get())

    async def main():
        async with asyncio.timeout(PATIENCE):
            there.append(await queue.async_get())

    thread = Thread(asyncio.run, main())
    until(lambda: in_line(queue) == 2)
    queue.put(1)
    loop.close()
    thread.finish()
    assert there == [1]
    del task


def test_who_has_not_been_woken_leaves_the_line(loop):
    queue = Queue()
    tasks = [waits(loop, queue.async_get()) for _ in range(3)]
    assert in_line(queue) == 3
    loop.close()
    assert in_line(queue) == 0
    thread = then(queue, queue.get)
    queue.put(1)
    assert thread.finish() == 1
    del tasks
    gc.collect()


def test_the_loop_stops_between_the_wake_up_and_the_step(loop):
    """Where a future stands between the two."""
    queue = Queue()
    task = waits(loop, queue.async_get())
    thread = then(queue, queue.get)
    queue.put(1)
    for _ in range(3):
        loop.call_soon(loop.stop)  # a turn of the loop
        loop.run_forever()
    loop.close()
    if task.done():
        queue.put(1)
    assert thread.finish() == 1


def test_cancelled_after_the_loop_has_been_closed(loop):
    """And collected: that passes no second baton."""
    queue = Queue()
    task = waits(loop, queue.async_get())
    threads = [then(queue, queue.get) for _ in range(2)]
    queue.put(1)
    loop.close()
    until(lambda: not all(thread.is_alive() for thread in threads))
    with pytest.raises(RuntimeError, match="closed"):
        task.cancel()
    del task
    gc.collect()
    queue.put(2)
    assert sorted(thread.finish() for thread in threads) == [1, 2]


def test_dropped_with_its_loop(loop):
    """A coroutine that is thrown away has passed the baton as ever."""
    queue = Queue()
    task = waits(loop, queue.async_get())
    thread = then(queue, queue.get)
    queue.put(1)
    coroutine = task.get_coro()
    del task
    coroutine.close()
    assert thread.finish() == 1


def test_a_coroutine_that_is_stepped_by_hand_and_thrown_away(loop):
    queue, threads = Queue(), []

    async def main():
        coroutine = queue.async_get()
        coroutine.send(None)
        threads.append(then(queue, queue.get))
        queue.put(1)

    loop.run_until_complete(main())
    gc.collect()
    assert threads[0].finish() == 1


def test_a_place_that_is_thrown_away():
    queue = Queue()
    place = queue._place(False)
    assert place.line_up()
    thread = then(queue, queue.get)
    queue.put(1)
    del place
    assert thread.finish() == 1


@pytest.mark.parametrize("many", [True, False])
def test_messages_beside_a_getter_of_bytes(loop, many):
    """Nobody is woken for one message: all who wait are, as the event stays up."""
    queue = ByteQueue(4096, 64)
    task = waits(loop, queue.async_get_many(3) if many else queue.async_get())
    thread = Thread(queue.get)
    until(lambda: "2 waiting" in repr(queue._readable()))
    with pusher(queue) as push:
        push(b"1")
    loop.close()
    assert thread.finish() == b"1"
    del task


def test_threads_and_loops_that_end_at_full_speed(loop):
    """Whoever is left gets all there is."""
    queue, got = Queue(), []

    def get():
        while (item := queue.get()) is not None:
            got.append(item)

    def put():
        for n in range(500):
            queue.put(n)

    loop.close()
    threads = [Thread(get) for _ in range(2)]
    producer = Thread(put)
    kept = []
    kind = type(loop)
    for _ in range(20):
        one = kind()
        tasks = [one.create_task(queue.async_peek()) for _ in range(3)]
        for task in tasks:
            task._log_destroy_pending = False
        one.run_until_complete(asyncio.sleep(0))
        one.close()
        kept += tasks
    producer.finish()
    for _ in threads:
        queue.put(None)
    for thread in threads:
        thread.finish()
    assert sorted(got) == [*range(500)]
    del kept
    gc.collect()

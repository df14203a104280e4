"""A waiter that is woken and never runs again passes its baton to the next waiter in line.

A task waits on a loop, and another waiter stands in line behind the task. The loop stops, the task
is woken, and then the loop is closed, while the task is still referenced.
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


def task_in_line(loop, awaitable):
    """Start a task on the loop, and run the loop until the task waits."""
    task = loop.create_task(awaitable)
    task._log_destroy_pending = False
    loop.run_until_complete(asyncio.sleep(0.01))
    assert not task.done()
    return task


def thread_in_line(queue, call, *args):
    """Start a thread that calls, and return when it stands in line.

    A call with a timeout would find the item at the end of its time, even if nothing woke it.
    """
    before = in_line(queue)
    thread = Thread(call, *args)
    until(lambda: in_line(queue) == before + 1)
    return thread


def in_line(queue):
    """Return the number of getters and putters in line."""
    return queue.getting + queue.putting


async def get_in_async_for(queue):
    async for _ in queue:
        break


GETS = {
    "get": lambda queue: queue.async_get(),
    "peek": lambda queue: queue.async_peek(),
    "get_many": lambda queue: queue.async_get_many(3),
    "async for": get_in_async_for,
    "view": lambda queue: queue.async_q.get(),
}


@pytest.mark.parametrize("gets", GETS.values(), ids=GETS)
@pytest.mark.parametrize("kind", [Queue, LifoQueue, PriorityQueue])
def test_an_item_for_a_getter_whose_loop_closes_goes_to_the_next_getter(loop, kind, gets):
    queue = kind()
    task = task_in_line(loop, gets(queue))
    thread = thread_in_line(queue, queue.get)
    queue.put(1)  # wakes the task
    loop.close()
    assert thread.finish() == 1
    del task


def test_items_for_several_getters_whose_loop_closes_go_to_the_next_getters(loop):
    queue = Queue()
    tasks = [task_in_line(loop, queue.async_get()) for _ in range(5)]
    threads = [thread_in_line(queue, queue.get) for _ in range(5)]
    queue.put_many(range(4))
    queue.put(4)
    loop.close()
    assert sorted(thread.finish() for thread in threads) == [*range(5)]
    assert in_line(queue) == 0
    del tasks


def test_room_for_a_putter_whose_loop_closes_goes_to_the_next_putters(loop):
    queue = Queue(1)
    queue.put(1)
    task = task_in_line(loop, queue.async_put(2))
    threads = [thread_in_line(queue, queue.put, 3), thread_in_line(queue, queue.put_many, [4, 5])]
    assert queue.get() == 1  # makes room, and wakes the task
    loop.close()
    got = [queue.get(timeout=PATIENCE) for _ in range(3)]
    assert got == [3, 4, 5]
    for thread in threads:
        thread.finish()
    with pytest.raises(QueueFull):
        queue.put(6) or queue.put_nowait(7)
    del task


@pytest.mark.parametrize("grows", [True, False])
def test_room_that_maxsize_or_clear_makes_goes_to_the_next_putter(loop, grows):
    queue = Queue(1)
    queue.put(1)
    task = task_in_line(loop, queue.async_put(2))
    thread = thread_in_line(queue, queue.put, 3)
    if grows:
        queue.maxsize = 2
    else:
        queue.clear()
    loop.close()
    thread.finish()
    del task


def test_an_item_for_a_getter_whose_loop_closes_goes_to_a_task_of_another_loop(loop):
    queue, there = Queue(), []
    task = task_in_line(loop, queue.async_get())

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


def test_getters_that_were_not_woken_leave_the_line_when_their_loop_closes(loop):
    queue = Queue()
    tasks = [task_in_line(loop, queue.async_get()) for _ in range(3)]
    assert in_line(queue) == 3
    loop.close()
    assert in_line(queue) == 0
    thread = thread_in_line(queue, queue.get)
    queue.put(1)
    assert thread.finish() == 1
    del tasks
    gc.collect()


def test_a_loop_closed_between_a_wake_up_and_the_tasks_step_passes_the_baton(loop):
    """On some loops, a future stands between the wake-up and the step of the task."""
    queue = Queue()
    task = task_in_line(loop, queue.async_get())
    thread = thread_in_line(queue, queue.get)
    queue.put(1)
    for _ in range(3):
        loop.call_soon(loop.stop)  # one turn of the loop
        loop.run_forever()
    loop.close()
    if task.done():
        queue.put(1)
    assert thread.finish() == 1


def test_a_task_cancelled_after_its_loop_was_closed_passes_no_second_baton(loop):
    """The end of the loop passes the baton; cancelling and collecting the task pass no other."""
    queue = Queue()
    task = task_in_line(loop, queue.async_get())
    threads = [thread_in_line(queue, queue.get) for _ in range(2)]
    queue.put(1)
    loop.close()
    until(lambda: not all(thread.is_alive() for thread in threads))
    with pytest.raises(RuntimeError, match="closed"):
        task.cancel()
    del task
    gc.collect()
    queue.put(2)
    assert sorted(thread.finish() for thread in threads) == [1, 2]


def test_a_coroutine_closed_after_its_wake_up_passes_the_baton(loop):
    queue = Queue()
    task = task_in_line(loop, queue.async_get())
    thread = thread_in_line(queue, queue.get)
    queue.put(1)
    coroutine = task.get_coro()
    del task
    coroutine.close()
    assert thread.finish() == 1


def test_a_coroutine_stepped_by_hand_and_dropped_passes_the_baton(loop):
    queue, threads = Queue(), []

    async def main():
        coroutine = queue.async_get()
        coroutine.send(None)
        threads.append(thread_in_line(queue, queue.get))
        queue.put(1)

    loop.run_until_complete(main())
    gc.collect()
    assert threads[0].finish() == 1


def test_a_dropped_place_passes_the_baton():
    queue = Queue()
    place = queue._place(False)
    assert place.line_up()
    thread = thread_in_line(queue, queue.get)
    queue.put(1)
    del place
    assert thread.finish() == 1


@pytest.mark.parametrize("many", [True, False])
def test_a_message_for_a_task_whose_loop_closes_goes_to_a_waiting_thread(loop, many):
    """A byte queue has no baton: its event stays up while a message is inside, for all waiters."""
    queue = ByteQueue(4096, 64)
    task = task_in_line(loop, queue.async_get_many(3) if many else queue.async_get())
    thread = Thread(queue.get)
    until(lambda: "2 waiting" in repr(queue._readable()))
    with pusher(queue) as push:
        push(b"1")
    loop.close()
    assert thread.finish() == b"1"
    del task


def test_threads_get_every_item_while_loops_with_waiting_tasks_are_closed(loop):
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

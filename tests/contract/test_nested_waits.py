"""Tests of waiters that run a nested loop, that is, a loop inside the loop that runs them.

The waiters that one dispatch releases with such a waiter are called in the nested loop. The nested
loops here are nest_asyncio's; the files of Tk, Qt and Twisted have those of their frameworks.
QtAsyncio and qasync allow a loop inside a callback, but not inside a task.
"""

import asyncio

import pytest

from helpers import Thread, in_child, readable
from test_portal_nested import KINDS, Nest
from wakefd import IoEvent, Queue, any_notified
from wakefd._loops import asyncio as _asyncio


@pytest.fixture(params=[name for name, kind in KINDS.items() if isinstance(kind, Nest)])
def name(request):
    return request.param


async def until_async(condition):
    while not condition():
        await asyncio.sleep(0.001)


def together(*events):
    """Notify all events from a thread, before the loop dispatches."""
    Thread(lambda: [event.notify() for event in events]).finish()


@in_child
def test_a_waiter_released_together_with_one_that_runs_a_nested_loop_does_not_hang(name):
    """The second waiter hung for ever."""
    nested = KINDS[name].nested

    async def released(*events):
        seen = []

        async def first():
            await events[0].notified()
            nested(lambda: "second" in seen)
            seen.append("first")

        async def second():
            await any_notified(events[1], IoEvent())
            seen.append("second")

        tasks = [asyncio.ensure_future(first()), asyncio.ensure_future(second())]
        await asyncio.sleep(0.001)
        together(*events)
        await asyncio.gather(*tasks)
        assert seen == ["second", "first"]

    async def main():
        await released(*[IoEvent()] * 2)
        await released(IoEvent(), IoEvent())

    KINDS[name].run(main)


@in_child
def test_many_waiters_may_each_run_a_nested_loop(name):
    nested, seen = KINDS[name].nested, []
    events = [IoEvent() for _ in range(6)]

    async def wait(depth):
        await events[depth].notified()
        if depth < 5:
            nested(lambda: depth + 1 in seen)
        seen.append(depth)

    async def main():
        tasks = [asyncio.ensure_future(wait(depth)) for depth in range(6)]
        await asyncio.sleep(0.001)
        together(*events)
        await until_async(lambda: len(seen) == 6)
        await asyncio.gather(*tasks)

    KINDS[name].run(main)
    assert seen == [5, 4, 3, 2, 1, 0]


@in_child
def test_waiters_released_in_a_nested_loop_keep_their_order(name):
    """Waiters are called in the order of their release, and each one once."""
    nested, seen, event, later = KINDS[name].nested, [], IoEvent(), IoEvent()

    async def wait(event, number):
        await event.notified()
        seen.append(number)

    async def first():
        await event.notified()
        seen.append(0)
        thread = Thread(later.notify)
        nested(lambda: 6 in seen)
        thread.finish()

    async def main():
        tasks = [asyncio.ensure_future(first())]
        tasks += [asyncio.ensure_future(wait(event, n)) for n in range(1, 6)]
        tasks += [asyncio.ensure_future(wait(later, 6))]
        await asyncio.sleep(0.001)
        together(event)
        await asyncio.gather(*tasks)

    KINDS[name].run(main)
    assert seen == [0, 1, 2, 3, 4, 5, 6]


@in_child
def test_a_released_waiter_can_be_cancelled_before_the_nested_loop_calls_it(name):
    nested, seen, event = KINDS[name].nested, [], IoEvent()

    async def first():
        await event.notified()
        tasks[1].cancel()
        nested(tasks[1].done)
        seen.append("first")

    async def second():
        try:
            await event.notified()
        finally:
            seen.append("second")

    tasks = []

    async def main():
        tasks.extend(map(asyncio.ensure_future, (first(), second())))
        await asyncio.sleep(0.001)
        together(event)
        await asyncio.wait(tasks)
        assert tasks[1].cancelled()

    KINDS[name].run(main)
    assert seen == ["second", "first"]


@in_child
def test_getters_and_putters_of_a_queue_are_called_in_the_nested_loop(name):
    """Getters and putters of a queue are called in the nested loop, as waiters of an event are."""
    nested, seen, queue, full = KINDS[name].nested, [], Queue(), Queue(1)

    async def get(number):
        seen.append(await queue.async_get())
        if number == 0:
            nested(lambda: {"b", "c", "room"} <= {*seen})
            seen.append("first")

    async def put():
        await full.async_put(2)
        seen.append("room")

    def work():
        queue.put_many("abc")
        full.get()

    async def main():
        full.put(1)
        tasks = [asyncio.ensure_future(get(n)) for n in range(3)]
        tasks.append(asyncio.ensure_future(put()))
        await asyncio.sleep(0.001)
        Thread(work).finish()
        await asyncio.gather(*tasks)

    KINDS[name].run(main)
    assert seen == ["a", "b", "c", "room", "first"]


@in_child
def test_the_hub_is_not_left_readable_after_a_nested_loop(name):
    nested, event, turns = KINDS[name].nested, IoEvent(), []

    async def wait(number):
        await event.notified()
        if number == 0:
            nested(lambda: len(turns) == 3)
        turns.append(number)

    async def main():
        tasks = [asyncio.ensure_future(wait(n)) for n in range(4)]
        await asyncio.sleep(0.001)
        together(event)
        await asyncio.gather(*tasks)
        await asyncio.sleep(0.01)
        hub = _asyncio.hub(asyncio.get_running_loop())
        assert not readable(hub.fileno())

    KINDS[name].run(main)
    assert turns == [1, 2, 3, 0]

"""The contract: the promises that hold on every event loop.

A test with the fixture `kit` runs on every loop, and one with `aio` on every asyncio loop.
"""

import asyncio
import contextvars
import os
import threading
import time
from pathlib import Path

import pytest

import kits
import seccomp
from helpers import PATIENCE, Thread, fds, in_child, kill, numbers, pytest_run, until, waiting
from kits import CANCELLED
from wakefd import ClosedResourceError, IoEvent
from wakefd._wakefd import backend

needs = pytest.mark.needs
pytestmark = needs()  # a test that needs nothing more runs on every kit


# ---- a notify before the wait, during it and after it


async def test_notified_returns_when_the_flag_was_raised_before(kit, event):
    event.notify()
    await kit.notified(event)
    assert event.is_set()


async def test_a_notify_from_a_thread_ends_a_wait(kit, event):
    task = kit.spawn(kit.notified, event)
    await kit.waiting(event, 1)
    assert not task.done()
    thread = Thread(event.notify)
    assert await task.join() is None
    assert thread.finish() is True
    assert event.is_set()
    assert kit.waits(event) == 0


@needs("loop")
async def test_a_notify_from_a_task_of_the_same_loop_ends_a_wait(kit, event):
    task = kit.spawn(kit.notified, event)
    await kit.waiting(event, 1)
    assert event.notify() is True
    assert not task.done()
    await task.join()


async def test_the_flag_stays_up_after_a_wait_until_it_is_cleared(kit, event):
    event.notify()
    for _ in range(100):
        await kit.notified(event)
    assert event.clear() is True
    async with kit.move_on_after(0.01) as scope:
        await kit.notified(event)
    assert scope.expired


async def test_notify_says_whether_it_raised_the_flag(kit, event):
    task = kit.spawn(kit.notified, event)
    await kit.waiting(event, 1)
    assert event.notify() is True
    assert event.notify() is False
    await task.join()
    assert event.notify() is False
    assert event.clear() is True
    assert event.clear() is False
    assert event.notify() is True


async def test_a_loop_and_a_thread_can_notify_each_other_in_turn(kit, event):
    answer = IoEvent()

    def respond():
        for _ in range(200):
            assert event.wait(PATIENCE)
            event.clear()
            answer.notify()

    thread = Thread(respond)
    for _ in range(200):
        event.notify()
        await kit.notified(answer)
        answer.clear()
    await kit.sleep(0)
    thread.finish()


# ---- many waiters, and their order


async def test_one_notify_releases_every_waiter(kit, event):
    tasks = [kit.spawn(kit.notified, event) for _ in range(100)]
    await kit.waiting(event, 100)
    Thread(event.notify)
    for task in tasks:
        assert await task.join() is None


@needs("remembers")
async def test_every_waiter_is_released_even_if_the_flag_is_cleared_at_once(kit, event):
    for _ in range(5):
        tasks = [kit.spawn(kit.notified, event) for _ in range(50)]
        await kit.waiting(event, 50)
        event.notify()
        event.clear()
        for task in tasks:
            assert await task.join() is None
    assert not event.is_set()


@needs("remembers")
async def test_a_waiter_that_comes_after_the_clear_is_not_released(kit, event):
    first = kit.spawn(kit.notified, event)
    await kit.waiting(event, 1)
    event.notify()
    event.clear()
    later = kit.spawn(kit.notified, event)
    await first.join()
    await kit.waiting(event, 1)
    assert not later.done()
    event.notify()
    await later.join()


@needs("remembers")
async def test_many_rises_before_a_dispatch_release_each_waiter_once(kit, event):
    count = 0

    async def wait():
        nonlocal count
        await kit.notified(event)
        count += 1

    tasks = [kit.spawn(wait) for _ in range(3)]
    await kit.waiting(event, 3)
    for _ in range(10):
        event.notify()
        event.clear()
    for task in tasks:
        await task.join()
    assert count == 3


@needs("order")
async def test_waiters_of_one_event_resume_in_the_order_in_which_they_came(kit, event):
    order = []

    async def wait(name):
        await kit.notified(event)
        order.append(name)

    tasks = []
    for name in range(10):
        tasks.append(kit.spawn(wait, name))
        await kit.waiting(event, name + 1)
    event.notify()
    for task in tasks:
        await task.join()
    assert order == list(range(10))


@needs("order")
async def test_waiters_of_many_events_resume_in_the_order_of_the_notifies(kit):
    events = [IoEvent() for _ in range(10)]
    order = []

    async def wait(name):
        await kit.notified(events[name])
        order.append(name)

    names = [3, 1, 4, 5, 9, 2, 6, 8, 7, 0]
    tasks = [kit.spawn(wait, name) for name in range(10)]
    for event in events:
        await kit.waiting(event, 1)
    for name in names:
        events[name].notify()
    for task in tasks:
        await task.join()
    assert order == names


async def test_thousands_of_events_on_one_loop_need_no_further_descriptor(kit):
    # A loop that needs a descriptor per event gets only 200, because select handles at most 1024.
    events = [IoEvent() for _ in range(2000 if kit.can("shared") else 200)]
    tasks = [kit.spawn(kit.notified, events[0])]
    await kit.waiting(events[0], 1)
    before = fds()
    tasks += [kit.spawn(kit.notified, event) for event in events[1:]]
    await kit.waiting(events[-1], 1)
    await kit.turn()
    assert fds() == before or not kit.can("shared")

    def burst():
        for event in events:
            event.notify()

    Thread(burst)
    for task in tasks:
        await task.join()
    assert all(event.is_set() and kit.waits(event) == 0 for event in events)


# ---- cancellation and timeouts


@needs("cancel")
async def test_a_cancelled_wait_leaves_nothing_behind(kit, event):
    task = kit.spawn(kit.notified, event)
    await kit.waiting(event, 1)
    task.cancel()
    assert await task.join() is CANCELLED
    assert kit.waits(event) == 0
    assert event.notify() is True
    assert event.is_set()
    await kit.notified(event)


@needs("cancel")
async def test_cancelling_some_waits_leaves_the_others_waiting(kit, event):
    tasks = [kit.spawn(kit.notified, event) for _ in range(9)]
    await kit.waiting(event, 9)
    for index in (0, 4, 8):
        tasks[index].cancel()
        assert await tasks[index].join() is CANCELLED
    assert kit.waits(event) == 6
    event.notify()
    for index in (1, 2, 3, 5, 6, 7):
        assert await tasks[index].join() is None


@needs("cancel")
async def test_the_flag_stays_up_when_a_cancel_comes_together_with_a_notify(kit, event):
    task = kit.spawn(kit.notified, event)
    await kit.waiting(event, 1)
    event.notify()
    task.cancel()
    await task.join()  # the task may end cancelled or released
    assert event.is_set()
    assert kit.waits(event) == 0


@needs("cancel")
async def test_a_wait_can_be_cancelled_before_it_begins(kit, event):
    task = kit.spawn(kit.notified, event)
    task.cancel()
    assert await task.join() is CANCELLED
    assert kit.waits(event) == 0


async def test_the_frameworks_own_timeout_ends_a_wait(kit, event):
    for _ in range(3):
        async with kit.move_on_after(0.005) as scope:
            await kit.notified(event)
        assert scope.expired
        assert kit.waits(event) == 0
    async with kit.move_on_after(PATIENCE) as scope:
        Thread(event.notify)
        await kit.notified(event)
    assert not scope.expired


async def test_asyncio_wait_for_times_out_and_leaves_no_waiter(aio, event):
    with pytest.raises(TimeoutError):
        await asyncio.wait_for(event.notified(), 0.005)
    assert waiting(event) == 0
    Thread(event.notify)
    await asyncio.wait_for(event.notified(), PATIENCE)


async def test_asyncio_wait_with_a_timeout_leaves_the_task_waiting(aio, event):
    task = asyncio.ensure_future(event.notified())
    done, pending = await asyncio.wait([task], timeout=0.005)
    assert (done, pending) == (set(), {task})
    event.notify()
    done, pending = await asyncio.wait([task], timeout=PATIENCE)
    assert (done, pending) == ({task}, set())


async def test_a_shielded_wait_goes_on_after_a_timeout(aio, event):
    inner = asyncio.ensure_future(event.notified())
    with pytest.raises(TimeoutError):
        await asyncio.wait_for(asyncio.shield(inner), 0.005)
    assert waiting(event) == 1
    event.notify()
    await inner


async def test_the_message_of_a_cancel_reaches_the_waiting_task(aio, event):
    task = asyncio.ensure_future(event.notified())
    await aio.waiting(event, 1)
    task.cancel("because")
    with pytest.raises(asyncio.CancelledError) as caught:
        await task
    assert caught.value.args == ("because",)


async def test_a_task_may_survive_its_cancellation_and_wait_again(aio, event):
    async def stubborn():
        try:
            await event.notified()
        except asyncio.CancelledError:
            await event.notified()
            return "survived"

    task = aio.spawn(stubborn)
    await aio.waiting(event, 1)
    task.cancel()
    await aio.turn()
    await aio.waiting(event, 1)
    event.notify()
    assert await task.join() == "survived"


@needs("cancel")
async def test_a_task_can_be_cancelled_by_another_that_the_same_dispatch_released(kit, event):
    async def first():
        await kit.notified(event)
        second.cancel()

    async def wait():
        await kit.notified(event)
        await kit.sleep(0)  # the cancel arrives at this checkpoint at the latest
        return "resumed"

    one = kit.spawn(first)
    await kit.waiting(event, 1)
    second = kit.spawn(wait)
    await kit.waiting(event, 2)
    third = kit.spawn(wait)
    await kit.waiting(event, 3)
    event.notify()
    await one.join()
    assert await third.join() == "resumed"
    # trio runs tasks in random order, so the second one may have gone on before the cancel.
    assert await second.join() == CANCELLED or "trio" in kit.name
    assert kit.waits(event) == 0


# ---- close


async def test_a_wait_for_a_closed_event_raises_closed_resource_error(kit, event):
    event.close()
    with pytest.raises(ClosedResourceError):
        await kit.notified(event)


@needs("hub")
async def test_a_close_raises_closed_resource_error_in_every_waiter(kit, event):
    tasks = [kit.spawn(kit.notified, event) for _ in range(5)]
    await kit.waiting(event, 5)
    Thread(event.close)
    for task in tasks if kit.can("close") else ():
        with pytest.raises(ClosedResourceError):
            await task.join()
    await kit.waiting(event, 0)
    await kit.sleep(0.01)
    assert all(task.done() is kit.can("close") for task in tasks)


@needs("remembers")
async def test_a_rise_before_the_close_releases_waiters_without_an_error(kit, event):
    tasks = [kit.spawn(kit.notified, event) for _ in range(5)]
    await kit.waiting(event, 5)
    event.notify()
    event.close()
    for task in tasks:
        assert await task.join() is None


@needs("remembers")
async def test_a_rise_before_the_close_counts_even_if_it_was_cleared(kit, event):
    task = kit.spawn(kit.notified, event)
    await kit.waiting(event, 1)
    event.notify()
    event.clear()
    event.close()
    assert await task.join() is None


@needs("close")
async def test_a_cleared_rise_does_not_count_for_a_waiter_that_came_after_it(kit, event):
    event.notify()
    event.clear()
    task = kit.spawn(kit.notified, event)
    await kit.waiting(event, 1)
    event.close()
    with pytest.raises(ClosedResourceError):
        await task.join()


# ---- what a released task may do


async def test_an_exception_in_one_task_does_not_hurt_the_others(kit, event):
    async def wait():
        await kit.notified(event)

    async def fail():
        await wait()
        raise ZeroDivisionError

    tasks = [kit.spawn(fail if index % 2 else wait) for index in range(10)]
    await kit.waiting(event, 10)
    event.notify()
    for index, task in enumerate(tasks):
        if index % 2:
            with pytest.raises(ZeroDivisionError):
                await task.join()
        else:
            await task.join()
    event.clear()
    task = kit.spawn(kit.notified, event)
    await kit.waiting(event, 1)
    event.notify()
    await task.join()


async def test_a_released_task_may_clear_and_notify_and_wait_again(kit, event):
    other = IoEvent()
    log = []

    async def one():
        for _ in range(10):
            await kit.notified(event)
            event.clear()
            log.append(1)
            other.notify()

    async def two():
        for _ in range(10):
            await kit.notified(other)
            other.clear()
            log.append(2)
            event.notify()

    tasks = [kit.spawn(one), kit.spawn(two)]
    await kit.waiting(event, 1)
    await kit.waiting(other, 1)
    event.notify()
    for task in tasks:
        await task.join()
    assert log == [1, 2] * 10


async def test_a_released_task_may_wait_for_the_same_event_at_once(kit, event):
    async def wait():
        for _ in range(10):
            await kit.notified(event)
            event.clear()

    tasks = [kit.spawn(wait) for _ in range(5)]
    async with kit.patient("ten wake-ups each"):
        while not all(task.done() for task in tasks):
            event.notify()
            await kit.turn()


async def test_a_released_task_may_close_the_event(kit, event):
    async def close():
        await kit.notified(event)
        event.close()

    tasks = [kit.spawn(close) for _ in range(3)]
    await kit.waiting(event, 3)
    event.notify()
    for task in tasks:
        assert await task.join() is None


async def test_a_released_task_may_start_another_task(kit, event):
    async def start():
        await kit.notified(event)
        event.clear()
        return kit.spawn(kit.notified, event)

    task = kit.spawn(start)
    await kit.waiting(event, 1)
    event.notify()
    inner = await task.join()
    await kit.waiting(event, 1)
    event.notify()
    await inner.join()


async def test_a_released_task_may_drop_the_event(kit):
    events = [IoEvent() for _ in range(10)]

    async def drop():
        await kit.notified(events[-1])
        events.clear()

    task = kit.spawn(drop)
    await kit.waiting(events[-1], 1)
    events[-1].notify()
    await task.join()


async def test_context_variables_stay_with_their_task(kit, event):
    variable = contextvars.ContextVar("variable")

    async def wait(value):
        variable.set(value)
        await kit.notified(event)
        return variable.get()

    variable.set("outside")
    tasks = [kit.spawn(wait, value) for value in range(5)]
    await kit.waiting(event, 5)
    Thread(event.notify)
    assert [await task.join() for task in tasks] == list(range(5))
    assert variable.get() == "outside"


async def test_the_current_task_is_the_released_task(aio, event):
    async def wait():
        before = asyncio.current_task()
        await event.notified()
        assert asyncio.current_task() is before
        await event.notified()
        return asyncio.current_task()

    tasks = [aio.spawn(wait) for _ in range(3)]
    await aio.waiting(event, 3)
    event.notify()
    for task in tasks:
        assert await task.join() is task.task


async def test_an_eager_task_waits_and_resumes(aio, event):
    if not hasattr(asyncio, "eager_task_factory"):
        pytest.skip("Python >= 3.12")
    if "uvloop" in aio.name:
        pytest.skip("uvloop 0.23 calls the factory with an argument that Python 3.13 does not know")
    asyncio.get_running_loop().set_task_factory(asyncio.eager_task_factory)
    task = asyncio.create_task(event.notified())
    assert waiting(event) == 1
    event.notify()
    await task
    assert asyncio.create_task(event.notified()).done()


# ---- the ways to start a wait


async def test_asyncio_gather_runs_several_waits(aio, event):
    Thread(lambda: (until(lambda: waiting(event) == 3), event.notify()))
    assert await asyncio.gather(*(event.notified() for _ in range(3))) == [None] * 3


async def test_an_asyncio_task_group_runs_several_waits(aio, event):
    async with asyncio.TaskGroup() as group:
        tasks = [group.create_task(event.notified()) for _ in range(3)]
        await aio.waiting(event, 3)
        event.notify()
    assert all(task.result() is None for task in tasks)


async def test_an_asyncio_task_group_that_fails_cancels_its_waits(aio, event):
    with pytest.raises(ExceptionGroup) as caught:
        async with asyncio.TaskGroup() as group:
            for _ in range(3):
                group.create_task(event.notified())
            await aio.waiting(event, 3)
            raise ZeroDivisionError
    assert [type(error) for error in caught.value.exceptions] == [ZeroDivisionError]
    assert waiting(event) == 0


def test_a_trio_nursery_can_start_notified_itself(event):
    import trio

    async def main():
        with trio.fail_after(PATIENCE):
            async with trio.open_nursery() as nursery:
                for _ in range(3):
                    nursery.start_soon(event.notified)
                while waiting(event) < 3:
                    await trio.sleep(0.001)
                event.notify()

    trio.run(main)


@needs("await")
async def test_a_coroutine_that_is_closed_before_it_was_awaited_leaves_no_waiter(kit, event):
    event.notified().close()
    assert waiting(event) == 0


async def test_a_coroutine_that_is_closed_during_its_wait_leaves_no_waiter(aio, event):
    coroutine = event.notified()
    coroutine.send(None)
    assert waiting(event) == 1
    coroutine.close()
    assert waiting(event) == 0


# ---- several loops, and foreign watchers


@pytest.mark.parametrize("other", ["threads", *kits.LOOPS])
def test_two_loops_can_wait_for_one_event(kit, other):
    if (kit.name, other) == ("gevent-patched", "trio"):
        pytest.skip("gevent's monkey patch removes select.epoll, which trio needs")
    two_loops(kit, kits.kit(other))


@needs("threads")
def test_two_loops_of_one_kind_can_wait_for_one_event(kit):
    two_loops(kit, kits.kit(kit.name))


def two_loops(*both):
    event, rounds = IoEvent(), 30
    seen, counts = [0, 0], [0, 0]

    async def wait(index):
        for _ in range(rounds):
            await both[index].notified(event)
            seen[index] += 1
            while event.is_set():
                await both[index].turn()
            counts[index] += 1

    def both_wait():
        return sum(each.waits(event) for each in both) - waiting(event) == 2

    def notify():
        for done in range(rounds):
            until(lambda done=done: counts == [done, done] and both_wait())
            assert event.notify() is True
            if not all(kit.can("remembers") for kit in both):
                until(lambda done=done: seen == [done + 1, done + 1])
            assert event.clear() is True

    there = Thread(lambda: both[1].run(lambda: wait(1)))
    notifier = Thread(notify)
    try:
        both[0].run(lambda: wait(0))
    finally:
        notifier.finish()
        there.finish()
    assert event._rises() == rounds
    assert event._listeners() <= 2 or not all(kit.can("shared") for kit in both)


async def test_a_users_own_watcher_on_the_descriptor_sees_the_flag(kit, event):
    seen = []
    stop = kit.watch(event.fileno(), lambda: seen.append(event.is_set()))
    for _ in range(10):
        task = kit.spawn(kit.notified, event)
        await kit.waiting(event, 1)
        Thread(event.notify)
        await task.join()
        async with kit.patient("the user's own watcher"):
            while not any(seen):
                await kit.sleep(0.0005)
        event.clear()
        await kit.sleep(0.001)
        seen.clear()
    await kit.sleep(0.005)
    assert not any(seen)
    stop()


# ---- async for


@needs("await")
async def test_async_for_clears_before_the_body(kit, event):
    event.notify()
    async for _ in event:
        assert not event.is_set()
        break
    assert not event.is_set()


@needs("await")
async def test_async_for_makes_another_turn_for_a_notify_in_its_body(kit, event):
    event.notify()
    turns = 0
    async for _ in event:
        turns += 1
        if turns < 10:
            event.notify()
            event.notify()
        else:
            break
    assert turns == 10
    assert not event.is_set()


@needs("await")
async def test_async_for_makes_a_last_turn_for_a_flag_that_is_up_at_the_close(kit, event):
    event.notify()
    turns = 0
    async for _ in event:
        turns += 1
        if turns == 1:
            event.notify()
            event.close()
    assert turns == 2


@needs("await")
async def test_async_for_makes_a_last_turn_for_a_rise_that_another_task_cleared(kit, event):
    event.notify()
    turns = 0
    async for _ in event:
        turns += 1
        if turns == 1:
            event.notify()
            event.clear()
            event.close()
    assert turns == 2


async def turns_of(event):
    turns = 0
    async for _ in event:
        turns += 1
    return turns


@needs("await")
async def test_async_for_ends_when_the_event_is_closed(kit, event):
    task = kit.spawn(turns_of, event)
    await kit.waiting(event, 1)
    event.notify()
    while event.is_set():
        await kit.turn()
    await kit.waiting(event, 1)
    event.close()
    assert await task.join() == 1


@needs("await")
async def test_async_for_makes_a_last_turn_for_a_rise_that_came_while_it_waited(kit, event):
    task = kit.spawn(turns_of, event)
    await kit.waiting(event, 1)
    event.notify()
    event.close()
    assert await task.join() == 1


@needs("await")
async def test_async_for_on_a_closed_event_that_never_rose_ends_at_once(kit, event):
    event.close()
    async for _ in event:
        pytest.fail("async for made a turn")


@needs("await")
async def test_async_for_on_a_closed_event_that_rose_makes_one_turn(kit, event):
    # A producer may notify and close before the consumer begins its `async for`.
    event.notify()
    event.close()
    turns = 0
    async for _ in event:
        turns += 1
    assert turns == 1


@needs("await")
async def test_async_for_that_began_with_the_flag_up_makes_its_turn_after_a_close(kit, event):
    event.notify()
    turns = aiter(event)
    event.close()
    await anext(turns)
    with pytest.raises(StopAsyncIteration):
        await anext(turns)
    with pytest.raises(StopAsyncIteration):
        await anext(turns)


@needs("await")
async def test_async_for_makes_no_turn_for_a_rise_that_was_cleared_before_it_began(kit, event):
    event.notify()
    event.clear()
    turns = aiter(event)
    event.close()
    with pytest.raises(StopAsyncIteration):
        await anext(turns)


@needs("await")
async def test_async_for_loses_no_item_from_a_thread(kit, event):
    items, got = [], []

    def produce():
        for item in range(1000):
            items.append(item)
            event.notify()
        event.close()

    thread = Thread(produce)
    async for _ in event:
        while items:
            got.append(items.pop(0))
    thread.finish()
    assert got == list(range(1000))


@needs("await")
async def test_async_for_can_be_cancelled(kit, event):
    async def consume():
        async for _ in event:
            pass

    task = kit.spawn(consume)
    await kit.waiting(event, 1)
    task.cancel()
    assert await task.join() is CANCELLED
    assert waiting(event) == 0


# ---- fairness


async def does_not_starve(kit, consume):
    turns, stop = 0, False

    async def tick():
        nonlocal turns
        while not stop:
            turns += 1
            await kit.turn()

    task = kit.spawn(tick)
    await kit.turn()
    before = turns
    await kit.spawn(consume).join()
    stop = True
    await task.join()
    # A turn takes half a millisecond at most, so 0.05 s of work make room for many of them.
    assert turns - before >= 10


@needs("fair")
async def test_a_consumer_whose_flag_is_always_up_does_not_starve_its_loop(kit, event):
    async def consume():
        event.notify()
        end = time.perf_counter() + 0.05
        while time.perf_counter() < end:
            await kit.notified(event)

    await does_not_starve(kit, consume)


@needs("await")
async def test_async_for_with_a_flag_that_is_always_up_does_not_starve_its_loop(kit, event):
    async def consume():
        event.notify()
        end = time.perf_counter() + 0.05
        async for _ in event:
            event.notify()
            if time.perf_counter() > end:
                return

    await does_not_starve(kit, consume)


async def test_on_asyncio_notified_returns_at_once_if_the_flag_is_up(aio, event):
    # asyncio.Event does the same: the loop makes no turn in between.
    ran = []
    event.notify()
    asyncio.get_running_loop().call_soon(ran.append, 1)
    await event.notified()
    assert not ran


def test_on_trio_every_wait_is_a_checkpoint(event):
    import trio
    import trio.testing

    async def main():
        event.notify()
        with trio.testing.assert_checkpoints():
            await event.notified()
        with trio.CancelScope() as scope:
            scope.cancel()
            await event.notified()
        assert scope.cancelled_caught
        assert event.is_set()
        event.clear()
        with trio.CancelScope() as scope:
            scope.cancel()
            await event.notified()
        assert scope.cancelled_caught
        assert waiting(event) == 0
        Thread(event.notify)
        with trio.testing.assert_checkpoints():
            await event.notified()
        event.clear()
        event.notify()
        turns = aiter(event)
        with trio.testing.assert_checkpoints():
            await anext(turns)

    trio.run(main)


def test_on_trio_a_cancelled_leader_hands_over_to_another_waiter(event):
    import trio

    async def main():
        with trio.fail_after(PATIENCE):
            async with trio.open_nursery() as nursery:
                with trio.move_on_after(0.01):  # the first waiter is the leader
                    await event.notified()
                other = IoEvent()
                nursery.start_soon(event.notified)
                while waiting(event) < 1:
                    await trio.sleep(0)
                for _ in range(5):
                    nursery.start_soon(other.notified)
                while waiting(other) < 5:
                    await trio.sleep(0)
                Thread(event.notify)  # this releases the second leader
                while waiting(event):
                    await trio.sleep(0.001)
                Thread(other.notify)

    trio.run(main)


# ---- KeyboardInterrupt and SystemExit


@pytest.mark.parametrize("error", [KeyboardInterrupt, SystemExit])
def test_an_exception_that_ends_the_loop_leaves_the_other_waiters_to_resume(aio, event, error):
    async def wait():
        await event.notified()
        return "resumed"

    async def die():
        await event.notified()
        raise error("now")

    async def nothing():
        pass

    loop = aio.new_loop()
    try:
        tasks = [loop.create_task(wait()), loop.create_task(die()), loop.create_task(wait())]
        loop.run_until_complete(aio.waiting(event, 3))
        event.notify()
        with pytest.raises(error, match="now"):
            loop.run_until_complete(aio.sleep(PATIENCE))
        results = loop.run_until_complete(asyncio.gather(tasks[0], tasks[2]))
        assert results == ["resumed"] * 2
        with pytest.raises(error, match="now"):
            tasks[1].result()
        loop.run_until_complete(aio.waiting(event, 0))
    finally:
        loop.close()


# ---- which loop runs here


def test_a_half_imported_trio_is_not_taken_for_a_running_loop(event, monkeypatch):
    import sys
    import types

    monkeypatch.setitem(sys.modules, "trio", types.ModuleType("trio"))

    async def main():
        event.notify()
        await event.notified()

    asyncio.run(main())
    with pytest.raises(RuntimeError, match="no event loop"):
        event.notified().send(None)


@in_child
def test_the_first_waits_of_many_threads_at_once_each_find_their_loop():
    # Each thread looks up which libraries are imported, while the other threads do the same.
    import importlib
    import sys

    from wakefd import _loops

    event = IoEvent()
    event.notify()
    start = threading.Barrier(2 * len(kits.LOOPS))

    def run(kit):
        async def main():
            start.wait(PATIENCE)
            await event.notified()

        kit.run(main)

    sys.setswitchinterval(1e-6)
    for _ in range(50):
        importlib.reload(_loops)
        threads = [Thread(run, kits.kit(name)) for name in 2 * kits.LOOPS]
        for thread in threads:
            thread.finish()


def test_tasks_of_asyncio_and_of_its_trio_guest_can_wait_for_one_event(event):
    import trio

    async def guest():
        with trio.fail_after(PATIENCE):
            for _ in range(10):
                async with trio.open_nursery() as nursery:
                    nursery.start_soon(event.notified)
                    while waiting(event) < 2:
                        await trio.sleep(0)
                    Thread(event.notify)
                event.clear()
        return "guest"

    async def host():
        loop, done = asyncio.get_running_loop(), asyncio.get_running_loop().create_future()
        task = asyncio.create_task(hosts_wait())
        trio.lowlevel.start_guest_run(
            guest,
            run_sync_soon_threadsafe=loop.call_soon_threadsafe,
            done_callback=lambda outcome: done.set_result(outcome.unwrap()),
        )
        assert await done == "guest"
        task.cancel()

    async def hosts_wait():
        while True:
            await event.notified()
            while event.is_set():
                await asyncio.sleep(0)

    kits.kit("asyncio").run(host)


def test_one_event_can_serve_one_loop_after_the_other(kit, event):
    async def main():
        task = kit.spawn(kit.notified, event)
        await kit.waiting(event, 1)
        Thread(event.notify)
        await task.join()
        event.clear()

    for _ in range(5):
        kit.run(main)
    assert event._listeners() <= 1 or not kit.can("shared")


@needs("end")
def test_a_loop_that_ends_while_tasks_wait_leaves_notify_legal(kit, event):
    async def main():
        kit.spawn(kit.notified, event)
        kit.spawn(kit.notified, event)
        await kit.waiting(event, 2)  # the waiters of the last round are gone

    before = []
    for _ in range(4):
        kit.run(main)
        assert event.notify() is event.clear() is True
        before.append(fds())
    assert before[-1] <= before[1] + 2 * kit.leaks


async def test_a_loop_does_not_spin_on_a_flag_that_stays_up(kit, event):
    task = kit.spawn(kit.notified, event)
    await kit.waiting(event, 1)
    event.notify()
    await task.join()
    kit.spawn(kit.notified, IoEvent())
    await kit.turn()
    used = time.process_time()
    await kit.sleep(0.1)
    assert time.process_time() - used < 0.08


def inode(fd):
    try:
        return os.fstat(fd).st_ino
    except OSError:
        return None


def inodes():
    return {fd: inode(fd) for fd in numbers()}


@needs("hub")
async def test_a_hub_that_dies_is_replaced(kit, event, mortal):
    if kit.name == "threads" and backend(thread=True) == "futex":
        pytest.skip("a blocked thread has no descriptor here")
    others = inodes()
    task = kit.spawn(kit.notified, event)
    await kit.waiting(event, 1)
    # The loop's first new descriptor is its hub's.
    fd = min(fd for fd, inode in inodes().items() if others.get(fd) != inode)
    before, used = inode(fd), time.process_time()
    kill(fd)
    await kit.sleep(0.1)
    assert time.process_time() - used < 0.08, "the loop spins"
    assert inode(fd) != before, "the hub was not replaced"
    assert not task.done()
    for _ in range(5):
        thread = Thread(event.notify)
        await task.join()
        thread.finish()
        event.clear()
        task = kit.spawn(kit.notified, event)
        await kit.waiting(event, 1)
    event.notify()
    await task.join()


async def test_no_item_is_lost_from_threads_that_do_not_wait_for_answers(kit, event):
    got, items = 0, []

    def produce():
        for item in range(1000):
            items.append(item)
            event.notify()

    threads = [Thread(produce) for _ in range(3)]
    async with kit.patient("3000 items"):
        while got < 3000:
            await kit.notified(event)
            event.clear()
            while items:
                assert items.pop() >= 0
                got += 1
    for thread in threads:
        thread.finish()


def in_a_child(*arguments, kit):
    """Run these tests and the hand-over's in a fresh interpreter, on one kit if it is named."""
    before = ["gevent.monkey", "--module"] if kit == "gevent-patched" else []
    chosen = [f"--kit={kit}"] if kit else []
    files = [__file__, str(Path(__file__).with_name("test_handover.py"))]
    report = pytest_run("-m", *before, "pytest", *files, *chosen, *arguments)
    assert " passed" in report


@pytest.mark.parametrize("kit_alone", kits.ALONE)
def test_the_contract_holds_in_an_interpreter_of_the_loops_own(kit_alone):
    in_a_child(kit=kit_alone)


@pytest.mark.skipif(backend() != "eventfd", reason="test_a_hub_that_dies_is_replaced ran without")
@pytest.mark.skipif(not seccomp.AVAILABLE, reason="no seccomp")
@pytest.mark.parametrize("kit_alone", sorted({"", *kits.ALONE} - {*kits.NEED_EVENTFD}))
def test_hubs_that_die_are_replaced(kit_alone):
    """An eventfd cannot die, so eventfds are refused here and the hubs are pairs of sockets."""
    in_a_child("--refuse-eventfd", "-k", "test_a_hub_that_dies", kit=kit_alone)

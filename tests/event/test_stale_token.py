"""A token that is late: the descriptor is readable although the flag is down.

A notifier may be stopped between its promise and its write. Here its token is taken from it (a read
of the descriptor), the flag is cleared meanwhile, and then the write comes.
"""

import asyncio
import os
import time

import pytest

from helpers import PATIENCE, Thread, in_child, readable
from wakefd import IoEvent
from wakefd._wakefd import Hub, backend

pytestmark = pytest.mark.skipif(backend() != "eventfd", reason="a pair's writing end is hidden")


def late(event):
    """Stop a notifier before its write, and clear. The write is left to do: `arrives`."""
    fd = event.fileno()
    assert event.notify() is True
    os.eventfd_read(fd)
    assert event.clear() is True
    assert event._owed() == 1
    return fd


def arrives(fd):
    os.eventfd_write(fd, 1)


def test_a_late_token_is_known_and_the_next_clear_settles_it(event):
    fd = late(event)
    assert not readable(fd)
    arrives(fd)
    assert readable(fd)
    assert not event.is_set()
    assert event.clear() is False
    assert not readable(fd)
    assert event._owed() == 0


def test_a_late_token_that_has_not_arrived_is_asked_for_again(event):
    fd = late(event)
    for _ in range(3):
        assert event.clear() is False
        assert event._owed() == 1
    arrives(fd)
    assert event.clear() is False
    assert event._owed() == 0


def test_a_notify_before_the_late_token_arrives_is_seen(event):
    fd = late(event)
    assert event.notify() is True
    assert event._owed() == 2
    assert readable(fd)
    arrives(fd)
    assert event.clear() is True
    assert event._owed() == 0
    assert not readable(fd)


def test_the_late_token_after_a_whole_round(event):
    fd = late(event)
    assert event.notify() is True
    assert event.clear() is True
    assert event._owed() == 1
    arrives(fd)
    assert readable(fd)
    assert event.clear() is False
    assert event._owed() == 0
    assert not readable(fd)


def test_a_selector_loop_wakes_at_most_once_for_a_late_token(event):
    async def main():
        turns = 0

        def ready():
            nonlocal turns
            turns += 1
            event.clear()

        asyncio.get_running_loop().add_reader(fd, ready)
        arrives(fd)
        await asyncio.sleep(0.05)
        assert turns == 1
        Thread(event.notify)
        async with asyncio.timeout(PATIENCE):
            while turns < 2:
                await asyncio.sleep(0.001)
        assert not event.is_set()

    fd = late(event)
    asyncio.run(main())


def test_more_late_tokens_than_can_be_counted_cost_no_wake_up(event):
    fd = event.fileno()
    for _ in range(20_000):
        event.notify()
        os.eventfd_read(fd)
        event.clear()
    assert 10_000 < event._owed() < 20_000
    assert event.notify() is True
    assert readable(fd)
    assert event.clear() is True
    assert not readable(fd)
    assert event.notify() is True
    assert readable(fd)


def test_a_stolen_token_costs_no_wake_up_of_those_who_wait_properly(event):
    fd = event.fileno()
    event.notify()
    os.eventfd_read(fd)
    assert not readable(fd)
    assert event.is_set()
    assert event.wait(0) is True
    assert event.clear() is True
    assert event.notify() is True
    assert readable(fd)


def test_a_late_token_at_a_hub_wakes_it_once_for_nothing(event):
    hub, outcomes = Hub(), []
    hub.wait(event, outcomes.append)
    arrives(hub.fileno())
    assert readable(hub)
    hub.dispatch()
    assert not readable(hub)
    assert outcomes == []
    event.notify()
    assert readable(hub)
    hub.dispatch()
    assert outcomes == [True]
    assert not readable(hub)
    hub.close()


def test_a_hub_from_the_pool_with_a_late_token_serves_its_next_owner(event):
    hub = Hub()
    fd = hub.fileno()
    hub.wait(event, print)
    event.notify()
    os.eventfd_read(fd)
    hub.close()
    event.clear()
    hubs, outcomes = [], []
    while True:  # until it is ours again
        hubs.append(Hub())
        if hubs[-1].fileno() == fd:
            break
        assert len(hubs) < 100
    arrives(fd)
    hubs[-1].wait(event, outcomes.append)
    hubs[-1].dispatch()
    assert outcomes == []
    event.notify()
    assert readable(fd)
    hubs[-1].dispatch()
    assert outcomes == [True]
    assert not readable(fd)
    for each in hubs:
        each.close()


async def test_a_loop_does_not_spin_on_tokens_that_a_stranger_wrote_to_its_hub(aio, event):
    task = aio.spawn(event.notified)
    await aio.waiting(event, 1)
    before = numbers_of_eventfds()
    for fd in before:
        arrives(fd)
    used = time.process_time()
    await aio.sleep(0.2)
    assert time.process_time() - used < 0.15
    assert not task.done()
    event.notify()
    await task.join()


@in_child
def test_the_selector_thread_does_not_spin_on_tokens_that_a_stranger_wrote():
    import kits
    from wakefd._loops import selector_thread as _selector_thread

    kit = kits.kit("asyncio-thread-future")

    async def main():
        event = IoEvent()
        task = kit.spawn(event.notified)
        await kit.waiting(event, 1)
        await kit.sleep(0.05)  # it has seen what it was told by now
        os.write(_selector_thread._current._interrupt._ends[1], b"tokens")
        used = time.process_time()
        await kit.sleep(0.2)
        assert time.process_time() - used < 0.15
        assert not task.done()
        event.notify()
        await task.join()

    kit.run(main)


def numbers_of_eventfds():
    found = []
    for number in os.listdir("/proc/self/fd"):
        try:
            if "eventfd" in os.readlink(f"/proc/self/fd/{number}"):
                found.append(int(number))
        except OSError:
            pass
    return found


def test_late_tokens_at_the_close_are_forgotten():
    event = IoEvent()
    late(event)
    event.close()
    assert event._owed() in (0, 1)
    assert event.notify() is False
    assert event.clear() is False

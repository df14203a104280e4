"""Tests of late tokens: tokens that arrive after `clear`, while the flag is down.

A thread in `notify` may be stopped after it has counted its token as owed and before it writes it.
The tests imitate that: they read the token from the descriptor, clear the flag, and write the token
afterwards.
"""

import asyncio
import os
import time

import pytest

from helpers import PATIENCE, Thread, in_child, readable
from wakefd import IoEvent
from wakefd._wakefd import Hub, backend

pytestmark = pytest.mark.skipif(backend() != "eventfd", reason="a pair's writing end is hidden")


def notify_late(event):
    """Notify, take the token away, and clear the flag. `write_late_token` writes it later."""
    fd = event.fileno()
    assert event.notify() is True
    os.eventfd_read(fd)
    assert event.clear() is True
    assert event._owed() == 1
    return fd


def write_late_token(fd):
    os.eventfd_write(fd, 1)


def test_the_next_clear_settles_a_late_token(event):
    fd = notify_late(event)
    assert not readable(fd)
    write_late_token(fd)
    assert readable(fd)
    assert not event.is_set()
    assert event.clear() is False
    assert not readable(fd)
    assert event._owed() == 0


def test_clear_keeps_a_late_token_as_owed_until_it_arrives(event):
    fd = notify_late(event)
    for _ in range(3):
        assert event.clear() is False
        assert event._owed() == 1
    write_late_token(fd)
    assert event.clear() is False
    assert event._owed() == 0


def test_a_notify_before_the_late_token_arrives_makes_the_descriptor_readable(event):
    fd = notify_late(event)
    assert event.notify() is True
    assert event._owed() == 2
    assert readable(fd)
    write_late_token(fd)
    assert event.clear() is True
    assert event._owed() == 0
    assert not readable(fd)


def test_a_late_token_that_arrives_after_another_notify_and_clear_is_settled(event):
    fd = notify_late(event)
    assert event.notify() is True
    assert event.clear() is True
    assert event._owed() == 1
    write_late_token(fd)
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
        write_late_token(fd)
        await asyncio.sleep(0.05)
        assert turns == 1
        Thread(event.notify)
        async with asyncio.timeout(PATIENCE):
            while turns < 2:
                await asyncio.sleep(0.001)
        assert not event.is_set()

    fd = notify_late(event)
    asyncio.run(main())


def test_no_wake_up_is_lost_to_more_late_tokens_than_can_be_counted(event):
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


def test_a_token_read_by_a_stranger_costs_no_wake_up_of_wait(event):
    fd = event.fileno()
    event.notify()
    os.eventfd_read(fd)
    assert not readable(fd)
    assert event.is_set()
    assert event.wait(0) is True
    assert event.clear() is True
    assert event.notify() is True
    assert readable(fd)


def test_a_late_token_wakes_a_hub_at_most_once_without_a_reason(event):
    hub, outcomes = Hub(), []
    hub.wait(event, outcomes.append)
    write_late_token(hub.fileno())
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


def test_a_pooled_hub_with_a_late_token_serves_its_next_owner(event):
    hub = Hub()
    fd = hub.fileno()
    hub.wait(event, print)
    event.notify()
    os.eventfd_read(fd)
    hub.close()
    event.clear()
    hubs, outcomes = [], []
    while True:  # until the pool gives out the same hub again
        hubs.append(Hub())
        if hubs[-1].fileno() == fd:
            break
        assert len(hubs) < 100
    write_late_token(fd)
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
        write_late_token(fd)
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
        await kit.sleep(0.05)  # the selector thread watches the hub by now
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


def test_a_token_that_is_late_at_the_close_is_forgotten():
    event = IoEvent()
    notify_late(event)
    event.close()
    assert event._owed() in (0, 1)
    assert event.notify() is False
    assert event.clear() is False

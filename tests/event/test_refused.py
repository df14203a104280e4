"""Tests of refused tokens: `notify` raises OSError, and no waiter waits for ever.

seccomp refuses the writes of one thread, for as long as that thread lives. The writes of other
threads get through.
"""

import asyncio
import errno
import os
import sys
import threading
import time

import pytest

import seccomp
from helpers import PATIENCE, Thread, forked, in_child, numbers, readable, until, waiting
from wakefd import IoEvent
from wakefd._wakefd import Hub, backend

pytestmark = pytest.mark.skipif(not seccomp.AVAILABLE, reason="no seccomp numbers for this CPU")


class Refused:
    """A thread whose writes to `fd` are refused, or all its tokens if `fd` is None.

    The wake-up of a futex is never refused. The error is EACCES, because EPERM is 1 and so equal
    to True, which `notify` returns when nothing is refused.
    """

    def __init__(self, fd=None, streams=True):
        self._calls, self._result = [], None
        self._todo, self._done = threading.Semaphore(0), threading.Semaphore(0)
        self._thread = Thread(self._work, fd, streams)

    def _work(self, fd, streams):
        # A stream's writing end has another number than `fd`, the descriptor that is watched.
        if streams:
            seccomp.refuse("sendto", errno=errno.EACCES)
        seccomp.refuse("write", errno=errno.EACCES, fd=fd)
        while self._todo.acquire(timeout=PATIENCE):
            call = self._calls.pop()
            try:
                self._result = call()
            except OSError as error:
                self._result = error.errno
            self._done.release()

    def __call__(self, call):
        """Make this call in the refused thread, and return its result or its errno."""
        self._calls.append(call)
        self._todo.release()
        assert self._done.acquire(timeout=PATIENCE), f"{call} hangs"
        return self._result


def loop_waits(event):
    """Start a thread whose asyncio loop waits for the event.

    The loop's hub is woken by a system call, which can be refused; a blocked thread's may not be.
    """

    async def wait():
        await asyncio.wait_for(event.notified(), PATIENCE)
        return True

    thread = Thread(lambda: asyncio.run(wait()))
    until(lambda: waiting(event) == 1)
    return thread


@in_child
def test_a_refused_token_of_the_event_itself_is_written_by_the_next_notify():
    event = IoEvent()
    fd = event.fileno()
    refused = Refused(fd)
    assert refused(event.notify) == errno.EACCES
    assert event.is_set()
    assert not readable(fd)
    assert refused(event.notify) == errno.EACCES  # the second notify wrote the token again
    assert event.notify() is False  # the flag was up, and yet this call wrote the token
    assert readable(fd)
    assert refused(event.notify) is False  # no token is left to write
    assert event.clear() is True
    assert event._owed() == 0
    assert not readable(fd)
    assert event.notify() is True


@in_child
def test_a_refused_token_is_forgotten_when_the_flag_is_cleared():
    event = IoEvent()
    fd = event.fileno()
    refused = Refused(fd)
    for _ in range(5):
        assert refused(event.notify) == errno.EACCES
        assert event.clear() is True
        assert event.clear() is False
        assert event._owed() == 0
    assert event.notify() is True
    assert readable(fd)


@in_child
def test_waiters_are_released_although_the_events_own_token_is_refused():
    import trio
    import uvloop

    if backend() != "eventfd":
        return  # a stream cannot be refused by its number, so the hubs would be refused as well
    event = IoEvent()
    refused = Refused(event.fileno())

    async def wait():
        await asyncio.wait_for(event.notified(), PATIENCE)

    threads = [
        Thread(lambda: asyncio.run(wait())),
        Thread(lambda: uvloop.run(wait())),
        Thread(lambda: trio.run(event.notified)),
        Thread(event.wait, PATIENCE),
    ]
    until(lambda: waiting(event) == 4)
    assert refused(event.notify) == errno.EACCES
    for thread in threads:
        thread.finish()


@in_child
def test_the_notify_after_a_refused_hub_token_releases_the_hubs_waiters():
    event = IoEvent()
    refused = Refused()
    thread = loop_waits(event)
    assert refused(event.notify) == errno.EACCES
    assert event.is_set()
    assert refused(event.notify) == errno.EACCES  # written again, although the flag is up
    time.sleep(0.02)
    assert thread.is_alive()
    assert event.notify() is False
    assert thread.finish() is True


@pytest.mark.parametrize("closes", [False, True])
@in_child
def test_a_watch_whose_hub_is_refused_misses_no_rise_and_no_close(closes):
    from wakefd._watch import Watch

    class Busy(IoEvent):
        """An event that rises, or closes, just after the watch has read the count of rises."""

        def _rises(self):
            rises = super()._rises()
            if self in busy:
                busy.remove(self)
                if closes:
                    self.close()
                else:
                    self.clear()
                    self.notify()
            return rises

    event, hub, seen = Busy(), Hub(), []
    watch = Watch(hub, event, lambda: seen.append("rose"), lambda: seen.append("ended"))
    Thread(event.notify).finish()
    busy = [event]
    Refused()(hub.dispatch)  # the refusal reaches no caller of dispatch
    if closes:
        assert seen == ["rose", "ended"]
        return
    assert seen == ["rose", "rose"]
    event.clear()
    Thread(event.notify).finish()
    hub.dispatch()
    assert seen == ["rose", "rose", "rose"]
    watch.close()


@in_child
def test_a_refused_hub_is_woken_by_any_event_with_a_waiter_on_it():
    first, second, third = IoEvent(), IoEvent(), IoEvent()
    refused = Refused()

    async def main():
        tasks = [asyncio.create_task(event.notified()) for event in (first, second, third)]
        while not waiting(third):
            await asyncio.sleep(0)
        until(lambda: True)
        Thread(notify)
        await asyncio.wait_for(asyncio.gather(*tasks), PATIENCE)

    def notify():
        time.sleep(0.02)
        assert refused(first.notify) == errno.EACCES
        assert refused(second.notify) == errno.EACCES  # the hub's one token is written again
        third.notify()

    for _ in range(3):
        asyncio.run(main())
        for event in (first, second, third):
            assert event.clear() is True


@in_child
def test_a_refused_hub_does_not_delay_the_other_hubs():
    event = IoEvent()
    hubs = [Hub() for _ in range(3)]
    outcomes = []
    for index, hub in enumerate(hubs):
        hub.wait(event, lambda rose, index=index: outcomes.append((index, rose)))
    refused = Refused(hubs[1].fileno()) if backend() == "eventfd" else None
    if refused is None:
        return
    assert refused(event.notify) == errno.EACCES
    assert [readable(hub) for hub in hubs] == [True, False, True]
    # A dispatch finds the listeners that fired, even if the hub has no token.
    for hub in hubs:
        hub.dispatch()
    assert sorted(outcomes) == [(0, True), (1, True), (2, True)]
    event.clear()
    assert event.notify() is True


@in_child
def test_events_work_as_before_after_a_refusal():
    event, other = IoEvent(), IoEvent()
    refused = Refused()
    for _ in range(20):
        thread = loop_waits(event)
        assert refused(event.notify) == errno.EACCES
        event.notify()
        assert thread.finish() is True
        event.clear()
        assert refused(other.notify) is True  # no waiter, so no token that could be refused
        assert refused(other.notify) is False
        assert other.clear() is True


@in_child
def test_a_thread_whose_writes_are_refused_still_wakes_a_blocked_thread():
    if backend(thread=True) != "futex":
        return
    event = IoEvent()
    refused = Refused()
    for _ in range(20):
        thread = Thread(event.wait, PATIENCE)
        until(lambda: waiting(event) == 1)
        assert refused(event.notify) is True
        assert thread.finish() is True
        event.clear()


@in_child
def test_a_close_whose_token_is_refused_still_closes_the_event():
    event, other = IoEvent(), IoEvent()
    refused = Refused()

    async def main():
        tasks = [asyncio.create_task(each.notified()) for each in (event, other)]
        while not waiting(other):
            await asyncio.sleep(0)
        Thread(close)
        return await asyncio.wait_for(asyncio.gather(*tasks, return_exceptions=True), PATIENCE)

    def close():
        assert refused(event.close) == errno.EACCES
        assert event.closed
        assert refused(event.close) is None
        other.notify()

    closed, notified = asyncio.run(main())
    assert type(closed).__name__ == "ClosedResourceError"
    assert notified is None


@in_child
def test_a_hub_that_ends_while_refused_leaves_no_notify_slow_or_failing():
    event, other = IoEvent(), IoEvent()
    refused = Refused()

    async def main():
        task = asyncio.create_task(event.notified())
        while not waiting(event):
            await asyncio.sleep(0)
        assert refused(event.notify) == errno.EACCES
        task.cancel()

    for _ in range(20):
        asyncio.run(main())
        event.clear()
    assert refused(other.notify) is True
    assert refused(other.notify) is False
    assert refused(event.notify) is True
    event.clear()
    thread = Thread(event.wait, PATIENCE)
    until(lambda: waiting(event) == 1)
    event.notify()
    assert thread.finish() is True


@in_child
def test_a_token_refused_at_the_first_fileno_is_written_by_the_next_notify():
    event = IoEvent()
    event.notify()
    refused = Refused()
    assert refused(event.fileno) == errno.EACCES
    assert event.is_set()
    assert refused(event.notify) == errno.EACCES
    event.notify()
    assert readable(event.fileno())
    assert event.clear() is True


@in_child
def test_a_token_refused_in_the_parent_is_there_in_the_child():
    event = IoEvent()
    fd = event.fileno()
    refused = Refused(fd)
    assert refused(event.notify) == errno.EACCES

    def child():
        assert event.is_set()
        assert readable(event.fileno())
        assert event.notify() is False
        assert event.clear() is True
        assert not readable(fd)

    forked(child)
    assert event.notify() is False
    assert event.clear() is True


# ---- eventfd refused


def _without_eventfd(error):
    import test_fork

    def works():
        test_fork.works(event, on_uvloop=False)  # uvloop needs an eventfd of its own

    seccomp.refuse("eventfd2", errno=error)
    before = numbers()
    assert backend() in ("socketpair", "tcp")
    assert numbers() == before
    event = IoEvent()
    event.notify()
    fd = event.fileno()
    assert os.readlink(f"/proc/self/fd/{fd}").startswith("socket:")
    assert readable(fd)
    for _ in range(100):  # more tokens than fit into the pair
        event.notify()
        assert event.clear() is True
        assert not readable(fd)
        assert event.clear() is False
    works()
    forked(works)
    works()
    for number in numbers() - before:
        assert not os.get_inheritable(number)
        assert not os.get_blocking(number)
    event.close()


@in_child
def test_eventfd_refused_with_eperm_falls_back_to_a_pair():
    _without_eventfd(errno.EPERM)


@in_child
def test_eventfd_refused_with_enosys_falls_back_to_a_pair():
    _without_eventfd(errno.ENOSYS)


@in_child
def test_the_call_that_needs_a_refused_descriptor_raises_the_error():
    event = IoEvent()
    calls = [event.fileno, lambda: event.wait(0), backend, Hub]
    if backend(thread=True) == "futex":
        del calls[1]  # a futex is never refused
    seccomp.refuse("eventfd2", "socketpair", errno=errno.EPERM)
    if backend_is_tcp():
        return
    for call in calls:
        try:
            call()
        except OSError as error:
            assert error.errno == errno.EPERM
        else:
            sys.exit(f"{call} was not refused")
    assert event.notify() is True
    assert event.clear() is True


def backend_is_tcp():
    try:
        return backend() == "tcp"
    except OSError:
        return False

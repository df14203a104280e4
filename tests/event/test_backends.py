"""Tests of notifiers whose descriptors die, or are closed by somebody else.

A pair of sockets can die by itself (Windows resets the loopback on suspend). An eventfd cannot, so
the tests that need a pair have the eventfd refused.
"""

import errno
import os
import time

import pytest

import seccomp
from helpers import (
    PATIENCE,
    Thread,
    errno_of,
    errnos_of_a_closed_reader,
    forked,
    in_child,
    kill,
    numbers,
    readable,
    until,
    waiting,
)
from wakefd import IoEvent
from wakefd._wakefd import Hub, backend

polls = pytest.mark.skipif(
    backend(thread=True) == "futex", reason="a blocked thread has no descriptor here"
)


def needs_a_pair():
    if backend() == "eventfd":
        seccomp.refuse("eventfd2", errno=errno.EPERM)
    assert backend() in ("socketpair", "tcp")


def test_the_backend_has_a_name():
    assert backend() in ("eventfd", "socketpair", "tcp")
    assert backend(thread=True) in ("futex", backend())


def test_asking_for_the_name_leaves_no_descriptor():
    before = numbers()
    for _ in range(10):
        backend()
    assert numbers() == before


@in_child
def test_clear_on_a_dead_pair_is_an_error_once_and_the_next_fileno_works():
    needs_a_pair()
    for up in (False, True):
        event = IoEvent()
        if up:
            event.notify()
        dead = event.fileno()
        kill(dead)
        assert readable(dead)
        try:
            while event.clear():  # a token that arrived before the pair died may be read first
                pass
        except OSError as error:
            assert isinstance(error, ConnectionError), error
        else:
            raise AssertionError
        event.clear()
        fd = event.fileno()
        assert not readable(fd)
        assert event.notify() is True
        assert readable(fd)
        assert event.clear() is True
        assert not readable(fd)


@in_child
def test_notify_on_a_dead_pair_raises_an_error_and_the_flag():
    needs_a_pair()
    event = IoEvent()
    kill(event.fileno())
    assert errno_of(event.notify) in errnos_of_a_closed_reader()
    assert event.is_set()
    assert event.wait(0)
    assert errno_of(event.clear) is not None
    assert readable(event.fileno())
    assert event.clear() is True


def dead_hub(kit_name):
    """Kill the hub's pair under a loop that waits: the same dispatch replaces the pair."""
    import kits

    needs_a_pair()
    kit = kits.kit(kit_name)

    async def main():
        event, other = IoEvent(), IoEvent()
        before = numbers()
        task = kit.spawn(event.notified)
        also = kit.spawn(other.notified)
        await kit.waiting(other, 1)
        await kit.waiting(event, 1)
        hub = numbers() - before
        for _ in range(3):
            kill(min(numbers() - before))
            used = time.process_time()
            await kit.sleep(0.1)
            assert time.process_time() - used < 0.08, "the loop spins"
            assert not task.done()
        Thread(event.notify)
        await task.join()
        event.clear()
        Thread(other.notify)
        await also.join()
        assert len(numbers() - before) <= len(hub)
        for _ in range(10):
            task = kit.spawn(event.notified)
            await kit.waiting(event, 1)
            Thread(event.notify)
            await task.join()
            event.clear()

    kit.run(main)


@in_child
def test_an_asyncio_loop_whose_hub_dies_goes_on():
    dead_hub("asyncio")


@in_child
def test_a_trio_loop_whose_hub_dies_goes_on():
    dead_hub("trio")


@in_child
def test_a_uvloop_loop_whose_hub_dies_goes_on():
    if backend() == "eventfd":
        return  # uvloop needs an eventfd of its own, and this test has eventfds refused
    dead_hub("uvloop")


@polls
@in_child
def test_a_thread_whose_hub_dies_goes_on_waiting():
    needs_a_pair()
    event = IoEvent()
    before = numbers()
    thread = Thread(event.wait, PATIENCE)
    until(lambda: waiting(event) == 1)
    used = time.process_time()
    kill(min(numbers() - before))
    time.sleep(0.1)
    assert time.process_time() - used < 0.08, "the thread spins"
    assert thread.is_alive()
    event.notify()
    assert thread.finish() is True


@in_child
def test_a_notify_to_a_dead_hub_still_releases_its_waiters():
    needs_a_pair()
    event, outcomes = IoEvent(), []
    hub = Hub()
    hub.wait(event, outcomes.append)
    kill(hub.fileno())
    try:
        event.notify()
    except OSError:
        pass
    assert readable(hub)
    replaced = []
    hub.dispatch(replaced.append)
    assert outcomes == [True]
    assert replaced != [hub.fileno()]
    assert len(replaced) == 1
    assert not readable(hub)
    event.clear()
    hub.wait(event, outcomes.append)
    assert event.notify() is True
    assert readable(hub)
    hub.dispatch(replaced.append)
    assert len(replaced) == 1
    assert outcomes == [True, True]
    hub.close()


@in_child
def test_a_loop_is_told_of_a_dead_descriptor_although_a_waiter_raises():
    needs_a_pair()
    event, replaced = IoEvent(), []

    def fail(_):
        assert replaced
        raise ZeroDivisionError

    hub = Hub()
    hub.wait(event, fail)
    kill(hub.fileno())
    errno_of(event.notify)
    try:
        hub.dispatch(replaced.append)
        raise AssertionError("dispatch did not call the waiter")
    except ZeroDivisionError:
        pass
    assert len(replaced) == 1
    assert not readable(hub)
    hub.close()


@in_child
def test_a_dead_pair_in_the_pool_is_replaced_before_it_is_used():
    needs_a_pair()
    event = IoEvent()
    hub = Hub()
    kill(hub.fileno())
    hub.close()
    outcomes = []
    hub = Hub()
    assert not readable(hub)
    hub.wait(event, outcomes.append)
    event.notify()
    assert readable(hub)
    hub.dispatch()
    assert outcomes == [True]


# ---- descriptors closed by somebody else


@in_child
def test_a_hub_whose_descriptor_somebody_closed_gets_another():
    event, outcomes, hub = IoEvent(), [], Hub()
    for turn in range(3):
        hub.wait(event, outcomes.append)
        os.close(hub.fileno())
        assert errno_of(event.notify) in errnos_of_a_closed_reader()
        assert event.is_set()
        hub.dispatch()
        assert outcomes == [True] * (2 * turn + 1)
        event.clear()
        hub.wait(event, outcomes.append)
        assert event.notify() is True
        assert readable(hub)
        hub.dispatch()
        assert outcomes == [True] * (2 * turn + 2)
        event.clear()


@polls
@in_child
def test_a_thread_whose_descriptor_somebody_closed_can_wait_again():
    event, before = IoEvent(), numbers()
    event.wait(0)
    for _ in range(3):
        os.close(min(numbers() - before))
        assert event.wait(0.01) is False
        timer = Thread(lambda: (time.sleep(0.05), event.notify()))
        assert event.wait(PATIENCE) is True
        timer.finish()
        event.clear()


@in_child
def test_the_next_loop_gets_no_pooled_hub_whose_descriptor_somebody_closed():
    # A daemon that does not fork again closes its descriptors between two runs of asyncio.
    import test_fork

    event = IoEvent()
    test_fork.works(event)
    event.close()
    os.closerange(3, 256)
    test_fork.works(IoEvent())


@in_child
def test_a_daemon_that_closed_all_descriptors_after_the_fork_can_wait():
    import test_fork

    test_fork.works(IoEvent())

    def child():
        os.closerange(3, 256)
        test_fork.works(IoEvent())

    forked(child)


@in_child
def test_a_pooled_hub_whose_number_became_a_log_file_leaves_the_log_alone():
    import tempfile

    import test_fork

    test_fork.works(IoEvent())
    last = max(numbers())
    os.closerange(3, 256)
    with tempfile.TemporaryFile() as log:
        while os.dup(log.fileno()) <= last:
            pass
        os.write(log.fileno(), b"log\n")
        test_fork.works(IoEvent())
        assert os.pread(log.fileno(), 99, 0) == b"log\n"


@in_child
def test_a_number_that_was_found_closed_is_never_written_or_read_again():
    # The next notify writes a refused token again, but not when the number is a log file by now.
    import tempfile

    if backend() != "eventfd":
        return  # the test cannot tell the number of a pair's writing end
    event, watched, hub = IoEvent(), IoEvent(), Hub()
    hub.wait(watched, print)
    for one, number in ((event, event.fileno()), (watched, hub.fileno())):
        with tempfile.TemporaryFile() as log:
            os.close(number)
            assert errno_of(one.notify) == errno.EBADF
            os.dup2(log.fileno(), number)
            os.write(number, b"the first line of the log\n")
            os.lseek(number, 0, os.SEEK_SET)
            for _ in range(3):
                assert errno_of(one.notify) == errno.EBADF
            hub.dispatch() if one is watched else errno_of(one.clear)
            assert os.pread(number, 99, 0) == b"the first line of the log\n"
            assert os.lseek(number, 0, os.SEEK_CUR) == 0
            one.clear()
            assert one.notify() is True
            assert readable(event.fileno())
            assert os.pread(number, 99, 0) == b"the first line of the log\n"
            os.close(number)


@in_child
def test_a_dead_hub_is_replaced_once_descriptors_are_free_again():
    from test_life_loops import only

    needs_a_pair()
    event, outcomes, dead, hub = IoEvent(), [], [], Hub()
    hub.wait(event, outcomes.append)
    kill(hub.fileno())
    said = errnos_of_a_closed_reader()
    with only(0):
        for _ in range(3):
            hub.dispatch(dead.append)
            assert readable(hub)  # so that the loop dispatches again and the replacement is retried
        assert errno_of(event.notify) in said
        hub.dispatch(dead.append)
        assert outcomes == [True]
        assert not dead
    event.clear()
    hub.wait(event, outcomes.append)
    hub.dispatch(dead.append)
    assert dead not in ([], [hub.fileno()])
    assert not readable(hub)
    assert event.notify() is True
    assert readable(hub)
    hub.dispatch()
    assert outcomes == [True, True]
    hub.close()

"""Tests of forks: after a fork the child's events are its own.

Each test runs in a fresh interpreter, which forks.
"""

import asyncio
import multiprocessing
import os
import resource
import signal
import sys
import threading
import time

from helpers import (
    PATIENCE,
    Thread,
    fds,
    forked,
    in_child,
    readable,
    stress,
    until,
    waiting,
)
from wakefd import IoEvent
from wakefd._wakefd import Hub


def released_by(event, notify=None):
    """Check that `notify` in this thread releases another thread's wait."""
    event.clear()
    thread = Thread(event.wait, PATIENCE)
    until(lambda: waiting(event) >= 1)
    (notify or event.notify)()
    assert thread.finish() is True
    assert event.clear() is True


def works(event, on_uvloop=True):
    """Check everything that an event can do in this process."""
    import trio

    fd = event.fileno()
    event.clear()
    assert not readable(fd)
    assert event.notify()
    assert readable(fd)
    assert event.wait()
    assert event.clear()
    assert not readable(fd)
    assert not event.wait(0)
    released_by(event)

    async def notified():
        thread = Thread(event.wait, PATIENCE)
        Thread(lambda: (time.sleep(0.005), event.notify()))
        await asyncio.wait_for(event.notified(), PATIENCE)
        thread.finish()
        assert event.clear()

    async def trio_notified():
        Thread(lambda: (time.sleep(0.005), event.notify()))
        with trio.fail_after(PATIENCE):
            await event.notified()
        assert event.clear()

    asyncio.run(notified())
    trio.run(trio_notified)
    if on_uvloop:
        import uvloop

        uvloop.run(notified())


@in_child
def test_the_child_keeps_the_number_and_has_its_own_descriptor_there():
    event = IoEvent()
    fd = event.fileno()

    def child():
        assert event.fileno() == fd
        works(event)
        assert event.fileno() == fd
        event.notify()

    forked(child)
    assert not readable(fd)
    assert not event.is_set()
    assert event.notify()
    assert readable(fd)


@in_child
def test_the_child_neither_wakes_the_parent_nor_takes_its_tokens():
    event, up = IoEvent(), IoEvent()
    up.notify()
    fds_of_both = [event.fileno(), up.fileno()]
    parents = Thread(event.wait, PATIENCE)
    until(lambda: waiting(event) == 1)
    rises = event._rises()

    def child():
        assert up.is_set()
        assert up.clear() is True
        for _ in range(100):
            event.notify()
            event.clear()
        event.notify()

    forked(child)
    time.sleep(0.05)
    assert parents.is_alive()
    assert event._rises() == rises
    assert [readable(fd) for fd in fds_of_both] == [False, True]
    assert up._owed() == 1
    assert up.clear() is True
    assert event.notify()
    assert parents.finish() is True


@in_child
def test_a_task_of_the_parent_is_not_woken_by_the_child():
    event, other = IoEvent(), IoEvent()

    async def main():
        task = asyncio.create_task(event.notified())
        also = asyncio.create_task(other.notified())
        while not waiting(other):
            await asyncio.sleep(0)
        forked(lambda: (event.notify(), other.close(), released_by(event, event.notify)))
        done, _ = await asyncio.wait([task, also], timeout=0.05)
        assert not done
        event.notify()
        other.notify()
        await asyncio.wait_for(asyncio.gather(task, also), PATIENCE)

    asyncio.run(main())


@in_child
def test_an_event_that_was_up_at_the_fork_is_up_and_readable_in_the_child():
    event = IoEvent()
    event.notify()
    fd = event.fileno()

    def child():
        assert event.is_set()
        assert readable(fd)
        assert event._owed() == 1
        assert event.notify() is False
        assert event.clear() is True
        assert not readable(fd)
        assert event._owed() == 0
        works(event)

    forked(child)
    assert readable(fd)
    forked(child)
    assert event.clear() is True


@in_child
def test_a_token_that_a_stranger_took_is_there_again_in_the_child():
    event = IoEvent()
    fd = event.fileno()
    event.notify()
    os.read(fd, 8)
    assert not readable(fd)
    forked(lambda: until(lambda: readable(fd)))


@in_child
def test_inherited_events_work_on_new_threads_and_loops():
    events = [IoEvent() for _ in range(3)]
    events[1].fileno()
    works(events[2])  # this leaves hubs of threads and loops in the pool
    forked(lambda: [works(event) for event in events])
    for event in events:
        works(event)


@in_child
def test_the_main_threads_own_wait_works_on_both_sides():
    event = IoEvent()
    assert not event.wait(0.001)  # this wait makes the thread's hub

    def child():
        assert not event.wait(0.001)
        Thread(lambda: (time.sleep(0.01), event.notify()))
        assert event.wait(PATIENCE)

    forked(child)
    assert not event.wait(0.001)
    Thread(lambda: (time.sleep(0.01), event.notify()))
    assert event.wait(PATIENCE)


@in_child
def test_events_work_in_grandchildren():
    event = IoEvent()
    fd = event.fileno()

    def generation(left):
        assert event.fileno() == fd
        event.clear()
        event.notify()
        assert readable(fd)
        if left:
            forked(lambda: generation(left - 1))
        assert readable(fd)
        event.clear()
        assert not readable(fd)
        released_by(event)

    generation(4)


@in_child
def test_a_fork_costs_no_descriptor():
    events = [IoEvent() for _ in range(10)]
    for event in events:
        event.fileno()
    works(events[0])
    before = fds()

    def child():
        assert fds() <= before
        works(events[5])
        assert fds() <= before + 4
        for event in events:
            event.close()
        assert fds() <= before + 4 - len(events)

    forked(child)
    assert fds() == before


@in_child
def test_a_loop_that_ran_before_the_fork_raises_runtime_error_in_the_child():
    event = IoEvent()
    loop = asyncio.new_event_loop()

    async def wait(seconds):
        await asyncio.wait_for(event.notified(), seconds)

    def run(seconds):
        try:
            loop.run_until_complete(wait(seconds))
        except TimeoutError:
            return "time is up"
        except RuntimeError as error:
            return str(error)
        return "notified"

    assert run(0.001) == "time is up"

    def child():
        for _ in range(2):
            assert "before the fork" in run(PATIENCE)
            assert "asyncio.run" in run(PATIENCE)
        works(event)
        event.notify()
        assert run(PATIENCE) == "notified"  # the flag is up, so the loop's hub is not needed
        loop.close()
        works(event)

    forked(child)
    thread = Thread(lambda: (time.sleep(0.01), event.notify()))
    assert run(PATIENCE) == "notified"
    thread.finish()
    loop.close()


@in_child
def test_a_uvloop_that_ran_before_the_fork_works_in_the_child_or_says_why_not():
    import uvloop

    event = IoEvent()
    loop = uvloop.new_event_loop()

    async def wait(seconds):
        await asyncio.wait_for(event.notified(), seconds)

    try:
        loop.run_until_complete(wait(0.001))
    except TimeoutError:
        pass

    def child():
        Thread(lambda: (time.sleep(0.01), event.notify()))
        try:
            loop.run_until_complete(wait(PATIENCE))
        except RuntimeError as error:
            assert "before the fork" in str(error)
        works(event)

    forked(child)
    Thread(lambda: (time.sleep(0.01), event.notify()))
    loop.run_until_complete(wait(PATIENCE))
    loop.close()


@in_child
def test_a_task_that_was_waiting_at_the_fork_is_dropped_quietly_in_the_child():
    import gc

    event = IoEvent()

    class Guard:
        def __del__(self):
            log.append(os.getpid())

    log = []

    async def wait(_):
        await event.notified()

    async def main():
        task = asyncio.create_task(wait(Guard()))
        while not waiting(event):
            await asyncio.sleep(0)

        def child():
            assert not log
            works(event)
            gc.collect()

        forked(child)
        event.notify()
        await task

    asyncio.run(main())


@in_child
def test_a_wait_goes_on_in_parent_and_child_after_a_fork_in_its_middle():
    # A signal handler forks. In the child, the handler returns into the wait.
    event, pids = IoEvent(), []
    parent = os.getpid()

    def handler(*_):
        signal.setitimer(signal.ITIMER_REAL, 0)
        pids.append(os.fork())
        Thread(lambda: (time.sleep(0.02), event.notify()))

    signal.signal(signal.SIGALRM, handler)
    signal.setitimer(signal.ITIMER_REAL, 0.02, 0.02)
    result = event.wait(PATIENCE)
    if os.getpid() != parent:
        os._exit(0 if result else 1)
    assert result is True
    from helpers import reaped

    reaped(pids[0])


# ---- numbers that were closed and given to other files


def take_the_number(fd, log):
    """Close the descriptor and open a log file under its number, as a daemon may."""
    os.close(fd)
    other = os.open(log, os.O_RDWR | os.O_CREAT | os.O_TRUNC)
    if other != fd:
        os.dup2(other, fd)
        os.close(other)
    os.write(fd, b"log\n")


def is_the_log(fd, log):
    return os.path.samestat(os.fstat(fd), os.stat(log)) and os.pread(fd, 99, 0) == b"log\n"


def _log():
    import tempfile

    return tempfile.mkstemp()[1]


@in_child
def test_a_number_that_became_a_log_file_before_the_fork_is_left_alone():
    log, event = _log(), IoEvent()
    fd = event.fileno()
    take_the_number(fd, log)

    def child():
        assert is_the_log(fd, log)
        assert event.notify()
        assert is_the_log(fd, log)
        assert event.fileno() != fd
        works(event)
        event.close()
        assert is_the_log(fd, log)
        os.write(fd, b"")

    forked(child)
    assert is_the_log(fd, log)
    os.unlink(log)


@in_child
def test_a_hubs_number_that_became_a_log_file_before_the_fork_is_left_alone():
    log, event, hub = _log(), IoEvent(), Hub()
    fd = hub.fileno()
    take_the_number(fd, log)

    def child():
        assert not event.wait(0)
        works(event)
        assert is_the_log(fd, log)

    forked(child)
    assert is_the_log(fd, log)
    os.unlink(log)


@in_child
def test_a_number_that_was_closed_before_the_fork_is_not_taken_back():
    event = IoEvent()
    os.close(event.fileno())

    def child():
        works(event)

    forked(child)


@in_child
def test_events_work_after_a_double_fork_with_closerange_in_between():
    # The usual way to make a daemon: fork, setsid, close all descriptors, open a log, fork again.
    log, event, other, hub = _log(), IoEvent(), IoEvent(), Hub()
    fd = max(event.fileno(), hub.fileno())
    other.wait(0)

    def first():
        os.setsid()
        os.closerange(3, 256)
        assert os.open(log, os.O_RDWR | os.O_CREAT) == 3
        while os.dup(3) <= fd:
            pass
        os.write(3, b"log\n")
        forked(second)

    def second():
        works(event)
        works(other)
        assert is_the_log(3, log)
        assert is_the_log(fd, log)

    forked(first)
    works(event)
    os.unlink(log)


# ---- out of descriptors at the fork


@in_child
def test_a_fork_without_free_descriptors_leaves_events_that_work_later():
    event, up = IoEvent(), IoEvent()
    fd = event.fileno()
    up.fileno()
    up.notify()
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (fd + 1, hard))

    def fill():
        try:
            while True:
                os.dup(0)
        except OSError:
            pass

    def child():
        fill()  # a hub gave its descriptor back at the fork
        for refused in (event.fileno, Hub):
            try:
                refused()
            except OSError:
                pass
            else:
                raise AssertionError
        assert up.is_set()
        assert event.notify()
        assert event.clear()
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
        assert readable(up.fileno())
        works(event)

    fill()
    forked(child)
    resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    assert not readable(fd)
    assert readable(up.fileno())
    works(event)


# ---- multiprocessing

shared = IoEvent()


def _use_it():
    works(shared)
    works(IoEvent())


@in_child
def test_an_event_works_in_processes_of_multiprocessing():
    shared.fileno()
    for method in ("fork", "forkserver", "spawn"):
        process = multiprocessing.get_context(method).Process(target=_use_it)
        process.start()
        process.join(2 * PATIENCE)
        assert process.exitcode == 0, (method, process.exitcode)


@in_child
def test_sending_an_event_to_another_process_is_a_type_error():
    process = multiprocessing.get_context("spawn").Process(target=print, args=(IoEvent(),))
    try:
        process.start()
    except TypeError as error:
        assert "multiprocessing.Event" in str(error)
    else:
        raise AssertionError


# ---- at full speed


@in_child
def test_forks_are_safe_while_other_threads_notify_clear_and_wait():
    plain, exposed, waited = IoEvent(), IoEvent(), IoEvent()
    events = [plain, exposed, waited]
    exposed.fileno()
    stop = threading.Event()

    def hammer():
        while not stop.is_set():
            for event in events:
                event.notify()
                event.clear()

    def wait():
        while not stop.is_set():
            waited.wait(0.01)

    async def wait_async():
        while not stop.is_set():
            try:
                await asyncio.wait_for(plain.notified(), 0.01)
            except TimeoutError:
                pass

    threads = [
        Thread(hammer),
        Thread(hammer),
        Thread(wait),
        Thread(lambda: asyncio.run(wait_async())),
    ]

    def child():
        for event in events:
            event.clear()
            assert event.notify()
            assert event.wait(0)
            assert event.clear()
            assert not event.wait(0)
            released_by(event)
        fd = exposed.fileno()
        assert not readable(fd)
        exposed.notify()
        assert readable(fd)
        assert exposed.clear()
        assert not readable(fd)
        assert exposed._owed() == 0

    for _ in range(stress(60, 2000)):
        forked(child)
    stop.set()
    for thread in threads:
        thread.finish()
    for event in events:
        released_by(event)


class Slow:
    """A module of which another thread is just looking something up while this one forks."""

    def __init__(self, module):
        self.module, self.asked, self.goes_on = module, threading.Event(), threading.Event()

    def __getattr__(self, name):
        if not self.asked.is_set():
            self.asked.set()
            self.goes_on.wait(PATIENCE)
        return getattr(self.module, name)


@in_child
def test_a_fork_in_the_middle_of_a_first_use_leaves_no_lock():
    def use():
        async def main():
            event = IoEvent()
            asyncio.get_running_loop().call_later(0.01, event.notify)
            await asyncio.wait_for(event.notified(), PATIENCE)

        asyncio.run(main())

    slow = sys.modules["contextvars"] = Slow(sys.modules["contextvars"])
    thread = Thread(use)
    assert slow.asked.wait(PATIENCE)
    forked(use)
    slow.goes_on.set()
    thread.finish()

"""Tests on every kind of loop: loops that end, signals, missing, dead and refused descriptors."""

import errno
import gc
import os
import resource
import select
import signal
import socket
import stat
import sys
import tempfile
import time
import weakref
from contextlib import contextmanager

import pytest

import kits
import lives
import seccomp
from helpers import (
    Thread,
    errno_of,
    fds,
    numbers,
    replace_file,
    run_child,
    stress,
    waiting,
)
from lives import every, works
from wakefd import ClosedResourceError, IoEvent
from wakefd._wakefd import backend

# A blocked thread that sleeps on a futex has no descriptor that could be missing, refused or dead.
NONE = ["threads"] if backend(thread=True) == "futex" else []


@pytest.fixture(scope="module", autouse=True)
def _screen():
    with lives.on_a_screen():
        yield


def for_a_while(seconds=0.02):
    """A condition that lets the loop run for `seconds`."""
    end = time.monotonic() + seconds
    return lambda: time.monotonic() >= end


# ---- waits, events and loops that end


@every("threads")
def test_a_cancelled_wait_loses_no_notification(name, event):
    def scene(life):
        for _ in range(3):
            one, other = life.wait(event), life.wait(event)
            yield life.begun(event, 2)
            life.cancel(one)
            yield life.begun(event, 1)
            event.notify()
            yield other
            assert other.outcome is True
            assert not one.over
            assert event.is_set()
            assert waiting(event) == 0
            event.clear()

    lives.play(name, scene)
    works(name, event)


@every("poll")
def test_a_close_ends_every_wait(name):
    def scene(life):
        event = IoEvent()
        waits = [life.wait(event) for _ in range(3)]
        yield life.begun(event, 3)
        thread = Thread(event.close)
        yield lambda: waiting(event) == 0
        thread.finish()
        for wait in waits if life.kit.can("close") else ():
            yield wait
            assert isinstance(wait.outcome, ClosedResourceError), wait.outcome
        event = IoEvent()
        wait = life.wait(event)
        yield life.begun(event)
        event.notify()
        event.close()  # the rise before the close ends the wait without an error
        yield wait
        assert wait.outcome is True

    lives.play(name, scene)


@every("poll")
def test_an_event_that_is_dropped_while_a_loop_waits_lives_on(name):
    def scene(life):
        event = IoEvent()
        wait = life.wait(event)
        yield life.begun(event)
        dropped, notify = weakref.ref(event), event.notify
        del event
        gc.collect()
        yield for_a_while()
        assert dropped() is not None
        thread = Thread(notify)
        del notify
        yield wait
        thread.finish()
        assert wait.outcome is True

    lives.play(name, scene)


def left_behind(life, event):
    """A scene that ends while its loop still has a waiter."""
    life.wait(event)
    yield life.begun(event)


@every("threads", "poll")
def test_a_loop_that_ends_while_tasks_wait_leaves_notify_legal(name, event):
    for _ in range(3):
        lives.play(name, left_behind, event)
        for call in (event.notify, event.notify, event.clear):
            Thread(call).finish()
    works(name, event)  # gevent's dead hubs are found when a new one is made, at the latest
    gc.collect()
    assert waiting(event) == 0
    assert event._listeners() <= 2


@every()
def test_thousands_of_loops_leave_no_descriptor_and_no_memory(name):
    run_child("test_life_loops", "thousands_of_loops", name)


def thousands_of_loops(name):
    few = name == "tk"  # each Tk application is a client of the X server
    event = IoEvent()

    def some(count):
        for turn in range(count):
            ends_early = turn % 3 == 0 and name not in ("gevent", "threads", "poll")
            lives.play(name, left_behind if ends_early else lives.wakes_up, event)

    def resident():
        gc.collect()
        with open("/proc/self/statm") as statm:
            return int(statm.read().split()[1]) * resource.getpagesize()

    some(20 if few else 100)
    descriptors = fds()
    half = stress(15, 150) if few else stress(100, 2500)
    some(half)
    memory = resident()  # the heap has its size by now, and only a leak makes it grow further
    some(half)
    assert fds() <= descriptors
    grown = resident() - memory
    # Tk itself keeps half a megabyte of each application, and gevent itself 11 KB of each hub.
    assert name in ("gevent", "tk") or grown < stress(500_000, 1_500_000), grown
    assert event._listeners() <= 2


@every("threads", "poll")
def test_loops_can_end_while_other_threads_notify_at_full_speed(name):
    events, stop = [IoEvent() for _ in range(3)], IoEvent()

    def notify():
        while not stop.is_set():
            for event in events:
                event.notify()
                event.clear()

    def scene(life):
        for event in events:
            for _ in range(2):
                life.wait(event)
        yield for_a_while(0.002)

    threads = [Thread(notify) for _ in range(2)]
    try:
        for _ in range(stress(10 if name == "tk" else 25, 1000)):
            lives.play(name, scene)
    finally:
        stop.notify()
    for thread in threads:
        thread.finish()
    works(name, IoEvent())  # gevent's dead hubs are found when a new one is made, at the latest
    gc.collect()
    assert [waiting(event) for event in events] == [0] * 3
    for event in events:
        works(name, event)


class Event(IoEvent):
    """An event that takes attributes."""


# gevent is left out, because the garbage collector does not look into a suspended greenlet.
@every("gevent", "threads")
def test_an_event_its_waiter_and_its_loop_in_one_cycle_are_collected(name):
    made = []

    def scene(life):
        event = Event()
        event.life, event.wait_of_its_own = life, life.wait(event)
        made.append((weakref.ref(event), weakref.ref(event.wait_of_its_own)))
        yield life.begun(event)

    before = fds()
    for _ in range(3):
        lives.play(name, scene)
    gc.collect()
    gc.collect()
    assert [[each() for each in pair] for pair in made] == [[None, None]] * 3
    assert fds() <= before + 1


@every()
def test_del_and_weakref_callbacks_may_notify(name, event):
    class Notifies:
        def __del__(self):
            event.notify()

    other = IoEvent()

    def scene(life):
        for _ in range(3):
            waits = [life.wait(event), life.wait(other)]
            yield life.begun(event)
            yield life.begun(other)
            thing = Notifies()
            thing.itself = thing
            _reference = weakref.ref(thing, lambda _: other.notify())
            del thing
            gc.collect()
            for wait in waits:
                yield wait
                assert wait.outcome is True
            event.clear()
            other.clear()

    lives.play(name, scene)


# ---- signals


@every("qt-glib", "tk")
def test_a_python_signal_handler_wakes_a_loop_that_sleeps(name):
    run_child("test_life_loops", "signal_handler", name)


signalled = IoEvent()


def asleep(life):
    """A scene in which a signal comes while the loop sleeps."""
    for _ in range(3):
        wait = life.wait(signalled)
        yield life.begun(signalled)
        signal.setitimer(signal.ITIMER_REAL, 0.03)
        yield wait
        assert wait.outcome is True
        assert signalled.clear()


def signal_handler(name, scene=asleep):
    signal.signal(signal.SIGALRM, lambda *_: signalled.notify())
    before = time.monotonic()
    lives.play_here(name, scene)
    assert time.monotonic() - before < 5, "the loop woke for another reason"


# Qt and Tk sleep in C, where Python runs no signal handlers until a descriptor wakes them.
@every(only=["qt-glib", "tk"])
def test_a_pair_of_sockets_lets_python_run_its_signal_handlers(name):
    run_child("test_life_loops", "wakeup_pair", name)


def wakeup_pair(name):
    reader, writer = socket.socketpair()
    for end in (reader, writer):
        end.setblocking(False)

    def watch():
        if name == "tk":
            import tkinter as tk

            tk._default_root.createfilehandler(reader, tk.READABLE, lambda *_: reader.recv(99))
            return None
        from PySide6.QtCore import QSocketNotifier

        watches = QSocketNotifier(reader.fileno(), QSocketNotifier.Type.Read)
        watches.activated.connect(lambda *_: reader.recv(99))
        return watches

    def scene(life):
        _watches = watch()
        yield from asleep(life)

    kits.kit(name)
    signal.set_wakeup_fd(writer.fileno())
    signal_handler(name, scene)


def test_an_event_cannot_be_the_wakeup_fd_of_signals():
    # Python writes one byte to the descriptor, but an eventfd takes eight. A pair's reading end
    # takes the byte, which never reaches the event.
    said = run_child("test_life_loops", "wakeup_fd").stderr
    assert ("OSError: [Errno 22]" in said) is (backend() == "eventfd"), said


def wakeup_fd():
    event = IoEvent()
    signal.signal(signal.SIGALRM, lambda *_: None)
    signal.set_wakeup_fd(event.fileno())
    os.kill(os.getpid(), signal.SIGALRM)
    time.sleep(0.02)
    assert not event.is_set()
    assert not event.wait(0)
    assert not select.select([event], [], [], 0)[0]
    signal.set_wakeup_fd(-1)
    assert event.notify()
    assert event.clear()


# ---- no descriptors left


@contextmanager
def only(count):
    """Lower the limit of descriptors, so that only `count` more can be opened."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    top = max(numbers()) + 1
    resource.setrlimit(resource.RLIMIT_NOFILE, (top, hard))
    holes = []
    try:
        while True:
            holes.append(os.dup(0))
    except OSError:
        pass
    resource.setrlimit(resource.RLIMIT_NOFILE, (top + count, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
        for hole in holes:
            os.close(hole)


@every(*NONE)
def test_the_first_wait_without_descriptors_raises_emfile_and_leaves_none(name):
    run_child("test_life_loops", "out_of_descriptors", name)


def out_of_descriptors(name):
    """Make the first wait of a loop with no descriptor left for it, then with one, with two, ..."""
    kits.kit(name)  # imports all that the loop needs
    refused = []

    def scene(life, free):
        yield for_a_while()  # the loop opens the descriptors it needs for itself
        event, before = IoEvent(), numbers()
        with only(free):
            # A new thread needs some descriptors for itself, for a moment.
            wait = life.wait(event)
            begun = life.begun(event)
            yield lambda: wait.over or begun()
            if wait.over:
                assert isinstance(wait.outcome, OSError), wait.outcome
                assert wait.outcome.errno == errno.EMFILE
        if wait.over:
            refused.append(free)
            wait = None
            gc.collect()
            assert waiting(event) == 0
            assert numbers() == before, (free, before, numbers())
            yield from lives.wakes_up(life, event)
        else:
            Thread(event.notify)
            yield wait
            assert wait.outcome is True
        event.clear()
        yield from lives.wakes_up(life, event)

    def child(free):
        sys.unraisablehook = lambda what: os._exit(3)
        if name == "uvloop":  # in the main thread, uvloop needs two descriptors more for signals
            Thread(lives.play, name, scene, free).finish()
        else:
            lives.play(name, scene, free)
        works(name, IoEvent())
        os._exit(5 if refused else 4)

    outcomes = []
    for free in range(8):
        pid = os.fork()
        if pid == 0:
            try:
                child(free)
            except BaseException:
                import traceback

                traceback.print_exc()
            finally:
                os._exit(1)
        outcomes.append(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]))
    needed = outcomes.count(5)
    assert outcomes == [5] * needed + [4] * (8 - needed), outcomes
    assert 1 <= needed <= 6, outcomes


# ---- descriptors that are closed or die


def eventfds(among):
    return [fd for fd in sorted(among) if "eventfd" in os.readlink(f"/proc/self/fd/{fd}")]


def sockets(among):
    return [fd for fd in sorted(among) if stat.S_ISSOCK(os.fstat(fd).st_mode)]


@every("poll", *NONE)
def test_a_hub_whose_descriptor_somebody_closed_is_replaced(name):
    if backend() != "eventfd":
        pytest.skip("the test cannot tell the hub's socket from the loop's own")
    run_child("test_life_loops", "closed_under_us", name)


def closed_under_us(name):
    event, log = IoEvent(), os.open(tempfile.gettempdir(), os.O_TMPFILE | os.O_RDWR)

    def scene(life):
        yield for_a_while()  # the loop opens the descriptors it needs for itself
        before = numbers()
        wait = life.wait(event)
        yield life.begun(event)
        hub = eventfds(numbers() - before)[0]
        os.close(hub)
        assert errno_of(event.notify) == errno.EBADF
        assert event.is_set()
        assert errno_of(event.notify) in (errno.EBADF, None)  # None: the hub was replaced meanwhile
        replace_file(log, hub)  # the number now belongs to the log file
        os.write(hub, b"log\n")
        taken.append(hub)
        if name == "gevent":  # a hub of gevent gives its descriptor back only when the next is made
            life.cancel(wait)
            yield life.begun(event, 0)

    taken = []
    lives.play(name, scene)
    event.clear()
    gc.collect()
    for _ in range(3):  # a blocked thread sleeps on at the old number: threads need a new event
        works(name, IoEvent() if name == "threads" else event)
    assert os.path.sameopenfile(taken[0], log)
    assert os.pread(log, 99, 0) == b"log\n"


# uvloop is left out: it needs eventfds of its own, and seccomp can refuse them only to all.
@every("poll", "uvloop", *NONE)
def test_a_hub_whose_connection_ends_is_replaced_and_the_loop_does_not_spin(name):
    run_child("test_life_loops", "dead_pair", name)


def dead_pair(name):
    if backend() == "eventfd":
        seccomp.refuse("eventfd2", errno=errno.EPERM)
    assert backend() in ("socketpair", "tcp")
    event = IoEvent()

    def scene(life):
        yield for_a_while()
        before = numbers()
        wait = life.wait(event)
        yield life.begun(event)
        for _ in range(2):
            hub = sockets(numbers() - before)[0]
            with socket.socket(fileno=os.dup(hub)) as end:
                end.shutdown(socket.SHUT_RDWR)
            used = time.process_time()
            yield for_a_while(0.1)
            assert time.process_time() - used < 0.08, "the loop spins"
            assert not wait.over
        thread = Thread(event.notify)
        yield wait
        thread.finish()
        assert wait.outcome is True
        for _ in range(3):
            yield from lives.wakes_up(life, event)

    lives.play(name, scene)
    works(name, event)


# ---- refused by the kernel


@every(*NONE)
@pytest.mark.skipif(not seccomp.AVAILABLE, reason="no seccomp numbers for this CPU")
def test_a_refused_token_is_an_error_and_the_next_notify_wakes_the_loop(name):
    run_child("test_life_loops", "refused_token", name)


def refused_token(name):
    from test_refused import Refused

    event = IoEvent()
    refused = Refused()

    def scene(life):
        for _ in range(2):
            wait = life.wait(event)
            yield life.begun(event)
            assert refused(event.notify) == errno.EACCES
            assert refused(event.notify) == errno.EACCES
            assert event.is_set()
            yield for_a_while()
            assert not wait.over
            assert event.notify() is False  # the flag was up, and this call's token gets through
            yield wait
            assert wait.outcome is True
            assert event.clear()
            yield from lives.wakes_up(life, event)

    lives.play(name, scene)

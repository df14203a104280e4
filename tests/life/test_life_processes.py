"""Tests of forks, multiprocessing and exec on every loop, each in a fresh interpreter."""

import ctypes
import multiprocessing
import os
import sys
import time
import traceback

import pytest

import lives
from helpers import PATIENCE, Thread, forked, numbers, reaped, run_child, waiting
from lives import every, works
from wakefd import IoEvent

# Tk is left out of most tests: its connection to the X server cannot be shared with a child.


def works_anew(name, event):
    """Use the event on a new loop, in this process whose main thread may be running a loop."""
    if name == "qt-glib":  # Qt's loops nest, and only the main thread's is sure to exist
        works(name, event)
    else:
        Thread(works, name, event).finish()


def ends(status):
    sys.stderr.flush()
    os._exit(status)


@every("tk")
def test_a_fork_while_a_loop_waits_separates_parent_and_child(name):
    run_child("test_life_processes", "forked_in_a_loop", name)


def forked_in_a_loop(name):
    """Fork while a loop waits.

    The child must not wake the parent's loop or take its tokens. In the child, the parent's loop
    works or raises RuntimeError, as `in_a_forked_child` says.
    """
    event, up, new = IoEvent(), IoEvent(), IoEvent()
    up.notify()
    readable = up.fileno()

    def scene(life):
        wait = life.wait(event)
        yield life.begun(event)
        rises = event._rises()
        pid = os.fork()
        if pid == 0:
            try:
                yield from child(life)
            except BaseException:
                traceback.print_exc()
                ends(1)
            ends(0)
        reaped(pid)
        yield lambda: True
        assert not wait.over
        assert event._rises() == rises
        assert waiting(event) == (name != "poll")
        assert up.is_set()
        assert up.clear() is True
        Thread(event.notify).finish()
        yield wait
        assert wait.outcome is True
        event.clear()
        yield from lives.wakes_up(life, event)

    def child(life):
        life.kit.after_fork()
        assert up.is_set()
        assert up.fileno() == readable
        assert up.clear() is True
        event.notify()
        event.clear()
        event.notify()
        event.clear()
        for each in (up, new):
            works_anew(name, each)
        wait = life.wait(new)
        begun = life.begun(new)
        yield lambda: wait.over or begun()
        if wait.over:
            assert life.kit.in_a_forked_child in ("refuses", "either")
            assert isinstance(wait.outcome, RuntimeError)
            assert "fork" in str(wait.outcome)
            assert "new" in str(wait.outcome)
            assert waiting(new) == 0
        else:
            assert life.kit.in_a_forked_child in ("works", "either")
            Thread(new.notify).finish()
            yield wait
            assert wait.outcome is True
        works_anew(name, IoEvent())

    lives.play_here(name, scene)
    works(name, up)


@every("tk")
def test_a_child_of_native_codes_fork_has_events_of_its_own(name):
    run_child("test_life_processes", "native", name)


def native(name):
    """Fork with fork(3), which runs the C library's fork handlers but not Python's."""
    event, other = IoEvent(), IoEvent()
    fd = event.fileno()
    works(name, event)
    works(name, event)

    def child():
        assert event.notify() is True
        assert event.clear() is True
        for each in (event, other, IoEvent()):
            works(name, each)

    wait_for_threads_to_end()
    forked(child, ctypes.PyDLL(None).fork)
    assert not event.is_set()
    assert event.fileno() == fd
    works(name, event)


def wait_for_threads_to_end():
    """Wait until threads have ended: the locks of one that is ending stay locked in a child."""
    end = time.monotonic() + 0.3
    while len(os.listdir("/proc/self/task")) > 2 and time.monotonic() < end:
        time.sleep(0.005)


shared = IoEvent()


def in_another_process(name):
    works(name, shared)
    works(name, IoEvent())


@every("tk")
def test_events_work_in_processes_of_multiprocessing(name):
    run_child("test_life_processes", "processes", name)


def processes(name):
    shared.fileno()
    if name not in ("gevent", "qt-glib"):  # gevent and Qt do not allow a fork after they have run
        works(name, shared)
    for method in ("fork", "forkserver", "spawn"):
        context = multiprocessing.get_context(method)
        if method == "forkserver":
            context.set_forkserver_preload(["test_life_processes"])
        process = context.Process(target=in_another_process, args=(name,))
        process.start()
        process.join(2 * PATIENCE)
        assert process.exitcode == 0, (method, process.exitcode)
    if name != "qt-glib":
        works(name, shared)


@every()
def test_exec_in_the_middle_of_a_loop_leaves_no_descriptor(name):
    said = run_child("test_life_processes", "executed", name).stdout
    assert said == "[]\n"


def executed(name):
    event, own = IoEvent(), numbers()
    event.fileno()
    code = f"""if True:
        import os
        found = []
        for fd in os.listdir("/proc/self/fd"):
            try:
                found.append((fd, os.readlink(f"/proc/self/fd/{{fd}}")))
            except OSError:
                pass  # the descriptor that lists the directory is closed again
        print([each for each in found if int(each[0]) not in {own!r} and "/proc/" not in each[1]])
    """

    def scene(life):
        life.wait(event)
        yield life.begun(event)
        Thread(event.wait)
        yield lambda: waiting(event) == 2 - (name == "poll")
        os.execve(sys.executable, [sys.executable, "-c", code], os.environ)

    lives.play(name, scene)


@pytest.fixture(scope="module", autouse=True)
def _screen():
    with lives.on_a_screen():
        yield

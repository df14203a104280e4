"""Tests of blocked threads: on Linux each sleeps on a word of memory and needs no descriptor."""

import asyncio
import gc
import os
import resource
import signal
import subprocess
import sys
import time

import pytest

from helpers import PATIENCE, Thread, forked, in_child, later, numbers, until, waiting
from test_byte_queue import pusher
from wakefd import ByteQueue, IoEvent, Portal, Queue, wait_any
from wakefd._wakefd import backend

THREADS = 400

futex = pytest.mark.skipif(
    backend(thread=True) != "futex", reason="a blocked thread polls a descriptor here"
)


def no_descriptors():
    """Lower the limit of descriptors, so that the process cannot open another."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (3, hard))
    try:
        os.close(os.dup(0))
    except OSError:
        return
    raise AssertionError("a descriptor can still be opened")


def blocked(call, *args, threads=THREADS):
    """Start threads that make this call."""
    return [Thread(call, *args) for _ in range(threads)]


@futex
@pytest.mark.parametrize("call", ["get", "put", "join", "wait", "wait_any", "get_bytes"])
@in_child
def test_hundreds_of_blocked_threads_need_no_descriptor(call):
    q, ring, event, other = Queue(), ByteQueue(1 << 16, 8), IoEvent(), IoEvent()
    full = Queue(1)
    full.put("first")
    push = pusher(ring)
    no_descriptors()
    if call == "get":
        threads = blocked(q.get, True, PATIENCE)
        until(lambda: q.getting == THREADS)
        for n in range(THREADS):
            q.put_nowait(n)
        assert sorted(thread.finish() for thread in threads) == [*range(THREADS)]
    elif call == "put":
        threads = blocked(full.put, "next", True, PATIENCE)
        until(lambda: full.putting == THREADS)
        assert [full.get(timeout=PATIENCE) for _ in range(THREADS + 1)] == [
            "first",
            *["next"] * THREADS,
        ]
        for thread in threads:
            thread.finish()
    elif call == "join":
        threads = blocked(full.join)
        until(lambda: waiting(full._finished()) == THREADS)
        full.get()
        full.task_done()
        for thread in threads:
            thread.finish()
    elif call == "get_bytes":
        # Each message wakes all who wait, so the wake-ups grow with the square of the threads: with
        # 400 of them, a busy machine took longer than the patience.
        few = THREADS // 8
        threads = blocked(ring.get, True, PATIENCE, threads=few)
        until(lambda: waiting(ring._readable()) == few)
        for _ in range(few):
            push(b"it")
        assert {thread.finish() for thread in threads} == {b"it"}
    elif call == "wait":
        threads = blocked(event.wait, PATIENCE)
        until(lambda: waiting(event) == THREADS)
        event.notify()
        assert {thread.finish() for thread in threads} == {True}
    else:
        threads = blocked(lambda: wait_any(other, event, timeout=PATIENCE))
        until(lambda: waiting(event) == waiting(other) == THREADS)
        event.notify()
        assert [thread.finish() for thread in threads] == [[event]] * THREADS
        assert waiting(other) == 0


@futex
@in_child
def test_hundreds_of_threads_call_a_portal_and_need_no_descriptor():
    async def main():
        done = IoEvent()
        async with Portal() as portal:
            await asyncio.to_thread(int)  # the loop opens the descriptors it needs for itself
            await done_soon(done)
            no_descriptors()
            threads = blocked(portal.run, square, 3)
            while any(thread.is_alive() for thread in threads):
                await asyncio.sleep(0.01)
            assert {thread.finish() for thread in threads} == {9}

    async def done_soon(event):
        event.notify()
        await event.notified()

    async def square(n):
        await asyncio.sleep(0.01)
        return n * n

    asyncio.run(asyncio.wait_for(main(), 2 * PATIENCE))


@futex
@in_child
def test_a_thread_that_waits_opens_no_descriptor():
    event, before = IoEvent(), numbers()
    threads = [Thread(event.wait, PATIENCE) for _ in range(10)]
    until(lambda: waiting(event) == 10)
    assert numbers() == before
    event.notify()
    assert {thread.finish() for thread in threads} == {True}
    assert numbers() == before


CALLS = {
    "wait": lambda timeout: IoEvent().wait(timeout),
    "wait_any": lambda timeout: wait_any(IoEvent(), IoEvent(), timeout=timeout),
    "get": lambda timeout: Queue().get(timeout=timeout),
    "put": lambda timeout: one(Queue(1)).put("more", timeout=timeout),
    "get_bytes": lambda timeout: ByteQueue(1 << 16, 8).get(timeout=timeout),
}


def one(q):
    q.put_nowait("it")
    return q


@pytest.mark.parametrize("timeout", [None, 1e9, PATIENCE])
@pytest.mark.parametrize("call", CALLS)
@in_child
def test_a_signal_handler_that_raises_ends_the_wait_though_system_calls_restart(call, timeout):
    # asyncio's add_signal_handler makes system calls restart; a restarted call hides the signal.
    class StopError(Exception):
        pass

    def handler(*_):
        raise StopError

    signal.signal(signal.SIGALRM, handler)
    for restart in (True, False):
        signal.siginterrupt(signal.SIGALRM, not restart)
        for _ in range(3):
            began = time.monotonic()
            signal.setitimer(signal.ITIMER_REAL, 0.02)
            try:
                CALLS[call](timeout)
            except StopError:
                assert time.monotonic() - began < PATIENCE / 2
            else:
                raise AssertionError("the signal did not end the wait")


@in_child
def test_join_runs_signal_handlers_and_goes_on():
    q = one(Queue())
    signal.signal(signal.SIGALRM, lambda *_: (q.get_nowait(), q.task_done()))
    signal.siginterrupt(signal.SIGALRM, False)
    signal.setitimer(signal.ITIMER_REAL, 0.02)
    q.join()
    assert q.unfinished_tasks == 0


@in_child
def test_a_wait_goes_on_after_the_process_is_stopped_and_continued():
    pid = os.getpid()
    event = IoEvent()
    code = f"import os, signal, time; [(time.sleep(.02), os.kill({pid}, s)) for s in (19, 18)]"
    for timeout in (None, PATIENCE):
        with subprocess.Popen([sys.executable, "-c", code]) as other:
            assert event.wait(0.5) is False
            Thread(lambda: (other.wait(), event.notify()))
            assert event.wait(timeout) is True
            event.clear()


@in_child
def test_a_child_forked_by_a_signal_handler_during_a_wait_sleeps_on_its_own():
    event, log = IoEvent(), []

    def handler(*_):
        def child():
            later(other.notify)
            assert other.wait(PATIENCE) is True
            assert not event.wait(0.01)
            later(event.notify)
            assert event.wait(PATIENCE) is True

        other = IoEvent()
        forked(child)
        log.append("child")
        event.notify()

    signal.signal(signal.SIGALRM, handler)
    signal.setitimer(signal.ITIMER_REAL, 0.02)
    assert event.wait(PATIENCE) is True
    assert log == ["child"]


@in_child
def test_threads_that_wait_and_end_leave_no_memory():
    event = IoEvent()

    def some(count):
        for _ in range(count):
            threads = [Thread(event.wait, PATIENCE) for _ in range(50)]
            until(lambda: waiting(event) == 50)
            event.notify()
            for thread in threads:
                thread.finish()
            event.clear()
        gc.collect()

    some(20)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    some(60)
    grown = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before
    assert grown < 2048, f"{grown} KiB"
    assert event._listeners() <= 60

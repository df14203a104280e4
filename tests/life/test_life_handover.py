"""Tests of what a hand-over may meet: its own loop, stuck loops, forks, signals, the end."""

import asyncio
import contextlib
import ctypes
import functools
import gc
import signal
import sys
import threading
import time

import pytest

import wakefd
from helpers import PATIENCE, Thread, forked, in_child, run_child
from test_handover import ATTEMPTS, Ran, patient_hand_overs
from test_native_examples import LIBRARY, WITH_PYTHON, compiled, needs_python_h
from wakefd import IoEvent, hand_over
from wakefd._wakefd import hand_over_limits


class Stuck:
    """A loop, in a thread, in which a task waits for `event`: it is stuck outside the GIL.

    It holds no lock that others need, and comes to its descriptors when the block ends.
    """

    def __init__(self, seconds=PATIENCE):
        self.event, self._free = IoEvent(), threading.Event()
        self._seconds = seconds

    def __enter__(self):
        stuck = threading.Event()

        async def main():
            task = asyncio.create_task(self.event.notified())
            await asyncio.sleep(0.01)
            stuck.set()
            self._free.wait(self._seconds)
            await asyncio.wait_for(task, PATIENCE)

        self._thread = Thread(asyncio.run, main())
        assert stuck.wait(PATIENCE)
        return self

    def __exit__(self, *_):
        self._free.set()
        self.event.notify()
        self._thread.finish()


def took(call):
    start = time.monotonic()
    call()
    return time.monotonic() - start


@pytest.fixture
def on():
    """Have the hand-over on, and leave all as it was."""
    before, limits = hand_over(True), hand_over_limits(0.0003, 0.0)
    yield
    hand_over(before)
    hand_over_limits(*limits)


def test_a_loop_that_is_stuck_delays_its_notifier_for_a_moment_only(on):
    hand_over_limits(0.2, 0.0)
    with Stuck() as loop:
        # In a new thread, which has given none of its time away.
        assert 0.2 <= Thread(took, loop.event.notify).finish() < PATIENCE / 2
        loop.event.clear()
    with Stuck() as loop:
        assert hand_over(False) is True
        hand_over_limits(PATIENCE, 0.0)
        assert took(loop.event.notify) < PATIENCE / 2
        assert hand_over(True) is False


def test_a_thread_that_blocks_next_hands_nothing_over(on):
    hand_over_limits(PATIENCE, 0.0005)

    def work():
        for _ in range(20):
            rise.notify()
            assert answer.acquire(timeout=PATIENCE)
        with Stuck() as loop:
            return took(loop.event.notify)

    async def main():
        thread = Thread(work)
        for _ in range(20):
            await asyncio.wait_for(rise.notified(), PATIENCE)
            rise.clear()
            answer.release()
        while thread.is_alive():
            await asyncio.sleep(0.01)
        return thread.finish()

    rise, answer = IoEvent(), threading.Semaphore(0)
    assert asyncio.run(main()) < PATIENCE / 2


def test_a_thread_that_computes_next_hands_over(on):
    hand_over_limits(PATIENCE, 0.0005)

    def work():
        """Return for each wake-up whether the task ran while this thread computed."""
        seen = []
        for _ in range(8):
            time.sleep(0.01)  # the loop sleeps again
            ran.it = False
            rise.notify()
            end = time.monotonic() + 0.02
            while time.monotonic() < end:
                pass
            seen.append(ran.it)
        return seen

    async def main():
        interval = sys.getswitchinterval()
        sys.setswitchinterval(PATIENCE)
        thread = Thread(work)
        try:
            # Two rises may become one where the loop comes late: so the waits are not counted.
            while thread.is_alive():
                with contextlib.suppress(TimeoutError):
                    await asyncio.wait_for(rise.notified(), 0.1)
                    ran()
                    rise.clear()
        finally:
            sys.setswitchinterval(interval)
        return thread.finish()

    rise, ran = IoEvent(), Ran()
    assert any(asyncio.run(main()))


def test_the_loop_s_own_thread_does_not_wait_for_itself(on):
    async def main():
        event = IoEvent()
        task = asyncio.create_task(event.notified())
        await asyncio.sleep(0.01)
        spent = took(event.notify)
        await asyncio.wait_for(task, PATIENCE)
        return spent

    hand_over_limits(PATIENCE, 0.0)
    assert asyncio.run(main()) < PATIENCE / 2


def test_a_thread_that_moved_a_loop_is_known(on):
    """A loop that goes on in another thread is that thread's from its first dispatch there."""
    event = IoEvent()
    loop = asyncio.new_event_loop()

    async def wait():
        await asyncio.wait_for(event.notified(), PATIENCE)
        event.clear()

    def run():
        loop.call_later(0.01, event.notify)
        loop.run_until_complete(wait())

    run()

    def own():
        run()
        hand_over_limits(PATIENCE, 0.0)
        task = loop.create_task(wait())
        loop.call_later(0.01, lambda: spent.append(took(event.notify)))
        loop.run_until_complete(task)

    spent = []
    Thread(own).finish()
    loop.close()
    assert spent[0] < PATIENCE / 2


def test_it_is_on_unless_the_environment_switches_it_off():
    run_child("test_life_handover", "the_switch_is", False, WAKEFD_HAND_OVER="0")
    run_child("test_life_handover", "the_switch_is", True, WAKEFD_HAND_OVER="1")
    run_child("test_life_handover", "the_switch_is", True, WAKEFD_HAND_OVER="")


def the_switch_is(on):
    assert hand_over(True) is on
    assert hand_over(False) is True
    assert hand_over(on) is False


def test_a_selector_event_loop_runs_what_a_computing_thread_calls(on):
    async def main():
        loop = asyncio.get_running_loop()
        for _ in range(ATTEMPTS):
            ran = Ran()
            with patient_hand_overs():
                thread = Thread(ran.after, lambda ran=ran: loop.call_soon_threadsafe(ran))
                while thread.is_alive():
                    await asyncio.sleep(0.01)
            if thread.finish():
                return True
        return False

    with asyncio.Runner(loop_factory=wakefd.SelectorEventLoop) as runner:
        assert runner.run(main())


def test_a_notifier_in_the_middle_of_a_hand_over_does_not_hold_up_a_fork(on):
    hand_over_limits(1.0, 0.0)
    with Stuck() as loop:
        notifier = Thread(loop.event.notify)
        time.sleep(0.05)
        forked(in_the_child_of_a_fork)
        notifier.finish()


def in_the_child_of_a_fork():
    async def main():
        event = IoEvent()
        task = asyncio.create_task(event.notified())
        await asyncio.sleep(0.01)
        thread = Thread(event.notify)
        await asyncio.wait_for(task, PATIENCE)
        while thread.is_alive():
            await asyncio.sleep(0.001)
        thread.finish()

    asyncio.run(main())


@in_child
def test_the_interpreter_ends_in_the_middle_of_hand_overs():
    """The notifiers are daemon threads, and come back to an interpreter that is gone."""
    hand_over(True)
    hand_over_limits(0.02, 0.0)
    loops = [Stuck(0.5) for _ in range(4)]
    for loop in loops:
        loop.__enter__()

        def work(event=loop.event):
            while True:
                event.notify()
                event.clear()

        threading.Thread(target=work, daemon=True).start()
    time.sleep(0.1)


@in_child
def test_a_signal_in_the_middle_of_a_hand_over_is_handled():
    hand_over(True)
    hand_over_limits(1.0, 0.0)
    seen = []
    signal.signal(signal.SIGALRM, lambda *_: seen.append(other.notify()))
    other = IoEvent()
    with Stuck() as loop:
        signal.setitimer(signal.ITIMER_REAL, 0.1)
        loop.event.notify()
        assert seen == [True]


def test_the_collector_may_hand_over(on):
    class Notifies:
        def __del__(self):
            loop.event.notify()

    hand_over_limits(0.05, 0.0)
    with Stuck() as loop:
        it = Notifies()
        it.me = it
        del it
        gc.collect()
        assert loop.event.is_set()


def test_64_threads_notify_one_loop(on):
    hand_over_limits(0.01, 0.0)
    events = [IoEvent() for _ in range(64)]

    async def main():
        async def wait(event):
            for _ in range(20):
                await event.notified()
                event.clear()
                answers[event].set()

        answers = {event: threading.Event() for event in events}

        def work(event):
            for _ in range(20):
                event.notify()
                assert answers[event].wait(PATIENCE)
                answers[event].clear()

        threads = [Thread(work, event) for event in events]
        await asyncio.wait_for(asyncio.gather(*map(wait, events)), 2 * PATIENCE)
        while any(thread.is_alive() for thread in threads):
            await asyncio.sleep(0.01)
        for thread in threads:
            thread.finish()

    asyncio.run(main())


def test_loops_that_notify_each_other_do_not_wait_for_each_other(on):
    """Each waits for the other, at most as long as its patience lasts, and both come to an end."""
    hand_over_limits(0.05, 0.0)
    pair = IoEvent(), IoEvent()

    async def main(mine, other):
        for _ in range(200):
            other.notify()
            await asyncio.wait_for(mine.notified(), PATIENCE)
            mine.clear()
        other.notify()

    threads = [Thread(asyncio.run, main(*pair)), Thread(asyncio.run, main(*pair[::-1]))]
    for thread in threads:
        thread.finish(2 * PATIENCE)


C_LOCK = """
#include <Python.h>
#include <pthread.h>
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
PyObject *call_locked(PyObject *);
PyObject *call_locked(PyObject *function) {
    pthread_mutex_lock(&lock);
    PyObject *result = PyObject_CallNoArgs(function);
    pthread_mutex_unlock(&lock);
    return result;
}
"""


@needs_python_h
@pytest.mark.parametrize("way", ["off", "native"])
def test_the_ways_out_for_those_who_notify_with_a_lock_of_c_code(way, tmp_path):
    """C code that holds a lock while it notifies: another thread waits for that lock with the GIL.

    If the notifier let go of the GIL in between, neither could go on.
    """
    source = tmp_path / "lock.c"
    source.write_text(C_LOCK)
    library = compiled(source, tmp_path / "lock.so", "c99", *LIBRARY, *WITH_PYTHON)
    run_child("test_life_handover", "both_call_with_the_lock", library, way)


def both_call_with_the_lock(library, way):
    call = ctypes.PyDLL(str(library)).call_locked
    call.argtypes, call.restype = [ctypes.py_object], ctypes.py_object
    hand_over(way != "off")
    with Stuck() as loop:
        notify = loop.event.notify
        if way == "native":
            native = loop.event.native()
            function = ctypes.PYFUNCTYPE(None, ctypes.c_void_p)(native.function)
            notify = functools.partial(function, native.argument)

        def work():
            for _ in range(200):
                call(notify)
                loop.event.clear()

        threads = [Thread(work) for _ in range(4)]
        for thread in threads:
            thread.finish()

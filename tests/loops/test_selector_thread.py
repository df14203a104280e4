"""Tests of the selector thread, which watches descriptors for the loops that cannot.

On Windows that is the Proactor loop. The loop here is asyncio's own with `add_reader` taken away.
"""

import asyncio
import builtins
import gc
import os
import resource
import threading
import time
import warnings

import pytest

from helpers import (
    PATIENCE,
    Thread,
    fds,
    forked,
    in_child,
    later,
    program,
    replace_file,
    run_child,
    until,
    waiting,
)
from kits import ThreadedLoop, UnknownThreadedLoop
from wakefd import IoEvent, any_notified
from wakefd._loops import selector_thread as _selector_thread


@pytest.fixture(params=[ThreadedLoop, UnknownThreadedLoop], ids=["task steps", "futures"])
def kind(request):
    return request.param


def run(kind, main, *, close=True):
    loop = kind()
    try:
        return loop.run_until_complete(asyncio.wait_for(main(), PATIENCE))
    finally:
        if close:
            loop.close()


def selector_threads():
    return [thread for thread in threading.enumerate() if thread.name == "wakefd selector"]


async def begun(function, *args, count=1):
    tasks = [asyncio.ensure_future(function(*args)) for _ in range(count)]
    await asyncio.sleep(0)
    return tasks


def test_any_notified_works_on_a_loop_without_add_reader(kind):
    async def main():
        events = [IoEvent() for _ in range(100)]
        thread = later(events[7].notify)
        assert await any_notified(*events) == [events[7]]
        thread.finish()
        assert sum(map(waiting, events)) == 0

    run(kind, main)


def test_the_selector_thread_does_not_spin_while_a_loop_is_busy(kind):
    """The selector thread does not poll the descriptor that stays readable until the dispatch."""

    async def main():
        event = IoEvent()
        (task,) = await begun(event.notified)
        event.notify()
        begin = time.process_time()
        time.sleep(0.3)  # the loop is busy and does not dispatch
        assert time.process_time() - begin < 0.1
        await task
        begin = time.process_time()
        await asyncio.sleep(0.3)  # the flag is still up
        assert time.process_time() - begin < 0.1

    run(kind, main)


def test_a_hub_is_closed_with_its_loop_without_the_garbage_collector(kind):
    event = IoEvent()

    async def main():
        with pytest.raises(asyncio.TimeoutError):
            await asyncio.wait_for(event.notified(), 0.0001)

    run(kind, main)
    gc.collect()
    gc.disable()
    try:
        before = fds()
        for _ in range(50):
            run(kind, main)
        assert fds() <= before
        assert event._listeners() <= 3
    finally:
        gc.enable()
    event.notify()


@pytest.mark.parametrize("error", [KeyboardInterrupt, SystemExit])
def test_an_exception_that_ends_a_loop_does_not_keep_its_hub(kind, error):
    event, kept = IoEvent(), []

    async def die():
        await event.notified()
        raise error

    def once():
        loop = kind()
        task = loop.create_task(die())
        loop.run_until_complete(asyncio.sleep(0))
        event.notify()
        with pytest.raises(error) as caught:
            loop.run_until_complete(asyncio.sleep(PATIENCE))
        loop.close()
        event.clear()
        kept.append((caught.value, task))

    once()
    before = fds()
    for _ in range(10):
        once()
    assert fds() <= before + 2  # the selector thread may keep a closed loop's hub for a moment


def test_loops_can_be_closed_while_tasks_wait_and_a_thread_notifies(kind):
    event, stop = IoEvent(), IoEvent()

    def flood():
        while not stop.is_set():
            event.notify()
            event.clear()

    async def main():
        await begun(IoEvent().notified)
        await event.notified()

    thread = Thread(flood)
    try:
        for _ in range(100):
            loop = kind()
            loop.run_until_complete(asyncio.wait_for(main(), PATIENCE))
            for task in asyncio.all_tasks(loop):
                task.cancel()
            loop.run_until_complete(asyncio.sleep(0))
            loop.close()
    finally:
        stop.notify()
        thread.finish()


def test_thousands_of_loops_leave_no_descriptor_and_no_memory(kind):
    event = IoEvent()
    event_2 = IoEvent()

    async def main():
        tasks = await begun(event.notified)
        event.notify()
        await tasks[0]
        event.clear()

    def many(count):
        for _ in range(count):
            run(kind, main)

    many(300)
    gc.collect()
    descriptors, memory = fds(), resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    many(1500)
    gc.collect()
    assert fds() <= descriptors
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - memory < 8 * 1024
    assert len(selector_threads()) == 1
    assert not event_2.is_set()


def test_a_new_loop_works_while_the_thread_still_holds_a_closed_loops_hub(kind):
    """A KeyError came when a pooled hub was used again before the thread had dropped it."""
    from wakefd._loops import asyncio as _asyncio

    async def main():
        thread = later(IoEvent().notify, 0)
        with pytest.raises(asyncio.TimeoutError):
            await asyncio.wait_for(IoEvent().notified(), 0.001)
        thread.finish()

    old = kind()
    old.run_until_complete(main())
    keeper = _asyncio._loops[id(old)].owner()
    old.close()
    run(kind, main)
    run(kind, main)
    assert keeper._watched is None


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork")
@in_child(strict=True)
def test_after_a_fork_the_child_has_a_selector_thread_of_its_own(kind):
    event = IoEvent()

    def child():
        asyncio._set_running_loop(None)
        assert not [thread for thread in selector_threads() if thread.is_alive()]
        run(kind, lambda: woken(event))  # the child's loop gets a selector thread of the child's

    async def forks():
        task = asyncio.ensure_future(event.notified())
        await asyncio.sleep(0.01)
        forked(child)
        await asyncio.sleep(0.01)
        assert not task.done() and not event.is_set()
        event.notify()
        await task

    run(kind, lambda: woken(event))
    run(kind, forks)


@pytest.mark.parametrize("closed", [True, False], ids=["closed", "left open"])
def test_the_interpreter_can_exit_while_threads_notify(kind, closed):
    for _ in range(5):
        run_child("test_selector_thread", "exit_while_threads_notify", kind, closed, strict=True)


kept = []  # loops that only the end of the interpreter drops


def exit_while_threads_notify(kind, closed):
    event = IoEvent()

    def work():
        while True:
            event.notify()

    async def main():
        waits = asyncio.ensure_future(IoEvent().notified())
        for _ in range(10):
            await event.notified()
            event.clear()
        waits.cancel()

    run(kind, lambda: woken(event))
    threading.Thread(target=work, daemon=True).start()
    loop = kind()
    kept.append(loop)
    loop.run_until_complete(main())
    if closed:
        loop.close()
    else:
        warnings.simplefilter("ignore", ResourceWarning)


@in_child(strict=True)
def test_the_selector_thread_starts_only_when_a_loop_needs_it():
    assert not selector_threads()
    run(asyncio.SelectorEventLoop, lambda: woken(IoEvent()))
    assert not selector_threads()  # this loop has add_reader
    for _ in range(2):
        round_trip()
        (thread,) = selector_threads()
        assert thread.daemon


FAULTS = ["ValueError", "RuntimeError", "OSError", "KeyboardInterrupt", "SystemExit"]


@pytest.mark.parametrize("fault", FAULTS)
@in_child
def test_a_loop_whose_call_soon_threadsafe_raises_silences_no_other(fault):
    """A ValueError from one loop's call_soon_threadsafe silenced all such loops of the process."""

    class Refuses(ThreadedLoop):
        refusing = False

        def call_soon_threadsafe(self, callback, *args, **kwargs):
            if self.refusing:
                refused.append(callback)
                raise getattr(builtins, fault)("no")
            return super().call_soon_threadsafe(callback, *args, **kwargs)

    refused, event = [], IoEvent()

    async def wait():
        loop = asyncio.get_running_loop()
        (task,) = await begun(event.notified)
        loop.refusing = True
        event.notify()
        async with asyncio.timeout(PATIENCE):
            while not refused:
                await asyncio.sleep(0.001)
            await asyncio.sleep(0.01)
            thread = Thread(run, ThreadedLoop, other)
            while thread.is_alive():
                await asyncio.sleep(0.001)
            thread.finish()
            assert not task.done()
            loop.refusing = False
            await task  # the selector thread has called the loop again

    async def other():
        for _ in range(5):
            another = IoEvent()
            thread = later(another.notify, 0.001)
            await another.notified()
            thread.finish()

    run(Refuses, wait)
    assert len(selector_threads()) == 1


@in_child
def test_a_loop_that_is_closed_while_its_calls_raise_is_called_no_more():
    class Refuses(ThreadedLoop):
        def call_soon_threadsafe(self, *args, **kwargs):
            refused.append(args)
            raise RuntimeError("no")

    refused, event = [], IoEvent()

    async def wait():
        await begun(event.notified)
        event.notify()
        while not refused:
            await asyncio.sleep(0.001)

    run(Refuses, wait)
    until(lambda: not _selector_thread._current._due)
    count = len(refused)
    time.sleep(0.3)
    assert len(refused) == count


async def woken(event):
    thread = later(event.notify, 0.001)
    await event.notified()
    event.clear()
    thread.finish()


def round_trip(kind=ThreadedLoop):
    run(kind, lambda: woken(IoEvent()))


def own_ends():
    return _selector_thread._current._interrupt._ends


def taken(numbers, flags=os.O_RDWR):
    """Put other files under these numbers."""
    file = os.open("/dev/zero" if flags == os.O_RDWR else os.devnull, flags)
    for number in numbers:
        replace_file(file, number)
    os.close(file)


BENT = {
    "both closed": lambda: [os.close(end) for end in own_ends()],
    "reader closed": lambda: os.close(own_ends()[0]),
    "writer closed": lambda: os.close(own_ends()[1]),
    "both taken": lambda: taken(own_ends()),
    "reader taken": lambda: taken(own_ends()[:1]),
    "writer taken": lambda: taken(own_ends()[1:]),
    "all closed": lambda: os.closerange(3, 1000),
    "all closed, and taken by others": lambda: (os.closerange(3, 1000), taken(range(3, 40))),
}


@pytest.mark.parametrize("how", BENT)
@in_child
def test_loops_work_after_somebody_closed_the_selector_threads_pipe(how):
    """After os.closerange every new loop got OSError for ever."""
    round_trip()
    until(lambda: not _selector_thread._current._watched)
    BENT[how]()
    used = time.process_time()
    for _ in range(3):
        round_trip()
    time.sleep(0.3)
    assert time.process_time() - used < 0.3  # no selector thread spins
    assert len(selector_threads()) <= 3  # a replaced thread may sleep on the closed descriptor


@in_child
def test_the_thread_does_not_spin_if_its_numbers_are_taken_during_its_start():
    def pipe(real=os.pipe):
        os.pipe = real
        ends = real()
        taken(ends)
        return ends

    os.pipe = pipe
    assert _selector_thread._current is None
    used = time.process_time()
    for _ in range(3):
        round_trip()
    time.sleep(0.3)
    assert time.process_time() - used < 0.3
    assert os.pipe is not pipe


@in_child
def test_tasks_that_wait_are_released_although_the_threads_pipe_was_closed():
    event, go = IoEvent(), []

    async def main():
        (task,) = await begun(event.notified)
        go.append(True)
        await task

    thread = Thread(run, ThreadedLoop, main)
    until(lambda: go and _selector_thread._current._watched)
    time.sleep(0.01)
    for end in own_ends():
        os.close(end)
    round_trip()  # this wait finds the pipe closed and starts another selector thread
    event.notify()
    thread.finish()


@pytest.mark.parametrize("error", ["SystemExit", "KeyboardInterrupt", "ValueError"])
@in_child
def test_an_exception_raised_in_the_thread_from_outside_does_no_harm(error):
    import ctypes

    round_trip()
    for _ in range(3):
        # Not `selector_threads()`: an exception that comes while the thread logs the one before
        # ends it, and then the thread that has replaced it runs beside it for a moment.
        thread = _selector_thread._current._thread
        ctypes.pythonapi.PyThreadState_SetAsyncExc(
            ctypes.c_ulong(thread.ident), ctypes.py_object(getattr(builtins, error))
        )
        round_trip()
    round_trip()
    assert selector_threads()


@in_child
def test_a_thread_that_dies_leaves_its_loops_to_another():
    """The loops waited for ever when the selector thread died of an exception between two turns."""
    round_trip()
    thread = _selector_thread._current

    def turn():
        raise ValueError

    def sleep(seconds, real=time.sleep):
        if threading.current_thread() is thread._thread:
            raise SystemExit
        real(seconds)

    thread._turn, time.sleep = turn, sleep
    round_trip()
    assert _selector_thread._current is not thread


@in_child
def test_a_thread_that_has_died_is_replaced():
    round_trip()
    thread = _selector_thread._current
    thread._left = True  # the thread ends at its next turn
    thread._interrupt.send()
    thread._thread.join(PATIENCE)
    round_trip()
    assert _selector_thread._current is not thread


@in_child
def test_waits_work_although_no_thread_can_be_started():
    """No thread can be started in atexit handlers (CPython 3.12), or when there are too many."""
    real = threading.Thread.start

    def start(self):
        if self.name == "wakefd selector":
            raise RuntimeError("can't start new thread")
        real(self)

    threading.Thread.start = start
    round_trip()
    before = fds()
    for kind in (ThreadedLoop, UnknownThreadedLoop):
        round_trip(kind)
    assert fds() == before and not selector_threads()
    threading.Thread.start = real
    round_trip()
    assert len(selector_threads()) == 1


@pytest.mark.parametrize("first", ["before", "in the handler"])
def test_a_loop_works_in_an_atexit_handler(first):
    """The wait raised "ValueError: I/O operation on closed epoll object"."""
    # A program in a string: its handler is registered first, and so it runs after all others.
    out = program(
        """
        import atexit

        def at_exit():
            run(in_the_loop)
            run(in_the_loop)
            os.write(1, b"ran")

        async def in_the_loop():  # from 3.12 on an atexit handler cannot start a thread
            asyncio.get_running_loop().call_later(0.01, event.notify)
            await event.notified()
            event.clear()

        atexit.register(at_exit)

        import asyncio, os, sys
        import test_selector_thread
        from wakefd import IoEvent

        def run(main):
            test_selector_thread.run(test_selector_thread.ThreadedLoop, main)

        event = IoEvent()
        if sys.argv[1] == "before":
            run(lambda: test_selector_thread.woken(event))
        """,
        first,
    )
    assert out == "ran"


@in_child(strict=True)
def test_a_loop_can_be_closed_after_the_selector_thread_has_ended():
    """The interpreter's exit printed a TypeError in `__del__`."""
    loop = ThreadedLoop()
    kept.append(loop)
    loop.run_until_complete(woken(IoEvent()))
    thread = _selector_thread._current
    thread._left = True
    thread._interrupt.send()
    thread._thread.join(PATIENCE)
    loop.close()


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork")
@in_child
def test_a_child_has_no_descriptor_of_the_parents_thread():
    round_trip()
    ends = own_ends()

    def child():
        assert _selector_thread._current is None
        for end in ends:
            with pytest.raises(OSError):
                os.fstat(end)
        round_trip()

    forked(child)
    round_trip()

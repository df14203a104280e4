"""Tests of `wakefd.SelectorEventLoop`: asyncio's own loop, but threads wake it through an IoEvent.

The contract runs on this loop as well (`asyncio-selector-loop` in kits.py), and so do CPython's
tests of asyncio (test_selector_loop_cpython.py).
"""

import asyncio
import contextvars
import errno
import gc
import os
import resource
import selectors
import signal
import sys
import threading
import time
import weakref

import pytest

import seccomp
from helpers import (
    PATIENCE,
    Thread,
    fds,
    forked,
    in_child,
    kill,
    later,
    numbers,
    program,
    readable,
    stress,
    until,
)
from test_queue_refused import Log
from test_refused import Refused
from wakefd import SelectorEventLoop, _selector_loop
from wakefd._wakefd import backend

sandboxed = pytest.mark.skipif(not seccomp.AVAILABLE, reason="no seccomp numbers for this CPU")


def run(main, debug=None, factory=SelectorEventLoop):
    async def bounded():
        async with asyncio.timeout(PATIENCE):
            return await main()

    with asyncio.Runner(debug=debug, loop_factory=factory) as runner:
        return runner.run(bounded())


@pytest.fixture
def loop():
    made = SelectorEventLoop()
    yield made
    made.close()


def turn(loop):
    loop.run_until_complete(asyncio.sleep(0))


# ---- the class


def test_the_class_is_asyncios_own_and_imports_asyncio_only_when_used():
    assert issubclass(SelectorEventLoop, asyncio.SelectorEventLoop)
    # A program in a string, because `helpers` imports asyncio.
    program("""
        import sys, wakefd
        assert 'asyncio' not in sys.modules
        assert wakefd.SelectorEventLoop is wakefd.SelectorEventLoop
        assert 'asyncio' in sys.modules
        """)


@pytest.mark.skipif(sys.version_info < (3, 12), reason="Python >= 3.12")
def test_asyncio_run_accepts_the_class_as_its_loop_factory():
    async def main():
        return type(asyncio.get_running_loop())

    assert asyncio.run(main(), loop_factory=SelectorEventLoop) is SelectorEventLoop


def test_the_loop_adds_only_two_attributes(loop):
    """A 30th attribute of the loop would make all of asyncio slower on CPython 3.13."""
    asyncios = asyncio.SelectorEventLoop()
    asyncios.close()
    assert vars(loop).keys() - vars(asyncios).keys() == {"_event", "_watched"}


@pytest.mark.parametrize("name", ["SelectSelector", "PollSelector", "EpollSelector"])
def test_the_loop_works_with_any_selector(name):
    async def main():
        return await asyncio.to_thread(int)

    run(main, factory=lambda: SelectorEventLoop(getattr(selectors, name)()))


# ---- wake-ups from threads


def test_threads_wake_a_loop_that_sleeps():
    async def main():
        loop = asyncio.get_running_loop()
        reached = asyncio.Event()
        later(lambda: loop.call_soon_threadsafe(reached.set))
        await reached.wait()
        assert await loop.run_in_executor(None, lambda: 1) == 1

        async def answer():
            return 2

        def ask():
            time.sleep(0.02)
            return asyncio.run_coroutine_threadsafe(answer(), loop).result(PATIENCE)

        assert await asyncio.to_thread(ask) == 2

    run(main)


def test_calls_from_the_loop_and_from_threads_run_in_their_order(loop):
    seen = []
    for n in range(0, 2000, 2):
        loop.call_soon(seen.append, n)
        loop.call_soon_threadsafe(seen.append, n + 1)
    turn(loop)
    assert seen == list(range(2000))


def test_a_batch_takes_one_token_and_no_byte_of_asyncios_pair(loop):
    turn(loop)
    rises = loop._event._rises()
    thread = Thread(lambda: [loop.call_soon_threadsafe(int) for _ in range(1000)])
    thread.finish()
    assert loop._event._rises() == rises + 1
    assert loop._event._owed() == 1
    assert not readable(loop._ssock.fileno())
    turn(loop)
    turn(loop)
    assert loop._event._owed() == 0
    assert not readable(loop._watched[1])


def test_a_call_just_before_the_loop_sleeps_wakes_it():
    class Selector(selectors.DefaultSelector):
        def select(self, timeout=None):
            if timeout != 0 and calls:
                Thread(calls.pop()).finish()
                timeout = PATIENCE
            events = super().select(timeout)
            assert events or timeout != PATIENCE, "the loop slept"
            return events

    loop = SelectorEventLoop(Selector())
    future = loop.create_future()
    ran = []
    calls = [lambda: loop.call_soon_threadsafe(future.set_result, None)]
    calls += [lambda: loop.call_soon_threadsafe(ran.append, None)] * 5
    loop.run_until_complete(future)
    loop.close()
    assert len(ran) == 5


def test_the_call_of_a_thread_that_loses_the_gil_after_notify_runs():
    """The callback must be in before the loop wakes, because the loop may sleep again at once."""

    class Event:
        def __init__(self, event):
            self.event = event
            self.clear, self.close = event.clear, event.close

        def notify(self):
            self.event.notify()
            until(lambda: not self.event.is_set(), "the loop's turn")
            time.sleep(0.02)

    async def main():
        loop = asyncio.get_running_loop()
        loop._event = Event(loop._event)
        future = loop.create_future()
        thread = Thread(loop.call_soon_threadsafe, future.set_result, None)
        await future
        thread.finish()

    run(main)


@pytest.mark.stress
def test_no_wake_up_is_lost_and_every_call_runs_once():
    threads, count = 4, stress(10_000, 500_000)

    async def main():
        loop = asyncio.get_running_loop()
        ran, done = [0] * threads, asyncio.Semaphore(0)

        def call(index, n):
            assert ran[index] == n
            ran[index] += 1

        def work(index):
            for n in range(count):
                loop.call_soon_threadsafe(call, index, n)
                if n % 64 == index:
                    time.sleep(0.00001)  # long enough that the loop goes to sleep as well
            loop.call_soon_threadsafe(done.release)

        made = [Thread(work, index) for index in range(threads)]
        for _ in made:
            await done.acquire()
        for thread in made:
            thread.finish()
        assert ran == [count] * threads

        for _ in range(count // 10):
            assert await loop.run_in_executor(None, bool) is False

    with asyncio.Runner(loop_factory=SelectorEventLoop) as runner:
        runner.run(main())


# ---- a flood


def test_a_flood_leaves_the_loop_its_turns():
    """Without the pause that the flooding threads make, the loop has one turn a second, or less."""

    async def main():
        loop = asyncio.get_running_loop()
        stop = threading.Event()

        def flood():
            while not stop.is_set():
                loop.call_soon_threadsafe(int)

        threads = [Thread(flood) for _ in range(4)]
        try:
            for _ in range(100):
                await asyncio.sleep(0.001)
                assert len(loop._ready) < 50_000
        finally:
            stop.set()
        for thread in threads:
            thread.finish()

    run(main)


def test_a_thread_that_floods_a_loop_releases_the_gil_regularly(loop, monkeypatch):
    slept = []
    monkeypatch.setattr(_selector_loop, "sleep", slept.append)
    while len(loop._ready) < _selector_loop._MANY:
        loop.call_soon_threadsafe(int)
    assert slept == []
    for _ in range(1600):
        loop.call_soon_threadsafe(int)
    assert slept == [0] * 100


# ---- the behaviour of asyncio's loop


def test_a_closed_loop_refuses_calls():
    loop = SelectorEventLoop()
    loop.close()
    loop.close()
    with pytest.raises(RuntimeError, match="Event loop is closed"):
        loop.call_soon_threadsafe(int)
    loop._write_to_self()  # as a thread does that asked before the close whether the loop is closed


@pytest.mark.stress
def test_loops_can_be_closed_while_threads_call_them():
    """Every call is taken, or raises asyncio's own RuntimeError, and no descriptor is left."""
    before = fds()
    for _ in range(stress(20, 1000)):
        loop = SelectorEventLoop()
        told, started = [], threading.Semaphore(0)

        def fire(loop=loop, told=told, started=started):
            started.release()
            try:
                while True:
                    loop.call_soon_threadsafe(int)
            except RuntimeError as error:
                told.append(str(error))

        threads = [Thread(fire) for _ in range(4)]
        for _ in threads:
            assert started.acquire(timeout=PATIENCE)
        loop.run_until_complete(asyncio.sleep(0.001))
        loop.close()
        for thread in threads:
            thread.finish()
        assert told == ["Event loop is closed"] * 4
    assert fds() == before


def test_thousands_of_loops_leave_no_descriptor(no_gc):
    with asyncio.Runner(loop_factory=SelectorEventLoop):
        pass
    before = len(os.listdir("/proc/self/fd"))
    for _ in range(1000):
        SelectorEventLoop().close()
    assert len(os.listdir("/proc/self/fd")) == before


def test_a_loop_that_was_never_closed_is_collected_with_a_warning():
    before = fds()
    loop = SelectorEventLoop()
    gone = weakref.ref(loop)
    with pytest.warns(ResourceWarning, match="unclosed event loop"):
        del loop
        gc.collect()
    assert gone() is None
    assert fds() == before


def test_debug_mode_checks_callbacks(loop):
    async def coroutine():
        pass

    loop.set_debug(True)
    with pytest.raises(TypeError, match=r"coroutines cannot be used with call_soon_threadsafe\(\)"):
        loop.call_soon_threadsafe(coroutine)
    with pytest.raises(TypeError, match="a callable object was expected"):
        loop.call_soon_threadsafe(None)
    handle = loop.call_soon_threadsafe(int)
    assert handle._source_traceback[-1].name == "test_debug_mode_checks_callbacks"


def test_debug_mode_warns_of_slow_callbacks(caplog):
    async def main():
        loop = asyncio.get_running_loop()
        loop.slow_callback_duration = 0.01
        future = loop.create_future()
        Thread(loop.call_soon_threadsafe, time.sleep, 0.02).finish()
        Thread(loop.call_soon_threadsafe, future.set_result, None).finish()
        await future

    run(main, debug=True)
    assert any("sleep" in record.getMessage() for record in caplog.records)


def test_a_call_runs_in_its_context_and_its_handle_can_cancel_it(loop):
    var = contextvars.ContextVar("var", default=0)
    seen = []
    var.set(1)
    loop.call_soon_threadsafe(lambda: seen.append(var.get()))
    other = contextvars.Context()
    loop.call_soon_threadsafe(lambda: seen.append(var.get()), context=other)
    var.set(2)
    cancelled = loop.call_soon_threadsafe(seen.append, "never")
    assert isinstance(cancelled, asyncio.Handle)
    cancelled.cancel()
    turn(loop)
    assert seen == [1, 0]


@pytest.mark.parametrize("context", [None, contextvars.Context()])
def test_a_handle_equals_the_one_that_asyncio_makes(loop, context, monkeypatch):
    """wakefd fills the handle itself, and another Python may give handles further attributes."""
    assert _selector_loop._KNOWN is (sys.version_info < (3, 14))
    ours = loop.call_soon_threadsafe(divmod, 7, 2, context=context)
    monkeypatch.setattr(_selector_loop, "_KNOWN", False)
    theirs = loop.call_soon_threadsafe(divmod, 7, 2, context=context)
    assert type(ours) is type(theirs)
    assert list(loop._ready) == [ours, theirs]
    assert repr(ours) == repr(theirs)
    assert weakref.ref(ours)() is ours
    for name in {*asyncio.Handle.__slots__} - {"__weakref__", "_context"}:
        assert getattr(ours, name) == getattr(theirs, name), name
    for handle in (ours, theirs):
        given = handle._context
        assert given is context if context is not None else isinstance(given, contextvars.Context)


def test_an_exception_in_a_callback_goes_to_the_exception_handler(loop):
    told, ran = [], []
    loop.set_exception_handler(lambda _, context: told.append(context["exception"]))
    loop.call_soon_threadsafe(lambda: 1 / 0)
    loop.call_soon_threadsafe(ran.append, 1)
    turn(loop)
    assert [type(error) for error in told] == [ZeroDivisionError]
    assert ran == [1]


@pytest.mark.parametrize("error", [KeyboardInterrupt, SystemExit])
def test_an_exception_that_ends_a_run_leaves_the_other_calls_for_the_next(loop, error):
    def stop():
        raise error

    ran = []
    loop.call_soon_threadsafe(stop)
    loop.call_soon_threadsafe(ran.append, 1)
    with pytest.raises(error):
        loop.run_forever()
    turn(loop)
    assert ran == [1]
    done = []
    later(lambda: loop.call_soon_threadsafe(lambda: (done.append(1), loop.stop())))
    loop.call_later(PATIENCE, loop.stop)
    loop.run_forever()
    assert done


def test_the_default_executor_is_shut_down():
    threads = []

    async def main():
        await asyncio.to_thread(lambda: threads.append(threading.current_thread()))
        await asyncio.get_running_loop().shutdown_default_executor()
        with pytest.raises(RuntimeError, match="shutdown"):
            await asyncio.to_thread(int)

    run(main)
    assert not threads[0].is_alive()


@in_child
def test_signals_wake_the_loop_through_asyncios_own_pair():
    async def main():
        loop = asyncio.get_running_loop()
        reached = asyncio.Event()
        loop.add_signal_handler(signal.SIGUSR1, reached.set)
        later(lambda: os.kill(os.getpid(), signal.SIGUSR1))
        await reached.wait()
        assert signal.set_wakeup_fd(-1) == loop._csock.fileno()
        signal.set_wakeup_fd(loop._csock.fileno())
        loop.remove_signal_handler(signal.SIGUSR1)

    run(main)


@in_child
def test_ctrl_c_ends_a_loop_that_sleeps():
    async def main():
        later(lambda: os.kill(os.getpid(), signal.SIGINT))
        await asyncio.sleep(PATIENCE)

    began = time.monotonic()
    with pytest.raises(KeyboardInterrupt):
        run(main)
    assert time.monotonic() < began + PATIENCE / 2


@in_child
def test_a_python_signal_handler_may_call_call_soon_threadsafe():
    async def main():
        loop = asyncio.get_running_loop()
        reached = asyncio.Event()
        signal.signal(signal.SIGUSR1, lambda *_: loop.call_soon_threadsafe(reached.set))
        later(lambda: os.kill(os.getpid(), signal.SIGUSR1))
        await reached.wait()

    run(main)


@in_child
def test_subprocesses_work():
    async def main():
        process = await asyncio.create_subprocess_exec(
            sys.executable, "-c", "print('here')", stdout=asyncio.subprocess.PIPE
        )
        out, _ = await process.communicate()
        assert (out, process.returncode) == (b"here\n", 0)

    run(main)


# ---- forks


@in_child
def test_a_fork_in_a_running_loop_leaves_both_processes_working():
    """A new loop works in the child, which neither wakes the parent's loop nor takes its tokens."""

    async def main():
        loop = asyncio.get_running_loop()
        loop.call_soon_threadsafe(int)  # the flag is up at the fork
        forked(lambda: child(loop))
        assert not readable(loop._watched[1]) or loop._event.is_set()
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        assert not loop._event.is_set()
        assert not readable(loop._watched[1])
        for _ in range(10):
            assert await asyncio.to_thread(lambda: 1) == 1

    def child(parents):
        parents.call_soon_threadsafe(int)

        async def main():
            return await asyncio.to_thread(lambda: 1)

        assert run(main) == 1

    run(main)


@in_child
def test_a_call_on_the_parents_loop_in_the_child_does_not_wake_the_parent():
    loop = SelectorEventLoop()
    turn(loop)
    forked(lambda: loop.call_soon_threadsafe(int))
    assert loop._selector.select(0) == []
    loop.close()


@in_child
def test_a_loop_that_was_made_before_the_fork_runs_in_the_child():
    loop = SelectorEventLoop()
    turn(loop)

    def child():
        async def main():
            async with asyncio.timeout(PATIENCE):
                for _ in range(10):
                    await asyncio.to_thread(int)

        loop.run_until_complete(main())
        loop.close()

    forked(child)
    done = []
    later(lambda: loop.call_soon_threadsafe(lambda: (done.append(1), loop.stop())))
    loop.call_later(PATIENCE, loop.stop)
    loop.run_forever()
    assert done, "the child has taken the parent's descriptor"
    loop.close()


# ---- refusals of the operating system


@sandboxed
@pytest.mark.skipif(backend() != "eventfd", reason="a pair is written to under another number")
@in_child
def test_a_refused_wake_up_goes_through_asyncios_pair_and_is_logged_once():
    log = Log()
    ran = []

    async def main():
        loop = asyncio.get_running_loop()
        refused = Refused(loop._watched[1], streams=False)

        def calls(n, reached):
            loop.call_soon_threadsafe(ran.append, n)
            loop.call_soon_threadsafe(reached.set)

        for n in range(3):
            reached = asyncio.Event()
            later(lambda n=n, reached=reached: refused(lambda: calls(n, reached)))
            await reached.wait()

        reached = asyncio.Event()
        later(lambda: loop.call_soon_threadsafe(reached.set))  # this thread's write is not refused
        await reached.wait()
        await asyncio.sleep(0)
        assert not loop._event.is_set()

    run(main)
    assert ran == [0, 1, 2]
    assert len(log.texts) == 1 and "refused" in log.texts[0]


@sandboxed
@in_child
def test_a_call_whose_wake_up_is_refused_twice_runs_after_the_next_call():
    log = Log()
    ran = []

    async def main():
        loop = asyncio.get_running_loop()
        refused = Refused()
        future = loop.create_future()

        def work():
            assert isinstance(
                refused(lambda: loop.call_soon_threadsafe(ran.append, 1)), asyncio.Handle
            )
            time.sleep(0.02)
            assert ran == []
            loop.call_soon_threadsafe(future.set_result, None)

        thread = Thread(work)
        await future
        thread.finish()

    run(main)
    assert ran == [1]
    assert len(log.texts) == 1


@in_child
def test_a_loop_whose_descriptor_somebody_closed_goes_on():
    log = Log()

    async def main():
        loop = asyncio.get_running_loop()
        os.close(loop._watched[1])
        for _ in range(10):
            await asyncio.to_thread(int)

    run(main)
    assert len(log.texts) == 1


def test_a_pair_that_dies_is_replaced(mortal):
    async def main():
        loop = asyncio.get_running_loop()
        for _ in range(3):
            kill(loop._watched[1])
            for _ in range(10):
                await asyncio.to_thread(int)
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        assert not readable(loop._watched[1])

    run(main)


@in_child
def test_a_loop_that_cannot_be_made_for_lack_of_descriptors_leaves_none():
    SelectorEventLoop().close()
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    unraisable = []
    sys.unraisablehook = unraisable.append
    top = max(numbers()) + 1
    held = [os.dup(0) for _ in range(top - len(numbers()))]  # no number below `top` is free
    before = fds()
    try:
        for room in range(20):
            resource.setrlimit(resource.RLIMIT_NOFILE, (top + room, hard))
            try:
                loop = SelectorEventLoop()
            except OSError as error:
                assert error.errno == errno.EMFILE
                failed = room
            else:
                loop.close()
                break
            finally:
                resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
            assert fds() == before
    finally:
        for fd in held:
            os.close(fd)
    assert failed >= 3  # a loop opens an epoll, an eventfd and two sockets
    assert unraisable == []

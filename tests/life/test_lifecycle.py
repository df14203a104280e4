"""Tests of loops, events, threads, tasks and descriptors that outlive each other."""

import asyncio
import errno
import gc
import math
import os
import resource
import select
import signal
import sys
import threading
import time
import weakref

import pytest

import kits
from helpers import (
    PATIENCE,
    Thread,
    errno_of,
    errnos_of_a_closed_reader,
    fds,
    in_child,
    stress,
    until,
    waiting,
)
from wakefd import IoEvent
from wakefd._wakefd import Hub, backend


def left_behind(kit, event):
    """Run a loop that ends while a task waits (trio cancels that task, asyncio leaves it)."""
    if not kit.is_asyncio:

        async def main():
            kit.spawn(event.notified)
            await kit.waiting(event, 1)

        kit.run(main)
        return
    loop = kit.new_loop()
    task = loop.create_task(event.notified())
    loop.run_until_complete(kit.sleep(0))
    assert waiting(event) == 1
    task._log_destroy_pending = False
    loop.close()


# ---- the end of a loop


def test_a_loop_closed_with_a_waiter_leaves_notify_legal_from_every_thread(loop_kit, event):
    left_behind(loop_kit, event)
    assert event.notify() is True
    event.clear()
    for _ in range(8):
        assert Thread(event.notify).finish() is True
        event.clear()


def test_a_loops_own_close_closes_its_hub(loop_kit, no_gc):
    # Only live loops have a descriptor: close() itself frees the hub, and not the next loop.
    event = IoEvent()
    left_behind(loop_kit, event)
    assert waiting(event) == 0
    assert has_no_listener(event)
    before = fds_without_gc()
    for _ in range(stress(30, 300)):
        left_behind(loop_kit, event)
        assert waiting(event) == 0
    assert fds_without_gc() <= before
    assert event._listeners() <= 1


def has_no_listener(event):
    """Whether the event has no listener left of the loop that waited for it."""
    return event._listeners() == 0


def fds_without_gc():
    return len(os.listdir("/proc/self/fd"))


def test_a_thousand_runs_in_a_row_leave_no_descriptor(loop_kit):
    event, one_in_two = IoEvent(), False
    tasks = set()

    async def main():
        if one_in_two:  # the task is left waiting, and run() cancels it
            tasks.add(loop_kit.spawn(event.notified))
            await loop_kit.waiting(event, 1)
        else:
            loop_kit.spawn(event.notified)
            await loop_kit.waiting(event, 1)
            event.notify()
            event.clear()

    loop_kit.run(main)
    before = fds()
    for _ in range(stress(300, 2000) if loop_kit.name != "asyncio" else 1000):
        one_in_two = not one_in_two
        loop_kit.run(main)
    assert fds() <= before
    assert event._listeners() <= 1
    assert waiting(event) == 0


@pytest.mark.parametrize("name", ["asyncio", "uvloop"])
def test_thousands_of_loops_without_asyncio_run_leave_no_descriptor(name):
    # Test suites make loops like this: a new loop, a step or two, a close, and no run().
    kit, event = kits.kit(name), IoEvent()
    left_behind(kit, event)
    before = fds()
    for _ in range(stress(500, 5000)):
        left_behind(kit, event)
    assert fds() <= before
    assert event._listeners() <= 1


# uvloop is left out, because a loop of uvloop that was not closed is never freed.
@pytest.mark.parametrize("name", ["asyncio", "asyncio-future"])
@pytest.mark.filterwarnings("ignore:unclosed:ResourceWarning")
def test_loops_that_are_dropped_and_never_closed_give_their_hub_back(name):
    kit, event = kits.kit(name), IoEvent()

    def drop_one():
        loop = kit.new_loop()
        loop.run_until_complete(asyncio.wait_for(event.notified(), 0.001))

    for _ in range(3):
        with pytest.raises(TimeoutError):
            drop_one()
        gc.collect()
    hubs = event._listeners()
    for _ in range(20):
        with pytest.raises(TimeoutError):
            drop_one()
        gc.collect()
    assert event._listeners() <= hubs


def test_a_closed_loop_leaves_no_waiter_on_any_of_many_events(loop_kit):
    events = [IoEvent() for _ in range(100)]

    async def main():
        for event in events:
            loop_kit.spawn(event.notified)
        await loop_kit.waiting(events[-1], 1)
        await loop_kit.turn()

    for _ in range(5):
        loop_kit.run(main)
        for event in events:
            assert waiting(event) == 0
            event.notify()
            event.clear()
            assert event._listeners() <= 1


def test_loops_with_tasks_can_end_while_other_threads_notify_at_full_speed(loop_kit):
    events, stop = [IoEvent() for _ in range(4)], threading.Event()

    def notify():
        while not stop.is_set():
            for event in events:
                event.notify()
                event.clear()

    async def main():
        for event in events:
            for _ in range(3):
                loop_kit.spawn(event.notified)
        await loop_kit.turn()
        await loop_kit.turn()

    threads = [Thread(notify) for _ in range(2)]
    try:
        for _ in range(stress(100, 3000)):
            loop_kit.run(main)
    finally:
        stop.set()
    for thread in threads:
        thread.finish()
    # A notify that is still under way when the loop ends frees the listener itself.
    assert all(waiting(event) == 0 for event in events)
    assert all(event._listeners() <= 4 for event in events)


def test_a_waiter_of_a_closed_loop_may_be_dropped_later(aio, event):
    loop = aio.new_loop()
    task = loop.create_task(event.notified())
    loop.run_until_complete(aio.sleep(0))
    loop.close()
    event.notify()
    task._log_destroy_pending = False
    del task, loop
    gc.collect()
    assert waiting(event) == 0


def test_a_cancelled_task_may_wait_again_while_its_loop_shuts_down(aio, event):
    # asyncio.run cancels the tasks that are left, and such a task may wait again.
    async def stubborn():
        for _ in range(3):
            try:
                await event.notified()
            except asyncio.CancelledError:
                Thread(event.notify)
        event.clear()
        return "done"

    async def main():
        task = asyncio.create_task(stubborn())
        await aio.waiting(event, 1)
        return task

    assert aio.run(main).result() == "done"


@pytest.mark.parametrize("error", [KeyboardInterrupt, SystemExit])
def test_an_exception_that_ends_the_loop_does_not_keep_the_hub_alive(aio, event, error, no_gc):
    # An exception raised out of the reader's callback would keep the hub alive by its traceback.
    async def die():
        await event.notified()
        raise error("now")

    def once():
        loop = aio.new_loop()
        task = loop.create_task(die())
        loop.run_until_complete(aio.sleep(0))
        event.notify()
        with pytest.raises(error, match="now") as caught:
            loop.run_until_complete(aio.sleep(PATIENCE))
        loop.close()
        event.clear()
        return caught.value, task

    kept = [once()]
    assert has_no_listener(event)
    before = fds_without_gc()
    for _ in range(10):
        kept.append(once())
    assert fds_without_gc() <= before
    assert event._listeners() <= 1


# ---- the end of an event


async def test_an_event_that_is_dropped_while_a_task_waits_lives_on(kit):
    event = IoEvent()
    task = kit.spawn(event.notified)
    await kit.waiting(event, 1)
    reference, notify = weakref.ref(event), event.notify
    del event
    gc.collect()
    assert reference() is not None
    Thread(notify)
    await task.join()


def test_a_dropped_event_leaves_no_descriptor(loop_kit):
    def use():
        event = IoEvent()
        event.fileno()

        async def main():
            task = loop_kit.spawn(event.notified)
            await loop_kit.waiting(event, 1)
            event.notify()
            await task.join()

        loop_kit.run(main)

    use()
    before = fds()
    for _ in range(20):
        use()
    assert fds() <= before


async def test_events_that_end_on_a_running_loop_leave_no_descriptor(kit):
    hub_of_this_loop = IoEvent()
    async with kit.move_on_after(0.001):
        await hub_of_this_loop.notified()
    before = fds()
    for _ in range(50):
        events = [IoEvent() for _ in range(20)]
        tasks = [kit.spawn(event.notified) for event in events]
        await kit.waiting(events[-1], 1)
        for event in events[::2]:
            event.notify()
        for event in events[1::2]:
            event.close()
        for task in tasks[::2]:
            await task.join()
        for task in tasks[1::2]:
            with pytest.raises(RuntimeError):
                await task.join()
    assert fds() <= before


def test_an_event_may_be_dropped_between_notify_and_dispatch(loop_kit):
    async def main():
        for _ in range(20):
            event = IoEvent()
            task = loop_kit.spawn(event.notified)
            await loop_kit.waiting(event, 1)
            event.notify()
            del event
            gc.collect()
            await task.join()

    loop_kit.run(main)


@pytest.mark.parametrize("name", ["asyncio", "asyncio-future", "asyncio-python-task"])
@pytest.mark.filterwarnings("ignore:unclosed:ResourceWarning")
def test_event_waiter_and_unclosed_loop_in_one_cycle_are_collected(name):
    class Event(IoEvent):
        pass

    kit = kits.kit(name)

    def make():
        loop, event = kit.new_loop(), Event()
        event.loop = loop
        event.task = loop.create_task(event.notified())
        event.task._log_destroy_pending = False
        loop.run_until_complete(kit.sleep(0))
        assert waiting(event) == 1
        return weakref.ref(event), weakref.ref(loop)

    before = fds()
    for _ in range(5):
        references = make()
        for _ in range(3):
            gc.collect()
        assert [reference() for reference in references] == [None, None]
    assert fds() <= before + 1  # the one descriptor of the hub in the pool


def test_del_and_weakref_callbacks_may_notify(loop_kit):
    event, other = IoEvent(), IoEvent()

    class Notifies:
        def __del__(self):
            event.notify()

    async def main():
        for _ in range(10):
            first, second = loop_kit.spawn(event.notified), loop_kit.spawn(other.notified)
            await loop_kit.waiting(event, 1)
            await loop_kit.waiting(other, 1)
            thing = Notifies()
            thing.itself = thing
            _reference = weakref.ref(thing, lambda _: other.notify())
            del thing
            gc.collect()
            await first.join()
            await second.join()
            event.clear()
            other.clear()

    loop_kit.run(main)


def test_an_object_dropped_with_a_waiter_may_notify_and_close(aio, event):
    # The hub is closed while it has a waiter. The drop of that waiter runs Python code.
    other = IoEvent()

    class Notifies:
        def __del__(self):
            event.notify()
            other.close()

    async def wait(_):
        await event.notified()

    loop = aio.new_loop()
    task = loop.create_task(wait(Notifies()))
    task._log_destroy_pending = False
    loop.run_until_complete(aio.sleep(0))
    del task
    loop.close()
    del loop
    gc.collect()
    assert event.is_set()
    assert other.closed


@in_child
def test_waits_cancels_events_and_descriptors_leave_no_memory_behind():
    def resident():
        gc.collect()
        with open("/proc/self/statm") as statm:
            return int(statm.read().split()[1]) * resource.getpagesize()

    async def work(times):
        event = IoEvent()
        for _ in range(times):
            tasks = [asyncio.create_task(event.notified()) for _ in range(3)]
            await asyncio.sleep(0)
            tasks[0].cancel()
            event.notify()
            event.clear()
            await asyncio.wait(tasks)
            fresh = IoEvent()
            fresh.fileno()
            fresh.notify()
            await fresh.notified()
            assert not event.wait(0)

    asyncio.run(work(500))
    before = resident()
    for _ in range(stress(3, 30)):
        asyncio.run(work(1500))
    assert resident() - before < 2_000_000


# ---- threads


def test_threads_that_end_after_waiting_give_their_hub_back(event):
    others = set(os.listdir("/proc/self/task"))

    def burst():
        threads = [Thread(event.wait) for _ in range(8)]
        until(lambda: waiting(event) == 8)
        event.notify()
        for thread in threads:
            thread.finish()
        event.clear()
        # join() returns a little before the thread's memory is freed, and its hub with that memory.
        until(lambda: set(os.listdir("/proc/self/task")) <= others)

    burst()
    before = fds()
    for _ in range(20):
        burst()
    assert fds() <= before
    assert event._listeners() <= 8


# ---- threads and loops that have waited, and live on


KEPT = 4  # as in src/event/mod.rs: the number of listeners that an event without waiters keeps


class Stayer:
    """A thread that runs one function after the other, and lives on in between."""

    def __init__(self):
        self.work, self.done = IoEvent(), IoEvent()
        self.task = None
        self.thread = Thread(self.run)

    def run(self):
        while True:
            self.work.wait()
            self.work.clear()
            if self.task is None:
                return
            self.task()
            self.done.notify()

    def start(self, task):
        self.task = task
        self.work.notify()

    def join(self):
        assert self.done.wait(PATIENCE)
        self.done.clear()

    def finish(self):
        self.start(None)
        self.thread.finish()


@pytest.fixture
def stayers():
    threads = [Stayer() for _ in range(40)]
    yield threads
    for thread in threads:
        thread.finish()


def test_an_event_keeps_few_listeners_of_threads_that_no_longer_wait(stayers, event):
    for stayer in stayers:
        stayer.start(event.wait)
        until(lambda: waiting(event) == 1)
        event.notify()
        stayer.join()
        event.clear()
        assert event._listeners() <= KEPT
    # A wait that times out, and one whose flag is up at the beginning, leave no listener either.
    for stayer in stayers:
        stayer.start(lambda: event.wait(0.001))
        stayer.join()
    event.notify()
    for stayer in stayers:
        stayer.start(event.wait)
        stayer.join()
    event.clear()
    assert event._listeners() <= KEPT
    # Two of the many threads wait.
    for stayer in stayers[:2]:
        stayer.start(event.wait)
    until(lambda: waiting(event) == 2)
    assert event._listeners() <= KEPT + 2
    event.notify()
    for stayer in stayers[:2]:
        stayer.join()
    event.clear()
    # All threads wait, several times.
    for _ in range(10):
        for stayer in stayers:
            stayer.start(event.wait)
        until(lambda: waiting(event) == len(stayers))
        assert event._listeners() >= len(stayers)
        event.notify()
        for stayer in stayers:
            stayer.join()
        event.clear()
        assert event._listeners() <= KEPT


def test_an_event_keeps_few_listeners_of_loops_that_no_longer_wait(aio, event):
    loops = [aio.new_loop() for _ in range(20)]
    try:
        for _ in range(2):
            for loop in loops:
                task = loop.create_task(event.notified())
                loop.run_until_complete(aio.sleep(0))
                assert waiting(event) == 1
                event.notify()
                event.clear()
                loop.run_until_complete(task)
                assert event._listeners() <= KEPT
        tasks = [loop.create_task(event.notified()) for loop in loops]
        for loop in loops:
            loop.run_until_complete(aio.sleep(0))
        assert event._listeners() == waiting(event) == len(loops)
        for loop, task in zip(loops[1:], tasks[1:], strict=True):  # all but one are cancelled
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                loop.run_until_complete(task)
        assert event._listeners() <= KEPT + 1
        event.notify()
        event.clear()
        loops[0].run_until_complete(tasks[0])
        # A loop that waits in many tasks has one listener, also if many loops wait.
        tasks = [loop.create_task(event.notified()) for loop in loops for _ in range(5)]
        for loop in loops:
            loop.run_until_complete(aio.sleep(0))
        assert waiting(event) == 5 * len(loops)
        assert event._listeners() == len(loops)
        event.notify()
        event.clear()
        for loop in loops:
            loop.run_until_complete(asyncio.gather(*(t for t in tasks if t.get_loop() is loop)))
        assert event._listeners() <= KEPT
    finally:
        for loop in loops:
            loop.close()
    assert event._listeners() == 0


def test_a_notify_costs_the_same_after_many_threads_have_waited(stayers):
    def cost(event):
        best = math.inf
        for _ in range(20):
            begun = time.perf_counter()
            for _ in range(200):
                event.notify()
                event.clear()
            best = min(best, time.perf_counter() - begun)
        return best

    used = IoEvent()
    for stayer in stayers:
        stayer.start(used.wait)
    until(lambda: waiting(used) == len(stayers))
    used.notify()
    for stayer in stayers:
        stayer.join()
    used.clear()
    assert cost(used) < 3 * cost(IoEvent())  # with forty threads it was ten times as much


def test_a_new_event_has_no_listener_of_a_dead_one(stayers):
    # The memory of an event that native code knows is used again for another event.
    events = [IoEvent() for _ in range(10)]
    for event in events:
        event.native().close()
        for stayer in stayers[:10]:
            stayer.start(event.wait)
        until(lambda event=event: waiting(event) == 10)
        event.notify()
        for stayer in stayers[:10]:
            stayer.join()
    stayer = events = event = None
    for stayer in stayers:
        stayer.task = None
    gc.collect()
    events = [IoEvent() for _ in range(20)]
    assert [event._listeners() for event in events] == [0] * 20


def test_a_thread_may_run_one_loop_after_another_and_wait_in_between(event):
    def work():
        for name in [*kits.LOOPS, "asyncio"]:
            event.notify()
            assert event.wait(PATIENCE)
            event.clear()
            assert not event.wait(0.001)
            left_behind(kits.kit(name), event)
        return fds()

    first = Thread(work).finish()
    assert Thread(work).finish() <= first


# ---- no descriptors left


@in_child
def test_a_call_without_descriptors_raises_emfile_and_leaves_nothing_half_made():
    def refused(call):
        try:
            call()
        except OSError as error:
            assert error.errno == errno.EMFILE, error
        else:
            raise AssertionError(f"{call} was not refused")

    async def one(event):
        await event.notified()

    event, other, loop = IoEvent(), IoEvent(), asyncio.new_event_loop()
    polls = backend(thread=True) != "futex"
    up = IoEvent()
    up.notify()
    asyncio.run(one(up))  # the first run imports the adapter, which needs descriptors
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(map(int, os.listdir("/proc/self/fd"))), hard))
    hole = []
    try:
        while True:
            hole.append(os.dup(0))
    except OSError:
        pass
    for _ in range(3):
        refused(event.fileno)
        refused(Hub)
        refused(lambda: loop.run_until_complete(one(event)))
        if polls:
            refused(lambda: event.wait(0))
    # The calls that need no descriptor work.
    assert event.notify()
    assert event.clear()
    assert other.notify()
    loop.run_until_complete(one(up))
    assert waiting(event) == 0
    for fd in hole:
        os.close(fd)
    resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    before = fds()
    fd = event.fileno()
    assert not select.select([fd], [], [], 0)[0]
    Thread(lambda: (time.sleep(0.01), event.notify()))
    assert event.wait(PATIENCE)
    assert select.select([fd], [], [], 0)[0]
    event.clear()
    Thread(lambda: (time.sleep(0.01), event.notify()))
    loop.run_until_complete(asyncio.wait_for(one(event), PATIENCE))
    loop.close()
    assert fds() <= before + 6
    assert event._owed() == 1


@in_child
def test_a_wait_on_trio_without_descriptors_raises_emfile():
    import trio

    async def main():
        with trio.fail_after(PATIENCE):
            event = IoEvent()
            soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
            resource.setrlimit(resource.RLIMIT_NOFILE, (len(os.listdir("/proc/self/fd")), hard))
            hole = []
            try:
                while True:
                    hole.append(os.dup(0))
            except OSError:
                pass
            for _ in range(3):
                try:
                    await event.notified()
                except OSError as error:
                    assert error.errno == errno.EMFILE
                else:
                    raise AssertionError
            for fd in hole:
                os.close(fd)
            resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
            Thread(lambda: (time.sleep(0.01), event.notify()))
            await event.notified()

    trio.run(main)


# ---- a descriptor closed by somebody else


def test_a_descriptor_that_somebody_closed_is_an_error_once_and_is_replaced(event):
    os.close(event.fileno())
    assert errno_of(event.notify) in errnos_of_a_closed_reader()
    assert event.is_set()
    assert errno_of(event.notify) in errnos_of_a_closed_reader()  # the second call writes again
    assert errno_of(event.clear) == errno.EBADF
    assert event.is_set()
    fd = event.fileno()
    assert select.select([fd], [], [], 0)[0]
    assert event.clear() is True
    assert event.clear() is False
    assert not select.select([fd], [], [], 0)[0]
    assert event.notify() is True


async def test_waiters_are_released_although_somebody_closed_the_descriptor(kit, event):
    fd = event.fileno()
    task = kit.spawn(event.notified)
    await kit.waiting(event, 1)
    os.close(fd)  # an earlier close would give the number to the loop's own descriptor
    assert errno_of(event.notify) in errnos_of_a_closed_reader()
    await task.join()
    assert errno_of(event.clear) == errno.EBADF
    assert event.clear() is True


# ---- exec


@in_child
def test_descriptors_are_closed_on_exec():
    event, hub = IoEvent(), Hub()
    assert event.fileno() != hub.fileno()
    event.wait(0)
    for fd in map(int, os.listdir("/proc/self/fd")):
        if fd > 2:
            try:
                assert not os.get_inheritable(fd), os.readlink(f"/proc/self/fd/{fd}")
            except OSError:
                pass  # the descriptor that listed the directory is closed again
    code = "import os; print([os.readlink(f'/proc/self/fd/{fd}') for fd in range(3, 64)"
    code += " if os.path.exists(f'/proc/self/fd/{fd}')])"
    sys.stdout.flush()
    reader, writer = os.pipe()
    if os.fork() == 0:
        os.dup2(writer, 1)
        os.execve(sys.executable, [sys.executable, "-c", code], os.environ)
    os.close(writer)
    with open(reader) as output:
        seen = output.read()
    os.wait()
    assert "eventfd" not in seen
    assert "socket" not in seen


# ---- signals


class Alarm:
    """A thread that sends a signal again and again, because the first may come before the wait."""

    def __init__(self, number):
        self._stop = threading.Event()
        self._thread = Thread(self._send, number)

    def _send(self, number):
        while not self._stop.wait(0.02):
            os.kill(os.getpid(), number)

    def stop(self):
        self._stop.set()
        self._thread.finish()


@in_child
def test_ctrl_c_interrupts_wait():
    # One signal is not enough for a test: it may come in the moment before the system call.
    event = IoEvent()
    for timeout in (None, 1e6):
        try:
            alarm = Alarm(signal.SIGINT)
            try:
                event.wait(timeout)
            finally:
                signal.signal(signal.SIGINT, signal.SIG_IGN)
                alarm.stop()
        except KeyboardInterrupt:
            pass
        else:
            raise AssertionError("Ctrl-C did not end the wait")
        signal.signal(signal.SIGINT, signal.default_int_handler)
        assert waiting(event) == 0
    Thread(lambda: (time.sleep(0.01), event.notify()))
    assert event.wait(PATIENCE)


@in_child
def test_ctrl_c_interrupts_a_coroutine():
    for run in (_asyncio_run, _uvloop_run, _trio_run):
        event = IoEvent()

        async def main(event=event):
            await event.notified()

        alarm = Alarm(signal.SIGINT)
        try:
            run(main)
        except KeyboardInterrupt:
            pass
        else:
            raise AssertionError("Ctrl-C did not end the coroutine")
        finally:
            signal.signal(signal.SIGINT, signal.SIG_IGN)
            alarm.stop()
            signal.signal(signal.SIGINT, signal.default_int_handler)
        assert waiting(event) == 0


def _asyncio_run(main):
    asyncio.run(main())


def _uvloop_run(main):
    import uvloop

    uvloop.run(main())


def _trio_run(main):
    import trio

    trio.run(main)


@in_child
def test_a_signal_handler_that_returns_lets_wait_go_on():
    event, count = IoEvent(), [0]

    def handler(*_):
        count[0] += 1
        if count[0] == 5:
            event.notify()

    signal.signal(signal.SIGALRM, handler)
    signal.setitimer(signal.ITIMER_REAL, 0.01, 0.01)
    assert event.wait(PATIENCE) is True
    assert count[0] >= 5
    event.clear()
    before = time.monotonic()
    assert event.wait(0.1) is False
    assert time.monotonic() - before >= 0.1
    signal.setitimer(signal.ITIMER_REAL, 0)


@in_child
def test_a_signal_handler_may_wait_in_the_middle_of_a_wait():
    outer, inner, log = IoEvent(), IoEvent(), []

    def handler(*_):
        signal.setitimer(signal.ITIMER_REAL, 0)
        outer.notify()  # the nested wait below dispatches it for the outer one
        threading.Timer(0.01, inner.notify).start()
        log.append(inner.wait(PATIENCE))

    signal.signal(signal.SIGALRM, handler)
    signal.setitimer(signal.ITIMER_REAL, 0.01, 0.01)
    assert outer.wait(PATIENCE) is True
    assert log == [True]


@in_child
def test_an_exception_in_a_signal_handler_ends_the_wait_and_leaves_no_waiter():
    class StopError(Exception):
        pass

    def handler(*_):
        signal.setitimer(signal.ITIMER_REAL, 0)
        raise StopError

    event = IoEvent()
    signal.signal(signal.SIGALRM, handler)
    for _ in range(5):
        signal.setitimer(signal.ITIMER_REAL, 0.01, 0.01)
        try:
            event.wait()
        except StopError:
            pass
        else:
            raise AssertionError
        assert waiting(event) == 0
    event.notify()
    assert event.wait()


@in_child
def test_a_signal_handler_that_notifies_wakes_a_sleeping_loop():
    import uvloop

    for loop_factory in (asyncio.SelectorEventLoop, uvloop.new_event_loop):
        event = IoEvent()
        # Python runs its handlers between two bytecodes. The loop's own wake-up descriptor makes
        # the loop return from C to the next bytecode.
        signal.signal(signal.SIGALRM, lambda *_, event=event: event.notify())

        async def main(event=event):
            loop = asyncio.get_running_loop()
            loop.add_signal_handler(signal.SIGUSR1, lambda: None)  # to set the wake-up descriptor
            for _ in range(5):
                signal.setitimer(signal.ITIMER_REAL, 0.01)
                await asyncio.wait_for(event.notified(), PATIENCE)
                event.clear()

        with asyncio.Runner(loop_factory=loop_factory) as runner:
            runner.run(main())


@in_child
def test_a_signal_handler_that_notifies_wakes_trio():
    import trio

    event = IoEvent()
    signal.signal(signal.SIGALRM, lambda *_: event.notify())

    async def main():
        with trio.fail_after(PATIENCE):
            for _ in range(5):
                signal.setitimer(signal.ITIMER_REAL, 0.01)
                await event.notified()
                event.clear()

    trio.run(main)


# ---- hubs that the test dispatches itself


def test_a_hub_calls_all_waiters_in_the_order_of_notifies_though_some_raise():
    hub, events, calls = Hub(), [IoEvent() for _ in range(5)], []

    def caller(name):
        def call(rose):
            calls.append((name, rose))
            if name in (1, 3):
                raise KeyError(name)

        return call

    for name, event in enumerate(events):
        hub.wait(event, caller(name))
    for name in (4, 1, 3, 0):
        events[name].notify()
    events[2].close()
    assert select.select([hub], [], [], PATIENCE)[0]
    with pytest.raises(KeyError) as caught:
        hub.dispatch()
    assert caught.value.args == (1,)
    assert calls == [(4, True), (1, True), (3, True), (0, True), (2, False)]
    assert not select.select([hub], [], [], 0)[0]
    hub.dispatch()
    assert len(calls) == 5
    hub.close()


def test_a_wait_on_a_closed_hub_is_a_runtime_error(event):
    hub = Hub()
    ticket = hub.wait(event, print)
    hub.close()
    hub.close()
    hub.cancel(ticket)
    hub.dispatch()
    assert waiting(event) == 0
    with pytest.raises(RuntimeError, match="closed"):
        hub.wait(event, print)


@pytest.mark.parametrize("do", ["cancel", "wait", "dispatch", "close", "notify", "clear"])
def test_a_callback_may_do_anything_to_its_hub(event, do):
    hub, other, calls = Hub(), IoEvent(), []

    def callback(_):
        calls.append(do)
        if do == "cancel":
            hub.cancel(tickets[-1])
        elif do == "wait":
            hub.wait(other, calls.append)
        elif do in ("dispatch", "close"):
            getattr(hub, do)()
        else:
            getattr(event, do)()

    tickets = [hub.wait(event, callback) for _ in range(2)]
    event.notify()
    hub.dispatch()
    # The rise released both waiters before the first callback was called.
    assert calls == [do] * 2
    hub.close()


def test_a_burst_of_notifies_costs_the_loop_one_token():
    hub, events = Hub(), [IoEvent() for _ in range(1000)]
    for event in events:
        hub.wait(event, lambda _: None)
    for event in events:
        event.notify()
    if os.readlink(f"/proc/self/fd/{hub.fileno()}").startswith("anon_inode"):
        assert os.eventfd_read(os.dup(hub.fileno())) == 1
    hub.dispatch()
    assert all(waiting(event) == 0 for event in events)
    hub.close()

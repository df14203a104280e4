"""Tests of the interpreter's end while daemon threads use events: no crash, no hang."""

import _thread
import asyncio
import atexit
import ctypes
import gc
import os
import sys
import threading
import time

import pytest

import kits
import lives
from helpers import PATIENCE, Thread, in_child, run_child, stress, until
from kit_asyncio import ThreadedLoop
from wakefd import IoEvent, Portal, PriorityQueue, Queue, QueueShutDown, _native, _wakefd
from wakefd._loops import asyncio as adapter
from wakefd._loops import selector_thread

event, other = IoEvent(), IoEvent()
kept = []  # objects that only the end of the interpreter drops


def notifying():
    while True:
        event.notify()
        event.clear()
        other.notify()
        other.clear()


def waiting():
    while True:
        event.wait()


def waiting_briefly():
    while True:
        event.wait(0.0001)


def making():
    while True:
        fresh = IoEvent()
        fresh.notify()
        fresh.fileno()
        fresh.wait()
        fresh.close()


def polling():
    event.fileno()
    while True:
        event.notify()
        event.clear()


async def _task():
    tasks = [asyncio.create_task(_notified(each)) for each in (event, other) for _ in range(3)]
    await asyncio.wait(tasks)


async def _notified(each):
    while True:
        await each.notified()
        await asyncio.sleep(0)


def on_asyncio():
    asyncio.run(_task())


def on_uvloop():
    import uvloop

    uvloop.run(_task())


def on_trio():
    import trio

    async def notified():
        while True:
            await event.notified()

    trio.run(notified)


def loop_after_loop():
    async def soon():
        try:
            await asyncio.wait_for(event.notified(), 0.0005)
        except TimeoutError:
            pass

    while True:
        asyncio.run(soon())


def idle():
    other.close()  # a thread that waits for `other` ends with an exception
    event.wait()


def native(work):
    """Start a thread of the C library, which Python has not made."""

    @ctypes.CFUNCTYPE(ctypes.c_void_p, ctypes.c_void_p)
    def start(_):
        work()

    kept.append(start)
    number = ctypes.c_ulong()
    assert ctypes.CDLL(None).pthread_create(ctypes.byref(number), None, start, None) == 0


def bare(work):
    """Start a thread that `threading` does not know."""
    _thread.start_new_thread(work, ())


def daemon(work):
    threading.Thread(target=work, daemon=True).start()


MIXES = {
    "notifiers": [notifying, notifying, polling],
    "threads": [notifying, waiting, waiting_briefly, waiting],
    "makers": [making, making, notifying],
    "asyncio": [notifying, on_asyncio, waiting_briefly],
    "uvloop": [notifying, on_uvloop],
    "trio": [notifying, on_trio],
    "new loops": [notifying, loop_after_loop],
    "blocked": [waiting, idle],
    "all": [notifying, waiting, waiting_briefly, making, on_asyncio, on_uvloop, on_trio],
}


def main(mix, seconds):
    sys.stderr = None  # daemon threads may print errors while the interpreter is torn down
    if mix == "all":
        atexit.register(event.notify)
        atexit.register(lambda: event.wait(0))
    for work in MIXES[mix]:
        daemon(work)
    time.sleep(seconds)
    kept.extend(IoEvent() for _ in range(100))
    for each in kept:
        each.notify()
        each.fileno()


def exits_well(function, *args):
    limit = 2 * PATIENCE
    child = run_child("test_exit", function.__name__, *args, limit=limit, PYTHONFAULTHANDLER="1")
    assert "panicked" not in child.stderr
    return child.stdout


@pytest.mark.parametrize("mix", MIXES)
def test_the_interpreter_ends_although_daemon_threads_use_events(mix):
    for run in range(stress(4, 60)):
        exits_well(main, mix, 0.02 + run * 0.013 % 0.1)


spinning = threading.Event()


def spin(*_):
    """Run Python code until the interpreter ends. Before Python 3.14 the thread ends in here."""
    spinning.set()
    while True:
        pass


def spin_in_a_portal(call, loop):
    async def main():
        kept.append(portal := Portal())
        threading.Thread(target=call, args=[portal], daemon=True).start()
        await asyncio.sleep(3600)

    kits.kit(loop).run(main)


class Spinning:
    __lt__ = spin


async def spinning_coroutine():
    spin()


def spin_in_a_task(loop):
    async def main():
        asyncio.get_running_loop().call_later(0.02, event.notify)
        await event.notified()
        spin()

    kits.kit(loop).run(main)


def spin_in_a_callback():
    hub = _wakefd.Hub()
    hub.wait(event, spin)
    event.notify()
    hub.dispatch()


SPINNERS = {
    "a task on asyncio": lambda: spin_in_a_task("asyncio"),
    "a task on uvloop": lambda: spin_in_a_task("uvloop"),
    "a callback": spin_in_a_callback,
    "a portal's function": lambda: spin_in_a_portal(lambda p: p.call_soon(spin), "asyncio"),
    "a portal's call": lambda: spin_in_a_portal(lambda p: p.run(spin), "asyncio"),
    "a portal's task": lambda: spin_in_a_portal(lambda p: p.run(spinning_coroutine), "asyncio"),
    "a comparison": lambda: PriorityQueue().put_many([Spinning(), Spinning()]),
    "an iterable": lambda: Queue().put_many(map(spin, [1])),
}


@pytest.mark.parametrize("where", SPINNERS)
def test_the_interpreter_ends_while_a_daemon_thread_runs_code_that_wakefd_called(where):
    if "uvloop" in where:
        pytest.importorskip("uvloop")
    exits_well(main_of_a_spinner, where)


def main_of_a_spinner(where):
    daemon(SPINNERS[where])
    assert spinning.wait(PATIENCE)


@pytest.mark.parametrize("loop", ["asyncio", "uvloop"])
def test_the_interpreter_ends_although_a_loop_is_left_open(loop):
    exits_well(leave_open, loop)


def leave_open(name):
    loop = kits.kit(name).new_loop()
    kept.extend([loop, loop.create_task(event.notified()), Thread(other.wait)])
    loop.run_until_complete(asyncio.sleep(0))
    event.notify()


def test_an_object_that_is_dropped_at_the_very_end_may_notify_and_close():
    exits_well(drop_at_the_end)


class Last:
    def __del__(self):
        event.notify()
        event.clear()
        other.close()


def drop_at_the_end():
    Thread(event.wait)
    kept.append(Last())
    sys.modules["last"] = Last()


def queue_of(item, kind=Queue):
    q = kind(1)
    q.put_many([item])
    return q


def with_a_getter():
    q = Queue()
    daemon(lambda: q.get_many(1))
    until(lambda: q.getting)
    return q


def with_a_putter():
    q = queue_of(1)
    daemon(lambda: q.put_many([2]))
    until(lambda: q.putting)
    return q


def shut():
    q = Queue()
    q.shutdown()
    return q


def closed():
    made = IoEvent()
    made.close()
    return made


def dead():
    made = IoEvent()
    os.close(made.fileno())
    return made


def ready(q, at_once=True):
    """The awaitable that `__anext__` returns, made without the fast method."""

    async def wait(_):
        return 7

    items = _wakefd.Items(q, wait)
    items.at_once = at_once
    return items.__anext__()


def awaitable(q, at_once):
    async def wait(awaited):
        return await awaited

    return wait(ready(q, at_once))


# PyO3 looks for the interpreter and for the classes of exceptions at the first call that needs
# them. These programs make that first call in a `__del__` at the interpreter's end. Each row has
# the object that is prepared, the call in `__del__`, and the beginning of the result's repr.
FIRST_CALLS = {
    "put, and more arguments": (Queue, lambda q: q.put(None, False), "None"),
    "put, by name": (Queue, lambda q: q.put(item=1), "None"),
    "put_nowait, full": (lambda: queue_of(1), lambda q: q.put_nowait(2), "QueueFull()"),
    "get_nowait, empty": (Queue, lambda q: q.get_nowait(), "Empty()"),
    "put_nowait, shut down": (shut, lambda q: q.put_nowait(1), QueueShutDown.__name__ + "("),
    "put_many, shut down": (shut, lambda q: q.put_many([1]), QueueShutDown.__name__ + "("),
    "wait, closed": (closed, lambda event: event.wait(0), "ClosedResourceError("),
    "put, by priority": (PriorityQueue, lambda q: q.put(1), "None"),
    "put wakes a getter": (with_a_getter, lambda q: q.put(1), "None"),
    "get wakes a putter": (with_a_putter, lambda q: q.get(), "1"),
    "notify, refused": (dead, lambda event: event.notify(), "OSError("),
    "__anext__": (lambda: aiter(Queue()), lambda items: items.__anext__() and None, "None"),
    "await": (lambda: awaitable(Queue(), False), lambda coro: coro.send(None), "StopIteration(7)"),
    "next": (lambda: ready(Queue(), False), next, "StopIteration(7)"),
    "next, a tuple": (lambda: ready(queue_of((1,))), next, "StopIteration((1,))"),
    "next, by priority": (lambda: ready(queue_of(1, PriorityQueue)), next, "StopIteration(1)"),
    "next wakes a putter": (lambda: ready(with_a_putter()), next, "StopIteration(1)"),
}


@pytest.mark.parametrize("what", FIRST_CALLS)
def test_the_first_call_of_its_kind_may_come_from_del_at_the_very_end(what):
    assert exits_well(make_the_first_call, what).startswith(FIRST_CALLS[what][2])


class CallsWhenDropped:
    def __init__(self, what):
        prepare, self.act, _ = FIRST_CALLS[what]
        self.prepared = prepare()

    def __del__(self, write=os.write):
        try:
            result = self.act(self.prepared)
        except BaseException as error:
            result = error
        write(1, repr(result).encode())


def make_the_first_call(what):
    # The object is kept by another module, because daemon threads may keep this module's globals.
    sys.modules["last"] = CallsWhenDropped(what)


@pytest.mark.parametrize("start", [native, bare])
def test_the_interpreter_ends_although_threads_it_has_not_made_use_events(start):
    # These threads attach to the interpreter for each call; tests/rust/exit.rs has some that never
    # attach.
    for run in range(stress(6, 1000)):
        exits_well(main_of_strangers, start, 0.02 + run * 0.013 % 0.1)


def main_of_strangers(start, seconds):
    sys.stderr = None
    for work in (notifying, notifying, polling, waiting, waiting_briefly, making):
        start(work)
    time.sleep(seconds)


@lives.every()
def test_the_interpreter_ends_in_the_middle_of_a_loop(name):
    with lives.on_a_screen():
        for run in range(stress(2, 200)):
            start = (native, daemon, bare)[run % 3]
            exits_well(in_the_middle, name, start, run % 2)


def in_the_middle(name, start, whole):
    """Leave the loop in the middle of a scene, or let it end first (`whole`); the threads go on."""
    for work in (notifying, polling):
        start(work)

    def scene(life):
        for _ in range(5):
            wait = life.wait(event)
            yield wait
            assert wait.outcome is True
        life.wait(IoEvent())
        kept.append(life.wait(event))
        if not whole:
            sys.exit()

    try:
        lives.play_here(name, scene)
    except* SystemExit:  # trio raises it in an exception group
        pass


def empty(*modules):
    """Set the globals to None, as CPython does at its end for a module that is still in use."""
    for module in modules:
        for name in vars(module):
            if name != "__builtins__":
                vars(module)[name] = None


@in_child(strict=True)
def test_a_handle_that_outlives_its_modules_globals_is_closed_with_a_warning():
    heard = []
    sys.unraisablehook = heard.append  # the child turns the warning into an error
    event = IoEvent()
    handle = event.native()
    empty(_native)
    del handle
    assert [kept.exc_type for kept in heard] == [ResourceWarning], heard


@pytest.mark.parametrize("kind", [asyncio.SelectorEventLoop, ThreadedLoop])
@in_child(strict=True)
def test_a_loop_that_outlives_the_modules_globals_is_closed_without_an_error(kind):
    async def main(event):
        asyncio.get_running_loop().call_later(0.01, event.notify)
        await event.notified()

    loop = kind()
    loop.run_until_complete(main(IoEvent()))
    thread = selector_thread._current
    if thread is not None:  # a daemon thread no longer runs when CPython empties the modules
        thread._left = True
        thread._interrupt.send()
        thread._thread.join(20)
    empty(selector_thread, adapter)
    loop.close()
    del loop
    gc.collect()

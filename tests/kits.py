"""Event loops behind one face, so that one test body runs on all of them.

A kit runs an async function and gives it `notified`, `sleep`, `turn`, `spawn`, `move_on_after`,
`patient` and `watch`.
"""

import asyncio
import contextvars
import math
import os
import select
import sys
import time
from asyncio import selector_events
from collections import Counter
from contextlib import asynccontextmanager
from functools import partial

from helpers import PATIENCE, Thread, patched, waiting

CANCELLED = "cancelled"

# ---- what they can do
#
# await      `await event.notified()` and `async for` themselves
# cancel     a waiting task can be cancelled
# close      whoever waits hears of the close
# end        the loop may end while somebody waits
# fair       a consumer whose flag is always up does not starve the others
# hub        one descriptor, however many events there are
# loop       one task at a time
# order      tasks resume in the order of the waits, and of the notifications
# reader     the loop itself watches a user's descriptors
# remembers  a rise that is cleared at once releases whoever waited

CAN = {"await", "cancel", "close", "end", "fair", "hub", "loop", "order", "reader", "remembers"}

_NO_READER = {"reader": "add_reader raises NotImplementedError: the selector thread serves it"}
_SHUFFLES = {"order": "trio shuffles its tasks"}
_AT_ONCE = "it returns without a switch if the flag is up, as the library's own do"
_GEVENT = {"await": "greenlets do not await: wakefd.gevent.wait", "fair": _AT_ONCE}
_TWISTED = {"await": "wakefd.twisted.notified", "fair": _AT_ONCE}
_POLLER = {
    "await": "it knows fileno() alone",
    "close": "a descriptor must leave the poller before it is closed",
    "hub": "each event has its own descriptor",
    "order": "the kernel's own, or the descriptors'",
    "remembers": "a descriptor is readable no longer than the flag is up",
}

# Why a kit lacks what it lacks. The others can do it all.
LACKS = {
    "asyncio-thread": _NO_READER,
    "asyncio-thread-future": _NO_READER,
    "trio": _SHUFFLES,
    "trio-guest": _SHUFFLES,
    "anyio-trio": _SHUFFLES,
    "gevent": _GEVENT,
    "gevent-patched": _GEVENT,
    "twisted-epoll": _TWISTED,
    "twisted-poll": _TWISTED,
    "twisted-select": _TWISTED,
    "twisted-asyncio": _TWISTED,
    "qt": {
        "await": "wakefd.qt.EventNotifier",
        "close": "the watch ends quietly: it is for those who look at every rise",
        "hub": "each notifier has its own descriptor, so that it may be moved to another thread",
        "order": "the dispatcher's",
    },
    "tk": {
        "await": "wakefd.tk.watch",
        "close": "the watch ends quietly",
    },
    "threads": {
        "await": "they block: event.wait",
        "cancel": "nobody can cancel a blocked thread",
        "end": "there is no loop",
        "fair": "there is no loop",
        "hub": "each thread has its own",
        "loop": "threads run at the same time",
        "order": "the scheduler's",
        "reader": "there is no loop",
    },
    "select": _POLLER,
    "poll": _POLLER,
    "epoll": _POLLER,
    "selectors": _POLLER,
    "zmq": _POLLER,
    "zmq-asyncio": _POLLER,
}
LACKS["qt-glib"] = LACKS["qt"]


class Kit:
    name: str
    is_asyncio = False

    def __repr__(self):
        return self.name

    def can(self, *what):
        return not LACKS.get(self.name, {}).keys() & what

    def notified(self, event):
        return event.notified()

    def waits(self, event):
        """How many wait for the event."""
        return waiting(event)

    async def waiting(self, event, count):
        """Until so many wait for the event."""
        async with self.patient(f"{count} waiters of {event}"):
            while self.waits(event) != count:
                await self.sleep(0.0005)

    async def turn(self):
        await self.sleep(0)

    @asynccontextmanager
    async def patient(self, what="it"):
        async with self.move_on_after(PATIENCE) as scope:
            yield
        assert not scope.expired, f"waited in vain for {what}"

    def watch(self, fd, callback):
        """Call it over and over while the descriptor is readable, as long as we are not stopped.

        Where the loop itself cannot, or is ours to begin with: a selector in another thread.
        """
        stopped = []

        def look():
            while not stopped:
                if select.select([fd], [], [], 0.005)[0]:
                    callback()

        thread = Thread(look)

        def stop():
            stopped.append(True)
            thread.finish()

        return stop


class _Scope:
    expired = False


# ---- asyncio


class UnknownLoop(selector_events.BaseSelectorEventLoop):
    """Works like asyncio's own, but is none that wakefd knows to bear a step in a callback."""


class _CannotWatch:
    """Has `call_soon_threadsafe` and `call_later`, and no more: as the Proactor loop of Windows."""

    def add_reader(self, fd, callback, *args):
        raise NotImplementedError

    def remove_reader(self, fd):
        raise NotImplementedError


class ThreadedLoop(_CannotWatch, asyncio.SelectorEventLoop):
    """The selector thread serves it."""


class UnknownThreadedLoop(_CannotWatch, UnknownLoop):
    """The same, with futures."""


def python_task(loop, coro, **kwargs):
    return asyncio.tasks._PyTask(coro, loop=loop, **kwargs)


class AsyncioKit(Kit):
    is_asyncio = True

    def __init__(self, name, loop=asyncio.SelectorEventLoop, debug=False, task_factory=None):
        self.name = name
        self._loop, self._debug, self._task_factory = loop, debug, task_factory
        self.sleep = asyncio.sleep

    def new_loop(self):
        loop = self._loop()
        loop.set_task_factory(self._task_factory)
        loop.set_debug(self._debug)
        return loop

    def run(self, main, patience=PATIENCE):
        async def bounded():
            async with asyncio.timeout(patience):
                return await main()

        with asyncio.Runner(debug=self._debug, loop_factory=self.new_loop) as runner:
            return runner.run(bounded())

    def spawn(self, function, *args):
        return _AsyncioTask(asyncio.get_running_loop().create_task(function(*args)))

    @asynccontextmanager
    async def move_on_after(self, seconds):
        scope = _Scope()
        try:
            async with asyncio.timeout(seconds):
                yield scope
        except TimeoutError:
            scope.expired = True

    def watch(self, fd, callback):
        if not self.can("reader"):
            return super().watch(fd, callback)
        loop = asyncio.get_running_loop()
        loop.add_reader(fd, callback)
        return lambda: loop.remove_reader(fd)


class _AsyncioTask:
    def __init__(self, task):
        self.task = task
        self.cancel = task.cancel
        self.done = task.done

    async def join(self):
        """Return the result or CANCELLED, or raise what the task raised."""
        await asyncio.wait([self.task], timeout=PATIENCE)
        assert self.task.done(), f"{self.task} hangs"
        return CANCELLED if self.task.cancelled() else self.task.result()


def _uvloop(name, debug=False):
    import uvloop

    return AsyncioKit(name, uvloop.new_event_loop, debug)


class ZmqAsyncioKit(AsyncioKit):
    """asyncio, but waits with pyzmq's poller."""

    def __init__(self, name):
        import zmq.asyncio  # noqa: F401 - if there is none, there is no kit

        super().__init__(name)
        self._waits = Counter()

    def waits(self, event):
        return waiting(event) + self._waits[event]

    async def notified(self, event):
        import zmq.asyncio

        fd = os.dup(event.fileno())  # asyncio has one reader per number
        poller = zmq.asyncio.Poller()
        poller.register(fd, zmq.POLLIN)
        self._waits[event] += 1
        try:
            await poller.poll()
        finally:
            self._waits[event] -= 1
            await asyncio.sleep(0)  # the poller lets go of it
            os.close(fd)


# ---- trio and anyio


class TrioKit(Kit):
    """trio, and anyio, whose names are the same."""

    def __init__(self, name, library, open_nursery, run, wait_readable):
        self.name = name
        self._library, self._open_nursery, self._run = library, open_nursery, run
        self._wait_readable = wait_readable
        self.sleep = library.sleep

    def run(self, main, patience=PATIENCE):
        async def bounded():
            with self._library.fail_after(patience):
                async with self._open_nursery() as self._nursery:
                    result = await main()
                    self._nursery.cancel_scope.cancel()
                    return result

        return self._run(bounded)

    def spawn(self, function, *args):
        task = _TrioTask(self._library)
        self._nursery.start_soon(task.run, function, args)
        return task

    @asynccontextmanager
    async def move_on_after(self, seconds):
        scope = _Scope()
        with self._library.move_on_after(seconds) as own:
            yield scope
        scope.expired = own.cancelled_caught

    def watch(self, fd, callback):
        async def look():
            while True:
                await self._wait_readable(fd)
                callback()
                await self.sleep(0)

        return self.spawn(look).cancel


class _TrioTask:
    def __init__(self, library):
        self._library = library
        self._scope = library.CancelScope()
        self._ended = library.Event()
        self._result = self._error = None
        self.cancel = self._scope.cancel
        self.done = self._ended.is_set

    async def run(self, function, args):
        try:
            with self._scope:
                self._result = await function(*args)
            if self._scope.cancelled_caught:
                self._result = CANCELLED
        except Exception as error:
            self._error = error
        finally:
            self._ended.set()

    async def join(self):
        with self._library.fail_after(PATIENCE):
            await self._ended.wait()
        if self._error is not None:
            raise self._error
        return self._result


def _trio(name, run=None):
    import trio

    return TrioKit(name, trio, trio.open_nursery, run or trio.run, trio.lowlevel.wait_readable)


def _as_guest(main):
    import trio

    async def host():
        loop, done = asyncio.get_running_loop(), asyncio.Event()
        outcomes = []
        trio.lowlevel.start_guest_run(
            main,
            run_sync_soon_threadsafe=loop.call_soon_threadsafe,
            done_callback=lambda outcome: (outcomes.append(outcome), done.set()),
        )
        await done.wait()
        return outcomes[0].unwrap()

    return asyncio.run(host())


def _anyio(name):
    import anyio

    _, backend = name.split("-")
    return TrioKit(
        name,
        anyio,
        anyio.create_task_group,
        lambda main: anyio.run(main, backend=backend),
        anyio.wait_readable,
    )


# ---- what blocks: a task's coroutine never suspends

_deadline = contextvars.ContextVar("deadline", default=math.inf)


class _Deadlines(Kit):
    """Timeouts belong to each wait: what is in a scope passes its deadline on."""

    @asynccontextmanager
    async def move_on_after(self, seconds):
        scope, outer = _Scope(), _deadline.get()
        _deadline.set(min(outer, time.monotonic() + seconds))
        try:
            yield scope
        except TimeoutError:
            scope.expired = True
        finally:
            _deadline.set(outer)


def _left():
    return _deadline.get() - time.monotonic()


def _drive(function, args):
    try:
        function(*args).send(None)
    except StopIteration as stop:
        return stop.value
    raise AssertionError("it suspended")


class ThreadsKit(_Deadlines):
    """Each task is a thread."""

    def __init__(self, name):
        self.name = name

    def run(self, main, patience=PATIENCE):
        context = contextvars.copy_context()
        context.run(_deadline.set, time.monotonic() + patience)
        return context.run(_drive, main, ())

    async def notified(self, event):
        if not event.wait(_left()):
            raise TimeoutError

    async def sleep(self, seconds):
        time.sleep(max(0, min(seconds, _left())))
        if _left() < 0:
            raise TimeoutError

    async def turn(self):
        time.sleep(0.001)

    def spawn(self, function, *args):
        return _ThreadTask(Thread(contextvars.copy_context().run, _drive, function, args))


class _ThreadTask:
    def __init__(self, thread):
        self._thread = thread

    def done(self):
        return not self._thread.is_alive()

    async def join(self):
        return self._thread.finish()


class GeventKit(Kit):
    """Each task is a greenlet."""

    def __init__(self, name):
        import gevent

        import wakefd.gevent

        assert patched() == (name == "gevent-patched"), "pytest --kit=gevent-patched"
        self.name = name
        self._gevent, self._wait = gevent, wakefd.gevent.wait

    def run(self, main, patience=PATIENCE):
        try:
            with self._gevent.Timeout(patience):
                return _drive(self._run, (main,))
        finally:
            self._gevent.get_hub().destroy(destroy_loop=True)

    async def _run(self, main):
        return await self.spawn(main).join()

    async def notified(self, event):
        self._wait(event)

    async def sleep(self, seconds):
        self._gevent.sleep(seconds)

    def spawn(self, function, *args):
        return _GeventTask(self._gevent, function, args)

    @asynccontextmanager
    async def move_on_after(self, seconds):
        scope = _Scope()
        with self._gevent.Timeout(seconds) as own:
            try:
                yield scope
            except self._gevent.Timeout as timeout:
                if timeout is not own:
                    raise
                scope.expired = True

    def watch(self, fd, callback):
        watcher = self._gevent.get_hub().loop.io(fd, 1)
        watcher.start(callback)

        def stop():
            watcher.stop()
            watcher.close()

        return stop


class _GeventTask:
    def __init__(self, gevent, function, args):
        self._result = CANCELLED  # if it does not even begin
        self._error = None
        self._cancelled = gevent.GreenletExit
        self._greenlet = gevent.spawn(self._run, function, args)
        self.done = self._greenlet.ready

    def _run(self, function, args):
        try:
            self._result = _drive(function, args)
        except self._cancelled:
            pass
        except BaseException as error:
            self._error = error

    def cancel(self):
        self._greenlet.kill(block=False)

    async def join(self):
        self._greenlet.join(PATIENCE)
        assert self.done(), f"{self._greenlet} hangs"
        if self._error is not None:
            raise self._error
        return self._result


KITS = {
    "asyncio": AsyncioKit,
    "asyncio-debug": partial(AsyncioKit, debug=True),
    "asyncio-future": partial(AsyncioKit, loop=UnknownLoop),
    "asyncio-python-task": partial(AsyncioKit, task_factory=python_task),
    "asyncio-thread": partial(AsyncioKit, loop=ThreadedLoop),
    "asyncio-thread-future": partial(AsyncioKit, loop=UnknownThreadedLoop),
    "uvloop": _uvloop,
    "uvloop-debug": partial(_uvloop, debug=True),
    "trio": _trio,
    "trio-guest": partial(_trio, run=_as_guest),
    "anyio-asyncio": _anyio,
    "anyio-trio": _anyio,
    "gevent": GeventKit,
    "gevent-patched": GeventKit,
    "threads": ThreadsKit,
    "zmq-asyncio": ZmqAsyncioKit,
}
if sys.version_info >= (3, 12):
    KITS["asyncio-eager"] = partial(AsyncioKit, task_factory=asyncio.eager_task_factory)

ASYNCIO = [name for name in KITS if name.startswith(("asyncio", "uvloop"))]

# They bend their process: the contract runs in an interpreter of their own.
ALONE = ["gevent-patched"]

# One of each kind of loop, for what is slow.
LOOPS = ("asyncio", "uvloop", "trio")


def kit(name):
    return KITS[name](name)


def names(needs, only=None):
    """Of the kits that can do all that, those that run here."""
    return [
        name
        for name in KITS
        if (name == only if only else name not in ALONE) and not LACKS.get(name, {}).keys() & needs
    ]

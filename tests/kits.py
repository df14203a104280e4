"""Event loops behind one face, so that one test body runs on all of them.

A kit runs an async function and gives it `notified`, `sleep`, `turn`, `spawn`, `move_on_after`,
`patient` and `watch`.
"""

import asyncio
import atexit
import contextlib
import contextvars
import heapq
import itertools
import math
import os
import select
import selectors
import sys
import time
import types
from asyncio import selector_events
from collections import Counter
from contextlib import asynccontextmanager
from functools import cache, partial

from helpers import PATIENCE, Thread, patched, screen, waiting

CANCELLED = "cancelled"

CAN = {
    "await": "`await event.notified()` and `async for` themselves",
    "cancel": "a waiting task can be cancelled",
    "close": "whoever waits hears of the close",
    "end": "the loop may end while somebody waits",
    "fair": "a consumer whose flag is always up does not starve the others",
    "hub": "it waits with a hub of ours",
    "loop": "one task at a time",
    "order": "tasks resume in the order of the waits, and of the notifications",
    "reader": "the loop itself watches a user's descriptors",
    "remembers": "a rise that is cleared at once releases whoever waited",
    "shared": "one descriptor, however many events there are",
    "threads": "a loop may run in any thread",
}

_NO_READER = {"reader": "add_reader raises NotImplementedError: the selector thread serves it"}
_SHUFFLES = {"order": "trio shuffles its tasks"}
_AT_ONCE = "it returns without a switch if the flag is up, as the library's own do"
_GEVENT = {"await": "greenlets do not await: wakefd.gevent.wait", "fair": _AT_ONCE}
_TWISTED = {"await": "wakefd.twisted.notified", "fair": _AT_ONCE}
_POLLER = {
    "await": "it knows fileno() alone",
    "close": "a descriptor must leave the poller before it is closed",
    "hub": "it has its own way to wait",
    "order": "the kernel's own, or the descriptors'",
    "remembers": "a descriptor is readable no longer than the flag is up",
    "shared": "each event has its own descriptor",
}
_QT = {
    "await": "wakefd.qt.EventNotifier",
    "close": "the watch ends quietly: it is for those who look at every rise",
    "order": "the dispatcher's",
    "shared": "each notifier has its own descriptor: it may be moved to another thread",
}

# What a kit cannot do, and why. All else they can, all of them.
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
    "qt": _QT,
    "qt-glib": _QT,
    "tk": {
        "await": "wakefd.tk.watch",
        "close": "the watch ends quietly",
        "threads": "it must be freed in its own, and the collector runs anywhere",
    },
    "threads": {
        "await": "they block: event.wait",
        "cancel": "nobody can cancel a blocked thread",
        "end": "there is no loop",
        "fair": "there is no loop",
        "loop": "threads run at the same time",
        "order": "the scheduler's",
        "reader": "there is no loop",
        "shared": "each thread has its own descriptor",
    },
    "select": _POLLER,
    "poll": _POLLER,
    "epoll": _POLLER,
    "selectors": _POLLER,
    "zmq": _POLLER,
    "zmq-asyncio": _POLLER,
}


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


# ---- Twisted


class TwistedKit(_Deadlines):
    """Each run has a reactor of its own, and each task a Deferred of its coroutine."""

    def __init__(self, name):
        from twisted.internet import defer, task

        import wakefd.twisted

        self.name = name
        self._defer, self._task = defer, task
        self._notified = wakefd.twisted.notified
        self.reactor = None

    def run(self, main, patience=PATIENCE):
        ended = []

        def begin():
            done = self._defer.ensureDeferred(main()).addTimeout(patience, reactor)
            done.addBoth(ended.append).addBoth(lambda _: reactor.stop())

        with _reactor(self.name) as reactor:
            self.reactor = reactor
            reactor.callWhenRunning(begin)
            reactor.run(installSignalHandlers=False)
        if hasattr(ended[0], "raiseException"):
            ended[0].raiseException()
        return ended[0]

    async def _bounded(self, deferred):
        if _deadline.get() < math.inf:
            deferred.addTimeout(max(0, _left()), self.reactor)
        try:
            await deferred
        except self._defer.TimeoutError:
            raise TimeoutError from None

    async def notified(self, event):
        await self._bounded(self._notified(event, self.reactor))

    async def sleep(self, seconds):
        await self._bounded(self._task.deferLater(self.reactor, seconds))

    def spawn(self, function, *args):
        return _TwistedTask(self, self._defer, function(*args))

    def watch(self, fd, callback):
        class Reader:
            def fileno(self):
                return fd

            def doRead(self):  # noqa: N802 - Twisted's name
                callback()

            def logPrefix(self):  # noqa: N802
                return "the user's"

            def connectionLost(self, reason):  # noqa: N802
                pass

        reader = Reader()
        self.reactor.addReader(reader)
        return lambda: self.reactor.removeReader(reader)


class _TwistedTask:
    def __init__(self, kit, defer, coroutine):
        self._kit, self._defer = kit, defer
        self._ended = []
        self._deferred = defer.ensureDeferred(coroutine)
        self._deferred.addBoth(self._ended.append)

    def done(self):
        return bool(self._ended)

    def cancel(self):
        self._deferred.cancel()

    async def join(self):
        async with self._kit.patient("the end of a task"):
            if not self._ended:
                ended = self._defer.Deferred()
                self._deferred.addBoth(lambda _: ended.called or ended.callback(None))
                await self._kit._bounded(ended)
        result = self._ended[0]
        if not hasattr(result, "raiseException"):
            return result
        if result.check(self._defer.CancelledError):
            return CANCELLED
        raise result.value


@contextlib.contextmanager
def _reactor(name):
    if name == "twisted-asyncio":
        from twisted.internet.asyncioreactor import AsyncioSelectorReactor

        own = asyncio.SelectorEventLoop()
        reactor = AsyncioSelectorReactor(own)
    elif name == "twisted-epoll":
        from twisted.internet.epollreactor import EPollReactor

        reactor = EPollReactor()
        own = reactor._poller
    elif name == "twisted-poll":
        from twisted.internet.pollreactor import PollReactor

        reactor, own = PollReactor(), None
    else:
        from twisted.internet.selectreactor import SelectReactor

        reactor, own = SelectReactor(), None
    try:
        yield reactor
    finally:
        for reader in reactor._internalReaders:
            reader.connectionLost(None)
        if own is not None:
            own.close()


# ---- what calls back: Qt, Tk, and pollers with a small loop around them


class _Cancelled(BaseException):
    pass


class _Expired(BaseException):
    pass


class CallbackKit(Kit):
    """Runs coroutines on `call_later` and `on_rise`, which return what takes the call back."""

    def run(self, main, patience=PATIENCE):
        self._tasks, self._current, self.late = [], None, False
        self.open()
        try:
            task = self.spawn(main)
            self.call_later(patience, lambda: task.interrupt(TimeoutError("no end")))
            self.loop(task)
        finally:
            self.close()
            for other in self._tasks:
                other.drop()
            self._tasks.clear()
        assert not self.late, "called after it was taken back"
        return task.outcome()

    def spawn(self, function, *args):
        task = _CallbackTask(self, function(*args))
        self._tasks.append(task)
        return task

    @types.coroutine
    def suspend(self, begin):
        self._current.suspend(begin)
        yield

    async def notified(self, event):
        await self.suspend(lambda wake: self.on_rise(event, wake))

    async def sleep(self, seconds):
        await self.suspend(lambda wake: self.call_later(seconds, wake))

    @asynccontextmanager
    async def move_on_after(self, seconds):
        scope, task, expired = _Scope(), self._current, _Expired()
        take_back = self.call_later(seconds, lambda: task.interrupt(expired))
        try:
            yield scope
        except _Expired as error:
            if error is not expired:
                raise
            scope.expired = True
        finally:
            take_back()


class _CallbackTask:
    def __init__(self, kit, coroutine):
        self._kit, self._coroutine = kit, coroutine
        self._context = contextvars.copy_context()
        self._waits = self._thrown = self._error = self._result = None
        self._ended, self._joined = False, []
        self._take_back = kit.call_later(0, self._step)

    def suspend(self, begin):
        waits = self._waits = object()

        def wake():
            if self._waits is waits:
                self._step()
            else:
                self._kit.late = True

        self._take_back = begin(wake)

    def _step(self, error=None):
        self._waits = self._thrown = None
        before, self._kit._current = self._kit._current, self
        try:
            if error is None:
                self._context.run(self._coroutine.send, None)
            else:
                self._context.run(self._coroutine.throw, error)
        except StopIteration as stop:
            self._end(stop.value)
        except _Cancelled:
            self._end(CANCELLED)
        except BaseException as raised:
            self._error = raised
            self._end()
        finally:
            self._kit._current = before

    def _end(self, result=None):
        self._ended, self._result = True, result
        while self._joined:
            self._joined.pop()()

    def interrupt(self, error):
        """Throw this into it, from the loop."""
        if not self._ended and self._thrown is None:
            self._thrown = error
            self._waits = None
            self._take_back()
            self._take_back = self._kit.call_later(0, lambda: self._step(error))

    def cancel(self):
        self.interrupt(_Cancelled())

    def done(self):
        return self._ended

    def when_done(self, call):
        self._joined.append(call)
        return lambda: self._joined.remove(call)

    def outcome(self):
        assert self._ended, "it hangs"
        if self._error is not None:
            raise self._error
        return self._result

    async def join(self):
        if not self._ended:
            async with self._kit.patient("the end of a task"):
                await self._kit.suspend(self.when_done)
        return self.outcome()

    def drop(self):
        self._coroutine.close()


class QtKit(CallbackKit):
    def __init__(self, name):
        os.environ["QT_QPA_PLATFORM"] = "offscreen"
        os.environ["QT_NO_GLIB"] = "" if name == "qt-glib" else "1"
        import shiboken6
        from PySide6 import QtCore, QtGui

        from wakefd.qt import EventNotifier

        self.name = name
        self._qt, self._notifier = QtCore, EventNotifier
        self._delete, self._valid = shiboken6.delete, shiboken6.isValid
        self._app = QtGui.QGuiApplication.instance() or QtGui.QGuiApplication([])

    def open(self):
        self._loop, self._timers = self._qt.QEventLoop(), set()
        self._owner = self._qt.QObject()

    def loop(self, task):
        task.when_done(self._loop.quit)
        self._loop.exec()

    def close(self):
        self._delete(self._owner)

    def call_later(self, seconds, call):
        timer = self._qt.QTimer(self._owner, singleShot=True)
        timer.timeout.connect(call)
        timer.timeout.connect(timer.deleteLater)
        timer.start(math.ceil(seconds * 1000))
        return lambda: self._valid(timer) and timer.stop()

    def on_rise(self, event, call):
        notifier = self._notifier(event, self._owner)
        notifier.notified.connect(lambda: (notifier.close(), call()))
        return notifier.close

    def watch(self, fd, callback):
        notifier = self._qt.QSocketNotifier(fd, self._qt.QSocketNotifier.Type.Read, self._owner)
        notifier.activated.connect(lambda *_: callback())
        return lambda: notifier.setEnabled(False)


class TkKit(CallbackKit):
    def __init__(self, name):
        import tkinter as tk

        import wakefd.tk

        self.name = name
        self._tk, self._watch = tk, wakefd.tk.watch
        self._display = _display()

    def open(self):
        self._root = self._tk.Tk(self._display)
        _roots.append(self._root)

    def loop(self, task):
        task.when_done(self._root.quit)
        self._root.mainloop()

    def close(self):
        self._root.destroy()
        del self._root

    def call_later(self, seconds, call):
        root = self._root
        timer = root.after(math.ceil(seconds * 1000), call)
        return lambda: root.after_cancel(timer)

    def on_rise(self, event, call):
        watcher = self._watch(self._root, event, lambda: (watcher.close(), call()))
        return watcher.close

    def watch(self, fd, callback):
        root = self._root
        root.createfilehandler(fd, self._tk.READABLE, lambda *_: callback())
        return lambda: root.deletefilehandler(fd)


# Tk aborts if the collector runs in another thread when it finds one.
_roots = []


@cache
def _display():
    shown = screen()
    atexit.register(shown.__exit__, None, None, None)
    return shown.__enter__()


class PollerKit(CallbackKit):
    """A loop of a few lines around a poller of the standard library's, or pyzmq's."""

    def __init__(self, name, poller):
        self.name = name
        self._new_poller = poller
        self._calls = {}

    def waits(self, event):
        return waiting(event) + sum(
            len(calls) for its, calls in self._calls.values() if its is event
        )

    def open(self):
        self._register, self._unregister, self._poll, self.close = self._new_poller()
        self._timers, self._numbers, self._calls = [], itertools.count(), {}

    def loop(self, task):
        while not task.done():
            now, due = time.monotonic(), []
            while self._timers and self._timers[0][0] <= now:
                due.append(heapq.heappop(self._timers))
            for timer in due:
                timer[2]()
            soon = self._timers[0][0] if self._timers and not task.done() else 0
            for fd in self._poll(max(0, soon - time.monotonic())):
                self._unregister(fd)
                _, calls = self._calls.pop(fd)
                while calls:
                    calls.pop(0)()
        self._calls.clear()

    def call_later(self, seconds, call):
        timer = [time.monotonic() + seconds, next(self._numbers), call]
        heapq.heappush(self._timers, timer)

        def stop():
            timer[2] = lambda: None

        return stop

    def on_rise(self, event, call):
        fd = event.fileno()
        if fd not in self._calls:
            self._register(fd)
            self._calls[fd] = event, []
        _, calls = self._calls[fd]
        calls.append(call)

        def stop():
            calls.remove(call)
            if not calls and fd in self._calls:
                self._unregister(fd)
                del self._calls[fd]

        return stop


def _select():
    fds = set()
    return fds.add, fds.remove, lambda left: select.select(fds, [], [], left)[0], lambda: None


def _poller(poller, read, unit, close):
    return (
        lambda fd: poller.register(fd, read),
        poller.unregister,
        lambda left: [fd for fd, _ in poller.poll(math.ceil(left * unit) if unit > 1 else left)],
        close,
    )


def _poll():
    return _poller(select.poll(), select.POLLIN, 1000, lambda: None)


def _epoll():
    poller = select.epoll()
    return _poller(poller, select.EPOLLIN, 1, poller.close)


def _zmq():
    import zmq

    return _poller(zmq.Poller(), zmq.POLLIN, 1000, lambda: None)


def _selectors():
    selector = selectors.DefaultSelector()
    return (
        lambda fd: selector.register(fd, selectors.EVENT_READ),
        selector.unregister,
        lambda left: [key.fd for key, _ in selector.select(left)],
        selector.close,
    )


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
    "twisted-epoll": TwistedKit,
    "twisted-poll": TwistedKit,
    "twisted-select": TwistedKit,
    "twisted-asyncio": TwistedKit,
    "qt": QtKit,
    "qt-glib": QtKit,
    "tk": TkKit,
    "threads": ThreadsKit,
    "select": partial(PollerKit, poller=_select),
    "poll": partial(PollerKit, poller=_poll),
    "epoll": partial(PollerKit, poller=_epoll),
    "selectors": partial(PollerKit, poller=_selectors),
    "zmq": partial(PollerKit, poller=_zmq),
    "zmq-asyncio": ZmqAsyncioKit,
}
if sys.version_info >= (3, 12):
    KITS["asyncio-eager"] = partial(AsyncioKit, task_factory=asyncio.eager_task_factory)

ASYNCIO = [name for name in KITS if name.startswith(("asyncio", "uvloop"))]

# They bend their process, or may end it: the contract runs in an interpreter of their own.
ALONE = ["gevent-patched", "qt", "qt-glib", "tk"]

# Themselves they cannot do without an eventfd.
NEED_EVENTFD = ["uvloop", "uvloop-debug", "qt"]

# One of each kind of loop, for what is slow.
LOOPS = ("asyncio", "uvloop", "trio")


def kit(name):
    return KITS[name](name)


def names(needs, only=None):
    """Of the kits that can do all that, those that run in this process."""
    return [
        name
        for name in KITS
        if (name == only if only else name not in ALONE) and not LACKS.get(name, {}).keys() & needs
    ]

"""Every kind of loop, cut down to its life: it begins, somebody waits on it, it runs, it ends.

A scene is a generator that a fresh loop plays. `yield condition` runs the loop until the condition
is true; `yield wait` runs it, and lets it sleep, until that wait is over. What waits at the end of
the scene is left behind.
"""

import asyncio
import importlib.util
import os
import shutil
import threading
import time
import weakref
from contextlib import contextmanager

import pytest

from helpers import PATIENCE, Thread, until, waiting
from wakefd import ClosedResourceError

TICK = 0.001


class Wait:
    """Somebody who waits for an event."""

    outcome = None  # True when he was released, the exception that ended it, or "cancelled"

    def __init__(self, end=None):
        self._ended = end
        self.then = None  # what a released one does next

    @property
    def over(self):
        return self.outcome is not None

    def end(self, outcome):
        self.outcome = outcome
        if self._ended is not None:
            self._ended()
        if outcome is True and self.then is not None:
            self.then()


class Life:
    tells_of_close = True  # a waiter hears of it
    in_a_forked_child = "refuses"  # what the parent's loop does there; or "works"
    module = None

    def begun(self, event, count=1):
        """So many wait for it."""
        return lambda: waiting(event) == count

    def prepare(self):
        """Import what would be imported later."""

    def after_fork(self):
        """What the library asks for in a child."""

    async def _waited(self, awaitable, wait):
        try:
            await awaitable
        except (ClosedResourceError, OSError, RuntimeError) as error:
            wait.end(error)  # no other: a coroutine that is thrown away gets GeneratorExit
        else:
            wait.end(True)


class Asyncio(Life):
    def __init__(self, new_loop=asyncio.SelectorEventLoop):
        self._new_loop = new_loop

    def prepare(self):
        import wakefd._loops.asyncio  # noqa: F401

    def run(self, scene, *args):
        self.loop = loop = self._new_loop()
        try:
            for what in scene(self, *args):
                # Between two of them the loop stands still, and a scene may fork.
                loop.run_until_complete(self._until(what))
        finally:
            loop.close()

    async def _until(self, what):
        if isinstance(what, Wait):
            await asyncio.wait([what.task], timeout=PATIENCE)
            assert what.over, "asleep for ever"
            return
        deadline = time.monotonic() + PATIENCE
        while not what():
            assert time.monotonic() < deadline, "in vain"
            await asyncio.sleep(TICK)

    def wait(self, event):
        wait = Wait()
        wait.task = self.loop.create_task(self._waited(event.notified(), wait))
        wait.task._log_destroy_pending = False
        return wait

    def cancel(self, wait):
        wait.task.cancel()


class Futures(Asyncio):
    """asyncio as it is served where a task's step cannot be run from a reader callback."""

    def __init__(self):
        super().__init__(self._new_loop)

    def _new_loop(self):
        from wakefd._loops import asyncio as _asyncio

        loop = asyncio.SelectorEventLoop()
        _asyncio._state(loop).direct = False
        return loop


class SelectorThread(Asyncio):
    """asyncio without add_reader."""

    class Loop(asyncio.SelectorEventLoop):
        def add_reader(self, fd, callback, *args):
            raise NotImplementedError

    def __init__(self):
        super().__init__(self.Loop)


class Uvloop(Asyncio):
    module = "uvloop"
    in_a_forked_child = "either"

    def __init__(self):
        import uvloop

        super().__init__(uvloop.new_event_loop)


class Trio(Life):
    module = "trio"

    def prepare(self):
        import wakefd._loops.trio  # noqa: F401

    def run(self, scene, *args):
        import trio

        self._trio = trio
        trio.run(self._play, scene, args)

    async def _play(self, scene, args):
        async with self._trio.open_nursery() as self._nursery:
            for what in scene(self, *args):
                with self._trio.fail_after(PATIENCE):
                    if isinstance(what, Wait):
                        await what.ended.wait()
                        continue
                    while not what():
                        await self._trio.sleep(TICK)
            self._nursery.cancel_scope.cancel()

    def wait(self, event):
        ended = self._trio.Event()
        wait = Wait(ended.set)
        wait.ended, wait.scope = ended, self._trio.CancelScope()
        self._nursery.start_soon(self._scoped, event.notified, wait)
        return wait

    async def _scoped(self, notified, wait):
        with wait.scope:
            await self._waited(notified(), wait)

    def cancel(self, wait):
        wait.scope.cancel()


class Gevent(Life):
    """In a thread of its own: the main thread's loop never ends."""

    module = "gevent"
    in_a_forked_child = "works"
    in_the_main_thread = False

    def prepare(self):
        import wakefd.gevent  # noqa: F401

    def run(self, scene, *args):
        import gevent

        self._gevent = gevent
        if threading.current_thread() is threading.main_thread() and not self.in_the_main_thread:
            Thread(self._play_and_end, scene, args).finish()
        else:
            self._play(scene, args)

    def _play_and_end(self, scene, args):
        try:
            self._play(scene, args)
        finally:
            self._gevent.get_hub().destroy(destroy_loop=True)

    def _play(self, scene, args):
        for what in scene(self, *args):
            if isinstance(what, Wait):
                what.greenlet.join(PATIENCE)
                assert what.over, "asleep for ever"
                continue
            deadline = time.monotonic() + PATIENCE
            while not what():
                assert time.monotonic() < deadline, "in vain"
                self._gevent.sleep(TICK)

    def wait(self, event):
        from wakefd.gevent import wait as waits

        wait = Wait()
        wait.greenlet = self._gevent.spawn(self._wait, waits, event, wait)
        return wait

    def _wait(self, waits, event, wait):
        try:
            waits(event)
        except Exception as error:
            wait.end(error)
        else:
            wait.end(True)

    def cancel(self, wait):
        wait.greenlet.kill(block=False)

    def after_fork(self):
        self._gevent.reinit()


class Twisted(Life):
    module = "twisted"

    def prepare(self):
        from twisted.internet import epollreactor  # noqa: F401

        import wakefd.twisted  # noqa: F401

    def run(self, scene, *args):
        from twisted.internet.epollreactor import EPollReactor

        self.reactor = reactor = EPollReactor()
        reactor.startRunning(installSignalHandlers=False)
        try:
            for what in scene(self, *args):
                asleep = isinstance(what, Wait)
                deadline = time.monotonic() + PATIENCE
                while not (what.over if asleep else what()):
                    assert time.monotonic() < deadline, "in vain"
                    reactor.iterate(PATIENCE if asleep else TICK)
        finally:
            reactor.stop()
            reactor.iterate(0)
            reactor.iterate(0)
            for reader in list(reactor._internalReaders):
                reader.connectionLost(None)
            reactor._poller.close()

    def wait(self, event):
        from wakefd.twisted import notified

        wait = Wait()
        wait.deferred = notified(event, self.reactor)
        wait.deferred.addCallbacks(
            lambda _: wait.end(True), lambda failure: wait.end(failure.value)
        ).addErrback(lambda failure: None)
        return wait

    def cancel(self, wait):
        wait.deferred.cancel()


class Qt(Life):
    module = "PySide6"
    tells_of_close = False
    in_a_forked_child = "works"

    def prepare(self):
        from PySide6.QtCore import QCoreApplication

        import wakefd.qt  # noqa: F401

        self._app = QCoreApplication.instance() or QCoreApplication([])
        kept.add(self._app)

    def run(self, scene, *args):
        import shiboken6
        from PySide6.QtCore import QEvent, QEventLoop, QObject, QTimer

        self.prepare()
        self._loop, self._parent = QEventLoop(), QObject()
        for what in scene(self, *args):
            if isinstance(what, Wait):
                if not what.over:
                    late = QTimer()
                    late.setSingleShot(True)
                    late.timeout.connect(self._loop.quit)
                    late.start(int(PATIENCE * 1000))
                    self._loop.exec()
                assert what.over, "asleep for ever"
                continue
            deadline = time.monotonic() + PATIENCE
            while not what():
                assert time.monotonic() < deadline, "in vain"
                self._loop.processEvents()
                time.sleep(TICK)
        shiboken6.delete(self._parent)
        self._app.sendPostedEvents(None, QEvent.Type.DeferredDelete)

    def wait(self, event):
        from wakefd.qt import EventNotifier

        wait = Wait(self._loop.quit)
        try:
            notifier = EventNotifier(event, self._parent)
        except Exception as error:
            wait.end(error)
            return wait
        # No collector sees what Qt owns: its parent's end must be enough.
        wait.notifier, waited = weakref.ref(notifier), weakref.ref(wait)

        def slot():
            wait = waited()
            wait.notifier().close()
            wait.end(True)

        notifier.notified.connect(slot)
        return wait

    def cancel(self, wait):
        wait.notifier().close()


class Tk(Life):
    module = "_tkinter"
    tells_of_close = False

    def prepare(self):
        import wakefd.tk  # noqa: F401

    def run(self, scene, *args):
        import tkinter as tk

        self._root = root = tk.Tk()
        try:
            for what in scene(self, *args):
                if isinstance(what, Wait):
                    if not what.over:
                        late = root.after(int(PATIENCE * 1000), root.quit)
                        root.mainloop()
                        root.after_cancel(late)
                    assert what.over, "asleep for ever"
                    continue
                deadline = time.monotonic() + PATIENCE
                while not what():
                    assert time.monotonic() < deadline, "in vain"
                    root.update()
                    time.sleep(TICK)
        finally:
            root.destroy()

    def wait(self, event):
        from wakefd.tk import watch

        wait = Wait(self._root.quit)

        def callback():
            wait.watcher.close()
            wait.end(True)

        try:
            wait.watcher = watch(self._root, event, callback)
        except Exception as error:
            wait.end(error)
        return wait

    def cancel(self, wait):
        wait.watcher.close()


class Threads(Life):
    """No loop at all."""

    in_a_forked_child = "works"

    def run(self, scene, *args):
        for what in scene(self, *args):
            if isinstance(what, Wait):
                what.thread.finish()
                assert what.over
            else:
                until(what)

    def wait(self, event):
        wait = Wait()
        wait.thread = Thread(self._wait, event.wait, wait)
        return wait

    def _wait(self, waits, wait):
        try:
            assert waits(2 * PATIENCE)
        except Exception as error:
            wait.end(error)
        else:
            wait.end(True)


class Foreign(Life):
    """A selector of the user's on `fileno()`. Whom it wakes, the event does not know."""

    in_a_forked_child = "works"
    tells_of_close = False

    def run(self, scene, *args):
        import selectors

        with selectors.PollSelector() as self._selector:
            for what in scene(self, *args):
                deadline = time.monotonic() + PATIENCE
                asleep = isinstance(what, Wait)
                while not (what.over if asleep else what()):
                    assert time.monotonic() < deadline, "in vain"
                    for key, _ in self._selector.select(PATIENCE if asleep else TICK):
                        self._selector.unregister(key.fd)
                        key.data.end(True)

    def wait(self, event):
        wait = Wait()
        try:
            wait.fd = event.fileno()
        except Exception as error:
            wait.end(error)
            return wait
        self._selector.register(wait.fd, 1, wait)
        return wait

    def cancel(self, wait):
        self._selector.unregister(wait.fd)

    def begun(self, event, count=1):
        return lambda: True


kept = set()

LIVES = {
    "asyncio": Asyncio,
    "futures": Futures,
    "uvloop": Uvloop,
    "selector thread": SelectorThread,
    "trio": Trio,
    "gevent": Gevent,
    "twisted": Twisted,
    "qt": Qt,
    "tk": Tk,
    "threads": Threads,
    "foreign": Foreign,
}
NEEDS = {
    name: life.module for name, life in LIVES.items() if isinstance(life, type) and life.module
}


def missing(name):
    """Why there is no such loop here."""
    module = NEEDS.get(name)
    if module is not None and importlib.util.find_spec(module) is None:
        return f"{module} is not installed"
    if name == "tk" and "DISPLAY" not in os.environ and shutil.which("Xvfb") is None:
        return "no DISPLAY, and no Xvfb to make one"
    return None


def every(*but, only=None):
    """Parametrize over all loops, but for some."""
    names = [name for name in only or LIVES if name not in but]
    return pytest.mark.parametrize(
        "name",
        [
            pytest.param(
                name, marks=pytest.mark.skipif(bool(why := missing(name)), reason=why or "")
            )
            for name in names
        ],
    )


def play(name, scene, *args):
    """On a new loop."""
    LIVES[name]().run(scene, *args)


@contextmanager
def on_a_screen():
    """For this process and its children."""
    from helpers import screen

    if missing("tk") or "DISPLAY" in os.environ:
        yield
        return
    with screen() as number:
        os.environ["DISPLAY"] = number
        try:
            yield
        finally:
            del os.environ["DISPLAY"]


def wakes_up(life, event):
    """A scene: a thread wakes somebody who waits."""
    event.clear()
    wait = life.wait(event)
    yield life.begun(event)
    thread = Thread(event.notify)
    yield wait
    thread.finish()
    assert wait.outcome is True, wait.outcome
    event.clear()


def works(name, event):
    """Does a new loop of this kind wake up?"""
    play(name, wakes_up, event)

"""Threads and gevent: a task's coroutine never suspends, what it awaits blocks."""

import contextvars
import math
import threading
import time
from contextlib import asynccontextmanager

from helpers import PATIENCE, Thread, patched
from kit_base import CANCELLED, Kit, Scope

deadline = contextvars.ContextVar("deadline", default=math.inf)


class Deadlines(Kit):
    """A scope whose deadline is passed to each wait inside it, because timeouts belong to waits."""

    @asynccontextmanager
    async def move_on_after(self, seconds):
        scope, outer = Scope(), deadline.get()
        deadline.set(min(outer, time.monotonic() + seconds))
        try:
            yield scope
        except TimeoutError:
            scope.expired = True
        finally:
            deadline.set(outer)


def left():
    return deadline.get() - time.monotonic()


def _drive(function, args):
    try:
        function(*args).send(None)
    except StopIteration as stop:
        return stop.value
    raise AssertionError("it suspended")


class ThreadsKit(Deadlines):
    """Each task is a thread."""

    in_a_forked_child = "works"

    def __init__(self, name):
        self.name = name

    def run(self, main, patience=PATIENCE):
        context = contextvars.copy_context()
        context.run(deadline.set, time.monotonic() + patience)
        return context.run(_drive, main, ())

    async def notified(self, event):
        if not event.wait(left()):
            raise TimeoutError

    async def sleep(self, seconds):
        time.sleep(max(0, min(seconds, left())))
        if left() < 0:
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

    in_a_forked_child = "works"

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

    def play(self, steps):
        """Run the steps; the main thread's hub lives on, as in a user's program."""
        if threading.current_thread() is not threading.main_thread():
            super().play(steps)
            return
        for step in steps:
            _drive(step, ())

    def after_fork(self):
        self._gevent.reinit()

    async def notified(self, event):
        self._wait(event)

    async def sleep(self, seconds):
        self._gevent.sleep(seconds)

    def spawn(self, function, *args):
        return _GeventTask(self._gevent, function, args)

    @asynccontextmanager
    async def move_on_after(self, seconds):
        scope = Scope()
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
        self._result = CANCELLED  # stays if the greenlet does not even begin
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

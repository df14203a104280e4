"""Frameworks that call back: the tests' coroutines run on the frameworks' timers and on rises."""

import contextvars
import types
from contextlib import asynccontextmanager

from helpers import PATIENCE
from kit_base import CANCELLED, Kit, Scope


class _Cancelled(BaseException):
    pass


class _Expired(BaseException):
    pass


class CallbackKit(Kit):
    """A kit that runs coroutines on `call_later` and `on_rise`; both return a cancel function."""

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
        scope, task, expired = Scope(), self._current, _Expired()
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
        """Throw the exception into the coroutine, from the loop."""
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

"""asyncio: its own loop, uvloop, loops that cannot watch, and the poller of pyzmq."""

import asyncio
import os
from collections import Counter
from contextlib import asynccontextmanager

from helpers import PATIENCE, waiting
from kit_base import CANCELLED, Kit, Scope
from wakefd._loops import asyncio as _asyncio


class UnknownLoop(asyncio.SelectorEventLoop):
    """A loop that wakefd serves with futures, because it does not know the loop's class."""

    def __init__(self):
        super().__init__()
        _asyncio._state(self).direct = False


class _CannotWatch:
    """A loop that cannot watch descriptors, like the Proactor loop of Windows."""

    def add_reader(self, fd, callback, *args):
        raise NotImplementedError

    def remove_reader(self, fd):
        raise NotImplementedError


class ThreadedLoop(_CannotWatch, asyncio.SelectorEventLoop):
    """A loop that the selector thread serves."""


class UnknownThreadedLoop(_CannotWatch, UnknownLoop):
    """A loop that the selector thread serves, with futures."""


def python_task(loop, coro, **kwargs):
    return asyncio.tasks._PyTask(coro, loop=loop, **kwargs)


# From 3.14 on, the Python task registers with the Python versions of `current_task` and `all_tasks`
# only, but all programs call the C versions: here both kinds of task register with the same.
for _name, _function in list(vars(asyncio.tasks).items()):
    if _name.startswith("_c_") and hasattr(asyncio.tasks, f"_py_{_name[3:]}"):
        setattr(asyncio.tasks, f"_py_{_name[3:]}", _function)


class AsyncioKit(Kit):
    is_asyncio = True
    _standing = None  # the loop, while it plays

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

    def play(self, steps):
        """Run the steps on a loop that stands still between two steps: a step may fork."""
        loop = self._standing = self.new_loop()
        try:
            for step in steps:
                loop.run_until_complete(step())
        finally:
            loop.close()

    def spawn(self, function, *args):
        loop = self._standing or asyncio.get_running_loop()
        task = loop.create_task(function(*args))
        if self._standing:
            task._log_destroy_pending = False
        return _AsyncioTask(task)

    @asynccontextmanager
    async def move_on_after(self, seconds):
        scope = Scope()
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


def uvloop_kit(name, debug=False):
    import uvloop

    kit = AsyncioKit(name, uvloop.new_event_loop, debug)
    kit.in_a_forked_child = "either"
    return kit


def rloop_kit(name):
    from rloop.loop import RLoop

    class Loop(RLoop):
        def _ssock_stop(self):
            """rloop closes both descriptors; its socket objects would close them once more."""
            ends = self._ssock_r, self._ssock_w
            super()._ssock_stop()
            for end in ends:
                end.detach()

    kit = AsyncioKit(name, Loop)
    kit.leaks = 2
    return kit


class TornadoKit(AsyncioKit):
    """Tornado's IOLoop runs the asyncio loop that it has made."""

    def __init__(self, name):
        from tornado.ioloop import IOLoop

        super().__init__(name)
        self._ioloop = IOLoop

    def run(self, main, patience=PATIENCE):
        loop = self._ioloop(make_current=False)
        try:
            return loop.run_sync(main, timeout=patience)
        finally:
            loop.close()


class ZmqAsyncioKit(AsyncioKit):
    """asyncio, with waits on pyzmq's poller."""

    def __init__(self, name):
        import zmq.asyncio  # noqa: F401 - without it there is no kit

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
            await asyncio.sleep(0)  # the poller lets go of the descriptor
            os.close(fd)

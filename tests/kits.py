"""Event loops behind one face, so that one test body runs on all of them.

A kit runs an async function and gives it `sleep`, `turn`, `spawn`, `move_on_after` and `patient`.
"""

import asyncio
import sys
from asyncio import selector_events
from contextlib import asynccontextmanager

from helpers import PATIENCE, waiting

CANCELLED = "cancelled"


class UnknownLoop(selector_events.BaseSelectorEventLoop):
    """Works like asyncio's own, but is none that wakefd knows to bear a step in a callback."""


def python_task(loop, coro, **kwargs):
    return asyncio.tasks._PyTask(coro, loop=loop, **kwargs)


class Kit:
    name: str
    is_asyncio = False

    def __repr__(self):
        return self.name

    async def waiting(self, event, count):
        """Until so many wait for the event."""
        async with self.patient(f"{count} waiters of {event}"):
            while waiting(event) != count:
                await self.sleep(0.0005)

    @asynccontextmanager
    async def patient(self, what="it"):
        async with self.move_on_after(PATIENCE) as scope:
            yield
        assert not scope.expired, f"waited in vain for {what}"


class _Scope:
    expired = False


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

    async def turn(self):
        await asyncio.sleep(0)

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


class TrioKit(Kit):
    """trio, and anyio, whose names are the same."""

    def __init__(self, name, library, open_nursery, run):
        self.name = name
        self._library, self._open_nursery, self._run = library, open_nursery, run
        self.sleep = library.sleep

    def run(self, main, patience=PATIENCE):
        async def bounded():
            with self._library.fail_after(patience):
                async with self._open_nursery() as self._nursery:
                    result = await main()
                    self._nursery.cancel_scope.cancel()
                    return result

        return self._run(bounded)

    async def turn(self):
        await self._library.sleep(0)

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


def _uvloop():
    import uvloop

    return uvloop.new_event_loop()


def _trio():
    import trio

    return TrioKit("trio", trio, trio.open_nursery, trio.run)


def _anyio(backend):
    import anyio

    return TrioKit(
        f"anyio-{backend}",
        anyio,
        anyio.create_task_group,
        lambda main: anyio.run(main, backend=backend),
    )


ASYNCIO = {
    "asyncio": lambda: AsyncioKit("asyncio"),
    "asyncio-debug": lambda: AsyncioKit("asyncio-debug", debug=True),
    "asyncio-future": lambda: AsyncioKit("asyncio-future", UnknownLoop),
    "asyncio-python-task": lambda: AsyncioKit("asyncio-python-task", task_factory=python_task),
    "uvloop": lambda: AsyncioKit("uvloop", _uvloop),
    "uvloop-debug": lambda: AsyncioKit("uvloop-debug", _uvloop, debug=True),
}
if sys.version_info >= (3, 12):
    ASYNCIO["asyncio-eager"] = lambda: AsyncioKit(
        "asyncio-eager", task_factory=asyncio.eager_task_factory
    )

KITS = {
    **ASYNCIO,
    "trio": _trio,
    "anyio-asyncio": lambda: _anyio("asyncio"),
    "anyio-trio": lambda: _anyio("trio"),
}

# One of each kind of loop, for what is slow.
LOOPS = ("asyncio", "uvloop", "trio")


def kit(name):
    return KITS[name]()

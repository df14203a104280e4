"""The kits of trio, also as a guest of asyncio, and of anyio."""

import asyncio
from contextlib import asynccontextmanager

from helpers import PATIENCE
from kit_base import CANCELLED, Kit, Scope


class TrioKit(Kit):
    """The kit of trio and of anyio, which share their names."""

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
        scope = Scope()
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


def trio_kit(name, run=None):
    import trio

    import wakefd._loops.trio  # noqa: F401 - the first wait would import it

    return TrioKit(name, trio, trio.open_nursery, run or trio.run, trio.lowlevel.wait_readable)


def as_guest(main):
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


def anyio_kit(name):
    import anyio

    _, backend = name.split("-")
    return TrioKit(
        name,
        anyio,
        anyio.create_task_group,
        lambda main: anyio.run(main, backend=backend),
        anyio.wait_readable,
    )

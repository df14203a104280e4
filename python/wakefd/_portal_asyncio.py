"""Portals into asyncio, uvloop, and every other loop with asyncio's interface."""

import asyncio
from collections.abc import Awaitable
from functools import partial
from inspect import iscoroutine
from typing import Any
from weakref import ref

from wakefd._asyncio import hub
from wakefd._portal import Call, Runner
from wakefd._wakefd import Receiver


class _Runner(Runner):
    cancelled = asyncio.CancelledError
    ends = (KeyboardInterrupt, SystemExit)

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        super().__init__()
        self.loop = ref(loop)

    def spawn(self, call: Call[Any], awaitable: Awaitable[Any]) -> "asyncio.Task[Any]":
        coroutine = awaitable if iscoroutine(awaitable) else _wait(awaitable)
        task = asyncio.get_running_loop().create_task(coroutine, context=call.context)
        call.cancel = task.cancel
        task.add_done_callback(partial(self._ended, call))
        return task

    def _ended(self, call: Call[Any], task: "asyncio.Task[Any]") -> None:
        self.left(call, task)
        self.done(call)

    def left(self, call: Call[Any], task: "asyncio.Task[Any]") -> None:
        if not task.done():
            return
        if task.cancelled():
            call.cancelled()
        elif (error := task.exception()) is not None:
            call.failed(error)
        else:
            call.succeeded(task.result())

    def failed(self, error: BaseException, function: object) -> None:
        loop = self.loop()
        if loop is not None:
            message = f"exception in a call of a portal, {function!r}"
            loop.call_exception_handler({"message": message, "exception": error})


async def _wait(awaitable: Awaitable[Any]) -> Any:
    return await awaitable


def open_portal(loop: asyncio.AbstractEventLoop) -> Runner:
    """Begin to serve a portal."""
    runner = _Runner(loop)
    Receiver(runner.inbox, runner, hub(loop), loop).begin()  # the hub owns it from here on
    return runner

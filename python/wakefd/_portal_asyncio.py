"""Portals into asyncio, uvloop, and every other loop with asyncio's interface."""

import asyncio
import threading
from collections.abc import Awaitable, Coroutine
from functools import partial
from typing import Any
from weakref import ref

from wakefd._loops.asyncio import hub
from wakefd._portal import Call, Runner
from wakefd._wakefd import Receiver


class _Runner(Runner):
    cancelled = asyncio.CancelledError
    ends = (KeyboardInterrupt, SystemExit)

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        super().__init__()
        self.loop = ref(loop)

    def runs_here(self) -> bool:
        loop = self.loop()
        # `_thread_id` of asyncio's own loops knows of an outer loop, too: the running one is the
        # innermost. Other loops have none; then a call of the portal tells where an outer one is.
        thread: int | None = getattr(loop, "_thread_id", None)
        if thread is not None:
            return thread == threading.get_ident()
        return loop is not None and (asyncio._get_running_loop() is loop or self.inbox.here)

    def spawn(self, call: Call[Any], awaitable: Awaitable[Any]) -> "asyncio.Task[Any]":
        # In the context, not with `context=`, which task factories need not take.
        create_task = asyncio.get_running_loop().create_task
        task = call.context.run(create_task, self._run(call, awaitable))
        call.cancel = task.cancel
        task.add_done_callback(partial(self._ended, call, awaitable))
        return task

    async def _run(self, call: Call[Any], awaitable: Awaitable[Any]) -> None:
        # The future hears of it here, a turn of the loop earlier than from the task's callbacks.
        try:
            call.succeeded(await awaitable)
        except asyncio.CancelledError:
            raise  # see `_ended`
        except BaseException as error:
            call.failed(error)
            if isinstance(error, self.ends):
                raise
        finally:
            del call  # the traceback is in its future

    def _ended(self, call: Call[Any], awaitable: Awaitable[Any], task: "asyncio.Task[Any]") -> None:
        if task.cancelled():
            if isinstance(awaitable, Coroutine):
                awaitable.close()  # if it was cancelled before its first step
            call.cancelled()
        else:
            task.exception()  # the future has it
        self.done(call)

    def failed(self, error: BaseException, function: object) -> None:
        loop = self.loop()
        if loop is not None:
            message = f"exception in a call of a portal, {function!r}"
            loop.call_exception_handler({"message": message, "exception": error})


def open_portal(loop: asyncio.AbstractEventLoop) -> Runner:
    """Begin to serve a portal."""
    runner = _Runner(loop)
    Receiver(runner.inbox, runner, hub(loop), loop).begin()  # the hub owns it from here on
    return runner

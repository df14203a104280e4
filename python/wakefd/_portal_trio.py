"""Portals into trio."""

from collections.abc import Awaitable, Coroutine
from typing import Any

import trio

from wakefd._errors import LoopClosedError
from wakefd._event import IoEvent
from wakefd._portal import Call, Runner
from wakefd._wakefd import Receiver


class _Runner(Runner):
    cancelled = trio.Cancelled

    def __init__(self) -> None:
        super().__init__()
        self.token = trio.lowlevel.current_trio_token()

    def runs_here(self) -> bool:
        try:
            return trio.lowlevel.current_trio_token() is self.token
        except RuntimeError:
            return False  # trio does not run in this thread

    def spawn(self, call: Call[Any], awaitable: Awaitable[Any]) -> trio.lowlevel.Task:
        scope = trio.CancelScope()
        call.cancel = scope.cancel
        return trio.lowlevel.spawn_system_task(
            self._run, call, awaitable, scope, context=call.context, name=call.function
        )

    async def _run(
        self, call: Call[Any], awaitable: Awaitable[Any], scope: trio.CancelScope
    ) -> None:
        try:
            if scope.cancel_called:
                if isinstance(awaitable, Coroutine):
                    awaitable.close()
                call.cancelled()
                return
            with scope:
                call.succeeded(await awaitable)
            if scope.cancelled_caught:
                call.cancelled()
        except trio.Cancelled:  # not by the scope: nothing else cancels a system task
            call.failed(LoopClosedError("the event loop was closed before the call had ended"))
            raise
        except BaseException as error:
            call.failed(error)
        finally:
            self.done(call)
            del call  # the traceback is in its future


async def _serve(receiver: Receiver, event: IoEvent) -> None:
    try:
        while not receiver.finished:
            await event.notified()
            while receiver.turn():
                await trio.lowlevel.checkpoint()
    finally:
        receiver.end()


def open_portal(_: object) -> Runner:
    """Begin to serve a portal."""
    runner = _Runner()
    receiver = Receiver(runner.inbox, runner)
    trio.lowlevel.spawn_system_task(_serve, receiver, runner.event)
    return runner

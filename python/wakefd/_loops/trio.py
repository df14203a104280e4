"""The adapter for trio.

Tasks are leader and followers: the first task that waits watches the hub's descriptor itself, the
other tasks sleep; when the leader leaves, it hands over. (A system task that watches would cost
every wake-up a second pass of the scheduler: a third of the latency.)
"""

from collections import OrderedDict
from collections.abc import Awaitable, Coroutine, Sequence
from typing import Any

import trio
from trio.lowlevel import (
    Abort,
    RaiseCancelT,
    RunVar,
    Task,
    current_task,
    reschedule,
    wait_readable,
    wait_task_rescheduled,
)

from wakefd import _wakefd
from wakefd._errors import ClosedResourceError, LoopClosedError
from wakefd._loops.runner import Call, Runner
from wakefd._wakefd import Hub, Place, Receiver


class _TrioRun:
    """The hub of one `trio.run`, and the tasks that wait on it."""

    __slots__ = ("fd", "followers", "hub", "leader")

    def __init__(self, hub: Hub) -> None:
        self.hub = hub
        self.fd = hub.fileno()
        self.leader: Task | None = None
        # The followers are in the order in which they came. A dict would rescan the places of those
        # that have left at its front.
        self.followers: OrderedDict[Task, None] = OrderedDict()

    def rewatch(self, dead: int) -> None:
        trio.lowlevel.notify_closing(dead)
        self.fd = self.hub.fileno()


_run: RunVar[_TrioRun] = RunVar("wakefd")


def begin(event: _wakefd.IoEvent | Place, _: object) -> Awaitable[None]:
    """Begin to wait for the event. Always a checkpoint."""
    return _notified([event])


def begin_any(events: Sequence[_wakefd.IoEvent], _: object) -> Awaitable[None]:
    """Begin to wait for the first of some events. Always a checkpoint."""
    return _notified(events)


def give_way(_: object) -> Awaitable[None]:
    """Let the other tasks have their turn. Always a checkpoint."""
    return pause()


async def pause() -> None:
    """Let the other tasks have their turn."""
    await trio.lowlevel.checkpoint()


@trio.lowlevel.enable_ki_protection
async def _notified(events: Sequence[_wakefd.IoEvent | Place]) -> None:
    try:
        run = _run.get()
    except LookupError:
        run = _start()
    task = current_task()
    followers = run.followers
    outcome: bool | None = None

    def released(rose: bool) -> None:
        nonlocal outcome
        outcome = rose
        if task in followers:  # else the task leads, or is about to
            del followers[task]
            reschedule(task)

    def abort(_: RaiseCancelT) -> Abort:
        del followers[task]
        return Abort.SUCCEEDED

    tickets: list[int] = []
    try:
        for event in events:
            ticket = run.hub.wait(event, released)
            if ticket is None:
                await trio.lowlevel.checkpoint()
                return
            tickets.append(ticket)
        while outcome is None:
            if run.leader is not None:
                followers[task] = None
                await wait_task_rescheduled(abort)
                continue
            run.leader = task
            try:
                await wait_readable(run.fd)
                run.hub.dispatch(run.rewatch)
            finally:
                run.leader = None
    finally:
        if outcome is None or len(tickets) > 1:
            for ticket in tickets:
                run.hub.cancel(ticket)
        if followers and run.leader is None:
            reschedule(followers.popitem(last=False)[0])  # hand over
    if not outcome:
        msg = "this event is closed"
        raise ClosedResourceError(msg)


def _start() -> _TrioRun:
    run = _TrioRun(Hub())
    _run.set(run)
    trio.lowlevel.add_instrument(_CloseAfterRun(run.hub))
    return run


class _CloseAfterRun(trio.abc.Instrument):
    """An instrument that closes the hub when the run has ended.

    trio tells the end of a run to instruments alone. A system task would end too early: trio
    cancels those before it finalizes the asynchronous generators that are left, and these may wait.
    At `after_run` trio watches no descriptor any more.
    """

    def __init__(self, hub: Hub) -> None:
        self._hub = hub

    def after_run(self) -> None:
        self._hub.close()


class _TrioRunner(Runner):
    """The runner of a portal into a run of trio."""

    cancelled = trio.Cancelled

    def __init__(self) -> None:
        super().__init__()
        self.token = trio.lowlevel.current_trio_token()

    def runs_here(self) -> bool:
        try:
            return trio.lowlevel.current_trio_token() is self.token
        except RuntimeError:
            return False  # trio does not run in this thread

    def spawn(self, call: Call[Any], awaitable: Awaitable[Any]) -> Task:
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
        except trio.Cancelled:  # not by the scope: only the end of the run cancels a system task
            call.failed(LoopClosedError("the event loop was closed before the call had ended"))
            raise
        except BaseException as error:
            call.failed(error)
        finally:
            self.done(call)
            del call  # its future has the traceback, which has this frame


def open_portal(_: object) -> Runner:
    """Begin to serve a portal."""
    runner = _TrioRunner()
    receiver = Receiver(runner.inbox, runner)
    trio.lowlevel.spawn_system_task(_serve, receiver, runner.event)
    return runner


async def _serve(receiver: Receiver, event: _wakefd.IoEvent) -> None:
    try:
        while not receiver.finished:
            await _notified([event])
            while receiver.turn():
                await trio.lowlevel.checkpoint()
    finally:
        receiver.end()

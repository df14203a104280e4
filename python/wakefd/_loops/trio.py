"""trio.

Leader and followers: the first task that waits watches the hub's descriptor itself, the others
sleep; when the leader leaves, it hands over. (A system task that watches would cost every
wake-up a second pass of the scheduler: a third of the latency.)
"""

from collections import OrderedDict
from collections.abc import Awaitable, Sequence

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
from wakefd._errors import ClosedResourceError
from wakefd._wakefd import Hub, Place


class _Run:
    """One `trio.run`'s end of its hub."""

    __slots__ = ("fd", "followers", "hub", "leader")

    def __init__(self, hub: Hub) -> None:
        self.hub = hub
        self.fd = hub.fileno()
        self.leader: Task | None = None
        # In the order in which they came; a dict would rescan what left at its front.
        self.followers: OrderedDict[Task, None] = OrderedDict()

    def rewatch(self, dead: int) -> None:
        trio.lowlevel.notify_closing(dead)
        self.fd = self.hub.fileno()


_run: RunVar[_Run] = RunVar("wakefd")


def begin(event: _wakefd.IoEvent | Place, _: object) -> Awaitable[None]:
    """Begin to wait for the event. Always a checkpoint."""
    return _notified([event])


def begin_any(events: Sequence[_wakefd.IoEvent], _: object) -> Awaitable[None]:
    """Begin to wait for the first of some events. Always a checkpoint."""
    return _notified(events)


def give_way(_: object) -> Awaitable[None]:
    """Let the others have their turn. Always a checkpoint."""
    return pause()


async def pause() -> None:
    """Let the others have their turn."""
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
        if task in followers:  # else it leads, or has been asked to
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


def _start() -> _Run:
    run = _Run(Hub())
    _run.set(run)
    trio.lowlevel.add_instrument(_CloseAfterRun(run.hub))
    return run


class _CloseAfterRun(trio.abc.Instrument):
    """Closes the hub when the run has ended, for which trio calls `after_run` and nothing else.

    A system task would end too early: trio cancels those before it finalizes the asynchronous
    generators that are left, and they may wait. By now trio watches no descriptor any more.
    """

    def __init__(self, hub: Hub) -> None:
        self._hub = hub

    def after_run(self) -> None:
        self._hub.close()

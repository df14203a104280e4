"""curio. Its 1.6 imports on CPython 3.11, and not on 3.12."""

# It has no types.
# pyright: reportMissingTypeStubs=false, reportUnknownMemberType=false
# pyright: reportUnknownVariableType=false

from collections.abc import Awaitable, Sequence
from typing import Any
from weakref import WeakKeyDictionary

import curio
from curio.traps import _get_kernel, _io_release, _read_wait

from wakefd import _wakefd
from wakefd._errors import ClosedResourceError
from wakefd._wakefd import Hub


def begin(event: _wakefd.IoEvent, _: object) -> Awaitable[None]:
    """Begin to wait for the event. If the flag is up, it yields a turn."""
    return pause() if event.is_set() else _notified([event])


def begin_any(events: Sequence[_wakefd.IoEvent], _: object) -> Awaitable[None]:
    """Begin to wait for the first of some events. If one is up, it yields a turn."""
    return pause() if any(event.is_set() for event in events) else _notified(events)


def give_way(_: object) -> Awaitable[None]:
    """Let the others have their turn."""
    return pause()


async def pause() -> None:
    """Let the others have their turn."""
    await curio.sleep(0)


async def _notified(events: Sequence[_wakefd.IoEvent]) -> None:
    kernel: Any = await _get_kernel()
    pump = _pumps.get(kernel)
    if pump is None:
        pump = _pumps[kernel] = _Pump()
        pump.task = await curio.spawn(pump.run, kernel, daemon=True)
    released = curio.Event()
    outcomes: list[bool] = []

    def release(rose: bool) -> None:
        outcomes.append(rose)
        pump.released.append(released)

    tickets: list[int] = []
    pump.waits += 1
    try:
        for event in events:
            ticket = pump.hub.wait(event, release)
            if ticket is None:
                return
            tickets.append(ticket)
        await released.wait()
    except curio.CancelledError:
        if pump.waits == 1:
            # A kernel that shuts down cancels the tasks it has, and bears no new one. If our first
            # step came in the middle of that, so did the pump.
            await pump.task.cancel()
        raise
    finally:
        pump.waits -= 1
        for ticket in tickets:
            pump.hub.cancel(ticket)
    if not outcomes[0]:
        raise ClosedResourceError("this event is closed")


class _Pump:
    """A kernel's hub, and the daemon task that watches it until the kernel shuts down.

    It ends before if the last one who waits is cancelled.
    """

    def __init__(self) -> None:
        self.hub = Hub()
        self.released: list[Any] = []
        self.waits = 0
        self.task: Any = None

    async def run(self, kernel: object) -> None:
        watched = self.hub.fileno()
        try:
            while True:
                await _read_wait(watched)
                self.hub.dispatch()
                # Waking takes an await in curio, so it comes after the dispatch.
                released, self.released = self.released, []
                for event in released:
                    await event.set()
                if watched != (now := self.hub.fileno()):
                    await _io_release(watched)
                    watched = now
        finally:
            if _pumps.get(kernel) is self:
                del _pumps[kernel]
            if not self.hub.inherited:
                await _io_release(watched)
            self.hub.close()


_pumps: "WeakKeyDictionary[Any, _Pump]" = WeakKeyDictionary()

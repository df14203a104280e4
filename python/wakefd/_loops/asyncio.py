"""asyncio, uvloop, and every other loop with asyncio's interface."""

import asyncio
import sys
from collections.abc import Awaitable, Callable, Sequence
from contextvars import Context
from weakref import ReferenceType, ref

from wakefd import _wakefd
from wakefd._errors import ClosedResourceError
from wakefd._loops.selector_thread import Keeper
from wakefd._wakefd import Hub, Place, Reader, Turn, Waiter


class _Loop:
    """What we know of one event loop. Owns neither the loop nor the hub: see `_watch`."""

    __slots__ = ("direct", "loop", "owner", "turn")

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        key = id(loop)
        self.loop = ref(loop, lambda _: _loops.pop(key, None))
        # Of the hub: what the loop calls, and alone owns.
        self.owner: ReferenceType[Reader | Keeper] | None = None
        self.turn = Turn(_mark_in(self.loop))
        self.direct = _resumes_directly(loop)


# By the loop's id: a WeakKeyDictionary takes five times as long.
_loops: dict[int, _Loop] = {}

# As they are here: nest_asyncio may replace them.
_RUN_FOREVER = asyncio.BaseEventLoop.run_forever
_RUN_UNTIL_COMPLETE = asyncio.BaseEventLoop.run_until_complete


def _resumes_directly(loop: asyncio.AbstractEventLoop) -> bool:
    """Is the loop known to bear a task's step in a reader callback? Others get a future."""
    known = (asyncio.BaseEventLoop, _uvloop_class())
    return isinstance(loop, tuple(filter(None, known)))


def _uvloop_class() -> type | None:
    """Return uvloop's class of loops, or None if uvloop is not imported, or only by half."""
    return getattr(sys.modules.get("uvloop"), "Loop", None)


def begin(
    event: _wakefd.IoEvent | Place, loop: asyncio.AbstractEventLoop
) -> Awaitable[None] | None:
    """Begin to wait for the event on the loop. None: the flag is up."""
    state = _state(loop)
    if event.is_set():
        if isinstance(event, Place):
            _hub(loop, state).pauses(event)
        return _give_way(state)
    hub = _hub(loop, state)
    if state.direct:
        # Awaitable by the protocol of asyncio's futures, which no type describes.
        return Waiter.begin(hub, loop, event)  # type: ignore[return-value]
    return _future(hub, loop, [event])


def begin_any(
    events: Sequence[_wakefd.IoEvent], loop: asyncio.AbstractEventLoop
) -> Awaitable[None] | None:
    """Begin to wait for the first of some events. None: one is up."""
    state = _state(loop)
    if any(event.is_set() for event in events):
        return _give_way(state)
    hub = _hub(loop, state)
    if state.direct:
        return Waiter.begin_any(hub, loop, events)  # type: ignore[return-value] # as above
    return _future(hub, loop, events)


def give_way(loop: asyncio.AbstractEventLoop) -> Awaitable[None] | None:
    """Let the others have their turn if this one is over. None: it is not."""
    return _give_way(_state(loop))


async def pause() -> None:
    """Let the others have their turn."""
    turn = _state(asyncio.get_running_loop()).turn
    try:
        turn.pauses()
        await asyncio.sleep(0)
    finally:
        turn.resumed()


def turn() -> Turn | None:
    """Return the turn of the loop that runs here; None if none does."""
    loop = asyncio._get_running_loop()
    return None if loop is None else _state(loop).turn


def hub(loop: asyncio.AbstractEventLoop) -> Hub:
    """Return the loop's hub, made now if there is none."""
    return _hub(loop, _state(loop))


def _give_way(state: _Loop) -> Awaitable[None] | None:
    return None if state.turn.within() else pause()


def _state(loop: asyncio.AbstractEventLoop) -> _Loop:
    state = _loops.get(id(loop))
    if state is None or state.loop() is not loop:
        state = _loops[id(loop)] = _Loop(loop)
    return state


def _mark_in(
    reference: "ReferenceType[asyncio.AbstractEventLoop]",
) -> Callable[[Callable[[], object]], None]:
    def mark(marker: Callable[[], object]) -> None:
        loop = reference()
        if loop is not None:
            loop.call_soon(marker, context=Context())  # not the context of whoever asks now

    return mark


def _hub(loop: asyncio.AbstractEventLoop, state: _Loop) -> Hub:
    owner = state.owner() if state.owner is not None else None
    return (owner or _watch(loop, state)).hub


def _watch(loop: asyncio.AbstractEventLoop, state: _Loop) -> Reader | Keeper:
    """Make the loop's hub.

    The loop alone owns the callback: when it is closed, or collected, the callback goes, and
    closes the hub. That happens in `loop.close()` itself, with the garbage collector off.
    """
    for other in list(_loops.values()):  # a safety net
        its, left = other.loop(), other.owner and other.owner()
        if left and its is not None and its.is_closed():
            if isinstance(left, Keeper):
                left.close()  # its thread must let go of the descriptor first
            else:
                left.hub.close()
    owner = _reader(loop) or Keeper(loop, _flat(loop))
    state.owner = ref(owner)
    return owner


def _reader(loop: asyncio.AbstractEventLoop) -> Reader | None:
    reader = Reader(Hub(), loop, _flat(loop))
    try:
        reader.watch()
    except NotImplementedError:
        return None
    return reader


def _flat(loop: asyncio.AbstractEventLoop) -> object:
    """Return the `run_until_complete` of the loop's class, if it runs no loop inside the loop.

    Those of asyncio and uvloop refuse to. nest_asyncio's does not: it replaces that of a class, of
    which the loop's class may be a subclass. Nor do loops with a `run_forever` of their own, such
    as Qt's. For these the answer is None.
    """
    # A module may be half imported, by another thread.
    ours = getattr(sys.modules.get("wakefd._selector_loop"), "RUN_FOREVER", None)
    uvloop_loop = _uvloop_class()
    proactor = getattr(asyncio, "ProactorEventLoop", None)
    overridden = [getattr(each, "run_forever", None) for each in (uvloop_loop, proactor)]
    forever = (_RUN_FOREVER, ours, *overridden)
    until_complete = (_RUN_UNTIL_COMPLETE, getattr(uvloop_loop, "run_until_complete", None))
    mine = type(loop)
    if mine.run_forever in forever and mine.run_until_complete in until_complete:
        return mine.run_until_complete
    return None


async def _future(
    hub: Hub, loop: asyncio.AbstractEventLoop, events: Sequence[_wakefd.IoEvent | Place]
) -> None:
    future = loop.create_future()

    def settle(rose: bool) -> None:
        if future.done():
            return
        if rose:
            future.set_result(None)
        else:
            future.set_exception(ClosedResourceError("this event is closed"))

    tickets: list[int] = []
    try:
        for event in events:
            ticket = hub.wait(event, settle)
            if ticket is None:
                return
            tickets.append(ticket)
        await future
    finally:
        for ticket in tickets:
            hub.cancel(ticket)

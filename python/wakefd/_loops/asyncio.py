"""The adapter for asyncio, uvloop, and every other loop with asyncio's interface."""

import asyncio
import sys
from collections.abc import Awaitable, Callable, Coroutine, Sequence
from contextvars import Context
from functools import partial
from typing import Any
from weakref import ReferenceType, ref

from wakefd import _wakefd
from wakefd._errors import ClosedResourceError
from wakefd._loops.asyncio_internals import running_loop, runs_in_this_thread
from wakefd._loops.runner import Call, Runner
from wakefd._loops.selector_thread import Keeper
from wakefd._wakefd import Hub, Place, Reader, Receiver, Turn, Waiter


class _LoopState:
    """The state that wakefd keeps of one event loop.

    It owns neither the loop nor the hub: see `_watch`.
    """

    __slots__ = ("direct", "loop", "owner", "turn")

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        key = id(loop)
        self.loop = ref(loop, lambda _: _loops.pop(key, None))
        # The hub's owner: the loop calls it, and alone keeps it alive.
        self.owner: ReferenceType[Reader | Keeper] | None = None
        self.turn = Turn(_mark_in(self.loop))
        self.direct = _resumes_directly(loop)


# The keys are the ids of the loops: a WeakKeyDictionary takes five times as long.
_loops: dict[int, _LoopState] = {}

# These methods run no loop inside the loop. They are kept as they are at this import, because
# nest_asyncio may replace them; `wakefd.SelectorEventLoop` adds its own.
FLAT_FOREVERS: list[object] = [asyncio.BaseEventLoop.run_forever]
_RUN_UNTIL_COMPLETE = asyncio.BaseEventLoop.run_until_complete


def _resumes_directly(loop: asyncio.AbstractEventLoop) -> bool:
    """Return True if the loop is known to bear a task's step in a reader callback.

    The tasks of other loops wait for a future.
    """
    known = (asyncio.BaseEventLoop, _uvloop_class())
    return isinstance(loop, tuple(filter(None, known)))


def _uvloop_class() -> type | None:
    """Return uvloop's class of loops, or None if uvloop is not imported, or only by half."""
    return getattr(sys.modules.get("uvloop"), "Loop", None)


def begin(
    event: _wakefd.IoEvent | Place, loop: asyncio.AbstractEventLoop
) -> Awaitable[None] | None:
    """Begin to wait for the event on the loop. None: the flag is up, and the turn lasts."""
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
    """Begin to wait for the first of some events. None: one is up, and the turn lasts."""
    state = _state(loop)
    if any(event.is_set() for event in events):
        return _give_way(state)
    hub = _hub(loop, state)
    if state.direct:
        return Waiter.begin_any(hub, loop, events)  # type: ignore[return-value] # as above
    return _future(hub, loop, events)


def give_way(loop: asyncio.AbstractEventLoop) -> Awaitable[None] | None:
    """Let the other tasks have their turn if this task's is over. None: it is not."""
    return _give_way(_state(loop))


async def pause() -> None:
    """Let the other tasks have their turn."""
    turn = _state(asyncio.get_running_loop()).turn
    try:
        turn.pauses()
        await asyncio.sleep(0)
    finally:
        turn.resumed()


def turn() -> Turn | None:
    """Return the turn of the loop that runs here; None if no loop does.

    The compiled half calls this function, too.
    """
    loop = running_loop()
    return None if loop is None else _state(loop).turn


def hub(loop: asyncio.AbstractEventLoop) -> Hub:
    """Return the loop's hub. It is made now if the loop has none."""
    return _hub(loop, _state(loop))


def _give_way(state: _LoopState) -> Awaitable[None] | None:
    return None if state.turn.within() else pause()


def _state(loop: asyncio.AbstractEventLoop) -> _LoopState:
    state = _loops.get(id(loop))
    if state is None or state.loop() is not loop:
        state = _loops[id(loop)] = _LoopState(loop)
    return state


def _mark_in(
    reference: "ReferenceType[asyncio.AbstractEventLoop]",
) -> Callable[[Callable[[], object]], None]:
    def mark(marker: Callable[[], object]) -> None:
        loop = reference()
        if loop is not None:
            loop.call_soon(marker, context=Context())  # else in the context of the caller

    return mark


def _hub(loop: asyncio.AbstractEventLoop, state: _LoopState) -> Hub:
    owner = state.owner() if state.owner is not None else None
    return (owner or _watch(loop, state)).hub


def _watch(loop: asyncio.AbstractEventLoop, state: _LoopState) -> Reader | Keeper:
    """Make the loop's hub, and its owner, a callback.

    The loop alone owns the callback: when the loop is closed, or collected, the callback goes, and
    closes the hub. That happens in `loop.close()` itself, also with the garbage collector off.
    """
    for other in list(_loops.values()):  # the hubs of closed loops that kept their callback
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

    Those of asyncio and uvloop refuse to. That of nest_asyncio does not: it replaces the method of
    a class, of which the loop's class may be a subclass. Loops with a `run_forever` of their own,
    such as those of Qt, do not refuse either. The result for both is None.
    """
    uvloop_loop = _uvloop_class()
    proactor = getattr(asyncio, "ProactorEventLoop", None)
    overridden = [getattr(each, "run_forever", None) for each in (uvloop_loop, proactor)]
    forever = (*FLAT_FOREVERS, *overridden)
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


class _AsyncioRunner(Runner):
    """The runner of a portal into a loop with asyncio's interface."""

    cancelled = asyncio.CancelledError
    ends = (KeyboardInterrupt, SystemExit)

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        super().__init__()
        self.loop = ref(loop)

    def runs_here(self) -> bool:
        loop = self.loop()
        if loop is None:
            return False
        here = runs_in_this_thread(loop)
        return running_loop() is loop or self.inbox.here if here is None else here

    def spawn(self, call: Call[Any], awaitable: Awaitable[Any]) -> "asyncio.Task[Any]":
        # create_task is called in the context, because task factories need not take `context=`.
        create_task = asyncio.get_running_loop().create_task
        task = call.context.run(create_task, self._run(call, awaitable))
        call.cancel = task.cancel
        task.add_done_callback(partial(self._ended, call, awaitable))
        return task

    async def _run(self, call: Call[Any], awaitable: Awaitable[Any]) -> None:
        # The future is told here, a turn of the loop earlier than by the task's callbacks.
        try:
            call.succeeded(await awaitable)
        except asyncio.CancelledError:
            raise  # see `_ended`
        except BaseException as error:
            call.failed(error)
            if isinstance(error, self.ends):
                raise
        finally:
            del call  # its future has the traceback, which has this frame

    def _ended(self, call: Call[Any], awaitable: Awaitable[Any], task: "asyncio.Task[Any]") -> None:
        if task.cancelled():
            if isinstance(awaitable, Coroutine):
                awaitable.close()  # if the task was cancelled before its first step
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
    runner = _AsyncioRunner(loop)
    Receiver(runner.inbox, runner, hub(loop), loop).begin()  # the hub owns it from here on
    return runner

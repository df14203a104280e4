"""Waiting for the first of several events and queues."""

from collections.abc import Sequence
from typing import Generic, TypeVar, cast

from wakefd import _loops, _wakefd
from wakefd._errors import ClosedResourceError

_EVENTS = (_wakefd.IoEvent, _wakefd.Queue, _wakefd.ByteQueue)
_E = TypeVar("_E", bound=_wakefd.IoEvent | _wakefd.Queue | _wakefd.ByteQueue)


def wait_any(*events: _E, timeout: float | None = None) -> list[_E]:
    """Block this thread until one of the events is up, or rises; at most `timeout` seconds.

    A queue counts as up while a get_nowait() would not raise queue.Empty. No item is taken. The
    result is those that were up at the call, or rose since (also if they were cleared meanwhile),
    once each, in the order given; an empty list only if the time is up. Nothing is cleared. The
    wait takes no descriptor on Linux, and elsewhere one for this thread, however many events there
    are; each call costs a look at every event.

    Callable from any thread that runs no event loop. Other threads run meanwhile; Ctrl-C works.
    None and infinity wait for ever, a negative timeout is 0.

    Raises:
        ValueError: no event was given, or the timeout is not a number.
        OverflowError: the timeout is too large.
        ClosedResourceError: one of them is closed, or is closed before any of them rises.
        OSError: there is no descriptor to be had for this thread (on Linux it needs none).
    """
    timeout = _wakefd.seconds(timeout, "wait_any()")
    began = _Snapshot(events, "wait_any()")
    try:
        _wakefd.wait_for_one(began.events, 0 if any(began.up) else timeout)
    except ClosedResourceError:
        return began.risen_before_close()
    return began.risen()


async def any_notified(*events: _E) -> list[_E]:
    """Wait until one of the events is up, or rises, on the loop that runs here.

    A queue counts as up while a get_nowait() would not raise queue.Empty. No item is taken. The
    result is those that were up at the call, or rose since (also if they were cleared meanwhile),
    once each, in the order given; never an empty list. Nothing is cleared. As `IoEvent.notified`
    this returns at once on asyncio if one is up, and is always a checkpoint on trio. If the task is
    cancelled, nothing is lost.

    Raises:
        ValueError: no event was given.
        ClosedResourceError: one of them is closed, or is closed before any of them rises.
        RuntimeError: no supported loop runs here; or it ran before a fork, in the parent.
        OSError: there is no descriptor to be had for this loop.
    """
    began = _Snapshot(events, "any_notified()")
    try:
        wait = _loops.give_way() if any(began.up) else _loops.begin_any(began.events)
        if wait is not None:
            await wait
    except ClosedResourceError:
        return began.risen_before_close()
    return began.risen()


class _Snapshot(Generic[_E]):
    """Some events, and the state of each when the wait began: its flag, and its number of rises.

    An event that was up then is in the answer even if another consumer has cleared it since.
    """

    __slots__ = ("_given", "_rises", "events", "up")

    def __init__(self, given: Sequence[_E], function: str) -> None:
        if not given:
            raise ValueError("name at least one event to wait for")
        for one in given:
            if not isinstance(cast("object", one), _EVENTS):
                raise TypeError(
                    f"{function} waits for IoEvents, Queues and ByteQueues, each an argument of its"
                    f" own, not {type(one).__name__!r}"
                )
        self._given = list({id(one): one for one in given}.values())  # a subclass may be equal
        self.events = [
            one if isinstance(one, _wakefd.IoEvent) else one._readable() for one in self._given
        ]
        self._rises = [event._rises() for event in self.events]
        # The flags are read after the rises: an event that rises in between is up, or counts one
        # rise more.
        self.up = [event.is_set() for event in self.events]
        if any(event.closed for event in self.events):
            raise ClosedResourceError("one of these events is closed")

    def risen(self) -> list[_E]:
        watched = zip(self._given, self.events, self._rises, self.up, strict=True)
        return [one for one, event, rises, up in watched if up or event._rises() != rises]

    def risen_before_close(self) -> list[_E]:
        """Return the events that have risen; raise ClosedResourceError again if none has."""
        if risen := self.risen():
            return risen
        raise ClosedResourceError("one of these events was closed") from None

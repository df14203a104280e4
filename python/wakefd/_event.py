"""`IoEvent`: the compiled half, and the methods that need an event loop."""

from wakefd import _loops, _wakefd
from wakefd._closing import Closing
from wakefd._errors import ClosedResourceError
from wakefd._native import NativeHandle

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, Self


class IoEvent(_wakefd.IoEvent, Closing):
    """A flag that any thread can raise, and that tasks on any event loop and threads can wait for.

    An event is like a doorbell: `notify` rings it, everybody at the door hears it, and ringing
    again before somebody has answered (`clear`) makes no difference. It carries no data and counts
    nothing: put a deque or a queue beside it, and let the event say "look".

    Make it anywhere: it is bound to no loop, and has no descriptor until a thread waits for it or
    a caller asks for its `fileno`. When the flag rises, all waiters are released, however many they
    are and wherever they wait, even if the flag is cleared at once.
    """

    __slots__ = ()

    if TYPE_CHECKING:  # the stub of the compiled half says IoEvent where it means Self

        def __new__(cls, *args: Any, **kwargs: Any) -> Self: ...
        def __init__(self) -> None: ...

    async def notified(self) -> None:
        """Wait until the flag is up, or rises (even if it is cleared at once).

        This works on the loop that runs here: asyncio, uvloop and others with `add_reader`, trio,
        anyio on either. On asyncio it returns at once if the flag is up (but a consumer whose flag
        is always up lets the rest of its loop have a turn after half a millisecond of work); on
        trio it is always a checkpoint. If the task is cancelled, nothing is lost: the flag stays as
        it is.

        Raises:
            ClosedResourceError: the event is closed, or is closed before the flag rises.
            RuntimeError: no supported loop runs here; or it ran before a fork, in the parent.
            OSError: there is no descriptor to be had for this loop.
        """
        wait = _loops.begin(self)
        if wait is not None:
            await wait

    def native(self) -> NativeHandle:
        """Return a C function and an argument, with which native code notifies this event.

        Hand both to a C library that takes a callback and a `void *`: it wakes the waiters from any
        thread of its own, without the GIL and without a line of C. Close the handle when the
        library does not call any more; it keeps the event alive until then. Callable from any
        thread; each call gives another handle.

        Raises:
            OSError: some sixteen million handles are open.
        """
        return NativeHandle(self)

    def __aiter__(self) -> "_Turns":
        """Wait, clear and run the body, over and over, until the event is closed.

        A rise during the body makes another turn, and a rise before the close makes a last one. An
        event has one such consumer: two of them take turns from each other.
        """
        return _Turns(self)


class _Turns:
    """The turns of one `async for` over an event."""

    __slots__ = ("_event", "_seen")

    def __init__(self, event: IoEvent) -> None:
        self._event = event
        # The number of rises that were answered; one more than that makes a turn, even at close.
        # The order of the two lines matters: the second sees a rise between them. An event that is
        # closed already makes a turn if it ever rose, because nobody knows if that was answered.
        rises = event._rises()
        self._seen = -1 if event.is_set() else 0 if event.closed else rises

    def __aiter__(self) -> "_Turns":
        return self

    async def __anext__(self) -> None:
        event = self._event
        try:
            await event.notified()
        except ClosedResourceError:
            rises = event._rises()
            if rises == self._seen:
                raise StopAsyncIteration from None
            self._seen = rises
            return
        # The rises are read before the clear: a rise in between is cleared with it, or makes
        # another turn.
        self._seen = event._rises()
        event.clear()

"""
The compiled half of wakefd. Use the package `wakefd`.
"""

from _typeshed import SupportsGetItem
from typing import Any, Final, SupportsFloat, SupportsIndex, final
from typing_extensions import disjoint_base

__all__ = ["VERSION", "Hub", "IoEvent", "Reader", "Waiter", "backend", "seconds", "wait_for_one"]

VERSION: Final[str]
"""
The version of the package, from Cargo.toml.
"""

@final
class Hub:
    """
    One event loop's hub: the descriptor that the loop watches, and those of its tasks that wait.

    To be used in the loop's own thread.
    """
    def __new__(cls, /) -> Hub:
        """
        Raise OSError if no descriptor is to be had.
        """
    def cancel(self, /, ticket: SupportsIndex) -> None:
        """
        End a wait. Harmless if it has ended.
        """
    def close(self, /) -> None:
        """
        The loop is gone. Harmless if it is closed.
        """
    def dispatch(self, /, rewatch: Any | None = None) -> None:
        """
        Call those who are to be released. To be called when the descriptor is readable, and harmless otherwise.

        If the descriptor was dead and has been replaced, `rewatch(old_number)` is called first: watch the new fileno() then
        instead of the old, which is open until `rewatch` returns. All are called; if some raised, the first exception is
        raised then (a loop's adapter knows a better place).
        """
    def fileno(self, /) -> int:
        """
        Return the descriptor to watch for reading.
        """
    @property
    def inherited(self, /) -> bool:
        """
        True in the child of a fork if this hub was made on the other side.
        """
    def wait(self, /, event: IoEvent, who: Any) -> int | None:
        """
        Call `who(outcome)` once the flag of `event` rises (outcome True) or the event is closed (False).

        Return a ticket for cancel(), or None if the flag is up now. Raise ClosedResourceError if the event is closed now,
        RuntimeError if this hub cannot be used (any more).
        """
    def wait_after(self, /, event: IoEvent, seen: SupportsIndex | None, who: Any) -> int:
        """
        Call `who(outcome)`, as wait() does, once the generation of `event` is not `seen`. None: a flag that is up now counts.

        For those who watch every rise and leave the flag to others. Return a ticket for cancel(); whatever has happened
        already, the call comes from dispatch(). Raise RuntimeError if this hub cannot be used (any more), OSError if the
        system refused to make it readable.
        """

@disjoint_base
class IoEvent:
    """
    A flag that any thread can raise and that loops and threads wait for.

    The base class of `wakefd.IoEvent`, which adds what needs an event loop.
    """
    def __copy__(self, /) -> None: ...
    def __deepcopy__(self, /, _memo: Any) -> None: ...
    def __new__(cls, /) -> IoEvent: ...
    def __reduce__(self, /) -> str: ...
    def __repr__(self, /) -> str: ...
    def _listeners(self, /) -> int:
        """
        How many listeners there are: the most loops and threads that ever waited at once. For tests.
        """
    def _owed(self, /) -> int:
        """
        How many tokens are promised and not drained. For tests.
        """
    def _rises(self, /) -> int:
        """
        The generation: how often the flag has risen.
        """
    def clear(self, /) -> bool:
        """
        Lower the flag. Return True if it was up. Clear first and look at your data afterwards.

        Callable from any thread.

        Raise OSError if the event's descriptor is dead (closed by somebody else, or its connection reset). It is given up,
        the flag stays as it is, and the next fileno() is a new one.
        """
    def close(self, /) -> None:
        """
        Close the event for ever.

        From now on notify() and clear() return False; those who wait get ClosedResourceError, unless the flag rose before.
        Closing it again does nothing. Callable from any thread.

        Raise OSError if the system refused to wake a loop. The event is closed all the same.
        """
    @property
    def closed(self, /) -> bool:
        """
        True once the event was closed.
        """
    def fileno(self, /) -> int:
        """
        Return a descriptor that is readable while the flag is up, for a poller of your own.

        The event makes it at the first call, keeps it, and closes it. Watch it for reading and call clear(); never read it
        yourself. Callable from any thread.

        Raise ClosedResourceError if the event is closed; OSError if no descriptor is to be had.
        """
    def is_set(self, /) -> bool:
        """
        Return True if the flag is up. Callable from any thread.
        """
    def notify(self, /) -> bool:
        """
        Raise the flag and wake everybody who waits.

        Return True if this call raised it; False if it was up already (the notification is coalesced with the earlier one)
        or the event is closed.

        Callable from any thread, from `__del__`, weakref callbacks and signal handlers. Takes no lock.

        Raise OSError if the system refused to make a descriptor readable. The flag is up all the same, whoever could be
        woken was, and the next notify() tries again.
        """
    def wait(self, /, timeout: SupportsFloat | SupportsIndex | None = None) -> bool:
        """
        Block this thread until the flag is up, or rises (even if somebody clears it at once); at most `timeout` seconds.

        Return True, or False if the time is up. None and infinity wait for ever, a negative timeout is 0. Lets other
        threads run meanwhile; Ctrl-C and other signal handlers work. Not for a thread that runs an event loop: it would
        stop the loop; `await event.notified()` there.

        Raise ClosedResourceError if the event is closed, or is being closed meanwhile; ValueError if the timeout is not a
        number; OverflowError if it is too large; OSError if there is no descriptor to be had for this thread.
        """

@final
class Reader:
    """
    What an asyncio loop calls (`dispatch`) when its hub is readable.

    The loop alone owns it: when the loop is closed or collected it goes, and the hub is closed with it.
    """
    def __new__(cls, /, hub: Hub, event_loop: Any) -> Reader: ...
    def dispatch(self, /) -> None:
        """
        Release those who are to be released. The bound method is the callback: it owns the reader.
        """
    @property
    def hub(self, /) -> Hub: ...

@final
class Waiter:
    """
    A task's wait for the first of some events. Awaitable once, by the task of the loop that it was made for.
    """
    def __await__(self, /) -> Waiter: ...
    def __iter__(self, /) -> Waiter: ...
    def __next__(self, /) -> Waiter: ...
    @property
    def _asyncio_future_blocking(self, /) -> bool: ...
    @_asyncio_future_blocking.setter
    def _asyncio_future_blocking(self, /, value: bool) -> None: ...
    @property
    def _loop(self, /) -> Any: ...
    def add_done_callback(self, /, callback: Any, *, context: Any | None = None) -> None: ...
    @staticmethod
    def begin(hub: Hub, event_loop: Any, event: IoEvent) -> Waiter | None:
        """
        Begin to wait. Return None if the flag is up now.

        Raise what Hub.wait() raises.
        """
    @staticmethod
    def begin_any(hub: Hub, event_loop: Any, events: SupportsGetItem[int, IoEvent]) -> Waiter | None:
        """
        The same for the first of `events`. None: one of them is up now.
        """
    def cancel(self, /, msg: Any | None = None) -> bool:
        """
        Return False if the wait has ended.
        """
    def cancelled(self, /) -> bool: ...
    def close(self, /) -> None:
        """
        The coroutine that awaits it ends without it.
        """
    def done(self, /) -> bool: ...
    def get_loop(self, /) -> Any: ...
    def result(self, /) -> None: ...

def backend() -> str:
    """
    Which notifier the operating system gives us: "eventfd", "socketpair" or "tcp".

    Raises OSError if it gives none.
    """

def seconds(timeout: SupportsFloat | SupportsIndex | None = None) -> float | None:
    """
    Read a timeout as wait() does: seconds, at least 0, or None for ever. For adapters.
    """

def wait_for_one(events: SupportsGetItem[int, IoEvent], timeout: SupportsFloat | SupportsIndex | None = None) -> bool:
    """
    Block this thread until one of `events` is up or rises. For `wakefd.wait_any`.
    """

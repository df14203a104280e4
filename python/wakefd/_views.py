"""The views of a `Queue` by which code written for janus or culsans goes on as it is."""

from queue import Empty as SyncQueueEmpty
from queue import Full as SyncQueueFull
from typing import TYPE_CHECKING, Generic, SupportsFloat, SupportsIndex, TypeVar

from wakefd._errors import QueueShutDown as SyncQueueShutDown

if TYPE_CHECKING:
    from wakefd._queue import Queue

_T = TypeVar("_T")

_Seconds = SupportsFloat | SupportsIndex | None
_Errors = (SyncQueueEmpty, SyncQueueFull, SyncQueueShutDown)


class BaseQueue(Generic[_T]):
    """What both views have. A view has no state: all views of a queue are that queue."""

    __slots__ = ("__weakref__", "wrapped")

    wrapped: "Queue[_T]"

    def __init__(self, wrapped: "Queue[_T]") -> None:
        self.wrapped = wrapped

    def __repr__(self) -> str:
        return f"<wakefd.{type(self).__name__} of {self.wrapped!r}>"

    def qsize(self) -> int:
        """Return how many items are in there, for this instant."""
        return self.wrapped.qsize()

    def empty(self) -> bool:
        """Return True if nothing is in there, for this instant."""
        return self.wrapped.empty()

    def full(self) -> bool:
        """Return True if there is no room, for this instant."""
        return self.wrapped.full()

    def peekable(self) -> bool:
        """Return True: peek() works."""
        return True

    def clearable(self) -> bool:
        """Return True: clear() works."""
        return True

    def clear(self) -> None:
        """Throw away what is in there; it counts as done."""
        self.wrapped.clear()

    def task_done(self) -> None:
        """Say that an item that was taken is done with.

        Raises:
            ValueError: it is said more often than items were put.
        """
        self.wrapped.task_done()

    def shutdown(self, immediate: bool = False) -> None:
        """Take no more items; `immediate`: and throw away what is in there."""
        self.wrapped.shutdown(immediate)

    def close(self) -> None:
        """The same as `shutdown(immediate=True)`."""
        self.wrapped.close()

    async def wait_closed(self) -> None:
        """The same as `Queue.wait_closed`."""
        await self.wrapped.wait_closed()

    async def aclose(self) -> None:
        """Close the queue, then wait_closed()."""
        await self.wrapped.aclose()

    @property
    def unfinished_tasks(self) -> int:
        """How many items were put for which task_done() was not called yet."""
        return self.wrapped.unfinished_tasks

    @property
    def is_shutdown(self) -> bool:
        """True once shutdown() or close() was called."""
        return self.wrapped.is_shutdown

    @property
    def closed(self) -> bool:
        """The same as `is_shutdown`."""
        return self.wrapped.is_shutdown

    @property
    def maxsize(self) -> int:
        """How many items there may be; 0 and less: any number. Can be set at any time."""
        return self.wrapped.maxsize

    @maxsize.setter
    def maxsize(self, maxsize: int) -> None:
        self.wrapped.maxsize = maxsize


class SyncQueue(BaseQueue[_T]):
    """A queue as threads see it: `queue.Queue`, its names and exceptions. Get it as `sync_q`.

    A `block` is anything that is true or false. See `Queue` for all else.
    """

    __slots__ = ()

    def put(self, item: _T, block: bool = True, timeout: _Seconds = None) -> None:
        """Put an item; wait for room. May raise queue.Full, queue.ShutDown."""
        if block and timeout is None:
            self.wrapped.put(item)  # a quarter of the time
        else:
            self.wrapped.put(item, block, timeout)

    def put_nowait(self, item: _T) -> None:
        """Put an item at once. May raise queue.Full, queue.ShutDown."""
        self.wrapped.put_nowait(item)

    def get(self, block: bool = True, timeout: _Seconds = None) -> _T:
        """Take the next item; wait for one. May raise queue.Empty, queue.ShutDown."""
        if block and timeout is None:
            return self.wrapped.get()
        return self.wrapped.get(block, timeout)

    def get_nowait(self) -> _T:
        """Take the next item at once. May raise queue.Empty, queue.ShutDown."""
        return self.wrapped.get_nowait()

    def peek(self, block: bool = True, timeout: _Seconds = None) -> _T:
        """Return what get() would take, and leave it in. May raise queue.Empty, queue.ShutDown."""
        return self.wrapped.peek(block, timeout)

    def peek_nowait(self) -> _T:
        """Return what get_nowait() would take. May raise queue.Empty, queue.ShutDown."""
        return self.wrapped.peek_nowait()

    def join(self) -> None:
        """Block this thread until every item that was put is done with."""
        self.wrapped.join()


class AsyncQueue(BaseQueue[_T]):
    """A queue as tasks see it: `asyncio.Queue`, its names and exceptions. Get it as `async_q`.

    On every loop that `Queue` knows, with the exceptions of asyncio everywhere. What has no `await`
    may be called from any thread, too.
    """

    __slots__ = ()

    async def put(self, item: _T) -> None:
        """Put an item; wait for room. May raise asyncio.QueueShutDown."""
        try:
            await self.wrapped.async_put(item)
        except _Errors as error:
            raise _renamed(error) from None

    def put_nowait(self, item: _T) -> None:
        """Put an item at once. May raise asyncio.QueueFull, asyncio.QueueShutDown."""
        try:
            self.wrapped.put_nowait(item)
        except _Errors as error:
            raise _renamed(error) from None

    async def get(self) -> _T:
        """Take the next item; wait for one. May raise asyncio.QueueShutDown."""
        try:
            return await self.wrapped.async_get()
        except _Errors as error:
            raise _renamed(error) from None

    def get_nowait(self) -> _T:
        """Take the next item at once. May raise asyncio.QueueEmpty, asyncio.QueueShutDown."""
        try:
            return self.wrapped.get_nowait()
        except _Errors as error:
            raise _renamed(error) from None

    async def peek(self) -> _T:
        """Return what get() would take, and leave it in. May raise asyncio.QueueShutDown."""
        try:
            return await self.wrapped.async_peek()
        except _Errors as error:
            raise _renamed(error) from None

    def peek_nowait(self) -> _T:
        """Return what get_nowait() would. May raise asyncio.QueueEmpty, asyncio.QueueShutDown."""
        try:
            return self.wrapped.peek_nowait()
        except _Errors as error:
            raise _renamed(error) from None

    async def join(self) -> None:
        """Wait until every item that was put is done with."""
        await self.wrapped.async_join()


def _renamed(error: Exception) -> Exception:
    from wakefd import _async_errors  # noqa: PLC0415

    return _async_errors.renamed(error)


__all__ = [
    "AsyncQueue",
    "BaseQueue",
    "SyncQueue",
    "SyncQueueEmpty",
    "SyncQueueFull",
    "SyncQueueShutDown",
]

"""`sync_q` and `async_q`: the queue with the names and exceptions of janus and culsans."""

import asyncio
import queue
from typing import TYPE_CHECKING, Generic, TypeVar

from wakefd._errors import QueueShutDown

if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    from wakefd._queue import Queue

_T = TypeVar("_T")

# Before Python 3.13, which has one of its own for coroutines.
_AsyncShutDown: type[Exception] = getattr(asyncio, "QueueShutDown", QueueShutDown)


class _View(Generic[_T]):
    """What is the same for threads and coroutines."""

    __slots__ = ("_queue",)

    def __init__(self, of: "Queue[_T]") -> None:
        self._queue = of

    @property
    def maxsize(self) -> int:
        """At most so many items; 0 and less: any number."""
        return self._queue.maxsize

    @maxsize.setter
    def maxsize(self, maxsize: int) -> None:
        self._queue.maxsize = maxsize

    @property
    def unfinished_tasks(self) -> int:
        """How many items were put for which task_done() was not called yet."""
        return self._queue.unfinished_tasks

    @property
    def closed(self) -> bool:
        """True once the queue was shut down or closed."""
        return self._queue.is_shutdown

    @property
    def is_shutdown(self) -> bool:
        """True once the queue was shut down or closed."""
        return self._queue.is_shutdown

    def qsize(self) -> int:
        """Return how many items are in there, for this instant."""
        return self._queue.qsize()

    def empty(self) -> bool:
        """Return True if nothing is in there, for this instant."""
        return self._queue.empty()

    def full(self) -> bool:
        """Return True if there is no room, for this instant."""
        return self._queue.full()

    def task_done(self) -> None:
        """Say that an item that was taken is done with."""
        self._queue.task_done()

    def shutdown(self, immediate: bool = False) -> None:
        """Take no more items, as Queue.shutdown() does."""
        self._queue.shutdown(immediate)

    def close(self) -> None:
        """Close the queue, as Queue.close() does."""
        self._queue.close()


class SyncView(_View[_T]):
    """For threads: blocks, and raises what `queue.Queue` raises."""

    __slots__ = ()

    def put(self, item: _T, block: bool = True, timeout: float | None = None) -> None:
        """Put an item, as Queue.put() does."""
        self._queue.put(item, block, timeout)

    def get(self, block: bool = True, timeout: float | None = None) -> _T:
        """Take an item, as Queue.get() does."""
        return self._queue.get(block, timeout)

    def peek(self, block: bool = True, timeout: float | None = None) -> _T:
        """Look at the next item, as Queue.peek() does."""
        return self._queue.peek(block, timeout)

    def put_nowait(self, item: _T) -> None:
        """Put an item at once."""
        self._queue.put_nowait(item)

    def get_nowait(self) -> _T:
        """Take an item at once."""
        return self._queue.get_nowait()

    def peek_nowait(self) -> _T:
        """Look at the next item at once."""
        return self._queue.peek_nowait()

    def join(self) -> None:
        """Block until all items are done with."""
        self._queue.join()


class AsyncView(_View[_T]):
    """For coroutines: waits, and raises what `asyncio.Queue` raises."""

    __slots__ = ()

    async def put(self, item: _T) -> None:
        """Put an item, as Queue.async_put() does."""
        try:
            await self._queue.async_put(item)
        except QueueShutDown:
            raise _AsyncShutDown from None

    async def get(self) -> _T:
        """Take an item, as Queue.async_get() does."""
        try:
            return await self._queue.async_get()
        except QueueShutDown:
            raise _AsyncShutDown from None

    async def peek(self) -> _T:
        """Look at the next item, as Queue.async_peek() does."""
        try:
            return await self._queue.async_peek()
        except QueueShutDown:
            raise _AsyncShutDown from None

    def put_nowait(self, item: _T) -> None:
        """Put an item at once."""
        _asyncios(self._queue.put_nowait, item)

    def get_nowait(self) -> _T:
        """Take an item at once."""
        return _asyncios(self._queue.get_nowait)  # type: ignore[no-any-return]

    def peek_nowait(self) -> _T:
        """Look at the next item at once."""
        return _asyncios(self._queue.peek_nowait)  # type: ignore[no-any-return]

    async def join(self) -> None:
        """Wait until all items are done with."""
        await self._queue.async_join()


def _asyncios(call: "Callable[..., Any]", *args: object) -> "Any":
    """Call it; its exceptions become asyncio's."""
    try:
        return call(*args)
    except queue.Empty:
        raise asyncio.QueueEmpty from None
    except queue.Full:
        raise asyncio.QueueFull from None
    except QueueShutDown:
        raise _AsyncShutDown from None

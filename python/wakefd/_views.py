"""The views of a queue, which users import from `wakefd.compat`.

They stand here because a queue makes them, and knows nothing of `wakefd.compat`.
"""

import queue
import sys
from typing import TYPE_CHECKING, Generic, SupportsFloat, SupportsIndex, TypeVar

from wakefd._errors import QueueShutDown

if TYPE_CHECKING:
    from wakefd._queue import Queue

_T = TypeVar("_T")

_Seconds = SupportsFloat | SupportsIndex | None
_MODULE = f"{__package__}.compat"  # users import these classes from there
_Errors = (queue.Empty, queue.Full, QueueShutDown)

if sys.version_info < (3, 13):

    class AsyncQueueShutDown(Exception):  # noqa: N818 - the standard library's word
        """The queue is shut down: nothing can be put, and nothing is left to get."""

        __module__ = _MODULE


class BaseQueue(Generic[_T]):
    """The methods that both views have. A view has no state: it is its queue, by other names."""

    __module__ = _MODULE
    __slots__ = ("__weakref__", "wrapped")

    wrapped: "Queue[_T]"

    def __init__(self, wrapped: "Queue[_T]") -> None:
        self.wrapped = wrapped

    def __repr__(self) -> str:
        return f"<wakefd.compat.{type(self).__name__} of {self.wrapped!r}>"

    def qsize(self) -> int:
        """Return the number of items in the queue, for this instant."""
        return self.wrapped.qsize()

    def empty(self) -> bool:
        """Return True if the queue has no item, for this instant."""
        return self.wrapped.empty()

    def full(self) -> bool:
        """Return True if the queue has no room, for this instant."""
        return self.wrapped.full()

    def peekable(self) -> bool:
        """Return True: peek() works on every queue."""
        return True

    def clearable(self) -> bool:
        """Return True: clear() works on every queue."""
        return True

    def clear(self) -> None:
        """Throw away the items in the queue; they count as done."""
        self.wrapped.clear()

    def task_done(self) -> None:
        """Tell the queue that an item that was taken is done with.

        Raises:
            ValueError: this was called more often than items were put.
        """
        self.wrapped.task_done()

    def shutdown(self, immediate: bool = False) -> None:
        """Accept no more items; `immediate`: and throw away those in the queue."""
        self.wrapped.shutdown(immediate)

    def close(self) -> None:
        """Shut the queue down: the same as `shutdown(immediate=True)`."""
        self.wrapped.close()

    async def wait_closed(self) -> None:
        """Wait as `Queue.wait_closed` does."""
        await self.wrapped.wait_closed()

    async def aclose(self) -> None:
        """Close the queue, then wait_closed()."""
        await self.wrapped.aclose()

    @property
    def unfinished_tasks(self) -> int:
        """The number of items that were put and for which task_done() was not called yet."""
        return self.wrapped.unfinished_tasks

    @property
    def is_shutdown(self) -> bool:
        """Whether shutdown() or close() was called."""
        return self.wrapped.is_shutdown

    @property
    def closed(self) -> bool:
        """The same as `is_shutdown`."""
        return self.wrapped.is_shutdown

    @property
    def maxsize(self) -> int:
        """The most items that the queue may have; 0 and less: any number. Set it at any time."""
        return self.wrapped.maxsize

    @maxsize.setter
    def maxsize(self, maxsize: int) -> None:
        self.wrapped.maxsize = maxsize


class SyncQueue(BaseQueue[_T]):
    """A queue as threads see it, with the names and exceptions of `queue.Queue`; it is `q.sync_q`.

    A `block` is anything that is true or false. See `Queue` for all else.
    """

    __module__ = _MODULE
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
    """A queue as tasks see it, with the names and exceptions of `asyncio.Queue`; it is `q.async_q`.

    It works on every loop that `Queue` knows, and raises asyncio's exceptions on all of them. Any
    thread may call the methods that have no `await`.
    """

    __module__ = _MODULE
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
    """Return the exception that asyncio has for it."""
    import asyncio  # noqa: PLC0415 - a queue that only threads use needs no asyncio

    if isinstance(error, queue.Empty):
        return asyncio.QueueEmpty()
    if isinstance(error, queue.Full):
        return asyncio.QueueFull()
    if sys.version_info >= (3, 13):
        shut_down = asyncio.QueueShutDown
    else:
        shut_down = AsyncQueueShutDown
    return shut_down(*error.args)

"""`Queue`: the compiled half, and the methods that need an event loop."""

from collections.abc import AsyncIterator, Callable, Iterable, Iterator
from operator import index
from typing import TYPE_CHECKING, Any, Generic, Self, SupportsFloat, SupportsIndex, TypeVar

from wakefd import _loops, _wakefd
from wakefd._closing import Closing
from wakefd._errors import QueueShutDown
from wakefd._views import AsyncQueue, SyncQueue
from wakefd._wakefd import Items, items

_T = TypeVar("_T")

_Seconds = SupportsFloat | SupportsIndex | None
_NOTHING: Any = object()


class Queue(_wakefd.Queue, Closing, Generic[_T]):
    """A first-in, first-out queue between any threads and any tasks on any event loops.

    The methods are those of `queue.Queue`, and mean the same; those that begin with `async_` are
    for coroutines. One queue may have many producers and many consumers, in threads and in loops of
    any kind. It is made anywhere: it is bound to no loop, and has no descriptor.

    No item is lost or delivered twice, even if a waiter is cancelled or runs out of time. Items of
    one producer arrive in their order; waiters are served in the order in which they came. A
    consumer that never has to wait lets the rest of its loop have a turn every half millisecond.

    `maxsize` is the most items that the queue has; with that many, `put` waits for room. With 0 and
    less it has any number.
    """

    __slots__ = ()

    if TYPE_CHECKING:  # the compiled half does not know the type of the items

        def __new__(cls, *args: Any, **kwargs: Any) -> Self: ...
        def __init__(self, maxsize: SupportsIndex = 0) -> None: ...
        def put(self, item: _T, block: bool = True, timeout: _Seconds = None) -> None: ...
        def put_nowait(self, item: _T) -> None: ...
        def put_many(self, items: Iterable[_T], timeout: _Seconds = None) -> None: ...
        def get(self, block: bool = True, timeout: _Seconds = None) -> _T: ...
        def get_nowait(self) -> _T: ...
        def peek(self, block: bool = True, timeout: _Seconds = None) -> _T: ...
        def peek_nowait(self) -> _T: ...
        def get_many(
            self,
            max: SupportsIndex | None = None,  # noqa: A002
            timeout: _Seconds = None,
        ) -> list[_T]: ...
        def get_many_nowait(self, max: SupportsIndex | None = None) -> list[_T]: ...  # noqa: A002

    async def async_put(self, item: _T) -> None:
        """Put an item; wait for room if the queue is full.

        If the task is cancelled meanwhile, the item is not in.

        Raises:
            QueueShutDown: the queue is shut down, or is meanwhile.
            RuntimeError: no supported loop runs here; or it ran before a fork, in the parent.
            OSError: there is no descriptor to be had for this loop.
        """
        if _loops.at_once() and self._give(item):
            return
        place = self._place(True)
        await _served(place, place.put, item, False)

    async def async_get(self) -> _T:
        """Take the next item and return it; wait for one if there is none.

        If the task is cancelled meanwhile, nothing is lost: the item stays in, for the next one.

        Raises:
            QueueShutDown: the queue is shut down and empty.
            RuntimeError: no supported loop runs here; or it ran before a fork, in the parent.
            OSError: there is no descriptor to be had for this loop.
        """
        if _loops.at_once() and (item := self._take(_NOTHING)) is not _NOTHING:
            return item  # type: ignore[no-any-return]
        place = self._place(False)
        return await _served(place, place.get, _NOTHING, _NOTHING)  # type: ignore[no-any-return]

    async def async_peek(self) -> _T:
        """Return the item that async_get() would take, and leave it in; wait if there is none.

        Raises:
            QueueShutDown: the queue is shut down and empty.
            RuntimeError: no supported loop runs here; or it ran before a fork, in the parent.
            OSError: there is no descriptor to be had for this loop.
        """
        if _loops.at_once() and (item := self._peek(_NOTHING)) is not _NOTHING:
            return item  # type: ignore[no-any-return]
        place = self._place(False)
        return await _served(place, place.peek, _NOTHING, _NOTHING)  # type: ignore[no-any-return]

    async def async_get_many(self, max: SupportsIndex | None = None) -> list[_T]:  # noqa: A002
        """Wait for an item; return a list of it and the others that are there, at most `max`.

        None takes all of them; 0 returns an empty list, without a wait. Items taken together are
        many times as fast as one by one. If the task is cancelled meanwhile, nothing is lost.

        Raises:
            ValueError: `max` is negative.
            QueueShutDown: the queue is shut down and empty.
            RuntimeError: no supported loop runs here; or it ran before a fork, in the parent.
            OSError: there is no descriptor to be had for this loop.
        """
        if (items := self._take_many(max, _loops.at_once())) is not None:
            return items  # type: ignore[no-any-return]
        if max is not None and not index(max):
            await _loops.pause()
            return []
        place = self._place(False)
        return await _served(place, place.get_many, max, None)  # type: ignore[no-any-return]

    async def async_join(self) -> None:
        """Wait until every item that was put is done with: task_done() was called for each.

        Raises:
            RuntimeError: no supported loop runs here; or it ran before a fork, in the parent.
            OSError: there is no descriptor to be had for this loop.
        """
        await _loops.wait(self._finished())

    @property
    def sync_q(self) -> SyncQueue[_T]:
        """The queue for threads, with the names and exceptions of `queue.Queue`: as in janus."""
        return SyncQueue(self)

    @property
    def async_q(self) -> AsyncQueue[_T]:
        """The queue for tasks, with the names and exceptions of `asyncio.Queue`: as in janus."""
        return AsyncQueue(self)

    @property
    def closed(self) -> bool:
        """Whether the queue is shut down: the same as `is_shutdown`."""
        return self.is_shutdown

    async def wait_closed(self) -> None:
        """Let the tasks that waited have their turn. Nothing else is to wait for; janus has it.

        Raises:
            RuntimeError: the queue is not shut down; or no supported loop runs here.
        """
        if not self.is_shutdown:
            raise RuntimeError("Waiting for non-closed queue")
        await _loops.pause()

    async def aclose(self) -> None:
        """Close the queue, then wait_closed()."""
        self.close()
        await self.wait_closed()

    def __iter__(self) -> Iterator[_T]:
        """Take item by item until the shutdown; block this thread while there is none."""
        while True:
            try:
                item = self.get()
            except QueueShutDown:
                return
            yield item
            del item  # the next get() may wait for long

    def __aiter__(self) -> AsyncIterator[_T]:
        """Take item by item until the shutdown; wait while there is none.

        Items that the loop's body does not reach, because it breaks or is cancelled, stay in.
        """
        iterator: Any = items(self, self._next)  # its type does not tell that it yields a _T
        return iterator  # type: ignore[no-any-return]

    async def _next(self, items: Items) -> _T:
        """Return the next item. `Items` asks if it is not there yet, or the turn is over."""
        ours: type[Queue[Any]] = Queue
        items.at_once = _loops.at_once() and type(self).async_get is ours.async_get
        try:
            return await self.async_get()
        except QueueShutDown:
            raise StopAsyncIteration from None


class LifoQueue(Queue[_T]):
    """A `Queue` where the last item in is the first one out."""

    __slots__ = ()

    _wakefd_order = "lifo"  # type: ignore[misc] # read when one is made


class PriorityQueue(Queue[_T]):
    """A `Queue` where the least item is the first one out.

    An item whose comparison raises is not accepted: `put` raises what the comparison raised.
    """

    __slots__ = ()

    _wakefd_order = "priority"  # type: ignore[misc] # read when one is made


async def _served(
    place: _wakefd.Place, attempt: Callable[[Any], Any], argument: Any, nothing: Any
) -> Any:
    try:
        await (_loops.wait(place) if place.line_up() else _loops.pause())
        while (got := attempt(argument)) is nothing:
            await _loops.wait(place)
        return got
    finally:
        place.leave()

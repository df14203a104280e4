"""`ByteQueue`: the compiled half, and the methods that need an event loop."""

from collections.abc import AsyncIterator, Iterator
from operator import index
from typing import TYPE_CHECKING, Any, Self, SupportsFloat, SupportsIndex

from wakefd import _loops, _wakefd
from wakefd._closing import Closing
from wakefd._errors import QueueShutDown
from wakefd._native import NativeHandle
from wakefd._wakefd import Items, items

_Seconds = SupportsFloat | SupportsIndex | None


class ByteQueue(_wakefd.ByteQueue, Closing):
    """Messages of bytes from native threads, which need no GIL, to threads and tasks on any loops.

    Native code pushes: with the function `push` of `wakefd.h` and the argument of a `native()`
    handle. It copies the message, takes no lock and waits for nobody. The other end is that of a
    `Queue`: `get` and `async_get`, `get_many`, `async for`; it is bound to no loop, and may have
    many consumers. The first one to come takes a message.

    No message is lost, delivered twice, or torn; the messages of one producer arrive in their
    order. A consumer that never has to wait lets the rest of its loop have a turn every half
    millisecond. In the child of a fork the queue is empty.

    `max_bytes` is the memory for messages. The queue is full when the next message does not fit: a
    message takes its length, padded to a multiple of 8, and 8 bytes more. `max_message` is the
    length of the longest message.
    """

    __slots__ = ()

    if TYPE_CHECKING:  # the stub of the compiled half does not know Self, nor the type of items

        def __new__(cls, *args: Any, **kwargs: Any) -> Self: ...
        def __init__(self, max_bytes: SupportsIndex, max_message: SupportsIndex) -> None: ...
        def get_many(
            self,
            max: SupportsIndex | None = None,  # noqa: A002
            timeout: _Seconds = None,
        ) -> list[bytes]: ...
        def get_many_nowait(self, max: SupportsIndex | None = None) -> list[bytes]: ...  # noqa: A002
        def _get_many(self, max: SupportsIndex | None) -> list[bytes] | None: ...  # noqa: A002
        def _take_many(
            self,
            max: SupportsIndex | None,  # noqa: A002
            at_once: bool,
        ) -> list[bytes] | None: ...

    async def async_get(self) -> bytes:
        """Take the next message and return it; wait for one if there is none.

        If the task is cancelled meanwhile, nothing is lost: the message stays in.

        Raises:
            QueueShutDown: the queue is shut down and empty.
            RuntimeError: no supported loop runs here; or it ran before a fork, in the parent.
            OSError: there is no descriptor to be had for this loop.
        """
        if (message := self._take(_loops.at_once())) is not None:
            return message
        await self._pause_or_wait()
        while (message := self._get()) is None:
            await _loops.wait(self._readable())
        return message

    async def async_get_many(self, max: SupportsIndex | None = None) -> list[bytes]:  # noqa: A002
        """Wait for a message; return a list of it and the others that are there, at most `max`.

        None takes all of them; 0 returns an empty list, without a wait. Messages taken together are
        many times as fast as one by one. If the task is cancelled meanwhile, nothing is lost.

        Raises:
            ValueError: `max` is negative.
            QueueShutDown: the queue is shut down and empty.
            RuntimeError: no supported loop runs here; or it ran before a fork, in the parent.
            OSError: there is no descriptor to be had for this loop.
        """
        if (messages := self._take_many(max, _loops.at_once())) is not None:
            return messages
        if max is not None and not index(max):
            await _loops.pause()
            return []
        await self._pause_or_wait()
        while (messages := self._get_many(max)) is None:
            await _loops.wait(self._readable())
        return messages

    def native(self) -> NativeHandle:
        """Return a handle to whose argument native code pushes messages.

        `push` is in the table of `wakefd.h`; its other functions (and the handle's own) are about
        the event that is up while there is something to get. Close the handle when nobody pushes
        any more; a push is answered -EBADF from then on. Callable from any thread; each call gives
        another handle, and threads that have one each do not get in each other's way as much.

        Raises:
            OSError: some sixteen million handles are open.
        """
        return NativeHandle(self)

    def __iter__(self) -> Iterator[bytes]:
        """Take message by message until the shutdown; block this thread while there is none."""
        while True:
            try:
                message = self.get()
            except QueueShutDown:
                return
            yield message
            del message  # the next get() may wait for long

    def __aiter__(self) -> AsyncIterator[bytes]:
        """Take message by message until the shutdown; wait while there is none.

        Messages that the loop's body does not reach, because it breaks or is cancelled, stay in.
        """
        iterator: Any = items(self, self._next)  # its type does not tell that it yields bytes
        return iterator  # type: ignore[no-any-return]

    async def _next(self, items: Items) -> bytes:
        """Return the next message. `Items` asks if it is not there yet, or the turn is over."""
        items.at_once = _loops.at_once() and type(self).async_get is ByteQueue.async_get
        try:
            return await self.async_get()
        except QueueShutDown:
            raise StopAsyncIteration from None

    async def _pause_or_wait(self) -> None:
        """Let the other tasks have their turn, after the first attempt or instead of it."""
        if self._readable().is_set():
            await _loops.pause()
        else:
            await _loops.wait(self._readable())

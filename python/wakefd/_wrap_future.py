"""`wrap_future`: a `concurrent.futures.Future`, awaited on any loop."""

from concurrent.futures import Future
from typing import TypeVar, cast

from wakefd import _log
from wakefd._event import IoEvent

_T = TypeVar("_T")


async def wrap_future(future: "Future[_T]") -> _T:
    """Wait for a `concurrent.futures.Future` on the loop that runs here; return its result.

    If the wait is cancelled, so is the future.

    Raises:
        TypeError: the argument is no such future (asyncio's own can be awaited).
        concurrent.futures.CancelledError: the future was cancelled.
        RuntimeError: no supported loop runs here; or it ran before a fork, in the parent.
        OSError: there is no descriptor to be had for this loop.
        Exception: the future's own.
    """
    if not isinstance(cast("object", future), Future):
        raise TypeError(f"not a concurrent.futures.Future: {future!r}")
    done = IoEvent()
    future.add_done_callback(lambda _: _notify(done))
    try:
        await done.notified()
        return future.result()
    except BaseException:
        future.cancel()
        raise
    finally:
        del future  # it has the traceback, which has this frame


def _notify(event: IoEvent) -> None:
    try:
        event.notify()
    except OSError as error:
        consequence = "the task that awaits it goes on at the next wake-up of its loop"
        _log.refused("a future", consequence, error)

"""What `async_q` raises. It takes asyncio, which is not imported before somebody asks."""

import queue
import sys
from asyncio import QueueEmpty as AsyncQueueEmpty
from asyncio import QueueFull as AsyncQueueFull

if sys.version_info >= (3, 13):
    from asyncio import QueueShutDown as AsyncQueueShutDown
else:

    class AsyncQueueShutDown(Exception):  # noqa: N818 - the standard library's word
        """The queue is shut down: nothing can be put, and nothing is left to get."""

        __module__ = "wakefd"


def renamed(error: Exception) -> Exception:
    """By the name that asyncio has for it."""
    if isinstance(error, queue.Empty):
        return AsyncQueueEmpty()
    if isinstance(error, queue.Full):
        return AsyncQueueFull()
    return AsyncQueueShutDown(*error.args)


__all__ = ["AsyncQueueEmpty", "AsyncQueueFull", "AsyncQueueShutDown", "renamed"]

"""The names of janus and culsans, for code that was written for them.

    import wakefd.compat as janus

The queues are those of `wakefd` itself. Their views, `sync_q` and `async_q`, have the methods and
the exceptions of `queue.Queue` and of `asyncio.Queue`.
"""

import sys
from queue import Empty as SyncQueueEmpty
from queue import Full as SyncQueueFull
from typing import TYPE_CHECKING

from wakefd._errors import QueueShutDown as SyncQueueShutDown
from wakefd._queue import LifoQueue, PriorityQueue, Queue
from wakefd._views import AsyncQueue, BaseQueue, SyncQueue

if sys.version_info < (3, 13):
    from wakefd._views import AsyncQueueShutDown
elif TYPE_CHECKING:
    from asyncio import QueueShutDown as AsyncQueueShutDown
if TYPE_CHECKING:
    from asyncio import QueueEmpty as AsyncQueueEmpty
    from asyncio import QueueFull as AsyncQueueFull

__all__ = [
    "AsyncQueue",
    "AsyncQueueEmpty",
    "AsyncQueueFull",
    "AsyncQueueShutDown",
    "BaseQueue",
    "LifoQueue",
    "PriorityQueue",
    "Queue",
    "SyncQueue",
    "SyncQueueEmpty",
    "SyncQueueFull",
    "SyncQueueShutDown",
]


# The exceptions of `async_q` are asyncio's, which is not imported before a program asks for one.
if not TYPE_CHECKING:  # a type checker is to know which names there are

    def __getattr__(name: str) -> object:
        if name not in {"AsyncQueueEmpty", "AsyncQueueFull", "AsyncQueueShutDown"}:
            raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
        import asyncio  # noqa: PLC0415

        globals()[name] = error = getattr(asyncio, name.removeprefix("Async"))
        return error


def __dir__() -> list[str]:
    return [*__all__]

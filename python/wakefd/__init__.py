"""Wake any event loop from any thread.

>>> import asyncio, threading, wakefd
>>> async def main() -> bool:
...     event = wakefd.IoEvent()
...     threading.Timer(0.01, event.notify).start()
...     await event.notified()
...     return event.clear()
>>> asyncio.run(main())
True
"""

from typing import TYPE_CHECKING

from wakefd import _wakefd
from wakefd._any import any_notified, wait_any
from wakefd._errors import ClosedResourceError, LoopClosedError, QueueShutDown
from wakefd._event import IoEvent
from wakefd._portal import Portal, wrap_future
from wakefd._queue import LifoQueue, PriorityQueue, Queue
from wakefd._views import (
    AsyncQueue,
    BaseQueue,
    SyncQueue,
    SyncQueueEmpty,
    SyncQueueFull,
    SyncQueueShutDown,
)

if TYPE_CHECKING:
    from wakefd._async_errors import AsyncQueueEmpty, AsyncQueueFull, AsyncQueueShutDown

__all__ = [
    "AsyncQueue",
    "AsyncQueueEmpty",
    "AsyncQueueFull",
    "AsyncQueueShutDown",
    "BaseQueue",
    "ClosedResourceError",
    "IoEvent",
    "LifoQueue",
    "LoopClosedError",
    "Portal",
    "PriorityQueue",
    "Queue",
    "QueueShutDown",
    "SyncQueue",
    "SyncQueueEmpty",
    "SyncQueueFull",
    "SyncQueueShutDown",
    "__version__",
    "any_notified",
    "wait_any",
    "wrap_future",
]

__version__: str = _wakefd.VERSION


def __getattr__(name: str) -> object:
    if name in {"AsyncQueueEmpty", "AsyncQueueFull", "AsyncQueueShutDown"}:
        from wakefd import _async_errors  # noqa: PLC0415 - no asyncio before somebody asks

        globals()[name] = value = getattr(_async_errors, name)
        return value
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")

"""Wake any event loop from any thread.

>>> import asyncio, threading, wakefd
>>> async def main() -> None:
...     with wakefd.Queue() as lines:
...
...         def work() -> None:  # in a thread
...             try:
...                 lines.put("hello")
...             finally:
...                 lines.shutdown()  # no more, also if something fails
...
...         threading.Thread(target=work).start()
...         async for line in lines:
...             print(line)
>>> asyncio.run(main())
hello
"""

from importlib import import_module
from typing import TYPE_CHECKING

from wakefd import _wakefd
from wakefd._any import any_notified, wait_any
from wakefd._byte_queue import ByteQueue
from wakefd._errors import ClosedResourceError, LoopClosedError, QueueFull, QueueShutDown
from wakefd._event import IoEvent
from wakefd._native import NativeHandle, get_include
from wakefd._portal import Portal
from wakefd._queue import LifoQueue, PriorityQueue, Queue
from wakefd._views import (
    AsyncQueue,
    BaseQueue,
    SyncQueue,
    SyncQueueEmpty,
    SyncQueueFull,
    SyncQueueShutDown,
)
from wakefd._wrap_future import wrap_future

if TYPE_CHECKING:
    from wakefd._async_errors import AsyncQueueEmpty, AsyncQueueFull, AsyncQueueShutDown
    from wakefd._selector_loop import SelectorEventLoop

__all__ = [
    "AsyncQueue",
    "AsyncQueueEmpty",
    "AsyncQueueFull",
    "AsyncQueueShutDown",
    "BaseQueue",
    "ByteQueue",
    "ClosedResourceError",
    "IoEvent",
    "LifoQueue",
    "LoopClosedError",
    "NativeHandle",
    "Portal",
    "PriorityQueue",
    "Queue",
    "QueueFull",
    "QueueShutDown",
    "SelectorEventLoop",
    "SyncQueue",
    "SyncQueueEmpty",
    "SyncQueueFull",
    "SyncQueueShutDown",
    "__version__",
    "any_notified",
    "get_include",
    "wait_any",
    "wrap_future",
]

__version__: str = _wakefd.VERSION
_C_API = _wakefd.c_api()  # for PyCapsule_Import
_wakefd.install_fast_methods()


# No asyncio before somebody asks.
_LAZY = {
    "AsyncQueueEmpty": "wakefd._async_errors",
    "AsyncQueueFull": "wakefd._async_errors",
    "AsyncQueueShutDown": "wakefd._async_errors",
    "SelectorEventLoop": "wakefd._selector_loop",
}


def __getattr__(name: str) -> object:
    if name not in _LAZY:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    globals()[name] = value = getattr(import_module(_LAZY[name]), name)
    return value

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

from wakefd import _wakefd
from wakefd._errors import ClosedResourceError, LoopClosedError, QueueFull, QueueShutDown
from wakefd._event import IoEvent
from wakefd._native import NativeHandle, get_include
from wakefd._wakefd import hand_over

TYPE_CHECKING = False
if TYPE_CHECKING:
    from wakefd._any import any_notified, wait_any
    from wakefd._byte_queue import ByteQueue
    from wakefd._portal import Portal
    from wakefd._queue import LifoQueue, PriorityQueue, Queue
    from wakefd._selector_loop import SelectorEventLoop
    from wakefd._wrap_future import wrap_future

__all__ = [
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
    "__version__",
    "any_notified",
    "get_include",
    "hand_over",
    "wait_any",
    "wrap_future",
]

__version__: str = _wakefd.VERSION
_C_API = _wakefd.c_api()  # for PyCapsule_Import
_wakefd.set_up()

# These names, and what they import of the standard library, are loaded at their first use: a
# program that only notifies an event waits for none of it.
_LAZY = {
    "ByteQueue": "wakefd._byte_queue",
    "LifoQueue": "wakefd._queue",
    "Portal": "wakefd._portal",
    "PriorityQueue": "wakefd._queue",
    "Queue": "wakefd._queue",
    "SelectorEventLoop": "wakefd._selector_loop",
    "any_notified": "wakefd._any",
    "wait_any": "wakefd._any",
    "wrap_future": "wakefd._wrap_future",
}


if not TYPE_CHECKING:  # a type checker is to know which names there are

    def __getattr__(name: str) -> object:
        if name not in _LAZY:
            raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
        from importlib import import_module  # noqa: PLC0415 - as above

        globals()[name] = value = getattr(import_module(_LAZY[name]), name)
        return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__} - {"TYPE_CHECKING"})

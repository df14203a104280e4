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

from wakefd import _wakefd
from wakefd._any import any_notified, wait_any
from wakefd._errors import ClosedResourceError, QueueShutDown
from wakefd._event import IoEvent
from wakefd._queue import LifoQueue, PriorityQueue, Queue

__all__ = [
    "ClosedResourceError",
    "IoEvent",
    "LifoQueue",
    "PriorityQueue",
    "Queue",
    "QueueShutDown",
    "__version__",
    "any_notified",
    "wait_any",
]

__version__: str = _wakefd.VERSION

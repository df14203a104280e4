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

from wakefd._event import IoEvent
from wakefd._wakefd import VERSION as __version__
from wakefd._wakefd import ClosedResourceError

__all__ = ["ClosedResourceError", "IoEvent", "__version__"]

ClosedResourceError.__module__ = __name__

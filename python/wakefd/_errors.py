"""The exceptions of wakefd. Each is named, and so pickled, as users import it: `wakefd.X`."""

import queue
import sys

from wakefd import _wakefd

TYPE_CHECKING = False

# QueueShutDown is the standard library's own class where it has one. Type checkers are shown a
# subclass there, because every QueueShutDown that a queue of wakefd raises has `accepted`.
if sys.version_info >= (3, 13):
    _ShutDown = queue.ShutDown
else:
    _ShutDown = Exception

if TYPE_CHECKING or sys.version_info < (3, 13):

    class QueueShutDown(_ShutDown):
        """The queue is shut down: nothing can be put, and nothing is left to get."""

        __module__ = "wakefd"

        accepted: int = 0
        """The number of items that `put_many` put before the shutdown: the first of those given."""

else:
    QueueShutDown = _ShutDown


class QueueFull(queue.Full):
    """There was no room in the queue, or not in time."""

    __module__ = "wakefd"

    accepted: int = 0
    """The number of items that `put_many` put before it gave up: the first of those given."""


class ClosedResourceError(RuntimeError):
    """The event is closed (its flag never rises again), or the portal (it takes no more calls)."""

    __module__ = "wakefd"


class LoopClosedError(RuntimeError):
    """The portal's event loop is closed: it will run no more calls."""

    __module__ = "wakefd"


# An import anew offers the classes that the compiled half raises: those of the first import.
globals().update(_wakefd.exceptions())

__all__ = ["ClosedResourceError", "LoopClosedError", "QueueFull", "QueueShutDown"]

"""What wakefd raises of its own."""

import sys

if sys.version_info >= (3, 13):
    from queue import ShutDown as QueueShutDown
else:

    class ShutDown(Exception):  # noqa: N818 - the standard library's word
        """The queue is shut down: nothing can be put, and nothing is left to get."""

        __module__ = "wakefd"

    QueueShutDown = ShutDown


class ClosedResourceError(RuntimeError):
    """It is closed: an event's flag will never rise again, a portal takes no more calls."""

    __module__ = "wakefd"


class LoopClosedError(RuntimeError):
    """The portal's event loop is closed: it will run no more calls."""

    __module__ = "wakefd"


__all__ = ["ClosedResourceError", "LoopClosedError", "QueueShutDown"]

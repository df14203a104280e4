"""`NativeHandle`: how native code notifies an event. And where its header is."""

import os
import warnings

from wakefd import _wakefd
from wakefd._closing import Closing

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any, Self


class NativeHandle(_wakefd.NativeHandle, Closing):
    """A C function and its argument, for native code that notifies an event without the GIL.

    Two integers: `function`, the address of a `void (*)(void *)`, and `argument`. Hand both to a C
    library that takes a callback and a pointer. It may call from any thread, in signal handlers,
    and at any time: after `close`, after the event is gone, or while the interpreter exits, a call
    does nothing.

    Keep the handle for as long as the library may call. One that is collected while it is open is
    closed with a ResourceWarning.

    From `IoEvent.native()` and `ByteQueue.native()`.
    """

    __slots__ = ()

    if TYPE_CHECKING:  # the stub of the compiled half says NativeHandle where it means Self

        def __new__(cls, *args: Any, **kwargs: Any) -> Self: ...
        def __init__(self, source: _wakefd.IoEvent | _wakefd.ByteQueue) -> None: ...

    # A handle may outlive this module's names at the end of the interpreter: `_warn` is bound here.
    def __del__(self, _warn: "Callable[..., None]" = warnings.warn) -> None:
        """Close the handle, and complain if nobody has."""
        if not self.closed:
            _warn(f"unclosed {self!r}", ResourceWarning, source=self, stacklevel=2)
            self.close()


def get_include() -> str:
    """Return the directory that `wakefd.h` is in, for a C compiler's `-I`."""
    return os.path.join(os.path.dirname(__file__), "include")  # noqa: PTH118, PTH120 - no pathlib

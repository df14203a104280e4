"""`NativeHandle`, with which native code notifies an event, and `get_include`."""

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

    The handle has two integers: `function`, the address of a `void (*)(void *)`, and `argument`.
    Hand both to a C library that takes a callback and a pointer. The library may call from any
    thread, in signal handlers, and at any time: after `close`, after the event is gone, or while
    the interpreter exits, a call does nothing.

    Keep the handle for as long as the library may call. A handle that is collected while it is open
    is closed with a ResourceWarning.

    `IoEvent.native()` and `ByteQueue.native()` make handles.
    """

    __slots__ = ()

    if TYPE_CHECKING:  # the stub of the compiled half says NativeHandle where it means Self

        def __new__(cls, *args: Any, **kwargs: Any) -> Self: ...
        def __init__(self, source: _wakefd.IoEvent | _wakefd.ByteQueue) -> None: ...

    # `_warn` is bound here: a handle may outlive this module's names at the interpreter's end.
    def __del__(self, _warn: "Callable[..., None]" = warnings.warn) -> None:
        """Close the handle, with a warning if it is open."""
        if not self.closed:
            _warn(f"unclosed {self!r}", ResourceWarning, source=self, stacklevel=2)
            self.close()


def get_include() -> str:
    """Return the directory that `wakefd.h` is in, for a C compiler's `-I`."""
    return os.path.join(os.path.dirname(__file__), "include")  # noqa: PTH118, PTH120 - no pathlib

"""The names that asyncio and uvloop keep to themselves, and that wakefd uses nevertheless.

Checked with CPython 3.11.7, 3.12.1 and 3.13.0, and with uvloop 0.23.0. No other file of the package
names one of them, but for `SelectorEventLoop`, whose business they are, and the table of libraries,
which asks for `_get_running_loop` and may not import asyncio. `tests/face/test_internals.py` takes
each of them away.

| name | wakefd uses it for | without it |
|---|---|---|
| `asyncio._get_running_loop` | the loop that runs here, or None | `get_running_loop`, slower |
| `loop._thread_id` | whether the loop runs in this thread, under another loop too | as below |
| names in `HANDLE` | making a handle in place | asyncio makes the handle |
| names in `SELECTOR_LOOP` | `SelectorEventLoop` | its constructor raises RuntimeError |

Without `_thread_id` (as in uvloop, and loops of other libraries) a portal knows that it is called
in its own loop if that is the running loop, or if one of its own calls is under way.
"""

import asyncio
import platform
from threading import get_ident

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

# The slots of a handle of `call_soon_threadsafe`, all of them.
HANDLE = {
    "__weakref__",
    "_args",
    "_callback",
    "_cancelled",
    "_context",
    "_loop",
    "_repr",
    "_source_traceback",
}
# From CPython 3.14 on these handles have a class of their own, with a lock.
_THREAD_SAFE_HANDLE = "_ThreadSafeHandle"

# Names of asyncio's class of selector loops, and attributes of each such loop.
SELECTOR_LOOP = (
    "_add_reader",
    "_close_self_pipe",
    "_make_self_pipe",
    "_remove_reader",
    "_write_to_self",
)
EACH_SELECTOR_LOOP = ("_closed", "_debug", "_ready")


def _public_running_loop() -> asyncio.AbstractEventLoop | None:
    try:
        return asyncio.get_running_loop()
    except RuntimeError:
        return None


running_loop: "Callable[[], asyncio.AbstractEventLoop | None]" = getattr(
    asyncio, "_get_running_loop", _public_running_loop
)


def runs_in_this_thread(loop: asyncio.AbstractEventLoop) -> bool | None:
    """Return whether the loop runs in this thread, under another loop too; None if it is unknown.

    The running loop is the innermost, so it does not answer that.
    """
    thread: int | None = getattr(loop, "_thread_id", None)
    return None if thread is None else thread == get_ident()


def handles_are_known() -> bool:
    """Return True if wakefd may make a handle of `call_soon_threadsafe` itself, in place."""
    slots = getattr(asyncio.Handle, "__slots__", ())
    return not hasattr(asyncio.events, _THREAD_SAFE_HANDLE) and {*slots} == HANDLE


def check_class_of_selector_loops() -> None:
    """Check that asyncio's class of selector loops has the names that `SelectorEventLoop` needs.

    Raises:
        RuntimeError: it lacks some.
    """
    _check(asyncio.SelectorEventLoop, SELECTOR_LOOP)


def check_selector_loop(loop: asyncio.SelectorEventLoop) -> None:
    """Check that a new selector loop has the attributes that `SelectorEventLoop` needs.

    Raises:
        RuntimeError: it lacks some.
    """
    _check(loop, EACH_SELECTOR_LOOP)


def _check(thing: object, names: tuple[str, ...]) -> None:
    missing = [name for name in names if not hasattr(thing, name)]
    if missing:
        version, lacks = platform.python_version(), ", ".join(missing)
        raise RuntimeError(
            f"wakefd.SelectorEventLoop does not know the asyncio of Python {version}, which lacks"
            f" {lacks}: use asyncio.SelectorEventLoop instead, on which events, queues and portals"
            " work as well"
        )

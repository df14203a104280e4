"""Which event loop runs here?

A library is asked only if the program has imported it; wakefd imports none by itself. To add a
loop: one adapter file with a function `begin`, and one line in `_TABLE`.

`begin(event)` begins to wait for the event, and returns None if there is no need to, else an
awaitable. It holds no algorithm: that is in the compiled `Hub`.
"""

import sys
from collections.abc import Awaitable, Callable
from importlib import import_module
from operator import attrgetter
from typing import NamedTuple, Protocol, cast

from wakefd import _wakefd


class _Adapter(Protocol):
    def begin(self, event: _wakefd.IoEvent) -> Awaitable[None] | None: ...


class _Library(NamedTuple):
    name: str  # as sniffio calls it, and its module
    runs_here: str  # what in that module says so
    adapter: str


# Where several say yes (trio in guest mode, trio-asyncio), sniffio decides if it is loaded, else
# the first.
_TABLE = (
    _Library("trio", "lowlevel.in_trio_task", "wakefd._trio"),
    _Library("asyncio", "_get_running_loop", "wakefd._asyncio"),
)


def begin(event: _wakefd.IoEvent) -> Awaitable[None] | None:
    """Begin to wait for the event on the loop that runs here. None: no need to wait."""
    here = [library for library in _TABLE if _runs_here(library)]
    if not here:
        msg = (
            "no event loop that wakefd knows runs here (asyncio, uvloop, trio): use event.wait() in"
            " a plain thread, or event.fileno() with a selector of your own"
        )
        raise RuntimeError(msg)
    library = here[0] if len(here) == 1 else _chosen_by_sniffio(here)
    return _adapter(library.adapter).begin(event)


def _runs_here(library: _Library) -> bool:
    module = sys.modules.get(library.name)
    if module is None:
        return False
    try:
        answer = attrgetter(library.runs_here)(module)
    except AttributeError:
        return False  # half imported, by another thread
    return bool(cast("Callable[[], object]", answer)())


def _chosen_by_sniffio(here: list[_Library]) -> _Library:
    sniffio = sys.modules.get("sniffio")
    current = sniffio.current_async_library() if sniffio is not None else None
    return next((library for library in here if library.name == current), here[0])


def _adapter(name: str) -> _Adapter:
    return cast("_Adapter", sys.modules.get(name) or import_module(name))

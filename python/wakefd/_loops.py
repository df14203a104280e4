"""Which event loop runs here?

A library is asked only if the program has imported it; wakefd imports none by itself. To add a
loop: one adapter file with a function `begin`, and one line in `_TABLE`.

`begin(event, here)` begins to wait for the event, and returns None if there is no need to, else an
awaitable. `here` is what the library said when it was asked whether it runs. It holds no
algorithm: that is in the compiled `Hub`.
"""

import sys
from collections.abc import Awaitable, Callable
from importlib import import_module
from operator import attrgetter
from typing import NamedTuple

from wakefd._wakefd import IoEvent


class _Library(NamedTuple):
    name: str  # as sniffio calls it, and its module
    runs_here: str  # what in that module tells: a true value is handed to the adapter
    adapter: str


# Where several say yes (trio in guest mode, trio-asyncio), sniffio decides if it is loaded, else
# the first.
_TABLE = (
    _Library("trio", "lowlevel.in_trio_task", "wakefd._trio"),
    _Library("asyncio", "_get_running_loop", "wakefd._asyncio"),
)

_Begin = Callable[[IoEvent, object], Awaitable[None] | None]


class _Loaded:
    """A library that the program has imported."""

    __slots__ = ("begin", "library", "runs_here")

    def __init__(self, library: _Library, runs_here: Callable[[], object]) -> None:
        self.library = library
        self.runs_here = runs_here
        self.begin: _Begin = self._import

    def _import(self, event: IoEvent, here: object) -> Awaitable[None] | None:
        self.begin = import_module(self.library.adapter).begin
        return self.begin(event, here)


# What the program has imported so far, in the order of the table; and what it may yet import.
_loaded: list[_Loaded] = []
_absent = list(_TABLE)


def begin(event: IoEvent) -> Awaitable[None] | None:
    """Begin to wait for the event on the loop that runs here. None: no need to wait."""
    for absent in _absent:
        if absent.name in sys.modules:
            _load()
            break
    running = None
    for loaded in _loaded:
        if what := loaded.runs_here():
            if running is not None:
                running, here = _chosen_by_sniffio()
                break
            running, here = loaded, what
    if running is None:
        msg = (
            "no event loop that wakefd knows runs here (asyncio, uvloop, trio): use event.wait() in"
            " a plain thread, or event.fileno() with a selector of your own (and in the child of a"
            " fork the parent's loop does not run: start a new one)"
        )
        raise RuntimeError(msg)
    return running.begin(event, here)


def _load() -> None:
    for library in tuple(_absent):
        try:
            runs_here = attrgetter(library.runs_here)(sys.modules[library.name])
        except (AttributeError, KeyError):
            continue  # half imported, by another thread
        if library in _absent:
            _absent.remove(library)
            _loaded.append(_Loaded(library, runs_here))
            _loaded.sort(key=lambda loaded: _TABLE.index(loaded.library))


def _chosen_by_sniffio() -> tuple[_Loaded, object]:
    running = [(loaded, here) for loaded in _loaded if (here := loaded.runs_here())]
    sniffio = sys.modules.get("sniffio")
    current = sniffio.current_async_library() if sniffio is not None else None
    return next((found for found in running if found[0].library.name == current), running[0])

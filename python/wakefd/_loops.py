"""Which event loop runs here?

A library is asked only if the program has imported it; wakefd imports none by itself. To add a
loop: one adapter file with `begin` and `begin_any`, and one line in `_TABLE`.

`begin(event)` begins to wait for the event, and returns None if there is no need to, else an
awaitable; `begin_any(events)` does so for the first of several. They hold no algorithm: that is in
the compiled `Hub`.
"""

import sys
from collections.abc import Awaitable, Callable, Sequence
from importlib import import_module
from operator import attrgetter
from typing import NamedTuple

from wakefd._wakefd import IoEvent


class _Library(NamedTuple):
    name: str  # as sniffio calls it, and its module
    runs_here: str  # what in that module says so
    adapter: str


# Where several say yes (trio in guest mode, trio-asyncio), sniffio decides if it is loaded, else
# the first.
_TABLE = (
    _Library("trio", "lowlevel.in_trio_task", "wakefd._trio"),
    _Library("asyncio", "_get_running_loop", "wakefd._asyncio"),
    _Library("curio", "meta.curio_running", "wakefd._curio"),
)


class _Loaded(NamedTuple):
    runs_here: Callable[[], object]
    begin: Callable[[IoEvent], Awaitable[None] | None]
    begin_any: Callable[[Sequence[IoEvent]], Awaitable[None] | None]
    name: str


# What the program has imported so far, in the order of the table; and what it may yet import.
_loaded: dict[_Library, _Loaded] = {}
_absent = list(_TABLE)


def begin(event: IoEvent) -> Awaitable[None] | None:
    """Begin to wait for the event on the loop that runs here. None: no need to wait."""
    return _here().begin(event)


def begin_any(events: Sequence[IoEvent]) -> Awaitable[None] | None:
    """Begin to wait for the first of some events. None: no need to wait."""
    return _here().begin_any(events)


def _here() -> _Loaded:
    if _absent:
        _look_for_new_ones()
    here = None
    for library in _loaded.values():
        if library.runs_here():
            if here is not None:
                return _chosen_by_sniffio()
            here = library
    if here is None:
        msg = (
            "no event loop that wakefd knows runs here (asyncio, uvloop, trio, curio): use"
            " event.wait() in a plain thread, wakefd.gevent, wakefd.twisted, wakefd.qt or wakefd.tk"
            " under those, or event.fileno() with a selector of your own (and in the child of a"
            " fork the parent's loop does not run: start a new one)"
        )
        raise RuntimeError(msg)
    return here


def _look_for_new_ones() -> None:
    for library in tuple(_absent):
        module = sys.modules.get(library.name)
        if module is None:
            continue
        try:
            runs_here = attrgetter(library.runs_here)(module)
        except AttributeError:
            continue  # half imported, by another thread
        if runs_here():
            adapter = import_module(library.adapter)
            _loaded[library] = _Loaded(runs_here, adapter.begin, adapter.begin_any, library.name)
            if library in _absent:
                _absent.remove(library)


def _chosen_by_sniffio() -> _Loaded:
    here = [_loaded[library] for library in _TABLE if library in _loaded]
    here = [library for library in here if library.runs_here()]
    sniffio = sys.modules.get("sniffio")
    current = sniffio.current_async_library() if sniffio is not None else None
    return next((library for library in here if library.name == current), here[0])

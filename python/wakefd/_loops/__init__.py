"""Which event loop runs here?

A library is asked only if the program has imported it; wakefd imports none by itself. To add a
loop: one adapter file with `begin`, `begin_any`, `give_way` and `pause`, and one line in `_TABLE`.

`begin(event, here)` begins to wait for the event (or for what a place in line brings), and returns
None if there is no need to, else an awaitable; `begin_any(events, here)` does so for the first of
several events; `give_way(here)` is for those who need not wait: None, or what `pause()` returns, an
awaitable that lets the others have their turn. `here` is what the library said when it was asked
whether it runs. They hold no algorithm: that is in the compiled `Hub` and `Turn`.
"""

import sys
from collections.abc import Awaitable, Callable, Sequence
from importlib import import_module
from operator import attrgetter
from typing import TYPE_CHECKING

from wakefd._wakefd import IoEvent, Place

if TYPE_CHECKING:
    from wakefd._portal import Runner

_Begin = Callable[[IoEvent | Place, object], Awaitable[None] | None]
_BeginAny = Callable[[Sequence[IoEvent], object], Awaitable[None] | None]
_GiveWay = Callable[[object], Awaitable[None] | None]


class _Library:
    """A library, and what is known of it since the program has imported it.

    Threads look and learn at the same time: what is learnt is one attribute at a time, the same
    for all.
    """

    __slots__ = (
        "adapter",
        "at_once",
        "begin",
        "begin_any",
        "give_way",
        "name",
        "pause",
        "portal",
        "question",
        "runs_here",
    )

    def __init__(
        self, name: str, question: str, adapter: str, *, at_once: bool, portal: str
    ) -> None:
        self.name = name  # as sniffio calls it, and its module
        self.question = question  # what in it tells: a true value is handed to the adapter
        self.adapter = adapter
        self.portal = portal  # the adapter of portals
        self.at_once = at_once
        self.pause: Callable[[], Awaitable[object]] = self._import_pause
        self.runs_here: Callable[[], object] | None = None
        self.begin: _Begin = self._import
        self.begin_any: _BeginAny = self._import_any
        self.give_way: _GiveWay = self._import_give_way

    def look(self) -> Callable[[], object] | None:
        try:
            self.runs_here = attrgetter(self.question)(sys.modules[self.name])
        except (AttributeError, KeyError):
            return None  # half imported, by another thread
        return self.runs_here

    def _import(self, event: IoEvent | Place, here: object) -> Awaitable[None] | None:
        self.begin = import_module(self.adapter).begin
        return self.begin(event, here)

    def _import_any(self, events: Sequence[IoEvent], here: object) -> Awaitable[None] | None:
        self.begin_any = import_module(self.adapter).begin_any
        return self.begin_any(events, here)

    def _import_give_way(self, here: object) -> Awaitable[None] | None:
        self.give_way = import_module(self.adapter).give_way
        return self.give_way(here)

    def _import_pause(self) -> Awaitable[object]:
        self.pause = import_module(self.adapter).pause
        return self.pause()


# Where several say yes (trio in guest mode, trio-asyncio), sniffio decides if it is loaded, else
# the first.
_TABLE = (
    _Library(
        "trio",
        "lowlevel.in_trio_task",
        "wakefd._loops.trio",
        at_once=False,
        portal="wakefd._portal_trio",
    ),
    _Library(
        "asyncio",
        "_get_running_loop",
        "wakefd._loops.asyncio",
        at_once=True,
        portal="wakefd._portal_asyncio",
    ),
)
_TRIO, _ASYNCIO = _TABLE


def begin(event: IoEvent | Place) -> Awaitable[None] | None:
    """Begin to wait for the event on the loop that runs here. None: no need to wait."""
    library, here = _running()
    return library.begin(event, here)


def begin_any(events: Sequence[IoEvent]) -> Awaitable[None] | None:
    """Begin to wait for the first of some events. None: no need to wait."""
    library, here = _running()
    return library.begin_any(events, here)


def give_way() -> Awaitable[None] | None:
    """Let the others have their turn, as the loop that runs here does. None: no need to."""
    library, here = _running()
    return library.give_way(here)


def at_once() -> bool:
    """May what need not wait end without a checkpoint, by the habits of the loop that runs here?"""
    # A shortcut for each and every item. Half imported, a library takes the long way.
    in_trio, in_asyncio = _TRIO.runs_here, _ASYNCIO.runs_here
    if (not in_trio() if in_trio else "trio" not in sys.modules) and in_asyncio and in_asyncio():
        return True
    return _running()[0].at_once


def pause() -> Awaitable[object]:
    """Let the others on the loop that runs here have their turn: an awaitable."""
    return _running()[0].pause()


def open_portal() -> "Runner":
    """Begin to serve a portal in the loop that runs here."""
    library, here = _running()
    runner: Runner = import_module(library.portal).open_portal(here)
    return runner


def _running() -> tuple[_Library, object]:
    running: _Library | None = None
    here: object = None
    for library in _TABLE:
        runs_here = library.runs_here
        if runs_here is None and library.name in sys.modules:
            runs_here = library.look()
        if runs_here is not None and (what := runs_here()):
            if running is not None:
                return _chosen_by_sniffio()
            running, here = library, what
    if running is None:
        msg = (
            "no event loop that wakefd knows runs here (asyncio, uvloop, trio): use"
            " event.wait() in a plain thread, wakefd.gevent, wakefd.twisted, wakefd.qt or wakefd.tk"
            " under those, or event.fileno() with a selector of your own (and in the child of a"
            " fork the parent's loop does not run: start a new one)"
        )
        raise RuntimeError(msg)
    return running, here


def _chosen_by_sniffio() -> tuple[_Library, object]:
    running = [
        (library, here)
        for library in _TABLE
        if (runs_here := library.runs_here) is not None and (here := runs_here())
    ]
    sniffio = sys.modules.get("sniffio")
    current = sniffio.current_async_library() if sniffio is not None else None
    return next((found for found in running if found[0].name == current), running[0])

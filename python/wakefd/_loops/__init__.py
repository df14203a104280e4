"""This package answers which event loop runs here, and knows how each kind of loop is served.

It may know the compiled half (`wakefd._wakefd`), the exceptions (`wakefd._errors`) and the log
(`wakefd._log`). It knows no public class: events, queues and portals ask this package, never the
other way round.

A loop is one file here, named as its library is, with its portal included, and one line in
`_TABLE`. A library is asked only if the program has imported it; wakefd imports none by itself.

An adapter is such a file. It holds no algorithm (that is in the compiled `Hub`, `Turn` and
`Receiver`) and has five functions. `here` is the answer of the library to the question whether it
runs in this thread.

- `begin(event, here)` begins to wait for an event, or for what a place in line brings. The result
  is None if there is no need to wait, else an awaitable.
- `begin_any(events, here)` does the same for the first of several events.
- `give_way(here)` is for a task that need not wait: None, or the result of `pause()`.
- `pause()` is an awaitable that lets the other tasks have their turn.
- `open_portal(here)` makes the runner of a portal (`wakefd._loops.runner`), and begins to serve it.
"""

import sys
from functools import partial
from operator import attrgetter

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Sequence

    from wakefd._loops.runner import Runner
    from wakefd._wakefd import IoEvent, Place


class _Library:
    """An event loop's library: the question whether it runs here, and its adapter.

    Threads may look and learn at the same time: each thing learnt is one attribute, and the same
    for all threads.
    """

    __slots__ = (
        "at_once",
        "begin",
        "begin_any",
        "give_way",
        "name",
        "open_portal",
        "pause",
        "public",
        "question",
        "runs_here",
    )

    if TYPE_CHECKING:
        begin: Callable[[IoEvent | Place, object], Awaitable[None] | None]
        begin_any: Callable[[Sequence[IoEvent], object], Awaitable[None] | None]
        give_way: Callable[[object], Awaitable[None] | None]
        open_portal: Callable[[object], Runner]
        pause: Callable[[], Awaitable[object]]

    def __init__(self, name: str, question: str, *, at_once: bool, public: str = "") -> None:
        self.name = name  # of the module, of the adapter, and in sniffio
        self.question = question  # in the module: a true answer is handed to the adapter as `here`
        self.public = public  # the same question, which raises RuntimeError instead of saying None
        self.at_once = at_once
        self.runs_here: Callable[[], object] | None = None
        # (A `__getattr__` would do the same, and make each look at an attribute take longer.)
        for function in ("begin", "begin_any", "give_way", "open_portal", "pause"):
            setattr(self, function, partial(self._import_and_call, function))

    def _import_and_call(self, name: str, *args: object) -> object:
        """Stand for a function of the adapter until its first call."""
        from importlib import import_module  # noqa: PLC0415 - not before a loop runs

        function = getattr(import_module(f"{__name__}.{self.name}"), name)
        setattr(self, name, function)
        return function(*args)

    def look(self) -> "Callable[[], object] | None":
        """Find the function that answers whether the library runs in this thread."""
        library = sys.modules.get(self.name)  # it may be half imported, by another thread
        try:
            self.runs_here = attrgetter(self.question)(library)
        except AttributeError:
            if self.public and hasattr(library, self.public):
                self.runs_here = _none_for_an_error(getattr(library, self.public))
        return self.runs_here


def _none_for_an_error(question: "Callable[[], object]") -> "Callable[[], object]":
    def ask() -> object:
        try:
            return question()
        except RuntimeError:
            return None

    return ask


# Where several libraries say yes (trio in guest mode, trio-asyncio), sniffio decides if it is
# loaded, else the first. `at_once`: a task that need not wait goes on without a checkpoint, by the
# habits of the library.
_TABLE = (
    _Library("trio", "lowlevel.in_trio_task", at_once=False),
    _Library("asyncio", "_get_running_loop", at_once=True, public="get_running_loop"),
)
_TRIO, _ASYNCIO, *_ = _TABLE


def begin(event: "IoEvent | Place") -> "Awaitable[None] | None":
    """Begin to wait for the event on the loop that runs here. None: there is no need to wait."""
    library, here = _running()
    return library.begin(event, here)


async def wait(event: "IoEvent | Place") -> None:
    """Wait for the event on the loop that runs here."""
    begun = begin(event)
    if begun is not None:
        await begun


def begin_any(events: "Sequence[IoEvent]") -> "Awaitable[None] | None":
    """Begin to wait for the first of some events. None: there is no need to wait."""
    library, here = _running()
    return library.begin_any(events, here)


def give_way() -> "Awaitable[None] | None":
    """Let the other tasks have their turn, as the loop that runs here does. None: no need to."""
    library, here = _running()
    return library.give_way(here)


def at_once() -> bool:
    """Return True if an operation that need not wait may end without a checkpoint here."""
    # This shortcut is taken for each item, so it asks two libraries by name: a loop over the table
    # would take a fifth longer. A library that is half imported takes the long way.
    in_trio, in_asyncio = _TRIO.runs_here, _ASYNCIO.runs_here
    if (not in_trio() if in_trio else "trio" not in sys.modules) and in_asyncio and in_asyncio():
        return True
    return _running()[0].at_once


def pause() -> "Awaitable[object]":
    """Return an awaitable that lets the other tasks on the loop that runs here have their turn."""
    return _running()[0].pause()


def open_portal() -> "Runner":
    """Begin to serve a portal in the loop that runs here."""
    library, here = _running()
    return library.open_portal(here)


def _running() -> "tuple[_Library, object]":
    running: _Library | None = None
    here: object = None
    for library in _TABLE:
        runs_here = library.runs_here
        if runs_here is None and library.name in sys.modules:
            runs_here = library.look()
        if runs_here is not None and (answer := runs_here()):
            if running is not None:
                return _chosen_by_sniffio()
            running, here = library, answer
    if running is None:
        msg = (
            "no event loop that wakefd knows runs here (asyncio, uvloop, trio): use"
            " event.wait() in a plain thread, wakefd.gevent, wakefd.twisted, wakefd.qt or wakefd.tk"
            " under those, or event.fileno() with a selector of your own (and in the child of a"
            " fork the parent's loop does not run: start a new one)"
        )
        raise RuntimeError(msg)
    return running, here


def _chosen_by_sniffio() -> "tuple[_Library, object]":
    running = [
        (library, here)
        for library in _TABLE
        if (runs_here := library.runs_here) is not None and (here := runs_here())
    ]
    sniffio = sys.modules.get("sniffio")
    current = sniffio.current_async_library() if sniffio is not None else None
    return next((found for found in running if found[0].name == current), running[0])

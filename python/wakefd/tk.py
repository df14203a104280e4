"""The adapter for Tk: `watch` has a function called at each rise of an event."""

import sys
from collections.abc import Callable
from typing import Any
from weakref import WeakKeyDictionary

from wakefd import _wakefd
from wakefd._wakefd import Hub
from wakefd._watch import Watch

try:
    import tkinter as tk
except ImportError as _error:
    _msg = (
        "wakefd.tk needs tkinter, which is a part of Python that this one was built or packaged"
        " without: install python3-tk, or what it is called on your system"
    )
    raise ImportError(_msg, name="tkinter") from _error

__all__ = ["Watcher", "watch"]


def watch(widget: tk.Misc, event: _wakefd.IoEvent, callback: Callable[[], object]) -> "Watcher":
    """Call `callback()` once per rise of the flag, from the event loop of this widget.

    The flag is still up then, and stays so: clear it in the callback, first, and then look at your
    data. Rises that come before the callback runs make one call; an event that is up now counts as
    a rise. Exceptions of the callback go to `report_callback_exception`. The watch ends with
    `close()`, quietly when the event is closed, and when the widget is destroyed. All watches of an
    application share one descriptor.

    Call it in the thread of the widget.

    Raises:
        ClosedResourceError: the event is closed.
        NotImplementedError: this Tk cannot watch descriptors (on Windows).
        OSError: there is no descriptor to be had.
    """
    return Watcher(widget, event, callback)


class Watcher:
    """A watch on an event, as `watch` returns it."""

    def __init__(
        self, widget: tk.Misc, event: _wakefd.IoEvent, callback: Callable[[], object]
    ) -> None:
        self._widget, self._callback = widget, callback
        self._loop = loop = _TclLoop.of(widget)
        try:
            self._watch = Watch(loop.hub, event, self._call, self.close)
        except BaseException:
            loop.close_if_idle()
            raise
        loop.watchers.add(self)
        _watchers_of(widget).add(self)

    def close(self) -> None:
        """End the watch. This is harmless if it has ended, or the widget is gone."""
        self._watch.close()
        self._loop.watchers.discard(self)
        self._loop.close_if_idle()
        _watchers_of(self._widget).discard(self)

    def _call(self) -> None:
        try:
            self._callback()
        except SystemExit:
            raise  # ends the main loop, as from any callback of tkinter's
        except BaseException:
            root: Any = self._widget.nametowidget(".")
            root.report_callback_exception(*sys.exc_info())


class _TclLoop:
    """The hub of one Tcl interpreter, for as long as there is a watch."""

    def __init__(self, tcl: Any) -> None:
        self.watchers: set[Watcher] = set()
        self.hub = Hub()
        self._tcl = tcl
        self._watched = -1
        self._watch()

    @classmethod
    def of(cls, widget: tk.Misc) -> "_TclLoop":
        tcl: Any = widget.tk
        if not hasattr(tcl, "createfilehandler"):
            raise NotImplementedError("this Tk cannot watch descriptors: it has no file handlers")
        loop = _loops.get(id(tcl))
        if loop is None or loop.hub.inherited:
            loop = _loops[id(tcl)] = cls(tcl)
        return loop

    def close_if_idle(self) -> None:
        if not self.watchers and _loops.get(id(self._tcl)) is self:
            del _loops[id(self._tcl)]
            self._tcl.deletefilehandler(self._watched)
            self.hub.close()

    def _watch(self) -> None:
        self._watched = self.hub.fileno()
        self._tcl.createfilehandler(self._watched, tk.READABLE, self._dispatch)

    def _dispatch(self, _file: object, _mask: int) -> None:
        self.hub.dispatch(self._rewatch, nests=True)

    def _rewatch(self, dead: int) -> None:
        self._tcl.deletefilehandler(dead)
        self._watch()


# The keys are the ids of interpreter objects, which the values keep alive.
_loops: dict[int, _TclLoop] = {}
_watched: "WeakKeyDictionary[tk.Misc, set[Watcher]]" = WeakKeyDictionary()


def _watchers_of(widget: tk.Misc) -> set[Watcher]:
    watchers = _watched.get(widget)
    if watchers is None:
        watchers = _watched[widget] = set()

        def destroyed(event: "tk.Event[tk.Misc]") -> None:
            if str(event.widget) == str(widget):  # a toplevel is told of its children, too
                for watcher in list(watchers):
                    watcher.close()

        widget.bind("<Destroy>", destroyed, add=True)
    return watchers

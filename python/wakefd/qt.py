"""The adapter for Qt: `EventNotifier`, a QObject with a signal for each rise of an event.

It uses the binding that the program has imported: PySide6, PyQt6, PySide2 or PyQt5.
"""

import sys
from importlib import import_module
from typing import TYPE_CHECKING, cast
from weakref import ref

from wakefd import _wakefd
from wakefd._errors import ClosedResourceError
from wakefd._wakefd import Hub
from wakefd._watch import Watch

_BINDINGS = ("PySide6", "PyQt6", "PySide2", "PyQt5")

if TYPE_CHECKING:
    from PySide6.QtCore import QAbstractEventDispatcher, QObject, QSocketNotifier, Signal
else:
    for _binding in _BINDINGS:
        if sys.modules.get(_binding) is not None:
            break
    else:
        _msg = (
            "wakefd.qt needs a Qt binding that is imported before it: pip install PySide6 (or"
            " PyQt6, PySide2, PyQt5), and `import PySide6` first"
        )
        raise ImportError(_msg, name="PySide6")
    _core = import_module(f"{_binding}.QtCore")
    QAbstractEventDispatcher, QObject = _core.QAbstractEventDispatcher, _core.QObject
    QSocketNotifier = _core.QSocketNotifier
    Signal = _core.pyqtSignal if _binding.startswith("PyQt") else _core.Signal

__all__ = ["EventNotifier"]


class EventNotifier(QObject):
    """A QObject that emits `notified` once per rise of the flag, in the thread that it lives in.

    The flag is still up then, and stays so: clear it in the slot, first, and then look at your
    data. Rises that come before the signal is emitted make one signal; an event that is up at the
    beginning counts as a rise. The signal comes from Qt's event loop, never from the constructor.
    When the event is closed there are no more signals.

    It is owned as other QObjects are: by its `parent`, else by its last reference. It may be moved
    to another thread. Each one takes one descriptor. (They do not share one per thread, as waiters
    elsewhere in wakefd do: each owns its QSocketNotifier, so that Qt moves both between threads,
    and ends both with them.)

    Raises:
        ClosedResourceError: the event is closed.
        RuntimeError: this thread has no Qt event dispatcher (yet): make the application first.
        OSError: there is no descriptor to be had.
    """

    notified = Signal()

    def __init__(self, event: _wakefd.IoEvent, parent: QObject | None = None) -> None:
        if event.closed:
            raise ClosedResourceError("this event is closed")
        # The stubs do not know that the dispatcher may be None.
        if cast("object", QAbstractEventDispatcher.instance()) is None:
            raise RuntimeError("no Qt event loop can run in this thread: make a QApplication first")
        super().__init__(parent)
        owned = ref(self)  # nothing below may keep this object alive

        def emit() -> None:
            self = owned()
            if self is not None:
                self.notified.emit()

        def ended() -> None:
            self = owned()
            if self is not None:
                self._finish()

        self._hub = hub = Hub()
        self._watch = watch = Watch(hub, event, emit, ended)
        self._socket = self._watched()

        def destroyed() -> None:
            watch.close()
            hub.close()

        self.destroyed.connect(destroyed)

    def close(self) -> None:
        """Emit no more signals. This is harmless if the notifier is closed, or destroyed."""
        if not self._watch.closed:
            self._watch.close()
            self._finish()

    def _watched(self) -> QSocketNotifier:
        socket = QSocketNotifier(self._hub.fileno(), QSocketNotifier.Type.Read, self)
        socket.activated.connect(self._dispatch)
        return socket

    def _dispatch(self) -> None:
        self._hub.dispatch(self._rewatch, nests=True)

    def _rewatch(self, _: int) -> None:
        self._unwatch()
        self._socket = self._watched()

    def _unwatch(self) -> None:
        self._socket.setEnabled(False)  # at once; deleted when Qt has nothing more to do with it
        self._socket.deleteLater()

    def _finish(self) -> None:
        self._unwatch()
        self._hub.close()

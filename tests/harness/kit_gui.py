"""The kits of Qt and Tk."""

import atexit
import math
from functools import cache

import pytest

from helpers import screen
from kit_callbacks import CallbackKit


class QtKit(CallbackKit):
    in_a_forked_child = "works"

    def __init__(self, name):
        import shiboken6
        from PySide6 import QtCore, QtGui

        from wakefd.qt import EventNotifier

        self.name = name
        self._qt, self._notifier = QtCore, EventNotifier
        self._delete, self._valid = shiboken6.delete, shiboken6.isValid
        with pytest.MonkeyPatch.context() as patch:
            patch.setenv("QT_QPA_PLATFORM", "offscreen")
            patch.setenv("QT_NO_GLIB", "" if name == "qt-glib" else "1")
            self._app = QtGui.QGuiApplication.instance() or QtGui.QGuiApplication([])

    def open(self):
        self._loop, self._timers = self._qt.QEventLoop(), set()
        self._owner = self._qt.QObject()

    def loop(self, task):
        task.when_done(self._loop.quit)
        self._loop.exec()

    def close(self):
        self._delete(self._owner)

    def call_later(self, seconds, call):
        timer = self._qt.QTimer(self._owner, singleShot=True)
        timer.timeout.connect(call)
        timer.timeout.connect(timer.deleteLater)
        timer.start(math.ceil(seconds * 1000))
        return lambda: self._valid(timer) and timer.stop()

    def on_rise(self, event, call):
        notifier = self._notifier(event, self._owner)
        notifier.notified.connect(lambda: (notifier.close(), call()))
        return notifier.close

    def watch(self, fd, callback):
        notifier = self._qt.QSocketNotifier(fd, self._qt.QSocketNotifier.Type.Read, self._owner)
        notifier.activated.connect(lambda *_: callback())
        return lambda: notifier.setEnabled(False)


class TkKit(CallbackKit):
    def __init__(self, name):
        import tkinter as tk

        import wakefd.tk

        self.name = name
        self._tk, self._watch = tk, wakefd.tk.watch
        self._display = _display()

    def open(self):
        self._root = self._tk.Tk(self._display)
        _roots.append(self._root)

    def loop(self, task):
        task.when_done(self._root.quit)
        self._root.mainloop()

    def close(self):
        self._root.destroy()
        del self._root

    def call_later(self, seconds, call):
        root = self._root
        timer = root.after(math.ceil(seconds * 1000), call)
        return lambda: root.after_cancel(timer)

    def on_rise(self, event, call):
        watcher = self._watch(self._root, event, lambda: (watcher.close(), call()))
        return watcher.close

    def watch(self, fd, callback):
        root = self._root
        root.createfilehandler(fd, self._tk.READABLE, lambda *_: callback())
        return lambda: root.deletefilehandler(fd)


# Tk aborts the process if the garbage collector frees an interpreter in another thread.
_roots = []


@cache
def _display():
    shown = screen()
    atexit.register(shown.__exit__, None, None, None)
    return shown.__enter__()

"""Tests of Qt through PySide6, without a screen.

Each test runs in a fresh interpreter, because Qt takes over its process. PySide6 6.12.0 on CPython
3.11 cannot be used: each of its calls that return None takes a reference from None, until the
interpreter aborts. (On 3.12 None has no reference count.)
"""

import functools
import gc
import importlib.util
import sys
import threading
import time

import pytest

from helpers import Thread, fds, later, program, run_child, waiting, without
from wakefd import ClosedResourceError, IoEvent

pytest.importorskip("PySide6.QtCore")

import shiboken6
from PySide6.QtCore import QCoreApplication, QEvent, QEventLoop, QObject, Qt, QThread, QTimer

from wakefd.qt import EventNotifier

event, seen, kept = IoEvent(), [], []
app = None
run_qt = functools.partial(run_child, "test_qt", strict=True, QT_QPA_PLATFORM="offscreen")


def on_qt(test):
    """The test runs in a fresh interpreter, in which `app` is the application."""

    # Qt's own dispatcher, and that of glib where Qt was built with glib.
    @pytest.mark.parametrize("no_glib", ["1", ""], ids=["poll", "glib"])
    def run(no_glib):
        run_qt("child", test.__name__, QT_NO_GLIB=no_glib)

    run.test, run.__doc__ = test, test.__doc__
    return run


def child(name):
    globals()["app"] = QCoreApplication([])
    globals()[name].test()


def until(condition, seconds=20):
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "the condition did not come true"
        app.processEvents(QEventLoop.AllEvents, 20)


def turn(seconds=0.03):
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        app.processEvents(QEventLoop.AllEvents, 5)


@on_qt
def test_the_signal_comes_once_per_rise_with_the_flag_up():
    notifier = EventNotifier(event)
    notifier.notified.connect(lambda: seen.append(event.is_set()))
    turn()
    assert seen == []
    thread = later(event.notify)
    until(lambda: seen)
    thread.finish()
    turn()
    assert seen == [True] and event.is_set()  # one signal, although the flag is still up
    event.notify()
    turn()
    assert seen == [True]
    event.clear()
    turn()
    assert seen == [True]
    event.notify()
    until(lambda: len(seen) == 2)
    event.clear()
    event.notify()
    event.clear()
    event.notify()  # two rises before a dispatch: one signal
    until(lambda: len(seen) == 3)
    turn()
    assert seen == [True] * 3


@on_qt
def test_a_flag_that_is_up_at_the_beginning_counts_as_a_rise():
    event.notify()
    notifier = EventNotifier(event)
    notifier.notified.connect(lambda: seen.append(event.clear()))
    assert seen == []
    until(lambda: seen)
    turn()
    assert seen == [True]


@on_qt
def test_a_close_of_the_event_ends_the_watch():
    notifier = EventNotifier(event)
    notifier.notified.connect(lambda: seen.append(1))
    thread = Thread(event.close)
    until(lambda: notifier._watch.closed)
    thread.finish()
    turn()
    assert seen == [] and waiting(event) == 0
    notifier.close()
    with pytest.raises(ClosedResourceError):
        EventNotifier(event)
    other = IoEvent()
    notifier = EventNotifier(other)
    notifier.notified.connect(lambda: seen.append(other.closed))
    other.notify()
    other.close()  # the rise before the close still gives a signal
    until(lambda: notifier._watch.closed)
    assert seen == [True]


@on_qt
def test_a_notifier_can_be_closed_twice_and_after_its_deletion():
    notifier = EventNotifier(event)
    notifier.notified.connect(lambda: seen.append(1))
    event.notify()
    notifier.close()
    notifier.close()
    turn()
    assert seen == [] and waiting(event) == 0
    event.clear()

    parent = QObject()
    notifier = EventNotifier(event, parent)
    assert notifier.parent() is parent and waiting(event) == 1
    shiboken6.delete(parent)
    assert waiting(event) == 0
    notifier.close()
    event.notify()
    turn()

    notifier = EventNotifier(event)
    notifier.deleteLater()
    app.sendPostedEvents(notifier, QEvent.DeferredDelete)
    assert not shiboken6.isValid(notifier)
    assert waiting(event) == 0
    notifier.close()

    gc.disable()
    notifier = EventNotifier(event)
    notifier.notified.connect(lambda: seen.append(1))
    assert waiting(event) == 1
    del notifier  # neither a parent nor a reference keeps the notifier
    assert waiting(event) == 0
    turn()
    assert seen == []


@on_qt
def test_a_parent_keeps_its_notifier_alive():
    parent = QObject()
    EventNotifier(event, parent).notified.connect(lambda: seen.append(1))
    gc.collect()
    event.notify()
    until(lambda: seen)


@on_qt
def test_a_notifier_can_be_closed_in_its_own_slot():
    notifiers = [EventNotifier(event) for _ in range(3)]

    def slot():
        seen.append(1)
        for notifier in notifiers:
            notifier.close()
        notifiers[0].deleteLater()
        event.close()

    for notifier in notifiers:
        notifier.notified.connect(slot)
    event.notify()
    until(lambda: seen)
    turn()
    assert seen == [1]


@on_qt
def test_a_slot_that_runs_a_nested_loop_gets_rises_there():
    notifier = EventNotifier(event)
    inner = QEventLoop()

    def slot():
        seen.append(1)
        event.clear()
        if len(seen) == 1:
            later(event.notify)
            inner.exec()
        else:
            inner.quit()

    notifier.notified.connect(slot)
    event.notify()
    until(lambda: len(seen) == 2)
    turn()
    assert len(seen) == 2


@on_qt
def test_a_rise_is_seen_in_the_dialog_that_another_events_slot_opened():
    def first():
        event.clear()
        if not seen:
            dialog.exec()
        seen.append("first")

    def second():
        seen.append("second")
        dialog.quit()

    other, dialog = IoEvent(), QEventLoop()
    for order in ([event, other], [other, event]):
        notifiers = {}
        for each in order:
            each.clear()
            notifiers[each] = EventNotifier(each)
            notifiers[each].notified.connect(first if each is event else second)
        seen.clear()
        thread = Thread(lambda: (event.notify(), other.notify()))
        thread.finish()
        late = QTimer()
        late.timeout.connect(dialog.quit)
        late.start(20000)
        until(lambda: "first" in seen)
        late.stop()
        assert seen[0] == "second", seen


@on_qt
def test_a_slot_that_raises_goes_to_the_excepthook_and_is_called_again():
    said = []
    sys.excepthook = lambda kind, *_: said.append(kind)
    notifier = EventNotifier(event)

    def slot():
        event.clear()
        seen.append(1)
        raise ZeroDivisionError

    notifier.notified.connect(slot)
    for n in range(1, 4):
        event.notify()
        until(lambda n=n: len(seen) == n)
    turn()
    assert said == [ZeroDivisionError] * 3, said


@on_qt
def test_no_item_is_lost_when_threads_flood_an_event():
    items, got = [], []
    notifier = EventNotifier(event)

    def slot():
        event.clear()
        while items:
            got.append(items.pop())

    notifier.notified.connect(slot)

    def work():
        for n in range(2000):
            items.append(n)
            event.notify()

    threads = [Thread(work) for _ in range(3)]
    until(lambda: len(got) == 6000)
    for thread in threads:
        thread.finish()


@on_qt
def test_a_thousand_events_and_notifiers_leave_no_descriptor():
    events = [IoEvent() for _ in range(1000)]

    notifiers = [EventNotifier(event) for event in events]
    for notifier in notifiers:
        notifier.notified.connect(lambda: seen.append(1))
    thread = Thread(lambda: [event.notify() for event in events])
    until(lambda: len(seen) == 1000)
    thread.finish()
    del notifiers, notifier
    turn()
    number = fds()
    for _ in range(2000):
        EventNotifier(event)  # its hub comes from the pool and goes back there
    kept = []
    for _ in range(100):
        kept.append(EventNotifier(event))
        kept[-1].close()
    assert fds() <= number


@on_qt
def test_notifiers_work_in_other_threads_and_after_a_move():
    class Worker(QThread):
        def run(self):
            own = EventNotifier(event)
            own.notified.connect(
                lambda: (seen.append(QThread.currentThread() is self), self.quit()),
                Qt.DirectConnection,
            )
            self.exec()

    worker = Worker()
    worker.start()
    until(lambda: waiting(event) == 1)
    event.notify()
    until(worker.isFinished)
    assert seen == [True]
    event.clear()

    # A notifier that was moved to a thread emits its signal in that thread.
    thread = QThread()
    notifier, where = EventNotifier(event), []
    notifier.notified.connect(lambda: where.append(threading.get_ident()), Qt.DirectConnection)
    notifier.moveToThread(thread)
    thread.start()
    event.notify()
    until(lambda: where)
    assert where != [threading.get_ident()]
    thread.quit()
    assert thread.wait(20000)
    event.clear()
    event.notify()  # notify stays legal after the thread has ended
    turn()
    assert len(where) == 1


def test_a_notifier_needs_an_application_and_may_outlive_it():
    run_qt("before_and_after_the_application")


def before_and_after_the_application():
    with pytest.raises(RuntimeError, match="QApplication"):
        EventNotifier(event)
    app = QCoreApplication([])
    notifier = EventNotifier(event, app)
    other = EventNotifier(event)
    shiboken6.delete(app)
    assert event.notify()
    notifier.close()
    other.close()


@pytest.mark.parametrize("_", range(3))
def test_the_interpreter_can_exit_while_threads_notify(_):
    run_qt("child", "exit_while_threads_notify")


@on_qt
def exit_while_threads_notify():
    def work():
        while True:
            event.notify()

    threading.Thread(target=work, daemon=True).start()
    notifier = EventNotifier(event)
    notifier.notified.connect(lambda: (seen.append(1), event.clear()))
    kept.append(notifier)
    until(lambda: len(seen) > 10)


def test_a_notifier_can_have_a_widget_as_its_parent():
    if importlib.util.find_spec("PySide6.QtWidgets") is None:
        pytest.skip("PySide6 has no QtWidgets here")
    run_qt("with_widgets")


def with_widgets():
    from PySide6.QtWidgets import QApplication, QLabel

    app = QApplication([])
    label = QLabel("waiting")
    EventNotifier(event, label).notified.connect(lambda: (label.setText("done"), app.quit()))
    label.show()
    thread = later(event.notify)
    app.exec()
    thread.finish()
    assert label.text() == "done"


def test_an_import_without_a_binding_of_qt_says_what_to_install():
    said = without("wakefd.qt", [])
    assert "pip install PySide6" in said


def test_other_bindings_are_found():
    """PyQt6 is not installed; a module of its name is enough to see that it would be taken."""
    # A program in a string: this module imports PySide6, and wakefd.qt takes the binding it finds.
    out = program(
        """
        import sys, types
        class QObject: pass
        core = types.ModuleType("PyQt6.QtCore")
        core.QObject, core.pyqtSignal = QObject, lambda: "a signal of PyQt"
        core.QSocketNotifier = core.QAbstractEventDispatcher = object
        sys.modules["PyQt6"], sys.modules["PyQt6.QtCore"] = types.ModuleType("PyQt6"), core
        from wakefd.qt import EventNotifier
        print(EventNotifier.notified, EventNotifier.__mro__[1] is QObject)
        """
    )
    assert out == "a signal of PyQt True\n"

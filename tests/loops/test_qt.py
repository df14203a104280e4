"""Qt through PySide6, without a screen. Each test is a program of its own: Qt owns its process.

Not PySide6 6.12.0 on CPython 3.11: each of its calls that returns nothing takes a reference from
None, until the interpreter aborts. (On 3.12 None has no count.)
"""

import importlib.util

import pytest

from helpers import program, without

pytest.importorskip("PySide6.QtCore")

FRAME = """
import gc, os, sys, threading, time, weakref
from PySide6.QtCore import QCoreApplication, QEvent, QEventLoop, QObject, QSocketNotifier
from PySide6.QtCore import Qt, QThread, QTimer
import shiboken6
import wakefd
from helpers import Thread, fds, later, waiting
from wakefd import ClosedResourceError, IoEvent
from wakefd.qt import EventNotifier

def until(condition, seconds=20):
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "in vain"
        app.processEvents(QEventLoop.AllEvents, 20)

def turn(seconds=0.03):
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        app.processEvents(QEventLoop.AllEvents, 5)

event, seen = IoEvent(), []
app = QCoreApplication([])
"""


def qt(code, **environment):
    lines = code.splitlines()
    body = "\n".join(line[8:] for line in lines)
    return program(FRAME + body, QT_QPA_PLATFORM="offscreen", **environment)


# The dispatcher of glib, where Qt was built with it, and Qt's own.
@pytest.fixture(params=["1", ""], ids=["poll", "glib"])
def run(request):
    def run(code):
        return qt(code, QT_NO_GLIB=request.param)

    return run


def test_once_per_rise_with_the_flag_up(run):
    run(
        """
        notifier = EventNotifier(event)
        notifier.notified.connect(lambda: seen.append(event.is_set()))
        turn()
        assert seen == []
        thread = later(event.notify)
        until(lambda: seen)
        thread.finish()
        turn()
        assert seen == [True] and event.is_set()  # once, though nobody has cleared it
        event.notify()
        turn()
        assert seen == [True]
        event.clear()
        turn()
        assert seen == [True]
        event.notify()
        until(lambda: len(seen) == 2)
        event.clear()
        event.notify(); event.clear(); event.notify()  # two rises before the loop comes by are one
        until(lambda: len(seen) == 3)
        turn()
        assert seen == [True] * 3
        """
    )


def test_up_at_the_beginning_is_a_rise(run):
    run(
        """
        event.notify()
        notifier = EventNotifier(event)
        notifier.notified.connect(lambda: seen.append(event.clear()))
        assert seen == []
        until(lambda: seen)
        turn()
        assert seen == [True]
        """
    )


def test_close_of_the_event(run):
    run(
        """
        notifier = EventNotifier(event)
        notifier.notified.connect(lambda: seen.append(1))
        thread = Thread(event.close)
        until(lambda: notifier._watch.closed)
        thread.finish()
        turn()
        assert seen == [] and waiting(event) == 0
        notifier.close()
        try:
            EventNotifier(event)
            assert False
        except ClosedResourceError:
            pass
        event = IoEvent()
        notifier = EventNotifier(event)
        notifier.notified.connect(lambda: seen.append(event.closed))
        event.notify()
        event.close()  # the rise wins
        until(lambda: notifier._watch.closed)
        assert seen == [True]
        """
    )


def test_taken_down_twice_and_after_its_end(run):
    run(
        """
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
        del notifier  # no parent, no reference
        assert waiting(event) == 0
        turn()
        assert seen == []
        """
    )


def test_a_parent_keeps_it(run):
    run(
        """
        parent = QObject()
        EventNotifier(event, parent).notified.connect(lambda: seen.append(1))
        gc.collect()
        event.notify()
        until(lambda: seen)
        """
    )


def test_taken_down_in_its_own_slot(run):
    run(
        """
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
        """
    )


def test_a_slot_that_runs_a_loop_of_its_own(run):
    run(
        """
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
        """
    )


def test_two_rise_and_the_first_opens_a_dialog(run):
    run(
        """
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
            for it in order:
                it.clear()
                notifiers[it] = EventNotifier(it)
                notifiers[it].notified.connect(first if it is event else second)
            seen.clear()
            thread = Thread(lambda: (event.notify(), other.notify()))
            thread.finish()
            late = QTimer()
            late.timeout.connect(dialog.quit)
            late.start(20000)
            until(lambda: "first" in seen)
            late.stop()
            assert seen[0] == "second", seen
        """
    )


def test_a_slot_that_raises():
    qt(
        """
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
            until(lambda: len(seen) == n)
        turn()
        assert said == [ZeroDivisionError] * 3, said
        """
    )


def test_threads_flood(run):
    run(
        """
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
        """
    )


def test_a_thousand_events(run):
    run(
        """
        events = [IoEvent() for _ in range(1000)]
        before = fds()
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
            EventNotifier(event)  # pooled
        kept = []
        for _ in range(100):
            kept.append(EventNotifier(event))
            kept[-1].close()
        assert fds() <= number
        """
    )


def test_in_other_threads_and_moved(run):
    run(
        """
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

        # Moved: the signal comes from the thread that it lives in.
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
        event.clear(); event.notify()  # legal, and nobody is there
        turn()
        assert len(where) == 1
        """
    )


def test_before_and_after_the_application():
    program(
        """
        from PySide6.QtCore import QCoreApplication
        import shiboken6
        from wakefd import IoEvent
        from wakefd.qt import EventNotifier
        event = IoEvent()
        try:
            EventNotifier(event)
            assert False
        except RuntimeError as error:
            assert "QApplication" in str(error)
        app = QCoreApplication([])
        notifier = EventNotifier(event, app)
        other = EventNotifier(event)
        shiboken6.delete(app)
        assert event.notify()
        notifier.close()
        other.close()
        """
    )


def test_interpreter_exit_while_threads_notify():
    for _ in range(3):
        qt(
            """
            def work():
                while True:
                    event.notify()
            threading.Thread(target=work, daemon=True).start()
            notifier = EventNotifier(event)
            notifier.notified.connect(lambda: (seen.append(1), event.clear()))
            until(lambda: len(seen) > 10)
            """.replace("\n    ", "\n")
        )


def test_with_widgets():
    if importlib.util.find_spec("PySide6.QtWidgets") is None:
        pytest.skip("PySide6 has no QtWidgets here")
    program(
        """
        from PySide6.QtWidgets import QApplication, QLabel
        from helpers import later
        from wakefd import IoEvent
        from wakefd.qt import EventNotifier
        app, event = QApplication([]), IoEvent()
        label = QLabel("waiting")
        EventNotifier(event, label).notified.connect(lambda: (label.setText("done"), app.quit()))
        label.show()
        thread = later(event.notify)
        app.exec()
        assert label.text() == "done"
        """,
        QT_QPA_PLATFORM="offscreen",
    )


def test_without_a_binding():
    said = without("wakefd.qt", [])
    assert "pip install PySide6" in said


def test_other_bindings_are_found():
    """Of those we have none; their names are enough to see which would be taken."""
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

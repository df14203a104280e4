"""Results of a thread, taken by a slot of Qt (without a screen)."""

import sys
import threading
import time
from collections import deque

from PySide6.QtCore import QCoreApplication

import wakefd
from wakefd.qt import EventNotifier

results: deque[int | None] = deque()
event = wakefd.IoEvent()


def work():
    """In a thread: four results, and the end, also if something fails."""
    try:
        for n in range(4):
            time.sleep(0.01)
            results.append(n * n)  # first the data,
            event.notify()  # then the notification
    finally:
        results.append(None)
        event.notify()


def take():
    """After clear(): print what is here. True at the end."""
    for _ in range(len(results)):
        if (result := results.popleft()) is None:
            return True
        print(result)
    return False


def slot():
    try:
        event.clear()
        if take():
            app.quit()
    except BaseException:  # Qt's loop goes on after a slot that raises
        app.exit(1)
        raise


app = QCoreApplication([])
notifier = EventNotifier(event, app)
notifier.notified.connect(slot)
threading.Thread(target=work).start()
sys.exit(app.exec())

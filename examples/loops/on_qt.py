"""Results of a thread, taken by a slot of Qt (without a screen)."""

import threading
import time
from collections import deque

from PySide6.QtCore import QCoreApplication

import wakefd
from wakefd.qt import EventNotifier

results: deque[int | None] = deque()
event = wakefd.IoEvent()


def work():
    """In a thread: four results, and the end."""
    for n in range(4):
        time.sleep(0.01)
        results.append(n * n)  # first the data,
        event.notify()  # then the notification
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
    event.clear()
    if take():
        app.quit()


app = QCoreApplication([])
notifier = EventNotifier(event, app)
notifier.notified.connect(slot)
threading.Thread(target=work).start()
app.exec()

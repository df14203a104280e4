"""Results of a thread, taken by a selector of your own."""

import selectors
import threading
import time
from collections import deque

import wakefd

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


threading.Thread(target=work).start()
with selectors.DefaultSelector() as selector:
    selector.register(event.fileno(), selectors.EVENT_READ)
    done = False
    while not done:
        selector.select()
        event.clear()
        done = take()
    selector.unregister(event.fileno())

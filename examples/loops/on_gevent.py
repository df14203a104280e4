"""Results of a thread, taken by a greenlet, while another one ticks."""

import threading
import time
from collections import deque

import gevent

import wakefd.gevent

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


def consume():
    while True:
        wakefd.gevent.wait(event)
        event.clear()
        if take():
            return


threading.Thread(target=work).start()
consumer = gevent.spawn(consume)
ticks = 0
while not consumer.ready():
    gevent.sleep(0.001)
    ticks += 1
assert ticks > 3

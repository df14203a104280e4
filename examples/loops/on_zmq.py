"""Results of a thread, taken beside the sockets of a ZeroMQ poller."""

import threading
import time
from collections import deque

import zmq

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


poller = zmq.Poller()
poller.register(event.fileno(), zmq.POLLIN)
threading.Thread(target=work).start()
done = False
while not done:
    if event.fileno() in dict(poller.poll()):
        event.clear()
        done = take()

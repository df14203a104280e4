"""Results of a thread, taken by a coroutine on the IOLoop of Tornado, which is asyncio."""

import threading
import time
from collections import deque

from tornado.ioloop import IOLoop

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


async def main():
    threading.Thread(target=work).start()
    async for _ in event:
        if take():
            break


IOLoop(make_current=False).run_sync(main)

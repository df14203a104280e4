"""Results of a thread, taken by a callback of Tk."""

import threading
import time
import tkinter as tk
from collections import deque

import wakefd
from wakefd.tk import watch

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


def callback():
    try:
        event.clear()
        if take():
            root.destroy()
    except BaseException:  # Tk's loop goes on after a callback that raises
        root.destroy()
        raise


root = tk.Tk()
watch(root, event, callback)
threading.Thread(target=work).start()
root.mainloop()

"""A front end in tkinter that drives a trio nursery in another thread.

Both loops are left as they are: Tk's has the main thread, trio's has one of its own. The window
starts and cancels tasks through a portal; the tasks report through a deque, and an event that the
window watches.

    python examples/tk_and_trio.py
    python examples/tk_and_trio.py --demo    # presses its own buttons, and ends
"""

import sys
import threading
import tkinter as tk
from collections import deque
from concurrent.futures import Future
from functools import partial

import trio

import wakefd
import wakefd.tk


class Backend:
    """What runs in trio's thread."""

    def __init__(self) -> None:
        self.ready: Future[wakefd.Portal] = Future()
        self.reports: deque[tuple[int, str] | None] = deque()  # None: the backend has ended
        self.reported = wakefd.IoEvent()

    def run(self) -> None:
        """Run trio; if it fails, tell whoever waits for the portal, and the window."""
        try:
            trio.run(self.serve)
        except BaseException as error:
            if not self.ready.done():
                self.ready.set_exception(error)
            raise
        finally:
            self.report(None)

    async def serve(self) -> None:
        self.stop = trio.Event()
        async with trio.open_nursery() as self.nursery:
            # The end of this block waits for the calls; that of the nursery for the tasks.
            async with wakefd.Portal() as portal:
                self.ready.set_result(portal)
                await self.stop.wait()
            self.nursery.cancel_scope.cancel()

    def start(self, number: int, seconds: float, scope: trio.CancelScope) -> None:
        self.nursery.start_soon(self.count, number, seconds, scope)

    async def count(self, number: int, seconds: float, scope: trio.CancelScope) -> None:
        with scope:
            for left in range(3, 0, -1):
                self.report((number, f"{left} left"))
                await trio.sleep(seconds)
        self.report((number, "cancelled" if scope.cancelled_caught else "finished"))

    def report(self, report: tuple[int, str] | None) -> None:
        self.reports.append(report)  # first the data,
        self.reported.notify()  # then the notification


class Window:
    """What runs in Tk's thread. No method of it blocks."""

    def __init__(self, root: tk.Tk, backend: Backend, seconds: float) -> None:
        self.root, self.backend, self.seconds = root, backend, seconds
        self.portal = backend.ready.result()
        self.lines: dict[int, tk.StringVar] = {}
        self.scopes: list[trio.CancelScope] = []
        tk.Button(root, text="start a task", command=self.start).pack()
        wakefd.tk.watch(root, backend.reported, self.look)

    def start(self) -> None:
        number = len(self.lines)
        line = self.lines[number] = tk.StringVar(self.root, value="...")
        row = tk.Frame(self.root)
        row.pack()
        tk.Label(row, textvariable=line, width=20).pack(side="left")
        self.scopes.append(trio.CancelScope())
        self.portal.call_soon(self.backend.start, number, self.seconds, self.scopes[number])
        tk.Button(row, text="cancel", command=partial(self.cancel, number)).pack(side="left")

    def cancel(self, number: int) -> None:
        self.portal.call_soon(self.scopes[number].cancel)

    def look(self) -> None:
        self.backend.reported.clear()
        for _ in range(len(self.backend.reports)):
            if (report := self.backend.reports.popleft()) is None:
                self.root.destroy()
                return
            number, text = report
            self.lines[number].set(text)
            print(f"task {number}: {text}")


def main(demo: bool) -> None:
    backend = Backend()
    threading.Thread(target=backend.run).start()
    try:
        root = tk.Tk()
        window = Window(root, backend, seconds=0.2 if demo else 1.0)
        if demo:
            window.start()
            window.start()
            root.after(300, window.cancel, 1)
            root.after(1500, root.destroy)
        root.mainloop()
    finally:
        # The interpreter waits for the thread.
        backend.ready.result().call_soon(backend.stop.set)


if __name__ == "__main__":
    main(demo="--demo" in sys.argv[1:])

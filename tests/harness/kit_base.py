"""The base class of all kits."""

import select
from contextlib import asynccontextmanager

from helpers import PATIENCE, Thread, waiting

CANCELLED = "cancelled"


class Kit:
    name: str
    lacks = ()  # the abilities that kits.py takes away
    is_asyncio = False
    leaks = 0  # descriptors of its own that the loop does not close at its end

    in_a_forked_child = "refuses"  # the parent's loop, if a task waits there; or "works", "either"

    def __repr__(self):
        return self.name

    def can(self, *what):
        return not {*self.lacks} & {*what}

    def play(self, steps):
        """Run the asynchronous functions in order, and end the loop."""

        async def main():
            for step in steps:
                await step()

        self.run(main, 4 * PATIENCE)

    def after_fork(self):
        """Do what the library asks for in the child of a fork."""

    def notified(self, event):
        return event.notified()

    def waits(self, event):
        """Return the number of tasks that wait for the event."""
        return waiting(event)

    async def waiting(self, event, count):
        """Wait until `count` tasks wait for the event."""
        async with self.patient(f"{count} waiters of {event}"):
            while self.waits(event) != count:
                await self.sleep(0.0005)

    async def turn(self):
        await self.sleep(0)

    @asynccontextmanager
    async def patient(self, what="it"):
        async with self.move_on_after(PATIENCE) as scope:
            yield
        assert not scope.expired, f"waited in vain for {what}"

    def watch(self, fd, callback):
        """Call the callback again and again while the descriptor is readable, until stopped.

        Where the loop itself cannot, or is ours to begin with: a selector in another thread.
        """
        stopped = []

        def look():
            while not stopped:
                if select.select([fd], [], [], 0.005)[0]:
                    callback()

        thread = Thread(look)

        def stop():
            stopped.append(True)
            thread.finish()

        return stop


class Scope:
    expired = False

"""Scenes of life and death on every kind of loop: the loop begins, a task waits, the loop ends.

A scene is a generator that a fresh loop of a kit plays. `yield condition` runs the loop until the
condition is true; `yield wait` runs the loop, and lets it sleep, until that wait is over. A wait
that goes on at the end of the scene is left behind.
"""

import os
import shutil
import threading
from contextlib import contextmanager
from functools import partial

import pytest

import kits
from helpers import Thread, screen
from wakefd import ClosedResourceError

TICK = 0.001

# One kit of each kind of loop. "poll" stands for the user's selectors on `fileno()`, of whose waits
# an event knows nothing.
LIVES = (
    "asyncio",
    "asyncio-future",
    "uvloop",
    "asyncio-thread",
    "trio",
    "gevent",
    "twisted-epoll",
    "qt-glib",
    "tk",
    "threads",
    "poll",
)


class Wait:
    """A task that waits for an event."""

    outcome = None  # True when it was released, or the exception that has ended the wait
    task = None

    @property
    def over(self):
        return self.outcome is not None


class Life:
    """The loop of a kit, as a scene sees it."""

    def __init__(self, kit):
        self.kit = kit

    def wait(self, event):
        wait = Wait()
        wait.task = self.kit.spawn(self._waited, event, wait)
        return wait

    async def _waited(self, event, wait):
        try:
            await self.kit.notified(event)
        except (ClosedResourceError, OSError, RuntimeError) as error:
            wait.outcome = error  # no other: a coroutine that is thrown away gets GeneratorExit
        else:
            wait.outcome = True

    def cancel(self, wait):
        wait.task.cancel()

    def begun(self, event, count=1):
        """Return a condition: that many tasks wait for the event."""
        return lambda: self.kit.waits(event) == count

    def steps(self, scene, args):
        """Yield the steps of the scene as asynchronous functions, which the kit runs in order."""
        for what in scene(self, *args):
            yield partial(self._until, what)

    async def _until(self, what):
        if isinstance(what, Wait):
            await what.task.join()
            assert what.over, "the task was cancelled"
            return
        async with self.kit.patient("the scene to go on"):
            while not what():
                await self.kit.sleep(TICK)


def play(name, scene, *args):
    """Play the scene on a new loop, in this thread if loops of that kind end there."""
    in_main_thread = threading.current_thread() is threading.main_thread()
    if in_main_thread and name in kits.ENDLESS_IN_MAIN_THREAD:
        Thread(play_here, name, scene, *args).finish()
    else:
        play_here(name, scene, *args)


def play_here(name, scene, *args):
    """Play the scene on a new loop in this thread."""
    life = Life(kits.kit(name))
    life.kit.play(life.steps(scene, args))


def every(*but, only=LIVES):
    """Parametrize a test over all loops but some."""
    no_screen = "DISPLAY" not in os.environ and shutil.which("Xvfb") is None
    skip = pytest.mark.skipif(no_screen, reason="no DISPLAY, and no Xvfb to make one")
    return pytest.mark.parametrize(
        "name",
        [
            pytest.param(name, marks=skip if name == "tk" else ())
            for name in only
            if name not in but
        ],
    )


@contextmanager
def on_a_screen():
    """Give this process and its children a display, if there is one."""
    if "DISPLAY" in os.environ or shutil.which("Xvfb") is None:
        yield
        return
    with screen() as number:
        os.environ["DISPLAY"] = number
        try:
            yield
        finally:
            del os.environ["DISPLAY"]


def wakes_up(life, event):
    """A scene: a thread wakes a task that waits."""
    event.clear()
    wait = life.wait(event)
    yield life.begun(event)
    thread = Thread(event.notify)
    yield wait
    thread.finish()
    assert wait.outcome is True, wait.outcome
    event.clear()


def works(name, event):
    """Assert that a new loop of this kind wakes up."""
    play(name, wakes_up, event)

"""Loops that are asyncio underneath, and pollers: each in a program of its own."""

import importlib.util

import pytest

from helpers import program

# What each loop of asyncio's kind must do; `start(main)` runs it.
SCENE = """
import asyncio, gc, os, sys, time
from helpers import Thread, fds, later, waiting
from wakefd import ClosedResourceError, IoEvent, any_notified

async def main():
    event = IoEvent()
    event.notify()
    await event.notified()
    event.clear()

    thread = later(event.notify)
    await asyncio.wait_for(event.notified(), 20)
    event.clear()
    thread.finish()

    tasks = [asyncio.ensure_future(event.notified()) for _ in range(10)]
    while waiting(event) < 10:
        await asyncio.sleep(0.001)
    event.notify()
    event.clear()
    await asyncio.wait_for(asyncio.gather(*tasks), 20)

    try:
        await asyncio.wait_for(event.notified(), 0.02)
        assert False
    except asyncio.TimeoutError:
        pass
    assert waiting(event) == 0

    events = [IoEvent() for _ in range(1000)]
    tasks = [asyncio.ensure_future(event.notified()) for event in events]
    while not all(map(waiting, events)):
        await asyncio.sleep(0.001)
    thread = Thread(lambda: [event.notify() for event in events])
    await asyncio.wait_for(asyncio.gather(*tasks), 20)
    thread.finish()

    items, seen = [], 0
    def work():
        for n in range(1000):
            items.append(n)
            event.notify()
    threads = [Thread(work) for _ in range(3)]
    async for _ in event:
        for _ in range(len(items)):
            items.pop()
            seen += 1
        if seen == 3000:
            break
    for thread in threads:
        thread.finish()
    event.clear()

    other = IoEvent()
    thread = later(other.notify)
    assert await asyncio.wait_for(any_notified(event, other), 20) == [other]
    thread.finish()

    task = asyncio.ensure_future(event.notified())
    while not waiting(event):
        await asyncio.sleep(0.001)
    thread = Thread(event.close)
    try:
        await asyncio.wait_for(task, 20)
        assert False
    except ClosedResourceError:
        pass
    thread.finish()
    print("done")
"""


def need(module):
    try:
        found = importlib.util.find_spec(module)
    except ModuleNotFoundError:  # nor its parent
        found = None
    if found is None:
        pytest.skip(f"{module} is not installed")


def scene(start, **environment):
    # QtAsyncio prints each exception that a task ends with.
    assert program(SCENE + start, **environment).endswith("done\n")


def test_rloop():
    need("rloop")
    scene(
        """
import warnings
import rloop
warnings.simplefilter("ignore", ResourceWarning)  # its own self-pipe
loop = rloop.new_event_loop()
assert not isinstance(loop, asyncio.BaseEventLoop)
loop.run_until_complete(main())
loop.close()
"""
    )


def test_tornado():
    need("tornado")
    scene(
        """
from tornado.ioloop import IOLoop
loop = IOLoop(make_current=False)
loop.run_sync(main, timeout=30)
loop.close()
"""
    )


def test_tornado_add_handler_on_fileno():
    need("tornado")
    program(
        """
        from tornado.ioloop import IOLoop
        from helpers import later
        from wakefd import IoEvent
        event, seen, loop = IoEvent(), [], IOLoop(make_current=False)

        def readable(fd, events):
            seen.append(event.clear())
            if len(seen) == 3:
                loop.stop()
            else:
                event.notify()

        loop.add_handler(event.fileno(), readable, loop.READ)
        thread = later(event.notify)
        loop.start()
        thread.finish()
        loop.remove_handler(event.fileno())
        loop.close()
        assert seen == [True] * 3
        """
    )


def test_qtasyncio():
    """It has no add_reader: the selector thread serves it."""
    need("PySide6.QtAsyncio")  # in PySide6-Addons, which is large
    scene(
        """
from PySide6.QtCore import QCoreApplication
import PySide6.QtAsyncio as QtAsyncio
app = QCoreApplication([])
QtAsyncio.run(main(), keep_running=False)
import threading
assert [thread for thread in threading.enumerate() if thread.name == "wakefd selector"]
""",
        QT_QPA_PLATFORM="offscreen",
    )


@pytest.mark.parametrize("green", [False, True], ids=["plain", "asyncio"])
def test_zmq_pollers(green):
    need("zmq")
    program(
        """
        import asyncio, sys, zmq, zmq.asyncio
        from helpers import later
        from wakefd import IoEvent
        event, context = IoEvent(), zmq.Context()
        left, right = context.socket(zmq.PAIR), context.socket(zmq.PAIR)
        left.bind("inproc://x")
        right.connect("inproc://x")

        def check(found, thread):
            thread.finish()
            assert found == {event.fileno(): zmq.POLLIN}, found
            assert event.clear()

        if sys.argv[1] == "True":
            async def main():
                poller = zmq.asyncio.Poller()
                poller.register(event.fileno(), zmq.POLLIN)
                for _ in range(3):
                    thread = later(event.notify)
                    check(dict(await poller.poll(20000)), thread)
                assert await poller.poll(10) == []
                # And beside our own wait on the same loop.
                thread = later(event.notify)
                found, _ = await asyncio.gather(poller.poll(20000), event.notified())
                check(dict(found), thread)
            asyncio.run(main())
        else:
            poller = zmq.Poller()
            poller.register(event.fileno(), zmq.POLLIN)
            poller.register(left, zmq.POLLIN)
            for _ in range(3):
                thread = later(event.notify)
                check(dict(poller.poll(20000)), thread)
            assert poller.poll(10) == []
            right.send(b"x")
            assert dict(poller.poll(20000)) == {left: zmq.POLLIN}
        left.close()
        right.close()
        context.term()
        """,
        str(green),
    )

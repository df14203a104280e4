"""Tests of loops and pollers that have no kit: QtAsyncio, Tornado's handlers, pyzmq's pollers."""

import asyncio
import importlib.util
import os
import threading

import pytest

from helpers import Thread, later, run_child, waiting
from wakefd import ClosedResourceError, IoEvent, any_notified


def need(module):
    try:
        found = importlib.util.find_spec(module)
    except ModuleNotFoundError:  # the parent package is missing, too
        found = None
    if found is None:
        pytest.skip(f"{module} is not installed")


async def waits_of_every_kind():
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

    with pytest.raises(asyncio.TimeoutError):
        await asyncio.wait_for(event.notified(), 0.02)
    assert waiting(event) == 0

    events = [IoEvent() for _ in range(1000)]
    tasks = [asyncio.ensure_future(each.notified()) for each in events]
    while not all(map(waiting, events)):
        await asyncio.sleep(0.001)
    thread = Thread(lambda: [each.notify() for each in events])
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
    with pytest.raises(ClosedResourceError):
        await asyncio.wait_for(task, 20)
    thread.finish()
    print("done")


def test_the_selector_thread_serves_qtasyncio_which_has_no_add_reader():
    need("PySide6.QtAsyncio")  # part of PySide6-Addons, which is large
    # QtAsyncio only prints the exception that a task ends with, so the last line has to be "done".
    assert run_child("test_other_loops", "on_qtasyncio").stdout.endswith("done\n")


def on_qtasyncio():
    os.environ["QT_QPA_PLATFORM"] = "offscreen"
    from PySide6 import QtAsyncio
    from PySide6.QtCore import QCoreApplication

    _app = QCoreApplication([])
    QtAsyncio.run(waits_of_every_kind(), keep_running=False)
    assert [thread for thread in threading.enumerate() if thread.name == "wakefd selector"]


def test_tornados_add_handler_can_watch_fileno():
    need("tornado")
    from tornado.ioloop import IOLoop

    event, seen, loop = IoEvent(), [], IOLoop(make_current=False)

    def readable(fd, events):
        seen.append(event.clear())
        if len(seen) == 3:
            loop.stop()
        else:
            event.notify()

    loop.add_handler(event.fileno(), readable, loop.READ)
    loop.call_later(20, loop.stop)
    thread = later(event.notify)
    loop.start()
    thread.finish()
    loop.remove_handler(event.fileno())
    loop.close()
    assert seen == [True] * 3


def checked(event, found, thread):
    import zmq

    thread.finish()
    assert found == {event.fileno(): zmq.POLLIN}
    assert event.clear()


def test_zmqs_poller_can_watch_an_event_beside_a_socket(event):
    need("zmq")
    import zmq

    context = zmq.Context()
    left, right = context.socket(zmq.PAIR), context.socket(zmq.PAIR)
    left.bind("inproc://x")
    right.connect("inproc://x")
    poller = zmq.Poller()
    poller.register(event.fileno(), zmq.POLLIN)
    poller.register(left, zmq.POLLIN)
    for _ in range(3):
        thread = later(event.notify)
        checked(event, dict(poller.poll(20000)), thread)
    assert poller.poll(10) == []
    right.send(b"x")
    assert dict(poller.poll(20000)) == {left: zmq.POLLIN}
    left.close()
    right.close()
    context.term()


def test_zmqs_asyncio_poller_can_watch_an_event_beside_a_wait(event):
    need("zmq")
    import zmq.asyncio

    async def main():
        poller = zmq.asyncio.Poller()
        poller.register(event.fileno(), zmq.POLLIN)
        for _ in range(3):
            thread = later(event.notify)
            checked(event, dict(await poller.poll(20000)), thread)
        assert await poller.poll(10) == []
        thread = later(event.notify)
        found, _ = await asyncio.gather(poller.poll(20000), event.notified())
        checked(event, dict(found), thread)

    asyncio.run(main())

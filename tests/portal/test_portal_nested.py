"""A portal's other calls go on while one of args calls runs a nested loop inside the loop.

The nested loops are real: nest_asyncio's, and Qt's under QtAsyncio and qasync, as a modal dialog
runs one. Each changes args process for good, so each test runs in a fresh interpreter.
"""

import asyncio
import sys
import threading

import pytest

import wakefd
from helpers import PATIENCE, Thread, in_child, until
from kit_asyncio import ThreadedLoop, UnknownLoop
from wakefd import IoEvent, Portal, any_notified


class Nest:
    """nest_asyncio runs the loop inside a callback with `run_until_complete`."""

    def __init__(self, loop_class):
        self.loop_class = loop_class

    def run(self, main):
        import nest_asyncio

        # nest_asyncio patches the class of the loop, so each test makes a class of its own.
        self.loop = type("Loop", (self.loop_class,), {})()
        asyncio.set_event_loop(self.loop)
        nest_asyncio.apply(self.loop)
        try:
            return self.loop.run_until_complete(asyncio.wait_for(main(), PATIENCE))
        finally:
            self.loop.close()

    def nested(self, condition):
        async def come():
            while not condition():
                await asyncio.sleep(0.001)

        self.loop.run_until_complete(asyncio.wait_for(come(), PATIENCE))


class NestBelow(Nest):
    """nest_asyncio has patched asyncio's own class before; the class of the loop inherits that."""

    def run(self, main):
        import nest_asyncio

        base = asyncio.SelectorEventLoop()
        nest_asyncio.apply(base)
        base.close()
        return super().run(main)


class Dialog:
    """A modal dialog runs a QEventLoop inside a callback."""

    def nested(self, condition):
        from PySide6.QtCore import QEventLoop, QTimer

        loop, timer, limit = QEventLoop(), QTimer(), []
        timer.timeout.connect(lambda: condition() and loop.quit())
        timer.start(1)
        QTimer.singleShot(int(PATIENCE * 1000), lambda: (limit.append(True), loop.quit()))
        loop.exec()
        assert not limit


class QtAsyncio(Dialog):
    def run(self, main):
        from PySide6 import QtAsyncio, QtCore

        app = QtCore.QCoreApplication([])
        asyncio.set_event_loop_policy(QtAsyncio.QAsyncioEventLoopPolicy())
        loop = asyncio.new_event_loop()
        try:
            return loop.run_until_complete(asyncio.wait_for(main(), PATIENCE))
        finally:
            loop.close()
            del app


class Qasync(Dialog):
    def run(self, main):
        import PySide6.QtCore  # noqa: F401 - qasync takes the Qt binding that is imported
        import qasync
        from PySide6.QtCore import QCoreApplication

        loop = qasync.QEventLoop(QCoreApplication([]))
        asyncio.set_event_loop(loop)
        with loop:
            return loop.run_until_complete(asyncio.wait_for(main(), PATIENCE))


KINDS = {
    "asyncio": Nest(asyncio.SelectorEventLoop),
    "selector-loop": Nest(wakefd.SelectorEventLoop),
    "selector-loop-patched-below": NestBelow(wakefd.SelectorEventLoop),
    "future": Nest(UnknownLoop),
    "thread": Nest(ThreadedLoop),
    "qtasyncio": QtAsyncio(),
    "qasync": Qasync(),
}
BINDINGS = {"qtasyncio": "PySide6.QtAsyncio", "qasync": "qasync"}


@pytest.fixture(params=KINDS)
def name(request):
    if request.param in BINDINGS:
        pytest.importorskip("PySide6.QtCore")
        pytest.importorskip(BINDINGS[request.param])
    return request.param


@in_child
def test_calls_that_were_accepted_run_in_a_nested_loop(name):
    """All later calls of the portal waited until the nested loop had ended."""
    nested, seen = KINDS[name].nested, []

    async def main():
        portal = Portal()

        async def task():
            await asyncio.sleep(0)
            seen.append("task")

        def call():
            thread = Thread(work)
            nested(lambda: "task" in seen and 4 in seen)
            thread.finish()
            seen.append("outer")

        def work():
            portal.call_soon(seen.append, 3)
            portal.submit(seen.append, 4)
            assert portal.run(lambda: 5) == 5

        portal.call_soon(call)  # in one batch with the next calls
        portal.call_soon(seen.append, 1)
        portal.submit(task)
        portal.call_soon(seen.append, 2)
        while "outer" not in seen:
            await asyncio.sleep(0.001)

    KINDS[name].run(main)
    assert [entry for entry in seen if entry != "task"] == [1, 2, 3, 4, "outer"]


@in_child
def test_calls_made_one_by_one_run_in_a_nested_loop(name):
    """The inbox is empty when the nested loop begins."""
    nested, seen = KINDS[name].nested, []

    async def main():
        portal = Portal()

        def call():
            thread = Thread(work)
            nested(lambda: len(seen) == 100)
            thread.finish()
            seen.append("outer")

        def work():
            for n in range(100):
                portal.call_soon(seen.append, n)
                if n % 3 == 0:
                    until(lambda n=n: n in seen)

        portal.call_soon(call)
        while "outer" not in seen:
            await asyncio.sleep(0.001)

    KINDS[name].run(main)
    assert seen == [*range(100), "outer"]


@in_child
def test_each_call_may_run_a_nested_loop_inside_the_one_before(name):
    nested, seen = KINDS[name].nested, []

    async def main():
        portal = Portal()

        def call(depth):
            if depth < 5:
                nested(lambda: depth + 1 in seen)
            seen.append(depth)

        def work():
            for depth in range(6):
                portal.call_soon(call, depth)

        Thread(work).finish()
        while len(seen) < 6:
            await asyncio.sleep(0.001)

    KINDS[name].run(main)
    assert seen == [5, 4, 3, 2, 1, 0]


@in_child
def test_a_flood_of_calls_in_a_nested_loop_leaves_other_tasks_their_turns(name):
    nested, seen, ticks, stop = KINDS[name].nested, [], [], []

    async def ticker():
        while not stop:
            ticks.append(len(seen))
            await asyncio.sleep(0)

    async def main():
        portal = Portal()
        tick = asyncio.ensure_future(ticker())

        def again(n):
            seen.append(n)
            if not stop:
                portal.call_soon(again, n + 1)

        def call():
            nested(lambda: len(ticks) > 20 and len(seen) > 20)
            seen.append("outer")
            stop.append(True)

        portal.call_soon(call)
        portal.call_soon(again, 0)
        while "outer" not in seen:
            await asyncio.sleep(0)
        await tick

    KINDS[name].run(main)
    numbers = [entry for entry in seen if entry != "outer"]
    assert numbers == [*range(len(numbers))]


@in_child
def test_the_end_of_a_portal_closed_in_a_nested_loop_waits_for_the_outer_call(name):
    """The portal does not spin while it waits for the outer call."""
    nested, seen, looks = KINDS[name].nested, [], []

    async def main():
        portal = Portal()
        rest = portal._runner.rest
        portal._runner.rest = lambda: looks.append(portal._inbox.quiet) or rest()

        async def end():
            async with portal:
                pass
            seen.append("ended")

        def call():
            portal.call_soon(seen.append, "inner")
            portal.submit(lambda: ends.append(asyncio.ensure_future(end())))
            nested(lambda: portal.closed and "inner" in seen)
            done = IoEvent()
            timer = threading.Timer(0.05, done.notify)
            timer.start()
            nested(done.is_set)
            seen.append("outer")

        ends = []
        portal.call_soon(call)
        while not ends:
            await asyncio.sleep(0.001)
        await ends[0]
        assert portal._inbox.quiet

    KINDS[name].run(main)
    assert seen == ["inner", "outer", "ended"]
    assert len(looks) < 10


@in_child
def test_exceptions_in_a_nested_loop_reach_their_own_calls(name):
    nested, seen = KINDS[name].nested, []

    async def main():
        portal = Portal()
        loop = asyncio.get_running_loop()
        loop.set_exception_handler(lambda *args: seen.append(type(args[-1]["exception"])))

        def fail():
            raise KeyError("inner")

        def call():
            nested(lambda: failed.done() and "after" in seen)
            raise ValueError("outer")

        outer = portal.submit(call)
        portal.call_soon(fail)
        failed = portal.submit(fail)
        portal.call_soon(seen.append, "after")
        while not outer.done():
            await asyncio.sleep(0.001)
        assert isinstance(failed.exception(0), KeyError)
        assert isinstance(outer.exception(0), ValueError)
        assert portal.submit(int).cancel()

    KINDS[name].run(main)
    assert seen == [KeyError, "after"]


@in_child
def test_call_soon_threadsafe_and_waits_for_events_go_on_in_a_nested_loop(name):
    """A nested loop serves threads and events in the same way without a portal."""
    nested, seen = KINDS[name].nested, []

    async def main():
        loop, event, other = asyncio.get_running_loop(), IoEvent(), IoEvent()

        async def wait(which):
            await which.notified()
            seen.append("event")

        async def wait_any():
            await any_notified(event, other)
            seen.append("any")

        tasks = [asyncio.ensure_future(wait(event)), asyncio.ensure_future(wait_any())]
        await asyncio.sleep(0.001)

        def call():
            thread = Thread(work)
            nested(lambda: {1, 2, "event", "any"} <= {*seen})
            thread.finish()
            seen.append("outer")

        def work():
            loop.call_soon_threadsafe(seen.append, 2)
            event.notify()

        def batch():
            loop.call_soon_threadsafe(call)
            loop.call_soon_threadsafe(seen.append, 1)

        Thread(batch).finish()
        while "outer" not in seen:
            await asyncio.sleep(0.001)
        for task in tasks:
            await task

    KINDS[name].run(main)
    assert seen[-1] == "outer"


if sys.platform == "linux":

    @in_child
    def test_portal_run_inside_a_nested_loop_is_refused(name):
        nested, seen = KINDS[name].nested, []

        async def main():
            portal = Portal()

            def inner():
                with pytest.raises(RuntimeError, match="this thread runs the portal's own loop"):
                    portal.run(int)
                seen.append("refused")

            def call():
                nested(lambda: "refused" in seen)
                seen.append("outer")

            portal.call_soon(call)
            portal.call_soon(inner)
            while "outer" not in seen:
                await asyncio.sleep(0.001)

        KINDS[name].run(main)
        assert seen == ["refused", "outer"]

"""A thread may block in `Portal.run` and `start_task` unless it runs the portal's loop just now."""

import asyncio
import threading
from contextlib import contextmanager

import pytest

from helpers import PATIENCE, Thread, until
from wakefd import Portal

METHODS = pytest.mark.parametrize("method", ["run", "start_task"])
EVERYWHERE = pytest.mark.needs("await")


def ready(task_status=None):
    if task_status is not None:
        task_status.started()

    async def done():
        return threading.get_ident()

    return done()


async def make_portal():
    return Portal()


@contextmanager
def running(loop):
    thread = Thread(loop.run_forever)
    try:
        yield thread
    finally:
        loop.call_soon_threadsafe(loop.stop)
        thread.finish()


def refused(portal, method):
    with pytest.raises(RuntimeError, match="this thread runs the portal's own loop"):
        getattr(portal, method)(ready)
    return True


@METHODS
@EVERYWHERE
def test_the_thread_that_made_the_portal_may_block_while_another_runs_the_loop(aio, method):
    """Portal.run raised RuntimeError here, and was a deadlock in the thread that ran the loop."""
    loop = aio.new_loop()
    portal = loop.run_until_complete(make_portal())
    portal.submit(int)
    loop.run_until_complete(asyncio.sleep(0.001))  # the loop has run calls in this thread
    with running(loop):
        for _ in range(2):
            result = Thread(getattr(portal, method), ready).finish()
            assert (result if method == "run" else result[0].result(PATIENCE)) != 0
            result = getattr(portal, method)(ready)
            ran = result if method == "run" else result[0].result(PATIENCE)
            assert ran != threading.get_ident()
            assert portal.submit(refused, portal, method).result(PATIENCE)

            async def in_a_task():
                return refused(portal, method)

            assert asyncio.run_coroutine_threadsafe(in_a_task(), loop).result(PATIENCE)
    loop.close()


@METHODS
@EVERYWHERE
def test_a_thread_may_block_before_another_thread_runs_the_loop(aio, method):
    """The call waits until some thread runs the loop."""
    loop = aio.new_loop()
    portal = loop.run_until_complete(make_portal())
    go = threading.Event()

    def run():
        assert go.wait(PATIENCE)
        loop.run_forever()

    thread = Thread(run)

    def open_the_gate():
        until(lambda: portal._inbox.size)
        go.set()

    gate = Thread(open_the_gate)
    getattr(portal, method)(ready)  # in the thread that made the portal
    gate.finish()
    loop.call_soon_threadsafe(loop.stop)
    thread.finish()
    loop.close()


@METHODS
@EVERYWHERE
async def test_a_loop_that_runs_inside_the_portals_loop_must_not_block(aio, method):
    portal = Portal()

    async def inner():
        return refused(portal, method)

    def nested():
        outer = asyncio._get_running_loop()
        asyncio._set_running_loop(None)
        loop = aio.new_loop()
        try:
            return loop.run_until_complete(inner())
        finally:
            loop.close()
            asyncio._set_running_loop(outer)

    future = portal.submit(nested)
    async with aio.patient("the nested loop"):
        while not future.done():
            await asyncio.sleep(0.001)
    assert future.result(0)


@METHODS
@EVERYWHERE
def test_trio_inside_the_portals_asyncio_loop_must_not_block(aio, method):
    import trio

    async def outer():
        portal = Portal()

        async def inner():
            return refused(portal, method) and refused(Portal(), method)

        return trio.run(inner)

    # In the main thread, both loops would handle signals.
    assert Thread(aio.run, outer).finish()


@METHODS
def test_asyncio_inside_the_portals_trio_loop_must_not_block(method):
    import trio

    async def inside(portal):
        return refused(portal, method)

    async def main():
        portal = Portal()

        def work():
            return portal.run(lambda: asyncio.run(inside(portal)))

        assert asyncio.run(inside(portal))
        assert await trio.to_thread.run_sync(work)

    trio.run(main)


@METHODS
def test_the_host_of_a_trio_guest_must_not_block_for_its_guest(method):
    import trio

    async def guest(portals, done):
        refused(portals[0], method)  # the portal of the host
        portals.append(Portal())
        refused(portals[1], method)
        await trio.to_thread.run_sync(getattr(portals[1], method), ready)
        with trio.fail_after(PATIENCE):
            while not done:
                await trio.sleep(0.001)

    async def host():
        loop, ended = asyncio.get_running_loop(), asyncio.get_running_loop().create_future()
        portals, done = [Portal()], []
        trio.lowlevel.start_guest_run(
            guest,
            portals,
            done,
            run_sync_soon_threadsafe=loop.call_soon_threadsafe,
            done_callback=ended.set_result,
        )
        async with asyncio.timeout(PATIENCE):
            while len(portals) < 2:
                await asyncio.sleep(0)
            refused(portals[1], method)
            done.append(True)
            (await ended).unwrap()

    asyncio.run(host())


@METHODS
@EVERYWHERE
async def test_another_loop_in_another_thread_may_block(kit, method):
    portal = Portal()

    async def other():
        return getattr(portal, method)(ready)

    thread = Thread(asyncio.run, other())
    async with kit.patient(thread):
        while thread.is_alive():
            await kit.sleep(0.001)
    thread.finish()

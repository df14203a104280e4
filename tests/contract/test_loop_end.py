"""Tests of the end of a run.

The loop finalizes asynchronous generators there, and a wait in a finalizer works as before.
"""

import asyncio
import gc
import threading

import pytest

import kits
from helpers import PATIENCE, Thread, fds, later
from wakefd import (
    ByteQueue,
    ClosedResourceError,
    IoEvent,
    Portal,
    Queue,
    QueueShutDown,
    any_notified,
)

pytestmark = pytest.mark.needs("await", "finalize")


async def notified():
    event = IoEvent()
    thread = later(event.notify)
    await event.notified()
    thread.finish()


async def any_of_them():
    events = [IoEvent(), IoEvent()]
    thread = later(events[1].notify)
    assert await any_notified(*events) == events[1:]
    thread.finish()


async def closed():
    event = IoEvent()
    thread = later(event.close)
    with pytest.raises(ClosedResourceError, match="this event is closed"):
        await event.notified()
    thread.finish()


async def got():
    queue = Queue()
    thread = later(lambda: queue.put(1))
    assert await queue.async_get() == 1
    thread.finish()


async def put():
    queue = Queue(1)
    queue.put(1)
    thread = later(queue.get)
    await queue.async_put(2)
    thread.finish()


async def bytes_got():
    queue = ByteQueue(1024, 64)
    thread = later(queue.shutdown)
    with pytest.raises(QueueShutDown):
        await queue.async_get()
    thread.finish()


WAITS = [notified, any_of_them, closed, got, put, bytes_got]


def finalized(kit, body, *, before):
    """Run `body` in the finalizer of an asynchronous generator that outlives the main task."""
    kept, outcomes = [], []

    async def generate():
        try:
            yield
        finally:
            try:
                if "trio" not in kit.name:
                    async with asyncio.timeout(PATIENCE):
                        await body()
                else:
                    import trio

                    with trio.CancelScope(shield=True), trio.fail_after(PATIENCE):
                        await body()
            except BaseException as error:
                outcomes.append(error)
                raise
            else:
                outcomes.append(None)

    async def main():
        if before:
            await notified()
        generator = generate()
        kept.append(generator)
        await anext(generator)

    kit.run(main)
    return outcomes


@pytest.mark.parametrize("before", [True, False], ids=["hub", "no hub"])
@pytest.mark.parametrize("wait", WAITS)
def test_a_wait_in_a_finalizer_works_at_the_end_of_the_run(kit, wait, before):
    """The wait raised "RuntimeError: this event loop has been closed", where a sleep worked."""
    assert finalized(kit, wait, before=before) == [None]


@pytest.mark.parametrize("name", ["trio", "trio-guest"])
def test_a_wait_that_is_not_shielded_is_cancelled_at_the_end_of_the_run(name):
    import trio

    kept, outcomes = [], []

    async def generate():
        try:
            yield
        finally:
            for wait in (lambda: trio.sleep(1), IoEvent().notified, Queue().async_get):
                try:
                    await wait()
                except BaseException as error:
                    outcomes.append(type(error))

    async def main():
        await notified()
        kept.append(generate())
        await anext(kept[0])

    kits.kit(name).run(main)
    assert outcomes == [trio.Cancelled] * 3


def test_a_portal_can_end_in_a_finalizer_at_the_end_of_the_run(kit):
    kept, seen = [], []

    async def begin():
        kept.append(Portal())

    async def end():
        async with kept[0]:
            seen.append("body")
        seen.append("ended")

    async def main():
        await begin()

        async def generate():
            try:
                yield
            finally:
                await end()

        kept.append(generate())
        await anext(kept[1])

    kit.run(main)
    assert seen == ["body", "ended"]


def test_an_event_in_a_finalizer_leaves_no_descriptor(kit):
    finalized(kit, notified, before=False)
    before = fds()
    for _ in range(20):
        assert finalized(kit, notified, before=True) == [None]
    assert fds() <= before + 20 * kit.leaks


def test_runs_in_many_threads_leave_no_descriptor():
    kit = kits.kit("trio")

    def run():
        for _ in range(10):
            assert finalized(kit, notified, before=False) == [None]

    def together():
        for thread in [Thread(run) for _ in range(4)]:
            thread.finish()

    together()
    before = fds()
    together()
    assert fds() <= before
    assert threading.active_count() < 50


async def waits_for_one():
    await IoEvent().notified()


async def waits_for_any():
    await any_notified(IoEvent(), IoEvent())


async def gets():
    await Queue().async_get()


async def puts():
    queue = Queue(1)
    queue.put(1)
    await queue.async_put(2)


async def joins():
    queue = Queue()
    queue.put(1)
    await queue.async_join()


async def gets_bytes():
    await ByteQueue(1024, 64).async_get()


async def loops_over_an_event():
    async for _ in IoEvent():
        pass


async def loops_over_a_queue():
    async for _ in Queue():
        pass


async def loops_over_bytes():
    async for _ in ByteQueue(1024, 64):
        pass


async def loops_over_a_generator():
    async def generate():
        async for item in Queue():
            yield item

    async for _ in generate():
        pass


SLEEPS = [
    waits_for_one,
    waits_for_any,
    gets,
    puts,
    joins,
    gets_bytes,
    loops_over_an_event,
    loops_over_a_queue,
    loops_over_bytes,
    loops_over_a_generator,
]


@pytest.mark.parametrize("name", ["asyncio", "uvloop"])
@pytest.mark.parametrize("sleeps", SLEEPS)
def test_a_task_that_outlives_its_loop_gets_generator_exit(sleeps, name):
    """The task got "coroutine already executing" if the coroutine it awaited was older than it."""
    if name == "uvloop":
        loop = pytest.importorskip("uvloop").new_event_loop()
    else:
        loop = asyncio.SelectorEventLoop()
    got = []

    async def outer(inner):
        try:
            await inner
        except BaseException as error:
            got.append(type(error))
            raise

    async def inner_of_its_own():
        await sleeps()

    for inner in (sleeps(), inner_of_its_own()):
        task = loop.create_task(outer(inner))
        task._log_destroy_pending = False
    loop.run_until_complete(asyncio.sleep(0.001))
    loop.close()
    del loop, task, inner
    gc.collect()
    assert got == [GeneratorExit] * 2

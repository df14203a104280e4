"""Tests of context variables on every loop.

What wakefd registers with a loop keeps no context alive, and each task and callback sees its own.
"""

import asyncio
import contextvars
import gc
import weakref

import pytest

import kits
import wakefd
from helpers import PATIENCE, Thread, in_child, later
from kit_asyncio import ThreadedLoop
from wakefd import ByteQueue, IoEvent, Portal, Queue, any_notified, wrap_future

EVERYWHERE = pytest.mark.needs("await")

variable = contextvars.ContextVar("variable", default=None)


class Value:
    """The value of a context variable, watched by a weakref."""


async def notified():
    event = IoEvent()
    thread = later(event.notify, 0.001)
    await event.notified()
    thread.finish()


async def any_of_them():
    event = IoEvent()
    thread = later(event.notify, 0.001)
    await any_notified(event, IoEvent())
    thread.finish()


async def got():
    queue = Queue()
    thread = later(lambda: queue.put(1), 0.001)
    assert await queue.async_get() == 1
    thread.finish()


async def bytes_got():
    queue = ByteQueue(1024, 64)
    thread = later(queue.shutdown, 0.001)
    with pytest.raises(wakefd.QueueShutDown):
        await queue.async_get()
    thread.finish()


async def at_once():
    event = IoEvent()
    event.notify()
    for _ in range(200):
        await event.notified()


kept = []


async def portal():
    portal = Portal()
    kept.append(portal)  # the portal stays open after the task
    portal.call_soon(int)
    await wrap_future(portal.submit(notified))


async def closed_portal():
    async with Portal() as portal:
        portal.call_soon(int)
        portal.submit(notified)


async def wait_with_a_value(wait, values):
    """Wait with a value in the context that only the context refers to; append a weak reference."""
    value = Value()
    values.append(weakref.ref(value))
    variable.set(value)
    del value
    await wait()


WAITS = [notified, any_of_them, got, bytes_got, at_once, portal, closed_portal]


@EVERYWHERE
@pytest.mark.parametrize("wait", WAITS)
async def test_the_first_wait_on_a_loop_keeps_no_context(kit, wait):
    """The context variables of the first task that waited lived as long as the loop."""
    values = []

    task = kit.spawn(wait_with_a_value, wait, values)
    await task.join()
    del task
    await kit.sleep(0.001)
    await kit.turn()
    gc.collect()
    try:
        assert values[0]() is None
    finally:
        kept.clear()


@EVERYWHERE
async def test_every_task_and_call_sees_its_own_context(kit):
    seen, event, portal = [], IoEvent(), None

    async def wait(n):
        variable.set(n)
        for _ in range(3):
            await event.notified()
            assert variable.get() == n
            await kit.sleep(0.001)
        seen.append(variable.get())

    tasks = [kit.spawn(wait, n) for n in range(3)]
    portal = Portal()
    await kit.sleep(0.001)

    def work():
        event.notify()
        variable.set("thread")
        portal.call_soon(lambda: seen.append(variable.get()))
        portal.submit(lambda: seen.append(variable.get())).result(PATIENCE)
        contextvars.Context().run(portal.call_soon, lambda: seen.append(variable.get()))

    thread = Thread(work)
    for task in tasks:
        await task.join()
    async with kit.patient("the calls"):
        while len(seen) < 6:
            await kit.sleep(0.001)
    thread.finish()
    assert sorted(map(str, seen)) == sorted(["0", "1", "2", "thread", "thread", "None"])


@pytest.mark.parametrize("name", ["asyncio-selector-loop"])
def test_a_selector_loop_does_not_keep_the_context_that_it_was_made_in(name):
    def make():
        value = Value()
        variable.set(value)
        return kits.kit(name).new_loop(), weakref.ref(value)

    loop, value = contextvars.copy_context().run(make)
    loop.run_until_complete(asyncio.sleep(0))
    gc.collect()
    assert value() is None
    loop.close()


@in_child(strict=True)
def test_the_selector_thread_does_not_keep_the_context_that_it_was_started_in():
    """From Python 3.14 on, a thread may inherit the context of the thread that starts it."""
    values = []

    async def main():
        await asyncio.create_task(wait_with_a_value(notified, values))
        await asyncio.sleep(0.01)
        gc.collect()
        assert values[0]() is None

    loop = ThreadedLoop()
    loop.run_until_complete(main())
    loop.close()


@in_child(strict=True)
def test_twisted_on_asyncio_keeps_no_context_and_calls_back_in_the_callers():
    """A Deferred's callbacks run in the context of the caller that asked for the Deferred.

    Twisted's addReader copies the context, which must not keep that context alive.
    """
    from twisted.internet import asyncioreactor

    loop = asyncio.new_event_loop()
    asyncioreactor.install(loop)
    from twisted.internet import reactor

    import wakefd.twisted

    seen, values, events = [], [], [IoEvent() for _ in range(3)]

    def wait(n):
        variable.set(n)
        wakefd.twisted.notified(events[n]).addCallback(lambda _: seen.append(variable.get()))

    def first():
        value = Value()
        values.append(weakref.ref(value))
        variable.set(value)
        del value
        deferred = wakefd.twisted.notified(events[2])  # it waits on, so that the reader stays
        deferred.addErrback(lambda _: None)
        cancelled = wakefd.twisted.notified(IoEvent())
        cancelled.cancel()
        cancelled.addErrback(lambda _: None)
        return deferred

    def begin():
        kept.append(contextvars.copy_context().run(first))
        for n in range(2):
            contextvars.copy_context().run(wait, n)
        threads.append(later(lambda: [event.notify() for event in events[:2]]))
        reactor.callLater(0.2, end)

    def end():
        for thread in threads:
            thread.finish()
        kept.pop().cancel()
        gc.collect()
        freed.append(values[0]() is None)
        reactor.stop()

    threads, freed = [], []
    reactor.callWhenRunning(begin)
    reactor.run()
    loop.close()
    assert seen == [0, 1] and freed == [True], (seen, freed)

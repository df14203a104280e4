"""Tests of the hand-over on every loop: it runs while the thread that has woken it computes."""

import sys
import time
from contextlib import contextmanager

import pytest

import wakefd
from helpers import PATIENCE, Thread
from wakefd import IoEvent, Portal, Queue, hand_over
from wakefd._wakefd import hand_over_limits

pytestmark = pytest.mark.needs("loop")

# A thread computes that long, in seconds, unless a task runs meanwhile.
COMPUTES = 0.5
ATTEMPTS = 16


@contextmanager
def patient_hand_overs():
    """Let threads that compute keep the GIL all the while, and wait for a loop as long as needed.

    The switch interval has an end, because a poller that spins keeps the GIL from all others.
    """
    on = hand_over(True)
    interval, before = sys.getswitchinterval(), hand_over_limits(PATIENCE, 0.0)
    sys.setswitchinterval(2 * COMPUTES)
    try:
        yield
    finally:
        sys.setswitchinterval(interval)
        hand_over_limits(*before)
        hand_over(on)


class Ran:
    """A mark that something has run in the loop, for a thread that computes until then."""

    def __init__(self):
        self.it = False

    def __call__(self, *_):
        self.it = True

    def after(self, wake):
        """Wake, and compute. Return whether it ran meanwhile."""
        wake()
        end = time.monotonic() + COMPUTES
        while not self.it and time.monotonic() < end:
            pass
        return self.it


async def runs_meanwhile(kit, waits, wake, asleep):
    """Return whether what `wake` wakes runs while the thread that woke it computes.

    `waits(ran)` is run in a task, and `asleep()` is true when it sleeps. A loop may lose the GIL
    between its dispatch and the task, when it looks at its descriptors once more; and after such an
    attempt the loop's pace may rule out the next ones for a while. Hence several attempts: without
    the hand-over, each of them fails.
    """
    for _ in range(ATTEMPTS):
        ran = Ran()
        task = kit.spawn(waits, ran)
        async with kit.patient():
            while not asleep():
                await kit.sleep(0.001)
        with patient_hand_overs():
            thread = Thread(ran.after, wake)
            await task.join()
            while thread.is_alive():
                await kit.sleep(0.001)
        if thread.finish():
            return True
    return False


async def test_a_task_runs_while_the_thread_that_notified_it_computes(kit, event):
    async def waits(ran):
        await kit.notified(event)
        ran()
        event.clear()

    assert await runs_meanwhile(kit, waits, event.notify, lambda: kit.waits(event) == 1)


@pytest.mark.needs("loop", "close")
async def test_a_task_runs_while_the_thread_that_closed_its_event_computes(kit):
    events = [IoEvent()]

    async def waits(ran):
        with pytest.raises(wakefd.ClosedResourceError):
            await kit.notified(events[-1])
        ran()
        events.append(IoEvent())

    def close():
        events[-1].close()

    assert await runs_meanwhile(kit, waits, close, lambda: kit.waits(events[-1]) == 1)


@pytest.mark.needs("loop", "await")
async def test_a_getter_runs_while_the_thread_that_put_computes(kit):
    q = Queue()

    async def waits(ran):
        await q.async_get()
        ran()

    assert await runs_meanwhile(kit, waits, lambda: q.put(1), lambda: q.getting == 1)


@pytest.mark.needs("loop", "await")
async def test_a_putter_runs_while_the_thread_that_got_computes(kit):
    q = Queue(1)
    q.put(0)

    async def waits(ran):
        await q.async_put(1)
        ran()

    assert await runs_meanwhile(kit, waits, q.get, lambda: q.putting == 1)


@pytest.mark.needs("loop", "await")
async def test_a_getter_runs_while_the_thread_that_shut_the_queue_down_computes(kit):
    queues = [Queue()]

    async def waits(ran):
        with pytest.raises(wakefd.QueueShutDown):
            await queues[-1].async_get()
        ran()
        queues.append(Queue())

    def shutdown():
        queues[-1].shutdown()

    assert await runs_meanwhile(kit, waits, shutdown, lambda: queues[-1].getting == 1)


@pytest.mark.needs("loop", "await")
async def test_a_call_runs_while_the_thread_that_made_it_computes(kit):
    async with Portal() as portal:
        over = IoEvent()

        async def waits(ran):
            calls.append(lambda: (ran(), over.notify()))
            await kit.notified(over)
            over.clear()

        calls = []

        def call():
            portal.call_soon(calls[-1])

        assert await runs_meanwhile(kit, waits, call, lambda: kit.waits(over) == 1)

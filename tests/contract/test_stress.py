"""Stress tests of events with many threads and loops at once: no waiter misses a rise.

The environment variable WAKEFD_STRESS says how long they run. The signal handlers are Python's,
which run between two bytecodes; the tests of the native handles have one in C.
"""

import asyncio
import random
import signal
import threading

import pytest

import kits
from helpers import PATIENCE, Thread, in_child, stress, until, waiting
from wakefd import IoEvent

pytestmark = pytest.mark.stress


def everywhere(wait_here, wait_on):
    """Start a thread for each kind of waiter; `wait_on(kit, index)` is a coroutine function."""
    loops = [kits.kit(name) for name in (*kits.LOOPS, "asyncio-future", "asyncio")]
    patience = stress(PATIENCE, 3600)
    threads = [
        Thread(lambda kit=kit, index=index: kit.run(lambda: wait_on(kit, index), patience))
        for index, kit in enumerate(loops)
    ]
    threads += [Thread(wait_here, len(loops) + index) for index in range(3)]
    return threads


def test_no_waiter_misses_a_rise_even_if_the_flag_is_cleared_at_once():
    event, rounds = IoEvent(), stress(100, 30_000)
    seen = [0] * 8

    def wait(index):
        while seen[index] < rounds:
            event.wait()
            until(lambda: not event.is_set(), "the clear")
            seen[index] += 1

    async def wait_on(kit, index):
        while seen[index] < rounds:
            await event.notified()
            while event.is_set():
                await kit.sleep(0)
            seen[index] += 1

    threads = everywhere(wait, wait_on)
    for done in range(rounds):
        until(
            lambda done=done: (
                (waiting(event) == len(threads) and set(seen) == {done})
                or not all(thread.is_alive() for thread in threads)
            ),
            f"round {done}: {seen}",
        )
        for thread in threads:
            if not thread.is_alive():
                thread.finish()
                pytest.fail(f"{thread} has ended in round {done}: {seen}")
        assert event.notify() is True
        event.clear()
    for thread in threads:
        thread.finish()
    assert event._rises() == rounds
    assert event._listeners() <= len(threads)


def test_no_waiter_misses_the_last_notify_though_others_clear_the_flag():
    # Many threads notify one event, others clear it. A waiter that missed a rise would wait for
    # ever after the last notify.
    event, notifies = IoEvent(), stress(20_000, 1_000_000)
    seen, stop = [0] * 8, threading.Event()

    def wait(index):
        while not stop.is_set():
            event.wait()
            seen[index] += 1
            event.clear()

    async def wait_on(kit, index):
        while not stop.is_set():
            await event.notified()
            seen[index] += 1
            event.clear()
            await kit.turn()

    def notify(count):
        for _ in range(count):
            event.notify()

    def clear():
        while not stop.is_set():
            event.clear()
            stop.wait(random.random() / 1000)

    threads = everywhere(wait, wait_on)
    strangers = [Thread(clear) for _ in range(2)]
    notifiers = [threading.Thread(target=notify, args=(notifies // 4,)) for _ in range(4)]
    for thread in notifiers:
        thread.start()
    for thread in notifiers:
        thread.join()
    # The waiters that are left need one more notify each time they wait again.
    before = list(seen)
    stop.set()
    for thread in strangers:
        thread.finish()

    def all_over():
        event.notify()
        return not any(thread.is_alive() for thread in threads)

    until(all_over, f"the end of all waiters: {before} {seen}")
    for thread in threads:
        thread.finish()
    assert waiting(event) == 0
    assert event._rises() >= max(seen)


def test_no_item_is_lost_between_many_producers_and_one_consumer(loop_kit):
    event, items, count = IoEvent(), [], stress(2_000, 100_000)
    produced = threading.Barrier(4)

    def produce(name):
        produced.wait()
        for number in range(count):
            items.append((name, number))
            event.notify()

    async def main():
        got = []
        threads = [Thread(produce, name) for name in range(4)]
        async for _ in event:
            while items:
                got.append(items.pop())
            if len(got) == 4 * count:
                break
        for thread in threads:
            thread.finish()
        assert len(set(got)) == 4 * count

    loop_kit.run(main, stress(PATIENCE, 3600))


def test_waiters_of_every_kind_notify_each_other_in_a_circle():
    # Each waiter waits for an event of its own and notifies that of the next waiter, in a circle.
    rounds = stress(200, 20_000)
    events = [IoEvent() for _ in range(8)]

    def wait(index):
        for _ in range(rounds):
            event = events[index]
            event.wait()
            assert event.clear() is True
            events[(index + 1) % len(events)].notify()

    async def wait_on(_, index):
        for _ in range(rounds):
            event = events[index]
            await event.notified()
            assert event.clear() is True
            events[(index + 1) % len(events)].notify()

    threads = everywhere(wait, wait_on)
    events[0].notify()
    until(lambda: not any(thread.is_alive() for thread in threads), patience=stress(PATIENCE, 3600))
    for thread in threads:
        thread.finish()
    assert [event.is_set() for event in events] == [True] + [False] * 7


def test_threads_and_loops_that_begin_and_end_leave_no_waiter():
    event, stop = IoEvent(), threading.Event()

    def notify():
        while not stop.is_set():
            event.notify()
            event.clear()

    def come_and_go(name):
        kit = kits.kit(name)

        async def main():
            tasks = [kit.spawn(event.notified) for _ in range(3)]
            tasks[1].cancel()
            await tasks[0].join()

        for _ in range(stress(30, 2000)):
            kit.run(main)

    def threads_come_and_go():
        for _ in range(stress(100, 5000)):
            Thread(event.wait, PATIENCE).finish()

    notifiers = [Thread(notify) for _ in range(2)]
    workers = [threading.Thread(target=threads_come_and_go)]
    workers += [threading.Thread(target=come_and_go, args=(name,)) for name in kits.LOOPS]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    stop.set()
    for thread in notifiers:
        thread.finish()
    assert waiting(event) == 0
    assert event._listeners() <= 8


def test_descriptors_can_be_made_closed_and_dropped_while_threads_notify():
    count = stress(300, 20_000)
    box = [IoEvent()]
    stop = threading.Event()

    def notify():
        while not stop.is_set():
            event = box[0]
            event.notify()
            event.clear()

    threads = [Thread(notify) for _ in range(3)]
    for number in range(count):
        event = IoEvent()
        fd = event.fileno()
        box[0] = event
        for _ in range(10):
            event.notify()
        assert event.fileno() == fd
        if number % 2:
            event.close()
    stop.set()
    for thread in threads:
        thread.finish()


@in_child
def test_a_signal_handler_may_notify_at_any_moment():
    event, other, alarms = IoEvent(), IoEvent(), [0]
    event.fileno()

    def handler(*_):
        alarms[0] += 1
        event.notify()
        other.notify()

    signal.signal(signal.SIGALRM, handler)
    signal.setitimer(signal.ITIMER_REAL, 0.00005, 0.00005)

    async def wait():
        for _ in range(stress(300, 30_000)):
            await other.notified()
            other.clear()

    thread = Thread(lambda: asyncio.run(asyncio.wait_for(wait(), stress(PATIENCE, 3600))))
    for _ in range(stress(2_000, 200_000)):
        event.notify()
        event.clear()
        assert event.wait(PATIENCE)  # signals arrive during the wait as well
    while thread.is_alive():
        event.wait(0.001)
    thread.finish()
    signal.setitimer(signal.ITIMER_REAL, 0)
    assert alarms[0] > 100
    event.clear()
    assert event._owed() == 0

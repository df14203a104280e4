"""Tests of `wait_any` and `any_notified`: a thread or task waits for the first of many events."""

import asyncio
import math
import os
import signal
import threading
import time

import pytest

from helpers import PATIENCE, Thread, fds, later, run_child, waiting
from wakefd import ClosedResourceError, IoEvent, Queue, _wakefd, any_notified, wait_any


def until(condition):
    deadline = time.monotonic() + PATIENCE
    while not condition():
        assert time.monotonic() < deadline, "the condition did not come true"
        time.sleep(0.001)


def three():
    return [IoEvent() for _ in range(3)]


def run_asyncio(main):
    async def bounded():
        return await asyncio.wait_for(main(), PATIENCE)

    return asyncio.run(bounded())


def run_uvloop(main):
    uvloop = pytest.importorskip("uvloop")
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        return runner.run(asyncio.wait_for(main(), PATIENCE))


class Unknown(asyncio.selector_events.BaseSelectorEventLoop):
    """A loop of a class that wakefd does not know, so that a wait on it goes through a future."""


def run_future(main):
    with asyncio.Runner(loop_factory=Unknown) as runner:
        return runner.run(asyncio.wait_for(main(), PATIENCE))


def run_trio(main):
    trio = pytest.importorskip("trio")

    async def bounded():
        with trio.fail_after(PATIENCE):
            return await main()

    return trio.run(bounded)


@pytest.fixture(
    params=[run_asyncio, run_uvloop, run_future, run_trio], ids=lambda run: run.__name__
)
def run(request):
    return request.param


@pytest.fixture(params=["thread", "asyncio", "trio"])
def first(request):
    """A function that waits for the first of some events, in a thread or on a loop."""
    if request.param == "thread":
        return wait_any
    start = {"asyncio": run_asyncio, "trio": run_trio}[request.param]
    return lambda *events: start(lambda: any_notified(*events))


def test_events_that_are_up_are_returned_in_the_order_given(first):
    a, b, c = three()
    c.notify()
    a.notify()
    assert first(a, b, c) == [a, c]
    assert first(c, b, a, c, a) == [c, a]  # each event is listed once
    assert a.is_set() and c.is_set()


def test_an_event_that_rises_ends_the_wait(first):
    a, b, c = three()
    thread = later(b.notify)
    assert first(a, b, c) == [b]
    thread.finish()
    assert [waiting(event) for event in (a, b, c)] == [0, 0, 0]


def test_an_event_that_rose_and_was_cleared_since_is_still_returned(first):
    a, b, c = three()

    def work():
        until(lambda: waiting(a) == waiting(b) == waiting(c) == 1)
        c.notify()
        c.clear()
        a.notify()
        a.clear()

    thread = Thread(work)
    result = first(a, b, c)
    thread.finish()
    # The rise of c ended the wait; a may have risen before the result was made, or after.
    assert result in ([c], [a, c])


def test_a_wait_for_no_event_is_a_value_error(first):
    with pytest.raises(ValueError, match="at least one"):
        first()


def test_an_event_that_is_given_twice_is_returned_once(first):
    a, _, _ = three()
    thread = later(a.notify)
    assert first(a, a) == [a]
    thread.finish()
    assert waiting(a) == 0


def test_an_event_that_is_closed_at_the_call_raises_closed_resource_error(first):
    a, b, c = three()
    a.notify()
    b.close()
    with pytest.raises(ClosedResourceError):
        first(a, b, c)
    assert waiting(a) == waiting(c) == 0


def test_a_close_during_the_wait_raises_closed_resource_error(first):
    a, b, c = three()
    thread = later(b.close)
    with pytest.raises(ClosedResourceError):
        first(a, b, c)
    thread.finish()
    assert waiting(a) == waiting(c) == 0


def test_a_rise_before_a_close_ends_the_wait_without_an_error(run):
    a, b, c = three()

    async def main():
        c.notify()
        c.clear()
        a.close()

    async def both():
        task = asyncio.ensure_future(any_notified(a, b, c))
        await asyncio.sleep(0.01)
        await main()
        return await task

    async def both_trio():
        import trio

        result = []

        async def wait():
            result.extend(await any_notified(a, b, c))

        async with trio.open_nursery() as nursery:
            nursery.start_soon(wait)
            await trio.sleep(0.01)
            await main()
        return result

    assert run(both_trio if run is run_trio else both) == [c]


def test_a_thread_gets_the_rise_that_came_before_a_close():
    a, b, c = three()
    found = []
    thread = threading.Thread(target=lambda: found.append(wait_any(a, b, c)))
    thread.start()
    until(lambda: waiting(c) == 1)
    b.notify()
    b.close()
    a.close()
    thread.join(PATIENCE)
    assert found == [[b]]


def test_wait_any_returns_an_empty_list_when_it_times_out():
    a, b, c = three()
    begin = time.monotonic()
    assert wait_any(a, b, c, timeout=0.05) == []
    assert time.monotonic() - begin >= 0.04
    assert wait_any(a, b, timeout=0) == wait_any(a, b, timeout=-1) == []
    assert waiting(a) == waiting(b) == waiting(c) == 0
    with pytest.raises(ValueError, match="nan"):
        wait_any(a, timeout=math.nan)
    with pytest.raises(OverflowError):
        wait_any(a, timeout=1e300)
    with pytest.raises(ValueError, match="at least one"):
        wait_any(timeout=0)
    thread = later(c.notify)
    assert wait_any(a, c, timeout=math.inf) == [c]
    thread.finish()
    assert wait_any(c, timeout=0) == [c]


def test_a_cancelled_wait_on_asyncio_leaves_no_waiter():
    events = three()

    async def main():
        for _ in range(3):
            task = asyncio.ensure_future(any_notified(*events))
            await asyncio.sleep(0)
            assert [waiting(event) for event in events] == [1, 1, 1]
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task
            with pytest.raises(asyncio.TimeoutError):
                await asyncio.wait_for(any_notified(*events), 0.01)
            assert [waiting(event) for event in events] == [0, 0, 0]
        events[1].notify()
        assert await any_notified(*events) == [events[1]]

    run_asyncio(main)


def test_a_cancelled_wait_on_trio_leaves_no_waiter():
    trio = pytest.importorskip("trio")
    events = three()

    async def main():
        for _ in range(3):
            with trio.move_on_after(0.01) as scope:
                await any_notified(*events)
            assert scope.cancelled_caught
            assert [waiting(event) for event in events] == [0, 0, 0]
        events[1].notify()
        assert await any_notified(*events) == [events[1]]

    run_trio(main)


def test_any_notified_is_always_a_checkpoint_on_trio():
    trio = pytest.importorskip("trio")
    event = IoEvent()
    event.notify()

    async def main():
        with trio.CancelScope() as scope:
            scope.cancel()
            await any_notified(event)
            pytest.fail("no checkpoint")

    run_trio(main)


def test_an_event_that_is_always_up_does_not_starve_asyncio():
    event, turns = IoEvent(), []
    event.notify()

    async def tick():
        while True:
            turns.append(1)
            await asyncio.sleep(0)

    async def main():
        ticker = asyncio.ensure_future(tick())
        end = time.perf_counter() + 0.05
        while time.perf_counter() < end:
            await any_notified(event)
        ticker.cancel()
        assert len(turns) >= 10

    run_asyncio(main)


def test_two_consumers_that_clear_both_get_an_event_that_was_up(run):
    event, q = IoEvent(), Queue()

    async def consume(answers, busy):
        for n in range(200):
            event.notify()
            q.put_nowait(n)
            answers.append(await any_notified(event, q))
            event.clear()
            q.clear()
            if busy:
                end = time.perf_counter() + 0.0002
                while time.perf_counter() < end:
                    pass

    async def main():
        answers = []
        await both(consume, answers)
        assert len(answers) == 400
        assert all(answer == [event, q] for answer in answers)

    run(main)


async def both(consume, answers):
    """Run `consume` in two tasks, on the loop that runs here."""
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        import trio

        async with trio.open_nursery() as nursery:
            nursery.start_soon(consume, answers, False)
            nursery.start_soon(consume, answers, True)
    else:
        await asyncio.gather(consume(answers, False), consume(answers, True))


def test_a_thread_gets_an_event_that_was_up_though_another_consumer_clears_it(monkeypatch):
    event, q = IoEvent(), Queue()
    event.notify()
    q.put(1)
    wait_for_one = _wakefd.wait_for_one

    def another_consumer_is_quicker(events, timeout):
        event.clear()
        q.clear()
        return wait_for_one(events, timeout)

    monkeypatch.setattr(_wakefd, "wait_for_one", another_consumer_is_quicker)
    assert wait_any(event, q, timeout=PATIENCE) == [event, q]


def test_a_wait_for_thousands_of_events_needs_one_descriptor(first):
    events = [IoEvent() for _ in range(5000)]
    first_one = IoEvent()
    first_one.notify()
    first(first_one)
    before = []

    def work():
        until(lambda: waiting(events[-1]) == 1)
        before.append(fds())
        events[4000].notify()

    thread = Thread(work)
    floor = fds()
    assert first(*events) == [events[4000]]
    thread.finish()
    # A new loop has a hub with one descriptor, and some descriptors of its own.
    assert before[0] - floor <= 8
    assert sum(map(waiting, events)) == 0


def test_a_wait_in_a_thread_starts_no_other_thread():
    before = threading.active_count()
    a, b, _ = three()
    thread = later(a.notify)
    wait_any(a, b, timeout=PATIENCE)
    assert threading.active_count() == before
    thread.finish()


def test_no_item_is_lost_when_threads_flood_three_events(first):
    events = three()
    total, each = 0, [0, 0, 0]
    items = [[], [], []]

    def work(n):
        for k in range(300):
            items[n].append(k)
            events[n].notify()

    threads = [Thread(work, n) for n in range(3)]
    while total < 900:
        for event in first(*events):
            n = events.index(event)
            event.clear()
            while items[n]:
                items[n].pop()
                each[n] += 1
                total += 1
    for thread in threads:
        thread.finish()
    assert each == [300, 300, 300]


def test_any_notified_without_a_loop_is_a_runtime_error():
    with pytest.raises(RuntimeError, match="no event loop"):
        any_notified(IoEvent()).send(None)


def test_a_signal_wakes_a_thread_and_ctrl_c_ends_it():
    out = run_child("test_any", "two_signals", strict=True).stdout
    assert out.startswith("Ctrl-C\n") and "0 waiting" in out


def two_signals():
    a, b = IoEvent(), IoEvent()
    signal.signal(signal.SIGALRM, lambda *_: b.notify())
    signal.setitimer(signal.ITIMER_REAL, 0.05)
    assert wait_any(a, b, timeout=20) == [b]
    b.clear()
    threading.Timer(0.05, lambda: os.kill(os.getpid(), signal.SIGINT)).start()
    try:
        wait_any(a, b, timeout=20)
    except KeyboardInterrupt:
        print("Ctrl-C", a, sep="\n")

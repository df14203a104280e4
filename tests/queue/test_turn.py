"""The time budget of those who need not wait, and the order of those who pause."""

import asyncio
import gc
import time
import weakref

import pytest

import wakefd
from helpers import PATIENCE, program, use_up_the_turn
from test_byte_queue import pusher
from wakefd import ByteQueue, IoEvent, LifoQueue, PriorityQueue, Queue, any_notified

KINDS = [Queue, LifoQueue, PriorityQueue]


def spin(seconds):
    end = time.perf_counter() + seconds
    while time.perf_counter() < end:
        pass


def run(main):
    return asyncio.run(asyncio.wait_for(main(), PATIENCE))


async def pauses(monkeypatch, operation):
    """How often 20 operations paused, of a task that awaits something else in between."""
    from wakefd._loops import asyncio as _asyncio

    count = 0
    pause = _asyncio.pause

    def counted():
        nonlocal count
        count += 1
        return pause()

    monkeypatch.setattr(_asyncio, "pause", counted)
    monkeypatch.setattr(wakefd._loops._ASYNCIO, "pause", counted)
    await asyncio.sleep(0)
    for _ in range(20):
        await operation()
        await asyncio.sleep(0.002)
    return count


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("name", ["get", "peek", "get_many", "put", "async for"])
def test_a_task_that_awaits_something_else_never_pauses(monkeypatch, kind, name):
    async def main():
        q = kind()
        q.put_many(range(100))
        items = aiter(q)
        await anext(items)
        operations = {
            "get": q.async_get,
            "peek": q.async_peek,
            "get_many": lambda: q.async_get_many(1),
            "put": lambda: q.async_put(1),
            "async for": lambda: anext(items),
        }
        return await pauses(monkeypatch, operations[name])

    assert run(main) == 0


def test_a_task_that_awaits_something_else_never_pauses_at_a_byte_queue(monkeypatch):
    async def main():
        q = ByteQueue(1 << 14, 8)
        with pusher(q) as push:
            for _ in range(100):
                push(b"it")
            return await pauses(monkeypatch, q.async_get)

    assert run(main) == 0


@pytest.mark.parametrize("kind", KINDS)
def test_a_new_loop_begins_a_new_turn(kind):
    async def used_up():
        use_up_the_turn()

    async def first():
        q, ran = kind(1), []
        asyncio.get_running_loop().call_soon(ran.append, 1)
        await q.async_put(1)
        assert not ran

    for _ in range(3):
        run(used_up)
        run(first)


@pytest.mark.parametrize("kind", KINDS)
def test_who_pauses_is_not_overtaken(kind):
    """Not by a task that the loop comes to in the next turn, before the one that pauses."""

    async def main():
        q, order = kind(), []

        async def put(n):
            await q.async_put(n)
            order.append(n)

        async def flood():
            use_up_the_turn()
            second = asyncio.ensure_future(put(2))  # comes after the marker, before who pauses
            await put(1)
            await second

        await flood()
        assert order == [1, 2]
        order.clear()

        async def get(n):
            await q.async_get()
            order.append(n)

        use_up_the_turn()
        second = asyncio.ensure_future(get(2))
        await get(1)
        await second
        assert order == [1, 2]

    run(main)


def test_a_first_put_into_a_bounded_queue_is_the_first():
    async def main():
        q, order = Queue(1), []

        async def put(n):
            await q.async_put(n)
            order.append(n)

        use_up_the_turn()
        tasks = [asyncio.ensure_future(put(n)) for n in range(1, 5)]
        await put(0)
        assert [await q.async_get() for _ in range(5)] == list(range(5))
        await asyncio.gather(*tasks)
        assert order == list(range(5))

    run(main)


@pytest.mark.parametrize("kind", KINDS)
def test_a_pause_that_is_cancelled_loses_nothing(kind):
    async def main():
        q = kind(1)
        for operation in (lambda: q.async_put(1), q.async_get, q.async_peek):
            task = asyncio.ensure_future(operation())
            use_up_the_turn()
            await asyncio.sleep(0)
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task
            if q.empty():
                q.put(1)
        assert q.qsize() == 1 and q.getting == q.putting == 0
        for _ in range(3):
            await asyncio.sleep(0)
        ran = []
        asyncio.get_running_loop().call_soon(ran.append, 1)
        assert await q.async_get() == 1
        assert not ran  # the turn is not over for ever

    run(main)


async def lateness(*consumers):
    """How late a 1 ms ticker was at worst beside these consumers, in seconds."""
    worst, done = 0.0, False

    async def tick():
        nonlocal worst
        while not done:
            before = time.perf_counter()
            await asyncio.sleep(0.001)
            worst = max(worst, time.perf_counter() - before - 0.001)

    ticker = asyncio.ensure_future(tick())
    await asyncio.gather(*(consume() for consume in consumers))
    done = True
    await ticker
    return worst


def notified_every_5_ms(how):
    event = IoEvent()
    event.notify()

    async def notified():
        for _ in range(40):
            await event.notified()
            spin(0.005)

    async def any_of_them():
        for _ in range(40):
            await any_notified(event)
            spin(0.005)

    async def turns():
        left = 40
        async for _ in event:
            spin(0.005)
            event.notify()
            left -= 1
            if not left:
                return

    return {"notified": notified, "any_notified": any_of_them, "async for": turns}[how]


@pytest.mark.parametrize("how", ["notified", "any_notified", "async for"])
def test_slow_bodies_of_an_event_that_is_up_do_not_stop_the_loop(how):
    # 40 bodies of 5 ms; the loop comes to others after one or two.
    assert run(lambda: lateness(notified_every_5_ms(how))) < 0.1


def test_an_event_and_a_flooded_queue_share_the_turn():
    q = Queue()
    q.put_many(range(200_000))

    async def flood():
        while not q.empty():
            await q.async_get()

    assert run(lambda: lateness(notified_every_5_ms("async for"), flood)) < 0.1


def test_two_consumers_of_a_flood_share_it():
    async def main():
        q, shares = Queue(), [0, 0]
        q.put_many(range(200_000))
        q.shutdown()

        async def consume(n):
            async for _ in q:
                shares[n] += 1

        await asyncio.gather(consume(0), consume(1))
        return shares

    assert min(run(main)) > 20_000


def test_the_marker_keeps_no_closed_loop_alive():
    async def main():
        use_up_the_turn()

    def closed():
        loop = asyncio.new_event_loop()
        loop.run_until_complete(main())
        use = weakref.ref(loop)
        loop.close()
        return use

    loops = [closed() for _ in range(3)]
    gc.collect()
    assert not any(loop() for loop in loops)


def test_a_loop_that_is_run_in_pieces():
    q = Queue()
    q.put_many(range(50))

    async def get():
        ran = []
        asyncio.get_running_loop().call_soon(ran.append, 1)
        item = await q.async_get()
        assert not ran
        use_up_the_turn()
        return item

    loop = asyncio.new_event_loop()
    try:
        assert [loop.run_until_complete(get()) for _ in range(50)] == list(range(50))
    finally:
        loop.close()


def test_slow_bodies_under_gevent_and_twisted():
    pytest.importorskip("gevent")
    program("""
        import time, gevent, wakefd, wakefd.gevent
        event, worst, done = wakefd.IoEvent(), 0, False
        event.notify()
        def tick():
            global worst
            while not done:
                before = time.perf_counter()
                gevent.sleep(0.001)
                worst = max(worst, time.perf_counter() - before)
        ticker = gevent.spawn(tick)
        gevent.sleep(0)
        for _ in range(40):
            wakefd.gevent.wait(event)
            time.sleep(0.005)
        done = True
        ticker.join()
        assert worst < 0.1, worst
    """)
    pytest.importorskip("twisted")
    program("""
        import time, wakefd, wakefd.twisted
        from twisted.internet import reactor, task, defer
        event, worst, last = wakefd.IoEvent(), 0, None
        event.notify()
        def tick():
            global worst, last
            now = time.perf_counter()
            worst, last = max(worst, now - (last or now)), now
        @defer.inlineCallbacks
        def consume():
            for _ in range(40):
                yield wakefd.twisted.notified(event)
                time.sleep(0.005)
            reactor.stop()
        task.LoopingCall(tick).start(0.001)
        reactor.callWhenRunning(consume)
        reactor.run()
        assert 0 < worst < 0.1, worst
    """)

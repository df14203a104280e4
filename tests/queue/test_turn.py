"""Tasks that never have to wait pause when the time of a turn is used up, and keep their order."""

import asyncio
import gc
import time
import weakref

import pytest

import wakefd
from helpers import PATIENCE, in_child, use_up_the_turn
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
    """Return how often a task paused in 20 operations, if it sleeps between them."""
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
def test_a_task_that_sleeps_between_its_operations_never_pauses(monkeypatch, kind, name):
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


def test_a_task_that_sleeps_between_gets_from_a_byte_queue_never_pauses(monkeypatch):
    async def main():
        q = ByteQueue(1 << 14, 8)
        with pusher(q) as push:
            for _ in range(100):
                push(b"message")
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
def test_a_task_that_pauses_is_not_overtaken(kind):
    """A task that the loop steps in the next turn, before the paused task, has to pause as well."""

    async def main():
        q, order = kind(), []

        async def put(n):
            await q.async_put(n)
            order.append(n)

        async def flood():
            use_up_the_turn()
            # The first step of this task comes before the next step of `flood`.
            second = asyncio.ensure_future(put(2))
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


def test_tasks_that_pause_put_into_a_bounded_queue_in_their_order():
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
def test_a_cancelled_pause_loses_no_item_and_lets_a_new_turn_begin(kind):
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
        assert not ran  # the get did not pause: a new turn had begun

    run(main)


async def lateness(*consumers):
    """Return by how many seconds a 1 ms ticker was late at worst beside these consumers."""
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


def consumer_with_bodies_of_5_ms(how):
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
    # The bodies take 200 ms in all; the ticker has its turn after one or two of them.
    assert run(lambda: lateness(consumer_with_bodies_of_5_ms(how))) < 0.1


def test_an_event_and_a_flooded_queue_share_the_turn():
    q = Queue()
    q.put_many(range(200_000))

    async def flood():
        while not q.empty():
            await q.async_get()

    assert run(lambda: lateness(consumer_with_bodies_of_5_ms("async for"), flood)) < 0.1


def test_two_consumers_of_a_flooded_queue_share_the_items():
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


def test_the_marker_of_a_turn_keeps_no_closed_loop_alive():
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


def test_each_run_until_complete_of_a_loop_begins_a_new_turn():
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


@in_child(strict=True)
def test_slow_bodies_do_not_stop_the_loop_of_gevent():
    import gevent

    import wakefd.gevent

    event, worst, done = IoEvent(), 0, False
    event.notify()

    def tick():
        nonlocal worst
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


@in_child(strict=True)
def test_slow_bodies_do_not_stop_the_loop_of_twisted():
    from twisted.internet import defer, reactor, task

    import wakefd.twisted

    event, worst, last, ended = IoEvent(), 0, None, []
    event.notify()

    def tick():
        nonlocal worst, last
        now = time.perf_counter()
        worst, last = max(worst, now - (last or now)), now

    async def consume():
        for _ in range(40):
            await wakefd.twisted.notified(event)
            time.sleep(0.005)

    def begin():
        consumed = defer.ensureDeferred(consume())
        consumed.addBoth(ended.append).addBoth(lambda _: reactor.stop())

    task.LoopingCall(tick).start(0.001)
    reactor.callWhenRunning(begin)
    reactor.run()
    assert ended == [None] and 0 < worst < 0.1, (ended, worst)

"""`async for` over a queue and over a byte queue: the rules of an awaitable, also by hand."""

import asyncio

import pytest

from helpers import new_turn
from test_byte_queue import pusher
from wakefd import ByteQueue, Queue, QueueShutDown
from wakefd._loops import asyncio as _asyncio


class Side:
    """A queue, and how something gets into it."""

    def __init__(self, q, put):
        self.q, self.put = q, put


@pytest.fixture(params=["Queue", "ByteQueue"])
def side(request):
    if request.param == "Queue":
        q = Queue()
        yield Side(q, q.put)
        return
    q = ByteQueue(4096, 64)
    with pusher(q) as push:
        yield Side(q, push)


def waiting(q):
    return int(repr(q).split(" getting")[0].split(" waiting")[0].split()[-1])


async def until_waiting(q, count=1):
    async with asyncio.timeout(20):
        while waiting(q) != count:
            await asyncio.sleep(0.001)


AGAIN = "cannot await this item again"


@pytest.mark.parametrize("wait", [False, True], ids=["at_once", "after_a_wait"])
async def test_an_awaitable_takes_one_item(aio, side, wait):
    awaitable = aiter(side.q).__anext__()
    if wait:
        task = asyncio.ensure_future(awaitable)
        await until_waiting(side.q)
        side.put(b"one")
        assert await task == b"one"
    else:
        side.put(b"one")
        assert await awaitable == b"one"
    side.put(b"two")
    for again in (lambda: awaitable, lambda: anext_of(awaitable)):
        with pytest.raises(RuntimeError, match=AGAIN):
            await again()
    for step in (lambda: awaitable.send(None), lambda: next(awaitable)):
        with pytest.raises(RuntimeError, match=AGAIN):
            step()
    with pytest.raises(RuntimeError, match=AGAIN):
        awaitable.throw(ZeroDivisionError())
    awaitable.close()
    assert side.q.qsize() == 1
    assert await side.q.async_get() == b"two"


def anext_of(awaitable):
    """`anext(iterator, default)` steps an awaitable in its own way."""

    class Iterator:
        def __anext__(self):
            return awaitable

    return anext(Iterator(), "default")


async def test_an_awaitable_that_was_closed_or_was_thrown_into_takes_nothing(aio, side):
    side.put(b"one")
    closed, thrown = aiter(side.q).__anext__(), aiter(side.q).__anext__()
    closed.close()
    with pytest.raises(ZeroDivisionError):
        thrown.throw(ZeroDivisionError())
    for awaitable in (closed, thrown):
        with pytest.raises(RuntimeError, match=AGAIN):
            await awaitable
    assert side.q.get_many(9) == [b"one"]


async def test_the_end_comes_once(aio, side):
    awaitable = aiter(side.q).__anext__()
    side.q.shutdown()
    with pytest.raises(StopAsyncIteration):
        await awaitable
    with pytest.raises(RuntimeError, match=AGAIN):
        await awaitable
    assert await anext_of(aiter(side.q).__anext__()) == "default"


async def test_two_tasks_that_await_one_awaitable_get_one_item_and_one_error(aio, side):
    """The second one hung: asyncio let nobody know that its wait was refused."""
    awaitable = aiter(side.q).__anext__()

    async def take():
        return await awaitable

    first = asyncio.create_task(take())
    await until_waiting(side.q)
    second = asyncio.create_task(take())
    with pytest.raises(RuntimeError, match="another task awaits this item"):
        await asyncio.wait_for(second, 20)
    side.put(b"one")
    assert await asyncio.wait_for(first, 20) == b"one"
    side.put(b"two")
    assert await side.q.async_get() == b"two"


def test_two_tasks_on_trio_that_await_one_awaitable(side):
    """The second one got an error of trio's, and the first one hung."""
    trio = pytest.importorskip("trio")
    got = []

    async def main():
        awaitable = aiter(side.q).__anext__()

        async def take():
            got.append(await awaitable)

        with trio.fail_after(20):
            async with trio.open_nursery() as nursery:
                nursery.start_soon(take)
                while waiting(side.q) != 1:
                    await trio.sleep(0.001)
                with pytest.raises(RuntimeError, match="another task awaits this item"):
                    await awaitable
                assert waiting(side.q) == 1
                side.put(b"one")
            side.put(b"two")
            assert await anext_of(aiter(side.q).__anext__()) == b"two"
            default = anext_of(aiter(side.q).__anext__())
            async with trio.open_nursery() as nursery:

                async def put():
                    while waiting(side.q) != 1:
                        await trio.sleep(0.001)
                    side.put(b"three")

                nursery.start_soon(put)
                assert await default == b"three"

    trio.run(main)
    assert got == [b"one"]


@pytest.mark.parametrize("future", ["_PyFuture", "Future"])
async def test_two_tasks_where_the_first_one_waits_for_a_future(aio, side, future, monkeypatch):
    """On a loop of a kind that we do not know, the wait is one for the loop's future."""
    loop = asyncio.get_running_loop()
    make = getattr(asyncio.futures, future)
    monkeypatch.setattr(loop, "create_future", lambda: make(loop=loop), raising=False)
    monkeypatch.setattr(_asyncio._state(loop), "direct", False)
    await test_two_tasks_that_await_one_awaitable_get_one_item_and_one_error(aio, side)


async def test_a_wait_is_stepped_as_a_coroutine_is(aio, side):
    items = aiter(side.q)

    def begun():
        new_turn()
        it = items.__anext__().__await__()
        assert it.send(None) is not None
        return it

    it = begun()
    with pytest.raises(RuntimeError, match="another task"):
        it.send(None)
    assert waiting(side.q) == 1
    it.close()
    it.close()
    with pytest.raises(RuntimeError, match=AGAIN):
        it.send(None)
    assert waiting(side.q) == 0
    it = begun()
    del it
    assert waiting(side.q) == 0
    it = begun()
    with pytest.raises(ZeroDivisionError):
        it.throw(ZeroDivisionError())
    with pytest.raises(RuntimeError, match=AGAIN):
        it.send(None)


async def test_awaitables_that_nobody_awaits_take_nothing(aio, side):
    for message in (b"1", b"2", b"3"):
        side.put(message)
    items = aiter(side.q)
    assert await anext(items) == b"1"
    for _ in range(3):
        items.__anext__()
    assert await anext(items) == b"2"
    second, third = items.__anext__(), items.__anext__()
    assert await third == b"3"
    side.q.shutdown()
    with pytest.raises(StopAsyncIteration):
        await second
    with pytest.raises(QueueShutDown):
        side.q.get_nowait()

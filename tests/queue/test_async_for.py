"""The awaitables of `async for`, over queues and byte queues, keep the rules of coroutines."""

import asyncio

import pytest

from helpers import new_turn
from test_byte_queue import pusher
from wakefd import ByteQueue, Queue, QueueShutDown
from wakefd._loops import asyncio as _asyncio


class Side:
    """A queue or a byte queue, and the function that puts something into it."""

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
    """Return an awaitable that steps this one as `anext(iterator, default)` does."""

    class Iterator:
        def __anext__(self):
            return awaitable

    return anext(Iterator(), "default")


async def test_an_awaitable_takes_nothing_after_close_or_throw(aio, side):
    side.put(b"one")
    closed, thrown = aiter(side.q).__anext__(), aiter(side.q).__anext__()
    closed.close()
    with pytest.raises(ZeroDivisionError):
        thrown.throw(ZeroDivisionError())
    for awaitable in (closed, thrown):
        with pytest.raises(RuntimeError, match=AGAIN):
            await awaitable
    assert side.q.get_many(9) == [b"one"]


async def test_an_awaitable_of_a_shut_down_queue_ends_the_iteration_once(aio, side):
    awaitable = aiter(side.q).__anext__()
    side.q.shutdown()
    with pytest.raises(StopAsyncIteration):
        await awaitable
    with pytest.raises(RuntimeError, match=AGAIN):
        await awaitable
    assert await anext_of(aiter(side.q).__anext__()) == "default"


async def test_two_tasks_that_await_one_awaitable_get_one_item_and_one_error(aio, side):
    """The second task hung: asyncio did not report that its wait was refused."""
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


def test_two_trio_tasks_that_await_one_awaitable_get_one_item_and_one_error(side):
    """The second task got an error of trio's own, and the first task hung."""
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
async def test_two_tasks_await_one_awaitable_on_a_loop_that_wakefd_does_not_know(
    aio, side, future, monkeypatch
):
    """On a loop of a kind that wakefd does not know, a task waits for a future of the loop."""
    loop = asyncio.get_running_loop()
    make = getattr(asyncio.futures, future)
    monkeypatch.setattr(loop, "create_future", lambda: make(loop=loop), raising=False)
    monkeypatch.setattr(_asyncio._state(loop), "direct", False)
    await test_two_tasks_that_await_one_awaitable_get_one_item_and_one_error(aio, side)


async def test_an_awaitable_can_be_stepped_like_a_coroutine(aio, side):
    items = aiter(side.q)

    def begun():
        new_turn()
        wait = items.__anext__().__await__()
        assert wait.send(None) is not None
        return wait

    wait = begun()
    with pytest.raises(RuntimeError, match="another task"):
        wait.send(None)
    assert waiting(side.q) == 1
    wait.close()
    wait.close()
    with pytest.raises(RuntimeError, match=AGAIN):
        wait.send(None)
    assert waiting(side.q) == 0
    wait = begun()
    del wait
    assert waiting(side.q) == 0
    wait = begun()
    with pytest.raises(ZeroDivisionError):
        wait.throw(ZeroDivisionError())
    with pytest.raises(RuntimeError, match=AGAIN):
        wait.send(None)


async def test_awaitables_that_are_never_awaited_take_nothing(aio, side):
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

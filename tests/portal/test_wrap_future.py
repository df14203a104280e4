"""Waiting for a future of a thread, on any loop."""

import asyncio
import concurrent.futures

import pytest

import wakefd
from helpers import Thread, later

pytestmark = pytest.mark.needs("await")


@pytest.fixture
def future():
    return concurrent.futures.Future()


async def test_the_result(kit, future):
    thread = later(lambda: future.set_result("it"))
    async with kit.patient():
        assert await wakefd.wrap_future(future) == "it"
    assert await wakefd.wrap_future(future) == "it"
    thread.finish()


async def test_the_exception(kit, future):
    thread = later(lambda: future.set_exception(KeyError("it")))
    for _ in range(2):
        with pytest.raises(KeyError, match="it"):
            async with kit.patient():
                await wakefd.wrap_future(future)
    thread.finish()


async def test_a_future_that_is_cancelled(kit, future):
    thread = later(future.cancel)
    for _ in range(2):
        with pytest.raises(concurrent.futures.CancelledError):
            async with kit.patient():
                await wakefd.wrap_future(future)
    thread.finish()


async def test_a_wait_that_is_cancelled_cancels_the_future(kit, future):
    async with kit.move_on_after(0.01) as scope:
        await wakefd.wrap_future(future)
    assert scope.expired
    assert future.cancelled()


async def test_a_wait_that_is_cancelled_leaves_a_call_that_runs(kit, future):
    assert future.set_running_or_notify_cancel()
    async with kit.move_on_after(0.01) as scope:
        await wakefd.wrap_future(future)
    assert scope.expired
    future.set_result("it")
    assert await wakefd.wrap_future(future) == "it"


async def test_several_wait_for_one_future(kit, future):
    tasks = [kit.spawn(wakefd.wrap_future, future) for _ in range(10)]
    await kit.turn()
    Thread(future.set_result, "it").finish()
    assert [await task.join() for task in tasks] == ["it"] * 10


async def test_an_executors_and_a_portals_futures(kit):
    async with wakefd.Portal() as portal:
        with concurrent.futures.ThreadPoolExecutor(2) as pool:
            async with kit.patient():
                # A thread calls into this very loop, which waits for the thread.
                assert await wakefd.wrap_future(pool.submit(portal.run, kit.sleep, 0)) is None
                assert await wakefd.wrap_future(portal.submit(divmod, 7, 2)) == (3, 1)


async def test_it_must_be_a_future_of_threads(kit):
    with pytest.raises(TypeError, match=r"not a concurrent\.futures\.Future: 3"):
        await wakefd.wrap_future(3)
    if kit.is_asyncio:
        with pytest.raises(TypeError, match="not a"):
            await wakefd.wrap_future(asyncio.get_running_loop().create_future())

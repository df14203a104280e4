"""A task on any loop waits for a concurrent.futures.Future with wrap_future."""

import asyncio
import concurrent.futures

import pytest

import wakefd
from helpers import Thread, later

pytestmark = pytest.mark.needs("await")


@pytest.fixture
def future():
    return concurrent.futures.Future()


async def test_wrap_future_returns_the_result(kit, future):
    thread = later(lambda: future.set_result("result"))
    async with kit.patient():
        assert await wakefd.wrap_future(future) == "result"
    assert await wakefd.wrap_future(future) == "result"
    thread.finish()


async def test_wrap_future_raises_the_exception(kit, future):
    thread = later(lambda: future.set_exception(KeyError("result")))
    for _ in range(2):
        with pytest.raises(KeyError, match="result"):
            async with kit.patient():
                await wakefd.wrap_future(future)
    thread.finish()


async def test_wrap_future_raises_cancelled_error_if_the_future_is_cancelled(kit, future):
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


async def test_a_wait_that_is_cancelled_leaves_a_running_call_alone(kit, future):
    assert future.set_running_or_notify_cancel()
    async with kit.move_on_after(0.01) as scope:
        await wakefd.wrap_future(future)
    assert scope.expired
    future.set_result("result")
    assert await wakefd.wrap_future(future) == "result"


async def test_several_tasks_wait_for_one_future(kit, future):
    tasks = [kit.spawn(wakefd.wrap_future, future) for _ in range(10)]
    await kit.turn()
    Thread(future.set_result, "result").finish()
    assert [await task.join() for task in tasks] == ["result"] * 10


async def test_wrap_future_waits_for_the_futures_of_executors_and_portals(kit):
    async with wakefd.Portal() as portal:
        with concurrent.futures.ThreadPoolExecutor(2) as pool:
            async with kit.patient():
                # The pool's thread calls into this loop, whose task waits for that thread.
                assert await wakefd.wrap_future(pool.submit(portal.run, kit.sleep, 0)) is None
                assert await wakefd.wrap_future(portal.submit(divmod, 7, 2)) == (3, 1)


async def test_wrap_future_accepts_only_a_concurrent_futures_future(kit):
    with pytest.raises(TypeError, match=r"not a concurrent\.futures\.Future: 3"):
        await wakefd.wrap_future(3)
    if kit.is_asyncio:
        with pytest.raises(TypeError, match="not a"):
            await wakefd.wrap_future(asyncio.get_running_loop().create_future())

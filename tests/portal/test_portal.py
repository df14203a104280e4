"""A portal runs the calls of threads in its loop, in order, and tells each call how it ended."""

import asyncio
import concurrent.futures
import contextvars
import copy
import gc
import logging
import os
import signal
import threading
import time
import weakref
from collections import Counter
from functools import partial

import pytest

import kits
from helpers import PATIENCE, Thread, fds, forked, in_child, stress, until
from wakefd import ClosedResourceError, IoEvent, LoopClosedError, Portal, _wakefd

EVERYWHERE = pytest.mark.needs("await")

number = contextvars.ContextVar("number", default=0)


async def result_of(kit, thread):
    """Return the result of the thread, and let the loop run meanwhile."""
    async with kit.patient(thread):
        while thread.is_alive():
            await kit.sleep(0.001)
    return thread.finish()


async def loop_until(kit, condition, what="the condition"):
    async with kit.patient(what):
        while not condition():
            await kit.sleep(0.001)


def receivers():
    gc.collect()
    return sum(type(thing) is _wakefd.Receiver for thing in gc.get_objects())


@EVERYWHERE
async def test_a_call_runs_in_the_loops_thread_with_its_arguments(kit):
    portal, seen = Portal(), []

    def call(*args):
        seen.append((threading.get_ident(), args))

    def work():
        portal.call_soon(call)
        portal.call_soon(call, 1)
        portal.call_soon(call, *range(9))

    await result_of(kit, Thread(work))
    await loop_until(kit, lambda: len(seen) == 3)
    assert seen == [(threading.get_ident(), tuple(args)) for args in ((), (1,), range(9))]


@EVERYWHERE
async def test_calls_of_one_thread_keep_their_order(kit):
    portal, seen = Portal(), []

    def work(caller):
        for at in range(500):
            if at % 3:
                portal.call_soon(seen.append, (caller, at))
            else:
                portal.submit(seen.append, (caller, at))

    for thread in [Thread(work, caller) for caller in range(4)]:
        await result_of(kit, thread)
    await loop_until(kit, lambda: len(seen) == 2000)
    for caller in range(4):
        assert [at for maker, at in seen if maker == caller] == list(range(500))


async def test_submitted_tasks_begin_in_the_order_that_the_loop_gives_to_tasks(kit):
    """On asyncio, tasks begin in the order of their calls. Trio reverses some turns."""
    portal, seen = Portal(), []

    async def task(n):
        seen.append(n)

    def work():
        for n in range(5):
            portal.submit(task, n)
            portal.call_soon(seen.append, f"call {n}")

    Thread(work).finish()  # the loop does not run meanwhile
    await loop_until(kit, lambda: len(seen) == 10)
    assert [entry for entry in seen if isinstance(entry, str)] == [f"call {n}" for n in range(5)]
    tasks = [entry for entry in seen if isinstance(entry, int)]
    assert tasks == [*range(5)] or (not kit.is_asyncio and sorted(tasks) == [*range(5)])


async def test_a_batch_of_calls_wakes_the_loop_once(kit):
    portal, seen = Portal(), []
    rises = portal._runner.event._rises

    def work():
        for n in range(1000):
            portal.call_soon(seen.append, n)

    before = rises()
    Thread(work).finish()  # the loop does not run meanwhile
    await loop_until(kit, lambda: len(seen) == 1000)
    assert rises() == before + 1
    portal.call_soon(seen.append, 1000)
    await loop_until(kit, lambda: len(seen) == 1001)
    assert rises() == before + 2


@EVERYWHERE
async def test_results_and_exceptions_reach_the_calling_thread(kit):
    portal = Portal()

    async def double(x):
        await kit.sleep(0.001)
        return 2 * x

    async def fail():
        await kit.sleep(0.001)
        raise KeyError("async")

    def work():
        assert portal.run(divmod, 7, 2) == (3, 1)
        assert portal.run(double, 4) == 8
        assert portal.run(partial(double, x=5)) == 10
        assert portal.submit(double, 6).result(PATIENCE) == 12
        with pytest.raises(KeyError, match="async"):
            portal.run(fail)
        with pytest.raises(ZeroDivisionError):
            portal.run(divmod, 1, 0)
        with pytest.raises(StopIteration):
            portal.run(next, iter(()))
        return True

    assert await result_of(kit, Thread(work))
    assert await _result(kit, portal.submit(double, 8)) == 16  # from the loop's own thread


async def _result(kit, future):
    await loop_until(kit, future.done, future)
    return future.result(0)


async def test_the_exception_of_a_call_is_part_of_no_reference_cycle(kit, no_gc):
    portal = Portal()

    class FailedError(Exception):
        pass

    async def fail_async():
        raise FailedError

    def fail():
        raise FailedError

    def work(function):
        try:
            portal.run(function)
        except FailedError as error:
            return weakref.ref(error)

    for function in (fail, fail_async):
        error = await result_of(kit, Thread(work, function))
        await loop_until(kit, lambda: not portal._runner.running)
        assert error() is None, function


@EVERYWHERE
@pytest.mark.parametrize(
    "how", ["call_soon", "call", "task", "fails", "cancelled", "cancelled_at_once", "start_task"]
)
async def test_the_arguments_of_an_ended_call_are_not_kept(kit, no_gc, how):
    """The future of a task kept the arguments and the context alive after the task had ended."""

    class Argument:
        pass

    class Function:
        def __call__(self, *_, task_status=None):
            if how in ("call_soon", "call"):
                return None
            if task_status is not None:
                task_status.started()
            return task()

    async def task():
        if how.startswith("cancelled"):
            # A cancelled sleep() would not do: asyncio keeps the context of the timer.
            await IoEvent().notified()
        await kit.sleep(0)
        if how == "fails":
            raise ZeroDivisionError

    def work():
        argument, function = Argument(), Function()
        kept = [weakref.ref(argument), weakref.ref(function)]
        number.set(argument)
        if how == "start_task":
            future, _ = portal.start_task(function, argument)
        else:
            method = portal.call_soon if how == "call_soon" else portal.submit
            future = method(function, argument)
        if how == "cancelled_at_once":
            future.cancel()
        return kept, future

    portal = Portal()
    kept, future = await result_of(kit, Thread(lambda: contextvars.Context().run(work)))
    if how == "cancelled":
        future.cancel()
    await loop_until(kit, lambda: not any(reference() for reference in kept), "the arguments to go")
    assert future is None or future.done()


async def test_a_call_of_an_uncallable_object_and_a_copy_of_the_portal_raise_at_once(kit):
    portal = Portal()
    for method in (portal.call_soon, portal.submit):
        with pytest.raises(TypeError, match="3 is not callable"):
            method(3)
        with pytest.raises(TypeError):
            method()
    with pytest.raises(TypeError, match="cannot be copied or pickled"):
        copy.copy(portal)
    assert "open, 0 to run" in repr(portal)


def test_a_portal_without_a_running_loop_raises_runtime_error():
    with pytest.raises(RuntimeError, match="no event loop that wakefd knows runs here"):
        Portal()


async def test_a_call_runs_in_a_copy_of_the_callers_context(kit):
    portal, seen = Portal(), []

    def look():
        seen.append(number.get())
        number.set(99)

    async def look_async():
        await kit.sleep(0)
        look()

    def work():
        for call in (look, look_async):
            portal.submit(call).result(PATIENCE)  # the context is empty so far
        portal.call_soon(look)
        portal.call_soon(look)
        number.set(1)
        portal.call_soon(look)
        portal.call_soon(look)
        portal.run(look)
        portal.run(look_async)
        assert number.get() == 1
        number.set(2)
        portal.call_soon(look)
        number.set(3)  # after the call was made

    await result_of(kit, Thread(work))
    await loop_until(kit, lambda: len(seen) == 9)
    assert seen == [0, 0, 0, 0, 1, 1, 1, 1, 2]
    assert number.get() == 0


@EVERYWHERE
async def test_a_coroutine_runs_on_a_loop_whose_task_factory_takes_no_context(aio):
    """Portal.run raised TypeError: unexpected keyword argument 'context'."""

    def factory(loop, coro):
        made.append(asyncio.Task(coro, loop=loop))
        return made[-1]

    async def call():
        await asyncio.sleep(0)
        seen.append(number.get())
        number.set(99)
        return "result"

    def work():
        number.set(1)
        assert portal.run(call) == "result"
        assert number.get() == 1
        future = portal.submit(asyncio.sleep, PATIENCE)
        until(lambda: len(made) == 2)
        assert future.cancel()

    made, seen, portal = [], [], Portal()
    # uvloop itself hands a context to every factory.
    own = factory if "uvloop" not in aio.name else lambda *args, **_: factory(*args)
    asyncio.get_running_loop().set_task_factory(own)
    try:
        await result_of(aio, Thread(work))
        await loop_until(aio, lambda: not portal._runner.running)
    finally:
        asyncio.get_running_loop().set_task_factory(None)
    assert seen == [1] and made[1].cancelled()


async def test_a_call_that_changes_its_context_leaves_that_of_the_next_call_alone(kit):
    portal, seen = Portal(), []

    def call(n):
        assert number.get() == 0
        number.set(n)
        seen.append(n)

    Thread(lambda: [portal.call_soon(call, n) for n in range(1, 101)]).finish()
    await kit.turn()
    await loop_until(kit, lambda: len(seen) == 100)


async def test_run_and_start_task_in_the_loops_own_thread_raise_and_name_submit(kit):
    portal = Portal()
    for method in (portal.run, portal.start_task):
        with pytest.raises(RuntimeError, match=r"this thread runs .* portal\.submit\(\)"):
            method(print)


async def test_start_task_returns_when_the_task_is_ready(kit):
    portal, go = Portal(), []

    async def serve(x, *, task_status):
        await kit.sleep(0.001)
        task_status.started(x + 1)
        while not go:
            await kit.sleep(0.001)
        return "end"

    def work():
        future, value = portal.start_task(serve, 1)
        assert not future.done()
        go.append(True)
        return value, future.result(PATIENCE)

    assert await result_of(kit, Thread(work)) == (2, "end")


async def test_start_task_raises_if_the_task_ends_before_it_says_that_it_is_ready(kit):
    portal = Portal()

    async def returns(*, task_status):
        await kit.sleep(0)

    async def raises(*, task_status):
        raise KeyError("boom")

    async def twice(*, task_status):
        task_status.started()
        task_status.started()

    def work():
        with pytest.raises(RuntimeError, match="without task_status"):
            portal.start_task(returns)
        with pytest.raises(KeyError, match="boom"):
            portal.start_task(raises)
        future, value = portal.start_task(twice)
        assert value is None
        with pytest.raises(RuntimeError, match="called 'started' twice"):
            future.result(PATIENCE)
        return True

    assert await result_of(kit, Thread(work))


@pytest.mark.parametrize("method", ["run", "start_task"])
@pytest.mark.parametrize("name", kits.LOOPS)
@in_child
def test_ctrl_c_in_a_thread_that_waits_for_a_task_cancels_the_task(name, method):
    """The main thread calls the portal and is interrupted; the loop runs in another thread."""
    kit, portals, seen = kits.kit(name), [], []

    async def sleep(task_status=None):
        seen.append("begun")
        try:
            await kit.sleep(2 * PATIENCE)
        finally:
            seen.append("ended")

    async def main():
        portals.append(Portal())
        await loop_until(kit, lambda: "ended" in seen)
        await loop_until(kit, lambda: not portals[0]._runner.running)

    def interrupt():
        until(lambda: seen)
        time.sleep(0.02)
        os.kill(os.getpid(), signal.SIGINT)

    loop = Thread(lambda: kit.run(main))
    until(lambda: portals)
    thread = Thread(interrupt)
    with pytest.raises(KeyboardInterrupt):
        getattr(portals[0], method)(sleep)
    thread.finish()
    loop.finish()
    assert seen == ["begun", "ended"]


@EVERYWHERE
async def test_a_cancelled_future_cancels_the_task(kit):
    portal, seen = Portal(), []

    async def sleep():
        seen.append("begun")
        try:
            await kit.sleep(PATIENCE)
        finally:
            seen.append("ended")

    def work():
        future = portal.submit(sleep)
        until(lambda: seen)
        assert future.cancel()
        with pytest.raises(concurrent.futures.CancelledError):
            future.result(0)
        done, _ = concurrent.futures.wait([future], PATIENCE)
        assert done
        until(lambda: len(seen) == 2)

    await result_of(kit, Thread(work))
    assert seen == ["begun", "ended"]
    await loop_until(kit, lambda: not portal._runner.running)


@EVERYWHERE
async def test_a_call_that_is_cancelled_before_it_begins_never_begins(kit):
    portal, seen = Portal(), []

    async def call():
        seen.append("async")

    futures = []

    def work():
        futures.extend([portal.submit(seen.append, 1), portal.submit(call)])
        assert all(future.cancel() for future in futures)

    Thread(work).finish()  # the loop does not run meanwhile
    await result_of(kit, Thread(lambda: concurrent.futures.wait(futures, PATIENCE)))
    assert seen == []


async def test_a_task_that_is_cancelled_before_its_first_step_never_steps(kit):
    portal, seen = Portal(), []

    async def call():
        seen.append("begun")

    spawn = portal._runner.spawn

    def cancelled_at_once(call, awaitable):
        task = spawn(call, awaitable)
        future.cancel()
        time.sleep(0.001)  # the time of the turn is used up
        return task

    portal._runner.spawn = cancelled_at_once
    future = portal.submit(call)
    await loop_until(kit, lambda: future.done() and not portal._runner.running)
    if kit.name == "asyncio-eager":  # an eager task takes its first step in `spawn`
        assert seen == ["begun"] and not future.cancelled()
    else:
        assert seen == [] and future.cancelled()


async def test_a_task_that_is_cancelled_in_the_loop_cancels_the_future(aio):
    portal = Portal()

    async def cancel_itself():
        asyncio.current_task().cancel()
        await asyncio.sleep(PATIENCE)

    future = portal.submit(cancel_itself)
    await loop_until(aio, future.done)
    assert future.cancelled()


async def test_a_closed_portal_refuses_calls_and_runs_those_that_it_accepted(kit):
    portal, seen = Portal(), []

    async def call():
        await kit.sleep(0.01)
        return "result"

    def work():
        futures = [portal.submit(seen.append, n) for n in range(100)]
        futures.append(portal.submit(call))
        portal.call_soon(seen.append, 100)
        portal.close()
        portal.close()
        for method in (portal.call_soon, portal.submit, portal.run, portal.start_task):
            with pytest.raises(ClosedResourceError, match="portal is closed"):
                method(print)
        return futures

    assert not portal.closed
    futures = Thread(work).finish()
    assert portal.closed and "closed, 102 to run" in repr(portal)
    assert await _result(kit, futures[-1]) == "result"
    assert seen == list(range(101))


async def test_a_task_of_a_closed_portal_can_be_cancelled(kit):
    portal = Portal()
    future = portal.submit(kit.sleep, PATIENCE)
    await loop_until(kit, lambda: portal._runner.running)
    portal.close()
    assert future.cancel()
    await loop_until(kit, lambda: not portal._runner.running)


async def test_the_end_of_a_with_block_closes_the_portal(kit):
    with Portal() as portal:
        portal.call_soon(int)
    assert portal.closed


@EVERYWHERE
async def test_async_with_waits_for_the_calls_and_tasks_under_way(kit):
    seen = []

    async def call():
        await kit.sleep(0.02)
        seen.append("task")

    async with Portal() as portal:
        Thread(lambda: (portal.submit(call), portal.call_soon(seen.append, "call"))).finish()
    assert seen == ["call", "task"]


async def test_async_with_cancels_the_tasks_under_way_if_its_body_raises(kit):
    with pytest.raises(KeyError, match="body"):
        async with Portal() as portal:
            future = portal.submit(kit.sleep, PATIENCE)
            await loop_until(kit, lambda: portal._runner.running)
            raise KeyError("body")
    assert future.cancelled()


@EVERYWHERE
async def test_a_body_that_raises_at_once_waited_for_calls_that_had_not_begun(kit):
    seen = []
    with pytest.raises(KeyError, match="body"):
        async with kit.patient("the portal"), Portal() as portal:
            futures = [portal.submit(kit.sleep, 2 * PATIENCE), portal.submit(seen.append, 1)]
            portal.call_soon(seen.append, 2)
            raise KeyError("body")
    assert seen == [2]
    assert all(future.cancelled() for future in futures)


@EVERYWHERE
async def test_async_with_cancels_the_tasks_under_way_if_its_wait_is_cancelled(kit):
    async with kit.move_on_after(0.02) as scope, Portal() as portal:
        future = portal.submit(kit.sleep, 2 * PATIENCE)
    assert scope.expired
    await loop_until(kit, future.cancelled)  # not at once if the task had not begun
    await loop_until(kit, lambda: not portal._runner.running)


async def test_async_with_cancels_calls_that_have_not_begun_if_its_wait_is_cancelled(kit):
    portal, go, seen = Portal(), threading.Event(), []

    async def other():
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.02), portal:
                pass

    futures = [portal.submit(kit.sleep, PATIENCE)]
    portal.call_soon(go.wait, PATIENCE)  # holds the loop
    futures += [portal.submit(kit.sleep, PATIENCE), portal.submit(seen.append, 1)]
    portal.call_soon(seen.append, 2)
    await result_of(kit, Thread(lambda: (asyncio.run(other()), go.set())))
    await loop_until(kit, lambda: seen)
    assert seen == [2] and all(future.cancelled() for future in futures)
    await loop_until(kit, lambda: not portal._runner.running)


async def test_async_with_in_another_loop_waits_for_the_task_under_way(kit):
    portal = Portal()
    future = portal.submit(kit.sleep, 0.02)

    async def other():
        async with asyncio.timeout(PATIENCE), portal:
            pass
        return future.done()

    assert await result_of(kit, Thread(lambda: asyncio.run(other())))


async def test_async_with_in_another_loop_waits_for_the_call_that_runs(kit):
    portal, begun = Portal(), threading.Event()

    def call():
        begun.set()
        time.sleep(0.05)

    async def other():
        async with asyncio.timeout(PATIENCE), portal:
            assert begun.wait(PATIENCE)
        return future.done()

    future = portal.submit(call)
    assert await result_of(kit, Thread(lambda: asyncio.run(other())))


@EVERYWHERE
async def test_a_flood_of_calls_never_starves_the_loop(kit):
    portal, stop, calls = Portal(), [], 0

    def again():
        nonlocal calls
        calls += 1
        if not stop:
            portal.call_soon(again)

    portal.call_soon(again)
    for _ in range(5):
        before = calls
        await kit.sleep(0.002)
        await loop_until(kit, lambda now=before: calls > now)
    stop.append(True)


async def test_a_call_that_raises_is_reported_and_the_portal_goes_on(kit, caplog):
    portal, seen = Portal(), []
    if kit.is_asyncio:
        # rloop passes only the context; asyncio passes the loop before the context.
        loop = asyncio.get_running_loop()
        loop.set_exception_handler(lambda *arguments: seen.append(arguments[-1]))

    def fail():
        raise KeyError("boom")

    portal.call_soon(fail)
    portal.call_soon(seen.append, "next")
    await loop_until(kit, lambda: "next" in seen)
    if kit.is_asyncio:
        assert repr(seen[0]["exception"]) == "KeyError('boom')" and "fail" in seen[0]["message"]
    elif "asyncio" not in kit.name:
        (record,) = caplog.records
        assert record.name == "wakefd" and "fail" in record.message
        assert repr(record.exc_info[1]) == "KeyError('boom')"


@pytest.mark.parametrize("error", [KeyboardInterrupt, SystemExit])
def test_ctrl_c_or_an_exit_in_a_call_ends_the_loop_and_no_other_call_is_lost(
    aio, error, no_gc, caplog
):
    seen, kept = [], []

    def end():
        raise error("boom")

    loop = aio.new_loop()

    async def main():
        portal = Portal()
        portal.call_soon(seen.append, 1)
        portal.call_soon(end)
        portal.call_soon(seen.append, 2)
        kept.append(
            (portal, portal.submit(lambda: seen.append(3)), portal.submit(asyncio.sleep, 9))
        )
        await asyncio.sleep(PATIENCE)

    task = loop.create_task(main())
    with pytest.raises(error) as caught:
        loop.run_until_complete(task)
    if "uvloop" not in aio.name:  # uvloop goes on to the end of its turn
        assert seen == [1]
    ((portal, future, sleep),) = kept
    loop.run_until_complete(asyncio.sleep(0.01))
    assert seen == [1, 2, 3] and future.done()
    portal.call_soon(end)
    future = portal.submit(seen.append, 4)
    with pytest.raises(error) as again:
        loop.run_until_complete(asyncio.sleep(1))
    loop.close()  # fails the other calls, though the tracebacks are kept
    assert isinstance(sleep.exception(0), LoopClosedError)
    if "uvloop" not in aio.name:
        assert isinstance(future.exception(0), LoopClosedError)
    assert caught.value and again.value


@pytest.mark.parametrize("how", ["plain", "async"])
@pytest.mark.parametrize("error", [KeyboardInterrupt, SystemExit])
def test_ctrl_c_or_an_exit_in_a_submitted_call_ends_the_loop(aio, error, how):
    async def end_async():
        raise error("boom")

    def end():
        raise error("boom")

    async def main():
        futures.append(Portal().submit(end if how == "plain" else end_async))
        await asyncio.sleep(PATIENCE)

    futures = []
    with pytest.raises(error, match="boom"):
        aio.run(main)
    assert isinstance(futures[0].exception(0), error)


def test_an_exit_in_a_call_ends_trio_and_the_other_calls_fail():
    trio = pytest.importorskip("trio")
    kept = []

    def end():
        raise SystemExit("boom")

    async def main():
        portal = Portal()
        portal.call_soon(end)
        kept.extend([portal, portal.submit(print), portal.submit(trio.sleep, PATIENCE)])
        await trio.sleep(PATIENCE)

    with pytest.raises(trio.TrioInternalError) as caught:
        trio.run(main)
    # The other calls have failed, though the traceback is kept.
    portal, *futures = kept
    assert all(isinstance(future.exception(0), LoopClosedError) for future in futures)
    with pytest.raises(LoopClosedError):
        portal.call_soon(print)
    assert isinstance(caught.value.__cause__, BaseException)


def test_in_trio_an_exit_in_a_submitted_call_reaches_only_its_future():
    trio = pytest.importorskip("trio")

    def end():
        raise SystemExit("boom")

    async def end_async():
        end()

    async def main():
        async with Portal() as portal:
            return [portal.submit(end), portal.submit(end_async)]

    assert all(isinstance(future.exception(0), SystemExit) for future in trio.run(main))


def test_async_with_in_another_loop_ends_when_the_portals_loop_ends(loop_kit):
    async def other(portal):
        async with asyncio.timeout(PATIENCE), portal:
            pass

    async def main():
        portal = Portal()
        portal.submit(loop_kit.sleep, PATIENCE)
        thread = Thread(lambda: asyncio.run(other(portal)))
        await loop_until(loop_kit, lambda: portal.closed)
        await loop_kit.sleep(0.01)
        return thread

    if loop_kit.is_asyncio:
        loop = loop_kit.new_loop()
        thread = loop.run_until_complete(main())
        loop.close()
    else:
        thread = loop_kit.run(main)
    thread.finish()


def test_the_close_of_the_loop_fails_every_call_begun_or_not_or_made_later(loop_kit, no_gc, caplog):
    """The calls fail inside the close, not only when the garbage collector finds the portal."""
    seen = []

    def again(portal):
        portal.call_soon(again, portal)  # there is always one call more
        seen.append(portal.submit(int))

    async def main():
        portal = Portal()
        sleep = portal.submit(loop_kit.sleep, PATIENCE)
        await loop_until(loop_kit, lambda: portal._runner.running)
        portal.call_soon(again, portal)
        await loop_until(loop_kit, lambda: seen)
        return portal, sleep

    if loop_kit.is_asyncio:
        loop = loop_kit.new_loop()
        portal, sleep = loop.run_until_complete(main())
        assert not sleep.done()
        loop.close()
    else:
        portal, sleep = loop_kit.run(main)
    assert isinstance(sleep.exception(0), LoopClosedError)
    assert isinstance(seen[-1].exception(0), LoopClosedError)
    assert all(future.done() for future in seen)
    (record,) = caplog.records
    assert (record.name, record.levelname) == ("wakefd", "ERROR") and "again" in record.message
    for closed in (False, True):
        for method in (portal.call_soon, portal.submit, portal.run, portal.start_task):
            with pytest.raises(LoopClosedError, match="loop is closed"):
                method(print)
        assert portal.closed and "loop closed" in repr(portal)
        if not closed:
            portal.close()


def test_a_blocked_thread_is_released_by_the_end_of_the_loop(kit):
    async def main():
        portal = Portal()
        thread = Thread(portal.run, kit.sleep, PATIENCE)
        await loop_until(kit, lambda: portal._runner.running)
        return thread

    thread = kit.run(main)
    with pytest.raises((LoopClosedError, concurrent.futures.CancelledError)):
        thread.finish()


def test_a_closed_portal_raises_loop_closed_error_once_its_loop_has_ended(loop_kit):
    async def main():
        portal = Portal()
        portal.close()
        with pytest.raises(ClosedResourceError):
            portal.call_soon(print)
        await loop_kit.sleep(0.01)
        return portal

    portal = loop_kit.run(main)
    with pytest.raises(LoopClosedError):
        portal.call_soon(print)


async def test_a_dropped_portal_runs_its_calls_and_leaves_nothing_behind(kit):
    before, seen = receivers(), []
    for n in range(50):
        Portal().call_soon(seen.append, n)
        Portal().submit(kit.sleep, 0.01)
    await loop_until(kit, lambda: receivers() == before)
    assert sorted(seen) == list(range(50))


async def test_a_portal_does_not_keep_its_loop_alive(aio):
    def run():
        loop = aio.new_loop()

        async def main():
            return Portal()

        portal = loop.run_until_complete(main())
        loop.call_soon(print)
        future = portal.submit(print)
        portal.call_soon(lambda: portal)
        alive = weakref.ref(loop)
        with pytest.warns(ResourceWarning):
            del loop
            gc.collect()
        return alive, future, portal

    def work():
        alive, future, portal = run()
        assert alive() is None
        assert isinstance(future.exception(0), LoopClosedError)
        with pytest.raises(LoopClosedError):
            portal.call_soon(print)
        return True

    if aio.name.startswith("asyncio") and "thread" not in aio.name:
        assert await result_of(aio, Thread(work))


@pytest.mark.stress
def test_thousands_of_loops_with_a_portal_leave_no_descriptor_and_no_receiver(loop_kit):
    async def main():
        portal = Portal()
        portal.call_soon(int)
        future = portal.submit(loop_kit.sleep, 0)
        await loop_until(loop_kit, future.done)
        portal.call_soon(logging.getLogger("wakefd").debug, "cycle %s", portal)

    def rounds(count):
        for _ in range(count):
            loop_kit.run(main)

    logging.getLogger("wakefd").disabled = True
    try:
        rounds(20)
        before = fds(), receivers()
        rounds(stress(300, 5000))
        assert (fds(), receivers()) == before
    finally:
        logging.getLogger("wakefd").disabled = False


async def test_destructors_weakref_callbacks_and_signal_handlers_may_call(loop_kit):
    portal, seen = Portal(), []

    class Cycle:
        def __del__(self):
            portal.call_soon(seen.append, "del")

    cycle = Cycle()
    watch = weakref.ref(cycle, lambda _: portal.call_soon(seen.append, "weakref"))
    cycle.me = cycle
    del cycle
    gc.collect()
    old = signal.signal(signal.SIGUSR1, lambda *_: portal.call_soon(seen.append, "signal"))
    try:
        os.kill(os.getpid(), signal.SIGUSR1)
        await loop_until(loop_kit, lambda: len(seen) == 3)
    finally:
        signal.signal(signal.SIGUSR1, old)
    assert sorted(seen) == ["del", "signal", "weakref"]
    assert watch() is None


@in_child
def test_a_signal_handler_may_call_at_any_moment():
    """No call is lost if a signal interrupts a method of the portal, or the receiver at work."""
    interval, seen = 0.0001, []

    async def main():
        made = 0

        def handler(*_):
            nonlocal made
            portal.call_soon(seen.append, "handler")
            made += 1

        def work():
            for _ in range(20_000):
                portal.call_soon(seen.append, "thread")

        async with Portal() as portal:
            signal.signal(signal.SIGALRM, handler)
            signal.setitimer(signal.ITIMER_REAL, interval, interval)
            thread = Thread(
                lambda: [portal.call_soon(seen.append, "thread") for _ in range(20_000)]
            )
            async with asyncio.timeout(PATIENCE):
                calls = 0
                while made < 1000:
                    for _ in range(100):
                        portal.call_soon(seen.append, "loop")
                        calls += 1
                    await asyncio.sleep(0)
            signal.setitimer(signal.ITIMER_REAL, 0)
            thread.finish()
        return {"handler": made, "thread": 20_000, "loop": calls}

    assert asyncio.run(main()) == Counter(seen)


@in_child
def test_destructors_may_call_at_any_allocation():
    """The garbage collector runs inside the portal's methods, and destructors call the portal."""
    gc.set_threshold(1)

    async def main():
        async with Portal() as portal:
            seen = []

            class Cycle:
                def __del__(self):
                    portal.call_soon(seen.append, 1)
                    portal.submit(seen.append, 1)

            for _ in range(2000):
                cycle = Cycle()
                cycle.me = cycle
                portal.call_soon(seen.append, 0)
                portal.submit(seen.append, 0)
            del cycle
            gc.set_threshold(700)
            gc.collect()
        return seen.count(0), seen.count(1)

    assert asyncio.run(main()) == (4000, 4000)


def test_a_portal_made_before_a_fork_refuses_calls_in_the_child(loop_kit, caplog):
    async def main():
        portal, seen = Portal(), []
        portal.call_soon(seen.append, 1)
        future = portal.submit(seen.append, 2)

        def child():
            for method in (portal.call_soon, portal.submit):
                with pytest.raises(LoopClosedError, match="before the fork"):
                    method(print)
            assert portal.closed
            portal.close()
            assert not future.done() and not seen  # the parent's calls

            async def own():
                mine = Portal()
                thread = Thread(mine.run, int)
                await loop_until(loop_kit, lambda: not thread.is_alive())
                return thread.finish()

            assert Thread(loop_kit.run, own).finish() == 0

        forked(child)
        await loop_until(loop_kit, lambda: seen == [1, 2])
        future.result(0)
        portal.call_soon(seen.append, 3)
        await loop_until(loop_kit, lambda: seen == [1, 2, 3])

    loop_kit.run(main)
    assert not caplog.records


def test_a_child_that_closes_the_parents_loop_fails_no_call_of_the_parent(aio, caplog):
    loop, seen = aio.new_loop(), []

    async def main():
        return Portal()

    portal = loop.run_until_complete(main())
    future = portal.submit(seen.append, 1)
    portal.call_soon(seen.append, 2)

    def child():
        loop.close()
        gc.collect()
        assert not future.done() and not caplog.records  # the parent's call
        with pytest.raises(LoopClosedError):
            portal.call_soon(print)

    forked(child)
    loop.run_until_complete(asyncio.sleep(0.01))
    assert seen == [1, 2]
    loop.close()

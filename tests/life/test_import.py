"""Tests of a second import of wakefd, in the same interpreter and in another one."""

import pickle
import queue as stdlib_queue
import sys
import threading

import pytest

from helpers import in_child, run_child


def imported_anew(*also):
    """Import wakefd a second time, and these packages.

    Return an event of the first wakefd, that package, and the second.
    """
    import wakefd as first

    old, _old_queue = first.IoEvent(), first.Queue(1)  # a queue's module is loaded at its first use
    for name in list(sys.modules):
        if name.split(".")[0] in {"wakefd", *also}:
            del sys.modules[name]
    import wakefd

    assert wakefd is not first
    return old, first, wakefd


@pytest.mark.parametrize("also", [(), ("asyncio",)])
@in_child(strict=True)
def test_exceptions_raised_after_a_second_import_can_be_caught(also):
    """The exceptions raised were the first import's, and the second import's did not catch them."""
    _, first, wakefd = imported_anew(*also)
    import asyncio

    def raises(error, call, *args):
        with pytest.raises(error) as caught:
            call(*args)
        assert type(pickle.loads(pickle.dumps(caught.value))) is caught.type

    for package in (wakefd, first):
        event = package.IoEvent()
        event.close()
        raises(wakefd.ClosedResourceError, event.wait)
        raises(first.ClosedResourceError, event.wait)
        for queue in (package.Queue(1), package.LifoQueue(1), package.PriorityQueue(1)):
            queue.put(1)
            raises(stdlib_queue.Full, queue.put_nowait, 2)
            queue.get()
            raises(stdlib_queue.Empty, queue.get_nowait)
            queue.shutdown()
            raises(wakefd.QueueShutDown, queue.get)
            raises(wakefd.QueueShutDown, queue.put, 1)
            raises(wakefd.QueueShutDown, queue.sync_q.get)
        queue = package.ByteQueue(1024, 64)
        queue.shutdown()
        raises(wakefd.QueueShutDown, queue.get)

        async def main(package=package, event=event):
            portal = package.Portal()
            portal.close()
            raises(wakefd.ClosedResourceError, portal.call_soon, print)
            raises(wakefd.ClosedResourceError, portal.submit, print)
            with pytest.raises(wakefd.ClosedResourceError):
                await event.notified()
            queue = package.Queue()
            queue.shutdown()
            with pytest.raises(wakefd.QueueShutDown):
                await queue.async_get()
            async for _ in queue:
                pass
            return portal

        portal = asyncio.run(main())
        raises(wakefd.LoopClosedError, portal.call_soon, print)


@in_child(strict=True)
def test_both_imports_work_in_one_loop():
    old, first, wakefd = imported_anew()
    import asyncio

    from kit_asyncio import ThreadedLoop

    async def main():
        event = wakefd.IoEvent()
        for each, other in ((old, first), (event, wakefd)):
            timer = threading.Timer(0.01, each.notify)
            timer.start()
            await asyncio.wait_for(each.notified(), 20)
            timer.join()
            queue = other.Queue()
            timer = threading.Timer(0.01, queue.put, [1])
            timer.start()
            assert await asyncio.wait_for(queue.async_get(), 20) == 1
            timer.join()
            async with other.Portal() as portal:
                assert await other.wrap_future(portal.submit(lambda: 3)) == 3
        event.clear()
        assert await first.any_notified(old, event) == [old]

    asyncio.run(main())
    old.clear()
    loop = ThreadedLoop()
    loop.run_until_complete(main())
    loop.close()


# The program of the second interpreter.
SECOND = """if True:
    import os
    try:
        import wakefd
    except ImportError as error:
        os.write(1, str(error).encode())
    else:
        os.write(1, b"imported")
    os._exit(0)  # CPython 3.12 does not survive the end of an interpreter
"""


def second_interpreter(kind):
    """Run SECOND in another interpreter; this one has imported wakefd already."""
    try:
        import _interpreters as interpreters
    except ImportError:
        import _xxsubinterpreters as interpreters
    if sys.version_info >= (3, 13):
        interpreter = interpreters.create(kind)
    else:
        interpreter = interpreters.create(isolated=kind == "isolated")
    (getattr(interpreters, "exec", None) or interpreters.run_string)(interpreter, SECOND)


@pytest.mark.parametrize("kind", ["legacy", "isolated"])
def test_a_second_interpreter_is_refused(kind):
    """A second interpreter that shares the GIL could import wakefd, and only half of it worked."""
    out = run_child("test_import", "second_interpreter", kind).stdout
    if kind == "legacy" or sys.version_info < (3, 12):
        assert "one interpreter of a process" in out
        assert "use threads or processes" in out
    else:
        assert "wakefd._wakefd does not support loading in subinterpreters" in out

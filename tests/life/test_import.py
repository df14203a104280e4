"""Tests of a second import of wakefd, in the same interpreter and in another one."""

import subprocess
import sys

import pytest

from helpers import program

ANEW = """
import sys, pickle, threading
import wakefd as first
from wakefd._loops import asyncio as _asyncio
old, old_queue = first.IoEvent(), first.Queue(1)
for name in list(sys.modules):
    if name.split(".")[0] == "wakefd" {more}:
        del sys.modules[name]
import wakefd
assert wakefd is not first
"""


@pytest.mark.parametrize("more", ["", "or name.startswith('asyncio')"])
def test_exceptions_raised_after_a_second_import_can_be_caught(more):
    """The exceptions raised were the first import's, and the second import's did not catch them."""
    program(
        ANEW.format(more=more)
        + """
import asyncio
import queue as stdlib_queue

def raises(error, call, *args):
    try:
        call(*args)
    except error as caught:
        assert type(pickle.loads(pickle.dumps(caught))) is type(caught)
    else:
        raise AssertionError(error)

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

    async def main():
        portal = package.Portal()
        portal.close()
        raises(wakefd.ClosedResourceError, portal.call_soon, print)
        raises(wakefd.ClosedResourceError, portal.submit, print)
        try:
            await event.notified()
        except wakefd.ClosedResourceError:
            pass
        queue = package.Queue()
        queue.shutdown()
        try:
            await queue.async_get()
        except wakefd.QueueShutDown:
            pass
        async for _ in queue:
            pass
        return portal

    portal = asyncio.run(main())
    raises(wakefd.LoopClosedError, portal.call_soon, print)
"""
    )


def test_both_imports_work_in_one_loop():
    assert (
        program(
            ANEW.format(more="")
            + """
import asyncio

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
    events = [old, event]
    event.clear()
    return await first.any_notified(*events) == [old]

print(asyncio.run(main()))
from kit_asyncio import ThreadedLoop
loop = ThreadedLoop()
old.clear()
print(loop.run_until_complete(main()))
loop.close()
"""
        )
        == "True\nTrue\n"
    )


SECOND = """
import os, sys
try:
    import _interpreters as interpreters
except ImportError:
    import _xxsubinterpreters as interpreters
kind = sys.argv[1]
import wakefd
if sys.version_info >= (3, 13):
    interpreter = interpreters.create(kind)
else:
    interpreter = interpreters.create(isolated=kind == "isolated")
code = '''if True:
    import os
    try:
        import wakefd
    except ImportError as error:
        os.write(1, str(error).encode())
    else:
        os.write(1, b"imported")
    os._exit(0)  # CPython 3.12 does not survive the end of an interpreter
'''
(getattr(interpreters, "exec", None) or interpreters.run_string)(interpreter, code)
"""


@pytest.mark.parametrize("kind", ["legacy", "isolated"])
def test_a_second_interpreter_is_refused(kind):
    """A second interpreter that shares the GIL could import wakefd, and only half of it worked."""
    done = subprocess.run(
        [sys.executable, "-c", SECOND, kind],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=40,
    )
    assert done.returncode == 0, done.stderr
    if kind == "legacy" or sys.version_info < (3, 12):
        assert "one interpreter of a process" in done.stdout
        assert "use threads or processes" in done.stdout
    else:
        assert "wakefd._wakefd does not support loading in subinterpreters" in done.stdout

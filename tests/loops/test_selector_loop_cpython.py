"""CPython's own tests of asyncio, as installed with this Python, run on wakefd.SelectorEventLoop.

None is left out. The tests of asyncio's pair of sockets use mocks on BaseSelectorEventLoop, which
wakefd does not change.
"""

import subprocess
import sys

import pytest

from helpers import CHILD_LIMIT, FULL

pytest.importorskip("test.test_asyncio")

# The program replaces the class in every place from which a test of CPython takes a loop.
PROGRAM = """
import asyncio, sys, unittest
from asyncio import unix_events
from test import support

import wakefd

ours = wakefd.SelectorEventLoop
for module in (asyncio, unix_events):
    module.SelectorEventLoop = ours
    if hasattr(module, "EventLoop"):
        module.EventLoop = ours
unix_events._UnixDefaultEventLoopPolicy._loop_factory = ours
loop = asyncio.new_event_loop()
assert type(loop) is ours
loop.close()

support.use_resources = ["cpu", "subprocess", "walltime"]  # no network
unittest.main(module=None, argv=["", *sys.argv[1:]])
"""


def run(*names):
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM, *names],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=CHILD_LIMIT,
    )
    assert done.returncode == 0, done.stdout + done.stderr[-20000:]
    print(f"{sys.version.split()[0]}:", *done.stderr.splitlines()[-3:])
    return done.stderr


@pytest.mark.stress
@pytest.mark.skipif(not FULL, reason="takes minutes: `make stress`")
def test_all_of_asyncios_tests_pass():
    run("test.test_asyncio")


def test_asyncios_tests_of_threads_pass():
    """The short tests that concern threads run every time."""
    run(*(f"test.test_asyncio.test_{name}" for name in ("threads", "runners", "context")))

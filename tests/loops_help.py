"""What the tests of the adapters share: real threads, patience, and children."""

import _thread
import os
import shutil
import subprocess
import sys
import textwrap
import time
from contextlib import contextmanager
from pathlib import Path

import pytest

PATIENCE = 20.0  # seconds. The cores are slow, but what takes longer than this is lost.


def _original(module, name):
    """What gevent may have patched."""
    monkey = sys.modules.get("gevent.monkey")
    return monkey.get_original(module.__name__, name) if monkey else getattr(module, name)


class RealThread:
    """A thread of the operating system, also where gevent has patched `threading`."""

    def __init__(self, function, *args):
        self._error = None
        self._ended = _original(_thread, "allocate_lock")()
        self._ended.acquire()
        _original(_thread, "start_new_thread")(self._run, (function, args))

    def _run(self, function, args):
        try:
            function(*args)
        except BaseException as error:
            self._error = error
        self._ended.release()

    def finish(self):
        assert self._ended.acquire(timeout=PATIENCE), "the thread hangs"
        if self._error is not None:
            raise self._error


def later(function, seconds=0.02):
    """Call it in a thread, in a while."""

    def run():
        _original(time, "sleep")(seconds)
        function()

    return RealThread(run)


def fds():
    return len(os.listdir("/proc/self/fd"))


def program(code, *args, limit=2 * PATIENCE, **environment):
    """Run a program of its own; it must end well and silently. Return what it printed."""
    path = os.pathsep.join(filter(None, [str(Path(__file__).parent), os.environ.get("PYTHONPATH")]))
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", textwrap.dedent(code), *args],
        env={**os.environ, "PYTHONPATH": path, **environment},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=limit,
    )
    assert (done.returncode, done.stderr) == (0, ""), (
        f"{done.returncode}\n{done.stdout}{done.stderr}"
    )
    return done.stdout


def without(module, wanted):
    """Import a module of ours where its framework is missing; return the ImportError's words."""
    return program(
        f"""
        import sys
        for name in {wanted!r}:
            sys.modules[name] = None
        try:
            import {module}
        except ImportError as error:
            print(error)
        """
    )


@contextmanager
def screen():
    """An X display for Tk; skip if there is none to be had."""
    if "DISPLAY" in os.environ:
        yield os.environ["DISPLAY"]
        return
    if shutil.which("Xvfb") is None:
        pytest.skip("no DISPLAY, and no Xvfb to make one")
    read, write = os.pipe()
    command = ["Xvfb", "-displayfd", str(write), "-screen", "0", "640x480x24", "-nolisten", "tcp"]
    with subprocess.Popen(command, pass_fds=[write], stderr=subprocess.DEVNULL) as server:
        os.close(write)
        with os.fdopen(read) as pipe:
            number = pipe.readline().strip()
        try:
            if not number:
                pytest.skip("Xvfb does not start here")
            yield f":{number}"
        finally:
            server.terminate()

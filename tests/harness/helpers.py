"""The tools that all tests share: bounded waits, child processes, and questions to this process."""

import _thread
import errno
import faulthandler
import functools
import gc
import os
import pickle
import re
import select
import shutil
import signal
import socket
import subprocess
import sys
import textwrap
import time
import traceback
from contextlib import contextmanager
from pathlib import Path

from wakefd._loops import asyncio as _asyncio

ROOT = Path(__file__).parents[2]

# The folders of test modules, whose names are unique: a test, or its child, may import any.
FOLDERS = [str(path) for path in sorted((ROOT / "tests").iterdir()) if any(path.glob("*.py"))]

# The bound of a wait, in seconds. The cores may be slow, but a wait that lasts longer is lost.
PATIENCE = 20.0

FULL = os.environ.get("WAKEFD_STRESS", "small") == "full"


def stress(small, full):
    """Return the number of repetitions that WAKEFD_STRESS asks for."""
    return full if FULL else small


# The options of a child in which warnings are errors. One warning is none: from Python 3.15 on,
# os.fork() warns in a process with threads, and these tests are about forks.
STRICT = ["-W", "error", "-W", "ignore:This process"]

# The bound of a test that runs in a fresh interpreter, in seconds.
CHILD_LIMIT = stress(2 * PATIENCE, 3000)


def patched():
    """Return whether gevent has patched the standard library."""
    monkey = sys.modules.get("gevent.monkey")
    return monkey is not None and monkey.is_module_patched("threading")


def real(module, name):
    """Return a function of the standard library as it was before gevent patched it."""
    return (
        sys.modules["gevent.monkey"].get_original(module.__name__, name)
        if patched()
        else getattr(module, name)
    )


def until(condition, what="the condition", patience=PATIENCE):
    """Block this thread until `condition()` is true."""
    deadline = time.monotonic() + patience
    while not condition():
        assert time.monotonic() < deadline, f"waited in vain for {what}"
        real(time, "sleep")(0.001)


def replace_file(file, number):
    """Call os.dup2(), again after EBUSY: another thread's open() is about to get the number."""

    def replaced():
        try:
            os.dup2(file, number)
        except OSError as error:
            if error.errno != errno.EBUSY:
                raise
            return False
        return True

    until(replaced, f"the number {number}")


def new_turn():
    """Begin a new turn of the asyncio loop that runs here, if one does."""
    turn = _asyncio.turn()
    if turn is not None:
        turn.pauses()
        turn.resumed()


def use_up_the_turn():
    """Wait until the turn of the asyncio loop that runs here is over: the next operation pauses."""
    turn = _asyncio.turn()
    deadline = time.monotonic() + PATIENCE
    while turn.within():
        assert time.monotonic() < deadline


def waiting(event):
    """Return the number of waiters of the event."""
    return int(re.search(r"(\d+) waiting", repr(event))[1])


def readable(fd):
    """Return whether the descriptor is readable now."""
    return bool(select.select([fd], [], [], 0)[0])


def kill(fd):
    """End the connection of a socket, as a suspend of the machine does."""
    with socket.socket(fileno=os.dup(fd)) as end:
        end.shutdown(socket.SHUT_RDWR)


def fds():
    """Return the number of open descriptors, those of garbage left out."""
    gc.collect()
    return len(os.listdir("/proc/self/fd"))


def errno_of(call, *args):
    """Return the errno of the OSError that the call raises; None if it raises none."""
    try:
        call(*args)
    except OSError as error:
        return error.errno or "dead"  # a connection's end has no number
    return None


def errnos_of_a_closed_reader():
    """Return the errnos that notify() may raise once its descriptor was closed by somebody else."""
    from wakefd._wakefd import backend

    # The other end of a connection is told; the other end of a TCP connection, later.
    return {
        "eventfd": {errno.EBADF},
        "socketpair": {errno.EPIPE},
        "tcp": {None, errno.EPIPE, errno.ECONNRESET},
    }[backend()]


def numbers():
    """Return the numbers of all open descriptors."""
    found = set()
    for number in os.listdir("/proc/self/fd"):
        try:
            os.fstat(int(number))
        except OSError:
            continue  # the descriptor of the listing itself
        found.add(int(number))
    return found


class Thread:
    """A thread of the operating system, also where gevent has patched `threading`.

    `finish()` returns the function's result or raises its exception, within a bound.
    """

    def __init__(self, function, *args):
        self._function, self._args = function, args
        self._result = self._error = None
        self._running = real(_thread, "allocate_lock")()
        self._running.acquire()
        real(_thread, "start_new_thread")(self._run, ())

    def _run(self):
        try:
            self._result = self._function(*self._args)
        except BaseException as error:
            self._error = error
        self._running.release()

    def is_alive(self):
        return self._running.locked()

    def finish(self, patience=PATIENCE):
        assert self._running.acquire(timeout=patience), f"{self._function} hangs"
        self._running.release()
        if self._error is not None:
            raise self._error
        return self._result


def later(function, seconds=0.02):
    """Call the function in a thread, after some seconds."""
    return Thread(lambda: (real(time, "sleep")(seconds), function()))


def python_path():
    """Return PYTHONPATH for a child: the folders of test modules come first."""
    return os.pathsep.join(filter(None, [*FOLDERS, os.environ.get("PYTHONPATH")]))


def run_child(module, name, *args, strict=False, limit=CHILD_LIMIT, **environment):
    """Run a function of a test module in a fresh interpreter, which must end well.

    The arguments are pickled. With `strict`, a warning is an error there, and the child must end
    silently.
    """
    arguments = pickle.dumps(args)
    code = f"import helpers, {module}; helpers.child_main({module}.{name}, {arguments!r})"
    result = subprocess.run(
        [sys.executable, *(STRICT if strict else ()), "-c", code],
        env={**os.environ, "PYTHONPATH": python_path(), **environment},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=limit,
    )
    report = f"exit status {result.returncode}\n{result.stdout}\n{result.stderr}"
    assert result.returncode == 0, report
    assert not strict or result.stderr == "", report
    return result


def child_main(function, arguments):
    """Call the function in the child of `run_child`, and dump the stacks if it hangs."""
    faulthandler.dump_traceback_later(CHILD_LIMIT - 10, exit=True)
    getattr(function, "__wrapped__", function)(*pickle.loads(arguments))
    faulthandler.cancel_dump_traceback_later()


def in_child(test=None, *, strict=False):
    """Run the test in a fresh interpreter, because it forks, dies, or changes its whole process."""
    if test is None:
        return functools.partial(in_child, strict=strict)
    module = Path(test.__code__.co_filename).stem

    @functools.wraps(test)
    def run(*args, **kwargs):
        run_child(module, test.__name__, *args, *kwargs.values(), strict=strict)

    return run


def forked(function, fork=os.fork):
    """Run `function` in a forked child, which must end well."""
    pid = fork()
    if pid == 0:
        status = 1
        try:
            function()
            status = 0
        except BaseException:
            traceback.print_exc()
        finally:
            sys.stderr.flush()
            os._exit(status)
    return reaped(pid)


def reaped(pid):
    """Wait for a forked child, which must end well."""
    deadline = time.monotonic() + PATIENCE
    while True:
        done, status = os.waitpid(pid, os.WNOHANG)
        if done:
            assert status == 0, f"the forked child: {os.waitstatus_to_exitcode(status)}"
            return
        if time.monotonic() > deadline:
            os.kill(pid, signal.SIGKILL)
            os.waitpid(pid, 0)
            raise AssertionError("the forked child hangs")
        time.sleep(0.001)


def program(code, *args, limit=2 * PATIENCE, **environment):
    """Run a program in a fresh interpreter, which must end well and silently; return its output.

    A program is a string only if it must run before `helpers` is imported: linters do not see it.
    """
    done = subprocess.run(
        [sys.executable, *STRICT, "-c", textwrap.dedent(code), *args],
        env={**os.environ, "PYTHONPATH": python_path(), **environment},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=limit,
    )
    assert (done.returncode, done.stderr) == (0, ""), (
        f"{done.returncode}\n{done.stdout}{done.stderr}"
    )
    return done.stdout


def pytest_run(*args):
    """Run pytest in a fresh interpreter, which must end well; return its report."""
    done = subprocess.run(
        [sys.executable, *args, "-q", "-p", "no:cacheprovider"],
        cwd=ROOT,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=CHILD_LIMIT,
    )
    assert done.returncode == 0, done.stdout[-10000:] + done.stderr[-2000:]
    return done.stdout


def without(module, wanted):
    """Import a module whose framework is missing; return the message of the ImportError."""
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
    """Yield an X display for Tk; skip the test if there is none."""
    import pytest

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

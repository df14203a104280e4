"""What the tests share: patience, children, and a look at this process."""

import errno
import faulthandler
import functools
import gc
import os
import re
import signal
import subprocess
import sys
import threading
import time
import traceback
from pathlib import Path

HERE = Path(__file__).parent

# Seconds. The cores are slow, but what takes longer than this is lost.
PATIENCE = 20.0

FULL = os.environ.get("WAKEFD_STRESS", "small") == "full"


def stress(small, full):
    """How often: WAKEFD_STRESS says."""
    return full if FULL else small


# What a test that runs in a fresh interpreter may take as a whole, in seconds.
CHILD_LIMIT = stress(2 * PATIENCE, 3000)


def until(condition, what="it", patience=PATIENCE):
    """Block until `condition()` is true."""
    deadline = time.monotonic() + patience
    while not condition():
        assert time.monotonic() < deadline, f"waited in vain for {what}"
        time.sleep(0.001)


def waiting(event):
    """How many wait for the event."""
    return int(re.search(r"(\d+) waiting", repr(event))[1])


def fds():
    """How many descriptors this process has open, garbage apart."""
    gc.collect()
    return len(os.listdir("/proc/self/fd"))


def errno_of(call, *args):
    """The errno of the OSError that it raises; None if it raises none."""
    try:
        call(*args)
    except OSError as error:
        return error.errno or "dead"  # a connection's end has no number
    return None


def errnos_of_a_closed_reader():
    """What notify() says when the descriptor was closed under us."""
    from wakefd._wakefd import backend

    # The other end of a connection hears of it; TCP's, later.
    return {
        "eventfd": {errno.EBADF},
        "socketpair": {errno.EPIPE},
        "tcp": {None, errno.EPIPE, errno.ECONNRESET},
    }[backend()]


def numbers():
    """The numbers of all open descriptors."""
    found = set()
    for number in os.listdir("/proc/self/fd"):
        try:
            os.fstat(int(number))
        except OSError:
            continue  # the listing's own
        found.add(int(number))
    return found


class Thread(threading.Thread):
    """A thread whose result or exception `finish()` hands over, within our patience."""

    def __init__(self, function, *args):
        super().__init__(daemon=True)
        self._function, self._args = function, args
        self._result = self._error = None
        self.start()

    def run(self):
        try:
            self._result = self._function(*self._args)
        except BaseException as error:
            self._error = error

    def finish(self):
        self.join(PATIENCE)
        assert not self.is_alive(), f"{self._function} hangs"
        if self._error is not None:
            raise self._error
        return self._result


def run_child(module, name, *args):
    """Run a function of a test module in a fresh interpreter; it must end well."""
    code = f"import helpers, {module}; helpers.child_main({module}.{name}, {args!r})"
    path = os.pathsep.join(filter(None, [str(HERE), os.environ.get("PYTHONPATH")]))
    result = subprocess.run(
        [sys.executable, "-c", code],
        env={**os.environ, "PYTHONPATH": path},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=CHILD_LIMIT,
    )
    report = f"exit status {result.returncode}\n{result.stdout}\n{result.stderr}"
    assert result.returncode == 0, report
    return result


def child_main(function, args):
    faulthandler.dump_traceback_later(CHILD_LIMIT - 10, exit=True)
    getattr(function, "__wrapped__", function)(*args)
    faulthandler.cancel_dump_traceback_later()


def in_child(test):
    """Run the test in a fresh interpreter: it forks, dies, or bends its process."""

    @functools.wraps(test)
    def run(*args, **kwargs):
        run_child(Path(test.__code__.co_filename).stem, test.__name__, *args, *kwargs.values())

    return run


def forked(function, fork=os.fork):
    """Run `function` in a forked child; it must end well."""
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

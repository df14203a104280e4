"""For asyncio loops that cannot watch a descriptor: one thread per process that does it for them.

Those are the Proactor loop of Windows, QtAsyncio, and whatever has only `call_soon_threadsafe`. The
thread polls their hubs and posts a call when one is readable; it looks at that hub again only when
the call has begun, so it never spins. It starts when it is first needed, and ends with the process:
loops run in `atexit` handlers, too.

All loops of the process depend on it, so it outlives whatever happens to one of them, and it is
replaced if somebody closes what wakes it. It polls, for an epoll would be one descriptor more that
can be closed.
"""

import asyncio
import os
import select
import socket
import stat
import sys
import threading
import time
from collections.abc import Callable, Iterable
from contextvars import Context
from weakref import ReferenceType, ref

from wakefd._log import logger
from wakefd._wakefd import Hub

# Seconds. Some loops count milliseconds in 31 bits; `Keeper` renews it.
_NEVER = 2_000_000.0
# Seconds, until a loop is asked again that has refused a call.
_AGAIN = 0.1
# Seconds, from one look to the next if no thread can be had.
_LOOK = 0.01


def _forget(number: int) -> None:
    """Look at the descriptor no more. Harmless if it is not watched, or the interpreter ends."""
    thread = _current
    if thread is not None:
        thread.forget(number)


class Keeper:
    """What a never-due `call_later` handle owns on behalf of the loop: with it goes the hub."""

    def __init__(self, loop: asyncio.AbstractEventLoop, flat: object) -> None:
        self.hub = Hub()
        self._loop = ref(loop)
        self._flat = flat  # as that of a Reader
        self._watched: int | None = None
        self._reported = False
        self.watch()
        self()

    def __call__(self) -> None:
        """Be kept by the loop."""
        loop = self._loop()
        if loop is not None:
            Context().run(loop.call_later, _NEVER, self)

    def nests(self) -> bool:
        """Whether a loop may run inside the loop."""
        loop = self._loop()
        return loop is None or type(loop).run_until_complete is not self._flat

    def post(self) -> bool:
        """The hub is readable. In the selector thread, which watches it no more.

        False: the loop has refused the call, and is to be asked again.
        """
        self._watched = None
        loop = self._loop()
        try:
            if loop is not None and not loop.is_closed():
                me: ReferenceType[Keeper] = ref(self)
                loop.call_soon_threadsafe(_dispatch, me)
        except BaseException as error:
            if loop is None or loop.is_closed():
                return True  # in this moment
            if not self._reported:
                self._reported = True
                logger().error("%r refused a wake-up; it is asked again", loop, exc_info=error)
            return False
        return True

    def watch(self) -> None:
        """Have the selector thread look at the hub."""
        number = self.hub.fileno()  # it may be another one than before
        try:
            _watch(number, self)
        except RuntimeError:
            # No thread can be started: there are too many, or the interpreter ends (3.12).
            loop = self._loop()
            if loop is not None:
                me: ReferenceType[Keeper] = ref(self)
                Context().run(loop.call_later, _LOOK, _dispatch, me)
        else:
            self._watched = number

    def close(self, forget: Callable[[int], None] = _forget) -> None:
        """The loop is gone. Harmless if it is closed. At exit, the module's names are gone."""
        # First nobody looks at the descriptor any more, then the hub goes into the pool.
        watched, self._watched = self._watched, None
        if watched is not None and not self.hub.inherited:
            forget(watched)
        self.hub.close()

    __del__ = close


def _dispatch(owned: "ReferenceType[Keeper]") -> None:
    keeper = owned()
    if keeper is not None:
        try:
            watch = keeper.watch if not keeper.hub.inherited else None
            keeper.hub.dispatch(drained=watch, nests=keeper.nests())
        finally:
            del keeper  # a KeyboardInterrupt's traceback must not keep it: the loop alone does


class _Thread:
    """The thread, and those for whom it watches."""

    def __init__(self) -> None:
        # Reentrant: the collector may run a `__del__` anywhere.
        self._lock = threading.RLock()
        self._watched: dict[int, ReferenceType[Keeper]] = {}
        self._due: list[ReferenceType[Keeper]] = []
        self._left = False
        self._bell = _Bell()
        self._thread = threading.Thread(target=self._run, name="wakefd selector", daemon=True)
        try:
            Context().run(self._thread.start)  # from 3.14 on a thread may inherit it
        except BaseException:
            self._bell.close()
            raise

    def is_whole(self) -> bool:
        """Whether the thread runs, and hears of what it is told."""
        return self._thread.is_alive() and self._bell.is_whole()

    def leave_to(self, other: "_Thread") -> None:
        with self._lock:
            self._left = True
            with other._lock:
                other._watched.update(self._watched)
                other._due += self._due
            self._watched.clear()
            self._due.clear()
        self.close()
        other.look_again()

    def close(self) -> None:
        self._bell.close()

    def watch(self, number: int, keeper: Keeper) -> None:
        """Call `keeper.post()` once, when the descriptor is readable. Does not own the keeper."""
        with self._lock:
            self._watched[number] = ref(keeper)
        self.look_again()

    def look_again(self) -> None:
        """Have the thread call poll() anew: one that has begun knows of no later descriptor."""
        try:
            self._bell.ring()
        except OSError:
            _replace(self)

    def forget(self, number: int) -> None:
        with self._lock:
            self._watched.pop(number, None)

    def _run(self) -> None:
        try:
            while not self._left:
                try:
                    self._turn()
                except BaseException as error:
                    # Nothing of a loop's: no memory, or an exception that another thread has sent.
                    logger().error("the selector thread goes on", exc_info=error)
                    time.sleep(_AGAIN)
        finally:
            if not self._left:  # that exception came between two turns: the thread dies of it
                _replace(self)

    def _turn(self) -> None:
        with self._lock:
            numbers = [self._bell.number, *self._watched]
        ready = _readable(numbers, _AGAIN if self._due else None)
        if self._left:
            return
        if self._bell.number in ready and not self._bell.is_silenced():
            _replace(self)
            return
        with self._lock:
            for number in ready:
                if number in self._watched:
                    self._due.append(self._watched[number])
                    del self._watched[number]
        for owned in list(self._due):
            keeper = owned()
            if keeper is None or keeper.post():
                self._due.remove(owned)
            del keeper


class _Bell:
    """A pair of descriptors that wakes the thread.

    Somebody may close their numbers, or open other files in their place: it looks before it uses
    them, and never closes what is not its own.
    """

    if sys.platform == "win32":

        def __init__(self) -> None:
            self._sockets = socket.socketpair()
            for end in self._sockets:
                end.setblocking(False)
            self.number = self._sockets[0].fileno()

        def is_whole(self) -> bool:
            return True  # nobody closes a socket by its number

        def _write(self) -> None:
            self._sockets[1].send(b"\0")

        def _read(self) -> bytes:
            return self._sockets[0].recv(4096)

        def close(self) -> None:
            for end in self._sockets:
                end.close()

    else:

        def __init__(self) -> None:
            self._ends = os.pipe()
            for end in self._ends:
                os.set_blocking(end, False)
            self.number = self._ends[0]
            self._files = [_file(end) for end in self._ends]

        def is_whole(self) -> bool:
            files = [_file(end) for end in self._ends]
            # None from the beginning: somebody took the number while the pipe was being made.
            return None not in files and files == self._files

        def _write(self) -> None:
            os.write(self._ends[1], b"\0")

        def _read(self) -> bytes:
            return os.read(self._ends[0], 4096)

        def close(self) -> None:
            for end, file in zip(self._ends, self._files, strict=True):
                if file is not None and _file(end) == file:
                    os.close(end)

    def ring(self) -> None:
        """Wake the thread. OSError if the pair has died."""
        try:
            self._write()
        except BlockingIOError:
            pass  # it rings

    def is_silenced(self) -> bool:
        """Whether it is quiet now: not if the pair has died."""
        try:
            return self.is_whole() and self._read() != b""
        except BlockingIOError:
            return True
        except OSError:
            return False


def _file(number: int) -> tuple[int, int] | None:
    """Return what tells the pipe behind a number from others, or None if there is no pipe."""
    try:
        status = os.fstat(number)
    except OSError:
        return None
    return (status.st_dev, status.st_ino) if stat.S_ISFIFO(status.st_mode) else None


def _readable(numbers: list[int], seconds: float | None) -> Iterable[int]:
    """Wait until some are readable, or closed."""
    try:
        if not hasattr(select, "poll"):
            return select.select(numbers, (), (), seconds)[0]
        poll = select.poll()
        for number in numbers:
            poll.register(number, select.POLLIN)
        return [number for number, _ in poll.poll(seconds and seconds * 1000)]
    except (OSError, ValueError):
        # select() does not say which one was closed: let each look at its own.
        time.sleep(_LOOK)
        return numbers


_current: _Thread | None = None
_starting = threading.RLock()
_process = os.getpid()


def _watch(number: int, keeper: Keeper) -> None:
    if _process != os.getpid():
        _forked()  # by native code: Python's handlers have not run
    with _starting:
        thread = _current
        if thread is None or not thread.is_whole():
            thread = _replace(thread)
        thread.watch(number, keeper)


def _replace(thread: _Thread | None) -> _Thread:
    global _current  # noqa: PLW0603 - one per process
    with _starting:
        if _current is None or _current is thread:
            _current = _Thread()
            if thread is not None:
                thread.leave_to(_current)
        return _current


def _forked() -> None:
    """The thread stayed in the parent, and with it whoever held the lock."""
    global _current, _process, _starting  # noqa: PLW0603 - one per process
    _process = os.getpid()
    if _current is not None:
        _current.close()  # the child's copies
    _current = None
    _starting = threading.RLock()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forked)

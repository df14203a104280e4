"""The selector thread: one per process, for asyncio loops that cannot watch a descriptor.

Those loops are the Proactor loop of Windows, QtAsyncio, and others with no `add_reader`. The thread
polls their hubs and posts a call to the loop whose hub is readable. It looks at that hub again only
when the call has begun, so it never spins. It starts when the first loop needs it, and ends with
the process, because loops run in `atexit` handlers, too.

All such loops of the process depend on the thread. So it outlives whatever happens to one of them,
and another thread replaces it if its own descriptors are closed by a stranger. It uses poll(),
because an epoll would be one descriptor more that a stranger can close.
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

# The seconds of a timer that is not meant to be due. Some loops count milliseconds in 31 bits, so
# it is due some day, and `Keeper` renews it.
_NEVER = 2_000_000.0
# The seconds until the thread asks a loop again that has refused a call.
_AGAIN = 0.1
# The seconds from one dispatch to the next where no thread can be started.
_LOOK = 0.01


def _forget(number: int) -> None:
    """Have the selector thread watch the descriptor no more.

    This is harmless if the thread does not watch it, or the interpreter ends.
    """
    thread = _current
    if thread is not None:
        thread.forget(number)


class Keeper:
    """The owner of the hub of a loop without `add_reader`.

    The loop alone owns the keeper, through a timer that is never due. When the loop is closed or
    collected, the keeper goes, and closes the hub.
    """

    def __init__(self, loop: asyncio.AbstractEventLoop, flat: object) -> None:
        self.hub = Hub()
        self._loop = ref(loop)
        self._flat = flat  # as a `Reader` has it
        self._watched: int | None = None
        self._reported = False
        self.watch()
        self()

    def __call__(self) -> None:
        """Have the loop keep this object, in a timer."""
        loop = self._loop()
        if loop is not None:
            Context().run(loop.call_later, _NEVER, self)

    def nests(self) -> bool:
        """Return True if a loop may run inside the loop."""
        loop = self._loop()
        return loop is None or type(loop).run_until_complete is not self._flat

    def post(self) -> bool:
        """Have the loop dispatch its hub, which is readable.

        The selector thread calls this, and watches the hub no more. The result is False if the loop
        has refused the call, and is to be asked again.
        """
        self._watched = None
        loop = self._loop()
        try:
            if loop is not None and not loop.is_closed():
                me: ReferenceType[Keeper] = ref(self)
                loop.call_soon_threadsafe(_dispatch, me)
        except BaseException as error:
            if loop is None or loop.is_closed():
                return True  # it was closed a moment ago
            if not self._reported:
                self._reported = True
                logger().error("%r refused a wake-up; it is asked again", loop, exc_info=error)
            return False
        return True

    def watch(self) -> None:
        """Have the selector thread watch the hub."""
        number = self.hub.fileno()  # it may have changed since the last time
        try:
            _watch(number, self)
        except RuntimeError:
            # No thread can be started: there are too many, or the interpreter ends (from 3.12 on).
            loop = self._loop()
            if loop is not None:
                me: ReferenceType[Keeper] = ref(self)
                Context().run(loop.call_later, _LOOK, _dispatch, me)
        else:
            self._watched = number

    def close(self, forget: Callable[[int], None] = _forget) -> None:
        """Close the hub, because the loop is gone. A second call is harmless.

        `forget` is a parameter because the module's names are gone at the interpreter's exit.
        """
        # The hub goes into the pool only when the thread watches its descriptor no more.
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
            del keeper  # the loop alone owns it: a KeyboardInterrupt's traceback must not


class _SelectorThread:
    """The thread, and the keepers whose hubs it watches."""

    def __init__(self) -> None:
        # The lock is reentrant because the collector may run a `__del__` anywhere.
        self._lock = threading.RLock()
        self._watched: dict[int, ReferenceType[Keeper]] = {}
        self._due: list[ReferenceType[Keeper]] = []
        self._left = False
        self._interrupt = _Interrupt()
        self._thread = threading.Thread(target=self._run, name="wakefd selector", daemon=True)
        try:
            Context().run(self._thread.start)  # a thread may inherit the context from 3.14 on
        except BaseException:
            self._interrupt.close()
            raise

    def is_whole(self) -> bool:
        """Return True if the thread runs, and can be interrupted."""
        return self._thread.is_alive() and self._interrupt.is_whole()

    def leave_to(self, other: "_SelectorThread") -> None:
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
        self._interrupt.close()

    def watch(self, number: int, keeper: Keeper) -> None:
        """Call `keeper.post()` once, when the descriptor is readable.

        The thread does not own the keeper.
        """
        with self._lock:
            self._watched[number] = ref(keeper)
        self.look_again()

    def look_again(self) -> None:
        """Have the thread call poll() anew. A call that has begun knows no later descriptor."""
        try:
            self._interrupt.send()
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
                    # The exception is not a loop's: no memory, or one that another thread has sent.
                    logger().error("the selector thread goes on", exc_info=error)
                    time.sleep(_AGAIN)
        finally:
            if not self._left:  # an exception between two turns: the thread dies of it
                _replace(self)

    def _turn(self) -> None:
        with self._lock:
            numbers = [self._interrupt.number, *self._watched]
        ready = _readable(numbers, _AGAIN if self._due else None)
        if self._left:
            return
        if self._interrupt.number in ready and not self._interrupt.drain():
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


class _Interrupt:
    """A pair of descriptors that interrupts the thread's poll().

    A stranger may close their numbers, or open other files in their place. So this class looks at a
    number before it uses it, and never closes a file that is not its own.
    """

    if sys.platform == "win32":

        def __init__(self) -> None:
            self._sockets = socket.socketpair()
            for end in self._sockets:
                end.setblocking(False)
            self.number = self._sockets[0].fileno()

        def is_whole(self) -> bool:
            return True  # a socket is not closed by its number

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
            # A None is there if a stranger took the number while the pipe was being made.
            return None not in files and files == self._files

        def _write(self) -> None:
            os.write(self._ends[1], b"\0")

        def _read(self) -> bytes:
            return os.read(self._ends[0], 4096)

        def close(self) -> None:
            for end, file in zip(self._ends, self._files, strict=True):
                if file is not None and _file(end) == file:
                    os.close(end)

    def send(self) -> None:
        """Interrupt the thread's poll(). Raise OSError if the pair has died."""
        try:
            self._write()
        except BlockingIOError:
            pass  # the pair is full, and so readable

    def drain(self) -> bool:
        """Drain the pair; return False if it has died, and so stays readable."""
        try:
            return self.is_whole() and self._read() != b""
        except BlockingIOError:
            return True
        except OSError:
            return False


def _file(number: int) -> tuple[int, int] | None:
    """Return the identity of the pipe behind a number; None if there is no pipe."""
    try:
        status = os.fstat(number)
    except OSError:
        return None
    return (status.st_dev, status.st_ino) if stat.S_ISFIFO(status.st_mode) else None


def _readable(numbers: list[int], seconds: float | None) -> Iterable[int]:
    """Wait until some descriptors are readable, or closed; return them."""
    try:
        if not hasattr(select, "poll"):
            return select.select(numbers, (), (), seconds)[0]
        poll = select.poll()
        for number in numbers:
            poll.register(number, select.POLLIN)
        return [number for number, _ in poll.poll(seconds and seconds * 1000)]
    except (OSError, ValueError):
        # select() does not say which descriptor was closed, so each keeper looks at its own.
        time.sleep(_LOOK)
        return numbers


_current: _SelectorThread | None = None
_starting = threading.RLock()
_process = os.getpid()


def _watch(number: int, keeper: Keeper) -> None:
    if _process != os.getpid():
        _forked()  # native code has forked, without Python's handlers
    with _starting:
        thread = _current
        if thread is None or not thread.is_whole():
            thread = _replace(thread)
        thread.watch(number, keeper)


def _replace(thread: _SelectorThread | None) -> _SelectorThread:
    global _current  # noqa: PLW0603 - one per process
    with _starting:
        if _current is None or _current is thread:
            _current = _SelectorThread()
            if thread is not None:
                thread.leave_to(_current)
        return _current


def _forked() -> None:
    """Begin anew in the child: the thread has stayed in the parent, maybe with the lock held."""
    global _current, _process, _starting  # noqa: PLW0603 - one per process
    _process = os.getpid()
    if _current is not None:
        _current.close()  # only the child's copies of the descriptors
    _current = None
    _starting = threading.RLock()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forked)

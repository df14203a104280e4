"""For asyncio loops that cannot watch a descriptor: one thread per process that does it for them.

Those are the Proactor loop of Windows, QtAsyncio, and whatever has only `call_soon_threadsafe`. The
thread watches their hubs and posts a call when one is readable; it looks at that hub again only
when the call has run, so it never spins. It starts when it is first needed, and ends with the
interpreter.
"""

import asyncio
import atexit
import os
import selectors
import threading
from weakref import ReferenceType, ref

from wakefd._wakefd import Hub, IoEvent
from wakefd._watch import Watch

# Seconds. Some loops count milliseconds in 31 bits; `Keeper` renews it.
_NEVER = 2_000_000.0


class Keeper:
    """What a never-due `call_later` handle owns on behalf of the loop: with it goes the hub."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self.hub = Hub()
        self._loop = ref(loop)
        self._watched: int | None = None
        self.watch()
        self()

    def __call__(self) -> None:
        """Be kept by the loop."""
        loop = self._loop()
        if loop is not None:
            loop.call_later(_NEVER, self)

    def post(self) -> None:
        """The hub is readable. In the selector thread, which watches it no more."""
        self._watched = None
        loop = self._loop()
        if loop is not None and not loop.is_closed():
            try:
                me: ReferenceType[Keeper] = ref(self)
                loop.call_soon_threadsafe(_dispatch, me)
            except RuntimeError:
                pass  # closed in this moment

    def watch(self) -> None:
        """Have the selector thread look at the hub."""
        number = self.hub.fileno()  # it may be another one than before
        self._thread = _thread()  # for `close`: at the interpreter's end this module may be empty
        self._thread.watch(number, self)
        self._watched = number

    def close(self) -> None:
        """The loop is gone. Harmless if it is closed."""
        # First nobody looks at the descriptor any more, then the hub goes into the pool.
        watched, self._watched = self._watched, None
        if watched is not None and not self.hub.inherited:
            self._thread.forget(watched)
        self.hub.close()

    __del__ = close


def _dispatch(owned: "ReferenceType[Keeper]") -> None:
    keeper = owned()
    if keeper is not None:
        try:
            keeper.hub.dispatch()
        finally:
            if not keeper.hub.inherited:
                keeper.watch()
            del keeper  # a KeyboardInterrupt's traceback must not keep it: the loop alone does


class _Thread:
    def __init__(self) -> None:
        # Reentrant: the collector may run a `__del__` anywhere.
        self._lock = threading.RLock()
        self._selector = selectors.DefaultSelector()
        # Not `_changed.fileno()`: a hub outlives a dead descriptor, and a stranger's token.
        self._changed = IoEvent()
        self._hub = Hub()
        self._watch_changes = Watch(self._hub, self._changed, self._changed.clear, _nothing)
        self._selector.register(self._hub.fileno(), selectors.EVENT_READ)
        self._stop = False
        self._thread = threading.Thread(target=self._run, name="wakefd selector", daemon=True)
        self._thread.start()

    def watch(self, fd: int, keeper: Keeper) -> None:
        """Call `keeper.post()` once, when the descriptor is readable. Does not own the keeper."""
        with self._lock:
            self._selector.register(fd, selectors.EVENT_READ, ref(keeper))
        try:
            self._changed.notify()  # select() looks at what it was given when it began
        except ConnectionError:
            pass  # our own has ended, and that wakes the thread, too
        except OSError:
            self.forget(fd)
            raise

    def forget(self, fd: int) -> None:
        """Look at it no more. Harmless if it is not watched."""
        with self._lock:
            watched = self._selector.get_map()
            if watched and fd in watched:  # None: the interpreter ends
                self._selector.unregister(fd)

    def stop(self) -> None:
        self._stop = True
        self._changed.notify()
        self._thread.join(5)

    def _run(self) -> None:
        while not self._stop:
            ready = self._selector.select()
            for key, _ in ready:
                if key.data is None:
                    self._hub.dispatch(self._rewatch)
                    continue
                with self._lock:
                    if self._selector.get_map().get(key.fd) is not key:
                        continue  # forgotten meanwhile
                    self._selector.unregister(key.fd)
                keeper = key.data()
                if keeper is not None:
                    keeper.post()
                del keeper
            del ready
        self._selector.close()

    def _rewatch(self, dead: int) -> None:
        with self._lock:
            self._selector.unregister(dead)
            self._selector.register(self._hub.fileno(), selectors.EVENT_READ)


def _nothing() -> None:
    pass


_current: _Thread | None = None
_starting = threading.RLock()
_process = os.getpid()


def _thread() -> _Thread:
    global _current  # noqa: PLW0603 - one per process
    if _process != os.getpid():
        _forked()  # by native code: Python's handlers have not run
    with _starting:
        if _current is None:
            _current = _Thread()
            atexit.register(_current.stop)
        return _current


def _forked() -> None:
    """The thread stayed in the parent, and with it whoever held the lock."""
    global _current, _process, _starting  # noqa: PLW0603 - one per process
    _process = os.getpid()
    if _current is not None:
        atexit.unregister(_current.stop)
    _current = None
    _starting = threading.RLock()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forked)

"""`SelectorEventLoop`: asyncio's own, with an IoEvent for the wake-ups that come from threads."""

import asyncio
import os
from contextvars import Context, copy_context
from time import sleep
from typing import TYPE_CHECKING, Any

from wakefd import _log
from wakefd._event import IoEvent
from wakefd._loops import asyncio_internals
from wakefd._loops.asyncio import FLAT_FOREVERS

if TYPE_CHECKING:
    from collections import deque
    from collections.abc import Callable
    from selectors import BaseSelector
    from typing import TypeVarTuple, Unpack

    _Ts = TypeVarTuple("_Ts")

    class _AsyncioLoop(asyncio.SelectorEventLoop):
        """asyncio's loop, with the names that asyncio keeps to itself: see `asyncio_internals`."""

        _closed: bool
        _debug: bool
        _ready: deque[asyncio.Handle]

        def _make_self_pipe(self) -> None: ...
        def _close_self_pipe(self) -> None: ...
        def _write_to_self(self) -> None: ...
        def _add_reader(self, fd: int, callback: Callable[[], object]) -> asyncio.Handle: ...
        def _remove_reader(self, fd: int) -> bool: ...

else:
    _AsyncioLoop = asyncio.SelectorEventLoop

# The number of waiting callbacks, some 0.3 ms of work, above which one call of 16 gives up the GIL.
# A thread that floods the loop keeps the GIL for its 5 ms, four threads for 20, and the loop's
# turns grow without end. In asyncio's own loop each call gives up the GIL, because each one writes.
# Under a flood of four threads a 1 ms ticker ran at 600 Hz; without this at 1 Hz, and on asyncio's
# own loop at 100 Hz.
_MANY = 500

# Whether a handle is made here. If not, asyncio makes it.
_KNOWN = asyncio_internals.handles_are_known()
_new = asyncio.Handle.__new__


class SelectorEventLoop(_AsyncioLoop):
    """asyncio's selector event loop, but threads wake it through an IoEvent.

    So what comes from threads coalesces: `call_soon_threadsafe`, and all that is made of it
    (`run_in_executor`, `asyncio.run_coroutine_threadsafe`, `asyncio.to_thread`), makes one system
    call per batch instead of one per call. All else is asyncio's own: signals, which come through
    its pair of sockets, subprocesses, debug mode, exception handlers. Descriptors: one more.

        asyncio.run(main(), loop_factory=wakefd.SelectorEventLoop)  # Python 3.12 and later

        with asyncio.Runner(loop_factory=wakefd.SelectorEventLoop) as runner:
            runner.run(main())

    `call_soon_threadsafe` does not raise if the system refuses to make the descriptor readable: the
    callback is in, the logger `wakefd` says so once per loop, and asyncio's own pair of sockets is
    tried instead.

    Raises:
        OSError: no descriptor is to be had.
        RuntimeError: this version of asyncio is unknown, and lacks a name that the loop needs.
    """

    # A loop has two attributes of wakefd's. From the 30th on, CPython 3.13 finds all attributes of
    # a loop more slowly (they are inline no more), and so it does with slots; asyncio has 26. With
    # four here, call_soon took 15 % longer.
    _event: IoEvent
    _watched: tuple[int, int]  # the process, and the number that its selector knows
    _refused = False

    def __init__(self, selector: "BaseSelector | None" = None) -> None:
        self._event = IoEvent()
        try:
            asyncio_internals.check_class_of_selector_loops()
            super().__init__(selector)
        except (OSError, RuntimeError):  # OSError: no descriptor is left
            self._closed = True  # else __del__ closes what is not there
            raise
        try:
            asyncio_internals.check_selector_loop(self)
        except RuntimeError:
            self.close()
            raise

    def call_soon_threadsafe(
        self,
        callback: "Callable[[Unpack[_Ts]], object]",
        *args: "Unpack[_Ts]",
        context: Context | None = None,
    ) -> asyncio.Handle:
        """Call the callback in the loop's thread, soon. For any thread, and signal handlers."""
        if self._debug or self._closed or not _KNOWN:
            handle: Any = super().call_soon_threadsafe(callback, *args, context=context)
            if handle._source_traceback:
                del handle._source_traceback[-1]  # this line
            return handle  # type: ignore[no-any-return]
        # The handle is made as asyncio.Handle.__init__ makes it, in place: this saves four calls,
        # and takes 240 ns instead of 430. (Compiled, it would take longer: eight attributes.)
        handle = _new(asyncio.Handle)
        handle._context = copy_context() if context is None else context
        handle._loop = self
        handle._callback = callback
        handle._args = args
        handle._cancelled = False
        handle._repr = handle._source_traceback = None
        self._ready.append(handle)
        self._write_to_self()
        return handle  # type: ignore[no-any-return]

    def _make_self_pipe(self) -> None:
        self._watch()
        Context().run(super()._make_self_pipe)

    def _watch(self) -> None:
        fd = self._event.fileno()
        Context().run(self._add_reader, fd, self._clear)  # else it keeps the current one
        self._watched = os.getpid(), fd

    def _rewatch(self) -> None:
        self._remove_reader(self._watched[1])
        self._watch()

    def _close_self_pipe(self) -> None:
        self._event.close()
        super()._close_self_pipe()

    def run_forever(self) -> None:
        """Run until stop() is called."""
        if self._watched[0] != os.getpid():
            # Made before a fork: the event is the child's own, and the selector knows the parent's.
            self._rewatch()
        super().run_forever()

    def _clear(self) -> None:
        # A callback that is appended from now on raises the flag again. The loop sees the callbacks
        # that are there already: it looks at _ready before it sleeps.
        try:
            if not self._event.clear():
                # The token is a stranger's: nobody has notified. The drain of one of our own takes
                # it along.
                self._event.notify()
                self._event.clear()
        except OSError:  # the event's pair of sockets has died, and the event has a new one
            self._rewatch()

    def _write_to_self(self) -> None:
        # Any thread may call this, after it has appended its callback; also while the loop closes.
        try:
            self._event.notify()
        except OSError as error:
            if not self._refused:
                self._refused = True
                _log.refused(repr(self), "asyncio's own pair of sockets is tried", error)
            super()._write_to_self()
        waiting = len(self._ready)
        if waiting > _MANY and waiting % 16 == 0:
            sleep(0)


FLAT_FOREVERS.append(SelectorEventLoop.run_forever)  # as it is here: nest_asyncio may change it

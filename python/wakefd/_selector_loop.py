"""asyncio's selector loop, with an IoEvent for the wake-ups that come from threads."""

import asyncio
import os
from contextvars import Context, copy_context
from time import sleep
from typing import TYPE_CHECKING, Any

from wakefd import _log
from wakefd._event import IoEvent

if TYPE_CHECKING:
    from collections import deque
    from collections.abc import Callable
    from selectors import BaseSelector
    from typing import TypeVarTuple, Unpack

    _Ts = TypeVarTuple("_Ts")

    class _SelectorEventLoop(asyncio.SelectorEventLoop):
        """With what asyncio keeps to itself; the same from CPython 3.11 to 3.14."""

        _closed: bool
        _debug: bool
        _ready: deque[asyncio.Handle]
        _selector: BaseSelector

        def _make_self_pipe(self) -> None: ...
        def _close_self_pipe(self) -> None: ...
        def _write_to_self(self) -> None: ...
        def _add_reader(self, fd: int, callback: Callable[[], object]) -> asyncio.Handle: ...
        def _remove_reader(self, fd: int) -> bool: ...

else:
    _SelectorEventLoop = asyncio.SelectorEventLoop

# A thread that floods the loop keeps the GIL for its 5 ms, four threads for 20, and the loop's
# turns grow without end. In asyncio's own loop each call gives up the GIL, for each one writes;
# here one of 16 does, while so many callbacks are waiting, some 0.3 ms of work. Under a flood of
# four threads a 1 ms ticker then ran at 600 Hz; without it at 1, and asyncio's own at 100.
_MANY = 500

# What is known of a handle. If there is more to it, asyncio makes it: from CPython 3.14 on, those
# of call_soon_threadsafe have a class of their own, with a lock.
_KNOWN = not hasattr(asyncio.events, "_ThreadSafeHandle") and {
    "_args",
    "_callback",
    "_cancelled",
    "_context",
    "_loop",
    "_repr",
    "_source_traceback",
    "__weakref__",
} == {*asyncio.Handle.__slots__}
_new = asyncio.Handle.__new__


class SelectorEventLoop(_SelectorEventLoop):
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
    """

    # Two attributes. From the 30th on, CPython 3.13 finds all of a loop's more slowly (they are
    # inline no more), and so it does with slots; asyncio has 26. With four here, call_soon took
    # 15 % longer.
    _event: IoEvent
    _watched: tuple[int, int]  # the process, and the number that its selector knows
    _refused = False

    def __init__(self, selector: "BaseSelector | None" = None) -> None:
        self._event = IoEvent()
        try:
            super().__init__(selector)
        except OSError:  # no descriptor is left
            self._closed = True  # else __del__ closes what is not there
            raise

    def call_soon_threadsafe(
        self,
        callback: "Callable[[Unpack[_Ts]], object]",
        *args: "Unpack[_Ts]",
        context: Context | None = None,
    ) -> asyncio.Handle:
        """Call it in the loop's thread, soon. For any thread, and for signal handlers."""
        if self._debug or self._closed or not _KNOWN:
            handle: Any = super().call_soon_threadsafe(callback, *args, context=context)
            if handle._source_traceback:
                del handle._source_traceback[-1]  # this line
            return handle  # type: ignore[no-any-return]
        # As asyncio.Handle.__init__ does it, in place: with the four calls that this saves, a call
        # takes 240 ns instead of 430. (Compiled, it would take longer: eight attributes.)
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
        # What is appended from now on raises the flag again. What is there already, the loop sees
        # before it sleeps: it looks at _ready then.
        try:
            if not self._event.clear():
                # Nobody has notified: a stranger's token. What drains ours takes it along.
                self._event.notify()
                self._event.clear()
        except OSError:  # its pair of sockets has died, and the event has a new one
            self._rewatch()

    def _write_to_self(self) -> None:
        # In any thread, after the callback was appended; also while the loop is being closed.
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


RUN_FOREVER = SelectorEventLoop.run_forever  # as it is here: nest_asyncio may change it

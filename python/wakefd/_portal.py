"""`Portal`: the compiled inbox, and what needs an event loop."""

import reprlib
from collections.abc import Awaitable, Callable, Coroutine
from concurrent.futures import Future, InvalidStateError
from contextvars import Context, copy_context
from functools import partial
from inspect import isawaitable
from types import CoroutineType, TracebackType
from typing import TYPE_CHECKING, Any, Generic, Self, TypeVar, TypeVarTuple, cast, overload

from wakefd import _log, _wakefd
from wakefd._closing import Closing
from wakefd._errors import LoopClosedError
from wakefd._event import IoEvent

_T = TypeVar("_T")
_Ts = TypeVarTuple("_Ts")

_repr = reprlib.Repr()  # which survives what a repr may raise
_repr.maxother = 200


_EMPTY = Context()


def _nothing() -> None:
    """Stand for the function of a call that has ended."""


class Call(Generic[_T]):
    """A submitted call: from the inbox to the end of its future."""

    __slots__ = ("args", "begun", "cancel", "context", "function", "future", "inbox")

    def __init__(
        self, inbox: _wakefd.Inbox, function: Callable[..., Any], args: tuple[Any, ...]
    ) -> None:
        if not callable(function):
            raise TypeError(f"a portal calls functions: {function!r} is not callable")
        self.inbox, self.function, self.args = inbox, function, args
        self.future: Future[_T] | None = Future()  # None: it has ended
        self.context = copy_context()
        # Of the task, once there is one.
        self.cancel: Callable[[], object] | None = None
        self.begun = False

    # The future is PENDING to the last, so that it can be cancelled; then RUNNING for a moment, in
    # which nobody can.

    def succeeded(self, result: _T) -> None:
        """Tell the future, unless it was cancelled."""
        if (future := self._end()) is not None:
            future.set_result(result)

    def failed(self, error: BaseException) -> None:
        """Tell the future, unless it was cancelled."""
        if (future := self._end()) is not None:
            future.set_exception(error)

    def cancelled(self) -> None:
        """Tell the future, unless it knows."""
        if self.future is not None:
            self.cancel = None
            self.future.cancel()
            self._end()

    def stop(self) -> None:
        """Cancel its task, once. In the loop's thread."""
        cancel, self.cancel = self.cancel, None
        if cancel is not None:
            cancel()

    def relay(self, future: "Future[_T]") -> None:
        """Its future is done. In any thread: if it was cancelled, the loop must hear of it."""
        if future.cancelled() and self.cancel is not None:
            self.inbox.push_again(self)

    def _end(self) -> "Future[_T] | None":
        # From here on we do not have it, and it may have us: `relay`. Whoever keeps the future does
        # not keep what the call was made with.
        future, self.future, self.cancel = self.future, None, None
        self.function, self.args, self.context = _nothing, (), _EMPTY
        told = future is None or not future.set_running_or_notify_cancel()
        return None if told else future


class Runner:
    """What a receiver needs of its loop. One for each portal; for the loop's thread only.

    `cancelled` is how a function says that it was cancelled; `ends` is what ends the loop, wherever
    it is raised.
    """

    cancelled: type[BaseException]
    ends: tuple[type[BaseException], ...] = ()

    def __init__(self) -> None:
        self.event = IoEvent()  # the inbox's
        self.inbox = _wakefd.Inbox(self.event)
        self.running: dict[Call[Any], Any] = {}  # and their tasks
        # Rises each time a closed portal's calls have all ended.
        self.rested = IoEvent()
        self.cancelling = False  # nobody waits for them any more; set in any thread

    def runs_here(self) -> bool:
        """Whether this thread runs the loop now, so that it would wait for itself."""
        raise NotImplementedError

    def spawn(self, call: Call[Any], awaitable: Awaitable[Any]) -> object:
        """Make a task of it, set call.cancel, and return the task. `done` is told of its end."""
        raise NotImplementedError

    def step(self, call: Call[Any]) -> None:
        """Begin a call; or, if it has begun, cancel it."""
        if call.begun:
            call.stop()
            return
        call.begun = True
        future = call.future
        if self.cancelling and future is not None:
            future.cancel()
        if future is None or future.cancelled():
            call.cancelled()
            return
        try:
            result: Any = call.context.run(call.function, *call.args)
            if _is_awaitable(result):
                self.running[call] = self.spawn(call, result)
                if self.cancelling:  # only now it is: `cancel_all` has not seen this one
                    future.cancel()
                if future.cancelled():
                    call.stop()
                else:
                    future.add_done_callback(call.relay)
            else:
                call.succeeded(result)
        except self.cancelled:
            call.cancelled()
        except BaseException as error:
            call.failed(error)
            if isinstance(error, self.ends):
                raise
        finally:
            del call, future  # which has the traceback

    def cancel_all(self) -> None:
        """Cancel what is under way, and what was submitted and has not begun. In any thread."""
        self.cancelling = True
        for call in list(self.running):
            if (future := call.future) is not None:
                future.cancel()

    def done(self, call: Call[Any]) -> None:
        """Its task has ended, and the future knows."""
        self.running.pop(call, None)
        if not self.running and self.inbox.closed:
            self.inbox.notify()

    def rest(self) -> bool:
        """All calls of a closed portal have begun. Have they ended?"""
        if self.running:
            return False
        self.rested.notify()
        return True

    def failed(self, error: BaseException, function: object) -> None:
        """Report what a callback has raised."""
        _log.logger().error("exception in a call of a portal, %r", function, exc_info=error)

    def gone(self, calls: list[Any]) -> None:
        """The loop is closed. Nobody who was promised a call is left waiting."""
        never: list[object] = []
        for call in calls:
            if isinstance(call, Call):
                call.failed(LoopClosedError("the event loop was closed before the call began"))
            else:
                never.append(call)
        for call in list(self.running):
            call.failed(LoopClosedError("the event loop was closed before the call had ended"))
        self.running.clear()
        self.rested.notify()
        if never:
            some = ", ".join(map(_repr.repr, never[:10])) + ", ..." * (len(never) > 10)
            _log.logger().error(
                "%d that a portal had accepted will never be called: its event loop is closed: %s",
                len(never),
                some,
            )


class Portal(_wakefd.Portal, Closing):
    """Calls into an event loop from any thread. Made inside the loop that it leads to.

    What was accepted runs, or whoever waits for it is told that the loop is closed, at the moment
    when that happens. Calls of one thread begin in their order. A batch of calls costs one system
    call, and a flood of them lets the rest of the loop have a turn every half millisecond.

    For asyncio (uvloop, and others with its interface) and trio.

    Raises:
        RuntimeError: no supported loop runs here.
        OSError: there is no descriptor to be had for this loop.
    """

    __slots__ = ()

    if TYPE_CHECKING:  # the compiled half knows neither Self nor the types of the arguments

        def __new__(cls, *args: Any, **kwargs: Any) -> Self: ...
        def __init__(self) -> None: ...
        def call_soon(self, function: Callable[[*_Ts], object], /, *args: *_Ts) -> None: ...

    @overload
    def submit(
        self, function: Callable[[*_Ts], Coroutine[Any, Any, _T]], /, *args: *_Ts
    ) -> "Future[_T]": ...
    @overload
    def submit(self, function: Callable[[*_Ts], Awaitable[_T]], /, *args: *_Ts) -> "Future[_T]": ...
    @overload
    def submit(self, function: Callable[[*_Ts], _T], /, *args: *_Ts) -> "Future[_T]": ...
    def submit(  # type: ignore[misc] # mypy finds *args narrower than *_Ts
        self, function: Callable[..., Any], /, *args: Any
    ) -> "Future[Any]":
        """Have `function(*args)` called in the loop, and awaited if it is async; return its future.

        The call runs in a copy of this thread's context. Cancelling the future cancels the task,
        also before it has begun; a task that is cancelled in the loop cancels the future. What the
        call raises is raised by `future.result()`. If the loop is closed first, that is
        LoopClosedError.

        Callable from any thread, the loop's own included; it never blocks.

        Raises:
            LoopClosedError: the loop is closed.
            ClosedResourceError: the portal is closed.
            TypeError: the function is not callable.
        """
        call: Call[Any] = Call(self._inbox, function, args)
        future: Future[Any] = cast("Future[Any]", call.future)
        self._inbox.push(call)
        return future

    @overload
    def run(self, function: Callable[[*_Ts], Coroutine[Any, Any, _T]], /, *args: *_Ts) -> _T: ...
    @overload
    def run(self, function: Callable[[*_Ts], Awaitable[_T]], /, *args: *_Ts) -> _T: ...
    @overload
    def run(self, function: Callable[[*_Ts], _T], /, *args: *_Ts) -> _T: ...
    def run(  # type: ignore[misc] # mypy finds *args narrower than *_Ts
        self, function: Callable[..., Any], /, *args: Any
    ) -> Any:
        """Have `function(*args)` called in the loop, as submit() does; wait, and return its result.

        Blocks this thread; if no thread runs the loop, until one does. A Ctrl-C meanwhile cancels
        the call.

        Raises:
            RuntimeError: this thread runs the loop now, and would wait for itself.
            LoopClosedError: the loop is closed, or is before the call has ended.
            ClosedResourceError: the portal is closed.
            TypeError: the function is not callable.
        """
        self._check_thread("run")
        return _result(self.submit(function, *args))

    def start_task(
        self, function: Callable[..., Awaitable[_T]], /, *args: Any
    ) -> "tuple[Future[_T], Any]":
        """Start a task in the loop, and wait until it is ready.

        `function(*args, task_status=...)` is called; it is ready when it calls
        `task_status.started(value)`. Return `(future, value)`; the future is the task's, as from
        submit(). Blocks this thread. A Ctrl-C meanwhile cancels the task.

        Raises:
            RuntimeError: the task ended without started(); or this thread runs the loop now, and
                would wait for itself.
            LoopClosedError: the loop is closed, or is before the task is ready.
            ClosedResourceError: the portal is closed.
            Exception: what the task raised before it was ready.
        """
        self._check_thread("start_task")
        status = TaskStatus()
        future = self.submit(partial(function, *args, task_status=status))
        future.add_done_callback(status.ended)
        try:
            return future, _result(status.ready)
        except BaseException:
            future.cancel()
            raise

    async def __aenter__(self) -> Self:
        """Return the portal itself."""
        return self

    async def __aexit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """Close the portal, and wait until all calls and tasks under way have ended.

        If the body has raised, or the wait is cancelled, what was submitted is cancelled, begun or
        not. What was given to call_soon() runs.
        """
        self.close()
        runner: Runner = self._runner
        if exc is not None:
            runner.cancel_all()
        try:
            while not (self._inbox.gone or (self._inbox.quiet and not runner.running)):
                runner.rested.clear()
                self._inbox.notify()  # it looks, and answers
                await runner.rested.notified()
        except BaseException:
            runner.cancel_all()
            raise

    def _check_thread(self, method: str) -> None:
        if not self._inbox.closed and self._runner.runs_here():
            raise RuntimeError(
                f"portal.{method}() blocks, and this thread runs the portal's own loop: it would"
                " wait for itself; await the function, or use portal.submit() or portal.call_soon()"
            )


class TaskStatus:
    """What a task under `Portal.start_task` says when it is ready."""

    __slots__ = ("ready",)

    def __init__(self) -> None:
        self.ready: Future[Any] = Future()

    def started(self, value: Any = None) -> None:
        """Let start_task() return, with this value.

        Raises:
            RuntimeError: it was called before.
        """
        try:
            self.ready.set_result(value)
        except InvalidStateError:
            if not self.ready.cancelled():
                raise RuntimeError("called 'started' twice on the same task status") from None

    def ended(self, future: "Future[Any]") -> None:
        """Its task has ended."""
        if self.ready.done():
            return
        if future.cancelled():
            self.ready.cancel()
        else:
            self.ready.set_exception(
                future.exception() or RuntimeError("the task ended without task_status.started()")
            )


def _result(future: "Future[_T]") -> _T:
    try:
        return future.result()
    except BaseException:
        future.cancel()  # it was us who were interrupted, if this does anything
        raise
    finally:
        del future  # the traceback is in it


def _is_awaitable(result: object) -> bool:
    return type(result) is CoroutineType or isawaitable(result)  # the first is quick


async def wrap_future(future: "Future[_T]") -> _T:
    """Wait for a `concurrent.futures.Future` on whatever loop is running; return its result.

    If the wait is cancelled, so is the future.

    Raises:
        TypeError: it is no such future (asyncio's own can be awaited).
        concurrent.futures.CancelledError: the future was cancelled.
        RuntimeError: no supported loop runs here; or it ran before a fork, in the parent.
        OSError: there is no descriptor to be had for this loop.
        Exception: what the future's call raised.
    """
    if not isinstance(cast("object", future), Future):
        raise TypeError(f"not a concurrent.futures.Future: {future!r}")
    done = IoEvent()
    future.add_done_callback(lambda _: _notify(done))
    try:
        await done.notified()
        return future.result()
    except BaseException:
        future.cancel()
        raise
    finally:
        del future  # the traceback is in it


def _notify(event: IoEvent) -> None:
    try:
        event.notify()
    except OSError as error:
        consequence = "the task that awaits it goes on at the next wake-up of its loop"
        _log.refused("a future", consequence, error)


def report(error: OSError) -> None:
    """Report a wake-up that the system refused. The compiled half calls it once for each portal."""
    _log.refused("a portal", "its calls stay in, and the next one tries again", error)

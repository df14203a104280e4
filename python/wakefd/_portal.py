"""`Portal`: the compiled half, and the methods that wait or make futures."""

from collections.abc import Awaitable, Callable, Coroutine
from concurrent.futures import Future, InvalidStateError
from functools import partial
from typing import TYPE_CHECKING, Any, Self, TypeVar, TypeVarTuple, cast, overload

from wakefd import _loops, _wakefd
from wakefd._closing import Closing
from wakefd._loops.runner import Call, Runner

if TYPE_CHECKING:
    from types import TracebackType

_T = TypeVar("_T")
_Ts = TypeVarTuple("_Ts")


class Portal(_wakefd.Portal, Closing):
    """A portal takes calls from any thread into an event loop. It is made inside that loop.

    A call that was accepted runs; or, if the loop is closed first, its future says so at once.
    Calls of one thread begin in their order. A batch of calls costs one system call, and a flood of
    them lets the rest of the loop have a turn every half millisecond.

    Portals lead into asyncio (uvloop, and others with its interface) and trio.

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
        also before it has begun; a task that is cancelled in the loop cancels the future. An
        exception of the call is raised by `future.result()`. If the loop is closed first, that
        raises LoopClosedError.

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

        This thread is blocked meanwhile; if no thread runs the loop, until one does. A Ctrl-C
        cancels the call.

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

        The task is `function(*args, task_status=...)`; it is ready when it calls
        `task_status.started(value)`. The result is `(future, value)`; the future is the task's, as
        from submit(). This thread is blocked meanwhile. A Ctrl-C cancels the task.

        Raises:
            RuntimeError: the task ended without started(); or this thread runs the loop now, and
                would wait for itself.
            LoopClosedError: the loop is closed, or is before the task is ready.
            ClosedResourceError: the portal is closed.
            Exception: the task's own, raised before it was ready.
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
        traceback: "TracebackType | None",
    ) -> None:
        """Close the portal, and wait until all calls and tasks under way have ended.

        If the body has raised, or the wait is cancelled, the calls that were submitted are
        cancelled, begun or not. Functions given to call_soon() run.
        """
        self.close()
        runner: Runner = self._runner
        if exc is not None:
            runner.cancel_all()
        try:
            while not (self._inbox.gone or (self._inbox.quiet and not runner.running)):
                runner.rested.clear()
                self._inbox.notify()  # the receiver looks at its calls, and answers
                await _loops.wait(runner.rested)
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
    """The object by which a task under `Portal.start_task` says that it is ready."""

    __slots__ = ("ready",)

    def __init__(self) -> None:
        self.ready: Future[Any] = Future()

    def started(self, value: Any = None) -> None:
        """Let start_task() return, with this value.

        Raises:
            RuntimeError: started() was called before.
        """
        try:
            self.ready.set_result(value)
        except InvalidStateError:
            if not self.ready.cancelled():
                raise RuntimeError("called 'started' twice on the same task status") from None

    def ended(self, future: "Future[Any]") -> None:
        """End the wait for a task that has ended before it was ready."""
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
        future.cancel()  # to no effect, unless the wait was interrupted
        raise
    finally:
        del future  # it has the traceback, which has this frame

"""A portal's calls in their loop: each one from the inbox to the end of its future.

An adapter derives its runner from `Runner`. The compiled `Receiver` calls the runner, in the loop's
thread.
"""

import reprlib
from concurrent.futures import Future
from contextvars import Context, copy_context
from inspect import isawaitable
from types import CoroutineType
from typing import TYPE_CHECKING, Any, Generic, TypeVar

from wakefd import _wakefd
from wakefd._errors import LoopClosedError
from wakefd._log import logger

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

_T = TypeVar("_T")

_repr = reprlib.Repr()  # it survives an exception that a repr raises
_repr.maxother = 200

_EMPTY = Context()


def _nothing() -> None:
    """Stand for the function of a call that has ended."""


class Call(Generic[_T]):
    """A call that was submitted to a portal: from the inbox to the end of its future."""

    __slots__ = ("args", "begun", "cancel", "context", "function", "future", "inbox")

    def __init__(
        self, inbox: _wakefd.Inbox, function: "Callable[..., Any]", args: tuple[Any, ...]
    ) -> None:
        if not callable(function):
            raise TypeError(f"a portal calls functions: {function!r} is not callable")
        self.inbox, self.function, self.args = inbox, function, args
        self.future: Future[_T] | None = Future()  # None: the call has ended
        self.context = copy_context()
        # The adapter sets this one when it has made a task of the call.
        self.cancel: Callable[[], object] | None = None
        self.begun = False

    # The future stays PENDING to the last, so that it can be cancelled. Then it is RUNNING for a
    # moment, in which no thread can cancel it.

    def succeeded(self, result: _T) -> None:
        """Hand the result to the future, unless the future was cancelled."""
        if (future := self._end()) is not None:
            future.set_result(result)

    def failed(self, error: BaseException) -> None:
        """Hand the exception to the future, unless the future was cancelled."""
        if (future := self._end()) is not None:
            future.set_exception(error)

    def cancelled(self) -> None:
        """Cancel the future, unless the call has ended."""
        if self.future is not None:
            self.cancel = None
            self.future.cancel()
            self._end()

    def stop(self) -> None:
        """Cancel the task of the call, once. Only for the loop's thread."""
        cancel, self.cancel = self.cancel, None
        if cancel is not None:
            cancel()

    def relay(self, future: "Future[_T]") -> None:
        """Tell the loop that the future was cancelled. Any thread may have done that."""
        if future.cancelled() and self.cancel is not None:
            self.inbox.push_again(self)

    def _end(self) -> "Future[_T] | None":
        # The call lets go of its future, which may refer to the call (`relay`), and of its
        # function and arguments: a thread that keeps the future does not keep those.
        future, self.future, self.cancel = self.future, None, None
        self.function, self.args, self.context = _nothing, (), _EMPTY
        told = future is None or not future.set_running_or_notify_cancel()
        return None if told else future


class Runner:
    """The part of a portal that knows its loop: the receiver calls it, in the loop's thread.

    Each portal has a runner of its own. An adapter sets `cancelled`, the exception by which a
    function says that it was cancelled, and `ends`, the exceptions that end the loop wherever they
    are raised.
    """

    cancelled: type[BaseException]
    ends: tuple[type[BaseException], ...] = ()

    def __init__(self) -> None:
        self.event = _wakefd.IoEvent()  # up while the inbox has something for the loop
        self.inbox = _wakefd.Inbox(self.event)
        self.running: dict[Call[Any], Any] = {}  # calls under way, and their tasks
        self.rested = _wakefd.IoEvent()  # rises each time a closed portal's calls have all ended
        self.cancelling = False  # whether all calls are to be cancelled; any thread may set it

    def runs_here(self) -> bool:
        """Return True if this thread runs the loop now, so that it would wait for itself."""
        raise NotImplementedError

    def spawn(self, call: Call[Any], awaitable: "Awaitable[Any]") -> object:
        """Make a task of the awaitable, set `call.cancel`, and return the task.

        The adapter calls `done` when the task has ended.
        """
        raise NotImplementedError

    def step(self, call: Call[Any]) -> None:
        """Begin a call; or cancel it, if it has begun."""
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
                if self.cancelling:  # since a moment ago: `cancel_all` has not seen this call
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
            del call, future  # the future has the traceback, which has this frame

    def cancel_all(self) -> None:
        """Cancel the calls that are under way, and those submitted that have not begun.

        Callable from any thread.
        """
        self.cancelling = True
        for call in list(self.running):
            if (future := call.future) is not None:
                future.cancel()

    def done(self, call: Call[Any]) -> None:
        """Forget a call whose task has ended, and whose future has been told."""
        self.running.pop(call, None)
        if not self.running and self.inbox.closed:
            self.inbox.notify()

    def rest(self) -> bool:
        """Return True if all calls have ended. The receiver asks when all have begun."""
        if self.running:
            return False
        self.rested.notify()
        return True

    def failed(self, error: BaseException, function: object) -> None:
        """Report an exception that a function given to call_soon() has raised."""
        logger().error("exception in a call of a portal, %r", function, exc_info=error)

    def gone(self, calls: list[Any]) -> None:
        """End all calls, because the loop is closed. No thread is left waiting for one."""
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
            logger().error(
                "%d that a portal had accepted will never be called: its event loop is closed: %s",
                len(never),
                some,
            )


def _is_awaitable(result: object) -> bool:
    return type(result) is CoroutineType or isawaitable(result)  # the first is quick

"""The adapter for Twisted: `notified`, a Deferred that fires when the flag rises."""

from collections.abc import Callable
from contextvars import Context, copy_context
from typing import TYPE_CHECKING, Any
from weakref import WeakKeyDictionary, ref

from wakefd import _wakefd
from wakefd._errors import ClosedResourceError
from wakefd._wakefd import Hub, Turn

try:
    from twisted.internet import defer
    from twisted.internet.interfaces import IReadDescriptor
    from twisted.internet.task import deferLater
    from twisted.logger import Logger
    from zope.interface import classImplements  # pyright: ignore[reportMissingTypeStubs, reportUnknownVariableType]
except ImportError as _error:
    _msg = "wakefd.twisted needs Twisted: pip install twisted"
    raise ImportError(_msg, name="twisted") from _error

if TYPE_CHECKING:
    from twisted.internet.defer import Deferred

__all__ = ["notified"]

_log = Logger()


def notified(event: _wakefd.IoEvent, reactor: Any = None) -> "Deferred[None]":
    """Return a Deferred that fires with None once the flag is up, or rises.

    Call it in the reactor's thread; without a reactor given it is Twisted's own. If the flag is up,
    the Deferred has fired already (but for a consumer whose flag is always up it fires in the
    reactor's next turn after half a millisecond of work). Cancelling it loses nothing: the flag
    stays as it is. All waits of a reactor share one descriptor, which the reactor watches only
    while there is a wait. When the reactor stops, Deferreds that still wait are not fired any more.

    The Deferred fails with:
        ClosedResourceError: the event is closed, or is closed before the flag rises.
        RuntimeError: the reactor ran before a fork, in the parent.
        OSError: there is no descriptor to be had for this reactor.
    """
    if reactor is None:
        from twisted.internet import reactor  # noqa: PLC0415 - this installs one
    try:
        return _ReactorReader.of(reactor).wait(event)
    except (ClosedResourceError, RuntimeError, OSError):
        return defer.fail()


class _ReactorReader:
    """The reader by which a reactor watches its hub.

    It is among the reactor's readers only while there is a wait: trial takes readers that it finds
    after a test for a mistake, and removes them without telling them.
    """

    def __init__(self, reactor: Any) -> None:
        self._hub = Hub()
        self._number = self._hub.fileno()
        self._reactor = ref(reactor)
        self._turn = Turn(_mark_in(self._reactor))
        self._waiting: set[defer.Deferred[None]] = set()
        reactor.addSystemEventTrigger("after", "shutdown", self.connectionLost)

    @classmethod
    def of(cls, reactor: Any) -> "_ReactorReader":
        reader = _readers.get(reactor)
        if reader is None:
            reader = _readers[reactor] = cls(reactor)
        return reader

    def wait(self, event: _wakefd.IoEvent) -> "Deferred[None]":
        def cancel(_: object) -> None:
            self._waiting.discard(deferred)
            if ticket is not None:
                self._hub.cancel(ticket)
            self._remove_if_idle()

        def released(rose: bool) -> None:
            self._waiting.discard(deferred)
            if deferred.called:
                return  # cancelled by a Deferred that was released together with this one
            if rose:
                context.run(deferred.callback, None)
            else:
                context.run(deferred.errback, ClosedResourceError("this event is closed"))

        context = copy_context()
        deferred: defer.Deferred[None] = defer.Deferred(cancel)
        ticket = self._hub.wait(event, released)
        if ticket is None:
            return self._give_way()
        self._waiting.add(deferred)
        self._add()
        return deferred

    def _give_way(self) -> "Deferred[None]":
        reactor = self._reactor()
        if reactor is None or self._turn.within():
            return defer.succeed(None)

        def resumed(result: Any) -> Any:
            self._turn.resumed()
            return result

        self._turn.pauses()
        pause: defer.Deferred[None] = deferLater(reactor, 0)
        pause.addBoth(resumed)
        return pause

    def _add(self) -> None:
        reactor = self._reactor()
        if reactor is not None:
            # A reader that is there already is not added again. The context is empty because
            # asyncio's reactor would keep the current one.
            Context().run(reactor.addReader, self)

    def _remove(self) -> None:
        reactor = self._reactor()
        if reactor is not None:
            reactor.removeReader(self)

    def _remove_if_idle(self) -> None:
        if not self._waiting:
            self._remove()

    def fileno(self) -> int:
        return self._number

    def doRead(self) -> None:  # noqa: N802 - Twisted's name
        try:
            self._hub.dispatch(self._rewatch, nests=True)
            self._remove_if_idle()  # the released consumer may wait again by now
        except Exception:
            # The reactor would remove a reader that raises an exception.
            _log.failure("wakefd could not tell a Deferred")

    def _rewatch(self, _: int) -> None:
        self._remove()
        self._number = self._hub.fileno()
        self._add()

    def connectionLost(self, reason: object = None) -> None:  # noqa: ARG002, N802 - Twisted's name
        """Close the hub, because the reactor has ended, or has removed this reader."""
        self._hub.close()
        reactor = self._reactor()
        if reactor is not None and _readers.get(reactor) is self:
            del _readers[reactor]

    def logPrefix(self) -> str:  # noqa: N802 - Twisted's name
        return "wakefd"


def _mark_in(reference: "ref[Any]") -> Callable[[Callable[[], object]], None]:
    def mark(marker: Callable[[], object]) -> None:
        reactor = reference()
        if reactor is not None:
            reactor.callLater(0, marker)

    return mark


classImplements(_ReactorReader, IReadDescriptor)

_readers: "WeakKeyDictionary[Any, _ReactorReader]" = WeakKeyDictionary()

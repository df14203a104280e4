"""The adapter for gevent: `wait` blocks only the greenlet that waits.

gevent has no `await`, so the adapter is a function of its own. It works with and without
monkey-patching: nothing here, and nothing in the events, is patched.
"""

from typing import Any
from weakref import ReferenceType, ref

from wakefd import _wakefd
from wakefd._errors import ClosedResourceError
from wakefd._wakefd import Hub, Turn

try:
    import gevent.hub
except ImportError as _error:
    _msg = "wakefd.gevent needs gevent: pip install gevent"
    raise ImportError(_msg, name="gevent") from _error

__all__ = ["wait"]

_NAME = "_wakefd"  # the attribute by which a gevent hub owns its `_GeventLoop`


def wait(event: _wakefd.IoEvent, timeout: float | None = None) -> bool:
    """Block this greenlet until the flag is up, or rises; at most `timeout` seconds.

    Returns True, or False if the time is up. None and infinity wait for ever, a negative timeout is
    0. Other greenlets run meanwhile. As gevent's own `Event.wait` it returns at once, without a
    switch, if the flag is up (but a consumer whose flag is always up lets the others run after half
    a millisecond of work). `gevent.Timeout` and `kill` work, and lose nothing: the flag stays as it
    is. All greenlets of a thread share one descriptor; the loop counts as busy only while one of
    them waits.

    It works in the child of a fork, too; greenlets that waited at the fork are not released there.

    Raises:
        ClosedResourceError: the event is closed, or is closed before the flag rises.
        ValueError: the timeout is not a number.
        OverflowError: the timeout is too large.
        OSError: there is no descriptor to be had for this thread's gevent hub.
    """
    seconds = _wakefd.seconds(timeout, "wait()")
    loop = _GeventLoop.here()
    waiter: gevent.hub.Waiter[None] = gevent.hub.Waiter()
    outcomes: list[bool] = []

    def released(rose: bool) -> None:
        outcomes.append(rose)
        # The greenlet does not run inside the dispatch: it may run for long, or never come back.
        loop.loop.run_callback(waiter.switch, None)

    ticket = loop.hub.wait(event, released)
    if ticket is None:
        loop.give_way()
        return True
    timer = None
    loop.enter()
    try:
        if seconds is not None:
            timer = loop.loop.timer(seconds)
            timer.start(waiter.switch, None)
        waiter.get()
        if not outcomes:
            loop.dispatch()  # the time is up, but an event that rose in the same turn counts
    finally:
        loop.hub.cancel(ticket)
        loop.leave()
        if timer is not None:
            timer.stop()
            timer.close()
    if outcomes == [False]:
        raise ClosedResourceError("this event is closed")
    return bool(outcomes)


class _GeventLoop:
    """The hub, the turn and the watcher of one gevent hub, which alone owns this object.

    The descriptor is watched only while a greenlet waits. A watcher that is always there would keep
    `gevent.wait()` from ever returning, and one that is active when its loop is destroyed is never
    freed.
    """

    def __init__(self, owner: Any) -> None:
        self.loop = owner.loop
        self.owner = ref(owner)
        self.hub = Hub()
        self.turn = Turn(self.loop.run_callback)
        self._waiting = 0
        self._watcher: Any = None

    @classmethod
    def here(cls) -> "_GeventLoop":
        owner = gevent.hub.get_hub()
        loop: _GeventLoop | None = getattr(owner, _NAME, None)
        if loop is None or loop.hub.inherited:
            if loop is not None:
                loop.unwatch()  # gevent's loop goes on in the child of a fork
            _sweep(owner.loop)
            loop = cls(owner)
            setattr(owner, _NAME, loop)
            _loops.append(ref(loop))
        return loop

    def give_way(self) -> None:
        if not self.turn.within():
            try:
                self.turn.pauses()
                gevent.sleep(1e-9)  # not 0: 50 of those in a row come before gevent looks at timers
            finally:
                self.turn.resumed()

    def enter(self) -> None:
        self._waiting += 1
        if self._watcher is None:
            self._watch()

    def leave(self) -> None:
        self._waiting -= 1
        if not self._waiting:
            try:
                # A consumer waits again within this turn. The watcher stops only if none does.
                self.loop.run_callback(self._settle)
            except ValueError:
                pass  # the loop has been destroyed under the greenlet

    def _settle(self) -> None:
        if not self._waiting:
            self.unwatch()

    def _watch(self) -> None:
        self._watcher = self.loop.io(self.hub.fileno(), 1)
        self._watcher.start(_dispatch, ref(self))

    def unwatch(self) -> None:
        # The watcher stops before the descriptor is closed: gevent aborts if a descriptor is closed
        # between the start of its watcher and the next poll.
        if self._watcher is not None:
            self._watcher.stop()
            self._watcher.close()
            self._watcher = None

    def dispatch(self) -> None:
        self.hub.dispatch(self._rewatch)

    def _rewatch(self, _: int) -> None:
        self.unwatch()
        self._watch()


_loops: list["ReferenceType[_GeventLoop]"] = []


def _sweep(this: Any) -> None:
    """Close the hubs of gevent hubs that have been destroyed, because these are often not freed."""
    for reference in list(_loops):
        loop = reference()
        owner = loop.owner() if loop is not None else None
        if loop is None or owner is None or owner.loop is None:
            if loop is not None:
                if loop.loop is this:
                    loop.unwatch()  # the main thread's loop outlives its gevent hubs
                loop.hub.close()
            try:
                _loops.remove(reference)
            except ValueError:
                pass  # another thread has removed it


def _dispatch(owned: "ReferenceType[_GeventLoop]") -> None:
    loop = owned()
    if loop is not None:
        loop.dispatch()

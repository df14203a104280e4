"""Every rise of an event, for adapters that call back (Qt, Tk)."""

from collections.abc import Callable

from wakefd import _wakefd
from wakefd._errors import ClosedResourceError
from wakefd._wakefd import Hub


class Watch:
    """Calls `call` once per rise, from `hub.dispatch()`, until it is closed or the event is.

    The flag stays as it is. One that is up now counts as a rise; rises that come before the call
    are one. When the event is closed, `ended` is called instead, once.

    Raises:
        ClosedResourceError: the event is closed.
    """

    __slots__ = ("_call", "_ended", "_event", "_hub", "_ticket", "closed")

    def __init__(
        self,
        hub: Hub,
        event: _wakefd.IoEvent,
        call: Callable[[], object],
        ended: Callable[[], object],
    ) -> None:
        if event.closed:
            raise ClosedResourceError("this event is closed")
        self.closed = False
        self._hub, self._event, self._call, self._ended = hub, event, call, ended
        self._ticket = hub.wait_after(event, None, self._released)

    def close(self) -> None:
        """Call no more. Harmless if it is closed."""
        if not self.closed:
            self.closed = True
            self._hub.cancel(self._ticket)

    def _released(self, rose: bool) -> None:
        if self.closed:
            return  # by another one who was released with us
        if rose:
            # First this, then the call: what rises from here on makes another one.
            seen = self._event._rises()
            try:
                self._ticket = self._hub.wait_after(self._event, seen, self._released)
            except OSError:
                # The hub's token for what has happened since was refused; but here we are.
                self._call()
                self._released(not self._event.closed)
            else:
                self._call()
        else:
            self.closed = True
            self._ended()

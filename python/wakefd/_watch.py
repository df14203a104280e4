"""`Watch`, for adapters of callback frameworks (Qt, Tk)."""

from collections.abc import Callable

from wakefd import _wakefd
from wakefd._errors import ClosedResourceError
from wakefd._wakefd import Hub


class Watch:
    """A watch calls `call` once per rise, from `hub.dispatch()`, until it or the event is closed.

    The flag stays as it is. A flag that is up now counts as a rise; rises that come before the call
    make one call. When the event is closed, `ended` is called instead, once.

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
        """End the watch. This is harmless if it has ended."""
        if not self.closed:
            self.closed = True
            self._hub.cancel(self._ticket)

    def _released(self, rose: bool) -> None:
        if self.closed:
            return  # by a watch that was released together with this one
        if rose:
            # The next wait begins before the call: a rise from here on makes another call.
            seen = self._event._rises()
            try:
                self._ticket = self._hub.wait_after(self._event, seen, self._released)
            except OSError:
                # The hub's token for a rise since then was refused. The dispatch runs anyway, so
                # that rise is told here.
                self._call()
                self._released(not self._event.closed)
            else:
                self._call()
        else:
            self.closed = True
            self._ended()

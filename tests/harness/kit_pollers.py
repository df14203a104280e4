"""The kit of pollers: a loop of a few lines around one of the standard library's, or pyzmq's."""

import heapq
import itertools
import math
import select
import selectors
import time

from helpers import waiting
from kit_callbacks import CallbackKit


class PollerKit(CallbackKit):
    """A loop of a few lines around a poller of the standard library's, or pyzmq's."""

    in_a_forked_child = "works"

    def __init__(self, name, poller):
        self.name = name
        self._new_poller = poller
        self._calls = {}

    def waits(self, event):
        return waiting(event) + sum(
            len(calls) for its, calls in self._calls.values() if its is event
        )

    def open(self):
        self._register, self._unregister, self._poll, self.close = self._new_poller()
        self._timers, self._numbers, self._calls = [], itertools.count(), {}

    def loop(self, task):
        while not task.done():
            now, due = time.monotonic(), []
            while self._timers and self._timers[0][0] <= now:
                due.append(heapq.heappop(self._timers))
            for timer in due:
                timer[2]()
            soon = self._timers[0][0] if self._timers and not task.done() else 0
            for fd in self._poll(max(0, soon - time.monotonic())):
                self._unregister(fd)
                _, calls = self._calls.pop(fd)
                while calls:
                    calls.pop(0)()
        self._calls.clear()

    def call_later(self, seconds, call):
        timer = [time.monotonic() + seconds, next(self._numbers), call]
        heapq.heappush(self._timers, timer)

        def stop():
            timer[2] = lambda: None

        return stop

    def on_rise(self, event, call):
        fd = event.fileno()
        if fd not in self._calls:
            self._register(fd)
            self._calls[fd] = event, []
        _, calls = self._calls[fd]
        calls.append(call)

        def stop():
            calls.remove(call)
            if not calls and fd in self._calls:
                self._unregister(fd)
                del self._calls[fd]

        return stop


def new_select():
    fds = set()
    return fds.add, fds.remove, lambda left: select.select(fds, [], [], left)[0], lambda: None


def _poller(poller, read, unit, close):
    return (
        lambda fd: poller.register(fd, read),
        poller.unregister,
        lambda left: [fd for fd, _ in poller.poll(math.ceil(left * unit) if unit > 1 else left)],
        close,
    )


def new_poll():
    return _poller(select.poll(), select.POLLIN, 1000, lambda: None)


def new_epoll():
    poller = select.epoll()
    return _poller(poller, select.EPOLLIN, 1, poller.close)


def new_zmq():
    import zmq

    return _poller(zmq.Poller(), zmq.POLLIN, 1000, lambda: None)


def new_selectors():
    selector = selectors.DefaultSelector()
    return (
        lambda fd: selector.register(fd, selectors.EVENT_READ),
        selector.unregister,
        lambda left: [key.fd for key, _ in selector.select(left)],
        selector.close,
    )

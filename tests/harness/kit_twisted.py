"""The kit of Twisted."""

import asyncio
import contextlib
import math

from helpers import PATIENCE
from kit_base import CANCELLED
from kit_blocking import Deadlines, deadline, left


class TwistedKit(Deadlines):
    """Each run has a reactor of its own, and each task a Deferred of its coroutine."""

    def __init__(self, name):
        from twisted.internet import defer, task

        import wakefd.twisted

        self.name = name
        self._defer, self._task = defer, task
        self._notified = wakefd.twisted.notified
        self.reactor = None

    def run(self, main, patience=PATIENCE):
        ended = []

        def begin():
            done = self._defer.ensureDeferred(main()).addTimeout(patience, reactor)
            done.addBoth(ended.append).addBoth(lambda _: reactor.stop())

        with _reactor(self.name) as reactor:
            self.reactor = reactor
            reactor.callWhenRunning(begin)
            reactor.run(installSignalHandlers=False)
        if hasattr(ended[0], "raiseException"):
            ended[0].raiseException()
        return ended[0]

    async def _bounded(self, deferred):
        if deadline.get() < math.inf:
            deferred.addTimeout(max(0, left()), self.reactor)
        try:
            await deferred
        except self._defer.TimeoutError:
            raise TimeoutError from None

    async def notified(self, event):
        await self._bounded(self._notified(event, self.reactor))

    async def sleep(self, seconds):
        await self._bounded(self._task.deferLater(self.reactor, seconds))

    def spawn(self, function, *args):
        return _TwistedTask(self, self._defer, function(*args))

    def watch(self, fd, callback):
        class Reader:
            def fileno(self):
                return fd

            def doRead(self):  # noqa: N802 - Twisted's name
                callback()

            def logPrefix(self):  # noqa: N802
                return "the user's"

            def connectionLost(self, reason):  # noqa: N802
                pass

        reader = Reader()
        self.reactor.addReader(reader)
        return lambda: self.reactor.removeReader(reader)


class _TwistedTask:
    def __init__(self, kit, defer, coroutine):
        self._kit, self._defer = kit, defer
        self._ended = []
        self._deferred = defer.ensureDeferred(coroutine)
        self._deferred.addBoth(self._ended.append)

    def done(self):
        return bool(self._ended)

    def cancel(self):
        self._deferred.cancel()

    async def join(self):
        async with self._kit.patient("the end of a task"):
            if not self._ended:
                ended = self._defer.Deferred()
                self._deferred.addBoth(lambda _: ended.called or ended.callback(None))
                await self._kit._bounded(ended)
        result = self._ended[0]
        if not hasattr(result, "raiseException"):
            return result
        if result.check(self._defer.CancelledError):
            return CANCELLED
        raise result.value


@contextlib.contextmanager
def _reactor(name):
    if name == "twisted-asyncio":
        from twisted.internet.asyncioreactor import AsyncioSelectorReactor

        own = asyncio.SelectorEventLoop()
        reactor = AsyncioSelectorReactor(own)
    elif name == "twisted-epoll":
        from twisted.internet.epollreactor import EPollReactor

        reactor = EPollReactor()
        own = reactor._poller
    elif name == "twisted-poll":
        from twisted.internet.pollreactor import PollReactor

        reactor, own = PollReactor(), None
    else:
        from twisted.internet.selectreactor import SelectReactor

        reactor, own = SelectReactor(), None
    try:
        yield reactor
    finally:
        for reader in reactor._internalReaders:
            reader.connectionLost(None)
        if own is not None:
            own.close()

"""Tests of Twisted on each kind of reactor.

Each test runs in a fresh interpreter, because a reactor runs only once in a process.
"""

import importlib
import os
import threading
import time

import pytest

from helpers import Thread, fds, forked, in_child, later, run_child, waiting, without
from wakefd import ClosedResourceError, IoEvent

pytest.importorskip("twisted")

from twisted.internet import defer, task

import wakefd.twisted
from wakefd.twisted import notified

REACTORS = ["epollreactor", "selectreactor", "pollreactor", "asyncioreactor"]


@pytest.fixture(params=REACTORS)
def name(request):
    return request.param


def run(name, main):
    """Install the reactor of this name, and run the coroutine `main(event, reactor)` on it."""
    importlib.import_module(f"twisted.internet.{name}").install()
    from twisted.internet import reactor

    ended = []

    def begin():
        done = defer.ensureDeferred(main(IoEvent(), reactor))
        done.addBoth(ended.append).addBoth(lambda _: reactor.stop())

    reactor.callWhenRunning(begin)
    reactor.callLater(30, os._exit, 3)
    reactor.run()
    (result,) = ended
    if result is not None:
        result.raiseException()


def our_readers(reactor):
    return [reader for reader in reactor.getReaders() if reader.logPrefix() == "wakefd"]


@in_child(strict=True)
def test_the_installed_reactor_serves_waits(name):
    """The reactor has wakefd's reader only while a Deferred waits."""

    async def main(event, reactor):
        event.notify()
        assert notified(event).called  # the Deferred fires at once, because the flag is up
        event.clear()
        waits = [notified(event), notified(event, reactor)]
        assert waiting(event) == 2 and len(our_readers(reactor)) == 1
        waits[0].addErrback(lambda failure: failure.trap(defer.CancelledError)).cancel()
        assert waiting(event) == 1 and len(our_readers(reactor)) == 1
        thread = later(event.notify)
        assert await waits[1].addTimeout(20, reactor) is None
        thread.finish()
        await task.deferLater(reactor, 0)
        assert waiting(event) == 0 and not our_readers(reactor)

    run(name, main)


@in_child(strict=True)
def test_a_callback_may_raise_cancel_close_and_wait_again(name):
    async def main(event, reactor):
        def bad(_):
            raise ZeroDivisionError

        first, last = notified(event), notified(event)
        first.addCallback(bad)
        first.addErrback(lambda failure: failure.trap(ZeroDivisionError))
        event.notify()
        await last.addTimeout(20, reactor)
        assert await first.addTimeout(20, reactor) is ZeroDivisionError
        event.clear()

        # The first Deferred's callback cancels the second and closes the event of the third.
        other, said = IoEvent(), []

        def busy(_):
            second.cancel()
            other.close()
            event.clear()
            again = notified(event)
            reactor.callInThread(event.notify)
            return again

        first = notified(event).addCallback(busy)
        second = notified(event).addBoth(said.append)
        _third = notified(other).addBoth(said.append)
        event.notify()
        await first.addTimeout(20, reactor)
        while len(said) < 2:
            await task.deferLater(reactor, 0.001)
        assert said[0].check(defer.CancelledError) and said[1].check(ClosedResourceError), said
        await task.deferLater(reactor, 0)
        assert waiting(event) == waiting(other) == 0 and not our_readers(reactor)

    run(name, main)


# asyncio's loop does not run inside itself.
@pytest.mark.parametrize("name", [name for name in REACTORS if name != "asyncioreactor"])
@in_child(strict=True)
def test_a_second_deferred_is_called_while_the_firsts_callback_iterates(name):
    """The second Deferred was not called until the first one's callback had ended."""

    async def main(event, reactor):
        def first(_):
            end = time.monotonic() + 20
            while "second" not in seen:
                assert time.monotonic() < end, "the second Deferred was not called"
                reactor.iterate(1)
            seen.append("first")

        seen, other = [], IoEvent()
        for pair in ((event, event), (event, other)):
            seen.clear()
            waits = [notified(each) for each in pair]
            waits[0].addCallback(first)
            waits[1].addCallback(lambda _: seen.append("second"))
            Thread(lambda pair=pair: [each.notify() for each in pair]).finish()
            await defer.gatherResults(waits).addTimeout(20, reactor)
            assert seen == ["second", "first"], seen
            event.clear()
        await task.deferLater(reactor, 0.01)
        assert not our_readers(reactor)

    run(name, main)


@in_child(strict=True)
def test_waits_go_on_after_the_reader_was_removed_from_outside(name):
    """trial removes all readers from the reactor after each test."""

    async def main(event, reactor):
        lost = notified(event)
        assert len(our_readers(reactor)) == 1
        reactor.removeAll()
        wait = notified(event)
        assert len(our_readers(reactor)) == 1
        event.notify()
        await wait.addTimeout(20, reactor)
        await lost.addTimeout(20, reactor)

    run(name, main)


@in_child(strict=True)
def test_the_end_of_the_reactor_ends_its_waits(name):
    kept = []

    async def main(event, reactor):
        kept.extend([event, notified(event)])
        reactor.addSystemEventTrigger("before", "shutdown", task.deferLater, reactor, 0.01)

    run(name, main)
    event, wait = kept
    assert waiting(event) == 0
    assert event.notify() and event.clear()
    assert not wait.called
    assert len(wakefd.twisted._readers) == 0


@in_child(strict=True)
def test_the_end_of_a_reactor_without_waits_leaves_no_reader(name):
    async def main(event, reactor):
        thread = later(event.notify)
        await notified(event).addTimeout(20, reactor)
        thread.finish()

    run(name, main)
    assert len(wakefd.twisted._readers) == 0


@in_child(strict=True)
def test_reactors_that_run_and_end_leave_no_descriptor():
    from twisted.internet.epollreactor import EPollReactor
    from twisted.internet.selectreactor import SelectReactor

    event = IoEvent()

    def one(kind):
        reactor = kind()

        def begin():
            notified(event, reactor).addBoth(lambda _: reactor.stop())

        reactor.callWhenRunning(begin)
        notified(event, reactor)
        reactor.callLater(0.001, event.notify)
        reactor.run(installSignalHandlers=False)
        event.clear()
        for reader in reactor._internalReaders:
            reader.connectionLost(None)
        if kind is EPollReactor:
            reactor._poller.close()

    for kind in (SelectReactor, EPollReactor):
        one(kind)
        before = fds()
        for _ in range(30):
            one(kind)
        assert fds() <= before, (before, fds())
    assert event._listeners() <= 2


@in_child(strict=True)
def test_trial_finds_no_dirty_reactor_after_a_wait(tmp_path):
    """trial calls a reactor dirty if it still has a reader of wakefd after the test."""
    from twisted.trial import reporter, runner, unittest

    class Waits(unittest.TestCase):
        async def test_one(self):
            event = IoEvent()
            thread = later(event.notify)
            await notified(event)
            thread.finish()

        test_two = test_one

    trial = runner.TrialRunner(reporter.VerboseTextReporter, workingDirectory=tmp_path / "trial")
    result = trial.run(runner.TestLoader().loadClass(Waits))
    assert result.wasSuccessful() and result.successes == 2


@in_child(strict=True)
def test_in_a_child_notified_fails_with_runtime_error_and_the_parent_goes_on():
    from twisted.internet import reactor

    event = IoEvent()
    wait = notified(event)

    def child():
        failed = []
        notified(event).addErrback(failed.append)
        assert failed[0].check(RuntimeError)

    forked(child)
    wait.addBoth(lambda _: reactor.stop())
    event.notify()
    reactor.callLater(20, os._exit, 3)
    reactor.run()


def test_the_interpreter_can_exit_while_threads_notify():
    for _ in range(3):
        run_child("test_twisted", "exit_while_threads_notify", strict=True)


def exit_while_threads_notify():
    event = IoEvent()

    def work():
        while True:
            event.notify()

    async def main(_):
        for _ in range(20):
            await notified(event)
            event.clear()
        notified(IoEvent())

    threading.Thread(target=work, daemon=True).start()
    task.react(lambda reactor: defer.ensureDeferred(main(reactor)))


def test_an_import_without_twisted_says_what_to_install():
    assert "pip install twisted" in without("wakefd.twisted", ["twisted", "twisted.internet"])

"""Tests of Twisted on each kind of reactor.

Each test is a program of its own, because a reactor runs only once in a process.
"""

import pytest

from helpers import program, without

pytest.importorskip("twisted")

REACTORS = ["epollreactor", "selectreactor", "pollreactor", "asyncioreactor"]

# The frame of the programs below: the reactor runs their coroutine `main` to its end.
FRAME = """
import gc, os, sys, threading, time
from twisted.internet import {reactor}
{reactor}.install()
from twisted.internet import defer, reactor, task
from twisted.python import failure
import wakefd
from helpers import Thread, fds, later, waiting
from wakefd import ClosedResourceError, IoEvent
from wakefd.twisted import notified

def sleep(seconds):
    return task.deferLater(reactor, seconds, lambda: None)

def bounded(deferred):
    return deferred.addTimeout(20, reactor)

def our_readers():
    return [r for r in reactor.getReaders() if r.logPrefix() == "wakefd"]

async def main(event):
{body}

def run():
    def go():
        done = defer.ensureDeferred(main(IoEvent()))
        def end(result):
            if isinstance(result, failure.Failure):
                result.printTraceback(sys.stderr)
            reactor.stop()
        done.addBoth(end)
    reactor.callWhenRunning(go)
    reactor.callLater(30, os._exit, 3)
    reactor.run()

run()
"""


def indented(body):
    return "\n".join(f"    {line[8:]}" for line in body.splitlines())


@pytest.fixture(params=REACTORS)
def name(request):
    return request.param


@pytest.fixture
def run(name):
    def run(body, after=""):
        return program(FRAME.format(reactor=name, body=indented(body)) + after)

    return run


def test_the_installed_reactor_serves_waits(run):
    """The reactor has wakefd's reader only while a Deferred waits."""
    run(
        """
        event.notify()
        assert notified(event).called  # the Deferred fires at once, because the flag is up
        event.clear()
        waits = [notified(event), notified(event, reactor)]
        assert waiting(event) == 2 and len(our_readers()) == 1
        waits[0].addErrback(lambda failure: failure.trap(defer.CancelledError)).cancel()
        assert waiting(event) == 1 and len(our_readers()) == 1
        thread = later(event.notify)
        assert await bounded(waits[1]) is None
        thread.finish()
        await sleep(0)
        assert waiting(event) == 0 and not our_readers()
        """
    )


def test_a_callback_may_raise_cancel_close_and_wait_again(run):
    run(
        """
        def bad(_):
            raise ZeroDivisionError
        first, last = notified(event), notified(event)
        first.addCallback(bad)
        first.addErrback(lambda failure: failure.trap(ZeroDivisionError))
        event.notify()
        await bounded(last)
        assert (await bounded(first)) is ZeroDivisionError
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
        third = notified(other).addBoth(said.append)
        event.notify()
        await bounded(first)
        while len(said) < 2:
            await sleep(0.001)
        assert said[0].check(defer.CancelledError) and said[1].check(ClosedResourceError), said
        await sleep(0)
        assert waiting(event) == waiting(other) == 0 and not our_readers()
        """
    )


def test_a_second_deferred_is_called_while_the_firsts_callback_iterates(name):
    """The second Deferred was not called until the first one's callback had ended."""
    if name == "asyncioreactor":
        pytest.skip("asyncio's loop does not run inside itself")
    program(
        FRAME.format(
            reactor=name,
            body=indented(
                """
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
            Thread(lambda: [each.notify() for each in pair]).finish()
            await bounded(defer.gatherResults(waits))
            assert seen == ["second", "first"], seen
            event.clear()
        await sleep(0.01)
        assert not our_readers()
        """
            ),
        )
    )


def test_waits_go_on_after_the_reader_was_removed_from_outside(run):
    """trial removes all readers from the reactor after each test."""
    run(
        """
        lost = notified(event)
        assert len(our_readers()) == 1
        for reader in reactor.removeAll():
            pass
        wait = notified(event)
        assert len(our_readers()) == 1
        event.notify()
        await bounded(wait)
        await bounded(lost)
        """
    )


def test_the_end_of_the_reactor_ends_its_waits(run):
    out = run(
        """
        global kept, wait
        kept, wait = event, notified(event)
        reactor.addSystemEventTrigger("before", "shutdown", sleep, 0.01)
        """,
        after="""
assert waiting(kept) == 0
assert kept.notify() and kept.clear()
assert not wait.called
import wakefd.twisted
assert len(wakefd.twisted._readers) == 0
print("over")
""",
    )
    assert out == "over\n"


def test_the_end_of_a_reactor_without_waits_leaves_no_reader(run):
    out = run(
        """
        thread = later(event.notify)
        await bounded(notified(event))
        thread.finish()
        """,
        after="""
import wakefd.twisted
assert len(wakefd.twisted._readers) == 0
print("over")
""",
    )
    assert out == "over\n"


def test_reactors_that_run_and_end_leave_no_descriptor():
    out = program(
        """
        import gc
        from twisted.internet.selectreactor import SelectReactor
        from twisted.internet.epollreactor import EPollReactor
        from helpers import fds, later
        from wakefd import IoEvent
        from wakefd.twisted import notified
        event = IoEvent()
        def one(kind):
            reactor = kind()
            def go():
                notified(event, reactor).addBoth(lambda _: reactor.stop())
            reactor.callWhenRunning(go)
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
        print(event._listeners() <= 2)
        """
    )
    assert out == "True\n"


def test_trial_finds_no_dirty_reactor_after_a_wait(tmp_path):
    """trial calls a reactor dirty if it still has a reader of wakefd after the test."""
    (tmp_path / "test_it.py").write_text(
        "from twisted.trial.unittest import TestCase\n"
        "from wakefd import IoEvent\n"
        "from wakefd.twisted import notified\n"
        "from helpers import later\n"
        "class One(TestCase):\n"
        "    async def test_one(self):\n"
        "        event = IoEvent()\n"
        "        thread = later(event.notify)\n"
        "        await notified(event)\n"
        "        thread.finish()\n"
        "    test_two = test_one\n"
    )
    out = program(
        """
        import os, sys
        sys.path.insert(0, os.getcwd() if len(sys.argv) < 2 else sys.argv[1])
        os.chdir(sys.argv[1])
        sys.argv = ["trial", "test_it"]
        from twisted.scripts.trial import run
        run()
        """,
        str(tmp_path),
    )
    assert "PASSED (successes=2)" in out


def test_in_a_child_notified_fails_with_runtime_error_and_the_parent_goes_on():
    out = program(
        """
        import os
        from twisted.internet import reactor
        from wakefd import IoEvent
        from wakefd.twisted import notified
        event = IoEvent()
        wait = notified(event)
        pid = os.fork()
        if pid == 0:
            failed = []
            notified(event).addErrback(failed.append)
            os._exit(0 if failed and failed[0].check(RuntimeError) else 1)
        _, status = os.waitpid(pid, 0)
        wait.addBoth(lambda _: reactor.stop())
        event.notify()
        reactor.callLater(20, os._exit, 3)
        reactor.run()
        print(status)
        """
    )
    assert out == "0\n"


def test_the_interpreter_can_exit_while_threads_notify():
    for _ in range(3):
        program(
            """
            import threading
            from twisted.internet import defer, reactor, task
            from wakefd import IoEvent
            from wakefd.twisted import notified
            event = IoEvent()
            def work():
                while True:
                    event.notify()
            threading.Thread(target=work, daemon=True).start()
            async def main(_):
                for _ in range(20):
                    await notified(event)
                    event.clear()
                notified(IoEvent())
            task.react(lambda _: defer.ensureDeferred(main(_)))
            """
        )


def test_an_import_without_twisted_says_what_to_install():
    assert "pip install twisted" in without("wakefd.twisted", ["twisted", "twisted.internet"])

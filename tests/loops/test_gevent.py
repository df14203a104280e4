"""Tests of gevent, without monkey-patching in this process and with it in a second one."""

import gc
import math
import os
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

pytest.importorskip("gevent")

import gevent
import gevent.event
import gevent.hub
import gevent.monkey
import gevent.os

import wakefd.gevent
from helpers import PATIENCE, Thread, fds, in_child, later, run_child, waiting, without
from wakefd import ClosedResourceError, IoEvent
from wakefd.gevent import wait

kept = []  # what must live until the interpreter's end
real_sleep = gevent.monkey.get_original("time", "sleep")
PATCHED = os.environ.get("WAKEFD_TEST_GEVENT_PATCHED") == "1"


@pytest.fixture
def event():
    return IoEvent()


@pytest.fixture(autouse=True)
def _bounded():
    with gevent.Timeout(PATIENCE):
        yield


def greenlets(count, function, *args):
    """Start `count` greenlets and let each of them run until it waits."""
    made = [gevent.spawn(function, *args) for _ in range(count)]
    gevent.sleep(0)
    return made


def results(made):
    gevent.joinall(made, timeout=PATIENCE)
    return [greenlet.get(block=False) for greenlet in made]


def test_this_process_is_monkey_patched_as_it_should_be():
    assert gevent.monkey.is_module_patched("threading") is PATCHED


def test_wait_returns_at_once_if_the_flag_is_up(event):
    event.notify()
    assert wait(event) is True
    assert wait(event, 0) is True
    assert event.is_set()


def test_wait_blocks_only_its_own_greenlet_until_a_notify(event):
    ticks = []

    def tick():
        while True:
            ticks.append(1)
            gevent.sleep(0.001)

    ticker = gevent.spawn(tick)
    thread = later(event.notify, 0.1)
    assert wait(event) is True
    ticker.kill()
    thread.finish()
    assert len(ticks) > 5


def test_wait_returns_false_when_it_times_out(event):
    begin = time.monotonic()
    assert wait(event, 0.05) is False
    assert 0.04 < time.monotonic() - begin < PATIENCE / 2
    assert wait(event, 0) is False
    assert wait(event, -1) is False
    assert wait(event, -math.inf) is False
    assert waiting(event) == 0


def test_a_timeout_that_is_no_usable_number_is_an_error(event):
    with pytest.raises(ValueError, match="nan"):
        wait(event, math.nan)
    with pytest.raises(OverflowError):
        wait(event, 1e300)
    with pytest.raises(TypeError):
        wait(event, "1")
    event.notify()
    assert wait(event, math.inf)
    with pytest.raises(ValueError, match="nan"):
        wait(event, math.nan)


def test_wait_for_a_closed_event_raises_closed_resource_error(event):
    event.close()
    with pytest.raises(ClosedResourceError):
        wait(event, 0)


def test_a_timeout_of_infinity_waits_until_a_notify(event):
    thread = later(event.notify)
    assert wait(event, math.inf)
    thread.finish()


def test_a_rise_wins_over_a_timeout_in_the_same_turn(event):
    made = greenlets(1, wait, event, 0.01) + greenlets(1, wait, event)
    event.notify()
    event.clear()
    real_sleep(0.05)  # the rise and the timeout are both due in the loop's next turn
    assert results(made) == [True, True]


@in_child(strict=True)
def test_a_waiter_keeps_gevent_wait_from_returning():
    event = IoEvent()
    wait(event, 0.001)
    assert gevent.wait() is True  # no greenlet is left to wait for
    waiter = gevent.spawn(wait, event)
    assert gevent.wait(timeout=0.02) is False
    waiter.kill()
    assert gevent.wait() is True


@pytest.mark.parametrize("left", [False, True], ids=["no waiter left", "a waiter left"])
def test_hundreds_of_gevent_hubs_leave_no_descriptor(event, left):
    def work():
        wait(event, 0.0001)
        if left:
            gevent.spawn(wait, event)
            gevent.sleep(0)
        gevent.get_hub().destroy(destroy_loop=True)

    Thread(work).finish()
    gc.collect()
    gc.disable()
    try:
        before = fds()
        for _ in range(200):
            Thread(work).finish()
        assert fds() - before <= 2
    finally:
        gc.enable()
    assert event._listeners() <= 4
    event.notify()


@in_child(strict=True)
def test_waits_work_after_the_main_hub_is_destroyed_and_made_anew():
    event = IoEvent()
    for _ in range(3):
        _waiter = gevent.spawn(wait, event)
        gevent.sleep(0)
        gevent.get_hub().destroy()
        thread = later(event.notify)
        assert wait(event, 20)
        event.clear()
        thread.finish()
    start = time.process_time()
    assert not wait(event, 0.2)
    assert time.process_time() - start < 0.15, "the loop spins"
    assert gevent.wait(timeout=10) is True, "an old watcher keeps the loop busy"


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork")
@in_child(strict=True)
def test_waits_work_in_the_parent_and_in_the_child_after_a_fork():
    event = IoEvent()
    assert not wait(event, 0.001)
    theirs = gevent.spawn(wait, event)
    gevent.sleep(0)
    pid = gevent.os.fork()
    if pid == 0:
        _thread = later(event.notify)
        ok = wait(event, 20) and event.clear() and not wait(event, 0.01)
        os._exit(0 if ok else 1)
    _, status = gevent.os.waitpid(pid, 0)
    assert status == 0, status
    assert not theirs.ready() and not event.is_set()
    event.notify()
    assert theirs.get(timeout=20) is True


def test_the_interpreter_can_exit_while_threads_notify():
    for _ in range(5):
        run_child("test_gevent", "exit_while_threads_notify", strict=True)


def exit_while_threads_notify():
    event = IoEvent()

    def work():
        while True:
            event.notify()

    threading.Thread(target=work, daemon=True).start()
    kept.append(gevent.spawn(wait, IoEvent()))
    for _ in range(10):
        wait(event)
        event.clear()
        gevent.sleep(0)


def test_an_import_without_gevent_says_what_to_install():
    said = without("wakefd.gevent", ["gevent"])
    assert "pip install gevent" in said


@pytest.mark.skipif(PATCHED, reason="this process is the monkey-patched one")
@pytest.mark.timeout(150)
def test_all_tests_of_this_file_pass_with_monkey_patching():
    code = (
        "from gevent import monkey; monkey.patch_all()\n"
        "import sys, pytest\n"
        "sys.exit(pytest.main(sys.argv[1:]))"
    )
    options = ["-q", "-p", "no:cacheprovider", "-o", "faulthandler_timeout=0"]
    done = subprocess.run(
        [sys.executable, "-c", code, *options, __file__],
        env={**os.environ, "WAKEFD_TEST_GEVENT_PATCHED": "1"},
        cwd=Path(__file__).parents[2],
        capture_output=True,
        text=True,
        timeout=140,
    )
    assert done.returncode == 0, done.stdout[-5000:] + done.stderr[-2000:]


assert wakefd.gevent.__all__ == ["wait"]

"""Tests of the event by itself, without an event loop and without a fork."""

import copy
import gc
import math
import os
import pickle
import select
import selectors
import time
import weakref

import pytest

import wakefd
from helpers import Thread, fds, readable, until, waiting
from wakefd import ClosedResourceError, IoEvent


def test_notify_raises_the_flag_and_clear_lowers_it(event):
    assert not event.is_set()
    assert event.clear() is False
    assert event.notify() is True
    assert event.is_set()
    assert event.notify() is False
    assert event.clear() is True
    assert not event.is_set()


def test_the_modules_version_is_the_packages_version():
    from importlib.metadata import version

    assert wakefd.__version__ == version("wakefd")


def test_repr_says_up_down_or_closed_and_the_number_of_waiters(event):
    assert repr(event).startswith("<wakefd.IoEvent down, 0 waiting at 0x")
    thread = Thread(event.wait)
    until(lambda: waiting(event) == 1)
    event.notify()
    thread.finish()
    assert repr(event).startswith("<wakefd.IoEvent up, 0 waiting at 0x")
    event.close()
    assert repr(event).startswith("<wakefd.IoEvent closed, 0 waiting at 0x")


@pytest.mark.parametrize("how", [copy.copy, copy.deepcopy, pickle.dumps])
def test_copying_is_a_type_error_that_names_multiprocessing(event, how):
    with pytest.raises(TypeError, match=r"multiprocessing\.Event"):
        how(event)


@pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
def test_pickling_is_a_type_error_with_every_protocol(event, protocol):
    with pytest.raises(TypeError, match=r"multiprocessing\.Event"):
        pickle.dumps(event, protocol)


def test_wait_returns_at_once_if_the_flag_is_up(event):
    event.notify()
    for timeout in (None, math.inf, 0, -1, 5):
        assert event.wait(timeout) is True
    assert event.is_set()


@pytest.mark.parametrize("timeout", [0, 0.0, -0.0, -1, -math.inf, 1e-9, 0.02])
def test_wait_times_out(event, timeout):
    before = time.monotonic()
    assert event.wait(timeout) is False
    assert event.wait(timeout=timeout) is False
    assert time.monotonic() - before >= 2 * timeout
    assert waiting(event) == 0


@pytest.mark.parametrize("timeout", [None, math.inf, 1e6])
def test_wait_blocks_until_another_thread_notifies(event, timeout):
    thread = Thread(event.wait, timeout)
    until(lambda: waiting(event) == 1)
    event.notify()
    assert thread.finish() is True


def test_a_nan_timeout_is_a_value_error(event):
    with pytest.raises(ValueError, match="nan"):
        event.wait(math.nan)


@pytest.mark.parametrize("timeout", [1e300, 1e20, 10**400])
def test_a_timeout_that_is_too_large_is_an_overflow_error(event, timeout):
    with pytest.raises(OverflowError):
        event.wait(timeout)


@pytest.mark.parametrize("timeout", ["1", [], object()])
def test_a_timeout_that_is_no_number_is_a_type_error(event, timeout):
    with pytest.raises(TypeError):
        event.wait(timeout)
    event.notify()
    with pytest.raises(TypeError):
        event.wait(timeout)


def test_notified_without_a_loop_is_a_runtime_error_that_names_wait(event):
    for waits in (event.notified(), aiter(event).__anext__()):
        with pytest.raises(RuntimeError, match=r"event\.wait\(\)") as caught:
            waits.send(None)
        assert not isinstance(caught.value, ClosedResourceError)


def test_a_closed_event_answers_false_or_raises_closed_resource_error(event):
    fd = event.fileno()
    event.notify()
    assert not event.closed
    event.close()
    event.close()
    assert event.closed
    assert event.notify() is False
    assert event.clear() is False
    assert event.is_set() is False
    for raises in (event.fileno, event.wait, lambda: event.wait(0)):
        with pytest.raises(ClosedResourceError):
            raises()
    with pytest.raises(OSError):
        os.fstat(fd)
    assert issubclass(ClosedResourceError, RuntimeError)
    assert f"{ClosedResourceError.__module__}.{ClosedResourceError.__qualname__}" == (
        "wakefd.ClosedResourceError"
    )


def test_an_event_that_was_never_used_can_be_closed(event):
    event.close()
    assert event.closed
    with pytest.raises(ClosedResourceError):
        event.fileno()


def test_a_with_block_closes_the_event(event):
    with event as same:
        assert same is event
        event.notify()
    assert event.closed


def test_a_with_block_closes_the_event_and_lets_an_exception_through(event):
    with pytest.raises(ZeroDivisionError), event:
        raise ZeroDivisionError
    assert event.closed


def test_an_event_can_be_weakly_referenced(event):
    reference = weakref.ref(event)
    assert reference() is event


def test_a_dropped_event_and_its_descriptor_are_gone_at_once():
    event = IoEvent()
    fd, gone = event.fileno(), []
    reference = weakref.ref(event, gone.append)
    del event
    assert reference() is None
    assert gone == [reference]
    with pytest.raises(OSError):
        os.fstat(fd)


def test_a_subclass_may_have_state_and_new_arguments():
    class Named(IoEvent):
        def __new__(cls, name):
            self = super().__new__(cls)
            self.name = name
            return self

    event = Named("x")
    assert event.name == "x"
    assert event.notify()
    assert event.wait(0)
    assert repr(event).startswith("<wakefd.Named up")
    with pytest.raises(TypeError):
        pickle.dumps(event)


def test_a_subclass_instance_in_a_cycle_is_collected():
    class Cyclic(IoEvent):
        pass

    event = Cyclic()
    event.me = event
    event.fileno()
    gone = weakref.ref(event)
    del event
    gc.collect()
    assert gone() is None


def test_an_event_that_is_no_subclass_takes_no_attributes(event):
    with pytest.raises(AttributeError):
        event.name = "x"


def test_fileno_stays_the_same(event):
    fd = event.fileno()
    assert isinstance(fd, int)
    for _ in range(3):
        event.notify()
        assert event.fileno() == fd
        event.clear()
        assert event.fileno() == fd
    assert select.select([event], [], [], 0)[0] == []


def test_threads_that_call_fileno_at_once_get_the_same_number(event):
    before = fds()
    threads = [Thread(event.fileno) for _ in range(8)]
    assert len({thread.finish() for thread in threads}) == 1
    assert fds() <= before + 2  # an eventfd is one descriptor, a pair is two


def test_the_descriptor_is_readable_while_the_flag_is_up(event):
    fd = event.fileno()
    assert not readable(fd)
    for _ in range(3):
        event.notify()
        event.notify()
        assert readable(fd)
        assert event.clear()
        assert not readable(fd)


def test_a_descriptor_made_while_the_flag_is_up_is_readable(event):
    event.notify()
    assert readable(event.fileno())
    assert event.clear()
    assert not readable(event.fileno())
    assert event._owed() == 0


def test_wait_leaves_the_descriptor_readable(event):
    fd = event.fileno()
    event.notify()
    assert event.wait()
    assert readable(fd)


def _poll(fd):
    poll = select.poll()
    poll.register(fd, select.POLLIN)
    return lambda: bool(poll.poll(0))


def _epoll(flags):
    def watch(fd):
        epoll = select.epoll()
        epoll.register(fd, select.EPOLLIN | flags)
        return lambda: bool(epoll.poll(0))

    return watch


def _selectors(kind):
    def watch(fd):
        selector = kind()
        selector.register(fd, selectors.EVENT_READ)
        return lambda: bool(selector.select(0))

    return watch


@pytest.mark.parametrize(
    "watch",
    [
        lambda fd: lambda: readable(fd),
        _poll,
        _epoll(0),
        _epoll(select.EPOLLET),
        _selectors(selectors.DefaultSelector),
        _selectors(selectors.SelectSelector),
    ],
    ids=["select", "poll", "epoll", "epoll-edge", "DefaultSelector", "SelectSelector"],
)
def test_a_foreign_selector_sees_the_flag_as_readability(event, watch):
    is_readable = watch(event.fileno())
    for _ in range(3):
        assert not is_readable()
        Thread(event.notify).finish()
        assert is_readable()
        event.clear()
    assert not is_readable()


def test_a_foreign_selector_blocks_until_a_thread_notifies(event):
    with selectors.DefaultSelector() as selector:
        selector.register(event, selectors.EVENT_READ)
        for _ in range(20):
            thread = Thread(event.notify)
            assert selector.select(20)
            assert event.clear()
            assert thread.finish() is True


def test_ten_thousand_idle_events_have_no_descriptor():
    before = fds()
    events = [IoEvent() for _ in range(10_000)]
    for event in events:
        event.notify()
        event.clear()
        event.notify()
    assert fds() == before


def test_wait_lets_other_threads_run(event):
    # If wait kept the GIL, the other thread could not notify.
    thread = Thread(lambda: (until(lambda: waiting(event) == 1), event.notify()))
    assert event.wait(20) is True
    thread.finish()


def test_every_waiting_thread_is_released_even_if_the_flag_is_cleared_at_once(event):
    for _ in range(5):
        threads = [Thread(event.wait) for _ in range(8)]
        until(lambda: waiting(event) == 8)
        event.notify()
        event.clear()
        assert all(thread.finish() for thread in threads)


def test_a_close_raises_closed_resource_error_in_threads_that_wait(event):
    threads = [Thread(event.wait) for _ in range(4)]
    until(lambda: waiting(event) == 4)
    event.close()
    for thread in threads:
        with pytest.raises(ClosedResourceError):
            thread.finish()


def test_a_thread_is_released_normally_by_a_rise_before_the_close(event):
    for _ in range(20):
        event = IoEvent()
        thread = Thread(event.wait)
        until(lambda event=event: waiting(event) == 1)
        event.notify()
        event.close()
        assert thread.finish() is True


def test_one_thread_may_wait_for_many_events_one_after_the_other():
    events = [IoEvent() for _ in range(100)]

    def wait():
        for event in events:
            event.wait()

    thread = Thread(wait)
    for event in events:
        until(lambda event=event: waiting(event) == 1)
        event.notify()
    thread.finish()


def test_a_thread_whose_wait_timed_out_is_released_by_a_later_notify(event):
    def wait():
        assert not event.wait(0.001)
        return event.wait()

    thread = Thread(wait)
    time.sleep(0.01)
    event.notify()
    assert thread.finish() is True


def test_a_method_that_takes_no_argument_raises_type_error_for_one(event):
    for method in (event.notify, event.clear, event.is_set, event.fileno, event.close):
        with pytest.raises(TypeError):
            method(1)
    with pytest.raises(TypeError):
        IoEvent(1)

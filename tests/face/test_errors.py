"""wakefd's exceptions carry the names of their imports, and can be pickled and copied."""

import copy
import importlib
import multiprocessing
import pickle
import queue
import sys
import traceback
from concurrent.futures import ProcessPoolExecutor

import pytest

import wakefd
from helpers import PATIENCE
from wakefd import compat

# Each exception of the package, by the name and the module of its import.
NAMES = {
    name: module
    for module in (compat, wakefd)
    for name in module.__all__
    if name.endswith(("Error", "ShutDown", "Full", "Empty"))
}


def named(name):
    """An exception with arguments and an attribute."""
    error = getattr(NAMES[name], name)("because", 7)
    error.accepted = 3
    return error


def from_put(q):
    q.put_many("abc", timeout=0)


def full():
    q = wakefd.Queue(2)
    from_put(q)


def shut():
    q = wakefd.Queue()
    q.shutdown()
    from_put(q)


def no_message():
    q = wakefd.ByteQueue(64, 8)
    q.shutdown()
    q.get()


def closed():
    event = wakefd.IoEvent()
    event.close()
    event.wait()


RAISED = {
    full: (wakefd.QueueFull, 2),
    shut: (wakefd.QueueShutDown, 0),
    no_message: (wakefd.QueueShutDown, 0),
    closed: (wakefd.ClosedResourceError, None),
}


def raised(function):
    with pytest.raises(RAISED[function][0]) as caught:
        function()
    return caught.value


def assert_equal_errors(one, other):
    assert type(one) is type(other)
    assert one.args == other.args
    assert vars(one) == vars(other)


def test_wakefd_and_compat_export_their_exceptions():
    assert {"QueueFull", "QueueShutDown", "ClosedResourceError", "LoopClosedError"} <= NAMES.keys()
    assert {"AsyncQueueShutDown", "SyncQueueShutDown"} <= NAMES.keys()


@pytest.mark.parametrize("name", NAMES)
def test_an_exception_is_named_as_it_is_imported(name):
    kind = getattr(NAMES[name], name)
    assert kind.__name__ == kind.__qualname__
    assert getattr(importlib.import_module(kind.__module__), kind.__qualname__) is kind
    if kind.__module__.startswith("wakefd"):
        assert kind.__module__ == NAMES[kind.__name__].__name__
    words = traceback.format_exception_only(named(name))[0]
    assert words.startswith(f"{kind.__module__}.{kind.__qualname__}: ")


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
def test_an_exception_can_be_pickled(name, protocol):
    assert_equal_errors(pickle.loads(pickle.dumps(named(name), protocol)), named(name))


@pytest.mark.parametrize("name", NAMES)
def test_an_exception_can_be_copied(name):
    assert_equal_errors(copy.copy(named(name)), named(name))
    assert_equal_errors(copy.deepcopy(named(name)), named(name))


@pytest.mark.parametrize("function", RAISED)
def test_a_raised_exception_tells_how_many_items_went_in_and_can_be_pickled(function):
    error = raised(function)
    assert getattr(error, "accepted", None) == RAISED[function][1]
    assert_equal_errors(pickle.loads(pickle.dumps(error)), error)


def test_an_exception_comes_out_of_a_process_pool_as_it_was_raised():
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(1, mp_context=context) as pool:
        for function in RAISED:
            error = pool.submit(function).exception(PATIENCE)
            assert_equal_errors(error, raised(function))


def test_the_standard_librarys_names_catch_the_exceptions_of_queues():
    assert issubclass(wakefd.QueueFull, queue.Full)
    assert compat.SyncQueueShutDown is wakefd.QueueShutDown
    if sys.version_info >= (3, 13):
        assert wakefd.QueueShutDown is queue.ShutDown
    for act in (
        lambda q: q.put(2, timeout=0),
        lambda q: q.put_nowait(2),
        lambda q: q.put(2, False),
    ):
        q = wakefd.Queue(1)
        q.put(1)
        with pytest.raises(wakefd.QueueFull) as caught:
            act(q)
        assert caught.value.accepted == 0
        with pytest.raises(compat.SyncQueueFull):
            q.sync_q.put_nowait(2)

import errno
import gc
import importlib.util
import inspect
import re
import signal
import sys
import traceback

import pytest

import kits
import seccomp
from helpers import FOLDERS
from wakefd import IoEvent
from wakefd._wakefd import backend

# The folders of all tests are importable, because one test module may import another that pytest
# has not collected yet.
sys.path.extend(FOLDERS)

# Shells make programs in the background ignore Ctrl-C, and the tests' children inherit that.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)


def pytest_addoption(parser):
    parser.addoption("--kit", choices=kits.KITS, help="run only the tests of this kit")
    parser.addoption(
        "--refuse-eventfd", action="store_true", help="refuse eventfds, as old sandboxes do"
    )


def pytest_configure(config):
    config.addinivalue_line(
        "markers", "needs(*what): run on every kit that can do this; see kits.py"
    )
    if config.getoption("refuse_eventfd"):
        seccomp.refuse("eventfd2", errno=errno.ENOSYS)


def pytest_report_header(config):
    only = config.getoption("kit")
    return [f"{only} lacks {what}: {why}" for what, why in kits.LACKS.get(only, {}).items()]


def pytest_generate_tests(metafunc):
    only = metafunc.config.getoption("kit")
    marks = list(metafunc.definition.iter_markers("needs"))
    needs = {what for mark in marks for what in mark.args} if marks else {"await", "reader"}
    assert needs <= kits.CAN.keys()
    able = kits.names(needs, only)
    if metafunc.config.getoption("refuse_eventfd"):
        able = [name for name in able if name not in kits.NEED_EVENTFD]
    ranges = {
        "kit": able,
        "aio": [name for name in able if name in kits.ASYNCIO],
        "loop_kit": [name for name in able if name in kits.LOOPS],
    }
    for fixture, names in ranges.items():
        if fixture in metafunc.fixturenames:
            metafunc.parametrize(fixture, names, indirect=True)


def pytest_collection_modifyitems(config, items):
    only, immortal = config.getoption("kit"), backend() == "eventfd"
    chosen = {
        item
        for item in items
        if (not only or only in _kits(item))
        and not (immortal and "mortal" in getattr(item, "fixturenames", ()))
    }
    config.hook.pytest_deselected(items=[item for item in items if item not in chosen])
    items[:] = [item for item in items if item in chosen]


def _kits(item):
    parameters = item.callspec.params if hasattr(item, "callspec") else {}
    return [parameters.get(fixture) for fixture in ("kit", "aio", "loop_kit")]


@pytest.fixture
def kit(request):
    """A kit: the test runs once for each kind of loop."""
    try:
        return kits.kit(request.param)
    except ImportError as error:
        pytest.skip(str(error))


# A test with `aio` runs once for each kind of asyncio loop and task.
aio = kit

# A slow test uses `loop_kit`, and runs once on each of asyncio, uvloop and trio.
loop_kit = kit


@pytest.fixture(scope="module", autouse=True)
def _frozen_garbage(request):
    """Freeze the objects of earlier tests in modules that collect garbage over and over.

    A full collection of the whole session's objects takes 150 ms, and one of CPython's tests makes
    60 of them. Tests of other modules count the objects that are collected, so these do not freeze.
    """
    if request.module.__name__ not in {"test_queue", "test_queue_cpython"}:
        yield
        return
    gc.collect()
    gc.freeze()
    yield
    gc.unfreeze()


@pytest.fixture
def event():
    return IoEvent()


@pytest.fixture
def mortal():
    """A mark of tests that need a back-end whose descriptors can die: a pair of sockets."""


@pytest.fixture
def no_gc():
    """Switch the garbage collector off, for tests of objects that must be freed without it."""
    gc.collect()
    gc.disable()
    yield
    gc.enable()


# The optional packages are used by tests only. A new Python may have no wheels of them yet.
OPTIONAL = {
    "anyio", "cffi", "Cython", "gevent", "maturin", "pynng", "PySide6", "rloop",
    "shiboken6", "tkinter", "tornado", "trio", "twisted", "uvloop", "zmq",
}  # fmt: skip


@pytest.hookimpl(wrapper=True)
def pytest_runtest_call(item):
    """Skip a test that fails because an optional package is missing, here or in a child."""
    try:
        return (yield)
    except Exception as error:
        text = "".join(traceback.format_exception(error))
        missing = {name for name in OPTIONAL if importlib.util.find_spec(name) is None}
        wanted = missing & {*re.findall(r"No module named '(\w+)", text)}
        if not wanted:
            raise
        pytest.skip(f"{', '.join(sorted(wanted))} is not installed")


@pytest.hookimpl(tryfirst=True)
def pytest_pyfunc_call(pyfuncitem):
    """Run an `async def` test on its kit."""
    if not inspect.iscoroutinefunction(pyfuncitem.obj):
        return None
    names = pyfuncitem._fixtureinfo.argnames
    arguments = {name: pyfuncitem.funcargs[name] for name in names}
    runner = next(value for value in arguments.values() if isinstance(value, kits.Kit))
    runner.run(lambda: pyfuncitem.obj(**arguments))
    return True

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

# A test module may be collected before the module that it imports from.
sys.path.extend(FOLDERS)

# Of what runs in the background, shells let Ctrl-C be ignored; and it is inherited.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)


def pytest_addoption(parser):
    parser.addoption("--kit", choices=kits.KITS, help="nothing but the contract, on this kit")
    parser.addoption("--refuse-eventfd", action="store_true", help="as old sandboxes do")


def pytest_configure(config):
    config.addinivalue_line("markers", "needs(*what): runs on every kit that can; see kits.py")
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
    """Each kind of loop in turn."""
    try:
        return kits.kit(request.param)
    except ImportError as error:
        pytest.skip(str(error))


# Each kind of asyncio loop and task in turn.
aio = kit

# One of each kind of loop, for what is slow.
loop_kit = kit


@pytest.fixture(scope="module", autouse=True)
def _what_was_there_before(request):
    """In modules that collect over and over, it stays: the collector need not look at it.

    A full collection of the whole session takes 150 ms, and one of CPython's tests wants 60. Not
    everywhere: some tests of other modules count what is collected.
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
    """This test is for descriptors that may die by themselves."""


@pytest.fixture
def no_gc():
    """What must happen without the garbage collector."""
    gc.collect()
    gc.disable()
    yield
    gc.enable()


# Packages that the tests use and wakefd does not need; a Python may be too new for their wheels.
OPTIONAL = {
    "anyio", "cffi", "Cython", "gevent", "maturin", "pynng", "PySide6", "rloop",
    "shiboken6", "tkinter", "tornado", "trio", "twisted", "uvloop", "zmq",
}  # fmt: skip


@pytest.hookimpl(wrapper=True)
def pytest_runtest_call(item):
    """A test that fails for want of an optional package, here or in a child, is skipped."""
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
    """An `async def` test runs on its kit."""
    if not inspect.iscoroutinefunction(pyfuncitem.obj):
        return None
    names = pyfuncitem._fixtureinfo.argnames
    arguments = {name: pyfuncitem.funcargs[name] for name in names}
    runner = next(value for value in arguments.values() if isinstance(value, kits.Kit))
    runner.run(lambda: pyfuncitem.obj(**arguments))
    return True

import gc
import inspect
import signal

import pytest

import kits
from wakefd import IoEvent

# Of what runs in the background, shells let Ctrl-C be ignored; and it is inherited.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture(params=kits.KITS)
def kit(request):
    """Each kind of loop in turn."""
    return kits.kit(request.param)


@pytest.fixture(params=kits.ASYNCIO)
def aio(request):
    """Each kind of asyncio loop and task in turn."""
    return kits.kit(request.param)


@pytest.fixture(params=kits.LOOPS)
def loop_kit(request):
    """One of each kind of loop, for what is slow."""
    return kits.kit(request.param)


@pytest.fixture
def event():
    return IoEvent()


@pytest.fixture
def no_gc():
    """What must happen without the garbage collector."""
    gc.collect()
    gc.disable()
    yield
    gc.enable()


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

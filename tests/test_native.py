"""`IoEvent.native()`: what native code holds, through the C table and as a function with its argument."""

import asyncio
import ctypes
import errno
import gc

import pytest

import wakefd
from helpers import Thread
from wakefd import ClosedResourceError, IoEvent


class Api(ctypes.Structure):
    """`struct wakefd_api`."""

    _fields_ = (
        ("version", ctypes.c_uint32),
        ("size", ctypes.c_uint32),
        *(
            (name, ctypes.CFUNCTYPE(ctypes.c_int, ctypes.c_void_p))
            for name in ("notify", "clear", "is_set", "retain", "release")
        ),
        ("fileno", ctypes.CFUNCTYPE(ctypes.c_ssize_t, ctypes.c_void_p)),
        (
            "push",
            ctypes.CFUNCTYPE(ctypes.c_int, ctypes.c_void_p, ctypes.c_char_p, ctypes.c_size_t),
        ),
    )


def table():
    pointer = ctypes.pythonapi.PyCapsule_GetPointer
    pointer.restype, pointer.argtypes = ctypes.c_void_p, (ctypes.py_object, ctypes.c_char_p)
    return Api.from_address(pointer(wakefd._C_API, b"wakefd._C_API"))


API = table()


def call(handle, argument=None):
    ctypes.CFUNCTYPE(None, ctypes.c_void_p)(handle.function)(argument or handle.argument)


async def test_a_call_from_native_code_wakes_a_task(kit):
    event = IoEvent()
    with event.native() as handle:
        thread = Thread(call, handle)
        await event.notified()
        thread.finish()
    assert event.clear()


def test_the_table_answers_as_the_header_says():
    event = IoEvent()
    with event.native() as handle:
        argument = handle.argument
        assert API.version == 1 and API.size == ctypes.sizeof(Api)
        assert API.is_set(argument) == 0
        assert API.clear(argument) == 0
        assert API.notify(argument) == 1
        assert API.notify(argument) == 0
        assert API.is_set(argument) == 1 and event.is_set()
        assert API.fileno(argument) == event.fileno()
        assert API.clear(argument) == 1 and not event.is_set()
        event.close()
        assert [f(argument) for f in (API.notify, API.clear, API.is_set)] == [0, 0, 0]
        assert API.fileno(argument) == -errno.EBADF


EVERY = [API.notify, API.clear, API.is_set, API.retain, API.release, API.fileno]


def test_null_is_einval():
    assert [f(None) for f in EVERY] == [-errno.EINVAL] * len(EVERY)


@pytest.mark.parametrize("argument", [1 << 20, (1 << 64) - 1, 1 << 24, (1 << 40) + 1, 0xDEADBEEF])
def test_what_never_was_an_argument_is_ebadf(argument):
    assert [f(argument) for f in EVERY] == [-errno.EBADF] * len(EVERY)


def test_after_close_the_argument_is_stale():
    event = IoEvent()
    handle = event.native()
    argument = handle.argument
    handle.close()
    handle.close()
    assert handle.closed
    with event.native() as other:
        call(other, argument)
    assert not event.is_set()
    event.notify()  # also on the path that does not enter
    assert [f(argument) for f in EVERY] == [-errno.EBADF] * len(EVERY)
    for name in ("function", "argument"):
        with pytest.raises(ClosedResourceError, match="handle is closed"):
            getattr(handle, name)


def test_holds_keep_the_event_alive_until_the_last_is_given_back():
    event = IoEvent()
    fd = event.fileno()
    handle = event.native()
    argument = handle.argument
    assert API.retain(argument) == 0
    handle.close()
    del event, handle
    assert API.notify(argument) == 1
    assert API.fileno(argument) == fd
    assert API.release(argument) == 0
    assert API.release(argument) == -errno.EBADF
    assert API.notify(argument) == -errno.EBADF


def test_a_collected_handle_is_closed_with_a_warning():
    event = IoEvent()
    handle = event.native()
    argument = handle.argument
    with pytest.warns(ResourceWarning, match="unclosed <wakefd.NativeHandle argument="):
        del handle
        gc.collect()
    assert API.notify(argument) == -errno.EBADF

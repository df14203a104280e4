"""Tests of `IoEvent.native()`: the function with its argument, and the C table."""

import ctypes
import errno
import gc
import sys
import time

import pytest

import wakefd
from helpers import PATIENCE, ROOT, Thread, forked, in_child, run_child, stress
from wakefd import ClosedResourceError, IoEvent, NativeHandle


class Api(ctypes.Structure):
    """The C table, `struct wakefd_api`."""

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


CALLS = [API.notify, API.clear, API.is_set, API.retain, API.release, API.fileno]


def test_a_null_argument_is_einval():
    assert [f(None) for f in CALLS] == [-errno.EINVAL] * len(CALLS)


@pytest.mark.parametrize("argument", [1 << 20, (1 << 64) - 1, 1 << 24, (1 << 40) + 1, 0xDEADBEEF])
def test_a_number_that_never_was_an_argument_is_ebadf(argument):
    assert [f(argument) for f in CALLS] == [-errno.EBADF] * len(CALLS)


def test_the_argument_of_a_closed_handle_is_stale():
    event = IoEvent()
    handle = event.native()
    argument = handle.argument
    handle.close()
    handle.close()
    assert handle.closed
    with event.native() as other:
        call(other, argument)
    assert not event.is_set()
    event.notify()  # a flag that is up must not make a call with a stale argument succeed
    assert [f(argument) for f in CALLS] == [-errno.EBADF] * len(CALLS)
    for name in ("function", "argument"):
        with pytest.raises(ClosedResourceError, match="handle is closed"):
            getattr(handle, name)


def test_the_argument_of_the_next_handle_is_ebadf_until_that_handle_is_made():
    event = IoEvent()
    event.notify()
    with event.native() as handle:
        argument = handle.argument
    assert [f(argument + (1 << 24)) for f in CALLS] == [-errno.EBADF] * len(CALLS)


def test_holds_keep_the_event_alive_until_the_last_is_released():
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


def test_a_handle_in_a_cycle_is_collected_and_closed():
    class Library:
        pass

    library = Library()
    library.itself = library
    library.handle = IoEvent().native()
    argument = library.handle.argument
    with pytest.warns(ResourceWarning, match="unclosed"):
        del library
        gc.collect()
    assert API.notify(argument) == -errno.EBADF


def test_a_handle_is_made_of_an_event_and_nothing_else():
    for arguments in ((), (7,), (None,), (IoEvent(), IoEvent())):
        with pytest.raises(TypeError):
            NativeHandle(*arguments)


def test_each_handle_has_an_argument_of_its_own():
    event = IoEvent()
    with event.native() as one, event.native() as two:
        assert one.function == two.function and one.argument != two.argument
        one.close()
        call(two)
    assert event.is_set()


def test_a_closed_event_can_have_a_handle_whose_notify_returns_0():
    event = IoEvent()
    event.close()
    with event.native() as handle:
        call(handle)
        assert API.notify(handle.argument) == 0


def test_a_release_too_many_makes_the_argument_stale_and_close_harmless():
    event, other = IoEvent(), IoEvent()
    handle = event.native()
    argument = handle.argument
    assert API.release(argument) == 0  # the handle's own hold
    assert [f(argument) for f in CALLS] == [-errno.EBADF] * len(CALLS)
    with other.native() as successor:  # this handle takes the slot that the release has freed
        handle.close()
        assert API.notify(argument) == -errno.EBADF
        assert API.notify(successor.argument) == 1
    assert other.is_set() and not event.is_set()


def test_a_retain_beyond_65535_holds_is_eoverflow():
    event = IoEvent()
    with event.native() as handle:
        argument = handle.argument
        answers = [API.retain(argument) for _ in range(70_000)]
        taken = answers.count(0)
        assert taken == 65_534  # and the handle's own hold: 65,535
        assert answers == [0] * taken + [-errno.EOVERFLOW] * (70_000 - taken)
        assert API.notify(argument) == 1
        assert all(API.release(argument) == 0 for _ in range(taken))
        assert API.notify(argument) == 0
    assert API.notify(argument) == -errno.EBADF


@in_child
def test_in_a_child_the_argument_notifies_the_childs_own_event():
    event = IoEvent()
    fd = event.fileno()
    stale = IoEvent().native()
    old = stale.argument
    stale.close()
    with event.native() as handle:

        def child():
            assert API.notify(handle.argument) == 1
            assert event.is_set() and API.fileno(handle.argument) == fd
            assert API.notify(old) == -errno.EBADF
            assert API.retain(handle.argument) == API.release(handle.argument) == 0
            handle.close()
            assert API.notify(handle_argument) == -errno.EBADF

        handle_argument = handle.argument
        forked(child)
        assert not event.is_set()
        assert API.notify(handle.argument) == 1


def test_handles_can_be_opened_and_closed_while_native_code_calls_them():
    event, arguments, ended = IoEvent(), [], IoEvent()
    known = {0, 1, -errno.EBADF}

    def open_handles():
        for _ in range(stress(2000, 100_000)):
            with (event if len(arguments) % 3 else IoEvent()).native() as handle:
                arguments.append(handle.argument)
                assert API.notify(handle.argument) in {0, 1}

    def make_calls():
        while not ended.is_set():
            for argument in arguments[-20:]:
                assert {f(argument) for f in (API.notify, API.is_set, API.clear)} <= known

    openers = [Thread(open_handles) for _ in range(3)]
    callers = [Thread(make_calls) for _ in range(2)]
    for thread in openers:
        thread.finish(stress(PATIENCE, 1000))
    ended.notify()
    for thread in callers:
        thread.finish()
    assert {API.notify(argument) for argument in arguments} == {-errno.EBADF}
    event.clear()
    assert event.notify()


@pytest.mark.skipif(sys.platform != "linux", reason="needs timers that call in their own threads")
@pytest.mark.parametrize("held", [True, False], ids=["retained", "stale"])
def test_native_code_may_call_while_the_interpreter_ends_and_afterwards(held):
    for _ in range(stress(2, 100)):
        run_child("test_native", "calls_after_the_end", held, strict=True)


kept = []  # what must live until the interpreter's end


def calls_after_the_end(held):
    sys.path.insert(0, str(ROOT / "examples" / "native"))
    from posix_timers import SIGEV_THREAD, SigEvent, TimerSpec, TimeSpec, check, libc

    event = IoEvent()
    event.fileno()
    kept.append(event)
    with event.native() as handle:
        tell = SigEvent(handle.argument, 0, SIGEV_THREAD, handle.function)
        timer, clock = ctypes.c_void_p(), time.CLOCK_MONOTONIC
        check(libc.timer_create(clock, ctypes.byref(tell), ctypes.byref(timer)))
        often = TimeSpec.of(0.0002)
        check(libc.timer_settime(timer, 0, ctypes.byref(TimerSpec(often, often)), None))
        if held:
            assert API.retain(handle.argument) == 0
        # The C library runs these after the interpreter's end, the last one first.
        after = libc.__cxa_atexit
        after.argtypes = [ctypes.c_void_p] * 3
        argument = handle.argument
        for function, x in (
            (libc.usleep, 30_000),
            (API.release, argument),
            (API.clear, argument),
            (API.fileno, argument),
            (API.is_set, argument),
            (API.notify, argument),
            (libc.usleep, 30_000),
        ):
            check(after(ctypes.cast(function, ctypes.c_void_p), x, None))
    time.sleep(0.01)

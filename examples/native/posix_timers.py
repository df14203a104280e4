"""A timer of the operating system wakes a coroutine: `timer_create` with SIGEV_THREAD.

The C library calls a function in a thread of its own whenever the timer expires. It gets the
function of the event's handle, so that thread needs no GIL. Linux, 64 bits.

    python examples/native/posix_timers.py
"""

import asyncio
import ctypes
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager

import wakefd

libc = ctypes.CDLL(None, use_errno=True)

SIGEV_THREAD = 2


class SigEvent(ctypes.Structure):
    """`struct sigevent`.

    Its function is a `void (*)(union sigval)`, which is called as a `void (*)(void *)` is.
    """

    _fields_ = (
        ("value", ctypes.c_void_p),
        ("signo", ctypes.c_int),
        ("notify", ctypes.c_int),
        ("function", ctypes.c_void_p),
        ("attributes", ctypes.c_void_p),
        ("reserved", ctypes.c_byte * 32),
    )


class TimeSpec(ctypes.Structure):
    _fields_ = (("seconds", ctypes.c_long), ("nanoseconds", ctypes.c_long))

    @classmethod
    def of(cls, seconds: float) -> "TimeSpec":
        return cls(*divmod(round(seconds * 1e9), 1_000_000_000))


class TimerSpec(ctypes.Structure):
    """`struct itimerspec`."""

    _fields_ = (("interval", TimeSpec), ("first", TimeSpec))


def check(result: int) -> None:
    if result != 0:
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))


@contextmanager
def timer(handle: wakefd.NativeHandle, interval: float) -> Iterator[ctypes.c_void_p]:
    event = SigEvent(handle.argument, 0, SIGEV_THREAD, handle.function)
    it = ctypes.c_void_p()
    check(libc.timer_create(time.CLOCK_MONOTONIC, ctypes.byref(event), ctypes.byref(it)))
    try:
        spec = TimerSpec(TimeSpec.of(interval), TimeSpec.of(interval))
        check(libc.timer_settime(it, 0, ctypes.byref(spec), None))
        yield it
    finally:
        # A call may still be under way in the C library's thread. Once the handle is closed, it
        # does nothing.
        check(libc.timer_delete(it))


async def main() -> None:
    event = wakefd.IoEvent()
    began, turns = time.monotonic(), 0
    with event.native() as handle, timer(handle, 0.05):
        async for _ in event:  # what expired while we were busy makes one turn
            turns += 1
            print(f"{turns}: {time.monotonic() - began:.2f} s", flush=True)
            if turns == 10:
                break


if __name__ == "__main__":
    asyncio.run(main())

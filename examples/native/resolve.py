"""Names resolved by the C library's own threads, awaited: `getaddrinfo_a` with SIGEV_THREAD.

No pool of Python threads: glibc looks names up in threads of its own, and one of these notifies
the event. Linux with glibc, 64 bits.

    python examples/native/resolve.py localhost 127.0.0.1
"""

import asyncio
import ctypes
import socket
import sys
from collections.abc import Iterator

from posix_timers import SIGEV_THREAD, SigEvent

import wakefd

libc = ctypes.CDLL(None)
if not hasattr(libc, "getaddrinfo_a"):
    libc = ctypes.CDLL("libanl.so.1")  # before glibc 2.34

GAI_NOWAIT = 1
EAI_INPROGRESS = -100
EAI_CANCELED = -101


class AddrInfo(ctypes.Structure):
    """`struct addrinfo`."""


AddrInfo._fields_ = (
    ("flags", ctypes.c_int),
    ("family", ctypes.c_int),
    ("socktype", ctypes.c_int),
    ("protocol", ctypes.c_int),
    ("length", ctypes.c_uint32),
    ("address", ctypes.c_void_p),
    ("name", ctypes.c_char_p),
    ("next", ctypes.POINTER(AddrInfo)),
)


class Request(ctypes.Structure):
    """`struct gaicb`."""

    _fields_ = (
        ("name", ctypes.c_char_p),
        ("service", ctypes.c_char_p),
        ("hints", ctypes.POINTER(AddrInfo)),
        ("result", ctypes.POINTER(AddrInfo)),
        ("reserved", ctypes.c_int * 6),
    )


libc.gai_strerror.restype = ctypes.c_char_p
libc.freeaddrinfo.argtypes = [ctypes.POINTER(AddrInfo)]


def check(error: int) -> None:
    if error != 0:
        raise socket.gaierror(error, libc.gai_strerror(error).decode())


async def resolve(name: str) -> list[str]:
    event = wakefd.IoEvent()
    hints = AddrInfo(socktype=socket.SOCK_STREAM)
    request = Request(name.encode("idna"), None, ctypes.pointer(hints))
    with event.native() as handle:
        requests = (ctypes.POINTER(Request) * 1)(ctypes.pointer(request))
        tell = SigEvent(handle.argument, 0, SIGEV_THREAD, handle.function)
        check(libc.getaddrinfo_a(GAI_NOWAIT, requests, 1, ctypes.byref(tell)))
        await ended(request, event)
    try:
        check(libc.gai_error(ctypes.byref(request)))
        return [address(each) for each in chain(request.result)]
    finally:
        if request.result:
            libc.freeaddrinfo(request.result)


async def ended(request: Request, event: wakefd.IoEvent) -> None:
    """The resolver writes into the request until then: a cancelled task stays until it lets go."""
    cancelled = None
    while libc.gai_error(ctypes.byref(request)) == EAI_INPROGRESS:
        try:
            await event.notified()
        except asyncio.CancelledError as error:
            cancelled = error
            if libc.gai_cancel(ctypes.byref(request)) == EAI_CANCELED:
                break  # else it is being looked up, and cannot be stopped
    if cancelled is not None:
        if request.result:
            libc.freeaddrinfo(request.result)
        raise cancelled


def chain(info: "ctypes._Pointer[AddrInfo]") -> Iterator[AddrInfo]:
    while info:
        yield info.contents
        info = info.contents.next


def address(info: AddrInfo) -> str:
    text = ctypes.create_string_buffer(64)
    numeric = socket.NI_NUMERICHOST
    pointer = ctypes.c_void_p(info.address)
    check(libc.getnameinfo(pointer, info.length, text, len(text), None, 0, numeric))
    return text.value.decode()


async def main(names: list[str]) -> bool:
    failed = False
    answers = await asyncio.gather(*map(resolve, names), return_exceptions=True)
    for name, answer in zip(names, answers, strict=True):
        if isinstance(answer, list):
            print(f"{name}: {', '.join(answer)}")
        elif isinstance(answer, socket.gaierror):
            failed = True
            print(f"{name}: {answer.strerror}")
        else:
            raise answer
    return failed


if __name__ == "__main__":
    if len(sys.argv) < 2:
        sys.exit(__doc__)
    sys.exit(asyncio.run(main(sys.argv[1:])))

"""Messages of nng (https://nng.nanomsg.org) in a coroutine, on asyncio or trio.

nng does its I/O in threads of its own. At the end of each operation one of them calls what
`nng_aio_alloc` was given: a `void (*)(void *)` and its argument, so exactly what a handle of an
event is. The same way in as the asynchronous methods of pynng, whose wheel brings the library here;
but those run a Python function in nng's thread, which waits for the GIL each time.

    pip install pynng
    python examples/native/nng_messages.py --loop trio
"""

import argparse
import asyncio
import threading
from collections.abc import AsyncGenerator
from contextlib import aclosing
from types import TracebackType
from typing import Self

import pynng
from pynng import ffi, lib

import wakefd

ADDRESS = "inproc://readings"


class Receiver:
    """The messages that arrive at a socket."""

    def __init__(self, socket: pynng.Socket) -> None:
        self.socket = socket
        self.event = wakefd.IoEvent()
        self.handle = self.event.native()
        function = ffi.cast("void (*)(void *)", self.handle.function)
        argument = ffi.cast("void *", self.handle.argument)
        place = ffi.new("nng_aio **")
        pynng.check_err(lib.nng_aio_alloc(place, function, argument))
        self.aio = place[0]

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        lib.nng_aio_stop(self.aio)  # cancels, and waits until nng's thread has left the callback
        lib.nng_aio_free(self.aio)
        self.handle.close()

    async def messages(self) -> AsyncGenerator[bytes, None]:
        while True:
            lib.nng_recv_aio(self.socket.socket, self.aio)
            await self.event.notified()
            self.event.clear()
            pynng.check_err(lib.nng_aio_result(self.aio))
            message = lib.nng_aio_get_msg(self.aio)
            try:
                yield bytes(ffi.buffer(lib.nng_msg_body(message), lib.nng_msg_len(message)))
            finally:
                lib.nng_msg_free(message)


def send(socket: pynng.Socket, receiver: Receiver, number: int, count: int) -> None:
    try:
        for n in range(count):
            socket.send(b"sensor %d: reading %d" % (number, n))
    except BaseException:
        receiver.event.close()  # it need not wait for the rest
        raise


async def main(sensors: int, count: int) -> None:
    with (
        pynng.Pull0(listen=ADDRESS) as here,
        pynng.Push0(dial=ADDRESS) as there,
        Receiver(here) as receiver,
    ):
        for n in range(sensors):
            threading.Thread(target=send, args=(there, receiver, n, count)).start()
        seen = 0
        async with aclosing(receiver.messages()) as messages:
            async for message in messages:
                seen += 1
                if seen == sensors * count:
                    print(f"{seen} messages, the last one: {message.decode()}")
                    break


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("--loop", choices=["asyncio", "trio"], default="asyncio")
    parser.add_argument("--count", type=int, default=1000)
    options = parser.parse_args()
    if options.loop == "trio":
        import trio

        trio.run(main, 3, options.count)
    else:
        asyncio.run(main(3, options.count))

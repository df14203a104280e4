"""Threads of C++ wake a coroutine: the Python half of `producer.cpp`.

    python producer.py ./libproducer.so

`producer.cpp` says how to compile it.
"""

import asyncio
import ctypes
import sys

from sensor import capsule_pointer

import wakefd

THREADS = 4


async def main(path: str) -> None:
    library = ctypes.CDLL(path)
    library.producer_new.restype = ctypes.c_void_p
    library.producer_new.argtypes = [ctypes.c_void_p, ctypes.c_void_p, ctypes.c_uint]
    library.producer_take.argtypes = [ctypes.c_void_p, ctypes.c_char_p, ctypes.c_size_t]
    library.producer_delete.argtypes = [ctypes.c_void_p]

    event = wakefd.IoEvent()
    table = capsule_pointer(wakefd._C_API, b"wakefd._C_API")
    with event.native() as handle:
        producer = library.producer_new(table, handle.argument, THREADS)
    if producer is None:
        sys.exit("the producer does not start")
    try:
        line = ctypes.create_string_buffer(64)
        seen = 0
        async for _ in event:  # wait, clear; then look
            for _ in range(1000):  # no more in one turn
                if not library.producer_take(producer, line, len(line)):
                    break
                seen += 1
            else:
                event.notify()  # there may be more
            if seen == THREADS * 1000:
                print(f"{seen} lines, the last one: {line.value.decode()}")
                break
    finally:
        library.producer_delete(producer)


if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit(__doc__)
    asyncio.run(main(sys.argv[1]))

"""A C library's thread wakes a coroutine: the Python half of `sensor.c`.

    python sensor.py ./libsensor.so

`sensor.c` says how to compile it.
"""

import asyncio
import ctypes
import sys
from collections.abc import AsyncIterator

import wakefd

capsule_pointer = ctypes.pythonapi.PyCapsule_GetPointer
capsule_pointer.restype, capsule_pointer.argtypes = (
    ctypes.c_void_p,
    (ctypes.py_object, ctypes.c_char_p),
)


class Sensor:
    def __init__(self, path: str) -> None:
        self.library = library = ctypes.CDLL(path, use_errno=True)
        library.sensor_open.restype = ctypes.c_void_p
        library.sensor_open.argtypes = [ctypes.c_void_p, ctypes.c_void_p]
        library.sensor_take.restype = ctypes.c_size_t
        library.sensor_take.argtypes = [ctypes.c_void_p, ctypes.c_void_p, ctypes.c_size_t]
        library.sensor_close.argtypes = [ctypes.c_void_p]
        self.event = wakefd.IoEvent()
        table = capsule_pointer(wakefd._C_API, b"wakefd._C_API")
        with self.event.native() as handle:  # the library retains the argument
            self.sensor = library.sensor_open(table, handle.argument)
        if self.sensor is None:
            raise OSError(ctypes.get_errno(), "the sensor does not open")

    def close(self) -> None:
        self.library.sensor_close(self.sensor)

    async def readings(self) -> AsyncIterator[float]:
        buffer = (ctypes.c_double * 64)()
        async for _ in self.event:  # wait, clear; then look
            count = self.library.sensor_take(self.sensor, buffer, len(buffer))
            for n in range(count):
                yield buffer[n]


async def main(path: str) -> None:
    sensor = Sensor(path)
    try:
        seen = 0
        async for reading in sensor.readings():
            seen += 1
            if seen == 100:
                print(f"{seen} readings, the last one is {reading:.1f}")
                break
    finally:
        sensor.close()


if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit(__doc__)
    asyncio.run(main(sys.argv[1]))

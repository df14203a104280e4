"""An extension module in C wakes a coroutine: `delay.c`.

    python use_delay.py

`delay.c` says how to compile it.
"""

import asyncio
import time

import delay

import wakefd


async def main() -> None:
    event = wakefd.IoEvent()
    began = time.monotonic()
    with event.native() as handle:
        delay.start(handle, 0.05)  # retains what it needs
    await event.notified()
    print(f"notified after {time.monotonic() - began:.2f} s")


if __name__ == "__main__":
    asyncio.run(main())

"""Prime numbers from a thread of Rust, in a coroutine.

    python stream.py 1000

The thread, and how to install it, is beside this file.
"""

import asyncio
import sys
from collections.abc import AsyncIterator

from primes import Primes

import wakefd


async def primes_below(limit: int) -> AsyncIterator[int]:
    event = wakefd.IoEvent()
    primes = Primes(event, limit)
    async for _ in event:  # wait, clear; then look
        numbers, ended = primes.take()
        for number in numbers:
            yield number
        if ended:
            return


async def main(limit: int) -> None:
    count = last = 0
    async for number in primes_below(limit):
        count, last = count + 1, number
    print(f"{count} primes below {limit}, the last one is {last}")


if __name__ == "__main__":
    asyncio.run(main(int(sys.argv[1]) if len(sys.argv) > 1 else 100_000))

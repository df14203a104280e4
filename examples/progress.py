"""A progress bar that worker threads feed, while the loop goes on with other things.

Each worker takes its jobs from one queue, and puts what it has done into another. The coroutine
takes all that has come in one go, so a thousand small jobs make a few turns of the loop.

    python examples/progress.py 2000
"""

import asyncio
import sys
import threading
import time

import wakefd

WORKERS = 4
WIDTH = 40


def work(jobs: wakefd.Queue[int], done: wakefd.Queue[int]) -> None:
    for size in jobs:  # ends when the jobs do
        time.sleep(size / 1e6)
        done.put(size)


async def show(done: wakefd.Queue[int], count: int, total: int) -> None:
    finished = 0
    while count:
        sizes = await done.async_get_many(count)
        count -= len(sizes)
        finished += sum(sizes)
        full = WIDTH * finished // total
        bar = "#" * full + "." * (WIDTH - full)
        print(f"\r[{bar}] {100 * finished // total:3} %", end="", flush=True)
    print()


async def main(count: int) -> None:
    sizes = [50 + n % 200 for n in range(count)]
    jobs: wakefd.Queue[int] = wakefd.Queue()
    done: wakefd.Queue[int] = wakefd.Queue()
    threads = [threading.Thread(target=work, args=(jobs, done)) for _ in range(WORKERS)]
    for thread in threads:
        thread.start()
    try:
        jobs.put_many(sizes)
        await show(done, count, sum(sizes))
    finally:
        jobs.close()  # Ctrl-C: the workers need not finish
        for thread in threads:
            thread.join()


if __name__ == "__main__":
    asyncio.run(main(int(sys.argv[1]) if len(sys.argv) > 1 else 1000))

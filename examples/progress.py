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
    try:
        for size in jobs:  # ends when the jobs do
            time.sleep(size / 1e6)
            done.put(size)
    except wakefd.QueueShutDown:
        pass  # nobody wants to know any more
    except BaseException:
        done.close()  # show() need not wait for this job
        raise


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
    # However we leave, both are closed, and the workers need not finish.
    with wakefd.Queue[int]() as jobs, wakefd.Queue[int]() as done:
        for _ in range(WORKERS):
            threading.Thread(target=work, args=(jobs, done)).start()
        jobs.put_many(sizes)
        await show(done, count, sum(sizes))


if __name__ == "__main__":
    asyncio.run(main(int(sys.argv[1]) if len(sys.argv) > 1 else 1000))

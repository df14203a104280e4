"""A thread computes an item, gives it to a task, and computes on: what it gains and pays.

Each item is a millisecond of the thread's work, and the task works for each item, too. The thread
never blocks. So both want the GIL all the time: a hand-over has the item seen earlier, and the
thread waits for the task's turn. Measured are the way of an item, from before the call to the
task's first statement, and the time per item until the last one is done.

The threads run wherever the scheduler puts them.
"""

import os
import sys
import threading
import time

import house
from house import Row, column, interleave

# The task computes so long with each item, in milliseconds.
TURNS = (0, 0.1, 1, 5)
WORK = 0.001
NUMBER, ROUNDS, PER_ROUND = 40, 10, 3
MODES = (
    "put",
    "put, no hand-over",
    "put, switch interval 0.5 ms",
    "call_soon_threadsafe",
)


def rows() -> list[Row]:
    cases = [
        *((f"the task computes {turn:g} ms", turn / 1e3, 0) for turn in TURNS),
        ("beside a thread that computes", 0.0, 1),
    ]
    return [row for case in cases for row in _rows(*case)]


def _rows(what: str, turn: float, others: int) -> list[Row]:
    variants = {mode: (mode, turn, others) for mode in MODES}
    runs = interleave(f"stream, {what}", "stream", variants, house.rounds(ROUNDS), PER_ROUND)
    out = []
    for peer in MODES[1:]:
        for key, text in (
            ("p50", "an item's way, p50"),
            ("p99", "an item's way, p99"),
            ("per_item", "time per item"),
            ("call", "the call alone, p99"),
        ):
            ours, theirs = (column(runs[mode], key, 1e6) for mode in (MODES[0], peer))
            out.append(Row(f"stream, {what}: {text}", "us", ours, peer, theirs))
    return out


# ---- in the child ----


def compute(seconds: float, clock=time.thread_time) -> None:
    end = clock() + seconds
    while clock() < end:
        pass


def measure(mode: str, turn: float, others: int) -> None:
    import asyncio

    import wakefd

    os.sched_setaffinity(0, range(os.cpu_count()))  # also the cores that run.py has left
    wakefd.hand_over(mode == MODES[0])
    if mode == MODES[2]:
        sys.setswitchinterval(0.0005)
    ways, done = [], threading.Semaphore(0)

    def process(start, clock=time.perf_counter):
        ways.append(clock() - start)
        compute(turn)
        done.release()

    def produce(give, clock=time.perf_counter):
        for _ in house.turns():
            ways.clear()
            calls = []
            began = clock()
            for _ in range(NUMBER):
                compute(WORK)
                start = clock()
                give(start)
                calls.append(clock() - start)
            for _ in range(NUMBER):
                done.acquire(timeout=60)
            took = clock() - began
            ways.sort()
            calls.sort()
            house.answer(
                {
                    "p50": house.median(ways),
                    "p99": ways[-1 - NUMBER // 100],
                    "per_item": took / NUMBER,
                    "call": calls[-1 - NUMBER // 100],
                }
            )
        os._exit(0)  # the loop waits for ever

    async def main():
        for _ in range(others):
            threading.Thread(target=compute, args=(1e6,), daemon=True).start()
        if mode == "call_soon_threadsafe":
            call = asyncio.get_running_loop().call_soon_threadsafe
            threading.Thread(target=produce, args=(lambda start: call(process, start),)).start()
            await asyncio.sleep(1e6)
        items = wakefd.Queue()
        threading.Thread(target=produce, args=(items.put,)).start()
        async for start in items:
            process(start)

    asyncio.run(main())


if __name__ == "__main__":
    measure(sys.argv[1], float(sys.argv[2]), int(sys.argv[3]))

"""A thread wakes a task on a loop, the task answers; how long is the round trip?

Paced: the thread sleeps 0.3 ms before each round, so that the loop is asleep when it is notified.
That is the latency people ask for. Unpaced: as fast as it goes; the flag is then often up before
the task waits, which flatters us.

The way back is the same for everybody: a blocking read of an eventfd.
"""

import os
import sys
import threading
import time

import house
from house import Row, answer, column, interleave, median

PEERS = {  # what we run beside ourselves; the targets are for (paced, unpaced)
    "asyncio": ("call_soon_threadsafe", "eventfd"),
    "uvloop": ("call_soon_threadsafe", "eventfd"),
    "trio": ("run_sync_soon", "eventfd"),
}
PACED = {
    ("asyncio", "call_soon_threadsafe"): 0.5,
    ("asyncio", "eventfd"): 0.85,
    ("uvloop", "call_soon_threadsafe"): 0.8,
    ("uvloop", "eventfd"): 0.95,
    ("trio", "run_sync_soon"): 0.45,
    ("trio", "eventfd"): 1.1,
}
LABEL = {
    ("asyncio", "eventfd"): "eventfd + add_reader + future",
    ("uvloop", "eventfd"): "eventfd + add_reader + future",
    ("trio", "eventfd"): "eventfd + wait_readable",
    ("asyncio", "call_soon_threadsafe"): "call_soon_threadsafe + asyncio.Event",
    ("uvloop", "call_soon_threadsafe"): "call_soon_threadsafe + asyncio.Event",
    ("trio", "run_sync_soon"): "run_sync_soon + trio.Event",
}
# What the notifier writes, and what the loop polls and reads.
CALLS = {"asyncio": 3}


def _interleaved(loop: str, label: str, number: int, pace: float) -> dict:
    variants = {mode: (loop, mode, number, pace) for mode in ("wakefd", *PEERS[loop])}
    turns = 8 if house.QUICK else 12
    return interleave(f"{label}, {loop}", "pingpong", variants, house.rounds(15), turns)


def paced_rows() -> list[Row]:
    out = []
    for loop in house.loops():
        runs = _interleaved(loop, "paced", 150, 0.0003)
        out += [
            Row(
                f"paced round trip, {loop}",
                "us",
                column(runs["wakefd"], "p50", 1e6),
                LABEL[loop, peer],
                column(runs[peer], "p50", 1e6),
                PACED[loop, peer],
            )
            for peer in PEERS[loop]
        ]
        out.append(
            Row(
                f"... the call alone, {loop}",
                "us",
                column(runs["wakefd"], "call", 1e6),
                LABEL[loop, PEERS[loop][0]],
                column(runs[PEERS[loop][0]], "call", 1e6),
            )
        )
    return out


def unpaced_rows() -> list[Row]:
    out = []
    for loop in house.loops():
        runs = _interleaved(loop, "unpaced", 2000, 0)
        for peer in PEERS[loop]:
            ours, theirs = (column(runs[mode], "mean", 1e6) for mode in ("wakefd", peer))
            what = f"unpaced ping-pong, {loop}"
            out.append(Row(what, "us", ours, LABEL[loop, peer], theirs, 1.0))
    return out


def call_rows() -> list[Row]:
    """System calls of one paced wake: all threads, without the pace, the way back, and the GIL.

    And without getpid(), which CPython 3.11 calls whenever it is asked for the running loop.
    """
    out = []
    number = 200
    for loop in house.loops():
        counts = {}
        for mode in ("wakefd", *PEERS[loop]):
            house.say(f"  syscalls: {loop}, {mode}")
            result, calls = house.trace("pingpong", loop, mode, number, 0.001)
            back = str(result["back"])
            mine = [
                (name, fd)
                for name, fd in calls
                if name not in {"futex", "clock_nanosleep", "getpid"}
                and not (name in {"read", "write"} and fd == back)
            ]
            counts[mode] = len(mine) / number, house.tally(calls)
        out += [
            Row(
                f"system calls per paced wake, {loop}",
                "calls",
                [[counts["wakefd"][0]]],
                LABEL[loop, peer],
                [[counts[peer][0]]],
                note=f"{number} wakes: {counts['wakefd'][1]}; peer: {counts[peer][1]}",
            )
            for peer in PEERS[loop]
        ]
        if loop in CALLS:  # a twentieth: a call of some other kind now and then
            what = f"system calls per paced wake, {loop}"
            out.append(Row(what, "calls", [[counts["wakefd"][0]]], target=CALLS[loop] + 0.05))
    return out


# ---- in the child ----


def asyncio_side(mode: str):
    """What notifies, and what waits."""
    import asyncio

    loop = asyncio.get_running_loop()
    if mode == "wakefd":
        import wakefd

        ours = wakefd.IoEvent()

        async def wait():
            await ours.notified()
            ours.clear()

        return ours.notify, wait
    if mode == "call_soon_threadsafe":
        event = asyncio.Event()
        call, rise = loop.call_soon_threadsafe, event.set

        async def wait():
            await event.wait()
            event.clear()

        return lambda: call(rise), wait

    fd = os.eventfd(0, os.EFD_NONBLOCK | os.EFD_CLOEXEC)
    future = None

    def readable():
        os.eventfd_read(fd)
        if future is not None and not future.done():
            future.set_result(None)

    loop.add_reader(fd, readable)

    async def wait():
        nonlocal future
        future = loop.create_future()
        await future

    return lambda: os.eventfd_write(fd, 1), wait


def trio_side(mode: str):
    import trio

    if mode == "wakefd":
        import wakefd

        ours = wakefd.IoEvent()

        async def wait():
            await ours.notified()
            ours.clear()

        return ours.notify, wait
    if mode == "run_sync_soon":
        call = trio.lowlevel.current_trio_token().run_sync_soon
        event = trio.Event()

        def rise():
            event.set()

        async def wait():
            nonlocal event
            await event.wait()
            event = trio.Event()

        return lambda: call(rise), wait

    fd = os.eventfd(0, os.EFD_NONBLOCK | os.EFD_CLOEXEC)
    wait_readable = trio.lowlevel.wait_readable

    async def wait():
        await wait_readable(fd)
        os.eventfd_read(fd)

    return lambda: os.eventfd_write(fd, 1), wait


def measure(loop: str, mode: str, number: int, pace: float) -> None:
    back = os.eventfd(0, os.EFD_CLOEXEC)
    warm = number // 10
    running = True

    def thread(notify, clock=time.perf_counter, read=os.eventfd_read):
        nonlocal running
        for _ in house.turns():
            trips: list[float] = []
            calls: list[float] = []
            for turn in range(warm + number):
                if turn == warm:
                    house.mark("begin")
                    start = clock()
                if pace:
                    time.sleep(pace)
                a = clock()
                notify()
                b = clock()
                read(back)
                c = clock()
                trips.append(c - a)
                calls.append(b - a)
            total = clock() - start
            house.mark("end")
            del trips[:warm], calls[:warm]
            p50, call = median(trips), median(calls)
            answer({"p50": p50, "call": call, "mean": total / number, "back": back})
        running = False
        notify()

    async def main():
        notify, wait = (trio_side if loop == "trio" else asyncio_side)(mode)
        peer = threading.Thread(target=thread, args=(notify,))
        peer.start()
        while True:
            await wait()
            if not running:
                break
            os.eventfd_write(back, 1)
        peer.join()

    house.run_on(loop, main)


if __name__ == "__main__":
    measure(sys.argv[1], sys.argv[2], int(sys.argv[3]), float(sys.argv[4]))

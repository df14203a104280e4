"""A thread wakes a task, and goes on computing: how long until the task runs?

One way, from before the call to the task's first statement. The notifier has the GIL, and keeps it
while it computes: a loop that has been woken waits for it, `sys.getswitchinterval()` or 5 ms,
unless the notifier hands it over (docs/latency.md).

Three places: the notifier's thread on one core and the loop's on another, or both on one, or both
where the scheduler puts them, which is what users have: there it changes its mind from process to
process, so that is told as a distribution over many of them. Beside it two other things that may
happen next, on asyncio: the notifier waits, or a third thread computes.

The control is the same in C, without Python: what it takes, and how much that varies, is the
machine's.
"""

import ctypes
import os
import queue
import sys
import threading
import time

import house
from house import Row, answer, interleave, middle

OURS = ("notify", "put", "call_soon")
PEERS = {
    "asyncio": ("call_soon_threadsafe", "eventfd"),
    "uvloop": ("call_soon_threadsafe", "eventfd"),
    "trio": ("run_sync_soon", "eventfd"),
}
TWO, ONE, ANY = PLACES = ("two cores", "one core", "any cores")
COMPUTES = 0.008
COMPUTING = f"then {COMPUTES * 1e3:.0f} ms of computing"
WAITING, THIRD = "then a wait", f"{COMPUTING} beside a thread that computes"
NUMBER, TURNS, ROUNDS = 20, 5, 10
SHARES = (50, 99)


def rows() -> list[Row]:
    if (os.cpu_count() or 1) < 2:
        raise house.Skip("a second core is missing")
    with house.compiled("control.c") as library:
        cases = [(COMPUTING, loop, place) for place in PLACES for loop in house.loops()]
        cases += [(then, "asyncio", place) for then in (WAITING, THIRD) for place in (TWO, ONE)]
        return [row for case in cases for row in _rows(*case, library)]


def _rows(then: str, loop: str, place: str, library: str) -> list[Row]:
    extra = ("SelectorEventLoop",) if loop == "asyncio" else ()
    ours = (*OURS, *extra) if then == COMPUTING else OURS[:1]
    peers = (*PEERS[loop], *(("control",) if place != ANY else ()))
    computes, others = 0 if then == WAITING else COMPUTES, int(then == THIRD)
    variants = {
        mode: (loop, mode, place, NUMBER, computes, others, library) for mode in (*ours, *peers)
    }
    label = f"busy, {then}, {loop}, {place}"
    # Where the scheduler decides, each process is a throw of its dice.
    number, turns = (4 * ROUNDS, 1) if place == ANY else (ROUNDS, TURNS)
    runs = interleave(label, "busy", variants, house.rounds(number), turns)
    # A turn has too few wake-ups for a share of a hundredth: that is taken of a round.
    ways = {
        mode: [sorted(way * 1e6 for turn in turns for way in turn["ways"]) for turns in its]
        for mode, its in runs.items()
    }
    if place == ANY:
        ways = {mode: [sorted(way for its in some for way in its)] for mode, some in ways.items()}
    out = [
        Row(
            f"{mine}, {then}, {loop}, {place}: p{share}",
            "us",
            _shares(ways[mine], share),
            peer,
            _shares(ways[peer], share),
        )
        for mine in ours
        for peer in peers
        for share in ((10, 50, 90, 99) if place == ANY else SHARES)
    ]
    if "control" in peers:
        worst = middle(_shares(ways["control"], 99))
        house.say(
            f"  {label}: the control's p99 is {worst:.0f} us: "
            + ("quiet" if worst < 500 else "the machine is too busy to judge a p99")
        )
    return out


def _shares(rounds: list[list[float]], share: int) -> list[list[float]]:
    """For each round, the time in which that share of its sorted wake-ups, in percent, was over."""
    return [[ways[min(len(ways) - 1, len(ways) * share // 100) - (share == 99)]] for ways in rounds]


# ---- in the child ----


def side(loop: str, mode: str, woken):
    """Return the function that wakes, and the one that waits and calls `woken` in the loop."""
    if mode == "eventfd":
        return trio_eventfd(woken) if loop == "trio" else asyncio_eventfd(woken)
    if mode in {"call_soon_threadsafe", "SelectorEventLoop"}:
        import asyncio

        call = asyncio.get_running_loop().call_soon_threadsafe
        return lambda: call(woken), for_ever(loop)
    if mode == "run_sync_soon":
        import trio

        call = trio.lowlevel.current_trio_token().run_sync_soon
        return lambda: call(woken), for_ever(loop)
    import wakefd

    if mode == "notify":
        event = wakefd.IoEvent()

        async def wait():
            while True:
                await event.notified()
                woken()
                event.clear()

        return event.notify, wait
    if mode == "put":
        items = wakefd.Queue()

        async def wait():
            async for _ in items:
                woken()

        return lambda: items.put(None), wait
    portal = wakefd.Portal()

    async def wait():
        async with portal:
            await for_ever(loop)()

    return lambda: portal.call_soon(woken), wait


def for_ever(loop: str):
    if loop == "trio":
        import trio

        return trio.sleep_forever
    import asyncio

    return lambda: asyncio.sleep(1e6)


def asyncio_eventfd(woken):
    import asyncio

    fd = os.eventfd(0, os.EFD_NONBLOCK | os.EFD_CLOEXEC)

    def readable():
        woken()
        os.eventfd_read(fd)

    asyncio.get_running_loop().add_reader(fd, readable)
    return lambda: os.eventfd_write(fd, 1), for_ever("asyncio")


def trio_eventfd(woken):
    import trio

    fd = os.eventfd(0, os.EFD_NONBLOCK | os.EFD_CLOEXEC)

    async def wait():
        while True:
            await trio.lowlevel.wait_readable(fd)
            woken()
            os.eventfd_read(fd)

    return lambda: os.eventfd_write(fd, 1), wait


def say(ways: list[float]) -> None:
    answer({"ways": ways})


def control(library: str, number: int, computes: float, mine: int, its: int) -> None:
    one_way = ctypes.CDLL(library).one_way
    doubles = ctypes.POINTER(ctypes.c_double)
    one_way.argtypes = [doubles, ctypes.c_int, ctypes.c_double, ctypes.c_int, ctypes.c_int]
    for _ in house.turns():
        ways = (ctypes.c_double * number)()
        assert one_way(ways, number, computes, mine, its) == 0
        say(list(ways))


def measure(loop, mode, place, number: int, computes: float, others: int, library) -> None:
    cores = range(os.cpu_count())  # also those that run.py has left
    mine, its = cores[-1], cores[-1] if place == ONE else cores[0]
    if mode == "control":
        control(library, number, computes, mine, its)
        return
    mine, its = ({core} if place != ANY else set(cores) for core in (mine, its))
    seen = queue.SimpleQueue()

    def woken(clock=time.perf_counter):
        seen.put(clock())

    def compute(seconds, clock=time.perf_counter):
        end = clock() + seconds
        while clock() < end:
            pass

    def thread(wake, clock=time.perf_counter):
        os.sched_setaffinity(0, its)
        for _ in house.turns():
            ways = []
            for _ in range(number):
                time.sleep(0.002)  # the loop is asleep again
                start = clock()
                wake()
                compute(computes)
                ways.append(seen.get(timeout=60) - start)
            say(ways)
        os._exit(0)  # the loop waits for ever

    async def main():
        os.sched_setaffinity(0, mine)
        wake, wait = side(loop, mode, woken)
        for _ in range(others):
            threading.Thread(target=compute, args=(1e6,), daemon=True).start()
        threading.Thread(target=thread, args=(wake,)).start()
        await wait()

    if mode == "SelectorEventLoop":
        import asyncio

        import wakefd

        with asyncio.Runner(loop_factory=wakefd.SelectorEventLoop) as runner:
            runner.run(main())
    else:
        house.run_on(loop, main)


if __name__ == "__main__":
    number, computes, others = int(sys.argv[4]), float(sys.argv[5]), int(sys.argv[6])
    measure(*sys.argv[1:4], number, computes, others, sys.argv[7])

"""Calls from threads into a loop: how many, and how quick there and back."""

import sys
import threading
import time
from functools import partial

import house
from house import Row, answer, column, interleave

PEERS = {
    "asyncio": "call_soon_threadsafe",
    "uvloop": "call_soon_threadsafe",
    "trio": "run_sync_soon",
}
TARGETS = {"asyncio": 1 / 10, "uvloop": 1 / 1.5, "trio": 1 / 30}
COUNTS = {"portal": 200_000, "full": 200_000, "asyncio": 20_000, "uvloop": 100_000, "trio": 10_000}
TRIPS = 300
LABELS = {
    "threadsafe": "run_coroutine_threadsafe(...).result()",
    "anyio": "anyio's BlockingPortal",
    "from_thread": "trio.from_thread.run",
}
BETTER = {"threadsafe": 1, "anyio": 1}


def rows() -> list[Row]:
    return [*_flood_rows(), *_trip_rows()]


def _flood_rows() -> list[Row]:
    out = []
    for threads in (1, 4):
        for loop in house.loops():
            modes = ("portal", "full", "peer")
            runs = interleave(
                f"call_soon, {loop}, {threads}",
                "portal",
                {mode: ("flood", loop, mode, threads) for mode in modes},
                house.rounds(5),
                4,
            )
            per_call = {mode: column(runs[mode], "per_call", 1e9) for mode in modes}
            peer = (PEERS[loop], per_call["peer"])
            what = f"call_soon, {loop}, {threads} thread{'s' * (threads > 1)}"
            out.append(Row(what, "ns/call", per_call["portal"], *peer, TARGETS[loop]))
            out.append(Row(f"{what}, with context variables", "ns/call", per_call["full"], *peer))
    return out


def _trip_rows() -> list[Row]:
    out = []
    for loop in house.loops():
        peers = ["anyio", "from_thread"] if loop == "trio" else ["threadsafe", "anyio"]
        for kind in ("async", "sync"):
            modes = ["portal", *(peer for peer in peers if kind == "async" or peer == "anyio")]
            runs = interleave(
                f"run, {loop}, {kind}",
                "portal",
                {mode: ("trip", loop, mode, kind) for mode in modes},
                house.rounds(5),
                4,
            )
            trip = {mode: column(runs[mode], "trip", 1e6) for mode in modes}
            what = f"run, {loop}, {'a coroutine' if kind == 'async' else 'a plain function'}"
            out += [
                Row(what, "us/trip", trip["portal"], LABELS[peer], trip[peer], BETTER.get(peer))
                for peer in modes[1:]
            ]
    return out


# ---- in the child ----


def measure(what: str, loop: str, mode: str, more: str) -> None:
    act = {"flood": flood, "trip": trip}[what]

    async def run() -> None:
        for _ in house.turns():
            answer(await act(loop, mode, more))

    house.run_on(loop, run)


def sleeper(loop):
    if loop == "trio":
        import trio

        return trio.sleep
    import asyncio

    return asyncio.sleep


async def flood(loop, mode, threads):
    """From the first call to the end of the last."""
    if mode == "peer" and loop == "trio":
        import trio

        portal, call = None, trio.lowlevel.current_trio_token().run_sync_soon
    elif mode == "peer":
        import asyncio

        portal, call = None, asyncio.get_running_loop().call_soon_threadsafe
    else:
        import wakefd

        portal = wakefd.Portal()
        call = portal.call_soon
    count = COUNTS[loop if mode == "peer" else mode] // int(threads)
    ran = 0

    def it():
        nonlocal ran
        ran += 1

    def produce():
        if mode == "full":
            variable.set(1)
        for _ in range(count):
            call(it)

    threads = [threading.Thread(target=produce) for _ in range(int(threads))]
    begin = time.perf_counter()
    for thread in threads:
        thread.start()
    sleep = sleeper(loop)
    while ran < count * len(threads):
        await sleep(0.0005)
    end = time.perf_counter()
    for thread in threads:
        thread.join()
    return {"per_call": (end - begin) / (count * len(threads))}


async def trip(loop, mode, kind):
    """A thread calls, and blocks until it has the result."""
    sleep = sleeper(loop)

    async def nothing_async():
        return None

    def nothing():
        return None

    function = nothing_async if kind == "async" else nothing
    async with opened(mode) as run:
        took = []

        def work():
            run(function)
            begin = time.perf_counter()
            for _ in range(TRIPS):
                run(function)
            took.append((time.perf_counter() - begin) / TRIPS)

        thread = threading.Thread(target=work)
        thread.start()
        while thread.is_alive():
            await sleep(0.01)
    return {"trip": took[0]}


class opened:  # noqa: N801 - a function, as it were
    """A way to call from a thread, and wait."""

    def __init__(self, mode):
        self.mode = mode

    async def __aenter__(self):
        if self.mode == "portal":
            import wakefd

            self.portal = wakefd.Portal()
            return (await self.portal.__aenter__()).run
        if self.mode == "anyio":
            import anyio.from_thread

            self.portal = anyio.from_thread.BlockingPortal()
            return (await self.portal.__aenter__()).call
        self.portal = None
        if self.mode == "from_thread":
            import trio

            return partial(trio.from_thread.run, trio_token=trio.lowlevel.current_trio_token())
        import asyncio

        here = asyncio.get_running_loop()
        return lambda function: asyncio.run_coroutine_threadsafe(function(), here).result()

    async def __aexit__(self, *_):
        if self.portal is not None:
            await self.portal.__aexit__(None, None, None)


if __name__ == "__main__":
    import contextvars

    variable = contextvars.ContextVar("variable")
    measure(sys.argv[1], sys.argv[2], sys.argv[3], sys.argv[4])

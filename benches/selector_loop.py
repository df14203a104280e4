"""asyncio's selector loop beside ours: calls from threads, and all else that must not be slower."""

import asyncio
import socket
import sys
import threading
import time

import house
from house import Row, answer, column, interleave

NOISE = 1.05  # what is asyncio's own code in both differs by this much from run to run

# What, unit, scale, and the most that ours may take of asyncio's time.
PLAIN = (
    ("executor", "run_in_executor, round trip", "us", 1e6, 1),
    ("coroutine", "run_coroutine_threadsafe(...).result(), round trip", "us", 1e6, 1),
    ("echo", "streams, echo of 100 bytes", "us", 1e6, NOISE),
    ("timers", "call_later, a timer that is due", "us", 1e6, NOISE),
    ("soon", "call_soon", "ns", 1e9, NOISE),
)


def rows() -> list[Row]:
    out = []
    modes = ["wakefd", *(loop for loop in house.loops() if loop != "trio")]
    for threads in (1, 4):
        what = f"call_soon_threadsafe, {threads} thread{'s' * (threads > 1)}"
        runs = interleave(
            what,
            "selector_loop",
            {mode: ("calls", mode, threads) for mode in modes},
            house.rounds(7),
            3,
        )
        per_call = {mode: column(runs[mode], "took", 1e9) for mode in modes}
        for peer in modes[1:]:
            target = 1 / 3 if peer == "asyncio" else None
            out.append(Row(what, "ns", per_call["wakefd"], peer, per_call[peer], target))
    for what, label, unit, scale, target in PLAIN:
        variants = {mode: (what, mode, 1) for mode in ("wakefd", "asyncio")}
        runs = interleave(label, "selector_loop", variants, house.rounds(9), 5)
        ours, theirs = (column(runs[mode], "took", scale) for mode in variants)
        out.append(Row(label, unit, ours, "asyncio", theirs, target))
    for threads in (1, 4):
        label = f"a 1 ms ticker under a flood of {threads}"
        variants = {mode: ("ticker", mode, threads) for mode in ("wakefd", "asyncio")}
        runs = interleave(label, "selector_loop", variants, house.rounds(5), 2)
        ours, theirs = (column(runs[mode], "took", 1e3) for mode in variants)
        out.append(Row(label, "ms/tick", ours, "asyncio", theirs, 1))
    return out


# ---- in the child ----


def measure(what: str, mode: str, threads: int) -> None:
    main = globals()[what]

    async def run() -> None:
        for _ in house.turns():
            answer({"took": await main(asyncio.get_running_loop(), threads)})

    with asyncio.Runner(loop_factory=factory(mode)) as runner:
        runner.run(run())


def factory(mode):
    if mode == "uvloop":
        import uvloop

        return uvloop.new_event_loop
    if mode == "wakefd":
        import wakefd

        return wakefd.SelectorEventLoop
    return asyncio.SelectorEventLoop


async def calls(loop, threads):
    """From the first call to the end of the last callback."""
    count = 40_000 // threads
    done = asyncio.Semaphore(0)

    def work():
        soon = loop.call_soon_threadsafe
        for _ in range(count):
            soon(int)
        soon(done.release)

    them = [threading.Thread(target=work) for _ in range(threads)]
    begin = time.perf_counter()
    for it in them:
        it.start()
    for _ in them:
        await done.acquire()
    end = time.perf_counter()
    for it in them:
        it.join()
    return (end - begin) / (count * threads)


async def executor(loop, _):
    trips = 500
    await loop.run_in_executor(None, int)
    begin = time.perf_counter()
    for _ in range(trips):
        await loop.run_in_executor(None, int)
    return (time.perf_counter() - begin) / trips


async def coroutine(loop, _):
    trips = 500

    async def nothing():
        pass

    def work():
        begin = time.perf_counter()
        for _ in range(trips):
            asyncio.run_coroutine_threadsafe(nothing(), loop).result()
        return (time.perf_counter() - begin) / trips

    return await loop.run_in_executor(None, work)


async def echo(loop, _):
    trips = 500
    mine, its = socket.socketpair()
    reader, writer = await asyncio.open_connection(sock=mine)
    its_reader, its_writer = await asyncio.open_connection(sock=its)

    async def serve():
        for _ in range(trips):
            its_writer.write(await its_reader.readexactly(100))
            await its_writer.drain()

    task = loop.create_task(serve())
    begin = time.perf_counter()
    for _ in range(trips):
        writer.write(b"x" * 100)
        await writer.drain()
        await reader.readexactly(100)
    took = time.perf_counter() - begin
    await task
    for it in (writer, its_writer):
        it.close()
        await it.wait_closed()
    return took / trips


async def timers(loop, _):
    count = 5000
    done = loop.create_future()
    left = count

    def fire():
        nonlocal left
        left -= 1
        if left:
            loop.call_later(0, fire)
        else:
            done.set_result(None)

    begin = time.perf_counter()
    fire()
    await done
    return (time.perf_counter() - begin) / count


async def soon(loop, _):
    count = 50_000
    done = loop.create_future()
    begin = time.perf_counter()
    for _ in range(count):
        loop.call_soon(int)
    loop.call_soon(done.set_result, None)
    await done
    return (time.perf_counter() - begin) / count


async def ticker(loop, threads):
    """How long a tick takes while threads call without end."""
    stop = False

    def flood():
        call = loop.call_soon_threadsafe
        while not stop:
            for _ in range(100):
                call(int)

    them = [threading.Thread(target=flood) for _ in range(threads)]
    for it in them:
        it.start()
    begin = time.perf_counter()
    ticks = 0
    while time.perf_counter() - begin < 0.5:
        await asyncio.sleep(0.001)
        ticks += 1
    took = time.perf_counter() - begin
    stop = True
    for it in them:
        it.join()
    return took / ticks


if __name__ == "__main__":
    measure(sys.argv[1], sys.argv[2], int(sys.argv[3]))

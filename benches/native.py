"""Native threads that wake a loop, beside native threads that attach to Python for it."""

import asyncio
import ctypes
import os
import sys
import sysconfig
import threading
import time
from collections import deque
from pathlib import Path

import house
from house import Row, answer, column, interleave

SECONDS = 0.3  # of a turn
MESSAGES = 400_000


def rows() -> list[Row]:
    headers = sysconfig.get_path("include")
    if not Path(headers, "Python.h").exists():
        raise house.Skip("Python's headers are missing")
    import wakefd

    with house.compiled("native.c", "-I", headers, "-I", wakefd.get_include()) as library:
        return [*_raised(library), *_rate(library), *_delay(library), *_bytes(library)]


def _run(label, library, kinds, turns=4):
    variants = {kind: (kind, library) for kind in kinds}
    return interleave(label, "native", variants, house.rounds(5), turns)


def _raised(library):
    runs = _run("raised", library, ["raised", "floor"], 10)
    ours, floor = (column(runs[kind], "seconds", 1e9) for kind in ("raised", "floor"))
    what = "notify from C, flag up"
    return [
        Row(what, "ns", ours, target=3),
        Row(what, "ns", ours, "a fence and a load", floor, 3 / 1.9),
    ]


def _rate(library):
    runs = _run("rate", library, ["notifies", "attaches"])
    ours, theirs = (column(runs[kind], "per_call", 1e9) for kind in ("notifies", "attaches"))
    what = "a native thread notifies a busy asyncio program"
    return [Row(what, "ns/call", ours, "attach + call_soon_threadsafe", theirs, 1 / 1000)]


def _delay(library):
    runs = _run("delay", library, ["delay"])
    return [
        Row(
            "notify from C while Python holds the GIL for 50 ms, p99",
            "us",
            column(runs["delay"], "p99", 1e6),
            target=20,
        )
    ]


def _bytes(library):
    runs = _run("bytes", library, ["pushes", "hands-over"])
    ours, theirs = (column(runs[kind], "per_item", 1e9) for kind in ("pushes", "hands-over"))
    what = "64-byte messages, 4 native threads, one coroutine"
    return [
        Row(what, "ns", ours, target=200),
        Row(what, "ns", ours, "attach + call_soon_threadsafe", theirs),
        Row("memory that takes", "MB", column(runs["pushes"], "grown", 1e-6), target=4),
    ]


# ---- in the child ----


class Native:
    """The library: what takes objects keeps the GIL, all else does without."""

    def __init__(self, path):
        import wakefd

        get = ctypes.pythonapi.PyCapsule_GetPointer
        get.restype, get.argtypes = ctypes.c_void_p, [ctypes.py_object, ctypes.c_char_p]
        self.api = ctypes.c_void_p(get(wakefd._C_API, b"wakefd._C_API"))
        self.free, self.held = ctypes.CDLL(path), ctypes.PyDLL(path)
        for name in ("raised", "floor_of_raised"):
            getattr(self.free, name).restype = ctypes.c_double
        self.free.finish.restype = ctypes.c_long
        self.held.hold.argtypes = [ctypes.c_double]

    def finish(self):
        return self.free.finish()


def raised(native):
    import wakefd

    event, n = wakefd.IoEvent(), 5_000_000
    event.notify()
    with event.native() as handle:
        argument = ctypes.c_void_p(handle.argument)
        for _ in house.turns():
            took = native.free.raised(native.api, argument, ctypes.c_long(n))
            answer({"seconds": took / n})


def floor(native):
    n = 5_000_000
    for _ in house.turns():
        answer({"seconds": native.free.floor_of_raised(ctypes.c_long(n)) / n})


async def busy(start, finish):
    """A loop with work to do, and a thread that computes, while native threads call."""
    stop = False

    def compute():
        n = 0
        while not stop:
            n += 1

    async def work():
        while not stop:
            sum(range(1000))
            await asyncio.sleep(0)

    thread = threading.Thread(target=compute)
    thread.start()
    task = asyncio.create_task(work())
    await asyncio.sleep(0.02)
    start()
    begin = time.perf_counter()
    await asyncio.sleep(SECONDS)
    took = time.perf_counter() - begin
    stop = True
    calls = await asyncio.to_thread(finish)
    await task
    thread.join()
    return took / max(calls, 1)


def rate(native, notifies):
    import wakefd

    async def main():
        event, loop = wakefd.IoEvent(), asyncio.get_running_loop()

        async def consume():
            async for _ in event:
                pass

        task = asyncio.create_task(consume())
        objects = loop.call_soon_threadsafe, event.is_set  # which C only borrows
        with event.native() as handle:
            argument = ctypes.c_void_p(handle.argument)

            def start():
                if notifies:
                    native.free.start_notifying(native.api, argument)
                else:
                    native.held.start_attaching(*map(ctypes.py_object, objects))

            for _ in house.turns():
                answer({"per_call": await busy(start, native.finish)})
        event.close()
        await task

    asyncio.run(main())


def delay(native):
    import wakefd

    n = 20_000
    delays = (ctypes.c_double * n)()
    event = wakefd.IoEvent()
    event.fileno()  # each rise is a system call
    with event.native() as handle:
        argument = ctypes.c_void_p(handle.argument)
        for _ in house.turns():
            native.free.start_measuring(native.api, argument, delays, ctypes.c_long(n))
            end = time.perf_counter() + SECONDS
            while time.perf_counter() < end:
                native.held.hold(0.05)
            native.finish()
            answer({"p99": sorted(delays)[n * 99 // 100]})


def pushes(native):
    import wakefd

    async def main():
        for _ in house.turns():
            with wakefd.ByteQueue(1 << 20, 64) as queue, queue.native() as handle:
                before, argument = house.resident(), ctypes.c_void_p(handle.argument)
                begin, left = time.perf_counter(), MESSAGES
                each = ctypes.c_long(MESSAGES // 4)
                native.free.start_pushing(native.api, argument, 4, each)
                while left:
                    left -= len(await queue.async_get_many(1000))
                took = time.perf_counter() - begin
                grown = max(house.resident() - before, 0)
                native.finish()
            answer({"per_item": took / MESSAGES, "grown": grown})

    asyncio.run(main())


def hands_over(native):
    count = MESSAGES // 20

    async def main():
        loop = asyncio.get_running_loop()
        for _ in house.turns():
            came, begin = deque(), time.perf_counter()
            objects = loop.call_soon_threadsafe, came.append  # which C only borrows
            both = map(ctypes.py_object, objects)
            native.held.start_handing_over(*both, 4, ctypes.c_long(count // 4))
            while len(came) < count:  # noqa: ASYNC110 - an event would cost the peer more
                await asyncio.sleep(0)
            took = time.perf_counter() - begin
            native.finish()
            answer({"per_item": took / count})

    asyncio.run(main())


if __name__ == "__main__":
    kind, path = sys.argv[1:]
    if kind not in {"raised", "floor"}:
        os.sched_setaffinity(0, range(os.cpu_count() or 1))  # a native thread runs beside Python
    {
        "raised": raised,
        "floor": floor,
        "notifies": lambda native: rate(native, True),
        "attaches": lambda native: rate(native, False),
        "delay": delay,
        "pushes": pushes,
        "hands-over": hands_over,
    }[kind](Native(path))

"""Queues between threads and a coroutine: how many items, how fair, how quick to and fro."""

import asyncio
import collections
import queue
import sys
import threading
import time
from functools import partial

import house
from house import Row, answer, column, interleave

BATCH = 1000
NEAREST = ("janus", "culsans", "aiologic")
SIZES = {
    "many": 1_000_000,
    "floor": 1_000_000,
    "for": 300_000,
    "thread": 300_000,
    "SimpleQueue": 300_000,
}


def rows() -> list[Row]:
    return [*_flood_rows(), *_thread_rows(), *_fair_rows(), *_pingpong_rows(), *_size_rows()]


def _flood_rows() -> list[Row]:
    out = []
    modes = ("many", "for", "floor", "call_soon_threadsafe", *NEAREST)
    for threads in (1, 4):
        runs = interleave(
            f"flood, {threads} to one",
            "queues",
            {mode: ("flood", "asyncio", mode, threads) for mode in modes},
            house.rounds(5),
            3,
        )
        per_item = {mode: column(runs[mode], "per_item", 1e9) for mode in modes}
        best = min(NEAREST, key=lambda mode: house.middle(per_item[mode]))
        what = f"{threads} thread{'s' * (threads > 1)} to one coroutine"
        soon, batches, each = (per_item[mode] for mode in ("call_soon_threadsafe", "many", "for"))
        out.append(
            Row(f"{what}, batches", "ns/item", batches, "call_soon_threadsafe", soon, 1 / 60)
        )
        for peer in NEAREST:
            target = 1 / 30 if peer == best else None
            out.append(Row(f"{what}, batches", "ns/item", batches, peer, per_item[peer], target))
        floor = ("the threads alone, private deques", per_item["floor"])
        out.append(Row(f"{what}, batches", "ns/item", batches, *floor))
        out.append(Row(f"{what}, async for", "ns/item", each, best, per_item[best], 1 / 12))
    for loop in house.loops()[1:]:
        variants = {name: ("flood", name, "many", 1) for name in (loop, "asyncio")}
        runs = interleave(f"flood, {loop}", "queues", variants, house.rounds(5), 3)
        ours, theirs = (column(runs[name], "per_item", 1e9) for name in (loop, "asyncio"))
        what = f"1 thread to one coroutine, batches, {loop}"
        out.append(Row(what, "ns/item", ours, "the same on asyncio", theirs, 20 / 15))
    return out


def _thread_rows() -> list[Row]:
    variants = {mode: ("flood", "thread", mode, 1) for mode in ("thread", "SimpleQueue")}
    runs = interleave("thread to thread", "queues", variants, house.rounds(5), 5)
    ours, theirs = (column(runs[mode], "per_item", 1e9) for mode in variants)
    return [Row("thread to thread", "ns/item", ours, "queue.SimpleQueue", theirs, 1)]


def _fair_rows() -> list[Row]:
    out = []

    def ticks(modes, threads, number, turns):
        variants = {mode: ("fair", "asyncio", mode, threads) for mode in modes}
        runs = interleave(f"ticker, {threads} flooding", "queues", variants, number, turns)
        return {mode: column(runs[mode], "tick", 1e3) for mode in modes}

    for threads in (1, 4):
        # Half a second is a dozen ticks among four threads: many turns. The peers' take seconds.
        tick = ticks(("many", "for", "floor"), threads, house.rounds(5), 8)
        for mode, label in (("many", "batches"), ("for", "async for")):
            what = f"a 1 ms ticker under a flood of {threads}, {label}"
            floor = ("an idle loop, private deques", tick["floor"])
            out.append(Row(what, "ms/tick", tick[mode], *floor, 1 / 0.9))
        tick = ticks(("for", *NEAREST), threads, house.rounds(3), 1)
        what = f"a 1 ms ticker under a flood of {threads}, async for"
        out += [Row(what, "ms/tick", tick["for"], peer, tick[peer]) for peer in NEAREST]
    for mode, label in (("many", "batches of 100"), ("for", "async for")):
        runs = interleave(
            f"share, {label}", "queues", {"wakefd": ("share", "asyncio", mode, 0)}, house.rounds(5)
        )
        share = column(runs["wakefd"], "share", 1e3)
        out.append(Row(f"our share of a loop's turn, {label}", "ms", share, target=5))
    return out


def _pingpong_rows() -> list[Row]:
    modes = ("wakefd", "janus", "culsans")
    variants = {mode: ("pingpong", "asyncio", mode, 1) for mode in modes}
    runs = interleave("ping-pong", "queues", variants, house.rounds(5), 4)
    trip = {mode: column(runs[mode], "trip", 1e6) for mode in modes}
    return [
        Row("ping-pong, thread and coroutine", "us/trip", trip["wakefd"], peer, trip[peer], 1 / 2)
        for peer in modes[1:]
    ]


def _size_rows() -> list[Row]:
    runs = interleave(
        "idle", "queues", {"wakefd": ("size", "asyncio", "wakefd", 0)}, house.rounds(3)
    )
    size = column(runs["wakefd"], "bytes")
    fds = column(runs["wakefd"], "fds")
    return [
        Row("an idle queue", "bytes", size, target=400),
        Row("an idle queue", "descriptors", fds, target=0),
    ]


# ---- in the child ----


def measure(what: str, loop: str, mode: str, threads: int) -> None:
    if what == "size":
        for _ in house.turns():
            answer(size())
    elif loop == "thread":
        for _ in house.turns():
            answer({"per_item": through_threads(mode)})
    else:
        main = {"flood": flood, "fair": fair, "share": share, "pingpong": pingpong}[what]

        async def run() -> None:
            for _ in house.turns():
                answer(await main(mode, threads))

        house.run_on(loop, run)


def pair(mode):
    """A way to put from threads, and one to get in a coroutine."""
    if mode == "janus":
        import janus

        q = janus.Queue()
        return q.sync_q.put, q.async_q.get
    if mode == "culsans":
        import culsans

        q = culsans.Queue()
        return q.sync_q.put, q.async_q.get
    if mode == "aiologic":
        import aiologic

        q = aiologic.SimpleQueue()
        return q.green_put, q.async_get
    if mode == "call_soon_threadsafe":
        q = asyncio.Queue()
        here = asyncio.get_running_loop()
        return partial(here.call_soon_threadsafe, q.put_nowait), q.get
    import wakefd

    q = wakefd.Queue()
    return q.put, q


async def consume(mode, get, count):
    got = 0
    if mode == "many":
        while got < count:
            got += len(await get.async_get_many(BATCH))
    elif mode == "for":
        async for _ in get:
            got += 1
            if got >= count:
                break
    else:
        while got < count:
            await get()
            got += 1


async def flood(mode, threads):
    """`floor`: each thread fills a deque of its own, and nobody takes anything out."""
    put, get = (None, None) if mode == "floor" else pair(mode)
    count = SIZES.get(mode, 20_000) // threads

    def produce():
        mine = put or collections.deque().append
        for item in range(count):
            mine(item)

    them = [threading.Thread(target=produce) for _ in range(threads)]
    begin = time.perf_counter()
    for it in them:
        it.start()
    if get is None:
        for it in them:
            it.join()
    else:
        await consume(mode, get, count * threads)
    end = time.perf_counter()
    for it in them:
        it.join()
    return {"per_item": (end - begin) / (count * threads)}


def through_threads(mode):
    import wakefd

    q = wakefd.Queue() if mode == "thread" else queue.SimpleQueue()
    count = SIZES[mode]

    def produce():
        put = q.put
        for item in range(count):
            put(item)

    it = threading.Thread(target=produce)
    begin = time.perf_counter()
    it.start()
    get = q.get
    for _ in range(count):
        get()
    end = time.perf_counter()
    it.join()
    return (end - begin) / count


async def fair(mode, threads):
    """How long a tick of 1 ms takes while threads put without end."""
    stop = False
    if mode == "floor":
        put = get = None
    else:
        put, get = pair(mode)

    def produce():
        mine = put or collections.deque(maxlen=100_000).append
        until = time.perf_counter() + 3  # some peers' loops never tick before the flood ends
        while not stop and time.perf_counter() < until:
            for item in range(100):
                mine(item)

    task = None if get is None else asyncio.ensure_future(consume(mode, get, float("inf")))
    them = [threading.Thread(target=produce) for _ in range(threads)]
    for it in them:
        it.start()
    begin = time.perf_counter()
    ticks = 0
    while time.perf_counter() - begin < 0.5:
        await asyncio.sleep(0.001)
        ticks += 1
    took = time.perf_counter() - begin
    stop = True
    if task is not None:
        task.cancel()
    for it in them:
        it.join()
    return {"tick": took / ticks}


async def share(mode, _):
    """The longest time that our consumer keeps the loop, in time on the processor."""
    import wakefd

    await flood(mode, 1)  # all is imported
    q = wakefd.Queue()
    q.put_many(range(300_000))
    q.shutdown()
    longest, done = 0.0, False

    async def eat():
        nonlocal done
        if mode == "many":
            try:
                while True:
                    await q.async_get_many(100)
            except wakefd.QueueShutDown:
                pass
        else:
            async for _ in q:
                pass
        done = True

    task = asyncio.ensure_future(eat())
    before = time.thread_time()
    while not done:
        await asyncio.sleep(0)
        now = time.thread_time()
        longest, before = max(longest, now - before), now
    await task
    return {"share": longest}


async def pingpong(mode, _):
    put, get = pair(mode)
    get = get.async_get if mode == "wakefd" else get
    if mode == "janus":
        import janus

        back = janus.Queue()
        send, receive = back.async_q.put, back.sync_q.get
    elif mode == "culsans":
        import culsans

        back = culsans.Queue()
        send, receive = back.async_q.put, back.sync_q.get
    else:
        import wakefd

        back = wakefd.Queue()
        send, receive = back.async_put, back.get
    trips = 500

    def echo():
        for _ in range(trips):
            put(receive())

    it = threading.Thread(target=echo)
    it.start()
    begin = time.perf_counter()
    for n in range(trips):
        await send(n)
        await get()
    end = time.perf_counter()
    it.join()
    return {"trip": (end - begin) / trips}


def size():
    import wakefd

    them = [wakefd.Queue() for _ in range(1000)]
    before, fds = house.resident(), house.descriptors()
    them += [wakefd.Queue() for _ in range(50_000)]
    grown = (house.resident() - before) / 50_000
    return {"bytes": grown, "fds": house.descriptors() - fds}


if __name__ == "__main__":
    measure(sys.argv[1], sys.argv[2], sys.argv[3], int(sys.argv[4]))

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
# A careful user writes these instead of a queue: see `by_hand`.
BY_HAND = {
    "list": "a list by hand",
    "list in place": "a list by hand, in the producer's loop",
    "deque": "a deque and a loop by hand",
    "deque in place": "a deque and a loop by hand, in the producer's loop",
    "deque, async for": "a deque and a generator by hand",
}
SIZES = {
    "many": 1_000_000,
    "floor": 1_000_000,
    "list": 1_000_000,
    "list in place": 1_000_000,
    "for": 300_000,
    "deque": 300_000,
    "deque in place": 300_000,
    "deque, async for": 300_000,
    "thread": 300_000,
    "SimpleQueue": 300_000,
}


def rows() -> list[Row]:
    return [*_flood_rows(), *_thread_rows(), *_fair_rows(), *_pingpong_rows(), *_size_rows()]


def _flood_rows() -> list[Row]:
    return [row for loop in house.loops() for threads in (1, 4) for row in _floods(loop, threads)]


def _floods(loop: str, threads: int) -> list[Row]:
    modes = ["many", "list", "list in place"]
    if loop == "asyncio":
        modes += ["for", "deque", "deque in place", "deque, async for"]
        modes += ["floor", "call_soon_threadsafe", *NEAREST]
    variants = {mode: ("flood", loop, mode, threads) for mode in modes}
    if loop != "asyncio":
        variants["asyncio"] = ("flood", "asyncio", "many", threads)
    runs = interleave(f"flood, {loop}, {threads} to one", "queues", variants, house.rounds(5), 3)
    per_item = {mode: column(runs[mode], "per_item", 1e9) for mode in variants}
    what = f"{threads} thread{'s' * (threads > 1)} to one coroutine, "
    on = "" if loop == "asyncio" else f", {loop}"

    def row(mode, peer, target=None, label=""):
        name = what + {"many": "batches", "for": "async for"}[mode] + on
        label = label or BY_HAND.get(peer, peer)
        return Row(name, "ns/item", per_item[mode], label, per_item[peer], target)

    by_hand = 1 if loop == "trio" else 1 / 1.5 if threads == 1 else 1 / 1.3
    out = [row("many", "list", by_hand), row("many", "list in place")]
    if loop != "asyncio":
        target = 20 / 15 if threads == 1 else None
        return [*out, row("many", "asyncio", target, "the same on asyncio")]
    out.append(row("many", "floor", None, "the threads alone, private deques"))
    best = min(NEAREST, key=lambda mode: house.middle(per_item[mode]))
    singles = {"call_soon_threadsafe": 1 / 60, **dict.fromkeys(NEAREST), best: 1 / 30}
    for peer, target in singles.items():
        out.append(row("many", peer, target, f"{peer}, one by one"))
    out.append(row("for", "deque", 1 / 1.5))
    out += [row("for", peer) for peer in ("deque in place", "deque, async for")]
    return [*out, *(row("for", peer, 1 / 12 if peer == best else None) for peer in singles)]


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
        main = {
            "flood": partial(flood, loop=loop),
            "fair": fair,
            "share": share,
            "pingpong": pingpong,
        }[what]

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


def by_hand(mode, loop, count):
    """A list or a deque, and one call into the loop per batch, take the place of a queue.

    A producer calls into the loop if `armed` is False. The consumer disarms before it looks, so
    that an item comes either before that look, or with a call of its own. Appending, copying and
    popping are atomic, so there is no lock.

    Returns a way to put, a producer that does the same in its own loop, and the consumer.
    """
    if loop == "trio":
        import trio

        new, call = trio.Event, trio.lowlevel.current_trio_token().run_sync_soon
    else:
        new, call = asyncio.Event, asyncio.get_running_loop().call_soon_threadsafe
    # A copy and a `del` take a batch out of a list in less time than `popleft` out of a deque.
    items = [] if mode.startswith("list") else collections.deque()
    append, ready, armed = items.append, new(), False

    def wake():
        ready.set()

    def put(item):
        nonlocal armed
        append(item)
        if not armed:
            armed = True
            call(wake)

    def produce(number):
        nonlocal armed
        mine = append
        for item in range(number):
            mine(item)
            if not armed:
                armed = True
                call(wake)

    async def woken():
        nonlocal ready, armed
        await ready.wait()
        ready, armed = new(), False

    async def batches():
        got = 0
        while got < count:
            await woken()
            batch = items[:]
            del items[: len(batch)]
            got += len(batch)

    async def one_by_one():
        popleft, got = items.popleft, 0
        while got < count:
            await woken()
            while items:
                popleft()
                got += 1

    async def generate():
        popleft = items.popleft
        while True:
            await woken()
            while items:
                yield popleft()

    async def each():
        got = 0
        async for _ in generate():
            got += 1
            if got >= count:
                break

    eat = batches if mode.startswith("list") else each if "async for" in mode else one_by_one
    return put, produce, eat


async def flood(mode, threads, loop="asyncio"):
    """`floor`: each thread fills a deque of its own, and nobody takes anything out."""
    count = SIZES.get(mode, 20_000) // threads
    total = count * threads
    put = eat = in_place = None
    if mode in BY_HAND:
        put, in_place, eat = by_hand(mode, loop, total)
    elif mode != "floor":
        put, get = pair(mode)
        eat = partial(consume, mode, get, total)

    def produce():
        mine = put or collections.deque().append
        for item in range(count):
            mine(item)

    if mode.endswith("in place"):
        produce = partial(in_place, count)
    them = [threading.Thread(target=produce) for _ in range(threads)]
    begin = time.perf_counter()
    for it in them:
        it.start()
    if eat is None:
        for it in them:
            it.join()
    else:
        await eat()
    end = time.perf_counter()
    for it in them:
        it.join()
    return {"per_item": (end - begin) / total}


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

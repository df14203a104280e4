"""Ten thousand events, a task waits on each; a thread notifies them all at once."""

import gc
import sys
import threading
import time

import house
from house import Row, answer, column, interleave

NUMBER = 10_000
PEERS = {
    "asyncio": ("call_soon_threadsafe", "one call_soon_threadsafe"),
    "uvloop": ("call_soon_threadsafe", "one call_soon_threadsafe"),
    "trio": ("run_sync_soon", "one run_sync_soon"),
}
LABEL = {
    "call_soon_threadsafe": "call_soon_threadsafe per event",
    "one call_soon_threadsafe": "one hand-batched call_soon_threadsafe",
    "run_sync_soon": "run_sync_soon per event",
    "one run_sync_soon": "one hand-batched run_sync_soon",
}
TARGETS = {("asyncio", "call_soon_threadsafe"): 0.45, ("asyncio", "one call_soon_threadsafe"): 0.75}


def rows() -> list[Row]:
    out = []
    for loop in house.loops():
        variants = {mode: (loop, mode) for mode in ("wakefd", *PEERS[loop])}
        turns = 4 if house.QUICK else 8
        runs = interleave(f"burst, {loop}", "burst", variants, house.rounds(7), turns)
        for key, what in (
            ("total", "burst of 10 000 events"),
            ("notifier", "... the thread's part"),
        ):
            out += [
                Row(
                    f"{what}, {loop}",
                    "ms",
                    column(runs["wakefd"], key, 1e3),
                    LABEL[peer],
                    column(runs[peer], key, 1e3),
                    TARGETS.get((loop, peer)) if key == "total" else None,
                )
                for peer in PEERS[loop][: 2 if key == "total" else 1]
            ]
    for loop in house.loops():
        try:
            out.append(_calls(loop))
        except house.Skip as skip:
            house.say(f"  burst: system calls not counted: {skip}")
            break
    return out


def _calls(loop: str) -> Row:
    """Ours: what touches the hub's descriptor, and the poll that reports it."""
    house.say(f"  burst: system calls, {loop}")
    result, calls = house.trace("burst", loop, "wakefd")
    hub = str(result["hub"])
    ours = [(name, fd) for name, fd in calls if name in {"read", "write"} and fd == hub]
    writes = sum(name == "write" for name, _ in ours)
    # One poll reports each of our writes. The loop's other polls are its own turns.
    what = f"our system calls in a burst, {loop}"
    note = f"{house.tally(ours)}; all: {house.tally(calls)}"
    return Row(what, "calls", [[len(ours) + writes]], target=3, note=note)


# ---- in the child ----


def measure(loop: str, mode: str) -> None:
    async def asyncio_main():
        import asyncio

        here = asyncio.get_running_loop()
        for _ in house.turns():
            wait, fires = asyncio_variant(mode, here)
            tasks = [asyncio.ensure_future(w()) for w in wait]
            await asyncio.sleep(0.02)  # and all of them wait
            done = asyncio.gather(*tasks)
            hub = settle(mode)
            times, thread = start(fires)
            await done
            finish(times, thread, hub)

    async def trio_main():
        import trio

        token = trio.lowlevel.current_trio_token()
        for _ in house.turns():
            wait, fires = trio_variant(mode, token)
            async with trio.open_nursery() as nursery:
                for w in wait:
                    nursery.start_soon(w)
                await trio.sleep(0.02)
                hub = settle(mode)
                times, thread = start(fires)
            finish(times, thread, hub)

    house.run_on(loop, trio_main if loop == "trio" else asyncio_main)


def settle(mode: str) -> int:
    """Collect garbage, and find out the hub's descriptor."""
    gc.collect()
    if mode != "wakefd":
        return -1
    from wakefd._wakefd import Hub

    [hub] = [it for it in gc.get_objects() if type(it) is Hub]
    return hub.fileno()


def start(fires):
    times = {}

    def thread():
        house.mark("begin")
        times["begin"] = time.perf_counter()
        for fire in fires:
            fire()
        times["sent"] = time.perf_counter()

    it = threading.Thread(target=thread)
    it.start()
    return times, it


def finish(times, thread, hub) -> None:
    end = time.perf_counter()
    house.mark("end")
    thread.join()
    begin, sent = times["begin"], times["sent"]
    answer({"total": end - begin, "notifier": sent - begin, "hub": hub})


def asyncio_variant(mode, loop):
    """What the tasks run, and what the thread calls."""
    import asyncio
    from functools import partial

    if mode == "wakefd":
        import wakefd

        events = [wakefd.IoEvent() for _ in range(NUMBER)]
        return [event.notified for event in events], [event.notify for event in events]
    events = [asyncio.Event() for _ in range(NUMBER)]
    wait = [event.wait for event in events]
    if mode == "call_soon_threadsafe":
        return wait, [partial(loop.call_soon_threadsafe, event.set) for event in events]
    return wait, [partial(loop.call_soon_threadsafe, partial(set_all, events))]


def trio_variant(mode, token):
    from functools import partial

    import trio

    if mode == "wakefd":
        import wakefd

        events = [wakefd.IoEvent() for _ in range(NUMBER)]
        return [event.notified for event in events], [event.notify for event in events]
    events = [trio.Event() for _ in range(NUMBER)]
    wait = [event.wait for event in events]
    if mode == "run_sync_soon":
        return wait, [partial(token.run_sync_soon, event.set) for event in events]
    return wait, [partial(token.run_sync_soon, partial(set_all, events))]


def set_all(events):
    for event in events:
        event.set()


if __name__ == "__main__":
    measure(sys.argv[1], sys.argv[2])

"""One event, a thousand tasks wait on it; a thread notifies it once."""

import gc
import sys
import threading
import time
from functools import partial

import house
from house import Row, answer, column, interleave, median

NUMBER = 1000
PEER = {"asyncio": "asyncio.Event", "uvloop": "asyncio.Event", "trio": "trio.Event"}
TARGETS = {"asyncio": 0.8}


def rows() -> list[Row]:
    out = []
    for loop in house.loops():
        variants = {
            "many": (loop, "wakefd", NUMBER),
            "peer": (loop, "peer", NUMBER),
            "one": (loop, "wakefd", 1),
        }
        runs = interleave(f"broadcast, {loop}", "broadcast", variants, house.rounds(7), 5)
        many, peer, one = (runs[key] for key in variants)
        ours, theirs = (column(x, "total", 1e6) for x in (many, peer))
        what = f"one event, 1 000 tasks, {loop}"
        out.append(Row(what, "us", ours, PEER[loop], theirs, TARGETS.get(loop)))
        ours, theirs = (column(x, "notify", 1e6) for x in (many, one))
        # "As with one task", as far as a machine in use can tell; a cost per task would show a
        # hundredfold.
        what = f"notify() with 1 000 tasks, {loop}"
        out.append(Row(what, "us", ours, "notify() with one task", theirs, 1.25))
    return out


# ---- in the child ----


def measure(loop: str, mode: str, tasks: int) -> None:
    """A turn is some broadcasts in a row: one of them is too short to stand alone."""
    repeats = 10

    async def asyncio_main():
        import asyncio

        here = asyncio.get_running_loop()
        for _ in house.turns():
            found = []
            for _ in range(repeats):
                if mode == "wakefd":
                    import wakefd

                    event = wakefd.IoEvent()
                    wait, notify = event.notified, event.notify
                else:
                    event = asyncio.Event()
                    wait, notify = event.wait, partial(here.call_soon_threadsafe, event.set)
                waiting = [asyncio.ensure_future(wait()) for _ in range(tasks)]
                await asyncio.sleep(0.005)  # and all of them wait
                done = asyncio.gather(*waiting)
                gc.collect()
                times, thread = start(notify)
                await done
                found.append(finish(times, thread))
            report(found)

    async def trio_main():
        import trio

        token = trio.lowlevel.current_trio_token()
        for _ in house.turns():
            found = []
            for _ in range(repeats):
                if mode == "wakefd":
                    import wakefd

                    event = wakefd.IoEvent()
                    wait, notify = event.notified, event.notify
                else:
                    event = trio.Event()
                    wait, notify = event.wait, partial(token.run_sync_soon, event.set)
                async with trio.open_nursery() as nursery:
                    for _ in range(tasks):
                        nursery.start_soon(wait)
                    await trio.sleep(0.005)
                    gc.collect()
                    times, thread = start(notify)
                found.append(finish(times, thread))
            report(found)

    house.run_on(loop, trio_main if loop == "trio" else asyncio_main)


def start(notify):
    times = {}

    def thread():
        time.sleep(0.001)  # and the loop sleeps
        times["begin"] = time.perf_counter()
        notify()
        times["sent"] = time.perf_counter()

    it = threading.Thread(target=thread)
    it.start()
    return times, it


def finish(times, thread) -> tuple[float, float]:
    end = time.perf_counter()
    thread.join()
    return end - times["begin"], times["sent"] - times["begin"]


def report(found) -> None:
    totals, calls = zip(*found, strict=True)
    answer({"total": median(totals), "notify": median(calls)})


if __name__ == "__main__":
    measure(sys.argv[1], sys.argv[2], int(sys.argv[3]))

"""A thousand loops, one after the other, wait on one event: what do they leave behind?"""

import sys
import time

import house
from house import Row, answer, column


def rows() -> list[Row]:
    out = []
    number = 100
    for loop in house.loops():
        variants = {mode: (loop, mode, number) for mode in ("wakefd", "peer")}
        runs = house.interleave(f"churn, {loop}", "churn", variants, house.rounds(3), 10)
        ours = runs["wakefd"]
        what = f"after 1 000 loops in a row, {loop}"
        # One loop lives at a time: one hub, which stays in the pool. (Medians over ten turns of a
        # hundred loops: what grows with the loops shows.)
        out += [
            Row(f"descriptors more, {what}", "", column(ours, "descriptors"), target=1),
            Row(f"listeners, {what}", "", column(ours, "listeners"), target=1),
            Row(
                f"one loop with a wait, {loop}",
                "us",
                column(ours, "each", 1e6),
                "trio.Event" if loop == "trio" else "asyncio.Event",
                column(runs["peer"], "each", 1e6),
            ),
        ]
    return out


# ---- in the child ----


def measure(loop: str, mode: str, number: int) -> None:
    import wakefd

    event = wakefd.IoEvent()

    async def asyncio_main():
        import asyncio

        here = asyncio.get_running_loop()
        if mode == "wakefd":
            here.call_soon(event.notify)
            await event.notified()
            event.clear()
        else:
            peer = asyncio.Event()
            here.call_soon(peer.set)
            await peer.wait()

    async def trio_main():
        import trio

        token = trio.lowlevel.current_trio_token()
        if mode == "wakefd":
            token.run_sync_soon(event.notify)
            await event.notified()
            event.clear()
        else:
            peer = trio.Event()
            token.run_sync_soon(peer.set)
            await peer.wait()

    main = trio_main if loop == "trio" else asyncio_main
    for _ in range(3):  # what the first ones bring with them
        house.run_on(loop, main)
    before = house.descriptors() - (mode == "wakefd")  # a hub is there already
    for _ in house.turns():
        start = time.perf_counter()
        for _ in range(number):
            house.run_on(loop, main)
        each = (time.perf_counter() - start) / number
        more = house.descriptors() - before
        answer({"descriptors": more, "listeners": event._listeners(), "each": each})


if __name__ == "__main__":
    measure(sys.argv[1], sys.argv[2], int(sys.argv[3]))

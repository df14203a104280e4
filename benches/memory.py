"""What ten thousand idle events take: resident memory, and descriptors."""

import sys

import house
from house import Row, answer, column

KINDS = ("wakefd", "asyncio.Event", "threading.Event")


def rows() -> list[Row]:
    out = []
    for number in (10_000, 200_000):
        variants = {kind: (kind, number) for kind in KINDS}
        runs = house.interleave(f"memory, {number} events", "memory", variants, house.rounds(5))
        ours = column(runs["wakefd"], "bytes")
        what = f"an idle event's memory, of {number}"
        out.append(Row(what, "bytes", ours, target=128))
        out += [Row(what, "bytes", ours, kind, column(runs[kind], "bytes")) for kind in KINDS[1:]]
        descriptors = column(runs["wakefd"], "descriptors")
        out.append(Row(f"descriptors of {number} idle events", "", descriptors, target=0))
    return out


# ---- in the child ----


def measure(kind: str, number: int) -> None:
    if kind == "wakefd":
        from wakefd import IoEvent as Event
    elif kind == "asyncio.Event":
        from asyncio import Event
    else:
        from threading import Event

    for _ in house.turns():
        keep = [Event() for _ in range(100)]  # what the first ones bring with them
        keep += [None] * number
        open_before, before = house.descriptors(), house.resident()
        for n in range(number):
            keep[n] = Event()
        after, open_after = house.resident(), house.descriptors()
        answer({"bytes": (after - before) / number, "descriptors": open_after - open_before})


if __name__ == "__main__":
    measure(sys.argv[1], int(sys.argv[2]))

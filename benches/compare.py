"""Measure two builds of wakefd in turns, and one of them against itself.

python benches/compare.py OLD_PYTHON NEW_PYTHON [--rounds N] [--json FILE] [FILTER ...]

Each interpreter has one build installed, with what `benches/` needs. Each figure is taken of three
processes that take turns: old, old again, new. The ratio of the two old ones (`A/A`) says how much
of a ratio is chance. A row is marked if the ratio of new to old lies outside what the rounds of A/A
have shown, on the slow side (`slower`) or the quick one (`quicker`).
"""

import argparse
import contextlib
import json
import sys
from pathlib import Path

import house
from house import median

# Each figure: its name, the module and its arguments, the key of the answer, turns in a round.
FIGURES = [
    *(
        (f"micro, {name}", "micro", (name, 21), "wakefd", 3)
        for name in ("pending", "cycle", "exposed", "settled", "create")
    ),
    *(
        (f"paced round trip, {loop}", "pingpong", (loop, "wakefd", 150, 0.0003), "p50", 6)
        for loop in ("asyncio", "uvloop", "trio")
    ),
    *(
        (f"ping-pong, {loop}", "pingpong", (loop, "wakefd", 1500, 0), "p50", 6)
        for loop in ("asyncio", "uvloop", "trio")
    ),
    *(
        (
            f"queue, {mode}, {threads} to one",
            "queues",
            ("flood", "asyncio", mode, threads),
            "per_item",
            3,
        )
        for mode in ("many", "for")
        for threads in (1, 4)
    ),
    *(
        (f"queue, batches, {loop}", "queues", ("flood", loop, "many", 1), "per_item", 3)
        for loop in ("uvloop", "trio")
    ),
    ("queue, thread to thread", "queues", ("flood", "thread", "thread", 1), "per_item", 3),
    ("queue, ping-pong", "queues", ("pingpong", "asyncio", "wakefd", 1), "trip", 4),
    *(
        (
            f"portal, call_soon, {loop}, {threads}",
            "portal",
            ("flood", loop, "portal", threads),
            "per_call",
            3,
        )
        for loop in ("asyncio", "trio")
        for threads in (1, 4)
    ),
    *(
        (f"portal, run, {loop}", "portal", ("trip", loop, "portal", "async"), "trip", 3)
        for loop in ("asyncio", "trio")
    ),
    *(
        (
            f"loop, call_soon_threadsafe, {threads}",
            "selector_loop",
            ("calls", "wakefd", threads),
            "took",
            3,
        )
        for threads in (1, 4)
    ),
    *(
        (f"loop, {what}", "selector_loop", (what, "wakefd", 1), "took", 3)
        for what in ("executor", "coroutine", "echo", "timers", "soon")
    ),
    *((f"burst, {loop}", "burst", (loop, "wakefd"), "total", 3) for loop in ("asyncio", "trio")),
    ("broadcast, asyncio", "broadcast", ("asyncio", "wakefd", 1000), "total", 3),
    *(
        (f"first of {number}, {where}", "first_of", (where, "wakefd", number), "cpu", 3)
        for where in ("asyncio", "thread")
        for number in (10, 1000)
    ),
    ("memory of an idle event", "memory", ("wakefd", 200_000), "bytes", 1),
]
BUILDS = ("old", "old again", "new")


def measure(module, args, key, turns, number, pythons) -> dict[str, list[list[float]]]:
    """Return the samples of each build, by round and turn."""
    found = {build: [] for build in BUILDS}
    for at in range(number):
        with contextlib.ExitStack() as stack:
            children = {}
            for build, python in zip(BUILDS, pythons, strict=True):
                children[build] = stack.enter_context(house.start(module, args, python))
                stack.callback(children[build].kill)
                found[build].append([])
            for turn in range(turns):
                first = (at + turn) % len(BUILDS)
                for build in BUILDS[first:] + BUILDS[:first]:
                    value = house.take_turn(children[build])[key]
                    found[build][-1].append(median(value) if isinstance(value, list) else value)
            for child in children.values():
                child.stdin.close()
                child.wait(60)
    return found


def ratios(over, under) -> list[float]:
    """Return the median ratio of each round, taken turn by turn."""
    pairs = zip(over, under, strict=True)
    return [median([a / b for a, b in zip(x, y, strict=True) if b]) for x, y in pairs]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("old", help="the interpreter that has the old build")
    parser.add_argument("new", help="the interpreter that has the new build")
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--json", metavar="FILE", help="write the samples there")
    parser.add_argument("filters", nargs="*", metavar="FILTER", help="figures whose name has one")
    args = parser.parse_intermixed_args()
    house.pin()
    everything = {}
    print(f"{'figure':34} {'old':>12} {'A/A':>6} {'(rounds)':>13} {'new':>6} {'(rounds)':>13}")
    for what, module, arguments, key, turns in FIGURES:
        if args.filters and not any(text in what for text in args.filters):
            continue
        found = measure(module, arguments, key, turns, args.rounds, (args.old, args.old, args.new))
        everything[what] = found
        again, new = (ratios(found[build], found["old"]) for build in BUILDS[1:])
        middle = median(new)
        mark = "slower" if middle > max(1, *again) else "quicker" if middle < min(1, *again) else ""
        spreads = [f"{min(some):.2f}-{max(some):.2f}" for some in (again, new)]
        print(
            f"{what:34} {house.middle(found['old']):12.4g} {median(again):6.3f} {spreads[0]:>13}"
            f" {middle:6.3f} {spreads[1]:>13} {mark}",
            flush=True,
        )
    if args.json:
        Path(args.json).write_text(json.dumps(everything) + "\n")
    sys.exit(0)


if __name__ == "__main__":
    main()

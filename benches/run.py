"""Measure wakefd and its peers in the same run, taking turns.

python benches/run.py [--quick] [--json FILE] [--plot] [GROUP ...]
python benches/run.py --write FILE

A measurement, never a test: the exit status says nothing about the figures. See README.md beside
this file for what is measured and how to read it.
"""

import argparse
import json
import os
import platform
import sys
import time
from pathlib import Path

import broadcast
import burst
import busy
import churn
import first_of
import house
import memory
import micro
import native
import pingpong
import portal
import queues
import selector_loop
import stream
import tables
from house import Row, middle
from tables import short

GROUPS = {
    "micro": (micro.rows, "notify and clear in one thread, nobody waits"),
    "paced": (pingpong.paced_rows, "a thread wakes a loop that sleeps: the round trip"),
    "pingpong": (pingpong.unpaced_rows, "the same as fast as it goes"),
    "busy": (busy.rows, "a thread wakes a loop and goes on computing: one way"),
    "stream": (stream.rows, "a thread computes items, a task computes with them"),
    "syscalls": (pingpong.call_rows, "system calls of one paced wake"),
    "memory": (memory.rows, "what idle events take"),
    "burst": (burst.rows, "10 000 events notified at once"),
    "broadcast": (broadcast.rows, "one event, 1 000 tasks"),
    "first": (first_of.rows, "the first of many events"),
    "queue": (queues.rows, "items from threads to a coroutine, and whether the loop has its turn"),
    "loop": (selector_loop.rows, "wakefd.SelectorEventLoop beside asyncio's own"),
    "portal": (portal.rows, "calls from threads into a loop: how many, and there and back"),
    "native": (native.rows, "native threads that wake a loop, without the GIL"),
    "churn": (churn.rows, "1 000 loops in a row on one event"),
}


def main() -> None:
    parser = argparse.ArgumentParser(
        description="Measure wakefd and its peers in the same run, taking turns.",
        epilog="groups: " + "; ".join(f"{name}: {text}" for name, (_, text) in GROUPS.items()),
    )
    parser.add_argument("--quick", action="store_true", help="few rounds: for trying it out")
    parser.add_argument("--json", metavar="FILE", help="write the figures of each round there")
    parser.add_argument(
        "--write", metavar="FILE", help="measure nothing: write the tables of the docs from FILE"
    )
    parser.add_argument("--plot", action="store_true", help="draw docs/images/*.svg")
    parser.add_argument("--core", type=int, help="run all on this core (default: the last one)")
    parser.add_argument("groups", nargs="*", metavar="GROUP", help="these only")
    args = parser.parse_args()
    if unknown := set(args.groups) - set(GROUPS):
        parser.error(f"no such group: {', '.join(sorted(unknown))}")
    if args.write:
        house.say(f"written: the tables of {', '.join(tables.write(args.write)) or 'no group'}")
        return
    house.QUICK, house.CORE = args.quick, args.core

    everywhere = os.sched_getaffinity(0) if hasattr(os, "sched_getaffinity") else set()
    house.pin()
    about = {
        "date": time.strftime("%Y-%m-%d"),
        "python": platform.python_version(),
        "system": f"{platform.system()} {platform.machine()}",
        "processor": house.processor(),
        "cores": len(everywhere),
        "quick": args.quick,
        "versions": house.versions(),
    }
    house.say(tables.about(about))
    if not sys.platform.startswith("linux"):
        house.say("only on Linux are all of these measured")

    start = time.monotonic()
    found: dict[str, list[Row]] = {}
    for name in args.groups or GROUPS:
        house.say(f"{name}: {GROUPS[name][1]}")
        try:
            found[name] = GROUPS[name][0]()
        except house.Skip as skip:
            house.say(f"  skipped: {skip}")
    house.say(f"{time.monotonic() - start:.0f} s")

    rows = [row for group in found.values() for row in group]
    print_table(rows)
    if args.json:
        text = {"about": about, "groups": {k: [r.as_json() for r in v] for k, v in found.items()}}
        Path(args.json).write_text(json.dumps(text, indent=1) + "\n")
        house.say(f"written: {args.json}")
    if args.plot:
        import plots

        for path in plots.draw(rows, tables.about(about)):
            house.say(f"drawn: {path}")


def print_table(rows: list[Row]) -> None:
    lines = [("what", "wakefd", "peer", "its", "ratio", "rounds", "target", "")]
    for row in rows:
        spread = row.spread
        ratio = row.ratio
        lines.append(
            (
                row.what,
                f"{short(middle(row.ours))} {row.unit}",
                row.peer,
                short(middle(row.theirs)) if row.theirs else "",
                f"{ratio:.3f}" if ratio is not None else "",
                f"{spread[0]:.2f}..{spread[1]:.2f}" if spread else "",
                f"<= {row.target:g}" if row.target is not None else "",
                {True: "ok", False: "MISSED", None: ""}[row.ok],
            )
        )
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    for n, line in enumerate(lines):
        left = {0, 2, 7}
        print(
            "  ".join(
                cell.ljust(width) if at in left else cell.rjust(width)
                for at, (cell, width) in enumerate(zip(line, widths, strict=True))
            ).rstrip()
        )
        if n == 0:
            print("  ".join("-" * width for width in widths))
    judged = [row.ok for row in rows if row.ok is not None]
    print(f"\n{sum(judged)} of {len(judged)} targets reached. All are medians; rounds: from .. to.")


if __name__ == "__main__":
    main()

"""One thread, nobody waits: what the calls themselves cost.

Loops of bound methods, as `timeit` does it, each so short (a fifth of a millisecond) that most of
them are not interrupted. The variants take turns within one process, and that is done in several
processes: where a process's memory happens to lie moves figures as small as these by some percent.
"""

import sys
import timeit

import house
from house import Row, answer

SETS = ("pending", "cycle", "exposed", "settled", "create")


def rows() -> list[Row]:
    runs: dict[str, dict[str, house.Samples]] = {}
    number = house.rounds(7)
    for turn in range(number):
        house.say(f"  micro: process {turn + 1} of {number}")
        for name in SETS:
            for variant, ns in house.once("micro", name, 51 if house.QUICK else 101).items():
                runs.setdefault(name, {}).setdefault(variant, []).append(ns)

    def row(what, name, peer, target=None):
        return Row(what, "ns", runs[name]["wakefd"], peer, runs[name][peer], target)

    out = [
        row("notify(), flag up", "pending", "deque.clear", 1.4),
        row("notify(), flag up", "pending", "asyncio.Event.set"),
        row("notify(), flag up", "pending", "threading.Event.set"),
        row("notify() + clear()", "cycle", "asyncio.Event", 0.55),
        row("notify() + clear()", "cycle", "threading.Event"),
        row("notify() + clear(), fileno() in use", "exposed", "os.eventfd_write + read", 1.0),
        row("clear(), flag down", "settled", "deque.clear"),
        row("IoEvent()", "create", "asyncio.Event"),
        row("IoEvent()", "create", "threading.Event"),
    ]
    try:
        _, calls = house.trace("micro", "calls")
    except house.Skip as skip:
        house.say(f"  micro: system calls not counted: {skip}")
    else:
        what = "system calls of 10 000 x (notify, notify, clear, clear)"
        out.append(Row(what, "calls", [[len(calls)]], target=0, note=house.tally(calls)))
    return out


# ---- in the child ----


def measure(name: str, repeats: int) -> None:
    cases, number = globals()["set_" + name]()
    timers = {
        case: timeit.Timer(stmt, globals=names).timeit for case, (stmt, names) in cases.items()
    }
    samples: dict[str, list[float]] = {case: [] for case in cases}
    for timer in timers.values():
        timer(number // 10)
    for _ in house.turns():
        for _ in range(repeats):
            for case, timer in timers.items():
                samples[case].append(timer(number) / number * 1e9)
        answer(samples)


def set_pending():
    import asyncio
    import threading
    from collections import deque

    import wakefd

    ours, aio, thread = wakefd.IoEvent(), asyncio.Event(), threading.Event()
    for event in (aio, thread):
        event.set()
    ours.notify()
    return {
        "wakefd": ("f()", {"f": ours.notify}),
        "deque.clear": ("f()", {"f": deque().clear}),
        "asyncio.Event.set": ("f()", {"f": aio.set}),
        "threading.Event.set": ("f()", {"f": thread.set}),
    }, 5_000


def set_cycle():
    import asyncio
    import threading

    import wakefd

    ours, aio, thread = wakefd.IoEvent(), asyncio.Event(), threading.Event()
    return {
        "wakefd": ("f(); g()", {"f": ours.notify, "g": ours.clear}),
        "asyncio.Event": ("f(); g()", {"f": aio.set, "g": aio.clear}),
        "threading.Event": ("f(); g()", {"f": thread.set, "g": thread.clear}),
    }, 3_000


def set_exposed():
    import os

    import wakefd

    ours = wakefd.IoEvent()
    ours.fileno()
    names = {"w": os.eventfd_write, "r": os.eventfd_read}
    names["fd"] = os.eventfd(0, os.EFD_NONBLOCK | os.EFD_CLOEXEC)
    return {
        "wakefd": ("f(); g()", {"f": ours.notify, "g": ours.clear}),
        "os.eventfd_write + read": ("w(fd, 1); r(fd)", names),
    }, 300


def set_settled():
    from collections import deque

    import wakefd

    return {
        "wakefd": ("f()", {"f": wakefd.IoEvent().clear}),
        "deque.clear": ("f()", {"f": deque().clear}),
    }, 5_000


def set_create():
    import asyncio
    import threading

    import wakefd

    return {
        "wakefd": ("f()", {"f": wakefd.IoEvent}),
        "asyncio.Event": ("f()", {"f": asyncio.Event}),
        "threading.Event": ("f()", {"f": threading.Event}),
    }, 1_000


def calls() -> None:
    import wakefd

    event = wakefd.IoEvent()
    turns = range(10_000)
    house.mark("begin")
    for _ in turns:
        event.notify()
        event.notify()
        event.clear()
        event.clear()
    house.mark("end")
    answer({})


if __name__ == "__main__":
    if sys.argv[1] == "calls":
        calls()
    else:
        measure(sys.argv[1], int(sys.argv[2]))

"""`python -m wakefd` tells what wakefd runs on, and whether wake-ups arrive."""

import argparse
import faulthandler
import json
import os
import platform
import sys
import sysconfig
from collections.abc import Callable, Sequence
from importlib import import_module
from importlib.metadata import version
from pathlib import Path

import wakefd
from wakefd import _selftest, _wakefd

DESCRIPTION = """\
Wake every event loop found here from threads, and report what it is like.

Paste the output into bug reports. --json has the same, and a little more, for machines.
"""

EPILOG = """\
how to read it:

  loop           where the task waits: asyncio, uvloop, trio; "thread" is a plain thread that
                 blocks in wait(). Loops that cannot be imported are left out.

  First third: one thread notifies one sleeping task, which notifies it back; and again.
  round trips/s  how often per second. Each is two wake-ups: the task's, then the thread's.
  p50, p99 us    how long one takes, in microseconds: half of them are faster than p50, one in a
                 hundred is slower than p99.

  Second third: the thread notifies the sleeping task once, and goes on computing for 8 ms.
  p50 / p99 us   one way, from before notify() to the task's first statement, in microseconds. One
                 second has some 30 such wake-ups, and then p99 is the slowest of them. On Linux a
                 thread that computes hands the GIL over to a loop, but not to a thread that blocks
                 in wait(). Otherwise it keeps the GIL for 5 ms. docs/latency.md has more.

  Last third: four threads notify one task as fast as they can, in bursts of 200.
  notify/s       calls of notify() per second, over all threads.
  wake-ups/s     turns of the task per second. It sees many notifications in one turn.
  coalesced      the share of calls that found the flag up already: they wake nobody and cost
                 next to nothing. A high share is good.

  queue          after the table: four threads flood a Queue, one coroutine on asyncio takes the
                 items in batches; items per second, how often a timer of 1 ms fired in the same
                 loop (the GIL alone allows a few dozen), and items lost.

  lost           notifications, out of all thirds, that the task had not seen five seconds
                 later. Anything but 0 is a bug: please report it.

The figures depend on the machine, on what else it does, and above all on whether the system runs
the two threads on one core or on two: that alone can make a factor of five. Only "lost" is a
verdict. To compare figures, pin the process to one core (taskset -c 0 on Linux).

exit status: 0 all arrived; 1 something was lost, late, or failed; 2 wrong arguments.
"""

HEADER = (
    "          to and fro, thread and task    the thread computes    four threads flood one task",
    (
        "loop      round trips/s  p50 us   p99 us       p50 / p99 us"
        "    notify/s  wake-ups/s  coalesced  lost"
    ),
)
ROW = (
    "{loop:<8}{round_trips_per_s:>15,}{p50_us:>8,.1f}{p99_us:>9,.1f}"
    "{computing_p50_us:>10,.0f} / {computing_p99_us:<6,.0f}"
    "{notify_per_s:>12,}{wakeups_per_s:>12,}{coalesced:>11.1%}{lost:>6,}"
)
QUEUE_ROW = (
    "queue       {items_per_s:,} items/s from four threads to asyncio, a 1 ms timer fires"
    " {ticks_per_s:,} times/s, lost: {lost:,}"
)


def environment() -> dict[str, str]:
    """Return what wakefd runs on, for bug reports: no person and no path is named."""
    name = Path(_wakefd.__file__).name
    build = name.removeprefix("_wakefd.").rpartition(".")[0] or "abi3"  # Windows: _wakefd.pyd
    gil = getattr(sys, "_is_gil_enabled", lambda: True)()
    free_threaded = bool(sysconfig.get_config_var("Py_GIL_DISABLED"))
    affinity = getattr(os, "sched_getaffinity", None)
    try:
        backend = _wakefd.backend()
    except OSError as error:
        backend = f"none: {error}"
    usable, cores = len(affinity(0)) if affinity else os.cpu_count(), os.cpu_count()
    return {
        "wakefd": wakefd.__version__,
        "back-end": backend,
        "extension": build if build.startswith("abi3") else f"{build} (this Python only)",
        "python": f"{platform.python_implementation()} {platform.python_version()}",
        "threading": ("free-threaded" if free_threaded else "with the GIL")
        + (", GIL switched on" if free_threaded and gil else ""),
        "system": platform.platform(),
        "cores": f"{usable}" if usable == cores else f"{usable} of {cores}",
    }


def libraries() -> dict[str, str]:
    """The loops that can be imported, with versions, and anyio, which runs on top of them."""
    found = {"asyncio": platform.python_version()}
    for name in ("uvloop", "trio", "anyio"):
        try:
            import_module(name)
            found[name] = version(name)
        except ImportError:
            continue
        except Exception as error:
            found[name] = f"broken ({type(error).__name__}: {error})"
    return found


class _Screen:
    """The screen shows rows to people: a live one on a terminal, else only finished ones."""

    def __init__(self, *, live: bool) -> None:
        self.live = live and sys.stdout.isatty() and os.environ.get("TERM") != "dumb"
        self.red = "\033[1;31m{}\033[0m" if self.live and not os.environ.get("NO_COLOR") else "{}"

    def line(self, text: str = "", *, bad: bool = False) -> None:
        print("\r" * self.live + (self.red.format(text) if bad else text), flush=True)

    def progress(self, result: _selftest.Result, phase: _selftest.Phase) -> None:
        if self.live:  # a finished row is longer, and covers this
            doing = f"{result.loop:<10}{phase.name}: {phase.turns:,} wake-ups"
            print(f"\r{doing:<60}", end="", flush=True)


def _arguments(argv: Sequence[str] | None, loops: Sequence[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m wakefd",
        description=DESCRIPTION,
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--json", action="store_true", help="print one JSON object, and no table")
    parser.add_argument(
        "--seconds", type=float, default=1.0, help="how long for each loop (default: 1)"
    )
    parser.add_argument(
        "--loop",
        action="append",
        choices=_selftest.NAMES,
        help="only this loop; can be given several times (default: all that are found)",
    )
    parser.add_argument("--version", action="version", version=f"wakefd {wakefd.__version__}")
    arguments = parser.parse_args(argv)
    if not 0 < arguments.seconds <= 86_400:
        parser.error("--seconds must be more than 0, and at most a day")
    for name in arguments.loop or ():
        if name not in loops:
            parser.error(f"{name} cannot be imported here")
    return arguments


def main(
    argv: Sequence[str] | None = None,
    make_event: Callable[[], wakefd.IoEvent] = wakefd.IoEvent,
) -> int:
    """Run the whole test; return the exit status. `make_event` is for tests: it may lose some."""
    found = libraries()
    usable = [n for n in _selftest.NAMES if n == "thread" or "broken" not in found.get(n, "broken")]
    arguments = _arguments(argv, usable)
    here = environment()
    screen = _Screen(live=not arguments.json)
    if not arguments.json:
        screen.line(
            "wakefd {wakefd} ({back-end}, {extension}), {python}, {threading}".format(**here)
        )
        screen.line("{system}, cores: {cores}".format(**here))
        screen.line(", ".join(f"{name} {its}" for name, its in found.items()))
        screen.line()
        for line in HEADER:
            screen.line(line)
    results: list[_selftest.Result] = []
    for name in arguments.loop or usable:
        # Every wait of the test is bounded. If a bound fails, this ends the process with status 1.
        faulthandler.dump_traceback_later(
            arguments.seconds + 8 * _selftest.DEADLINE, exit=True, file=sys.__stderr__ or 2
        )
        result = _selftest.run(name, arguments.seconds, screen.progress, make_event)
        faulthandler.cancel_dump_traceback_later()
        results.append(result)
        if not arguments.json:
            screen.line(ROW.format(**result.report()), bad=not result.ok)
            for error in result.errors:
                screen.line(f"  {error}", bad=True)
    queue = _selftest.QueueResult()
    faulthandler.dump_traceback_later(
        arguments.seconds + 8 * _selftest.DEADLINE, exit=True, file=sys.__stderr__ or 2
    )
    queue.run(min(arguments.seconds, 1) / 2)
    faulthandler.cancel_dump_traceback_later()
    if not arguments.json:
        screen.line()
        screen.line(QUEUE_ROW.format(**queue.report()), bad=not queue.ok)
        for error in queue.errors:
            screen.line(f"  {error}", bad=True)
    ok = all(result.ok for result in results) and queue.ok
    lost = sum(result.lost for result in results) + queue.lost
    if arguments.json:
        reports = [result.report() for result in results]
        about = {**here, "libraries": found, "results": reports, "queue": queue.report()}
        print(json.dumps({**about, "lost": lost, "ok": ok}))
    elif ok:
        screen.line()
        screen.line("lost: 0. Every notification arrived.")
    else:
        late = f"not seen within {_selftest.DEADLINE:g} s"
        screen.line()
        screen.line(f"FAILED. lost: {lost} ({late}). Please report it.", bad=True)
    return 0 if ok else 1


if __name__ == "__main__":
    try:
        sys.exit(main())
    except KeyboardInterrupt:
        sys.exit(130)
    except BrokenPipeError:  # the reader, such as `head`, has closed the pipe
        os._exit(1)

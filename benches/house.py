"""What every group needs: fresh processes, interleaved rounds, and rows for the table.

A module of `benches/` is both sides of a measurement. Imported by `run.py`, it says what to run and
what to compare. Run as a program, it measures one variant in a fresh process: each line that it
reads is its turn, and it answers with a line of JSON.
"""

import contextlib
import json
import os
import platform
import re
import select
import shutil
import statistics
import subprocess
import sys
import tempfile
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

QUICK = False  # set by run.py
CORE: int | None = None  # all children run on this one

median = statistics.median

Samples = list[list[float]]  # by round, and in a round by turn


@dataclass
class Row:
    """One line of the table: our samples, a peer's samples, and what the ratio is meant to be."""

    what: str
    unit: str
    ours: Samples
    peer: str = ""
    theirs: Samples = field(default_factory=list)
    target: float | None = None  # of the ratio, or of our figure if there is no peer
    note: str = ""

    @property
    def pairs(self) -> Samples:
        """The ratios, each of two turns that followed each other.

        The machine's speed changes from one second to the next (other tenants), and so do medians
        over a run; the median of these ratios does not.
        """
        return [
            [a / b for a, b in zip(mine, its, strict=True)]
            for mine, its in zip(self.ours, self.theirs, strict=bool(self.theirs))
        ]

    @property
    def ratio(self) -> float | None:
        return middle(self.pairs) if self.theirs else None

    @property
    def spread(self) -> tuple[float, float] | None:
        """The least and the greatest ratio of a round."""
        ratios = [median(turns) for turns in self.pairs]
        return (min(ratios), max(ratios)) if len(ratios) > 1 else None

    @property
    def ok(self) -> bool | None:
        if self.target is None:
            return None
        figure = self.ratio if self.theirs else middle(self.ours)
        return figure is not None and figure <= self.target

    def as_json(self) -> dict[str, object]:
        return {
            "what": self.what,
            "unit": self.unit,
            "wakefd": middle(self.ours),
            "peer": self.peer or None,
            "peer_value": middle(self.theirs) if self.theirs else None,
            "ratio": self.ratio,
            "spread": self.spread,
            "target": self.target,
            "ok": self.ok,
            "note": self.note or None,
            "rounds": [
                [median(turns) for turns in samples] for samples in (self.ours, self.theirs)
            ],
        }


def middle(samples: Samples) -> float:
    return median([sample for turns in samples for sample in turns])


class Skip(Exception):  # noqa: N818 - no error
    """A group, or a part of it, cannot be measured here; the text says why."""


@contextlib.contextmanager
def compiled(source: str, *options: str) -> Iterator[str]:
    """Compile a C file of this folder; the path of the library is valid in the block."""
    compiler = shutil.which("cc")
    if compiler is None:
        raise Skip("a C compiler is missing")
    flags = ("-O2", "-std=c11", "-D_GNU_SOURCE", "-shared", "-fPIC", "-pthread")
    with tempfile.TemporaryDirectory() as folder:
        library = str(Path(folder) / "library.so")
        path = str(Path(__file__).with_name(source))
        subprocess.run([compiler, *flags, *options, path, "-o", library], check=True)
        yield library


def say(text: str) -> None:
    """Show progress."""
    print(text, file=sys.stderr, flush=True)


def rounds(full: int) -> int:
    return 3 if QUICK else full


def pin() -> None:
    """To one core: otherwise two threads that wake each other sit now on one core, now on two."""
    global CORE  # noqa: PLW0603
    if hasattr(os, "sched_setaffinity"):
        if CORE is None:
            CORE = max(os.sched_getaffinity(0))
        os.sched_setaffinity(0, {CORE})


def loops() -> list[str]:
    """The loops that are installed."""
    import importlib.util

    return ["asyncio", *(x for x in ("uvloop", "trio") if importlib.util.find_spec(x))]


def versions() -> dict[str, str]:
    from importlib.metadata import PackageNotFoundError, version

    found = {}
    for name in ("wakefd", "uvloop", "trio", "janus", "culsans", "aiologic"):
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            pass
    return found


def processor() -> str:
    """The processor's name."""
    try:
        about = Path("/proc/cpuinfo").read_text()
    except OSError:
        return platform.processor()
    name = re.search(r"^model name\s*: (.*)", about, re.MULTILINE)
    return name[1] if name else platform.processor()


def _command(module: str, args: Iterable[object], python: str = sys.executable) -> list[str]:
    return [python, str(Path(__file__).with_name(module + ".py")), *map(str, args)]


def start(module: str, args: Iterable[object], python: str = sys.executable) -> subprocess.Popen:
    """Start a child that measures one variant in its turns, with an interpreter of its own."""
    command = _command(module, args, python)
    return subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)


def take_turn(it: subprocess.Popen) -> dict:
    it.stdin.write("\n")
    it.stdin.flush()
    if not select.select([it.stdout], [], [], 120)[0]:
        sys.exit(f"benches: no answer in two minutes from {it.args}")
    return json.loads(it.stdout.readline() or sys.exit(f"benches: failed: {it.args}"))


def once(module: str, *args: object) -> dict:
    """Run one turn of a fresh process."""
    with start(module, args) as it:
        return take_turn(it)


def interleave(
    label: str, module: str, variants: dict[str, tuple], number: int, turns: int = 1
) -> dict[str, list[list[dict]]]:
    """Measure ABAB...: `number` rounds, each with a fresh process per variant.

    In a round the processes measure by turns, a fraction of a second each, while the others sleep:
    so what else happens on the machine happens to all of them. A variant is its process's
    arguments.
    """
    results: dict[str, list[list[dict]]] = {name: [] for name in variants}
    names = list(variants)
    for at in range(number):
        say(f"  {label}: round {at + 1} of {number}")
        with contextlib.ExitStack() as stack:
            them = {}
            for name in names:
                them[name] = stack.enter_context(start(module, variants[name]))
                stack.callback(them[name].kill)
                results[name].append([])
            for turn in range(turns):
                first = (at + turn) % len(names)
                for name in names[first:] + names[:first]:
                    results[name][-1].append(take_turn(them[name]))
            for it in them.values():
                it.stdin.close()
                it.wait(60)
    return results


def column(results: list[list[dict]], key: str, scale: float = 1) -> Samples:
    return [[turn[key] * scale for turn in turns] for turns in results]


# ---- in the child ----


def turns() -> Iterable[str]:
    """Wait for our turn, again and again; `answer` ends it."""
    return sys.stdin


def answer(result: dict) -> None:
    print(json.dumps(result), flush=True)


def run_on(loop: str, main: Callable) -> object:
    """Run the coroutine function on the loop of that name."""
    if loop == "trio":
        import trio

        return trio.run(main)
    if loop == "uvloop":
        import uvloop

        return uvloop.run(main())
    import asyncio

    return asyncio.run(main())


def resident() -> int:
    """This process's resident memory, in bytes."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


def descriptors() -> int:
    return len(list(Path("/proc/self/fd").iterdir()))


# ---- system calls ----


def mark(name: str) -> None:
    """Leave a line in the trace: a write that fails."""
    try:
        os.write(-1, name.encode())
    except OSError:
        pass


CALL = re.compile(r"^\d+ +(\w+)\((-?\d*)")


def trace(module: str, *args: object) -> tuple[dict, list[tuple[str, str]]]:
    """One turn of a child under strace: its answer, and the calls between its marks.

    All threads; each call as (name, first argument if it is a number).
    """
    strace = shutil.which("strace")
    if strace is None:
        raise Skip("strace is not installed")
    with tempfile.TemporaryDirectory() as folder:
        out = Path(folder) / "trace"
        done = subprocess.run(
            [strace, "-f", "-qq", "-o", str(out), *_command(module, args)],
            input="\n",
            stdout=subprocess.PIPE,
            text=True,
            timeout=300,
            check=False,
        )
        if done.returncode:
            raise Skip(f"strace failed with status {done.returncode} (is ptrace allowed here?)")
        lines = out.read_text().splitlines()
    calls = []
    inside = False
    for line in lines:
        if 'write(-1, "begin"' in line:
            inside = True
        elif 'write(-1, "end"' in line:
            inside = False
        elif inside and (match := CALL.match(line)):  # "<... read resumed>" does not
            calls.append((match[1], match[2]))
    return json.loads(done.stdout), calls


def tally(calls: Iterable[tuple[str, str]]) -> str:
    """Write them down, the most frequent first."""
    return ", ".join(f"{name} {n}" for name, n in Counter(name for name, _ in calls).most_common())

"""The tables in Markdown files, from the figures that `run.py --json` has written.

A table lies between `<!-- figures: GROUP -->` and `<!-- end -->`, below a line that says of which
run it is. Nobody edits it by hand, so that text and data cannot disagree.
"""

import json
import re
from pathlib import Path

ROOT = Path(__file__).parent.parent
FILES = ("benches/README.md", "docs/latency.md")
PLACE = re.compile(r"(<!-- figures: (\w+) -->\n).*?(<!-- end -->)", re.DOTALL)
BUSY = {
    "notify": "`notify`",
    "put": "`put`",
    "call_soon": "`call_soon`",
    "SelectorEventLoop": "`SelectorEventLoop.call_soon_threadsafe`",
    "loop": "call_soon_threadsafe, run_sync_soon",
    "eventfd": "eventfd",
    "control": "two threads of C, without Python",
}


def write(path: str) -> list[str]:
    """Replace the table of each group in the JSON file; return the names of these groups."""
    run = json.loads(Path(path).read_text())
    done = []

    def table(match: re.Match) -> str:
        begin, group, end = match.groups()
        if group not in run["groups"]:
            return match[0]
        done.append(group)
        lines = FORMS.get(group, _plain)(run["groups"][group])
        return "\n".join([begin + about(run["about"]), "", *lines, end])

    for file in FILES:
        text = (ROOT / file).read_text()
        (ROOT / file).write_text(PLACE.sub(table, text))
    return done


def about(run: dict) -> str:
    versions = ", ".join(f"{name} {version}" for name, version in run["versions"].items())
    rounds = "few rounds (`--quick`)" if run["quick"] else "all rounds"
    return (
        f"Measured on {run['date']}, {rounds}: {run['processor']}, {run['cores']} cores,"
        f" {run['system']}, CPython {run['python']}, {versions}."
    )


def short(figure: float) -> str:
    if figure == int(figure) and abs(figure) < 1e6:
        return str(int(figure))
    return f"{figure:.0f}" if abs(figure) >= 100 else f"{figure:.3g}"


def line(cells) -> str:
    return f"| {' | '.join(cells)} |"


def _plain(rows: list[dict]) -> list[str]:
    """A table of one line for each row. Its ratios say how many times as fast wakefd is."""
    out = [line(["what", "wakefd", "beside", "its", "times as fast (rounds)", "target"])]
    out.append("|" + "---|" * 6)
    for before, row in zip([{}, *rows], rows, strict=False):
        same = row["what"] == before.get("what")
        ours = f"{short(row['wakefd'])} {row['unit']}"
        peer, times = ["", ""], ""
        target = "" if row["target"] is None else short(row["target"])
        if row["peer"]:
            peer = [row["peer"], short(row["peer_value"])]
            slow, fast = (short(1 / ratio) for ratio in reversed(row["spread"]))
            times = f"{short(1 / row['ratio'])} ({slow}-{fast})"
            target = "" if row["target"] is None else short(1 / row["target"])
        if row["ok"] is False:
            target += ", **missed**"
        out.append(line(["" if same else row["what"], ours, *peer, times, target]))
    return out


def _busy(rows: list[dict]) -> list[str]:
    """A table for each thing that happens next, with a line for each loop and place."""
    found: dict[str, dict[str, dict[str, dict[str, float]]]] = {}
    for row in rows:
        mode, then, loop, place = row["what"].rpartition(": ")[0].split(", ")
        where = "any cores" if place == "any cores" else "cores"
        ways = found.setdefault(f"{then}, {where}", {}).setdefault(f"{loop}, {place}", {})
        peer = "loop" if row["peer"] in {"call_soon_threadsafe", "run_sync_soon"} else row["peer"]
        share = row["what"].rpartition(": ")[2]
        ways.setdefault(mode, {})[share] = row["wakefd"]
        ways.setdefault(peer, {})[share] = row["peer_value"]
    out = []
    for title, places in found.items():
        modes = [mode for mode in BUSY if any(mode in ways for ways in places.values())]
        shares = list(next(iter(next(iter(places.values())).values())))
        then = title.partition(", ")[0]
        out += ["", f"The notifier wakes, {then}; {' / '.join(shares)}:", ""]
        out += [line(["", *(BUSY[mode] for mode in modes)]), "|" + "---|" * (len(modes) + 1)]
        for where, ways in places.items():
            figures = (ways.get(mode, {}) for mode in modes)
            cells = (" / ".join(f"{its[share]:,.0f}" for share in its) for its in figures)
            out.append(line([where, *cells]))
    return out[1:]


def _stream(rows: list[dict]) -> list[str]:
    """Lines for each case, with a column for each way to give an item away."""
    found: dict[str, dict[str, dict[str, float]]] = {}
    for row in rows:
        where, _, which = row["what"].partition(", ")[2].partition(": ")
        ways = found.setdefault(where, {}).setdefault(which, {"put": row["wakefd"]})
        ways[row["peer"]] = row["peer_value"]
    modes = list(next(iter(next(iter(found.values())).values())))
    out = [line(["", "us", *modes]), "|" + "---|" * (len(modes) + 2)]
    for where, figures in found.items():
        for number, (which, ways) in enumerate(figures.items()):
            cells = (f"{ways[mode]:,.0f}" for mode in modes)
            out.append(line(["" if number else where, which, *cells]))
    return out


FORMS = {"busy": _busy, "stream": _stream}

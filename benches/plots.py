"""The pictures of `docs/images`, from the rows of one run.

The ground is transparent, and the text grey, so that they can be read on a light page and on a dark
one. A bar is a median, its whisker the least and the greatest round.
"""

from functools import partial
from pathlib import Path
from textwrap import fill

from house import Row, median, middle

FOLDER = Path(__file__).parent.parent / "docs" / "images"
OURS, THEIRS, PLAIN = "#d1495b", "#30638e", "#9aa5b1"
MANY = (OURS, THEIRS, "#6c8fb0", "#a9c1d6", "#5f6b77", "#7d8995", PLAIN, "#c0c8d0")


GREY = "#7d8590"
COLOURED = ("text.color", "axes.labelcolor", "axes.edgecolor", "xtick.color", "ytick.color")
Figure = tuple[float, float, float]  # the median, the least and the greatest round


def draw(rows: list[Row], about: str) -> list[Path]:
    """Draw all that these rows have figures for. `about` is a line about the run."""
    import matplotlib as mpl

    mpl.use("svg")
    mpl.rcParams.update({"svg.fonttype": "none", "svg.hashsalt": "wakefd", "font.size": 10})
    mpl.rcParams.update(dict.fromkeys(COLOURED, GREY))
    FOLDER.mkdir(parents=True, exist_ok=True)
    bars, done = partial(_bars, about), []
    if latency := _groups(rows, "paced round trip, "):
        done.append(
            bars(
                "latency.svg",
                "Wake a sleeping loop from a thread, and hear back",
                "median round trip, µs (less is better)",
                latency,
                ("wakefd", "call_soon_threadsafe / run_sync_soon", "bare eventfd"),
            )
        )
    if burst := _groups(rows, "burst of 10 000 events, ", lambda ms: 10_000 / ms):
        done.append(
            bars(
                "throughput.svg",
                "Wake 10 000 tasks, each by its own event, in one burst",
                "thousand tasks per second (more is better)",
                burst,
                (
                    "wakefd",
                    "call_soon_threadsafe / run_sync_soon each",
                    "one such call for all, by hand",
                ),
            )
        )
    if batches := _queues(rows, "batches", " by hand"):
        done.append(
            bars(
                "queue-batches.svg",
                "Items from threads to one coroutine on asyncio, in batches",
                "million items per second (more is better)",
                batches,
                (
                    "wakefd, async_get_many",
                    "by hand: a list, and one call_soon_threadsafe per batch",
                    "the same, put in the producer's own loop",
                ),
                "{:.1f}",
            )
        )
    if singles := _queues(rows, "async for", ""):
        done.append(
            bars(
                "queue.svg",
                "Items from threads to one coroutine on asyncio, one by one",
                "million items per second (more is better)",
                singles,
                (
                    "wakefd, async for",
                    "by hand: a deque, one call_soon_threadsafe per batch, a loop",
                    "the same, put in the producer's own loop",
                    "the first as an asynchronous generator",
                    "asyncio.Queue and call_soon_threadsafe each",
                    "janus",
                    "culsans",
                    "aiologic.SimpleQueue",
                ),
                "{:.2f}",
            )
        )
    if nexts := _next(rows):
        done.append(
            bars(
                "next.svg",
                "A thread wakes an asyncio task; what the thread does next",
                "median µs until the task runs, a core for each (less is better)",
                nexts,
                ("wakefd, notify", "call_soon_threadsafe", "bare eventfd"),
                log=True,
            )
        )
    return done


def _figure(samples, scale=lambda figure: figure) -> Figure:
    """Return the median over all turns, and the least and the greatest median of a round."""
    rounds = sorted(scale(median(turns)) for turns in samples)
    return scale(middle(samples)), rounds[0], rounds[-1]


def _queues(rows, kind, peers):
    """By the number of threads: ours, then peers named with `peers`, in millions per second."""
    groups: dict[str, list[Figure]] = {}

    def scale(ns):
        return 1e3 / ns

    for row in rows:
        if row.what.endswith(f" to one coroutine, {kind}") and peers in row.peer:
            figures = groups.setdefault(row.what.split(" to ")[0], [_figure(row.ours, scale)])
            figures.append(_figure(row.theirs, scale))
    return groups


def _groups(rows, prefix, scale=lambda figure: figure):
    """Loop by loop: our figures, and those of the two peers."""
    groups: dict[str, list[Figure]] = {}
    for row in rows:
        if row.what.startswith(prefix):
            figures = groups.setdefault(row.what.removeprefix(prefix), [_figure(row.ours, scale)])
            figures.append(_figure(row.theirs, scale))
    return groups


def _next(rows):
    """By what the notifier does next, on asyncio: ours, then the peers."""
    groups: dict[str, list[Figure]] = {}
    for row in rows:
        mode, _, rest = row.what.partition(", ")
        then, _, where = rest.partition(", ")
        if (mode, where) == ("notify", "asyncio, two cores: p50") and row.peer != "control":
            name = then.replace(" beside", "\nbeside")
            groups.setdefault(name, [_figure(row.ours)]).append(_figure(row.theirs))
    return groups


def _bars(about, name, title, axis, groups, labels, form="{:.0f}", log=False) -> Path:
    from matplotlib import pyplot as plt

    tall = 1.4 + (0.32 * len(groups) + 0.2) * len(labels)
    figure, axes = plt.subplots(figsize=(7, tall), layout="constrained")
    step = 0.78 / len(labels)
    colours = (OURS, THEIRS, PLAIN) if len(labels) == 3 else MANY
    for n, (label, colour) in enumerate(zip(labels, colours, strict=True)):
        figures, least, most = zip(*(group[n] for group in groups.values()), strict=True)
        places = [at + (n - (len(labels) - 1) / 2) * step for at in range(len(groups))]
        spread = [
            [figure - low for figure, low in zip(figures, least, strict=True)],
            [high - figure for figure, high in zip(figures, most, strict=True)],
        ]
        bars = axes.barh(
            places,
            figures,
            height=0.92 * step,
            color=colour,
            label=label,
            xerr=spread,
            error_kw={"ecolor": GREY, "elinewidth": 1},
        )
        axes.bar_label(bars, labels=[form.format(figure) for figure in figures], padding=3)
    if log:
        axes.set_xscale("log")
    axes.set_yticks(range(len(groups)), list(groups))
    axes.invert_yaxis()
    axes.margins(x=0.1)
    figure.suptitle(title, x=0.01, ha="left", fontsize=10, fontweight="bold")
    axes.set_xlabel(axis)
    axes.spines[["top", "right"]].set_visible(False)
    figure.legend(
        loc="outside lower left",
        frameon=False,
        fontsize=9,
        title=fill(about, 115),
        title_fontsize=7,
        alignment="left",
    )
    path = FOLDER / name
    figure.savefig(path, metadata={"Date": None, "Creator": None}, transparent=True)
    plt.close(figure)
    text = path.read_text()
    path.write_text("\n".join(line.rstrip() for line in text.splitlines()) + "\n")
    return path

"""The pictures of `docs/images`, from the rows of one run."""

from pathlib import Path

from house import Row, middle

FOLDER = Path(__file__).parent.parent / "docs" / "images"
OURS, THEIRS, PLAIN = "#d1495b", "#30638e", "#9aa5b1"
MANY = (OURS, THEIRS, "#6c8fb0", "#a9c1d6", "#5f6b77", "#7d8995", PLAIN, "#c0c8d0")


def draw(rows: list[Row]) -> list[Path]:
    import matplotlib as mpl

    mpl.use("svg")
    mpl.rcParams.update({"svg.fonttype": "none", "svg.hashsalt": "wakefd", "font.size": 10})
    FOLDER.mkdir(parents=True, exist_ok=True)
    done = []
    if latency := _groups(rows, "paced round trip, "):
        done.append(
            _bars(
                "latency.svg",
                "Wake a sleeping loop from a thread, and hear back",
                "median round trip, µs (less is better)",
                latency,
                ("wakefd", "call_soon_threadsafe / run_sync_soon", "bare eventfd"),
            )
        )
    if burst := _groups(rows, "burst of 10 000 events, ", lambda ms: 10_000 / ms):
        done.append(
            _bars(
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
            _bars(
                "queue-batches.svg",
                "Items from threads to one coroutine on asyncio, in batches",
                "million items per second (more is better)",
                batches,
                (
                    "wakefd, async_get_many",
                    "by hand: a list, and one call_soon_threadsafe per batch",
                    "the same, put in the producer's own loop",
                ),
                "%.1f",
            )
        )
    if singles := _queues(rows, "async for", ""):
        done.append(
            _bars(
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
                "%.2f",
            )
        )
    return done


def _queues(rows, kind, peers):
    """By the number of threads: ours, then peers named with `peers`, in millions per second."""
    groups: dict[str, list[float]] = {}
    for row in rows:
        if row.what.endswith(f" to one coroutine, {kind}") and peers in row.peer:
            figures = groups.setdefault(row.what.split(" to ")[0], [1e3 / middle(row.ours)])
            figures.append(1e3 / middle(row.theirs))
    return groups


def _groups(rows, prefix, scale=lambda figure: figure):
    """Loop by loop: our median, and those of the two peers."""
    groups: dict[str, list[float]] = {}
    for row in rows:
        if row.what.startswith(prefix):
            figures = groups.setdefault(row.what.removeprefix(prefix), [scale(middle(row.ours))])
            figures.append(scale(middle(row.theirs)))
    return groups


def _bars(name, title, axis, groups, labels, form="%.0f") -> Path:
    from matplotlib import pyplot as plt

    tall = 1 + (0.32 * len(groups) + 0.2) * len(labels)
    figure, axes = plt.subplots(figsize=(7, tall), layout="constrained")
    figure.patch.set_facecolor("white")
    step = 0.78 / len(labels)
    colours = (OURS, THEIRS, PLAIN) if len(labels) == 3 else MANY
    for n, (label, colour) in enumerate(zip(labels, colours, strict=True)):
        figures = [group[n] for group in groups.values()]
        places = [at + (n - (len(labels) - 1) / 2) * step for at in range(len(groups))]
        bars = axes.barh(places, figures, height=0.92 * step, color=colour, label=label)
        axes.bar_label(bars, fmt=form, padding=3)
    axes.set_yticks(range(len(groups)), list(groups))
    axes.invert_yaxis()
    axes.margins(x=0.1)
    axes.set_title(title, loc="left", fontweight="bold")
    axes.set_xlabel(axis)
    axes.spines[["top", "right"]].set_visible(False)
    figure.legend(frameon=False, loc="outside lower left", fontsize=9)
    path = FOLDER / name
    figure.savefig(path, metadata={"Date": None, "Creator": None})
    plt.close(figure)
    text = path.read_text()
    path.write_text("\n".join(line.rstrip() for line in text.splitlines()) + "\n")
    return path

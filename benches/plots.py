"""The pictures of `docs/images`, from the rows of one run."""

from pathlib import Path

from house import Row, middle

FOLDER = Path(__file__).parent.parent / "docs" / "images"
OURS, THEIRS, PLAIN = "#d1495b", "#30638e", "#9aa5b1"
LIGHT, GREYS = "#e9a0aa", ("#6c8fb0", "#9aa5b1", "#c9d0d8")


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
    if queue := _queues(rows):
        done.append(
            _bars(
                "queue.svg",
                "Items from threads to one coroutine on asyncio",
                "million items per second (more is better)",
                queue,
                (
                    "wakefd, async_get_many",
                    "wakefd, async for",
                    "aiologic.SimpleQueue",
                    "janus",
                    "culsans",
                    "asyncio.Queue and call_soon_threadsafe",
                ),
                "%.2f",
            )
        )
    return done


def _queues(rows):
    """From one thread and from four: ours in two ways, then the peers, in millions per second."""
    groups = {}
    for row in rows:
        if not row.what.endswith("to one coroutine, batches"):
            continue
        figures = groups.setdefault(row.what.split(" to ")[0], {})
        figures["many"] = row.ours
        figures[row.peer] = row.theirs
    for row in rows:
        if row.what.endswith("to one coroutine, async for"):
            groups[row.what.split(" to ")[0]]["for"] = row.ours
    order = ("many", "for", "aiologic", "janus", "culsans", "call_soon_threadsafe")
    return {
        name: [1e3 / middle(figures[mode]) for mode in order] for name, figures in groups.items()
    }


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

    tall = 0.9 + 0.32 * len(labels) * len(groups)
    figure, axes = plt.subplots(figsize=(7, tall), layout="constrained")
    figure.patch.set_facecolor("white")
    step = 0.78 / len(labels)
    colours = (OURS, THEIRS, PLAIN) if len(labels) == 3 else (OURS, LIGHT, THEIRS, *GREYS)
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
    axes.legend(frameon=False, loc="best", fontsize=9)
    path = FOLDER / name
    figure.savefig(path, metadata={"Date": None, "Creator": None})
    plt.close(figure)
    text = path.read_text()
    path.write_text("\n".join(line.rstrip() for line in text.splitlines()) + "\n")
    return path

"""Tests of the queue's examples, which run as programs."""

import sqlite3
import subprocess
import sys
from pathlib import Path

import pytest

from helpers import STRICT

EXAMPLES = Path(__file__).parents[2] / "examples"
LIMIT = 30  # seconds for one example


def run(name, *arguments):
    return subprocess.run(
        [sys.executable, *STRICT, EXAMPLES / name, *map(str, arguments)],
        capture_output=True,
        text=True,
        timeout=LIMIT,
    )


def test_stream_rows_prints_every_row(tmp_path):
    path = tmp_path / "data.db"
    connection = sqlite3.connect(path)
    with connection:
        connection.execute("create table numbers (n, square)")
        rows = [(n, n * n) for n in range(5000)]
        connection.executemany("insert into numbers values (?, ?)", rows)
    connection.close()
    done = run("stream_rows.py", path, "select * from numbers order by n")
    assert (done.returncode, done.stderr) == (0, "5000 rows\n")
    assert done.stdout.splitlines() == [f"{n}\t{square}" for n, square in rows]
    done = run("stream_rows.py", path, "select * from none")
    assert done.returncode == 1 and "no such table" in done.stderr


def test_process_lines_prints_every_line():
    pytest.importorskip("trio")
    code = "for n in range(2000): print('line', n)"
    done = run("process_lines.py", "--", sys.executable, "-c", code)
    assert (done.returncode, done.stderr) == (0, "2000 lines\n")
    assert done.stdout.splitlines() == [f"{n + 1}: line {n}" for n in range(2000)]


def test_process_lines_stops_a_process_that_does_not_end():
    pytest.importorskip("trio")
    code = "import time; print('once', flush=True); time.sleep(99)"
    done = run("process_lines.py", "--seconds", 1, "--", sys.executable, "-c", code)
    assert (done.returncode, done.stdout) == (0, "1: once\n")
    assert done.stderr == "1 lines, and no more time\n"


def test_progress_shows_100_percent_at_the_end():
    done = run("progress.py", 300)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.endswith(f"[{40 * '#'}] 100 %\n")

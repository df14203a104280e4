"""Tests that an example, or a program of a document, ends whatever fails in any of its threads."""

import os
import re
import sqlite3
import subprocess
import sys
from contextlib import nullcontext
from importlib.util import find_spec
from pathlib import Path

import pytest

import faults
from helpers import screen
from test_docs import blocks
from test_loop_examples import EXAMPLES as LOOPS
from test_portal_examples import server  # noqa: F401 - a fixture
from test_queue_examples import EXAMPLES

pytestmark = [
    pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork"),
    pytest.mark.timeout(280),
]


def complaints(path, *arguments, options=()):
    text = path.read_text("utf-8")
    for name in re.findall(r"^ *(?:import|from) (\w+)", text, re.MULTILINE):
        if find_spec(name) is None and not (path.parent / f"{name}.py").exists():
            pytest.skip(f"{name} is not installed")
    with screen() if "tkinter" in text else nullcontext("") as display:
        done = subprocess.run(
            [sys.executable, faults.__file__, *options, path, *map(str, arguments)],
            env={**os.environ, "DISPLAY": display},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=270,
        )
    assert (done.returncode, done.stderr) == (0, "")
    return done.stdout.splitlines()


@pytest.mark.parametrize(
    ("path", "line", "code", "output"),
    [block for block in blocks() if re.search(r"thread|Thread|run_in_executor", block.values[2])],
)
def test_a_block_of_a_document_ends_after_any_failure(path, line, code, output, tmp_path):
    program = tmp_path / f"{path.stem}.py"
    program.write_text("\n" * (line - 1) + code, "utf-8")
    assert complaints(program) == []


@pytest.mark.parametrize("path", LOOPS, ids=lambda path: path.stem)
def test_an_example_of_a_loop_ends_after_any_failure(path):
    assert complaints(path) == []


def test_stream_rows_ends_after_any_failure(tmp_path):
    connection = sqlite3.connect(tmp_path / "data.db")
    with connection:
        connection.execute("create table numbers (n)")
        connection.executemany("insert into numbers values (?)", [(n,) for n in range(5000)])
    connection.close()
    query = "select * from numbers"
    assert complaints(EXAMPLES / "stream_rows.py", tmp_path / "data.db", query) == []


def test_stream_rows_reports_a_database_that_does_not_exist():
    done = subprocess.run(
        [sys.executable, EXAMPLES / "stream_rows.py", "/nonexistent/x.db", "select 1"],
        capture_output=True,
        text=True,
        timeout=30,
    )
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr == "/nonexistent/x.db: unable to open database file\n"


@pytest.mark.parametrize("end", ["", "; import time; time.sleep(1e6)"])
def test_process_lines_ends_after_any_failure(end):
    pytest.importorskip("trio")
    code = f"for n in range(200): print('line', n, flush=True){end and chr(10)}{end.lstrip('; ')}"
    seconds = 1 if end else 1000
    program = [sys.executable, "-c", code]
    assert complaints(EXAMPLES / "process_lines.py", "--seconds", seconds, "--", *program) == []


def test_progress_ends_after_any_failure():
    assert complaints(EXAMPLES / "progress.py", 300) == []


@pytest.mark.parametrize("loop", ["asyncio", "trio"])
def test_follow_files_ends_after_any_failure(loop, tmp_path):
    pytest.importorskip(loop)
    paths = [tmp_path / "one.log", tmp_path / "two.log"]
    for path in paths:
        path.write_text("1\n2\n3\n")
    arguments = ["--loop", loop, "--from-start", *paths]
    path = EXAMPLES / "follow_files.py"
    assert complaints(path, *arguments, options=["--interrupt"]) == []


def test_fetch_urls_ends_after_any_failure(server):  # noqa: F811 - the fixture
    assert complaints(EXAMPLES / "fetch_urls.py", f"{server}/10", f"{server}/100000") == []


def test_tk_and_trio_ends_after_any_failure():
    pytest.importorskip("trio")
    pytest.importorskip("tkinter")
    assert complaints(EXAMPLES / "tk_and_trio.py", "--demo") == []


@pytest.mark.parametrize("loop", ["asyncio", "trio"])
def test_nng_messages_ends_after_any_failure(loop):
    for module in ("pynng", loop):
        pytest.importorskip(module)
    path = EXAMPLES / "native" / "nng_messages.py"
    assert complaints(path, "--loop", loop, "--count", 20) == []


def test_every_example_with_threads_is_tested_here():
    here = Path(__file__).read_text("utf-8")
    for path in EXAMPLES.rglob("*.py"):
        if "threading" in path.read_text("utf-8") and path not in LOOPS:
            assert f'"{path.name}"' in here, path

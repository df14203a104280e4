"""Tests of the portal's examples, which run as programs."""

import http.server
import os

import pytest

from helpers import Thread, screen
from test_queue_examples import EXAMPLES, LIMIT, run

SIZES = {f"/{size}": size for size in (0, 10, 100_000, 1_000_000)}


class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        size = SIZES.get(self.path.split("?")[0])
        if size is None:
            self.send_error(404)
            return
        self.send_response(200)
        self.send_header("Content-Length", str(size))
        self.end_headers()
        self.wfile.write(b"x" * size)

    def log_message(self, *args):
        pass


@pytest.fixture
def server():
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as made:
        thread = Thread(made.serve_forever, 0.01)
        yield f"http://127.0.0.1:{made.server_port}"
        made.shutdown()
        thread.finish()


def test_fetch_urls_prints_status_and_size_of_each_answer(server):
    urls = [f"{server}{path}?{n}" for n in range(3) for path in SIZES]
    done = run("fetch_urls.py", *urls)
    assert done.returncode == 0, done.stderr
    lines = done.stdout.splitlines()
    sizes = [*SIZES.values()] * 3
    assert lines == [f"200 {size:8} {url}" for size, url in zip(sizes, urls, strict=True)]
    assert f"{sum(sizes) / 1e6:.1f} MB" in done.stderr


def test_fetch_urls_prints_a_request_that_fails(server):
    done = run("fetch_urls.py", f"{server}/none", f"{server}/10")
    assert done.returncode == 1, done.stderr
    lines = done.stdout.splitlines()
    assert lines == [f"--- HTTP Error 404: Not Found {server}/none", f"200       10 {server}/10"]


def test_tk_and_trio_finishes_one_task_and_cancels_the_other(monkeypatch):
    pytest.importorskip("trio")
    pytest.importorskip("tkinter")
    with screen() as display:
        monkeypatch.setitem(os.environ, "DISPLAY", display)
        done = run("tk_and_trio.py", "--demo")
    assert (done.returncode, done.stderr) == (0, ""), LIMIT
    lines = done.stdout.splitlines()
    assert [line for line in lines if "task 0" in line] == [
        *(f"task 0: {left} left" for left in (3, 2, 1)),
        "task 0: finished",
    ]
    assert [line for line in lines if "task 1" in line][-1] == "task 1: cancelled"


def test_every_example_with_a_portal_is_tested_here():
    for path in EXAMPLES.glob("*.py"):
        if "wakefd.Portal" in path.read_text("utf-8"):
            assert path.name in ("fetch_urls.py", "tk_and_trio.py")

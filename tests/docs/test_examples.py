"""Tests of `examples/follow_files.py` on files that other processes write, rotate and truncate."""

import os
import signal
import subprocess
import sys
import threading
from collections import defaultdict
from pathlib import Path

import pytest

EXAMPLE = Path(__file__).parents[2] / "examples" / "follow_files.py"
LIMIT = 20  # seconds that each wait may take

# The writer obeys "append N", "rotate" and "truncate", and prints "done" after each command. It
# writes in pieces that break up lines and characters.
WRITER = r"""
import itertools, os, random, sys
path, numbers, rotated = sys.argv[1], itertools.count(), itertools.count()
random.seed(path)
file = open(path, "wb", buffering=0)
for command in sys.stdin:
    word, _, count = command.partition(" ")
    if word == "append":
        text = b"".join(b"%d \xe2\x98\x83\n" % next(numbers) for _ in range(int(count)))
        while text:
            size = random.choice([1, 2, 3, 50, 1000])
            file.write(text[:size])
            text = text[size:]
    elif word == "rotate\n":
        os.rename(path, f"{path}.{next(rotated)}")
        file = open(path, "wb", buffering=0)
    elif word == "truncate\n":
        file.truncate(0)
        file.seek(0)
    print("done", flush=True)
"""


class Child:
    """A child process, and the lines that it has printed so far."""

    def __init__(self, *arguments):
        self.process = subprocess.Popen(
            [sys.executable, *map(str, arguments)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            encoding="utf-8",
            env={**os.environ, "PYTHONUTF8": "1"},
            bufsize=1,
        )
        self.lines = []
        self.errors = []
        self.news = threading.Condition()
        self.readers = [
            threading.Thread(target=self._read, args=pipe, daemon=True)
            for pipe in ((self.process.stdout, self.lines), (self.process.stderr, self.errors))
        ]
        for reader in self.readers:
            reader.start()

    def _read(self, pipe, lines):
        for line in pipe:
            with self.news:
                lines.append(line.rstrip("\n"))
                self.news.notify_all()

    def wait_for(self, true):
        with self.news:
            assert self.news.wait_for(true, LIMIT), (self.lines[-5:], self.errors)

    def end(self, number):
        self.process.send_signal(number)
        code = self.process.wait(LIMIT)
        for reader in self.readers:
            reader.join(LIMIT)
        return code

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.process.kill()
        self.end(signal.SIGKILL)
        for pipe in (self.process.stdin, self.process.stdout, self.process.stderr):
            pipe.close()


class Writer(Child):
    def __init__(self, path):
        super().__init__("-c", WRITER, path)
        self.path = path
        self.said = self.written = 0

    def tell(self, *commands):
        for command in commands:
            self.process.stdin.write(f"{command}\n")
            if command.startswith("append"):
                self.written += int(command.removeprefix("append "))
        self.said += len(commands)

    def wait(self):
        self.wait_for(lambda: len(self.lines) == self.said)


class Follower(Child):
    def __init__(self, loop, *arguments):
        super().__init__(EXAMPLE, "--loop", loop, *arguments)

    def by_file(self):
        found = defaultdict(list)
        for line in self.lines:
            path, _, text = line.rpartition(": ")
            found[path].append(text)
        return found

    def wait_for_all(self, writers):
        for writer in writers:
            writer.wait()
        self.wait_for(lambda: len(self.lines) >= sum(writer.written for writer in writers))
        found = self.by_file()
        for writer in writers:
            assert found[str(writer.path)] == [f"{n} ☃" for n in range(writer.written)]


@pytest.fixture(params=["asyncio", "trio"])
def loop(request):
    pytest.importorskip(request.param)
    return request.param


def test_the_follower_loses_no_line(loop, tmp_path):
    paths = [tmp_path / name for name in ("one.log", "two.log", "three.log")]
    with Follower(loop, *paths) as follower:  # before any of the files exists
        follower.wait_for(lambda: len(follower.errors) == len(paths))
        writers = [Writer(path) for path in paths]
        try:
            # The follower must have caught up at the end of each group of commands, because it does
            # not see a file that was rotated twice, or truncated and refilled, between two looks.
            for commands in (
                ["append 100"],
                ["append 300", "rotate", "append 300"],
                ["rotate", "append 200", "append 200"],
                ["truncate", "append 3"],
                ["append 300", "rotate", "append 300"],
                ["truncate"],
                ["append 10", "rotate", "append 300"],
            ):
                for writer in writers:
                    writer.tell(*commands)
                follower.wait_for_all(writers)
        finally:
            for writer in writers:
                writer.__exit__()
        assert len(follower.errors) == len(paths), follower.errors
        assert follower.end(signal.SIGINT) == 130
        assert len(follower.errors) == len(paths), follower.errors


def test_a_file_that_exists_is_followed_from_its_end(loop, tmp_path):
    path = tmp_path / "a.log"
    path.write_bytes(b"old\nhalf a ")
    with Follower(loop, path) as follower, path.open("ab", buffering=0) as file:
        # The follower does not say when it has begun, so the test writes until a line comes back.
        for n in range(1000):
            file.write(f"line {n}\n".encode())
            with follower.news:
                if follower.news.wait_for(lambda: follower.lines, LIMIT / 1000):
                    break
        follower.wait_for(lambda: follower.lines and follower.lines[-1] == f"{path}: line {n}")
        assert not any("old" in line for line in follower.lines)


def test_with_from_start_a_file_is_followed_from_its_first_line(loop, tmp_path):
    path = tmp_path / "a.log"
    path.write_bytes(b"old\n\xff\xc3")
    with Follower(loop, "--from-start", path) as follower:
        follower.wait_for(lambda: len(follower.lines) == 1)
        with path.open("ab", buffering=0) as file:
            file.write(b"\xa4\r\n\nend\n")
        follower.wait_for(lambda: len(follower.lines) == 4)
        assert [line.removeprefix(f"{path}: ") for line in follower.lines] == [
            "old",
            "\N{REPLACEMENT CHARACTER}ä",
            "",
            "end",
        ]
        assert follower.end(signal.SIGINT) == 130
        assert follower.errors == []

"""`python -m wakefd` runs in a process of its own, which its watchdog may end."""

import json
import os
import platform
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

import wakefd
from helpers import PATIENCE, python_path
from test_handover import patient_hand_overs
from wakefd import __main__, _selftest, _wakefd

LIMIT = 45  # seconds in which each process must end


def run(*arguments, **environment):
    return subprocess.run(
        [sys.executable, *arguments],
        capture_output=True,
        text=True,
        encoding="utf-8",
        timeout=LIMIT,
        env={**os.environ, "PYTHONUTF8": "1", **environment},
    )


def selftest(*arguments, **environment):
    return run("-m", "wakefd", *arguments, **environment)


class LosesOne(wakefd.IoEvent):
    calls = 0

    def notify(self):
        LosesOne.calls += 1
        return LosesOne.calls != 50 and super().notify()  # in the first phase


class NeverWakes(wakefd.IoEvent):
    def notify(self):
        return False


class Raises(wakefd.IoEvent):
    calls = 0

    def notify(self):
        Raises.calls += 1
        if Raises.calls == 1000:
            raise OSError(9, "no good")
        return super().notify()


class NeverCloses(wakefd.IoEvent):
    def close(self):
        pass


class HangsInClose(wakefd.IoEvent):
    def close(self):
        time.sleep(1000)


def broken_main(kind):
    """Run the self-test with a short deadline, and with events of this class."""
    _selftest.DEADLINE = 0.3
    sys.exit(__main__.main(sys.argv[1:], kind))


def program_of(kind):
    return ["-c", f"import test_main; test_main.broken_main(test_main.{kind.__name__})"]


def broken(kind, *arguments):
    program = [*program_of(kind), "--seconds", "0.3"]
    return run(*program, *arguments, PYTHONPATH=python_path())


def loops():
    names = ["asyncio", "uvloop", "trio", "thread"]
    for name in ("uvloop", "trio"):
        try:
            __import__(name)
        except ImportError:
            names.remove(name)
    return names


def test_json_reports_the_versions_and_a_result_for_each_loop():
    done = selftest("--seconds", "0.5", "--json")
    assert (done.returncode, done.stderr) == (0, "")
    report = json.loads(done.stdout)
    assert report["wakefd"] == wakefd.__version__
    assert report["back-end"] == _wakefd.backend()
    assert report["extension"] in _wakefd.__file__ or "this Python only" in report["extension"]
    assert report["python"].endswith(platform.python_version())
    assert report["libraries"]["asyncio"] == platform.python_version()
    assert (report["lost"], report["ok"]) == (0, True)
    assert (report["queue"]["lost"], report["queue"]["errors"]) == (0, [])
    assert report["queue"]["items_per_s"] > 0
    assert [result["loop"] for result in report["results"]] == loops()
    for result in report["results"]:
        assert (result["lost"], result["errors"], result["ok"]) == (0, [], True)
        assert result["round_trips_per_s"] > 0
        assert 0 < result["p50_us"] <= result["p99_us"]
        assert 0 < result["computing_p50_us"] <= result["computing_p99_us"]
        assert 0 < result["wakeups_per_s"] <= result["notify_per_s"]
        assert 0 <= result["coalesced"] < 1
        assert result["notifications"] >= 801


def test_the_table_is_aligned_plain_ascii_and_ends_with_the_verdict():
    done = selftest("--seconds", "0.1", "--loop", "asyncio", "--loop", "thread")
    assert (done.returncode, done.stderr) == (0, "")
    lines = done.stdout.splitlines()
    assert lines[0].startswith(f"wakefd {wakefd.__version__} ({_wakefd.backend()}, ")
    header, first, second = lines[5:8]
    assert first.startswith("asyncio ")
    assert second.startswith("thread ")
    assert {len(header), len(first), len(second)} == {len(header)}, "the columns are aligned"
    assert {line.find(" / ") for line in (header, first, second)} == {header.find(" / ")}
    assert len(header) <= 100
    assert re.fullmatch(r"queue {7}[\d,]+ items/s .* lost: 0", lines[9])
    assert lines[-1] == "lost: 0. Every notification arrived."
    assert "\033" not in done.stdout
    assert "\r" not in done.stdout
    assert done.stdout.isascii()


def test_help_explains_every_column():
    done = selftest("--help", COLUMNS="80")
    assert done.returncode == 0
    table = selftest("--seconds", "0.02", "--loop", "thread").stdout.splitlines()
    for column in re.split(r"\s{2,}", table[5].strip()):
        word = "p50, p99" if column in {"p50 us", "p99 us"} else column
        assert re.search(rf"^  {word}\b", done.stdout, re.MULTILINE), column
    assert max(map(len, done.stdout.splitlines())) <= 100


@pytest.mark.parametrize("on", [True, False])
def test_a_computing_thread_is_slow_to_wake_a_loop_unless_it_hands_the_gil_over(on, monkeypatch):
    monkeypatch.setattr(_selftest, "COMPUTES", 50_000_000)
    phase = _selftest.Phase("", [_selftest.ComputingSender(wakefd.IoEvent(), 1)])
    with patient_hand_overs():
        wakefd.hand_over(on)
        _wakefd.hand_over_limits(PATIENCE, 0.0005)  # a thread hands over if it has computed
        phase.run(_selftest._asyncio, 0.3, lambda: None)
    p50, p99 = phase.p50_and_p99()
    assert (phase.lost, phase.errors) == (0, [])
    assert 0 < p50 <= p99
    assert (p50 < 50_000) == on


@pytest.mark.parametrize("flags", [[], ["--json"]])
def test_a_lost_notification_exits_with_status_1(flags):
    done = broken(LosesOne, "--loop", "asyncio", *flags)
    assert done.returncode == 1, done
    if flags:
        report = json.loads(done.stdout)
        assert (report["ok"], report["lost"]) == (False, 1)
        assert report["results"][0]["lost"] == 1
    else:
        assert "FAILED. lost: 1 (not seen within 0.3 s)." in done.stdout
        assert done.stdout.splitlines()[6].endswith(" 1")


@pytest.mark.parametrize("loop", loops())
def test_a_loop_that_never_wakes_exits_with_status_1(loop):
    done = broken(NeverWakes, "--loop", loop)
    assert done.returncode == 1, done
    assert "the first notification was not answered in 0.3 s" in done.stdout


def test_an_exception_in_a_sender_is_shown_and_exits_with_status_1():
    done = broken(Raises, "--loop", "asyncio")
    assert done.returncode == 1, done
    assert "a sender: OSError: [Errno 9] no good" in done.stdout


def test_a_close_that_releases_no_waiter_exits_with_status_1():
    done = broken(NeverCloses, "--loop", "asyncio")
    assert done.returncode == 1, done
    assert "the loop did not end in 0.3 s after close()" in done.stdout


def test_the_watchdog_ends_a_self_test_that_hangs():
    done = broken(HangsInClose, "--loop", "thread")
    assert done.returncode == 1, done
    assert "Timeout" in done.stderr
    assert "in close" in done.stderr


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--seconds", "0"], "--seconds must be"),
        (["--seconds", "nan"], "--seconds must be"),
        (["--loop", "tornado"], "invalid choice"),
    ],
)
def test_wrong_arguments_exit_with_status_2(arguments, message):
    done = selftest(*arguments)
    assert done.returncode == 2
    assert message in done.stderr


def test_a_loop_that_cannot_be_imported_is_left_out_or_called_broken(tmp_path):
    (tmp_path / "uvloop.py").write_text("raise ImportError\n")
    (tmp_path / "trio.py").write_text("1 / 0\n")
    path = os.pathsep.join(map(str, [tmp_path, Path(wakefd.__file__).parent.parent]))
    done = selftest("--seconds", "0.05", PYTHONPATH=path)
    assert done.returncode == 0, done
    assert "uvloop" not in done.stdout
    assert "trio broken (ZeroDivisionError: division by zero)" in done.stdout
    done = selftest("--loop", "trio", PYTHONPATH=path)
    assert done.returncode == 2
    assert "trio cannot be imported here" in done.stderr


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no SIGINT for a child")
def test_ctrl_c_ends_the_self_test_without_a_traceback():
    child = subprocess.Popen(
        [sys.executable, "-m", "wakefd", "--seconds", "60"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        while not child.stdout.readline().startswith("loop "):
            assert child.poll() is None
        time.sleep(0.2)
        child.send_signal(signal.SIGINT)
        _, errors = child.communicate(timeout=LIMIT)
    finally:
        child.kill()
        child.communicate(timeout=LIMIT)
    assert (child.returncode, errors) == (130, "")


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no pty")
@pytest.mark.parametrize("no_color", ["", "1"])
def test_a_terminal_shows_the_progress_and_a_failure_in_red(no_color):
    import pty

    parent, child = pty.openpty()
    with subprocess.Popen(
        [sys.executable, *program_of(NeverWakes), "--loop", "thread"],
        stdout=child,
        env={**os.environ, "PYTHONPATH": python_path(), "TERM": "xterm", "NO_COLOR": no_color},
    ) as process:
        os.close(child)
        seen = b""
        try:
            while data := os.read(parent, 4096):
                seen += data
        except OSError:  # Linux raises EIO at the end of the output
            pass
        finally:
            os.close(parent)
        assert process.wait(LIMIT) == 1
    assert (b"\033[1;31m" in seen) == (not no_color)
    assert b"\r" in seen

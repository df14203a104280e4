"""wakefd passes the tests of janus and culsans, which `make stress` downloads with pip."""

import re
import subprocess
import sys
import tarfile

import pytest

from helpers import CHILD_LIMIT, FULL

PEERS = {
    "janus": (
        "janus==2.0.0",
        "0970f38e0e725400496c834a368a67ee551dc3b5ad0a257e132f5b46f2e77770",
        ["tests/test_async.py", "tests/test_mixed.py", "tests/test_sync.py"],
    ),
    "culsans": (
        "culsans==0.11.0",
        "0b43d0d05dce6106293d114c86e3fb4bfc63088cfe8ff08ed3fe36891447fe33",
        [f"tests/culsans/test_{name}.py" for name in ("asyncio", "base", "mixed", "queue")],
    ),
}

# Private names by which the tests look into a queue, and wakefd's names for the same things.
INSIDE = [
    (r"q(\._parent)?\._maxsize", "q.maxsize"),
    (r"q\._(?:a?sync)_not_empty_waiting", "q.getting"),
    (r"q\._(?:a?sync)_not_full_waiting", "q.putting"),
    (r"_q\._sync_mutex\.locked\(\)", "False"),
    (r"queue\._qsize\(\)", "queue.qsize()"),
    (r"(?s)try:\n    from aiologic.*?_cvar\.get", "async_checkpoint_enabled = bool"),
    # Some tests count turns of the loop: a wake-up takes one turn more than a future does.
    (r"asyncio\.sleep\(0\)", "asyncio.sleep(0.01)"),
]

NO_LOOP = "a queue is bound to no loop"
NO_HOOKS = "a queue has no _put and _get to override"
INTEGERS = "a maxsize is an integer"
LEFT_OUT = {
    "tests/test_async.py::TestQueuePut::test_float_maxsize": INTEGERS,
    "tests/test_mixed.py::TestMixedMode::test_get_loop_ok": NO_LOOP,
    "tests/test_mixed.py::TestMixedMode::test_get_loop_different_loop": NO_LOOP,
    "tests/test_sync.py::TestFailingQueue::test_failing_queue": NO_HOOKS,
    "tests/test_sync.py::TestFailingQueue::test_closed_loop_non_failing": (
        "counts how often janus asks whether the loop is closed"
    ),
    "tests/culsans/test_asyncio.py::QueuePutTests::test_float_maxsize": INTEGERS,
    "tests/culsans/test_queue.py::PyFailingQueueTest::test_failing_queue": NO_HOOKS,
    # Janus's tests/test_benchmarks.py is left out as a whole: measurements live in benches/.
}

CONFTEST = """
import asyncio, inspect, pytest

def pytest_configure(config):
    config.addinivalue_line("markers", "asyncio: runs in a loop of its own")

@pytest.hookimpl(tryfirst=True)
def pytest_pyfunc_call(pyfuncitem):
    if inspect.iscoroutinefunction(pyfuncitem.obj):
        names = pyfuncitem._fixtureinfo.argnames
        asyncio.run(pyfuncitem.obj(**{name: pyfuncitem.funcargs[name] for name in names}))
        return True
"""


@pytest.mark.stress
@pytest.mark.skipif(not FULL, reason="pip downloads the peers: run `make stress`")
@pytest.mark.parametrize("peer", PEERS)
def test_the_queues_pass_the_tests_of_a_peer(peer, tmp_path):
    requirement, digest, files = PEERS[peer]
    (tmp_path / "peer.txt").write_text(f"{requirement} --hash=sha256:{digest}\n")
    pip = "-m pip --disable-pip-version-check --no-input download --no-binary :all: --no-deps"
    run([sys.executable, *pip.split(), "--require-hashes", "-r", "peer.txt"], tmp_path)
    (sdist,) = tmp_path.glob("*.tar.gz")
    with tarfile.open(sdist) as archive:
        archive.extractall(tmp_path, filter="data")
    root = tmp_path / sdist.name.removesuffix(".tar.gz")
    for name in files:
        code = (root / name).read_text("utf-8")
        code, changed = re.subn(f"(?m)^import {peer}$", f"import wakefd.compat as {peer}", code)
        assert changed == 1
        for pattern, here in INSIDE:
            code = re.sub(pattern, here, code)
        (root / name).write_text(code, "utf-8")
    (root / "conftest.py").write_text(CONFTEST)
    (root / "pytest.ini").write_text("[pytest]\n")
    left_out = [test for test in LEFT_OUT if test.partition("::")[0] in files]
    deselect = [word for test in left_out for word in ("--deselect", test)]
    output = run(
        [
            sys.executable,
            "-m",
            "pytest",
            "-q",
            "-rf",
            "--tb=native",
            "--timeout=60",
            *files,
            *deselect,
        ],
        root,
    )
    summary = output.splitlines()[-1]
    print(f"{requirement}: {summary}")
    assert f"{len(left_out)} deselected" in summary


def run(command, cwd):
    done = subprocess.run(
        command,
        cwd=cwd,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=CHILD_LIMIT,
    )
    assert done.returncode == 0, f"{command}\n{done.stdout}\n{done.stderr}"
    return done.stdout

"""Tests of the examples with native code, compiled and run as a user would, and of the header."""

import asyncio
import ctypes
import errno
import fcntl
import functools
import gc
import hashlib
import os
import re
import shutil
import subprocess
import sys
import sysconfig
import time
import zipfile
from importlib.util import find_spec
from pathlib import Path

import pytest

import wakefd
from helpers import PATIENCE, STRICT, errno_of, in_child, readable, run_child, stress
from wakefd import ByteQueue, ClosedResourceError, IoEvent, Queue

ROOT = Path(__file__).parents[2]
NATIVE = ROOT / "examples" / "native"
RUST = ROOT / "examples" / "rust-extension"
LIMIT = 30  # seconds for an example
PYTHON_H = sysconfig.get_path("include")

linux = pytest.mark.skipif(sys.platform != "linux", reason="timer_create's threads are glibc's")


def run(path, *arguments, **environment):
    done = subprocess.run(
        [sys.executable, *STRICT, path, *map(str, arguments)],
        env={**os.environ, **environment},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=LIMIT,
    )
    assert (done.returncode, done.stderr) == (0, ""), done.stdout + done.stderr
    return done.stdout


# --------------------------------------------------------------------------------------------------
# Foreign libraries


@linux
def test_the_example_of_posix_timers():
    lines = run(NATIVE / "posix_timers.py").splitlines()
    assert [line.split(":")[0] for line in lines] == [str(n + 1) for n in range(10)]
    assert float(lines[-1].split()[1]) >= 0.5


@linux
def test_the_resolver_example_resolves_names():
    if os.confstr("CS_GNU_LIBC_VERSION") is None:
        pytest.skip("getaddrinfo_a is glibc's")
    lines = run(NATIVE / "resolve.py", "localhost", "127.0.0.1", "::1").splitlines()
    assert re.fullmatch(r"localhost: .*(127\.0\.0\.1|::1).*", lines[0])
    assert lines[1:] == ["127.0.0.1: 127.0.0.1", "::1: ::1"]


@linux
def test_the_resolver_example_reports_a_name_that_does_not_exist():
    done = subprocess.run(
        [sys.executable, *STRICT, NATIVE / "resolve.py", "127.0.0.1.2", "127.0.0.1"],
        capture_output=True,
        text=True,
        timeout=LIMIT,
    )
    assert (done.returncode, done.stderr) == (1, "")
    assert done.stdout.splitlines()[1] == "127.0.0.1: 127.0.0.1"


@linux
@in_child(strict=True)
def test_a_cancelled_resolve_leaves_the_others_working():
    sys.path.insert(0, str(NATIVE))
    from resolve import resolve

    async def main():
        for n in range(50):
            task = asyncio.create_task(resolve("127.0.0.1"))
            for _ in range(n % 5):
                await asyncio.sleep(0)
            task.cancel()
            await asyncio.wait([task])
            assert task.cancelled() or task.result() == ["127.0.0.1"]

    asyncio.run(main())


@pytest.mark.parametrize("loop", ["asyncio", "trio"])
def test_the_example_of_nng_messages(loop):
    for module in ("pynng", loop):
        pytest.importorskip(module)
    assert run(NATIVE / "nng_messages.py", "--loop", loop).startswith("3000 messages, ")


# --------------------------------------------------------------------------------------------------
# C and C++

PEDANTIC = ["-Wall", "-Wextra", "-Werror", "-pedantic", "-I", wakefd.get_include()]
LIBRARY = ["-shared", "-fPIC", "-lpthread"]
WITH_PYTHON = ["-isystem", PYTHON_H]  # Python's headers do not pass PEDANTIC

needs_python_h = pytest.mark.skipif(
    not (Path(PYTHON_H) / "Python.h").exists(), reason="Python's headers are not installed"
)


def compiler(language):
    for name in {"c": ["cc", "gcc", "clang"], "c++": ["c++", "g++", "clang++"]}[language]:
        if shutil.which(name):
            return name
    pytest.skip(f"no compiler for {language}")


def compiled(source, target, standard, *flags):
    language = "c++" if standard.startswith("c++") else "c"
    command = [compiler(language), f"-std={standard}", *PEDANTIC, "-x", language, str(source)]
    done = subprocess.run(
        [*command, "-x", "none", "-o", str(target), *flags],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=4 * PATIENCE,
    )
    assert done.returncode == 0, done.stderr
    return target


STANDARDS = ["c99", "c11", "c++11", "c++17"]

ALONE = """
#include <wakefd.h>
#include <wakefd.h>
int main(void) { return WAKEFD_API_VERSION < 1 || sizeof(WAKEFD_CAPSULE) < sizeof(wakefd_api *); }
"""

WITH = """
#include <Python.h>
#include <wakefd.h>
const wakefd_api *table(void);
void *argument(PyObject *);
const wakefd_api *table(void) { return wakefd_import(); }
void *argument(PyObject *handle) { return wakefd_argument(handle); }
"""


@pytest.mark.parametrize("standard", STANDARDS)
def test_the_header_compiles_alone(standard, tmp_path):
    source = tmp_path / "alone.c"
    source.write_text(ALONE)
    subprocess.run([compiled(source, tmp_path / "alone", standard)], check=True, timeout=LIMIT)


@needs_python_h
@pytest.mark.parametrize("standard", STANDARDS)
def test_the_header_compiles_with_pythons_headers(standard, tmp_path):
    source = tmp_path / "with.c"
    source.write_text(WITH)
    compiled(source, tmp_path / "with.o", standard, "-c", *WITH_PYTHON)


@pytest.mark.parametrize("standard", ["c99", "c11"])
def test_the_example_of_a_c_library(standard, tmp_path):
    library = compiled(NATIVE / "sensor.c", tmp_path / "libsensor.so", standard, *LIBRARY)
    assert run(NATIVE / "sensor.py", library).startswith("100 readings, the last one is ")


@needs_python_h
def test_the_example_of_an_extension_module_in_c(tmp_path):
    compiled(NATIVE / "delay.c", tmp_path / "delay.so", "c99", *LIBRARY, *WITH_PYTHON)
    said = run(NATIVE / "use_delay.py", PYTHONPATH=str(tmp_path))
    assert 0.05 <= float(re.fullmatch(r"notified after (.*) s\n", said)[1]) < LIMIT
    run_child("test_native_examples", "delay_refuses_bad_handles", tmp_path, strict=True)
    assert "version 0 of its C API" in with_an_old_wakefd(import_delay, tmp_path)


def delay_refuses_bad_handles(path):
    sys.path.insert(0, str(path))
    import delay

    handle = IoEvent().native()
    handle.close()
    with pytest.raises(ClosedResourceError):
        delay.start(handle, 0.0)
    with pytest.raises(AttributeError):
        delay.start(7, 0.0)


def import_delay():
    import delay  # noqa: F401 - the import fails


def test_the_example_of_threads_in_cpp(tmp_path):
    library = compiled(NATIVE / "producer.cpp", tmp_path / "libproducer.so", "c++11", *LIBRARY)
    assert run(NATIVE / "producer.py", library).startswith("4000 lines, the last one: thread ")


STORM = """
#define _XOPEN_SOURCE 700
#include <errno.h>
#include <signal.h>
#include <sys/time.h>
#include <wakefd.h>

static const wakefd_api *api;
static void *event;
static volatile sig_atomic_t handled, raised, faults;

static void handler(int number)
{
    int before = errno, answer;
    errno = 77 + number;
    answer = api->notify(event);
    faults += answer < 0 || answer > 1 || api->is_set(event) != 1;
    faults += api->retain(event) != 0 || api->release(event) != 0 || errno != 77 + number;
    raised += answer == 1;
    handled += 1;
    errno = before;
}

int storm(const wakefd_api *api_, void *argument, int rounds)
{
    struct sigaction action = {0}, old;
    struct itimerval often = {{0, 20}, {0, 20}}, never = {{0, 0}, {0, 0}};
    int bad = 0;
    api = api_;
    event = argument;
    action.sa_handler = handler;
    sigaction(SIGALRM, &action, &old);
    setitimer(ITIMER_REAL, &often, NULL);
    while (handled < rounds || raised < rounds / 100) {
        /* The handler interrupts each of these calls, at any instruction. */
        bad += api->notify(event) < 0;
        bad += api->clear(event) < 0;
        bad += api->retain(event) != 0;
        bad += api->release(event) != 0;
    }
    setitimer(ITIMER_REAL, &never, NULL);
    sigaction(SIGALRM, &old, NULL);
    return bad + (int)faults;
}
"""


@pytest.mark.parametrize("exposed", [True, False])
def test_notify_in_a_signal_handler_that_interrupts_the_other_calls(exposed, tmp_path):
    source = tmp_path / "storm.c"
    source.write_text(STORM)
    library = compiled(source, tmp_path / "storm.so", "c99", *LIBRARY)
    run_child("test_native_examples", "storm", library, exposed, strict=True)


def storm(path, exposed):
    from test_native import table

    library, event = ctypes.CDLL(str(path)), IoEvent()
    library.storm.argtypes = [ctypes.c_void_p, ctypes.c_void_p, ctypes.c_int]
    if exposed:
        event.fileno()

    async def main(handle):  # the event still works: no wake-up is lost, and no token is left
        event.clear()
        waits = asyncio.create_task(event.notified())
        await asyncio.sleep(0)
        assert table().notify(handle.argument) == 1
        await asyncio.wait_for(waits, 20)

    with event.native() as handle:
        assert library.storm(ctypes.addressof(table()), handle.argument, 2000) == 0
        asyncio.run(main(handle))


def blocks(language):
    text = (ROOT / "docs" / "native.md").read_text("utf-8")
    return re.findall(rf"^```{language}\n(.*?)^```$", text, re.MULTILINE | re.DOTALL)


@needs_python_h
@pytest.mark.parametrize(("language", "standard"), [("c", "c99"), ("cpp", "c++17")])
def test_the_c_and_cpp_blocks_of_the_document_compile(language, standard, tmp_path):
    for number, block in enumerate(blocks(language)):
        source = tmp_path / f"{number}.c"
        source.write_text(block)
        compiled(source, tmp_path / "block.o", standard, "-c", *WITH_PYTHON)


@needs_python_h
def test_the_cython_block_of_the_document_compiles_and_works(tmp_path):
    pytest.importorskip("Cython")
    (block,) = blocks("cython")
    (tmp_path / "counts.pyx").write_text(block)
    subprocess.run(
        [sys.executable, "-m", "cython", "counts.pyx"],
        cwd=tmp_path,
        check=True,
        timeout=8 * PATIENCE,
    )
    # The C code that Cython writes does not pass PEDANTIC.
    flags = ["-w", *LIBRARY, *WITH_PYTHON]
    compiled(tmp_path / "counts.c", tmp_path / "counts.so", "c11", *flags)
    run_child("test_native_examples", "counting_in_cython", tmp_path, strict=True)


def counting_in_cython(path):
    sys.path.insert(0, str(path))
    from counts import count

    async def main():
        event = IoEvent()
        with event.native() as handle:
            counting = asyncio.create_task(asyncio.to_thread(count, handle, 1000))
            async with asyncio.timeout(20):
                await event.notified()
                await counting
        assert event.clear()

    asyncio.run(main())


def with_an_old_wakefd(use, path):
    """Call `use()` with a C table of an older version; return the message of its ImportError."""
    done = run_child("test_native_examples", "used_with_an_old_wakefd", use, path, strict=True)
    return done.stdout


def used_with_an_old_wakefd(use, path):
    sys.path.insert(0, str(path))
    new = ctypes.pythonapi.PyCapsule_New
    new.restype = ctypes.py_object
    new.argtypes = [ctypes.c_void_p, ctypes.c_char_p, ctypes.c_void_p]
    name, table = b"wakefd._C_API", (ctypes.c_uint32 * 2)(0, 8)
    wakefd._C_API = new(ctypes.addressof(table), name, None)
    try:
        use()
    except ImportError as error:
        print(error)


# --------------------------------------------------------------------------------------------------
# Rust


@functools.cache
def built():
    """Build both extension modules, and return their directory.

    The modules are abi3, so that one build is good for all interpreters.
    """
    if shutil.which("cargo") is None:
        pytest.skip("Rust is not installed")
    if not RUST.exists():
        pytest.skip("examples/rust-extension is not in this source archive, only in the repository")
    if find_spec("maturin") is None:
        pytest.skip("maturin is not installed")
    test = ROOT / "tests" / "rust" / "extension.rs"
    sources = [*(ROOT / "src").rglob("*.rs"), *RUST.glob("*.*"), *RUST.rglob("*.rs"), test]
    content = b"".join(path.read_bytes() for path in sorted([ROOT / "Cargo.toml", *sources]))
    target = Path(os.environ.get("CARGO_TARGET_DIR", ROOT / "target")).absolute() / "examples"
    target.mkdir(parents=True, exist_ok=True)
    done = target / f"modules-{hashlib.sha256(content).hexdigest()[:16]}"
    with open(target / "lock", "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)  # the tests of another interpreter may build just now
        if not done.exists():
            for old in target.glob("modules-*"):
                shutil.rmtree(old)
            part = target / "part"
            shutil.rmtree(part, ignore_errors=True)
            build_with_maturin(RUST, part, target, 200)
            build_with_maturin(with_other_source(test, part), part, target, 60)
            part.rename(done)
    return done


def with_other_source(source, part):
    """Make a copy of the example's project with another source, the same lock file and build."""
    project = part / "held"
    (project / "src").mkdir(parents=True)
    shutil.copy(source, project / "src" / "lib.rs")
    for name in ("Cargo.lock", "pyproject.toml"):
        shutil.copy(RUST / name, project)
    manifest = (RUST / "Cargo.toml").read_text("utf-8")
    manifest = manifest.replace('"../.."', f'"{ROOT}"').replace('name = "primes"', 'name = "held"')
    (project / "Cargo.toml").write_text(manifest, "utf-8")
    return project


def build_with_maturin(project, out, target, limit):
    command = [sys.executable, "-m", "maturin", "build", "--locked", "--compatibility", "linux"]
    done = subprocess.run(
        [*command, "--interpreter", sys.executable, "--out", out / "wheels"],
        cwd=project,
        env={**os.environ, "CARGO_TARGET_DIR": str(target)},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=limit,
    )
    assert done.returncode == 0, done.stderr
    for wheel in (out / "wheels").glob("*.whl"):
        with zipfile.ZipFile(wheel) as archive:
            archive.extractall(out)


@pytest.fixture
def rust(monkeypatch):
    path = str(built())
    monkeypatch.setenv("PYTHONPATH", path, prepend=os.pathsep)
    return path


pytestmark = pytest.mark.timeout(290)  # the first test that needs the modules builds them


def test_the_example_of_a_thread_in_rust(rust):
    assert run(RUST / "stream.py", 10_000) == "1229 primes below 10000, the last one is 9973\n"


@in_child(strict=True)
def test_rust_can_push_messages_into_a_byte_queue(rust):
    from held import push

    queue = ByteQueue(64, 16)
    assert push(queue, [b"one", b"", b"x" * 17]) == [True, True, errno.EMSGSIZE]
    assert queue.get_many_nowait(10) == [b"one", b""]
    assert push(queue, [b"four" * 4] * 3) == [True, True, False]
    queue.shutdown()
    assert push(queue, [b"late"]) == [errno.EPIPE]
    assert queue.get_many_nowait(10) == [b"four" * 4] * 2
    with pytest.raises(TypeError):
        push(IoEvent(), [])


@in_child(strict=True)
def test_a_handle_in_rust_notifies_clears_and_keeps_the_event_alive(rust):
    from held import Held

    event = IoEvent()
    held = Held(event)
    assert repr(held).startswith("EventHandle(0x")
    assert not held.is_set()
    assert (held.notify(), held.notify()) == (True, False)
    assert held.is_set() and event.is_set()
    assert held.fileno() == event.fileno() and readable(held.fileno())
    assert (held.clear(), held.clear(), event.is_set()) == (True, False, False)

    other = held.clone()
    held.drop()
    number = event.fileno()
    del event, held
    gc.collect()
    assert other.notify() and readable(number)  # the clone keeps the event alive
    other.drop()
    del other
    gc.collect()
    IoEvent()  # the making of an event frees those that native code has dropped
    assert errno_of(os.fstat, number) == errno.EBADF

    event = IoEvent()
    held = Held(event)
    event.close()
    assert (held.notify(), held.clear(), held.is_set()) == (False, False, False)
    with pytest.raises(OSError, match="os error 9"):
        held.fileno()


def test_a_handle_in_rust_needs_an_event_and_a_current_c_table(rust):
    run_child("test_native_examples", "held_refuses_what_is_no_event", strict=True)
    said = with_an_old_wakefd(hold, rust)
    assert "version 0 of its C API" in said and "upgrade wakefd" in said


def held_refuses_what_is_no_event():
    from held import Held

    for other, kind in (
        (7, "int"),
        (None, "NoneType"),
        (IoEvent, "type"),
        (Queue(), "wakefd._queue.Queue"),
        (IoEvent().fileno, "builtin_function_or_method"),
    ):
        with pytest.raises(TypeError) as caught:
            Held(other)
        assert str(caught.value).endswith(f"a wakefd.IoEvent is needed, not a {kind}")


def hold():
    from held import Held

    Held(IoEvent())


def test_threads_of_rust_outlive_the_interpreter(rust):
    for _ in range(stress(3, 100)):
        run_child("test_native_examples", "exit_while_rust_notifies", strict=True)


kept = []  # an event that only the end of the interpreter drops


def exit_while_rust_notifies():
    import held

    event = IoEvent()
    event.fileno()
    kept.append(event)
    for _ in range(2):
        held.notify_for_ever(event)
    time.sleep(0.02)


def test_every_native_example_has_a_test():
    here = Path(__file__).read_text("utf-8")
    for path in [*NATIVE.glob("*.*"), *RUST.glob("*.py")]:
        assert f'"{path.name}"' in here, path

"""Run a program again and again, and let another of its statements raise each time.

    python faults.py [--interrupt] PROGRAM ARGUMENTS...

A statement raises once where the main thread runs it, and once where another thread does, from the
start of the first thread on. A thread whose target is no function of the program, such as
`event.notify`, fails as a whole. The program must end each time, and the exception must be reported
on stderr or by the exit status. Complaints go to stdout, one per line.

Statements that clean up (`finally`, `except`) do not raise, nor do the lines of `try` and `with`
themselves: no program can answer for these. `--interrupt` is for a program that goes on until
Ctrl-C: the first run, which counts its statements, is interrupted after a second.
"""

import ast
import os
import signal
import sys
import tempfile
import threading
import time
import traceback
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path

LIMIT = 20.0  # seconds for the program, which takes a small part of one


class FaultError(Exception):
    """The exception that a statement raises."""


def begin(path, visit):
    """Run the program here; call visit(side, line) before each line once a thread was started."""
    started = False

    def start(thread, start=threading.Thread.start):
        nonlocal started
        started = True
        target = getattr(thread, "function", None) or thread._target  # of a Timer; of a Thread
        if target and not hasattr(target, "__code__"):
            run = thread.run
            thread.run = lambda: (visit("thread", 0), run())
        start(thread)

    def tracer(side):
        def trace(frame, kind, _):
            if frame.f_code.co_filename != path:
                return None
            if kind == "line" and started:
                visit(side, frame.f_lineno)
            return trace

        return trace

    threading.Thread.start = start
    sys.argv = sys.argv[1:]
    sys.path.insert(0, str(Path(path).parent))
    main = sys.modules["__main__"] = type(sys)("__main__")
    code = compile(Path(path).read_text("utf-8"), path, "exec")
    threading.settrace(tracer("thread"))
    sys.settrace(tracer("main"))
    exec(code, main.__dict__)


def child(function):
    """Fork; return the child's status (None: it did not end) and what it wrote to stderr."""
    with tempfile.TemporaryFile("w+") as said:
        if (pid := os.fork()) == 0:
            os.setpgid(0, 0)
            os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
            os.dup2(said.fileno(), 2)
            ended(function)
        deadline = time.monotonic() + LIMIT
        while not (done := os.waitpid(pid, os.WNOHANG))[0] and time.monotonic() < deadline:
            time.sleep(0.002)
        if not done[0]:
            os.kill(pid, signal.SIGKILL)
            os.waitpid(pid, 0)
        said.seek(0)
        return os.waitstatus_to_exitcode(done[1]) if done[0] else None, said.read()


def ended(function):
    """End this process as the interpreter would after the program: its threads are waited for."""
    status = 1
    try:
        function()
        status = 0
    except SystemExit as error:
        status = error.code if isinstance(error.code, int) else 1
        if isinstance(error.code, str):
            print(error.code, file=sys.stderr)
    except BaseException:
        traceback.print_exc()
    threading._shutdown()
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(status)


def excused(path):
    """The lines in which nothing can raise."""
    lines = set()
    for node in ast.walk(ast.parse(Path(path).read_text("utf-8"))):
        if isinstance(node, ast.Try):
            lines.add(node.lineno)
            for each in [*node.handlers, *node.finalbody]:
                lines.update(range(each.lineno, each.end_lineno + 1))
        elif isinstance(node, ast.With | ast.AsyncWith):
            lines.update(range(node.lineno, node.body[0].lineno))
    return lines


def visited(path, interrupt):
    """The lines that each side runs."""
    with tempfile.TemporaryFile("w+", buffering=1) as notes:
        interrupted = False

        def visit(*place):
            if not interrupted:
                os.write(notes.fileno(), b"%s %d\n" % (place[0].encode(), place[1]))  # at once

        def on_signal(*_):
            nonlocal interrupted
            interrupted = True
            raise KeyboardInterrupt

        def run():
            if interrupt:
                signal.signal(signal.SIGINT, on_signal)
                signal.signal(signal.SIGALRM, lambda *_: signal.raise_signal(signal.SIGINT))
                signal.alarm(1)
            begin(path, visit)

        status, said = child(run)
        if status != (130 if interrupt else 0):
            raise SystemExit(f"without a fault: {status}\n{said}")
        notes.seek(0)
        return sorted({(side, int(line)) for side, line in map(str.split, notes)})


def complaint(path, side, line):
    """Return the complaint about a program in which this line fails; None if it ends well."""
    with tempfile.TemporaryFile("w+", buffering=1) as notes:

        def visit(*place):
            if place == (side, line) and notes.tell() == 0:
                print("raised", file=notes)
                raise FaultError

        status, said = child(lambda: begin(path, visit))
        if not notes.tell():
            return None  # this run did not reach the line
    thread = "the main" if side == "main" else "another"
    where = f"{path}:{line or ' the target'} fails in {thread} thread: "
    if status is None:
        return f"{where}it never ends"
    return None if said or status > 0 else f"{where}nobody hears of it"


def main():
    if interrupt := sys.argv[1] == "--interrupt":
        del sys.argv[1]
    path = sys.argv[1]
    text = Path(path).read_text("utf-8")
    for name in ("asyncio", "trio", "wakefd"):  # imported once, not in each child
        if name in text and find_spec(name):
            import_module(name)
    excuses = excused(path)
    for side, line in visited(path, interrupt):
        if line not in excuses and (said := complaint(path, side, line)):
            print(said, flush=True)
            if said.endswith("never ends"):
                return  # one is enough: each takes LIMIT


if __name__ == "__main__":
    main()

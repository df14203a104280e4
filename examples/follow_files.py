"""Print the lines of several files as they are written, like `tail -F`.

One thread follows each file: reading files blocks, so it does not belong in an event loop. A
thread puts each line into a deque and notifies; one coroutine, on asyncio or trio, takes the lines
out and prints them. However fast the lines come, the loop is woken once per batch.

    python examples/follow_files.py --loop trio one.log two.log

A file may be missing at first, be rotated (renamed, and a new one made under its name), or be
truncated. As with `tail -F`, what cannot be seen is missed: a file that is truncated and grows to
its old size, or a new file that is rotated away, between two looks.
"""

import argparse
import asyncio
import os
import sys
import threading
from collections import deque
from collections.abc import Generator, Iterator
from io import FileIO
from pathlib import Path

import wakefd

INTERVAL = 0.05  # seconds between two looks at a file that does not grow
CHUNK = 1 << 16

Lines = deque[tuple[Path, str]]


def follow(path: Path, stop: wakefd.IoEvent, *, from_start: bool) -> Iterator[str]:
    """Yield each line of a file, now and in future, until `stop` is notified."""
    from_start = from_start or not path.exists()
    file = open_when_there(path, stop)
    if file and not from_start:
        file.seek(0, os.SEEK_END)
    while file:
        with file:
            file = yield from lines_to_its_end(file, path, stop)


def open_when_there(path: Path, stop: wakefd.IoEvent) -> FileIO | None:
    """Open a file as soon as it exists; None: it is time to stop."""
    said = False
    while not stop.is_set():
        try:
            return FileIO(path)
        except OSError as error:
            if not said:
                print(f"waiting for {path}: {error.strerror}", file=sys.stderr, flush=True)
                said = True
        stop.wait(INTERVAL)
    return None


def lines_to_its_end(
    file: FileIO, path: Path, stop: wakefd.IoEvent
) -> Generator[str, None, FileIO | None]:
    """Yield the lines of one file; return the one that took its place, None to stop."""
    rest = b""  # a line whose end has not been written yet
    new = None
    while True:
        while chunk := file.read(CHUNK):
            # Split bytes and decode lines: the end of a chunk may fall into a character.
            *lines, rest = (rest + chunk).split(b"\n")
            yield from map(decode, lines)
        truncated = os.fstat(file.fileno()).st_size < file.tell()
        if rest and (truncated or new):
            yield decode(rest)
            rest = b""
        if new:
            return new
        if truncated:
            file.seek(0)
        # Its writer has done with the old file, but it may have written between our last read and
        # now: read on to the end.
        elif not (new := successor(file, path)) and stop.wait(INTERVAL):
            return None


def successor(file: FileIO, path: Path) -> FileIO | None:
    """Open the other file that has this name by now, if there is something in it."""
    try:
        if os.path.samestat(path.stat(), os.fstat(file.fileno())):
            return None
        new = FileIO(path)
    except OSError:
        return None  # there is none, for the moment or for good
    if os.fstat(new.fileno()).st_size:
        return new
    new.close()
    return None


def decode(line: bytes) -> str:
    return line.decode("utf-8", errors="replace")


async def show(lines: Lines, event: wakefd.IoEvent) -> None:
    """Print lines as they come. This runs on whatever event loop it is started on."""
    async for _ in event:
        # The flag is down again by now, so what comes from here on makes another turn. That is why
        # we may take just what is here, and let the loop do other things in between.
        for _ in range(len(lines)):
            path, line = lines.popleft()
            print(f"{path}: {line}")
        sys.stdout.flush()


def main() -> int:
    parser = argparse.ArgumentParser(description="Print the lines of files as they are written.")
    parser.add_argument("files", nargs="+", type=Path, metavar="FILE")
    parser.add_argument("--loop", choices=("asyncio", "trio"), default="asyncio")
    parser.add_argument("--from-start", action="store_true", help="print what they hold already")
    arguments = parser.parse_args()

    lines: Lines = deque()
    event = wakefd.IoEvent()  # "there are lines": many threads notify, one task waits
    stop = wakefd.IoEvent()  # "stop": one notify, many threads wait

    def work(path: Path) -> None:
        with event:  # a thread that fails closes it, and that ends show()
            for line in follow(path, stop, from_start=arguments.from_start):
                lines.append((path, line))
                event.notify()

    try:
        for path in arguments.files:
            threading.Thread(target=work, args=(path,)).start()
        if arguments.loop == "trio":
            import trio

            trio.run(show, lines, event)
        else:
            asyncio.run(show(lines, event))
    except KeyboardInterrupt:
        return 130
    finally:
        stop.notify()  # the interpreter waits for the threads
    return 1  # one of the threads has failed


if __name__ == "__main__":
    sys.exit(main())

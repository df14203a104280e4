"""Follow what a process prints, from trio, with a thread that reads its pipe.

The thread puts each line; the task takes them with `async for`, and may be cancelled at any time:
here by a time limit. Lines that were not taken then are still in the queue.

    python examples/process_lines.py --seconds 5 -- ping localhost
"""

import argparse
import subprocess
import sys
import threading

import trio

import wakefd


def read(process: subprocess.Popen[str], lines: wakefd.Queue[str]) -> None:
    """In a thread: to the end of the pipe."""
    try:
        for line in process.stdout:
            lines.put(line.rstrip("\n"))
    except BaseException:
        process.kill()  # nobody reads its pipe any more
        raise
    finally:
        lines.shutdown()  # what is in there is still taken


async def main(command: list[str], seconds: float) -> int:
    lines: wakefd.Queue[str] = wakefd.Queue()
    count = 0
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:  # noqa: ASYNC220 - it only starts it
        try:
            reader = threading.Thread(target=read, args=(process, lines))
            reader.start()
            with trio.move_on_after(seconds) as limit:
                async for line in lines:
                    count += 1
                    print(f"{count}: {line}", flush=True)
            if limit.cancelled_caught:
                process.terminate()
            await trio.to_thread.run_sync(reader.join)
        except BaseException:
            process.kill()  # with its pipe ends the thread
            raise
        while not lines.empty():  # what came after the limit
            count += len(lines.get_many_nowait(1000))
    print(f"{count} lines{', and no more time' * limit.cancelled_caught}", file=sys.stderr)
    return 0 if limit.cancelled_caught else process.returncode


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description="Follow what a process prints.")
    parser.add_argument("--seconds", type=float, default=float("inf"))
    parser.add_argument("command", nargs="+")
    arguments = parser.parse_args()
    sys.exit(trio.run(main, arguments.command, arguments.seconds))

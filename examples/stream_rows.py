"""Stream the rows of a slow SQLite query into asyncio, with back-pressure.

sqlite3 blocks, so a thread runs the query and puts row after row; the queue holds so many at most,
then the thread waits. The coroutine takes them in batches. However large the table, neither side
keeps more than a queue full of rows.

    python examples/stream_rows.py data.db "select * from log"
"""

import asyncio
import sqlite3
import sys
from collections.abc import AsyncGenerator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import aclosing, closing

import wakefd

AHEAD = 1000  # rows that the thread may be ahead


def work(path: str, query: str, queue: wakefd.Queue[tuple]) -> None:
    """In a thread: the whole query."""
    try:
        with closing(sqlite3.connect(path)) as connection:
            for row in connection.execute(query):
                queue.put(row)
    except wakefd.QueueShutDown:
        pass  # nobody wants more
    finally:
        queue.shutdown()  # what is in there is still taken


async def rows(path: str, query: str) -> AsyncGenerator[Sequence[tuple], None]:
    """Yield the rows in batches; closing this generator stops the query."""
    # However we leave, the queue is closed first, so the thread's next put raises; the pool waits.
    with ThreadPoolExecutor(1) as pool, wakefd.Queue[tuple](AHEAD) as queue:
        working = pool.submit(work, path, query, queue)
        try:
            while True:
                yield await queue.async_get_many(AHEAD)
        except wakefd.QueueShutDown:
            working.result()  # raises what the query has raised


async def main(path: str, query: str) -> None:
    total = 0
    async with aclosing(rows(path, query)) as batches:
        async for batch in batches:
            for row in batch:
                print(*row, sep="\t")
            total += len(batch)
    print(f"{total} rows", file=sys.stderr)


if __name__ == "__main__":
    if len(sys.argv) != 3:
        sys.exit("usage: stream_rows.py DATABASE QUERY")
    try:
        asyncio.run(main(*sys.argv[1:]))
    except sqlite3.Error as error:
        sys.exit(f"{sys.argv[1]}: {error}")

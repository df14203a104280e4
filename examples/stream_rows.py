"""Stream the rows of a slow SQLite query into asyncio, with back-pressure.

sqlite3 blocks, so a thread runs the query and puts row after row; the queue holds so many at most,
then the thread waits. The coroutine takes them in batches. However large the table, neither side
keeps more than a queue full of rows.

    python examples/stream_rows.py data.db "select * from log"
"""

import asyncio
import sqlite3
import sys
import threading
from collections.abc import AsyncIterator, Sequence

import wakefd

AHEAD = 1000  # rows that the thread may be ahead


async def rows(path: str, query: str) -> AsyncIterator[Sequence[tuple]]:
    """Yield the rows in batches; closing this generator stops the query."""
    batches: wakefd.Queue[tuple] = wakefd.Queue(AHEAD)
    failed: list[Exception] = []

    def work() -> None:
        connection = sqlite3.connect(path)
        try:
            for row in connection.execute(query):
                batches.put(row)
        except wakefd.QueueShutDown:
            pass  # nobody wants more
        except Exception as error:
            failed.append(error)
        finally:
            connection.close()
            batches.shutdown()  # what is in there is still taken

    thread = threading.Thread(target=work)
    thread.start()
    try:
        while True:
            try:
                batch = await batches.async_get_many(AHEAD)
            except wakefd.QueueShutDown:
                break
            yield batch
    finally:
        batches.close()
        thread.join()
    if failed:
        raise failed[0]


async def main(path: str, query: str) -> None:
    total = 0
    async for batch in rows(path, query):
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

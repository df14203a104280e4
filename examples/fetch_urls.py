"""Blocking requests in a pool of threads, which report into an asyncio program.

Each thread reads its answer in pieces and says so; the loop shows how far they are, and goes on
with other things meanwhile. However many pieces arrive while it is busy, they wake it once.

    python examples/fetch_urls.py https://example.org/ https://example.com/
"""

import asyncio
import sys
import urllib.request
from concurrent.futures import ThreadPoolExecutor

import wakefd

THREADS = 8
PIECE = 16 * 1024
PATIENCE = 30.0  # seconds for an answer


class Report:
    """In the loop's thread only: no locks."""

    def __init__(self, urls: list[str]) -> None:
        self.sizes = dict.fromkeys(urls, 0)

    def piece(self, url: str, size: int) -> None:
        self.sizes[url] += size
        total = sum(self.sizes.values())
        print(f"\r{total / 1e6:.1f} MB", end="", file=sys.stderr, flush=True)

    async def finished(self, url: str, status: int) -> str:
        await asyncio.sleep(0)  # it may await: a database, another service
        return f"{status} {self.sizes[url]:8} {url}"


def fetch(url: str, portal: wakefd.Portal, report: Report) -> str:
    """In a thread of the pool."""
    with urllib.request.urlopen(url, timeout=PATIENCE) as answer:
        while piece := answer.read(PIECE):
            portal.call_soon(report.piece, url, len(piece))  # never blocks
    # Blocks this thread until the coroutine has ended. What was called before runs before.
    return portal.run(report.finished, url, answer.status)


async def main(urls: list[str]) -> bool:
    report = Report(urls)
    failed = False
    with ThreadPoolExecutor(THREADS) as pool:
        async with wakefd.Portal() as portal:
            futures = [pool.submit(fetch, url, portal, report) for url in urls]
            for url, future in zip(urls, futures, strict=True):
                try:
                    line = await wakefd.wrap_future(future)
                except OSError as error:
                    failed, line = True, f"--- {error} {url}"
                print(line)
    return failed


if __name__ == "__main__":
    if len(sys.argv) < 2:
        sys.exit(__doc__)
    sys.exit(asyncio.run(main(sys.argv[1:])))

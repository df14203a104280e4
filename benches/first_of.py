"""The first of many events: a thread notifies one of them, and somebody waits for them all."""

import os
import select
import sys
import threading
import time
from functools import partial

import house
from house import Row, answer, column, interleave, median

import wakefd

NUMBERS = (10, 1000)


def rows() -> list[Row]:
    out = []
    for number in NUMBERS:
        for where, peer in (("asyncio", "asyncio.wait"), ("thread", "poll() of eventfds")):
            variants = {mode: (where, mode, number) for mode in ("wakefd", "peer")}
            title = f"one of {number} events, {where}"
            runs = interleave(title, "first_of", variants, house.rounds(7), 5)
            for key, what in (
                ("woken", "from notify to the answer"),
                ("cpu", "the whole call, processor time"),
            ):
                ours, theirs = (column(runs[mode], key, 1e6) for mode in variants)
                out.append(Row(f"{title}, {what}", "us", ours, peer, theirs))
    return out


# ---- in the child ----

REPEATS = 5


def measure(where: str, mode: str, number: int) -> None:
    {"asyncio": in_asyncio, "thread": in_thread}[where](mode, number)


def in_asyncio(mode: str, number: int) -> None:
    import asyncio

    async def main():
        events = [wakefd.IoEvent() if mode == "wakefd" else asyncio.Event() for _ in range(number)]
        last = events[-1]
        here = asyncio.get_running_loop()
        notify = last.notify if mode == "wakefd" else partial(here.call_soon_threadsafe, last.set)

        async def wait():
            if mode == "wakefd":
                await wakefd.any_notified(*events)
                return
            tasks = [asyncio.ensure_future(event.wait()) for event in events]
            await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
            for task in tasks:
                task.cancel()

        for _ in house.turns():
            record = Record(notify)
            for _ in range(REPEATS):
                with record:
                    await wait()
                last.clear()
                await asyncio.sleep(0)  # those that were cancelled go
            record.answer()

    house.run_on("asyncio", main)


def in_thread(mode: str, number: int) -> None:
    if mode == "wakefd":
        events = [wakefd.IoEvent() for _ in range(number)]
        notify, clear = events[-1].notify, events[-1].clear
        wait = partial(wakefd.wait_any, *events)
    else:
        eventfds = [os.eventfd(0) for _ in range(number)]
        notify, clear = (
            partial(os.eventfd_write, eventfds[-1], 1),
            partial(os.eventfd_read, eventfds[-1]),
        )

        def wait():
            poll = select.poll()
            for eventfd in eventfds:
                poll.register(eventfd, select.POLLIN)
            poll.poll()

    for _ in house.turns():
        record = Record(notify)
        for _ in range(REPEATS):
            with record:
                wait()
            clear()
        record.answer()


class Record:
    """Times waits that a thread ends once we sleep."""

    def __init__(self, notify):
        self.notify = notify
        self.woken, self.cpu = [], []

    def __enter__(self):
        self.thread = threading.Thread(target=self.end)
        self.thread.start()
        self.began = time.thread_time()

    def end(self):
        time.sleep(0.01)
        self.notified = time.perf_counter()
        self.notify()

    def __exit__(self, *_):
        self.cpu.append(time.thread_time() - self.began)
        self.woken.append(time.perf_counter() - self.notified)
        self.thread.join()

    def answer(self):
        answer({"woken": median(self.woken), "cpu": median(self.cpu)})


if __name__ == "__main__":
    measure(sys.argv[1], sys.argv[2], int(sys.argv[3]))

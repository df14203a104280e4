"""A queue loses no item and delivers none twice, though waiters are cancelled or time out."""

import queue
import random
import threading
from collections import Counter

import pytest

import kits
from helpers import PATIENCE, Thread, stress
from wakefd import LifoQueue, PriorityQueue, Queue, QueueShutDown

pytestmark = pytest.mark.stress

PRODUCERS = 4
CONSUMERS = ("thread", "asyncio", "uvloop", "trio", "asyncio-future")


def produce(q, number, count, sent):
    """Put in a thread, in every way, with timeouts so short that they end."""
    chance = random.Random(number)
    at = 0
    while at < count:
        how = chance.randrange(6)
        try:
            if how == 0:
                q.put_nowait((number, at))
            elif how == 1:
                q.put((number, at), timeout=chance.choice((0, 0.0001, 0.001)))
            elif how == 2:
                most = min(count - at, chance.randrange(1, 50))
                items = [(number, at + n) for n in range(most)]
                try:
                    q.put_many(items, timeout=chance.choice((0.0001, 0.01)))
                except queue.Full as full:
                    at += full.accepted
                else:
                    at += most
                continue
            else:
                q.put((number, at), timeout=PATIENCE)
        except queue.Full:
            continue
        at += 1
    sent[number] = at


async def produce_on(kit, q, number, count, sent):
    """Put in a task that is cancelled at random; `at` tells which items were put all the same."""
    chance = random.Random(number)
    at = 0

    async def put():
        nonlocal at
        await q.async_put((number, at))
        at += 1

    while at < count:
        if chance.random() < 0.9:
            await put()
        else:
            async with kit.move_on_after(chance.choice((0, 0.0001, 0.001))):
                await put()
    sent[number] = at


def consume(q, number, got):
    chance = random.Random(number)
    while True:
        how = chance.randrange(4)
        try:
            if how == 0:
                got.append(q.get_nowait())
            elif how == 1:
                got.append(q.get(timeout=chance.choice((0, 0.0001, 0.01))))
            elif how == 2:
                got += q.get_many(chance.randrange(1, 50), chance.choice((0.0001, 0.01)))
            else:
                got.append(q.get(timeout=PATIENCE))
        except queue.Empty:
            continue
        except QueueShutDown:
            return


async def consume_on(kit, q, number, got):
    chance = random.Random(number)

    async def get():
        got.append(await q.async_get())

    async def get_many():
        got.extend(await q.async_get_many(chance.randrange(1, 50)))

    async def async_for():
        left = chance.randrange(1, 100)
        async for item in q:
            got.append(item)
            left -= 1
            if not left:
                break

    while not (q.is_shutdown and q.empty()):
        how = chance.choice((get, get_many, async_for))
        try:
            if chance.random() < 0.5:
                await how()
            elif chance.random() < 0.5:
                async with kit.move_on_after(chance.choice((0, 0.0001, 0.001))):
                    await how()
            else:
                task = kit.spawn(how)
                for _ in range(chance.randrange(4)):
                    await kit.turn()
                task.cancel()
                await task.join()
        except QueueShutDown:
            return


@pytest.mark.parametrize("maxsize", [0, 1, 7])
@pytest.mark.parametrize("kind", [Queue, LifoQueue, PriorityQueue])
def test_no_item_is_lost_or_delivered_twice(kind, maxsize):
    count = stress(1_000, 600_000)
    patience = stress(PATIENCE, 3600)
    q = kind(maxsize)
    sent, gots, threads = {}, [], []
    for number, name in enumerate(CONSUMERS):
        gots.append(got := [])
        if name == "thread":
            threads.append(Thread(consume, q, number, got))
        else:
            kit = kits.kit(name)
            main = lambda kit=kit, number=number, got=got: consume_on(kit, q, number, got)  # noqa: E731
            threads.append(Thread(kit.run, main, patience))
    producers = [Thread(produce, q, number, count, sent) for number in range(PRODUCERS - 1)]
    kit, number = kits.kit("asyncio"), PRODUCERS - 1
    producers.append(Thread(kit.run, lambda: produce_on(kit, q, number, count, sent), patience))
    for thread in producers:
        thread.finish(patience)
    q.shutdown()
    for thread in threads:
        thread.finish(patience)
    delivered = Counter(item for got in gots for item in got)
    assert not [item for item, times in delivered.items() if times > 1]
    assert len(delivered) == sum(sent.values()) == PRODUCERS * count
    if kind is Queue:
        for got in gots:
            for number in range(PRODUCERS):
                own = [n for producer, n in got if producer == number]
                assert own == sorted(own), "the items of one producer are out of order"
    assert " 0 getting and 0 putting" in repr(q)
    assert threading.active_count() < 50

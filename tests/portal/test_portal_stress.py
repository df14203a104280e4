"""A portal loses no call: each one runs, or its future or the log says that it never will."""

import asyncio
import concurrent.futures
import logging
import random
import threading
import time
from collections import Counter
from functools import partial

import pytest

import kits
from helpers import PATIENCE, Thread, fds, forked, in_child, stress
from wakefd import ClosedResourceError, LoopClosedError, Portal

pytestmark = pytest.mark.stress

THREADS = 4


class NeverCalled(logging.Handler):
    """A log handler that adds up the calls of which the log says that they will never be called."""

    def __init__(self):
        super().__init__()
        self.count = 0
        logger = logging.getLogger("wakefd")
        logger.addHandler(self)
        logger.propagate = False

    def emit(self, record):
        assert "never be called" in record.msg, record.getMessage()
        self.count += record.args[0]


class Caller:
    """The work of one thread, which calls into the portal as fast as it can."""

    def __init__(self, portal, kit, seed, ran):
        self.portal, self.kit, self.ran = portal, kit, ran
        self.chance = random.Random(seed)
        self.soon = 0
        self.futures = []

    def __call__(self):
        """Call until the portal refuses, and return the exception that it raises."""
        chance, portal = self.chance, self.portal
        try:
            while True:
                how = chance.random()
                if how < 0.7:
                    portal.call_soon(self.ran.append, None)
                    self.soon += 1
                elif how < 0.75:
                    self.futures.append(portal.submit(int))
                elif how < 0.8:
                    self.futures.append(portal.submit(self.cancel_one))
                else:
                    self.futures.append(portal.submit(self.task, chance.random() < 0.5))
                    if how < 0.9:
                        chance.choice(self.futures).cancel()
                if len(self.ran) < self.soon - 5000:
                    time.sleep(0.001)  # so that the loop can keep up
        except (LoopClosedError, ClosedResourceError) as refusal:
            return refusal

    def cancel_one(self):
        """Cancel the first call under way, from the loop's thread."""
        for call, task in self.portal._runner.running.items():
            if self.kit.is_asyncio:
                task.cancel()
            elif call.future is not None:
                call.future.cancel()
            break

    async def task(self, long):
        if long:
            await self.kit.sleep(0.001)


def run_abruptly(kit, main, patience):
    """Run `main` as kit.run() does, but close the loop without cancelling its tasks."""
    loop = kit.new_loop()
    try:
        return loop.run_until_complete(asyncio.wait_for(main(), patience))
    finally:
        loop.close()


def life_under_load(kit, chance, seconds, how):
    """Run a loop into which threads call until it ends.

    Return how many calls of call_soon were accepted and did not run, and how the futures ended.
    """
    ran, callers, threads = [], [], []

    async def main():
        portal = Portal()
        callers.extend(Caller(portal, kit, chance.random(), ran) for _ in range(THREADS))
        threads.extend(Thread(caller) for caller in callers)
        await kit.sleep(chance.random() * seconds)
        if how in ACTS:
            ACTS[how](portal)
            await kit.sleep(chance.random() * seconds)
        return portal

    run = partial(run_abruptly, kit) if how == "abruptly" else kit.run
    portal = run(main, stress(PATIENCE, 3600))
    for thread in threads:
        assert isinstance(thread.finish(), (LoopClosedError, ClosedResourceError))
    with pytest.raises(LoopClosedError):
        portal.call_soon(print)
    futures = [future for caller in callers for future in caller.futures]
    done, pending = concurrent.futures.wait(futures, PATIENCE)
    assert not pending
    ends = Counter(
        "cancelled" if future.cancelled() else type(future.exception(0)).__name__ for future in done
    )
    assert set(ends) <= {"cancelled", "NoneType", "LoopClosedError"}
    return sum(caller.soon for caller in callers) - len(ran), ends


@pytest.mark.parametrize("how", ["quietly", "abruptly", "close", "fork"])
@pytest.mark.parametrize("name", kits.LOOPS)
@in_child
def test_every_call_runs_or_is_reported_when_a_loop_ends_under_load(name, how):
    """The loop ends with tasks cancelled, with tasks under way, after a close, or after a fork."""
    if name == "trio" and how == "abruptly":
        return  # trio always cancels its tasks
    logging.getLogger("asyncio").disabled = True  # "Task was destroyed but it is pending!"
    rounds = stress(4, 100)
    kit, chance, never = kits.kit(name), random.Random(name), NeverCalled()
    lost, ends = 0, Counter()
    for at in range(rounds):
        missing, endings = life_under_load(kit, chance, 0.03, how)
        lost += missing
        ends += endings
        assert lost == never.count, (
            f"round {at}: {lost} calls have not run, the log tells of {never.count}"
        )
        if at == 2:
            before = fds()
    assert fds() <= before + 2
    assert threading.active_count() < 20
    assert min(ends.values()) > 0 and len(ends) >= 2, ends
    assert how != "abruptly" or ends["LoopClosedError"] > 0, ends


def _close(portal):
    portal.close()


def _fork(portal):
    forked(lambda: _refuses(portal))


def _refuses(portal):
    try:
        portal.call_soon(print)
    except LoopClosedError:
        return
    raise AssertionError("the portal accepts a call in the child")


ACTS = {"close": _close, "fork": _fork}

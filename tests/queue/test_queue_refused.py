"""A queue whose wake-up the kernel refuses loses no item and no waiter, and the log says so."""

import asyncio
import logging
import select

import pytest

import seccomp
from helpers import PATIENCE, Thread, in_child, until
from test_queue import counts
from test_refused import Refused
from wakefd import Queue
from wakefd._wakefd import backend

pytestmark = pytest.mark.skipif(not seccomp.AVAILABLE, reason="no seccomp numbers for this CPU")


class Log(logging.Handler):
    def __init__(self):
        super().__init__()
        self.texts = []
        logging.getLogger("wakefd").addHandler(self)

    def emit(self, record):
        self.texts.append(record.getMessage())


@in_child
def test_items_stay_in_the_queue_when_the_wake_up_of_a_getter_is_refused():
    log, q = Log(), Queue()
    refused = Refused()

    async def main():
        task = asyncio.create_task(q.async_get_many(9))
        while counts(q) != (1, 0):
            await asyncio.sleep(0.001)
        # The loop watches no other descriptor, so only the queue can wake it.
        thread = Thread(put)
        items = await asyncio.wait_for(task, PATIENCE)
        thread.finish()
        return items

    def put():
        assert refused(lambda: q.put("item")) is None
        assert refused(lambda: q.put("more")) is None
        assert len(log.texts) == 1 and "refused" in log.texts[0]
        assert q.qsize() == 2
        q.put("and more")  # from a thread whose writes are not refused

    assert asyncio.run(main()) == ["item", "more", "and more"]
    assert len(log.texts) == 1


@pytest.mark.skipif(
    backend(thread=True) == "futex",
    reason="a futex wakes blocked threads here; only writes can be refused",
)
@in_child
def test_an_item_stays_in_the_queue_when_the_wake_up_of_a_thread_is_refused():
    log, q = Log(), Queue()
    refused = Refused()
    thread = Thread(q.get)
    until(lambda: counts(q) == (1, 0))
    assert refused(lambda: q.put("item")) is None
    assert len(log.texts) == 1
    assert q.qsize() == 1
    q.put("more")  # from a thread whose writes are not refused
    assert thread.finish() == "item"


@in_child
@pytest.mark.parametrize("end", ["task_done", "shutdown"])
def test_a_refusal_in_task_done_or_shutdown_is_logged_at_once(end):
    log, q = Log(), Queue()
    q.put("item")
    if end == "task_done":
        fd = q._finished().fileno()
    else:
        q.get()
        fd = q.fileno()
    refused = Refused(fd)
    assert refused(getattr(q, end)) is None
    assert len(log.texts) == 1
    assert not select.select([fd], [], [], 0)[0]


@in_child
def test_the_next_put_makes_the_descriptor_readable_after_a_refused_token():
    log, q = Log(), Queue()
    fd = q.fileno()
    refused = Refused(fd)
    assert refused(lambda: q.put("item")) is None
    assert len(log.texts) == 1
    assert not select.select([fd], [], [], 0)[0]
    q.put("more")
    assert select.select([fd], [], [], 0)[0]
    assert q.get_many(9) == ["item", "more"]
    assert not select.select([fd], [], [], 0)[0]

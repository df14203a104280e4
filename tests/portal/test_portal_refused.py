"""A portal whose wake-up the kernel refuses loses no call, and the log says so once."""

import pytest

import kits
import seccomp
from helpers import in_child, later
from test_queue_refused import Log
from test_refused import Refused
from wakefd import IoEvent, Portal

pytestmark = pytest.mark.skipif(not seccomp.AVAILABLE, reason="no seccomp numbers for this CPU")


@pytest.mark.parametrize("name", kits.LOOPS)
@in_child
def test_calls_run_with_the_next_wake_up_when_one_of_the_portal_is_refused(name):
    kit = kits.kit(name)
    log, refused, seen = Log(), Refused(), []

    async def main():
        portal, done = Portal(), IoEvent()

        def call():
            assert refused(lambda: portal.call_soon(seen.append, 1)) is None
            future = refused(lambda: portal.submit(seen.append, 2))
            assert len(log.texts) == 1 and "refused" in log.texts[0]
            assert not seen and not future.done()
            portal.call_soon(done.notify)  # from a thread whose writes are not refused

        # The loop watches no other descriptor, so only the portal can wake it.
        thread = later(call)
        async with kit.patient(portal):
            await done.notified()
        assert seen == [1, 2]
        thread.finish()

    kit.run(main)
    assert len(log.texts) == 1

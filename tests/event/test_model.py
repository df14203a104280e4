"""Tests of the event against a plain model, with loops that are stepped by hand."""

import asyncio
import os
import select

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    Bundle,
    RuleBasedStateMachine,
    consumes,
    invariant,
    precondition,
    rule,
)

from helpers import FULL, waiting
from wakefd import ClosedResourceError, IoEvent


class Wait:
    """A task that waits, and the end that the model expects for its wait.

    The end is "rose", "closed", or None while the wait goes on.
    """

    def __init__(self, task):
        self.task, self.fate = task, None


class EventMachine(RuleBasedStateMachine):
    tasks = Bundle("tasks")

    def __init__(self):
        super().__init__()
        self.event = IoEvent()
        self.up = self.closed = self.exposed = False
        self.rises = 0
        self.waits = []
        self.loop = asyncio.new_event_loop()
        self.other = asyncio.new_event_loop()

    def teardown(self):
        for wait in self.waits:
            wait.task._log_destroy_pending = False
        self.loop.close()
        self.other.close()

    def step(self):
        """Let both loops run whatever is ready, and check which waits have ended."""
        for loop in (self.loop, self.other):
            for _ in range(4):
                loop.call_soon(loop.stop)
                loop.run_forever()
        for wait in self.waits:
            assert wait.task.done() is (wait.fate is not None)
            if wait.fate == "rose":
                assert wait.task.result() is None
            elif wait.fate == "closed":
                with pytest.raises(ClosedResourceError):
                    wait.task.result()
        self.waits = [wait for wait in self.waits if wait.fate is None]

    # ---- the actions

    @rule()
    def notify(self):
        raises = not self.up and not self.closed
        assert self.event.notify() is raises
        if raises:
            self.up = True
            self.rises += 1
            self.fate("rose")

    @rule()
    def clear(self):
        assert self.event.clear() is self.up
        self.up = False

    @rule()
    def expose(self):
        if self.closed:
            with pytest.raises(ClosedResourceError):
                self.event.fileno()
        else:
            fd = self.event.fileno()
            assert self.exposed in (False, fd)
            self.exposed = fd

    @precondition(lambda self: self.rises > 2)
    @rule()
    def close(self):
        self.event.close()
        if not self.closed:
            self.fate("closed")
        self.closed, self.up, self.exposed = True, False, False

    @rule()
    def wait_without_blocking(self):
        if self.closed:
            with pytest.raises(ClosedResourceError):
                self.event.wait(0)
        else:
            assert self.event.wait(0) is self.up

    @rule(target=tasks, elsewhere=st.booleans())
    def begin_to_wait(self, elsewhere):
        loop = self.other if elsewhere else self.loop
        wait = Wait(loop.create_task(self.event.notified()))
        self.step()
        if self.closed:
            with pytest.raises(ClosedResourceError):
                wait.task.result()
        elif self.up:
            assert wait.task.result() is None
        else:
            assert not wait.task.done()
            self.waits.append(wait)
        return wait

    @rule(wait=consumes(tasks))
    def cancel(self, wait):
        if wait not in self.waits:
            return
        self.waits.remove(wait)
        assert wait.task.cancel()
        self.step()
        assert wait.task.cancelled()

    @rule()
    def let_the_loops_run(self):
        self.step()

    @rule()
    def close_a_loop(self):
        for wait in self.waits:
            if wait.task.get_loop() is self.other:
                wait.task._log_destroy_pending = False
        self.waits = [wait for wait in self.waits if wait.task.get_loop() is not self.other]
        self.other.close()
        self.other = asyncio.new_event_loop()

    def fate(self, fate):
        for wait in self.waits:
            wait.fate = wait.fate or fate

    # ---- the comparison with the model

    @invariant()
    def event_agrees_with_the_model(self):
        event = self.event
        assert event.is_set() is self.up
        assert event.closed is self.closed
        assert event._rises() == self.rises
        state = "closed" if self.closed else "up" if self.up else "down"
        assert f" {state}, " in repr(event)
        assert waiting(event) == len(self.waits)
        assert event._listeners() <= 3  # two loops and this thread
        if self.exposed:
            assert event.fileno() == self.exposed
            assert bool(select.select([event], [], [], 0)[0]) is self.up
            assert event._owed() == self.up
            os.fstat(self.exposed)


EventMachine.TestCase.settings = settings(
    max_examples=1000 if FULL else 60,
    stateful_step_count=50,
    deadline=None,
    derandomize=not FULL,
    database=None,
    suppress_health_check=list(HealthCheck),
)
TestTheEventAgainstTheModel = EventMachine.TestCase

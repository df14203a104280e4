"""wakefd's queues pass CPython's own tests of `queue`, as they come with this Python."""

import queue
import types
import unittest

import pytest

import wakefd

cpython = pytest.importorskip("test.test_queue")

OURS = types.SimpleNamespace(
    Queue=wakefd.Queue,
    LifoQueue=wakefd.LifoQueue,
    PriorityQueue=wakefd.PriorityQueue,
    Empty=queue.Empty,
    Full=queue.Full,
    ShutDown=wakefd.QueueShutDown,
)


class TestQueue(cpython.QueueTest, unittest.TestCase):
    queue = OURS


class TestLifoQueue(cpython.LifoQueueTest, unittest.TestCase):
    queue = OURS


class TestPriorityQueue(cpython.PriorityQueueTest, unittest.TestCase):
    queue = OURS


class TestAsSimpleQueue(cpython.BaseSimpleQueueTest, unittest.TestCase):
    queue = OURS
    type2test = wakefd.Queue


# FailingQueueTest is left out: it overrides `_put` and `_get`, hooks that wakefd's queues lack.

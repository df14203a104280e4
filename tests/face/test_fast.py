"""The fast methods have the signatures, results and errors of the methods that PyO3 makes."""

import asyncio
import inspect
import queue
import sys

import pytest

from helpers import in_child
from wakefd import IoEvent, LifoQueue, PriorityQueue, Queue, QueueShutDown, _wakefd

METHODS = [
    (IoEvent, "notify", "(self, /)"),
    (IoEvent, "clear", "(self, /)"),
    (IoEvent, "is_set", "(self, /)"),
    (Queue, "put", "(self, item, block=True, timeout=None)"),
    (Queue, "put_nowait", "(self, /, item)"),
    (Queue, "get", "(self, block=True, timeout=None)"),
    (Queue, "get_nowait", "(self, /)"),
]


@pytest.mark.parametrize(("kind", "name", "signature"), METHODS)
def test_a_fast_method_has_a_name_a_signature_and_a_docstring(kind, name, signature):
    method = getattr(kind, name)
    words = [word.split("=")[0].strip("(), /") for word in signature.split(",")]
    assert list(inspect.signature(method).parameters) == [word for word in words if word]
    assert method.__name__ == name
    assert inspect.getdoc(method)


@pytest.mark.parametrize(("kind", "name", "_"), METHODS)
def test_a_fast_method_refuses_wrong_arguments_with_type_error(kind, name, _):
    instance = kind()
    for args, kwargs in [(range(7), {}), ([], {"unheard_of": 1}), ([1], {"unheard_of": 1})]:
        with pytest.raises(TypeError, match=name):
            getattr(instance, name)(*args, **kwargs)
    with pytest.raises(TypeError):
        getattr(kind, name)(object())


def test_put_and_get_take_arguments_by_position_and_by_keyword():
    q = Queue(9)
    q.put(1)
    q.put(item=2)
    q.put(3, True)
    q.put(4, block=False)
    q.put(5, True, 0.5)
    q.put(timeout=0, item=6)
    q.put_nowait(item=7)
    assert [q.get(), q.get(True), q.get(block=False), q.get(timeout=1), q.get(True, 1)] == [
        *range(1, 6)
    ]
    assert q.get_nowait() == 6
    assert q.get() == 7
    with pytest.raises(ValueError):
        q.put(8, timeout=-1)


@pytest.mark.parametrize("kind", [Queue, LifoQueue, PriorityQueue])
def test_a_queue_holds_one_reference_to_an_item_until_get_returns_it(kind):
    q = kind(1)
    item = (5, object())
    count = sys.getrefcount(item)
    for _ in range(10):
        q.put(item)
        with pytest.raises(queue.Full):
            q.put_nowait(item)
        with pytest.raises(queue.Full):
            q.put(item, False)
        assert sys.getrefcount(item) == count + 1
        assert q.get() is item
    q.close()
    with pytest.raises(QueueShutDown):
        q.put(item)
    assert sys.getrefcount(item) == count


class Panics:
    """An item whose comparison raises PanicException, on which PyO3 panics anew."""

    def __lt__(self, other):
        raise panic_exception()("from a comparison")


def panic_exception():
    with pytest.raises(queue.Empty):  # PyO3 makes its class when it first looks at an exception
        Queue().get_nowait()
    (found,) = (
        kind for kind in BaseException.__subclasses__() if kind.__name__ == "PanicException"
    )
    return found


@in_child
def test_a_panic_in_put_is_raised():
    q = PriorityQueue()
    q.put(Panics())
    for put in [q.put, q.put_nowait]:
        with pytest.raises(panic_exception(), match="from a comparison"):
            put(Panics())
    assert q.qsize() == 1


@in_child
def test_a_panic_in_an_async_for_is_raised():
    async def wait(_):
        raise panic_exception()("from a coroutine")

    async def main():
        items = _wakefd.items(Queue(), wait)
        with pytest.raises(panic_exception(), match="from a coroutine"):
            await anext(items)
        with pytest.raises(panic_exception(), match="from a coroutine"):
            next(anext(items).__await__())

    asyncio.run(main())

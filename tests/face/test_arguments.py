"""An argument that does not suit raises an error that names the function and the parameter."""

import asyncio
import inspect
import math
import pkgutil
import types
from contextlib import suppress
from importlib import import_module

import pytest

import wakefd
from test_byte_queue import pusher

QUEUES = [wakefd.Queue, wakefd.LifoQueue, wakefd.PriorityQueue]
HUGE = 10**30


class Index:
    def __init__(self, value):
        self.value = value

    def __index__(self):
        return self.value


class Broken:
    def __index__(self):
        raise TypeError("mine")

    def __float__(self):
        raise TypeError("mine")

    def __iter__(self):
        raise TypeError("mine")


@pytest.fixture(params=[*QUEUES, wakefd.ByteQueue], ids=lambda kind: kind.__name__)
def filled(request):
    """Each kind of queue in turn, with three items or messages inside."""
    if request.param is not wakefd.ByteQueue:
        queue = request.param()
        queue.put_many([1, 2, 3])
        yield queue
        return
    queue = wakefd.ByteQueue(4096, 64)
    with pusher(queue) as push:
        for message in (b"1", b"2", b"3"):
            push(message)
        yield queue


def many(queue):
    """Return the three ways to get many items at once, as functions that block."""

    def in_a_task(*args, **keywords):
        async def take():
            return await queue.async_get_many(*args, **keywords)

        return asyncio.run(take())

    return {
        "get_many_nowait()": queue.get_many_nowait,
        "get_many()": queue.get_many,
        "async_get_many()": in_a_task,
    }


WAYS = ["get_many_nowait()", "get_many()", "async_get_many()"]


@pytest.mark.parametrize("way", WAYS)
def test_get_many_without_max_takes_all(filled, way):
    assert len(many(filled)[way]()) == 3
    assert filled.empty()


@pytest.mark.parametrize("way", WAYS)
def test_max_none_takes_all(filled, way):
    assert len(many(filled)[way](None)) == 3


@pytest.mark.parametrize("way", WAYS)
def test_max_may_be_any_integer(filled, way):
    take = many(filled)[way]
    assert len(take(Index(1))) == 1
    assert len(take(True)) == 1  # bool is an int
    assert len(take(HUGE)) == 1


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("state", ["filled", "empty", "shut", "closed"])
def test_max_0_returns_an_empty_list_without_a_wait(filled, way, state):
    if state == "empty":
        filled.get_many_nowait()
    if state == "shut":
        filled.shutdown()
    if state == "closed":
        filled.close()
    size = filled.qsize()
    assert many(filled)[way](0) == []
    assert many(filled)[way](max=Index(0)) == []
    assert filled.qsize() == size


def test_get_many_nowait_of_qsize_takes_all_even_from_an_empty_queue(filled):
    assert len(filled.get_many_nowait(filled.qsize())) == 3
    assert filled.get_many_nowait(filled.qsize()) == []
    assert filled.get_many_nowait() == []


def test_max_0_is_a_checkpoint_on_trio(filled):
    trio = pytest.importorskip("trio")

    async def main():
        with trio.CancelScope() as scope:
            scope.cancel()
            await filled.async_get_many(0)
        return scope.cancelled_caught

    assert trio.run(main)
    assert filled.qsize() == 3


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("wrong", [1.0, "1", b"1", [1], object()])
def test_a_max_that_is_no_integer_raises_type_error(filled, way, wrong):
    name = type(wrong).__name__
    with pytest.raises(TypeError) as caught:
        many(filled)[way](wrong)
    assert str(caught.value) == f"{way} max must be an int, not '{name}'"
    assert filled.qsize() == 3


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("wrong", [-1, Index(-1), -HUGE])
def test_a_negative_max_raises_value_error(filled, way, wrong):
    with pytest.raises(ValueError, match=rf"^{way[:-2]}\(\) max must not be negative: -"):
        many(filled)[way](wrong)
    assert filled.qsize() == 3


@pytest.mark.parametrize("way", WAYS)
def test_the_exception_of_an_index_method_is_not_hidden(filled, way):
    with pytest.raises(TypeError, match="mine"):
        many(filled)[way](Broken())


@pytest.mark.parametrize("kind", QUEUES, ids=lambda kind: kind.__name__)
@pytest.mark.parametrize("wrong", [1.0, "1", None, [1], object()])
def test_a_maxsize_that_is_no_integer_raises_type_error(kind, wrong):
    message = f"{kind.__name__}() maxsize must be an int, not '{type(wrong).__name__}'"
    with pytest.raises(TypeError) as caught:
        kind(wrong)
    assert str(caught.value) == message
    with pytest.raises(TypeError) as caught:
        kind(maxsize=wrong)
    assert str(caught.value) == message
    queue = kind(3)
    with pytest.raises(TypeError) as caught:
        queue.maxsize = wrong
    assert str(caught.value) == f"a queue's maxsize must be an int, not '{type(wrong).__name__}'"
    assert queue.maxsize == 3


@pytest.mark.parametrize("kind", QUEUES, ids=lambda kind: kind.__name__)
def test_maxsize_may_be_any_integer(kind):
    for value, limited in [(Index(1), True), (True, True), (HUGE, False), (-HUGE, False)]:
        queue = kind(value)
        queue.put_nowait(1)
        assert queue.full() is limited
        queue = kind()
        queue.maxsize = value
        queue.put_nowait(1)
        assert queue.full() is limited
    with pytest.raises(TypeError, match="mine"):
        kind(Broken())


def test_sizes_of_a_byte_queue_must_be_integers_that_suit():
    with pytest.raises(TypeError, match=r"^ByteQueue\(\) max_bytes must be an int, not 'str'$"):
        wakefd.ByteQueue("4096", 64)
    with pytest.raises(TypeError, match=r"^ByteQueue\(\) max_message must be an int, not 'float'$"):
        wakefd.ByteQueue(4096, 64.0)
    assert wakefd.ByteQueue(Index(4096), max_message=Index(64)).max_message == 64
    for sizes in [(-1, 64), (4096, -1), (-HUGE, 64), (HUGE, 64), (4096, HUGE)]:
        with pytest.raises(ValueError, match="max_"):
            wakefd.ByteQueue(*sizes)


def calls_with_a_timeout():
    """Return each method with a timeout, by name, as a function of the timeout.

    Blanks after a name distinguish methods that have the same name.
    """
    queue, byte_queue, event = wakefd.Queue(), wakefd.ByteQueue(4096, 64), wakefd.IoEvent()
    buffer = bytearray(64)
    return {
        "put()": lambda timeout: queue.put(1, True, timeout),
        "put_many()": lambda timeout: queue.put_many([1], timeout),
        "get()": lambda timeout: queue.get(True, timeout),
        "get_many()": lambda timeout: queue.get_many(1, timeout),
        "peek()": lambda timeout: queue.peek(timeout=timeout),
        "wait()": event.wait,
        "wait_any()": lambda timeout: wakefd.wait_any(event, timeout=timeout),
        "get() ": lambda timeout: byte_queue.get(timeout=timeout),
        "get_many() ": lambda timeout: byte_queue.get_many(1, timeout=timeout),
        "get_into()": lambda timeout: byte_queue.get_into(buffer, timeout=timeout),
        "get()  ": lambda timeout: queue.sync_q.get(timeout=timeout),
        "put()  ": lambda timeout: queue.sync_q.put(1, timeout=timeout),
    }


@pytest.mark.parametrize("name", calls_with_a_timeout())
@pytest.mark.parametrize("wrong", ["1", [1], object(), 1j])
def test_a_timeout_that_is_no_number_raises_type_error(name, wrong):
    with pytest.raises(TypeError) as caught:
        calls_with_a_timeout()[name](wrong)
    message = f"timeout must be a number of seconds or None, not '{type(wrong).__name__}'"
    assert str(caught.value) == f"{name.strip()} {message}"


@pytest.mark.parametrize("name", calls_with_a_timeout())
def test_a_timeout_that_is_nan_or_too_large_raises(name):
    wait = calls_with_a_timeout()[name]
    with pytest.raises(ValueError, match="nan"):
        wait(math.nan)
    with pytest.raises(OverflowError):
        wait(1e300)
    with pytest.raises(TypeError, match="mine"):
        wait(Broken())


def test_put_many_checks_its_timeout_before_it_reads_the_items():
    read = []

    def items():
        read.append(1)
        yield 1

    queue = wakefd.Queue()
    for wrong, error in [("x", TypeError), (-1, ValueError), (math.nan, ValueError)]:
        with pytest.raises(error, match="timeout"):
            queue.put_many(items(), timeout=wrong)
    assert not read
    assert queue.empty()


def test_put_many_of_an_object_that_is_no_iterable_raises_type_error():
    queue = wakefd.Queue()
    with pytest.raises(TypeError, match=r"^put_many\(\) items must be an iterable, not 'int'$"):
        queue.put_many(5)
    with pytest.raises(TypeError, match="mine"):
        queue.put_many(Broken())

    class Sequence:
        def __getitem__(self, at):
            return "ab"[at]

    queue.put_many(Sequence())
    assert queue.get_many_nowait() == ["a", "b"]


@pytest.mark.parametrize("wrong", [5, None, "x", [wakefd.IoEvent()], {}])
def test_a_wait_for_an_object_that_is_no_event_or_queue_raises_type_error(wrong):
    name = type(wrong).__name__
    message = (
        f"waits for IoEvents, Queues and ByteQueues, each an argument of its own, not '{name}'"
    )
    with pytest.raises(TypeError) as caught:
        wakefd.wait_any(wakefd.IoEvent(), wrong, timeout=0)
    assert str(caught.value) == f"wait_any() {message}"

    async def main():
        await wakefd.any_notified(wrong)

    with pytest.raises(TypeError) as caught:
        asyncio.run(main())
    assert str(caught.value) == f"any_notified() {message}"


def public():
    """Yield every public function, class and method of wakefd and its modules, with its name."""
    modules = [wakefd]
    with suppress(ImportError):
        import PySide6  # noqa: F401 - wakefd.qt needs a binding of Qt that is imported
    for module in pkgutil.iter_modules(wakefd.__path__, "wakefd."):
        if not module.name.rpartition(".")[2].startswith("_"):
            with suppress(ImportError):  # its library is not installed
                modules.append(import_module(module.name))
    for module in modules:
        for name in module.__all__:
            value = getattr(module, name)
            if isinstance(value, types.FunctionType | types.BuiltinFunctionType | type):
                yield f"{module.__name__}.{name}", value
            if not isinstance(value, type):
                continue
            for attribute in dir(value):
                method = getattr(value, attribute, None)
                ours = any(
                    attribute in vars(c) for c in value.__mro__ if c.__module__.startswith("wakefd")
                )
                if ours and callable(method) and not attribute.startswith("_"):
                    yield f"{module.__name__}.{name}.{attribute}", method


def test_every_signature_can_be_read_and_has_real_defaults():
    count = 0
    for name, value in public():
        if isinstance(value, type) and issubclass(value, Exception):
            continue  # an exception has the signature of its base class
        if name == "wakefd.qt.EventNotifier.notified":
            continue  # a signal of Qt
        try:
            signature = inspect.signature(value)
        except ValueError as error:
            raise AssertionError(name) from error
        count += 1
        for parameter in signature.parameters.values():
            assert parameter.default is not ..., f"{name}{signature}"
    assert count > 100

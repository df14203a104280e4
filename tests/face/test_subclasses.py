"""wakefd's classes can be subclassed as queue.Queue and threading.Event can."""

import abc
import asyncio
import copy
import gc
import inspect
import pickle
import pydoc
import sys
import weakref
from dataclasses import dataclass
from typing import Generic, TypeVar

import pytest

import wakefd
from test_byte_queue import pusher

QUEUES = [wakefd.Queue, wakefd.LifoQueue, wakefd.PriorityQueue]
ALL = [*QUEUES, wakefd.IoEvent, wakefd.ByteQueue, wakefd.Portal, wakefd.NativeHandle]
T = TypeVar("T")


@pytest.fixture(params=ALL, ids=lambda base: base.__name__)
def base(request):
    return request.param


@pytest.fixture(params=QUEUES, ids=lambda base: base.__name__)
def queue_class(request):
    return request.param


def made(base, make):
    """Call `make` with arguments that suit `base`, in a running loop if a portal needs one."""

    async def inside():
        return make()

    return asyncio.run(inside()) if base is wakefd.Portal else make(*arguments(base))


def arguments(base):
    if base is wakefd.ByteQueue:
        return 4096, 64
    if base is wakefd.NativeHandle:
        return (wakefd.IoEvent(),)
    return ()


def use(thing):
    """Check that an instance of a subclass does what its base class does."""
    if isinstance(thing, wakefd.Queue):
        thing.put_many([1, 2])
        assert sorted(thing.get_many_nowait(9)) == [1, 2]
    elif isinstance(thing, wakefd.IoEvent):
        assert thing.notify() and thing.is_set() and thing.clear()
    elif isinstance(thing, wakefd.ByteQueue):
        assert (thing.max_bytes, thing.max_message) == (4096, 64)
        assert thing.empty()
    elif isinstance(thing, wakefd.NativeHandle):
        assert thing.argument and not thing.closed
    else:
        assert thing.closed  # the loop of the portal has ended
    assert type(thing).__name__ in repr(thing)
    if isinstance(thing, wakefd.NativeHandle):
        thing.close()


def test_a_subclass_with_parameters_of_its_own(base):
    class Named(base):
        def __init__(self, *args, name, **more):
            super().__init__(*args)
            self.name, self.more = name, more

    thing = made(base, lambda *args: Named(*args, name="x", colour="red"))
    assert (thing.name, thing.more) == ("x", {"colour": "red"})
    use(thing)


def test_a_subclass_whose_first_parameter_is_its_own(base):
    class Named(base):
        def __init__(self, name, args):
            super().__init__(*args)
            self.name = name

    thing = made(base, lambda *args: Named("x", args))
    assert thing.name == "x"
    use(thing)


def test_a_subclass_of_a_queue_that_does_not_call_init_has_no_limit(queue_class):
    class Named(queue_class):
        def __init__(self, name):
            self.name = name

    named = Named("x")
    assert named.maxsize == 0
    use(named)
    use(Named(5))
    assert Named(5).maxsize == 0


def test_subclasses_of_an_event_and_a_portal_need_not_call_init():
    class Event(wakefd.IoEvent):
        def __init__(self, name):
            self.name = name

    class Portal(wakefd.Portal):
        def __init__(self, name):
            self.name = name

    async def main():
        done = []
        with Portal(name="x") as portal:
            portal.call_soon(done.append, 1)
            while not done:
                await asyncio.sleep(0)

    asyncio.run(main())
    use(Event("x"))


def test_a_byte_queue_that_was_not_initialised_names_the_missing_call():
    class Messages(wakefd.ByteQueue):
        def __init__(self, name):
            self.name = name

    messages = Messages("x")
    tries = [
        messages.get,
        messages.get_nowait,
        lambda: messages.get_many_nowait(1),
        messages.qsize,
        messages.empty,
        messages.fileno,
        messages.shutdown,
        messages.close,
        messages.native,
        lambda: messages.max_bytes,
        lambda: messages.max_message,
        lambda: messages.is_shutdown,
        lambda: wakefd.wait_any(messages, timeout=0),
        lambda: asyncio.run(messages.async_get()),
    ]
    for attempt in tries:
        with pytest.raises(RuntimeError, match=r"super\(\).__init__\(max_bytes, max_message\)"):
            attempt()
    assert "Messages not initialised" in repr(messages)


def test_a_second_init_changes_no_memory_and_leaks_no_handle():
    messages = wakefd.ByteQueue(4096, 64)
    with pytest.raises(RuntimeError, match=r"ByteQueue\(\) was initialised before"):
        messages.__init__(8192, 64)
    assert messages.max_bytes == 4096
    with wakefd.NativeHandle(wakefd.IoEvent()) as handle:
        argument = handle.argument
        with pytest.raises(RuntimeError, match=r"NativeHandle\(\) was initialised before"):
            handle.__init__(wakefd.IoEvent())
        assert handle.argument == argument


def test_a_queues_second_init_sets_the_maxsize(queue_class):
    queue = queue_class(2)
    queue.__init__(maxsize=3)
    assert queue.maxsize == 3
    queue.__init__()
    assert queue.maxsize == 0


def test_a_subclass_of_a_queue_may_set_the_maxsize(queue_class):
    class Jobs(queue_class):
        def __init__(self, maxsize=0):
            super().__init__(maxsize)

    class Twice(Jobs):
        def __init__(self, size):
            super().__init__(maxsize=2 * size)

    assert [Jobs().maxsize, Jobs(3).maxsize, Jobs(maxsize=4).maxsize, Twice(5).maxsize] == [
        0,
        3,
        4,
        10,
    ]
    jobs = Twice(1)
    jobs.put_many([1, 2])
    with pytest.raises(wakefd.QueueFull):
        jobs.put_nowait(3)


@pytest.mark.parametrize("order", ["lifo", "priority", "fifo"])
def test_a_subclass_of_a_queue_keeps_the_order_of_its_base(order):
    classes = dict(zip(["fifo", "lifo", "priority"], QUEUES, strict=True))

    class Jobs(classes[order]):
        def __init__(self, name, maxsize=0):
            super().__init__(maxsize)

    jobs = Jobs("x")
    jobs.put_many([2, 3, 1])
    assert (
        jobs.get_many_nowait(3)
        == {"fifo": [2, 3, 1], "lifo": [1, 3, 2], "priority": [1, 2, 3]}[order]
    )


def test_a_mixin_before_the_base_passes_its_arguments_on(base):
    class Named:
        def __init__(self, *args, name="", **keywords):
            super().__init__(*args, **keywords)
            self.name = name

    class Thing(Named, base):
        pass

    thing = made(base, lambda *args: Thing(*args, name="x"))
    assert thing.name == "x"
    use(thing)


def test_a_mixin_after_the_base_is_initialised_by_the_subclass(base):
    class Named:
        def __init__(self, name):
            self.name = name

    class Thing(base, Named):
        def __init__(self, name, args):
            base.__init__(self, *args)
            Named.__init__(self, name)

    thing = made(base, lambda *args: Thing("x", args))
    assert thing.name == "x"
    use(thing)


def test_keywords_reach_a_mixin_and_the_base(queue_class):
    class Named:
        def __init__(self, *, name, **keywords):
            super().__init__(**keywords)
            self.name = name

    class Counted:
        def __init__(self, *, start=0, **keywords):
            super().__init__(**keywords)
            self.count = start

    class Jobs(Named, Counted, queue_class):
        pass

    jobs = Jobs(name="x", start=7, maxsize=3)
    assert (jobs.name, jobs.count, jobs.maxsize) == ("x", 7, 3)
    with pytest.raises(TypeError, match="colour"):
        Jobs(name="x", colour="red")


def test_a_subclass_may_override_new(base):
    class Named(base):
        def __new__(cls, name, args):
            self = super().__new__(cls, *args)
            self.name = name
            return self

    thing = made(base, lambda *args: Named("x", args))
    assert thing.name == "x"
    use(thing)


def test_a_subclass_of_a_queue_may_set_the_maxsize_in_new(queue_class):
    class Double(queue_class):
        def __new__(cls, size):
            return super().__new__(cls, 2 * size)

    assert Double(3).maxsize == 6
    with pytest.raises(TypeError, match="maxsize must be an int"):
        Double("x")


def test_a_subclass_may_override_new_and_init(base):
    class Kept(base):
        kept = None

        def __new__(cls, *args, **keywords):  # one instance for all calls
            if cls.kept is None:
                cls.kept = super().__new__(cls, *args, **keywords)
            return cls.kept

        def __init__(self, args, *, name):
            if not hasattr(self, "name"):
                super().__init__(*args)
            self.name = name

    def make(*args):
        first = Kept(args, name="x")
        assert Kept(args, name="y") is first
        return first

    thing = made(base, make)
    assert thing.name == "y"
    Kept.kept = None
    use(thing)


def test_a_subclass_may_have_slots(base):
    class Named(base):
        __slots__ = ("name",)

        def __init__(self, name, args):
            super().__init__(*args)
            self.name = name

    thing = made(base, lambda *args: Named("x", args))
    assert thing.name == "x"
    assert not hasattr(thing, "__dict__")
    use(thing)


def test_a_subclass_of_a_queue_may_be_generic(queue_class):
    class Jobs(queue_class[T], Generic[T]):
        def __init__(self, name: str, maxsize: int = 0) -> None:
            super().__init__(maxsize)
            self.name = name

    use(queue_class[int]())
    assert queue_class[int](3).maxsize == 3
    jobs = Jobs[int]("x", 3)
    assert (jobs.name, jobs.maxsize) == ("x", 3)
    use(jobs)


def test_an_instance_of_a_subclass_cannot_be_copied_or_pickled(base):
    class Named(base):
        def __init__(self, name, args):
            super().__init__(*args)
            self.name = name

    thing = made(base, lambda *args: Named("x", args))
    for refused in (copy.copy, copy.deepcopy, pickle.dumps):
        with pytest.raises(TypeError, match=r"(copied or pickled|pickle)"):
            refused(thing)
    use(thing)


def test_a_subclass_in_a_cycle_is_collected(base):
    class Named(base):
        def __init__(self, args):
            super().__init__(*args)
            self.me = self

    thing = made(base, lambda *args: Named(args))
    use(thing)
    gone = weakref.ref(thing)
    del thing
    gc.collect()
    assert gone() is None


UNSUITED = [
    *(
        (kind, args, {})
        for kind in QUEUES
        for args in [(1, 2), (0, "FIFO"), ("x",), (None,), (1.5,)]
    ),
    *((kind, (), {name: 1}) for kind in QUEUES for name in ["kind", "foo", "self"]),
    *((kind, (1,), {"maxsize": 1}) for kind in QUEUES),
    *((kind, (0, "lifo"), {}) for kind in [wakefd._wakefd.Queue]),
    (wakefd.IoEvent, (1,), {}),
    (wakefd.IoEvent, (), {"name": 1}),
    (wakefd.ByteQueue, (), {}),
    (wakefd.ByteQueue, (1,), {}),
    (wakefd.ByteQueue, (4096, 64, 1), {}),
    (wakefd.ByteQueue, (4096, 64), {"foo": 1}),
    (wakefd.ByteQueue, (4096,), {"max_bytes": 64}),
    (wakefd.ByteQueue, (4096.0, 64), {}),
    (wakefd.NativeHandle, (), {}),
    (wakefd.NativeHandle, (5,), {}),
    (wakefd.NativeHandle, (wakefd.IoEvent(), 5), {}),
    (wakefd.Portal, (1,), {}),
    (wakefd.Portal, (), {"name": 1}),
]


@pytest.mark.parametrize(("kind", "args", "keywords"), UNSUITED)
def test_wakefds_own_classes_refuse_arguments_that_do_not_suit(kind, args, keywords):
    with pytest.raises(TypeError, match=kind.__name__):
        kind(*args, **keywords)

    class Plain(kind):
        pass

    with pytest.raises(TypeError):
        Plain(*args, **keywords)


def test_signatures_and_help_show_the_parameters():
    signatures = {
        wakefd.Queue: "(maxsize=0)",
        wakefd.LifoQueue: "(maxsize=0)",
        wakefd.PriorityQueue: "(maxsize=0)",
        wakefd.IoEvent: "()",
        wakefd.Portal: "()",
        wakefd.ByteQueue: "(max_bytes, max_message)",
        wakefd.NativeHandle: "(source)",
    }
    for kind, signature in signatures.items():
        assert str(inspect.signature(kind)) == signature
        if signature != "()":  # pydoc does not show empty parentheses
            assert f" |  {kind.__name__}{signature}\n" in pydoc.render_doc(
                kind, renderer=pydoc.plaintext
            )

        class Named(kind):
            def __init__(self, name):
                pass

        assert str(inspect.signature(Named)) == "(name)"


def test_instances_of_a_subclass_leave_no_reference_to_their_items(queue_class):
    class Jobs(queue_class):
        def __init__(self, what):
            super().__init__(1)
            self.what = what

    item = object()
    before = sys.getrefcount(item)
    for _ in range(100):
        jobs = Jobs(item)
        jobs.put(item) if queue_class is not wakefd.PriorityQueue else None
    del jobs
    assert sys.getrefcount(item) == before


def test_async_for_calls_an_overridden_async_get():
    class Doubled(wakefd.Queue):
        async def async_get(self):
            return 2 * await super().async_get()

    async def main():
        queue = Doubled()
        queue.put_many(range(5))
        queue.shutdown()
        return [item async for item in queue]

    assert asyncio.run(main()) == [0, 2, 4, 6, 8]


def test_async_for_over_a_byte_queue_calls_an_overridden_async_get():
    class Messages(wakefd.ByteQueue):
        async def async_get(self):
            return (await super().async_get()).decode()

    async def main():
        with Messages(4096, 64) as messages, pusher(messages) as push:
            for message in [b"a", b"b", b"c"]:
                push(message)
            messages.shutdown()
            return [text async for text in messages]

    assert asyncio.run(main()) == ["a", "b", "c"]


def test_async_for_calls_an_overridden_async_get_after_a_wait():
    class Doubled(wakefd.Queue):
        async def async_get(self):
            return 2 * await super().async_get()

    async def main():
        queue, got = Doubled(), []

        async def consume():
            async for item in queue:
                got.append(item)

        task = asyncio.create_task(consume())
        for item in range(3):
            await asyncio.sleep(0.001)
            queue.put_many([item, item])
        queue.shutdown()
        await task
        return got

    assert asyncio.run(main()) == [0, 0, 2, 2, 4, 4]


def test_a_for_loop_calls_an_overridden_get():
    class Doubled(wakefd.Queue):
        def get(self, block=True, timeout=None):
            return 2 * super().get(block, timeout)

    queue = Doubled()
    queue.put_many(range(3))
    queue.shutdown()
    assert list(queue) == [0, 2, 4]


def test_an_abstract_subclass_cannot_be_instantiated(base):
    class Abstract(base, abc.ABC):
        def __init__(self, args):
            super().__init__(*args)

        @abc.abstractmethod
        def work(self): ...

        @abc.abstractmethod
        def rest(self): ...

    class Concrete(Abstract):
        def work(self): ...

        def rest(self): ...

    with pytest.raises(TypeError, match=r"abstract class Abstract .*rest.*work"):
        made(base, lambda *args: Abstract(args))
    use(made(base, lambda *args: Concrete(args)))


@pytest.mark.parametrize("base", [wakefd.Queue, wakefd.IoEvent])
def test_instances_that_are_equal_are_waited_for_one_by_one(base):
    @dataclass
    class Named(base):  # equal to others with the same name, and without a hash
        name: str

    class Same(base):
        def __eq__(self, other):
            return True

        def __hash__(self):
            return 1

    def rise(one):
        one.put(1) if base is wakefd.Queue else one.notify()

    for first, second in [(Named("x"), Named("x")), (Same(), Same())]:
        rise(second)
        assert [one is second for one in wakefd.wait_any(first, second, second, timeout=5)] == [
            True
        ]
        up = asyncio.run(wakefd.any_notified(first, second, second))
        assert [one is second for one in up] == [True]

"""A byte queue takes messages from native threads, for threads and tasks on every kind of loop."""

import array
import asyncio
import copy
import ctypes
import errno
import gc
import os
import pickle
import queue
import resource
import select
import shutil
import signal
import subprocess
import sys
import threading
import time
import warnings
from collections import Counter
from pathlib import Path

import pytest

import kits
import wakefd
from helpers import PATIENCE, Thread, fds, forked, in_child, later, run_child, stress, until
from test_native import API
from wakefd import ByteQueue, IoEvent, QueueShutDown, any_notified, wait_any

HERE = Path(__file__).parent


@pytest.fixture
def q():
    with ByteQueue(1 << 16, 1 << 10) as q:
        yield q


@pytest.fixture
def push(q):
    with pusher(q) as push:
        yield push


class pusher:  # noqa: N801 - the tests use the class as a function
    """A producer that pushes as native code does: without the GIL, through the C table."""

    def __init__(self, q):
        self.handle = q.native()
        self.argument = self.handle.argument

    def __call__(self, message, length=None):
        return API.push(self.argument, message, len(message) if length is None else length)

    def __enter__(self):
        return self

    def __exit__(self, *error):
        self.handle.close()


def waiting(q):
    return int(repr(q).split(" waiting")[0].split()[-1])


# ---- push and get ----


def test_messages_come_out_in_their_order(q, push):
    messages = [b"", b"\0", b"x" * 7, b"y" * 8, bytes(range(256)), b"z" * (1 << 10)]
    assert [push(message) for message in messages] == [1] * len(messages)
    assert q.qsize() == len(messages) and not q.empty()
    assert q.get() == b""
    assert q.get_many(2) == messages[1:3]
    assert q.get_nowait() == messages[3]
    assert q.get_many_nowait(99) == messages[4:]
    assert q.get_many_nowait(99) == []
    assert q.qsize() == 0 and q.empty()


def test_push_returns_one_zero_or_the_negative_errno(q, push):
    assert push(b"x" * (q.max_message + 1)) == -errno.EMSGSIZE
    assert push(None, 1) == -errno.EINVAL
    assert push(None, 0) == 1 and q.get() == b""
    assert API.push(None, b"x", 1) == -errno.EINVAL
    assert API.push(0xDEADBEEF, b"x", 1) == -errno.EBADF
    with IoEvent().native() as handle:
        assert API.push(handle.argument, b"x", 1) == -errno.EINVAL
    with pusher(q) as other:
        assert other(b"x") == 1
    assert other(b"x") == -errno.EBADF
    q.shutdown()
    assert push(b"x") == -errno.EPIPE
    assert q.get() == b"x"


@pytest.mark.parametrize("length", [0, 1, 7, 8, 9, 16, 23])
def test_a_full_queue_takes_no_message_wherever_the_messages_stand_in_the_ring(length):
    """A message takes 8 bytes and its length, rounded up to a multiple of 8, at each offset."""
    takes = 8 + (length + 7) // 8 * 8
    q = ByteQueue(104, 24)
    with pusher(q) as push:
        for offset in range(13):
            room = 104 // takes
            messages = [bytes([offset, n] * 12)[:length] for n in range(room)]
            assert [push(message) for message in messages] == [1] * room
            assert push(messages[0]) == 0
            assert q.qsize() == room
            assert q.get_nowait() == messages[0]
            assert push(messages[0]) == 1  # the get has made room
            assert q.get_many_nowait(99) == messages[1:] + messages[:1]
            assert push(b"") == 1 and q.get() == b""  # the next round begins at another offset


def test_one_message_may_take_all_the_room():
    q = ByteQueue(32, 24)
    with pusher(q) as push:
        for n in range(5):
            assert push(bytes([n] * 24)) == 1
            assert push(b"") == 0
            assert q.get() == bytes([n] * 24)


def test_sizes_that_do_not_fit_raise():
    for max_bytes, max_message in ((31, 24), (0, 0), (7, 0), (1 << 34, 1), (8, 1), (8, 1 << 62)):
        with pytest.raises(ValueError, match=f"max_message={max_message} bytes takes"):
            ByteQueue(max_bytes, max_message)
    for sizes in ((-1, 0), (8, -1)):
        with pytest.raises(ValueError, match="must not be negative"):
            ByteQueue(*sizes)
    for sizes in ((), (8,), ("8", 0), (8.5, 0)):
        with pytest.raises(TypeError):
            ByteQueue(*sizes)
    q = ByteQueue(8, 0)
    assert q.max_bytes == 8 and q.max_message == 0
    with pusher(q) as push:
        assert push(b"") == 1 and push(b"") == 0 and q.get() == b""


def test_get_from_an_empty_queue_and_wrong_arguments_raise(q):
    for get in (q.get_nowait, lambda: q.get(False), lambda: q.get(timeout=0.01)):
        with pytest.raises(queue.Empty):
            get()
    with pytest.raises(queue.Empty):
        q.get_many(1, 0.01)
    for call in (q.get_many, q.get_many_nowait):
        with pytest.raises(ValueError, match="negative"):
            call(-1)
    for timeout in (-1, float("nan")):
        for call in (q.get, lambda timeout: q.get_into(bytearray(1), timeout=timeout)):
            with pytest.raises(ValueError, match="timeout"):
                call(timeout=timeout)
    assert waiting(q) == 0


# ---- get_into ----


def test_get_into_copies_a_message_into_any_writable_buffer(q, push):
    push(b"one")
    push(b"")
    push(b"three")
    for buffer in (bytearray(5), array.array("H", [0] * 4), memoryview(bytearray(9))[2:8]):
        assert q.get_into(buffer) == 3
        assert bytes(memoryview(buffer).cast("B")[:3]) == b"one"
        push(b"one")
        assert q.get_into(buffer) == 0
        push(b"")
        assert q.get_into(buffer) == 5
        push(b"three")
    with pytest.raises(queue.Empty):
        q.get_many_nowait(99) and q.get_into(bytearray(1))


def test_get_into_a_buffer_that_is_too_small_leaves_the_message(q, push):
    push(b"message")
    push(b"next")
    small = bytearray(b"------")
    with pytest.raises(ValueError, match="7 bytes, and the buffer only 6"):
        q.get_into(small)
    assert small == b"------" and q.qsize() == 2
    assert select.select([q], [], [], 0)[0]
    assert q.get() == b"message"
    assert q.get_into(small) == 4


def test_get_into_an_object_that_is_no_writable_buffer_raises(q, push):
    push(b"x")
    for buffer in (b"12345", memoryview(b"12345")):
        with pytest.raises((TypeError, BufferError)):
            q.get_into(buffer)
    for buffer in ("12345", None, 5, [1, 2, 3]):
        with pytest.raises(TypeError):
            q.get_into(buffer)
    with pytest.raises(BufferError):
        q.get_into(memoryview(bytearray(9))[::2])
    assert q.qsize() == 1


def test_get_into_waits_for_a_message_if_block_or_timeout_says_so(q, push):
    buffer = bytearray(5)
    began = time.monotonic()
    with pytest.raises(queue.Empty):
        q.get_into(buffer, timeout=0.02)
    assert time.monotonic() - began >= 0.02
    for arguments in ((True,), (False, PATIENCE), (True, PATIENCE)):
        thread = Thread(q.get_into, buffer, *arguments)
        until(lambda: waiting(q) == 1)
        push(b"hi")
        assert thread.finish() == 2 and buffer[:2] == b"hi"


# ---- threads ----


def test_get_waits_for_a_push(q, push):
    thread = Thread(q.get)
    until(lambda: waiting(q) == 1)
    push(b"message")
    assert thread.finish() == b"message"
    assert waiting(q) == 0


def test_many_threads_wait_and_each_gets_one_message(q, push):
    threads = [Thread(q.get) for _ in range(8)]
    until(lambda: waiting(q) == 8)
    for n in range(8):
        push(b"%d" % n)
    assert sorted(thread.finish() for thread in threads) == [b"%d" % n for n in range(8)]


def test_a_for_loop_in_a_thread_ends_at_shutdown(q, push):
    thread = Thread(list, q)
    for n in range(100):
        push(b"%d" % n)
    q.shutdown()
    assert thread.finish() == [b"%d" % n for n in range(100)]


@in_child
def test_a_signal_handler_that_raises_ends_a_blocked_get():
    class HeyError(Exception):
        pass

    heard = []

    def handler(*_):
        heard.append(True)
        if len(heard) == 1:
            raise HeyError

    signal.signal(signal.SIGUSR1, handler)
    q = ByteQueue(64, 8)
    main = threading.main_thread().ident

    def interrupt():
        until(lambda: waiting(q) == 1)
        while not heard:  # a signal may arrive just before the thread sleeps
            signal.pthread_kill(main, signal.SIGUSR1)
            time.sleep(0.01)

    thread = Thread(interrupt)
    with pytest.raises(HeyError):
        q.get(timeout=PATIENCE)
    thread.finish()
    assert waiting(q) == 0


# ---- tasks ----


async def until_waiting(kit, q, count=1):
    async with kit.patient(f"{count} waiters of {q}"):
        while waiting(q) != count:
            await kit.sleep(0.0005)


async def test_a_task_gets_what_a_thread_pushes(kit, q, push):
    later(lambda: push(b"message"))
    assert await q.async_get() == b"message"
    later(lambda: [push(b"1"), push(b"2")])
    got = []
    while len(got) < 2:
        got += await q.async_get_many(9)
    assert got == [b"1", b"2"]
    with pytest.raises(ValueError, match="negative"):
        await q.async_get_many(-1)


async def test_async_for_ends_at_shutdown(kit, q, push):
    def work():
        for n in range(1000):
            until(lambda n=n: push(b"%d" % n) == 1)
        q.shutdown()

    thread = Thread(work)
    assert [message async for message in q] == [b"%d" % n for n in range(1000)]
    thread.finish()
    assert [message async for message in q] == []
    for get in (q.async_get, lambda: q.async_get_many(1)):
        with pytest.raises(QueueShutDown):
            await get()


async def test_anext_with_a_default_cancelled_the_task(kit, q, push):
    """anext() with a default asks for the iterator of the awaitable again at every step."""
    items = aiter(q)
    for _ in range(2):
        thread = later(lambda: push(b"message"))
        assert await anext(items, "default") == b"message"
        thread.finish()
    push(b"one")
    push(b"two")
    awaitable = anext(items)  # not awaited yet, so it takes no message
    assert await anext(items, "default") == b"one"
    assert await awaitable == b"two"
    q.shutdown()
    assert await anext(items, "default") == "default"


async def test_a_break_out_of_async_for_leaves_the_rest_in_the_queue(kit, q, push):
    for n in range(5):
        push(b"%d" % n)
    async for _ in q:
        break
    assert q.qsize() == 4
    messages = aiter(q)
    assert await anext(messages) == b"1"
    anext(messages)  # never awaited
    del messages
    gc.collect()
    assert [await q.async_get() for _ in range(3)] == [b"2", b"3", b"4"]


async def test_a_cancelled_get_loses_no_message(kit, q, push):
    async def first_of_all():
        return await anext(aiter(q))

    for how in (q.async_get, lambda: q.async_get_many(3), first_of_all):
        first, second = kit.spawn(how), kit.spawn(q.async_get)
        await until_waiting(kit, q, 2)
        push(b"message")  # wakes both waiters
        first.cancel()
        if await first.join() != kits.CANCELLED:
            push(b"message")
        await second.join()
        assert q.empty() and waiting(q) == 0


async def test_a_flood_of_messages_leaves_the_loop_its_turns(kit):
    q = ByteQueue(1 << 19, 8)
    with pusher(q) as push:
        count = 0
        while push(b"") == 1:
            count += 1
        turns = 0
        done = False

        async def ticker():
            nonlocal turns
            while not done:
                await kit.turn()
                turns += 1

        task = kit.spawn(ticker)
        await kit.turn()
        async for _ in q:
            count -= 1
            if not count:
                break
        done = True
        await task.join()
    # 65,536 messages take many times the half millisecond that a turn may last.
    assert turns >= 3


async def test_two_tasks_share_the_messages(kit, q, push):
    got = [[], []]

    async def consume(into):
        into.extend([message async for message in q])

    tasks = [kit.spawn(consume, into) for into in got]
    for n in range(300):
        push(b"%03d" % n)
        if n % 50 == 0:
            await kit.turn()
    q.shutdown()
    for task in tasks:
        await task.join()
    assert sorted(got[0] + got[1]) == [b"%03d" % n for n in range(300)]
    assert got[0] == sorted(got[0]) and got[1] == sorted(got[1])


# ---- the descriptor, the C table, wait_any and any_notified ----


def test_fileno_is_readable_while_there_is_a_message_or_after_shutdown(q, push):
    readable = lambda: bool(select.select([q.fileno()], [], [], 0)[0])  # noqa: E731
    assert not readable()
    push(b"1")
    push(b"2")
    assert readable()
    q.get()
    assert readable()
    q.get()
    assert not readable()
    push(b"3")
    assert q.get_many_nowait(9) == [b"3"] and not readable()
    q.shutdown()
    assert readable()
    with pytest.raises(QueueShutDown):
        q.get()
    assert readable()


def test_the_functions_of_the_c_table_act_on_the_event_of_the_queue(q, push):
    argument = push.argument
    assert API.is_set(argument) == 0 and API.clear(argument) == 0
    assert API.fileno(argument) == q.fileno()
    push(b"message")
    assert API.is_set(argument) == 1
    assert API.clear(argument) == 1
    assert API.is_set(argument) == 1, "the message is still inside"
    assert wait_any(q, timeout=0) == [q]
    assert q.get() == b"message"
    assert API.is_set(argument) == 0
    assert API.notify(argument) == 1  # without a message: the next get clears the event
    with pytest.raises(queue.Empty):
        q.get_nowait()
    assert API.is_set(argument) == 0
    q.close()
    assert API.clear(argument) == 1 and API.is_set(argument) == 1
    ctypes.CFUNCTYPE(None, ctypes.c_void_p)(push.handle.function)(argument)


async def test_any_notified_and_wait_any_return_a_byte_queue_with_a_message(kit, q, push):
    event, items = IoEvent(), wakefd.Queue()
    later(lambda: push(b"message"))
    assert await any_notified(event, q, items) == [q]
    assert q.get_nowait() == b"message"
    later(event.notify)
    assert await any_notified(q, event) == [event]
    assert wait_any(q, event, timeout=0) == [event]
    q.shutdown()
    assert wait_any(q, timeout=0) == [q]


def test_a_native_clear_does_not_leave_a_consumer_waiting(q, push):
    push(b"1")
    API.clear(push.argument)
    assert Thread(q.get).finish() == b"1"


# ---- the end ----


def test_shutdown_leaves_the_messages_to_consumers(q, push):
    push(b"1")
    push(b"2")
    q.shutdown()
    q.shutdown()
    assert q.is_shutdown and q.qsize() == 2
    assert q.get() == b"1" and q.get_many(9) == [b"2"]
    for get in (
        q.get,
        q.get_nowait,
        lambda: q.get_many(1),
        lambda: q.get_many_nowait(1),
        lambda: q.get_into(bytearray(9)),
    ):
        with pytest.raises(QueueShutDown):
            get()


@pytest.mark.parametrize("end", [ByteQueue.close, lambda q: q.shutdown(immediate=True)])
def test_close_discards_the_messages(q, push, end):
    while push(b"x" * 56) == 1:  # until the tail has come round to the head
        pass
    end(q)
    assert q.is_shutdown and q.qsize() == 0 and "shut down" in repr(q)
    with pytest.raises(QueueShutDown):
        q.get()
    with pytest.raises(QueueShutDown):
        q.get_many_nowait(3)
    assert push(b"") == -errno.EPIPE
    assert select.select([q], [], [], 0)[0]


def test_shutdown_releases_all_waiting_threads(q):
    threads = [Thread(q.get), Thread(q.get_many, 3), Thread(list, q)]
    until(lambda: waiting(q) == 3)
    q.shutdown()
    for thread in threads[:2]:
        with pytest.raises(QueueShutDown):
            thread.finish()
    assert threads[2].finish() == []


def test_the_end_of_a_with_block_closes_the_queue():
    with ByteQueue(64, 8) as q:
        assert not q.is_shutdown
    assert q.is_shutdown


def test_a_push_into_a_collected_queue_returns_epipe():
    before = fds()
    q = ByteQueue(64, 8)
    q.fileno()
    push = pusher(q)
    assert push(b"x") == 1
    del q
    gc.collect()
    assert push(b"x") == -errno.EPIPE
    push.handle.close()
    assert push(b"x") == -errno.EBADF
    IoEvent().close()  # a close also gives back the descriptors of dropped objects
    assert fds() == before


def test_a_byte_queue_cannot_be_copied_or_pickled(q):
    for act in (copy.copy, copy.deepcopy, pickle.dumps):
        with pytest.raises(TypeError, match="ByteQueue cannot be copied or pickled"):
            act(q)


def test_the_repr_tells_the_messages_the_waiters_and_the_shutdown(q, push):
    assert "<wakefd.ByteQueue 0 messages in 65536 bytes, 0 waiting at 0x" in repr(q)
    push(b"")
    assert "1 message in" in repr(q)
    q.shutdown()
    assert "0 waiting, shut down at" in repr(q)


# ---- forks, and the end of the process ----


@in_child
def test_the_child_of_a_fork_has_an_empty_queue_of_its_own():
    q = ByteQueue(1 << 10, 8)
    fd = q.fileno()
    push = pusher(q)
    for n in range(5):
        push(b"%d" % n)
    q.get()

    def child():
        assert q.qsize() == 0 and q.fileno() == fd
        assert not select.select([fd], [], [], 0)[0]
        with pytest.raises(queue.Empty):
            q.get_nowait()
        for lap in range(200):
            assert push(b"%d" % lap) == 1
            assert q.get() == b"%d" % lap
        count = 0
        while push(b"child") == 1:
            count += 1
        assert count == (1 << 10) // 16
        thread = Thread(lambda: q.get_many(999))
        assert len(thread.finish()) == count
        asyncio.run(asyncio.wait_for(after(lambda: push(b"x"), q.async_get), PATIENCE))
        q.close()

    for _ in range(2):
        forked(child)
    assert not q.is_shutdown and q.get_many(99) == [b"%d" % n for n in range(1, 5)]
    q.shutdown()

    def child_of_a_shut_down_queue():
        assert q.is_shutdown and select.select([fd], [], [], 0)[0]
        with pytest.raises(QueueShutDown):
            q.get()

    forked(child_of_a_shut_down_queue)


@in_child
def test_a_fork_does_not_copy_the_memory_of_the_messages():
    """A child that will exec at once has no use for the memory, and perhaps no room for it."""
    size = 1 << 24
    q = ByteQueue(size, 1 << 20)
    push = pusher(q)
    message = b"x" * ((1 << 20) - 8)
    while push(message) == 1:
        pass

    def child():
        taken = resource.getrusage(resource.RUSAGE_SELF).ru_minflt * resource.getpagesize()
        assert taken < size // 2, taken
        assert q.qsize() == 0 and push(b"child") == 1 and q.get() == b"child"

    forked(child)
    assert q.get() == message


async def after(act, wait):
    asyncio.get_running_loop().call_later(0.01, act)
    return await wait()


@in_child
def test_a_fork_while_threads_push_and_get_gives_the_child_a_sound_queue():
    """At the fork, a producer or a consumer may be in the middle of a message."""
    lib = pushers()
    q = ByteQueue(1 << 12, 64)
    threads = 2
    running = Pushing(lib, q, threads, 1 << 31, 8, 64)
    taken = []
    consumer = Thread(lambda: [taken.append(len(m)) for m in q])

    def child():
        assert q.qsize() == 0
        push = pusher(q)
        for lap in range(100):
            message = bytes([lap] * (lap % 65))
            assert push(message) == 1 and q.get() == message

    for _ in range(stress(20, 500)):
        forked(child)
    until(lambda: len(taken) > 1000)
    q.close()
    assert running.join() == -errno.EPIPE
    consumer.finish()


def test_the_interpreter_exits_quietly_while_native_threads_push():
    run_child("test_byte_queue", "exits_while_native_threads_push", pushers_path(), strict=True)


kept = []  # what must live until the interpreter's end


def exits_while_native_threads_push(path):
    q = ByteQueue(1 << 16, 64)
    kept.append(Pushing(load(path), q, 4, 1 << 31, 8, 64))
    assert len(q.get_many(10)) > 0
    warnings.simplefilter("ignore")  # the handles are open at the exit


# ---- native threads ----


def pushers_path(built=[]):  # noqa: B006 - the list keeps the path for all calls
    if not built:
        compiler = shutil.which("cc") or shutil.which("gcc") or shutil.which("clang")
        if compiler is None or sys.platform == "win32":
            pytest.skip("no C compiler")
        import tempfile

        out = os.path.join(tempfile.mkdtemp(), "pushers.so")
        command = f"{compiler} -std=c11 -O2 -Wall -Wextra -Werror -pedantic -shared -fPIC -pthread"
        subprocess.run(
            [
                *command.split(),
                "-D_POSIX_C_SOURCE=200809L",
                f"-I{wakefd.get_include()}",
                "-o",
                out,
                HERE / "pushers.c",
            ],
            check=True,
            timeout=120,
        )
        built.append(out)
    return built[0]


def load(path):
    lib = ctypes.CDLL(str(path))
    lib.pushers_start.restype = ctypes.c_void_p
    lib.pushers_start.argtypes = [
        ctypes.c_void_p,
        ctypes.c_void_p,
        *[ctypes.c_uint32] * 2,
        *[ctypes.c_size_t] * 2,
    ]
    lib.pushers_join.restype = ctypes.c_int64
    lib.pushers_join.argtypes = [ctypes.c_void_p, ctypes.c_uint32]
    return lib


def pushers():
    return load(pushers_path())


class Pushing:
    """Native threads that push, as pushers.c starts them."""

    def __init__(self, lib, q, threads, count, least, most):
        self.lib, self.threads = lib, threads
        self.handles = [q.native() for _ in range(threads)]
        arguments = (ctypes.c_void_p * threads)(*[handle.argument for handle in self.handles])
        self.all = lib.pushers_start(ctypes.addressof(API), arguments, threads, count, least, most)
        assert self.all

    def join(self):
        full = self.lib.pushers_join(self.all, self.threads)
        for handle in self.handles:
            handle.close()
        return full


def take_all(q, got):
    """Get messages in a thread, in every way."""
    buffer = bytearray(q.max_message)
    how = 0
    while True:
        how += 1
        try:
            if how % 4 == 0:
                got.append(q.get(timeout=0.001))
            elif how % 4 == 1:
                got.append(bytes(buffer[: q.get_into(buffer, timeout=0.001)]))
            else:
                got += q.get_many(1 + how % 50, 0.01)
        except queue.Empty:
            continue
        except QueueShutDown:
            return


async def take_all_on(kit, q, got):
    async def get():
        got.append(await q.async_get())

    async def async_for():
        left = 20
        async for message in q:
            got.append(message)
            left -= 1
            if not left:
                return

    how = 0
    while not (q.is_shutdown and q.empty()):
        how += 1
        try:
            if how % 3 == 0:
                got += await q.async_get_many(1 + how % 50)
            elif how % 3 == 1:
                await async_for()
            else:
                async with kit.move_on_after((how % 5) * 0.0002):
                    await get()
        except QueueShutDown:
            return


@pytest.mark.stress
@pytest.mark.parametrize("max_bytes", [256, 1 << 16])
def test_no_message_is_lost_torn_or_delivered_twice(max_bytes):
    threads, count = 4, stress(5_000, 50_000 if max_bytes == 256 else 400_000)
    patience = stress(PATIENCE, 3600)
    q = ByteQueue(max_bytes, 200)
    gots, consumers = [], []
    for name in ("thread", "thread", "asyncio", "trio"):
        gots.append(got := [])
        if name == "thread":
            consumers.append(Thread(take_all, q, got))
        else:
            kit = kits.kit(name)
            main = lambda kit=kit, got=got: take_all_on(kit, q, got)  # noqa: E731
            consumers.append(Thread(kit.run, main, patience))
    running = Pushing(pushers(), q, threads, count, 8, 200)
    assert Thread(running.join).finish(patience) >= 0
    q.shutdown()
    for consumer in consumers:
        consumer.finish(patience)
    seen = Counter()
    for got in gots:
        last = [-1] * threads
        for message in got:
            producer, which = (int.from_bytes(message[at : at + 4], sys.byteorder) for at in (0, 4))
            assert message[8:] == bytes([(producer + which) & 0xFF]) * (len(message) - 8), (
                "the message is torn"
            )
            assert which > last[producer], "the messages of one producer are out of order"
            last[producer] = which
            seen[producer, which] += 1
    assert len(seen) == threads * count and set(seen.values()) == {1}
    assert q.empty() and waiting(q) == 0


@in_child
def test_the_memory_of_a_queue_is_bounded_and_an_idle_queue_has_none():
    lib = pushers()

    def resident():
        return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")

    before = resident()
    queues = [ByteQueue(1 << 30, 1 << 20) for _ in range(8)]
    assert resident() - before < 4 << 20
    del queues
    q = ByteQueue(1 << 20, 64)
    running = Pushing(lib, q, 4, stress(20_000, 5_000_000), 64, 64)
    buffer = bytearray(64)
    thread = Thread(running.join)
    while thread.is_alive() or not q.empty():
        try:
            q.get_into(buffer, timeout=0.01)
        except queue.Empty:
            continue
    assert thread.finish() >= 0
    assert resident() - before < 16 << 20

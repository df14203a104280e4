"""Typed programs use wakefd like this: `make lint` checks the types, and nothing runs the code."""

import queue
from typing import assert_type

import wakefd
import wakefd.compat as janus


def number_of_items_that_went_in(jobs: wakefd.Queue[str], names: list[str]) -> int:
    try:
        jobs.put_many(names, timeout=1)
    except wakefd.QueueFull as full:
        return assert_type(full.accepted, int)
    except wakefd.QueueShutDown as shut:
        return assert_type(shut.accepted, int)
    return len(names)


def catch_full_by_the_standard_librarys_name(jobs: wakefd.Queue[str]) -> bool:
    try:
        jobs.put_nowait("name")
    except queue.Full as full:
        return isinstance(full, wakefd.QueueFull) and full.accepted == 0
    return True


class Jobs(wakefd.Queue[str]):
    def __init__(self, name: str, maxsize: int = 0) -> None:
        super().__init__(maxsize)
        self.name = name


class NamedEvent(wakefd.IoEvent):
    def __init__(self, name: str) -> None:
        super().__init__()
        self.name = name


class Messages(wakefd.ByteQueue):
    def __init__(self, name: str) -> None:
        super().__init__(1 << 20, 4096)
        self.name = name


class Calls(wakefd.Portal):
    def __init__(self, name: str) -> None:
        super().__init__()
        self.name = name


def subclasses_have_parameters_of_their_own() -> None:
    assert_type(Jobs("x", maxsize=3), Jobs)
    assert_type(Jobs("x").get(), str)
    assert_type(NamedEvent("x"), NamedEvent)
    assert_type(Messages("x"), Messages)
    assert_type(Calls("x"), Calls)
    assert_type(wakefd.Queue[int](3), wakefd.Queue[int])
    assert_type(wakefd.LifoQueue[int](maxsize=3), wakefd.LifoQueue[int])
    assert_type(wakefd.IoEvent(), wakefd.IoEvent)
    assert_type(wakefd.IoEvent().native(), wakefd.NativeHandle)


def wakefds_own_classes_refuse_other_parameters() -> None:
    wakefd.Queue[int](1, 2)  # type: ignore[call-arg] # pyright: ignore[reportCallIssue]
    wakefd.IoEvent(1)  # type: ignore[call-arg] # pyright: ignore[reportCallIssue]
    wakefd.Portal(1)  # type: ignore[call-arg] # pyright: ignore[reportCallIssue]


async def get_many_without_max_returns_a_list(
    jobs: wakefd.Queue[str], messages: wakefd.ByteQueue
) -> None:
    assert_type(jobs.get_many_nowait(), list[str])
    assert_type(jobs.get_many(timeout=1), list[str])
    assert_type(await jobs.async_get_many(), list[str])
    assert_type(messages.get_many_nowait(), list[bytes])
    assert_type(messages.get_many(None), list[bytes])
    assert_type(await messages.async_get_many(0), list[bytes])


async def compat_types_the_names_of_janus(jobs: janus.Queue[str]) -> str:
    assert_type(jobs, wakefd.Queue[str])
    assert_type(jobs.sync_q, janus.SyncQueue[str])
    assert_type(jobs.async_q, janus.AsyncQueue[str])
    assert_type(jobs.sync_q.wrapped, wakefd.Queue[str])
    try:
        jobs.async_q.put_nowait(jobs.sync_q.get())
        return assert_type(await jobs.async_q.get(), str)
    except (janus.SyncQueueEmpty, janus.SyncQueueFull, janus.SyncQueueShutDown):
        return ""
    except (janus.AsyncQueueEmpty, janus.AsyncQueueFull, janus.AsyncQueueShutDown):
        return ""


def the_names_that_load_late_are_typed() -> None:
    with (
        wakefd.Queue[int]() as jobs,
        wakefd.IoEvent() as event,
        wakefd.ByteQueue(64, 8) as messages,
    ):
        assert_type(jobs, wakefd.Queue[int])
        assert_type(event, wakefd.IoEvent)
        assert_type(messages, wakefd.ByteQueue)
        assert_type(wakefd.wait_any(event, timeout=0), list[wakefd.IoEvent])
    assert_type(wakefd.SelectorEventLoop(), wakefd.SelectorEventLoop)
    wakefd.SyncQueue  # type: ignore[attr-defined] # noqa: B018 # pyright: ignore[reportAttributeAccessIssue, reportUnknownMemberType, reportUnusedExpression]

"""How typed programs use wakefd. `make lint` checks the types; nothing runs it."""

import queue
from typing import assert_type

import wakefd


def how_many_went_in(jobs: wakefd.Queue[str], names: list[str]) -> int:
    try:
        jobs.put_many(names, timeout=1)
    except wakefd.QueueFull as full:
        return assert_type(full.accepted, int)
    except wakefd.QueueShutDown as shut:
        return assert_type(shut.accepted, int)
    return len(names)


def the_standard_librarys_name(jobs: wakefd.Queue[str]) -> bool:
    try:
        jobs.put_nowait("name")
    except queue.Full as full:
        return isinstance(full, wakefd.QueueFull) and full.accepted == 0
    return True

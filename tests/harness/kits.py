"""Event loops behind one face, so that one test body runs on all of them.

A kit runs an async function and gives it `notified`, `sleep`, `turn`, `spawn`, `move_on_after`,
`patient` and `watch`.
"""

import asyncio
import sys
from functools import partial

import wakefd
from kit_asyncio import (
    AsyncioKit,
    ThreadedLoop,
    TornadoKit,
    UnknownLoop,
    UnknownThreadedLoop,
    ZmqAsyncioKit,
    python_task,
    rloop_kit,
    uvloop_kit,
)
from kit_base import CANCELLED, Kit
from kit_blocking import GeventKit, ThreadsKit
from kit_gui import QtKit, TkKit
from kit_pollers import PollerKit, new_epoll, new_poll, new_select, new_selectors, new_zmq
from kit_trio import anyio_kit, as_guest, trio_kit
from kit_twisted import TwistedKit

__all__ = ["ALONE", "ASYNCIO", "CANCELLED", "KITS", "LOOPS", "Kit", "kit", "names"]

CAN = {
    "await": "a task awaits `event.notified()` and `async for` directly",
    "cancel": "a waiting task can be cancelled",
    "close": "a waiter is told of the close",
    "end": "the loop may end while a task waits",
    "fair": "a consumer whose flag is always up does not starve the others",
    "finalize": "the end of a run finalizes asynchronous generators",
    "hub": "the loop waits with a hub of wakefd",
    "loop": "one task runs at a time",
    "order": "tasks resume in the order of the waits, and of the notifications",
    "reader": "the loop itself watches a user's descriptors",
    "remembers": "a rise that is cleared at once releases the waiters all the same",
    "shared": "all events share one descriptor",
    "threads": "a loop may run in any thread",
}

_NO_READER = {"reader": "add_reader raises NotImplementedError: the selector thread serves it"}
_SHUFFLES = {"order": "trio shuffles its tasks"}
_GEVENT = {"await": "greenlets do not await: wakefd.gevent.wait"}
_TWISTED = {"await": "wakefd.twisted.notified"}
_POLLER = {
    "await": "the poller knows `fileno()` alone",
    "close": "a descriptor must leave the poller before it is closed",
    "hub": "the poller has its own way to wait",
    "order": "the order is the kernel's, or that of the descriptors",
    "remembers": "a descriptor is readable no longer than the flag is up",
    "shared": "each event has its own descriptor",
}
_QT = {
    "await": "wakefd.qt.EventNotifier",
    "close": "the watch ends quietly: a watch is for programs that look at every rise",
    "order": "the order is the dispatcher's",
    "shared": "each notifier may be moved to another thread, so it has its own descriptor",
}

# The abilities that a kit lacks, and why. Each kit has all others.
LACKS = {
    "asyncio-thread": _NO_READER,
    "asyncio-thread-future": _NO_READER,
    "tornado": {"finalize": "IOLoop.close() leaves asynchronous generators alone"},
    "trio": _SHUFFLES,
    "trio-guest": _SHUFFLES,
    "anyio-trio": _SHUFFLES,
    "gevent": _GEVENT,
    "gevent-patched": _GEVENT,
    "twisted-epoll": _TWISTED,
    "twisted-poll": _TWISTED,
    "twisted-select": _TWISTED,
    "twisted-asyncio": _TWISTED,
    "qt": _QT,
    "qt-glib": _QT,
    "tk": {
        "await": "wakefd.tk.watch",
        "close": "the watch ends quietly",
        "threads": "Tcl must be freed in its own thread, and the collector runs anywhere",
    },
    "threads": {
        "await": "threads block: event.wait",
        "cancel": "a blocked thread cannot be cancelled",
        "end": "there is no loop",
        "fair": "there is no loop",
        "loop": "threads run at the same time",
        "order": "the order is the scheduler's",
        "reader": "there is no loop",
        "shared": "each thread has its own hub",
    },
    "select": _POLLER,
    "poll": _POLLER,
    "epoll": _POLLER,
    "selectors": _POLLER,
    "zmq": _POLLER,
    "zmq-asyncio": _POLLER,
}

KITS = {
    "asyncio": AsyncioKit,
    "asyncio-debug": partial(AsyncioKit, debug=True),
    "asyncio-future": partial(AsyncioKit, loop=UnknownLoop),
    "asyncio-python-task": partial(AsyncioKit, task_factory=python_task),
    "asyncio-selector-loop": partial(AsyncioKit, loop=wakefd.SelectorEventLoop),
    "asyncio-thread": partial(AsyncioKit, loop=ThreadedLoop),
    "asyncio-thread-future": partial(AsyncioKit, loop=UnknownThreadedLoop),
    "uvloop": uvloop_kit,
    "uvloop-debug": partial(uvloop_kit, debug=True),
    "rloop": rloop_kit,
    "tornado": TornadoKit,
    "trio": trio_kit,
    "trio-guest": partial(trio_kit, run=as_guest),
    "anyio-asyncio": anyio_kit,
    "anyio-trio": anyio_kit,
    "gevent": GeventKit,
    "gevent-patched": GeventKit,
    "twisted-epoll": TwistedKit,
    "twisted-poll": TwistedKit,
    "twisted-select": TwistedKit,
    "twisted-asyncio": TwistedKit,
    "qt": QtKit,
    "qt-glib": QtKit,
    "tk": TkKit,
    "threads": ThreadsKit,
    "select": partial(PollerKit, poller=new_select),
    "poll": partial(PollerKit, poller=new_poll),
    "epoll": partial(PollerKit, poller=new_epoll),
    "selectors": partial(PollerKit, poller=new_selectors),
    "zmq": partial(PollerKit, poller=new_zmq),
    "zmq-asyncio": ZmqAsyncioKit,
}
if sys.version_info >= (3, 12):
    KITS["asyncio-eager"] = partial(AsyncioKit, task_factory=asyncio.eager_task_factory)

ASYNCIO = [name for name in KITS if name.startswith(("asyncio", "uvloop"))]

# The kits that change their process, or may end it: the contract runs in a fresh interpreter.
ALONE = ["gevent-patched", "qt", "qt-glib", "tk"]

# The kits whose library itself needs an eventfd.
NEED_EVENTFD = ["rloop", "uvloop", "uvloop-debug", "qt"]

# The kits whose library never ends the main thread's loop.
ENDLESS_IN_MAIN_THREAD = ["gevent", "gevent-patched"]

# One kit of each kind of loop, for slow tests.
LOOPS = ("asyncio", "uvloop", "trio")


def kit(name):
    made = KITS[name](name)
    made.lacks = LACKS.get(name, ())
    return made


def names(needs, only=None):
    """Return the kits that have all of these abilities and run in this process."""
    return [
        name
        for name in KITS
        if (name == only if only else name not in ALONE) and not needs & {*LACKS.get(name, ())}
    ]

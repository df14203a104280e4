"""
The compiled half of wakefd. Use the package `wakefd`.
"""

from _typeshed import SupportsGetItem
from typing import Any, Final, SupportsFloat, SupportsIndex, final
from typing_extensions import disjoint_base

__all__ = ["VERSION", "ByteQueue", "Hub", "Inbox", "IoEvent", "Items", "NativeHandle", "Place", "Portal", "Queue", "Reader", "Ready", "Receiver", "Turn", "Waiter", "assume_free_threaded", "backend", "c_api", "exceptions", "hand_over", "hand_over_limits", "items", "seconds", "set_up", "wait_for_one"]

VERSION: Final[str]
"""
The version of the package, from Cargo.toml.
"""

@disjoint_base
class ByteQueue:
    """
    A queue of messages of bytes from native threads to threads and tasks.

    The base class of `wakefd.ByteQueue`, which adds what needs an event loop.
    """
    def __init__(self, /, *args: "object", **kwargs: "object") -> None: ...
    def __new__(cls, /, *args: "object", **kwargs: "object") -> ByteQueue:
        """
        Raise ValueError if a message of `max_message` bytes does not fit in `max_bytes`; MemoryError if there is no memory.
        """
    def __reduce__(self, /) -> str: ...
    def __repr__(self, /) -> str: ...
    def _get(self, /) -> bytes | None:
        """
        Take a message if there is one. Return None if there is none.
        """
    def _get_many(self, /, max: SupportsIndex | None) -> Any | None:
        """
        Take up to `max` messages if there are some. Return None if there are none.
        """
    def _readable(self, /) -> IoEvent:
        """
        The event that is up while there is something to get, or the queue is shut down. Only the queue may clear it.
        """
    def _take(self, /, at_once: bool) -> bytes | None:
        """
        Take a message if there is one, this turn's time is not used up, and the loop bears it (`at_once`).
        """
    def _take_many(self, /, max: SupportsIndex | None, at_once: bool) -> Any | None:
        """
        Take up to `max` messages if there are some, this turn's time is not used up, and the loop bears it (`at_once`).
        """
    def close(self, /) -> None:
        """
        The same as `shutdown(immediate=True)`.
        """
    def empty(self, /) -> bool:
        """
        Return True if nothing is in there, for this instant.
        """
    def fileno(self, /) -> int:
        """
        Return a descriptor that is readable while a get_nowait() would not raise queue.Empty, for a poller of your own; now and
        then once for nothing.

        The queue makes it at the first call, keeps it, and closes it when it is collected. Watch it for reading, and take
        messages; never read it yourself. After shutdown() it is readable for ever. Callable from any thread.

        Raise OSError if no descriptor is to be had.
        """
    def get(self, /, block: "bool" = True, timeout: SupportsFloat | SupportsIndex | None = None) -> bytes:
        """
        Take the next message and return it; wait for one, at most `timeout` seconds, and not at all unless `block`.

        Callable from any thread; blocks it, lets other threads run meanwhile, and Ctrl-C works. Not for a thread that runs an
        event loop: it would stop the loop; `await queue.async_get()` there. None and infinity wait for ever.

        Raise queue.Empty if there was none in time, QueueShutDown if the queue is shut down and empty; ValueError if the timeout
        is negative.
        """
    def get_into(self, /, buffer: Any, block: "bool" = False, timeout: SupportsFloat | SupportsIndex | None = None) -> int:
        """
        Take the next message, copy it to the beginning of a writable buffer (a bytearray, an array, a memoryview), and return its
        length. Makes no object of it.

        Does not wait unless `block` is true or a timeout is given; then it waits as get() does.

        Raise what get() raises; ValueError if the message is longer than the buffer: it stays, and is the next one again;
        TypeError or BufferError if it is no buffer, or cannot be written to.
        """
    def get_many(self, /, max: SupportsIndex | None = None, timeout: SupportsFloat | SupportsIndex | None = None) -> Any:
        """
        Wait for a message as get() does; then return a list of it and what else is there, at most `max` messages;
        all if it is None. 0 is an empty list at once.

        Raise what get() raises; ValueError if `max` is negative.
        """
    def get_many_nowait(self, /, max: SupportsIndex | None = None) -> Any:
        """
        Return a list of what is there, at most `max` messages, all if it is None; it may be empty. Callable from any thread and
        signal handlers.

        Raise QueueShutDown if the queue is shut down and empty, unless `max` is 0; ValueError if `max` is negative.
        """
    def get_nowait(self, /) -> bytes:
        """
        Take the next message and return it, at once. Callable from any thread and signal handlers.

        Raise queue.Empty if there is none, QueueShutDown if there will be none.
        """
    @property
    def is_shutdown(self, /) -> bool:
        """
        True once shutdown() or close() was called.
        """
    @property
    def max_bytes(self, /) -> int:
        """
        The room for messages. Each takes its length, padded to a multiple of 8, and 8 bytes more.
        """
    @property
    def max_message(self, /) -> int:
        """
        The length of the longest message that there may be.
        """
    def qsize(self, /) -> int:
        """
        Return how many messages are in there, for this instant; also those that are only just being pushed.
        """
    def shutdown(self, /, immediate: "bool" = False) -> None:
        """
        Take no more messages: from now on a push answers -EPIPE, and get() raises QueueShutDown once the queue is empty.

        `immediate`: what is in there is thrown away. Callable from any thread; again does no harm.
        """

@final
class Hub:
    """
    The hub of one event loop: the descriptor that the loop watches, and those of its tasks that wait.

    Only the loop's own thread may use it.
    """
    def __new__(cls, /) -> Hub:
        """
        Raise OSError if the system has no descriptor left.
        """
    def cancel(self, /, ticket: SupportsIndex) -> None:
        """
        End a wait. A wait that has ended already stays as it is.
        """
    def close(self, /) -> None:
        """
        Forget all waiters, because the loop is gone. To close the hub again does nothing.
        """
    def dispatch(self, /, rewatch: Any | None = None, drained: Any | None = None, nests: bool = False) -> None:
        """
        Call the waiters whose events have risen or were closed. The loop calls this when the descriptor is readable; at
        other times it does nothing.

        If the descriptor was dead and has been replaced, `rewatch(old_number)` is called first. It has the loop watch the
        new fileno() in place of the old one, which stays open until `rewatch` returns. Then `drained()` is called. A loop
        that does not watch a descriptor while it is called for it watches it again there, because a waiter may run the
        loop inside the loop. `nests` says that waiters may do so: while some are still to be called, the descriptor is
        readable, and the dispatch of the inner loop calls them.

        All waiters are called, even if some raise. Then the first exception is raised.
        """
    def fileno(self, /) -> int:
        """
        Return the descriptor to watch for reading.
        """
    @property
    def inherited(self, /) -> bool:
        """
        Whether this process is the child of a fork, and the hub was made in the parent.
        """
    def pauses(self, /, place: Place) -> None:
        """
        Know of a place in line that is up already and whose task pauses, as if it waited.
        """
    def wait(self, /, event: IoEvent | Place, who: Any) -> int | None:
        """
        Call `who(outcome)` once the flag of `event` rises (outcome True) or the event is closed (False). A place in line
        counts as an event: the hub knows of it until it is left, and leaves it when the hub itself is closed.

        Return a ticket for cancel(), or None if the flag is up already. Raise ClosedResourceError if the event is closed
        already, and RuntimeError if the loop has been closed or ran before a fork.
        """
    def wait_after(self, /, event: IoEvent, seen: SupportsIndex | None, who: Any) -> int:
        """
        Call `who(outcome)`, as wait() does, once the generation of `event` is not `seen`. If `seen` is None, a flag that is
        up now counts as a rise.

        This is for those who watch every rise and leave the flag to others. Return a ticket for cancel(): the call comes
        from dispatch() even if the event has risen already. Raise RuntimeError if the loop has been closed or ran before a
        fork, and OSError if the system refused to make the descriptor readable.
        """

@final
class Inbox:
    """
    The calls that one portal has accepted. The portal and its receiver share it.
    """
    def __new__(cls, /, event: IoEvent) -> Inbox: ...
    def close(self, /) -> None:
        """
        Accept no more.
        """
    @property
    def closed(self, /) -> bool:
        """
        True unless calls are accepted.
        """
    @property
    def gone(self, /) -> bool:
        """
        True once the loop is gone.
        """
    @property
    def here(self, /) -> bool:
        """
        True in a thread in which a call of this portal runs now.
        """
    def notify(self, /) -> None:
        """
        Have the receiver look for calls.
        """
    def push(self, /, call: Any) -> None:
        """
        Have `runner.step(call)` called in the loop's thread.

        Raise LoopClosedError or ClosedResourceError.
        """
    def push_again(self, /, call: Any) -> None:
        """
        Put a call in that was accepted before: also after close(), and without an error once the loop is gone.
        """
    @property
    def quiet(self, /) -> bool:
        """
        True if no call is in there, and none of them runs now.
        """
    @property
    def size(self, /) -> int:
        """
        How many calls have not begun.
        """

@disjoint_base
class IoEvent:
    """
    A flag that any thread can raise and that loops and threads wait for.

    The base class of `wakefd.IoEvent`, which adds what needs an event loop.
    """
    def __new__(cls, /, *args: "object", **kwargs: "object") -> IoEvent: ...
    def __reduce__(self, /) -> str: ...
    def __repr__(self, /) -> str: ...
    def _listeners(self, /) -> int:
        """
        How many listeners a notify looks at: those of the loops and threads that wait, and of a few that did. For tests.
        """
    def _owed(self, /) -> int:
        """
        How many tokens are promised and not drained. For tests.
        """
    def _rises(self, /) -> int:
        """
        The generation: how often the flag has risen.
        """
    def clear(self, /) -> bool:
        """
        Lower the flag. Return True if it was up. Clear first and look at your data afterwards.

        Callable from any thread.

        Raise OSError if the event's descriptor is dead (closed by somebody else, or its connection reset). It is given up,
        the flag stays as it is, and the next fileno() is a new one.
        """
    def close(self, /) -> None:
        """
        Close the event for ever.

        From now on notify() and clear() return False; those who wait get ClosedResourceError, unless the flag rose before.
        Closing it again does nothing. Callable from any thread.

        Raise OSError if the system refused to wake a loop. The event is closed all the same.
        """
    @property
    def closed(self, /) -> bool:
        """
        True once the event was closed.
        """
    def fileno(self, /) -> int:
        """
        Return a descriptor that is readable while the flag is up, for a poller of your own.

        The event makes it at the first call, keeps it, and closes it. Watch it for reading and call clear(); never read it
        yourself. Callable from any thread.

        Raise ClosedResourceError if the event is closed; OSError if no descriptor is to be had.
        """
    def is_set(self, /) -> bool:
        """
        Return True if the flag is up. Callable from any thread.
        """
    def notify(self, /) -> bool:
        """
        Raise the flag and wake everybody who waits.

        Return True if this call raised it; False if it was up already (the notification is coalesced with the earlier one)
        or the event is closed.

        Callable from any thread, from `__del__`, weakref callbacks and signal handlers. Takes no lock.

        Raise OSError if the system refused to make a descriptor readable. The flag is up all the same, whoever could be
        woken was, and the next notify() tries again.
        """
    def wait(self, /, timeout: SupportsFloat | SupportsIndex | None = None) -> bool:
        """
        Block this thread until the flag is up, or rises (even if somebody clears it at once); at most `timeout` seconds.

        Return True, or False if the time is up. None and infinity wait for ever, a negative timeout is 0. Lets other
        threads run meanwhile; Ctrl-C and other signal handlers work. Not for a thread that runs an event loop: it would
        stop the loop; `await event.notified()` there.

        Raise ClosedResourceError if the event is closed, or is being closed meanwhile; ValueError if the timeout is not a
        number; OverflowError if it is too large; OSError if there is no descriptor to be had for this thread (never
        on Linux, where it needs none).
        """

@disjoint_base
class Items:
    """
    The items of a queue, or the messages of a byte queue, one by one: for `async for`.
    """
    def __aiter__(self, /) -> Items: ...
    def __anext__(self, /) -> Ready: ...
    def __new__(cls, /, source: Queue | ByteQueue, wait: Any) -> Items: ...
    @property
    def at_once(self, /) -> bool: ...
    @at_once.setter
    def at_once(self, /, at_once: bool) -> None: ...

@disjoint_base
class NativeHandle:
    """
    A C function and its argument. The base class of `wakefd.NativeHandle`.
    """
    def __init__(self, /, *args: "object", **kwargs: "object") -> None: ...
    def __new__(cls, /, *args: "object", **kwargs: "object") -> NativeHandle:
        """
        Raise OSError if there are no more slots: some sixteen million handles are open.
        """
    def __repr__(self, /) -> str: ...
    @property
    def argument(self, /) -> int:
        """
        The argument to call the function with, as a `void *`; never 0.
        """
    def close(self, /) -> None:
        """
        Give the argument back: calls with it do nothing from now on, unless native code has retained it. Closing it again does
        nothing. Callable from any thread.
        """
    @property
    def closed(self, /) -> bool:
        """
        True once the handle was closed.
        """
    @property
    def function(self, /) -> int:
        """
        The address of a C function `void (*)(void *)`. Called with `argument`, from any thread and in signal handlers, it
        notifies the event. The same one for all handles, and there as long as the process lives.
        """

@final
class Place:
    """
    A task's place in line.
    """
    def get(self, /, default: Any) -> Any:
        """
        Take an item. Return `default` if there is none.
        """
    def get_many(self, /, max: SupportsIndex | None) -> Any | None:
        """
        Take up to `max` items. Return None if there are none.
        """
    def is_set(self, /) -> bool:
        """
        Return True if an attempt is to be made, after one that came to nothing.
        """
    def leave(self, /) -> None:
        """
        Served or not. To be called in any case.
        """
    def line_up(self, /) -> bool:
        """
        Stand in line, if there is nothing to do but to wait. Return False if an attempt is to be made instead.
        """
    def peek(self, /, default: Any) -> Any:
        """
        Return the next item, which stays; `default` if there is none.
        """
    def put(self, /, item: Any) -> bool:
        """
        Put the item. Return False if there is no room.
        """

@disjoint_base
class Portal:
    """
    The compiled half of `wakefd.Portal`: threads hand it calls for an event loop.

    `wakefd.Portal` adds the methods that need an event loop.
    """
    def __new__(cls, /, *args: "object", **kwargs: "object") -> Portal: ...
    def __reduce__(self, /) -> str: ...
    def __repr__(self, /) -> str: ...
    @property
    def _inbox(self, /) -> Inbox: ...
    @property
    def _runner(self, /) -> Any:
        """
        The receiver's runner, which the portal keeps alive.
        """
    def call_soon(self, function: Any, /, *args: "object") -> None:
        """
        Have `function(*args)` called in the loop's thread, in a copy of this thread's context.

        This may be called from any thread, the loop's own included, and from `__del__`, weakref callbacks and signal
        handlers; it never blocks. The calls of one thread run in their order. An exception goes to the loop's exception
        handler (asyncio) or is logged. If the loop is closed before the call has run, that is logged, too.

        Raise LoopClosedError if the loop is closed, ClosedResourceError if the portal is closed, TypeError if the
        function is not callable, and MemoryError if there is no memory for the call, which is not accepted then. A
        wake-up that the system refuses raises nothing: the call is accepted, and the refusal is logged.
        """
    def close(self, /) -> None:
        """
        Accept no more calls: from now on they raise ClosedResourceError. Those that were accepted run in the next turns
        of the loop.

        This may be called from any thread, and returns at once. To close the portal again does nothing.
        """
    @property
    def closed(self, /) -> bool:
        """
        Whether close() was called, or the loop is closed.
        """

@disjoint_base
class Queue:
    """
    A queue of items between threads and tasks.

    The base class of `wakefd.Queue`, which adds what needs an event loop.
    """
    _wakefd_order: Final[Any]
    """
    None, "lifo" or "priority": how the items come out.
    """
    def __init__(self, /, *args: "object", **kwargs: "object") -> None: ...
    def __new__(cls, /, *args: "object", **kwargs: "object") -> Queue: ...
    def __reduce__(self, /) -> str: ...
    def __repr__(self, /) -> str: ...
    def _finished(self, /) -> IoEvent:
        """
        The event that is up while nothing is unfinished. Only the queue may clear it.
        """
    def _give(self, /, item: Any) -> bool:
        """
        Put the item if there is room and this turn's time is not used up. Return True if it is in.
        """
    def _peek(self, /, default: Any) -> Any:
        """
        Return the next item, which stays in, if there is one and this turn's time is not used up, else `default`.
        """
    def _place(self, /, putter: bool) -> Place:
        """
        A place in the getters' line, or in the putters'.
        """
    def _readable(self, /) -> IoEvent:
        """
        The event that is up while there is something to get, or the queue is shut down. Only the queue may clear it.
        """
    def _take(self, /, default: Any) -> Any:
        """
        Take an item if there is one and this turn's time is not used up, else return `default`.
        """
    def _take_many(self, /, max: SupportsIndex | None, at_once: bool) -> Any | None:
        """
        Take up to `max` items if there are some, this turn's time is not used up, and the loop bears it (`at_once`).
        """
    def clear(self, /) -> None:
        """
        Throw away what is in there; it counts as done. Callable from any thread.
        """
    def close(self, /) -> None:
        """
        The same as `shutdown(immediate=True)`.
        """
    def empty(self, /) -> bool:
        """
        Return True if nothing is in there, for this instant.
        """
    def fileno(self, /) -> int:
        """
        Return a descriptor that is readable while a get_nowait() would not raise queue.Empty, for a poller of your own.

        The queue makes it at the first call, keeps it, and closes it when it is collected. Watch it for reading, and
        take items; never read it yourself. After shutdown() it is readable for ever. Callable from any thread.

        Raise OSError if no descriptor is to be had.
        """
    def full(self, /) -> bool:
        """
        Return True if there is no room, for this instant.
        """
    def get(self, /, block: "bool" = True, timeout: SupportsFloat | SupportsIndex | None = None) -> Any:
        """
        Take the next item and return it; wait for one, at most `timeout` seconds, and not at all unless `block`.

        Callable from any thread; blocks it, lets other threads run meanwhile, and Ctrl-C works. Not for a thread that
        runs an event loop: it would stop the loop; `await queue.async_get()` there. None and infinity wait for ever.

        Raise queue.Empty if there was none in time, QueueShutDown if the queue is shut down and empty; ValueError if
        the timeout is negative.
        """
    def get_many(self, /, max: SupportsIndex | None = None, timeout: SupportsFloat | SupportsIndex | None = None) -> Any:
        """
        Wait for an item as get() does; then return a list of it and what else is there, at most `max` items; all
        if it is None. 0 is an empty list at once.

        Raise what get() raises; ValueError if `max` is negative.
        """
    def get_many_nowait(self, /, max: SupportsIndex | None = None) -> Any:
        """
        Return a list of what is there, at most `max` items, all if it is None; it may be empty. Callable from any
        thread and signal handlers.

        Raise QueueShutDown if the queue is shut down and empty, unless `max` is 0; ValueError if `max` is negative.
        """
    def get_nowait(self, /) -> Any:
        """
        Take the next item and return it, at once. Callable from any thread and signal handlers.

        Raise queue.Empty if there is none, QueueShutDown if there will be none.
        """
    @property
    def getting(self, /) -> int:
        """
        How many threads and tasks wait for an item, for this instant.
        """
    @property
    def is_shutdown(self, /) -> bool:
        """
        True once shutdown() or close() was called.
        """
    def join(self, /) -> None:
        """
        Block this thread until every item that was put is done with: task_done() was called for each.

        Lets other threads run meanwhile; Ctrl-C works. Not for a thread that runs an event loop: `await
        queue.async_join()`.
        """
    @property
    def maxsize(self, /) -> int:
        """
        How many items there may be; 0 and less: any number. Can be set at any time.
        """
    @maxsize.setter
    def maxsize(self, /, maxsize: Any) -> None: ...
    def peek(self, /, block: "bool" = True, timeout: SupportsFloat | SupportsIndex | None = None) -> Any:
        """
        Return the item that get() would take, and leave it in; wait for one as get() does. The next get() of another
        thread or task may take it.

        Raise what get() raises.
        """
    def peek_nowait(self, /) -> Any:
        """
        Return the item that get_nowait() would take, and leave it in. Callable from any thread and signal handlers.

        Raise what get_nowait() raises.
        """
    def put(self, /, item: Any, block: "bool" = True, timeout: SupportsFloat | SupportsIndex | None = None) -> None:
        """
        Put an item; wait for room if the queue is full, at most `timeout` seconds, and not at all unless `block`.

        Callable from any thread; blocks it, lets other threads run meanwhile, and Ctrl-C works. Not for a thread that
        runs an event loop, if there is a maxsize: `await queue.async_put(item)` there.

        Raise QueueFull (a queue.Full) if there was no room in time, QueueShutDown if the queue is shut down, or is
        meanwhile; ValueError if the timeout is negative; MemoryError if there is no memory for the item, which is not
        in then. Never because a wake-up was refused: the item is in, and the refusal is logged.
        """
    def put_many(self, /, items: Any, timeout: SupportsFloat | SupportsIndex | None = None) -> None:
        """
        Put all items of an iterable, which is read to its end first; wait for room item by item, at most `timeout`
        seconds in all.

        Raise what put() raises. The attribute `accepted` of a QueueFull, QueueShutDown or MemoryError is the number of
        items that went in: the first of those given.
        """
    def put_nowait(self, /, item: Any) -> None:
        """
        Put an item at once. Callable from any thread, from `__del__`, weakref callbacks and signal handlers.

        Raise QueueFull (a queue.Full) if there is no room, QueueShutDown if the queue is shut down.
        """
    @property
    def putting(self, /) -> int:
        """
        How many threads and tasks wait for room, for this instant.
        """
    def qsize(self, /) -> int:
        """
        Return how many items are in there, for this instant.
        """
    def shutdown(self, /, immediate: "bool" = False) -> None:
        """
        Take no more items: from now on, and for those who wait, put() raises QueueShutDown, and get() does once it is
        empty.

        `immediate`: what is in there is thrown away, and counts as done. Callable from any thread; again does no harm.
        """
    def task_done(self, /) -> None:
        """
        Say that an item that was taken is done with. Callable from any thread and signal handlers.

        Raise ValueError if it is said more often than items were put.
        """
    @property
    def unfinished_tasks(self, /) -> int:
        """
        How many items were put for which task_done() was not called yet.
        """

@final
class Reader:
    """
    The callback (`dispatch`) of an asyncio loop whose hub is readable.

    The loop alone owns it: when the loop is closed or collected it goes, and the hub is closed with it.
    """
    def __new__(cls, /, hub: Hub, event_loop: Any, flat: Any | None = None) -> Reader:
        """
        `flat` is the `run_until_complete` of the loop's class, if that is known to run no loop inside the loop.
        """
    def dispatch(self, /) -> None:
        """
        Release those who are to be released. The bound method is the callback: it owns the reader.
        """
    @property
    def hub(self, /) -> Hub: ...
    def watch(self, /) -> None:
        """
        Have the loop call dispatch(), in an empty context, when the hub's descriptor is readable.
        """

@disjoint_base
class Ready:
    """
    The next item, to be awaited. It is taken in that moment, and not before: there is never an item to give back.
    """
    def __await__(self, /) -> Ready: ...
    def __iter__(self, /) -> Ready: ...
    def __new__(cls, /) -> Ready: ...
    def __next__(self, /) -> Any: ...
    def close(self, /) -> None:
        """
        End the wait, like the method of a coroutine.
        """
    def send(self, /, value: Any) -> Any: ...
    def throw(self, /, error: Any, value: Any | None = None, traceback: Any | None = None) -> Any:
        """
        Throw an exception into the wait, like the method of a coroutine.
        """

@final
class Receiver:
    """
    A portal's receiver in its loop, for the loop's thread alone. When the receiver is dropped, the loop is gone.

    On asyncio, call `begin()`. The loop's hub alone owns the receiver, but for a moment in which the loop itself does
    (`call_soon`): both let go of it in `loop.close()`. On other loops, call `turn()` whenever the event rises, and
    `end()` when the loop ends.

    `runner`, in Python, knows the loop: `step(call)`; `failed(error, function)` for what a callback has raised;
    `rest()`, told of a closed portal whose calls have all begun, returns True if they have all ended, too;
    `gone(calls)` with what will never run: calls, and the arguments of `Context.run`.
    """
    def __call__(self, /, _rose: bool) -> None:
        """
        Serve a rise of the event. The hub calls it.
        """
    def __new__(cls, /, inbox: Inbox, runner: Any, hub: Hub | None = None, event_loop: Any | None = None) -> Receiver: ...
    def _run(self, /, context: Any) -> bool | None:
        """
        Run calls in an empty context, which those that brought none share, until one of them leaves something in it
        (None).
        """
    def again(self, /) -> None:
        """
        Serve the next turn. The loop calls it.
        """
    def begin(self, /) -> None:
        """
        Wait at the hub. Raise what Hub.wait_after() raises.
        """
    def end(self, /) -> None:
        """
        Say that the loop is gone: calls are refused from now on, and the callers of those that will never run are told.
        """
    @property
    def finished(self, /) -> bool:
        """
        True if the portal is gone, and all its calls have ended.
        """
    def turn(self, /) -> bool:
        """
        Run calls until there are none, or the turn is over. Return True if there are more: let the loop have its turn,
        and call again.

        Raise what ends a loop, KeyboardInterrupt and SystemExit; then there may be more, too.
        """

@final
class Turn:
    """
    The turn of one loop.
    """
    def __new__(cls, /, mark: Any) -> Turn:
        """
        `mark(marker)` has the loop call the marker in its next turn.
        """
    def pauses(self, /) -> None:
        """
        The caller pauses: until resumed() the turn is over for everybody.
        """
    def resumed(self, /) -> None:
        """
        The caller is back from a pause, or has given it up.
        """
    def turned(self, /) -> None:
        """
        The marker: the loop has begun a turn. The next marker follows at once if this turn belongs to those who have paused.
        """
    def within(self, /) -> bool:
        """
        Return True if the turn has time for one more operation, False if the caller is to pause first.

        Raise what the loop raises.
        """

@final
class Waiter:
    """
    A task's wait for the first of some events. Awaitable once, by the task of the loop that it was made for.
    """
    def __await__(self, /) -> Waiter: ...
    def __call__(self, /, rose: bool) -> None:
        """
        The hub's call: the event rose, or was closed.
        """
    def __iter__(self, /) -> Waiter: ...
    def __next__(self, /) -> Waiter: ...
    def __repr__(self, /) -> str:
        """
        A task's repr shows it.
        """
    @property
    def _asyncio_future_blocking(self, /) -> bool: ...
    @_asyncio_future_blocking.setter
    def _asyncio_future_blocking(self, /, value: bool) -> None: ...
    @property
    def _loop(self, /) -> Any: ...
    def add_done_callback(self, /, callback: Any, *, context: Any | None = None) -> None: ...
    @staticmethod
    def begin(hub: Hub, event_loop: Any, event: IoEvent | Place) -> Waiter | None:
        """
        Begin to wait. Return None if the flag is up now.

        Raise what Hub.wait() raises.
        """
    @staticmethod
    def begin_any(hub: Hub, event_loop: Any, events: SupportsGetItem[int, IoEvent | Place]) -> Waiter | None:
        """
        Begin to wait for the first of `events`. None: one of them is up now.
        """
    def cancel(self, /, msg: Any | None = None) -> bool:
        """
        Return False if the wait has ended.
        """
    def cancelled(self, /) -> bool: ...
    def close(self, /) -> None:
        """
        The coroutine that awaits it ends without it.
        """
    def done(self, /) -> bool: ...
    def get_loop(self, /) -> Any: ...
    def result(self, /) -> None: ...

def assume_free_threaded(assume: bool) -> None:
    """
    For tests: True has the cells work as without a GIL, False as the import found the interpreter.
    """

def backend(thread: bool = False) -> str:
    """
    Which notifier the operating system gives us for a loop: "eventfd", "socketpair" or "tcp". `thread`: for a thread that
    blocks, which is one of these or "futex".

    Raises OSError if it gives none.
    """

def c_api() -> Any:
    """
    Return a capsule with the table of `wakefd.h`.
    """

def exceptions() -> list[tuple[str, type]]:
    """
    Return the classes of the exceptions that are raised, by name; none at the first import of the process.

    A second import, after somebody has taken the modules out of `sys.modules`, has to offer the same classes. Raise
    ImportError if another interpreter of this process has imported wakefd.
    """

def hand_over(on: "bool") -> bool:
    """
    Switch the hand-over on or off, for this process, and return whether it was on. At the start it is on, unless the environment
    has WAKEFD_HAND_OVER=0.

    A thread that wakes an event loop, and has been seen to go on computing after it, lets go of the GIL until the loop has begun to
    run, for 1 ms at the most. Else the loop waits for the GIL, 5 ms (`sys.getswitchinterval()`). Switch it off where C
    code calls wakefd while it has a lock that other threads wait for with the GIL (neither would go on), or if your threads'
    throughput matters more than when the loop runs. A free-threaded interpreter has no GIL to hand over, and there it stays off.
    Only Linux tells whether a thread computes: elsewhere nothing is handed over.

    Callable from any thread.
    """

def hand_over_limits(patience: SupportsFloat | SupportsIndex, computes: SupportsFloat | SupportsIndex) -> tuple[float, float]:
    """
    For tests: set how long a thread waits for the loop that it has woken, and what it must use of the processor each time before
    it blocks in order to hand over at all, both in seconds. Return what they were.
    """

def items(queue: Any, wait: Any) -> Items:
    """
    Begin an `async for` over a queue or a byte queue; `wait` makes the coroutine that waits for an item.
    """

def seconds(timeout: SupportsFloat | SupportsIndex | None, function: str) -> float | None:
    """
    Read a timeout as wait() does: seconds, at least 0, or None for ever. For adapters; `function` is for the error's message.
    """

def set_up() -> None:
    """
    Do what comes before the first use: find exceptions, find out about the GIL, install the fast methods. To be called once, at
    the import.
    """

def wait_for_one(events: SupportsGetItem[int, IoEvent], timeout: SupportsFloat | SupportsIndex | None = None) -> bool:
    """
    Block this thread until one of `events` is up or rises. For `wakefd.wait_any`.
    """

"""The test that `python -m wakefd` runs: threads wake a loop, and no notification may be lost.

A sender raises its own counter and notifies, a few times (its burst); then it waits until the loop
has seen the counter, and begins again. So every burst ends with a notification that no other one
makes up for: if that one is lost, its sender is never answered, and says so.
"""

import asyncio
import threading
from collections import deque
from collections.abc import Callable, Generator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from functools import partial
from importlib import import_module
from itertools import repeat
from time import monotonic, perf_counter_ns, sleep

import wakefd

DEADLINE = 5.0  # seconds; a notification that takes longer is lost
FLOODERS = 4
FLOOD_BURST = 200
COMPUTES = 8_000_000  # nanoseconds that a thread computes after a notify

# A consumer gets an event, and a function to call in each turn. It ends when the event is closed.
_Consumer = Callable[[wakefd.IoEvent, Callable[[], None]], None]
Progress = Callable[["Result", "Phase"], None]


class Sender:
    """A thread that notifies, and then wants to be seen."""

    def __init__(self, event: wakefd.IoEvent, burst: int) -> None:
        self.event = event
        self.burst = burst
        self.sent = self.seen = self.raised = self.bursts = 0
        self.goal = burst
        self.answered = wakefd.IoEvent()
        self.times: deque[int] = deque(maxlen=100_000)  # nanoseconds from first notify to answer

    def send(self, end: float) -> None:
        """Send bursts until the clock says `end`, or an answer is missing."""
        while (now := monotonic()) < end:
            began = perf_counter_ns()
            for _ in repeat(None, self.burst):
                self.sent += 1
                self.raised += self.event.notify()
            if not self.is_seen(now + DEADLINE):
                return
            self.times.append(perf_counter_ns() - began)
            self.bursts += 1
            self.goal = self.sent + self.burst

    def is_seen(self, deadline: float) -> bool:
        """Wait until the loop has seen all that was sent; return False if the clock comes first."""
        while self.seen != self.sent:
            if not self.answered.wait(deadline - monotonic()):
                return False
            self.answered.clear()
        return True

    def look(self) -> None:
        """Look how far the sender has come, and answer it. The loop calls this in each turn."""
        sent = self.sent
        if sent != self.seen:
            self.seen = sent
            if sent == self.goal:
                self.answered.notify()


class ComputingSender(Sender):
    """A thread that notifies a loop that sleeps, and goes on computing in Python.

    It computes before its first notify, too, because a thread hands the GIL over if it has computed
    before. Its times are one way: to the consumer's first statement.
    """

    woken = 0

    def send(self, end: float) -> None:
        """Notify and compute until the clock says `end`, or an answer is missing."""
        self.compute()
        while (now := monotonic()) < end:
            sleep(0.002)  # the loop falls asleep
            began = perf_counter_ns()
            self.sent += 1
            self.event.notify()
            self.compute()
            if not self.is_seen(now + DEADLINE):
                return
            self.times.append(self.woken - began)
            self.goal = self.sent + 1

    def compute(self) -> None:
        """Keep the GIL, if there is one."""
        end = perf_counter_ns() + COMPUTES
        while perf_counter_ns() < end:
            pass

    def look(self) -> None:
        """Take the time first."""
        self.woken = perf_counter_ns()
        super().look()


@dataclass
class Phase:
    """Some senders, one loop, for some time."""

    name: str
    senders: list[Sender]
    turns: int = 0
    seconds: float = 0.0
    errors: list[str] = field(default_factory=list)

    def turn(self) -> None:
        """Look at all senders."""
        self.turns += 1
        for sender in self.senders:
            sender.look()

    @contextmanager
    def watched(self, name: str) -> Generator[None, None, None]:
        """Keep an exception of a thread for the report."""
        try:
            yield
        except BaseException as error:
            self.errors.append(f"{name}: {type(error).__name__}: {error}")

    def run(self, consume: _Consumer, seconds: float, progress: Callable[[], None]) -> None:
        """Run for this time, in seconds, and at most three deadlines longer."""
        event = self.senders[0].event
        ready = threading.Event()

        def loop() -> None:
            with self.watched("the loop"):
                consume(event, lambda: self.turn() if ready.is_set() else ready.set())

        def send(sender: Sender) -> None:
            with self.watched("a sender"):
                sender.send(began + seconds)

        looper = threading.Thread(target=loop, daemon=True)
        threads = [threading.Thread(target=send, args=(s,), daemon=True) for s in self.senders]
        looper.start()
        event.notify()  # the first turn: the loop is running
        if ready.wait(DEADLINE):
            began = monotonic()
            for thread in threads:
                thread.start()
            while alive := [thread for thread in threads if thread.is_alive()]:
                if monotonic() > began + seconds + DEADLINE + 1:
                    self.errors.append("a sender is stuck: wait() ignores its timeout")
                    break
                alive[0].join(0.1)
                progress()
            self.seconds = monotonic() - began
        else:
            self.errors.append(f"the first notification was not answered in {DEADLINE:g} s")
        event.close()
        looper.join(DEADLINE)
        if looper.is_alive():
            self.errors.append(f"the loop did not end in {DEADLINE:g} s after close()")

    @property
    def lost(self) -> int:
        """How many notifications the loop has not seen."""
        return sum(sender.sent - sender.seen for sender in self.senders)

    def rate(self, count: int) -> float:
        """Return how many that is per second."""
        return count / self.seconds if self.seconds else 0.0

    def p50_and_p99(self) -> tuple[float, float]:
        """Return the median and the 99th percentile of the sender's times, in microseconds."""
        times = sorted(self.senders[0].times) or [0]
        p50, p99 = times[len(times) // 2], times[-1 - len(times) // 100]
        return round(p50 / 1000, 1), round(p99 / 1000, 1)


class Result:
    """The test of one loop, with all its phases."""

    def __init__(self, loop: str, make_event: Callable[[], wakefd.IoEvent]) -> None:
        self.loop = loop
        flooded = make_event()
        self.ping = Phase("to and fro", [Sender(make_event(), 1)])
        self.computing = Phase("beside a computing thread", [ComputingSender(make_event(), 1)])
        self.flood = Phase("flooded", [Sender(flooded, FLOOD_BURST) for _ in range(FLOODERS)])
        self.phases = (self.ping, self.computing, self.flood)

    @property
    def ok(self) -> bool:
        """Everything arrived, in time."""
        return not self.lost and not self.errors

    @property
    def lost(self) -> int:
        """How many notifications the loop has not seen."""
        return sum(phase.lost for phase in self.phases)

    @property
    def errors(self) -> list[str]:
        """The errors of all phases."""
        return [error for phase in self.phases for error in phase.errors]

    def report(self) -> dict[str, object]:
        """The figures, as plain data."""
        trips, flood = self.ping.senders[0], self.flood
        sent = sum(sender.sent for sender in flood.senders)
        raised = sum(sender.raised for sender in flood.senders)
        p50, p99 = self.ping.p50_and_p99()
        computing_p50, computing_p99 = self.computing.p50_and_p99()
        return {
            "loop": self.loop,
            "round_trips_per_s": round(self.ping.rate(trips.bursts)),
            "p50_us": p50,
            "p99_us": p99,
            "computing_p50_us": computing_p50,
            "computing_p99_us": computing_p99,
            "notify_per_s": round(flood.rate(sent)),
            "wakeups_per_s": round(flood.rate(flood.turns)),
            "coalesced": round(1 - raised / sent, 4) if sent else 0.0,
            "notifications": sum(sender.sent for phase in self.phases for sender in phase.senders),
            "lost": self.lost,
            "errors": self.errors,
            "ok": self.ok,
        }


def run(
    loop: str,
    seconds: float,
    progress: Progress,
    make_event: Callable[[], wakefd.IoEvent] = wakefd.IoEvent,
) -> Result:
    """Test one loop: each phase has a third of the time."""
    result = Result(loop, make_event)
    for phase in result.phases:
        if result.ok:
            phase.run(_CONSUMERS[loop], seconds / 3, partial(progress, result, phase))
    return result


@dataclass
class QueueResult:
    """Threads flood a queue, one coroutine on asyncio takes the items, beside a 1 ms ticker."""

    sent: list[int] = field(default_factory=lambda: [0] * FLOODERS)
    received: int = 0
    ticks: int = 0
    seconds: float = 0.0
    errors: list[str] = field(default_factory=list)

    @property
    def lost(self) -> int:
        """How many items did not arrive."""
        return sum(self.sent) - self.received

    @property
    def ok(self) -> bool:
        """Everything arrived, in time."""
        return not self.lost and not self.errors

    def report(self) -> dict[str, object]:
        """The figures, as plain data."""
        seconds = self.seconds or 1.0
        return {
            "items_per_s": round(self.received / seconds),
            "ticks_per_s": round(self.ticks / seconds),
            "lost": self.lost,
            "errors": self.errors,
            "ok": self.ok,
        }

    def run(self, seconds: float) -> None:
        """Run for this time, in seconds, and at most two deadlines longer."""
        items: wakefd.Queue[int] = wakefd.Queue()
        end = monotonic() + seconds

        def put(sender: int) -> None:
            while monotonic() < end:
                for item in range(100):
                    items.put(item)
                self.sent[sender] += 100

        async def tick() -> None:
            while True:
                await asyncio.sleep(0.001)
                self.ticks += 1

        async def take() -> None:
            ticker = asyncio.create_task(tick())
            with suppress(wakefd.QueueShutDown):
                while True:
                    self.received += len(await items.async_get_many(1000))
            ticker.cancel()

        def loop() -> None:
            try:
                asyncio.run(take())
            except Exception as error:
                self.errors.append(f"the queue: {type(error).__name__}: {error}")

        began = monotonic()
        looper = threading.Thread(target=loop, daemon=True)
        looper.start()
        threads = [threading.Thread(target=put, args=(n,), daemon=True) for n in range(FLOODERS)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(seconds + DEADLINE)
        items.shutdown()
        looper.join(DEADLINE)
        self.seconds = monotonic() - began
        if looper.is_alive():
            self.errors.append(f"the queue's consumer did not end in {DEADLINE:g} s")


async def _turns(event: wakefd.IoEvent, turn: Callable[[], None]) -> None:
    async for _ in event:
        turn()


def _asyncio(event: wakefd.IoEvent, turn: Callable[[], None]) -> None:
    with asyncio.Runner() as runner:
        runner.run(_turns(event, turn))


def _uvloop(event: wakefd.IoEvent, turn: Callable[[], None]) -> None:
    new_loop = import_module("uvloop").new_event_loop
    with asyncio.Runner(loop_factory=new_loop) as runner:
        runner.run(_turns(event, turn))


def _trio(event: wakefd.IoEvent, turn: Callable[[], None]) -> None:
    import_module("trio").run(_turns, event, turn)


def _thread(event: wakefd.IoEvent, turn: Callable[[], None]) -> None:
    with suppress(wakefd.ClosedResourceError):
        while event.wait():
            event.clear()
            turn()


_CONSUMERS: dict[str, _Consumer] = {
    "asyncio": _asyncio,
    "uvloop": _uvloop,
    "trio": _trio,
    "thread": _thread,
}


NAMES = tuple(_CONSUMERS)

"""What went on, from the kernel's events: who ran, who could have run, who waited for what.

Events go in and stretches of time come out, in each of which one thing went on (`GOING`).
A server has one flight at the store at a time, so a message that waits while the store has
one waits for the store, whatever the server does meanwhile.
"""

import re
from bisect import bisect_right
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from typing import NamedTuple

DISK = "the store waits for its disk"
STORE = "the store runs"
SERVER = "the server runs"
LOAD = "the load runs, or has the store's core"
OTHERS = "another program has the core of either"
NOBODY = "nobody runs: between two flights"
GOING = (SERVER, STORE, DISK, LOAD, OTHERS, NOBODY)

TURN = "a turn of the server's event loop"
SYNC = "a sync of the store to its disk"
KEPT = "{}'s core had {}"
LATE = "{}'s core, idle, came late"
IDLE = "swapper"
"""What the kernel calls a core that has nothing to do."""

EVENTS = (
    "sched:sched_switch",
    "sched:sched_wakeup",
    *(
        f"syscalls:sys_{side}_{call}"
        for call in ("fdatasync", "epoll_wait", "epoll_pwait", "epoll_pwait2")
        for side in ("enter", "exit")
    ),
)
"""What has to be recorded."""
FIELDS = "tid,cpu,time,event,trace"
"""What of it has to be told."""

_EVENT = re.compile(r"\s*(-?\d+) +\[(\d+)\] +(\d+)\.(\d{9}): +\w+:(\w+): (.*)")
_SWITCH = re.compile(
    r"prev_comm=(.*) prev_pid=(\d+) .*prev_state=(\S+) ==> .*next_pid=(\d+) "
)
_WOKEN = re.compile(r".*\bpid=(\d+) ")


class Cast(NamedTuple):
    """Who plays a part, by the number of the main thread."""

    server: int
    store: int
    load: int


class Stretch(NamedTuple):
    """A stretch of time.

    Attributes:
        begin: In nanoseconds, by the clock of the events.
        end: Likewise.
        what: Goes on in it.
    """

    begin: int
    end: int
    what: str


class Event(NamedTuple):
    """Something the kernel noted.

    Attributes:
        at: When, in nanoseconds.
        thread: Whose.
        core: On which it happened.
        name: Of the event.
        about: What the kernel says of it.
    """

    at: int
    thread: int
    core: int
    name: str
    about: str


def events(lines: Iterable[str]) -> list[Event]:
    """Read events, as perf tells them, and put them in order."""
    found = filter(None, map(_EVENT.match, lines))
    return sorted(
        Event(int(seconds) * 10**9 + int(ns), int(thread), int(core), name, about)
        for thread, core, seconds, ns, name, about in (one.groups() for one in found)
    )


class Timeline:
    """What went on while events were recorded.

    Attributes:
        going: What went on, stretch by stretch, without a gap; see `GOING`.
        holds: What may have held messages up: a `TURN`, a `SYNC`, a server or store that
            could run while its core had another (`KEPT`) or nobody (`LATE`); they overlap.
    """

    def __init__(self, happened: Iterable[Event], cast: Cast) -> None:
        self.going: list[Stretch] = []
        self.holds: list[Stretch] = []
        self._cast = cast
        self._names = {cast.server: "the server", cast.store: "the store"}
        self._on: dict[int, int] = {}  # the thread that runs on a core; 0 is none
        self._core: dict[int, int] = {}  # the core on which a thread ran last
        self._ready: dict[int, int] = {}  # since when a thread could run
        self._sync: int | None = None
        self._turn: int | None = None
        last: int | None = None
        for event in happened:
            if last is not None and event.at > last:
                self.going.append(Stretch(last, event.at, self._what()))
            last = event.at
            self._take(event)
        self._begins = [stretch.begin for stretch in self.going]

    def during(self, begin: int, end: int) -> Counter[str]:
        """Return the nanoseconds of everything that went on between two moments."""
        spent = Counter[str]()
        for place in range(max(0, bisect_right(self._begins, begin) - 1), len(self.going)):
            stretch = self.going[place]
            if stretch.begin >= end:
                break
            spent[stretch.what] += max(0, min(end, stretch.end) - max(begin, stretch.begin))
        return spent

    def longest(self, begin: int, end: int) -> Stretch | None:
        """Return the longest hold that has to do with this time, or None."""
        held = [hold for hold in self.holds if hold.begin < end and hold.end > begin]
        return max(held, key=lambda hold: hold.end - hold.begin, default=None)

    def _what(self) -> str:
        cast, running = self._cast, self._on.values()
        if cast.store in running:
            return STORE
        if cast.store in self._ready:
            return self._kept_by(cast.store) or STORE
        if self._sync is not None:
            return DISK
        if cast.server in self._ready:
            return self._kept_by(cast.server) or SERVER
        if cast.server in running:
            return SERVER
        return LOAD if cast.load in running else NOBODY

    def _kept_by(self, thread: int) -> str | None:
        """Return what runs on the core that a thread waits for; None: nothing any more."""
        occupant = self._on.get(self._core.get(thread, -1), 0)
        if not occupant:
            return None
        return LOAD if occupant == self._cast.load else OTHERS

    def _take(self, event: Event) -> None:
        # Some kernels do not tell of a switch from a core's idle thread: who acts, runs.
        if self._on.get(event.core) != event.thread:
            self._runs(event, event.thread, IDLE)
        name = event.name
        if name == "sched_switch" and (switch := _SWITCH.match(event.about)):
            called, before, state, after = switch.groups()
            if state.startswith("R"):  # it could go on
                self._ready[int(before)] = event.at
            self._runs(event, int(after), called)
        elif name == "sched_wakeup" and (woken := _WOKEN.match(event.about)):
            if (thread := int(woken[1])) not in self._on.values():
                self._ready.setdefault(thread, event.at)
        elif event.thread == self._cast.store and name.endswith("fdatasync"):
            self._sync = self._between(self._sync, event, SYNC, opens="sys_enter")
        elif event.thread == self._cast.server and "epoll" in name:
            self._turn = self._between(self._turn, event, TURN, opens="sys_exit")

    def _runs(self, event: Event, thread: int, before: str) -> None:
        """Note that a thread runs now, on the core of an event, and what ran before it."""
        self._on[event.core] = thread
        self._core[thread] = event.core
        waited = self._ready.pop(thread, None)
        if waited is not None and (who := self._names.get(thread)):
            what = (LATE if before.startswith(IDLE) else KEPT).format(who, before)
            self.holds.append(Stretch(waited, event.at, what))

    def _between(
        self, began: int | None, event: Event, what: str, *, opens: str
    ) -> int | None:
        """Note what is over, and return when what is not began."""
        if event.name.startswith(opens):
            return event.at
        if began is not None:
            self.holds.append(Stretch(began, event.at, what))
        return None


def bursts(messages: Sequence[tuple[int, int]]) -> Iterator[tuple[int, int, int]]:
    """Join what was under way at the same time.

    Args:
        messages: When each was due and when it came.

    Yields:
        When the first was due, when the last came, and how many they are.
    """
    begin = end = count = 0
    for due, came in sorted(messages):
        if count and due >= end:
            yield begin, end, count
            count = 0
        if not count:
            begin = end = due
        end, count = max(end, came), count + 1
    if count:
        yield begin, end, count

"""Who hears what, who makes room for whom, and when time is told."""

import math
import time
from asyncio import Future, get_running_loop, sleep
from collections.abc import Sequence
from itertools import pairwise
from typing import cast

import pytest

from pushd.admission import Admission
from pushd.bounds import COME_BACK, Bound
from pushd.errors import Overloaded, TooManySessions
from pushd.futures import Done
from pushd.hub import FEW, Hub
from pushd.mailbox.base import Acknowledged, Entry, Opened, Page, Result, Tail, Verdicts
from pushd.metrics import Metrics
from pushd.protocol.ids import MessageId
from pushd.protocol.messages import Overflow, StoredMessage
from pushd.web.parts import Parts
from pushd.web.waiting import Wait

BOB = "did:btc-addr:12yhNanxrq1q5diWovJkfCXRMZvqoRVPo6"
ALICE = "did:btc-addr:12YvfYz1VTq2uPZFB7FopR12UdCYVKjRB4"


class Recorder:
    """A listener that remembers what it was told."""

    def __init__(self, session: str, *, mailbox: str = BOB, device: str = "") -> None:
        self.mailbox = mailbox
        self.session = session
        self.device = device
        self.heard = time.time()
        self.deadline = math.inf
        self.due = 0
        self.entered = False
        self.told: list[object] = []
        self.drained: list[tuple[float, float]] = []
        self.hub: Hub | None = None

    def published(self, messages: Sequence[StoredMessage]) -> None:
        """Remember."""
        self.told.append(("published", list(messages)))

    def acknowledged(self, what: Sequence[MessageId] | MessageId, origin: str) -> None:
        """Remember."""
        self.told.append(("acknowledged", what, origin))

    def overflowed(self, overflow: Overflow) -> None:
        """Remember."""
        self.told.append(overflow)

    def tail(self, tail: MessageId | None) -> None:
        """Remember."""
        self.told.append(("tail", tail))

    def tick(self, now: float) -> None:
        """Remember, and ask for no other tick."""
        self.told.append("tick")
        self.deadline = math.inf

    def clock_set(self, seconds: float, now: float) -> None:
        """Move along."""
        self.heard = now
        self.deadline += seconds

    def displaced(self) -> None:
        """Remember, and leave as a session does."""
        self.told.append("displaced")
        if self.hub is not None:
            self.hub.leave(self)

    def drain(self, retry_after: float, close_at: float) -> None:
        """Remember."""
        self.drained.append((retry_after, close_at))


class Failing(Recorder):
    """A listener with a bug."""

    def published(self, messages: Sequence[StoredMessage]) -> None:
        """Fail."""
        raise ValueError("a bug")


class Tails:
    """A store of which only tails and subscriptions are asked here."""

    durability = "memory"

    def __init__(self) -> None:
        self.asked: list[str] = []
        self.unsubscribed: list[str] = []

    def tails(self, mailboxes: Sequence[str]) -> Future[list[Tail]]:
        """Answer 7-1 for everyone."""
        self.asked += mailboxes
        answer: Future[list[Tail]] = get_running_loop().create_future()
        answer.set_result([MessageId(7, 1)] * len(mailboxes))
        return answer

    def unsubscribe(self, mailbox: str) -> None:
        """Remember."""
        self.unsubscribed.append(mailbox)

    def accept(self, entries: Sequence[Entry]) -> Future[list[Result]]:
        """Not asked by a hub."""
        raise AssertionError

    def store(self, entries: Sequence[Entry], done: Done[list[Result]]) -> None:
        """Not asked by a hub."""
        raise AssertionError

    def policy(self, mailbox: str) -> Future[bytes]:
        """Not asked by a hub."""
        raise AssertionError

    def set_policy(
        self, mailbox: str, verdicts: Verdicts | None, *, instead: bytes = b""
    ) -> Future[None]:
        """Not asked by a hub."""
        raise AssertionError

    def open(
        self,
        mailbox: str,
        *,
        create: bool,
        holding: Sequence[MessageId] = (),
        device: str = "",
        session: str = "",
    ) -> Future[Opened]:
        """Not asked by a hub."""
        raise AssertionError

    def enter(
        self,
        mailbox: str,
        done: Done[Opened],
        *,
        create: bool,
        holding: Sequence[MessageId] = (),
        device: str = "",
        session: str = "",
    ) -> None:
        """Not asked by a hub."""
        raise AssertionError

    def fetch(
        self, mailbox: str, done: Done[Page], *, after: MessageId, limit: int
    ) -> None:
        """Not asked by a hub."""
        raise AssertionError

    def hear(self, mailbox: str, done: Done[None]) -> None:
        """Not asked by a hub."""
        raise AssertionError

    def read(self, mailbox: str, *, after: MessageId, limit: int) -> Future[Page]:
        """Not asked by a hub."""
        raise AssertionError

    def acknowledge(
        self,
        mailbox: str,
        what: Sequence[MessageId] | MessageId,
        *,
        origin: str = "",
        count: bool = True,
    ) -> Future[Acknowledged]:
        """Not asked by a hub."""
        raise AssertionError

    def remove(
        self,
        mailbox: str,
        what: Sequence[MessageId] | MessageId,
        done: Done[Acknowledged],
        *,
        origin: str = "",
        count: bool = True,
    ) -> None:
        """Not asked by a hub."""
        raise AssertionError

    def told(self, mailbox: str, overflow: Overflow) -> None:
        """Not asked by a hub."""
        raise AssertionError

    def subscribe(self, mailbox: str) -> Future[None]:
        """Not asked by a hub."""
        raise AssertionError

    def ready(self) -> str | None:
        """Be ready."""
        return None


def make_hub(max_sessions: int = 20, in_all: int = 1000) -> Hub:
    """Return a hub that was not started."""
    room = Bound("sessions", in_all)
    return Hub(
        max_sessions=max_sessions,
        ping_interval=25,
        room=room,
        admission=Admission(Bound("delay_ms", 1)),
        metrics=Metrics(),
    )


def join(hub: Hub, listener: Recorder) -> Recorder:
    """Have a listener join."""
    listener.hub = hub
    hub.join(listener)
    return listener


async def turns(count: int) -> None:
    """Let everybody have so many turns of the event loop."""
    for _ in range(count):
        await sleep(0)


MESSAGE = StoredMessage(MessageId(7, 1), b"{}")


def test_everyone_who_listens_to_a_mailbox_hears_it() -> None:
    """Publications reach all sessions of their mailbox, and no others."""
    hub = make_hub()
    one, two = join(hub, Recorder("1")), join(hub, Recorder("2"))
    other = join(hub, Recorder("3", mailbox=ALICE))
    hub.published(BOB, [MESSAGE])
    hub.acknowledged(BOB, MESSAGE.id, "1")
    assert one.told == two.told
    assert one.told == [
        ("published", [MESSAGE]),
        ("acknowledged", MESSAGE.id, "1"),
    ]
    assert other.told == []


def test_a_session_is_alone_while_no_other_listens_to_its_mailbox() -> None:
    """It need not be told what it did itself; nobody is not alone."""
    hub = make_hub()
    assert not hub.alone(BOB, "1")
    one = join(hub, Recorder("1"))
    join(hub, Recorder("3", mailbox=ALICE))
    assert hub.alone(BOB, "1")
    assert not hub.alone(BOB, "")
    join(hub, Recorder("2"))
    assert not hub.alone(BOB, "1")
    hub.leave(one)
    assert hub.alone(BOB, "2")


def test_a_listener_that_fails_does_not_silence_the_others() -> None:
    """A bug in one session stays there."""
    hub = make_hub()
    join(hub, Failing("1"))
    healthy = join(hub, Recorder("2"))
    hub.published(BOB, [MESSAGE])
    assert healthy.told == [("published", [MESSAGE])]


def test_a_process_has_as_many_sessions_as_it_may() -> None:
    """One more is told to come back later; one that leaves makes room."""
    hub = make_hub(in_all=2)
    first = join(hub, Recorder("1"))
    join(hub, Recorder("2", mailbox=ALICE))
    with pytest.raises(Overloaded) as refused:
        join(hub, Recorder("3"))
    assert refused.value.retry_after in range(COME_BACK[0], COME_BACK[1] + 1)
    hub.leave(first)
    hub.leave(first)
    join(hub, Recorder("3"))
    with pytest.raises(Overloaded):
        join(hub, Recorder("4"))


def test_the_last_to_leave_unsubscribes() -> None:
    """A mailbox is heard for as long as somebody listens to it, and no longer."""
    hub, tails = make_hub(), Tails()
    hub._mailboxes = tails
    one, two = join(hub, Recorder("1")), join(hub, Recorder("2"))
    hub.leave(one)
    assert tails.unsubscribed == []
    hub.leave(two)
    hub.leave(two)
    assert tails.unsubscribed == [BOB]
    assert len(hub) == 0


def test_a_session_of_the_same_device_makes_room() -> None:
    """Whoever comes back with its device name takes the place of its old session."""
    hub = make_hub(max_sessions=1)
    old = join(hub, Recorder("1", device="phone"))
    join(hub, Recorder("2", device="phone"))
    assert old.told == ["displaced"]


def test_of_two_sessions_of_a_device_that_race_exactly_one_stays() -> None:
    """In two processes, both hear both joins; only the first to join yields."""
    here, there = make_hub(), make_hub()
    first = join(here, Recorder("1", device="phone"))
    second = join(there, Recorder("2", device="phone"))
    for hub in (here, there):
        hub.joined(BOB, "phone", "1")
        hub.joined(BOB, "phone", "2")
    assert first.told == ["displaced"]
    assert second.told == []


def test_a_full_mailbox_displaces_the_session_silent_longest_or_refuses() -> None:
    """At the limit a silent session goes; where all are lively, the new one must."""
    hub = make_hub(max_sessions=2)
    one, two = join(hub, Recorder("1")), join(hub, Recorder("2"))
    with pytest.raises(TooManySessions):
        join(hub, Recorder("3"))
    one.heard -= 27
    two.heard -= 26
    join(hub, Recorder("3"))
    assert one.told == ["displaced"]
    assert two.told == []


def test_draining_tells_everyone_and_spreads_the_closing() -> None:
    """Each session gets its own slot in the drain time, and nobody joins any more."""
    hub = make_hub()
    listeners = [join(hub, Recorder(str(n))) for n in range(4)]
    hub.drain(8.0)
    slots = [slot for listener in listeners for slot in listener.drained]
    assert all(0.5 <= retry_after <= 3.0 for retry_after, _ in slots)
    first = slots[0][1]
    assert [round(close_at - first, 3) for _, close_at in slots] == [0.0, 2.0, 4.0, 6.0]
    with pytest.raises(Overloaded):
        join(hub, Recorder("late"))


class Leaving(Recorder):
    """A listener that is gone when its time to close has come."""

    @property
    def gone(self) -> bool:
        """Whether it is."""
        return "tick" in self.told

    def drain(self, retry_after: float, close_at: float) -> None:
        """Close then."""
        self.deadline = close_at


class Waiting(Wait):
    """A request that waits, which is answered when its time has come."""

    def __init__(self, session: str) -> None:
        super().__init__(cast(Parts, {"hub": None, "mailboxes": None}), BOB)

    @property
    def gone(self) -> bool:
        """Whether it is."""
        return self._news.is_set()


@pytest.mark.parametrize("kind", [Leaving, Waiting])
async def test_no_second_sees_more_than_its_share(
    kind: type[Leaving] | type[Waiting],
) -> None:
    """A thousand that drain for ten seconds leave evenly, whether they stream or wait."""
    hub = make_hub(max_sessions=1000)
    everyone = [kind(str(n)) for n in range(1000)]
    for one in everyone:
        hub.join(one)
    start = hub._turned
    hub.drain(10.0)
    await turns(1000 // FEW + 1)
    gone = []
    for second in range(1, 13):
        hub.turn(float(start + second))
        await turns(100 // FEW + 1)
        gone.append(sum(one.gone for one in everyone))
    shares = [now - before for before, now in pairwise([0, *gone])]
    assert max(shares) <= 101
    assert gone[-1] == 1000
    assert len([share for share in shares if share]) >= 10


def test_the_wheel_ticks_what_is_due_once() -> None:
    """A deadline that moved closer is kept, and its old place on the wheel is void."""
    hub = make_hub()
    listener = join(hub, Recorder("1"))
    start = float(int(time.time()))
    for distance in (9.5, 2.5, 5.5):
        listener.deadline = start + distance
        hub.schedule(listener)
    ticks = []
    for second in range(1, 13):
        hub.turn(start + second)
        ticks.append(listener.told.count("tick"))
    assert ticks == [0, 0, 0, 0, 0, 1, 1, 1, 1, 1, 1, 1]


def crowd(hub: Hub, count: int) -> list[Recorder]:
    """Have so many join who are all due in the next second."""
    everyone = [join(hub, Recorder(str(n), mailbox=f"did:test:{n}")) for n in range(count)]
    for one in everyone:
        one.deadline = hub._turned + 0.5
        hub.schedule(one)
    return everyone


def ticked(everyone: Sequence[Recorder]) -> int:
    """Count the ticks."""
    return sum(one.told.count("tick") for one in everyone)


async def test_many_who_are_due_at_once_let_others_have_their_turn() -> None:
    """A few are ticked in a turn of the event loop, and in the end everyone, once."""
    hub = make_hub()
    everyone = crowd(hub, 3 * FEW + 1)
    hub.turn(hub._turned + 1.0)
    seen = [ticked(everyone)]
    for _ in range(5):
        await turns(1)
        seen.append(ticked(everyone))
    assert seen == [FEW, 2 * FEW, 3 * FEW, 3 * FEW + 1, 3 * FEW + 1, 3 * FEW + 1]


async def test_a_drain_of_many_lets_others_have_their_turn() -> None:
    """A few are told in a turn of the event loop, and in the end everyone, once."""
    hub = make_hub()
    everyone = crowd(hub, 2 * FEW)
    hub.drain(8.0)
    hub.drain(8.0)
    seen = []
    for _ in range(4):
        seen.append([len(one.drained) for one in everyone].count(1))
        await turns(1)
    assert seen == [FEW, 2 * FEW, 2 * FEW, 2 * FEW]


@pytest.mark.parametrize("jump", [-3600.0, 3600.0])
async def test_a_clock_that_is_set_reaches_those_who_have_not_had_their_tick(
    jump: float,
) -> None:
    """Who is due, and whose turn has not come, has a time by the clock as it is now."""
    hub = make_hub()
    everyone = crowd(hub, FEW + 1)
    hub.leave(everyone[-1])  # as those do who close
    now, steady = hub._turned + 1.0, time.monotonic()
    hub.look(now, steady)
    hub.look(now + jump, steady)
    await turns(3)
    assert everyone[-1].told == []
    assert everyone[-1].deadline == now - 0.5 + jump
    hub.look(now + jump + 1.0, steady + 1.0)
    assert ticked(everyone) == FEW + 1


@pytest.mark.parametrize("jump", [-3600.0, 3600.0])
def test_a_clock_that_is_set_leaves_the_wheel_as_it_was(jump: float) -> None:
    """What is due in five seconds is due in five seconds, for those who close as well."""
    hub = make_hub()
    now, steady = time.time(), time.monotonic()
    listener, closing = join(hub, Recorder("1")), join(hub, Recorder("2"))
    hub.leave(closing)
    for one in (listener, closing):
        one.deadline = now + 5.0
        hub.schedule(one)
    ticks = []
    for second in range(1, 9):
        hub.look(now + second + (jump if second > 2 else 0.0), steady + second)
        ticks.append((listener.told.count("tick"), closing.told.count("tick")))
    assert ticks[3] == (0, 0)
    assert ticks[6] == (1, 1)


def test_a_wheel_that_is_late_is_no_clock_that_was_set() -> None:
    """A machine that stood still for a minute finds all that is due, and no jump."""
    hub = make_hub()
    now, steady = time.time(), time.monotonic()
    listener = join(hub, Recorder("1"))
    listener.heard = 0.0
    listener.deadline = now + 5.0
    hub.schedule(listener)
    hub.look(now + 60.0, steady + 60.0)
    assert listener.told[:1] == ["tick"]
    assert listener.heard == 0.0


async def test_every_mailbox_is_compared_with_the_store() -> None:
    """An interruption compares all at once; listeners are handed their tail."""
    hub, tails = make_hub(), Tails()
    hub.start(tails)
    one = join(hub, Recorder("1"))
    other = join(hub, Recorder("2", mailbox=ALICE))
    hub.interrupted([BOB, ALICE, "did:test:gone"])
    assert sorted(tails.asked) == sorted([BOB, ALICE])
    answered = get_running_loop().create_future()
    get_running_loop().call_soon(answered.set_result, None)
    await answered
    assert one.told == other.told == [("tail", MessageId(7, 1))]
    hub.stop()


async def test_many_mailboxes_are_compared_a_few_at_a_time() -> None:
    """The next tails are asked for when the last were handed out."""
    hub, tails = make_hub(), Tails()
    hub.start(tails)
    everyone = [join(hub, Recorder(str(n), mailbox=f"did:test:{n}")) for n in range(70)]
    hub.interrupted([one.mailbox for one in everyone])
    asked = []
    for _ in range(4):
        told = sum(one.told == [("tail", MessageId(7, 1))] for one in everyone)
        asked.append((len(tails.asked), told))
        await turns(1)
    assert asked == [(FEW, 0), (2 * FEW, FEW), (70, 2 * FEW), (70, 70)]
    hub.stop()

"""The live sessions of this process: who listens to which mailbox, and what time it is.

The hub hears every publication of the mailboxes that somebody here listens to and hands
it on. It is the one clock of all sessions: a wheel of one-second buckets, so that an idle
session costs neither a timer nor a task. Every 15 seconds each mailbox's tail is compared
with the store, so a lost publication costs seconds, never a message. What is done for all
of them, a drain too, is done for a few at a time: else thousands hold up everybody's news.
"""

import asyncio
import logging
import math
import random
import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from itertools import islice
from typing import Protocol, TypeVar

from pushd.admission import Admission
from pushd.bounds import Bound, come_back_later
from pushd.errors import Overloaded, PushdError, TooManySessions
from pushd.mailbox.base import Mailboxes, Tail
from pushd.metrics import Metrics
from pushd.protocol.ids import MessageId
from pushd.protocol.messages import Overflow, StoredMessage

log = logging.getLogger(__name__)

T = TypeVar("T")

TICK = 1.0
"""Seconds between two turns of the wheel."""
JUMP = 2.0
"""Seconds by which the clock differs at a turn when it was set; less comes of itself."""
TAIL_CHECK = 15
"""Seconds in which the tail of every mailbox is compared once."""
FEW = 32
"""Listeners that are ticked or drained, or mailboxes compared, before others go on."""


class Listener(Protocol):
    """A session as the hub knows it: a stream, an event stream, a waiting request.

    Attributes:
        deadline: When `tick` wants to be called, in Unix seconds; infinite once over.
        due: The second whose bucket of the wheel it is in, or 0; set by the hub.
        entered: Whether its own `joined` was heard; set by the hub.
    """

    deadline: float
    due: int
    entered: bool

    @property
    def heard(self) -> float:
        """When the client was last heard, in Unix seconds."""

    @property
    def mailbox(self) -> str:
        """DID of the mailbox it listens to."""

    @property
    def session(self) -> str:
        """Names the session, in the whole of the store."""

    @property
    def device(self) -> str:
        """The client's name for itself, or empty."""

    def published(self, messages: Sequence[StoredMessage]) -> None:
        """New messages were accepted, in order."""

    def acknowledged(self, what: Sequence[MessageId] | MessageId, origin: str) -> None:
        """Messages were acked, by the session `origin`."""

    def overflowed(self, overflow: Overflow) -> None:
        """The full mailbox refuses deliveries."""

    def tail(self, tail: MessageId | None) -> None:
        """This is the mailbox's tail in the store; None if it is not there."""

    def tick(self, now: float) -> None:
        """The deadline has come."""

    def clock_set(self, seconds: float, now: float) -> None:
        """The clock was set, and is that much later than it would be; it is `now`."""

    def displaced(self) -> None:
        """A newer session takes this one's place."""

    def drain(self, retry_after: float, close_at: float) -> None:
        """The server stops: close at `close_at` (Unix seconds)."""


class Hub:
    """All listeners of this process; the one `Subscriber` of the store.

    Attributes:
        leaving: Whether the server will stop soon: it is not ready, and goes on.
        draining: Whether it stops: nobody joins any more.
    """

    def __init__(
        self,
        *,
        max_sessions: int,
        ping_interval: int,
        room: Bound,
        admission: Admission,
        metrics: Metrics,
    ) -> None:
        """Make a hub without a store; `start` gives it one.

        Args:
            max_sessions: Sessions one mailbox may have in this process.
            room: How many sessions there may be in all.
            admission: Whether something new can be served in time.
            ping_interval: Seconds of silence after which a session may be displaced
                when the mailbox has its sessions.
            metrics: Counts sessions.
        """
        self.leaving = False
        self.draining = False
        self._max_sessions = max_sessions
        self._room = room
        self._admission = admission
        self._ping_interval = ping_interval
        self._metrics = metrics
        self._mailboxes: Mailboxes | None = None
        # A tuple is replaced, never changed: a listener may leave while it is called.
        self._listeners: dict[str, tuple[Listener, ...]] = {}
        self._wheel: dict[int, list[Listener]] = {}
        self._due: deque[Listener] = deque()
        self._turned = int(time.time())
        self._ahead = time.time() - time.monotonic()
        self._timer: asyncio.TimerHandle | None = None
        self._round: list[str] = []

    def __len__(self) -> int:
        """Count the mailboxes that somebody listens to."""
        return len(self._listeners)

    def sample(self, count: int) -> list[tuple[Listener, ...]]:
        """Return the listeners of some mailboxes, of all if there are no more."""
        everyone = list(self._listeners.values())
        if len(everyone) <= count:
            return everyone
        return random.sample(everyone, count)

    def start(self, mailboxes: Mailboxes) -> None:
        """Begin to turn the wheel. Call in the running event loop."""
        self._mailboxes = mailboxes
        self._timer = asyncio.get_running_loop().call_later(TICK, self._turn)

    def stop(self) -> None:
        """Stop the wheel."""
        if self._timer is not None:
            self._timer.cancel()

    # --- coming and going ------------------------------------------------------------

    def join(self, listener: Listener) -> None:
        """Add a listener; it hears nothing until the store confirmed `subscribe`.

        A live session of the same device makes room for it, and so does, where the
        mailbox has its sessions, the one that was silent longest.

        Raises:
            TooManySessions: If none of them was silent for a ping interval.
            Overloaded: If the server is draining, has as many sessions as it may, or
                cannot serve in time.
        """
        if self.draining:
            raise Overloaded("This server restarts; come back in a moment.")
        if self._admission.refuses(random.random()):  # noqa: S311 - no secret
            raise come_back_later("This server has too much to do.")
        mailbox = listener.mailbox
        if mailbox in self._listeners:
            self._make_room(mailbox, listener.device)
        if not self._room.take():
            raise come_back_later("This server has as many sessions as it may have.")
        self._listeners[mailbox] = (*self._listeners.get(mailbox, ()), listener)
        self._metrics.session_opened()

    def _make_room(self, mailbox: str, device: str) -> None:
        """Displace sessions of this device, and one more if there are too many."""
        for other in self._listeners[mailbox]:
            if device and other.device == device:
                other.displaced()
        others = self._listeners.get(mailbox, ())
        if len(others) >= self._max_sessions:
            silent = min(others, key=lambda other: other.heard)
            if time.time() - silent.heard <= self._ping_interval:
                raise TooManySessions
            silent.displaced()

    def leave(self, listener: Listener) -> None:
        """Remove a listener; one that is not here is no error."""
        others = self._listeners.get(listener.mailbox, ())
        rest = tuple(other for other in others if other is not listener)
        if len(rest) == len(others):
            return
        self._room.give()
        self._metrics.session_closed()
        if rest:
            self._listeners[listener.mailbox] = rest
        else:
            del self._listeners[listener.mailbox]
            if self._mailboxes is not None:
                self._mailboxes.unsubscribe(listener.mailbox)

    def drain(self, seconds: float) -> None:
        """Tell every session that the server stops, and spread their closing.

        However many there are, no second sees more than its share of them come back.
        """
        if self.draining:
            return
        self.leaving = self.draining = True
        now = time.time()
        everyone = [one for group in self._listeners.values() for one in group]
        share = seconds / max(1, len(everyone))
        leavers = ((one, now + n * share) for n, one in enumerate(everyone))
        self._few_at_a_time(self._drain, leavers)

    def _drain(self, leaver: tuple[Listener, float]) -> None:
        """Tell a listener when it is closed."""
        listener, close_at = leaver
        retry_after = random.uniform(0.5, 3.0)  # noqa: S311 - spreads load, no secret
        self._tell(listener.drain, retry_after, close_at)
        self.schedule(listener)

    # --- what the store says (mailbox.base.Subscriber) -------------------------------

    def published(self, mailbox: str, messages: list[StoredMessage]) -> None:
        """Hand new messages to everyone who listens; as `_tell` does, without the step."""
        for listener in self._listeners.get(mailbox, ()):
            try:
                listener.published(messages)
            except Exception:  # its bug is not the others'
                log.exception("a listener failed")

    def acknowledged(
        self, mailbox: str, what: Sequence[MessageId] | MessageId, origin: str
    ) -> None:
        """Hand an ack to everyone who listens to the mailbox."""
        for listener in self._listeners.get(mailbox, ()):
            self._tell(listener.acknowledged, what, origin)

    def alone(self, mailbox: str, origin: str) -> bool:
        """Tell whether a session is the only one that listens to the mailbox."""
        listeners = self._listeners.get(mailbox, ())
        return len(listeners) == 1 and listeners[0].session == origin

    def overflowed(self, mailbox: str, overflow: Overflow) -> None:
        """Hand an overflow to everyone who listens to the mailbox."""
        for listener in self._listeners.get(mailbox, ()):
            self._tell(listener.overflowed, overflow)

    def joined(self, mailbox: str, device: str, session: str) -> None:
        """Displace sessions of this device that joined before, in whatever process.

        The store's order decides: a session yields only to a `joined` that comes after
        its own, so of two that race exactly one stays.
        """
        for listener in self._listeners.get(mailbox, ()):
            if listener.session == session:
                listener.entered = True
            elif listener.device == device and listener.entered:
                self._tell(listener.displaced)

    def interrupted(self, mailboxes: Sequence[str]) -> None:
        """Compare these mailboxes now: publications may have been lost."""
        self._compare(mailbox for mailbox in mailboxes if mailbox in self._listeners)

    def _tell(self, method: Callable[..., None], *arguments: object) -> None:
        """Call a listener; its failure is its own, the others must hear too."""
        try:
            method(*arguments)
        except Exception:  # its bug is not the others'
            log.exception("a listener failed")

    # --- time ------------------------------------------------------------------------

    def schedule(self, listener: Listener) -> None:
        """Have the listener ticked at its deadline, which may have moved."""
        if listener.deadline == math.inf:
            return
        second = max(int(listener.deadline) + 1, self._turned + 1)
        if listener.due and listener.due <= second:
            return  # it is looked at before that anyway
        listener.due = second
        self._wheel.setdefault(second, []).append(listener)

    def _turn(self) -> None:
        self._timer = asyncio.get_running_loop().call_later(TICK, self._turn)
        self.look(time.time(), time.monotonic())

    def look(self, now: float, steady: float) -> None:
        """Turn the wheel, once it is known whether the clock was set.

        Args:
            now: Unix seconds.
            steady: Seconds by a clock that nobody can set.
        """
        jump, self._ahead = now - steady - self._ahead, now - steady
        if abs(jump) > JUMP:
            log.warning("the clock was set", extra={"seconds": round(jump, 3)})
            self._move_along(jump, now)
        self.turn(now)

    def _move_along(self, seconds: float, now: float) -> None:
        """Have everyone's times move along with the clock.

        Else one that was set back would stop the wheel until it has caught up, and one
        that was set forward would have every client look silent.
        """
        everyone = [listener for group in self._listeners.values() for listener in group]
        for second, bucket in self._wheel.items():  # those that close have left already
            everyone += [listener for listener in bucket if listener.due == second]
        everyone += self._due
        self._wheel.clear()
        self._due.clear()
        self._turned = int(now)
        for listener in dict.fromkeys(everyone):
            listener.due = 0
            self._tell(listener.clock_set, seconds, now)
            self.schedule(listener)

    def turn(self, now: float) -> None:
        """Tick what is due, and compare one part of the mailboxes with the store."""
        for second in range(self._turned + 1, int(now) + 1):
            self._turned = second
            bucket = self._wheel.pop(second, ())
            # Whoever was moved to an earlier bucket is in both.
            self._due += [listener for listener in bucket if listener.due == second]
        self._few_at_a_time(partial(self._tick, now), self._take_due())
        if not self._round:
            self._round = list(self._listeners)
        part = max(1, len(self._listeners) // TAIL_CHECK + 1)
        due, self._round = self._round[:part], self._round[part:]
        self._compare(iter(due))

    def _take_due(self) -> Iterator[Listener]:
        """Take those due off the wheel; a clock that is set puts the rest back."""
        while self._due:
            yield self._due.popleft()

    def _tick(self, now: float, listener: Listener) -> None:
        """Tick a listener whose bucket's time has come, if its own has."""
        listener.due = 0
        if listener.deadline <= now:
            self._tell(listener.tick, now)
        self.schedule(listener)

    def _few_at_a_time(self, act: Callable[[T], None], ones: Iterator[T]) -> None:
        """Act on a few, and on the rest when others have had their turn."""
        few = list(islice(ones, FEW))
        for one in few:
            act(one)
        if len(few) == FEW:
            asyncio.get_running_loop().call_soon(self._few_at_a_time, act, ones)

    def _compare(self, mailboxes: Iterator[str]) -> None:
        """Ask the store for a few tails, and for the next when they are there."""
        few = list(islice(mailboxes, FEW))
        if few and self._mailboxes is not None:
            answer = self._mailboxes.tails(few)
            answer.add_done_callback(partial(self._compared, few, mailboxes))

    def _compared(
        self, few: list[str], rest: Iterator[str], answer: "asyncio.Future[list[Tail]]"
    ) -> None:
        if answer.cancelled() or isinstance(answer.exception(), PushdError):
            return  # the store is away; the next round asks again
        for mailbox, tail in zip(few, answer.result(), strict=True):
            if isinstance(tail, PushdError):
                continue  # a part of the store is away
            for listener in self._listeners.get(mailbox, ()):
                self._tell(listener.tail, tail)
        self._compare(rest)

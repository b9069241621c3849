"""What happened in a run, written down as it happens: the one thing the checker reads.

A history is a list of events in the order in which the world saw them, and as a file one
JSON object a line. Senders, clients and faults write into it; none of them judges.
"""

import time
from collections.abc import Iterable
from pathlib import Path
from typing import NamedTuple, TypeVar

import msgspec
from msgspec import Struct


class Base(Struct, tag_field="event", tag=str.lower, kw_only=True):
    """An event.

    Attributes:
        at: Seconds since the run began; set when it is written down.
    """

    at: float = 0.0


class Asked(Base):
    """A sender asked for a delivery; one `attempt` of perhaps several.

    Attributes:
        attempt: Numbers the request.
        payload: Unlike every other delivery's, so it names the delivery.
        key: The idempotency key, or None; with it the attempts are one delivery.
        ttl: Seconds until it may expire.
    """

    attempt: int
    sender: str
    mailbox: str
    payload: str
    key: str | None
    ttl: int


class Accepted(Base):
    """An attempt was answered with 202."""

    attempt: int
    id: str
    duplicate: bool


class Refused(Base):
    """An attempt was answered with an error; an attempt without an event has no answer."""

    attempt: int
    code: str


class Hello(Base):
    """A client opened a session: over the stream, or one read over HTTP.

    Attributes:
        session: Numbers it.
        client: Who keeps a cursor from one session to the next.
        after: That cursor, or None.
        window: How many unseen messages the client takes; 0 for a read over HTTP.
    """

    session: int
    client: str
    mailbox: str
    after: str | None
    window: int = 0


class Welcomed(Base):
    """The server said how the session's history relates to the cursor."""

    session: int
    continuity: str
    tail: str


class Message(Struct, array_like=True):
    """A message as a client got it."""

    id: str
    payload: str
    sender: str


class Pushed(Base):
    """Messages came, and with them the cursor behind the last."""

    session: int
    messages: list[Message]
    cursor: str


class CaughtUp(Base):
    """The server said that everything up to the tail was sent."""

    session: int
    tail: str
    cursor: str


class Replayed(Base):
    """The server said that all unread follow again, from the first."""

    session: int
    tail: str
    reason: str


class Seen(Base):
    """The client told what it took off the wire."""

    session: int
    upto: str


class Read(Base):
    """The server said that messages were acked elsewhere."""

    session: int
    ids: list[str] = []
    upto: str | None = None


class Closed(Base):
    """A session is over, in whatever way."""

    session: int
    code: int | None


class AckAsked(Base):
    """A client acked: these ids, or everything of an id's epoch up to it."""

    ack: int
    mailbox: str
    ids: list[str] = []
    upto: str | None = None


class AckConfirmed(Base):
    """The server said that an ack was carried out."""

    ack: int


class Fault(Base):
    """A fault began, or was healed."""

    name: str
    phase: str


class Lost(Base):
    """The store forgot, as this fault may at this level: what came between is excused.

    Attributes:
        messages: Whether messages may be gone; acks may be undone in any case.
        since: What was answered before this is still to be there.
        broken: When the store began to forget: cursors given before are worth nothing.
        until: What was asked after this is to be kept again.
        mailboxes: Whose: those that were on the store that forgot.
    """

    since: float
    broken: float
    until: float
    mailboxes: list[str]
    messages: bool = True


class Complained(Base):
    """A server logged something that never should happen."""

    line: str


class Quiet(Base):
    """All faults are healed, all senders answered, and the clients had their time.

    Attributes:
        unread: The ids every mailbox held at the end, read page by page.
    """

    unread: dict[str, list[str]]


Event = (
    Asked | Accepted | Refused | Hello | Welcomed | Pushed | CaughtUp | Replayed | Seen
    | Read | Closed | AckAsked | AckConfirmed | Fault | Lost | Complained | Quiet
)  # fmt: skip

History = list[Event]
E = TypeVar("E", bound=Base)


class Numbers(NamedTuple):
    """What has been counted in a history."""

    accepted: int
    pushed: int
    sessions: int
    replays: int


class Recorder:
    """Writes a history down.

    Attributes:
        history: All events up to now.
    """

    def __init__(self) -> None:
        self.history: History = []
        self._began = time.monotonic()
        self._numbers = 0

    def now(self) -> float:
        """Return the seconds since the run began."""
        return time.monotonic() - self._began

    def number(self) -> int:
        """Return a number that nothing else of the run has."""
        self._numbers += 1
        return self._numbers

    def note(self, event: Event) -> None:
        """Write an event down, now."""
        event.at = self.now()
        self.history.append(event)

    def numbers(self) -> Numbers:
        """Count what a run came to."""
        kinds = [type(event) for event in self.history]
        pushed = sum(len(e.messages) for e in self.history if isinstance(e, Pushed))
        replays = [e for e in self.history if isinstance(e, Replayed)]
        return Numbers(kinds.count(Accepted), pushed, kinds.count(Hello), len(replays))


def save(history: Iterable[Event], path: Path) -> None:
    """Write a history as JSON lines."""
    path.write_bytes(msgspec.json.Encoder().encode_lines(history))


def load(path: Path) -> History:
    """Read a history that was saved."""
    return msgspec.json.Decoder(Event).decode_lines(path.read_bytes())

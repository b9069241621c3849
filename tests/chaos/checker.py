"""What a history must show. Pure: a history in, complaints out.

The rules, by the names the complaints have:

- `lost`: a message that was answered with 202 never reached a client that was there at the
  end, or is not in the mailbox then, though nobody acked it and no loss excuses it.
- `skipped`: a client was sent a message, or told that it caught up, past one it never got.
- `dishonest`: a cursor was called `exact` though messages before it were never sent, or
  though the store had forgotten since; or a live session was not told of that.
- `reordered`: ids fall within a session, or a message accepted later has a lower id.
- `ghost`: a message, or a `read`, that nobody had asked for.
- `resurrected`: a message came again in a session that began after its ack was confirmed.
- `renamed`: one id for two payloads, or a retry under the same key that got another id.
- `overrun`: more unseen messages than the window.
- `broken`: an answer `internal`, or a server that logged what never should happen.

What is uncertain counts for the server: an ack excuses from the moment it was asked, a
loss excuses all that was under way while it lasted.
"""

from collections import defaultdict
from collections.abc import Iterable, Iterator
from typing import NamedTuple

from pushd.protocol.ids import START, Cursor, MessageId
from tests.chaos.facts import Delivery, Facts
from tests.chaos.history import (
    AckAsked,
    CaughtUp,
    Closed,
    Complained,
    Hello,
    History,
    Lost,
    Message,
    Pushed,
    Quiet,
    Read,
    Replayed,
    Seen,
    Welcomed,
)

RULES = (
    *("lost", "skipped", "dishonest", "reordered", "ghost", "resurrected", "renamed"),
    *("overrun", "broken"),
)

READER = "reader:"
"""Begins the name of a client that reads a mailbox at the end, to look, not to follow."""


class Complaint(NamedTuple):
    """A rule that a history breaks, and where."""

    rule: str
    at: float
    sentence: str

    def __str__(self) -> str:
        return f"{self.at:.3f} {self.rule}: {self.sentence}"


def check(history: History) -> list[Complaint]:
    """Tell everything that is wrong with a history; nothing is what we want."""
    facts = Facts(history)
    complaints = [*_deliveries(facts), *_sessions(history, facts), *_reports(history)]
    return sorted(complaints, key=lambda complaint: complaint.at)


# --- deliveries ---------------------------------------------------------------------------


def _deliveries(facts: Facts) -> Iterator[Complaint]:
    for refusal in facts.refusals:
        if refusal.code == "internal":
            yield Complaint("broken", refusal.at, f"attempt {refusal.attempt}: internal")
    for delivery in facts.deliveries.values():
        yield from _one_id(delivery, facts)
    by_mailbox = defaultdict(list)
    for delivery in facts.deliveries.values():
        if delivery.answers:
            by_mailbox[delivery.mailbox].append(delivery)
    for mailbox, deliveries in by_mailbox.items():
        yield from _in_order(deliveries, facts.forgettings[mailbox])


def _one_id(delivery: Delivery, facts: Facts) -> Iterator[Complaint]:
    """Retries under one key have one id; without a key each attempt has its own."""
    first = None
    for answer in delivery.answers:
        payload = facts.payloads[delivery.mailbox, answer.id]
        if payload != delivery.payload:
            sentence = f"{answer.id} is {payload!r} and {delivery.payload!r}"
            yield Complaint("renamed", answer.at, sentence)
        if (
            first is not None
            and delivery.key
            and not facts.undone(delivery.mailbox, first.asked, answer.at)
        ):
            if answer.id != first.id:
                sentence = f"{delivery.payload!r} is {first.id} and {answer.id}"
                yield Complaint("renamed", answer.at, sentence)
            elif not answer.duplicate:
                sentence = f"{delivery.payload!r} was accepted twice as {answer.id}"
                yield Complaint("renamed", answer.at, sentence)
        first = first or answer


def _in_order(deliveries: list[Delivery], losses: list[Lost]) -> Iterator[Complaint]:
    """What was asked for after another was answered comes after it.

    Only among deliveries between the same losses: those of before may have been undone.
    """
    by_era = defaultdict(list)
    for delivery in deliveries:
        over = sum(loss.until <= delivery.asked for loss in losses)
        begun = sum(loss.since < delivery.answers[0].at for loss in losses)
        if over == begun:
            by_era[over].append(delivery)
    for era in by_era.values():
        answered = sorted(era, key=lambda delivery: delivery.answers[0].at)
        highest, settled = START, 0
        for delivery in sorted(era, key=lambda delivery: delivery.asked):
            while answered[settled].answers[0].at < delivery.asked:
                highest = max(highest, answered[settled].answers[0].id)
                settled += 1
            answer = delivery.answers[0]
            if answer.id <= highest:
                sentence = f"{answer.id} was asked for after {highest} was answered"
                yield Complaint("reordered", answer.at, sentence)


# --- sessions -----------------------------------------------------------------------------


class _Client:
    """Whoever keeps a cursor from session to session, and what it has got."""

    def __init__(self, name: str, mailbox: str) -> None:
        self.name, self.mailbox = name, mailbox
        self.got: set[MessageId] = set()
        self.cursors: dict[str, float] = {}


class _Session:
    """One session of a client.

    Attributes:
        got: What the client has of what this session owes it.
        last: The highest id sent since the welcome or the last replay.
        checked: How many of the mailbox's known ids are below that, all accounted for.
        unseen: How many messages were sent and not yet seen.
        told: When it was last told the truth about continuity.
    """

    def __init__(self, hello: Hello, client: _Client) -> None:
        self.hello, self.client = hello, client
        self.got: set[MessageId] = set()
        self.last = START
        self.checked = 0
        self.unseen: list[MessageId] = []
        self.told: float | None = None
        self.is_open = True

    @property
    def reads_only(self) -> bool:
        """Whether it is a reader's: that one does not follow the mailbox."""
        return self.client.name.startswith(READER)


def _sessions(history: History, facts: Facts) -> Iterator[Complaint]:
    return _Watch(facts).watch(history)


class _Watch:
    """Follows all sessions through a history."""

    def __init__(self, facts: Facts) -> None:
        self._facts = facts
        self._clients: dict[str, _Client] = {}
        self._sessions: dict[int, _Session] = {}
        self._asked: dict[str, list[AckAsked]] = defaultdict(list)

    def watch(self, history: History) -> Iterator[Complaint]:
        """Yield what is wrong."""
        for event in history:
            match event:
                case Hello():
                    client = self._clients.setdefault(
                        event.client, _Client(event.client, event.mailbox)
                    )
                    self._sessions[event.session] = _Session(event, client)
                case Welcomed():
                    yield from self._welcomed(self._sessions[event.session], event)
                case Pushed():
                    yield from self._pushed(self._sessions[event.session], event)
                case CaughtUp():
                    yield from self._caught_up(self._sessions[event.session], event)
                case Replayed():
                    session = self._sessions[event.session]
                    session.got, session.unseen = set(), []
                    session.last, session.checked = START, 0
                    session.told = event.at
                case Seen():
                    session = self._sessions[event.session]
                    upto = MessageId.parse(event.upto)
                    session.unseen = [id for id in session.unseen if id > upto]
                case AckAsked():
                    self._asked[event.mailbox].append(event)
                case Read():
                    yield from self._read(self._sessions[event.session], event)
                case Closed():
                    self._sessions[event.session].is_open = False
                case Quiet():
                    yield from self._quiet(event)

    def _welcomed(self, session: _Session, event: Welcomed) -> Iterator[Complaint]:
        session.told = event.at
        if event.continuity != "exact":
            return
        client, after = session.client, session.hello.after
        if after is None or after not in client.cursors:
            yield Complaint("dishonest", event.at, f"{client.name} has no cursor {after}")
            return
        given = client.cursors[after]
        for loss in self._facts.losses[client.mailbox]:
            if given < loss.broken and loss.until < session.hello.at:
                sentence = f"{after} of {client.name} outlived what the store forgot"
                yield Complaint("dishonest", event.at, sentence)
        session.got = set(client.got)
        session.last = Cursor.parse(after).id
        yield from self._missing("dishonest", session, session.last, event.at)

    def _pushed(self, session: _Session, event: Pushed) -> Iterator[Complaint]:
        for message in event.messages:
            id = MessageId.parse(message.id)
            yield from self._genuine(session, id, message, event.at)
            if id <= session.last:
                sentence = f"{session.client.name} got {id} after {session.last}"
                yield Complaint("reordered", event.at, sentence)
            session.last = max(session.last, id)
            yield from self._missing("skipped", session, id, event.at, itself=False)
            session.got.add(id)
            session.client.got.add(id)
            session.unseen.append(id)
        session.client.cursors[event.cursor] = event.at
        if session.hello.window and len(session.unseen) > session.hello.window:
            sentence = f"{session.client.name} has {len(session.unseen)} messages unseen"
            yield Complaint("overrun", event.at, sentence)

    def _genuine(
        self, session: _Session, id: MessageId, message: Message, at: float
    ) -> Iterator[Complaint]:
        """Everything that comes was asked for, as it comes, and was not done with."""
        mailbox, name = session.client.mailbox, session.client.name
        delivery = self._facts.deliveries.get(message.payload)
        if delivery is None or delivery.mailbox != mailbox or delivery.asked > at:
            yield Complaint("ghost", at, f"{name} got {id} {message.payload!r}")
        elif delivery.sender != message.sender:
            yield Complaint("ghost", at, f"{name} got {id} from {message.sender}")
        if self._facts.payloads[mailbox, id] != message.payload:
            first = self._facts.payloads[mailbox, id]
            yield Complaint("renamed", at, f"{id} is {first!r} and {message.payload!r}")
        if self._facts.removed(mailbox, id, session.hello.at):
            yield Complaint("resurrected", at, f"{name} got {id} after its ack")

    def _caught_up(self, session: _Session, event: CaughtUp) -> Iterator[Complaint]:
        session.client.cursors[event.cursor] = event.at
        tail = MessageId.parse(event.tail)
        if tail < session.last:
            sentence = f"{session.client.name} was sent {session.last} before tail {tail}"
            yield Complaint("skipped", event.at, sentence)
        session.last = max(session.last, tail)
        yield from self._missing("skipped", session, tail, event.at)

    def _missing(
        self, rule: str, session: _Session, upto: MessageId, at: float, itself: bool = True
    ) -> Iterator[Complaint]:
        """Yield what is owed up to an id and was not sent."""
        mailbox = session.client.mailbox
        known = self._facts.known[mailbox]
        while session.checked < len(known):
            id = known[session.checked]
            if id > upto or (id == upto and not itself):
                return
            session.checked += 1
            if id not in session.got and self._facts.owed(mailbox, id, at):
                yield Complaint(rule, at, f"{session.client.name} is past {id}, unsent")

    def _read(self, session: _Session, event: Read) -> Iterator[Complaint]:
        asked = self._asked[session.client.mailbox]
        if event.upto is not None:
            genuine = any(ack.upto == event.upto for ack in asked)
        else:
            acked = {id for ack in asked for id in ack.ids}
            genuine = acked >= set(event.ids)
        if not genuine:
            what = event.upto or ", ".join(event.ids)
            yield Complaint("ghost", event.at, f"a read of {what}, which nobody acked")

    # --- the end --------------------------------------------------------------------------

    def _quiet(self, event: Quiet) -> Iterator[Complaint]:
        live = [session for session in self._sessions.values() if session.is_open]
        for session in live:
            yield from self._untold(session, event.at)
        for mailbox, unread in event.unread.items():
            kept = {MessageId.parse(id) for id in unread}
            yield from self._kept(mailbox, kept, event.at)
            for client in self._clients.values():
                if client.mailbox == mailbox and not client.name.startswith(READER):
                    yield from self._delivered(client, kept, event.at)

    def _untold(self, session: _Session, at: float) -> Iterator[Complaint]:
        """Every session that outlived a loss was told to replay."""
        if session.told is None or session.reads_only:
            return
        for loss in self._facts.losses[session.client.mailbox]:
            if session.told < loss.broken:
                sentence = f"{session.client.name} was never told that the store forgot"
                yield Complaint("dishonest", at, sentence)

    def _kept(self, mailbox: str, kept: set[MessageId], at: float) -> Iterator[Complaint]:
        """What is owed is in the mailbox, and what was removed is not."""
        for id in self._facts.known[mailbox]:
            if id not in kept and self._facts.owed(mailbox, id, at):
                yield Complaint("lost", at, f"{id} is no longer in {mailbox}")
            if id in kept and self._facts.removed(mailbox, id, at):
                yield Complaint("resurrected", at, f"{id} is in {mailbox} after its ack")

    def _delivered(
        self, client: _Client, kept: set[MessageId], at: float
    ) -> Iterator[Complaint]:
        """What the mailbox still holds has reached everybody who follows it."""
        for id in sorted(kept - client.got):
            delivery = self._facts.delivery(client.mailbox, id)
            if delivery is not None and delivery.lasting:
                yield Complaint("lost", at, f"{client.name} never got {id}")


# --- servers ------------------------------------------------------------------------------


def _reports(history: Iterable[object]) -> Iterator[Complaint]:
    for event in history:
        if isinstance(event, Complained):
            yield Complaint("broken", event.at, event.line)

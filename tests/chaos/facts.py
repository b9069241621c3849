"""What a whole history says of deliveries, acks and losses, before anything is judged."""

from bisect import insort
from collections import defaultdict
from collections.abc import Iterable, Iterator
from typing import NamedTuple

from pushd.protocol.ids import MessageId
from tests.chaos.history import (
    Accepted,
    AckAsked,
    AckConfirmed,
    Asked,
    Hello,
    History,
    Lost,
    Pushed,
    Refused,
)

SHORT = 60
"""Seconds: what lives less may be gone at any time, what lives longer outlives a run."""


class Answer(NamedTuple):
    """A 202."""

    at: float
    asked: float
    id: MessageId
    duplicate: bool


class Delivery:
    """A payload for a mailbox, asked for once or, with a key, several times.

    Attributes:
        asked: When it was first asked for.
        attempts: How often.
        answers: What was answered with 202, in order.
    """

    def __init__(self, first: Asked) -> None:
        self.mailbox = first.mailbox
        self.sender = first.sender
        self.payload = first.payload
        self.key = first.key
        self.lasting = first.ttl >= SHORT
        self.asked = first.at
        self.attempts = 0
        self.answers: list[Answer] = []


class Ack:
    """Ids that a client wanted removed; `confirmed` when the server said it was done."""

    def __init__(self, asked: AckAsked) -> None:
        self.asked = asked.at
        self.confirmed: float | None = None
        self._ids = {MessageId.parse(id) for id in asked.ids}
        self._upto = None if asked.upto is None else MessageId.parse(asked.upto)

    def covers(self, id: MessageId) -> bool:
        """Tell whether it removes this message."""
        return id in self._ids or (self._upto is not None and self._upto.covers(id))


class Facts:
    """A history, sorted by what it is about.

    Attributes:
        deliveries: By payload.
        known: The ids of each mailbox that are known to have been given out, ascending,
            by a 202 or because a client got them.
        payloads: By mailbox and id, whatever was first said of it.
        losses: When the store may have forgotten something of a mailbox.
        forgettings: Those of them in which messages may be gone.
    """

    def __init__(self, history: History) -> None:
        self.deliveries: dict[str, Delivery] = {}
        self.known: dict[str, list[MessageId]] = defaultdict(list)
        self.payloads: dict[tuple[str, MessageId], str] = {}
        self.losses: dict[str, list[Lost]] = defaultdict(list)
        self.forgettings: dict[str, list[Lost]] = defaultdict(list)
        self.refusals = [event for event in history if isinstance(event, Refused)]
        self._acks: dict[str, list[Ack]] = defaultdict(list)
        self._read_losses(history)
        self._read_deliveries(history)
        self._read_acks(history)

    def _read_losses(self, history: History) -> None:
        for loss in history:
            if isinstance(loss, Lost):
                for mailbox in loss.mailboxes:
                    self.losses[mailbox].append(loss)
                    if loss.messages:
                        self.forgettings[mailbox].append(loss)

    def _read_deliveries(self, history: History) -> None:
        attempts: dict[int, tuple[Delivery, float]] = {}
        mailboxes: dict[int, str] = {}
        for event in history:
            match event:
                case Asked():
                    delivery = self.deliveries.setdefault(event.payload, Delivery(event))
                    delivery.attempts += 1
                    attempts[event.attempt] = (delivery, event.at)
                case Accepted():
                    delivery, asked = attempts[event.attempt]
                    id = MessageId.parse(event.id)
                    answer = Answer(event.at, asked, id, event.duplicate)
                    delivery.answers.append(answer)
                    self._learn(delivery.mailbox, id, delivery.payload)
                case Hello():
                    mailboxes[event.session] = event.mailbox
                case Pushed():
                    for message in event.messages:
                        id = MessageId.parse(message.id)
                        self._learn(mailboxes[event.session], id, message.payload)

    def _learn(self, mailbox: str, id: MessageId, payload: str) -> None:
        if (mailbox, id) not in self.payloads:
            self.payloads[mailbox, id] = payload
            insort(self.known[mailbox], id)

    def _read_acks(self, history: History) -> None:
        acks: dict[int, Ack] = {}
        for event in history:
            if isinstance(event, AckAsked):
                acks[event.ack] = ack = Ack(event)
                self._acks[event.mailbox].append(ack)
            elif isinstance(event, AckConfirmed):
                acks[event.ack].confirmed = event.at

    def delivery(self, mailbox: str, id: MessageId) -> Delivery | None:
        """Find what a message was, if anybody asked for it."""
        return self.deliveries.get(self.payloads[mailbox, id])

    def released(self, mailbox: str, id: MessageId, before: float) -> bool:
        """Tell whether somebody had asked to remove a message by then."""
        return any(ack.asked <= before for ack in self._covering(mailbox, id))

    def removed(self, mailbox: str, id: MessageId, before: float) -> bool:
        """Tell whether a message was surely removed by then, and no loss undid it."""
        return any(
            ack.confirmed is not None
            and ack.confirmed <= before
            and not _within(self.losses[mailbox], ack.asked, ack.confirmed)
            for ack in self._covering(mailbox, id)
        )

    def _covering(self, mailbox: str, id: MessageId) -> Iterator[Ack]:
        return (ack for ack in self._acks[mailbox] if ack.covers(id))

    def undone(self, mailbox: str, asked: float, answered: float) -> bool:
        """Tell whether what was accepted then may have been forgotten."""
        return _within(self.forgettings[mailbox], asked, answered)

    def owed(self, mailbox: str, id: MessageId, at: float) -> bool:
        """Tell whether a message that was given out has to be in its mailbox then."""
        delivery = self.delivery(mailbox, id)
        if delivery is None or not delivery.lasting or self.released(mailbox, id, at):
            return False
        answered = [answer.at for answer in delivery.answers if answer.id == id]
        if not answered:  # it was sent and never claimed: every loss excuses it
            return not _within(self.losses[mailbox], delivery.asked, at)
        return not self.undone(mailbox, delivery.asked, answered[0])


def _within(losses: Iterable[Lost], asked: float, answered: float) -> bool:
    return any(asked < loss.until and answered > loss.since for loss in losses)

"""What a mailbox store promises, whatever it runs on.

The mailbox is the truth; publications only make it fast. Three promises carry everything
above this file:

1. **Accepted means kept.** When `accept` answers, the message is as durable as
   `Mailboxes.durability` says, and it leaves the mailbox only by ack or by expiry.
2. **One order.** Ids grow in the order of acceptance, within an epoch without gaps, and
   the publications of a mailbox arrive in that order; one may be lost, none overtakes.
3. **Honest epochs.** Whatever interrupts the store opens a new epoch, and every answer
   carries the tail, so that a reader always sees it.

All times that decide anything are the store's clock. Methods return futures rather than
being coroutines: the calls of one event-loop tick travel together, and a session needs
no task to wait. A future may be dropped; the work is done all the same.
"""

from asyncio import Future
from collections.abc import Mapping, Sequence
from typing import NamedTuple, Protocol

from msgspec import Struct

from pushd.errors import PushdError
from pushd.futures import Done
from pushd.protocol.ids import MessageId
from pushd.protocol.messages import Accepted, Overflow, StoredMessage


class Entry(Struct, frozen=True, gc=False):
    """A delivery that passed every check, ready to be stored.

    Attributes:
        mailbox: The recipient's DID.
        sender: The sender's DID; shares of the mailbox's quota are counted by it.
        body: `messages.message_body(...)` of it.
        ttl: Seconds until it expires, at least 1.
        key: The idempotency key, unique for this sender; None stores every time.
    """

    mailbox: str
    sender: str
    body: bytes
    ttl: int
    key: str | None = None


class Stale(Struct, frozen=True, gc=False):
    """Nothing was stored: who the names in the mailbox's policy are must be found out."""


class Verdicts(Struct, frozen=True):
    """A mailbox's policy, as far as the store decides by it.

    Attributes:
        record: Of what the verdicts were made; the store only keeps it. Not empty.
        others: Whether those may write of whom nothing is said.
        senders: Of whom something is said, by DID: whether they may write; None: nobody
            can tell.
        fresh: Seconds until the names in it are stale; 0: there are none.
    """

    record: bytes
    others: bool
    senders: Mapping[str, bool | None]
    fresh: int = 0


class Quota(NamedTuple):
    """Limits of every mailbox.

    Attributes:
        messages: Unread messages one mailbox holds.
        bytes: Bytes of unread messages one mailbox holds, estimated.
        dedup: Seconds an idempotency key is remembered, at least.
    """

    messages: int
    bytes: int
    dedup: int


Result = Accepted | PushdError | Stale
"""What became of an entry; the store says it as the sender is told."""


class Opened(Struct, frozen=True, gc=False):
    """A mailbox as its owner found it on coming in.

    Attributes:
        tail: The last id assigned in the current epoch, or `<epoch>-0`.
        unread: How many messages wait.
        gone: Which of the ids asked for (`holding`) are no longer in the mailbox.
        overflow: What a full mailbox refused and its owner was not yet told, or None.
    """

    tail: MessageId
    unread: int
    gone: tuple[MessageId, ...]
    overflow: Overflow | None


Tail = MessageId | None | PushdError
"""The last id assigned, None for no mailbox, or why nobody can tell."""


class Page(Struct, frozen=True, gc=False):
    """Messages in order, and the mailbox as it was when they were read.

    Attributes:
        messages: What follows the position asked for, as far as the limits went.
        complete: Whether nothing followed the last of them.
        tail: The last id assigned in the current epoch, or `<epoch>-0`.
        unread: How many messages the mailbox holds.
        overflow: What a full mailbox refused and its owner was not yet told, or None.
    """

    messages: list[StoredMessage]
    complete: bool
    tail: MessageId
    unread: int
    overflow: Overflow | None


class Acknowledged(Struct, frozen=True, gc=False):
    """How many messages an ack removed, and how many are left; -1 if nobody counted."""

    removed: int
    unread: int


class Subscriber(Protocol):
    """Hears the publications of the mailboxes it subscribed to, in order.

    Called from the store's connection: quick, and never raising.
    """

    def published(self, mailbox: str, messages: list[StoredMessage]) -> None:
        """New messages were accepted; those of one network read come together."""

    def acknowledged(
        self, mailbox: str, what: Sequence[MessageId] | MessageId, origin: str
    ) -> None:
        """An ack removed these ids, or everything of its epoch up to one id.

        `origin` is the session that acked, or empty.
        """

    def alone(self, mailbox: str, origin: str) -> bool:
        """Tell whether the session `origin` hears a mailbox, and nobody else does here."""

    def overflowed(self, mailbox: str, overflow: Overflow) -> None:
        """The full mailbox refuses deliveries; at most once a minute."""

    def joined(self, mailbox: str, device: str, session: str) -> None:
        """A session with this device opened, here or in another process."""

    def interrupted(self, mailboxes: Sequence[str]) -> None:
        """Publications of these may have been lost; each should be compared."""


class Mailboxes(Protocol):
    """All mailboxes of one store.

    Every future may fail with `StoreUnavailable`; what a call does beyond that is said
    at the call.
    """

    durability: str
    """What an accepted message survives: `memory`, `fsync` or `replicated`."""

    def accept(self, entries: Sequence[Entry]) -> Future[list[Result]]:
        """Store messages, each in its mailbox, and publish them.

        The result has one item for each entry, in order: where it is stored, or
        `UnknownMailbox`, `Forbidden` by the mailbox's policy, `MailboxFull` (nothing was
        stored), `KeyConflict`, or `Stale`. One refused entry never spoils the others.
        """

    def store(self, entries: Sequence[Entry], done: Done[list[Result]]) -> None:
        """Do as `accept`, for who has no use for a future; at least one entry.

        `done` is called once, after this returned, with what the future would be told;
        if it raises, it is called once more, with that as our bug.
        """

    def open(
        self,
        mailbox: str,
        *,
        create: bool,
        holding: Sequence[MessageId] = (),
        device: str = "",
        session: str = "",
    ) -> Future[Opened]:
        """Come in as the owner: a write, so a lossy restart cannot go unnoticed.

        A mailbox that is not there is made if `create`, else the future fails with
        `UnknownMailbox`. The answer tells which ids of `holding` are no longer there. With
        `device`, every process hears that this session `joined`.
        """

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
        """Do as `open`, for who has no use for a future.

        `done` is called once, after this returned, with what the future would be told.
        """

    def read(self, mailbox: str, *, after: MessageId, limit: int) -> Future[Page]:
        """Read at most `limit` messages after an id, and at most 4 MiB.

        `UnknownMailbox` if it is not there.
        """

    def fetch(
        self, mailbox: str, done: Done[Page], *, after: MessageId, limit: int
    ) -> None:
        """Do as `read`, for who has no use for a future.

        `done` is called once, after this returned, with what the future would be told.
        """

    def tails(self, mailboxes: Sequence[str]) -> Future[list[Tail]]:
        """Tell the tail of each mailbox, None for one that is not there.

        Where a part of the store is away, `StoreUnavailable` stands for each of its own;
        for a mailbox that must be brought in order first and cannot be, it does too.
        """

    def acknowledge(
        self,
        mailbox: str,
        what: Sequence[MessageId] | MessageId,
        *,
        origin: str = "",
        count: bool = True,
    ) -> Future[Acknowledged]:
        """Remove messages: these ids, or everything of an id's epoch up to that id.

        Idempotent; an id that is not there is no error. An `upto` of an older epoch
        removes what is left of that epoch up to it, one above the tail nothing. Whoever
        else hears the mailbox is told what was removed, as `acknowledged`, with `origin`;
        where nobody else does, nothing is published. Without `count` nobody counts
        what is left, which is a fifth of the work. `UnknownMailbox` if the mailbox is not
        there.
        """

    def remove(
        self,
        mailbox: str,
        what: Sequence[MessageId] | MessageId,
        done: Done[Acknowledged],
        *,
        origin: str = "",
        count: bool = True,
    ) -> None:
        """Do as `acknowledge`, for who has no use for a future.

        `done` is called once, after this returned, with what the future would be told.
        """

    def policy(self, mailbox: str) -> Future[bytes]:
        """Tell the record of a mailbox's policy, empty if it has none.

        `UnknownMailbox` if the mailbox is not there.
        """

    def set_policy(
        self, mailbox: str, verdicts: Verdicts | None, *, instead: bytes = b""
    ) -> Future[None]:
        """Give a mailbox a policy, None for none; it counts from the next delivery on.

        With `instead`, only if its policy still has this record. `UnknownMailbox` if the
        mailbox is not there.
        """

    def told(self, mailbox: str, overflow: Overflow) -> None:
        """The owner was told of this overflow; it clears once accepting again."""

    def subscribe(self, mailbox: str) -> Future[None]:
        """Begin to hear a mailbox's publications; done once the store confirmed it.

        Publications go to the one `Subscriber` the store was made with. Idempotent. A
        mailbox is wanted until `unsubscribe`, also where this failed.
        """

    def hear(self, mailbox: str, done: Done[None]) -> None:
        """Do as `subscribe`, for who has no use for a future.

        `done` is called once, after this returned, with what the future would be told.
        """

    def unsubscribe(self, mailbox: str) -> None:
        """Stop hearing a mailbox's publications; who waits to hear them waits no more."""

    def ready(self) -> str | None:
        """Tell why this store cannot serve right now, in a sentence; None if it can."""


class Meter(Protocol):
    """Adds up what was done at all servers of one store, for the rate limits."""

    def charge(self, costs: Mapping[str, float]) -> Future[dict[str, float]]:
        """Add to what each did.

        Args:
            costs: For how many more seconds it counts, by who did it, at least one.

        Returns:
            For how many seconds from now all that each of them did will count. The future
            may fail with `StoreUnavailable`.
        """

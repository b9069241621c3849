"""What the tests of mailboxes deliver and hear, and how they wait."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from typing import NamedTuple

from pushd.errors import StoreUnavailable
from pushd.mailbox.base import Entry, Mailboxes, Quota
from pushd.mailbox.checks import Durability
from pushd.mailbox.redis import RedisMailboxes
from pushd.protocol.ids import START, MessageId
from pushd.protocol.messages import Accepted, From, Overflow, StoredMessage, message_body

ALICE = "did:btc-addr:1AqzjNiKLo7gVw6dXXiUmKLg4yCRWm1Zzz"
CAROL = "did:btc-addr:1CqzjNiKLo7gVw6dXXiUmKLg4yCRWm1Zzz"
QUOTA = Quota(messages=100_000, bytes=64 * 1024 * 1024, dedup=3600)
"""More than a test fills."""
PATIENCE = 30
"""Seconds after which a store that was harmed will not do any more."""


class Heard(NamedTuple):
    """Something a subscriber was told."""

    what: str
    mailbox: str
    details: object


class Ear:
    """A subscriber that writes down what it hears, in order.

    Attributes:
        heard: What that was.
        sessions: Who is said to listen, of any mailbox.
    """

    def __init__(self) -> None:
        self.heard: list[Heard] = []
        self.sessions: list[str] = []

    def published(self, mailbox: str, messages: list[StoredMessage]) -> None:
        """Note messages."""
        self.heard.append(Heard("published", mailbox, messages))

    def acknowledged(
        self, mailbox: str, what: Sequence[MessageId] | MessageId, origin: str
    ) -> None:
        """Note an ack."""
        self.heard.append(Heard("acknowledged", mailbox, (what, origin)))

    def alone(self, mailbox: str, origin: str) -> bool:
        """Compare with those who are said to listen."""
        return self.sessions == [origin]

    def overflowed(self, mailbox: str, overflow: Overflow) -> None:
        """Note an overflow."""
        self.heard.append(Heard("overflowed", mailbox, overflow))

    def joined(self, mailbox: str, device: str, session: str) -> None:
        """Note a device."""
        self.heard.append(Heard("joined", mailbox, (device, session)))

    def interrupted(self, mailboxes: Sequence[str]) -> None:
        """Note an interruption."""
        self.heard.append(Heard("interrupted", "", list(mailboxes)))

    def what(self) -> list[str]:
        """List what was heard, without the details."""
        return [heard.what for heard in self.heard]

    def messages(self, mailbox: str) -> list[MessageId]:
        """List the ids of the messages heard of a mailbox."""
        return [
            message.id
            for heard in self.heard
            if heard.what == "published" and heard.mailbox == mailbox
            for message in _messages(heard.details)
        ]


def _messages(details: object) -> list[StoredMessage]:
    assert isinstance(details, list)
    return details


def entry(
    mailbox: str,
    payload: str = "hello",
    *,
    sender: str = ALICE,
    key: str | None = None,
    ttl: int = 3600,
) -> Entry:
    """Make a delivery."""
    body = message_body(From(did=sender), payload)
    return Entry(mailbox=mailbox, sender=sender, body=body, ttl=ttl, key=key)


def id_of(accepted: Accepted) -> MessageId:
    """Read the id that a sender is told."""
    return MessageId.parse(accepted.id)


async def unread(mailboxes: Mailboxes, mailbox: str) -> list[MessageId]:
    """List the ids of all unread messages, page by page."""
    ids: list[MessageId] = []
    while True:
        after = ids[-1] if ids else START
        page = await mailboxes.read(mailbox, after=after, limit=100)
        ids += [message.id for message in page.messages]
        if page.complete:
            return ids


@asynccontextmanager
async def mailboxes_at(
    url: str, ear: Ear, mailbox: str, durability: Durability = "fsync"
) -> AsyncIterator[RedisMailboxes]:
    """Connect to a store, open a mailbox there, and listen to it."""
    mailboxes = RedisMailboxes(url, subscriber=ear, quota=QUOTA, durability=durability)
    await mailboxes.start()
    try:
        await mailboxes.open(mailbox, create=True)
        await mailboxes.subscribe(mailbox)
        yield mailboxes
    finally:
        await mailboxes.close()


async def accepted(mailboxes: Mailboxes, mailbox: str, payload: str) -> MessageId:
    """Deliver with a key until it is accepted, as a sender would."""
    async with asyncio.timeout(PATIENCE):
        while True:
            try:
                delivery = entry(mailbox, payload, key=payload)
                [result] = await mailboxes.accept([delivery])
            except StoreUnavailable:
                await asyncio.sleep(0.02)
            else:
                assert isinstance(result, Accepted), result
                return id_of(result)


async def until(condition: Callable[[], Awaitable[bool] | bool]) -> None:
    """Wait until something is so."""
    async with asyncio.timeout(20):
        while True:
            now = condition()
            if now if isinstance(now, bool) else await now:
                return
            await asyncio.sleep(0.01)

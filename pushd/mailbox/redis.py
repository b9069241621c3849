"""Mailboxes on Redis or Valkey: what `base.Mailboxes` promises, as calls of functions.lua.

Two connections per process: one for commands, where the calls of a tick travel as one
(`coalesce.py`), and one that hears publications (`subscriptions.py`). This file only
translates: entries into arguments, replies into results and errors.

What waits for an answer is a `partial` of a method, not a nested function: one that can
ask again would refer to itself, and leave each call to the garbage collector.
"""

import asyncio
from collections.abc import Callable, Sequence
from functools import partial
from hashlib import blake2b
from typing import Any, Literal, TypeVar

from pushd.errors import (
    ConfigurationError,
    Internal,
    KeyConflict,
    MailboxFull,
    PushdError,
    UnknownMailbox,
)
from pushd.mailbox.base import (
    Acknowledged,
    Entry,
    Opened,
    Page,
    Quota,
    Stored,
    Subscriber,
)
from pushd.mailbox.checks import DURABILITIES, LIBRARY, check
from pushd.mailbox.coalesce import Coalescer, Done, settle
from pushd.mailbox.connection import Address, Argument, Connection, Link
from pushd.mailbox.subscriptions import Subscriptions, channel_of, parse_id
from pushd.protocol.ids import MessageId
from pushd.protocol.messages import Overflow, StoredMessage

T = TypeVar("T")

TAILS = 500
"""Mailboxes whose tails are asked for in one call."""

_DUPLICATE = ord("=")

# The answers of functions.lua that are not results.
_TOUCH = 0
_UNKNOWN = 1
_REFUSALS: dict[int, Callable[[], PushdError]] = {
    _UNKNOWN: UnknownMailbox,
    2: KeyConflict,
    3: MailboxFull,
    4: lambda: MailboxFull(
        "This sender's share of the mailbox is full; it is accepted again once that share"
        " has drained below half."
    ),
    5: lambda: MailboxFull(
        "The mailbox remembers as many keys as it may; deliver without a key, or wait"
        " until it forgets the oldest."
    ),
}


class RedisMailboxes:
    """All mailboxes of one store.

    Args:
        url: Where the store is: `redis://`, `rediss://` or `unix://`.
        subscriber: Hears the publications of the subscribed mailboxes.
        quota: Limits of every mailbox.
        durability: What accepted messages have to survive; `fsync` is checked.
        observe: Called with the seconds each exchange with the store took.
    """

    def __init__(
        self,
        url: str,
        *,
        subscriber: Subscriber,
        quota: Quota,
        durability: Literal["memory", "fsync"],
        observe: Callable[[float], None] | None = None,
    ) -> None:
        if durability not in DURABILITIES:
            raise ConfigurationError(
                f"PUSHD_DURABILITY is one of {', '.join(DURABILITIES)}."
            )
        self.durability: str = durability
        header = (quota.messages, quota.bytes, quota.dedup)
        counting = ("accept", "open", "acknowledge", "told")
        self._loop = asyncio.get_running_loop()
        self._commands = Coalescer(
            {f"{LIBRARY}_{name}": header for name in counting}, observe
        )
        self._subscriptions = Subscriptions(subscriber, self._commands)
        address = Address.parse(url)
        self._link = Link(
            address,
            prepare=partial(check, durability=durability),
            opened=self._commands.opened,
            lost=self._commands.lost,
            pushed=lambda pushes: None,
        )
        self._hearing = Link(
            address,
            prepare=_unprepared,
            opened=self._subscriptions.opened,
            lost=self._subscriptions.lost,
            pushed=self._subscriptions.pushed,
        )

    async def start(self) -> None:
        """Connect, or keep trying in the background if the store does not answer.

        Raises:
            ConfigurationError: If the store answers and will not do; nothing is started.
        """
        self._commands.start(self._link)
        self._subscriptions.start(self._hearing)
        starting = (self._link.start(), self._hearing.start())
        for failure in await asyncio.gather(*starting, return_exceptions=True):
            if failure is not None:
                await self.close()
                raise failure

    async def close(self) -> None:
        """Close the connections; calls without an answer fail."""
        self._commands.close()
        self._subscriptions.close()
        await self._link.close()
        await self._hearing.close()

    def ready(self) -> str | None:
        """Tell why this store cannot serve right now, in a sentence; None if it can."""
        return self._link.trouble or self._subscriptions.trouble() or None

    # --- deliveries ----------------------------------------------------------------------

    def accept(self, entries: Sequence[Entry]) -> asyncio.Future[list[Stored | PushdError]]:
        """Store messages, each in its mailbox, and publish them; see `base.Mailboxes`."""
        future: asyncio.Future[list[Stored | PushdError]] = self._loop.create_future()
        if not entries:
            future.set_result([])
            return future
        keys: list[str] = []
        args: list[Argument] = []
        size = 0
        for entry in entries:
            keys.append(channel_of(entry.mailbox))
            body = entry.body
            if entry.key is None:
                args += (body, entry.ttl, b"", b"")
            else:
                args += (body, entry.ttl, _hash(entry.sender, entry.key), _digest(body))
            size += len(body)
        self._call("accept", keys, args, partial(_accepted, future), size=size)
        return future

    # --- the owner -----------------------------------------------------------------------

    def open(
        self,
        mailbox: str,
        *,
        create: bool,
        holding: Sequence[MessageId] = (),
        device: str = "",
        session: str = "",
    ) -> asyncio.Future[Opened]:
        """Come in as the owner; see `base.Mailboxes`."""
        future: asyncio.Future[Opened] = self._loop.create_future()
        ids = [str(id) for id in holding]
        joined = f"joined\t{session}\t{device}" if device else ""
        self._open(mailbox, [int(create), joined, len(ids), *ids], future)
        return future

    def _open(
        self, mailbox: str, args: Sequence[Argument], future: asyncio.Future[Opened]
    ) -> None:
        done = partial(self._opened, mailbox, args, future)
        self._one("open", mailbox, args, future, done)

    def _opened(
        self,
        mailbox: str,
        args: Sequence[Argument],
        future: asyncio.Future[Opened],
        answer: list[Any],
    ) -> None:
        """Take the opened mailbox, or sweep on where one call did not sweep it all."""
        more, tail, unread, refused, since, *gone = answer
        if more:
            create, _joined, *holding = args
            self._open(mailbox, [create, "", *holding], future)
            return
        gone_ids = tuple(parse_id(id) for id in gone)
        result = Opened(parse_id(tail), unread, gone_ids, _overflow(refused, since))
        settle(future, result)

    def read(self, mailbox: str, *, after: MessageId, limit: int) -> asyncio.Future[Page]:
        """Read at most `limit` messages after an id; see `base.Mailboxes`."""
        future: asyncio.Future[Page] = self._loop.create_future()
        self._read(mailbox, [str(after), limit], future)
        return future

    def _read(
        self, mailbox: str, args: Sequence[Argument], future: asyncio.Future[Page]
    ) -> None:
        again = partial(self._read, mailbox, args, future)
        self._one("read", mailbox, args, future, partial(_page, future), touched=again)

    def tails(self, mailboxes: Sequence[str]) -> asyncio.Future[list[MessageId | None]]:
        """Tell the tail of each mailbox; see `base.Mailboxes`."""
        future: asyncio.Future[list[MessageId | None]] = self._loop.create_future()
        found: dict[str, MessageId | None] = {}

        def ask(names: Sequence[str]) -> None:
            keys = [channel_of(name) for name in names]
            self._call("tails", keys, (), partial(answered, names))

        def answered(names: Sequence[str], answers: list[Any] | PushdError) -> None:
            if isinstance(answers, PushdError):
                settle(future, answers)
                return
            for name, answer in zip(names, answers, strict=True):
                if answer == _TOUCH:
                    self._touch(name, future, partial(ask, [name]))
                else:
                    found[name] = None if answer == _UNKNOWN else parse_id(answer)
            if len(found) == len(wanted):
                settle(future, [found[mailbox] for mailbox in mailboxes])

        wanted = list(dict.fromkeys(mailboxes))
        if not wanted:
            future.set_result([])
        for start in range(0, len(wanted), TAILS):
            ask(wanted[start : start + TAILS])
        return future

    def acknowledge(
        self,
        mailbox: str,
        what: Sequence[MessageId] | MessageId,
        *,
        origin: str = "",
    ) -> asyncio.Future[Acknowledged]:
        """Remove messages; see `base.Mailboxes`."""
        future: asyncio.Future[Acknowledged] = self._loop.create_future()
        args: list[Argument]
        if isinstance(what, MessageId):
            args = [origin, 0, str(what)]
        else:
            args = [origin, len(what), *map(str, what)]
        self._acknowledge(mailbox, args, future, 0)
        return future

    def _acknowledge(
        self,
        mailbox: str,
        args: Sequence[Argument],
        future: asyncio.Future[Acknowledged],
        removed: int,
    ) -> None:
        done = partial(self._acknowledged, mailbox, args, future, removed)
        self._one("acknowledge", mailbox, args, future, done)

    def _acknowledged(
        self,
        mailbox: str,
        args: Sequence[Argument],
        future: asyncio.Future[Acknowledged],
        removed: int,
        answer: list[int],
    ) -> None:
        """Count what was removed, and go on where one call did not remove it all."""
        more, count, unread = answer
        if more:
            self._acknowledge(mailbox, args, future, removed + count)
        else:
            settle(future, Acknowledged(removed + count, unread))

    def told(self, mailbox: str, overflow: Overflow) -> None:
        """Note that the owner was told of this overflow; see `base.Mailboxes`."""
        self._call("told", [channel_of(mailbox)], [overflow.refused], _ignore)

    # --- publications --------------------------------------------------------------------

    def subscribe(self, mailbox: str) -> asyncio.Future[None]:
        """Begin to hear a mailbox's publications; see `base.Mailboxes`."""
        return self._subscriptions.subscribe(mailbox)

    def unsubscribe(self, mailbox: str) -> None:
        """Stop hearing a mailbox's publications."""
        self._subscriptions.unsubscribe(mailbox)

    # --- calls ---------------------------------------------------------------------------

    def _call(
        self,
        function: str,
        keys: Sequence[str],
        args: Sequence[Argument],
        done: Done,
        *,
        size: int = 0,
    ) -> None:
        """Call a function over mailboxes: the one place that decides which node has them.

        With one node all of them travel together; in a Cluster this is where a call is
        split by slot.
        """
        self._commands.call(f"{LIBRARY}_{function}", keys, args, done, size=size)

    def _one(
        self,
        function: str,
        mailbox: str,
        args: Sequence[Argument],
        future: asyncio.Future[T],
        done: Callable[[list[Any]], None],
        *,
        touched: Callable[[], None] | None = None,
    ) -> None:
        """Call a function over one mailbox; fail the future if there is no result.

        Args:
            function: Its name.
            mailbox: The mailbox.
            args: Its arguments.
            future: Who waits for the result.
            done: Called with the answer.
            touched: Asks again, after the mailbox was brought in order.
        """
        answered = partial(self._answered, mailbox, future, done, touched)
        self._call(function, [channel_of(mailbox)], args, answered)

    def _answered(
        self,
        mailbox: str,
        future: asyncio.Future[T],
        done: Callable[[list[Any]], None],
        touched: Callable[[], None] | None,
        answers: list[Any] | PushdError,
    ) -> None:
        if isinstance(answers, PushdError):
            settle(future, answers)
        elif not isinstance(answers[0], int):
            done(answers[0])
        elif answers[0] == _TOUCH and touched is not None:
            self._touch(mailbox, future, touched)
        else:
            settle(future, _refusal(answers[0]))

    def _touch(
        self, mailbox: str, future: asyncio.Future[T], then: Callable[[], None]
    ) -> None:
        """Bring a mailbox in order that a reading function may not change, then go on."""

        def touched(answers: list[Any] | PushdError) -> None:
            if isinstance(answers, PushdError):
                settle(future, answers)
            elif answers[0] != _UNKNOWN and answers[0][0]:  # there is more to sweep
                self._touch(mailbox, future, then)
            else:
                then()

        self._call("open", [channel_of(mailbox)], [0, "", 0], touched)


def _hash(sender: str, key: str) -> bytes:
    """Name a sender's key in a mailbox."""
    return blake2b(f"{sender}\0{key}".encode(), digest_size=12).digest()


def _digest(body: bytes) -> bytes:
    """Tell payloads apart; the length is `DIGEST` in functions.lua.

    A sender may have gained a name since, so the rest of the body does not count. What
    marks the payload cannot be inside another member: quotes are escaped there.
    """
    return blake2b(body[body.index(b',"payload":') :], digest_size=8).digest()


def _accepted(
    future: asyncio.Future[list[Stored | PushdError]], answers: list[Any] | PushdError
) -> None:
    if isinstance(answers, PushdError):
        settle(future, answers)
    else:
        settle(future, [_stored(answer) for answer in answers])


def _page(future: asyncio.Future[Page], answer: list[Any]) -> None:
    complete, tail, unread, refused, since = answer[:5]
    pairs = zip(answer[5::2], answer[6::2], strict=True)
    messages = [StoredMessage(parse_id(id), json) for id, json in pairs]
    overflow = _overflow(refused, since)
    settle(future, Page(messages, bool(complete), parse_id(tail), unread, overflow))


def _stored(answer: bytes | int) -> Stored | PushdError:
    if isinstance(answer, int):
        return _refusal(answer)
    if answer[0] == _DUPLICATE:
        return Stored(parse_id(answer[1:]), True)
    return Stored(parse_id(answer), False)


def _refusal(code: int) -> PushdError:
    refusal = _REFUSALS.get(code)
    return refusal() if refusal is not None else Internal()


def _overflow(refused: int, since: int) -> Overflow | None:
    return Overflow(refused=refused, since=since) if refused else None


def _ignore(answers: list[Any] | PushdError) -> None:
    """Await nothing: an overflow that stays is told again."""


async def _unprepared(connection: Connection) -> None:
    """Check nothing: the connection for commands has."""

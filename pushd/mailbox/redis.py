"""Mailboxes on Redis or Valkey: what `base.Mailboxes` promises, as calls of functions.lua.

What the calls say and mean is in `translation.py`, how they get to the primary that has a
mailbox in `node.py` and `cluster.py`. This file asks, and asks again where it must.

What waits for an answer is a `partial` of a method, not a nested function: one that can
ask again would refer to itself, and leave each call to the garbage collector.
"""

import asyncio
import math
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any, NamedTuple, TypeVar

from pushd.bounds import Bound
from pushd.errors import PushdError
from pushd.futures import Done, awaited, settle
from pushd.mailbox.address import Address, StoreUrl
from pushd.mailbox.base import (
    Acknowledged,
    Entry,
    Opened,
    Page,
    Quota,
    Result,
    Subscriber,
    Tail,
    Verdicts,
)
from pushd.mailbox.checks import Durability
from pushd.mailbox.cluster import Cluster
from pushd.mailbox.connection import Argument
from pushd.mailbox.node import Node, Terms
from pushd.mailbox.sentinel import WatchedNode
from pushd.mailbox.translation import (
    ACCEPT,
    ACKNOWLEDGE,
    CHARGE,
    DONE,
    MORE,
    OPEN,
    POLICY,
    QUIET,
    READ,
    SET_POLICY,
    TAILS,
    TOLD,
    TOUCH,
    channel_of,
    key_hash,
    overflow_of,
    page,
    parse_id,
    payload_digest,
    policy_arguments,
    refusal,
    result_of,
)
from pushd.protocol.ids import MessageId
from pushd.protocol.messages import Overflow

T = TypeVar("T")

TAIL_BATCH = 500
"""Mailboxes whose tails are asked for in one call."""
MICROS = 1_000_000
"""What limits.lua counts in a second."""


class _TailCheck(NamedTuple):
    """A question for tails, which may take several calls.

    Attributes:
        future: Where the answer is waited for.
        mailboxes: Those asked about, in order.
        wanted: How many different ones that is.
        found: The tails so far.
    """

    future: asyncio.Future[list[Tail]]
    mailboxes: Sequence[str]
    wanted: int
    found: dict[str, Tail]


class RedisMailboxes:
    """All mailboxes of one store.

    Args:
        url: Where the store is; see `address.py`.
        subscriber: Hears the publications of the subscribed mailboxes.
        quota: Limits of every mailbox.
        durability: What accepted messages have to survive; `fsync` is checked.
        replicas: How many replicas must have them, if `replicated`.
        observe: Called with the seconds each exchange with the store took, or None.
        waiting: How many mailboxes there may be in waiting calls; None: as it is by itself.
    """

    def __init__(
        self,
        url: str,
        *,
        subscriber: Subscriber,
        quota: Quota,
        durability: Durability,
        replicas: int = 1,
        observe: Callable[[float], None] | None = None,
        waiting: Bound | None = None,
    ) -> None:
        self.durability: str = durability
        header = (quota.messages, quota.bytes, quota.dedup)
        counting = (ACCEPT, OPEN, ACKNOWLEDGE, SET_POLICY, TOLD)
        self._loop = asyncio.get_running_loop()
        self._subscriber = subscriber
        store = StoreUrl.parse(url)
        terms = Terms(
            subscriber,
            durability,
            replicas,
            dict.fromkeys(counting, header),
            observe,
            waiting,
            cluster=store.topology == "cluster",
        )
        self._primaries = _primaries(store, terms)
        # The ways to the connections themselves, without a step between.
        self._call = self._primaries.call
        self._hears = self._primaries.hears

    async def start(self) -> None:
        """Connect, or keep trying in the background if the store does not answer.

        Raises:
            ConfigurationError: If the store answers and will not do; nothing is started.
        """
        await self._primaries.start()

    async def close(self) -> None:
        """Close the connections; calls without an answer fail."""
        await self._primaries.close()

    def ready(self) -> str | None:
        """Tell why this store cannot serve right now, in a sentence; None if it can."""
        return self._primaries.ready()

    # --- deliveries ----------------------------------------------------------------------

    def accept(self, entries: Sequence[Entry]) -> asyncio.Future[list[Result]]:
        """Store messages, each in its mailbox, and publish them; see `base.Mailboxes`."""
        if entries:
            return awaited(partial(self.store, entries), self._loop)
        future: asyncio.Future[list[Result]] = self._loop.create_future()
        future.set_result([])
        return future

    def store(self, entries: Sequence[Entry], done: Done[list[Result]]) -> None:
        """Store messages and tell `done`, without a future; see `base.Mailboxes`."""
        keys: list[str] = []
        args: list[Argument] = []
        size = 0
        for entry in entries:
            keys.append(channel_of(entry.mailbox))
            body, key = entry.body, entry.key
            if key is None:
                args += (body, entry.ttl, b"", b"")
            else:
                digest = payload_digest(body)
                args += (body, entry.ttl, key_hash(entry.sender, key), digest)
            size += len(body)
        self._call(ACCEPT, keys, args, partial(_stored, entries, done), size=size)

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
        entering = partial(
            self.enter,
            mailbox,
            create=create,
            holding=holding,
            device=device,
            session=session,
        )
        return awaited(entering, self._loop)

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
        """Come in and tell `done`, without a future; see `base.Mailboxes`."""
        joined = f"joined\t{session}\t{device}" if device else ""
        args: list[Argument] = [int(create), joined, len(holding), *map(str, holding)]
        self._enter(mailbox, args, done)

    def _enter(self, mailbox: str, args: Sequence[Argument], done: Done[Opened]) -> None:
        opened = partial(self._opened, mailbox, args, done)
        self._call(OPEN, [channel_of(mailbox)], args, opened)

    def _opened(
        self,
        mailbox: str,
        args: Sequence[Argument],
        done: Done[Opened],
        answers: list[Any] | PushdError,
    ) -> None:
        """Take the opened mailbox, or sweep on where one call did not sweep it all."""
        if isinstance(answers, PushdError):
            done(answers)
            return
        [answer] = answers
        if isinstance(answer, int):
            done(refusal(answer))
            return
        more, tail, unread, refused, since, *gone = answer
        if more:
            create, _joined, *holding = args
            self._enter(mailbox, [create, "", *holding], done)
            return
        overflow = overflow_of(refused, since)
        done(Opened(parse_id(tail), unread, tuple(map(parse_id, gone)), overflow))

    def read(self, mailbox: str, *, after: MessageId, limit: int) -> asyncio.Future[Page]:
        """Read at most `limit` messages after an id; see `base.Mailboxes`."""
        return awaited(partial(self.fetch, mailbox, after=after, limit=limit), self._loop)

    def fetch(
        self, mailbox: str, done: Done[Page], *, after: MessageId, limit: int
    ) -> None:
        """Read and tell `done`, without a future; see `base.Mailboxes`."""
        self._read(mailbox, [str(after), limit], done)

    def _read(self, mailbox: str, args: Sequence[Argument], done: Done[Page]) -> None:
        again = partial(self._read, mailbox, args, done)
        self._one(READ, mailbox, args, page, done, touched=again)

    def tails(self, mailboxes: Sequence[str]) -> asyncio.Future[list[Tail]]:
        """Tell the tail of each mailbox; see `base.Mailboxes`."""
        future: asyncio.Future[list[Tail]] = self._loop.create_future()
        wanted = list(dict.fromkeys(mailboxes))
        if not wanted:
            future.set_result([])
        check = _TailCheck(future, mailboxes, len(wanted), {})
        for start in range(0, len(wanted), TAIL_BATCH):
            self._ask_tails(check, wanted[start : start + TAIL_BATCH])
        return future

    def _ask_tails(self, check: "_TailCheck", names: Sequence[str]) -> None:
        keys = [channel_of(name) for name in names]
        self._call(TAILS, keys, (), partial(self._tails, check, names))

    def _tails(
        self, check: "_TailCheck", names: Sequence[str], answers: list[Any] | PushdError
    ) -> None:
        if isinstance(answers, PushdError):
            settle(check.future, answers)
            return
        for name, answer in zip(names, answers, strict=True):
            if answer == TOUCH:
                again = partial(self._ask_tails, check, [name])
                self._touch(name, again, partial(self._no_tail, check, name))
            elif isinstance(answer, PushdError):
                check.found[name] = answer
            else:
                check.found[name] = None if isinstance(answer, int) else parse_id(answer)
        if len(check.found) == check.wanted:
            settle(check.future, [check.found[mailbox] for mailbox in check.mailboxes])

    def _no_tail(self, check: "_TailCheck", name: str, error: PushdError) -> None:
        """Take why a mailbox cannot be brought in order, in the place of its tail."""
        self._tails(check, [name], [error])

    def acknowledge(
        self,
        mailbox: str,
        what: Sequence[MessageId] | MessageId,
        *,
        origin: str = "",
        count: bool = True,
    ) -> asyncio.Future[Acknowledged]:
        """Remove messages; see `base.Mailboxes`."""
        removing = partial(self.remove, mailbox, what, origin=origin, count=count)
        return awaited(removing, self._loop)

    def remove(
        self,
        mailbox: str,
        what: Sequence[MessageId] | MessageId,
        done: Done[Acknowledged],
        *,
        origin: str = "",
        count: bool = True,
        removed: int = 0,
    ) -> None:
        """Remove messages and tell `done`, without a future; see `base.Mailboxes`.

        `removed` is how many the calls before have, where one does not remove them all.
        """
        alone = self._subscriber.alone(mailbox, origin) and self._hears(mailbox)
        how = alone + 2 * count
        args: list[Argument]
        if isinstance(what, MessageId):
            args = [origin, how, 0, what.epoch, what.seq + 1]
        else:
            args = [origin, how, len(what), *map(str, what)]
        answered = partial(self._removed, mailbox, what, done, origin, count, removed)
        self._call(ACKNOWLEDGE, (channel_of(mailbox),), args, answered)

    def _removed(
        self,
        mailbox: str,
        what: Sequence[MessageId] | MessageId,
        done: Done[Acknowledged],
        origin: str,
        count: bool,
        removed: int,
        answers: list[Any] | PushdError,
    ) -> None:
        """Count what was removed, and go on where one call did not remove it all."""
        if isinstance(answers, PushdError):
            done(answers)
            return
        [answer] = answers
        if isinstance(answer, int):
            outcome, more, unread = QUIET if answer < 0 else DONE, abs(answer), -1
        else:
            outcome, more, unread = answer
        if outcome == DONE and removed and not more:
            outcome = QUIET  # as the calls before may have been, and this one said nothing
        if outcome == QUIET:
            if not self._subscriber.alone(mailbox, origin):
                # Another came meanwhile, and may have found what is gone now.
                self._subscriber.acknowledged(mailbox, what, origin)
            done(Acknowledged(removed + more, unread))
        elif outcome == DONE:
            done(Acknowledged(removed + more, unread))
        elif outcome == MORE:
            removed += more
            self.remove(mailbox, what, done, origin=origin, count=count, removed=removed)
        else:
            done(refusal(outcome))

    def policy(self, mailbox: str) -> asyncio.Future[bytes]:
        """Tell the record of a mailbox's policy; see `base.Mailboxes`."""
        return awaited(partial(self._one, POLICY, mailbox, (), bytes), self._loop)

    def set_policy(
        self, mailbox: str, verdicts: Verdicts | None, *, instead: bytes = b""
    ) -> asyncio.Future[None]:
        """Give a mailbox a policy, or take it away; see `base.Mailboxes`."""
        args = policy_arguments(verdicts, instead)
        size = sum(len(arg) for arg in args if not isinstance(arg, int))
        setting = partial(self._one, SET_POLICY, mailbox, args, _nothing, size=size)
        return awaited(setting, self._loop)

    def told(self, mailbox: str, overflow: Overflow) -> None:
        """Note that the owner was told of this overflow; see `base.Mailboxes`."""
        self._call(TOLD, [channel_of(mailbox)], [overflow.refused], _ignore)

    # --- rates ---------------------------------------------------------------------------

    def charge(self, costs: Mapping[str, float]) -> asyncio.Future[dict[str, float]]:
        """Add up what several did; see `base.Meter`."""
        future: asyncio.Future[dict[str, float]] = self._loop.create_future()
        keys = [f"pushd:{{{who}}}" for who in costs]
        args = [math.ceil(cost * MICROS) for cost in costs.values()]
        done = partial(_charged, future, tuple(costs))
        self._call(CHARGE, keys, args, done)
        return future

    # --- publications --------------------------------------------------------------------

    def subscribe(self, mailbox: str) -> asyncio.Future[None]:
        """Begin to hear a mailbox's publications; see `base.Mailboxes`."""
        return awaited(partial(self.hear, mailbox), self._loop)

    def hear(self, mailbox: str, done: Done[None]) -> None:
        """Begin to hear and tell `done`, without a future; see `base.Mailboxes`."""
        self._primaries.hear(mailbox, done)

    def unsubscribe(self, mailbox: str) -> None:
        """Stop hearing a mailbox's publications."""
        self._primaries.unsubscribe(mailbox)

    # --- calls ---------------------------------------------------------------------------

    def _one(
        self,
        function: str,
        mailbox: str,
        args: Sequence[Argument],
        read: Callable[[Any], T],
        done: Done[T],
        *,
        touched: Callable[[], None] | None = None,
        size: int = 0,
    ) -> None:
        """Call a function over one mailbox.

        Args:
            function: Its name.
            mailbox: The mailbox.
            args: Its arguments.
            read: Makes the result of the answer.
            done: Told the result.
            touched: Asks again, after the mailbox was brought in order.
            size: Bytes of the arguments, where they are large.
        """
        answered = partial(self._answered, mailbox, read, done, touched)
        self._call(function, [channel_of(mailbox)], args, answered, size=size)

    def _answered(
        self,
        mailbox: str,
        read: Callable[[Any], T],
        done: Done[T],
        touched: Callable[[], None] | None,
        answers: list[Any] | PushdError,
    ) -> None:
        if isinstance(answers, PushdError):
            done(answers)
        elif not isinstance(answers[0], int):
            done(read(answers[0]))
        elif answers[0] == TOUCH and touched is not None:
            self._touch(mailbox, touched, done)
        else:
            done(refusal(answers[0]))

    def _touch(
        self, mailbox: str, then: Callable[[], None], failed: Callable[[PushdError], None]
    ) -> None:
        """Bring a mailbox in order that a reading function may not change, then go on."""

        def touched(answers: list[Any] | PushdError) -> None:
            if isinstance(answers, PushdError):
                failed(answers)
            elif isinstance(answers[0], list) and answers[0][0]:  # there is more to sweep
                self._touch(mailbox, then, failed)
            else:
                then()

        self._call(OPEN, [channel_of(mailbox)], [0, "", 0], touched)


def _stored(
    entries: Sequence[Entry],
    done: Done[list[Result]],
    answers: list[Any] | PushdError,
) -> None:
    if isinstance(answers, PushdError):
        done(answers)
    else:
        done(list(map(result_of, answers, entries)))


def _charged(
    future: asyncio.Future[dict[str, float]],
    who: Sequence[str],
    answers: list[int | PushdError] | PushdError,
) -> None:
    if isinstance(answers, PushdError):
        settle(future, answers)
    else:
        counts = zip(who, answers, strict=True)
        known = {one: n / MICROS for one, n in counts if not isinstance(n, PushdError)}
        settle(future, known)


def _nothing(answer: object) -> None:
    """Read nothing: it is done."""


def _ignore(answers: list[Any] | PushdError) -> None:
    """Await nothing: an overflow that stays is told again."""


def _primaries(store: StoreUrl, terms: Terms) -> Node | Cluster:
    """Make what leads to the store's primaries."""
    if store.topology == "cluster":
        return Cluster(store, terms)
    if store.topology == "sentinel":
        return WatchedNode(store, terms)
    [address] = store.addresses

    async def find() -> Address:
        return address

    return Node(find, terms)

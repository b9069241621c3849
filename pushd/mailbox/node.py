"""One primary of the store: its connections, kept for as long as it is one.

One connection for commands, where the calls of a tick travel as one (`coalesce.py`), and
one that hears publications (`subscriptions.py`); with durability `replicated` one more,
for what replicas must have before it is answered (`replicate.py`). Where the primary is,
the first one asks each time it connects; the others follow it, so that all lead to the
same server.
"""

import asyncio
import secrets
from collections.abc import Awaitable, Callable, Container, Mapping, Sequence
from functools import partial
from typing import Any, NamedTuple

from pushd.bounds import Bound
from pushd.futures import Done
from pushd.mailbox.address import Address
from pushd.mailbox.base import Subscriber
from pushd.mailbox.checks import Durability, NotPrimary, check
from pushd.mailbox.coalesce import Batch, Call, Coalescer, Redirect
from pushd.mailbox.connection import Argument, Connection, Unavailable
from pushd.mailbox.link import Link
from pushd.mailbox.replicate import ReplicatedCoalescer
from pushd.mailbox.subscriptions import Awaited, Subscriptions
from pushd.mailbox.translation import ACCEPT, OPEN, SET_POLICY, channel_of

KEPT = {ACCEPT, OPEN, SET_POLICY}
"""Functions that promise durability; the others only take away, or tell."""


class Terms(NamedTuple):
    """What holds for every primary of a store.

    Attributes:
        subscriber: Hears publications.
        durability: What accepted messages have to survive.
        replicas: How many must have them, if `replicated`.
        headers: The header of each function that has one.
        observe: Called with the seconds each exchange with the store took, or None.
        waiting: How many mailboxes there may be in waiting calls; None: as it is by itself.
        cluster: Whether the primaries are a Cluster's.
    """

    subscriber: Subscriber
    durability: Durability
    replicas: int
    headers: Mapping[str, Sequence[Argument]]
    observe: Callable[[float], None] | None
    waiting: Bound | None
    cluster: bool


class Node:
    """One primary.

    Args:
        find: Tells where it is; may raise `Unavailable`.
        terms: What holds for it.
        redirect: Takes a batch whose slot is not here, in a Cluster; else None.
        unsure: Called when the Cluster's map may be old.

    Attributes:
        call: Calls a function over mailboxes of this primary; see `Coalescer.call`.
        hears: Tells of a mailbox whether its publications are heard, as far as is known.
        home: A key and channel that is nobody's, and is to be this primary's.
    """

    def __init__(
        self,
        find: Callable[[], Awaitable[Address]],
        terms: Terms,
        *,
        redirect: Redirect | None = None,
        unsure: Callable[[], None] = lambda: None,
    ) -> None:
        self._terms = terms
        self._redirect = redirect
        self._unsure = unsure
        self.home = new_home()
        self._commands = Coalescer(terms.headers, terms.observe, terms.waiting, redirect)
        self._link = self._link_of(self._commands, find, self._check, self._opened)
        self._kept: ReplicatedCoalescer | None = None
        self._followers: list[Link] = []
        self.call: Call = self._commands.call
        ticking: Coalescer = self._commands
        if terms.durability == "replicated":
            self._kept = ticking = self._replicated()
            self.call = self._call
        self._subscriptions = Subscriptions(
            terms.subscriber, ticking, self.home, unsure if terms.cluster else None
        )
        self.hears: Callable[[str], bool] = self._subscriptions.hears
        hearing = Link(
            self._beside,
            prepare=_unprepared,
            opened=self._subscriptions.opened,
            lost=self._subscriptions.lost,
            pushed=self._subscriptions.pushed,
        )
        self._subscriptions.start(hearing)
        self._followers.append(hearing)

    def _replicated(self) -> ReplicatedCoalescer:
        kept = ReplicatedCoalescer(
            self._terms.headers,
            self._terms.observe,
            self._terms.waiting,
            self._redirect,
            replicas=self._terms.replicas,
            home=self.home,
        )
        link = self._link_of(kept, self._beside, self._check_beside, kept.opened)
        self._followers.append(link)
        return kept

    def _link_of(
        self,
        coalescer: Coalescer,
        find: Callable[[], Awaitable[Address]],
        prepare: Callable[[Connection], Awaitable[None]],
        opened: Callable[[], None],
    ) -> Link:
        link = Link(
            find,
            prepare=prepare,
            opened=opened,
            lost=partial(self._lost, coalescer),
            pushed=lambda pushes: None,
        )
        coalescer.start(link)
        return link

    def _lost(self, coalescer: Coalescer) -> None:
        coalescer.lost()
        self._unsure()

    async def start(self) -> None:
        """Connect, or keep trying in the background if nobody answers.

        Raises:
            ConfigurationError: If the store answers and will not do; nothing is started.
        """
        try:
            await self._link.start()
            await asyncio.gather(*[follower.start() for follower in self._followers])
        except BaseException:  # cancelled too
            await self.close()
            raise

    def keep(self) -> None:
        """Connect in the background, and keep trying whatever comes."""
        for link in (self._link, *self._followers):
            link.keep()

    async def close(self) -> None:
        """Close the connections; calls without an answer fail."""
        self._commands.close()
        if self._kept is not None:
            self._kept.close()
        self._subscriptions.close()
        for link in (self._link, *self._followers):
            await link.close()

    def ready(self) -> str | None:
        """Tell why this primary cannot serve right now, in a sentence; None if it can."""
        troubles = [link.trouble for link in (self._link, *self._followers)]
        if self._kept is not None:
            troubles.append(self._kept.trouble)
        troubles.append(self._subscriptions.trouble())
        return next(filter(None, troubles), None)

    def lead_to(self, address: Address) -> None:
        """Leave the server there is for this one, if it is another."""
        if self._link.address != address:
            self._link.leave()

    def hear(self, mailbox: str, done: Done[None]) -> None:
        """Begin to hear a mailbox's publications; see `base.Mailboxes`."""
        self._subscriptions.subscribe(mailbox, done)

    def unsubscribe(self, mailbox: str) -> None:
        """Stop hearing a mailbox's publications."""
        self._subscriptions.unsubscribe(mailbox)

    def _call(
        self,
        function: str,
        keys: Sequence[str],
        args: Sequence[Argument],
        done: Done[list[Any]],
        *,
        size: int = 0,
        slot: int = 0,
    ) -> None:
        """Let what replicas must have travel by itself: it would hold up the rest."""
        self._way_of(function).call(function, keys, args, done, size=size, slot=slot)

    def _way_of(self, function: str) -> Coalescer:
        return self._kept if self._kept and function in KEPT else self._commands

    # --- as one of several ---------------------------------------------------------------

    @property
    def connection(self) -> Connection | None:
        """The connection for commands, or None while there is none."""
        return self._link.connection

    @property
    def address(self) -> Address | None:
        """Where that leads to, or led to last; None before the first."""
        return self._link.address

    @property
    def settled(self) -> bool:
        """Whether it answers, and nothing that it is to hear waits for another primary."""
        return not self._link.trouble and self._subscriptions.settled

    def again(self, batch: Batch) -> None:
        """Send what another primary did not do."""
        self._way_of(batch.function).again(batch)

    def withdraw(self) -> list[Batch]:
        """Hand over what was not sent yet."""
        return self._commands.release() + (self._kept.release() if self._kept else [])

    def move(self, home: str) -> None:
        """Take another key and channel for one that went to another primary."""
        self.home = home
        if self._kept is not None:
            self._kept.move(home)
        self._subscriptions.move(home)

    def release(self, slots: Container[int]) -> list[Awaited]:
        """Hear the mailboxes of these slots no more; return them, with who waits."""
        return self._subscriptions.release(slots)

    def resume(self) -> None:
        """Hear again what was lost and, by the map, is this primary's."""
        self._subscriptions.resume()

    def adopt(self, mailbox: str, waiters: Sequence[Done[None]]) -> None:
        """Hear a mailbox that another primary had; it is compared then."""
        self._subscriptions.adopt(mailbox, waiters)

    async def _check(self, connection: Connection) -> None:
        await check(
            connection,
            durability=self._terms.durability,
            cluster=self._terms.cluster,
            home=self.home,
        )

    async def _check_beside(self, connection: Connection) -> None:
        """Check one more connection; what it finds out holds for the first one too.

        A replica goes on to answer reads, so the first one may never notice by itself.
        """
        try:
            await self._check(connection)
        except NotPrimary:
            self._link.leave()
            raise

    async def _beside(self) -> Address:
        """Tell where the connection for commands leads."""
        if self._link.connection is None or self._link.address is None:
            raise Unavailable(self._link.trouble)
        return self._link.address

    def _opened(self) -> None:
        """Send what has waited, and have the other connections follow."""
        self._commands.opened()
        for follower in self._followers:
            if follower.address != self._link.address:
                follower.leave()
            if follower.connection is None:
                follower.hurry()


def new_home() -> str:
    """Make the name of a key and channel that is nobody's."""
    return channel_of(f"tick-{secrets.token_hex(8)}")


async def _unprepared(connection: Connection) -> None:
    """Check nothing: the connection for commands has."""

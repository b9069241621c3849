"""The primaries of a Cluster: which has a mailbox, and what to do when that changes.

Theory of operation. A mailbox's name gives its slot, a map gives the slot's primary, and
each primary is a `Node`. What a primary answers it did not do, for the slot is elsewhere
or on its way, is sent again, a limited number of times; nothing else ever is.

- MOVED: the map is old. A new one is asked for, and the calls follow it.
- ASK: the slot is being carried over key by key, so a mailbox may be half here and half
  there. The key that a call names is none that exists; so the store does nothing for any
  mailbox of such a slot, and the calls wait until the slot has arrived.
- TRYAGAIN, CLUSTERDOWN: they wait too.

A map is asked for when a primary says so, when one is away, when it ends a subscription
because the slot has left, and now and then. Mailboxes in slots that have moved are
subscribed at their new primaries; those are compared then, for nobody knows what was
published meanwhile. A primary that is none any more gets as long as an answer may take.
"""

import asyncio
import contextlib
import logging
import random
from collections.abc import Sequence
from functools import partial
from typing import Any, NamedTuple

import hiredis

from pushd.errors import ConfigurationError, PushdError, StoreUnavailable
from pushd.futures import Done
from pushd.incidents import tell
from pushd.mailbox.address import Address, StoreUrl
from pushd.mailbox.coalesce import STUCK_SECONDS, Batch
from pushd.mailbox.connection import Argument, Connection, Unavailable
from pushd.mailbox.node import Node, Terms, new_home
from pushd.mailbox.translation import SLOTS, channel_of, slot_of

log = logging.getLogger("pushd.store")

LOOK_SECONDS = 15.0
"""Seconds until a map is looked at again although nothing speaks against it."""
PAUSE = 0.1
"""Seconds between two maps, and until a call is tried again whose slot is on its way."""
TRIES = 20
"""How often a call may be answered that it was not done; then it fails."""
ASK_SECONDS = 1.0
"""How long a server may take to tell its map."""


class Place(NamedTuple):
    """A range of slots, and the primary that has them."""

    first: int
    last: int
    address: Address


class Cluster:
    """All primaries of a Cluster; for its callers it is as one `Node`.

    Args:
        store: Some of its servers, and who we are at all of them.
        terms: What holds for every primary.
    """

    def __init__(self, store: StoreUrl, terms: Terms) -> None:
        self._store = store
        self._terms = terms
        self._loop = asyncio.get_running_loop()
        self._nodes: dict[Address, Node] = {}
        self._owners: list[Node | None] = [None] * SLOTS
        self._misplaced: list[Batch] = []
        self._unsure = asyncio.Event()
        self._trouble = "The Cluster was not asked yet."
        self._keeping: asyncio.Task[None] | None = None
        self._retiring: set[asyncio.Task[None]] = set()

    async def start(self) -> None:
        """Connect to all primaries, or keep trying in the background.

        Raises:
            ConfigurationError: If one of them will not do; nothing is started.
        """
        try:
            await self._learn()
            await asyncio.gather(*[node.start() for node in self._nodes.values()])
        except Unavailable as error:
            self._note(error)
        except BaseException:  # cancelled too
            await self.close()
            raise
        self._keeping = asyncio.create_task(self._keep())

    async def close(self) -> None:
        """Close all connections; calls without an answer fail."""
        tasks = [*self._retiring, *([self._keeping] if self._keeping else [])]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await asyncio.gather(*[node.close() for node in self._nodes.values()])
        self._owners = [None] * SLOTS
        self._place_all()

    def ready(self) -> str | None:
        """Tell why a part of the store cannot serve right now; None if all can."""
        troubles = [node.ready() for node in self._nodes.values()]
        return self._trouble or next(filter(None, troubles), None)

    # --- calls ---------------------------------------------------------------------------

    def call(
        self,
        function: str,
        keys: Sequence[str],
        args: Sequence[Argument],
        done: Done[list[Any]],
        *,
        size: int = 0,
    ) -> None:
        """Call a function over mailboxes, at each primary over those that it has.

        Where several are asked, what one cannot answer is `StoreUnavailable` in the place
        of each answer; a call over several keys has as many arguments for each, and one
        answer. For the rest see `Coalescer.call`.
        """
        if len(keys) == 1:
            self._call(slot_of(keys[0]), function, keys, args, done, size)
            return
        places: dict[int, list[int]] = {}
        for at, key in enumerate(keys):
            places.setdefault(slot_of(key), []).append(at)
        each = len(args) // len(keys)
        gathered = _Gathered(done, len(keys))
        for slot, part in places.items():
            runs = [arg for at in part for arg in args[each * at : each * (at + 1)]]
            names = [keys[at] for at in part]
            share = size * len(part) // len(keys)
            taking = partial(gathered.take, part)
            self._call(slot, function, names, runs, taking, share)

    def _call(
        self,
        slot: int,
        function: str,
        keys: Sequence[str],
        args: Sequence[Argument],
        done: Done[list[Any]],
        size: int,
    ) -> None:
        node = self._owners[slot]
        if node is None:
            self._loop.call_soon(tell, done, StoreUnavailable())
        else:
            node.call(function, keys, args, done, size=size, slot=slot)

    def _redirect(self, batch: Batch, error: hiredis.ReplyError) -> None:
        """Take what a primary did not do to where it can be done."""
        batch.tries += 1
        if batch.tries > TRIES:
            log.warning("a call finds no primary", extra={"reason": str(error)})
            batch.fail(StoreUnavailable())
        elif str(error).startswith("MOVED"):
            self._misplaced.append(batch)
            self._unsure.set()
        else:
            self._loop.call_later(PAUSE, self._place, batch)

    def _place(self, batch: Batch) -> None:
        node = self._owners[batch.slot]
        if node is None:
            batch.fail(StoreUnavailable())
        else:
            node.again(batch)

    def _place_all(self) -> None:
        misplaced, self._misplaced = self._misplaced, []
        for batch in misplaced:
            self._place(batch)

    # --- publications --------------------------------------------------------------------

    def hear(self, mailbox: str, done: Done[None]) -> None:
        """Begin to hear a mailbox's publications; see `base.Mailboxes`."""
        node = self._owners[slot_of(channel_of(mailbox))]
        if node is None:
            self._loop.call_soon(done, StoreUnavailable())
        else:
            node.hear(mailbox, done)

    def unsubscribe(self, mailbox: str) -> None:
        """Stop hearing a mailbox's publications."""
        for node in self._nodes.values():
            node.unsubscribe(mailbox)

    def hears(self, mailbox: str) -> bool:
        """Tell whether a mailbox's publications are heard, as far as is known."""
        node = self._owners[slot_of(channel_of(mailbox))]
        return node is not None and node.hears(mailbox)

    # --- the map -------------------------------------------------------------------------

    async def _keep(self) -> None:
        """Look at the map whenever somebody doubts it, and now and then."""
        while True:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(LOOK_SECONDS):
                    await self._unsure.wait()
            self._unsure.clear()
            try:
                for node in await self._learn():
                    node.keep()
            except Exception as error:  # whatever it is, the next look may go well
                self._note(error)
            self._place_all()
            if any(not node.settled for node in self._nodes.values()):
                self._unsure.set()
            await asyncio.sleep(PAUSE)

    async def _learn(self) -> list[Node]:
        """Take over the map that some server tells; return the primaries that are new.

        Raises:
            Unavailable: If none tells.
            ConfigurationError: If that is because they will not do.
        """
        places = await self._ask()
        self._trouble = ""
        held: dict[Address, int] = {}
        for place in places:
            held.setdefault(place.address, place.first)
        fresh = [self._add(address) for address in held if address not in self._nodes]
        owners: list[Node | None] = [None] * SLOTS
        for first, last, address in places:
            owners[first : last + 1] = [self._nodes[address]] * (last + 1 - first)
        self._hand_over(owners)
        busy = set(self._owners)
        for address, node in list(self._nodes.items()):
            if node not in busy:
                self._retire(address, node)
            elif self._owners[slot_of(node.home)] is not node:
                node.move(_home_in(self._owners, node))
            node.resume()
        return fresh

    def _add(self, address: Address) -> Node:
        async def find() -> Address:
            return address

        node = Node(find, self._terms, redirect=self._redirect, unsure=self._unsure.set)
        self._nodes[address] = node
        return node

    def _hand_over(self, owners: list[Node | None]) -> None:
        """Have the mailboxes whose slots moved heard at their new primaries.

        A slot that nobody has at the moment stays where it was.
        """
        moved: dict[Node, set[int]] = {}
        for slot, (before, after) in enumerate(zip(self._owners, owners, strict=True)):
            if before is None:
                self._owners[slot] = after
            elif after is not None and before is not after:
                moved.setdefault(before, set()).add(slot)
                self._owners[slot] = after
        for node, slots in moved.items():
            for mailbox, waiters in node.release(slots):
                owner = self._owners[slot_of(channel_of(mailbox))]
                if owner is not None:
                    owner.adopt(mailbox, waiters)

    def _retire(self, address: Address, node: Node) -> None:
        """Part with a server that is no primary any more, once it had time to answer."""
        del self._nodes[address]
        self._misplaced += node.withdraw()

        async def retire() -> None:
            try:
                await asyncio.sleep(STUCK_SECONDS)
            finally:
                await node.close()

        task = asyncio.create_task(retire())
        self._retiring.add(task)
        task.add_done_callback(self._retiring.discard)

    async def _ask(self) -> list[Place]:
        """Ask the primaries there are, in any order, then the servers of the URL."""
        known = [node for node in self._nodes.values() if node.connection is not None]
        random.shuffle(known)
        asking: list[Node | Address] = [*known, *self._store.addresses]
        refusal: Exception | None = None
        for asked in asking:
            try:
                async with asyncio.timeout(ASK_SECONDS):
                    places = await self._places(asked)
            except (OSError, Unavailable, hiredis.ReplyError):
                continue
            except ConfigurationError as error:
                refusal = error
                continue
            if places:
                return places
            refusal = ConfigurationError("The Cluster has given out no slots.")
        if refusal is not None:
            raise refusal
        names = ", ".join(map(str, self._store.addresses))
        raise Unavailable(f"None of {names} tells which servers the Cluster has.")

    async def _places(self, asked: Node | Address) -> list[Place]:
        if isinstance(asked, Address):
            host, connection = asked.host, await Connection.open(asked, lambda pushes: None)
            try:
                return self._read(host, await connection.command("CLUSTER", "SLOTS"))
            except hiredis.ReplyError as error:
                if "cluster support disabled" in str(error):
                    raise ConfigurationError(
                        "The store is no Cluster; let PUSHD_REDIS_URL begin with redis://."
                    ) from None
                raise
            finally:
                connection.abort()
        if asked.connection is None or asked.address is None:
            raise Unavailable("The connection is lost.")
        reply = await asked.connection.command("CLUSTER", "SLOTS")
        return self._read(asked.address.host, reply)

    def _read(self, host: str, reply: list[Any]) -> list[Place]:
        """Read a map; a server that does not know its own name is where it was asked."""
        places = []
        for first, last, (name, port, *_), *_ in reply:
            where = (name or b"").decode()
            address = self._store.at(host if where in ("", "?") else where, port)
            places.append(Place(first, last, address))
        return places

    def _note(self, error: Exception) -> None:
        known = isinstance(error, ConfigurationError | Unavailable)
        sentence = str(error) if known else "The Cluster's map cannot be read."
        if sentence != self._trouble:
            log.warning("the cluster is away", extra={"reason": sentence})
        self._trouble = sentence


class _Gathered:
    """The answers of several primaries to one call, put in order."""

    def __init__(self, done: Done[list[Any]], count: int) -> None:
        self._done = done
        self._answers: list[Any] = [None] * count
        self._missing = count

    def take(self, places: Sequence[int], answers: list[Any] | PushdError) -> None:
        """Take the answers for some of the keys; the last completes the call."""
        if isinstance(answers, PushdError):
            answers = [answers] * len(places)
        for at, answer in zip(places, answers, strict=True):
            self._answers[at] = answer
        self._missing -= len(places)
        if self._missing == 0:
            tell(self._done, self._answers)


def _home_in(owners: Sequence[Node | None], node: Node) -> str:
    """Make a name of our own in a slot that a primary has."""
    while True:
        home = new_home()
        if owners[slot_of(home)] is node:
            return home

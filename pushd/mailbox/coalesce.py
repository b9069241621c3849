"""The hot connection: the calls of one event-loop tick, from anybody, travel as one.

A call is a function of `functions.lua` over some mailboxes. Every such function takes one
key for each mailbox, a header that is the same for all, then a run of arguments for each,
and answers as many items for each; so calls of the same function are joined by
concatenation and their answers are slices.

Theory of operation. What arrives is collected in batches, one for each function. A batch
leaves at the end of the tick if nothing is in flight. While something is, the next batch
collects; so at most one write is unanswered, and the busier the store, the larger and the
cheaper the batches. Under load, when the last flight carried more than one mailbox, the
next leaves no earlier than a millisecond after it: small batches are dear for both sides.
A lone caller, who asks again only when answered, never waits for others.

A call that was written when the connection is lost fails: nobody knows whether it was
done. One that was not waits a second for the next connection. Nothing is sent twice, but
what the store answered that it did not do: in a Cluster, the calls of a slot it does not
have are joined by themselves, and are taken to the primary that has it (`cluster.py`).
"""

import asyncio
import logging
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from itertools import chain
from typing import Any, Protocol

import hiredis

from pushd.bounds import STORE_CALLS, Bound, come_back_later
from pushd.errors import PushdError, StoreUnavailable
from pushd.futures import Done
from pushd.incidents import incident, tell
from pushd.mailbox.connection import Argument, Connection, Reply, pack
from pushd.mailbox.link import Link

log = logging.getLogger("pushd.store")

WINDOW = 0.001
"""Seconds between two flights under load."""
BATCH = 256
"""Mailboxes after which a batch is full."""
FLIGHT = 1024
"""Mailboxes after which a flight is full."""
STUCK_SECONDS = 5.0
"""How long an answer may take; then the connection is given up."""
PATIENCE = 1.0
"""Seconds a call waits for a connection."""
MAX_WAITING_BYTES = 64 * 1024 * 1024
"""Bytes in waiting calls; one more is refused."""

ELSEWHERE = ("MOVED", "ASK", "TRYAGAIN", "CLUSTERDOWN")
"""Errors by which a Cluster's primary says that it did nothing."""

flatten = chain.from_iterable


class Call(Protocol):
    """Calls a function over some mailboxes; see `Coalescer.call`."""

    def __call__(
        self,
        function: str,
        keys: Sequence[str],
        args: Sequence[Argument],
        done: Done[list[Any]],
        *,
        size: int = 0,
        slot: int = 0,
    ) -> None:
        """Call."""


class Batch:
    """Calls of one function over mailboxes of one slot, joined.

    Attributes:
        function: Its name.
        calls: Of each who is told, its keys and its arguments; joined when it leaves.
        count: How many mailboxes that are.
        slot: The slot; where there is no Cluster, all have 0.
        size: Bytes of the arguments.
        tries: How often it was answered that it was not done.
    """

    __slots__ = ("_header", "calls", "count", "function", "size", "slot", "tries")

    def __init__(self, function: str, header: Sequence[Argument], slot: int) -> None:
        self.function = function
        self.slot = slot
        self.tries = 0
        self._header = header
        self.calls: list[tuple[Done[list[Any]], Sequence[str], Sequence[Argument]]] = []
        self.count = 0
        self.size = 0

    def pack(self) -> bytes:
        """Join the calls, and encode that."""
        _, keys, args = zip(*self.calls, strict=True)
        joined = (*flatten(keys), *self._header, *flatten(args))
        return pack(("FCALL", self.function, self.count, *joined))

    def answer(self, reply: Reply) -> None:
        """Give each caller its part of the reply; as `tell` does, without the step."""
        if isinstance(reply, Exception):
            self.fail(StoreUnavailable())
            return
        start, each = 0, len(reply) // self.count
        for done, keys, _ in self.calls:
            end = start + len(keys) * each
            try:
                done(reply[start:end])
            except Exception as error:  # a caller's bug is not the others'
                tell(done, incident(error))
            start = end

    def fail(self, error: PushdError) -> None:
        """Tell each caller that there is no answer."""
        for done, _, _ in self.calls:
            tell(done, error)


Redirect = Callable[[Batch, hiredis.ReplyError], None]
"""Takes a batch that was not done, and why."""


class Coalescer:
    """Joins calls and sends them over one link.

    Args:
        headers: The header of each function that has one.
        observe: Called with the seconds each flight took, or None.
        waiting: How many mailboxes there may be in waiting calls, of all connections
            together; None: of this one alone.
        redirect: Takes a batch that was not done because its slot is not here, or None.
    """

    def __init__(
        self,
        headers: Mapping[str, Sequence[Argument]],
        observe: Callable[[float], None] | None = None,
        waiting: Bound | None = None,
        redirect: Redirect | None = None,
    ) -> None:
        self._headers = headers
        self._observe = observe
        self._redirect = redirect
        self._bound = waiting or Bound("store_calls", STORE_CALLS)
        self._link: Link | None = None
        self._loop = asyncio.get_running_loop()
        self._waiting: list[Batch] = []
        self._open: dict[tuple[str, int], Batch] = {}
        self._waiting_bytes = 0
        self._idle = True  # nothing is in flight, nor about to leave
        self._in_flight = 0
        self._flown = 0
        self._sent_at = 0.0
        self._impatient: asyncio.TimerHandle | None = None
        self._watch: asyncio.TimerHandle | None = None
        self._gave_up = False

    def start(self, link: Link) -> None:
        """Begin to send over this link, and to watch that it answers."""
        self._link = link
        self._watch = self._loop.call_later(1.0, self._look)

    def close(self) -> None:
        """Send nothing any more; who still waits is told."""
        if self._watch is not None:
            self._watch.cancel()
        self._give_up()

    def call(
        self,
        function: str,
        keys: Sequence[str],
        args: Sequence[Argument],
        done: Done[list[Any]],
        *,
        size: int = 0,
        slot: int = 0,
    ) -> None:
        """Call a function over some mailboxes, joined with the others of this tick.

        Args:
            function: Its name in the library.
            keys: One for each mailbox, at least one; to be left as they are.
            args: The runs of arguments, one after the other, without the header; likewise.
            done: Called once: with the answers, as many for each key, `StoreUnavailable`
                or `Overloaded`; if it raises, once more with `Incident`. Not before this
                method has returned.
            size: Bytes of the arguments, where they are large.
            slot: The slot of all these mailboxes, in a Cluster.
        """
        bound = self._bound  # a property such as `spent` is a call, on the hottest path
        if bound.held >= bound.most or (
            size and self._waiting_bytes + size > MAX_WAITING_BYTES
        ):
            bound.turned_away += 1
            error = come_back_later("Too much waits for the store.")
            self._loop.call_soon(tell, done, error)
            return
        batch = self._open.get((function, slot))
        if batch is None or batch.count >= BATCH:
            batch = Batch(function, self._headers.get(function, ()), slot)
            self._open[function, slot] = batch
            self._waiting.append(batch)
        count = len(keys)
        batch.calls.append((done, keys, args))
        batch.count += count
        bound.held += count
        if size:
            batch.size += size
            self._waiting_bytes += size
        if self._idle:
            self._schedule()

    def again(self, batch: Batch) -> None:
        """Send a batch that was not done elsewhere."""
        self._waiting.append(batch)
        self._bound.held += batch.count
        self._waiting_bytes += batch.size
        if self._idle:
            self._schedule()

    def release(self) -> list[Batch]:
        """Hand over what waits, for another primary to do."""
        waiting, self._waiting = self._waiting, []
        self._open.clear()
        self._waiting_bytes = 0
        self._bound.give(sum(batch.count for batch in waiting))
        return waiting

    # --- flights -------------------------------------------------------------------------

    def _schedule(self) -> None:
        """Let what waits leave at the end of the tick, under load a little later."""
        wait = self._sent_at + WINDOW - self._loop.time() if self._flown > 1 else 0.0
        self._idle = False
        if wait > 0:
            self._loop.call_later(wait, self._depart)
        else:
            self._loop.call_soon(self._depart)

    def _depart(self) -> None:
        self._idle = True
        connection = self._link.connection if self._link is not None else None
        if self._gave_up:
            self._fail()
        elif connection is None or connection.lost.is_set():
            self._lose_patience()
        elif self._waiting:
            self._idle = False
            flight = self._board()
            self._in_flight = len(flight)
            self._sent_at = self._loop.time()
            self._send(connection, flight)

    def _send(self, connection: Connection, flight: list[Batch]) -> None:
        connection.send(
            b"".join([batch.pack() for batch in flight]),
            [partial(self._landed, batch) for batch in flight],
        )

    def _board(self) -> list[Batch]:
        """Take the batches of one flight from those that wait."""
        keys = taken = 0
        for batch in self._waiting:
            keys += batch.count
            taken += 1
            self._waiting_bytes -= batch.size
            if keys >= FLIGHT:
                break
        flight, self._waiting = self._waiting[:taken], self._waiting[taken:]
        self._open.clear()
        self._bound.give(keys)
        self._flown = keys
        return flight

    def _landed(self, batch: Batch, reply: Reply) -> None:
        """Hand out one batch's answers; after the flight's last, the next may leave."""
        self._in_flight -= 1
        if not isinstance(reply, hiredis.ReplyError):
            batch.answer(reply)
        elif self._redirect is not None and str(reply).startswith(ELSEWHERE):
            self._redirect(batch, reply)
        else:
            self._suspect(reply)
            batch.answer(reply)
        if self._in_flight:
            return
        if self._observe is not None:
            self._observe(self._loop.time() - self._sent_at)
        self._idle = True
        if self._waiting:
            self._schedule()

    def _suspect(self, error: hiredis.ReplyError) -> None:
        """Connect anew after an error that a check of the store would find.

        A store that is out of memory or cannot write is still the right one.
        """
        log.warning("the store refused a call", extra={"reason": str(error)})
        passing = str(error).startswith(("OOM", "MISCONF", "NOREPLICAS", "BUSY"))
        if not passing and self._link is not None:
            self._link.leave()

    # --- without a connection ------------------------------------------------------------

    def opened(self) -> None:
        """Send what has waited; called by the link."""
        self._gave_up = False
        if self._impatient is not None:
            self._impatient.cancel()
            self._impatient = None
        if self._waiting and self._idle:
            self._schedule()

    def lost(self) -> None:
        """Let what waits wait a little longer; called by the link."""
        self._lose_patience()

    def _lose_patience(self) -> None:
        if self._impatient is None:
            self._impatient = self._loop.call_later(PATIENCE, self._give_up)

    def _give_up(self) -> None:
        """Fail what waits, and from now on what comes, until there is a connection."""
        self._impatient = None
        self._gave_up = True
        self._fail()

    def _fail(self) -> None:
        for batch in self.release():
            batch.fail(StoreUnavailable())

    def _look(self) -> None:
        """Give up a connection that does not answer; once a second."""
        self._watch = self._loop.call_later(1.0, self._look)
        link = self._link
        if (
            link is not None
            and link.connection is not None
            and self._in_flight
            and self._loop.time() - self._sent_at > STUCK_SECONDS
        ):
            log.warning("the store does not answer", extra={"seconds": STUCK_SECONDS})
            link.leave()

"""Accepting deliveries: from what a sender asks to what the store keeps.

Both ways in, HTTP and the stream, come here with a verified token and decoded deliveries.
A future is returned, not a coroutine, so that a session needs no task to wait for it and
all deliveries of one event-loop tick travel to the store together. Only a name that is
not in memory, or whose mailbox is not open yet, makes its deliveries wait for the network.
"""

import asyncio
from asyncio import Future, Task
from collections.abc import Awaitable, Callable, Coroutine, Iterable, Mapping, Sequence
from functools import partial
from random import random
from typing import Any, TypeVar, cast

from msgspec import Struct

from pushd.admission import Admission
from pushd.bounds import come_back_later
from pushd.errors import (
    Forbidden,
    PushdError,
    ResolverUnavailable,
    Unauthorized,
    UnknownMailbox,
)
from pushd.identity.keys import validate_did
from pushd.identity.names import is_name
from pushd.identity.tokens import Token
from pushd.mailbox.base import Entry, Mailboxes, Result, Stale, Stored
from pushd.metrics import Metrics
from pushd.names import Names
from pushd.owners import Owners
from pushd.policies import Policies
from pushd.protocol.messages import Accepted, Delivery
from pushd.rates import Rates, Standing
from pushd.rules import Rules, idempotency_key, require_recipient

T = TypeVar("T")
K = TypeVar("K")

Outcome = Accepted | PushdError
"""What became of one delivery."""
Found = Mapping[str, str | PushdError]
"""Whose the names are that were not in memory: a DID, or why nobody's."""

_NONE: Found = {}

_NO_DIGEST = (
    "This server takes a delivery only with a token for it alone: one with the `digest` of"
    " the body, by POST /v1/deliveries; there is no such token on a stream."
)
_UNDECIDED = (
    "The recipient's policy has names that cannot be looked up right now; with a key the"
    " retry is safe."
)


class _Parcel(Struct, frozen=True, gc=False):
    """A delivery on its way into the store.

    Attributes:
        place: Its place among the deliveries.
        to: The recipient, as the sender wrote it.
        entry: What is stored.
    """

    place: int
    to: str
    entry: Entry


class _Batch(Struct, frozen=True):
    """Deliveries that came together.

    Attributes:
        token: The sender's.
        outcomes: What became of each, None of what is under way.
        parcels: What is under way.
        answer: Where the outcomes are waited for.
    """

    token: Token
    outcomes: list[Outcome | None]
    parcels: list[_Parcel]
    answer: Future[list[Outcome]]


class Deliveries:
    """The way into the mailboxes.

    Args:
        mailboxes: Where accepted deliveries are stored.
        names: Finds recipients by name.
        owners: Knows which mailboxes a delivery may open.
        policies: Looks up the names in a recipient's policy.
        rules: What a delivery must be.
        admission: Whether something new can be served in time.
        rates: How often may be delivered; None: as often as anybody likes.
        metrics: Counts what is accepted and what is refused.
        hide_mailboxes: Whether to tell whom a policy refuses that there is no mailbox.
        require_digest: Whether to take only what comes with a token for its one body.
    """

    def __init__(
        self,
        mailboxes: Mailboxes,
        *,
        names: Names,
        owners: Owners,
        policies: Policies,
        rules: Rules,
        admission: Admission,
        rates: Rates | None,
        metrics: Metrics,
        hide_mailboxes: bool = False,
        require_digest: bool = False,
    ) -> None:
        self._mailboxes = mailboxes
        self._names = names
        self._owners = owners
        self._policies = policies
        self._rules = rules
        self._admission = admission
        self._rates = rates
        self._metrics = metrics
        self._hide_mailboxes = hide_mailboxes
        self._require_digest = require_digest
        self._tasks: set[Task[Any]] = set()

    def accept(
        self,
        token: Token,
        deliveries: Sequence[Delivery | PushdError],
        *,
        body_key: str | None = None,
    ) -> Future[list[Outcome]]:
        """Check deliveries and store the good ones; one refused never spoils the others.

        Args:
            token: The sender's verified deliver token, its name proven.
            deliveries: What to deliver; an error keeps its place in the answer.
            body_key: Names the request as a whole, for a token that stores at most once:
                the idempotency key of every delivery that has none. None: no such token.

        Returns:
            What became of each, in order. The future fails with `StoreUnavailable`, or
            with `Unauthorized` if only a token that stores at most once will do.
        """
        if self._require_digest and body_key is None:
            return self._refuse(Unauthorized(_NO_DIGEST), len(deliveries))
        if token.app is not None:  # else all its recipients are DIDs
            unknown = self._not_in_memory(token, deliveries)
            if unknown:
                return self._start(self._find_first(token, deliveries, body_key, unknown))
        return self._accept(token, deliveries, body_key, _NONE)

    def _accept(
        self,
        token: Token,
        deliveries: Sequence[Delivery | PushdError],
        body_key: str | None,
        found: Found,
    ) -> Future[list[Outcome]]:
        answer: Future[list[Outcome]] = asyncio.get_running_loop().create_future()
        batch = _Batch(token, [None] * len(deliveries), [], answer)
        for place, delivery in enumerate(deliveries):
            try:
                if isinstance(delivery, PushdError):
                    raise delivery
                key = idempotency_key(delivery, body_key, place)
                mailbox = self._mailbox(token, delivery.to, found)
                entry = self._rules.entry(token, delivery, mailbox, key)
                if self._rates is not None:
                    self._rates.deliver(token.did, mailbox)
                batch.parcels.append(_Parcel(place, delivery.to, entry))
            except PushdError as error:
                batch.outcomes[place] = error
                self._metrics.refused(error.code)
        if batch.parcels:
            stored = self._mailboxes.accept([parcel.entry for parcel in batch.parcels])
            stored.add_done_callback(partial(self._stored, batch))
        else:
            answer.set_result(cast(list[Outcome], batch.outcomes))
        return answer

    def _refuse(self, error: PushdError, count: int) -> Future[list[Outcome]]:
        """Refuse deliveries as a whole."""
        self._metrics.refused(error.code, count)
        answer: Future[list[Outcome]] = asyncio.get_running_loop().create_future()
        answer.set_exception(error)
        return answer

    # --- admission -----------------------------------------------------------------------

    def admit(self, token: Token) -> None:
        """Refuse what cannot be served anyway, before anything else is looked at.

        Raises:
            Limited: If the sender may deliver nothing now.
            Overloaded: If this server has too much to do.
        """
        if self._admission.refuses(random()):  # noqa: S311 - no secret
            raise come_back_later("This server has too much to do.")
        if self._rates is not None:
            self._rates.require(token.did)

    def standing(self, token: Token) -> Standing | None:
        """Tell how a sender stands with its limit; None: there is none."""
        return None if self._rates is None else self._rates.sender(token.did)

    # --- recipients ------------------------------------------------------------------

    def _mailbox(self, token: Token, to: str, found: Found) -> str:
        """Return the mailbox of a recipient.

        Raises:
            Forbidden: If the token is not for this recipient.
            BadRequest: If it is neither a DID nor a name.
            UnknownMailbox: If the name is nobody's.
            ResolverUnavailable, RateLimited: If nobody found out whose it is.
        """
        require_recipient(token, to)
        if not is_name(to):
            return validate_did(to)
        known = found.get(to) or self._names.mailbox(to, _app(token))
        if known is None:  # it was in memory a moment ago
            raise ResolverUnavailable
        if isinstance(known, PushdError):
            raise known
        return known

    def _not_in_memory(
        self, token: Token, deliveries: Iterable[Delivery | PushdError]
    ) -> set[str]:
        """Return the names of which nobody knows yet whose they are."""
        names = {
            delivery.to
            for delivery in deliveries
            if isinstance(delivery, Delivery) and is_name(delivery.to)
        }
        return {name for name in names & token.to if self._is_unknown(token, name)}

    def _is_unknown(self, token: Token, name: str) -> bool:
        try:
            return self._names.mailbox(name, _app(token)) is None
        except PushdError:
            return False  # no name, or known to be nobody's

    async def _find_first(
        self,
        token: Token,
        deliveries: Sequence[Delivery | PushdError],
        body_key: str | None,
        names: Iterable[str],
    ) -> list[Outcome]:
        found = await _each(names, partial(self._find, token))
        return await self._accept(token, deliveries, body_key, found)

    async def _find(self, token: Token, name: str) -> str | PushdError:
        try:
            return await self._names.find(name, _app(token), asker=token.did)
        except PushdError as error:
            return error

    # --- what the store says ---------------------------------------------------------

    def _stored(self, batch: _Batch, stored: Future[list[Result]]) -> None:
        if stored.cancelled():
            batch.answer.cancel()
            return
        error = stored.exception()
        if error is not None:
            self._fail(batch, error)
            return
        results = stored.result()
        if all(type(result) is Stored for result in results):  # as almost always
            self._answer(batch, results)
            return
        if self._hide_mailboxes:
            results = _hide(results)
        if unready := _unready(batch, results):
            self._start(self._make_ready(batch, results, unready))
        else:
            self._answer(batch, results)

    async def _make_ready(
        self, batch: _Batch, results: list[Result], unready: Sequence[int]
    ) -> None:
        """Do what mailboxes need before they can decide, then store what is for them."""
        needs = {batch.parcels[at].to: at for at in unready}

        async def prepare(name: str) -> PushdError | None:
            at = needs[name]
            return await self._prepare(batch.token, batch.parcels[at], results[at])

        try:
            refused = await _each(needs, prepare)
            for at in unready:
                results[at] = refused[batch.parcels[at].to] or results[at]
            again = [at for at in unready if refused[batch.parcels[at].to] is None]
            if again:
                entries = [batch.parcels[at].entry for at in again]
                stored = await self._mailboxes.accept(entries)
                if self._hide_mailboxes:
                    stored = _hide(stored)
                for at, result in zip(again, stored, strict=True):
                    results[at] = result
        except Exception as error:  # whatever it is, somebody waits for an answer
            self._fail(batch, error)
        else:
            self._answer(batch, results)

    async def _prepare(
        self, token: Token, parcel: _Parcel, result: Result
    ) -> PushdError | None:
        """Make a mailbox ready, or return why it is not."""
        mailbox = parcel.entry.mailbox
        if not isinstance(result, Stale):
            return await self._open(token, parcel.to, mailbox)
        try:
            await self._policies.refresh(mailbox)
        except PushdError as error:
            return error
        return None

    async def _open(self, token: Token, name: str, mailbox: str) -> PushdError | None:
        """Open a mailbox, or return why it stays closed."""
        try:
            if not await self._owners.may_be_given(
                mailbox, name, _app(token), asker=token.did
            ):
                return UnknownMailbox()
            await self._mailboxes.open(mailbox, create=True)
        except PushdError as error:
            return error
        return None

    def _fail(self, batch: _Batch, error: BaseException) -> None:
        if isinstance(error, PushdError):
            self._metrics.refused(error.code, len(batch.parcels))
        if not batch.answer.done():
            batch.answer.set_exception(error)

    def _answer(self, batch: _Batch, results: Sequence[Result]) -> None:
        """Put what the store said into its places, and answer."""
        for parcel, result in zip(batch.parcels, results, strict=True):
            batch.outcomes[parcel.place] = self._outcome(parcel.entry, result)
        if not batch.answer.done():  # else nobody waits any more; what is stored is stored
            batch.answer.set_result(cast(list[Outcome], batch.outcomes))

    def _outcome(self, entry: Entry, result: Result) -> Outcome:
        if isinstance(result, Stale):
            result = ResolverUnavailable(_UNDECIDED)
        if isinstance(result, PushdError):
            self._metrics.refused(result.code)
            return result
        self._metrics.accepted(1)
        return Accepted(str(result.id), entry.mailbox, result.duplicate)

    def _start(self, work: Coroutine[Any, Any, T]) -> Task[T]:
        """Begin something that has to wait for the network."""
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return task


def _unready(batch: _Batch, results: Sequence[Result]) -> list[int]:
    """Return which parcels found a mailbox that is not open yet, or cannot decide."""
    named = batch.token.app is not None
    return [
        at
        for at, (parcel, result) in enumerate(zip(batch.parcels, results, strict=True))
        if isinstance(result, Stale)
        or (named and isinstance(result, UnknownMailbox) and is_name(parcel.to))
    ]


def _hide(results: Sequence[Result]) -> list[Result]:
    """Let no mailbox be found out whose owner does not let this sender write.

    What is done from here on is the same as if there were none, so that it takes as long.
    """
    return [
        UnknownMailbox() if isinstance(result, Forbidden) else result for result in results
    ]


def _app(token: Token) -> str:
    """Return the app of names; a token with a name in `to` has one."""
    return token.app or ""


async def _each(keys: Iterable[K], ask: Callable[[K], Awaitable[T]]) -> dict[K, T]:
    """Ask about several at once."""
    keys = list(keys)
    return dict(zip(keys, await asyncio.gather(*map(ask, keys)), strict=True))

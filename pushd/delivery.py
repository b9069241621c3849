"""Accepting deliveries: from what a sender asks to what the store keeps.

Both ways in, HTTP and the stream, come here with a verified token and decoded deliveries.
They bring along what is called with the outcomes, so that nobody needs a task to wait for
them, and a delivery costs no future: those are made only for who wants to await (`accept`).
All deliveries of one event-loop tick travel to the store together. Only a name that is not
in memory, or whose mailbox is not open yet, makes its deliveries wait for the network.
"""

import asyncio
from asyncio import Future, Task
from collections.abc import Coroutine, Iterable, Mapping, Sequence
from functools import partial
from random import random
from typing import Any, TypeVar

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
from pushd.futures import Done, each, settle
from pushd.identity.keys import validate_did
from pushd.identity.names import is_name
from pushd.identity.tokens import Token
from pushd.incidents import tellable
from pushd.mailbox.base import Entry, Mailboxes, Result, Stale
from pushd.metrics import Metrics
from pushd.owners import Owners
from pushd.policies import Policies
from pushd.protocol.messages import Accepted, Delivery
from pushd.rates import Rates, Standing
from pushd.recipients import Found, Recipients, app_of
from pushd.rules import Rules

T = TypeVar("T")

Outcome = Accepted | PushdError
"""What became of one delivery."""

_NONE: Found = {}
_ACCEPTED = {Accepted}

_NO_DIGEST = (
    "This server takes a delivery only with a token for it alone: one with the `digest` of"
    " the body, by POST /v1/deliveries; there is no such token on a stream."
)
_NOT_RECIPIENT = "`to` is not a recipient in the token, character for character."
_UNDECIDED = (
    "The recipient's policy has names that cannot be looked up right now; with a key the"
    " retry is safe."
)


class _Batch(Struct, frozen=True):
    """Deliveries that came together.

    Attributes:
        token: The sender's.
        deliveries: As they came.
        refused: What is not even tried, by place.
        entries: What is under way, in order.
        done: Told the outcomes.
    """

    token: Token
    deliveries: Sequence[Delivery | PushdError]
    refused: Mapping[int, PushdError]
    entries: list[Entry]
    done: Done[list[Outcome]]

    def recipients(self) -> list[str]:
        """Return to whom each entry is, as the sender wrote it."""
        return [
            delivery.to
            for place, delivery in enumerate(self.deliveries)
            if place not in self.refused and isinstance(delivery, Delivery)
        ]


class Deliveries:
    """The way into the mailboxes.

    Args:
        mailboxes: Where accepted deliveries are stored.
        recipients: Knows whose mailbox a name is.
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
        recipients: Recipients,
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
        self._recipients = recipients
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
        """Take deliveries, for who wants to await what becomes of them; see `take`."""
        answer: Future[list[Outcome]] = asyncio.get_running_loop().create_future()
        self.take(token, deliveries, partial(settle, answer), body_key=body_key)
        return answer

    def take(
        self,
        token: Token,
        deliveries: Sequence[Delivery | PushdError],
        done: Done[list[Outcome]],
        *,
        body_key: str | None = None,
    ) -> None:
        """Check deliveries and store the good ones; one refused never spoils the others.

        Args:
            token: The sender's verified deliver token, its name proven.
            deliveries: What to deliver; an error keeps its place in the answer.
            done: Told once, perhaps before this returns, what became of each; or
                `StoreUnavailable`, `Incident`, or `Unauthorized` if only a token that
                stores at most once will do.
            body_key: Names the request as a whole, for a token that stores at most once:
                the idempotency key of every delivery that has none. None: no such token.
        """
        if self._require_digest and body_key is None:
            done(self._refuse(Unauthorized(_NO_DIGEST), len(deliveries)))
            return
        if token.app is not None:  # else all its recipients are DIDs
            unknown = self._recipients.unknown(token, deliveries)
            if unknown:
                finding = self._find_first(token, deliveries, done, body_key, unknown)
                self._start(finding)
                return
        self._take(token, deliveries, done, body_key, _NONE)

    def _take(
        self,
        token: Token,
        deliveries: Sequence[Delivery | PushdError],
        done: Done[list[Outcome]],
        body_key: str | None,
        found: Found,
    ) -> None:
        refused: dict[int, PushdError] = {}
        entries: list[Entry] = []
        for place, delivery in enumerate(deliveries):
            key = body_key if place == 0 or body_key is None else f"{body_key}#{place}"
            try:
                entries.append(self._entry(token, delivery, key, found))
            except PushdError as error:
                refused[place] = error
                self._metrics.refused(error.code)
        if entries:
            batch = _Batch(token, deliveries, refused, entries, done)
            self._mailboxes.store(entries, partial(self._stored, batch))
        else:
            done(list(refused.values()))

    def _entry(
        self, token: Token, delivery: Delivery | PushdError, key: str | None, found: Found
    ) -> Entry:
        """Return what is to be stored of a delivery.

        Raises:
            PushdError: If it is to be refused.
        """
        if isinstance(delivery, PushdError):
            raise delivery
        to = delivery.to
        if to not in token.to:
            raise Forbidden(_NOT_RECIPIENT)
        if token.app is None or not is_name(to):
            mailbox = validate_did(to)
        else:
            mailbox = self._recipients.mailbox(token, to, found)
        entry = self._rules.entry(token, delivery, mailbox, key)
        if self._rates is not None:
            self._rates.deliver(token.did, mailbox)
        return entry

    async def _find_first(
        self,
        token: Token,
        deliveries: Sequence[Delivery | PushdError],
        done: Done[list[Outcome]],
        body_key: str | None,
        names: Iterable[str],
    ) -> None:
        try:
            found = await self._recipients.find(token, names)
            self._take(token, deliveries, done, body_key, found)
        except Exception as error:  # whatever it is, somebody waits for an answer
            done(self._refuse(error, len(deliveries)))

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

    # --- what the store says ---------------------------------------------------------

    def _stored(self, batch: _Batch, results: list[Result] | PushdError) -> None:
        if isinstance(results, PushdError):
            batch.done(self._refuse(results, len(batch.entries)))
        elif batch.refused or set(map(type, results)) != _ACCEPTED:
            self._look_into(batch, results)
        else:  # as almost always: what the store said is the answer
            self._metrics.accepted(len(results))
            batch.done(results)  # type: ignore[arg-type] # none is `Stale`

    def _look_into(self, batch: _Batch, results: list[Result]) -> None:
        """Answer, or do first what a mailbox needs that could not decide."""
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
        names = batch.recipients()
        needs = {names[at]: at for at in unready}

        async def prepare(name: str) -> PushdError | None:
            mailbox = batch.entries[needs[name]].mailbox
            return await self._prepare(batch.token, name, mailbox, results[needs[name]])

        try:
            refused = await each(needs, prepare)
            for at in unready:
                results[at] = refused[names[at]] or results[at]
            again = [at for at in unready if refused[names[at]] is None]
            if again:
                stored = await self._mailboxes.accept([batch.entries[at] for at in again])
                if self._hide_mailboxes:
                    stored = _hide(stored)
                for at, result in zip(again, stored, strict=True):
                    results[at] = result
        except Exception as error:  # whatever it is, somebody waits for an answer
            batch.done(self._refuse(error, len(batch.entries)))
        else:
            self._answer(batch, results)

    async def _prepare(
        self, token: Token, name: str, mailbox: str, result: Result
    ) -> PushdError | None:
        """Make a mailbox ready, or return why it is not."""
        app = app_of(token)
        try:
            if isinstance(result, Stale):
                await self._policies.refresh(mailbox)
            elif await self._owners.may_be_given(mailbox, name, app, asker=token.did):
                await self._mailboxes.open(mailbox, create=True)
            else:
                return UnknownMailbox()
        except PushdError as error:
            return error
        return None

    def _answer(self, batch: _Batch, results: Sequence[Result]) -> None:
        """Put what the store said into its places, and answer."""
        said = map(self._outcome, results)
        places = range(len(batch.deliveries))
        batch.done([batch.refused.get(place) or next(said) for place in places])

    def _refuse(self, error: Exception, count: int) -> PushdError:
        """Count so many deliveries as refused; return why, or the number of our bug."""
        told = tellable(error)
        self._metrics.refused(told.code, count)
        return told

    def _outcome(self, result: Result) -> Outcome:
        if isinstance(result, Accepted):
            self._metrics.accepted(1)
            return result
        error = ResolverUnavailable(_UNDECIDED) if isinstance(result, Stale) else result
        self._metrics.refused(error.code)
        return error

    def _start(self, work: Coroutine[Any, Any, T]) -> Task[T]:
        """Begin something that has to wait for the network."""
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return task


def _unready(batch: _Batch, results: Sequence[Result]) -> list[int]:
    """Return which entries found a mailbox that is not open yet, or cannot decide."""
    named = batch.token.app is not None
    return [
        at
        for at, (to, result) in enumerate(zip(batch.recipients(), results, strict=True))
        if isinstance(result, Stale)
        or (named and isinstance(result, UnknownMailbox) and is_name(to))
    ]


def _hide(results: Sequence[Result]) -> list[Result]:
    """Let no mailbox be found out whose owner does not let this sender write.

    What is done from here on is the same as if there were none, so that it takes as long.
    """
    return [
        UnknownMailbox() if isinstance(result, Forbidden) else result for result in results
    ]

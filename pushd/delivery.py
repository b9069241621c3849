"""Accepting a delivery: the checks every delivery passes, and the one call that stores it.

Both ways in, HTTP and the stream, come here with a verified token and decoded deliveries.
A future is returned, not a coroutine, so that a session needs no task to wait for it and
all deliveries of one event-loop tick travel to the store together.
"""

import asyncio
from asyncio import Future
from collections.abc import Sequence
from functools import partial
from typing import cast

from pushd.errors import (
    BadRequest,
    Forbidden,
    PayloadTooLarge,
    PushdError,
    UnknownMailbox,
)
from pushd.identity.keys import validate_did
from pushd.identity.tokens import Token
from pushd.mailbox.base import Entry, Mailboxes, Stored
from pushd.metrics import Metrics
from pushd.protocol.messages import MAX_KEY, Accepted, Delivery, From, message_body

Outcome = Accepted | PushdError
"""What became of one delivery."""


class Deliveries:
    """The way into the mailboxes."""

    def __init__(
        self, mailboxes: Mailboxes, *, max_payload: int, max_ttl: int, metrics: Metrics
    ) -> None:
        """Make the way in.

        Args:
            mailboxes: Where accepted deliveries are stored.
            max_payload: Bytes of the largest payload.
            max_ttl: Seconds a message may live; what a delivery without `ttl` gets.
            metrics: Counts what is accepted and what is refused.
        """
        self._mailboxes = mailboxes
        self._max_payload = max_payload
        self._max_ttl = max_ttl
        self._metrics = metrics

    def accept(
        self,
        token: Token,
        deliveries: Sequence[Delivery | PushdError],
        *,
        body_key: str | None = None,
    ) -> Future[list[Outcome]]:
        """Check deliveries and store the good ones; one refused never spoils the others.

        Args:
            token: The sender's verified deliver token.
            deliveries: What to deliver; an error keeps its place in the answer.
            body_key: Names the request as a whole, for a token that stores at most once:
                the idempotency key of every delivery that has none. None: no such token.

        Returns:
            What became of each, in order. The future fails with `StoreUnavailable`.
        """
        outcomes: list[Outcome | None] = [None] * len(deliveries)
        entries: list[Entry] = []
        places: list[int] = []
        for place, delivery in enumerate(deliveries):
            try:
                if isinstance(delivery, PushdError):
                    raise delivery
                entries.append(
                    self._check(token, delivery, _key(delivery, body_key, place))
                )
                places.append(place)
            except PushdError as error:
                outcomes[place] = error
                self._metrics.refused(error.code)
        answer: Future[list[Outcome]] = asyncio.get_running_loop().create_future()
        if not entries:
            answer.set_result(cast(list[Outcome], outcomes))
            return answer
        stored = self._mailboxes.accept(entries)
        stored.add_done_callback(partial(self._stored, answer, outcomes, entries, places))
        return answer

    def _check(self, token: Token, delivery: Delivery, key: str | None) -> Entry:
        """Return what is stored of a delivery that may be delivered.

        Raises:
            Forbidden: If the token does not name the recipient.
            UnknownMailbox: If the recipient is a name; this server resolves none.
            PayloadTooLarge: If the payload has too many bytes.
            BadRequest: If the DID, the key or the time to live cannot be.
        """
        to, payload = delivery.to, delivery.payload
        if to not in token.to:
            raise Forbidden(
                "`to` is not a recipient in the token, character for character."
            )
        if not to.startswith("did:") or to.startswith("did:web:"):
            raise UnknownMailbox("This server resolves no names; let `to` be a DID.")
        validate_did(to)
        # An ASCII string has as many bytes as characters, and is not encoded to be counted.
        size = len(payload) if payload.isascii() else len(payload.encode())
        if size > self._max_payload:
            raise PayloadTooLarge(f"`payload` has at most {self._max_payload} bytes here.")
        if size == 0:
            raise BadRequest("`payload` has at least 1 byte.")
        ttl = delivery.ttl
        if ttl is None:
            ttl = self._max_ttl
        elif not 1 <= ttl <= self._max_ttl:
            raise BadRequest(f"`ttl` is 1 to {self._max_ttl} seconds here.")
        return Entry(to, token.did, message_body(From(token.did), payload), ttl, key)

    def _stored(
        self,
        answer: Future[list[Outcome]],
        outcomes: list[Outcome | None],
        entries: list[Entry],
        places: list[int],
        stored: Future[list[Stored | PushdError]],
    ) -> None:
        """Put what the store said into its places, and answer."""
        if stored.cancelled():
            answer.cancel()
            return
        error = stored.exception()
        if isinstance(error, PushdError):
            self._metrics.refused(error.code, len(entries))
        if error is None:
            for place, entry, result in zip(places, entries, stored.result(), strict=True):
                outcomes[place] = self._outcome(entry, result)
        if answer.done():
            return  # nobody waits any more; what is stored is stored
        if error is None:
            answer.set_result(cast(list[Outcome], outcomes))
        else:
            answer.set_exception(error)

    def _outcome(self, entry: Entry, result: Stored | PushdError) -> Outcome:
        if isinstance(result, PushdError):
            self._metrics.refused(result.code)
            return result
        self._metrics.accepted(1)
        return Accepted(str(result.id), entry.mailbox, result.duplicate)


def _key(delivery: Delivery, body_key: str | None, place: int) -> str | None:
    """Return the idempotency key: the delivery's own, else its place in the request.

    Raises:
        BadRequest: If it is too short or too long.
    """
    key = delivery.key
    if key is not None:
        if not 1 <= len(key) <= MAX_KEY:
            raise BadRequest(f"`key` has 1 to {MAX_KEY} characters.")
        return key
    if body_key is None or place == 0:
        return body_key
    return f"{body_key}#{place}"

"""Send: deliveries to one server, retried until they are accepted or refused for good.

A retry can store nothing twice, as each delivery has a key. So whatever leaves in doubt
whether a delivery arrived is tried again, on a `Line` to the server.
"""

import secrets
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import NamedTuple, Self

import httpx2
import msgspec
from msgspec import UNSET, Raw, Struct, UnsetType

from pushd.client.credentials import Credentials
from pushd.client.line import BUSY, NOT_PUSHD, Line, Unreachable, error_of, read
from pushd.client.patience import Patience
from pushd.errors import PushdError
from pushd.identity.keys import PrivateKey
from pushd.protocol.messages import (
    MAX_BATCH,
    Accepted,
    Delivery,
    Problem,
    encode,
)
from pushd.protocol.urls import canonical_url

MAX_TOKEN_RECIPIENTS = 100
"""Recipients one token can name."""
MAX_TOKEN_NAMES = 5000
"""Characters of recipients in one token, which keeps it under the 8 KiB it may have."""
MAX_BATCH_BYTES = 4 * 1024 * 1024
"""Bytes of deliveries in one request; half of what a server takes."""

Outcome = Accepted | PushdError | Unreachable
"""What became of a delivery."""


class _Result(Struct):
    """A place in the answer to a batch: what `Accepted` has, or what `Failed` has."""

    id: str = ""
    mailbox: str = ""
    duplicate: bool = False
    error: Problem | UnsetType = UNSET

    def outcome(self) -> Outcome:
        """Return what it says."""
        if self.error is not UNSET:
            return error_of(self.error)
        return Accepted(self.id, self.mailbox, self.duplicate)


class _Results(Struct):
    """The answer to a batch."""

    results: list[_Result]


_accepted = msgspec.json.Decoder(Accepted)
_results = msgspec.json.Decoder(_Results)


class Sender:
    """Delivers for one identity to one server.

        async with Sender(key, server="https://push.example") as sender:
            await sender.send(bob_did, payload)

    Args:
        key: The sender's.
        server: The recipient's server, as the recipient's contact document or the app's
            settings name it; tokens are valid there alone.
        name: Name the sender claims; None claims none.
        app: Web origin the name belongs to; needed with a name.
        timeout: Seconds one attempt may take.
        give_up_after: Seconds all attempts of one call may take.
        token_lifetime: Seconds a token is valid, except where each delivery needs its own.
        http: Client to use; None makes one, and closes it.
        clock: Returns Unix seconds; one that is wrong is corrected by the server's.

    Raises:
        BadRequest: If `server` is no URL of a server.
    """

    def __init__(
        self,
        key: PrivateKey,
        *,
        server: str,
        name: str | None = None,
        app: str | None = None,
        timeout: float = 10.0,
        give_up_after: float = 60.0,
        token_lifetime: float = 600.0,
        http: httpx2.AsyncClient | None = None,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self.server = canonical_url(server)
        self._give_up_after = give_up_after
        credentials = Credentials(
            key,
            audience=self.server,
            scope="deliver",
            lifetime=token_lifetime,
            name=name,
            app=app,
            clock=clock,
        )
        self._line = Line(self.server, credentials, timeout=timeout, http=http)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    async def close(self) -> None:
        """Close the connections."""
        await self._line.close()

    async def send(
        self,
        to: str,
        payload: str,
        key: str | None = None,
        ttl: int | None = None,
        *,
        give_up_after: float | None = None,
    ) -> Accepted:
        """Deliver a payload, and return once the server keeps it.

        Safe to cancel; whether it was delivered is then unknown, and a call with the
        same key and payload is safe.

        Args:
            to: The recipient: a DID, or a name the server can resolve.
            payload: Opaque text, best encrypted to the recipient.
            key: At most one delivery with this key is kept for this sender and
                recipient; None makes a random one.
            ttl: Seconds until it expires; None is the server's maximum.
            give_up_after: Seconds all attempts may take; None: as the sender was made.

        Raises:
            PushdError: If the server refuses it, or is busy for too long.
            Unreachable: If no server answered for too long.
        """
        delivery = Delivery(to, payload, key or _new_key(), ttl)
        seconds = self._give_up_after if give_up_after is None else give_up_after
        answer = await self._post([to], encode(delivery), Patience(seconds))
        return read(answer, _accepted)

    async def send_many(self, deliveries: Sequence[Delivery]) -> list[Outcome]:
        """Deliver many payloads; one that is refused spoils no other.

        Those without a key get a random one. Order is kept for each recipient, unless a
        delivery has to be retried. Safe to cancel; what was delivered is then unknown, and
        a call with the same keys and payloads is safe.

        Returns:
            For each delivery, in order, where it is kept or why it is not.
        """
        parcels = [_Parcel.of(delivery) for delivery in deliveries]
        outcomes: dict[int, Outcome] = {}
        patience = Patience(self._give_up_after)
        left = list(range(len(parcels)))
        while left:
            for batch in _batches(parcels, left):
                some = [parcels[place] for place in batch]
                outcomes.update(zip(batch, await self._batch(some, patience), strict=True))
            left = [place for place in left if _is_busy(outcomes[place])]
            if left and not await patience.pause(_longest_wait(outcomes, left)):
                break
        return [outcomes[place] for place in range(len(parcels))]

    async def _batch(
        self, parcels: Sequence["_Parcel"], patience: Patience
    ) -> Sequence[Outcome]:
        recipients = list(dict.fromkeys(parcel.to for parcel in parcels))
        body = encode({"deliveries": [Raw(parcel.json) for parcel in parcels]})
        try:
            answer = await self._post(recipients, body, patience)
            results = read(answer, _results).results
        except (PushdError, Unreachable) as error:
            return [error] * len(parcels)
        if len(results) != len(parcels):
            return [Unreachable(NOT_PUSHD, answer.status_code)] * len(parcels)
        return [result.outcome() for result in results]

    async def _post(
        self, to: Sequence[str], body: bytes, patience: Patience
    ) -> httpx2.Response:
        return await self._line.ask("POST", "/v1/deliveries", patience, body=body, to=to)


def _new_key() -> str:
    return secrets.token_urlsafe(16)


class _Parcel(NamedTuple):
    """A delivery as it travels."""

    to: str
    json: bytes

    @classmethod
    def of(cls, delivery: Delivery) -> Self:
        """Encode a delivery, with a key."""
        if delivery.key is None:
            delivery = msgspec.structs.replace(delivery, key=_new_key())
        return cls(delivery.to, encode(delivery))


def _batches(parcels: Sequence[_Parcel], places: Sequence[int]) -> Iterator[list[int]]:
    """Divide places into batches that fit into a request and its token."""
    batch: list[int] = []
    recipients: set[str] = set()
    size = 0
    for place in places:
        parcel = parcels[place]
        together = recipients | {parcel.to}
        if batch and (
            len(batch) == MAX_BATCH
            or size + len(parcel.json) > MAX_BATCH_BYTES
            or not _fit_into_token(together)
        ):
            yield batch
            batch, together, size = [], {parcel.to}, 0
        batch.append(place)
        recipients = together
        size += len(parcel.json)
    if batch:
        yield batch


def _fit_into_token(recipients: set[str]) -> bool:
    names = sum(len(name) + 3 for name in recipients)  # with quotes and comma
    return len(recipients) <= MAX_TOKEN_RECIPIENTS and names <= MAX_TOKEN_NAMES


def _is_busy(outcome: object) -> bool:
    return isinstance(outcome, PushdError) and outcome.status in BUSY


def _longest_wait(outcomes: Mapping[int, object], places: Sequence[int]) -> float:
    return max(getattr(outcomes[place], "retry_after", None) or 0 for place in places)

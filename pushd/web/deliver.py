"""`POST /v1/deliveries`: one delivery, or a batch of them; the hottest path there is."""

from base64 import urlsafe_b64encode
from hashlib import sha256

import msgspec
from msgspec import UNSET, Raw, Struct, UnsetType
from starlette.types import Receive, Scope, Send

from pushd.errors import BadRequest, PushdError, Unauthorized
from pushd.identity.tokens import Token
from pushd.protocol.messages import (
    MAX_BATCH,
    Accepted,
    Batch,
    Delivery,
    Failed,
    Results,
    decode,
    encode,
    problem,
)
from pushd.web.exchange import answer, authenticate, headers_of, parts_of, read_body
from pushd.web.problems import refuse


class _Probe(Struct):
    """Tells a batch from a delivery, whatever else is wrong with it."""

    deliveries: Raw | UnsetType = UNSET


_delivery = msgspec.json.Decoder(Delivery)
_batch = msgspec.json.Decoder(Batch)
_probe = msgspec.json.Decoder(_Probe)


class Deliver:
    """The endpoint. Everything is checked before anything is stored."""

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Accept what the body holds: 202 for a delivery, 200 for a batch."""
        parts = parts_of(scope)
        headers = headers_of(scope)
        token = await authenticate(parts, headers, "deliver")
        body = await read_body(headers, receive)
        body_key = key_of_body(token, body)
        posted = decode_posted(body)
        deliveries = [posted] if isinstance(posted, Delivery) else posted
        try:
            outcomes = await parts["deliveries"].accept(
                token, deliveries, body_key=body_key
            )
        except PushdError as error:
            await refuse(send, error)  # counted already, for each delivery
            return
        if not isinstance(posted, Delivery):
            await answer(send, 200, encode(Results([_result(o) for o in outcomes])))
        elif isinstance(outcome := outcomes[0], Accepted):
            await answer(send, 202, encode(outcome))
        else:
            await refuse(send, outcome)


def decode_posted(body: bytes) -> Delivery | list[Delivery | PushdError]:
    """Decode a delivery, or a batch, of which each item may be wrong by itself.

    Raises:
        BadRequest: If it is neither.
    """
    try:
        return decode(body, _delivery)
    except BadRequest:
        if decode(body, _probe).deliveries is UNSET:
            raise
    items = decode(body, _batch).deliveries
    if not 1 <= len(items) <= MAX_BATCH:
        raise BadRequest(f"`deliveries` has 1 to {MAX_BATCH} items.")
    return [_item(item) for item in items]


def _item(item: Raw) -> Delivery | PushdError:
    try:
        return decode(item, _delivery)
    except BadRequest as error:
        return error


def _result(outcome: Accepted | PushdError) -> Accepted | Failed:
    return outcome if isinstance(outcome, Accepted) else Failed(problem(outcome))


def key_of_body(token: Token, body: bytes) -> str | None:
    """Return what makes this body idempotent, or None if the token is for any body.

    Raises:
        Unauthorized: If the token is for another body.
    """
    if token.digest is None:
        return None
    digest = urlsafe_b64encode(sha256(body).digest()).rstrip(b"=").decode()
    if token.digest != f"sha-256:{digest}":
        raise Unauthorized("The digest in the token is that of another body.")
    return token.jti

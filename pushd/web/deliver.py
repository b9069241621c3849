"""`POST /v1/deliveries`: one delivery, or a batch of them; the hottest path there is."""

from asyncio import Future, get_running_loop
from collections.abc import Callable, Sequence
from functools import partial

import msgspec
from msgspec import UNSET, Raw, Struct, UnsetType
from starlette.types import Receive, Scope, Send

from pushd.delivery import Deliveries, Outcome
from pushd.errors import BadRequest, PushdError, Unauthorized
from pushd.futures import settle
from pushd.identity.tokens import Token, digest_of
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
from pushd.rates import Limited, Standing
from pushd.web.exchange import (
    Answer,
    answer,
    authenticate,
    headers_of,
    parts_of,
    read_body,
)
from pushd.web.parts import Parts
from pushd.web.problems import refusal
from pushd.web.ratelimit import rate_headers


class _Probe(Struct):
    """Tells a batch from a delivery, whatever else is wrong with it."""

    deliveries: Raw | UnsetType = UNSET


_delivery = msgspec.json.Decoder(Delivery)
_batch = msgspec.json.Decoder(Batch)
_probe = msgspec.json.Decoder(_Probe)


Posted = Delivery | list[Delivery | PushdError]
"""What a body holds: a delivery, or a batch of which each item may be wrong by itself."""


class Deliver:
    """The endpoint for whatever does not come the short way (`express.py`).

    Everything is checked before anything is stored.
    """

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Accept what the body holds: 202 for a delivery, 200 for a batch."""
        parts = parts_of(scope)
        headers = headers_of(scope)
        token = await authenticate(parts, headers, "deliver")
        body = await read_body(headers, receive)
        answered: Future[Answer] = get_running_loop().create_future()
        accept(parts, token, body, partial(settle, answered))
        status, text, more, media_type = await answered
        await answer(send, status, text, *more, media_type=media_type)


def accept(parts: Parts, token: Token, body: bytes, done: Callable[[Answer], None]) -> None:
    """Accept what a body holds.

    Args:
        parts: Of the server.
        token: The sender's, verified, its name proven.
        body: Of the request.
        done: Told once what to answer, perhaps before this returns.

    Raises:
        Limited: If the sender may deliver nothing now.
        Overloaded: If this server has too much to do.
        BadRequest: If it holds neither a delivery nor a batch.
        Unauthorized: If the token is for another body.
    """
    deliveries = parts["deliveries"]
    deliveries.admit(token)
    body_key = key_of_body(token, body)
    posted = decode_posted(body)
    several = [posted] if isinstance(posted, Delivery) else posted
    told = partial(_tell, deliveries, token, posted, done)
    deliveries.take(token, several, told, body_key=body_key)


def _tell(
    deliveries: Deliveries,
    token: Token,
    posted: Posted,
    done: Callable[[Answer], None],
    outcomes: list[Outcome] | PushdError,
) -> None:
    """Turn what became of deliveries into an answer."""
    if isinstance(outcomes, list):
        done(answer_to(posted, outcomes, deliveries.standing(token)))
    else:
        done(refusal(outcomes))  # counted already, for each delivery


def answer_to(
    posted: Posted, outcomes: Sequence[Outcome], standing: Standing | None
) -> Answer:
    """Return what is answered to who posted this, and stands so with its limit."""
    more = () if standing is None else rate_headers(standing)
    if not isinstance(posted, Delivery):
        return Answer(200, encode(Results([_result(o) for o in outcomes])), more)
    if isinstance(outcome := outcomes[0], Accepted):
        return Answer(202, encode(outcome), more)
    return refusal(outcome, *(() if isinstance(outcome, Limited) else more))


def decode_posted(body: bytes) -> Posted:
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
    if token.digest != digest_of(body):
        raise Unauthorized("The digest in the token is that of another body.")
    return token.jti

"""What every endpoint does with a request: read its token and body, write an answer.

The endpoints are plain ASGI, for a `Request` and a `Response` object would cost as much
as all the rest of a delivery.
"""

import time
from collections.abc import Mapping
from typing import Any, NamedTuple, cast
from urllib.parse import parse_qsl

from starlette.requests import ClientDisconnect
from starlette.types import Receive, Scope, Send

from pushd.errors import BadRequest, PayloadTooLarge, Unauthorized
from pushd.identity.authenticator import Scope as TokenScope
from pushd.identity.tokens import Token
from pushd.protocol.messages import MAX_BODY
from pushd.web.parts import Parts

JSON = b"application/json"
NO_STORE = (b"cache-control", b"no-store")
"""Of an answer to GET, or an error, that no cache may keep (RFC 9111 section 5.2.2.5)."""

Headers = Mapping[bytes, bytes]
"""Headers of a request by lower-case name; of a repeated one the last."""


class Answer(NamedTuple):
    """What a request is answered with.

    Attributes:
        status: HTTP status.
        body: All of the body.
        headers: Beside those of length and type.
        media_type: Of the body.
    """

    status: int
    body: bytes
    headers: tuple[tuple[bytes, bytes], ...] = ()
    media_type: bytes = JSON


def parts_of(scope: Scope) -> Parts:
    """Return the live parts of the server."""
    return cast(Parts, scope["state"])


def headers_of(scope: Scope) -> Headers:
    """Return the request's headers."""
    return dict(scope["headers"])


def query_of(scope: Scope) -> dict[str, str]:
    """Return the members of the query; of a repeated one the last.

    Raises:
        BadRequest: If it is not UTF-8, or has too many members.
    """
    try:
        text = scope["query_string"].decode("ascii")
        pairs = parse_qsl(text, True, errors="strict", max_num_fields=32)
    except ValueError:
        raise BadRequest("The query of the URL is not one of UTF-8 members.") from None
    return dict(pairs)


async def authenticate(parts: Parts, headers: Headers, scope: TokenScope) -> Token:
    """Verify the bearer token of a request, and prove the name it claims.

    Raises:
        Unauthorized: If there is none, or it does not verify, or not for this.
        NameMismatch: If it claims a name that is another's, or nobody's.
        ResolverUnavailable, RateLimited: If nobody can tell right now whose name it is.
    """
    token = verify_bearer(parts, bearer_of(headers.get(b"authorization", b"")), scope)
    parts["acquainted"]()
    if token.name is not None:
        await parts["names"].prove(token)
    return token


def verify_bearer(parts: Parts, token: str, scope: TokenScope) -> Token:
    """Verify a bearer token, empty if there is none; its name is not proven.

    Raises:
        Unauthorized: If there is none, or it does not verify, or not for this.
    """
    if not token:
        raise Unauthorized("The header Authorization must say Bearer and a token.")
    return parts["authenticator"].authenticate(token, scope, now=time.time())


def bearer_of(authorization: bytes) -> str:
    """Return the token in the header Authorization, empty if there is none.

    It may be in no other place (RFC 6750 section 2.1).
    """
    kind, _, token = authorization.partition(b" ")
    return token.strip().decode("latin-1") if kind.lower() == b"bearer" else ""


async def read_body(headers: Headers, receive: Receive) -> bytes:
    """Read the body of a request, at most `MAX_BODY` bytes.

    Raises:
        PayloadTooLarge: If it is larger; one that says so beforehand is not read at all.
        ClientDisconnect: If the client went away before the end.
    """
    length = headers.get(b"content-length")
    if length is not None and int(length) > MAX_BODY:  # the HTTP parser let only digits by
        raise _too_large()
    message = await receive()
    if message["type"] == "http.request" and not message.get("more_body"):
        return cast(bytes, message["body"])
    body = bytearray()
    while message["type"] == "http.request":
        body += message["body"]
        if len(body) > MAX_BODY:
            raise _too_large()
        if not message.get("more_body"):
            return bytes(body)
        message = await receive()
    raise ClientDisconnect


def _too_large() -> PayloadTooLarge:
    return PayloadTooLarge(f"A body has at most {MAX_BODY} bytes.")


async def answer(
    send: Send,
    status: int,
    body: bytes,
    *extra: tuple[bytes, bytes],
    media_type: bytes = JSON,
) -> None:
    """Write a whole answer."""
    headers: list[Any] = [
        (b"content-type", media_type),
        (b"content-length", b"%d" % len(body)),
        *extra,
    ]
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": body})

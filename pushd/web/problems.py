"""Errors as peers see them over HTTP: problem documents (RFC 9457), each with its code.

Whatever an endpoint raises ends here. An error of the table is told as it is; anything
else is our bug, of which the peer learns an incident number and the log the place.
"""

import time
from collections.abc import Mapping

from msgspec import UNSET, Struct, UnsetType
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect
from starlette.types import ASGIApp, Receive, Scope, Send

from pushd.errors import (
    BadRequest,
    Forbidden,
    MethodNotAllowed,
    NotFound,
    Overloaded,
    PushdError,
    Unauthorized,
)
from pushd.incidents import incident
from pushd.protocol.messages import encode
from pushd.rates import Limited
from pushd.web.exchange import NO_STORE, Answer, answer, parts_of
from pushd.web.ratelimit import rate_headers

MEDIA_TYPE = b"application/problem+json"

Extra = tuple[tuple[bytes, bytes], ...]


class UpgradeRequired(BadRequest):
    """The path speaks another protocol than HTTP (RFC 9110 section 15.5.22)."""

    status = 426
    title = "This path speaks the websocket protocol."


class Document(Struct, omit_defaults=True):
    """A problem document. `now` is the server's clock in Unix seconds."""

    type: str
    title: str
    status: int
    detail: str
    code: str
    retry_after: int | UnsetType = UNSET
    now: int | UnsetType = UNSET
    incident: str | UnsetType = UNSET


class Problems:
    """ASGI middleware that answers every exception with a problem document."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Let the app answer, or say why it did not."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        try:
            await self._app(scope, receive, send)
        except ClientDisconnect:
            pass
        except PushdError as error:
            await self._tell(scope, send, error)
        except HTTPException as error:
            await self._tell_starlette(scope, send, error)
        except Exception as error:  # a bug: the client learns its number alone
            await self._tell(scope, send, incident(error))

    async def _tell(
        self, scope: Scope, send: Send, error: PushdError, extra: Extra = ()
    ) -> None:
        parts_of(scope)["metrics"].refused(error.code)
        await refuse(send, error, *extra)

    async def _tell_starlette(self, scope: Scope, send: Send, error: HTTPException) -> None:
        """Answer for the router, which knows no path or no method."""
        if error.status_code == 404:
            await self._tell(scope, send, NotFound())
            return
        allow = (b"allow", _allow(error.headers or {}))
        if scope["method"] == "OPTIONS":  # RFC 9110 section 9.3.7
            await answer(send, 200, b"{}", allow)
        else:
            await self._tell(scope, send, MethodNotAllowed(), (allow,))


async def refuse(send: Send, error: PushdError, *extra: tuple[bytes, bytes]) -> None:
    """Answer with an error, without counting it."""
    status, body, headers, media_type = refusal(error, *extra)
    await answer(send, status, body, *headers, media_type=media_type)


def refusal(error: PushdError, *extra: tuple[bytes, bytes]) -> Answer:
    """Return what an error is answered with."""
    body = encode(document(error, now=time.time()))
    headers = [NO_STORE, *extra]
    if error.retry_after is not None:
        headers.append((b"retry-after", b"%d" % error.retry_after))
    if isinstance(error, Limited):
        headers += rate_headers(error.standing)
    if error.status == Unauthorized.status:
        headers.append((b"www-authenticate", b"Bearer"))
    if isinstance(error, UpgradeRequired):
        headers += [(b"upgrade", b"websocket"), (b"connection", b"upgrade")]
    return Answer(error.status, body, tuple(headers), MEDIA_TYPE)


_OF_UPGRADES: dict[int, type[PushdError]] = {
    error.status: error
    for error in (
        BadRequest,
        Forbidden,
        NotFound,
        MethodNotAllowed,
        UpgradeRequired,
        Overloaded,
    )
}
"""For what an upgrade may be refused, by the status of the answer."""


def upgrade_refusal(status: int, sentence: str) -> tuple[bytes, bytes]:
    """Return media type and body of the answer to an upgrade that is refused."""
    _, body, _, media_type = refusal(_OF_UPGRADES[status](sentence))
    return media_type, body


def document(error: PushdError, *, now: float) -> Document:
    """Return the problem document of an error; one about a token tells the time."""
    return Document(
        type=f"urn:pushd:error:{error.code}",
        title=error.title,
        status=error.status,
        detail=error.detail,
        code=error.code,
        retry_after=UNSET if error.retry_after is None else error.retry_after,
        now=int(now) if isinstance(error, Unauthorized) else UNSET,
        incident=getattr(error, "incident", UNSET),
    )


def _allow(headers: Mapping[str, str]) -> bytes:
    methods = {*headers.get("Allow", "").split(", "), "OPTIONS"} - {""}
    return ", ".join(sorted(methods)).encode()

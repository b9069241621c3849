"""CORS: any web origin may use this server, unless its operator lists the allowed ones.

Tokens travel in a header that a page must set by itself, never in a cookie, so that `*`
gives no page anything it does not have already. The headers stand on every answer, on
errors too, else a page could not read why it was refused.
https://fetch.spec.whatwg.org/#http-cors-protocol
"""

from collections.abc import Collection

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from pushd.web.exchange import headers_of

EXPOSED = b"Retry-After, Date, RateLimit, RateLimit-Policy"
"""Headers of an answer that a page may read, besides the few it always may."""

PREFLIGHT = (
    (b"access-control-allow-methods", b"GET, POST, PUT"),
    (b"access-control-allow-headers", b"Authorization, Content-Type, Last-Event-ID"),
    (b"access-control-max-age", b"86400"),
)

Headers = list[tuple[bytes, bytes]]

EXPOSE = (b"access-control-expose-headers", EXPOSED)

ANY: Headers = [(b"access-control-allow-origin", b"*"), EXPOSE]
"""What stands on every answer of a server that any origin may use."""


class Cors:
    """ASGI middleware that answers preflights, and adds its headers to every answer."""

    def __init__(self, app: ASGIApp, origins: Collection[str] | None) -> None:
        """Wrap an app.

        Args:
            app: What answers.
            origins: Web origins that are allowed; None: any.
        """
        self._app = app
        self._origins = origins

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a preflight, or let the app answer and add the headers."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        origin = b""
        if self._origins is not None:
            origin = headers_of(scope).get(b"origin", b"")
        ours = headers_for(origin, self._origins)

        async def send_with_cors(message: Message) -> None:
            if message["type"] == "http.response.start":
                message["headers"] = [*message["headers"], *ours]
            await send(message)

        if scope["method"] == "OPTIONS" and is_preflight(scope):
            headers = [*PREFLIGHT, *ours]
            await send({"type": "http.response.start", "status": 204, "headers": headers})
            await send({"type": "http.response.body"})
        else:
            await self._app(scope, receive, send_with_cors)


def headers_for(origin: bytes, origins: Collection[str] | None) -> Headers:
    """Return what stands on an answer to this origin.

    Args:
        origin: As the request has it, empty without one.
        origins: Web origins that are allowed; None: any.
    """
    if origins is None:
        return ANY
    vary = (b"vary", b"Origin")  # without it a cache would hand one's answer to another
    if origin.decode("latin-1") not in origins:
        return [vary]
    return [(b"access-control-allow-origin", origin), EXPOSE, vary]


def is_preflight(scope: Scope) -> bool:
    """Tell whether an OPTIONS asks on behalf of a page, rather than for itself."""
    names = {name for name, _ in scope["headers"]}
    return names >= {b"origin", b"access-control-request-method"}

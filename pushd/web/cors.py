"""CORS: any web origin may use this server, unless its operator lists the allowed ones.

Tokens travel in a header that a page must set by itself, never in a cookie, so that `*`
gives no page anything it does not have already. The headers stand on every answer, on
errors too, else a page could not read why it was refused.
https://fetch.spec.whatwg.org/#http-cors-protocol
"""

from collections.abc import Collection

from starlette.types import ASGIApp, Message, Receive, Scope, Send

EXPOSED = b"Retry-After, Date, RateLimit, RateLimit-Policy"
"""Headers of an answer that a page may read, besides the few it always may."""

PREFLIGHT = (
    (b"access-control-allow-methods", b"GET, POST, PUT"),
    (b"access-control-allow-headers", b"Authorization, Content-Type, Last-Event-ID"),
    (b"access-control-max-age", b"86400"),
)

Headers = list[tuple[bytes, bytes]]

ANY: Headers = [
    (b"access-control-allow-origin", b"*"),
    (b"access-control-expose-headers", EXPOSED),
]
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
        exposed = (b"access-control-expose-headers", EXPOSED)
        self._any: Headers | None = None
        if origins is None:
            self._any = ANY
            return
        # Without its Vary a cache would hand one origin's answer to another.
        self._other: Headers = [(b"vary", b"Origin")]
        self._listed: dict[bytes, Headers] = {
            origin: [(b"access-control-allow-origin", origin), exposed, *self._other]
            for origin in (origin.encode() for origin in origins)
        }

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a preflight, or let the app answer and add the headers."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        ours = self._any
        if ours is None:
            origin = dict(scope["headers"]).get(b"origin", b"")
            ours = self._listed.get(origin, self._other)

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


def is_preflight(scope: Scope) -> bool:
    """Tell whether an OPTIONS asks on behalf of a page, rather than for itself."""
    names = {name for name, _ in scope["headers"]}
    return names >= {b"origin", b"access-control-request-method"}

"""Which pages may use a hub: those of any origin, all but `/dev`, each half its way."""

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from pushd.devhub.reader import PREFIX

Headers = list[tuple[bytes, bytes]]


class Cors:
    """ASGI middleware that lets them."""

    ANY = (b"access-control-allow-origin", b"*")
    AGE = (b"access-control-max-age", b"86400")
    WRITE = (
        (b"access-control-allow-methods", b"DELETE,POST,GET,OPTIONS,HEAD"),
        (
            b"access-control-allow-headers",
            b"Authorization,Content-Type,If-Match,If-None-Match",
        ),
    )
    READ = (b"access-control-allow-methods", b"GET,HEAD,OPTIONS")
    EXPOSED = (b"access-control-expose-headers", b"Content-Type,ETag")

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer an OPTIONS, or let the app answer and add the headers."""
        if scope["type"] != "http" or scope["path"].startswith("/dev/"):
            await self._app(scope, receive, send)
            return
        reading = scope["path"].startswith(PREFIX)
        ours = (self.ANY, self.EXPOSED) if reading else (self.ANY,)

        async def send_with_cors(message: Message) -> None:
            if message["type"] == "http.response.start":
                message["headers"] = [*message["headers"], *ours]
            await send(message)

        if scope["method"] == "OPTIONS":
            allowed = (self.READ, *self._asked(scope)) if reading else self.WRITE
            headers = [*ours, *allowed, self.AGE, (b"content-length", b"0")]
            await send({"type": "http.response.start", "status": 204, "headers": headers})
            await send({"type": "http.response.body"})
        else:
            await self._app(scope, receive, send_with_cors)

    @staticmethod
    def _asked(scope: Scope) -> Headers:
        """Allow a reader whatever headers it asks for."""
        asked = dict(scope["headers"]).get(b"access-control-request-headers")
        vary = (b"vary", b"Access-Control-Request-Headers")
        return [vary, (b"access-control-allow-headers", asked)] if asked else [vary]

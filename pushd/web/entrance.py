"""The entrance of the general path: addresses pay for the new tokens that they show.

Deliveries of the short way and streams do the same at their own entrances.
"""

from starlette.types import ASGIApp, Receive, Scope, Send

from pushd.web.addresses import forwarded_in
from pushd.web.exchange import bearer_of, headers_of, parts_of


class Entrance:
    """ASGI middleware around all that verifies tokens, where addresses have a limit."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Let the app answer, unless too much came from where this comes from.

        Raises:
            Limited: If that is so.
        """
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        token = bearer_of(headers_of(scope).get(b"authorization", b""))
        addresses = parts_of(scope)["addresses"]
        if not addresses.concern(token):
            await self._app(scope, receive, send)
            return
        address = addresses.of(scope["client"], forwarded_in(scope["headers"]))
        with addresses.trying(address, token):
            await self._app(scope, receive, send)

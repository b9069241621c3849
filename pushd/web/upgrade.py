"""`GET /v1/stream` on the general path: how to come in, for those who came another way."""

from starlette.types import Receive, Scope, Send

from pushd.errors import BadRequest
from pushd.web.events import HEAD, is_wanted
from pushd.web.exchange import authenticate, headers_of, parts_of
from pushd.web.problems import UpgradeRequired


class StreamByHttp:
    """The endpoint; websockets and event streams were taken before they got here."""

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a HEAD for events; say to others how to come in.

        Raises:
            BadRequest: If events cannot begin on this connection.
            UpgradeRequired: If no events are wanted.
        """
        headers = headers_of(scope)
        if not is_wanted(headers):
            raise UpgradeRequired(
                "Open a websocket here, Upgrade: websocket, pushd.v1; or, where none can "
                "be had, ask for events, Accept: text/event-stream."
            )
        if scope["method"] != "HEAD":
            raise BadRequest(
                "Events are asked for without a body, on a connection that waits for no "
                "other answer."
            )
        await authenticate(parts_of(scope), headers, "receive")
        await send({"type": "http.response.start", "status": 200, "headers": list(HEAD)})
        await send({"type": "http.response.body"})

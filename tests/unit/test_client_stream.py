"""The driver of the client's stream against a server that does what the test says."""

import json
import random
from http import HTTPStatus

import pytest
from websockets.asyncio.server import ServerConnection, serve
from websockets.http11 import Request, Response
from websockets.typing import Subprotocol

from pushd.client import PrivateKey, Receiver, StreamClosed
from pushd.protocol.closing import CloseCode
from pushd.protocol.messages import SUBPROTOCOL


class Refusing:
    """Refuses every token, and between the first two does not let anybody connect.

    Attributes:
        tokens: Those it was shown.
        attempts: To connect.
    """

    def __init__(self) -> None:
        self.tokens: list[str] = []
        self.attempts = 0

    def let_in(self, connection: ServerConnection, request: Request) -> Response | None:
        """Let all in but the second."""
        self.attempts += 1
        if self.attempts == 2:
            return connection.respond(HTTPStatus.BAD_GATEWAY, "Away.")
        return None

    async def talk(self, socket: ServerConnection) -> None:
        """Refuse the token that is shown."""
        self.tokens.append(json.loads(await socket.recv())["token"])
        await socket.close(CloseCode.UNAUTHORIZED)


async def test_a_new_token_is_wanted_until_one_was_shown(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """An attempt that fails in between does not bring back the token that was refused."""
    monkeypatch.setattr(random, "random", lambda: 0.0)  # no backoff
    server = Refusing()
    async with serve(
        server.talk,
        "127.0.0.1",
        0,
        process_request=server.let_in,
        subprotocols=[Subprotocol(SUBPROTOCOL)],
    ) as listener:
        port = next(iter(listener.sockets)).getsockname()[1]
        receiver = Receiver(PrivateKey.generate(), server=f"http://127.0.0.1:{port}")
        receiver.listen(print)
        with pytest.raises(StreamClosed):
            await receiver.run()
    assert server.attempts == 3
    first, second = server.tokens
    assert first != second

"""How people talk to a server in tests: plain HTTP and a plain websocket."""

import json
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager, suppress
from typing import Any

import httpx2
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed
from websockets.typing import Subprotocol

from pushd.protocol.messages import SUBPROTOCOL
from tests.harness import Person


async def open_mailbox(http: httpx2.AsyncClient, url: str, owner: Person) -> None:
    """Come in as the owner for the first time."""
    answer = await http.get(f"{url}/v1/messages", headers=owner.receive())
    answer.raise_for_status()


async def deliver(
    http: httpx2.AsyncClient, url: str, sender: Person, to: Person, payload: str
) -> str:
    """Deliver a payload and return its id."""
    answer = await http.post(
        f"{url}/v1/deliveries",
        headers=sender.deliver(to.did),
        json={"to": to.did, "payload": payload},
    )
    answer.raise_for_status()
    id: str = answer.json()["id"]
    return id


class Stream:
    """A websocket and what is said over it.

    Attributes:
        welcome: What the server said first, once it did.
    """

    def __init__(self, socket: ClientConnection):
        self._socket = socket
        self.welcome: dict[str, Any] = {}

    async def send(self, type: str, **members: object) -> None:
        """Send a frame."""
        await self._socket.send(json.dumps({"type": type, **members}))

    async def send_raw(self, frame: str | bytes) -> None:
        """Send a frame that may be no frame of the protocol."""
        await self._socket.send(frame)

    async def next(self, *types: str) -> dict[str, Any]:
        """Return the next frame of one of these types, dropping others."""
        while True:
            frame: dict[str, Any] = json.loads(await self._socket.recv())
            if frame["type"] in types:
                return frame

    async def payloads(self, count: int) -> list[str]:
        """Return the payloads of the next messages, telling the server all were seen."""
        found: list[str] = []
        while len(found) < count:
            messages = (await self.next("messages"))["messages"]
            found += [message["payload"] for message in messages]
            await self.send("seen", upto=messages[-1]["id"])
        return found

    async def closed(self) -> int | None:
        """Read to the end and return the close code."""
        with suppress(ConnectionClosed):
            while True:
                await self._socket.recv()
        return self._socket.close_code


@asynccontextmanager
async def connected(
    url: str, headers: Mapping[str, str] | None = None
) -> AsyncIterator[Stream]:
    """Open a websocket without saying hello."""
    address = url.replace("http", "ws", 1) + "/v1/stream"
    protocols = [Subprotocol(SUBPROTOCOL)]
    async with connect(
        address,
        subprotocols=protocols,
        additional_headers=headers,
        compression=None,
        proxy=None,
    ) as socket:
        yield Stream(socket)


@asynccontextmanager
async def listening(person: Person, url: str, **hello: object) -> AsyncIterator[Stream]:
    """Open a session; `hello` holds more members of the first frame."""
    async with connected(url) as stream:
        await stream.send("hello", token=person.token("receive"), **hello)
        stream.welcome = await stream.next("welcome")
        yield stream

"""How people talk to a server in tests: plain HTTP, a plain websocket, an event stream."""

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

EVENTS = {"Accept": "text/event-stream"}


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

    def vanish(self) -> None:
        """Drop the connection without a word, and whatever is on its way."""
        self._socket.transport.abort()

    async def closed(self) -> int | None:
        """Read to the end and return the close code."""
        with suppress(ConnectionClosed):
            while True:
                await self._socket.recv()
        return self._socket.close_code


@asynccontextmanager
async def connected(
    url: str, headers: Mapping[str, str] | None = None, **options: Any
) -> AsyncIterator[Stream]:
    """Open a websocket without saying hello; `options` are more of `connect`'s."""
    address = url.replace("http", "ws", 1) + "/v1/stream"
    protocols = [Subprotocol(SUBPROTOCOL)]
    async with connect(
        address,
        subprotocols=protocols,
        additional_headers=headers,
        compression=None,
        proxy=None,
        **options,
    ) as socket:
        yield Stream(socket)


@asynccontextmanager
async def listening(person: Person, url: str, **hello: object) -> AsyncIterator[Stream]:
    """Open a session; `hello` holds more members of the first frame."""
    async with connected(url) as stream:
        await stream.send("hello", token=person.token("receive"), **hello)
        stream.welcome = await stream.next("welcome")
        yield stream


class EventStream:
    """An event stream, and what is said on it.

    Attributes:
        welcome: What the server said first, once it did.
        cursor: The last id of an event, to go on from.
        comments: Lines that are no events.
    """

    def __init__(self, answer: httpx2.Response):
        self._lines = answer.aiter_lines()
        self.welcome: dict[str, Any] = {}
        self.cursor = ""
        self.comments: list[str] = []

    async def event(self) -> dict[str, str]:
        """Return the fields of the next event.

        Raises:
            StopAsyncIteration: At the end of the stream.
        """
        fields: dict[str, str] = {}
        while True:
            line = await anext(self._lines)
            name, _, value = line.partition(": ")
            if line and not name.startswith(":") and name:
                fields[name] = value
            elif line:
                self.comments.append(line)
            elif fields:
                self.cursor = fields.get("id", self.cursor)
                return fields

    async def next(self, *types: str) -> dict[str, Any]:
        """Return the frame of the next event of one of these types, dropping others."""
        while True:
            fields = await self.event()
            frame: dict[str, Any] = json.loads(fields["data"])
            assert frame["type"] == fields["event"]
            if frame["type"] in types:
                return frame

    async def payloads(self, count: int) -> list[str]:
        """Return the payloads of the next messages."""
        found: list[str] = []
        while len(found) < count:
            messages = (await self.next("messages"))["messages"]
            found += [message["payload"] for message in messages]
        return found

    async def ended(self) -> bool:
        """Read to the end."""
        with suppress(StopAsyncIteration):
            while True:
                await self.event()
        return True


@asynccontextmanager
async def reading_events(
    http: httpx2.AsyncClient,
    person: Person,
    *,
    headers: Mapping[str, str] | None = None,
    **query: str,
) -> AsyncIterator[EventStream]:
    """Open an event stream; `query` and more headers say from where."""
    async with http.stream(
        "GET",
        "/v1/stream",
        params=query,
        headers={**person.receive(), **EVENTS, **(headers or {})},
        timeout=30,
    ) as answer:
        assert answer.status_code == 200, await answer.aread()
        stream = EventStream(answer)
        stream.welcome = await stream.next("welcome")
        yield stream

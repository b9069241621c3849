"""A request's head has a size and a time, whoever sends it."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest
import uvicorn
from starlette.types import Receive, Scope, Send

from pushd.web import limits
from pushd.web.http import Http
from pushd.web.limits import MAX_HEAD

BEGINNING = b"POST / HTTP/1.1\r\nhost: push.example\r\n"
IN_VAIN = b"connection: upgrade\r\nupgrade: h2c\r\n\r\n"
"""The end of a head that asks for another protocol in vain."""


class Client:
    """A connection, and what the server has of it.

    Attributes:
        server: The server's end; fed directly it gets pieces as the test cuts them.
    """

    def __init__(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, server: Http
    ):
        self.reader = reader
        self.writer = writer
        self.server = server

    async def answer(self) -> bytes:
        """Read the head and the body of an answer with a content length."""
        head = await self.reader.readuntil(b"\r\n\r\n")
        (length,) = (
            int(line.split(b":")[1])
            for line in head.split(b"\r\n")
            if line.lower().startswith(b"content-length")
        )
        return head + await self.reader.readexactly(length)


async def echo(scope: Scope, receive: Receive, send: Send) -> None:
    """Answer with the body of the request, the smallest app that reads it."""
    body, more = b"", True
    while more:
        event = await receive()
        body += event["body"]
        more = event["more_body"]
    headers = [(b"content-length", str(len(body)).encode())]
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    await send({"type": "http.response.body", "body": body})


@asynccontextmanager
async def connected() -> AsyncIterator[Client]:
    """Connect to a server that speaks through `Http`."""
    config = uvicorn.Config(echo, http=Http, ws="none", lifespan="off", log_config=None)
    config.load()
    state = uvicorn.server.ServerState()
    loop = asyncio.get_running_loop()
    accepted: asyncio.Future[Http] = loop.create_future()

    def accept() -> Http:
        accepted.set_result(Http(config, state, {}))
        return accepted.result()

    server = await loop.create_server(accept, "127.0.0.1", 0)
    reader, writer = await asyncio.open_connection(*server.sockets[0].getsockname())
    yield Client(reader, writer, await accepted)
    writer.close()
    server.close()
    await asyncio.gather(*state.tasks)


@pytest.fixture
async def client() -> AsyncIterator[Client]:
    """Connect to a server whose patience is that of production."""
    async with connected() as client:
        yield client


async def test_heads_one_after_another_are_answered(client: Client) -> None:
    """Bodies far larger than a head may be, pipelined, do not count as heads."""
    body = bytes(4 * MAX_HEAD)
    request = BEGINNING + b"content-length: %d\r\n\r\n" % len(body) + body

    client.writer.write(request + request + BEGINNING + b"content-length: 2\r\n\r\nhi")

    for expected in (body, body, b"hi"):
        assert (await client.answer()).endswith(b"\r\n\r\n" + expected)


@pytest.mark.parametrize("piece", [b"x" * 8192, b"x-another: field\r\n" * 400])
async def test_a_head_without_end_is_refused(client: Client, piece: bytes) -> None:
    """A field that never ends, or fields that never end, are cut off with 431."""
    client.server.data_received(BEGINNING)
    client.server.data_received(b"x-endless: ")
    for _ in range(MAX_HEAD // len(piece) + 1):
        client.server.data_received(piece)

    assert (await client.reader.read()).startswith(b"HTTP/1.1 431 ")


@pytest.mark.parametrize("beginning", [b"P", BEGINNING])
async def test_a_head_that_does_not_come_is_not_waited_for(
    client: Client, monkeypatch: pytest.MonkeyPatch, beginning: bytes
) -> None:
    """A connection on which a head begins and does not end in time is closed."""
    monkeypatch.setattr(limits, "HEAD_SECONDS", 0.1)
    client.writer.write(BEGINNING + b"content-length: 0\r\n\r\n" + beginning)
    await client.answer()

    assert await client.reader.read() == b""


async def test_a_silent_connection_is_closed(monkeypatch: pytest.MonkeyPatch) -> None:
    """A connection on which nothing comes at all is not kept."""
    monkeypatch.setattr(limits, "HEAD_SECONDS", 0.1)
    async with connected() as client:
        assert await client.reader.read() == b""


async def test_an_idle_connection_is_closed(client: Client) -> None:
    """A keep-alive of no time at all is over as soon as the short way has answered."""
    client.server.timeout_keep_alive = 0
    client.server.answered()

    assert await client.reader.read() == b""


async def test_a_connection_in_use_is_kept(client: Client) -> None:
    """A timer that ends while a request comes, or soon after an answer, closes nothing."""
    client.server.answered()
    client.server.data_received(BEGINNING)
    client.server.timeout_keep_alive_handler()
    client.server.data_received(b"content-length: 2\r\n\r\nhi")
    assert (await client.answer()).endswith(b"hi")

    client.server.timeout_keep_alive_handler()
    client.writer.write(BEGINNING + b"content-length: 2\r\n\r\nho")
    assert (await client.answer()).endswith(b"ho")


@pytest.mark.parametrize("line", [b"POST /\xff HTTP/1.1", b"CONNECT /a HTTP/1.1"])
@pytest.mark.parametrize("end", [b"\r\n", IN_VAIN])
async def test_what_cannot_be_read_is_refused_once(
    client: Client, line: bytes, end: bytes
) -> None:
    """Whatever else it asks for, and nothing that comes behind it is looked at."""
    head = line + b"\r\nhost: push.example\r\n" + end
    client.writer.write(head + BEGINNING + b"content-length: 0\r\n\r\n")
    assert (await client.answer()).startswith(b"HTTP/1.1 400 ")
    assert await client.reader.read() == b""


async def test_what_has_begun_to_come_when_a_server_stops_is_the_last(
    client: Client,
) -> None:
    """And both it and the one before it are answered, whatever protocol it asks for."""
    first = BEGINNING + b"content-length: 2\r\n\r\nhi"
    client.server.data_received(first + BEGINNING)
    client.server.shutdown()
    client.server.data_received(b"content-length: 2\r\n" + IN_VAIN + b"ho")

    assert (await client.answer()).endswith(b"hi")
    assert (await client.answer()).endswith(b"ho")
    assert await client.reader.read() == b""

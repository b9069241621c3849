"""A server that stops: it says so, ends what has begun, and lets everyone go in turn."""

import asyncio
import json
import signal
import socket
from contextlib import AsyncExitStack
from pathlib import Path
from urllib.parse import urlsplit

import httpx2
import pytest

from pushd.web.http import Http
from tests.harness import Person, RunningServer, exchange, serving
from tests.processes import Server, wait_until
from tests.talking import deliver, listening, open_mailbox


async def test_it_says_so_before_it_stops(tmp_path: Path) -> None:
    """While the notice lasts it is not ready, and serves whoever is still sent there."""
    with Server(tmp_path, "--notice-seconds", "600") as server:
        alice, bob = Person(server.url), Person(server.url)
        server.process.send_signal(signal.SIGTERM)
        wait_until(lambda: b" 503 " in readiness(server.url), "its word")
        async with listening(bob, server.url) as stream, httpx2.AsyncClient() as http:
            await deliver(http, server.url, alice, bob, "hello")
            assert await stream.payloads(1) == ["hello"]
        server.process.send_signal(signal.SIGTERM)

        assert server.ends() == 0


async def test_everyone_is_told_before_anyone_goes(store_url: str) -> None:
    """All hear `closing` at once, each with its own advice; then they go one by one."""
    with serving(store_url, drain_seconds=4) as server:
        async with AsyncExitStack() as stack:
            streams = [
                await stack.enter_async_context(listening(Person(server.url), server.url))
                for _ in range(4)
            ]
            server.should_exit = True
            closings = [await stream.next("closing") for stream in streams]
            assert len({closing["retry_after"] for closing in closings}) == 4
            ends = [asyncio.ensure_future(stream.closed()) for stream in streams]
            for place, end in enumerate(ends):
                assert await end == 1012
                assert not any(later.done() for later in ends[place + 1 :])


@pytest.mark.parametrize("cut", ["in the head", "in the body"])
@pytest.mark.parametrize("count", [1, 1000])
async def test_a_delivery_that_has_begun_is_answered(
    store_url: str, http: httpx2.AsyncClient, cut: str, count: int
) -> None:
    """Half a request is there when the server stops; the rest comes, and it counts."""
    with serving(store_url, drain_seconds=1) as server:
        alice, bob = Person(server.url), Person(server.url)
        await open_mailbox(http, server.url, bob)
        head, body = a_request(alice, bob, count)
        at = len(head) // 2 if cut == "in the head" else len(head) + len(body) // 2
        request = head + body
        parts = urlsplit(server.url)
        reader, writer = await asyncio.open_connection(parts.hostname, parts.port)
        writer.write(request[:at])
        await writer.drain()
        wait_until(lambda: is_reading(server), "the first half")
        server.should_exit = True
        wait_until(lambda: not accepts(server), "the end of accepting")
        writer.write(request[at:])
        answer = (await reader.read()).decode()
        writer.close()
        status, _, rest = answer.partition("\r\n")
        assert status.split()[1] == ("202" if count == 1 else "200")
        assert "connection: close" in rest.lower()
        assert answer.count(bob.did) == count


def a_request(sender: Person, to: Person, count: int) -> tuple[bytes, bytes]:
    """Return the head and the body of a request with so many deliveries."""
    items = [{"to": to.did, "payload": "x" * 100} for _ in range(count)]
    body = json.dumps(items[0] if count == 1 else {"deliveries": items}).encode()
    fields = {
        "Host": "push.example",
        "Content-Length": str(len(body)),
        **sender.deliver(to.did),
    }
    lines = [f"{name}: {value}\r\n" for name, value in fields.items()]
    return f"POST /v1/deliveries HTTP/1.1\r\n{''.join(lines)}\r\n".encode(), body


def is_reading(server: RunningServer) -> bool:
    """Tell whether a request has begun to come to a server."""
    return any(
        isinstance(one, Http) and one._reading
        for one in list(server.server_state.connections)
    )


def accepts(server: RunningServer) -> bool:
    """Tell whether a server takes connections."""
    parts = urlsplit(server.url)
    try:
        socket.create_connection((parts.hostname, parts.port)).close()
    except ConnectionRefusedError:
        return False
    return True


def readiness(url: str) -> bytes:
    """Return the first line of what a server answers on a connection of its own."""
    request = b"GET /health/ready HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"
    return exchange(url, request).partition(b"\r\n")[0]

"""What a process holds is bounded: one more is told to come back, the others go on."""

import asyncio
import json
import socket
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing

import httpx2
import pytest

from pushd.bounds import COME_BACK
from pushd.protocol.flow import State
from pushd.web import strangers
from pushd.web.stream import Stream
from tests.contract.stores import until
from tests.harness import Person, RunningServer, exchange, serving
from tests.talking import connected, deliver, listening, open_mailbox

SOON = range(COME_BACK[0], COME_BACK[1] + 1)


def knock(server: RunningServer, say: bytes = b"") -> socket.socket:
    """Connect, and say little or nothing."""
    peer = socket.create_connection(("127.0.0.1", server.settings.port), timeout=20)
    peer.sendall(say)
    return peer


def answer_of(peer: socket.socket) -> tuple[bytes, dict[str, object]]:
    """Read to the end; return the head, and the problem document below it."""
    with closing(peer):
        head, _, body = b"".join(iter(lambda: peer.recv(65536), b"")).partition(b"\r\n\r\n")
    return head, json.loads(body)


def holds(server: RunningServer, what: str) -> int:
    """Tell what a server holds now of something."""
    return next(bound.held for bound in server.parts["bounds"] if bound.name == what)


def comes_to(server: RunningServer, what: str, number: int) -> Callable[[], bool]:
    """Return the condition that it holds so much of something."""
    return lambda: holds(server, what) == number


# --- sessions ------------------------------------------------------------------------


async def test_a_session_too_many_comes_back_later(
    http: httpx2.AsyncClient, store_url: str
) -> None:
    """1013 to a stream and 503 to a request that would wait; who is in stays in."""
    with serving(store_url, capacity=1) as server:
        alice, bob, carol = (Person(server.url) for _ in range(3))
        async with listening(bob, server.url) as stream:
            async with connected(server.url) as late:
                await late.send("hello", token=carol.token("receive"))
                assert (await late.next("error"))["code"] == "overloaded"
                assert (await late.next("closing"))["retry_after"] in SOON
                assert await late.closed() == 1013
            url = f"{server.url}/v1/messages?wait=60"
            answer = await http.get(url, headers=carol.receive())
            assert (answer.status_code, answer.json()["code"]) == (503, "overloaded")
            assert answer.json()["retry_after"] in SOON
            await deliver(http, server.url, alice, bob, "hi")
            assert await stream.payloads(1) == ["hi"]
        await until(comes_to(server, "sessions", 0))
        async with listening(carol, server.url):
            metrics = (await http.get(f"{server.url}/metrics")).text
        assert 'pushd_held{what="sessions"} 1.0' in metrics
        assert 'pushd_bound{what="sessions"} 1.0' in metrics
        assert 'pushd_turned_away_total{what="sessions"} 2.0' in metrics


# --- strangers -----------------------------------------------------------------------


@pytest.fixture
def small(store_url: str) -> Iterator[RunningServer]:
    """Run a server that has room for three strangers."""
    with serving(store_url, max_strangers=3) as server:
        yield server


async def test_the_stranger_who_was_silent_longest_makes_room(
    http: httpx2.AsyncClient, small: RunningServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is told to come back, whatever it was about to say; a pair in earnest goes on."""
    monkeypatch.setattr(strangers, "PATIENCE", 0.0)
    alice, bob = Person(small.url), Person(small.url)
    with ExitStack() as stack:
        silent = knock(small)
        for say in (b"GET /v1/mess", b"POST /v1/deliveries HTTP/1.1\r\nHost: x\r\n"):
            stack.enter_context(knock(small, say))
        await until(comes_to(small, "strangers", 3))
        await open_mailbox(http, small.url, bob)
        head, problem = await asyncio.to_thread(answer_of, silent)
        async with listening(bob, small.url) as stream:
            for n in range(5):
                stack.enter_context(knock(small))
                await deliver(http, small.url, alice, bob, f"{n}")
            assert await stream.payloads(5) == [f"{n}" for n in range(5)]

    assert head.startswith(b"HTTP/1.1 503 Service Unavailable\r\n")
    assert problem["code"] == "overloaded"
    assert problem["retry_after"] in SOON
    assert f"retry-after: {problem['retry_after']}\r\n".encode() in head


async def test_a_stream_without_a_hello_makes_room_too(
    small: RunningServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is closed with 1013."""
    monkeypatch.setattr(strangers, "PATIENCE", 0.0)
    async with connected(small.url) as stream:
        with ExitStack() as stack:
            for _ in range(3):
                stack.enter_context(knock(small))
            assert (await stream.next("closing"))["retry_after"] in SOON
            assert await stream.closed() == 1013


async def test_where_many_come_at_once_the_newcomer_comes_back_later(
    small: RunningServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Who came a moment ago may still say who it is."""
    monkeypatch.setattr(strangers, "PATIENCE", 3600.0)
    with ExitStack() as stack:
        for _ in range(3):
            stack.enter_context(knock(small))
        await until(comes_to(small, "strangers", 3))
        head, problem = await asyncio.to_thread(answer_of, knock(small))
        assert head.startswith(b"HTTP/1.1 503 ")
        assert problem["code"] == "overloaded"
    await until(comes_to(small, "strangers", 0))


async def test_a_good_token_makes_a_connection_known(
    small: RunningServer,
) -> None:
    """On every way in; a bad one does not, nor does asking for what anybody may see."""
    alice, bob = Person(small.url), Person(small.url)
    async with httpx2.AsyncClient(base_url=small.url, trust_env=False) as client:
        for path in ("/health/live", "/v1/messages"):
            await client.get(path, headers={"Authorization": "Bearer not.a.token"})
            assert holds(small, "strangers") == 1
        await client.get("/v1/messages", headers=bob.receive())
        assert holds(small, "strangers") == 0
    async with httpx2.AsyncClient(trust_env=False) as client:
        await deliver(client, small.url, alice, bob, "x")
        assert holds(small, "strangers") == 0
    async with httpx2.AsyncClient(trust_env=False) as client:
        headers = {**bob.receive(), "Accept": "text/event-stream"}
        async with client.stream(
            "GET", f"{small.url}/v1/stream", headers=headers
        ) as answer:
            assert answer.status_code == 200
            assert holds(small, "strangers") == 0
    async with connected(small.url) as stream:
        await until(comes_to(small, "strangers", 1))
        await stream.send("hello", token=bob.token("receive"))
        await stream.next("welcome")
        assert holds(small, "strangers") == 0


async def test_a_refused_upgrade_is_no_stranger_any_more(small: RunningServer) -> None:
    """It has its answer, and is gone with it."""
    head = b"GET /v1/nowhere HTTP/1.1\r\nHost: x\r\nConnection: upgrade\r\n"
    for _ in range(4):
        refused = exchange(small.url, head + b"Upgrade: websocket\r\n\r\n")
        assert refused.startswith(b"HTTP/1.1 426 ")
    assert holds(small, "strangers") == 0


async def test_an_address_has_so_many_strangers(store_url: str) -> None:
    """One more from there is refused, though there is room; a proxy stands for many."""
    with serving(store_url, max_strangers_each=2) as server, ExitStack() as stack:
        for _ in range(2):
            stack.enter_context(knock(server))
        await until(comes_to(server, "strangers", 2))
        head, _ = await asyncio.to_thread(answer_of, knock(server))
        assert head.startswith(b"HTTP/1.1 503 ")
        stack.close()
        await until(comes_to(server, "strangers", 0))
        stack.enter_context(knock(server))
        await until(comes_to(server, "strangers", 1))
    with ExitStack() as stack:
        limits = {"max_strangers_each": 2, "trusted_proxies": "127.0.0.0/8"}
        server = stack.enter_context(serving(store_url, None, **limits))
        for _ in range(5):
            stack.enter_context(knock(server))
        await until(comes_to(server, "strangers", 5))


# --- bodies, and what waits for slow readers -----------------------------------------


async def test_bodies_that_do_not_come_leave_room_for_those_that_do(
    http: httpx2.AsyncClient, store_url: str
) -> None:
    """What has come of them is counted; too much is refused, a whole request never is."""
    with serving(store_url) as server:
        alice, bob = Person(server.url), Person(server.url)
        await open_mailbox(http, server.url, bob)
        server.parts["bounds"].bodies.most = 1000
        token = alice.token("deliver", bob.did).encode()
        head = (
            b"POST /v1/deliveries HTTP/1.1\r\nHost: x\r\nContent-Length: 9999\r\n"
            b"Authorization: Bearer %b\r\n\r\n" % token
        )
        part = head + b"{" * 400
        with knock(server, part) as slow:
            await until(comes_to(server, "body_bytes", 400))
            slow.sendall(b"{" * 400)
            await until(comes_to(server, "body_bytes", 800))
            first, problem = await asyncio.to_thread(answer_of, knock(server, part))
            assert first.startswith(b"HTTP/1.1 503 ")
            assert problem["code"] == "overloaded"
            await deliver(http, server.url, alice, bob, "whole")
        await until(comes_to(server, "body_bytes", 0))


async def test_what_waits_for_a_slow_reader_is_counted_until_it_is_read(
    http: httpx2.AsyncClient, server: RunningServer
) -> None:
    """It grows when the client does not keep up, and is nothing once that is gone."""
    alice, bob = Person(server.url), Person(server.url)
    await open_mailbox(http, server.url, bob)
    narrow = socket.socket()
    narrow.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    narrow.connect(("127.0.0.1", server.settings.port))
    async with connected(server.url, sock=narrow, max_queue=1) as stream:
        await stream.send("hello", token=bob.token("receive"), window=1000)
        await stream.next("caught_up")  # and from now on it reads nothing
        batch = [{"to": bob.did, "payload": "x" * 4096}] * 500

        async def fill() -> bool:
            answer = await http.post(
                "/v1/deliveries",
                headers=alice.deliver(bob.did),
                json={"deliveries": batch},
            )
            assert answer.status_code == 200
            return holds(server, "unsent_bytes") > 0

        await until(fill)
        stream.vanish()
    await until(comes_to(server, "unsent_bytes", 0))


async def test_while_too_much_waits_nothing_is_pushed_and_nothing_lost(
    http: httpx2.AsyncClient, store_url: str
) -> None:
    """A reader that keeps up gets all, in order, when there is room again."""
    with serving(store_url) as server:
        alice, bob = Person(server.url), Person(server.url)
        unsent = server.parts["bounds"].unsent
        async with listening(bob, server.url) as stream:
            await stream.next("caught_up")
            before, unsent.most = unsent.most, 0
            for n in range(3):
                await deliver(http, server.url, alice, bob, f"{n}")
            await until(lambda: states(server) == [State.LAGGING])
            await stream.send("ping", ref=1)
            assert (await stream.next("messages", "pong"))["type"] == "pong"
            unsent.most = before
            await deliver(http, server.url, alice, bob, "3")
            assert await stream.payloads(4) == ["0", "1", "2", "3"]


def states(server: RunningServer) -> list[State]:
    """Tell where the sessions of a server stand."""
    groups = server.parts["hub"]._listeners.values()
    streams = (one for group in groups for one in group if isinstance(one, Stream))
    return [stream._session.state for stream in streams]

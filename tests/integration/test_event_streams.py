"""An event stream over a real socket: what a recipient without a websocket may count on."""

import asyncio
import socket
import time
from collections.abc import AsyncIterator, Callable
from typing import Any, cast
from urllib.parse import urlsplit

import httpx2
import pytest

from pushd.protocol.flow import State
from pushd.web.events import Events
from tests.harness import Person, RunningServer, exchange, serving
from tests.talking import EVENTS, deliver, listening, open_mailbox, reading_events

CAROL = "did:btc-addr:12yhNanxrq1q5diWovJkfCXRMZvqoRVPo6"
PAGE = "https://app.example"


@pytest.fixture
def alice(server: RunningServer) -> Person:
    """Return somebody who writes."""
    return Person(server.url)


@pytest.fixture
async def bob(server: RunningServer, http: httpx2.AsyncClient) -> Person:
    """Return somebody with a new mailbox."""
    bob = Person(server.url)
    await open_mailbox(http, server.url, bob)
    return bob


@pytest.fixture
async def quick(store_url: str) -> AsyncIterator[tuple[RunningServer, httpx2.AsyncClient]]:
    """Run a server with short intervals and room for one session, and a client of it."""
    with serving(store_url, ping_interval=3, max_sessions=1) as server:
        async with httpx2.AsyncClient(base_url=server.url, trust_env=False) as http:
            yield server, http


async def fill(
    http: httpx2.AsyncClient, alice: Person, bob: Person, *all: str
) -> list[str]:
    """Deliver payloads and return their ids."""
    answer = await http.post(
        "/v1/deliveries",
        headers=alice.deliver(bob.did),
        json={"deliveries": [{"to": bob.did, "payload": payload} for payload in all]},
    )
    return [result["id"] for result in answer.json()["results"]]


async def until(condition: Callable[[], bool]) -> None:
    """Return once it holds."""
    async with asyncio.timeout(30):
        while True:
            if condition():
                return
            await asyncio.sleep(0.01)


async def session_of(server: RunningServer, owner: Person) -> Events:
    """Return the one session of a mailbox, once it is there."""
    listeners = server.parts["hub"]._listeners
    await until(lambda: owner.did in listeners)
    return cast(Events, listeners[owner.did][0])


# --- what comes ----------------------------------------------------------------------


async def test_a_delivery_is_pushed_and_its_ack_told(
    http: httpx2.AsyncClient, alice: Person, bob: Person
) -> None:
    """An event is a frame of the stream under its name, with the cursor as its id."""
    async with reading_events(http, bob) as stream:
        assert stream.welcome["mailbox"] == bob.did
        assert stream.welcome["continuity"] == "replay"
        caught_up = await stream.next("caught_up")
        assert stream.cursor == caught_up["cursor"] == stream.welcome["tail"]
        id = await deliver(http, str(http.base_url).rstrip("/"), alice, bob, "ciphertext")
        frame = await stream.next("messages")
        assert [message["payload"] for message in frame["messages"]] == ["ciphertext"]
        assert stream.cursor == frame["cursor"] == id
        await http.post("/v1/acks", json={"ids": [id]}, headers=bob.receive())
        assert await stream.next("read") == {"type": "read", "ids": [id]}


async def test_the_answer_is_for_no_cache_and_for_every_page(
    http: httpx2.AsyncClient, bob: Person
) -> None:
    """Its head says what it is, that nothing may keep it, and that pages may read it."""
    async with http.stream(
        "GET", "/v1/stream", headers={**bob.receive(), "Accept": "Text/Event-Stream;q=1"}
    ) as answer:
        assert answer.headers["content-type"] == "text/event-stream"
        assert answer.headers["cache-control"] == "no-store"
        assert answer.headers["x-accel-buffering"] == "no"
        assert answer.headers["access-control-allow-origin"] == "*"


async def test_who_asks_for_another_protocol_too_gets_events(
    http: httpx2.AsyncClient, bob: Person
) -> None:
    """RFC 9110 section 7.8: an upgrade may be ignored."""
    h2c = {"Connection": "Upgrade", "Upgrade": "h2c"}
    async with http.stream(
        "GET", "/v1/stream", headers={**bob.receive(), **EVENTS, **h2c}
    ) as answer:
        assert answer.headers["content-type"] == "text/event-stream"


async def test_whoever_comes_back_goes_on_from_the_last_event(
    http: httpx2.AsyncClient, alice: Person, bob: Person
) -> None:
    """Nothing is missed or sent twice, and Last-Event-ID counts more than the URL."""
    payloads = [str(n) for n in range(350)]
    ids = await fill(http, alice, bob, *payloads)
    async with reading_events(http, bob) as stream:
        first = await stream.payloads(100)
        cursor = stream.cursor
    assert cursor == ids[len(first) - 1]
    again = {"Last-Event-ID": cursor}
    async with reading_events(http, bob, headers=again, after=ids[300]) as stream:
        assert stream.welcome["continuity"] == "exact"
        assert first + await stream.payloads(350 - len(first)) == payloads
        assert (await stream.next("caught_up"))["cursor"] == stream.cursor == ids[-1]
    async with reading_events(http, bob, after=ids[-1]) as stream:
        assert (await stream.next("caught_up", "messages"))["type"] == "caught_up"


async def test_a_slow_reader_is_waited_for(
    http: httpx2.AsyncClient, server: RunningServer, alice: Person, bob: Person
) -> None:
    """It is not pushed to, holds little memory here, and then gets all of it in order."""
    payloads = [f"{n:04096}" for n in range(3000)]
    for at in range(0, len(payloads), 500):
        await fill(http, alice, bob, *payloads[at : at + 500])
    peer = socket.socket()
    peer.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 8192)
    place = urlsplit(server.url)
    peer.connect((place.hostname, place.port))
    token = bob.token("receive").encode()
    peer.sendall(
        b"GET /v1/stream HTTP/1.1\r\nHost: x\r\nAccept: text/event-stream\r\n"
        b"Authorization: Bearer %b\r\n\r\n" % token
    )
    events = await session_of(server, bob)
    await until(lambda: events.transport.get_write_buffer_size() > 0)
    assert events.transport.get_write_buffer_size() < 1024 * 1024
    assert events._session.state is State.CATCHUP

    def read_all() -> list[str]:
        found: list[str] = []
        with peer, peer.makefile("rb") as lines:
            for line in lines:
                if line.startswith(b'data: {"type":"messages"'):
                    frame = httpx2.Response(200, content=line[6:]).json()
                    found += [message["payload"] for message in frame["messages"]]
                if line == b"event: caught_up\n":
                    break
        return found

    assert await asyncio.to_thread(read_all) == payloads


async def test_a_quiet_stream_says_that_it_lives(
    quick: tuple[RunningServer, httpx2.AsyncClient],
) -> None:
    """A comment comes every ping interval; a client that takes it is not silent."""
    server, http = quick
    async with reading_events(http, Person(server.url)) as stream:
        await stream.next("caught_up")
        async with asyncio.timeout(30):
            while len(stream.comments) < 4:
                stream.comments.append(await anext(stream._lines))
        assert ": ping" in stream.comments


async def test_a_clock_that_is_set_back_silences_nobody(
    store_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Signs of life go on over both transports, and the other's are heard."""
    right = time.time
    with serving(store_url, ping_interval=3) as server:
        alice, bob = Person(server.url), Person(server.url)
        async with (
            httpx2.AsyncClient(base_url=server.url, trust_env=False) as http,
            reading_events(http, alice) as events,
            listening(bob, server.url) as stream,
        ):
            await events.next("caught_up")
            await stream.next("caught_up")
            for module in ("time", "pushd.web.websocket"):
                monkeypatch.setattr(f"{module}.time", lambda: right() - 3600)
            events.comments.clear()
            async with asyncio.timeout(30):
                while events.comments.count(": ping") < 2:
                    events.comments.append(await anext(events._lines))
            await stream.send("ping", ref=1)
            assert await stream.next("pong") == {"type": "pong", "ref": 1}


# --- beside others -------------------------------------------------------------------


async def test_both_transports_hear_the_same(
    http: httpx2.AsyncClient, server: RunningServer, alice: Person, bob: Person
) -> None:
    """What comes is sent to both, and an ack over one is told to the other."""
    async with (
        reading_events(http, bob) as events,
        listening(bob, server.url) as stream,
    ):
        ids = await fill(http, alice, bob, "a", "b")
        assert await events.payloads(2) == await stream.payloads(2) == ["a", "b"]
        await stream.send("ack", upto=ids[1])
        assert await events.next("read") == {"type": "read", "upto": ids[1]}


async def test_a_newer_session_of_the_device_takes_over(
    http: httpx2.AsyncClient, server: RunningServer, bob: Person
) -> None:
    """Whatever its transport; the older one is told not to come back."""
    async with (
        reading_events(http, bob, device="phone") as first,
        reading_events(http, bob, device="phone") as second,
    ):
        closing = await first.next("closing")
        assert (closing["reason"], closing["reconnect"]) == ("displaced", False)
        assert await first.ended()
        async with listening(bob, server.url, device="phone"):
            assert (await second.next("closing"))["reason"] == "displaced"
            assert await second.ended()


async def test_event_streams_count_as_sessions(
    quick: tuple[RunningServer, httpx2.AsyncClient],
) -> None:
    """At the limit the next is refused, over HTTP, with a time to come back."""
    server, http = quick
    bob = Person(server.url)
    async with reading_events(http, bob) as stream:
        await stream.next("caught_up")
        refused = await http.get("/v1/stream", headers={**bob.receive(), **EVENTS})
        assert refused.status_code == 429
        assert refused.json()["code"] == "too_many_sessions"
        assert int(refused.headers["retry-after"]) > 0
        assert refused.headers["access-control-allow-origin"] == "*"


# --- the end -------------------------------------------------------------------------


async def test_a_client_is_told_before_its_token_ends(
    http: httpx2.AsyncClient, bob: Person
) -> None:
    """A minute before, so that it may come with a new one."""
    ends_soon = bob.receive(lifetime=50.0)
    async with reading_events(http, bob, headers=ends_soon) as stream:
        assert (await stream.next("expiring"))["at"] > 0


async def test_the_stream_ends_with_its_token(
    http: httpx2.AsyncClient, bob: Person
) -> None:
    """It says so, and the client is free to come back with a new token."""
    ends_soon = bob.receive(lifetime=3.0)
    async with reading_events(http, bob, headers=ends_soon) as stream:
        closing = await stream.next("closing")
        assert (closing["reason"], closing["reconnect"]) == ("token_expired", True)
        assert await stream.ended()


async def test_a_server_that_stops_says_so(store_url: str) -> None:
    """Each stream is told at once, with a time of its own, and ends in the drain time."""
    with serving(store_url) as server:
        bob = Person(server.url)
        async with (
            httpx2.AsyncClient(base_url=server.url, trust_env=False) as http,
            reading_events(http, bob) as stream,
        ):
            await stream.next("caught_up")
            server.should_exit = True
            fields = await stream.event()
            assert fields["event"] == "closing"
            assert 500 <= int(fields["retry"]) <= 3000
            assert '"reason":"restarting"' in fields["data"]
            assert await stream.ended()


async def test_a_client_that_leaves_is_no_session_any_more(
    http: httpx2.AsyncClient, server: RunningServer, bob: Person
) -> None:
    """The hub lets go of it, and so does the server."""
    async with reading_events(http, bob) as stream:
        await stream.next("caught_up")
        events = await session_of(server, bob)
    await until(lambda: bob.did not in server.parts["hub"]._listeners)
    assert cast(Any, events) not in server.server_state.connections


async def test_who_goes_on_talking_is_cut_off(server: RunningServer, bob: Person) -> None:
    """A second request, with the first or after it, would never be answered."""
    place = urlsplit(server.url)
    token = bob.token("receive").encode()
    request = (
        b"GET /v1/stream HTTP/1.1\r\nHost: x\r\nAccept: text/event-stream\r\n"
        b"Authorization: Bearer %b\r\n\r\n" % token
    )
    answer = exchange(server.url, request + b"GET /health/live HTTP/1.1\r\n\r\n")
    assert answer.startswith(b"HTTP/1.1 400")
    with socket.create_connection((place.hostname, place.port), timeout=20) as peer:
        peer.sendall(request)
        begun = peer.recv(65536)
        peer.sendall(b"GET /health/live HTTP/1.1\r\n\r\n")
        try:
            while more := peer.recv(65536):
                begun += more
        except ConnectionResetError:
            pass
    assert b"event: welcome" in begun
    assert b"live" not in begun


# --- refused -------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("headers", "query", "status", "code"),
    [
        ({"Authorization": ""}, {}, 401, "unauthorized"),
        ({"Authorization": "Bearer x"}, {}, 401, "unauthorized"),
        ({}, {"after": "1"}, 400, "bad_request"),
        ({"Last-Event-ID": "1-01"}, {"after": "1-1"}, 400, "bad_request"),
        ({}, {"device": "x" * 65}, 400, "bad_request"),
        ({}, {"device": ""}, 400, "bad_request"),
    ],
)
async def test_what_cannot_be_is_refused_as_http_does(
    http: httpx2.AsyncClient,
    bob: Person,
    headers: dict[str, str],
    query: dict[str, str],
    status: int,
    code: str,
) -> None:
    """Before the stream begins there is a status to say it with."""
    answer = await http.get(
        "/v1/stream", headers={**bob.receive(), **EVENTS, **headers}, params=query
    )
    assert (answer.status_code, answer.json()["code"]) == (status, code)
    assert answer.headers["connection"] == "close"


async def test_an_owner_who_may_have_no_mailbox_gets_no_stream(store_url: str) -> None:
    """403, as a problem document."""
    with serving(store_url, mailboxes="listed", owners=[CAROL]) as server:
        answer = httpx2.get(
            f"{server.url}/v1/stream",
            headers={**Person(server.url).receive(), **EVENTS},
            trust_env=False,
        )
    assert (answer.status_code, answer.json()["code"]) == (403, "forbidden")


async def test_a_claimed_name_is_proven_first(
    http: httpx2.AsyncClient, bob: Person
) -> None:
    """A name that nobody can prove refuses the stream."""
    claims = bob.receive(name="bob.id.blockstack", app=PAGE)
    answer = await http.get("/v1/stream", headers={**claims, **EVENTS})
    assert (answer.status_code, answer.json()["code"]) == (403, "name_mismatch")


async def test_a_server_that_drains_begins_no_stream(store_url: str) -> None:
    """503 with a time to come back."""
    with serving(store_url) as server:
        server.parts["hub"].draining = True
        answer = httpx2.get(
            f"{server.url}/v1/stream",
            headers={**Person(server.url).receive(), **EVENTS},
            trust_env=False,
        )
    assert (answer.status_code, answer.json()["code"]) == (503, "overloaded")


async def test_only_listed_origins_may_read(store_url: str) -> None:
    """Their pages find their name in the answer, others find nothing."""
    with serving(store_url, allowed_origins=(PAGE,)) as server:
        bob = Person(server.url)
        async with httpx2.AsyncClient(base_url=server.url, trust_env=False) as http:
            for origin, allowed in ((PAGE, PAGE), ("https://evil.example", None)):
                headers = {**bob.receive(), **EVENTS, "Origin": origin}
                async with http.stream("GET", "/v1/stream", headers=headers) as answer:
                    told = answer.headers.get("access-control-allow-origin")
                    assert (told, answer.headers["vary"]) == (allowed, "Origin")


async def test_a_head_tells_what_a_get_would_begin_with(
    http: httpx2.AsyncClient, bob: Person
) -> None:
    """The same head, nothing behind it, and the same refusals."""
    answer = await http.head("/v1/stream", headers={**bob.receive(), **EVENTS})
    assert (answer.status_code, answer.content) == (200, b"")
    assert answer.headers["content-type"] == "text/event-stream"
    assert (await http.head("/v1/stream", headers=EVENTS)).status_code == 401


async def test_events_are_asked_for_with_a_plain_get(
    http: httpx2.AsyncClient, bob: Person
) -> None:
    """A body has no meaning here, and neither has another method."""
    headers = {**bob.receive(), **EVENTS}
    answer = await http.request("GET", "/v1/stream", headers=headers, content=b"x")
    assert (answer.status_code, answer.json()["code"]) == (400, "bad_request")
    answer = await http.post("/v1/stream", headers=headers)
    assert (answer.status_code, answer.headers["allow"]) == (405, "GET, HEAD, OPTIONS")

"""A session over a real socket: everything a recipient may count on."""

import re
from contextlib import AsyncExitStack
from typing import Any

import httpx2
import pytest

from tests.harness import Person, RunningServer, bearer, serving
from tests.talking import connected, deliver, listening, open_mailbox

CAROL = "did:btc-addr:12yhNanxrq1q5diWovJkfCXRMZvqoRVPo6"


async def unread(http: httpx2.AsyncClient, server: RunningServer, owner: Person) -> int:
    """Return how many messages wait, as HTTP tells."""
    answer = await http.get(f"{server.url}/v1/messages", headers=owner.receive())
    count: int = answer.json()["unread"]
    return count


async def test_a_delivery_is_pushed_and_acked(
    server: RunningServer, http: httpx2.AsyncClient
) -> None:
    """What Alice delivers reaches Bob's open socket, and is gone once he acks it."""
    alice, bob = Person(server.url), Person(server.url)
    async with listening(bob, server.url) as stream:
        assert stream.welcome["mailbox"] == bob.did
        assert stream.welcome["server"] == server.url
        assert stream.welcome["continuity"] == "replay"
        caught_up = await stream.next("caught_up")
        assert caught_up["tail"] == stream.welcome["tail"] == caught_up["cursor"]
        id = await deliver(http, server.url, alice, bob, "ciphertext")
        frame = await stream.next("messages")
        (message,) = frame["messages"]
        assert frame["cursor"] == id
        assert message.pop("expires") - message.pop("at") == server.settings.max_ttl
        assert message == {"id": id, "from": {"did": alice.did}, "payload": "ciphertext"}
        await stream.send("ack", ids=[id], ref="r")
        assert await stream.next("acked") == {"type": "acked", "ref": "r", "removed": 1}
    assert await unread(http, server, bob) == 0


async def test_a_client_catches_up_from_its_cursor(
    server: RunningServer, http: httpx2.AsyncClient
) -> None:
    """Whoever comes back with a cursor gets what came after it, in order, exactly."""
    alice, bob = Person(server.url), Person(server.url)
    await open_mailbox(http, server.url, bob)
    batch = [{"to": bob.did, "payload": str(n)} for n in range(350)]
    answer = await http.post(
        f"{server.url}/v1/deliveries",
        headers=alice.deliver(bob.did),
        json={"deliveries": batch},
    )
    ids = [result["id"] for result in answer.json()["results"]]
    async with listening(bob, server.url, after=ids[99], window=120) as stream:
        assert stream.welcome["continuity"] == "exact"
        assert stream.welcome["unread"] == 350
        assert await stream.payloads(250) == [str(n) for n in range(100, 350)]
        assert (await stream.next("caught_up"))["cursor"] == ids[-1]
    async with listening(bob, server.url, after=ids[-1]) as stream:
        caught_up = await stream.next("caught_up", "messages")
        assert caught_up["type"] == "caught_up"
        assert caught_up["unread"] == 350


async def test_an_ack_on_one_device_clears_the_others(
    server: RunningServer, http: httpx2.AsyncClient
) -> None:
    """Live sessions are told in the ack's form, an absent one when it comes back."""
    alice, bob = Person(server.url), Person(server.url)
    async with (
        listening(bob, server.url, device="phone") as phone,
        listening(bob, server.url, device="desk") as desk,
    ):
        ids = [await deliver(http, server.url, alice, bob, str(n)) for n in range(3)]
        await desk.payloads(3)
        await phone.payloads(3)
        await desk.send("ack", ids=[ids[1]])
        assert await phone.next("read") == {"type": "read", "ids": [ids[1]]}
        await desk.send("ack", upto=ids[2])
        assert await phone.next("read") == {"type": "read", "upto": ids[2]}
    async with listening(bob, server.url, holding=ids, after=ids[2]) as tablet:
        assert await tablet.next("read") == {"type": "read", "ids": ids}


async def test_a_newer_session_of_a_device_displaces_the_older(
    server: RunningServer,
) -> None:
    """The older one is told not to come back, and closed with 4409."""
    bob = Person(server.url)
    async with listening(bob, server.url, device="phone") as old:
        await old.next("caught_up")
        async with listening(bob, server.url, device="phone"):
            closing = await old.next("closing")
            assert closing["reconnect"] is False
            assert await old.closed() == 4409


async def test_a_mailbox_has_a_limited_number_of_sessions(store_url: str) -> None:
    """One session too many is refused with its code while the others are lively."""
    with serving(store_url, max_sessions=1) as server:
        bob = Person(server.url)
        async with listening(bob, server.url):
            code, error = await refused_hello(server, bob.token("receive"))
            assert refused_for(server, "too_many_sessions") == 1
    assert (code, error["code"]) == (4429, "too_many_sessions")


# --- deliveries over the stream -------------------------------------------------------


async def test_a_stream_delivers_too(server: RunningServer) -> None:
    """A token with both scopes delivers over its own session, with a ref each."""
    alice, bob = Person(server.url), Person(server.url)
    both = alice.token("receive deliver", to=[bob.did])
    async with listening(bob, server.url) as inbox, connected(server.url) as stream:
        await stream.send("hello", token=both)
        for ref, payload in enumerate(("one", "two")):
            await stream.send("deliver", to=bob.did, payload=payload, ref=ref)
        answers = [await stream.next("accepted") for _ in range(2)]
        assert [answer["ref"] for answer in answers] == [0, 1]
        assert answers[0]["mailbox"] == bob.did
        assert await inbox.payloads(2) == ["one", "two"]


async def test_a_delivery_over_the_stream_may_speak_for_another_sender(
    server: RunningServer,
) -> None:
    """`token` in the frame is the sender; without any deliver token it is refused."""
    alice, bob = Person(server.url), Person(server.url)
    token = alice.token("deliver", to=[bob.did])
    async with listening(bob, server.url) as stream:
        await stream.send("deliver", to=bob.did, payload="x", ref=1)
        assert (await stream.next("refused"))["error"]["code"] == "unauthorized"
        await stream.send("deliver", to=bob.did, payload="x", ref=2, token=token)
        both = [await stream.next("accepted", "messages") for _ in range(2)]
        accepted, pushed = sorted(both, key=lambda frame: str(frame["type"]))
        assert accepted["ref"] == 2
        assert pushed["messages"][0]["from"]["did"] == alice.did
        await stream.send("deliver", to=alice.did, payload="x", ref=3, token=token)
        assert (await stream.next("refused"))["error"]["code"] == "forbidden"
        await stream.send("deliver", to=bob.did, payload="x" * 4097, ref=4, token=token)
        assert (await stream.next("refused"))["error"]["code"] == "payload_too_large"


# --- tokens ---------------------------------------------------------------------------


async def test_a_session_ends_with_its_token(
    server: RunningServer,
) -> None:
    """The end is announced; without a renewal it comes, with 4401."""
    bob = Person(server.url)
    token = bob.token("receive", lifetime=2)
    async with connected(server.url) as stream:
        await stream.send("hello", token=token)
        assert (await stream.next("expiring"))["at"] > 0
        assert (await stream.next("error"))["code"] == "token_expired"
        assert await stream.closed() == 4401


async def test_a_renewed_session_lives_on(server: RunningServer) -> None:
    """A newer token of the same identity counts; a bad one is told and changes nothing."""
    bob, mallory = Person(server.url), Person(server.url)
    async with listening(bob, server.url) as stream:
        await stream.send("renew", token=bob.token("receive", lifetime=3600))
        assert (await stream.next("renewed"))["expires"] > 0
        await stream.send("renew", token="nonsense")
        assert (await stream.next("error"))["code"] == "unauthorized"
        await stream.send("ping", ref="still here")
        assert (await stream.next("pong"))["ref"] == "still here"
        await stream.send("renew", token=mallory.token("receive"))
        assert await stream.closed() == 4403


async def test_a_renewal_may_be_refused_before_the_welcome(server: RunningServer) -> None:
    """A client that renews at once, and badly, is let in by the token of its hello."""
    async with connected(server.url) as stream:
        await stream.send("hello", token=Person(server.url).token("receive"))
        await stream.send("renew", token="nonsense")
        assert (await stream.next("error"))["code"] == "unauthorized"
        assert (await stream.next("caught_up"))["unread"] == 0


async def test_the_token_may_come_with_the_upgrade(server: RunningServer) -> None:
    """A bearer token in the upgrade request stands in for the one in the hello."""
    bob = Person(server.url)
    async with connected(server.url, bearer(bob.token("receive"))) as stream:
        await stream.send("hello")
        assert (await stream.next("welcome"))["mailbox"] == bob.did


@pytest.mark.parametrize(
    ("claims", "scope", "code"),
    [
        ({"audience": "https://other.example"}, "receive", "unauthorized"),
        ({"now": 1_000_000_000.0}, "receive", "token_expired"),
        ({"lifetime": 100_000.0}, "receive", "unauthorized"),
        (
            {"to": ["did:btc-addr:12yhNanxrq1q5diWovJkfCXRMZvqoRVPo6"]},
            "deliver",
            "unauthorized",
        ),
        (
            {"name": "bob.id.blockstack", "app": "https://app.example"},
            "receive",
            "name_mismatch",
        ),
    ],
)
async def test_a_bad_token_opens_no_session(
    server: RunningServer, claims: dict[str, Any], scope: str, code: str
) -> None:
    """Wrong audience, time, lifetime, scope, or an unproven name: told and closed."""
    token = Person(server.url).token(scope, **claims)
    close, error = await refused_hello(server, token)
    assert error["code"] == code
    assert close == (4403 if code == "name_mismatch" else 4401)
    assert error["now"] > 0


async def test_an_unlisted_owner_gets_no_mailbox(store_url: str) -> None:
    """With `listed` mailboxes only the listed may come in for the first time."""
    with serving(store_url, mailboxes="listed", owners=[CAROL]) as server:
        code, error = await refused_hello(server, Person(server.url).token("receive"))
        assert refused_for(server, "forbidden") == 1
    assert (code, error["code"]) == (4403, "forbidden")


# --- bad input ------------------------------------------------------------------------


@pytest.mark.parametrize(
    "frame",
    [
        "not json",
        '"text"',
        "{}",
        '{"type":"unknown"}',
        '{"type":"ack","upto":7}',
        '{"type":"ack"}',
        '{"type":"ack","ids":["1-1"],"upto":"1-1"}',
        '{"type":"seen","upto":"1-01"}',
        '{"type":"seen","upto":"1"}',
        '{"type":"ping","ref":"' + "x" * 65 + '"}',
        '{"type":"ping","ref":"\\ud800"}',
        '{"type":"deliver","to":"x","payload":"y","ref":1,"extra":1}',
        '{"type":"ping","ref":' + "[" * 30_000 + "}",
        '{"type":"hello","token":"x"}',
        b"binary",
        "x" * (64 * 1024 + 1),
    ],
    ids=lambda frame: str(frame[:40]),
)
async def test_a_frame_that_breaks_the_protocol_ends_the_session(
    server: RunningServer, frame: str | bytes
) -> None:
    """`error` says what was wrong, then comes 4400."""
    bob = Person(server.url)
    async with connected(server.url) as stream:
        await stream.send("hello", token=bob.token("receive"))
        await stream.next("caught_up")
        await stream.send_raw(frame)
        assert (await stream.next("error"))["code"] == "bad_request"
        assert await stream.closed() == 4400


async def test_of_duplicate_members_the_last_counts(server: RunningServer) -> None:
    """As everywhere in JSON here."""
    async with listening(Person(server.url), server.url) as stream:
        await stream.send_raw('{"type":"ping","ref":1,"ref":2}')
        assert (await stream.next("pong"))["ref"] == 2


async def test_a_hello_that_never_comes_is_waited_for_only_so_long(
    server: RunningServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A client that says nothing is told and let go with 4408."""
    monkeypatch.setattr("pushd.protocol.session.HELLO_TIMEOUT", 0.5)
    async with connected(server.url) as stream:
        assert (await stream.next("closing"))["reason"] == "no hello"
        assert await stream.closed() == 4408


@pytest.mark.parametrize(
    ("origin", "status"),
    [("https://app.example", 101), (None, 101), ("https://evil.example", 403)],
)
async def test_only_listed_origins_may_connect(
    store_url: str, http: httpx2.AsyncClient, origin: str | None, status: int
) -> None:
    """Where an operator lists web origins, others are turned away at the upgrade."""
    with serving(store_url, allowed_origins=["https://app.example"]) as server:
        answer = await upgrade(http, server, {"Origin": origin} if origin else {})
        assert answer.status_code == status


@pytest.mark.parametrize(
    "headers",
    [{"Sec-WebSocket-Protocol": "mqtt, pushd.v1"}, {"Origin": "https://any.example"}, {}],
)
async def test_a_good_upgrade_is_granted(
    server: RunningServer, http: httpx2.AsyncClient, headers: dict[str, str]
) -> None:
    """The subprotocol is ours or none, any origin is welcome by default."""
    assert (await upgrade(http, server, headers)).status_code == 101


@pytest.mark.parametrize(
    ("headers", "path", "status", "code"),
    [
        ({"Sec-WebSocket-Protocol": "mqtt"}, "/v1/stream", 400, "bad_request"),
        ({"Sec-WebSocket-Key": "short"}, "/v1/stream", 400, "bad_request"),
        ({"Sec-WebSocket-Version": "8"}, "/v1/stream", 426, "bad_request"),
        ({}, "/v1/messages", 404, "not_found"),
    ],
)
async def test_an_upgrade_is_refused_with_a_problem_document(
    server: RunningServer,
    http: httpx2.AsyncClient,
    headers: dict[str, str],
    path: str,
    status: int,
    code: str,
) -> None:
    """As every request is that is refused over HTTP."""
    answer = await upgrade(http, server, headers, path)
    assert answer.status_code == status
    assert answer.headers["content-type"] == "application/problem+json"
    assert (answer.json()["code"], answer.json()["status"]) == (code, status)


async def test_a_reader_that_does_not_read_is_waited_for(
    store_url: str, http: httpx2.AsyncClient
) -> None:
    """10,000 messages while it reads nothing: it lags, memory is bounded, none is lost."""
    with serving(store_url) as server:
        alice, bob = Person(server.url), Person(server.url)
        await open_mailbox(http, server.url, bob)
        headers = alice.deliver(bob.did)
        async with listening(bob, server.url, window=256) as stream:
            await stream.next("caught_up")
            for start in range(0, 10_000, 500):
                batch = [
                    {"to": bob.did, "payload": f"{start + n:0400}"} for n in range(500)
                ]
                answer = await http.post(
                    f"{server.url}/v1/deliveries",
                    headers=headers,
                    json={"deliveries": batch},
                )
                assert answer.status_code == 200
            (session,) = server.parts["hub"]._listeners[bob.did]
            assert session.unsent <= 256 * 1024  # type: ignore[attr-defined] # a stream
            received = await stream.payloads(10_000)
            assert received == [f"{n:0400}" for n in range(10_000)]


# --- the server stops -----------------------------------------------------------------


async def test_a_server_that_stops_tells_and_spreads(store_url: str) -> None:
    """Each session hears `closing` with its own advice, and then 1012."""
    with serving(store_url) as server:
        async with AsyncExitStack() as stack:
            streams = []
            for _ in range(3):
                session = listening(Person(server.url), server.url)
                streams.append(await stack.enter_async_context(session))
            server.should_exit = True
            closings = [await stream.next("closing") for stream in streams]
            assert all(closing["reconnect"] for closing in closings)
            assert len({closing["retry_after"] for closing in closings}) == 3
            assert [await stream.closed() for stream in streams] == [1012] * 3


# --- helpers --------------------------------------------------------------------------


async def refused_hello(server: RunningServer, token: str) -> tuple[int | None, Any]:
    """Say hello; return the close code and the error frame before it."""
    async with connected(server.url) as stream:
        await stream.send("hello", token=token)
        error = await stream.next("error")
        return await stream.closed(), error


def refused_for(server: RunningServer, reason: str) -> float:
    """Return how many streams the metrics say were refused for a reason."""
    metrics = httpx2.get(f"{server.url}/metrics").text
    (count,) = re.findall(rf'connects_refused_total\{{reason="{reason}"\}} (.*)', metrics)
    return float(count)


async def upgrade(
    http: httpx2.AsyncClient,
    server: RunningServer,
    headers: dict[str, str],
    path: str = "/v1/stream",
) -> httpx2.Response:
    """Ask for a websocket; return the answer, all of it unless that is yes."""
    handshake = {
        "Connection": "Upgrade",
        "Upgrade": "websocket",
        "Sec-WebSocket-Key": "dGhlIHNhbXBsZSBub25jZQ==",
        "Sec-WebSocket-Version": "13",
    }
    request = http.stream("GET", f"{server.url}{path}", headers=handshake | headers)
    async with request as answer:
        if answer.status_code != 101:
            await answer.aread()
        return answer

"""`POST /v1/deliveries` over a real socket: accepting, refusing, keys, digests, batches."""

import json
from typing import Any

import httpx2
import pytest

from pushd.identity.keys import Algorithm, PrivateKey
from pushd.identity.tokens import digest_of
from tests.harness import Person, RunningServer, bearer, exchange

NOBODY = PrivateKey.generate().did
MIB = 1024 * 1024


class Post:
    """Alice, who delivers to Bob, and what is in his mailbox."""

    def __init__(self, http: httpx2.AsyncClient, server: RunningServer) -> None:
        self.http = http
        self.alice = Person(server.url)
        self.bob = Person(server.url)

    async def open(self) -> None:
        """Let Bob come in for the first time."""
        await self.unread()

    async def deliver(
        self, payload: Any, headers: dict[str, str] | None = None, **members: Any
    ) -> httpx2.Response:
        """Deliver one payload."""
        delivery = {"to": self.bob.did, "payload": payload, **members}
        return await self.send(json.dumps(delivery).encode(), headers)

    async def send(
        self, body: bytes, headers: dict[str, str] | None = None
    ) -> httpx2.Response:
        """Post this body, with a good token if no other headers are given."""
        if headers is None:
            headers = self.alice.deliver(self.bob.did)
        return await self.http.post("/v1/deliveries", content=body, headers=headers)

    async def unread(self) -> list[dict[str, Any]]:
        """Return what Bob has."""
        answer = await self.http.get("/v1/messages", headers=self.bob.receive())
        assert answer.status_code == 200, answer.text
        messages: list[dict[str, Any]] = answer.json()["messages"]
        return messages

    async def payloads(self) -> list[str]:
        """Return the payloads Bob has."""
        return [message["payload"] for message in await self.unread()]

    async def refused(
        self, answer: httpx2.Response, status: int, code: str, *, said: str = ""
    ) -> None:
        """Check how a request was refused, and that nothing was stored."""
        problem = answer.json()
        assert (answer.status_code, problem["code"]) == (status, code), problem
        assert answer.headers["content-type"] == "application/problem+json"
        assert answer.headers["access-control-allow-origin"] == "*"
        assert said in problem["detail"]
        assert await self.unread() == []


@pytest.fixture
async def post(http: httpx2.AsyncClient, server: RunningServer) -> Post:
    """Return an Alice and a Bob who has a mailbox."""
    post = Post(http, server)
    await post.open()
    return post


# --- accepting -----------------------------------------------------------------------


async def test_a_delivery_is_accepted_and_kept(post: Post) -> None:
    """202 tells the id and the mailbox; the message says who sent it, by proof."""
    answer = await post.deliver("hällo \U0001f600 \u0000", ttl=60)
    accepted = answer.json()
    (message,) = await post.unread()

    assert answer.status_code == 202
    assert accepted == {
        "id": message["id"],
        "mailbox": post.bob.did,
        "duplicate": False,
    }
    assert message["from"] == {"did": post.alice.did}
    assert message["payload"] == "hällo \U0001f600 \u0000"
    assert message["expires"] - message["at"] == 60
    assert set(message) == {"id", "from", "payload", "at", "expires"}


@pytest.mark.parametrize("algorithm", list(Algorithm))
async def test_every_kind_of_key_may_send_and_receive(
    http: httpx2.AsyncClient, server: RunningServer, algorithm: Algorithm
) -> None:
    """The DID names the mailbox, whatever the key is."""
    post = Post(http, server)
    post.alice = Person(server.url, algorithm)
    post.bob = Person(server.url, algorithm)
    await post.open()

    assert (await post.deliver("hi")).status_code == 202
    assert [m["from"]["did"] for m in await post.unread()] == [post.alice.did]


async def test_one_token_serves_many_deliveries_to_many(post: Post) -> None:
    """That is what makes bulk sending cheap."""
    headers = post.alice.deliver(post.bob.did, NOBODY)
    for payload in ("1", "2", "3"):
        assert (await post.deliver(payload, headers)).status_code == 202
    assert await post.payloads() == ["1", "2", "3"]


async def test_of_duplicate_members_the_last_counts(post: Post) -> None:
    """As in every browser."""
    to = post.bob.did
    body = f'{{"to":"{NOBODY}","payload":"1","to":"{to}","payload":"2"}}'
    assert (await post.send(body.encode())).status_code == 202
    assert await post.payloads() == ["2"]


async def test_a_chunked_body_is_read(post: Post) -> None:
    """A body need not say its length beforehand."""

    async def chunks() -> Any:
        yield f'{{"to":"{post.bob.did}",'.encode()
        yield b'"payload":"in pieces"}'

    headers = post.alice.deliver(post.bob.did)
    answer = await post.http.post("/v1/deliveries", content=chunks(), headers=headers)
    assert answer.status_code == 202
    assert await post.payloads() == ["in pieces"]


async def test_the_largest_payload_fits(post: Post) -> None:
    """Of 4096 bytes, whatever JSON makes of them on the way."""
    assert (await post.deliver("\u0001" * 4096)).status_code == 202
    assert await post.payloads() == ["\u0001" * 4096]


# --- keys ----------------------------------------------------------------------------


async def test_a_key_makes_a_retry_safe(post: Post) -> None:
    """Same key, same payload: the first id again, stored once, also after an ack."""
    first = (await post.deliver("hi", key="k")).json()
    again = await post.deliver("hi", key="k")
    assert again.status_code == 202
    assert again.json() == {**first, "duplicate": True}
    assert await post.payloads() == ["hi"]

    acks = {"ids": [first["id"]]}
    await post.http.post("/v1/acks", json=acks, headers=post.bob.receive())
    assert (await post.deliver("hi", key="k")).json() == {**first, "duplicate": True}
    assert await post.payloads() == []


async def test_a_key_belongs_to_its_sender(post: Post, server: RunningServer) -> None:
    """Two senders may choose the same key."""
    await post.deliver("one", key="k")
    carol = Person(server.url)
    answer = await post.deliver("two", carol.deliver(post.bob.did), key="k")
    assert answer.json()["duplicate"] is False
    assert await post.payloads() == ["one", "two"]


async def test_a_key_for_another_payload_conflicts(post: Post) -> None:
    """409, and the first stays as it is."""
    await post.deliver("one", key="k")
    answer = await post.deliver("two", key="k")
    assert (answer.status_code, answer.json()["code"]) == (409, "key_conflict")
    assert await post.payloads() == ["one"]


async def test_without_a_key_the_same_is_stored_twice(post: Post) -> None:
    """Nobody said it was the same."""
    await post.deliver("hi")
    await post.deliver("hi")
    assert await post.payloads() == ["hi", "hi"]


# --- digests -------------------------------------------------------------------------


async def test_a_token_with_a_digest_stores_its_body_once(post: Post) -> None:
    """The same body again gets the same answer."""
    body = json.dumps({"to": post.bob.did, "payload": "hi"}).encode()
    headers = post.alice.deliver(post.bob.did, digest=digest_of(body))
    first = (await post.send(body, headers)).json()
    again = await post.send(body, headers)

    assert again.json() == {**first, "duplicate": True}
    assert await post.payloads() == ["hi"]


async def test_a_token_with_a_digest_is_for_no_other_body(post: Post) -> None:
    """Not even for one that means the same."""
    body = json.dumps({"to": post.bob.did, "payload": "hi"}).encode()
    headers = post.alice.deliver(post.bob.did, digest=digest_of(body))
    await post.refused(await post.send(body + b" ", headers), 401, "unauthorized")


async def test_a_batch_with_a_digest_is_stored_once_item_by_item(post: Post) -> None:
    """Equal items of one body are not taken for each other."""
    item = {"to": post.bob.did, "payload": "hi"}
    body = json.dumps({"deliveries": [item, item]}).encode()
    headers = post.alice.deliver(post.bob.did, digest=digest_of(body))
    first = (await post.send(body, headers)).json()["results"]
    again = (await post.send(body, headers)).json()["results"]

    assert [result["duplicate"] for result in first] == [False, False]
    assert again == [{**result, "duplicate": True} for result in first]
    assert await post.payloads() == ["hi", "hi"]


# --- batches -------------------------------------------------------------------------


async def test_a_bad_item_never_spoils_the_others(post: Post) -> None:
    """Every item has its own result, in order."""
    good = {"to": post.bob.did, "payload": "good"}
    items = [
        good,
        {**good, "payload": 5},
        {**good, "payload": "x" * 4097},
        {**good, "color": "red"},
        {"to": NOBODY, "payload": "x"},
        {"to": "did:btc-addr:1", "payload": "x"},
        "nothing",
        {**good, "payload": "k1", "key": "k"},
        {**good, "payload": "k2", "key": "k"},
        good,
    ]
    headers = post.alice.deliver(post.bob.did, "did:btc-addr:1")
    answer = await post.send(json.dumps({"deliveries": items}).encode(), headers)
    results = answer.json()["results"]

    assert answer.status_code == 200
    assert [result.get("error", {}).get("code") for result in results] == [
        None,
        "bad_request",
        "payload_too_large",
        "bad_request",
        "forbidden",
        "bad_request",
        "bad_request",
        None,
        "key_conflict",
        None,
    ]
    assert await post.payloads() == ["good", "k1", "good"]
    ids = [result["id"] for result in results if "id" in result]
    assert ids == [message["id"] for message in await post.unread()]


async def test_a_batch_reaches_many_mailboxes(post: Post, server: RunningServer) -> None:
    """One request, several recipients; who has no mailbox is an error of its own."""
    carol = Person(server.url)
    await post.http.get("/v1/messages", headers=carol.receive())
    dids = [post.bob.did, carol.did, NOBODY]
    body = {"deliveries": [{"to": did, "payload": did} for did in dids]}
    answer = await post.send(json.dumps(body).encode(), post.alice.deliver(*dids))
    results = answer.json()["results"]

    assert [result.get("mailbox") for result in results] == [post.bob.did, carol.did, None]
    assert results[2]["error"]["code"] == "unknown_mailbox"
    assert await post.payloads() == [post.bob.did]


async def test_a_thousand_items_fit_and_one_more_does_not(post: Post) -> None:
    """Nor does a batch of none."""
    item = {"to": post.bob.did, "payload": "x"}
    for n, status in ((0, 400), (1001, 400)):
        body = json.dumps({"deliveries": [item] * n}).encode()
        answer = await post.send(body)
        assert answer.status_code == status
    assert await post.unread() == []

    answer = await post.send(json.dumps({"deliveries": [item] * 1000}).encode())
    assert len(answer.json()["results"]) == 1000


# --- refusing ------------------------------------------------------------------------


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"nonsense",
        b"[]",
        b"null",
        b'"text"',
        b"{}",
        b'{"to":"%s"}',
        b'{"payload":"x"}',
        b'{"to":"%s","payload":null}',
        b'{"to":"%s","payload":5}',
        b'{"to":["%s"],"payload":"x"}',
        b'{"to":"%s","payload":""}',
        b'{"to":"%s","payload":"x","ttl":"60"}',
        b'{"to":"%s","payload":"x","ttl":1.5}',
        b'{"to":"%s","payload":"x","ttl":60.0}',
        b'{"to":"%s","payload":"x","ttl":6e1}',
        b'{"to":"%s","payload":"x","ttl":0}',
        b'{"to":"%s","payload":"x","ttl":2592001}',
        b'{"to":"%s","payload":"x","ttl":1e400}',
        b'{"to":"%s","payload":"x","key":5}',
        b'{"to":"%s","payload":"x","key":""}',
        b'{"to":"%s","payload":"x","colour":"red"}',
        b'{"to":"%s","payload":"x"} trailing',
        b'{"to":"%s","payload":"x",}',
        b'{"to":"%s","payload":"\xff\xfe"}',
        b'{"to":"%s","payload":"\xed\xa0\x80"}',
        b'{"to":"%s","payload":"\\ud800"}',
        b'{"to":"%s","payload":"\\udc00\\ud800"}',
        b'\xef\xbb\xbf{"to":"%s","payload":"x"}',
        b'{"to":"%s","payload":NaN}',
        b'{"to":"%s","payload":"a\nb"}',
        b'{"deliveries":{}}',
        b'{"deliveries":null}',
        b'{"deliveries":[{"to":"%s","payload":"x"}],"to":"%s"}',
        b'{"to":"%s","payload":' + b"[" * 100_000,
        b'{"x":' + b"[" * 100_000 + b"]" * 100_000 + b"}",
        b'{"deliveries":[' + b"[" * 100_000 + b"]" * 100_000 + b"]}",
        b"[" * 1_000_000,
        b'{"a":' * 100_000,
    ],
    ids=lambda body: repr(body[:48]),
)
async def test_what_is_no_delivery_is_refused(post: Post, body: bytes) -> None:
    """400, whatever is wrong with it, and nothing is stored."""
    body = body.replace(b"%s", post.bob.did.encode())
    await post.refused(await post.send(body), 400, "bad_request")


@pytest.mark.parametrize(
    ("members", "said"),
    [
        ({"payload": 5}, "$.payload"),
        ({"ttl": "x"}, "$.ttl"),
        ({"ttl": 0}, "`ttl`"),
        ({"key": "k" * 129}, "`key`"),
        ({"colour": "red"}, "colour"),
    ],
)
async def test_the_detail_names_the_member(
    post: Post, members: dict[str, Any], said: str
) -> None:
    """A developer sees at once what to mend."""
    answer = await post.deliver(**{"payload": "x", **members})
    await post.refused(answer, 400, "bad_request", said=said)


async def test_the_detail_is_short_whatever_was_sent(post: Post) -> None:
    """Nobody gets back, or has us write, as much as they sent."""
    body = {"to": post.bob.did, "payload": "x", "long" * 100_000: 1}
    answer = await post.send(json.dumps(body).encode())
    await post.refused(answer, 400, "bad_request", said="long")
    assert len(answer.content) < 1000


async def test_a_payload_too_large_is_refused(post: Post) -> None:
    """413 beyond 4096 bytes, of which some characters have more than one."""
    await post.refused(await post.deliver("x" * 4097), 413, "payload_too_large")
    await post.refused(await post.deliver("é" * 2049), 413, "payload_too_large")


@pytest.mark.parametrize("expect", [b"", b"Expect: 100-continue\r\n"])
async def test_a_body_too_large_is_refused_unread(
    post: Post, server: RunningServer, expect: bytes
) -> None:
    """One that says its length is answered before a byte of it was sent."""
    token = post.alice.token("deliver", post.bob.did).encode()
    head = (
        b"POST /v1/deliveries HTTP/1.1\r\nHost: x\r\nConnection: close\r\n"
        b"Authorization: Bearer %b\r\nContent-Length: %d\r\n%b\r\n"
    )
    answer = exchange(server.url, head % (token, 8 * MIB + 1, expect))
    assert answer.startswith(b"HTTP/1.1 413 ")
    assert b'"code":"payload_too_large"' in answer
    assert await post.unread() == []


async def test_a_chunked_body_too_large_is_refused(post: Post) -> None:
    """One that does not is refused once it is too large."""

    async def chunks() -> Any:
        for _ in range(9):
            yield b" " * MIB

    headers = post.alice.deliver(post.bob.did)
    answer = await post.http.post("/v1/deliveries", content=chunks(), headers=headers)
    await post.refused(answer, 413, "payload_too_large")


async def test_a_recipient_outside_the_token_is_forbidden(post: Post) -> None:
    """Even one who has a mailbox."""
    answer = await post.deliver("x", post.alice.deliver(NOBODY))
    await post.refused(answer, 403, "forbidden")


async def test_nobody_is_an_unknown_mailbox(post: Post) -> None:
    """A DID without a mailbox, and a name, for which there is no resolver."""
    for to in (NOBODY, "bob.id.blockstack"):
        claims = {} if to.startswith("did:") else {"app": "https://app.example"}
        headers = post.alice.deliver(to, **claims)
        answer = await post.deliver("x", headers, to=to)
        await post.refused(answer, 404, "unknown_mailbox")


async def test_a_claimed_name_is_refused(post: Post) -> None:
    """Nothing here could prove it."""
    claims = {"name": "alice.id.blockstack", "app": "https://app.example"}
    headers = post.alice.deliver(post.bob.did, **claims)
    await post.refused(await post.deliver("x", headers), 403, "name_mismatch")


@pytest.mark.parametrize(
    "authorization",
    [
        b"",
        b"Authorization:",
        b"Authorization: Bearer",
        b"Authorization: Bearer ",
        b"Authorization: Bearer nonsense",
        b"Authorization: Bearer a.b.c",
        b"Authorization: Basic YTpi",
        b"Authorization: Bearer \xff.\xff.\xff",
        b"Authorization: Bearer " + b"x" * 9000,
        b"Cookie: token=%s",
    ],
    ids=lambda line: line[:32].decode("latin-1"),
)
async def test_a_missing_or_malformed_token_is_unauthorized(
    post: Post, server: RunningServer, authorization: bytes
) -> None:
    """401 says how to come in, and what time it is here."""
    token = post.alice.token("deliver", post.bob.did).encode()
    lines = [
        b"POST /v1/deliveries HTTP/1.1",
        b"Host: x",
        b"Connection: close",
        b"Content-Length: 2",
        authorization.replace(b"%s", token) or b"X-Nothing: x",
    ]
    answer = exchange(server.url, b"\r\n".join(lines) + b"\r\n\r\n{}")
    head, _, body = answer.partition(b"\r\n\r\n")

    assert head.startswith(b"HTTP/1.1 401 ")
    assert b"\r\nwww-authenticate: Bearer\r\n" in head + b"\r\n"
    assert json.loads(body)["code"] == "unauthorized"
    assert isinstance(json.loads(body)["now"], int)


@pytest.mark.parametrize(
    ("claims", "code"),
    [
        ({"audience": "http://other.example"}, "unauthorized"),
        ({"lifetime": 3601}, "unauthorized"),
        ({"now": 1_000_000.0}, "token_expired"),
        ({"now": 4_000_000_000.0}, "unauthorized"),
    ],
)
async def test_a_token_that_does_not_count_here_is_refused(
    post: Post, claims: dict[str, Any], code: str
) -> None:
    """For another server, too long, too old, or of the future."""
    headers = post.alice.deliver(post.bob.did, **claims)
    await post.refused(await post.deliver("x", headers), 401, code)


async def test_a_token_of_another_scope_or_key_is_refused(
    post: Post, server: RunningServer
) -> None:
    """Reading is not delivering, and a name is not taken for granted."""
    await post.refused(await post.deliver("x", post.alice.receive()), 401, "unauthorized")
    mallory = Person(server.url)
    forged = bearer(mallory.token("deliver", post.bob.did, issuer=post.alice.did))
    await post.refused(await post.deliver("x", forged), 401, "unauthorized")


async def test_a_token_in_the_url_does_not_count(post: Post) -> None:
    """It would be in every log on the way."""
    token = post.alice.token("deliver", post.bob.did)
    for name in ("access_token", "token", "authorization"):
        answer = await post.http.post(
            "/v1/deliveries",
            params={name: token},
            json={"to": post.bob.did, "payload": "x"},
        )
        await post.refused(answer, 401, "unauthorized")

"""A delivery is answered alike, whether it comes the short way or the long one."""

import asyncio
import json
import socket
from base64 import urlsafe_b64encode
from collections.abc import Iterator
from hashlib import sha256
from typing import Any
from urllib.parse import urlsplit

import pytest

from pushd.mailbox import redis
from pushd.web import express
from pushd.web.cors import Headers
from pushd.web.express import Express, _PlainHeads
from tests.harness import Person, RunningServer, exchange, serving


class Ways:
    """Bob, who has a mailbox, Alice, who writes to him, and both ways to do it."""

    def __init__(self, server: RunningServer, monkeypatch: pytest.MonkeyPatch) -> None:
        self.server = server
        self.alice, self.bob = Person(server.url), Person(server.url)
        self.taken = 0
        run = Express.run

        def counted(posted: Express) -> None:
            self.taken += 1
            run(posted)

        monkeypatch.setattr(Express, "run", counted)
        token = self.bob.token("receive")
        exchange(server.url, self.request("GET", "/v1/messages", token, b""))

    def request(
        self,
        method: str,
        path: str,
        token: str,
        body: bytes,
        *more: str,
        length: bool = True,
    ) -> bytes:
        """Write a request; without a length in chunks."""
        head = [f"{method} {path} HTTP/1.1", "Host: x", "Connection: close", *more]
        if token:
            head.append(f"Authorization: Bearer {token}")
        if length:
            head.append(f"Content-Length: {len(body)}")
        else:
            head.append("Transfer-Encoding: chunked")
            body = b"%x\r\n%b\r\n0\r\n\r\n" % (len(body), body) if body else b"0\r\n\r\n"
        return "\r\n".join((*head, "\r\n")).encode() + body

    def post(self, token: str, body: bytes, *more: str, length: bool = True) -> bytes:
        """Post deliveries, and return the whole answer."""
        request = self.request("POST", "/v1/deliveries", token, body, *more, length=length)
        return exchange(self.server.url, request)


@pytest.fixture
def ways(server: RunningServer, monkeypatch: pytest.MonkeyPatch) -> Ways:
    """Return both ways."""
    return Ways(server, monkeypatch)


def parsed(answer: bytes) -> tuple[bytes, set[bytes], Any]:
    """Return the status line, the headers but the date, and the body of an answer."""
    head, _, body = answer.partition(b"\r\n\r\n")
    status, *headers = head.split(b"\r\n")
    told = {header for header in headers if not header.startswith(b"date:")}
    return status, told, json.loads(body)


def without_ids(body: Any) -> Any:
    """Leave out what differs from delivery to delivery."""
    if isinstance(body, dict):
        return {k: without_ids(v) for k, v in body.items() if k not in ("id", "now")}
    return [without_ids(item) for item in body] if isinstance(body, list) else body


def body_of(ways: Ways, **members: Any) -> bytes:
    """Return the body of a delivery to Bob."""
    return json.dumps({"to": ways.bob.did, "payload": "hi", **members}).encode()


def cases(ways: Ways) -> Iterator[tuple[str, bytes]]:
    """Yield tokens and bodies of every kind, good and bad."""
    alice, bob = ways.alice, ways.bob
    good = alice.token("deliver", bob.did)
    yield good, body_of(ways)
    yield good, body_of(ways, ttl=60)
    yield good, json.dumps({"deliveries": [json.loads(body_of(ways))] * 3}).encode()
    mixed = [json.loads(body_of(ways)), {"to": 1}, {"to": "x", "payload": ""}]
    yield good, json.dumps({"deliveries": mixed}).encode()
    yield good, b""
    yield good, b"{"
    yield good, b'{"deliveries": []}'
    yield good, body_of(ways, to=alice.did)
    yield good, body_of(ways, payload="x" * 5000)
    yield good, body_of(ways, ttl=0)
    yield "", body_of(ways)
    yield "nonsense", body_of(ways)
    yield alice.token("receive"), body_of(ways)
    yield alice.token("deliver", bob.did, lifetime=10, now=1), body_of(ways)
    unknown = alice.did
    yield alice.token("deliver", unknown), body_of(ways, to=unknown)
    named = {"name": "alice.id.blockstack", "app": "https://app.example"}
    yield alice.token("deliver", bob.did, **named), body_of(ways)
    other = f"sha-256:{urlsafe_b64encode(sha256(b'x').digest()).rstrip(b'=').decode()}"
    yield alice.token("deliver", bob.did, digest=other), body_of(ways)


def test_both_ways_answer_alike(ways: Ways) -> None:
    """Status, headers and body, for whatever is posted."""
    posted = list(cases(ways))
    for token, body in posted:
        short = ways.post(token, body)
        long = ways.post(token, body, length=False)
        (status, headers, said), expected = parsed(short), parsed(long)
        sized = {h for h in headers | expected[1] if h.startswith(b"content-length")}
        assert status == expected[0]
        assert headers - sized == expected[1] - sized
        assert without_ids(said) == without_ids(expected[2])
    assert ways.taken == len(posted)


def test_what_is_not_plain_goes_the_long_way(ways: Ways) -> None:
    """It is served all the same."""
    token = ways.alice.token("deliver", ways.bob.did)
    large = body_of(ways, note="x" * express.MAX_BODY)
    for answer in (
        ways.post(token, body_of(ways), length=False),
        ways.post(token, body_of(ways), "Expect: 100-continue"),
        exchange(
            ways.server.url,
            ways.request("POST", "/v1/deliveries?x=1", token, body_of(ways)),
        ),
    ):
        assert b"HTTP/1.1 202 Accepted\r\n" in answer
    assert b"HTTP/1.1 400 Bad Request\r\n" in ways.post(token, large)
    assert ways.taken == 0


def test_listed_origins_take_the_long_way(
    store_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """There an answer depends on who asks."""
    with serving(store_url, allowed_origins=("https://app.example",)) as server:
        ways = Ways(server, monkeypatch)
        token = ways.alice.token("deliver", ways.bob.did)
        answer = ways.post(token, body_of(ways), "Origin: https://app.example")
        assert b"access-control-allow-origin: https://app.example\r\n" in answer
        assert ways.taken == 0


def test_a_pipeline_is_answered_in_order(ways: Ways) -> None:
    """Requests that come while one is under way wait for it, whatever they are."""
    token = ways.alice.token("deliver", ways.bob.did)
    requests = []
    for n in range(50):
        if n % 7 == 3:
            request = ways.request("GET", f"/nothing/{n}", token, b"")
        else:
            body = body_of(ways, key=f"{n}")
            request = ways.request("POST", "/v1/deliveries", token, body)
        requests.append(request.replace(b"Connection: close\r\n", b""))
    last = ways.request("GET", "/v1/messages", ways.bob.token("receive"), b"")
    answers = exchange(ways.server.url, b"".join((*requests, last)))
    statuses = [int(part[:3]) for part in answers.split(b"HTTP/1.1 ")[1:]]

    assert statuses == [404 if n % 7 == 3 else 202 for n in range(50)] + [200]
    messages = json.loads(answers.rpartition(b"\r\n\r\n")[2])["messages"]
    sequence = [int(message["id"].partition("-")[2]) for message in messages]
    assert sequence == list(range(1, len(messages) + 1))


async def test_a_body_may_come_in_pieces(ways: Ways) -> None:
    """And the peer may leave in the middle of one, or before it is answered."""
    token = ways.alice.token("deliver", ways.bob.did)
    parts = urlsplit(ways.server.url)
    request = ways.request("POST", "/v1/deliveries", token, body_of(ways))
    for stop in (len(request) // 2, len(request) - 1, len(request)):
        reader, writer = await asyncio.open_connection(parts.hostname, parts.port)
        for at in range(0, stop, 97):
            writer.write(request[at : min(at + 97, stop)])
            await writer.drain()
            await asyncio.sleep(0)
        if stop == len(request):
            assert (await reader.readline()) == b"HTTP/1.1 202 Accepted\r\n"
        writer.close()
        await writer.wait_closed()
    assert b"202 Accepted" in ways.post(token, body_of(ways))
    assert ways.taken == 2


def test_a_head_is_no_older_than_the_time_in_it() -> None:
    """What is written once for many answers is written anew with uvicorn's headers."""
    heads = _PlainHeads()
    early: Headers = [(b"date", b"Sat, 28 Nov 2026 15:00:00 GMT")]
    late: Headers = [(b"date", b"Sat, 28 Nov 2026 15:00:01 GMT")]
    assert b"15:00:00" in heads.of(202, early)
    assert heads.of(202, early) is heads.of(202, early)
    assert b"15:00:01" in heads.of(202, late)


@pytest.mark.parametrize(
    ("where", "name"),
    [(express, "accept"), (redis, "result_of")],
    ids=["before the store", "on the store's answer"],
)
def test_a_bug_on_the_short_way_is_told_as_one(
    ways: Ways, monkeypatch: pytest.MonkeyPatch, where: object, name: str
) -> None:
    """By its incident number, like everywhere; the connection is not left hanging."""

    def broken(*_: object) -> None:
        raise RuntimeError("secret")

    monkeypatch.setattr(where, name, broken)
    answer = ways.post(ways.alice.token("deliver", ways.bob.did), body_of(ways))
    _, _, said = parsed(answer)
    assert answer.startswith(b"HTTP/1.1 500 ")
    assert said["code"] == "internal"
    assert said["incident"] in said["detail"]
    assert b"secret" not in answer


def test_an_upgrade_behind_a_delivery_is_answered_in_its_turn(ways: Ways) -> None:
    """As if it had not asked: else the answer of the delivery would stand among frames."""
    token = ways.alice.token("deliver", ways.bob.did)
    body = body_of(ways)
    post = ways.request("POST", "/v1/deliveries", token, body)
    upgrade = (
        b"GET /v1/stream HTTP/1.1\r\nHost: x\r\nConnection: upgrade\r\n"
        b"Upgrade: websocket\r\nSec-WebSocket-Version: 13\r\n"
        b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
    )
    parts = urlsplit(ways.server.url)
    with socket.create_connection((parts.hostname, parts.port), timeout=20) as peer:
        peer.sendall(post.replace(b"Connection: close\r\n", b"") + upgrade)
        peer.shutdown(socket.SHUT_WR)
        answers = b"".join(iter(lambda: peer.recv(65536), b""))
    statuses = [int(part[:3]) for part in answers.split(b"HTTP/1.1 ")[1:]]
    assert statuses == [202, 426]


H2C = ("Connection: Upgrade", "Upgrade: h2c")
"""What clients of HTTP/2 say with their first request."""


def test_who_asks_for_another_protocol_is_answered_as_if_not(ways: Ways) -> None:
    """The body is not lost, nor what comes behind it."""
    token = ways.alice.token("deliver", ways.bob.did)
    first = ways.request("POST", "/v1/deliveries", token, body_of(ways), *H2C)
    second = ways.request("GET", "/nothing", token, b"", *H2C)
    requests = [one.replace(b"Connection: close\r\n", b"") for one in (first, second)]
    last = ways.request("POST", "/v1/deliveries", token, body_of(ways), *H2C)
    answers = exchange(ways.server.url, b"".join((*requests, last)))
    statuses = [int(part[:3]) for part in answers.split(b"HTTP/1.1 ")[1:]]
    assert statuses == [202, 404, 202]


async def test_the_body_of_who_asks_for_another_protocol_is_no_request(
    ways: Ways,
) -> None:
    """Else a body could be a request that whoever stands in between never saw."""
    body, last = (ways.request("GET", path, "", b"") for path in ("/inside", "/last"))
    body = body.replace(b"Connection: close\r\n", b"")
    token = ways.alice.token("deliver", ways.bob.did)
    more = (*H2C, "Expect: 100-continue")
    asked = ways.request("POST", "/v1/deliveries", token, body, *more)
    parts = urlsplit(ways.server.url)
    reader, writer = await asyncio.open_connection(parts.hostname, parts.port)
    writer.write(asked.replace(b"Connection: close\r\n", b"").removesuffix(body))
    assert await reader.readuntil(b"\r\n\r\n") == b"HTTP/1.1 100 Continue\r\n\r\n"
    writer.write(body + last)
    answers = await reader.read()
    writer.close()
    await writer.wait_closed()
    statuses = [int(part[:3]) for part in answers.split(b"HTTP/1.1 ")[1:]]
    assert statuses == [400, 404]


def test_what_follows_a_body_is_no_header(ways: Ways) -> None:
    """A token behind the last chunk neither lets anybody in nor keeps anybody out."""
    good, bad = ways.alice.token("deliver", ways.bob.did), "no token"
    for head, behind, status in (("", good, 401), (good, bad, 202)):
        request = ways.request("POST", "/v1/deliveries", head, body_of(ways), length=False)
        field = f"Authorization: Bearer {behind}\r\n\r\n".encode()
        answer = exchange(ways.server.url, request.removesuffix(b"\r\n") + field)
        assert answer.startswith(b"HTTP/1.1 %d " % status)

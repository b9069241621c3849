"""A sender against a server that does what the test says, over real HTTP."""

import asyncio
import json
import random
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from typing import Any, NamedTuple

import httpx2
import pytest

from pushd.client import Accepted, Delivery, PrivateKey, Sender, Unreachable
from pushd.client.patience import Patience
from pushd.errors import (
    Forbidden,
    KeyConflict,
    MailboxFull,
    Overloaded,
    PushdError,
    RateLimited,
    Unauthorized,
)
from pushd.identity.tokens import digest_of, verify
from pushd.protocol.messages import DIGEST_ONLY, encode

KEY = PrivateKey.generate()
BOB = PrivateKey.generate().did
ACCEPTED = {"id": "1-1", "mailbox": BOB, "duplicate": False}
EVERYTHING = "accept all there is"
HANG = 0
DROP = -1


class Request(NamedTuple):
    """What the server was asked."""

    token: str
    raw: bytes

    @property
    def body(self) -> Any:
        """What the body says."""
        return json.loads(self.raw)


class Server:
    """Answers each request with the next of its answers, the last again and again.

    Attributes:
        features: What it says of itself.
        asked: How often it was asked for that.
    """

    def __init__(self, *answers: tuple[int, object]) -> None:
        self.answers = list(answers)
        self.requests: list[Request] = []
        self.features: list[str] = []
        self.asked = 0
        self.url = ""

    async def serve(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        """Answer the requests of one connection."""
        with suppress(ConnectionError, asyncio.IncompleteReadError):
            while head := await reader.readuntil(b"\r\n\r\n"):
                if not await self.answer(head.decode(), reader, writer):
                    break
        writer.close()

    async def answer(
        self, head: str, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> bool:
        """Answer one request; False ends the connection."""
        if head.startswith("GET"):
            self.asked += 1
            content = json.dumps({"features": self.features}).encode()
            length = f"Content-Length: {len(content)}"
            writer.write(f"HTTP/1.1 200 OK\r\n{length}\r\n\r\n".encode() + content)
            return True
        lines = [line.partition(": ") for line in head.split("\r\n")]
        headers = {name.lower(): value for name, _, value in lines}
        body = await reader.readexactly(int(headers["content-length"]))
        token = headers["authorization"].removeprefix("Bearer ")
        self.requests.append(Request(token, body))
        status, answer = self.answers[0]
        if len(self.answers) > 1:
            del self.answers[0]
        if answer == EVERYTHING:
            accepted = [
                {**ACCEPTED, "mailbox": d["to"]} for d in json.loads(body)["deliveries"]
            ]
            answer = {"results": accepted}
        if status == HANG:
            await reader.read()
        if status <= 0:
            return False
        content = answer if isinstance(answer, bytes) else json.dumps(answer).encode()
        writer.write(f"HTTP/1.1 {status} x\r\nContent-Length: {len(content)}\r\n".encode())
        writer.write(b"Location: /elsewhere\r\n\r\n" + content)
        return True


@asynccontextmanager
async def serving(*answers: tuple[int, object]) -> AsyncIterator[Server]:
    """Run a server with these answers."""
    server = Server(*answers)
    listener = await asyncio.start_server(server.serve, "127.0.0.1", 0)
    server.url = f"http://127.0.0.1:{listener.sockets[0].getsockname()[1]}"
    async with listener:
        yield server


@asynccontextmanager
async def sending(server: Server, **options: Any) -> AsyncIterator[Sender]:
    """Run a sender to a server."""
    async with (
        httpx2.AsyncClient(trust_env=False) as http,
        Sender(KEY, server=server.url, http=http, **options) as sender,
    ):
        yield sender


@pytest.fixture(autouse=True)
def no_jitter(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let every backoff be as short as jitter allows."""
    monkeypatch.setattr(random, "random", lambda: 0.0)


def problem(code: str, **members: object) -> dict[str, object]:
    """Return a problem document."""
    return {"type": "about:blank", "code": code, "detail": "A sentence.", **members}


async def test_send_returns_where_it_is_kept() -> None:
    """A delivery has a random key, and its token names the recipient and the server."""
    async with serving((202, ACCEPTED)) as server, sending(server) as sender:
        assert await sender.send(BOB, "x") == Accepted("1-1", BOB, False)
        await sender.send(BOB, "x", key="mine", ttl=60)
    first, second = server.requests
    assert second.body == {"to": BOB, "payload": "x", "key": "mine", "ttl": 60}
    assert len(first.body["key"]) >= 20
    token = verify(first.token, now=time.time())
    assert token.to == {BOB}
    assert token.scope == {"deliver"}
    assert token.audience == {server.url}
    assert first.token == second.token


@pytest.mark.parametrize(
    "trouble",
    [
        (503, problem("store_unavailable", retry_after=0)),
        (429, problem("rate_limited", retry_after=0)),
        (502, b"<html>Bad gateway</html>"),
        (504, b""),
        (HANG, None),
        (DROP, None),
    ],
)
async def test_trouble_that_passes_is_waited_for(trouble: tuple[int, object]) -> None:
    """A retry resends the same payload under the same key."""
    async with (
        serving(trouble, (202, ACCEPTED)) as server,
        sending(server, timeout=0.5) as sender,
    ):
        assert await sender.send(BOB, "x") == Accepted("1-1", BOB, False)
    first, second = server.requests
    assert first.body == second.body


@pytest.mark.parametrize(
    ("status", "code", "error"),
    [
        (403, "forbidden", Forbidden),
        (409, "key_conflict", KeyConflict),
        (507, "mailbox_full", MailboxFull),
    ],
)
async def test_a_refusal_is_its_error(
    status: int, code: str, error: type[PushdError]
) -> None:
    """What the server refuses for good is raised, and not tried again."""
    answer = (status, problem(code, retry_after=9))
    async with serving(answer) as server, sending(server) as sender:
        with pytest.raises(error, match=r"A sentence\.") as refused:
            await sender.send(BOB, "x")
    assert refused.value.retry_after == 9
    assert len(server.requests) == 1


async def test_patience_ends() -> None:
    """A server that asks for more time than there is gets none."""
    answer = (429, problem("rate_limited", retry_after=100))
    async with serving(answer) as server, sending(server, give_up_after=5) as sender:
        with pytest.raises(RateLimited):
            await sender.send(BOB, "x")
    assert len(server.requests) == 1


async def test_a_wait_below_zero_is_none(monkeypatch: pytest.MonkeyPatch) -> None:
    """It does not take away the time between two attempts."""
    monkeypatch.setattr(random, "random", lambda: 1.0)
    assert not await Patience(0.1).pause(-100.0)


async def test_nobody_there() -> None:
    """A server that cannot be reached is told apart from one that refuses."""
    async with serving((202, ACCEPTED)) as server:
        pass
    async with sending(server, give_up_after=0.0) as sender:
        with pytest.raises(Unreachable, match=server.url):
            await sender.send(BOB, "x")


@pytest.mark.parametrize("answer", [(202, b"<html>"), (302, b""), (500, b"<html>")])
async def test_an_answer_that_is_not_pushds(answer: tuple[int, object]) -> None:
    """A captive portal accepts nothing, and redirects lead a token nowhere."""
    async with serving(answer) as server, sending(server) as sender:
        with pytest.raises(Unreachable):
            await sender.send(BOB, "x")
    assert len(server.requests) == 1


async def test_a_wrong_clock_is_corrected_once() -> None:
    """A refused token is made again by the server's clock, and not a third time."""
    ahead = time.time() + 7200
    refusal = (401, problem("token_expired", now=ahead))
    async with serving(refusal, (202, ACCEPTED)) as server, sending(server) as sender:
        await sender.send(BOB, "x")
    token = verify(server.requests[1].token, now=ahead)
    assert abs(token.issued_at - ahead) < 60
    async with serving(refusal) as server, sending(server) as sender:
        with pytest.raises(Unauthorized):
            await sender.send(BOB, "x")
    assert len(server.requests) == 2


async def test_a_refused_token_is_narrowed_where_the_server_says_so() -> None:
    """What it says is asked for once it refused, and then each body has its own token."""
    refusal = (401, problem("unauthorized", now=time.time()))
    async with serving(refusal, (202, ACCEPTED)) as server, sending(server) as sender:
        server.features.append(DIGEST_ONLY)
        await sender.send(BOB, "x", key="one")
        await sender.send(BOB, "x", key="one")
    assert server.asked == 1
    many, *once = [verify(request.token, now=time.time()) for request in server.requests]
    assert many.digest is None
    assert [encode(Delivery(BOB, "x", "one"))] * 3 == [r.raw for r in server.requests]
    assert {token.digest for token in once} == {digest_of(server.requests[0].raw)}
    assert len({token.jti for token in once}) == 2


async def test_a_refused_token_is_not_narrowed_for_nothing() -> None:
    """Where the server does not ask for it, or refuses that too, the refusal counts."""
    refusal = (401, problem("unauthorized", now=time.time()))
    for features, attempts in (([], 1), ([DIGEST_ONLY], 2)):
        async with serving(refusal) as server, sending(server) as sender:
            server.features += features
            with pytest.raises(Unauthorized):
                await sender.send(BOB, "x")
        assert len(server.requests) == attempts


async def test_a_batch_divides_by_what_a_token_names() -> None:
    """A token has a hundred recipients at most, a batch a thousand deliveries."""
    people = [PrivateKey.generate().did for _ in range(150)]
    deliveries = [Delivery(did, "x") for did in people for _ in range(2)]
    async with serving((200, EVERYTHING)) as server, sending(server) as sender:
        outcomes = await sender.send_many(deliveries)
    assert [Accepted("1-1", delivery.to, False) for delivery in deliveries] == outcomes
    sizes = [len(request.body["deliveries"]) for request in server.requests]
    assert sizes == [200, 100]
    assert max(len(request.token) for request in server.requests) < 8192


async def test_a_batch_has_a_thousand() -> None:
    """More go in the next one."""
    async with serving((200, EVERYTHING)) as server, sending(server) as sender:
        await sender.send_many([Delivery(BOB, "x")] * 2001)
    sizes = [len(request.body["deliveries"]) for request in server.requests]
    assert sizes == [1000, 1000, 1]


async def test_a_bad_item_spoils_no_other() -> None:
    """Each has its own outcome; only what is busy is tried again."""
    results = [
        ACCEPTED,
        {"error": {"code": "mailbox_full", "detail": "Full.", "retry_after": 60}},
        {"error": {"code": "overloaded", "detail": "Busy.", "retry_after": 0}},
    ]
    answers = [(200, {"results": results}), (200, {"results": [ACCEPTED]})]
    async with serving(*answers) as server, sending(server) as sender:
        deliveries = [Delivery(BOB, payload) for payload in "abc"]
        first, second, third = await sender.send_many(deliveries)
    assert first == third == Accepted("1-1", BOB, False)
    assert isinstance(second, MailboxFull)
    (again,) = server.requests[1].body["deliveries"]
    assert again == server.requests[0].body["deliveries"][2]


async def test_a_batch_nobody_takes() -> None:
    """Its deliveries have their errors in their places."""
    answer = (503, problem("overloaded", retry_after=100))
    async with serving(answer) as server, sending(server) as sender:
        outcomes = await sender.send_many([Delivery(BOB, "a"), Delivery(BOB, "b")])
    assert [Overloaded, Overloaded] == [type(outcome) for outcome in outcomes]

"""A head like one before is read without the parser, and nobody can tell."""

import asyncio
import re
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple, cast

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from uvicorn.config import Config
from uvicorn.server import ServerState

from pushd.admission import Admission
from pushd.app import create_app
from pushd.bounds import Bound, Bounds
from pushd.delivery import Deliveries
from pushd.errors import PushdError
from pushd.identity.authenticator import Authenticator
from pushd.mailbox.base import Entry, Mailboxes, Result
from pushd.metrics import Metrics
from pushd.owners import Owners
from pushd.policies import Policies
from pushd.protocol.messages import Accepted
from pushd.rates import Rates
from pushd.recipients import Recipients
from pushd.rules import Rules
from pushd.settings import Settings
from pushd.web.addresses import Addresses
from pushd.web.heads import LONGEST, shape_of
from pushd.web.http import Http
from tests.harness import Person
from tests.unit.fake_directory import FakeDirectory, names_of

URL = "https://push.example"
ALICE, BOB, CAROL = (Person(URL) for _ in range(3))
TOKENS = [
    ALICE.token("deliver", BOB.did),
    CAROL.token("deliver", BOB.did),
    BOB.token("receive"),
    "nonsense",
    "",
]
"""Two good ones first, then one for something else, and two that are none."""

HEAD = (
    b"POST /v1/deliveries HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer %(token)b\r\n"
    b"Content-Type: application/json\r\nContent-Length: %(length)d\r\n\r\n"
)
LENGTH_FIRST = (
    b"POST /v1/deliveries HTTP/1.1\r\nhost: x\r\ncontent-length: %(length)d\r\n"
    b"authorization: bearer %(token)b\r\naccept: */*\r\n\r\n"
)


def with_field(field: bytes) -> bytes:
    """Return the head with a field before its others."""
    return HEAD.replace(b"Host: x\r\n", b"Host: x\r\n%b\r\n" % field)


CHUNKED = HEAD.replace(b"Content-Length: %(length)d", b"Transfer-Encoding: chunked")
SHAPELESS = {
    "it closes": with_field(b"Connection: close"),
    "it expects": with_field(b"Expect: 100-continue"),
    "it upgrades": with_field(b"Connection: upgrade\r\nUpgrade: h2c"),
    "it is chunked": CHUNKED,
    "it is chunked, and has a length": with_field(b"Transfer-Encoding: chunked"),
    "another token counts": HEAD.replace(
        b"Content-Type", b"Authorization: Bearer %(token)b\r\nContent-Type"
    ),
    "another length": HEAD.replace(
        b"Content-Type", b"Content-Length: %(length)d\r\nContent-Type"
    ),
    "another version": HEAD.replace(b"HTTP/1.1", b"HTTP/1.0"),
    "another path": HEAD.replace(b"/v1/deliveries", b"/v1/deliveries?x"),
    "another method": HEAD.replace(b"POST", b"PUT"),
    "a folded line": HEAD.replace(b"Bearer %(token)b", b"Bearer %(token)b\r\n more"),
    "no line ends": HEAD.replace(b"\r\n", b"\n"),
    "too much": with_field(b"X-A: " + b"x" * LONGEST),
    "a length in a way of its own": HEAD.replace(b": %(length)d", b":%(length)d"),
}
"""Heads that only a parser can be trusted with, some of which it refuses."""


def body_of(size: int) -> bytes:
    """Return a delivery to Bob with a payload of so many characters."""
    return b'{"to":"%b","payload":"%b"}' % (BOB.did.encode(), b"x" * size)


def request(head: bytes, token: str, body: bytes, *, more: int = 0) -> bytes:
    """Write a request that tells the length of its body, or another by so many bytes."""
    told = {b"token": token.encode(), b"length": max(0, len(body) + more)}
    return head % told + body


# --- a server without a network ------------------------------------------------------


class Shelf:
    """Keeps what it is given, and says so a tick later."""

    def __init__(self) -> None:
        self.entries: list[Entry] = []

    def store(
        self, entries: Sequence[Entry], done: Callable[[list[Result] | PushdError], None]
    ) -> None:
        """Keep entries."""
        results: list[Result] = []
        for entry in entries:
            self.entries.append(entry)
            id = f"1-{len(self.entries)}"
            results.append(Accepted(id, entry.mailbox, duplicate=False))
        asyncio.get_running_loop().call_soon(done, results)


class Socket(asyncio.Transport):
    """Takes notes of what is written, until it is closed."""

    def __init__(self) -> None:
        super().__init__()
        self.written = b""
        self.open = self.reading = True

    def write(self, data: Any) -> None:
        """Note it."""
        if self.open:
            self.written += data

    def close(self) -> None:
        """Take no more notes."""
        self.open = False

    def is_closing(self) -> bool:
        """Tell whether it is closed."""
        return not self.open

    def pause_reading(self) -> None:
        """Let what comes wait."""
        self.reading = False

    def resume_reading(self) -> None:
        """Let it come."""
        self.reading = True


class Forgetful(Http):
    """A connection that parses every head."""

    _lessons = 0


CONFIG = Config(create_app(Settings.read({})), lifespan="off", log_config=None)
CONFIG.load()


def parts_for(shelf: Shelf) -> dict[str, Any]:
    """Return the parts of a server that deliveries need."""
    mailboxes, metrics, names = cast(Mailboxes, shelf), Metrics(), names_of(FakeDirectory())
    authenticator = Authenticator(
        URL,
        deliver_lifetime=1 << 20,
        receive_lifetime=1 << 30,
        dedup=1 << 21,
        cache_bytes=1 << 20,
    )
    rates = Rates(cast(Any, shelf), sender=0, mailbox=0, address=0, metrics=metrics)
    deliveries = Deliveries(
        mailboxes,
        recipients=Recipients(names),
        owners=Owners("open", (), names),
        policies=Policies(mailboxes, names),
        rules=Rules(max_payload=100, max_ttl=1000),
        admission=Admission(Bound("delay_ms", 1)),
        rates=None,
        metrics=metrics,
    )
    return {
        "acquainted": lambda: None,
        "addresses": Addresses(rates, authenticator),
        "authenticator": authenticator,
        "bounds": Bounds(),
        "deliveries": deliveries,
        "metrics": metrics,
        "names": names,
        "origins": None,
    }


class Read(NamedTuple):
    """What one read of the socket brings.

    Attributes:
        data: The bytes.
        rest: Whether everything is answered before the next.
    """

    data: bytes
    rest: bool


class Seen(NamedTuple):
    """What a server made of it.

    Attributes:
        answered: All it wrote, but for the clock.
        stored: What reached the store.
        open: Whether the connection still is.
        parsed: How many heads its parser saw.
    """

    answered: bytes
    stored: list[Entry]
    open: bool
    parsed: int


def seen(reads: Sequence[Read], connection: type[Http]) -> Seen:
    """Let a new connection read."""
    return asyncio.run(_seen(reads, connection))


async def _seen(reads: Sequence[Read], kind: type[Http]) -> Seen:
    shelf, socket, state, parsed = Shelf(), Socket(), ServerState(), 0

    class Counted(kind):  # type: ignore[misc, valid-type] # mypy wants to know which
        def on_message_begin(self) -> None:
            nonlocal parsed
            parsed += 1
            super().on_message_begin()

    connection = Counted(CONFIG, state, parts_for(shelf))
    connection.connection_made(socket)
    for data, rest in reads:
        if not socket.reading:
            await _rest(socket, shelf)
        if not socket.open or not socket.reading:
            break
        connection.data_received(data)
        if rest:
            await _rest(socket, shelf)
    await _rest(socket, shelf)
    still = socket.open
    connection.connection_lost(None)
    await asyncio.gather(*state.tasks)
    answered = re.sub(rb'"now":\d+', b'"now":0', socket.written)
    return Seen(answered, shelf.entries, still, parsed)


async def _rest(socket: Socket, shelf: Shelf) -> None:
    """Wait until nothing happens any more, as far as anybody can see."""
    quiet, before = 0, (b"", 0)
    while quiet < 12:
        await asyncio.sleep(0)
        now = (socket.written, len(shelf.entries))
        quiet, before = (quiet + 1 if now == before else 0), now


# --- what is learned -----------------------------------------------------------------


@pytest.mark.parametrize("head", [HEAD, LENGTH_FIRST])
def test_a_shape_reads_what_is_like_it(head: bytes) -> None:
    """Whatever the token and the length; and nothing that is more, less or different."""
    shape = shape_of(request(head, TOKENS[0], body_of(1)))
    assert shape is not None
    for body in (b"", body_of(0), body_of(80)):
        whole = request(head, TOKENS[1], body)
        assert shape.read(whole) == (TOKENS[1], body)
        assert shape.read(whole + b"x") is shape.read(whole[:-1]) is None
        assert shape.read(whole.replace(b"host", b"hose").replace(b"Host", b"Hose")) is None
        assert all(shape.read(whole[:stop]) is None for stop in range(len(whole)))


@pytest.mark.parametrize("head", SHAPELESS.values(), ids=SHAPELESS)
def test_what_a_parser_must_see_has_no_shape(head: bytes) -> None:
    """Nor has what it refuses."""
    assert shape_of(request(head, TOKENS[0], body_of(1))) is None


def test_the_third_head_is_not_parsed() -> None:
    """The second teaches the shape, and is the first that is read by it."""
    whole = [request(HEAD, TOKENS[n % 2], body_of(n + 1)) for n in range(10)]
    reads = [Read(data, rest=True) for data in whole]
    after, before = seen(reads, Http), seen(reads, Forgetful)

    assert (before.parsed, after.parsed) == (10, 2)
    assert after[:-1] == before[:-1]
    assert len(after.stored) == 10


def test_heads_that_never_repeat_are_soon_parsed_only() -> None:
    """As a proxy sends them that numbers requests: no shape is looked for any more."""
    whole = [
        request(with_field(b"X-Request-Id: %d" % n), TOKENS[0], body_of(1))
        for n in range(10)
    ]
    assert seen([Read(data, rest=True) for data in whole], Http).parsed == 7


# --- nobody can tell -----------------------------------------------------------------


@pytest.mark.parametrize(
    "before",
    [
        HEAD[:40],
        request(HEAD, TOKENS[0], b"", more=2000),
        request(CHUNKED, TOKENS[0], b""),
        request(CHUNKED, "nonsense", b""),
        request(HEAD, TOKENS[0], body_of(1)),
        request(with_field(b"Connection: close"), TOKENS[0], body_of(1)),
        b"nonsense",
    ],
    ids=[
        *("in a head", "in a body", "in chunks", "in chunks that are answered"),
        *("under way", "the last", "an error"),
    ],
)
@pytest.mark.parametrize("rest", [False, True])
def test_what_comes_in_the_middle_is_no_request(before: bytes, *, rest: bool) -> None:
    """However much it looks like one, and even if it is the next."""
    plain = [Read(request(HEAD, token, body_of(1)), rest=True) for token in TOKENS[:2]]
    last = Read(request(HEAD, TOKENS[0], b"{"), rest=True)
    reads = [*plain, Read(before, rest=rest), last]
    assert seen(reads, Http)[:-1] == seen(reads, Forgetful)[:-1]


heads = st.sampled_from([HEAD, LENGTH_FIRST])
odd = st.sampled_from(
    [
        *SHAPELESS.values(),
        with_field(b"X-A: uthorization: Bearer %(token)b"),
        b"GET /health/live HTTP/1.1\r\n\r\n",
        b"\r\n",
    ]
)
tokens = st.sampled_from([*TOKENS[:2] * 3, *TOKENS[2:]])
bodies = st.sampled_from(
    [body_of(2), body_of(80), b"{", b"", b"\r\n\r\n", request(HEAD, TOKENS[0], body_of(3))]
)
lies = st.sampled_from([*[0] * 12, -1, 1, 400])
"""By how many bytes a length is wrong."""


def one(whole: bytes) -> list[bytes]:
    """Let it come in one read; what is last waits for the next."""
    return [whole, b""]


def halves(whole: bytes) -> list[bytes]:
    """Let it come in two."""
    return [whole[: len(whole) // 2], whole[len(whole) // 2 :], b""]


def joined(whole: bytes) -> list[bytes]:
    """Let it come together with the next."""
    return [whole]


def broken_off(whole: bytes) -> list[bytes]:
    """Let nothing come of it but the head, or the first line."""
    end = whole.find(b"\r\n\r\n") + 4 if len(whole) % 2 else whole.find(b"\r\n") + 2
    return [whole[:end], b""]


cuts = st.sampled_from([*[one] * 5, halves, joined, broken_off])


@st.composite
def conversations(draw: st.DrawFn) -> list[Read]:
    """Draw what a client sends that mostly repeats itself, and what reads bring of it."""
    usual = draw(heads)
    reads = [Read(request(usual, TOKENS[n], body_of(1)), rest=True) for n in (0, 1)]
    held = b""
    for _ in range(draw(st.integers(1, 6))):
        head = usual if draw(st.integers(0, 3)) else draw(odd)
        whole = request(head, draw(tokens), draw(bodies), more=draw(lies))
        pieces = draw(cuts)(whole)
        for piece in pieces[:-1]:
            reads.append(Read(held + piece, rest=draw(st.booleans())))
            held = b""
        held += pieces[-1]
    return [*reads, Read(held, rest=True)]


@settings(deadline=None, max_examples=250, suppress_health_check=[HealthCheck.too_slow])
@given(conversations())
def test_nobody_can_tell(reads: list[Read]) -> None:
    """The same is answered, stored and closed, whatever comes, in whatever pieces."""
    assert seen(reads, Http)[:-1] == seen(reads, Forgetful)[:-1]

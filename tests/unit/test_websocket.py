"""One connection, driven byte by byte over a transport that only takes notes."""

import asyncio
import sys
from collections.abc import Callable, Iterable, Mapping
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from uvicorn.config import Config
from uvicorn.server import ServerState

from pushd.web import websocket
from pushd.web.framing import BINARY, CLOSE, PING, PONG, TEXT
from pushd.web.websocket import Refusal, State, WebSocket
from tests.websocket_peer import (
    UPGRADE,
    Judge,
    Seen,
    client_frame,
    close,
    closing,
    fragments,
    more,
    ping,
    pong,
    text,
)


class _Notes(asyncio.Transport):
    """A transport that remembers what it was asked to do."""

    def __init__(self, *, half_close: bool = True) -> None:
        super().__init__()
        self.protocol: asyncio.BaseProtocol = asyncio.Protocol()
        self.written: list[bytes] = []
        self.ended: list[str] = []
        self.half_close = half_close
        self.reading = True
        self.waiting = 0

    def write(self, data: Any) -> None:
        assert not self.ended, "written after the end"
        self.written.append(bytes(data))

    def can_write_eof(self) -> bool:
        return self.half_close

    def write_eof(self) -> None:
        self.ended.append("eof")

    def close(self) -> None:
        self.ended.append("close")

    def abort(self) -> None:
        self.ended.append("abort")

    def get_protocol(self) -> asyncio.BaseProtocol:
        return self.protocol

    def set_protocol(self, protocol: asyncio.BaseProtocol) -> None:
        self.protocol = protocol

    def set_write_buffer_limits(
        self, high: int | None = None, low: int | None = None
    ) -> None:
        assert high == websocket.WRITE_HIGH

    def get_write_buffer_size(self) -> int:
        return self.waiting

    def pause_reading(self) -> None:
        self.reading = False

    def resume_reading(self) -> None:
        self.reading = True


class _Listener(WebSocket):
    """A connection that remembers what its hooks heard."""

    __slots__ = ("heard_of", "last_words")

    subprotocol = b"test.v1"

    def __init__(self, *args: Any) -> None:
        super().__init__(*args)
        self.heard_of: list[Any] = []
        self.last_words: tuple[bytes, int] | None = None

    def requested(self, path: bytes, headers: Mapping[bytes, bytes]) -> Refusal | None:
        if path == b"/secret":
            return Refusal(403, "Not for you.")
        return None

    def opened(self) -> None:
        self.heard_of.append("opened")

    def text(self, data: bytes) -> None:
        self.heard_of.append(data)

    def broken(self, code: int, reason: str) -> None:
        self.heard_of.append((code, reason))
        if self.last_words is not None:
            words, code = self.last_words
            self.send_text(words)
            self.close(code, reason)

    def paused(self) -> None:
        self.heard_of.append("paused")

    def resumed(self) -> None:
        self.heard_of.append("resumed")

    def lost(self) -> None:
        self.heard_of.append("lost")

    def _soon(self, callback: Callable[[], None]) -> None:
        """There is no loop here: a tick ends when a test looks at what was sent."""

    @property
    def texts(self) -> list[bytes]:
        """The messages that came."""
        return [each for each in self.heard_of if isinstance(each, bytes)]


class Wire:
    """A connection and its transport, with frames instead of bytes between them."""

    def __init__(self, *, half_close: bool = True) -> None:
        state = ServerState()
        self.transport = _Notes(half_close=half_close)
        config = Config(app="none", lifespan="off", log_config=None)
        self.connection = _Listener(config, state, {})
        self.registered: set[Any] = state.connections

    def ask(self, *, path: str = "/", **headers: str) -> bytes:
        """Send a request and return the answer."""
        fields = {**UPGRADE, **headers}
        self.connection.connection_made(self.transport)
        lines = "".join(f"{name}: {value}\r\n" for name, value in fields.items())
        self.connection.data_received(f"GET {path} HTTP/1.1\r\n{lines}\r\n".encode())
        return b"".join(self.transport.written)

    def hand_over(self, *, path: str = "/", **headers: str) -> bytes:
        """Hand a request over that was parsed already, and return the answer."""
        fields = [
            (name.lower().encode(), f" {value} ".encode())
            for name, value in {**UPGRADE, **headers}.items()
        ]
        self.connection.take_over(self.transport, b"GET", path.encode(), fields)
        return b"".join(self.transport.written)

    def feed(self, *pieces: bytes) -> None:
        """Let bytes come in, each piece in one read."""
        for piece in pieces:
            self.connection.data_received(piece)

    def frames(self) -> list[Seen]:
        """Read what was sent since the handshake."""
        _, _, sent = b"".join(self.transport.written).partition(b"\r\n\r\n")
        return Judge().read(sent)


@pytest.fixture
def wire() -> Wire:
    """Make an open connection."""
    return opened()


def opened(*, half_close: bool = True) -> Wire:
    """Make an open connection."""
    wire = Wire(half_close=half_close)
    assert wire.ask().startswith(b"HTTP/1.1 101 ")
    return wire


def cut(data: bytes, places: Iterable[int]) -> list[bytes]:
    """Cut bytes at these places, as far as there are that many."""
    edges = sorted({0, len(data), *(place for place in places if place < len(data))})
    return [data[start:stop] for start, stop in pairwise(edges)]


PATIENT = settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])
"""A busy machine is no finding."""

PLACES = st.lists(st.integers(0, 2000), max_size=30)


# --- the opening handshake -----------------------------------------------------------


def test_an_upgrade_opens_and_registers() -> None:
    """An open connection is one that uvicorn waits for when it stops."""
    wire = Wire()
    wire.ask()
    assert wire.connection.heard_of == ["opened"]
    assert wire.connection.state is State.OPEN
    assert wire.registered == {wire.connection}
    assert wire.transport.protocol is wire.connection


def test_a_refused_upgrade_is_answered_and_closed() -> None:
    """Whether the hook or RFC 6455 refuses, nothing was opened and nothing is lost."""
    for answer, status in (
        ((wire := Wire()).ask(path="/secret"), b"403"),
        ((wire2 := Wire()).ask(Upgrade="h2c"), b"426"),
    ):
        assert answer.startswith(b"HTTP/1.1 " + status)
    for each in (wire, wire2):
        each.connection.connection_lost(None)
        assert each.transport.ended == ["close"]
        assert each.connection.heard_of == []
        assert each.registered == set()


@pytest.mark.parametrize(
    ("offered", "answered"), [("a, test.v1", True), ("a", False), ("", False)]
)
def test_the_subprotocol_is_answered_if_offered(offered: str, answered: bool) -> None:
    """A client that offers others only hears of none (RFC 6455 section 4.2.2)."""
    answer = Wire().ask(**{"Sec-WebSocket-Protocol": offered})
    assert (b"sec-websocket-protocol: test.v1\r\n" in answer) is answered


@pytest.mark.parametrize(
    ("path", "headers"),
    [
        ("/v1/stream?a=b", {"Sec-WebSocket-Protocol": "test.v1"}),
        ("/secret", {}),
        ("/", {"Upgrade": "h2c"}),
        ("/", {"Sec-WebSocket-Key": "short"}),
    ],
)
def test_a_parsed_request_is_decided_alike(path: str, headers: dict[str, str]) -> None:
    """Whether the request comes as bytes or taken apart makes no difference."""
    written, parsed = Wire(), Wire()
    assert parsed.hand_over(path=path, **headers) == written.ask(path=path, **headers)
    assert parsed.connection.state is written.connection.state
    assert parsed.connection.heard_of == written.connection.heard_of
    assert parsed.transport.ended == written.transport.ended
    assert parsed.transport.protocol is parsed.connection
    assert len(parsed.registered) == len(written.registered)
    assert parsed.connection.heard > 0


# --- reading -------------------------------------------------------------------------

MESSAGES = st.lists(st.lists(st.text(max_size=200), min_size=1, max_size=5), max_size=5)


@PATIENT
@given(MESSAGES, st.lists(st.binary(max_size=125), max_size=5), PLACES)
def test_messages_arrive_however_they_are_cut(
    messages: list[list[str]], pings: list[bytes], places: list[int]
) -> None:
    """Any messages in any fragments with pings between, in any reads, arrive alike."""
    wire = opened()
    parts = [[part.encode() for part in message] for message in messages]
    stream: list[bytes] = []
    for number, message in enumerate(parts):
        stream += frame_by_frame(message)
        stream += [ping(payload) for payload in pings[number : number + 1]]
    wire.feed(*cut(b"".join(stream), places))
    assert wire.connection.texts == [b"".join(message) for message in parts]
    assert wire.frames() == [(PONG, payload) for payload in pings[: len(parts)]]
    assert not wire.transport.ended
    assert holds_nothing(wire.connection)


def frame_by_frame(message: list[bytes]) -> list[bytes]:
    """Make a message of fragments with a pong between each two, which means nothing."""
    frames = [text(message[0], fin=len(message) == 1)]
    for number, part in enumerate(message[1:], 2):
        frames += [pong(), more(part, fin=number == len(message))]
    return frames


def holds_nothing(connection: WebSocket) -> bool:
    """Tell whether a connection keeps no bytes of its peer."""
    kept = (connection._buffer, connection._fragments, connection._pong)
    return kept == (None, None, None)


@PATIENT
@given(st.text(max_size=300), st.lists(st.integers(0, 300), max_size=4))
def test_characters_may_be_cut_by_fragments(message: str, places: list[int]) -> None:
    """Only a whole message must be UTF-8 (5.6)."""
    wire = opened()
    parts = cut(message.encode(), places) or [b""]
    wire.feed(fragments(TEXT, parts))
    assert wire.connection.texts == [message.encode()]


BITS = st.builds(
    client_frame,
    st.sampled_from([*range(16), TEXT, TEXT, 0, 0, PING, CLOSE]),
    st.binary(max_size=130) | st.text(max_size=20).map(str.encode),
    fin=st.booleans(),
    reserved=st.sampled_from([0, 0, 0, 0, 0, 1, 4]),
    mask=st.sampled_from([b"mask", b"mask", b"mask", None]),
    length=st.sampled_from([None, None, None, 0, 5, 126, 65536, 1 << 62]),
)


@PATIENT
@given(st.lists(st.binary(max_size=50) | BITS, max_size=20), PLACES)
def test_nothing_a_peer_sends_raises(junk: list[bytes], places: list[int]) -> None:
    """Any bytes leave a connection open, or closed with one last, valid close frame."""
    wire = opened()
    wire.feed(*cut(b"".join(junk), places))
    sent = wire.frames()
    connection = wire.connection
    if connection.state is State.CLOSED:
        assert wire.transport.ended == ["eof"]
        assert [opcode for opcode, _ in sent].count(CLOSE) == 1
        assert sent[-1][0] == CLOSE
        assert holds_nothing(connection)
    else:
        assert connection.state is State.OPEN
        assert not wire.transport.ended
        held = connection._buffer or b""
        assert len(held) <= connection.max_message + 14


def test_a_frame_in_many_reads_is_looked_at_once(wire: Wire) -> None:
    """A peer that sends byte by byte does not make every byte cost the whole frame."""
    frame = text(b"x" * 5000)
    wire.feed(frame[:8])
    assert wire.connection._need == len(frame)
    wire.feed(*cut(frame[8:], range(len(frame))))
    assert wire.connection.texts == [b"x" * 5000]


def test_an_announced_length_is_not_believed(wire: Wire) -> None:
    """A header alone, of a message in bounds, takes no more memory than its bytes."""
    wire.feed(client_frame(TEXT, b"", length=60_000))
    assert len(wire.connection._buffer or b"") == 8


def test_nothing_of_a_message_stays(wire: Wire) -> None:
    """An idle connection keeps no buffer, whatever came before."""
    wire.feed(*cut(fragments(TEXT, [b"a" * 100, b"b" * 100]) + ping(), range(250)))
    assert holds_nothing(wire.connection)


@pytest.mark.parametrize(
    ("code", "data"),
    [
        (1009, client_frame(TEXT, b"", length=65537)),
        (1009, text(b"x" * 60_000, fin=False) + client_frame(0, b"", length=5537)),
        (1009, client_frame(TEXT, b"", length=1 << 62)),
        (1008, text(b"", fin=False) + more(b"") * 1024),
        (1008, ping() * 66),
        (1008, pong() * 66),
        (1003, client_frame(BINARY, b"x")),
        (1007, text(b"\xff")),
        (1007, fragments(TEXT, [b"a", b"\xff", b"b"])),
        (1002, more(b"a", fin=True)),
        (1002, text(b"a", fin=False) + text(b"b")),
        (1002, client_frame(TEXT, b"a", mask=None)),
        (1002, client_frame(TEXT, b"a", reserved=4)),
        (1002, client_frame(11)),
        (1002, close(1005)),
        (1007, close(1000, b"\xff")),
    ],
)
def test_a_broken_peer_is_told_why(code: int, data: bytes, wire: Wire) -> None:
    """Each kind of trespass has its close code, and the owner hears of it first."""
    wire.feed(data + text(b"ignored"))
    [(broken, reason)] = [
        each for each in wire.connection.heard_of if isinstance(each, tuple)
    ]
    assert broken == code
    assert wire.frames()[-1] == (CLOSE, closing(code, reason.encode()))
    assert wire.transport.ended == ["eof"]
    assert wire.connection.texts == []


def test_the_limits_themselves_are_allowed(wire: Wire) -> None:
    """64 KiB, in one frame or in 1024, and 64 pings at once break nothing."""
    wire.feed(text(b"x" * 65536), fragments(TEXT, [b"y" * 64] * 1024), ping() * 64)
    assert wire.connection.texts == [b"x" * 65536, b"y" * 65536]
    assert len(wire.frames()) == 64


def test_control_frames_are_paid_for_with_time(
    wire: Wire, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A peer may ping for ever at the rate allowed, and not above it."""
    now = 1000.0
    monkeypatch.setattr(websocket, "monotonic", lambda: now)
    for _ in range(10):
        wire.feed(ping() * 64)
        now += 1.0
    assert len(wire.frames()) == 640
    now -= 0.5
    wire.feed(ping() * 33)
    assert wire.frames()[-1][1].startswith(closing(1008))


def test_the_owner_chooses_the_last_words(wire: Wire) -> None:
    """Its frame and its close code go out instead of those of RFC 6455."""
    wire.connection.last_words = (b"sorry", 4400)
    wire.feed(client_frame(BINARY, b"x"))
    assert wire.frames() == [(TEXT, b"sorry"), (CLOSE, closing(4400, b"text only"))]


def test_an_idle_connection_is_small(wire: Wire) -> None:
    """It has no dictionary, and all it owns is far below a KiB."""
    wire.feed(text(b"hello"), ping())
    wire.frames()
    connection = wire.connection
    names = [name for name in WebSocket.__slots__ if name not in ("transport", "_server")]
    owned = [getattr(connection, name) for name in names]
    assert not hasattr(connection, "__dict__")
    assert sum(map(sys.getsizeof, [connection, *owned])) < 600


# --- writing -------------------------------------------------------------------------


def test_texts_leave_in_one_write(wire: Wire) -> None:
    """What one event makes a session say is one piece for the transport."""
    before = len(wire.transport.written)
    wire.connection.send_texts([b"a", b"b" * 200])
    assert len(wire.transport.written) == before + 1
    assert wire.frames() == [(TEXT, b"a"), (TEXT, b"b" * 200)]


def test_a_peer_that_does_not_read_gets_the_latest_pong(wire: Wire) -> None:
    """Pongs do not pile up behind a full buffer (5.5.3)."""
    wire.connection.pause_writing()
    wire.feed(ping(b"1"), ping(b"2"), ping(b"3"))
    assert wire.frames() == []
    wire.connection.resume_writing()
    assert wire.frames() == [(PONG, b"3")]
    assert wire.connection.heard_of == ["opened", "paused", "resumed"]


def test_no_pong_follows_a_close(wire: Wire) -> None:
    """A ping that waits for its answer has waited in vain once we close."""
    wire.connection.pause_writing()
    wire.feed(ping(b"1"))
    wire.connection.close()
    wire.connection.resume_writing()
    assert wire.frames() == [(CLOSE, closing(1000))]


def test_the_owner_sees_what_waits(wire: Wire) -> None:
    """Flow control is for the owner to do; the transport says how much waits."""
    wire.transport.waiting = 70_000
    assert wire.connection.unsent == 70_000
    wire.connection.pause_reading()
    assert not wire.transport.reading
    wire.connection.resume_reading()
    assert wire.transport.reading


# --- the end -------------------------------------------------------------------------


@pytest.mark.parametrize("code", [None, 1000, 1001, 3000, 4999])
def test_the_peer_closes(code: int | None, wire: Wire) -> None:
    """Its code is sent back, then FIN; what it still sends is not looked at."""
    wire.feed(close(code, b"" if code is None else b"bye") + text(b"late"))
    wire.feed(text(b"later"), ping(), b"\xff\xff")
    assert wire.frames() == [(CLOSE, closing(code))]
    assert wire.transport.ended == ["eof"]
    assert wire.connection.texts == []


def test_we_close(wire: Wire) -> None:
    """After our close frame nothing is sent; the peer's ends it, until then all waits."""
    wire.connection.close(4408, "late")
    wire.connection.send_text(b"x")
    wire.connection.send_texts([b"x"])
    wire.connection.ping()
    wire.connection.close(1000)
    wire.feed(text(b"in flight"), ping(b"in flight"), text(b"", fin=False))
    assert wire.connection.state is State.CLOSING
    assert not wire.transport.ended
    wire.feed(close(4408))
    assert wire.frames() == [(CLOSE, closing(4408, b"late"))]
    assert wire.transport.ended == ["eof"]
    assert wire.connection.texts == []


def test_both_close_at_once(wire: Wire) -> None:
    """A close frame that crosses ours is taken for the answer (7.1.4)."""
    wire.connection.close(1012)
    wire.feed(close(1001))
    assert wire.frames() == [(CLOSE, closing(1012))]
    assert wire.transport.ended == ["eof"]


def test_a_hook_that_closes_stops_the_messages_behind_it(
    wire: Wire, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What came in the same read is not delivered to an owner that is done."""
    monkeypatch.setattr(_Listener, "text", lambda self, _: self.close(4400))
    wire.feed(text(b"1") + text(b"2") + ping())
    assert wire.frames() == [(CLOSE, closing(4400))]


def test_a_hook_may_abort(wire: Wire, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing is read or written after that, not even half a frame kept."""
    monkeypatch.setattr(_Listener, "text", lambda self, _: self.abort())
    wire.feed(text(b"1") + text(b"2") + ping()[:3])
    assert wire.transport.ended == ["abort"]
    assert wire.frames() == []
    assert holds_nothing(wire.connection)


def test_a_close_is_overdue_some_seconds_later(wire: Wire) -> None:
    """A peer that never closes is dropped, and one that was not asked to never is."""
    now = wire.connection.heard
    assert not wire.connection.overdue(now + 1e9)
    wire.connection.close()
    assert not wire.connection.overdue(now + 4.5)
    assert wire.connection.overdue(now + 6)
    assert wire.transport.ended == ["abort"]


@pytest.mark.parametrize("last", [close(), client_frame(TEXT, mask=None)])
def test_a_peer_that_stays_after_its_end_is_overdue(last: bytes, wire: Wire) -> None:
    """FIN is no end as long as the peer does not close its side."""
    wire.feed(last)
    assert wire.connection.overdue(wire.connection.heard + 6)
    assert wire.transport.ended == ["eof", "abort"]


def test_a_peer_that_leaves_without_a_word_is_closed(wire: Wire) -> None:
    """FIN without a close frame: what was sent leaves, then the transport closes."""
    wire.connection.send_text(b"last")
    kept_open = wire.connection.eof_received()  # type: ignore[func-returns-value] # None says so
    assert not kept_open
    assert wire.transport.written[-1].endswith(b"last")
    wire.connection.send_text(b"x")
    assert wire.frames() == [(TEXT, b"last")]
    assert wire.connection.overdue(wire.connection.heard + 6)


def test_tls_cannot_close_one_side() -> None:
    """There the whole connection is closed after the close frame."""
    wire = opened(half_close=False)
    wire.feed(close())
    assert wire.frames() == [(CLOSE, closing(1000))]
    assert wire.transport.ended == ["close"]


def test_a_lost_connection_is_forgotten(wire: Wire) -> None:
    """The owner hears of it once; sending is then no error, and nothing is overdue."""
    wire.feed(text(b"a", fin=False) + text(b"half")[:5])
    wire.connection.close()
    wire.connection.connection_lost(ConnectionResetError())
    wire.connection.connection_lost(None)
    wire.connection.send_text(b"x")
    wire.connection.close()
    assert wire.connection.heard_of == ["opened", "lost"]
    assert wire.registered == set()
    assert wire.frames() == [(CLOSE, b"\x03\xe8")]  # from before
    assert not wire.connection.overdue(wire.connection.heard + 6)
    assert holds_nothing(wire.connection)


def test_a_stopping_server_goes_away(wire: Wire) -> None:
    """Uvicorn's `shutdown` closes with 1001, unless the owner knows better."""
    wire.connection.pause_reading()
    wire.connection.shutdown()
    assert wire.frames() == [(CLOSE, closing(1001))]
    assert wire.transport.reading

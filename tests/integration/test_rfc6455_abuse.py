"""What a hostile or broken client does to a real server, and what it hears of it."""

import gc
import time
from collections.abc import Callable, Iterator

import pytest
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from pushd.web.framing import BINARY, CLOSE, PONG, TEXT
from tests.integration.echo_server import EchoServer, echo_server
from tests.websocket_peer import (
    UPGRADE,
    Peer,
    client_frame,
    close,
    closing,
    more,
    ping,
    pong,
    text,
)


@pytest.fixture
def server() -> Iterator[EchoServer]:
    """Run a server."""
    with echo_server() as server:
        yield server


def until(condition: Callable[[], bool]) -> None:
    """Wait until the server's thread made a condition true."""
    deadline = time.monotonic() + 20
    while not condition():
        assert time.monotonic() < deadline, "it never came true"
        time.sleep(0.01)


# --- the opening handshake -----------------------------------------------------------


def test_a_handshake_is_answered(server: EchoServer) -> None:
    """The key of RFC 6455 section 1.3 has the answer given there; deflate is declined."""
    with Peer(server.port) as peer:
        offer = {"Sec-WebSocket-Extensions": "permessage-deflate; client_max_window_bits"}
        status, headers, _ = peer.ask({**UPGRADE, **offer})
        assert (status, headers["sec-websocket-accept"]) == (
            101,
            "s3pplmbitxaq9kygzzhzrbk+xoo=",
        )
        assert "sec-websocket-extensions" not in headers
        peer.send(text(b"hello"))
        assert peer.receive() == (TEXT, b"hello")


@pytest.mark.parametrize(
    ("status", "line", "changed"),
    [
        (405, "POST /echo HTTP/1.1", {"Content-Length": "0"}),
        (426, "GET /echo HTTP/1.1", {"Sec-WebSocket-Version": "8"}),
        (400, "GET /echo HTTP/1.1", {"Sec-WebSocket-Key": "short"}),
    ],
)
def test_a_bad_handshake_is_refused(
    status: int, line: str, changed: dict[str, str], server: EchoServer
) -> None:
    """The answer says what is wrong and the connection ends."""
    with Peer(server.port) as peer:
        answer, headers, body = peer.ask({**UPGRADE, **changed}, line=line)
        assert answer == status
        assert headers["connection"].startswith(("close", "upgrade"))
        assert body
        assert peer.socket.recv(1) == b""
    until(lambda: not server.sockets)


def test_a_version_that_is_not_ours_hears_which_is(server: EchoServer) -> None:
    """Section 4.4: the client may try again with version 13."""
    with Peer(server.port) as peer:
        status, headers, _ = peer.ask({**UPGRADE, "Sec-WebSocket-Version": "8"})
        assert (status, headers["sec-websocket-version"]) == (426, "13")


# --- frames --------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("code", "frame"),
    [
        (1002, client_frame(TEXT, b"x", mask=None)),
        (1002, client_frame(TEXT, b"x", reserved=4)),
        (1007, text(b"\xc3\x28")),
        (1009, text(b"x" * 65537)),
        (1009, client_frame(TEXT, b"x", length=1 << 62)),
        (1008, text(b"", fin=False) + more(b".") * 100_000),
        (1008, ping() * 100_000),
        (1008, pong() * 100_000),
        (1002, b"GET / HTTP/1.1\r\nHost: push.example\r\n\r\n"),
    ],
    ids=lambda value: str(value)[:20],
)
def test_a_trespass_is_told_and_ends(code: int, frame: bytes, server: EchoServer) -> None:
    """However much comes behind it, the close frame arrives; no reset eats it."""
    with Peer(server.port).open() as peer:
        peer.send(frame, text(b"behind") * 1000)
        answers = peer.rest()
        opcode, payload = answers[-1]
        assert (opcode, payload[:2]) == (CLOSE, closing(code))
        assert {opcode for opcode, _ in answers[:-1]} <= {PONG}
        assert len(answers) <= 65
    until(lambda: not server.sockets)


def test_a_peer_that_does_not_leave_is_dropped(server: EchoServer) -> None:
    """After the close frame there is a second to go, here; then the socket is gone."""
    with Peer(server.port).open() as peer:
        peer.send(client_frame(BINARY, b"x", reserved=1))
        assert peer.rest()[-1][0] == CLOSE
        until(lambda: not server.sockets)


def test_a_peer_that_keeps_sending_after_the_end_is_dropped(server: EchoServer) -> None:
    """What it sends is read and forgotten, until its time is over."""
    with Peer(server.port).open() as peer:
        peer.send(close())
        with pytest.raises(ConnectionError):
            send_for_ever(peer)


def send_for_ever(peer: Peer) -> None:
    """Send until that is an error."""
    while True:
        peer.socket.sendall(b"x" * 65536)


def test_half_a_frame_waits_without_harm(server: EchoServer) -> None:
    """It costs its bytes; when the rest comes, so does the echo."""
    half = text(b"x" * 60_000)
    with Peer(server.port).open() as slow, Peer(server.port).open() as other:
        slow.send(half[:10])
        other.send(text(b"hello"))
        assert other.receive() == (TEXT, b"hello")
        until(lambda: any(each._buffer for each in server.sockets))
        [held] = [len(each._buffer) for each in server.sockets if each._buffer]
        assert held == 10
        slow.send(half[10:])
        assert slow.receive() == (TEXT, b"x" * 60_000)
        assert not any(each._buffer for each in server.sockets)


def test_a_peer_that_only_asks_gets_the_latest_answer(server: EchoServer) -> None:
    """Pings behind a full buffer: one answer waits, not one for each."""
    with Peer(server.port).open() as peer:
        peer.send(text(b"x" * 65536) * 400)
        until(lambda: any(each._paused for each in server.sockets))
        peer.send(*(ping(b"%d" % number) for number in range(50)))
        [connection] = server.sockets
        until(lambda: connection._pong == b"49")
        answers = [peer.receive() for _ in range(401)]
        assert answers[:400] == [(TEXT, b"x" * 65536)] * 400
        assert answers[400] == (PONG, b"49")


# --- the server ----------------------------------------------------------------------


def test_nothing_of_http_stays_behind_an_upgrade(server: EchoServer) -> None:
    """Uvicorn's connection and its parser hold each other; the websocket lets them go."""
    gc.collect()
    gc.disable()
    try:
        peers = [Peer(server.port).open() for _ in range(20)]
        until(lambda: len(server.sockets) == 20)
        left = [each for each in gc.get_objects() if isinstance(each, HttpToolsProtocol)]
        assert left == []
    finally:
        gc.enable()
        for peer in peers:
            peer.socket.close()


def test_a_stopping_server_closes_every_connection() -> None:
    """Uvicorn waits for the sockets it was told of, and each hears 1001."""
    with echo_server() as server:
        peers = [Peer(server.port).open() for _ in range(5)]
        until(lambda: len(server.sockets) == 5)
        server.should_exit = True
        for peer in peers:
            assert peer.rest() == [(CLOSE, closing(1001))]
            peer.send(close(1001))
            peer.socket.close()
        server.thread.join(20)
        assert not server.sockets

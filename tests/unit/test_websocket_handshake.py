"""The opening handshake: what is asked of a request, and what the answers say."""

import pytest

from pushd.web import handshake
from pushd.web.handshake import Refusal, Request, parse_request
from tests.websocket_peer import UPGRADE


def head(
    *, line: str = "GET /v1/stream HTTP/1.1", without: str = "", **changed: str
) -> bytes:
    """Make a good request, but for some headers (underscores stand for dashes)."""
    headers = {name.lower(): value for name, value in UPGRADE.items() if name != without}
    headers |= {name.replace("_", "-"): value for name, value in changed.items()}
    fields = "".join(f"{name}: {value}\r\n" for name, value in headers.items())
    return f"{line}\r\n{fields}\r\n".encode()


def request(data: bytes) -> Request:
    """Parse a request that is good."""
    parsed = parse_request(data)
    assert isinstance(parsed, Request)
    return parsed


@pytest.mark.parametrize(
    "data",
    [
        head(),
        head(upgrade="WebSocket"),
        head(upgrade="h2c, websocket"),
        head(connection="keep-alive, Upgrade"),
        head(sec_websocket_extensions="permessage-deflate; client_max_window_bits"),
    ],
)
def test_a_good_request_is_granted(data: bytes) -> None:
    """The answer proves that the key was read (4.2.2), and accepts no extension."""
    answer = handshake.grant(request(data), None, [(b"date", b"today")])
    assert answer == (
        b"HTTP/1.1 101 Switching Protocols\r\n"
        b"upgrade: websocket\r\n"
        b"connection: upgrade\r\n"
        b"sec-websocket-accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n"
        b"date: today\r\n\r\n"
    )


def test_the_subprotocol_is_named_if_chosen() -> None:
    """One of those offered is answered."""
    parsed = request(head(sec_websocket_protocol="other, pushd.v1"))
    assert handshake.offers(parsed.headers, b"pushd.v1")
    assert not handshake.offers(parsed.headers, b"pushd.v2")
    assert not handshake.offers(parsed.headers, b"Pushd.v1")
    assert not handshake.offers(request(head()).headers, b"pushd.v1")
    answer = handshake.grant(parsed, b"pushd.v1", [])
    assert b"\r\nsec-websocket-protocol: pushd.v1\r\n" in answer


@pytest.mark.parametrize(
    ("status", "data"),
    [
        (405, head(line="POST /v1/stream HTTP/1.1")),
        (405, head(line="get /v1/stream HTTP/1.1")),
        (400, head(without="Connection")),
        (400, head(connection="keep-alive")),
        (426, head(without="Upgrade")),
        (426, head(upgrade="h2c")),
        (426, head(without="Sec-WebSocket-Version")),
        (426, head(sec_websocket_version="8")),
        (400, head(without="Host")),
        (400, head(without="Sec-WebSocket-Key")),
        (400, head(sec_websocket_key="")),
        (400, head(sec_websocket_key="c2hvcnQ=")),
        (400, head(sec_websocket_key="no base64 in here at all")),
        (400, head(sec_websocket_key="dGhlIHNhbXBsZSBub25jZQ==x")),
        (400, head(sec_websocket_key="dGhlIHNhbXBsZSBub25jZQ=é")),
        (400, b"nonsense\r\n\r\n"),
        (400, b""),
        (400, head(line="GET /v1/stream HTTP/1.1\r\n: nameless")),
    ],
)
def test_a_bad_request_is_refused(status: int, data: bytes) -> None:
    """Each demand of section 4.2.1 that is not met has its status."""
    refusal = parse_request(data)
    assert isinstance(refusal, Refusal)
    assert status == refusal.status


@pytest.mark.parametrize(
    "name", ["Sec-WebSocket-Key", "Sec-WebSocket-Version", "Host", "Origin"]
)
def test_a_repeated_header_is_one_value(name: str) -> None:
    """What must be there once cannot hide behind another of its name."""
    line = f"GET /v1/stream HTTP/1.1\r\n{name}: a\r\n{name}: b"
    data = head(line=line, without=name)
    parsed = parse_request(data)
    if isinstance(parsed, Request):
        assert parsed.headers[name.lower().encode()] == b"a, b"
    else:
        assert name.startswith("Sec-")


@pytest.mark.parametrize(
    "target",
    ["/v1/stream", "/v1/stream?a=b?c", "http://push.example/v1/stream?a=http://b"],
)
def test_the_path_is_without_query_and_host(target: str) -> None:
    """The absolute form must be understood as well (RFC 9112 section 3.2.2)."""
    assert request(head(line=f"GET {target} HTTP/1.1")).path == b"/v1/stream"


@pytest.mark.parametrize(
    ("status", "demand"),
    [
        (405, b"allow: GET\r\n"),
        (426, b"sec-websocket-version: 13\r\n"),
        (426, b"upgrade: websocket\r\n"),
        (403, b""),
    ],
)
def test_a_refusal_says_what_would_do(status: int, demand: bytes) -> None:
    """The body has a length, the connection ends, and some statuses say more (4.4)."""
    refusal = Refusal(status, "No.", ((b"retry-after", b"5"),))
    answer = handshake.refuse(refusal, b"text/plain", b"No.", [(b"date", b"today")])
    start, _, body = answer.partition(b"\r\n\r\n")
    assert start.startswith(b"HTTP/1.1 %d " % status)
    assert demand in start + b"\r\n"
    for field in (
        b"content-type: text/plain",
        b"content-length: 3",
        b"connection: close",
        b"retry-after: 5",
        b"date: today",
    ):
        assert field in start.split(b"\r\n")
    assert body == b"No."

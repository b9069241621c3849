"""The opening handshake of RFC 6455 section 4.2, the server's half; pure."""

from binascii import Error, a2b_base64, b2a_base64
from collections.abc import Iterable, Mapping, Sequence
from hashlib import sha1
from http import HTTPStatus
from typing import NamedTuple

VERSION = b"13"
GUID = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11"
"""What a server appends to a client's key (1.3)."""

_SWITCHING = (
    b"HTTP/1.1 101 Switching Protocols\r\nupgrade: websocket\r\nconnection: upgrade\r\n"
    b"sec-websocket-accept: %b\r\n%b"
)
_CHOSEN = b"sec-websocket-protocol: %b\r\n"

Fields = Sequence[tuple[bytes, bytes]]


class Request(NamedTuple):
    """An upgrade request.

    Attributes:
        method: As sent.
        path: Of the target, without its query.
        headers: By lower-case name; the values of a repeated name are joined by a comma
            (RFC 9110 section 5.3), so that whatever must be there once, is or is wrong.
    """

    method: bytes
    path: bytes
    headers: Mapping[bytes, bytes]


class Refusal(NamedTuple):
    """Why an upgrade is not granted.

    Attributes:
        status: Of the HTTP answer.
        sentence: For people.
        headers: That go with it; those a status always needs are added.
    """

    status: int
    sentence: str
    headers: tuple[tuple[bytes, bytes], ...] = ()


DEMANDS: dict[int, tuple[tuple[bytes, bytes], ...]] = {
    405: ((b"allow", b"GET"),),
    426: (
        (b"upgrade", b"websocket"),
        (b"connection", b"upgrade"),
        (b"sec-websocket-version", VERSION),
    ),
}
"""Headers that go with a status, whoever answers with it (RFC 9110 15.5.6, 15.5.22)."""


def parse_request(head: bytes) -> Request | Refusal:
    """Read the head of a request that an HTTP parser found well formed."""
    lines = head.removesuffix(b"\r\n\r\n").split(b"\r\n")
    words = lines[0].split(b" ")
    fields = [_field(line) for line in lines[1:]]
    if len(words) != 3 or any(name == b"" for name, _ in fields):
        return Refusal(400, "This is not an HTTP request.")
    return read_request(words[0], words[1], fields)


def _field(line: bytes) -> tuple[bytes, bytes]:
    name, _, value = line.partition(b":")
    return name.lower(), value


def read_request(method: bytes, target: bytes, fields: Fields) -> Request | Refusal:
    """Read a request that an HTTP parser took apart.

    Args:
        method: As sent.
        target: As sent.
        fields: Names in lower case, and values.
    """
    headers = {name: value.strip() for name, value in fields}
    if len(headers) < len(fields):
        headers = _joined(fields)
    request = Request(method, _path(target), headers)
    return _refusal(request) or request


def _joined(fields: Iterable[tuple[bytes, bytes]]) -> dict[bytes, bytes]:
    headers: dict[bytes, bytes] = {}
    for name, value in fields:
        value = value.strip()
        headers[name] = headers[name] + b", " + value if name in headers else value
    return headers


def _path(target: bytes) -> bytes:
    """Take the path of a target in origin or absolute form (RFC 9112 section 3.2)."""
    if not target.startswith(b"/"):
        _, _, rest = target.partition(b"://")
        target = b"/" + rest.partition(b"/")[2]
    return target.partition(b"?")[0]


def _refusal(request: Request) -> Refusal | None:
    """Check what 4.2.1 asks of every client."""
    headers = request.headers
    if request.method != b"GET":
        return Refusal(405, "A websocket opens with GET.")
    if not _says(headers, b"connection", b"upgrade"):
        return Refusal(400, "The header Connection must say Upgrade.")
    if not _says(headers, b"upgrade", b"websocket"):
        return Refusal(426, "The header Upgrade must say websocket.")
    if headers.get(b"sec-websocket-version") != VERSION:
        return Refusal(426, "The header Sec-WebSocket-Version must be 13.")
    if not headers.get(b"host"):
        return Refusal(400, "The header Host is missing.")
    if not _is_key(headers.get(b"sec-websocket-key", b"")):
        return Refusal(400, "The header Sec-WebSocket-Key must be 16 bytes in base64.")
    return None


def offers(headers: Mapping[bytes, bytes], subprotocol: bytes) -> bool:
    """Tell whether the client offers this subprotocol; names are case-sensitive."""
    offered = headers.get(b"sec-websocket-protocol", b"")
    return offered == subprotocol or subprotocol in _items(offered)


def grant(request: Request, subprotocol: bytes | None, default: Fields) -> bytes:
    """Answer 101; no extension is ever accepted, as none is named (9.1).

    Args:
        request: The request for an upgrade, found good.
        subprotocol: The one that is chosen; None: none is.
        default: The fields that every answer has.
    """
    digest = sha1(request.headers[b"sec-websocket-key"] + GUID, usedforsecurity=False)
    proof = b2a_base64(digest.digest(), newline=False)
    chosen = b"" if subprotocol is None else _CHOSEN % subprotocol
    return _join(_SWITCHING % (proof, chosen), default, b"")


def refuse(refusal: Refusal, kind: bytes, body: bytes, default: Fields) -> bytes:
    """Answer with anything but 101; `kind` is the body's media type."""
    fields = [
        *refusal.headers,
        *DEMANDS.get(refusal.status, ()),
        (b"content-type", kind),
        (b"content-length", b"%d" % len(body)),
        (b"connection", b"close"),
    ]
    line = f"HTTP/1.1 {refusal.status} {HTTPStatus(refusal.status).phrase}\r\n".encode()
    return _join(line, (*fields, *default), body)


def _join(start: bytes, fields: Fields, body: bytes) -> bytes:
    lines = [b"%b: %b\r\n" % field for field in fields]
    return b"".join((start, *lines, b"\r\n", body))


def _says(headers: Mapping[bytes, bytes], name: bytes, token: bytes) -> bool:
    """Tell whether a token is among those of a header; case does not matter."""
    value = headers.get(name, b"").lower()
    return value == token or token in _items(value)


def _items(value: bytes) -> list[bytes]:
    return [item.strip() for item in value.split(b",")]


def _is_key(text: bytes) -> bool:
    try:
        return len(a2b_base64(text, strict_mode=True)) == 16
    except (Error, ValueError):
        return False

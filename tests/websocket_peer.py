"""The other end of a websocket, as tests need it: any bytes, right or wrong.

Frames are made here by hand, so that they can be wrong, and read by the `websockets`
package, so that what the server sends is judged by somebody else.
"""

import socket
from collections.abc import Generator, Iterator, Mapping
from contextlib import suppress
from typing import Self

from websockets.frames import Frame
from websockets.streams import StreamReader
from websockets.utils import apply_mask

from pushd.web.framing import CLOSE, CONTINUATION, PING, PONG, TEXT

FIN = 0x80
MASK = b"\x13\x57\x9b\xdf"
KEY = "dGhlIHNhbXBsZSBub25jZQ=="

Seen = tuple[int, bytes]
"""An opcode and a payload."""

UPGRADE: Mapping[str, str] = {
    "Host": "push.example",
    "Upgrade": "websocket",
    "Connection": "Upgrade",
    "Sec-WebSocket-Key": KEY,
    "Sec-WebSocket-Version": "13",
}
"""The headers of a good opening handshake (RFC 6455 section 1.3)."""


def client_frame(
    opcode: int,
    payload: bytes = b"",
    *,
    fin: bool = True,
    reserved: int = 0,
    mask: bytes | None = MASK,
    length: int | None = None,
) -> bytes:
    """Make a client's frame, or one that no client may send.

    Args:
        opcode: Any of 16.
        payload: As the server should read it.
        fin: Whether the message ends here.
        reserved: The three reserved bits.
        mask: None sends it unmasked.
        length: What the header says, None the truth.
    """
    first = (FIN if fin else 0) | reserved << 4 | opcode
    size = len(payload) if length is None else length
    flag = 0 if mask is None else 0x80
    if size <= 125:
        head = bytes((first, flag | size))
    elif size <= 0xFFFF:
        head = bytes((first, flag | 126)) + size.to_bytes(2, "big")
    else:
        head = bytes((first, flag | 127)) + size.to_bytes(8, "big")
    return head + (payload if mask is None else mask + apply_mask(payload, mask))


def text(payload: bytes, *, fin: bool = True) -> bytes:
    """Make a text frame."""
    return client_frame(TEXT, payload, fin=fin)


def more(payload: bytes, *, fin: bool = False) -> bytes:
    """Make a continuation frame."""
    return client_frame(CONTINUATION, payload, fin=fin)


def fragments(opcode: int, payloads: list[bytes]) -> bytes:
    """Make a message of several frames."""
    last = len(payloads) - 1
    return b"".join(
        client_frame(CONTINUATION if place else opcode, payload, fin=place == last)
        for place, payload in enumerate(payloads)
    )


def ping(payload: bytes = b"") -> bytes:
    """Make a ping."""
    return client_frame(PING, payload)


def pong(payload: bytes = b"") -> bytes:
    """Make a pong."""
    return client_frame(PONG, payload)


def close(code: int | None = 1000, reason: bytes = b"") -> bytes:
    """Make a close frame; without a code it is empty."""
    return client_frame(CLOSE, closing(code, reason))


def closing(code: int | None, reason: bytes = b"") -> bytes:
    """Make the payload of a close frame."""
    return reason if code is None else code.to_bytes(2, "big") + reason


def pieces(data: bytes, size: int) -> Iterator[bytes]:
    """Cut bytes into pieces of one size."""
    return (data[at : at + size] for at in range(0, len(data), size))


class Judge:
    """Reads the frames of a server, and raises where RFC 6455 forbids them."""

    def __init__(self) -> None:
        self._reader = StreamReader()
        self._frame = self._next()
        self._closed = False

    def read(self, data: bytes) -> list[Seen]:
        """Take bytes of the server and return the frames that are now whole."""
        self._reader.feed_data(data)
        seen = []
        while frame := self._resume():
            assert not self._closed, "a frame after the close frame"
            self._closed = frame.opcode == CLOSE
            seen.append((int(frame.opcode), bytes(frame.data)))
        return seen

    def _next(self) -> Generator[None, None, Frame]:
        return Frame.parse(self._reader.read_exact, mask=False)

    def _resume(self) -> Frame | None:
        try:
            next(self._frame)
        except StopIteration as stop:
            frame: Frame = stop.value
            self._frame = self._next()
            return frame
        return None


class Peer:
    """A client on a real socket that reads and writes what it is told."""

    def __init__(self, port: int, *, patience: float = 20.0) -> None:
        self.socket = socket.create_connection(("127.0.0.1", port), patience)
        self._judge = Judge()
        self._frames: list[Seen] = []

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.socket.close()

    def ask(
        self,
        headers: Mapping[str, str] = UPGRADE,
        *,
        line: str = "GET /echo HTTP/1.1",
        then: bytes = b"",
    ) -> tuple[int, Mapping[str, str], bytes]:
        """Send a request; return status, headers and body of the answer."""
        fields = "".join(f"{name}: {value}\r\n" for name, value in headers.items())
        self.socket.sendall(f"{line}\r\n{fields}\r\n".encode() + then)
        answer = b""
        while b"\r\n\r\n" not in answer:
            piece = self.socket.recv(65536)
            if not piece:
                break
            answer += piece
        head, _, body = answer.partition(b"\r\n\r\n")
        status, *lines = head.decode().split("\r\n")
        found = dict(line.lower().split(": ", 1) for line in lines)
        if not status.startswith("HTTP/1.1 101"):
            while len(body) < int(found["content-length"]):
                body += self.socket.recv(65536)
        return int(status.split()[1]), found, body

    def open(self) -> Self:
        """Do the opening handshake."""
        status, _, _ = self.ask()
        assert status == 101
        return self

    def send(self, *frames: bytes) -> None:
        """Send bytes in one write; a server that closed meanwhile is none of our errors."""
        with suppress(BrokenPipeError, ConnectionResetError):
            self.socket.sendall(b"".join(frames))

    def receive(self) -> Seen | None:
        """Wait for a frame; None if the server closed its side."""
        while not self._frames:
            data = self.socket.recv(65536)
            if not data:
                return None
            self._frames += self._judge.read(data)
        return self._frames.pop(0)

    def rest(self) -> list[Seen]:
        """Wait for every frame until the server closes its side."""
        return list(iter(self.receive, None))

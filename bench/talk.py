"""Talk to a server over one websocket, as a client that trusts it and checks little.

For what the load program cannot say: deliveries over the socket, acks of single ids, and
clients that misbehave. It takes more processor time than the load program does; only
what the server takes is ever read.
"""

import asyncio
import socket
import time
from asyncio import Future
from collections.abc import Callable, Sequence
from itertools import count
from typing import Any

from bench.records import AUDIENCE, HOUR, WIRE
from pushd.identity.keys import PrivateKey
from pushd.identity.tokens import DELIVER, RECEIVE, make_token
from pushd.protocol.messages import AnyServerFrame, decode_server_frame, encode

TEXT, CLOSE, PING, PONG = 0x81, 0x88, 0x89, 0x8A
"""First bytes of whole frames (RFC 6455, section 5.2)."""
NORMAL = (1000).to_bytes(2, "big")

_numbers = count(1)

Heard = Callable[["Talk", AnyServerFrame], None]
"""Told each frame of the server."""


class Person:
    """An identity, and the tokens it makes."""

    def __init__(self) -> None:
        self._key = PrivateKey.generate()
        self.did = self._key.did

    def token(self, *, to: Sequence[str] = (), receive: bool = True) -> str:
        """Make a new token.

        Args:
            to: Whom it may deliver to; nobody without.
            receive: Whether it may listen to its own mailbox too.
        """
        scope = " ".join([RECEIVE] * receive + [DELIVER] * bool(to))
        return make_token(
            self._key,
            audience=AUDIENCE,
            scope=scope,
            now=time.time(),
            lifetime=HOUR,
            to=to,
            jti=str(next(_numbers)),
        )


class Talk(asyncio.Protocol):
    """One websocket. What is said while something is heard leaves in one write.

    Args:
        heard: Told each frame of the server; replaceable.

    Attributes:
        deaf: Whether pings stay unanswered and nothing is read.
        over: Done when the connection is.
    """

    def __init__(self, heard: Heard) -> None:
        self.heard = heard
        self.deaf = False
        loop = asyncio.get_running_loop()
        self.over: Future[None] = loop.create_future()
        self._upgraded: Future[None] = loop.create_future()
        self._buffer = b""
        self._out: list[bytes] = []

    @classmethod
    async def begin(
        cls, port: int, heard: Heard, connection: socket.socket | None = None
    ) -> "Talk":
        """Connect to a port of this machine, and become a websocket.

        Args:
            port: Of the server.
            heard: Told each frame.
            connection: One that is there already; None: a new one.

        Raises:
            ConnectionError: If the server would not.
        """
        loop = asyncio.get_running_loop()
        if connection is None:
            _, talk = await loop.create_connection(lambda: cls(heard), "127.0.0.1", port)
        else:
            _, talk = await loop.create_connection(lambda: cls(heard), sock=connection)
        talk._transport.write(WIRE.upgrade)
        try:
            await talk._upgraded
        except BaseException:
            talk.abort()
            raise
        return talk

    def say(self, frame: Any) -> None:
        """Send a frame, before anything else is waited for."""
        if not self._out:
            asyncio.get_running_loop().call_soon(self._flush)
        self._out.append(_frame(TEXT, encode(frame)))

    def close(self) -> None:
        """Say that it is over, and end the connection."""
        self._out.append(_frame(CLOSE, NORMAL))
        self._flush()
        self._transport.close()

    def abort(self) -> None:
        """End the connection without a word."""
        self._transport.abort()

    def turn_deaf(self) -> None:
        """Keep the connection and ignore it."""
        self.deaf = True
        self._transport.pause_reading()

    def pause(self) -> None:
        """Read nothing, and so answer nothing."""
        self._transport.pause_reading()

    def resume(self) -> None:
        """Read again."""
        self._transport.resume_reading()

    # --- asyncio.Protocol ---------------------------------------------------------------

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Begin."""
        self._transport: Any = transport

    def data_received(self, data: bytes) -> None:
        """Take apart what came."""
        self._buffer += data
        if not self._upgraded.done():
            self._take_answer()
        if not self._upgraded.done() or self._upgraded.cancelled():
            return
        at = 0
        while (end := _end_of_frame(self._buffer, at)) is not None:
            start, stop = end
            self._take(self._buffer[at], self._buffer[start:stop])
            at = stop
        self._buffer = self._buffer[at:]

    def connection_lost(self, error: Exception | None) -> None:
        """End."""
        if not self._upgraded.done():
            self._upgraded.set_exception(ConnectionError("This is no websocket."))
        self.over.set_result(None)

    def _take_answer(self) -> None:
        head, found, rest = self._buffer.partition(b"\r\n\r\n")
        if found and head.startswith(b"HTTP/1.1 101"):
            self._buffer = rest
            self._upgraded.set_result(None)
        elif found:
            self._transport.abort()

    def _take(self, first: int, payload: bytes) -> None:
        if first == TEXT:
            self.heard(self, decode_server_frame(payload))
        elif first == PING and not self.deaf:
            self._transport.write(_frame(PONG, payload))
        elif first == CLOSE:
            self._transport.close()

    def _flush(self) -> None:
        if self._out and not self._transport.is_closing():
            self._transport.write(b"".join(self._out))
        self._out.clear()


def _frame(first: int, payload: bytes) -> bytes:
    """Make a frame whose mask is zero, so that masking changes nothing (5.3)."""
    size = len(payload)
    if size <= 125:
        head = bytes((first, 0x80 | size))
    else:
        head = bytes((first, 0x80 | 126)) + size.to_bytes(2, "big")
    return head + bytes(4) + payload


def _end_of_frame(data: bytes, at: int) -> tuple[int, int] | None:
    """Return where the payload of the frame at `at` begins and ends, once all is there."""
    if len(data) < at + 2:
        return None
    length, start = data[at + 1], at + 2
    if length > 125:
        digits = 2 if length == 126 else 8
        start += digits
        length = int.from_bytes(data[at + 2 : start], "big")
    if len(data) < start + length:
        return None
    return start, start + length

"""One websocket connection of RFC 6455, server side, small enough to have many of.

Theory of operation. uvicorn parses the upgrade request and hands the socket to the class
named by its `ws` setting. A subclass says what the conversation is about by overriding
the hooks; everything happens inside the transport's callbacks, so that an idle connection
is this object and its transport, without a task, a timer, a queue or a buffer.

    CONNECTING --request granted--> OPEN --we close--> CLOSING --peer closes--> CLOSED
         |                           |                    |
         '--refused--> CLOSED        '--peer closes, or either breaks a rule--> CLOSED

- OPEN reads messages and sends frames. What a client sends before it has the answer to
  its request, uvicorn may drop; it has no right to (section 4.1).
- CLOSING has sent its close frame and sends nothing more; it reads on, ignoring all but
  the peer's close frame (section 7.1.2).
- CLOSED has sent FIN and reads without looking until the peer has closed too: closing a
  socket with unread bytes would reset it, and the peer lose what we said last (7.1.1).

Time is the owner's, in Unix seconds: for every connection that is not yet `lost` it looks
now and then at `heard` and `unsent`, and calls `overdue`.

What a peer can make this hold is bounded: one message of `max_message` bytes, whether in
one frame or in fragments, with what one read of the socket brings; `max_fragments` of
them; the transport's write buffer, behind which only the latest pong waits. It can ask
for `max_controls` control frames a second. A length is only believed once it is there.
"""

import asyncio
from collections.abc import Mapping, Sequence
from enum import Enum, auto
from time import monotonic, time
from typing import Any, ClassVar, cast

from uvicorn.config import Config
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol
from uvicorn.server import ServerState

from pushd.web import framing, handshake
from pushd.web.framing import CONTINUATION, FINAL, OPCODE, Fragments, Violation
from pushd.web.handshake import Fields, Refusal, Request

try:
    from websockets.speedups import apply_mask
except ImportError:
    from websockets.utils import apply_mask

__all__ = ["Refusal", "State", "WebSocket"]

GOING_AWAY = 1001

WRITE_HIGH = 64 * 1024
"""Bytes of unsent frames above which a connection is `paused`, until a quarter is left."""


class State(Enum):
    """Where a connection is between the request and the end of its socket."""

    CONNECTING = auto()
    OPEN = auto()
    CLOSING = auto()
    CLOSED = auto()


CONNECTING, OPEN, CLOSING, CLOSED = State


class WebSocket(asyncio.Protocol):
    """A connection, from the upgrade request to the end of its socket.

    Attributes:
        transport: The socket.
        app_state: What the application's lifespan yielded.
        state: Where it is in its life.
        heard: When the peer last sent anything, in Unix seconds.
    """

    __slots__ = (
        "_buffer",
        "_closing_since",
        "_controls",
        "_fragments",
        "_need",
        "_paused",
        "_pong",
        "_server",
        "app_state",
        "heard",
        "state",
        "transport",
    )

    subprotocol: ClassVar[bytes | None] = None
    """Answered to a client that offers it; whether it must is for `requested` to say."""
    max_message: ClassVar[int] = 64 * 1024
    """Bytes of the largest message a peer may send."""
    max_fragments: ClassVar[int] = 1024
    """Frames a message may come in."""
    max_controls: ClassVar[int] = 64
    """Control frames a peer may send in a second."""
    close_timeout: ClassVar[float] = 5.0
    """Seconds the peer has to close its side."""

    transport: asyncio.Transport

    def __init__(
        self,
        config: Config,
        server_state: ServerState,
        app_state: dict[str, Any],
        _loop: asyncio.AbstractEventLoop | None = None,
    ) -> None:
        """Make a connection, the way uvicorn does."""
        self._server = server_state
        self.app_state = app_state
        self.state = CONNECTING
        self.heard = 0.0
        self._closing_since: float | None = None
        self._buffer: bytearray | None = None  # the frame that is not all there
        self._need = 0  # bytes of it without which there is no use in looking again
        self._fragments: Fragments | None = None
        self._controls = 0.0  # when the control frames so far will have been paid for
        self._paused = False
        self._pong: bytes | None = None  # what to answer once the peer reads again

    # --- hooks -----------------------------------------------------------------------

    def requested(self, path: bytes, headers: Mapping[bytes, bytes]) -> Refusal | None:
        """Decide on an upgrade that RFC 6455 has nothing against; None grants it.

        Args:
            path: Of the target, without its query.
            headers: By lower-case name; repeated ones are joined by a comma.
        """
        return None

    def refused(self, refusal: Refusal) -> tuple[bytes, bytes]:
        """Word the answer to a request that is refused, by `requested` or RFC 6455.

        Returns:
            The body's media type, and the body.
        """
        return b"text/plain; charset=utf-8", refusal.sentence.encode() + b"\n"

    def opened(self) -> None:
        """The upgrade is granted; frames may be sent."""

    def text(self, data: bytes) -> None:
        """A text message has come; it is UTF-8."""

    def binary(self, data: bytes) -> None:
        """A binary message has come; unless overridden, that ends the connection."""
        self.fail(framing.UNSUPPORTED, "text only")

    def broken(self, code: int, reason: str) -> None:
        """The peer broke a rule or a limit, and the connection is about to close.

        Frames may still be sent. `code` is what RFC 6455 section 7.4.1 has for it and is
        closed with, unless this closes with another.
        """

    def paused(self) -> None:
        """The peer reads more slowly than we write: better send nothing for a while."""

    def resumed(self) -> None:
        """The peer caught up after `paused`."""

    def lost(self) -> None:
        """The connection that was `opened` is gone."""

    def shutdown(self) -> None:
        """The server stops (called by uvicorn); close soon."""
        self.close(GOING_AWAY)

    # --- sending ---------------------------------------------------------------------

    def send_text(self, payload: bytes) -> None:
        """Send a text message; unless OPEN, nothing is sent."""
        if self.state is OPEN:
            self.transport.write(framing.prefix(framing.TEXT, len(payload)) + payload)

    def send_texts(self, payloads: Sequence[bytes]) -> None:
        """Send text messages in one write; unless OPEN, nothing is sent."""
        if self.state is OPEN:
            frames: list[bytes] = []
            for payload in payloads:
                frames += (framing.prefix(framing.TEXT, len(payload)), payload)
            self.transport.write(b"".join(frames))

    def ping(self) -> None:
        """Ask the peer for a sign of life, which will show in `heard`."""
        if self.state is OPEN:
            self._send(framing.PING, b"")

    def close(self, code: int = 1000, reason: str = "") -> None:
        """Begin the close handshake; what waits to be sent goes first.

        Args:
            code: Close code.
            reason: For people; cut after 123 bytes.
        """
        if self.state is OPEN:
            self._send(framing.CLOSE, framing.make_close(code, reason))
            self.state = CLOSING
            self._closing_since = time()
            self._fragments = self._pong = None
            self.transport.resume_reading()  # the peer's close frame is to be heard

    def fail(self, code: int, reason: str) -> None:
        """Close because the peer is `broken`, and listen to it no more (7.1.7)."""
        if self.state is OPEN:
            self.broken(code, reason)
            self.close(code, reason)
        self._finish()

    def abort(self) -> None:
        """Drop the connection as it is."""
        self.state = CLOSED
        self.transport.abort()

    def pause_reading(self) -> None:
        """Let what the peer sends wait in its socket; it is not `heard` then either."""
        self.transport.pause_reading()

    def resume_reading(self) -> None:
        """Read again."""
        self.transport.resume_reading()

    @property
    def unsent(self) -> int:
        """Bytes that wait for the peer to take them."""
        return self.transport.get_write_buffer_size()

    def overdue(self, now: float) -> bool:
        """Abort a connection whose close takes longer than `close_timeout`.

        Returns:
            Whether it was aborted.
        """
        if self._closing_since is None or now - self._closing_since < self.close_timeout:
            return False
        self.abort()
        return True

    def clock_was_set(self, now: float) -> None:
        """Begin anew what is counted from a moment of a clock that was set."""
        self.heard = now
        if self._closing_since is not None:
            self._closing_since = now

    # --- the transport's callbacks ---------------------------------------------------

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Take over the socket from uvicorn's HTTP connection."""
        self.transport = cast("asyncio.Transport", transport)
        self.transport.set_write_buffer_limits(high=WRITE_HIGH)
        _release(self.transport.get_protocol())
        # uvicorn does this later; a hook may write, or fail, before.
        self.transport.set_protocol(self)

    def take_over(
        self, transport: asyncio.BaseTransport, method: bytes, target: bytes, fields: Fields
    ) -> None:
        """Take over the socket together with the request, which was parsed already.

        In place of `connection_made` and `data_received`, to which uvicorn hands the
        request written out again.

        Args:
            transport: The socket.
            method: As sent.
            target: As sent.
            fields: Header fields as they came, their names in lower case.
        """
        self.connection_made(transport)
        self.heard = time()
        self._shake_hands(handshake.read_request(method, target, fields))

    def data_received(self, data: bytes) -> None:
        """Read the request, which comes whole, and after it frames, which may not."""
        self.heard = time()
        if self.state is OPEN and self._buffer is None and self._fragments is None:
            start = framing.lone_text(data)
            if start and len(data) - start <= self.max_message:
                payload = apply_mask(data[start:], data[start - 4 : start])
                if payload.isascii():
                    self.text(payload)
                    return
        if self.state is CONNECTING:
            self._shake_hands(handshake.parse_request(data))
            return
        if self._buffer is not None:
            self._buffer += data
            if len(self._buffer) < self._need:
                return
            data = bytes(self._buffer)
            self._buffer = None
        try:
            self._take_frames(data)
        except Violation as violation:
            self.fail(violation.code, violation.reason)

    def eof_received(self) -> None:
        """Close our side too, once what waits is sent or the close is `overdue`."""
        self.state = CLOSED
        self._closing_since = self._closing_since or time()

    def pause_writing(self) -> None:
        """Note that the peer does not keep up."""
        self._paused = True
        if self.state is OPEN:
            self.paused()

    def resume_writing(self) -> None:
        """Answer the latest ping that came meanwhile, and go on."""
        self._paused = False
        if self._pong is not None:
            self._send(framing.PONG, self._pong)
            self._pong = None
        if self.state is OPEN:
            self.resumed()

    def connection_lost(self, exc: Exception | None) -> None:
        """Let go of everything."""
        self.state = CLOSED
        self._buffer = self._fragments = self._pong = None
        self._closing_since = None
        connections: set[Any] = self._server.connections
        if self in connections:
            connections.remove(self)
            self.lost()

    # --- the handshake ---------------------------------------------------------------

    def _shake_hands(self, request: Request | Refusal) -> None:
        """Grant the upgrade, or refuse it."""
        if isinstance(request, Refusal):
            self._turn_away(request)
            return
        refusal = self.requested(request.path, request.headers)
        if refusal is not None:
            self._turn_away(refusal)
            return
        chosen = self.subprotocol
        if chosen is not None and not handshake.offers(request.headers, chosen):
            chosen = None
        self.transport.write(handshake.grant(request, chosen, self._server.default_headers))
        self.state = OPEN
        connections: set[Any] = self._server.connections
        connections.add(self)
        self.opened()

    def _turn_away(self, refusal: Refusal) -> None:
        kind, body = self.refused(refusal)
        default = self._server.default_headers
        self.transport.write(handshake.refuse(refusal, kind, body, default))
        self.transport.close()
        self.state = CLOSED

    # --- reading ---------------------------------------------------------------------

    def _take_frames(self, data: bytes) -> None:
        """Take every whole frame, and keep what is left of the last one."""
        at = need = 0
        while at < len(data) and self.state is not CLOSED:
            header = framing.parse_header(data, at)
            if header is None:
                need = 0
                break
            first, start, length = header
            if length > self.max_message or self._fragments is not None:
                self._check_size(first & OPCODE, length)
            stop = start + length
            if stop > len(data):
                need = stop - at
                break
            self._take_frame(first, apply_mask(data[start:stop], data[start - 4 : start]))
            at = stop
        if at < len(data) and self.state is not CLOSED:
            self._buffer = bytearray(data[at:])
            self._need = need

    def _check_size(self, opcode: int, length: int) -> None:
        """Refuse a message as soon as a header says that it will be too big."""
        held = len(self._fragments.data) if self._fragments is not None else 0
        if held + length > self.max_message and opcode < framing.CLOSE:
            raise Violation(framing.TOO_BIG, "message too big")

    def _take_frame(self, first: int, payload: bytes) -> None:
        """Take a frame; data that comes after our close frame is of no interest."""
        if first & framing.CLOSE:
            self._take_control(first & OPCODE, payload)
        elif self.state is OPEN:
            if first == framing.WHOLE_TEXT and self._fragments is None:
                framing.check_text(payload)
                self.text(payload)
            else:
                self._take_fragment(first & OPCODE, bool(first & FINAL), payload)

    def _take_fragment(self, opcode: int, final: bool, payload: bytes) -> None:
        """Put messages together (5.4)."""
        message = self._fragments
        if opcode == CONTINUATION and message is None:
            raise Violation(framing.PROTOCOL_ERROR, "a continuation of nothing")
        if opcode != CONTINUATION and message is not None:
            raise Violation(framing.PROTOCOL_ERROR, "a message inside another")
        message = message or Fragments(opcode)
        message.add(payload, most=self.max_fragments)
        if not final:
            self._fragments = message
            return
        self._fragments = None
        self._take_message(message.opcode, bytes(message.data))

    def _take_message(self, opcode: int, message: bytes) -> None:
        if opcode == framing.BINARY:
            self.binary(message)
            return
        framing.check_text(message)
        self.text(message)

    def _take_control(self, opcode: int, payload: bytes) -> None:
        """Answer a ping, note a pong, end with a close; each costs the peer some time."""
        now = monotonic()
        self._controls = max(self._controls, now) + 1 / self.max_controls
        if self._controls > now + 1:
            raise Violation(framing.POLICY, "too many control frames")
        if opcode == framing.CLOSE:
            self._take_close(payload)
        elif opcode == framing.PING and self.state is OPEN:
            if self._paused:  # only the latest is answered when the peer reads (5.5.3)
                self._pong = payload
            else:
                self._send(framing.PONG, payload)

    def _take_close(self, payload: bytes) -> None:
        """Echo the peer's close frame, or note that it answers ours."""
        if self.state is OPEN:
            self.close(framing.parse_close(payload))
        self._finish()

    # --- writing ---------------------------------------------------------------------

    def _send(self, opcode: int, payload: bytes) -> None:
        """Let a frame leave, with what else this tick brings: uvloop writes it at once."""
        self.transport.write(framing.prefix(opcode, len(payload)) + payload)

    # --- the end ---------------------------------------------------------------------

    def _finish(self) -> None:
        """Send FIN behind what waits to be sent, and look at nothing more."""
        if self.state is CLOSED:
            return
        self.state = CLOSED
        self._buffer = self._fragments = self._pong = None
        if self.transport.can_write_eof():
            self.transport.write_eof()
        else:
            self.transport.close()  # TLS cannot close one side only


def _release(http: asyncio.BaseProtocol) -> None:
    """Break the cycle of uvicorn's HTTP connection and its parser.

    They hold each other, and both would otherwise stay until the garbage collector looks
    at its oldest generation, which a server of many connections does seldom.
    """
    if isinstance(http, HttpToolsProtocol):
        http.parser = None  # type: ignore[assignment] # as its own connection_lost does

"""`GET /v1/stream` as an event stream: HTTP one way, for those who cannot have a websocket.

`http.py` hands the socket over together with the request, so that an idle event stream is
as small as a websocket: one object, without task, timer or queue. Until the mailbox is
open a refusal is an ordinary answer of HTTP; after that the session says `closing`.

The connection is never used again. Its answer ends where the connection does, and what a
client sends after its request could not be answered, so it is cut off.
"""

import asyncio
import socket
import struct
import time
from asyncio import Future
from collections.abc import Callable, Iterable
from functools import partial
from http import HTTPStatus
from math import inf
from secrets import token_urlsafe
from typing import Any, cast

from uvicorn.server import ServerState

from pushd.errors import BadRequest, Overloaded, PushdError
from pushd.identity.tokens import Token
from pushd.protocol.commands import (
    Authenticate,
    Close,
    Command,
    Commands,
    Open,
    Probe,
    Push,
    ReadPage,
    Send,
    Told,
)
from pushd.protocol.events import (
    HEARTBEAT,
    MEDIA_TYPE,
    EventSession,
    event,
    messages_event,
)
from pushd.protocol.flow import State
from pushd.web import driver
from pushd.web.addresses import forwarded_of
from pushd.web.cors import headers_for
from pushd.web.driver import Driver
from pushd.web.exchange import NO_STORE, Headers, bearer_of, query_of, verify_bearer
from pushd.web.parts import Parts
from pushd.web.problems import refusal

PATH = b"/v1/stream"
WRITE_HIGH = 64 * 1024
"""Bytes of unsent events above which nothing is pushed, until a quarter is left."""
CLOSE_SECONDS = 5
"""Seconds a client has to take what was said last."""

HEAD = (
    (b"content-type", MEDIA_TYPE),
    NO_STORE,
    (b"x-accel-buffering", b"no"),  # or nginx would gather events before it sends them
)
_LAST_ACK = struct.Struct("=56xI")
"""Where `tcpi_last_ack_recv` stands in linux/tcp.h: milliseconds since."""


def is_wanted(headers: Headers) -> bool:
    """Tell whether a GET of the stream asks for events."""
    return MEDIA_TYPE in headers.get(b"accept", b"").lower()


class Events(asyncio.Protocol, Driver):
    """An event stream, from its request to the end of its socket."""

    __slots__ = (*driver.SLOTS, "_begun", "_headers", "_server", "transport")

    transport: asyncio.Transport
    _session: EventSession

    def __init__(self, parts: Parts, server: ServerState, headers: Headers) -> None:
        """Make an event stream, which has no socket yet.

        Args:
            parts: Of the server.
            server: uvicorn's, which waits for its connections to end.
            headers: Of the request; lines of X-Forwarded-For are joined.
        """
        session = EventSession(token_urlsafe(9), parts["terms"], now=time.time())
        self._begin(parts, session)
        self.deadline = inf  # until its owner is known
        self._server = server
        self._headers: Headers | None = headers  # until the answer begins
        self._begun = False

    def take_over(self, transport: asyncio.Transport, query: bytes) -> None:
        """Answer the request, from now on as the protocol of its socket."""
        self.transport = transport
        transport.set_protocol(self)
        transport.set_write_buffer_limits(high=WRITE_HIGH)
        connections: set[Any] = self._server.connections
        connections.add(self)
        try:
            members = query_of({"query_string": query})
            after = self._header(b"last-event-id").decode("latin-1")
            self._run(
                self._session.requested(
                    after or members.get("after"), members.get("device")
                )
            )
        except BadRequest as error:
            self._refuse(error)

    def _header(self, name: bytes) -> bytes:
        return (self._headers or {}).get(name, b"")

    # --- what the hub sees -----------------------------------------------------------

    @property
    def heard(self) -> float:
        """When the client's machine last took something, in Unix seconds."""
        connection = self.transport.get_extra_info("socket")
        info = connection.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, _LAST_ACK.size)
        return time.time() - cast(float, _LAST_ACK.unpack(info)[0]) / 1000

    def tick(self, now: float) -> None:
        """Let time act on the session, or end a close that the client does not take."""
        if self._over:
            self.deadline = inf
            self.transport.abort()
            return
        self._run(self._session.tick(now, self.heard, self._unsent))
        if not self._over:
            self.deadline = self._session.deadline

    @property
    def _over(self) -> bool:
        return self._session.state is State.CLOSING

    @property
    def _unsent(self) -> int:
        return self.transport.get_write_buffer_size()

    # --- what the socket says --------------------------------------------------------

    def data_received(self, data: bytes) -> None:
        """Cut off a client that goes on talking."""
        self.transport.abort()

    def pause_writing(self) -> None:
        """Stop pushing: the client reads more slowly than we write."""
        if not self._over:
            self._hold(self._unsent)
            self._run(self._session.paused(self._unsent, time.time()))

    def resume_writing(self) -> None:
        """Go on."""
        self._hold(0)
        self._run(self._session.resumed())

    def connection_lost(self, exc: Exception | None) -> None:
        """Leave."""
        connections: set[Any] = self._server.connections
        connections.discard(self)
        self._session.end()
        self.deadline = inf
        self._hold(0)
        self._leave()

    def shutdown(self) -> None:
        """Drain, because uvicorn stops: every session in its own slot of the time."""
        self._parts["hub"].drain(self._parts["drain_seconds"])
        if not self._joined:
            self._refuse(Overloaded("This server restarts; come back in a moment."))

    # --- carrying out ----------------------------------------------------------------

    def _run(self, commands: Commands) -> None:
        """Carry out commands; the events among them leave in one write."""
        events: list[bytes] = []
        for command in commands:
            match command:
                case Push(messages, cursor):
                    self._parts["metrics"].pushed(len(messages))
                    self._history += len(messages)
                    events.append(messages_event(messages, cursor))
                case Send(frame):
                    events.append(event(frame))
                case Probe():
                    events.append(HEARTBEAT)
                case Close():
                    self._write(events)
                    events = []
                    self._end(stuck=command.stuck)
                case _:
                    _CARRY_OUT[type(command)](self, command)
        self._write(events)
        if self._session.deadline < self.deadline:
            self.deadline = self._session.deadline
            self._parts["hub"].schedule(self)

    def _write(self, events: list[bytes]) -> None:
        if not events or self.transport.is_closing():
            return
        if not self._begun:
            events.insert(0, self._head(200, HEAD))
        self.transport.write(b"".join(events))

    def _head(self, status: int, headers: Iterable[tuple[bytes, bytes]]) -> bytes:
        """Return the head of the answer, which begins with it."""
        origin = self._header(b"origin")
        self._begun, self._headers = True, None
        fields = (
            *self._server.default_headers,
            *headers,
            *headers_for(origin, self._parts["origins"]),
            (b"connection", b"close"),
        )
        lines = [b"%b: %b\r\n" % field for field in fields]
        phrase = HTTPStatus(status).phrase.encode()
        return b"HTTP/1.1 %d %b\r\n%b\r\n" % (status, phrase, b"".join(lines))

    def _refuse(self, error: PushdError) -> None:
        """Answer that there will be no events."""
        self._parts["metrics"].connect_refused(error.code)
        status, body, headers, media_type = refusal(error)
        size = (b"content-length", b"%d" % len(body))
        head = self._head(status, ((b"content-type", media_type), size, *headers))
        self.transport.write(head + body)
        self._session.end()
        self._end()

    def _failed(self, error: PushdError) -> None:
        if self._begun:
            super()._failed(error)
        elif not self._over:
            self._refuse(error)

    def _end(self, *, stuck: bool = False) -> None:
        """Close, and look some seconds from now whether the client took the rest."""
        self._leave()
        if stuck:
            self.transport.abort()
            return
        self.transport.close()
        self.deadline = time.time() + CLOSE_SECONDS
        self._parts["hub"].schedule(self)

    def _do_authenticate(self, command: Authenticate) -> None:
        names = self._parts["names"]
        try:
            token = self._verify()
            proven = names.proven(token)
        except PushdError as error:
            self._refuse(error)
            return
        if proven:
            self._authenticated(token)
        else:
            proof = asyncio.ensure_future(names.prove(token))
            proof.add_done_callback(partial(self._proved, token))

    def _verify(self) -> Token:
        """Verify the token, at the expense of where it comes from if that has a limit."""
        addresses = self._parts["addresses"]
        text = bearer_of(self._header(b"authorization"))
        if not addresses.concern(text):
            return verify_bearer(self._parts, text, "receive")
        peer = self.transport.get_extra_info("peername")
        address = addresses.of(peer, forwarded_of(self._headers or {}))
        with addresses.trying(address, text):
            return verify_bearer(self._parts, text, "receive")

    def _proved(self, token: Token, answer: Future[None]) -> None:
        """Go on with the token whose name was in question."""
        error = driver.failure(answer)
        if error is None:
            self._authenticated(token)
        elif not self._over:
            self._refuse(error)


_CARRY_OUT: dict[type[Command], Callable[[Events, Any], None]] = {
    Authenticate: Events._do_authenticate,
    Open: Events._do_open,
    ReadPage: Events._do_read,
    Told: Events._do_tell,
}

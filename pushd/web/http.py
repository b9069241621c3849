"""uvicorn's HTTP connection, with the limits it lacks and short ways for what is ours.

Deliveries are answered from the parser's callbacks (`express.py`), and the socket of an
event stream goes to `events.py`, as that of a websocket goes to `stream.py`.

The limits are a head's size, a request's time, the bodies of all that are not all there,
and how many connections there are that have shown no good token. The parser underneath
gathers header fields without end, and waits for them and for a body for ever, so that a
few slow or endless requests would hold a server's memory and sockets. They cost next to
nothing while requests arrive whole, in one read.
"""

import logging
from asyncio import AbstractEventLoop, TimerHandle, Transport, get_event_loop
from collections import deque
from collections.abc import Mapping
from typing import Any, Literal, cast

from httptools import HttpParserError, HttpParserUpgrade, HttpRequestParser
from uvicorn.config import Config
from uvicorn.protocols.http.flow_control import FlowControl
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol
from uvicorn.protocols.utils import get_local_addr, get_remote_addr, is_ssl
from uvicorn.server import ServerState

from pushd.bounds import come_back_later
from pushd.errors import PushdError
from pushd.web import events, express
from pushd.web.addresses import forwarded_in
from pushd.web.cors import Headers, headers_for
from pushd.web.events import Events
from pushd.web.exchange import bearer_of
from pushd.web.express import Express
from pushd.web.heads import Shape, is_plain, shape_of
from pushd.web.parts import Parts
from pushd.web.problems import refusal
from pushd.web.websocket import State, WebSocket

MAX_HEAD = 64 * 1024
"""Bytes of a request's head, beyond which it is refused (RFC 6585 section 5)."""
HEAD_SECONDS = 10
"""Seconds a client may take to send a head, after it connected or began one."""
BODY_SECONDS = 60
"""Seconds a client may take to send a body, after a read that left it unfinished."""

LESSONS = 3
"""How often a connection learns a shape: some have another with each request."""

NOTHING, HEAD, BODY = range(3)
"""Of what the parser is in the middle."""

_NO_PIPELINE: deque[Any] = deque(maxlen=0)
"""Of a connection on which nothing waited for its turn yet."""

_TOO_LARGE = (
    b"HTTP/1.1 431 Request Header Fields Too Large\r\n"
    b"content-length: 0\r\n"
    b"connection: close\r\n\r\n"
)


class BehindEvents(Exception):
    """A request came behind one for an event stream, whose answer does not end."""


class Http(HttpToolsProtocol):
    """One HTTP connection, until it closes or is upgraded."""

    # What uvicorn sets for each connection, though it is always the same to begin with.
    logger = logging.getLogger("uvicorn.error")
    access_logger = logging.getLogger("uvicorn.access")
    access_log = False
    timeout_keep_alive_task: TimerHandle | None = None
    server = client = scheme = None
    asgi_version: Literal["2.0", "3.0"] = "3.0"
    expect_100_continue = False
    cycle: Any = None  # uvicorn's of a request, or an Express that plays its part

    _reading = NOTHING
    _express: Express | None = None
    _shape: Shape | None = None
    _lessons = LESSONS
    _events: Events | None = None
    _upgrades = False
    _last = False
    _head = 0
    _deadline: TimerHandle | None = None
    _body = 0
    _answered_at = 0.0
    stranger: bool = False

    def __init__(
        self,
        config: Config,
        server_state: ServerState,
        app_state: dict[str, Any],
        _loop: AbstractEventLoop | None = None,
    ) -> None:
        """Make a connection as uvicorn does, but for what it asks of the logging module.

        Most connections become streams, and this is a tenth of what one costs.
        """
        if not config.loaded:
            config.load()
        self.config = config
        self.app = config.loaded_app
        self.loop = _loop or get_event_loop()
        self.parser = HttpRequestParser(self)
        self.parser.set_dangerous_leniencies(lenient_data_after_close=True)
        self.ws_protocol_class = config.ws_protocol_class
        self.root_path = config.root_path
        self.limit_concurrency = config.limit_concurrency
        self.app_state = app_state
        self.timeout_keep_alive = config.timeout_keep_alive
        self.server_state = server_state
        self.connections = server_state.connections
        self.tasks = server_state.tasks
        self.pipeline = _NO_PIPELINE

    def connection_made(self, transport: Transport) -> None:  # type: ignore[override] # uvicorn narrows it so
        """Expect the first head in time.

        As uvicorn does it, but for the addresses of both ends: asking the kernel for them
        is a fifth of what a short connection costs, and streams and plain deliveries need
        neither.
        """
        self.connections.add(self)
        self.transport = transport
        self.flow = FlowControl(transport)
        # Where only listed origins are allowed, an answer depends on who asks.
        self._short_way = (
            "deliveries" in self.app_state
            and self.app_state["origins"] is None
            and not self.root_path
        )
        if "strangers" in self.app_state:
            self.stranger = self.app_state["strangers"].enter(self, transport)
            if not self.stranger:
                self._turn_away("Too many connections come at once.")
                return
        self._expect(HEAD_SECONDS)

    def connection_lost(self, exc: Exception | None) -> None:
        """Expect nothing any more."""
        self._relax()
        self._drop_body()
        self.acquainted()
        super().connection_lost(exc)

    def acquainted(self) -> None:
        """Be no stranger any more: a good token came, or nothing more will."""
        if self.stranger:
            self.stranger = False
            self.app_state["strangers"].leave(self)

    def turn_away(self) -> None:
        """Make room for another: this client has not said who it is."""
        if self.cycle is None:
            self._turn_away("No good token has come, and others want to come in.")
        else:  # it had its answer, or will not have it
            self.transport.close()

    def data_received(self, data: bytes) -> None:
        """Read on; what is still unfinished is timed, and a head is weighed."""
        if self.cycle is not None and self._take_again(data):
            return
        inside = self._reading is BODY
        try:
            self.parser.feed_data(data)
        except HttpParserUpgrade:
            if self._upgrades:  # else it is answered as if it had not asked
                self.handle_websocket_upgrade()
            return
        except HttpParserError:
            self.send_400_response("Invalid HTTP request received.")
            return
        if self._events is not None:
            self._begin_events(self._events)
        elif self._reading is HEAD:
            # What comes before a head in the same read is not the head's weight.
            self._head = 0 if self._head < 0 else self._head + len(data)
            if self._head > MAX_HEAD:
                self._refuse()
            else:
                self._expect(HEAD_SECONDS)
        elif self._reading is BODY:
            self._expect(BODY_SECONDS)
            self._hold_body(len(data) if inside else len(self.cycle.body))

    def on_message_begin(self) -> None:
        """Begin a head, without the scope that only the general path needs.

        Raises:
            BehindEvents: If the answer before it never ends.
        """
        self._reading = HEAD
        if self._events is not None:
            raise BehindEvents
        self._head = -1  # nothing yet, beyond this read
        self.url = b""
        self.headers = []

    def on_header(self, name: bytes, value: bytes) -> None:
        """Keep a field."""
        self.headers.append((name.lower(), value))

    def on_headers_complete(self) -> None:
        """End a head, begin a body."""
        self._reading = BODY
        if self._deadline is not None:
            self._relax()
        if self.parser.should_upgrade():
            self._upgrades = wants_websocket(dict(self.headers))
            if self._upgrades:
                return  # the rest is `handle_websocket_upgrade`
        if not (self._short_way and self.url == express.PATH and self._take_on()):
            if self.url.startswith(events.PATH) and self._expect_events():
                return  # the rest is `_begin_events`
            self._make_scope()
            super().on_headers_complete()
        if self._last:
            self.cycle.keep_alive = False

    def _should_upgrade(self) -> bool:
        """Tell uvicorn what was found at the end of the head."""
        return self._upgrades

    def handle_websocket_upgrade(self) -> None:
        """Hand the socket over, with the request as the parser found it."""
        self._relax()
        self._unset_keepalive_if_required()
        self.connections.discard(self)
        stream: WebSocket = self.ws_protocol_class(  # type: ignore[misc, assignment, call-arg] # `worker.run` sets it
            config=self.config, server_state=self.server_state, app_state=self.app_state
        )
        method = self.parser.get_method()
        try:
            stream.take_over(self.transport, method, self.url, self.headers)
        finally:
            if self.stranger and stream.state is State.OPEN:
                self.stranger = False
                self.app_state["strangers"].rename(self, stream)
            else:
                self.acquainted()

    def _expect_events(self) -> bool:
        """Take a request for an event stream; tell whether it is one."""
        headers = dict(self.headers)
        if (
            self._is_busy()
            or self.parser.get_method() != b"GET"
            or self.url.partition(b"?")[0] != events.PATH
            or not events.is_wanted(headers)
            or not headers.keys().isdisjoint((b"content-length", b"transfer-encoding"))
            or "hub" not in self.app_state
        ):
            return False
        headers[b"x-forwarded-for"] = forwarded_in(self.headers)
        self._events = Events(cast(Parts, self.app_state), self.server_state, headers)
        return True

    def _begin_events(self, stream: Events) -> None:
        """Hand the socket over, once the parser is done with what was read."""
        self._unset_keepalive_if_required()
        self.acquainted()
        self.connections.discard(self)
        self.parser = None  # type: ignore[assignment] # as uvicorn does, for they hold each other
        if not self.transport.is_closing():
            stream.take_over(self.transport, self.url.partition(b"?")[2])

    def _make_scope(self) -> None:
        """Catch up on what uvicorn does when a connection and a head begin."""
        if self.scheme is None:
            self.asgi_version = self.config.asgi_version
            self.pipeline = deque()
            self.server = get_local_addr(self.transport)
            self.client = get_remote_addr(self.transport)
            self.scheme = "https" if is_ssl(self.transport) else "http"
        url, headers = self.url, self.headers
        super().on_message_begin()
        self.url = url
        self.expect_100_continue = (b"expect", b"100-continue") in (
            (name, value.lower()) for name, value in headers
        )
        self.headers += headers  # in place, for the scope has this very list
        self.scope["state"]["acquainted"] = self.acquainted

    def _take_on(self) -> bool:
        """Take a plain delivery on; tell whether it is one."""
        if self._is_busy() or self.pipeline or self.flow.write_paused:
            return False
        headers = dict(self.headers)
        if not is_plain(self.parser, headers):
            return False
        token = bearer_of(headers.get(b"authorization", b""))
        self._express = Express(self, cast(Parts, self.app_state), token)
        self._express.keep_alive = self.parser.should_keep_alive()
        self.cycle = self._express
        return True

    def _take_again(self, data: bytes) -> bool:
        """Take on a delivery with a head like one before; tell whether it is one."""
        if self._reading or not self.cycle.response_complete or self.flow.write_paused:
            return False
        shape = self._shape
        read = shape.read(data) if shape is not None else None
        if read is None and (read := self._learn(data)) is None:
            return False
        token, body = read
        parts = cast(Parts, self.app_state)
        if not parts["authenticator"].knows(token):
            return False
        posted = Express(self, parts, token, body)
        self.cycle = posted
        posted.run()
        return True

    def _learn(self, data: bytes) -> tuple[str, bytes] | None:
        """Learn the shape of a delivery that comes behind another, and read it."""
        if not self._lessons or type(self.cycle) is not Express:
            return None
        self._lessons -= 1
        shape = shape_of(data)
        if shape is None:
            return None
        self._shape = shape
        return shape.read(data)

    def _is_busy(self) -> bool:
        return self.cycle is not None and not self.cycle.response_complete

    def on_body(self, body: bytes) -> None:
        """Take a part of the body."""
        if self._express is not None:
            self._express.body += body
        else:
            super().on_body(body)

    def on_message_complete(self) -> None:
        """End a request."""
        self._reading = NOTHING
        if self._deadline is not None:
            self._relax()
        if self._body:
            self._drop_body()
        if self._express is not None:
            posted, self._express = self._express, None
            posted.run()
        elif self._events is None:
            super().on_message_complete()

    # --- between two requests ------------------------------------------------------------

    def on_response_complete(self) -> None:
        """Take the next request, or wait for it."""
        self._answered_at = self.loop.time()
        super().on_response_complete()

    def answered(self) -> None:
        """Do the same after the short way, without a new timer for each answer.

        uvicorn ends its timer when a request comes and begins one when it is answered. The
        one there is here goes on, and looks at the clock when it is due.
        """
        if self.pipeline or self.transport.is_closing():
            self.on_response_complete()
            return
        self.server_state.total_requests += 1
        self._answered_at = self.loop.time()
        if self.timeout_keep_alive_task is None:
            self._expect_request(self.timeout_keep_alive)

    def _expect_request(self, seconds: float) -> None:
        self.timeout_keep_alive_task = self.loop.call_later(
            seconds, self.timeout_keep_alive_handler
        )

    def timeout_keep_alive_handler(self) -> None:
        """Close a connection on which no request came for so long."""
        self.timeout_keep_alive_task = None
        if self._reading or self._is_busy():
            return  # its answer begins the next wait
        rest = self._answered_at + self.timeout_keep_alive - self.loop.time()
        if rest > 0:
            self._expect_request(rest)
        else:
            super().timeout_keep_alive_handler()

    def shutdown(self) -> None:
        """Drain, because uvicorn stops: a request that waits for news must not wait on.

        A request that has begun to come is let come, and is the last one here.
        """
        if "hub" in self.app_state:
            self.app_state["hub"].drain(self.app_state["drain_seconds"])
        if self._reading is HEAD:
            self._last = True
        else:
            super().shutdown()

    def _expect(self, seconds: float) -> None:
        if self._deadline is None:
            self._deadline = self.loop.call_later(seconds, self.transport.abort)

    def _relax(self) -> None:
        if self._deadline is not None:
            self._deadline.cancel()
            self._deadline = None

    def _refuse(self) -> None:
        self._reading = NOTHING
        if not self.transport.is_closing():
            self.transport.write(_TOO_LARGE)
            self.transport.close()

    def _hold_body(self, size: int) -> None:
        """Count what came of a body that is not all there, if there is room for it."""
        if "bounds" not in self.app_state:
            return
        if self.app_state["bounds"].bodies.take(size):
            self._body += size
        else:
            self._turn_away("Too many bodies are on their way.")

    def _drop_body(self) -> None:
        if self._body:
            self.app_state["bounds"].bodies.give(self._body)
            self._body = 0

    def _turn_away(self, detail: str) -> None:
        if not self.transport.is_closing():
            cors = headers_for(b"", self.app_state["origins"])
            self.transport.write(_answer(come_back_later(detail), cors))
            self.transport.close()


def wants_websocket(headers: Mapping[bytes, bytes]) -> bool:
    """Tell whether a request is for a websocket; of a repeated header the last counts."""
    connection = headers.get(b"connection", b"").lower()
    return headers.get(b"upgrade", b"").lower() == b"websocket" and b"upgrade" in (
        token.strip() for token in connection.split(b",")
    )


def _answer(error: PushdError, cors: Headers) -> bytes:
    """Write an answer to who may not have asked yet."""
    status, body, headers, media_type = refusal(error)
    lines = [
        *(*headers, *cors, (b"connection", b"close"), (b"content-type", media_type)),
        (b"content-length", b"%d" % len(body)),
    ]
    head = b"".join(b"%b: %b\r\n" % line for line in lines)
    return b"HTTP/1.1 %d Service Unavailable\r\n%b\r\n%b" % (status, head, body)

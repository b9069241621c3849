"""uvicorn's HTTP connection, which costs little until a request needs all of it.

Most connections become streams, and most requests are deliveries that are answered from
the parser's callbacks (`http.py`). So what uvicorn makes at once for its general way is
made here when a request takes that way, and what it makes anew for each request, a scope
and a timer, only if it has to be.

A request is in one of three places: nothing of it came, its head comes, its body comes.
Then it is under way until it is answered; `cycle` is the last one that began.
"""

import logging
from asyncio import AbstractEventLoop, TimerHandle, Transport, get_event_loop
from collections import deque
from typing import Any

from httptools import HttpRequestParser
from uvicorn.config import Config
from uvicorn.protocols.http.flow_control import FlowControl
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol
from uvicorn.protocols.utils import get_local_addr, get_remote_addr, is_ssl
from uvicorn.server import ServerState

NOTHING, HEAD, BODY = range(3)
"""Of what the parser is in the middle."""

_NO_PIPELINE: deque[Any] = deque(maxlen=0)
"""Of a connection on which nothing waited for its turn yet."""


class Lean(HttpToolsProtocol):
    """One HTTP connection, for as long as it is one."""

    # What uvicorn sets for each connection, though it is always the same to begin with.
    logger = logging.getLogger("uvicorn.error")
    access_logger = logging.getLogger("uvicorn.access")
    access_log = False
    timeout_keep_alive_task: TimerHandle | None = None
    server = client = scheme = None
    cycle: Any = None  # uvicorn's of a request, or an Express that plays its part

    _reading = NOTHING
    _unasked = False  # whether the last head asks for a protocol that it does not get
    _last = False
    _answered_at = 0.0

    def __init__(
        self,
        config: Config,
        server_state: ServerState,
        app_state: dict[str, Any],
        _loop: AbstractEventLoop | None = None,
    ) -> None:
        """Make a connection as uvicorn does, but for what it asks of the logging module.

        That is a tenth of what a connection costs that becomes a stream.
        """
        if not config.loaded:
            config.load()
        self.config = config
        self.app = config.loaded_app
        self.loop = _loop or get_event_loop()
        self.parser = self._make_parser()
        self.ws_protocol_class = config.ws_protocol_class
        self.root_path = config.root_path
        self.limit_concurrency = config.limit_concurrency
        self.app_state = app_state
        self.timeout_keep_alive = config.timeout_keep_alive
        self.server_state = server_state
        self.connections = server_state.connections
        self.tasks = server_state.tasks
        self.pipeline = _NO_PIPELINE

    def _make_parser(self) -> HttpRequestParser:
        parser = HttpRequestParser(self)
        parser.set_dangerous_leniencies(lenient_data_after_close=True)
        return parser

    def connection_made(self, transport: Transport) -> None:  # type: ignore[override] # uvicorn narrows it so
        """Begin, without the addresses of both ends.

        To ask the kernel for them is a fifth of what a short connection costs.
        """
        self.connections.add(self)
        self.transport = transport
        self.flow = FlowControl(transport)

    # --- a request comes -----------------------------------------------------------------

    def on_message_begin(self) -> None:
        """Begin a head, without the scope that only the general way needs."""
        self._reading = HEAD
        self.url = b""
        self.headers = []

    def on_header(self, name: bytes, value: bytes) -> None:
        """Keep a field; one behind a body is none of the head (RFC 9110 section 6.5.1)."""
        if self._reading is HEAD:
            self.headers.append((name.lower(), value))

    def on_headers_complete(self) -> None:
        """End a head, begin a body."""
        self._reading = BODY
        self._route()
        # A head that will be read again has no cycle yet: the one there is is another's.
        if self._last and not self._unasked and self.cycle is not None:
            self.cycle.keep_alive = False

    def on_message_complete(self) -> None:
        """End a request."""
        self._reading = NOTHING
        self._run()

    def _route(self) -> None:
        """Take a request on whose head is there: here, the general way."""
        self._make_scope()
        super().on_headers_complete()

    def _run(self) -> None:
        """Do what there is to do once all of a request is there."""
        super().on_message_complete()

    def _forget_upgrade(self) -> None:
        """Read the last head again, as one that asks for no other protocol.

        What follows a head that does, the parser takes for that protocol. A body would be
        dropped, or, where it comes later, be read as the next request.
        """
        method, version = self.parser.get_method(), self.parser.get_http_version()
        fields = [b"%b: %b\r\n" % field for field in self.headers if field[0] != b"upgrade"]
        line = b"%b %b HTTP/%b\r\n" % (method, self.url, version.encode())
        self._unasked = False
        self.parser = self._make_parser()
        self.parser.feed_data(b"".join((line, *fields, b"\r\n")))

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

    def _is_busy(self) -> bool:
        return self.cycle is not None and not self.cycle.response_complete

    # --- between two requests ------------------------------------------------------------

    def on_response_complete(self) -> None:
        """Take the next request, or wait for it."""
        self._answered_at = self.loop.time()
        super().on_response_complete()

    def answered(self) -> None:
        """Do the same after a short way, without a new timer for each answer.

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
        """End, because uvicorn stops; a request that has begun to come is the last one."""
        if self._reading is HEAD:
            self._last = True
        else:
            super().shutdown()

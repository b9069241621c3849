"""An HTTP connection, and the ways that a request takes from it.

Deliveries are answered from the parser's callbacks (`express.py`), or without a parser, if
their head is like one before (`heads.py`). The socket of an event stream goes to
`events.py`, as that of a websocket goes to `stream.py`. Everything else is for uvicorn and
the app. What a connection costs is said below: uvicorn's share in `lean.py`, and that of
clients who are slow, or many, in `limits.py`.
"""

from collections.abc import Mapping
from typing import cast

from pushd.web import events, express
from pushd.web.addresses import forwarded_in
from pushd.web.events import Events
from pushd.web.exchange import bearer_of
from pushd.web.express import Express
from pushd.web.heads import Shape, is_plain, shape_of
from pushd.web.limits import Limited
from pushd.web.parts import Parts
from pushd.web.websocket import State, WebSocket

LESSONS = 3
"""How often a connection learns a shape: some have another with each request."""


class BehindEvents(Exception):
    """A request came behind one for an event stream, whose answer does not end."""


class Tunnel(Exception):
    """A request is for a tunnel (CONNECT): what follows it need not be HTTP."""


class Http(Limited):
    """One HTTP connection, until it closes or its socket is handed over."""

    _express: Express | None = None
    _shape: Shape | None = None
    _lessons = LESSONS
    _events: Events | None = None
    _upgrades = False

    def data_received(self, data: bytes) -> None:
        """Take a delivery that is like one before, or let the parser read on."""
        if self.cycle is not None and self._take_again(data):
            return
        super().data_received(data)
        if self._events is not None:
            self._begin_events(self._events)

    def on_message_begin(self) -> None:
        """Begin a head.

        Raises:
            BehindEvents: If the answer before it never ends.
        """
        super().on_message_begin()
        if self._events is not None:
            raise BehindEvents

    def _route(self) -> None:
        """Choose the way of a request whose head is there.

        Raises:
            Tunnel: If it is for one.
        """
        if self.parser.should_upgrade():
            if self.parser.get_method() == b"CONNECT":
                raise Tunnel
            headers = dict(self.headers)
            # Behind a request that is under way it may not: an answer is still to come.
            self._upgrades = not self._is_busy() and wants_websocket(headers)
            self._unasked = not self._upgrades and b"upgrade" in headers
            if self._upgrades or self._unasked:
                return  # the rest is `handle_websocket_upgrade`, or `_forget_upgrade`
        if self.url == express.PATH and self._take_on():
            return
        if self.url.startswith(events.PATH) and self._expect_events():
            return  # the rest is `_begin_events`
        super()._route()

    def on_body(self, body: bytes) -> None:
        """Take a part of the body."""
        if self._express is not None:
            self._express.body += body
        else:
            super().on_body(body)

    def _run(self) -> None:
        """Deliver, or let the app know that the body has ended."""
        if self._express is not None:
            posted, self._express = self._express, None
            posted.run()
        elif self._events is None and not self._unasked:
            super()._run()

    def shutdown(self) -> None:
        """Drain, because uvicorn stops: a request that waits for news must not wait on."""
        if "hub" in self.app_state:
            self.app_state["hub"].drain(self.app_state["drain_seconds"])
        super().shutdown()

    # --- deliveries ----------------------------------------------------------------------

    def _take_on(self) -> bool:
        """Take a plain delivery on; tell whether it is one."""
        if (
            "deliveries" not in self.app_state
            # Where only listed origins are allowed, an answer depends on who asks.
            or self.app_state["origins"] is not None
            or self.root_path
            or self._is_busy()
            or self.flow.write_paused
        ):
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

    # --- websockets ----------------------------------------------------------------------

    def _should_upgrade(self) -> bool:
        """Tell uvicorn what was found at the end of the head."""
        return self._upgrades

    def handle_websocket_upgrade(self) -> None:
        """Hand the socket over, with the request as the parser found it."""
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

    # --- event streams -------------------------------------------------------------------

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


def wants_websocket(headers: Mapping[bytes, bytes]) -> bool:
    """Tell whether a request is for a websocket; of a repeated header the last counts."""
    connection = headers.get(b"connection", b"").lower()
    return headers.get(b"upgrade", b"").lower() == b"websocket" and b"upgrade" in (
        token.strip() for token in connection.split(b",")
    )

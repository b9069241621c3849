"""uvicorn's HTTP connection with the limits it lacks: a head's size, a request's time.

The parser underneath gathers header fields without end, and waits for them and for a
body for ever, so that a few slow or endless requests would hold a server's memory and
sockets. The limits cost nothing while requests arrive whole, in one read.
"""

from asyncio import TimerHandle, Transport

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

MAX_HEAD = 64 * 1024
"""Bytes of a request's head, beyond which it is refused (RFC 6585 section 5)."""
HEAD_SECONDS = 10
"""Seconds a client may take to send a head, after it connected or began one."""
BODY_SECONDS = 60
"""Seconds a client may take to send a body, after a read that left it unfinished."""

_TOO_LARGE = (
    b"HTTP/1.1 431 Request Header Fields Too Large\r\n"
    b"content-length: 0\r\n"
    b"connection: close\r\n\r\n"
)


class Http(HttpToolsProtocol):
    """One HTTP connection, until it closes or is upgraded."""

    _reading_head = False
    _reading_body = False
    _begun = False
    _head = 0
    _deadline: TimerHandle | None = None

    def connection_made(self, transport: Transport) -> None:  # type: ignore[override] # uvicorn narrows it so
        """Expect the first head in time."""
        super().connection_made(transport)
        self._expect(HEAD_SECONDS)

    def connection_lost(self, exc: Exception | None) -> None:
        """Expect nothing any more."""
        self._relax()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """Read on; what is still unfinished is timed, and a head is weighed."""
        self._begun = False
        super().data_received(data)
        if not self._reading_head:
            if self._reading_body:
                self._expect(BODY_SECONDS)
            return
        # What comes before a head in the same read is not the head's weight.
        self._head += 0 if self._begun else len(data)
        if self._head > MAX_HEAD:
            self._refuse()
        else:
            self._expect(HEAD_SECONDS)

    def on_message_begin(self) -> None:
        """Begin a head."""
        self._reading_head = self._begun = True
        self._head = 0
        super().on_message_begin()

    def on_headers_complete(self) -> None:
        """End a head, begin a body."""
        self._reading_head = False
        self._reading_body = True
        self._relax()
        super().on_headers_complete()

    def on_message_complete(self) -> None:
        """End a request."""
        self._reading_body = False
        self._relax()
        super().on_message_complete()

    def shutdown(self) -> None:
        """Drain, because uvicorn stops: a request that waits for news must not wait on."""
        if "hub" in self.app_state:
            self.app_state["hub"].drain(self.app_state["drain_seconds"])
        super().shutdown()

    def _expect(self, seconds: float) -> None:
        if self._deadline is None:
            self._deadline = self.loop.call_later(seconds, self.transport.abort)

    def _relax(self) -> None:
        if self._deadline is not None:
            self._deadline.cancel()
            self._deadline = None

    def _refuse(self) -> None:
        self._reading_head = False
        if not self.transport.is_closing():
            self.transport.write(_TOO_LARGE)
            self.transport.close()

"""The limits of an HTTP connection that uvicorn's lacks.

They are a head's size, a request's time, the bodies of all that are not all there, and
how many connections there are that have shown no good token. The parser underneath
gathers header fields without end, and waits for them and for a body for ever, so that a
few slow or endless requests would hold a server's memory and sockets. The limits cost
next to nothing while requests arrive whole, in one read.
"""

from asyncio import TimerHandle, Transport

from httptools import HttpParserError, HttpParserUpgrade

from pushd.bounds import come_back_later
from pushd.errors import PushdError
from pushd.web.cors import Headers, headers_for
from pushd.web.lean import BODY, NOTHING, Lean
from pushd.web.problems import refusal

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


class Limited(Lean):
    """A connection that costs only so much.

    Attributes:
        stranger: Whether it has shown no good token yet.
    """

    stranger: bool = False

    _deadline: TimerHandle | None = None
    _head = 0  # bytes of the one that is not all there
    _body = 0  # bytes held of the one that is not all there

    def connection_made(self, transport: Transport) -> None:  # type: ignore[override] # uvicorn narrows it so
        """Expect the first head in time, if there is room for one more stranger."""
        super().connection_made(transport)
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

    # --- strangers -----------------------------------------------------------------------

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

    def _turn_away(self, detail: str) -> None:
        if not self.transport.is_closing():
            cors = headers_for(b"", self.app_state["origins"])
            self.transport.write(_answer(come_back_later(detail), cors))
            self.transport.close()

    def _make_scope(self) -> None:
        """Let the general way say who is no stranger."""
        super()._make_scope()
        self.scope["state"]["acquainted"] = self.acquainted

    # --- what does not come whole --------------------------------------------------------

    def data_received(self, data: bytes) -> None:
        """Read on; what is still unfinished is timed, and a head is weighed."""
        inside = self._reading is BODY
        unread: bytes | memoryview = data
        while True:
            try:
                if self._unasked:
                    self._forget_upgrade()
                self.parser.feed_data(unread)
                break
            except HttpParserUpgrade as asked:
                if self._should_upgrade():
                    self.handle_websocket_upgrade()
                    break
                unread = memoryview(unread)[asked.args[0] :]
            except HttpParserError:
                self.send_400_response("Invalid HTTP request received.")
                return
        if self._reading:
            self._expect_the_rest(len(data), inside=inside)

    def _expect_the_rest(self, size: int, *, inside: bool) -> None:
        """Time and weigh what a read of this size left unfinished.

        Args:
            size: Of the read.
            inside: Whether all of it may be of one body.
        """
        if self._reading is BODY:
            self._expect(BODY_SECONDS)
            self._hold_body(size if inside else len(self.cycle.body))
            return
        if self._deadline is None:  # it began in this read, behind what is not its weight
            self._head = 0
            self._expect(HEAD_SECONDS)
        else:
            self._head += size
        if self._head > MAX_HEAD:
            self._refuse()

    def on_headers_complete(self) -> None:
        """Wait for the head no longer."""
        if self._deadline is not None:
            self._relax()
        super().on_headers_complete()

    def on_message_complete(self) -> None:
        """Wait for the body no longer."""
        if self._deadline is not None:
            self._relax()
        if self._body:
            self._drop_body()
        super().on_message_complete()

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


def _answer(error: PushdError, cors: Headers) -> bytes:
    """Write an answer to who may not have asked yet."""
    status, body, headers, media_type = refusal(error)
    lines = [
        *(*headers, *cors, (b"connection", b"close"), (b"content-type", media_type)),
        (b"content-length", b"%d" % len(body)),
    ]
    head = b"".join(b"%b: %b\r\n" % line for line in lines)
    return b"HTTP/1.1 %d Service Unavailable\r\n%b\r\n%b" % (status, head, body)

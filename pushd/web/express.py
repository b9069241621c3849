"""The short way of a delivery: from the parser's callbacks to the mailbox and back.

A task, a context, an event and two writes for each request cost more than all there is to
decide about a delivery. So `http.py` hands the plain ones over: an HTTP/1.1 POST of known
and moderate length, on a connection that is not busy with another request. The parser is
the same, or was asked before (`heads.py`), so there is nothing new to smuggle a request
past; what is checked and answered is said in `deliver.py`, for both ways.
"""

from asyncio import Future, ensure_future
from functools import partial
from http import HTTPStatus
from typing import Any, Protocol

from pushd.identity.tokens import Token
from pushd.incidents import tellable
from pushd.web.addresses import forwarded_in
from pushd.web.cors import ANY, Headers
from pushd.web.deliver import accept
from pushd.web.exchange import JSON, Answer, verify_bearer
from pushd.web.parts import Parts
from pushd.web.problems import refusal

PATH = b"/v1/deliveries"
MAX_BODY = 64 * 1024
"""Bytes of the largest body that comes this way; uvicorn gathers no more without asking."""


class Connection(Protocol):
    """What is needed of uvicorn's connection."""

    transport: Any
    server_state: Any
    headers: list[tuple[bytes, bytes]]
    stranger: bool

    def acquainted(self) -> None:
        """Be no stranger any more."""

    def answered(self) -> None:
        """Take the next request."""


class Express:
    """One request, and to uvicorn's connection its cycle.

    That is how the connection knows that the next request has to wait, and whom to tell
    that the peer is gone or that the connection is not to be kept.

    Args:
        connection: Where it came in, and where its answer goes.
        parts: Of the server.
        token: The bearer's, empty if there is none.

    Attributes:
        body: What came of it so far.
        keep_alive: Whether the connection is kept.
        response_complete: Whether it is answered.
        disconnected: Whether the peer is gone, as uvicorn says.
    """

    __slots__ = (
        *("_connection", "_parts", "_token", "body", "disconnected"),
        *("keep_alive", "response_complete"),
    )

    def __init__(
        self, connection: Connection, parts: Parts, token: str, body: bytes = b""
    ) -> None:
        self.body = body
        self.keep_alive = True
        self.response_complete = False
        self.disconnected = False
        self._connection: Connection | None = connection
        self._parts = parts
        self._token = token

    @property
    def message_event(self) -> "Express":
        """What is set when something came; nobody waits for it here."""
        return self

    def set(self) -> None:
        """Nothing: nobody waits."""

    def run(self) -> None:
        """Deliver what the body holds, which is all there now."""
        parts, connection = self._parts, self._connection
        try:
            if parts["addresses"].asked:
                token = self._verify_from_somewhere(parts)
            else:
                token = verify_bearer(parts, self._token, "deliver")
            if connection is not None and connection.stranger:
                connection.acquainted()
            if token.name is None or parts["names"].proven(token):
                accept(parts, token, self.body, self._answer)
                return
        except Exception as error:  # a bug too: somebody waits for an answer
            self._refuse(error)
            return
        proof = ensure_future(parts["names"].prove(token))
        proof.add_done_callback(partial(self._proved, token))

    def _verify_from_somewhere(self, parts: Parts) -> Token:
        """Verify the token, at the expense of the address where it comes from."""
        addresses, connection, text = parts["addresses"], self._connection, self._token
        if connection is None or not addresses.concern(text):
            return verify_bearer(parts, text, "deliver")
        peer = connection.transport.get_extra_info("peername")
        with addresses.trying(addresses.of(peer, forwarded_in(connection.headers)), text):
            return verify_bearer(parts, text, "deliver")

    def _proved(self, token: Token, proof: Future[None]) -> None:
        if (unproven := proof.exception()) is not None:
            self._refuse(unproven)
            return
        try:
            accept(self._parts, token, self.body, self._answer)
        except Exception as error:  # as above
            self._refuse(error)

    def _refuse(self, error: BaseException) -> None:
        told = tellable(error)
        self._parts["metrics"].refused(told.code)
        self._answer(refusal(told))

    def _answer(self, answer: Answer) -> None:
        """Answer in one write, and let go of the connection."""
        connection, self._connection = self._connection, None
        self.response_complete = True
        if connection is None or connection.transport.is_closing():
            return
        status, body, headers, media_type = answer
        always = connection.server_state.default_headers
        if headers or media_type is not JSON or not self.keep_alive:
            close = () if self.keep_alive else ((b"connection", b"close"),)
            head = _head(status, media_type, [*always, *headers, *close])
        else:
            head = _plain.of(status, always)
        connection.transport.write(b"%b%d\r\n\r\n%b" % (head, len(body), body))
        if not self.keep_alive:
            connection.transport.close()
        connection.answered()


def _head(status: int, media_type: bytes, headers: Headers) -> bytes:
    """Write an answer up to the length of its body."""
    fields = [*ANY, *headers, (b"content-type", media_type)]
    lines = b"".join([b"%b: %b\r\n" % field for field in fields])
    phrase = HTTPStatus(status).phrase.encode()
    return b"HTTP/1.1 %d %b\r\n%bcontent-length: " % (status, phrase, lines)


class _PlainHeads:
    """The same for answers in JSON, written once for as long as uvicorn's headers last.

    They hold the time, and so are another list every second.
    """

    def __init__(self) -> None:
        self._always: Headers = []
        self._heads: dict[int, bytes] = {}

    def of(self, status: int, always: Headers) -> bytes:
        """Return the head of an answer that has these headers of uvicorn's, no others."""
        if always is not self._always:
            self._always, self._heads = always, {}
        head = self._heads.get(status)
        if head is None:
            head = self._heads[status] = _head(status, JSON, always)
        return head


_plain = _PlainHeads()

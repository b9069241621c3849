"""The short way of a delivery: from the parser's callbacks to the mailbox and back.

A task, a context, an event and two writes for each request cost more than all there is to
decide about a delivery. So `http.py` hands the plain ones over: an HTTP/1.1 POST of known
and moderate length, on a connection that is not busy with another request. The parser is
the same, so there is nothing new to smuggle a request past; what is checked and answered
is said in `deliver.py`, for both ways.
"""

from asyncio import Future, ensure_future
from functools import partial
from http import HTTPStatus
from typing import Any, Protocol

from pushd.delivery import Outcome
from pushd.errors import PushdError, StoreUnavailable
from pushd.identity.tokens import Token
from pushd.rates import Standing
from pushd.web.addresses import forwarded_in
from pushd.web.cors import ANY
from pushd.web.deliver import Posted, accept, answer_to
from pushd.web.exchange import Answer, bearer_of, verify_bearer
from pushd.web.parts import Parts
from pushd.web.problems import incident, refusal

PATH = b"/v1/deliveries"
MAX_BODY = 64 * 1024
"""Bytes of the largest body that comes this way; uvicorn gathers no more without asking."""

_STATUS = {
    status.value: b"HTTP/1.1 %d %b\r\n%b"
    % (status, status.phrase.encode(), b"".join(b"%b: %b\r\n" % field for field in ANY))
    for status in HTTPStatus
}
"""How an answer begins, by its status."""


class Connection(Protocol):
    """What is needed of uvicorn's connection."""

    transport: Any
    server_state: Any
    headers: list[tuple[bytes, bytes]]
    stranger: bool

    def acquainted(self) -> None:
        """Be no stranger any more."""

    def on_response_complete(self) -> None:
        """Take the next request."""


class Express:
    """One request, and to uvicorn's connection its cycle.

    That is how the connection knows that the next request has to wait, and whom to tell
    that the peer is gone or that the connection is not to be kept.

    Args:
        connection: Where it came in, and where its answer goes.
        parts: Of the server.
        authorization: The value of that header, empty without one.

    Attributes:
        body: What came of the body so far.
        keep_alive: Whether the connection is kept.
        response_complete: Whether it is answered.
        disconnected: Whether the peer is gone, as uvicorn says.
        more_body: Whether the body is not all there.
    """

    __slots__ = (
        *("_authorization", "_connection", "_parts", "body", "disconnected"),
        *("keep_alive", "more_body", "response_complete"),
    )

    def __init__(self, connection: Connection, parts: Parts, authorization: bytes) -> None:
        self.body = b""
        self.keep_alive = True
        self.response_complete = False
        self.disconnected = False
        self.more_body = True
        self._connection: Connection | None = connection
        self._parts = parts
        self._authorization = authorization

    @property
    def message_event(self) -> "Express":
        """What is set when something came; nobody waits for it here."""
        return self

    def set(self) -> None:
        """Nothing: nobody waits."""

    def run(self) -> None:
        """Deliver what the body holds, which is all there now."""
        parts = self._parts
        try:
            token = self._verify(parts)
            if self._connection is not None and self._connection.stranger:
                self._connection.acquainted()
            if parts["names"].proven(token):
                self._accept(token)
                return
        except Exception as error:
            self._refuse(error)
            return
        proof = ensure_future(parts["names"].prove(token))
        proof.add_done_callback(partial(self._proved, token))

    def _verify(self, parts: Parts) -> Token:
        """Verify the token, at the expense of where it comes from if that has a limit."""
        addresses, connection = parts["addresses"], self._connection
        if not addresses.asked or connection is None:
            return verify_bearer(parts, self._authorization, "deliver")
        token = bearer_of(self._authorization)
        if not addresses.concern(token):
            return verify_bearer(parts, self._authorization, "deliver")
        peer = connection.transport.get_extra_info("peername")
        with addresses.trying(addresses.of(peer, forwarded_in(connection.headers)), token):
            return verify_bearer(parts, self._authorization, "deliver")

    def _proved(self, token: Token, proof: Future[None]) -> None:
        if (unproven := proof.exception()) is not None:
            self._refuse(unproven)
            return
        try:
            self._accept(token)
        except Exception as error:
            self._refuse(error)

    def _accept(self, token: Token) -> None:
        posted, standing, accepted = accept(self._parts, token, self.body)
        accepted.add_done_callback(partial(self._accepted, posted, standing))

    def _accepted(
        self, posted: Posted, standing: Standing | None, accepted: Future[list[Outcome]]
    ) -> None:
        if accepted.cancelled():  # the store is being left
            self._answer(refusal(StoreUnavailable()))
            return
        # Not raised: its traceback would lead back to this very future.
        error = accepted.exception()
        if error is None:
            self._answer(answer_to(posted, accepted.result(), standing))
        elif isinstance(error, PushdError):
            self._answer(refusal(error))  # counted already, for each delivery
        else:
            self._refuse(error)

    def _refuse(self, error: BaseException) -> None:
        told = error if isinstance(error, PushdError) else incident(error)
        self._parts["metrics"].refused(told.code)
        self._answer(refusal(told))

    def _answer(self, answer: Answer) -> None:
        """Answer in one write, and let go of the connection."""
        connection, self._connection = self._connection, None
        self.response_complete = True
        if connection is None or connection.transport.is_closing():
            return
        status, body, headers, media_type = answer
        head = [_STATUS[status]]
        for name, value in (*connection.server_state.default_headers, *headers):
            head += (name, b": ", value, b"\r\n")
        if not self.keep_alive:
            head.append(b"connection: close\r\n")
        head.append(
            b"content-type: %b\r\ncontent-length: %d\r\n\r\n" % (media_type, len(body))
        )
        connection.transport.write(b"".join((*head, body)))
        if not self.keep_alive:
            connection.transport.close()
        connection.on_response_complete()

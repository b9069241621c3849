"""A stream: one websocket, driving one session.

What is here is what only a client with a voice brings: frames decoded into events, acks,
deliveries, renewals. The way to hub and store is that of every session (`driver.py`).
"""

import asyncio
import math
import secrets
import time
from asyncio import Future
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any, cast

from msgspec import UNSET, UnsetType

from pushd.bounds import come_back_later
from pushd.delivery import Outcome
from pushd.errors import BadRequest, Overloaded, PushdError, Unauthorized
from pushd.identity.authenticator import Scope
from pushd.identity.tokens import Token
from pushd.mailbox.base import Acknowledged
from pushd.protocol.commands import (
    Accept,
    Acknowledge,
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
from pushd.protocol.flow import State
from pushd.protocol.ids import MessageId
from pushd.protocol.messages import (
    MAX_CLIENT_FRAME,
    SUBPROTOCOL,
    Ack,
    Deliver,
    Delivery,
    Ref,
    StoredMessage,
    decode_client_frame,
    encode,
    message_frame,
    messages_frame,
)
from pushd.protocol.session import ServerSession
from pushd.web import driver, framing, handshake
from pushd.web.addresses import forwarded_of
from pushd.web.driver import Driver, failure
from pushd.web.exchange import bearer_of
from pushd.web.handshake import Refusal
from pushd.web.parts import Parts
from pushd.web.problems import upgrade_refusal
from pushd.web.websocket import WebSocket

PATH = b"/v1/stream"
SOON = ((b"retry-after", b"%d" % Overloaded.default_retry_after),)
OURS = frozenset((framing.UNSUPPORTED, framing.POLICY, framing.TOO_BIG))
"""Close codes of RFC 6455 for which the protocol has its own: `error`, then 4400."""


class Stream(WebSocket, Driver):
    """The websocket class of uvicorn's `ws` setting; a `hub.Listener` once it joined."""

    __slots__ = (*driver.SLOTS, "_address", "_bearer", "_held", "_sender")

    subprotocol = SUBPROTOCOL.encode()
    max_message = MAX_CLIENT_FRAME

    def __init__(
        self, config: Any, server_state: Any, app_state: dict[str, Any], _loop: Any = None
    ) -> None:
        super().__init__(config, server_state, app_state, _loop)
        parts = cast(Parts, app_state)
        name = secrets.token_urlsafe(9)
        self._begin(parts, ServerSession(name, parts["terms"], now=time.time()))
        # Where it comes from, if that matters.
        self._address = ""
        # The token of the upgrade request, until the hello has come.
        self._bearer: str | None = None
        # The session's own token, kept only if it may deliver.
        self._sender: Token | None = None
        # Frames that came while a token waits or a name is proven; None: neither does.
        self._held: list[bytes] | None = None

    # --- what the hub sees -----------------------------------------------------------

    def tick(self, now: float) -> None:
        """Let time act on the session, or end a close that the peer does not answer."""
        if self._session.state is State.CLOSING:
            self.overdue(now)
            self.deadline = now + self.close_timeout
            return
        self._run(self._session.tick(now, self.heard, self.unsent))
        if self._session.deadline != math.inf:
            self.deadline = self._session.deadline

    def clock_set(self, seconds: float, now: float) -> None:
        """Count the client as just heard, and a close as just begun."""
        self.clock_was_set(now)
        super().clock_set(seconds, now)

    def published(self, messages: Sequence[StoredMessage]) -> None:
        """Push the one message that is next, as almost always."""
        unsent = self._parts["bounds"].unsent
        if (
            len(messages) == 1
            and unsent.held < unsent.most
            and self._session.takes(messages[0].id)
        ):
            self._parts["metrics"].pushed(1)
            self.send_text(message_frame(messages[0]))
        else:
            super().published(messages)

    # --- what the websocket hears ----------------------------------------------------

    def requested(self, path: bytes, headers: Mapping[bytes, bytes]) -> Refusal | None:
        """Decide by path, origin and subprotocol about an upgrade; None grants it."""
        if path != PATH:
            return Refusal(404, "There is no websocket at this path.")
        if self._parts["hub"].draining:
            return Refusal(503, "This server restarts; come back in a moment.", SOON)
        origin, allowed = headers.get(b"origin"), self._parts["origins"]
        if (
            origin is not None
            and allowed is not None
            and origin.decode("latin-1") not in allowed
        ):
            return Refusal(403, "This web origin may not connect here.")
        named = b"sec-websocket-protocol" in headers
        if named and not handshake.offers(headers, self.subprotocol):
            return Refusal(400, f"The subprotocol here is {SUBPROTOCOL}.")
        self._bearer = bearer_of(headers.get(b"authorization", b"")) or None
        addresses = self._parts["addresses"]
        if addresses.asked:
            peer = self.transport.get_extra_info("peername")
            self._address = addresses.of(peer, forwarded_of(headers))
        return None

    def refused(self, refusal: Refusal) -> tuple[bytes, bytes]:
        """Word a refusal as everywhere in HTTP."""
        return upgrade_refusal(refusal.status, refusal.sentence)

    def opened(self) -> None:
        """Begin to wait for the hello."""
        self._parts["hub"].schedule(self)

    def text(self, data: bytes) -> None:
        """Take a frame of the client."""
        if self._held is not None:
            self._held.append(data)
            return
        session = self._session
        try:
            frame = decode_client_frame(data)
            if type(frame) is Ack and (what := session.acks(frame)) is not None:
                self._remove(what, frame.ref)
                return
        except BadRequest as error:
            self._run(session.broken(error, time.time()))
        else:
            self._run(session.received(frame, time.time()))

    def broken(self, code: int, reason: str) -> None:
        """Tell a client that went over a limit of ours; RFC 6455 has codes for the rest."""
        if code in OURS:
            detail = f"The connection broke the protocol: {reason}."
            self._run(self._session.broken(BadRequest(detail), time.time()))
        else:
            self._session.end()
            self._leave()
            self._expect_close()

    def paused(self) -> None:
        """Stop pushing; and stop reading, so that answers cannot pile up either."""
        self.pause_reading()
        unsent = self.unsent
        self._hold(unsent)
        self._run(self._session.paused(unsent, time.time()))

    def resumed(self) -> None:
        """Go on."""
        self._hold(0)
        if self._held is None:
            self.resume_reading()
        self._run(self._session.resumed())

    def lost(self) -> None:
        """Leave: the connection is gone."""
        self._session.end()
        self.deadline = math.inf
        if self._holds:
            self._hold(0)
        self._parts["strangers"].leave(self)
        self._leave()

    def turn_away(self) -> None:
        """Make room for another: this client has not said who it is."""
        error = come_back_later("No good token has come, and others want to come in.")
        self._refuse(error)

    def shutdown(self) -> None:
        """Drain, because uvicorn stops: every session in its own slot of the time."""
        self._parts["hub"].drain(self._parts["drain_seconds"])
        if not self._joined:
            now = time.time()
            self._run(self._session.drain(1.0, now, now))
            self._run(self._session.tick(now, now, 0))

    # --- carrying out ----------------------------------------------------------------

    def _run(self, commands: Commands) -> None:
        """Carry out commands; the frames among them leave in one write."""
        frames: list[bytes] = []
        for command in commands:
            if isinstance(command, Push):
                self._parts["metrics"].pushed(len(command.messages))
                self._history += len(command.messages)
                frames.append(messages_frame(command.messages, command.cursor))
            elif isinstance(command, Send):
                frames.append(encode(command.frame))
            else:
                if frames and isinstance(command, Close):
                    self.send_texts(frames)
                    frames = []
                _CARRY_OUT[type(command)](self, command)
        if frames:
            self.send_texts(frames)
        if self._session.deadline < self.deadline:
            self.deadline = self._session.deadline
            self._parts["hub"].schedule(self)

    def _do_authenticate(self, command: Authenticate) -> None:
        """Authenticate in this turn of the event loop; where many want it, in another."""
        text = command.token if command.token is not None else self._bearer
        self._bearer = None
        if self._parts["pace"].allows():
            self._authenticate(text)
        else:
            self._hush()
            self._parts["pace"].later(partial(self._authenticate_late, text))

    def _authenticate_late(self, text: str | None) -> None:
        """Do it now, if the client is still there, then take the frames behind."""
        if self._session.state is not State.CLOSING and self._authenticate(text):
            self._listen()

    def _authenticate(self, text: str | None) -> bool:
        """Verify a token; tell whether that is all, for its name may have to be proven."""
        try:
            if text is None:
                raise Unauthorized("A hello carries a token, or the upgrade request does.")
            token = self._verify(text, "receive")
            proven = self._parts["names"].proven(token)
        except PushdError as error:
            self._refuse(error)
            return True
        if proven:
            self._authenticated(token)
            return True
        self._hush()
        proof = asyncio.ensure_future(self._parts["names"].prove(token))
        proof.add_done_callback(partial(self._proved, token))
        return False

    def _hush(self) -> None:
        """Let what the client says next wait: it may depend on who it is."""
        if self._held is None:
            self._held = []
            self.pause_reading()

    def _listen(self) -> None:
        """Read on, and take the frames that waited."""
        held, self._held = self._held or [], None
        if self.transport.is_closing():
            return
        if not self._paused:
            self.resume_reading()
        for data in held:
            self.text(data)

    def _verify(self, text: str, scope: Scope) -> Token:
        """Verify a token of a frame; its name is not proven yet."""
        addresses, authenticator = self._parts["addresses"], self._parts["authenticator"]
        if addresses.concern(text):
            with addresses.trying(self._address, text):
                token = authenticator.authenticate(text, scope, now=time.time())
        else:
            token = authenticator.authenticate(text, scope, now=time.time())
        refuse_digest(token)
        return token

    def _proved(self, token: Token, answer: Future[None]) -> None:
        """Go on with the token whose name was in question, then with the frames behind."""
        error = failure(answer)
        if error is None:
            self._authenticated(token)
        else:
            self._refuse(error)
        self._listen()

    def _authenticated(self, token: Token) -> None:
        if not self._joined:
            self._parts["strangers"].leave(self)
        if not self.mailbox or token.did == self.mailbox:
            self._sender = token if "deliver" in token.scope else None
        super()._authenticated(token)

    def _do_acknowledge(self, command: Acknowledge) -> None:
        self._remove(command.what, command.ref)

    def _remove(self, what: Sequence[MessageId] | MessageId, ref: Ref | UnsetType) -> None:
        session = self._session
        self._parts["mailboxes"].remove(
            session.mailbox,
            what,
            partial(self._acked, ref),
            origin=session.id,
            count=False,
        )

    def _acked(self, ref: Ref | UnsetType, answer: Acknowledged | PushdError) -> None:
        if isinstance(answer, PushdError):
            self._run(self._session.ack_failed(answer, ref, time.time()))
            return
        self._parts["metrics"].acked(answer.removed)
        if ref is not UNSET:
            self._run(self._session.acked(answer.removed, ref))

    def _do_accept(self, command: Accept) -> None:
        frame = command.frame
        try:
            token = self._sender_of(frame.token)
            self._parts["deliveries"].admit(token)
            if self._parts["names"].proven(token):
                self._accept(token, frame)
                return
        except PushdError as error:
            self._refuse_delivery(frame.ref, error)
            return
        proof = asyncio.ensure_future(self._parts["names"].prove(token))
        proof.add_done_callback(partial(self._sender_proved, token, frame))

    def _sender_of(self, text: str | UnsetType) -> Token:
        """Return who a delivery over this stream is from."""
        if text is not UNSET:
            return self._verify(text, "deliver")
        if self._sender is None:
            raise Unauthorized("This delivery needs a token of scope `deliver`.")
        return self._sender

    def _sender_proved(self, token: Token, frame: Deliver, answer: Future[None]) -> None:
        error = failure(answer)
        if error is None:
            self._accept(token, frame)
        else:
            self._refuse_delivery(frame.ref, error)

    def _accept(self, token: Token, frame: Deliver) -> None:
        delivery = Delivery(frame.to, frame.payload, frame.key, frame.ttl)
        self._parts["deliveries"].take(token, (delivery,), partial(self._told, frame.ref))

    def _refuse_delivery(self, ref: Ref, error: PushdError) -> None:
        self._parts["metrics"].refused(error.code)
        self._run(self._session.delivered(ref, error))

    def _told(self, ref: Ref, outcomes: list[Outcome] | PushdError) -> None:
        outcome = outcomes[0] if isinstance(outcomes, list) else outcomes
        self._run(self._session.delivered(ref, outcome))

    def _do_probe(self, command: Probe) -> None:
        self.ping()

    def _do_close(self, command: Close) -> None:
        self._leave()
        self.close(command.code, command.reason)
        if command.stuck:
            self.abort()
            return
        self._expect_close()

    def _expect_close(self) -> None:
        """Look, some seconds from now, whether the peer has closed too."""
        self.deadline = time.time() + self.close_timeout
        self._parts["hub"].schedule(self)


_CARRY_OUT: dict[type[Command], Callable[[Stream, Any], None]] = {
    Authenticate: Stream._do_authenticate,
    Open: Stream._do_open,
    ReadPage: Stream._do_read,
    Acknowledge: Stream._do_acknowledge,
    Accept: Stream._do_accept,
    Told: Stream._do_tell,
    Probe: Stream._do_probe,
    Close: Stream._do_close,
}


def refuse_digest(token: Token) -> None:
    """Refuse a token that is bound to one HTTP body.

    Raises:
        Unauthorized: If it has a digest.
    """
    if token.digest is not None:
        raise Unauthorized("A token with `digest` is for one HTTP request, not for frames.")

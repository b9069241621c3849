"""A stream: one websocket, driving one session.

The session decides, this file carries out: it decodes frames into events, turns commands
into writes and calls to the store, and hands the store's answers back as events. Nothing
waits here: every await of a session is a future with a callback, so an idle stream is one
object, without task, timer or queue.
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

from pushd.errors import (
    BadRequest,
    Forbidden,
    Internal,
    PushdError,
    StoreUnavailable,
    Unauthorized,
    UnknownMailbox,
)
from pushd.identity.authenticator import Scope
from pushd.identity.tokens import Token
from pushd.mailbox.base import Acknowledged, Opened, Page
from pushd.owners import NO_MAILBOX
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
from pushd.protocol.ids import MessageId
from pushd.protocol.messages import (
    MAX_CLIENT_FRAME,
    SUBPROTOCOL,
    Accepted,
    Deliver,
    Delivery,
    Overflow,
    Ref,
    StoredMessage,
    decode_client_frame,
    encode,
    messages_frame,
)
from pushd.protocol.session import ServerSession, State
from pushd.web import framing
from pushd.web.handshake import Refusal
from pushd.web.parts import Parts
from pushd.web.websocket import WebSocket

PATH = b"/v1/stream"
OURS = frozenset((framing.UNSUPPORTED, framing.POLICY, framing.TOO_BIG))
"""Close codes of RFC 6455 for which the protocol has its own: `error`, then 4400."""


class Stream(WebSocket):
    """The websocket class of uvicorn's `ws` setting; a `hub.Listener` once it joined."""

    __slots__ = (
        "_bearer",
        "_claim",
        "_held",
        "_history",
        "_joined",
        "_parts",
        "_sender",
        "_session",
        "_welcomed_at",
        "deadline",
        "due",
        "entered",
    )

    subprotocol = SUBPROTOCOL.encode()
    max_message = MAX_CLIENT_FRAME

    def __init__(
        self, config: Any, server_state: Any, app_state: dict[str, Any], _loop: Any = None
    ) -> None:
        super().__init__(config, server_state, app_state, _loop)
        self._parts = cast(Parts, app_state)
        name = secrets.token_urlsafe(9)
        self._session = ServerSession(name, self._parts["terms"], now=time.time())
        # The token of the upgrade request, until the hello has come.
        self._bearer: str | None = None
        # The session's own token, kept only if it may deliver.
        self._sender: Token | None = None
        # The owner's token, until the mailbox is open.
        self._claim: Token | None = None
        # Frames that came while a name is proven; None: none is.
        self._held: list[bytes] | None = None
        self._joined = False
        self._welcomed_at = 0.0
        self._history = 0  # messages pushed since
        self.deadline = self._session.deadline
        self.due = 0
        self.entered = False

    # --- what the hub sees -----------------------------------------------------------

    @property
    def mailbox(self) -> str:
        """The mailbox of the session."""
        return self._session.mailbox

    @property
    def session(self) -> str:
        """The session's name."""
        return self._session.id

    @property
    def device(self) -> str:
        """The client's name for itself."""
        return self._session.device

    def published(self, messages: Sequence[StoredMessage]) -> None:
        """Push what was accepted."""
        self._run(self._session.published(messages))

    def acknowledged(self, what: Sequence[MessageId] | MessageId, origin: str) -> None:
        """Tell what was acked elsewhere."""
        self._run(self._session.acknowledged(what, origin))

    def overflowed(self, overflow: Overflow) -> None:
        """Tell that the mailbox is full."""
        self._run(self._session.overflowed(overflow))

    def tail(self, tail: MessageId | None) -> None:
        """Compare with the store."""
        self._run(self._session.tail(tail))

    def displaced(self) -> None:
        """Give way to a newer session."""
        self._run(self._session.displaced())

    def drain(self, retry_after: float, close_at: float) -> None:
        """Tell the client that the server stops, and when to come back."""
        self._run(self._session.drain(retry_after, close_at, time.time()))

    def tick(self, now: float) -> None:
        """Let time act on the session, or end a close that the peer does not answer."""
        if self._session.state is State.CLOSING:
            self.overdue(now)
            self.deadline = now + self.close_timeout
            return
        self._run(self._session.tick(now, self.heard, self.unsent))
        if self._session.deadline != math.inf:
            self.deadline = self._session.deadline

    # --- what the websocket hears ----------------------------------------------------

    def requested(self, path: bytes, headers: Mapping[bytes, bytes]) -> Refusal | None:
        """Decide about an upgrade: its path, its origin, its subprotocol."""
        if path != PATH:
            return Refusal(404, "There is no websocket at this path.")
        origin, allowed = headers.get(b"origin"), self._parts["origins"]
        if (
            origin is not None
            and allowed is not None
            and origin.decode("latin-1") not in allowed
        ):
            return Refusal(403, "This web origin may not connect here.")
        offered = headers.get(b"sec-websocket-protocol")
        if offered is not None and self.subprotocol not in _items(offered):
            return Refusal(400, f"The subprotocol here is {SUBPROTOCOL}.")
        scheme, _, bearer = headers.get(b"authorization", b"").partition(b" ")
        if scheme.lower() == b"bearer":
            self._bearer = bearer.strip().decode("latin-1")
        return None

    def opened(self) -> None:
        """Begin to wait for the hello."""
        self._parts["hub"].schedule(self)

    def text(self, data: bytes) -> None:
        """Take a frame of the client."""
        if self._held is not None:
            self._held.append(data)
            return
        now = time.time()
        try:
            frame = decode_client_frame(data)
        except BadRequest as error:
            self._run(self._session.broken(error, now))
        else:
            self._run(self._session.received(frame, now))

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
        self._run(self._session.paused(self.unsent, time.time()))

    def resumed(self) -> None:
        """Go on."""
        self.resume_reading()
        self._run(self._session.resumed())

    def lost(self) -> None:
        """Leave: the connection is gone."""
        self._session.end()
        self.deadline = math.inf
        self._leave()

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
        text = command.token if command.token is not None else self._bearer
        self._bearer = None
        try:
            if text is None:
                raise Unauthorized("A hello carries a token, or the upgrade request does.")
            token = self._verify(text, "receive")
            proven = self._parts["names"].proven(token)
        except PushdError as error:
            self._refuse(error)
            return
        if proven:
            self._authenticated(token)
            return
        # What the client says next may depend on the answer: it waits.
        self._held = []
        self.pause_reading()
        proof = asyncio.ensure_future(self._parts["names"].prove(token))
        proof.add_done_callback(partial(self._proved, token))

    def _verify(self, text: str, scope: Scope) -> Token:
        """Verify a token of a frame; its name is not proven yet."""
        token = self._parts["authenticator"].authenticate(text, scope, now=time.time())
        refuse_digest(token)
        return token

    def _proved(self, token: Token, answer: Future[None]) -> None:
        """Go on with the token whose name was in question, then with the frames behind."""
        error = failure(answer)
        if error is None:
            self._authenticated(token)
        else:
            self._refuse(error)
        held, self._held = self._held or [], None
        if self.transport.is_closing():
            return
        if not self._paused:
            self.resume_reading()
        for data in held:
            self.text(data)

    def _authenticated(self, token: Token) -> None:
        if not self._joined:
            self._claim = token
        commands = self._session.authenticated(token.did, token.expires, time.time())
        if token.did == self.mailbox:
            self._sender = token if "deliver" in token.scope else None
        self._run(commands)

    def _do_open(self, command: Open) -> None:
        """Join the hub, subscribe, and only then open the mailbox."""
        if not self._joined:
            try:
                self._parts["hub"].join(self)
            except PushdError as error:
                self._refuse(error)
                return
            self._joined = True
        subscribed = self._parts["mailboxes"].subscribe(self.mailbox)
        subscribed.add_done_callback(partial(self._subscribed, command.holding))

    def _refuse(self, error: PushdError) -> None:
        """Refuse a hello, or a renewal."""
        if not self._joined:
            self._parts["metrics"].connect_refused(error.code)
        self._run(self._session.refused(error, time.time()))

    def _subscribed(self, holding: Sequence[MessageId], answer: Future[None]) -> None:
        error = failure(answer)
        if error is not None:
            self._failed(error)
        elif self._joined:
            self._open(holding, create=self._parts["owners"].welcome(self.mailbox))

    def _open(self, holding: Sequence[MessageId], *, create: bool) -> None:
        opened = self._parts["mailboxes"].open(
            self.mailbox,
            create=create,
            holding=holding,
            device=self.device,
            session=self.session,
        )
        opened.add_done_callback(partial(self._opened, holding))

    def _opened(self, holding: Sequence[MessageId], answer: Future[Opened]) -> None:
        claim, self._claim = self._claim, None
        error = failure(answer)
        if isinstance(error, UnknownMailbox):
            if claim is not None:
                allowed = asyncio.ensure_future(self._parts["owners"].may_open(claim))
                allowed.add_done_callback(partial(self._allowed, holding))
                return
            # It was open and is gone: the store lost it. A new hello may make it anew.
            error = StoreUnavailable()
        if error is not None:
            self._failed(error)
            return
        now = time.time()
        opened = answer.result()
        self._welcomed_at, self._history = now, 0
        self._run(
            self._session.opened(
                opened.tail, opened.unread, opened.gone, opened.overflow, now
            )
        )
        self._note_caught_up()

    def _allowed(self, holding: Sequence[MessageId], answer: Future[bool]) -> None:
        """Open the mailbox that is not there, if its owner's documents allow it."""
        error = failure(answer)
        if error is None and not answer.result():
            error = Forbidden(NO_MAILBOX)
        if error is not None:
            self._failed(error)
        elif self._joined:
            self._open(holding, create=True)

    def _do_read(self, command: ReadPage) -> None:
        page = self._parts["mailboxes"].read(
            self.mailbox, after=command.after, limit=command.limit
        )
        page.add_done_callback(self._page)

    def _page(self, answer: Future[Page]) -> None:
        error = failure(answer)
        if error is not None:
            self._failed(error)
            return
        page = answer.result()
        self._run(
            self._session.page(
                page.messages, page.complete, page.tail, page.unread, page.overflow
            )
        )
        self._note_caught_up()

    def _failed(self, error: PushdError) -> None:
        self._run(self._session.failed(error, time.time()))

    def _note_caught_up(self) -> None:
        if self._welcomed_at and self._session.state in (State.LIVE, State.LAGGING):
            seconds = time.time() - self._welcomed_at
            self._parts["metrics"].caught_up(seconds, self._history)
            self._welcomed_at = 0.0

    def _do_acknowledge(self, command: Acknowledge) -> None:
        answer = self._parts["mailboxes"].acknowledge(
            self.mailbox, command.what, origin=self.session
        )
        answer.add_done_callback(partial(self._acked, command.ref))

    def _acked(self, ref: Ref | UnsetType, answer: Future[Acknowledged]) -> None:
        error = failure(answer)
        if error is not None:
            self._run(self._session.ack_failed(error, ref, time.time()))
            return
        removed = answer.result().removed
        self._parts["metrics"].acked(removed)
        if ref is not UNSET:
            self._run(self._session.acked(removed, ref))

    def _do_accept(self, command: Accept) -> None:
        frame = command.frame
        try:
            token = self._sender_of(frame.token)
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
        answer = self._parts["deliveries"].accept(token, [delivery])
        answer.add_done_callback(partial(self._accepted, frame.ref))

    def _refuse_delivery(self, ref: Ref, error: PushdError) -> None:
        self._parts["metrics"].refused(error.code)
        self._run(self._session.delivered(ref, error))

    def _accepted(self, ref: Ref, answer: Future[list[Accepted | PushdError]]) -> None:
        error = failure(answer)
        outcome = answer.result()[0] if error is None else error
        self._run(self._session.delivered(ref, outcome))

    def _do_tell(self, command: Told) -> None:
        self._parts["mailboxes"].told(self.mailbox, command.overflow)

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

    def _leave(self) -> None:
        if self._joined:
            self._joined = False
            self._parts["hub"].leave(self)


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


def _items(value: bytes) -> list[bytes]:
    return [item.strip() for item in value.split(b",")]


def failure(answer: Future[Any]) -> PushdError | None:
    """Return why a call failed, as an error a peer may be told; None if it did not."""
    if answer.cancelled():
        return StoreUnavailable()
    error = answer.exception()
    if error is None or isinstance(error, PushdError):
        return error
    return Internal()


def refuse_digest(token: Token) -> None:
    """Refuse a token that is bound to one HTTP body.

    Raises:
        Unauthorized: If it has a digest.
    """
    if token.digest is not None:
        raise Unauthorized("A token with `digest` is for one HTTP request, not for frames.")

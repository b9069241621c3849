"""The server's half of a session: one conversation, from hello to close.

Theory of operation. Events come in as method calls, each answers with commands for the
driver (`web/driver.py`) to carry out. Which messages go out, and when, is the `Flow`'s to
say, on which a session is built; what the session adds is who the client is and how long
it stays.

    GREETING --hello--> OPENING ..the flow.. LIVE
    every state --> CLOSING

- Nothing is opened before the owner of the token is known. A newer token prolongs the
  session; without one it ends when the token does.
- A client that says nothing, takes nothing, or falls too far behind is sent away, and
  learns what it missed when it comes back.

Every await of the driver is two events here (a command, then its answer), so a property
test can put anything between them. Time is an argument: Unix seconds.
"""

from collections.abc import Sequence
from math import inf
from typing import NamedTuple

from msgspec import UNSET, UnsetType

from pushd.errors import BadRequest, Forbidden, PushdError, TokenExpired, UnknownMailbox
from pushd.protocol.closing import ADVICE, CloseCode, close_code
from pushd.protocol.commands import (
    Accept,
    Acknowledge,
    Authenticate,
    Close,
    Commands,
    Probe,
    Send,
)
from pushd.protocol.flow import NOTHING, Flow, State
from pushd.protocol.ids import Cursor, MessageId, parse_ids
from pushd.protocol.messages import (
    MAX_IDS,
    Accepted,
    Ack,
    Acked,
    AnyClientFrame,
    Closing,
    Continuity,
    Deliver,
    DeliveryAccepted,
    DeliveryRefused,
    Expiring,
    Hello,
    Overflow,
    Ping,
    Pong,
    Ref,
    Renew,
    Renewed,
    Seen,
    ServerFrame,
    StoredMessage,
    Welcome,
    ack_of,
    check_window,
    error_frame,
    problem,
)

HELLO_TIMEOUT = 10.0
"""Seconds a client has for its first frame."""
EXPIRING_NOTICE = 60.0
"""Seconds before the end of its token that a client is told."""
STUCK_TIMEOUT = 20.0
"""Seconds without progress after which a write counts as stuck."""
STUCK_CHECK = 5.0
"""Seconds between two looks at a write that does not drain."""
RETRY = 1.0
"""Seconds until a failed read is tried again."""
READS_LIMIT = MAX_IDS
"""Acks of others kept until they can be told; with more the session ends."""


class Terms(NamedTuple):
    """What all sessions of a server share.

    Attributes:
        server: The server's canonical URL.
        ping_interval: Seconds between websocket pings.
    """

    server: str
    ping_interval: int


class ServerSession(Flow):
    """One conversation, from hello to close.

    Attributes:
        id: Names the session; the origin of its acks.
        mailbox: DID of the mailbox, empty until authenticated.
        device: The client's name for itself; a newer session with it displaces this.
        expires: When the token ends, in Unix seconds; infinite until one was verified.
        deadline: When `tick` wants to be called next, at the latest; infinite at the end.
    """

    __slots__ = (
        "_close_at",
        "_expiring_told",
        "_hello",
        "_next_ping",
        "_terms",
        "_unsent",
        "deadline",
        "device",
        "expires",
        "id",
        "mailbox",
    )

    def __init__(self, id: str, terms: Terms, *, now: float) -> None:
        super().__init__()
        self.id = id
        self.mailbox = ""
        self.device = ""
        self.expires = inf
        self.deadline = now + HELLO_TIMEOUT
        self._terms = terms
        # Until it was answered by a welcome.
        self._hello: Hello | None = None
        self._next_ping = 0.0
        self._expiring_told = False
        # Bytes that waited when the transport last took any.
        self._unsent = 0
        self._close_at = 0.0

    # --- frames of the client --------------------------------------------------------

    def received(self, frame: AnyClientFrame, now: float) -> Commands:
        """Take a frame of the client."""
        if self.state is State.CLOSING:
            return NOTHING
        try:
            if self.state is State.GREETING and not isinstance(frame, Hello):
                raise BadRequest("The first frame is a hello.")
            match frame:
                case Seen():
                    return self._seen(MessageId.parse(frame.upto))
                case Ack():
                    return self._ack(frame)
                case Ping():
                    return [Send(Pong(ref=frame.ref))]
                case Hello():
                    return self._greet(frame)
                case Deliver():
                    return [Accept(frame)]
                case Renew():
                    return [Authenticate(frame.token)]
        except BadRequest as error:
            return self.broken(error, now)

    def broken(self, error: PushdError, now: float) -> Commands:
        """Take note that the client broke the protocol: tell it, and close."""
        if self.state is State.CLOSING:
            return NOTHING
        return self._close_for(error, CloseCode.PROTOCOL_ERROR, now)

    def _greet(self, hello: Hello) -> Commands:
        if self.state is not State.GREETING:
            raise BadRequest("A session has one hello.")
        window = check_window(hello.window)
        if len(hello.holding) > MAX_IDS:
            raise BadRequest(f"`holding` has at most {MAX_IDS} ids.")
        if hello.after is not UNSET:
            Cursor.parse(hello.after)
        parse_ids(hello.holding)
        self._hello = hello
        self.window = window
        self.device = "" if hello.device is UNSET else hello.device
        self.state = State.OPENING
        return [Authenticate(None if hello.token is UNSET else hello.token)]

    def acks(self, frame: Ack) -> Sequence[MessageId] | MessageId | None:
        """Tell what an ack removes, if that is all there is to do about it: almost always.

        The window is open for what it names then. If None, nothing has changed, and
        `received` decides.

        Raises:
            BadRequest: If it names nothing; nothing has changed.
        """
        if self.state is not State.LIVE:
            return None
        what = ack_of(frame.ids, frame.upto)
        self._seen(what if isinstance(what, MessageId) else max(what))
        return what

    def _ack(self, frame: Ack) -> Commands:
        what = ack_of(frame.ids, frame.upto)
        highest = what if isinstance(what, MessageId) else max(what)
        return [Acknowledge(what, frame.ref), *self._seen(highest)]

    # --- answers to commands ---------------------------------------------------------

    def authenticated(self, mailbox: str, expires: float, now: float) -> Commands:
        """Take the owner of the token, and when the token ends (Unix seconds)."""
        if self.state is State.CLOSING:
            return NOTHING
        if not self.mailbox:
            self.mailbox = mailbox
            self._begin_term(expires)
            self._next_ping = now + self._terms.ping_interval
            self._plan(now)
            hello = self._hello
            return self._open(parse_ids(hello.holding) if hello is not None else ())
        if mailbox != self.mailbox:
            error = Forbidden("A session is renewed by the identity that opened it.")
            return self._close_for(error, CloseCode.FORBIDDEN, now)
        self._begin_term(expires)
        self._plan(now)
        return [Send(Renewed(expires=int(expires)))]

    def refused(self, error: PushdError, now: float) -> Commands:
        """Take that the connection, or a token, was refused.

        Whose owner is not known yet closes; a renewal that is refused does not close, the
        session lives on to the end of its old token.
        """
        if self.state is State.CLOSING:
            return NOTHING
        if not self.mailbox:
            return self._close_for(error, close_code(error), now)
        return [Send(error_frame(error, now))]

    def opened(
        self,
        tail: MessageId,
        unread: int,
        gone: Sequence[MessageId],
        overflow: Overflow | None,
    ) -> Commands:
        """Take the mailbox as it was opened: greet the client, begin its history.

        Args:
            tail: The last id assigned in the current epoch, or `<epoch>-0`.
            unread: How many messages wait.
            gone: Which of those that the client holds are no longer in the mailbox.
            overflow: What a full mailbox refused and its owner was not yet told, or None.
        """
        if self.state is State.CLOSING:
            return NOTHING
        if self._hello is None:
            greeting: ServerFrame = self._replayed(tail, unread)
        else:
            greeting = self._welcome(self._hello, tail, unread)
            self._hello = None
        return [Send(greeting), *self._begin(tail, unread, gone, overflow)]

    def _welcome(self, hello: Hello, tail: MessageId, unread: int) -> Welcome:
        continuity: Continuity = "replay"
        if hello.after is not UNSET:
            after = Cursor.parse(hello.after)
            if after.continues(tail):
                continuity = "exact"
                self.position = after.id
        return Welcome(
            session=self.id,
            mailbox=self.mailbox,
            server=self._terms.server,
            unread=unread,
            tail=str(tail),
            continuity=continuity,
            ping_interval=self._terms.ping_interval,
            window=self.window,
        )

    def failed(self, error: PushdError, now: float) -> Commands:
        """Take that opening or reading failed: try again later, from where it stands."""
        if self.state is State.CLOSING:
            return NOTHING
        if self._hello is not None or isinstance(error, Forbidden):
            return self._close_for(error, close_code(error), now)
        if isinstance(error, UnknownMailbox):
            return self._reopen("The mailbox was lost.")
        self._gate = None
        self._retry_at = now + RETRY
        self._plan(now)
        return NOTHING

    def acked(self, removed: int, ref: Ref | UnsetType) -> Commands:
        """Take how many messages an ack removed."""
        if self.state is State.CLOSING or ref is UNSET:
            return NOTHING
        return [Send(Acked(ref=ref, removed=removed))]

    def ack_failed(self, error: PushdError, ref: Ref | UnsetType, now: float) -> Commands:
        """Take that an ack was not carried out."""
        if self.state is State.CLOSING:
            return NOTHING
        return [Send(error_frame(error, now, ref))]

    def delivered(self, ref: Ref, outcome: Accepted | PushdError) -> Commands:
        """Take what became of a delivery."""
        if self.state is State.CLOSING:
            return NOTHING
        if isinstance(outcome, PushdError):
            return [Send(DeliveryRefused(ref=ref, error=problem(outcome)))]
        return [
            Send(
                DeliveryAccepted(
                    ref=ref,
                    id=outcome.id,
                    mailbox=outcome.mailbox,
                    duplicate=outcome.duplicate,
                )
            )
        ]

    # --- what happens in the mailbox -------------------------------------------------

    def postponed(self, messages: Sequence[StoredMessage], now: float) -> Commands:
        """Take messages as they were accepted, while nothing may be pushed.

        They are read from the mailbox later, when there may be room again.
        """
        if self.state is not State.LIVE:
            return self.published(messages)
        self.state = State.LAGGING
        self._retry_at = now + RETRY
        self._plan(now)
        return NOTHING

    def acknowledged(self, what: Sequence[MessageId] | MessageId, origin: str) -> Commands:
        """Take that messages were acked; the session that did it knows."""
        if origin == self.id or self.state in (State.GREETING, State.CLOSING):
            return NOTHING
        commands = self._read_elsewhere(what)
        if self._reads is not None and len(self._reads) > READS_LIMIT:
            return self._leave(CloseCode.TIMEOUT, "behind", retry_after=0.0)
        return commands

    # --- what happens to the connection ----------------------------------------------

    def paused(self, unsent: int, now: float) -> Commands:
        """Take that the transport is full: `unsent` bytes wait in it."""
        self._blocked_since, self._unsent = now, unsent
        self._plan(now)
        return NOTHING

    def resumed(self) -> Commands:
        """Take that the transport has drained."""
        self._blocked_since = 0.0
        if self.state is State.CLOSING or self._gate is not None:
            return NOTHING
        return self._go_on()

    def displaced(self) -> Commands:
        """Take that a newer session of this device, or of this mailbox, took over."""
        return self._leave(CloseCode.DISPLACED, "displaced", retry_after=0.0)

    def drain(self, retry_after: float, close_at: float, now: float) -> Commands:
        """Take that the server stops: tell the client now, close at `close_at`."""
        if self.state is State.CLOSING or self._close_at:
            return NOTHING
        self._close_at = close_at
        self._plan(now)
        return [Send(Closing(reason="restarting", retry_after=retry_after, reconnect=True))]

    def tick(self, now: float, heard: float, unsent: int) -> Commands:
        """Let time act.

        Args:
            now: Unix seconds.
            heard: When the client was last heard, in Unix seconds.
            unsent: Bytes that wait for it in the transport. That they become fewer is a
                sign of life too.
        """
        if self.state is State.CLOSING:
            return NOTHING
        if self._close_at and now >= self._close_at:
            self.end()
            return [Close(CloseCode.RESTARTING, "restarting")]
        if self.state is State.GREETING:
            if now >= self.deadline:
                return self._leave(CloseCode.TIMEOUT, "no hello", retry_after=1.0)
            return NOTHING
        if self._blocked_since:
            if unsent < self._unsent:
                self._blocked_since, self._unsent = now, unsent
            elif now - self._blocked_since >= STUCK_TIMEOUT:
                self.end()
                return [Close(CloseCode.TIMEOUT, "stuck", stuck=True)]
            heard = max(heard, self._blocked_since)
        if now >= self.expires:
            return self._close_for(TokenExpired(), CloseCode.UNAUTHORIZED, now)
        if now - heard >= 2 * self._terms.ping_interval:
            return self._leave(CloseCode.TIMEOUT, "silent", retry_after=0.0)
        commands = self._remind(now) + self._retry(now)
        self._plan(now)
        return commands

    def clock_set(self, seconds: float, now: float) -> None:
        """Take that the clock was set: it is that much later than it would be.

        What ran from a moment on goes on or begins anew; a token ends when it says.
        """
        if self.state is State.CLOSING:
            return
        if self.deadline < inf:  # of a hello
            self.deadline = now + HELLO_TIMEOUT
        latest = now + self._terms.ping_interval
        self._next_ping = min(max(self._next_ping + seconds, now), latest)
        if self._blocked_since:
            self._blocked_since = now
        if self._retry_at:
            self._retry_at = now
        if self._close_at:
            self._close_at += seconds
        self._plan(now)

    def _remind(self, now: float) -> Commands:
        """Ping, and tell of a token that ends soon."""
        commands: Commands = []
        if now >= self._next_ping:
            self._next_ping = now + self._terms.ping_interval
            commands.append(Probe())
        if not self._expiring_told and now >= self.expires - EXPIRING_NOTICE:
            self._expiring_told = True
            commands.append(Send(Expiring(at=int(self.expires))))
        return commands

    def _plan(self, now: float) -> None:
        """Set `deadline` to the next moment at which time alone changes something."""
        if self.state is State.GREETING:
            moments = [self.deadline]
        else:
            moments = [self._next_ping, self.expires]
            if not self._expiring_told:
                moments.append(self.expires - EXPIRING_NOTICE)
        if self._blocked_since:
            moments.append(now + STUCK_CHECK)
        if self._retry_at:
            moments.append(self._retry_at)
        if self._close_at:
            moments.append(self._close_at)
        self.deadline = min(moments)

    def _begin_term(self, expires: float) -> None:
        self.expires = expires
        self._expiring_told = False

    # --- leaving ---------------------------------------------------------------------

    def end(self) -> None:
        """Say nothing more, because the connection closes or is gone."""
        self.state = State.CLOSING
        self.deadline = inf
        self._gate = self._reads = self._unseen = None

    def _leave(self, code: CloseCode, reason: str, *, retry_after: float) -> Commands:
        """Tell what to do after the close, and close."""
        if self.state is State.CLOSING:
            return NOTHING
        self.end()
        advice = ADVICE[code].reconnect
        closing = Closing(reason=reason, retry_after=retry_after, reconnect=advice)
        return [Send(closing), Close(code, reason)]

    def _close_for(self, error: PushdError, code: CloseCode, now: float) -> Commands:
        """Tell what was wrong, and close."""
        retry_after = float(error.retry_after or 0)
        leaving = self._leave(code, error.code, retry_after=retry_after)
        return [Send(error_frame(error, now)), *leaving]

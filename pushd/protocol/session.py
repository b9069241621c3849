"""The server's half of a session: what one conversation does next, and nothing else.

Theory of operation. Events come in as method calls, each answers with commands for the
driver (`web/driver.py`) to carry out. The session owns one promise: the client is sent
every message after its cursor, in order, at least once, never more than `window` of them
unseen, and is told the truth whenever continuity was broken.

    GREETING --hello--> OPENING --opened--> CATCHUP --complete page--> LIVE
                           ^                                          |    ^
                           |                 gap, or no room to push  v    | complete
                           +------- another epoch is seen ---------- LAGGING page
    every state --> CLOSING

- `position` is how far the client was sent; a message goes out only as its successor.
- In CATCHUP and LAGGING pages are pulled, one at a time, as room allows. While a page is
  under way publications wait in the *gate*: what the page does not cover is pushed right
  after it, so nothing falls between reading and listening. A gate that overflows is
  given up and another page read; the mailbox is the truth, publications only make it fast.
- Room is the window less what the client has not seen. A client that reads slowly, or a
  transport that is full, has no room: pushes are dropped and pulled later.
- `read` events wait behind a page under way, and drop from it what was read elsewhere. They
  wait for a transport that is full, too; a client that falls too far behind is sent away,
  and learns what is gone when it comes back.
- Another epoch, seen anywhere, is not a gap: the mailbox is opened again, the client told
  `replay`, and history begins at the first unread message.

Every await of the driver is two events here (a command, then its answer), so a property
test can put anything between them. Time is an argument: Unix seconds.
"""

from bisect import bisect_right
from collections.abc import Sequence
from enum import IntEnum
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
    Open,
    Probe,
    Push,
    ReadPage,
    Send,
    Told,
)
from pushd.protocol.ids import START, Cursor, MessageId, parse_ids
from pushd.protocol.messages import (
    MAX_IDS,
    MAX_WINDOW,
    MESSAGES_PER_FRAME,
    Accepted,
    Ack,
    Acked,
    AnyClientFrame,
    CaughtUp,
    Closing,
    Continuity,
    Deliver,
    DeliveryAccepted,
    DeliveryRefused,
    Expiring,
    Hello,
    Overflow,
    Overflowed,
    Ping,
    Pong,
    Read,
    Ref,
    Renew,
    Renewed,
    Replay,
    Seen,
    StoredMessage,
    Welcome,
    ack_of,
    error_frame,
    frames_of,
    problem,
)
from pushd.protocol.reads import Reads

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
GATE_LIMIT = MESSAGES_PER_FRAME
"""Publications kept while a page is under way; more are read instead."""
READS_LIMIT = MAX_IDS
"""Acks of others kept until they can be told; with more the session ends."""


class State(IntEnum):
    """Where a session stands."""

    GREETING = 0
    OPENING = 1
    CATCHUP = 2
    LIVE = 3
    LAGGING = 4
    CLOSING = 5


NOTHING: Commands = []
"""The answer of most events; shared, never changed."""


class Terms(NamedTuple):
    """What all sessions of a server share.

    Attributes:
        server: The server's canonical URL.
        ping_interval: Seconds between websocket pings.
    """

    server: str
    ping_interval: int


class ServerSession:
    """One conversation, from hello to close.

    Attributes:
        id: Names the session; the origin of its acks.
        mailbox: DID of the mailbox, empty until authenticated.
        device: The client's name for itself; a newer session with it displaces this.
        state: Where the session stands.
        expires: When the token ends, in Unix seconds.
        deadline: When `tick` wants to be called next, at the latest; infinite at the end.
    """

    __slots__ = (
        "_blocked_since",
        "_close_at",
        "_expiring_told",
        "_gate",
        "_gate_missed",
        "_hello",
        "_next_ping",
        "_reads",
        "_replay_reason",
        "_retry_at",
        "_terms",
        "_unseen",
        "_unsent",
        "_waiting",
        "deadline",
        "device",
        "epoch",
        "expires",
        "id",
        "mailbox",
        "position",
        "state",
        "window",
    )

    def __init__(self, id: str, terms: Terms, *, now: float) -> None:
        self.id = id
        self.mailbox = ""
        self.device = ""
        self.state = State.GREETING
        self.expires = 0.0
        self.epoch = 0
        self.position = START
        self.window = 0
        self.deadline = now + HELLO_TIMEOUT
        self._terms = terms
        self._hello: Hello | None = None
        self._replay_reason = ""
        # A page or an opening is under way; its answer is awaited.
        self._waiting = False
        self._gate: list[StoredMessage] | None = None
        self._gate_missed = False
        self._reads: Reads | None = None
        # Ids sent and not yet seen, ascending; None when there are none.
        self._unseen: list[MessageId] | None = None
        self._next_ping = 0.0
        self._expiring_told = False
        # Since when the transport has taken nothing of the bytes unsent; 0 if not full.
        self._blocked_since = 0.0
        self._unsent = 0
        self._retry_at = 0.0
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
        if not 1 <= hello.window <= MAX_WINDOW:
            raise BadRequest(f"`window` is 1 to {MAX_WINDOW}.")
        if len(hello.holding) > MAX_IDS:
            raise BadRequest(f"`holding` has at most {MAX_IDS} ids.")
        if hello.after is not UNSET:
            Cursor.parse(hello.after)
        parse_ids(hello.holding)
        self._hello = hello
        self.window = hello.window
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

    def _seen(self, upto: MessageId) -> Commands:
        """Open the window for what the client took off the wire."""
        unseen = self._unseen
        if unseen is not None:
            if unseen[-1] <= upto:
                self._unseen = None
            else:
                del unseen[: bisect_right(unseen, upto)]
        return self._pull() if self.state is not State.LIVE else NOTHING

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
        """Take that the connection, the token, or the session, was refused.

        What is refused before it was opened closes; a renewal that is refused does not,
        the session lives on to the end of its old token.
        """
        if self.state is State.CLOSING:
            return NOTHING
        if not self.epoch:
            return self._close_for(error, close_code(error), now)
        return [Send(error_frame(error, now))]

    def opened(
        self,
        tail: MessageId,
        unread: int,
        gone: Sequence[MessageId],
        overflow: Overflow | None,
        now: float,
    ) -> Commands:
        """Take the mailbox as it was opened: greet the client, begin its history."""
        if self.state is State.CLOSING:
            return NOTHING
        self._waiting = False
        commands: Commands = []
        if self._hello is not None:
            commands.append(Send(self._welcome(self._hello, tail, unread)))
            self._hello = None
        else:
            self.position = START
            reason, self._replay_reason = self._replay_reason, ""
            commands.append(Send(Replay(tail=str(tail), unread=unread, reason=reason)))
        if gone:
            commands.append(Send(Read(ids=[str(id) for id in gone])))
        self.epoch = tail.epoch
        self.state = State.CATCHUP
        if unread == 0 or self.position == tail:
            commands += self._arrive(tail, unread, overflow)
        else:
            commands += self._tell_reads()
            commands += self._pull()
        return commands

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

    def page(
        self,
        messages: Sequence[StoredMessage],
        complete: bool,
        tail: MessageId,
        unread: int,
        overflow: Overflow | None,
    ) -> Commands:
        """Take a page: send it, and go on with the next or with what waits in the gate."""
        if self.state is State.CLOSING:
            return NOTHING
        self._waiting = False
        if tail.epoch != self.epoch:
            return self._reopen("The mailbox began a new epoch.")
        commands = self._send(self._without_read(messages))
        if complete:
            commands += self._arrive(tail, unread, overflow)
        else:
            self.position = messages[-1].id
            commands += self._tell_reads()
            commands += self._pull()
        return commands

    def _arrive(self, tail: MessageId, unread: int, overflow: Overflow | None) -> Commands:
        """Go live from `tail`, with what was published while the page was under way."""
        self.position = tail
        commands: Commands = []
        if self.state is State.CATCHUP:
            end = str(tail)
            commands.append(Send(CaughtUp(tail=end, cursor=end, unread=unread)))
            # No page after a lag tells it: while the mailbox is full, each of them would.
            if overflow is not None:
                commands += self.overflowed(overflow)
        gate, self._gate = self._gate, None
        missed, self._gate_missed = self._gate_missed, False
        self.state = State.LAGGING if missed else State.LIVE
        if missed:
            commands += self._tell_reads()
            commands += self._pull()
        elif gate:
            commands += self._follow(gate)
            commands += self._tell_reads()
        else:
            commands += self._tell_reads()
        return commands

    def failed(self, error: PushdError, now: float) -> Commands:
        """Take that opening or reading failed: try again later, from where it stands."""
        if self.state is State.CLOSING:
            return NOTHING
        self._waiting = False
        self._close_gate()
        if self._hello is not None:
            return self._close_for(error, close_code(error), now)
        if isinstance(error, Forbidden):
            return self._close_for(error, CloseCode.FORBIDDEN, now)
        if isinstance(error, UnknownMailbox):
            return self._reopen("The mailbox was lost.")
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

    def takes(self, id: MessageId) -> bool:
        """Tell whether the one message just published is to be sent as it is, and now.

        That is almost always so, and no commands are made for it: it counts as sent. If
        not, nothing has changed, and `published` decides.
        """
        position = self.position
        if (
            self.state is not State.LIVE
            or id.seq != position.seq + 1
            or id.epoch != position.epoch
            or self._reads
            or self._blocked_since
        ):
            return False
        if self._unseen is None:
            self._unseen = [id]
        elif len(self._unseen) < self.window:
            self._unseen.append(id)
        else:
            return False
        self.position = id
        return True

    def published(self, messages: Sequence[StoredMessage]) -> Commands:
        """Take messages as they were accepted, in order."""
        if self.state is State.LIVE:
            return self._follow(messages)
        if self._waiting:
            self._keep(messages)
        return NOTHING

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
        if not self._waiting and not self._blocked_since:
            return self._tell_reads() + self._tell_read(what)
        if self._reads is None:
            self._reads = Reads()
        self._reads.add(what)
        if len(self._reads) > READS_LIMIT:
            return self._leave(CloseCode.TIMEOUT, "behind", retry_after=0.0)
        return NOTHING

    def overflowed(self, overflow: Overflow) -> Commands:
        """Take that the full mailbox refused deliveries."""
        if self.state in (State.GREETING, State.OPENING, State.CLOSING):
            return NOTHING
        frame = Overflowed(refused=overflow.refused, since=overflow.since)
        return [Send(frame), Told(overflow)]

    def tail(self, tail: MessageId | None) -> Commands:
        """Compare with the mailbox's tail; None if the mailbox is not there.

        Finds what a lost publication hid, and an epoch that nobody published in. Whatever
        waits to be tried again is tried now: a clock that was set back since would have it
        wait for as long as that.
        """
        retry, self._retry_at = self._retry_at, 0.0
        if self._waiting or self.state in (State.GREETING, State.CLOSING):
            return NOTHING
        if self.state is State.OPENING:
            return self._open(()) if retry else NOTHING
        if tail is None:
            return self._reopen("The mailbox was lost.")
        if tail.epoch != self.epoch:
            return self._reopen("The mailbox began a new epoch.")
        if self.state is State.LIVE and tail > self.position:
            self.state = State.LAGGING
        return self._pull() if self.state is not State.LIVE else NOTHING

    # --- what happens to the connection ----------------------------------------------

    def paused(self, unsent: int, now: float) -> Commands:
        """Take that the transport is full: `unsent` bytes wait in it."""
        self._blocked_since, self._unsent = now, unsent
        self._plan(now)
        return NOTHING

    def resumed(self) -> Commands:
        """Take that the transport has drained."""
        self._blocked_since = 0.0
        if self.state is State.CLOSING or self._waiting:
            return NOTHING
        commands = self._tell_reads()
        if self.state is not State.LIVE:
            commands = commands + self._pull()
        return commands

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

    def _retry(self, now: float) -> Commands:
        if not self._retry_at or now < self._retry_at:
            return NOTHING
        self._retry_at = 0.0
        if self._waiting:
            return NOTHING
        if self.state is State.OPENING:
            return self._open(())
        return self._pull()

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

    # --- sending ---------------------------------------------------------------------

    @property
    def _room(self) -> int:
        """How many messages may be sent now."""
        if self._blocked_since:
            return 0
        return self.window - (len(self._unseen) if self._unseen is not None else 0)

    def _follow(self, messages: Sequence[StoredMessage]) -> Commands:
        """Send what directly follows the position; fall behind at a gap or without room."""
        room = self._room
        epoch, seq = self.position.epoch, self.position.seq
        if len(messages) == 1 and room > 0:  # as almost always
            id = messages[0].id
            if id.epoch == epoch and id.seq == seq + 1:
                self.position = id
                return self._send(self._without_read(messages))
        taken: list[StoredMessage] = []
        for message in messages:
            id = message.id
            if id.epoch > epoch:
                commands = self._send(self._without_read(taken))
                return commands + self._reopen("The mailbox began a new epoch.")
            if id.epoch < epoch or id.seq <= seq:
                continue
            if id.seq != seq + 1 or len(taken) >= room:
                self.state = State.LAGGING
                break
            seq += 1
            taken.append(message)
        if seq != self.position.seq:
            self.position = MessageId(epoch, seq)
        commands = self._send(self._without_read(taken))
        if self.state is State.LAGGING:
            commands = commands + self._pull()
        return commands

    def _send(self, messages: Sequence[StoredMessage]) -> Commands:
        """Push messages in frames of bounded count and size."""
        if not messages:
            return []
        if self._unseen is None:
            self._unseen = []
        self._unseen.extend([message.id for message in messages])
        return [Push(part, Cursor(part[-1].id, self.epoch)) for part in frames_of(messages)]

    def _pull(self) -> Commands:
        """Read the next page, if none is under way and there is room for some of it."""
        if self._waiting or self._retry_at:
            return NOTHING
        if self.state not in (State.CATCHUP, State.LAGGING):
            return NOTHING
        room = self._room
        if room < min(MESSAGES_PER_FRAME, (self.window + 1) // 2):
            return NOTHING
        self._wait()
        return [ReadPage(self.position, min(MESSAGES_PER_FRAME, room))]

    def _open(self, holding: Sequence[MessageId]) -> Commands:
        self._wait()
        return [Open(holding)]

    def _reopen(self, reason: str) -> Commands:
        """Begin again from the first unread message, because continuity was broken."""
        self.state = State.OPENING
        self._replay_reason = reason
        self._unseen = None
        return self._open(())

    def _wait(self) -> None:
        """Expect an answer; what is published meanwhile waits in an empty gate."""
        self._waiting = True
        self._close_gate()

    def _close_gate(self) -> None:
        self._gate = None
        self._gate_missed = False

    def _keep(self, messages: Sequence[StoredMessage]) -> None:
        """Hold publications back until the answer under way has come."""
        if self._gate_missed:
            return
        if self._gate is None:
            self._gate = []
        self._gate.extend(messages)
        if len(self._gate) > GATE_LIMIT:
            self._gate = None
            self._gate_missed = True

    def _without_read(self, messages: Sequence[StoredMessage]) -> Sequence[StoredMessage]:
        """Leave out what was read elsewhere while it was on its way."""
        reads = self._reads
        if reads is None:
            return messages
        return [message for message in messages if message.id not in reads]

    def _tell_reads(self) -> Commands:
        """Tell what was acked elsewhere and had to wait."""
        if self._reads is None or self._blocked_since:
            return []
        commands: Commands = []
        reads, self._reads = self._reads, None
        for what in reads:
            commands += self._tell_read(what)
        return commands

    def _tell_read(self, what: Sequence[MessageId] | MessageId) -> Commands:
        """Tell what was acked elsewhere, in the form of the ack."""
        if isinstance(what, MessageId):
            return [Send(Read(upto=str(what))), *self._seen(what)]
        return [Send(Read(ids=[str(id) for id in what])), *self._seen(max(what))]

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

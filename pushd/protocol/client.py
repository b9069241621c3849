"""The client's half of a session: what it says, whom it tells, when it comes back.

Theory of operation. Events come in as method calls; `commands()` then returns what the
driver has to do. It is called after any burst of events, so that what can travel together
does: one `seen` or `ack` for many messages.

    CONNECTING --connected--> OPENING --welcome--> CATCHING_UP --caught_up--> LIVE
        ^                                               ^                       |
        |                                               +-------- replay -------+
        |
        +--- WAITING <-- closed, in every state; or STOPPED, when it is for good

The session promises that every message reaches the listeners at least once, that it is
acked only after they handled it, and that the cursor never passes one they did not; the
`Ledger` keeps those books. While as many messages are with the listeners as the window is
wide, nothing more is reported as seen, so a slow app is never flooded.

Time and randomness are arguments: seconds of any clock that does not jump, and a function
returning 0.0 to 1.0.
"""

from collections.abc import Callable
from typing import get_args

import msgspec
from msgspec import UNSET, Struct

from pushd.errors import ERRORS, BadRequest, Internal, PushdError, Unauthorized
from pushd.protocol.client_commands import (
    Close,
    Command,
    Connect,
    Dispatch,
    MakeToken,
    Phase,
    Save,
    Send,
    Status,
    Stop,
    StreamClosed,
    Tell,
)
from pushd.protocol.closing import CloseCode, advice
from pushd.protocol.ids import Cursor, MessageId
from pushd.protocol.ledger import Ledger, Progress
from pushd.protocol.messages import (
    DEFAULT_WINDOW,
    Acked,
    AnyServerFrame,
    CaughtUp,
    Closing,
    ErrorFrame,
    Expiring,
    Hello,
    Message,
    Messages,
    Overflow,
    Overflowed,
    Ping,
    Read,
    Renew,
    Replay,
    Seen,
    Welcome,
    check_device,
    check_window,
    decode,
    decode_server_frame,
)

BACKOFF_BASE = 0.5
"""Seconds the first wait before a reconnect is shorter than."""
BACKOFF_CAP = 30.0
"""Seconds every later wait is shorter than, what the server asks for aside."""
WELCOME_TIMEOUT = 10.0
"""Seconds a server has to answer a hello."""
STOP_TICKS = 2
"""Ticks a client that stops waits for its last acks to be confirmed."""
DEFAULT_PING_INTERVAL = 25


class _Tag(Struct):
    type: str


_tag = msgspec.json.Decoder(_Tag)
_message = msgspec.json.Decoder(Message)
_KNOWN = {frame.__struct_config__.tag for frame in get_args(AnyServerFrame)}


class ClientSession:
    """One client's conversations with one server, over any number of connections.

    Args:
        random: Returns a number from 0.0 to 1.0; spreads the reconnects.
        progress: What was saved the last time; None begins at the first unread message.
        window: How many messages may be under way, 1 to 1000.
        device: Name under which a newer session replaces this one; None for none.

    Raises:
        BadRequest: If no server would take such a window or device.

    Attributes:
        status: How the connection stands.
        server_time: What the server's clock said, in Unix seconds, when it refused the
            last token; None if it did not.
    """

    def __init__(
        self,
        random: Callable[[], float],
        *,
        progress: Progress | None = None,
        window: int = DEFAULT_WINDOW,
        device: str | None = None,
    ) -> None:
        self.status = Status(Phase.CONNECTING)
        self.server_time: float | None = None
        self._random = random
        self._ledger = Ledger(progress or Progress())
        self._window = self._asked = check_window(window)
        self._device = None if device is None else check_device(device)
        self._out: list[Command] = []
        self._saved = self._ledger.cursor
        self._ping_interval = DEFAULT_PING_INTERVAL
        self._heard = 0.0
        self._pinged = False
        # The last message that arrived, and how many the server does not know of as seen.
        self._arrived: MessageId | None = None
        self._unseen = 0
        self._acks_wait = False
        self._attempts = 0
        self._refused_tokens = 0
        self._advice: Closing | None = None
        self._error: PushdError | None = None
        self._stopping = self._reopening = False
        self._patience = STOP_TICKS

    @property
    def empty(self) -> bool:
        """Whether the mailbox is known to hold nothing: all came, and all is acked."""
        return self.status.phase is Phase.LIVE and self._ledger.settled

    def commands(self) -> list[Command]:
        """Return what is to be done by now, each thing once."""
        self._flush()
        commands, self._out = self._out, []
        return commands

    # --- the connection --------------------------------------------------------------

    def start(self) -> None:
        """Begin to connect."""
        self._out.append(Connect(0.0, False))
        self._tell(Status(Phase.CONNECTING))

    def connected(self, token: str, now: float) -> None:
        """Say hello: the connection is there, and this token is for it."""
        ledger = self._ledger
        holding = ledger.holding
        ledger.resume()
        self._window = self._asked
        self._arrived = None
        self._unseen = 0
        self._advice = self._error = self.server_time = None
        self._pinged = self._acks_wait = False
        self._heard = now
        self.status = Status(Phase.OPENING)
        hello = Hello(token=token, window=self._asked, holding=holding)
        if ledger.cursor is not None:
            hello.after = str(ledger.cursor)
        if self._device is not None:
            hello.device = self._device
        self._out.append(Send(hello))

    def renewed(self, token: str) -> None:
        """Present a new token before the old one ends."""
        if self._open:
            self._out.append(Send(Renew(token)))

    def closed(
        self,
        code: int,
        reason: str = "",
        retry_after: float = 0.0,
        *,
        another_token: bool = False,
    ) -> None:
        """Take note that the connection is gone, or never came to be.

        Args:
            code: The close code; 1006 if there was none.
            reason: Why, if it was said.
            retry_after: Seconds the server asked to wait, outside the stream.
            another_token: Whether another token would say more than the one that was
                refused; it is tried once, whatever the server advises.
        """
        self._ledger.owed.lost()
        closing, told = self._advice, advice(code)
        if another_token:
            closing, told = None, advice(CloseCode.UNAUTHORIZED)
        reason = reason or told.meaning
        reconnect = told.reconnect
        if closing is not None:
            retry_after = max(retry_after, closing.retry_after)
            reconnect = reconnect and closing.reconnect
        if told.new_token:
            self._refused_tokens += 1
            reconnect = reconnect and self._refused_tokens < 2
        if self._stopping:
            self._stop(None)
        elif not reconnect:
            self._stop(StreamClosed(code, reason, self._error))
        else:
            self._wait(code, reason, retry_after, told.new_token)

    def _wait(self, code: int, reason: str, retry_after: float, new_token: bool) -> None:
        delay = 0.0
        if not self._reopening:
            limit = min(BACKOFF_CAP, BACKOFF_BASE * 2 ** min(self._attempts, 10))
            delay = retry_after + self._random() * limit
            self._attempts += 1
        self._reopening = False
        self._out.append(Connect(delay, new_token))
        self._tell(Status(Phase.WAITING, retry_in=delay, code=code, reason=reason))

    def _stop(self, error: StreamClosed | None) -> None:
        self._flush()
        self._out.append(Stop(error))
        if error is None:
            self._tell(Status(Phase.STOPPED))
        else:
            self._tell(Status(Phase.STOPPED, code=error.code, reason=error.reason))

    def heard(self, now: float) -> None:
        """Take note of any sign of life: frames, and the websocket's own pings."""
        if now > self._heard:
            self._heard = now
            self._pinged = False

    def tick(self, now: float) -> None:
        """Look at the clock; about once a second is right."""
        self._acks_wait = False
        silent = now - self._heard
        if self.status.phase is Phase.OPENING and silent > WELCOME_TIMEOUT:
            self._close(CloseCode.TIMEOUT, "The server did not answer the hello.")
        if not self._open:
            return
        if self._stopping:
            self._patience -= 1
            if self._patience < 0:
                self._close(CloseCode.NORMAL, "")
            return
        self._say_seen()
        if silent > 2 * self._ping_interval:
            self._close(CloseCode.TIMEOUT, "The server is silent.")
        elif silent > 1.5 * self._ping_interval and not self._pinged:
            self._pinged = True
            self._out.append(Send(Ping()))

    def reopen(self) -> None:
        """Connect anew, to be sent again what was not handled."""
        if self._open:
            self._reopening = True
            self._close(CloseCode.NORMAL, "")

    def stop(self) -> None:
        """End the conversation, after what is owed was said and confirmed."""
        self._stopping = True
        if self._open:
            self._flush()
            self._close_when_settled()
        elif self.status.phase is Phase.OPENING:
            self._close(CloseCode.NORMAL, "")
        elif self.status.phase not in (Phase.CLOSING, Phase.STOPPED):
            self._stop(None)

    def _close_when_settled(self) -> None:
        if self._ledger.owed.settled:
            self._close(CloseCode.NORMAL, "")

    def _close(self, code: CloseCode, reason: str) -> None:
        self._out.append(Close(code, reason))
        self.status = Status(Phase.CLOSING)

    @property
    def _open(self) -> bool:
        return self.status.phase in (Phase.CATCHING_UP, Phase.LIVE)

    def _tell(self, status: Status) -> None:
        self.status = status
        self._out.append(Tell(status))

    # --- what the server says --------------------------------------------------------

    def frame(self, text: bytes | str, now: float) -> None:
        """Take a frame of the server; one of a type from the future is ignored."""
        self.heard(now)
        try:
            self._take(decode_server_frame(text))
        except BadRequest:
            if not _is_unknown(text) and self.status.phase is not Phase.CLOSING:
                # What its ids mean is in doubt now, and a replay is right in any doubt.
                self._ledger.restart()
                self._close(CloseCode.PROTOCOL_ERROR, "The server broke the protocol.")

    def _take(self, frame: AnyServerFrame) -> None:
        if isinstance(frame, Acked):
            self._ledger.owed.confirmed(frame.ref)
            if self._stopping and self._open:
                self._close_when_settled()
        elif self.status.phase is not Phase.CLOSING and not self._stopping:
            self._follow(frame)

    def _follow(self, frame: AnyServerFrame) -> None:
        match frame:
            case Messages():
                self._messages(frame)
            case Welcome():
                self._welcome(frame)
            case CaughtUp():
                self._caught_up(frame)
            case Replay():
                self._ledger.restart()
                self._tell(Status(Phase.CATCHING_UP, unread=frame.unread))
            case Read():
                self._ledger.gone(frame)
                self._out.append(Tell(frame))
            case Overflowed():
                self._out.append(Tell(Overflow(frame.refused, frame.since)))
            case Expiring():
                self._out.append(MakeToken())
            case ErrorFrame():
                self._refused(frame)
            case Closing():
                self._advice = frame
            case _:
                pass

    def _welcome(self, frame: Welcome) -> None:
        if frame.continuity == "replay":
            self._ledger.restart()
        self._ping_interval = frame.ping_interval
        self._window = frame.window
        self._refused_tokens = 0
        self._tell(Status(Phase.CATCHING_UP, unread=frame.unread))

    def _messages(self, frame: Messages) -> None:
        self._attempts = 0
        epoch = Cursor.parse(frame.cursor).epoch
        for raw in frame.messages:
            message = decode(raw, _message)
            id = MessageId.parse(message.id)
            if self._ledger.arrived(id, epoch):
                self._out.append(Dispatch(id, message))
            self._arrived = id
            self._unseen += 1
        if self.status.phase is Phase.CATCHING_UP:
            received = self.status.received + len(frame.messages)
            self._tell(self.status._replace(received=received))

    def _caught_up(self, frame: CaughtUp) -> None:
        self._attempts = 0
        self._ledger.caught_up(Cursor.parse(frame.cursor))
        self._tell(self.status._replace(phase=Phase.LIVE))

    def _refused(self, frame: ErrorFrame) -> None:
        """Take an error: of an ack, which is tried again later, or of the session."""
        if frame.ref is not UNSET:
            self._acks_wait = self._ledger.owed.refused(frame.ref) or self._acks_wait
            return
        error = ERRORS.get(frame.code, Internal)(frame.detail)
        self._error = error
        if isinstance(error, Unauthorized):
            self.server_time = frame.now

    # --- what the listeners say ------------------------------------------------------

    def handled(self, id: MessageId) -> None:
        """Take that a message is safe with the app: it is acked."""
        self._ledger.handled(id)

    def held(self, id: MessageId) -> None:
        """Take that the listeners are done, and the app acks later by `handled`."""
        self._ledger.held(id)

    def failed(self, id: MessageId) -> None:
        """Take that nobody handled a message: it stays unread, and comes again."""
        self._ledger.failed(id)

    def _flush(self) -> None:
        if self._open:
            self._say_acks()
            if self._unseen >= max(1, self._window // 4):
                self._say_seen()
        self._save()

    def _say_acks(self) -> None:
        owed = self._ledger.owed
        if not owed.due or self._acks_wait:
            return
        if self._arrived in owed.ids:
            self._unseen = 0
        self._out += [Send(ack) for ack in owed.frames(self._ledger.cursor)]

    def _say_seen(self) -> None:
        """Open the window for more, unless the listeners have enough to do."""
        if self._unseen and self._ledger.running < self._window:
            self._unseen = 0
            self._out.append(Send(Seen(upto=str(self._arrived))))

    def _save(self) -> None:
        cursor, owed = self._ledger.cursor, self._ledger.owed
        if owed.changed or cursor != self._saved:
            owed.changed = False
            self._saved = cursor
            self._out.append(Save(self._ledger.progress()))


def _is_unknown(text: bytes | str) -> bool:
    """Tell whether a frame is well-formed, of a type that came after this client."""
    try:
        return decode(text, _tag).type not in _KNOWN
    except BadRequest:
        return False

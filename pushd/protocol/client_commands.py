"""What a client's session asks of its driver, and what it tells about itself.

A command that has an answer says which event of the session brings it. The status is
also what an app shows to people.
"""

from enum import StrEnum
from typing import NamedTuple

from pushd.errors import PushdError
from pushd.protocol.closing import CloseCode
from pushd.protocol.ids import MessageId
from pushd.protocol.ledger import Progress
from pushd.protocol.messages import ClientFrame, Message, Overflow, Read


class Phase(StrEnum):
    """Where a session stands."""

    CONNECTING = "connecting"
    OPENING = "opening"
    CATCHING_UP = "catching up"
    LIVE = "live"
    CLOSING = "closing"
    WAITING = "waiting"
    STOPPED = "stopped"


class Status(NamedTuple):
    """What an app can show about its connection.

    Attributes:
        phase: Where the session stands.
        unread: Messages the mailbox held when this history began.
        received: Messages that came since.
        retry_in: Seconds until the next attempt, in phase WAITING; else None.
        code: The close code, in phases WAITING and STOPPED, if there was one; else None.
        reason: Why it was closed, a sentence for people.
    """

    phase: Phase
    unread: int = 0
    received: int = 0
    retry_in: float | None = None
    code: int | None = None
    reason: str = ""


class StreamClosed(Exception):
    """The stream ended for good: coming back by itself would be wrong.

    Attributes:
        code: The close code.
        reason: Why, a sentence for people.
        error: What the server refused, if it said so before closing; else None.
    """

    def __init__(self, code: int, reason: str, error: PushdError | None = None) -> None:
        self.code = code
        self.reason = reason
        self.error = error
        super().__init__(f"{reason} ({code})")


class Connect(NamedTuple):
    """Connect in `delay` seconds; with `new_token`, a token that was never used.

    Answer with `connected`, or with `closed`.
    """

    delay: float
    new_token: bool


class Send(NamedTuple):
    """Send this frame."""

    frame: ClientFrame


class Dispatch(NamedTuple):
    """Call the listeners. Answer with `handled`, `held` or `failed`."""

    id: MessageId
    message: Message


class MakeToken(NamedTuple):
    """Make a token. Answer with `renewed`."""


class Save(NamedTuple):
    """Keep this across restarts; the latest counts, and it may be late."""

    progress: Progress


class Tell(NamedTuple):
    """Tell the app how the connection stands, or what the server said."""

    what: Status | Read | Overflow


class Close(NamedTuple):
    """Close the connection. Answer with `closed`."""

    code: CloseCode
    reason: str


class Stop(NamedTuple):
    """It is over; `error` says why, None if the app wanted it."""

    error: StreamClosed | None


Command = Connect | Send | Dispatch | MakeToken | Save | Tell | Close | Stop

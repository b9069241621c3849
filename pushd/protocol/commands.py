"""What a session asks of its driver: send, read, acknowledge, close.

A command that has an answer says which event of the session brings it. Between the two
anything may happen.
"""

from collections.abc import Sequence
from typing import NamedTuple

from msgspec import UnsetType

from pushd.protocol.closing import CloseCode
from pushd.protocol.ids import Cursor, MessageId
from pushd.protocol.messages import Deliver, Overflow, Ref, ServerFrame, StoredMessage


class Send(NamedTuple):
    """Send this frame."""

    frame: ServerFrame


class Push(NamedTuple):
    """Send these messages as one frame, with this cursor."""

    messages: Sequence[StoredMessage]
    cursor: Cursor


class Authenticate(NamedTuple):
    """Verify this receive token (None: the one of the upgrade request).

    Answer with `authenticated`, or with `refused`.
    """

    token: str | None


class Open(NamedTuple):
    """Subscribe to the mailbox, then open it. Answer with `opened` or `failed`."""

    holding: Sequence[MessageId]


class ReadPage(NamedTuple):
    """Read a page of the mailbox. Answer with `page` or `failed`."""

    after: MessageId
    limit: int


class Acknowledge(NamedTuple):
    """Remove messages. Answer with `acked` or `ack_failed`."""

    what: Sequence[MessageId] | MessageId
    ref: Ref | UnsetType


class Accept(NamedTuple):
    """Accept a delivery. Answer with `delivered`."""

    frame: Deliver


class Told(NamedTuple):
    """The client was told of this overflow."""

    overflow: Overflow


class Probe(NamedTuple):
    """Send a websocket ping."""


class Close(NamedTuple):
    """Close the connection; nothing follows. `stuck`: without waiting for the peer."""

    code: CloseCode
    reason: str
    stuck: bool = False


Command = (
    Send
    | Push
    | Authenticate
    | Open
    | ReadPage
    | Acknowledge
    | Accept
    | Told
    | Probe
    | Close
)
Commands = list[Command]

"""What a session asks of its driver: send, read, acknowledge, close.

A command that has an answer says which event of the session brings it. Between the two
anything may happen. Several are made for each message, hence structs: four times quicker
to make than named tuples, and nothing the garbage collector looks at.
"""

from collections.abc import Sequence

from msgspec import Struct, UnsetType

from pushd.protocol.closing import CloseCode
from pushd.protocol.ids import Cursor, MessageId
from pushd.protocol.messages import Deliver, Overflow, Ref, ServerFrame, StoredMessage


class Send(Struct, frozen=True, gc=False):
    """Send this frame."""

    frame: ServerFrame


class Push(Struct, frozen=True, gc=False):
    """Send these messages as one frame, with this cursor."""

    messages: Sequence[StoredMessage]
    cursor: Cursor


class Authenticate(Struct, frozen=True, gc=False):
    """Verify this receive token (None: the one of the upgrade request).

    Answer with `authenticated`, or with `refused`.
    """

    token: str | None


class Open(Struct, frozen=True, gc=False):
    """Subscribe to the mailbox, then open it. Answer with `opened` or `failed`."""

    holding: Sequence[MessageId]


class ReadPage(Struct, frozen=True, gc=False):
    """Read a page of the mailbox. Answer with `page` or `failed`."""

    after: MessageId
    limit: int


class Acknowledge(Struct, frozen=True, gc=False):
    """Remove messages. Answer with `acked` or `ack_failed`."""

    what: Sequence[MessageId] | MessageId
    ref: Ref | UnsetType


class Accept(Struct, frozen=True, gc=False):
    """Accept a delivery. Answer with `delivered`."""

    frame: Deliver


class Told(Struct, frozen=True, gc=False):
    """The client was told of this overflow."""

    overflow: Overflow


class Probe(Struct, frozen=True, gc=False):
    """Send a websocket ping."""


class Close(Struct, frozen=True, gc=False):
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

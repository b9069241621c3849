"""Every frame and body of the protocol as a struct; the structs are the codec.

Client frames and server frames are two tagged unions with the tag in `type`. A message
is encoded once, when it is accepted, and travels from then on as bytes: what is stored is
`body`, the JSON object without its `{"id":"..."`, so that the id, which the mailbox
assigns, can be spliced in front.
"""

from collections.abc import Sequence
from typing import Annotated, Any, Literal, TypeVar

import msgspec
from msgspec import UNSET, Meta, Raw, Struct, UnsetType, field

from pushd.errors import BadRequest, PushdError
from pushd.protocol.ids import MessageId, parse_ids

PROTOCOL = 1
SUBPROTOCOL = "pushd.v1"
DIGEST_ONLY = "digest-only"
"""The feature of a server where every delivery needs a token for it alone."""

MAX_CLIENT_FRAME = 64 * 1024
"""Bytes of the largest frame a client may send."""
MAX_SERVER_FRAME = 256 * 1024
"""Bytes below which every frame of a server stays."""
MAX_BODY = 8 * 1024 * 1024
"""Bytes of the largest HTTP body."""
MAX_PAGE_BYTES = 4 * 1024 * 1024
"""Bytes of messages after which a page of `GET /v1/messages` ends."""
MESSAGES_PER_FRAME = 100
FRAME_BYTES = MAX_SERVER_FRAME - 1024
"""Bytes of messages in one frame; the rest is for what surrounds them."""
MAX_BATCH = 1000
MAX_IDS = 1000
MAX_KEY = 128
MAX_POLICY = 1000
"""Entries of each list of a policy."""
MAX_POLICY_NAMES = 50
"""Names in both lists together: each may have to be looked up every ten minutes."""
MAX_DETAIL = 200
"""Characters of what is said about a malformed text."""
MAX_WINDOW = 1000
DEFAULT_WINDOW = 256

Ref = Annotated[str, Meta(max_length=64)] | int
"""What a client calls a frame of its own; echoed in the answer as it was sent."""
Device = Annotated[str, Meta(pattern=r"^[ -~]{1,64}(?!\n)$")]
"""A client's name for itself: up to 64 printable ASCII characters.

To Python a `$` stands before a line feed at the end too; to JSON Schema it does not.
"""


def check_device(text: str) -> str:
    """Return `text` if a client may name itself so.

    Raises:
        BadRequest: If it may not.
    """
    try:
        return msgspec.convert(text, Device)
    except msgspec.ValidationError:
        raise BadRequest("`device` is 1 to 64 printable ASCII characters.") from None


def check_window(size: int) -> int:
    """Return `size` if a window may be so wide.

    Raises:
        BadRequest: If it may not.
    """
    if not 1 <= size <= MAX_WINDOW:
        raise BadRequest(f"`window` is 1 to {MAX_WINDOW}.")
    return size


# --- what a mailbox holds ------------------------------------------------------------


class From(Struct, omit_defaults=True, frozen=True):
    """Who sent a message: a proven identity, and a name only if that was proven too."""

    did: str
    name: str | UnsetType = UNSET


class Message(Struct, omit_defaults=True, frozen=True):
    """A message as clients read it. `at` and `expires` are Unix seconds."""

    id: str
    from_: From = field(name="from")
    payload: str
    at: int
    expires: int
    app: str | UnsetType = UNSET


class StoredMessage(Struct, frozen=True, gc=False):
    """A message on its way out: its id, and the JSON object of `Message` as bytes."""

    id: MessageId
    json: bytes


def message_body(sender: From, payload: str, app: str | None = None) -> bytes:
    """Encode the part of a message that is known when a delivery is accepted.

    Args:
        sender: As recipients are told.
        payload: As it was delivered.
        app: Web origin the sender's name belongs to; None: it has none.

    Returns:
        The JSON members from `from` to `payload`, each after a comma. The store puts
        `{"id":"..."` in front and `,"at":...,"expires":...}` behind, by its own clock.
    """
    text = b',"from":' + _encode(sender)
    if app is not None:
        text += b',"app":' + _encode(app)
    return text + b',"payload":' + _encode(payload)


# --- deliveries ----------------------------------------------------------------------


class Delivery(Struct, forbid_unknown_fields=True, omit_defaults=True):
    """A sender's request to put one payload into one mailbox.

    Attributes:
        to: The recipient: a DID, or a name.
        payload: Opaque UTF-8 text; its size is limited in bytes.
        key: Makes the delivery idempotent for this sender and mailbox; None is not.
        ttl: Seconds until the message expires; None is the server's maximum.
    """

    to: str
    payload: str
    key: str | None = None
    ttl: int | None = None


class Batch(Struct, forbid_unknown_fields=True):
    """Up to `MAX_BATCH` deliveries; each is decoded apart, so one cannot spoil others."""

    deliveries: list[Raw]


class Accepted(Struct, frozen=True):
    """The answer to a delivery that is now as durable as the server says."""

    id: str
    mailbox: str
    duplicate: bool


class Problem(Struct, omit_defaults=True, frozen=True):
    """An error inside a frame or a batch: code, sentence, seconds until a retry helps.

    Attributes:
        code: Stable name of the error.
        detail: What happened this time, and what to do about it.
        retry_after: Seconds after which a retry may help; None where a retry cannot.
    """

    code: str
    detail: str
    retry_after: int | None = None


def problem(error: PushdError) -> Problem:
    """Return an error as it stands inside a frame or a batch."""
    return Problem(error.code, error.detail, error.retry_after)


class Failed(Struct, frozen=True):
    """The place of a delivery that was refused, in the results of a batch."""

    error: Problem


class Results(Struct, frozen=True):
    """The answer to a batch, in the order of its deliveries."""

    results: list[Accepted | Failed]


# --- who may write -------------------------------------------------------------------


class Policy(Struct, forbid_unknown_fields=True, frozen=True):
    """Who may write to a mailbox; block counts before allow, allow before the default.

    Attributes:
        default: What holds for whom neither list names.
        allow: Who may write: DIDs and names.
        block: Who may not.
    """

    default: Literal["accept", "refuse"]
    allow: list[str] = []
    block: list[str] = []


# --- reading over HTTP ---------------------------------------------------------------

Continuity = Literal["exact", "replay"]


class Overflow(Struct, frozen=True):
    """How many deliveries the full mailbox refused, and since when (Unix seconds)."""

    refused: int
    since: int


class Unread(Struct, omit_defaults=True, frozen=True):
    """A page of unread messages, as `GET /v1/messages` answers."""

    messages: list[Raw]
    cursor: str
    tail: str
    unread: int
    continuity: Continuity
    overflow: Overflow | UnsetType = UNSET


class Acks(Struct, forbid_unknown_fields=True):
    """The body of `POST /v1/acks`: either ids, or everything up to an id."""

    ids: list[str] | UnsetType = UNSET
    upto: str | UnsetType = UNSET


def ack_of(
    ids: list[str] | UnsetType, upto: str | UnsetType
) -> Sequence[MessageId] | MessageId:
    """Return what an ack names: ids, or one id up to which.

    Raises:
        BadRequest: If it names both, neither, too many, or no valid id.
    """
    if (ids is UNSET) == (upto is UNSET):
        raise BadRequest("An ack has either `ids` or `upto`.")
    if upto is not UNSET:
        return MessageId.parse(upto)
    if ids is UNSET or not 1 <= len(ids) <= MAX_IDS:
        raise BadRequest(f"`ids` has 1 to {MAX_IDS} ids.")
    return parse_ids(ids)


class Removed(Struct, frozen=True):
    """How many messages an ack removed, and how many are left."""

    removed: int
    unread: int


# --- frames from the client ----------------------------------------------------------


class ClientFrame(Struct, tag_field="type", omit_defaults=True):
    """Base of the frames a client may send."""


class Hello(ClientFrame, tag="hello"):
    """First frame: who listens, from where, and what it still holds."""

    token: str | UnsetType = UNSET
    after: str | UnsetType = UNSET
    window: int = DEFAULT_WINDOW
    device: Device | UnsetType = UNSET
    holding: list[str] = []


class Ack(ClientFrame, tag="ack"):
    """These messages are safe with me, forget them."""

    ids: list[str] | UnsetType = UNSET
    upto: str | UnsetType = UNSET
    ref: Ref | UnsetType = UNSET


class Seen(ClientFrame, tag="seen"):
    """I took everything up to here off the wire; keep it, and send more."""

    upto: str


class Deliver(ClientFrame, tag="deliver", forbid_unknown_fields=True):
    """A delivery over the stream; `token` speaks for another sender than the session.

    The rest is as in a `Delivery`, and `ref` comes back with what became of it.
    """

    to: str
    payload: str
    ref: Ref
    key: str | None = None
    ttl: int | None = None
    token: str | UnsetType = UNSET


class Renew(ClientFrame, tag="renew"):
    """A newer token of the same identity."""

    token: str


class Ping(ClientFrame, tag="ping"):
    """Asks for a `pong`; for clients that cannot send websocket pings."""

    ref: Ref | UnsetType = UNSET


AnyClientFrame = Hello | Ack | Seen | Deliver | Renew | Ping


# --- frames from the server ----------------------------------------------------------


class ServerFrame(Struct, tag_field="type", omit_defaults=True):
    """Base of the frames a server sends."""


class Welcome(ServerFrame, tag="welcome"):
    """The session is open. `ping_interval` is in seconds."""

    session: str
    mailbox: str
    server: str
    unread: int
    tail: str
    continuity: Continuity
    ping_interval: int
    window: int


class Messages(ServerFrame, tag="messages"):
    """1 to `MESSAGES_PER_FRAME` messages, and the cursor after the last of them."""

    messages: list[Raw]
    cursor: str


class CaughtUp(ServerFrame, tag="caught_up"):
    """History is sent; what follows is live."""

    tail: str
    cursor: str
    unread: int


class Replay(ServerFrame, tag="replay"):
    """The epoch changed under this session: all unread follow from the first."""

    tail: str
    unread: int
    reason: str


class Read(ServerFrame, tag="read"):
    """Acked elsewhere, in the form of that ack."""

    ids: list[str] | UnsetType = UNSET
    upto: str | UnsetType = UNSET


class Acked(ServerFrame, tag="acked"):
    """Answer to an ack that had a `ref`."""

    ref: Ref
    removed: int


class DeliveryAccepted(ServerFrame, tag="accepted"):
    """Answer to a `deliver`: it is as durable as the server says."""

    ref: Ref
    id: str
    mailbox: str
    duplicate: bool


class DeliveryRefused(ServerFrame, tag="refused"):
    """Answer to a `deliver` that stored nothing."""

    ref: Ref
    error: Problem


class Overflowed(ServerFrame, tag="overflow"):
    """The mailbox was full and refused deliveries."""

    refused: int
    since: int


class Renewed(ServerFrame, tag="renewed"):
    """The new token counts; the session ends at `expires` (Unix seconds)."""

    expires: int


class Expiring(ServerFrame, tag="expiring"):
    """The token ends at `at` (Unix seconds); renew it."""

    at: int


class Pong(ServerFrame, tag="pong"):
    """Answer to a `ping` frame."""

    ref: Ref | UnsetType = UNSET


class ErrorFrame(ServerFrame, tag="error"):
    """Something was refused. `now` is the server's clock in Unix seconds."""

    code: str
    detail: str
    now: int
    ref: Ref | UnsetType = UNSET


def error_frame(error: PushdError, now: float, ref: Ref | UnsetType = UNSET) -> ErrorFrame:
    """Return an error as a frame of its own."""
    return ErrorFrame(code=error.code, detail=error.detail, now=int(now), ref=ref)


class Closing(ServerFrame, tag="closing"):
    """The server will close: after how many seconds to reconnect, and whether to."""

    reason: str
    retry_after: float
    reconnect: bool


AnyServerFrame = (
    Welcome
    | Messages
    | CaughtUp
    | Replay
    | Read
    | Acked
    | DeliveryAccepted
    | DeliveryRefused
    | Overflowed
    | Renewed
    | Expiring
    | Pong
    | ErrorFrame
    | Closing
)


# --- codec ---------------------------------------------------------------------------

_encode = msgspec.json.Encoder().encode
_client_frame: msgspec.json.Decoder[AnyClientFrame] = msgspec.json.Decoder(AnyClientFrame)
_server_frame: msgspec.json.Decoder[AnyServerFrame] = msgspec.json.Decoder(AnyServerFrame)

T = TypeVar("T")


def encode(value: Any) -> bytes:
    """Encode a struct of this module as JSON."""
    return _encode(value)


def decode_client_frame(text: bytes | bytearray | memoryview) -> AnyClientFrame:
    """Decode a frame of a client.

    Raises:
        BadRequest: If it is not JSON, of no known type, or has a member of wrong type.
    """
    return decode(text, _client_frame)


def decode_server_frame(text: bytes | str) -> AnyServerFrame:
    """Decode a frame of a server.

    Raises:
        BadRequest: If it is not JSON, of no known type, or has a member of wrong type.
    """
    return decode(text, _server_frame)


def decode(
    text: bytes | bytearray | memoryview | str | Raw,
    decoder: msgspec.json.Decoder[T],
) -> T:
    """Decode JSON into a struct; of duplicate members the last counts.

    Raises:
        BadRequest: If `text` does not fit. The detail names the member.
    """
    try:
        return decoder.decode(text)
    except msgspec.ValidationError as error:
        # It may quote the name of a member, which a peer can make as long as a body.
        raise BadRequest(f"{str(error)[:MAX_DETAIL]}.") from None
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        raise BadRequest("This is not JSON in UTF-8.") from None


def messages_frame(messages: Sequence[StoredMessage], cursor: object) -> bytes:
    """Encode a `messages` frame around messages that are encoded already."""
    return b'{"type":"messages","messages":[%b],"cursor":"%b"}' % (
        b",".join([message.json for message in messages]),
        str(cursor).encode(),
    )


def message_frame(message: StoredMessage) -> bytes:
    """Encode a `messages` frame around one message whose own id is the cursor after it."""
    json = message.json
    id = json[7 : json.index(b'"', 7)]  # behind `{"id":"`
    return b'{"type":"messages","messages":[%b],"cursor":"%b"}' % (json, id)


def frames_of(messages: Sequence[StoredMessage]) -> list[Sequence[StoredMessage]]:
    """Cut messages into frames: at most 100 each, and below the size of a frame."""
    if len(messages) == 1 or _fit(messages):  # as almost always
        return [messages]
    parts: list[Sequence[StoredMessage]] = []
    start, size = 0, 0
    for index, message in enumerate(messages):
        size += len(message.json) + 1
        if index - start >= MESSAGES_PER_FRAME or (size > FRAME_BYTES and index > start):
            parts.append(messages[start:index])
            start, size = index, len(message.json) + 1
    parts.append(messages[start:])
    return parts


def _fit(messages: Sequence[StoredMessage]) -> bool:
    """Tell whether one frame will do for all of them."""
    if len(messages) > MESSAGES_PER_FRAME:
        return False
    texts = [message.json for message in messages]
    return sum(map(len, texts)) + len(texts) <= FRAME_BYTES

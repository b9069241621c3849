"""The server's half of an event stream: a session whose client says nothing.

The client's one word is its request. What the transport takes counts as seen, so the
transport's backpressure is the window: pages are pulled as it drains, and a slow reader
has all the time it needs. Acks come another way (`POST /v1/acks`), as from another session.

On the wire an event is a frame of the stream under its name; after those that have a
cursor, a client knows from `id` where to go on.
https://html.spec.whatwg.org/multipage/server-sent-events.html#parsing-an-event-stream
"""

from collections.abc import Sequence
from math import inf

from msgspec import UNSET

from pushd.errors import PushdError
from pushd.protocol.closing import CloseCode
from pushd.protocol.commands import Commands, Push
from pushd.protocol.ids import Cursor
from pushd.protocol.messages import (
    MESSAGES_PER_FRAME,
    CaughtUp,
    Closing,
    Hello,
    ServerFrame,
    StoredMessage,
    check_device,
    encode,
    frames_of,
    messages_frame,
)
from pushd.protocol.session import ServerSession

MEDIA_TYPE = b"text/event-stream"
HEARTBEAT = b": ping\n\n"
"""A comment, so that both ends notice when the other is gone."""


class EventSession(ServerSession):
    """One event stream, from the request to its end."""

    __slots__ = ()

    def requested(self, after: str | None, device: str | None) -> Commands:
        """Take the request.

        Args:
            after: The cursor to go on from; None begins with the first unread message.
            device: The client's name for itself; an older session with it gives way.

        Raises:
            BadRequest: If one of them is malformed.
        """
        hello = Hello(after=UNSET if after is None else after)
        if device is not None:
            hello.device = check_device(device)
        commands = self._greet(hello)
        self.deadline = inf  # there is no hello to wait for
        return commands

    @property
    def _room(self) -> int:
        """How many messages may be sent now: as many as one reads, or none."""
        return 0 if self._blocked_since else MESSAGES_PER_FRAME

    def _send(self, messages: Sequence[StoredMessage]) -> Commands:
        """Push messages in frames of bounded count and size; sent is seen."""
        if not messages:
            return []
        return [Push(part, Cursor(part[-1].id, self.epoch)) for part in frames_of(messages)]

    def _close_for(self, error: PushdError, code: CloseCode, now: float) -> Commands:
        """Close; the reason says what was wrong, as there are no codes and no errors."""
        return self._leave(code, error.code, retry_after=float(error.retry_after or 0))


def messages_event(messages: Sequence[StoredMessage], cursor: Cursor) -> bytes:
    """Encode messages, and the cursor behind them, as an event."""
    return b"event: messages\nid: %b\ndata: %b\n\n" % (
        str(cursor).encode(),
        messages_frame(messages, cursor),
    )


def event(frame: ServerFrame) -> bytes:
    """Encode a frame as an event; one that asks for patience says so to browsers too."""
    lines = b"event: %b\n" % str(frame.__struct_config__.tag).encode()
    if isinstance(frame, CaughtUp):
        lines += b"id: %b\n" % frame.cursor.encode()
    if isinstance(frame, Closing):
        lines += b"retry: %d\n" % round(frame.retry_after * 1000)
    return lines + b"data: %b\n\n" % encode(frame)

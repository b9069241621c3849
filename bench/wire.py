"""How recipients and senders talk to a server: what the load program is told of it."""

import struct
from collections.abc import Iterable
from pathlib import Path
from typing import Literal, NamedTuple

PAYLOAD = 400
"""Characters of a payload; a message ID encrypted to its recipient has about as many."""

NUMBER = "#" * 16
"""Here the load program writes a number that it never used before."""
SENDER = "%" * 16
"""Here it writes the number of the sending connection."""
TIME = "@" * 16
"""Here it writes when the request was due."""

MESSAGE = f"due={TIME}".ljust(PAYLOAD, "x")
"""The payload; recipients know it by its beginning."""


class Wire(NamedTuple):
    """What is said on the wire, apart from first frames and messages.

    Attributes:
        upgrade: The request for a recipient's websocket.
        live: The frame that has it says that a recipient is connected and subscribed.
        heartbeat: The frame that asks a recipient whether it is there; empty if none does.
        alive: What it answers.
        greeting: What a sender says first; empty if senders speak HTTP.
        accepted: Once in the answer for each message that was accepted.
        refused: And for each that was not.
        frames: Of which kind the frames of recipients are.
        answer: What recipients answer to messages: pushd's `ack` for all that was read,
            MQTT's PUBACK for each, or nothing.
    """

    upgrade: bytes
    live: bytes
    heartbeat: bytes = b""
    alive: bytes = b""
    greeting: bytes = b""
    accepted: bytes = b'"accepted"'
    refused: bytes = b'"error":'
    frames: Literal["text", "binary"] = "text"
    answer: Literal["ack", "puback", "nothing"] = "nothing"

    def records(self) -> list[bytes]:
        """Return what the load program reads from a file, in its order."""
        return [
            self.upgrade,
            self.live,
            self.heartbeat,
            self.alive,
            self.greeting,
            self.accepted,
            self.refused,
        ]


def upgrade(target: str, subprotocol: str = "") -> bytes:
    """Make the request for a websocket (RFC 6455, section 4.1)."""
    spoken = f"Sec-WebSocket-Protocol: {subprotocol}\r\n" if subprotocol else ""
    head = (
        f"GET {target} HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: Upgrade\r\n"
        "Upgrade: websocket\r\nSec-WebSocket-Version: 13\r\n"
        f"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n{spoken}\r\n"
    )
    return head.encode()


def post(target: str, body: bytes, *, kind: str, authorization: str = "") -> bytes:
    """Make a request that posts a body.

    Args:
        target: The path.
        body: What is posted.
        kind: Its media type.
        authorization: The `Authorization` header; empty for none.
    """
    head = f"POST {target} HTTP/1.1\r\nHost: 127.0.0.1\r\n"
    if authorization:
        head += f"Authorization: {authorization}\r\n"
    head += f"Content-Type: {kind}\r\nContent-Length: {len(body)}\r\n\r\n"
    return head.encode() + body


def write(path: Path, records: Iterable[bytes]) -> Path:
    """Write records to a file as the load program reads them."""
    with path.open("wb") as file:
        for record in records:
            file.write(struct.pack("<I", len(record)) + record)
    return path

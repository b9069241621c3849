"""The Python client: send to anybody, listen as yourself.

    from pushd.client import FileCursors, PrivateKey, Receiver, Sender

    async def alice() -> None:
        async with Sender(alices_key, server="https://push.example") as sender:
            await sender.send(bobs_did, "an encrypted message ID")

    async def bob() -> None:
        cursors = FileCursors("~/.local/state/my-app")
        async with Receiver(bobs_key, server="https://push.example",
                            cursor_store=cursors) as receiver:
            async for message in receiver.messages():
                print(message.sender, message.payload)

A sender retries until the server keeps the message, and never stores it twice. A receiver
has one socket, any number of listeners, and comes back by itself; a message is acked once
the listeners are done with it, and not before.
"""

from pushd.client.cursors import CursorStore, FileCursors, MemoryCursors
from pushd.client.envelope import Envelope, new_id, open_sealed, seal
from pushd.client.listeners import Listener, NotHandled, Received
from pushd.client.receiver import Receiver
from pushd.client.sender import Sender, Unreachable
from pushd.errors import PushdError
from pushd.identity.ecies import CannotOpen
from pushd.identity.keys import Algorithm, PrivateKey, PublicKey
from pushd.protocol.client_commands import Phase, Status, StreamClosed
from pushd.protocol.ledger import Progress
from pushd.protocol.messages import Accepted, Delivery, Overflow, Read

__all__ = [
    "Accepted",
    "Algorithm",
    "CannotOpen",
    "CursorStore",
    "Delivery",
    "Envelope",
    "FileCursors",
    "Listener",
    "MemoryCursors",
    "NotHandled",
    "Overflow",
    "Phase",
    "PrivateKey",
    "Progress",
    "PublicKey",
    "PushdError",
    "Read",
    "Received",
    "Receiver",
    "Sender",
    "Status",
    "StreamClosed",
    "Unreachable",
    "new_id",
    "open_sealed",
    "seal",
]

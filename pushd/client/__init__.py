"""The Python client: send to a name, listen as yourself.

    async with Client(key, app="https://calendar.example", name="alice.id.blockstack",
                      hub="https://hub.example", servers=["https://push.example"],
                      names_api="https://names.example") as client:
        await client.publish()
        client.listen(lambda message: print(message.name, message.content))
        await client.send("bob.id.blockstack", "Hello Bob")

The client finds Bob's key and his message server, encrypts, keeps the message in Alice's
bucket and delivers where it is. Nobody on the way can pass for a sender, a key or a server.
It never stores a message twice, comes back by itself, and acks a message once the
listeners are done with it, and not before.

Below it are parts that do one thing each, for apps that know keys and servers themselves:
a `Sender` delivers payloads to one server, a `Receiver` listens at one server, a `Bucket`
keeps files.
"""

from pushd.client.client import Client, NoBucket
from pushd.client.cursors import CursorStore, FileCursors, MemoryCursors
from pushd.client.envelope import Envelope, new_id, open_sealed, seal
from pushd.client.gaia import Bucket, GaiaError
from pushd.client.inbox import BucketUnreachable, Incoming, NoLetter, NotAccepted
from pushd.client.letter import Letter, letter_url, open_letter, seal_letter
from pushd.client.line import Unreachable
from pushd.client.listeners import Listener, NotHandled, NotYet, Received
from pushd.client.outbox import NotReachable, Recipient, Sent
from pushd.client.policy import NoServer, OwnPolicy
from pushd.client.receiver import Receiver
from pushd.client.sender import Sender
from pushd.errors import PushdError, Unproven
from pushd.identity.ecies import CannotOpen
from pushd.identity.keys import Algorithm, PrivateKey, PublicKey
from pushd.protocol.client_commands import Phase, Status, StreamClosed
from pushd.protocol.ledger import Progress
from pushd.protocol.messages import Accepted, Delivery, Overflow, Policy, Read

__all__ = [
    "Accepted",
    "Algorithm",
    "Bucket",
    "BucketUnreachable",
    "CannotOpen",
    "Client",
    "CursorStore",
    "Delivery",
    "Envelope",
    "FileCursors",
    "GaiaError",
    "Incoming",
    "Letter",
    "Listener",
    "MemoryCursors",
    "NoBucket",
    "NoLetter",
    "NoServer",
    "NotAccepted",
    "NotHandled",
    "NotReachable",
    "NotYet",
    "Overflow",
    "OwnPolicy",
    "Phase",
    "Policy",
    "PrivateKey",
    "Progress",
    "PublicKey",
    "PushdError",
    "Read",
    "Received",
    "Receiver",
    "Recipient",
    "Sender",
    "Sent",
    "Status",
    "StreamClosed",
    "Unproven",
    "Unreachable",
    "letter_url",
    "new_id",
    "open_letter",
    "open_sealed",
    "seal",
    "seal_letter",
]

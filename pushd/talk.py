"""Sending and listening from the command line, and how both are shown."""

import secrets
from dataclasses import dataclass
from pathlib import Path

import msgspec
from msgspec import UNSET, Struct, UnsetType, field

from pushd.errors import BadRequest, ConfigurationError
from pushd.identity import ecies
from pushd.identity.keys import BTC_ADDR, PrivateKey
from pushd.keyfiles import Contact
from pushd.protocol.urls import canonical_url

GAIA = "https://gaia.blockstack.org/hub/"
"""Where a bucket is read that its owner did not put anywhere else."""


class Envelope(Struct):
    """What is encrypted into a payload: which message, and where it is.

    Attributes:
        v: Version of this form, 1.
        id: The message's ID, chosen by its sender.
        from_: The sender's DID.
        to: The recipient's DID.
        bucket: Read URL of the sender's bucket; it ends with the sender's address.
        path: Of the message in the bucket, where that is not `messages/<id>`.
        app: Web origin of the app both use.
        name: The sender's name there, as the sender claims.
    """

    v: int
    id: str
    from_: str = field(name="from")
    to: str
    bucket: str
    path: str | UnsetType = UNSET
    app: str | UnsetType = UNSET
    name: str | UnsetType = UNSET


@dataclass(frozen=True)
class Listening:
    """How to listen, as `pushdctl listen` was asked."""

    server: str
    state_dir: Path | None
    count: int | None
    ack: bool
    json: bool


def canonical(server: str) -> str:
    """Return a server's URL as it calls itself.

    Raises:
        ConfigurationError: If it is no URL of a server.
    """
    try:
        return canonical_url(server)
    except BadRequest as error:
        raise ConfigurationError(f"--server {server}: {error.detail}") from None


def seal(sender: PrivateKey, recipient: Contact, id: str | None, bucket: str | None) -> str:
    """Put a message ID into an envelope that only the recipient can open.

    Args:
        sender: Whose message it is.
        recipient: Who shall open it.
        id: The message's ID; None makes a random one.
        bucket: Read URL of the sender's bucket; None is the one at `GAIA`.

    Raises:
        ConfigurationError: If the recipient's key cannot be encrypted to, or the sender
            has no bucket.
    """
    if bucket is None and not sender.did.startswith(BTC_ADDR):
        raise ConfigurationError("Only an ES256K key has a bucket; name one by --bucket.")
    envelope = Envelope(
        v=1,
        id=id or secrets.token_urlsafe(16),
        from_=sender.did,
        to=recipient.did,
        bucket=bucket or f"{GAIA}{sender.did.removeprefix(BTC_ADDR)}/",
    )
    try:
        return ecies.encrypt(msgspec.json.encode(envelope).decode(), recipient.key())
    except ValueError as error:
        raise ConfigurationError(f"{recipient.did}: {error}") from None

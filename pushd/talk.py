"""Sending and listening from the command line, and how both are shown."""

from dataclasses import dataclass
from pathlib import Path

from pushd.client import envelope
from pushd.client.envelope import Envelope, new_id
from pushd.errors import BadRequest, ConfigurationError
from pushd.identity.keys import BTC_ADDR, PrivateKey
from pushd.keyfiles import Contact
from pushd.protocol.urls import canonical_url

GAIA = "https://gaia.blockstack.org/hub/"
"""Where a bucket is read that its owner did not put anywhere else."""
PATIENCE = 10.0
"""Seconds a server that does not answer is tried again."""


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
    letter = Envelope(
        id=id or new_id(),
        from_=sender.did,
        to=recipient.did,
        bucket=bucket or f"{GAIA}{sender.did.removeprefix(BTC_ADDR)}/",
    )
    try:
        return envelope.seal(letter, recipient.key())
    except ValueError as error:
        raise ConfigurationError(f"{recipient.did}: {error}") from None


async def send(sender: PrivateKey, to: str, payload: str, *, server: str) -> str:
    """Deliver a payload, and return the id the mailbox gave it.

    Raises:
        PushdError: If the server refuses it.
        Unreachable: If no server answers.
    """
    from pushd.client.sender import Sender

    async with Sender(sender, server=server, give_up_after=PATIENCE) as line:
        return (await line.send(to, payload)).id

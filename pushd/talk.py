"""Sending, listening and being found, from the command line."""

import asyncio
import time
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any

import msgspec
from msgspec import Struct

from pushd.client import (
    Client,
    CursorStore,
    Envelope,
    FileCursors,
    MemoryCursors,
    OwnPolicy,
    Policy,
    PrivateKey,
    Receiver,
    Recipient,
    Sender,
    new_id,
)
from pushd.client import seal as seal_envelope
from pushd.errors import BadRequest, ConfigurationError
from pushd.identity.contact import read_contact as read_contact_document
from pushd.identity.documents import read_json
from pushd.identity.keys import BTC_ADDR, PublicKey
from pushd.identity.names import is_name
from pushd.keyfiles import Account, Contact, is_file, read_contact
from pushd.protocol.urls import canonical_url
from pushd.resolvers.base import Destination
from pushd.resolvers.compose import make_directory
from pushd.resolvers.fetch import Fetcher
from pushd.screen import Screen

GAIA = "https://gaia.blockstack.org/hub/"
"""Where a bucket is read that its owner did not put anywhere else."""


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
        return seal_envelope(letter, recipient.key())
    except ValueError as error:
        raise ConfigurationError(f"{recipient.did}: {error}") from None


async def send_sealed(
    sender: PrivateKey, to: str, payload: str, *, server: str, give_up_after: float
) -> str:
    """Deliver a payload, and return the id the mailbox gave it.

    Args:
        sender: Who speaks.
        to: The recipient's DID.
        payload: Opaque text.
        server: Canonical URL.
        give_up_after: Seconds a server that is away or busy is tried again.

    Raises:
        PushdError: If the server refuses it.
        Unreachable: If no server answers.
    """
    async with Sender(sender, server=server, give_up_after=give_up_after) as line:
        return (await line.send(to, payload)).id


def client(key: PrivateKey, account: Account, **options: Any) -> Client:
    """Make the client of somebody.

    Args:
        key: Who it is.
        account: Where they are at home.
        options: Arguments of `Client`.

    Raises:
        ConfigurationError: If that is not said, or not as it has to be.
    """
    settings = msgspec.structs.asdict(account) | {"app": _app(account)} | options
    try:
        return Client(key, **settings)
    except BadRequest as error:
        raise ConfigurationError(error.detail) from None
    except ValueError as error:
        raise ConfigurationError(str(error)) from None


def own_policy(key: PrivateKey, account: Account) -> OwnPolicy:
    """Return what reads and sets the policy of somebody, who is at home at some server."""
    name = account.name if account.app is not None else None
    return OwnPolicy(key, servers=account.servers, name=name, app=account.app)


async def policy(owner: OwnPolicy) -> Policy:
    """Return who may write to somebody.

    Raises:
        Exception: What `OwnPolicy.get` raises.
    """
    async with owner:
        return await owner.get()


async def set_policy(owner: OwnPolicy, new: Policy) -> None:
    """Say who may write to somebody.

    Raises:
        Exception: What `OwnPolicy.set` raises.
    """
    async with owner:
        await owner.set(new)


async def send_message(sender: Client, to: str | Recipient, content: str) -> str:
    """Send a message, and return the id the recipient's mailbox gave it.

    Raises:
        Exception: What `Client.send` raises.
    """
    async with sender:
        return (await sender.send(to, content)).accepted.id


async def publish(owner: Client) -> list[str]:
    """Publish contact document and key, and return the paths that were written.

    Raises:
        Exception: What `Client.publish` raises.
    """
    async with owner:
        return await owner.publish()


def recipient(to: str, public_key: str | None, account: Account) -> str | Recipient:
    """Return whom to send to.

    Args:
        to: A name, a DID, or the path of a contact file.
        public_key: The key in hexadecimal, where `to` is a DID that does not tell it;
            None: it is not known.
        account: Where the sender is at home; somebody known by key alone is expected at
            the same servers.

    Raises:
        ConfigurationError: If it is nothing of that.
    """
    if is_name(to) and not is_file(to):
        return to
    return Recipient(read_contact(to, public_key).key(), account.servers)


async def reach(account: Account, name: str) -> Destination:
    """Find out how to write to a name.

    Raises:
        ConfigurationError: If it is not said in which app.
        Unproven: If it is nobody's, or not proven.
        PushdError: If it is no name, or nobody can tell right now.
    """
    app = _app(account)
    async with Fetcher(dev_hosts=account.dev_hosts) as fetcher:
        directory = make_directory(
            fetcher=fetcher,
            names_api=account.names_api,
            bns_api=account.bns_api,
            names_file=None,
        )
        return await directory.reach(name, app)


def verify_contact(
    path: Path, account: Account, did: str | None
) -> tuple[str, Sequence[str]]:
    """Verify a contact document on disk.

    Args:
        path: Of the document.
        account: Says for which app it has to be.
        did: Whose it has to be; None: of whoever the key in it is.

    Returns:
        Whose it is, and the servers it names.

    Raises:
        ConfigurationError: If there is no such file, or the app is not said.
        Unproven: If it is not good.
    """
    app = _app(account)
    try:
        data = path.read_bytes()
    except OSError as error:
        raise ConfigurationError(f"{path}: {error.strerror}.") from None
    if did is None:
        plain = read_json(data, _PlainContact, "contact document")
        did = PublicKey.from_hex(plain.public_key).did
    address = did.removeprefix(BTC_ADDR)
    contact = read_contact_document(data, address=address, app=app, now=time.time())
    return contact.did, contact.servers


class _PlainContact(Struct, rename="camel"):
    """What a contact document says to people, and nobody has to believe."""

    public_key: str


def _app(account: Account) -> str:
    if account.app is None:
        raise ConfigurationError("Names belong to an app: say --app, or --key.")
    return account.app


async def listen_sealed(
    key: PrivateKey,
    *,
    server: str,
    state_dir: Path | None = None,
    count: int | None = None,
    ack: bool = True,
    json: bool = False,
) -> None:
    """Show payloads until SIGINT, SIGTERM, or enough of them.

    Args:
        key: The mailbox owner's.
        server: Canonical URL.
        state_dir: Where to remember what was read; None begins at the first unread.
        count: How many messages are enough; None never has enough.
        ack: Whether what was shown is acked.
        json: Whether to show one JSON object a line.

    Raises:
        ConfigurationError: If what was remembered cannot be read.
        StreamClosed: If the server does not want this client back.
    """
    screen = Screen(key, count, json=json)
    receiver = Receiver(
        key,
        server=server,
        cursor_store=await _cursors(key.did, (server,), state_dir),
        ack="auto" if ack else "manual",
    )
    receiver.on_state(partial(screen.state, server))
    receiver.listen(screen.show_sealed)
    running = asyncio.create_task(receiver.run())
    with screen:
        await screen.enough_or(running)
        await receiver.stop()
        await running


async def listen(
    key: PrivateKey,
    account: Account,
    *,
    state_dir: Path | None = None,
    count: int | None = None,
    ack: bool = True,
    json: bool = False,
) -> None:
    """Show messages until SIGINT, SIGTERM, or enough of them.

    Args:
        key: The recipient's.
        account: Where they are at home; its app and its servers are said.
        state_dir: Where to remember what was read; None begins at the first unread.
        count: How many messages are enough; None never has enough.
        ack: Whether what was shown is acked.
        json: Whether to show one JSON object a line.

    Raises:
        ConfigurationError: If what was remembered cannot be read.
        StreamClosed: If no server wants this client back.
    """
    await _cursors(key.did, account.servers, state_dir)
    screen = Screen(key, count, json=json)
    recipient = client(key, account, state_dir=state_dir, ack="auto" if ack else "manual")
    recipient.on_state(screen.state)
    recipient.on_error(screen.show_error)
    recipient.listen(screen.show)
    with screen:
        async with recipient:
            running = asyncio.create_task(recipient.wait())
            await screen.enough_or(running)
        await running


async def _cursors(did: str, servers: Sequence[str], state_dir: Path | None) -> CursorStore:
    if state_dir is None:
        return MemoryCursors()
    cursors = FileCursors(state_dir)
    try:
        for server in servers:
            await cursors.load(did, server)
    except (OSError, ValueError) as error:
        raise ConfigurationError(f"--state-dir: {error}") from None
    return cursors

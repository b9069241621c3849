"""The envelope: what a payload says once its recipient has opened it.

It names a message and the bucket it lies in, and travels encrypted to the recipient's
key: the server never learns either. Anybody can encrypt to a key, so an envelope proves
nothing by itself; `open_sealed` compares it with whom the server verified as the sender.
"""

import secrets

import msgspec
from msgspec import UNSET, Struct, UnsetType, field

from pushd.errors import BadRequest
from pushd.identity import ecies
from pushd.identity.ecies import CannotOpen
from pushd.identity.keys import BTC_ADDR, KEY, PrivateKey, PublicKey, address
from pushd.identity.names import bucket_address

VERSION = 1


class Envelope(Struct, frozen=True, omit_defaults=True):
    """Which message, from whom, to whom, and where it is.

    Attributes:
        id: The message's ID, random, at least 128 bits.
        from_: The sender's DID.
        to: The recipient's DID.
        bucket: Read URL of the sender's bucket; its last segment is the sender's address.
        path: Of the message in the bucket, where that is not `messages/<id>`.
        app: Web origin of the app both use.
        name: The sender's name there, as the sender claims.
    """

    id: str
    from_: str = field(name="from")
    to: str
    bucket: str
    path: str | UnsetType = UNSET
    app: str | UnsetType = UNSET
    name: str | UnsetType = UNSET


class _Version(Struct):
    """What every version of the form has."""

    v: int


_decode_version = msgspec.json.Decoder(_Version).decode
_decode = msgspec.json.Decoder(Envelope).decode


def new_id() -> str:
    """Make an ID for a message: 128 random bits, in letters that suit a URL."""
    return secrets.token_urlsafe(16)


def seal(envelope: Envelope, recipient: PublicKey) -> str:
    """Make the payload that only `recipient` can open.

    Args:
        envelope: What to say.
        recipient: The secp256k1 key of `envelope.to`; did:btc-addr does not reveal it.

    Raises:
        ValueError: If the key is another identity's, or none that can be encrypted to.
    """
    if envelope.to not in (recipient.did, recipient.did_key):
        raise ValueError("The key is not that of the envelope's recipient.")
    members = msgspec.to_builtins(envelope)
    return ecies.encrypt(msgspec.json.encode({"v": VERSION, **members}).decode(), recipient)


def open_sealed(
    payload: str, key: PrivateKey, *, sender: str, app: str | None = None
) -> Envelope:
    """Open the payload of a message, and check it against who sent it.

    Args:
        payload: As it came.
        key: The recipient's.
        sender: DID the server verified: `message.sender`.
        app: Web origin the server verified with the sender's name; None: it did not.

    Raises:
        CannotOpen: If it is not sealed to this key, or is no envelope, or is one of
            another sender, to another recipient, into another's bucket or of another
            app.
    """
    try:
        text = ecies.decrypt(payload, key)
        if _decode_version(text).v != VERSION:
            raise CannotOpen("The envelope is of a version that is not known here.")
        envelope = _decode(text)
    except (msgspec.MsgspecError, UnicodeError, RecursionError):
        raise CannotOpen("What was sealed is no envelope.") from None
    if envelope.from_ != sender:
        raise CannotOpen("The envelope names another sender than the server verified.")
    if envelope.to not in (key.public.did, key.public.did_key):
        raise CannotOpen("The envelope is meant for another recipient.")
    if _bucket_address(envelope) != address_of(sender):
        raise CannotOpen("The bucket is not the sender's.")
    if app is not None and envelope.app not in (UNSET, app):
        raise CannotOpen("The envelope names another app than the server verified.")
    return envelope


def _bucket_address(envelope: Envelope) -> str:
    try:
        return bucket_address(envelope.bucket)
    except BadRequest:
        raise CannotOpen("The envelope names no bucket.") from None


def address_of(did: str) -> str:
    """Return the bucket address of an identity; empty for one that cannot have any."""
    if did.startswith(BTC_ADDR):
        return did.removeprefix(BTC_ADDR)
    try:
        return address(PublicKey.from_did(did).raw) if did.startswith(KEY) else ""
    except BadRequest:
        return ""

"""The letter: a message as it lies, sealed and signed, in its sender's bucket.

An envelope (`envelope.py`) travels to the recipient and says where its letter is; the
letter holds the content. Whoever keeps the bucket can put any file there, so a letter
counts only if the sender's key signed it and it agrees with its envelope.
"""

import msgspec
from msgspec import UNSET, Struct, UnsetType, field

from pushd.client.envelope import Envelope, address_of
from pushd.client.paths import quote_path
from pushd.errors import BadRequest
from pushd.identity import ecies
from pushd.identity.ecies import CannotOpen
from pushd.identity.keys import PrivateKey, PublicKey, address
from pushd.identity.names import bucket_address

VERSION = 1
MAX_LETTER = 1024 * 1024
"""Bytes of the longest letter, as sealed; about 500 KB of content."""
MAX_LETTER_PATH = 256
"""Characters of the longest path an envelope may name."""


class Letter(Struct, frozen=True, omit_defaults=True):
    """What somebody wrote, and to whom.

    Attributes:
        id: The message's ID, that of its envelope.
        from_: The sender's DID.
        to: The recipient's DID.
        at: Unix seconds when it was written, as the sender says.
        content: Text. An app with bytes to send writes them as text of its own choice,
            base64 for one, and says so in the content type.
        content_type: Media type of the content; absent means plain text.
        app: Web origin of the app both use.
    """

    id: str
    from_: str = field(name="from")
    to: str
    at: float
    content: str
    content_type: str | UnsetType = field(name="contentType", default=UNSET)
    app: str | UnsetType = UNSET


class _Version(Struct):
    """What every version of the form has."""

    v: int


_decode_version = msgspec.json.Decoder(_Version).decode
_decode = msgspec.json.Decoder(Letter).decode


def letter_path(id: str) -> str:
    """Return where the letter of this ID lies in its sender's bucket."""
    return f"messages/{id}"


def letter_url(envelope: Envelope) -> str:
    """Return where the letter of an envelope is to be read.

    Raises:
        CannotOpen: If the envelope's bucket, ID or path can be part of no such URL.
    """
    path = letter_path(envelope.id) if envelope.path is UNSET else envelope.path
    try:
        bucket_address(envelope.bucket)
        if len(path) > MAX_LETTER_PATH:
            raise CannotOpen("The path of the letter is too long.")
        return f"{envelope.bucket.rstrip('/')}/{quote_path(path)}"
    except BadRequest:
        raise CannotOpen("The envelope names no bucket.") from None
    except ValueError:
        raise CannotOpen("The envelope names no path of a file in a bucket.") from None


def seal_letter(letter: Letter, recipient: PublicKey, sender: PrivateKey) -> bytes:
    """Make the file that only `recipient` can open, signed by the sender.

    Args:
        letter: What to say.
        recipient: The secp256k1 key of `letter.to`.
        sender: The secp256k1 key of `letter.from_`; signs.

    Returns:
        What blockstack.js and @stacks/storage write for `{encrypt: key, sign: true}`.

    Raises:
        ValueError: If a key is another identity's or not of secp256k1, or the file is
            longer than anybody reads.
    """
    if letter.to not in (recipient.did, recipient.did_key):
        raise ValueError("The key is not that of the letter's recipient.")
    if letter.from_ not in (sender.public.did, sender.public.did_key):
        raise ValueError("The key is not that of the letter's sender.")
    members = msgspec.to_builtins(letter)
    text = msgspec.json.encode({"v": VERSION, **members}).decode()
    data = ecies.encrypt_signed(text, recipient, sender).encode()
    if len(data) > MAX_LETTER:
        raise ValueError(f"A letter has at most {MAX_LETTER} bytes once it is sealed.")
    return data


def open_letter(data: bytes, key: PrivateKey, envelope: Envelope) -> Letter:
    """Open a letter, and check it against the envelope that led to it.

    Args:
        data: The file.
        key: The recipient's.
        envelope: As `open_sealed` returned it, so that its sender is certain.

    Raises:
        CannotOpen: If it is not sealed to this key or was changed, is not signed by the
            envelope's sender, is no letter, or is not the one the envelope speaks of.
    """
    content, signer = ecies.decrypt_signed(data, key)
    if address(signer.raw) != address_of(envelope.from_):
        raise CannotOpen("The letter is signed by another key than the sender's.")
    letter = _read(content)
    if letter.id != envelope.id:
        raise CannotOpen("The letter has another id than its envelope.")
    if letter.from_ != envelope.from_:
        raise CannotOpen("The letter names another sender than its envelope.")
    if letter.to != envelope.to:
        raise CannotOpen("The letter names another recipient than its envelope.")
    if letter.app != envelope.app:
        raise CannotOpen("The letter belongs to another app than its envelope.")
    return letter


def _read(content: str | bytes) -> Letter:
    try:
        if _decode_version(content).v != VERSION:
            raise CannotOpen("The letter is of a version that is not known here.")
        return _decode(content)
    except (msgspec.MsgspecError, UnicodeError, RecursionError):
        raise CannotOpen("What was sealed is no letter.") from None

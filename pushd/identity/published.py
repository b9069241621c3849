"""Public keys as apps published them before there were contact documents.

Each app had a file and a form of its own. Nobody signed these files, and nobody needs to:
a key counts if it hashes to the address of the bucket it lies in. Where to send messages
cannot be told that way.
"""

from msgspec import Struct

from pushd.errors import BadRequest, Unproven
from pushd.identity.documents import read_json
from pushd.identity.keys import BTC_ADDR, PublicKey, unhex

PATHS = ("key.json", "public_key.json", "public_key.txt", "pk.txt")
"""Files at the root of a bucket, in the order in which to look for them."""

MAX_KEY_FILE = 4096
"""Bytes of the longest file."""


class _KeyFile(Struct, rename="camel"):
    public_key: str | None = None
    app_public_key: str | None = None


def read_published_key(data: bytes, address: str) -> PublicKey:
    """Read a key somebody published in their bucket, or in their profile.

    Args:
        data: Bare hexadecimal, or JSON: a string, or an object with `publicKey` or
            `appPublicKey`. The point may be compressed or not, also without its leading
            04; 0x and white space around are let be.
        address: The bucket's address.

    Raises:
        Unproven: If there is no key in it, or one that does not hash to the address.
    """
    digits = _text(data).strip().lower().removeprefix("0x")
    try:
        raw = unhex(digits)
        key = PublicKey.from_point(b"\4" + raw if len(raw) == 64 else raw)
    except BadRequest:
        raise Unproven("The published key is not a secp256k1 key.") from None
    if key.did != BTC_ADDR + address:
        raise Unproven("The published key does not hash to the bucket's address.")
    return key


def _text(data: bytes) -> str:
    if len(data) > MAX_KEY_FILE:
        raise Unproven(f"The published key has more than {MAX_KEY_FILE} bytes.")
    text = data.strip()
    if text.startswith(b'"'):
        return read_json(text, str, "published key")
    if not text.startswith(b"{"):
        return text.decode("ascii", "replace")
    file = read_json(text, _KeyFile, "published key")
    key = file.public_key or file.app_public_key
    if key is None:
        raise Unproven("The published key has no member publicKey or appPublicKey.")
    return key

"""Signed documents as they lie in buckets: proven by their token, or by nothing.

Whoever keeps the bucket can write what they like beside the token, so only the claims in
it count, and those only once the signer they name is the one who had to sign.
"""

from collections.abc import Callable
from typing import TypeVar

import msgspec
from msgspec import Struct

from pushd.errors import BadRequest, Unauthorized, Unproven
from pushd.identity import jws
from pushd.identity.keys import PublicKey

MAX_DOCUMENT = 64 * 1024
"""Bytes of the longest document, and of the longest token in one."""

LEEWAY = 300
"""Seconds by which the clock of a document's author may be ahead."""

T = TypeVar("T")
C = TypeVar("C", bound=Struct)


def read_json(data: bytes, shape: type[T], what: str, *, limit: int = MAX_DOCUMENT) -> T:
    """Read a document that is JSON.

    Args:
        data: The document as it was found.
        shape: What it holds.
        what: What to call it in an error.
        limit: Bytes it may have.

    Raises:
        Unproven: If it is too long, not JSON or not of that shape.
    """
    if len(data) > limit:
        raise Unproven(f"The {what} has more than {limit} bytes.")
    try:
        return msgspec.json.decode(data, type=shape)
    except msgspec.ValidationError as error:
        raise Unproven(f"The {what}: {error}.") from None
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        raise Unproven(f"The {what} is not JSON.") from None


def read_signed(
    token: str, claims: type[C], signer: Callable[[C], PublicKey], what: str
) -> C:
    """Return the claims of a document's token, proven to be those of its signer.

    Args:
        token: The token.
        claims: What it claims; other claims are let be.
        signer: Finds the key that had to sign in the claims. It raises BadRequest or
            Unproven if they name none, or not the right one.
        what: What to call the document in an error.

    Raises:
        Unproven: If the token is malformed or not signed by that key.
    """
    try:
        signed = jws.read(token, limit=MAX_DOCUMENT)
        found = read_json(signed.claims.encode(), claims, f"token of the {what}")
        signed.verify(signer(found))
    except (BadRequest, Unauthorized) as error:
        raise Unproven(
            f"The {what} is not signed as it should be. {error.detail}"
        ) from None
    return found

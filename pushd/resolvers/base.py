"""What a name stands for, and the one interface of all sources that know.

A source finds out who a name is at its well-known place and says how that was proven. It
remembers nothing: `directory.py` does, for all of them alike.
"""

from enum import StrEnum
from typing import Protocol

from msgspec import Struct

from pushd.identity.keys import PublicKey


class Proof(StrEnum):
    """How it is known who a name is."""

    PROFILE = "profile"
    """A profile, signed by the key that owns the name, leads to the identity's bucket."""
    ZONE_FILE = "zone-file"
    """The owner of the name wrote it into the name's zone file, which the chain guards."""
    DID_DOCUMENT = "did-document"
    """The host of the did:web says so, over TLS."""
    BUCKET = "bucket"
    """The name is a bucket's URL, which ends in the hash of the identity's key."""
    FILE = "file"
    """The operator's own file says so; for development."""


class Identity(Struct, frozen=True, kw_only=True):
    """Who a name is, for one app.

    Attributes:
        did: The identity.
        proof: How that is known.
        key: Its public key, where the source tells it; None: the contact document does.
        bucket: Read URL of its bucket, with a slash at the end; None without a bucket.
        servers: Its message servers in order of preference, where the source tells them;
            empty: the contact document does.
        signed_at: Unix seconds at which the proof was signed; None for a proof without
            a date. An older proof never replaces a newer one of the same signer.
        signer: Who signed it, by the address that owns the name; None if nobody did.
    """

    did: str
    proof: Proof
    key: PublicKey | None = None
    bucket: str | None = None
    servers: tuple[str, ...] = ()
    signed_at: float | None = None
    signer: str | None = None


class Destination(Struct, frozen=True, kw_only=True):
    """How to write to an identity.

    Attributes:
        did: The identity, and its mailbox.
        key: What to encrypt to; None if nobody published it.
        servers: Its message servers in order of preference, as it lists them: `https:`,
            `matrix:`, `gaia-inbox:`; empty: it cannot be reached by push.
        proof: How it is known who the name is.
    """

    did: str
    key: PublicKey | None
    servers: tuple[str, ...]
    proof: Proof


class Source(Protocol):
    """Knows the names of one form."""

    async def identify(self, name: str, app: str, *, now: float) -> Identity:
        """Find out who a name is.

        Args:
            name: A name of this source's form, canonical.
            app: Web origin of the app it is used in.
            now: Unix seconds.

        Raises:
            Unproven: If the source answers, and the name is nobody's there or in this app,
                or what it says does not verify.
            ResolverUnavailable: If the source does not answer, or not as it should.
        """
        ...

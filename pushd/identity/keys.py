"""Keys, and the DIDs that name them: who somebody is.

A secp256k1 key is named by its Gaia bucket address, `did:btc-addr:1...`; any key can be
named by itself, `did:key:z...` (https://w3c-ccg.github.io/did-key-spec/). The DID of an
identity is also the name of its mailbox.
"""

import secrets
from dataclasses import dataclass, field
from functools import lru_cache
from hashlib import sha256
from typing import Self

from pushd.errors import BadRequest
from pushd.identity import base58
from pushd.identity.curves import CURVES, Algorithm, Sign, Verify, compress
from pushd.identity.ripemd160 import ripemd160

__all__ = ["Algorithm", "PrivateKey", "PublicKey", "address", "validate_did"]

BTC_ADDR = "did:btc-addr:"
KEY = "did:key:z"  # z says that base58btc follows (multibase)
MAX_DID = 80
"""Characters no DID of a mailbox exceeds; the longest did:key has 57."""


@dataclass(frozen=True, slots=True)
class PublicKey:
    """A key others can be recognized by.

    Attributes:
        algorithm: What its signatures are.
        raw: Its bytes: a compressed point of 33 bytes, or the 32 of Ed25519.

    Raises:
        BadRequest: If the bytes are no such key.
    """

    algorithm: Algorithm
    raw: bytes
    _verify: Verify = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        try:
            verify = CURVES[self.algorithm].verifier(self.raw)
        except ValueError:
            raise BadRequest(
                f"These are not the bytes of an {self.algorithm} key."
            ) from None
        object.__setattr__(self, "_verify", verify)

    @classmethod
    def from_hex(cls, text: str, algorithm: Algorithm = Algorithm.ES256K) -> Self:
        """Read a public key in hexadecimal, points in compressed form.

        Raises:
            BadRequest: If it is not a key in that form.
        """
        return cls(algorithm, unhex(text))

    @classmethod
    def from_point(cls, raw: bytes) -> Self:
        """Read a secp256k1 key whose point may be uncompressed (65 bytes).

        Raises:
            BadRequest: If it is no such point.
        """
        try:
            return cls(Algorithm.ES256K, compress(raw))
        except ValueError:
            raise BadRequest("These are not the bytes of a secp256k1 key.") from None

    @classmethod
    def from_did(cls, did: str) -> Self:
        """Read the key a `did:key` holds; a did:btc-addr holds only the hash of one.

        Raises:
            BadRequest: If it is not the did:key of a key type known here.
        """
        if not did.startswith(KEY) or len(did) > MAX_DID:
            raise BadRequest("This is not a did:key in base58 (did:key:z...).")
        try:
            data = base58.decode(did[len(KEY) :])
        except ValueError:
            raise BadRequest("The did:key is not in base58.") from None
        for algorithm, curve in CURVES.items():
            if data.startswith(curve.multicodec):
                return cls(algorithm, data[len(curve.multicodec) :])
        raise BadRequest("The did:key is of none of secp256k1, Ed25519, P-256.")

    @property
    def did(self) -> str:
        """The DID this key goes by: did:btc-addr for secp256k1, else did:key."""
        if self.algorithm is Algorithm.ES256K:
            return BTC_ADDR + address(self.raw)
        return self.did_key

    @property
    def did_key(self) -> str:
        """The key itself as a DID, whatever its type."""
        return KEY + base58.encode(CURVES[self.algorithm].multicodec + self.raw)

    def verify(self, signature: bytes, message: bytes) -> bool:
        """Tell whether this key signed `message`; of ECDSA both low and high s count."""
        return self._verify(signature, message)


@dataclass(frozen=True, slots=True)
class PrivateKey:
    """A key to speak with. Its bytes show in no repr.

    Attributes:
        algorithm: What it signs with.
        raw: Its 32 bytes.
        public: The key others recognize it by.

    Raises:
        ValueError: If the bytes are no such key.
    """

    algorithm: Algorithm
    raw: bytes = field(repr=False)
    public: PublicKey = field(init=False)
    _sign: Sign = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        curve = CURVES[self.algorithm]
        if len(self.raw) != 32 or not 0 < int.from_bytes(self.raw) < curve.order:
            raise ValueError(f"These are not the bytes of an {self.algorithm} private key.")
        public, sign = curve.signer(self.raw)
        object.__setattr__(self, "public", PublicKey(self.algorithm, public))
        object.__setattr__(self, "_sign", sign)

    @classmethod
    def generate(cls, algorithm: Algorithm = Algorithm.ES256K) -> Self:
        """Make a new key."""
        number = 1 + secrets.randbelow(CURVES[algorithm].order - 1)
        return cls(algorithm, number.to_bytes(32))

    @classmethod
    def from_hex(cls, text: str, algorithm: Algorithm = Algorithm.ES256K) -> Self:
        """Read a private key of 64 hexadecimal digits.

        The `01` that Blockstack puts behind some ("the public key is compressed") may
        follow.

        Raises:
            ValueError: If it is no such key; the text is not repeated.
        """
        digits = text.strip()
        if len(digits) == 66 and digits.endswith("01"):
            digits = digits[:64]
        try:
            raw = bytes.fromhex(digits)
        except ValueError:
            raise ValueError("A private key is 64 hexadecimal digits.") from None
        return cls(algorithm, raw)

    def to_hex(self) -> str:
        """Write the key as 64 hexadecimal digits, for a place only its owner can read."""
        return self.raw.hex()

    @property
    def did(self) -> str:
        """The DID this key goes by."""
        return self.public.did

    def sign(self, message: bytes) -> bytes:
        """Return the signature of `message`: r and s, or what Ed25519 makes; 64 bytes.

        ECDSA is deterministic (RFC 6979).
        """
        return self._sign(message)


def unhex(text: str) -> bytes:
    """Read a public key's bytes in hexadecimal.

    Raises:
        BadRequest: If it is something else; the text is not repeated.
    """
    try:
        raw = bytes.fromhex(text)
    except ValueError:
        raise BadRequest("A public key is written in hexadecimal.") from None
    if 2 * len(raw) != len(text):  # fromhex overlooks spaces
        raise BadRequest("A public key is written in hexadecimal, without spaces.")
    return raw


def address(public_key: bytes) -> str:
    """Return the bucket address of a secp256k1 public key, from its bytes as given."""
    return base58.encode_check(b"\0" + hash160(public_key))


def hash160(data: bytes) -> bytes:
    """Return RIPEMD-160 of SHA-256 of `data`, the 20 bytes behind an address."""
    return ripemd160(sha256(data).digest())


@lru_cache(maxsize=8192)
def validate_did(text: str) -> str:
    """Return `text` if it is the DID of a mailbox: did:btc-addr, or a did:key.

    Raises:
        BadRequest: If it is not, or not in its one canonical form.
    """
    if len(text) > MAX_DID:
        raise BadRequest(f"The DID of a mailbox has at most {MAX_DID} characters.")
    if text.startswith(BTC_ADDR):
        _validate_address(text[len(BTC_ADDR) :])
    elif text.startswith("did:key:"):
        PublicKey.from_did(text)
    else:
        raise BadRequest("A mailbox is named by did:btc-addr:1... or did:key:z...")
    return text


def _validate_address(text: str) -> None:
    try:
        data = base58.decode_check(text)
    except ValueError:
        raise BadRequest("The address of a did:btc-addr is not in base58check.") from None
    if len(data) != 21 or data[0] != 0:
        raise BadRequest("The address of a did:btc-addr is a bitcoin address, 1...")

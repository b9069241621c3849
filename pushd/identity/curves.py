"""The three signature schemes a key may have, each as functions over bytes.

Signatures are what JWTs carry: r and s of 32 bytes each for ECDSA (RFC 7518 section 3.4),
64 bytes for Ed25519 (RFC 8037 section 3.1). secp256k1 runs on libsecp256k1, which is
several times faster there than OpenSSL.
"""

from collections.abc import Callable
from enum import StrEnum
from functools import partial
from typing import NamedTuple

import coincurve
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric import ec, ed25519
from cryptography.hazmat.primitives.asymmetric.utils import (
    decode_dss_signature,
    encode_dss_signature,
)
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat


class Algorithm(StrEnum):
    """Signature algorithm of a key, by its JWT name."""

    ES256K = "ES256K"
    """ECDSA on secp256k1 with SHA-256 (RFC 8812): the keys of Gaia and of bitcoin."""
    EdDSA = "EdDSA"
    """Ed25519 (RFC 8037)."""
    ES256 = "ES256"
    """ECDSA on P-256 with SHA-256 (RFC 7518)."""


Verify = Callable[[bytes, bytes], bool]
"""Tells whether a signature (first) is good for a message (second)."""
Sign = Callable[[bytes], bytes]
"""Returns the signature of a message."""


class Curve(NamedTuple):
    """What a key type can do.

    Attributes:
        multicodec: Prefix of its public keys in a did:key.
        order: Private keys are 32 bytes, as a number at least 1 and below this.
        verifier: Makes a verifier of a public key; ValueError if that is none.
        signer: Makes the public key, and a signer, of a valid private key.
    """

    multicodec: bytes
    order: int
    verifier: Callable[[bytes], Verify]
    signer: Callable[[bytes], tuple[bytes, Sign]]


# --- secp256k1 -----------------------------------------------------------------------

SECP256K1_ORDER = 0xFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFEBAAEDCE6AF48A03BBFD25E8CD0364141


def _secp256k1_verifier(raw: bytes) -> Verify:
    return partial(_secp256k1_verify, coincurve.PublicKey(_compressed(raw)))


def _secp256k1_verify(key: coincurve.PublicKey, signature: bytes, message: bytes) -> bool:
    if len(signature) != 64:
        return False
    r, s = int.from_bytes(signature[:32]), int.from_bytes(signature[32:])
    if not (0 < r < SECP256K1_ORDER and 0 < s < SECP256K1_ORDER):
        return False
    # libsecp256k1 takes only the lower of the two equivalent s; half of what JavaScript
    # libraries sign has the higher.
    low_s = min(s, SECP256K1_ORDER - s)
    return bool(key.verify(encode_dss_signature(r, low_s), message))


def compress(raw: bytes) -> bytes:
    """Return a point of secp256k1 in compressed form (SEC 1 section 2.3.3).

    Args:
        raw: The point, compressed (33 bytes) or uncompressed (65).

    Raises:
        ValueError: If it is no point in one of these forms.
    """
    if (len(raw), raw[:1]) not in {(33, b"\2"), (33, b"\3"), (65, b"\4")}:
        raise ValueError("neither a compressed nor an uncompressed point")
    return coincurve.PublicKey(raw).format()


def _secp256k1_signer(secret: bytes) -> tuple[bytes, Sign]:
    key = coincurve.PrivateKey(secret)

    def sign(message: bytes) -> bytes:
        return key.sign_recoverable(message)[:64]  # r and s; the last byte finds the key

    return key.public_key.format(), sign


# --- Ed25519 -------------------------------------------------------------------------


def _ed25519_verifier(raw: bytes) -> Verify:
    key = ed25519.Ed25519PublicKey.from_public_bytes(raw)

    def verify(signature: bytes, message: bytes) -> bool:
        try:
            key.verify(signature, message)
        except InvalidSignature:
            return False
        return True

    return verify


def _ed25519_signer(secret: bytes) -> tuple[bytes, Sign]:
    key = ed25519.Ed25519PrivateKey.from_private_bytes(secret)
    return key.public_key().public_bytes_raw(), key.sign


# --- P-256 ---------------------------------------------------------------------------

_P256_ORDER = 0xFFFFFFFF00000000FFFFFFFFFFFFFFFFBCE6FAADA7179E84F3B9CAC2FC632551
_ECDSA = ec.ECDSA(SHA256(), deterministic_signing=True)


def _p256_verifier(raw: bytes) -> Verify:
    key = ec.EllipticCurvePublicKey.from_encoded_point(ec.SECP256R1(), _compressed(raw))

    def verify(signature: bytes, message: bytes) -> bool:
        if len(signature) != 64:
            return False
        r, s = int.from_bytes(signature[:32]), int.from_bytes(signature[32:])
        try:
            key.verify(encode_dss_signature(r, s), message, _ECDSA)
        except InvalidSignature:
            return False
        return True

    return verify


def _p256_signer(secret: bytes) -> tuple[bytes, Sign]:
    key = ec.derive_private_key(int.from_bytes(secret), ec.SECP256R1())

    def sign(message: bytes) -> bytes:
        r, s = decode_dss_signature(key.sign(message, _ECDSA))
        return r.to_bytes(32) + s.to_bytes(32)

    public = key.public_key().public_bytes(Encoding.X962, PublicFormat.CompressedPoint)
    return public, sign


def _compressed(raw: bytes) -> bytes:
    """Return an encoded point if it is compressed, as all keys are here.

    Raises:
        ValueError: If it is of another form (SEC 1 section 2.3.3).
    """
    if len(raw) != 33 or raw[0] not in (2, 3):
        raise ValueError("not a compressed point")
    return raw


# --- the table -----------------------------------------------------------------------

# Prefixes: the varints of secp256k1-pub, ed25519-pub and p256-pub in the multicodec table.
CURVES = {
    Algorithm.ES256K: Curve(
        b"\xe7\x01", SECP256K1_ORDER, _secp256k1_verifier, _secp256k1_signer
    ),
    Algorithm.EdDSA: Curve(b"\xed\x01", 2**256, _ed25519_verifier, _ed25519_signer),
    Algorithm.ES256: Curve(b"\x80\x24", _P256_ORDER, _p256_verifier, _p256_signer),
}

"""Tokens put together by hand: of the code under test they need the signature alone."""

import json
from base64 import urlsafe_b64encode
from hashlib import sha256
from typing import Any

import coincurve
from cryptography.hazmat.primitives.asymmetric.utils import encode_dss_signature

from pushd.identity.keys import Algorithm, PrivateKey, address
from tests.vectors.files import Json
from tests.vectors.key_cases import named

NOW = 1795348800
SERVER = "https://push.example"
MAX_TOKEN = 8192

ALICE, BOB = named("alice"), named("bob")
ALICE_ED, ALICE_P256 = named("alice", Algorithm.EdDSA), named("alice", Algorithm.ES256)
ORDERS = {
    Algorithm.ES256K: 0xFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFEBAAEDCE6AF48A03BBFD25E8CD0364141,
    Algorithm.ES256: 0xFFFFFFFF00000000FFFFFFFFFFFFFFFFBCE6FAADA7179E84F3B9CAC2FC632551,
}
DIGEST = "sha-256:" + urlsafe_b64encode(sha256(b"{}").digest()).rstrip(b"=").decode()
ABSENT = object()


def deliver(key: PrivateKey = ALICE, **changes: Any) -> Json:
    """Return the claims of a token to deliver to Bob, some changed or `ABSENT`."""
    claims: Json = {
        "iss": key.did,
        "public_keys": [key.public.raw.hex()],
        "aud": SERVER,
        "scope": "deliver",
        "to": BOB.did,
        "iat": NOW - 5,
        "exp": NOW + 300,
        "jti": "6b1f",
    }
    if key.algorithm is not Algorithm.ES256K:
        del claims["public_keys"]
    claims.update(changes)
    return {name: value for name, value in claims.items() if value is not ABSENT}


def receive(key: PrivateKey = ALICE, **changes: Any) -> Json:
    """Return the claims of a token to receive."""
    return deliver(key, **{"scope": "receive", "to": ABSENT, **changes})


def token(
    claims: Json | str,
    key: PrivateKey = ALICE,
    header: Json | str | None = None,
) -> str:
    """Sign claims; a header or claims given as text go in as they are."""
    if header is None:
        header = {"typ": "JWT", "alg": str(key.algorithm)}
    return signed(segment(text_of(header).encode()), segment(text_of(claims).encode()), key)


def signed(header: str, claims: str, key: PrivateKey = ALICE) -> str:
    """Sign a header and claims that are base64url already."""
    message = f"{header}.{claims}"
    return f"{message}.{segment(low_s(key, key.sign(message.encode())))}"


def text_of(value: Json | str) -> str:
    """Write JSON as JavaScript does."""
    return value if isinstance(value, str) else json.dumps(value, separators=(",", ":"))


def segment(data: bytes) -> str:
    """Write unpadded base64url."""
    return urlsafe_b64encode(data).rstrip(b"=").decode()


def low_s(key: PrivateKey, signature: bytes) -> bytes:
    """Give an ECDSA signature the lower of its two s."""
    if key.algorithm is Algorithm.EdDSA:
        return signature
    s = int.from_bytes(signature[32:])
    return signature[:32] + min(s, ORDERS[key.algorithm] - s).to_bytes(32)


def high_s(text: str, key: PrivateKey) -> str:
    """Give a token's signature the higher of its two s."""
    message = text.rpartition(".")[0]
    signature = low_s(key, key.sign(message.encode()))
    s = ORDERS[key.algorithm] - int.from_bytes(signature[32:])
    return f"{message}.{segment(signature[:32] + s.to_bytes(32))}"


def padded(length: int) -> str:
    """Make a good token of exactly this many characters."""
    for kid in ("", "k", "kk"):
        header = {"typ": "JWT", "alg": "ES256K", "kid": kid}
        missing = length - len(token(deliver(note=""), header=header))
        for size in range(missing * 3 // 4 - 3, missing * 3 // 4 + 3):
            text = token(deliver(note="n" * size), header=header)
            if len(text) == length:
                return text
    raise AssertionError("no padding fits")


# --- small alterations ---------------------------------------------------------------


def standard_base64() -> str:
    """Make a token whose signature is good but in the other base64 alphabet."""
    for number in range(1000):
        message, _, signature = token(deliver(jti=str(number))).rpartition(".")
        if "-" in signature and "_" in signature:
            return f"{message}.{signature.replace('-', '+').replace('_', '/')}"
    raise AssertionError("no signature fits")


def not_canonical(text: str) -> str:
    """Set one of the bits of the last character that carry nothing."""
    alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"
    return text[:-1] + alphabet[alphabet.index(text[-1]) + 1]


def flip(signature: str) -> str:
    """Change the first letter."""
    return ("A" if signature[0] != "A" else "B") + signature[1:]


def der(message: str) -> bytes:
    """Sign in the form of certificates instead of tokens."""
    signature = ALICE.sign(message.encode())
    r, s = int.from_bytes(signature[:32]), int.from_bytes(signature[32:])
    return encode_dss_signature(r, s)


def address_of(key: PrivateKey) -> str:
    """Name a key by an address, even one that should have none."""
    return f"did:btc-addr:{address(key.public.raw)}"


def uncompressed(key: PrivateKey) -> str:
    """Write a public key with both coordinates."""
    return coincurve.PublicKey(key.public.raw).format(compressed=False).hex()

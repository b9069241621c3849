"""Signed JSON in compact form (RFC 7515): three base64url segments joined by dots.

PyJWT makes the tokens. Reading one, and having its signature verified by the key, is
done here: PyJWT looks at each character of a segment in Python, which costs as much as
the signature, and it wants the key before it reads the claims that name the key.
"""

from binascii import a2b_base64, b2a_base64
from functools import lru_cache
from typing import Any, NamedTuple, NoReturn

import jwt
import msgspec
from jwt.algorithms import Algorithm as JwtAlgorithm
from msgspec import UNSET, Raw, Struct, UnsetType

from pushd.errors import Unauthorized
from pushd.identity.keys import Algorithm, PrivateKey, PublicKey

MAX_TOKEN = 8 * 1024
"""Characters of the longest token that somebody bears."""


class Signed(NamedTuple):
    """A token taken apart, its signature not looked at yet.

    Attributes:
        algorithm: What it says it is signed with.
        claims: The text of the JSON it carries.
        message: The bytes that were signed.
        signature: The signature.
    """

    algorithm: Algorithm
    claims: str
    message: bytes
    signature: bytes

    def verify(self, key: PublicKey) -> None:
        """Check that `key` made the signature, with its own algorithm and no other.

        Raises:
            Unauthorized: If it did not.
        """
        if self.algorithm is not key.algorithm:
            raise Unauthorized("The token's alg does not fit the key of its issuer.")
        if not key.verify(self.signature, self.message):
            raise Unauthorized("The signature of the token does not verify.")


def sign(key: PrivateKey, claims: bytes) -> str:
    """Make a token of claims that are JSON already."""
    # PyJWT types keys as those of its own algorithms; ours takes ours.
    private: Any = key
    return _JWS.encode(claims, private, algorithm=key.algorithm)


def read(token: str, *, limit: int = MAX_TOKEN) -> Signed:
    """Take a token apart.

    Args:
        token: The token.
        limit: Characters it may have; documents are tokens longer than a bearer's.

    Raises:
        Unauthorized: If it is too long, not in compact form, or its header asks for
            anything beyond a plain JWT of an algorithm known here.
    """
    if len(token) > limit:
        raise Unauthorized(f"A token has at most {limit} characters.")
    message, _, signature = token.rpartition(".")
    header, dot, claims = message.partition(".")
    if not dot or "." in claims:
        raise Unauthorized("A token is three base64url segments joined by dots.")
    algorithm = _read_header(header)
    text = _text(claims, "claims")
    return Signed(algorithm, text, message.encode(), _bytes(signature, "signature"))


class _Header(Struct):
    alg: str
    typ: str = "JWT"
    crit: Raw | UnsetType = UNSET
    jku: Raw | UnsetType = UNSET
    x5u: Raw | UnsetType = UNSET
    jwk: Raw | UnsetType = UNSET


_decode_header = msgspec.json.Decoder(_Header).decode


@lru_cache(maxsize=16)
def _read_header(segment: str) -> Algorithm:
    """Read a header, of which there are few among many tokens."""
    try:
        header = _decode_header(_text(segment, "header"))
    except msgspec.ValidationError as error:
        raise Unauthorized(f"The header of the token: {error}.") from None
    except (msgspec.DecodeError, RecursionError):
        raise Unauthorized("The header of the token is not JSON.") from None
    if header.typ != "JWT":
        raise Unauthorized("The typ of the token is not JWT.")
    # Each of these would let the token say how it wants to be verified.
    for member in ("crit", "jku", "x5u", "jwk"):
        if getattr(header, member) is not UNSET:
            raise Unauthorized(f"The header of the token holds {member}, which is refused.")
    try:
        return Algorithm(header.alg)
    except ValueError:
        raise Unauthorized("The alg of the token is not ES256K, EdDSA or ES256.") from None


def _text(segment: str, name: str) -> str:
    try:
        return _bytes(segment, name).decode()
    except UnicodeDecodeError:
        raise Unauthorized(f"A segment of the token ({name}) is not UTF-8.") from None


# From base64url to base64, where the two characters of the other mean nothing.
_BASE64 = bytes.maketrans(b"-_+/", b"+/!!")


def _bytes(segment: str, name: str) -> bytes:
    # The decoder skips what it does not know; one text for the same bytes, no second.
    # It and its counterpart as the base64 module has them, which comes in five calls.
    try:
        text = segment.encode("ascii").translate(_BASE64)
        data = a2b_base64(text + b"==")
        canonical = b2a_base64(data, newline=False).rstrip(b"=") == text
    except ValueError:
        canonical = False
    if not canonical:
        raise Unauthorized(f"A segment of the token ({name}) is not unpadded base64url.")
    return data


class _KeyAlgorithm(JwtAlgorithm):
    """One of PyJWT's algorithms, done by our keys."""

    def prepare_key(self, key: PrivateKey) -> PrivateKey:
        return key

    def sign(self, msg: bytes, key: PrivateKey) -> bytes:
        return key.sign(msg)

    def verify(self, msg: bytes, key: PublicKey, sig: bytes) -> bool:
        return key.verify(sig, msg)

    @staticmethod
    def to_jwk(key_obj: object, as_dict: bool = False) -> NoReturn:
        raise NotImplementedError("keys travel as DIDs here, not as JWKs")

    @staticmethod
    def from_jwk(jwk: object) -> NoReturn:
        raise NotImplementedError("keys travel as DIDs here, not as JWKs")


# A registry of our own, without PyJWT's algorithms; the global one stays as it is.
_JWS = jwt.PyJWS(algorithms=[])
for _algorithm in Algorithm:
    _JWS.register_algorithm(_algorithm, _KeyAlgorithm())

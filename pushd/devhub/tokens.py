"""Who may do what in a bucket: the `Authorization` header, read as the Gaia hub reads it.

    bearer v1:<JWT>       claims by the bucket's own key, perhaps limited by scopes
    bearer <base64>       {publickey, signature} of the challenge text; older clients

It is as strict as hub 2.8.1, and no stricter: the header of the JWT is not looked at, no
token has to expire, and scopes have the holes they have there.
"""

import binascii
import json
from base64 import b64decode, urlsafe_b64decode
from collections.abc import Collection, Mapping
from typing import Any, NamedTuple

import coincurve
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature
from msgspec import DecodeError
from msgspec import json as msgspec_json

from pushd.devhub.errors import (
    AuthTokenTimestampValidationError,
    HubError,
    ValidationError,
)
from pushd.identity.keys import Algorithm, PublicKey, address

MAX_SCOPES = 8
"""Scopes of one token."""
YEARS = ("0", "2018", "2019")
"""What may stand in a challenge where today's is 0; old clients kept the year."""
KINDS = ("putFile", "deleteFile", "putFileArchival")
"""Verbs a scope can confine to a path, or as `<verb>Prefix` to all that begin with one."""


def challenge(server: str, year: str = YEARS[0]) -> str:
    """Return the text that tokens of a server repeat; it is JSON itself."""
    text = ["gaiahub", year, server, "blockstack_storage_please_sign"]
    return json.dumps(text, separators=(",", ":"))


class Scopes(NamedTuple):
    """What a token is limited to: pairs of a kind and the path or prefix it allows."""

    entries: tuple[tuple[str, str], ...] = ()

    def allow(self, verb: str, path: str) -> bool:
        """Tell whether a verb of `KINDS` is allowed at a path.

        Only scopes of the same verb count. So whoever may `putFile` one path may delete
        them all, and whoever may `deleteFile` may write anywhere: that is a hole of the
        real hub, and it is here for what passes here to pass there.
        """
        paths = [domain for kind, domain in self.entries if kind == verb]
        prefixes = [domain for kind, domain in self.entries if kind == f"{verb}Prefix"]
        if not paths and not prefixes:
            return True
        # An empty prefix allows nothing, for JavaScript takes it for no match.
        return path in paths or path.startswith(tuple(filter(None, prefixes)))

    @property
    def archival(self) -> bool:
        """Whether nothing may be lost: files that are replaced or deleted are renamed."""
        return any(kind.startswith("putFileArchival") for kind, _ in self.entries)


class TokenRules(NamedTuple):
    """What a hub wants of a token.

    Attributes:
        server: Its name, part of the challenge.
        hub_urls: What the claim `hubUrl` may be; None does not ask.
        whitelist: Addresses that may write, or may associate keys that do; None: all.
    """

    server: str
    hub_urls: Collection[str] | None = None
    whitelist: Collection[str] | None = None

    def check(self, header: str, bucket: str, *, oldest: int, now: float) -> Scopes:
        """Return the scopes of whoever sends this header to write into a bucket.

        Args:
            header: Value of `Authorization`, empty if there is none.
            bucket: An address.
            oldest: Seconds since the epoch before which tokens are revoked; 0: none is.
            now: Seconds since the epoch.

        Raises:
            ValidationError: If the token is not good there.
            AuthTokenTimestampValidationError: If it is revoked.
            HubError: If a key of it is no key.
        """
        version, colon, token = _credentials(header)
        if not colon:
            signer, scopes = self._check_legacy(version, bucket), Scopes()
        elif version == "v1":
            signer, scopes = self._check_v1(token, bucket, oldest, now)
        else:
            raise _unreadable()
        if self.whitelist is not None and signer not in self.whitelist:
            raise ValidationError(f"Address {signer} not authorized for writes")
        return scopes

    def _check_v1(
        self, token: str, bucket: str, oldest: int, now: float
    ) -> tuple[str, Scopes]:
        """Return who signed, or vouched for who signed, and the scopes."""
        claims = _claims(token)
        if claims is None or not claims.get("iss"):
            raise _unreadable()
        scopes = _scopes(claims.get("scopes"))
        if oldest > 0:
            _check_age(claims.get("iat"), oldest)
        key = _read_key(claims["iss"])
        if address(key.raw) != bucket:
            raise ValidationError("Address not allowed to write on this path")
        self._check_hub(claims.get("hubUrl"))
        if not _signed(key, token):
            raise ValidationError("Failed to verify supplied authentication JWT")
        if claims.get("gaiaChallenge") not in [challenge(self.server, y) for y in YEARS]:
            raise ValidationError("Invalid gaiaChallenge text in supplied JWT")
        if claims.get("exp") and _number(claims["exp"]) < now:
            raise ValidationError("Expired authentication token")
        if association := claims.get("associationToken"):
            return _check_association(association, bucket, now), scopes
        return bucket, scopes

    def _check_hub(self, claimed: Any) -> None:
        if self.hub_urls is None:
            return
        if not claimed or not isinstance(claimed, str):
            raise ValidationError(
                "Authentication must provide a claimed hub. You may need to update"
                " stacks.js."
            )
        if claimed.removesuffix("/") not in self.hub_urls:
            raise ValidationError("Auth token's claimed hub url not found in this hubs set")

    def _check_legacy(self, credentials: str, bucket: str) -> str:
        try:
            claims = msgspec_json.decode(_lenient(b64decode, credentials))
            key = _read_key(claims["publickey"])
            r, s = decode_dss_signature(bytes.fromhex(claims["signature"]))
            signature = r.to_bytes(32) + s.to_bytes(32)
        except (ValueError, OverflowError, TypeError, KeyError, HubError):
            raise _unreadable() from None
        if address(key.raw) != bucket:
            raise ValidationError("Address not allowed to write on this path")
        texts = [challenge(self.server, year).encode() for year in YEARS]
        if not any(key.verify(signature, text) for text in texts):
            raise ValidationError("Invalid signature or expired authentication token.")
        return bucket


def _read_key(text: Any) -> PublicKey:
    """Read a secp256k1 key in hexadecimal; one that is not compressed is made so.

    Raises:
        HubError: If it is none; the real hub does not expect that either.
    """
    try:
        point = coincurve.PublicKey(bytes.fromhex(text)).format()
    except (ValueError, TypeError):
        raise HubError from None
    return PublicKey(Algorithm.ES256K, point)


def _signed(key: PublicKey, token: str) -> bool:
    """Tell whether a key signed a JWT, whatever the header says of algorithms."""
    header, claims, *rest = token.split(".")
    signature = _lenient(urlsafe_b64decode, rest[0]) if rest else b""
    return key.verify(signature, f"{header}.{claims}".encode())


def _credentials(header: str) -> tuple[str, str, str]:
    """Split a header into version, colon and token; without a colon all is the first."""
    if not header.lower().startswith("bearer"):
        raise _unreadable()
    return header[len("bearer ") :].partition(":")


def _unreadable() -> ValidationError:
    return ValidationError("Failed to parse authentication header.")


def _claims(token: Any) -> Mapping[str, Any] | None:
    """Return what a JWT claims, None if it is none; its signature is not looked at."""
    try:
        header, claims, *_ = token.split(".")  # more segments than three do not matter
        msgspec_json.decode(_lenient(urlsafe_b64decode, header))
        read = msgspec_json.decode(_lenient(urlsafe_b64decode, claims))
    except (AttributeError, ValueError, DecodeError, RecursionError):
        return None
    return read if isinstance(read, dict) else None


def _lenient(decoder: Any, text: str) -> bytes:
    """Decode base64 as JavaScript does: without padding, skipping what is no digit."""
    try:
        decoded: bytes = decoder(text + "==")
    except (binascii.Error, ValueError):
        return b""
    return decoded


def _scopes(claimed: Any) -> Scopes:
    if claimed in (None, False, 0, ""):
        return Scopes()
    if not isinstance(claimed, list):
        raise _unreadable()
    try:
        entries = tuple((one["scope"], str(one.get("domain"))) for one in claimed)
    except (TypeError, KeyError, AttributeError):
        raise _unreadable() from None
    known = [*KINDS, *(f"{kind}Prefix" for kind in KINDS)]
    if len(entries) > MAX_SCOPES or not all(kind in known for kind, _ in entries):
        raise _unreadable()
    return Scopes(entries)


def _check_age(issued_at: Any, oldest: int) -> None:
    after = f"Gaia bucket requires auth token issued after {oldest}"
    revoked = "This token may have been revoked by the user."
    if not issued_at:
        raise AuthTokenTimestampValidationError(
            f"{after} but this token has no creation timestamp. {revoked}"
        )
    if _number(issued_at) < oldest:
        raise AuthTokenTimestampValidationError(
            f"{after} but this token was issued {issued_at}. {revoked}"
        )


def _check_association(token: Any, bucket: str, now: float) -> str:
    """Return who vouches for a bucket's key, by a token of its own in the outer one."""
    claims = _claims(token)
    if claims is None:
        raise ValidationError("Failed to decode association token in JWT")
    for claim in ("iss", "childToAssociate", "exp"):
        if not claims.get(claim):
            raise ValidationError(f"Must provide `{claim}` claim in association JWT.")
    key = _read_key(claims["iss"])
    if not _signed(key, token):
        raise ValidationError("Failed to verify association JWT: invalid issuer")
    if _number(claims["exp"]) < now:
        raise ValidationError("Expired association token")
    if address(_read_key(claims["childToAssociate"]).raw) != bucket:
        raise ValidationError("Association token child key does not match the bucket")
    return address(key.raw)


def _number(value: Any) -> float:
    """Return a claim as a number; one that is none is in no order to any."""
    try:
        return float(value)
    except (TypeError, ValueError, OverflowError):
        return float("nan")

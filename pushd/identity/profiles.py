"""Profiles: a JSON array of one signed token that leads from a name to its buckets.

The key that owns a name signs which apps its user is in, and where the bucket of each
is. Beside the token the array holds a copy of its claims in plain, `decodedToken`, which
nobody signed; it is written for old readers and never looked at.
"""

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

import msgspec
from msgspec import UNSET, Raw, Struct, UnsetType

from pushd.errors import BadRequest, Unproven
from pushd.identity import jws
from pushd.identity.documents import LEEWAY, read_json, read_signed
from pushd.identity.keys import Algorithm, PrivateKey, PublicKey, hash160, unhex
from pushd.identity.names import bucket_address, validate_app

MAX_PROFILE = 256 * 1024
"""Bytes of the longest profile; most of them are the copy beside the token."""

_YEAR = 365 * 24 * 3600.0


class Profile(Struct, frozen=True):
    """What the owner of a name signed.

    Attributes:
        apps: Read URL of the bucket in each app, by web origin, as the owner wrote it.
        keys: Public key in each app, by web origin, as the owner wrote it; unproven
            until it hashes to the bucket's address.
        signed_at: Unix seconds.
    """

    apps: dict[str, str]
    keys: dict[str, str]
    signed_at: float

    def bucket(self, app: str) -> str:
        """Return the read URL of the bucket in an app, with a slash at the end.

        Args:
            app: Web origin of the app, exactly as it is in the profile.

        Raises:
            Unproven: If the profile names no bucket in that app.
        """
        url = self.apps.get(app)
        if url is None:
            raise Unproven("The profile does not list the app; its user is not in it.")
        try:
            bucket_address(url)
        except BadRequest:
            raise Unproven("What the profile lists for the app is no bucket.") from None
        return url if url.endswith("/") else f"{url}/"


def read_profile(data: bytes, *, owner: bytes, now: float) -> Profile:
    """Read a profile and verify that the owner of the name signed it.

    One whose `exp` is past is refused. blockstack.js and @stacks/profile take it: here
    the old copy of a profile must not lead to a bucket for ever.

    Args:
        data: The profile as it was found.
        owner: Hash of the key that owns the name, the 20 bytes in its address.
        now: Unix seconds.

    Raises:
        Unproven: If it is malformed, signed by another key, of the future or expired.
    """
    entries = read_json(data, list[Raw], "profile", limit=MAX_PROFILE)
    if not entries:
        raise Unproven("The profile holds no token.")
    token = read_json(bytes(entries[0]), _Entry, "profile", limit=MAX_PROFILE).token

    def signer(claims: _Claims) -> PublicKey:
        PublicKey.from_point(unhex(claims.subject.public_key))
        raw = unhex(claims.issuer.public_key)
        # The hash is over the bytes as they are given, even if those are uncompressed.
        if hash160(raw) != owner:
            raise Unproven("The profile is signed by another key than the name's owner.")
        return PublicKey.from_point(raw)

    claims = read_signed(token, _Claims, signer, "profile")
    signed_at = _seconds(claims.iat)
    if signed_at > now + LEEWAY:
        raise Unproven("The profile is from the future; is the clock right?")
    if claims.exp is not UNSET and _seconds(claims.exp) <= now:
        raise Unproven("The profile has expired; its owner has to sign it again.")
    metas = _members(claims.claim.apps_meta)
    return Profile(
        apps=_texts(_members(claims.claim.apps)),
        keys=_texts({app: _members(meta).get("publicKey") for app, meta in metas.items()}),
        signed_at=signed_at,
    )


def make_profile(
    key: PrivateKey,
    apps: Mapping[str, str],
    *,
    keys: Mapping[str, str] = {},
    now: float,
    lifetime: float = _YEAR,
    name: str | None = None,
) -> bytes:
    """Make a profile, as it is stored.

    Args:
        key: The secp256k1 key that owns the name.
        apps: Read URL of the bucket in each app, by web origin.
        keys: Public key in each of these apps, in hexadecimal, where it is to be told.
        now: Unix seconds.
        lifetime: Seconds it counts.
        name: What people call its owner; None leaves that open.

    Raises:
        BadRequest: If an app is no web origin, a URL no bucket's, or the key of another
            type.
    """
    if key.algorithm is not Algorithm.ES256K:
        raise BadRequest("A profile is signed by a secp256k1 key.")
    for app, url in apps.items():
        validate_app(app)
        bucket_address(url)
    holder = {"publicKey": key.public.raw.hex()}
    claim: dict[str, Any] = {
        "@type": "Person",
        "@context": "http://schema.org",
        "apps": apps,
        "appsMeta": {
            app: {"storage": url} | ({"publicKey": keys[app]} if app in keys else {})
            for app, url in apps.items()
        },
    }
    if name is not None:
        claim["name"] = name
    claims = {
        "iat": _iso(now),
        "exp": _iso(now + lifetime),
        "subject": holder,
        "issuer": holder,
        "claim": claim,
    }
    token = jws.sign(key, msgspec.json.encode(claims))
    decoded = {
        "header": {"typ": "JWT", "alg": key.algorithm},
        "payload": claims,
        "signature": token.rpartition(".")[2],
    }
    entry = {"token": token, "decodedToken": decoded}
    return msgspec.json.format(msgspec.json.encode([entry])) + b"\n"


# --- claims --------------------------------------------------------------------------


class _Entry(Struct):
    token: str


class _Holder(Struct, rename="camel"):
    public_key: str


class _Claim(Struct, rename="camel"):
    """What is said of the owner; only what leads to buckets is looked at."""

    apps: Any = None
    apps_meta: Any = None


class _Claims(Struct):
    iat: str | float
    subject: _Holder
    issuer: _Holder
    claim: _Claim
    exp: str | float | UnsetType = UNSET


def _members(value: Any) -> dict[str, Any]:
    """Return the members of an object; anything else has none."""
    return value if isinstance(value, dict) else {}


def _texts(members: dict[str, Any]) -> dict[str, str]:
    return {name: value for name, value in members.items() if isinstance(value, str)}


def _seconds(time: str | float) -> float:
    """Read a time as the libraries write it, ISO 8601, or as tokens do, Unix seconds."""
    if not isinstance(time, str):
        return time
    try:
        at = datetime.fromisoformat(time)
    except ValueError:
        raise Unproven("A time in the profile is not in ISO 8601.") from None
    return (at if at.tzinfo else at.replace(tzinfo=UTC)).timestamp()


def _iso(time: float) -> str:
    text = datetime.fromtimestamp(time, UTC).isoformat(timespec="milliseconds")
    return text.replace("+00:00", "Z")

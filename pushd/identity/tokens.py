"""Bearer tokens: who speaks, to which server, allowed to do what, until when.

A token is a JWT signed by the key of its issuer; the issuer's DID is that key or the
hash of it, so nothing has to be looked up. `verify` checks what holds everywhere; what
one server allows is checked by `authenticator.py`.
"""

import re
from base64 import urlsafe_b64encode
from collections.abc import Iterable, Sequence
from functools import lru_cache
from hashlib import sha256

import msgspec
from msgspec import UNSET, Struct, UnsetType

from pushd.errors import BadRequest, TokenExpired, Unauthorized
from pushd.identity import jws
from pushd.identity.keys import BTC_ADDR, KEY, Algorithm, PrivateKey, PublicKey
from pushd.identity.names import is_name

DELIVER = "deliver"
RECEIVE = "receive"
MAX_RECIPIENTS = 100
MAX_JTI = 128
"""Characters of the `jti` of a token with a digest: it becomes the delivery's key."""

# 32 bytes in unpadded base64url are 43 characters, the last of which carries 4 bits.
_DIGEST = re.compile(r"sha-256:[A-Za-z0-9_-]{42}[AEIMQUYcgkosw048]")


class Token(Struct, frozen=True, gc=False):
    """A verified token.

    Attributes:
        did: Who speaks: the issuer.
        scope: What it allows: `deliver`, `receive`, or both.
        to: The recipients it may deliver to, as the sender wrote them.
        audience: The servers it is for, by canonical URL.
        name: The name the issuer claims, unproven; None claims none.
        app: The web origin that name and recipients' names belong to, or None.
        issued_at: Unix seconds.
        expires: Unix seconds.
        jti: What the issuer calls this token.
        digest: The only body it delivers, as `sha-256:<base64url>`; None allows many.
    """

    did: str
    scope: frozenset[str]
    to: frozenset[str]
    audience: frozenset[str]
    name: str | None
    app: str | None
    issued_at: float
    expires: float
    jti: str
    digest: str | None


def make_token(
    key: PrivateKey,
    *,
    audience: str | Sequence[str],
    scope: str,
    now: float,
    lifetime: float,
    jti: str,
    to: str | Sequence[str] = (),
    digest: str | None = None,
    name: str | None = None,
    app: str | None = None,
    issuer: str | None = None,
) -> str:
    """Make a token signed by `key`.

    Args:
        key: Who speaks.
        audience: Canonical URL of the server, or of several.
        scope: `deliver`, `receive`, or both with a space between.
        now: Unix seconds; the token counts from the whole second before.
        lifetime: Seconds it counts; servers take at most an hour with `deliver`, a day
            without.
        jti: A text of its own for each token.
        to: With `deliver`, 1 to 100 recipients, just as the deliveries will name them.
        digest: `sha-256:<base64url>` of the only body it delivers; None leaves that open.
        name: A name to claim, which needs `app`; None claims none.
        app: Web origin the names belong to.
        issuer: The DID to speak as; None is the one the key goes by. A secp256k1 key may
            speak as its did:key too.
    """
    did = key.did if issuer is None else issuer
    issued = int(now)
    claims = _Claims(
        iss=did,
        public_keys=[key.public.raw.hex()] if did.startswith(BTC_ADDR) else UNSET,
        sub=_optional(name),
        aud=_one_or_list(audience),
        app=_optional(app),
        scope=scope,
        to=_one_or_list(to) if to else UNSET,
        iat=issued,
        exp=issued + lifetime,
        jti=jti,
        digest=_optional(digest),
    )
    return jws.sign(key, msgspec.json.encode(claims))


def digest_of(body: bytes) -> str:
    """Return the `digest` of a token that is for this body alone."""
    digest = urlsafe_b64encode(sha256(body).digest()).rstrip(b"=").decode()
    return f"sha-256:{digest}"


def verify(token: str, *, now: float, leeway: float = 30) -> Token:
    """Verify a token by what it says: signature, issuer, shape and times.

    Args:
        token: The token.
        now: Unix seconds.
        leeway: Seconds by which the issuer's clock may be ahead, or a token overdue.

    Raises:
        Unauthorized: If it is malformed, badly signed, or of the future.
        TokenExpired: If it was good once.
    """
    signed = jws.read(token)
    claims = _read_claims(signed.claims)
    signed.verify(_issuer_key(claims))
    _check_times(claims, now, leeway)
    scope = _shared(frozenset(claims.scope.split(" ")))
    to = _set(claims.to)
    if DELIVER in scope and not 1 <= len(to) <= MAX_RECIPIENTS:
        raise Unauthorized(
            f"A token to deliver names 1 to {MAX_RECIPIENTS} recipients in to."
        )
    if claims.app is UNSET and (claims.sub is not UNSET or any(map(is_name, to))):
        raise Unauthorized("A token with a name, in sub or in to, needs its app.")
    if claims.digest is not UNSET:
        _check_digest(claims.digest, claims.jti)
    return Token(
        did=claims.iss,
        scope=scope,
        to=to,
        audience=_shared(_set(claims.aud)),
        name=_or_none(claims.sub),
        app=_or_none(claims.app),
        issued_at=claims.iat,
        expires=claims.exp,
        jti=claims.jti,
        digest=_or_none(claims.digest),
    )


# --- claims --------------------------------------------------------------------------


class _Claims(Struct, omit_defaults=True):
    """The claims that mean something here; others are let be."""

    iss: str
    aud: str | list[str]
    scope: str
    iat: float
    exp: float
    jti: str
    nbf: float | UnsetType = UNSET
    public_keys: list[str] | UnsetType = UNSET
    sub: str | UnsetType = UNSET
    app: str | UnsetType = UNSET
    to: str | list[str] | UnsetType = UNSET
    digest: str | UnsetType = UNSET


_decode_claims = msgspec.json.Decoder(_Claims).decode


def _read_claims(text: str) -> _Claims:
    try:
        return _decode_claims(text)
    except msgspec.ValidationError as error:
        raise Unauthorized(f"The claims of the token: {error}.") from None
    except (msgspec.DecodeError, RecursionError):
        raise Unauthorized("The claims of the token are not JSON.") from None


def _issuer_key(claims: _Claims) -> PublicKey:
    """Return the key the issuer's DID stands for."""
    try:
        if claims.iss.startswith(KEY):
            if claims.public_keys is not UNSET:
                raise Unauthorized("With a did:key as iss, public_keys is absent.")
            return PublicKey.from_did(claims.iss)
        if not claims.iss.startswith(BTC_ADDR):
            raise Unauthorized("The iss of a token is a did:btc-addr or a did:key.")
        if claims.public_keys is UNSET or len(claims.public_keys) != 1:
            raise Unauthorized("With a did:btc-addr as iss, public_keys holds one key.")
        key = PublicKey.from_hex(claims.public_keys[0], Algorithm.ES256K)
    except BadRequest as error:
        raise Unauthorized(f"The issuer of the token: {error.detail}") from None
    if claims.iss != key.did:
        raise Unauthorized("The key in public_keys does not hash to the address in iss.")
    return key


def _check_times(claims: _Claims, now: float, leeway: float) -> None:
    if claims.iat > now + leeway:
        raise Unauthorized("The token is from the future; is the clock right?")
    if claims.nbf is not UNSET and claims.nbf > now + leeway:
        raise Unauthorized("The token does not count yet: its nbf is in the future.")
    if claims.exp <= claims.iat:
        raise Unauthorized("The token expires before it was issued.")
    if now >= claims.exp + leeway:
        raise TokenExpired


def _check_digest(digest: str, jti: str) -> None:
    if not _DIGEST.fullmatch(digest):
        raise Unauthorized("A digest is sha-256:<32 bytes in unpadded base64url>.")
    if not 1 <= len(jti) <= MAX_JTI:
        raise Unauthorized(
            f"The jti of a token with a digest has 1 to {MAX_JTI} characters."
        )


def _set(value: str | Iterable[str] | UnsetType) -> frozenset[str]:
    if value is UNSET:
        return _EMPTY
    return frozenset((value,) if isinstance(value, str) else value)


_EMPTY = frozenset[str]()


@lru_cache(maxsize=64)
def _shared(words: frozenset[str]) -> frozenset[str]:
    """Return the same object for equal sets: a server remembers thousands of them."""
    return words


def _one_or_list(value: str | Sequence[str]) -> str | list[str]:
    if isinstance(value, str):
        return value
    return value[0] if len(value) == 1 else list(value)


def _optional(value: str | None) -> str | UnsetType:
    return UNSET if value is None else value


def _or_none(value: str | UnsetType) -> str | None:
    return None if value is UNSET else value

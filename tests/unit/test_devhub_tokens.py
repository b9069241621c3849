"""Tokens of the Gaia hub, read as leniently as it reads them, and not more."""

import base64
import json
from typing import Any

import coincurve
import pytest
from cryptography.hazmat.primitives.asymmetric.utils import (
    decode_dss_signature,
    encode_dss_signature,
)

from pushd.devhub.errors import HubError, ValidationError
from pushd.devhub.tokens import Scopes, TokenRules, challenge
from pushd.identity.curves import SECP256K1_ORDER
from pushd.identity.keys import PrivateKey, address

RULES = TokenRules("hub.example")
KEY, OTHER = (PrivateKey.from_hex(digit * 64) for digit in "12")
BUCKET = address(KEY.public.raw)
UNCOMPRESSED = coincurve.PublicKey(KEY.public.raw).format(compressed=False)
CLAIMS = {"iss": KEY.public.raw.hex(), "gaiaChallenge": challenge("hub.example")}


def segment(data: bytes) -> str:
    """Write a segment of a JWT."""
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def message(header: bytes = b'{"typ":"JWT","alg":"ES256K"}', **claims: Any) -> str:
    """Return the two segments of a JWT that are signed."""
    return f"{segment(header)}.{segment(json.dumps(CLAIMS | claims).encode())}"


def signature(signed: str, key: PrivateKey = KEY) -> bytes:
    """Sign segments."""
    return key.sign(signed.encode())


def passes(header: str, bucket: str = BUCKET) -> bool:
    """Tell whether a header allows anything."""
    try:
        return RULES.check(header, bucket, oldest=0, now=1000.0) == Scopes()
    except HubError:
        return False


def bearer(*segments: str) -> str:
    """Return the header of a token of version 1."""
    return f"bearer v1:{'.'.join(segments)}"


def test_the_challenge_is_compact_json() -> None:
    """It is compared as text, so its spelling counts."""
    assert challenge("hub.example") == (
        '["gaiahub","0","hub.example","blockstack_storage_please_sign"]'
    )


@pytest.mark.parametrize("header", [b"{}", b"1", b'{"alg":"none"}', b'{"typ":5,"crit":[]}'])
def test_the_header_of_a_token_says_nothing(header: bytes) -> None:
    """It has to be JSON; the algorithm is that of the hub whatever stands there."""
    signed = message(header)

    assert passes(bearer(signed, segment(signature(signed))))


@pytest.mark.parametrize("header", [b"", b"xx", b"{"])
def test_the_header_of_a_token_is_json(header: bytes) -> None:
    """Even though nothing of it counts."""
    signed = message(header)

    assert not passes(bearer(signed, segment(signature(signed))))


def test_segments_may_be_padded_and_more() -> None:
    """Padding is skipped, and what follows the signature is not looked at."""
    header, claims = message(salt="?").split(".")
    padded = ".".join(text + "=" * (-len(text) % 4) for text in (header, claims))
    sealed = base64.urlsafe_b64encode(signature(padded)).decode()

    assert passes(bearer(padded, sealed))
    assert passes(bearer(padded, sealed, "more", "and more"))


def test_both_forms_of_a_signature_count() -> None:
    """JavaScript libraries sign with either of the two s."""
    signed = message()
    raw = signature(signed)
    s = SECP256K1_ORDER - int.from_bytes(raw[32:])

    assert passes(bearer(signed, segment(raw[:32] + s.to_bytes(32))))


@pytest.mark.parametrize("cut", [0, 63, 65])
def test_a_signature_has_64_bytes(cut: int) -> None:
    """Fewer or more are none."""
    signed = message()

    assert not passes(bearer(signed, segment((signature(signed) + b"x")[:cut])))


def test_a_token_has_a_signature() -> None:
    """Two segments are not enough, nor is the signature of another token."""
    assert not passes(bearer(message()))
    assert not passes(bearer(message(), segment(signature(message(salt="1")))))
    assert not passes(bearer(message(), segment(signature(message(), OTHER))))


@pytest.mark.parametrize("payload", [b"[]", b'"x"', b"null", b"7", b"", b"{", b"\xff"])
def test_claims_are_an_object(payload: bytes) -> None:
    """Anything else cannot be read as a token."""
    signed = f"{segment(b'{}')}.{segment(payload)}"
    header = bearer(signed, segment(signature(signed)))

    with pytest.raises(ValidationError, match="Failed to parse"):
        RULES.check(header, BUCKET, oldest=0, now=1000.0)


@pytest.mark.parametrize("issuer", [KEY.public.raw.hex().upper(), UNCOMPRESSED.hex()])
def test_a_key_may_be_written_otherwise(issuer: str) -> None:
    """In upper case or not compressed it is the same key, and has the same bucket."""
    signed = message(iss=issuer)
    header = bearer(signed, segment(signature(signed)))

    assert passes(header)
    assert not passes(header, bucket=address(UNCOMPRESSED))


@pytest.mark.parametrize("issuer", ["zz", "02" + "ff" * 32, "02ab", 5, ["02"], {"a": 1}])
def test_an_issuer_that_is_no_key_is_unexpected(issuer: Any) -> None:
    """The real hub answers it with its nameless 500."""
    signed = message(iss=issuer)

    with pytest.raises(HubError) as refused:
        RULES.check(
            bearer(signed, segment(signature(signed))), BUCKET, oldest=0, now=1000.0
        )
    assert refused.type is HubError


@pytest.mark.parametrize(
    ("expires", "good"),
    [
        (1000, True),
        (1000.5, True),
        (999.9, False),
        (-5, False),
        (0, True),
        (None, True),
        ("", True),
        ("999", False),
        ("1001", True),
        ("2020-01-01", True),  # a text that is no number is never less
        (True, False),
        (10**400, True),
    ],
    ids=range(12),
)
def test_a_token_expires_as_javascript_compares(expires: Any, good: bool) -> None:
    """What is false does not count, and what is no number is not in the past."""
    signed = message(exp=expires)

    assert passes(bearer(signed, segment(signature(signed)))) is good


# --- older clients -------------------------------------------------------------------


def legacy(
    text: str = challenge("hub.example"),
    *,
    key: PrivateKey = KEY,
    public: bytes = KEY.public.raw,
    high: bool = False,
) -> str:
    """Return the header of a client older than version 1."""
    der = coincurve.PrivateKey(key.raw).sign(text.encode())
    if high:
        r, s = decode_dss_signature(der)
        der = encode_dss_signature(r, SECP256K1_ORDER - s)
    told = {"publickey": public.hex(), "signature": der.hex()}
    return f"bearer {base64.b64encode(json.dumps(told).encode()).decode()}"


@pytest.mark.parametrize(
    ("header", "good"),
    [
        (legacy(), True),
        (legacy(challenge("hub.example", "2019")), True),
        (legacy(high=True), True),
        (legacy(public=UNCOMPRESSED), True),
        (legacy(challenge("hub.example", "2020")), False),
        (legacy(challenge("other.example")), False),
        (legacy(key=OTHER), False),
        (legacy(key=OTHER, public=OTHER.public.raw), False),
        (legacy(public=b"no key"), False),
        ("bearer abc", False),
        ("bearer e30", False),
        ("bearer " + base64.b64encode(b'{"publickey":1,"signature":2}').decode(), False),
    ],
    ids=range(12),
)
def test_older_clients_sign_the_challenge_itself(header: str, good: bool) -> None:
    """The key of the bucket signs this hub's challenge, which never expires."""
    assert passes(header) is good


def test_older_clients_know_no_revocation() -> None:
    """Their tokens tell no time, so none is too old: that is how the real hub has it."""
    assert RULES.check(legacy(), BUCKET, oldest=2000, now=1000.0) == Scopes()

"""Tokens: what is made verifies, and nothing else that comes in raises anything but 401."""

import json
from base64 import urlsafe_b64encode
from typing import Any

import jwt
import msgspec
import pytest
from cryptography.hazmat.primitives.asymmetric import ec, ed25519
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
)
from hypothesis import example, given, settings
from hypothesis import strategies as st
from jwt.algorithms import get_default_algorithms

from pushd.errors import TokenExpired, Unauthorized
from pushd.identity import jws
from pushd.identity.keys import Algorithm, PrivateKey
from pushd.identity.tokens import Token, make_token, verify

NOW = 1795348800.75
SERVER = "https://push.example"
KEYS = {algorithm: PrivateKey(algorithm, bytes([7] * 32)) for algorithm in Algorithm}
ALICE = KEYS[Algorithm.ES256K]
BOB = PrivateKey(Algorithm.ES256K, bytes([9] * 32))
ALGORITHMS = pytest.mark.parametrize("algorithm", list(Algorithm))


def good(algorithm: Algorithm = Algorithm.ES256K, **changes: Any) -> str:
    """Make a token to deliver to Bob."""
    arguments = {
        "audience": SERVER,
        "scope": "deliver",
        "now": NOW,
        "lifetime": 300,
        "jti": "1",
        "to": BOB.did,
        **changes,
    }
    return make_token(KEYS[algorithm], **arguments)


# --- what is made --------------------------------------------------------------------


@ALGORITHMS
def test_a_token_says_what_it_was_made_of(algorithm: Algorithm) -> None:
    """Every argument of a token comes back from it."""
    digest = "sha-256:" + "A" * 43
    text = make_token(
        KEYS[algorithm],
        audience=[SERVER, "https://two.example"],
        scope="deliver receive",
        now=NOW,
        lifetime=300,
        jti="a jti",
        to=[BOB.did, "bob.btc"],
        digest=digest,
        name="alice.btc",
        app="https://app.example",
    )
    expected = Token(
        did=KEYS[algorithm].did,
        scope=frozenset({"deliver", "receive"}),
        to=frozenset({BOB.did, "bob.btc"}),
        audience=frozenset({SERVER, "https://two.example"}),
        name="alice.btc",
        app="https://app.example",
        issued_at=1795348800,
        expires=1795349100,
        jti="a jti",
        digest=digest,
    )
    assert expected == verify(text, now=NOW)


@ALGORITHMS
def test_a_token_to_receive(algorithm: Algorithm) -> None:
    """A token to receive needs no recipient, and claims nothing it was not given."""
    text = make_token(
        KEYS[algorithm], audience=SERVER, scope="receive", now=NOW, lifetime=60, jti="2"
    )
    token = verify(text, now=NOW)
    assert token.scope == {"receive"}
    assert token.to == frozenset()
    assert (token.name, token.app, token.digest) == (None, None, None)


def test_a_secp256k1_key_as_did_key() -> None:
    """A secp256k1 key may speak as its did:key, too."""
    did = ALICE.public.did_key
    assert did == verify(good(issuer=did), now=NOW).did


@pytest.mark.parametrize("did", [BOB.did, BOB.public.did_key])
def test_speaking_as_somebody_else(did: str) -> None:
    """A token in the name of another key is made, but nobody takes it."""
    with pytest.raises(Unauthorized):
        verify(good(issuer=did), now=NOW)


def test_a_token_lives_as_long_as_asked() -> None:
    """Times are whole seconds where they can be, and the life is not longer than asked."""
    token = verify(good(lifetime=0.5), now=NOW)
    assert token.expires - token.issued_at == 0.5
    assert token.issued_at <= NOW


@pytest.mark.parametrize("algorithm", [Algorithm.EdDSA, Algorithm.ES256])
def test_pyjwt_reads_our_tokens(algorithm: Algorithm) -> None:
    """A library that knows nothing of us verifies our tokens, and we verify its."""
    key = KEYS[algorithm]
    native = get_default_algorithms()[algorithm]
    pem = _pem(key)
    claims = jwt.decode(
        good(algorithm),
        native.prepare_key(pem).public_key(),
        algorithms=[algorithm],
        audience=SERVER,
        options={"verify_exp": False, "verify_iat": False},
    )
    assert key.did == claims["iss"]
    assert key.did == verify(jwt.encode(claims, pem, algorithm), now=NOW).did


def test_pyjwt_stays_as_it_was() -> None:
    """Our ES256K is in a registry of our own, not in the one of all who use PyJWT."""
    assert "_KeyAlgorithm" not in {
        type(algorithm).__name__ for algorithm in get_default_algorithms().values()
    }


# --- time ----------------------------------------------------------------------------


@pytest.mark.parametrize("late", [300, 301, 329.9])
def test_overdue_within_the_leeway(late: float) -> None:
    """A token still counts until the leeway has passed."""
    assert verify(good(now=NOW), now=int(NOW) + late).expires == int(NOW) + 300


@pytest.mark.parametrize("late", [330, 331, 1e9])
def test_expired(late: float) -> None:
    """A token that was good is told from one that never was."""
    with pytest.raises(TokenExpired):
        verify(good(now=NOW), now=int(NOW) + late)


def test_no_leeway() -> None:
    """Without leeway the token ends when it says."""
    assert verify(good(), now=int(NOW) + 299, leeway=0).did == ALICE.did
    with pytest.raises(TokenExpired):
        verify(good(), now=int(NOW) + 300, leeway=0)


def test_of_the_future() -> None:
    """A token is not good before it was issued, but for the leeway."""
    assert verify(good(), now=int(NOW) - 30).did == ALICE.did
    with pytest.raises(Unauthorized, match="future"):
        verify(good(), now=int(NOW) - 31)


# --- whatever comes in ---------------------------------------------------------------


def attempt(token: str) -> Token | None:
    """Verify a token; None if it is refused the right way."""
    try:
        return verify(token, now=NOW)
    except Unauthorized:
        return None


@settings(deadline=None)
@given(st.text(max_size=300))
@example("..")
@example("\ud800.\ud800.\ud800")
@example("." * 8192)
@example("e30." * 2 + "e30")
def test_any_text(text: str) -> None:
    """Any text is refused as a token."""
    assert attempt(text) is None


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=10),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner),
    max_leaves=8,
)
MEMBERS = ("iss", "public_keys", "aud", "scope", "to", "iat", "exp", "jti", "sub", "digest")


@settings(deadline=None)
@given(st.sampled_from(list(Algorithm)), st.sampled_from(MEMBERS), json_values)
def test_any_claim(algorithm: Algorithm, member: str, value: Any) -> None:
    """Any value in any claim, well signed, gives a token or a refusal."""
    claims = {**claims_of(good(algorithm)), member: value}
    token = attempt(jws.sign(KEYS[algorithm], json.dumps(claims).encode()))
    if token is not None and member == "iss":
        assert KEYS[algorithm].did == token.did


@settings(deadline=None)
@given(st.sampled_from(list(Algorithm)), st.binary(max_size=100))
@example(Algorithm.ES256K, b"[" * 5000)
@example(Algorithm.ES256K, b'{"x":' * 900)
@example(Algorithm.ES256K, b'"\\ud800"')
@example(Algorithm.ES256K, b'{"iat":1e400}')
@example(Algorithm.ES256K, b'{"iat":' + b"9" * 4000 + b"}")
@example(Algorithm.ES256K, b"\xff\xfe")
def test_any_bytes_as_claims(algorithm: Algorithm, claims: bytes) -> None:
    """Any bytes, well signed, are refused as claims."""
    assert attempt(jws.sign(KEYS[algorithm], claims)) is None


@settings(deadline=None)
@given(st.sampled_from(list(Algorithm)), st.binary(max_size=100) | json_values)
def test_any_header(algorithm: Algorithm, header: Any) -> None:
    """Any header in front of good claims is refused."""
    data = header if isinstance(header, bytes) else json.dumps(header).encode()
    _, claims, signature = good(algorithm).split(".")
    assert attempt(f"{segment(data)}.{claims}.{signature}") is None


@settings(deadline=None)
@given(st.sampled_from(list(Algorithm)), st.data())
def test_any_change(algorithm: Algorithm, data: st.DataObject) -> None:
    """A good token with any one character changed is refused."""
    token = good(algorithm)
    place = data.draw(st.integers(0, len(token) - 1))
    letter = data.draw(st.characters() | st.sampled_from("ABCDwxyz0189-_.=+/"))
    changed = token[:place] + letter + token[place + 1 :]
    assert changed == token or attempt(changed) is None


@ALGORITHMS
def test_a_signature_moved_to_another_key(algorithm: Algorithm) -> None:
    """Claims of one key under the algorithm and signature of any other are refused."""
    claims = msgspec.json.encode(claims_of(good(algorithm)))
    for other in (BOB, *(KEYS[name] for name in Algorithm if name is not algorithm)):
        assert attempt(jws.sign(other, claims)) is None


def test_an_error_never_holds_the_claims() -> None:
    """What a refused token claims is not repeated to whoever sent it."""
    claims = {**claims_of(good()), "exp": "a-secret", "jti": ["a-secret"]}
    with pytest.raises(Unauthorized) as caught:
        verify(jws.sign(ALICE, json.dumps(claims).encode()), now=NOW)
    assert "a-secret" not in caught.value.detail


def test_keys_do_not_travel_as_jwk() -> None:
    """PyJWT cannot be talked into keys of another form."""
    algorithm = jws._JWS.get_algorithm_by_name("ES256K")
    with pytest.raises(NotImplementedError):
        algorithm.from_jwk("{}")
    with pytest.raises(NotImplementedError):
        algorithm.to_jwk(None)


def claims_of(token: str) -> dict[str, Any]:
    """Read a token's claims without looking at its signature."""
    claims: dict[str, Any] = json.loads(jws.read(token).claims)
    return claims


def segment(data: bytes) -> str:
    """Write unpadded base64url."""
    return urlsafe_b64encode(data).rstrip(b"=").decode()


def _pem(key: PrivateKey) -> bytes:
    """Write a private key for libraries that know nothing of ours."""
    native = (
        ed25519.Ed25519PrivateKey.from_private_bytes(key.raw)
        if key.algorithm is Algorithm.EdDSA
        else ec.derive_private_key(int.from_bytes(key.raw), ec.SECP256R1())
    )
    return native.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())

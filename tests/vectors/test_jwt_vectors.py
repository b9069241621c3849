"""Replays jwt-es256k.json: tokens as Blockstack's libraries sign them.

They are tokens of other kinds (sign-in, storage, profiles) or older drafts of ours, so
only their signatures count here; none has all the claims of a token for a server.
"""

import coincurve
import pytest

from pushd.errors import Unauthorized
from pushd.identity import jws
from pushd.identity.keys import Algorithm, PrivateKey, PublicKey
from pushd.identity.tokens import verify
from tests.vectors.files import Json, cases, load

FILE = load("jwt-es256k.json")

GOOD_SIGNATURES = {
    "issuer-address-mismatch",
    "expired",
    "issued-in-future",
    "two-public-keys",
    "no-public-keys",
    "exp-as-string",
}
"""Invalid for what they claim; the signature is the key's."""


def key_of(case: Json) -> PublicKey:
    """Return the key of a case, compressed if it is not."""
    raw = coincurve.PublicKey(bytes.fromhex(case["public_key"])).format()
    return PublicKey(Algorithm.ES256K, raw)


@cases("jwt-es256k.json", "valid")
def test_valid_signatures(case: Json) -> None:
    """Every signature the libraries make verifies, with high s and low."""
    jws.read(case["token"]).verify(key_of(case))


@cases("jwt-es256k.json", "invalid")
def test_invalid_signatures(case: Json) -> None:
    """A bad signature is refused; the other invalid ones fail by their claims."""
    if case["id"] in GOOD_SIGNATURES:
        jws.read(case["token"]).verify(key_of(case))
    else:
        with pytest.raises(Unauthorized):
            jws.read(case["token"]).verify(key_of(case))


@pytest.mark.parametrize("kind", ["valid", "invalid"])
def test_none_is_a_token_for_a_server(kind: str) -> None:
    """No token that was made for something else opens a mailbox here."""
    for case in FILE[kind]:
        with pytest.raises(Unauthorized):
            verify(case["token"], now=FILE["evaluate_at_unix"])


@pytest.mark.parametrize("name", FILE["keys"])
def test_keys(name: str) -> None:
    """Keys, addresses and DIDs are those of the libraries."""
    case = FILE["keys"][name]
    key = PrivateKey.from_hex(case["private_key"])
    assert case["public_key"] == key.public.raw.hex()
    assert case["did"] == key.did == f"did:btc-addr:{case['address']}"

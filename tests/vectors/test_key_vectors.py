"""Replays keys.json, and the addresses in names-profile.json and elsewhere."""

import pytest

from pushd.errors import BadRequest
from pushd.identity.keys import (
    Algorithm,
    PrivateKey,
    PublicKey,
    address,
    hash160,
    validate_did,
)
from tests.vectors.files import Json, cases, load


@cases("keys.json", "keys")
def test_keys(case: Json) -> None:
    """A private key gives its public key, its DIDs and its one signature."""
    key = PrivateKey.from_hex(case["private_key"], Algorithm(case["algorithm"]))
    assert case["public_key"] == key.public.raw.hex()
    assert case["did"] == key.did
    assert case["did_key"] == key.public.did_key
    assert case["signature"] == key.sign(case["message"].encode()).hex()


@cases("keys.json", "keys")
def test_public_keys(case: Json) -> None:
    """A did:key gives the public key, which knows its signature."""
    key = PublicKey.from_did(case["did_key"])
    assert (case["algorithm"], case["public_key"]) == (key.algorithm, key.raw.hex())
    assert key.verify(bytes.fromhex(case["signature"]), case["message"].encode())


@pytest.mark.parametrize("did", load("keys.json")["mailboxes"])
def test_mailboxes(did: str) -> None:
    """A DID of a key names a mailbox."""
    assert did == validate_did(did)


@cases("keys.json", "invalid_mailboxes")
def test_invalid_mailboxes(case: Json) -> None:
    """What is no DID, or not the one spelling of it, names none."""
    with pytest.raises(BadRequest) as caught:
        validate_did(case["did"])
    assert case["error"] == caught.value.code


@cases("names-profile.json", "addresses")
def test_addresses(case: Json) -> None:
    """Addresses are those of the libraries, and so are the hashes in them."""
    public_key = bytes.fromhex(case["public_key"])
    assert case["hash160"] == hash160(public_key).hex()
    assert case["btc_p2pkh"] == address(public_key)


def test_identity_and_app() -> None:
    """The keys of the resolved name have the addresses its profile names."""
    file = load("names-profile.json")
    for case, expected in (
        (file["identity"], file["identity"]["btc_address"]),
        (file["app"], file["app"]["bucket_address"]),
    ):
        key = PrivateKey.from_hex(case["private_key"])
        assert case["public_key"] == key.public.raw.hex()
        assert expected == address(key.public.raw)


@cases("stacks-signed-message.json", "vectors")
def test_wallet_signatures(case: Json) -> None:
    """Signatures of wallets (r, s, recovery id) verify under the key they name."""
    key = PublicKey.from_hex(case["public_key"])
    signature = bytes.fromhex(case["signature_rsv"])[:64]
    assert case["verifies"] == key.verify(signature, bytes.fromhex(case["encoded_hex"]))

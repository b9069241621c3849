"""Replays ecies.json: content sealed by blockstack.js and @stacks/encryption."""

import pytest

from pushd.identity.ecies import (
    CannotOpen,
    decrypt,
    decrypt_signed,
    encrypt,
    encrypt_signed,
)
from pushd.identity.keys import PrivateKey, PublicKey
from tests.vectors.files import Json, cases


def content(case: Json) -> str | bytes:
    """Return what was sealed: text, or bytes."""
    if "plaintext_utf8" in case:
        text: str = case["plaintext_utf8"]
        return text
    return bytes.fromhex(case["plaintext_hex"])


@cases("ecies.json", "decrypt")
def test_decrypt(case: Json) -> None:
    """What the packages sealed is opened, as text or as bytes."""
    key = PrivateKey.from_hex(case["recipient_private_key"])
    assert content(case) == decrypt(case["ciphertext"], key)


@cases("ecies.json", "variants")
def test_variants(case: Json) -> None:
    """What some of the packages accept is opened, too."""
    key = PrivateKey.from_hex(case["private_key"])
    assert content(case) == decrypt(case["ciphertext"], key)


@cases("ecies.json", "deterministic")
def test_deterministic(case: Json) -> None:
    """With the same one-time key and iv the text is the packages', to the letter."""
    recipient = PublicKey.from_hex(case["recipient_public_key"])
    ephemeral = PrivateKey.from_hex(case["ephemeral_private_key"])
    iv = bytes.fromhex(case["iv"])
    in_hex = encrypt(content(case), recipient, ephemeral=ephemeral, iv=iv)
    in_base64 = encrypt(content(case), recipient, base64=True, ephemeral=ephemeral, iv=iv)
    assert case["ciphertext"] == in_hex
    assert case["ciphertext_base64_variant"] == in_base64


@cases("ecies.json", "signed")
def test_signed(case: Json) -> None:
    """What the packages sealed and signed is opened, and the signer known."""
    key = PrivateKey.from_hex(case["recipient_private_key"])
    signer = PublicKey.from_hex(case["signer_public_key"])
    assert (content(case), signer) == decrypt_signed(case["ciphertext"], key)


@cases("ecies.json", "signed")
def test_signing(case: Json) -> None:
    """What is sealed and signed here has the same form, and is opened."""
    key = PrivateKey.from_hex(case["recipient_private_key"])
    signer = PrivateKey.from_hex(case["signer_private_key"])
    text = encrypt_signed(content(case), key.public, signer)
    assert (content(case), signer.public) == decrypt_signed(text, key)


@cases("ecies.json", "invalid")
def test_invalid(case: Json) -> None:
    """What the packages refuse is refused."""
    with pytest.raises(CannotOpen):
        decrypt(case["ciphertext"], PrivateKey.from_hex(case["private_key"]))

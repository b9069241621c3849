"""Content that is sealed by the real packages is opened here, and the reverse."""

import json

import pytest

from pushd.client import Envelope, PrivateKey, PublicKey, new_id, open_sealed, seal
from pushd.identity.ecies import decrypt, decrypt_signed, encrypt, encrypt_signed
from tests.e2e.npm.app import Packages, Thrown

CONTENTS = [
    pytest.param("See you at nine.", id="text"),
    pytest.param("Grüße, 世界 \0 🎈", id="beyond ASCII"),
    pytest.param("", id="empty"),
    pytest.param(bytes(range(256)), id="bytes"),
]
ENCODINGS = ["hex", "base64"]


@pytest.mark.parametrize("encoding", ENCODINGS)
@pytest.mark.parametrize("content", CONTENTS)
def test_what_the_packages_seal_is_opened_here(
    packages: Packages, content: str | bytes, encoding: str
) -> None:
    """Text stays text and bytes stay bytes, in both encodings."""
    alice, bob = packages.sign_in(PrivateKey.generate()), PrivateKey.generate()

    sealed = alice.call(
        "encryptContent",
        content,
        publicKey=bob.public.raw.hex(),
        cipherTextEncoding=encoding,
    )

    assert content == decrypt(sealed, bob)


@pytest.mark.parametrize("encoding", ENCODINGS)
@pytest.mark.parametrize("content", CONTENTS)
def test_what_is_sealed_here_the_packages_open(
    packages: Packages, content: str | bytes, encoding: str
) -> None:
    """Text stays text and bytes stay bytes, in both encodings."""
    key = PrivateKey.generate()
    bob = packages.sign_in(key)

    sealed = encrypt(content, key.public, base64=encoding == "base64")

    assert content == bob.call("decryptContent", sealed)


def test_what_the_packages_sign_is_opened_here(packages: Packages) -> None:
    """The signed form tells content and signer."""
    key, bob = PrivateKey.generate(), PrivateKey.generate()
    alice = packages.sign_in(key)

    signed = alice.call(
        "encryptContent", "See you.", publicKey=bob.public.raw.hex(), sign=True
    )

    assert ("See you.", key.public) == decrypt_signed(signed, bob)


def test_what_is_signed_here_the_packages_verify(packages: Packages) -> None:
    """The signature is over the sealed text, which is what has to be opened.

    `decryptContent` does not know the signed form: the packages take it apart in `getFile`
    only.
    """
    alice, key = PrivateKey.generate(), PrivateKey.generate()
    bob = packages.sign_in(key)

    signed = encrypt_signed("See you.", key.public, alice)

    members = json.loads(signed)
    sealed, signature = members["cipherText"], members["signature"]
    assert members["publicKey"] == alice.public.raw.hex()
    assert packages.call("verifyECDSA", sealed, members["publicKey"], signature)
    assert not packages.call("verifyECDSA", sealed, bob.public_key, signature)
    assert bob.call("decryptContent", sealed) == "See you."
    with pytest.raises(Thrown):
        bob.call("decryptContent", signed)


def test_the_packages_make_an_envelope(packages: Packages) -> None:
    """An envelope is JSON sealed with `encryptContent`; nothing else is needed."""
    alice, bob = packages.sign_in(PrivateKey.generate()), PrivateKey.generate()
    envelope = {
        "v": 1,
        "id": new_id(),
        "from": alice.did,
        "to": bob.did,
        "bucket": f"https://gaia.example/hub/{alice.address}/",
    }

    payload = alice.call(
        "encryptContent", json.dumps(envelope), publicKey=bob.public.raw.hex()
    )

    opened = open_sealed(payload, bob, sender=alice.did)
    assert (envelope["id"], envelope["bucket"]) == (opened.id, opened.bucket)


def test_the_packages_open_an_envelope(packages: Packages) -> None:
    """What `seal` makes is read with `decryptContent` and `JSON.parse`."""
    alice, bob = PrivateKey.generate(), packages.sign_in(PrivateKey.generate())
    address = alice.did.rpartition(":")[2]
    bucket = f"https://gaia.example/hub/{address}/"
    envelope = Envelope(id=new_id(), from_=alice.did, to=bob.did, bucket=bucket)

    payload = seal(envelope, PublicKey.from_hex(bob.public_key))

    assert json.loads(bob.call("decryptContent", payload)) == {
        "v": 1,
        "id": envelope.id,
        "from": alice.did,
        "to": bob.did,
        "bucket": bucket,
    }

"""An envelope opens for its recipient, and only if it tells the truth about its sender."""

import json

import msgspec
import pytest
from msgspec import UNSET

from pushd.client import (
    Algorithm,
    CannotOpen,
    Envelope,
    PrivateKey,
    new_id,
    open_sealed,
    seal,
)
from pushd.identity import ecies
from pushd.identity.keys import BTC_ADDR

ALICE, BOB, EVE = (PrivateKey.generate() for _ in range(3))
NESTED = "[" * 1500 + "]" * 1500
BUCKET = f"https://gaia.example/hub/{ALICE.did.removeprefix(BTC_ADDR)}/"
ENVELOPE = Envelope(new_id(), ALICE.did, BOB.did, BUCKET, app="https://app.example")


def test_what_is_sealed_opens() -> None:
    """The recipient reads what the sender said."""
    payload = seal(ENVELOPE, BOB.public)
    assert open_sealed(payload, BOB, sender=ALICE.did) == ENVELOPE
    assert ENVELOPE.id not in payload


def test_the_form_on_the_wire() -> None:
    """Other languages find the members they expect."""
    plain = ecies.decrypt(seal(ENVELOPE, BOB.public), BOB)
    assert json.loads(plain) == {
        "v": 1,
        "id": ENVELOPE.id,
        "from": ALICE.did,
        "to": BOB.did,
        "bucket": BUCKET,
        "app": "https://app.example",
    }


def test_a_sender_may_be_a_key() -> None:
    """A did:key of secp256k1 has the bucket of its address."""
    envelope = msgspec.structs.replace(ENVELOPE, from_=ALICE.public.did_key)
    payload = seal(envelope, BOB.public)
    assert open_sealed(payload, BOB, sender=ALICE.public.did_key) == envelope


def test_others_cannot_open() -> None:
    """Sealed to Bob means sealed to nobody else."""
    with pytest.raises(CannotOpen):
        open_sealed(seal(ENVELOPE, BOB.public), EVE, sender=ALICE.did)


def test_a_stolen_envelope_does_not_open() -> None:
    """Eve, who was sent one, cannot pass it off as hers."""
    with pytest.raises(CannotOpen, match="another sender"):
        open_sealed(seal(ENVELOPE, BOB.public), BOB, sender=EVE.did)


@pytest.mark.parametrize(
    "wrong",
    [
        {"to": EVE.did},
        {"bucket": f"https://gaia.example/hub/{EVE.did.removeprefix(BTC_ADDR)}"},
        {"v": 2},
        {"id": None},
        {"bucket": ""},
        {"bucket": None},
        {"path": 1},
        {"app": 1},
        {"x": NESTED},
    ],
    ids=range(9),
)
def test_a_wrong_envelope_does_not_open(wrong: dict[str, object]) -> None:
    """Each member is compared with what is known."""
    members = {"v": 1, **msgspec.to_builtins(ENVELOPE), **wrong}
    text = json.dumps(members).replace(f'"{NESTED}"', NESTED)
    with pytest.raises(CannotOpen):
        open_sealed(ecies.encrypt(text, BOB.public), BOB, sender=ALICE.did)


@pytest.mark.parametrize(
    "bucket",
    [
        "gaia.example/hub/{}",
        "ftp://gaia.example/hub/{}",
        "file:///hub/{}",
        "//gaia.example/hub/{}",
        "https://eve@gaia.example/hub/{}",
        "https://GAIA.example/hub/{}",
        "https://gaia.example/hub/../{}",
        "https://gaia.example/hub?/{}",
        "https://gaia.example/hub#/{}",
        "https://gaia.example/hub/{}//",
        "https://gaia.example/hub\\/{}",
        "https://gaia.example/{}/ ",
    ],
)
def test_a_bucket_has_one_spelling(bucket: str) -> None:
    """What ends in the sender's address has to be a bucket's URL as well."""
    bucket = bucket.format(ALICE.did.removeprefix(BTC_ADDR))
    payload = seal(msgspec.structs.replace(ENVELOPE, bucket=bucket), BOB.public)
    with pytest.raises(CannotOpen, match="no bucket"):
        open_sealed(payload, BOB, sender=ALICE.did)


def test_the_app_the_server_verified() -> None:
    """An envelope says the app its sender proved to use, or none."""
    payload = seal(ENVELOPE, BOB.public)
    with pytest.raises(CannotOpen, match="another app"):
        open_sealed(payload, BOB, sender=ALICE.did, app="https://other.example")
    assert (
        open_sealed(payload, BOB, sender=ALICE.did, app="https://app.example") == ENVELOPE
    )
    silent = msgspec.structs.replace(ENVELOPE, app=UNSET)
    payload = seal(silent, BOB.public)
    assert open_sealed(payload, BOB, sender=ALICE.did, app="https://app.example") == silent


def test_any_text_may_come() -> None:
    """A payload is whatever somebody sent."""
    for payload in ("", "{}", ecies.encrypt(b"\xff", BOB.public)):
        with pytest.raises(CannotOpen):
            open_sealed(payload, BOB, sender=ALICE.did)


def test_a_sender_without_a_bucket_is_not_believed() -> None:
    """An Ed25519 key has no address, so no bucket can be its."""
    key = PrivateKey.generate(Algorithm.EdDSA)
    envelope = msgspec.structs.replace(ENVELOPE, from_=key.did)
    with pytest.raises(CannotOpen, match="not the sender's"):
        open_sealed(seal(envelope, BOB.public), BOB, sender=key.did)


def test_sealing_to_the_wrong_key_is_refused() -> None:
    """The key has to be the recipient's, and one that can be encrypted to."""
    with pytest.raises(ValueError, match="not that of"):
        seal(ENVELOPE, EVE.public)
    key = PrivateKey.generate(Algorithm.EdDSA)
    with pytest.raises(ValueError, match="secp256k1"):
        seal(msgspec.structs.replace(ENVELOPE, to=key.did), key.public)

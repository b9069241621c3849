"""Sealed content: opened by its recipient alone, and only as it was sealed."""

import json
from typing import Any

import coincurve
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from pushd.identity.ecies import (
    CannotOpen,
    decrypt,
    decrypt_signed,
    encrypt,
    encrypt_signed,
)
from pushd.identity.keys import Algorithm, PrivateKey, PublicKey

ALICE = PrivateKey(Algorithm.ES256K, bytes([7] * 32))
BOB = PrivateKey(Algorithm.ES256K, bytes([9] * 32))

contents = st.text(max_size=100) | st.binary(max_size=100)


def sealed(**changes: Any) -> str:
    """Seal a text to Bob, then change members of the form."""
    return json.dumps({**json.loads(encrypt("a secret", BOB.public)), **changes})


@settings(deadline=None)
@given(contents, st.booleans())
def test_round_trip(content: str | bytes, base64: bool) -> None:
    """What is sealed is opened as it was: text as text, bytes as bytes."""
    assert content == decrypt(encrypt(content, BOB.public, base64=base64), BOB)


@settings(deadline=None, max_examples=30)
@given(contents, st.booleans())
def test_signed_round_trip(content: str | bytes, base64: bool) -> None:
    """What is sealed and signed is opened with the key that signed."""
    text = encrypt_signed(content, BOB.public, ALICE, base64=base64)
    assert (content, ALICE.public) == decrypt_signed(text, BOB)


def test_the_length_of_a_message_id() -> None:
    """A UUID takes 326 characters in hexadecimal and 324 in base64."""
    id = "b0d2f9b2-6c3c-4b6c-9a57-2a4b8f6f0001"
    assert len(encrypt(id, BOB.public)) == 326
    assert len(encrypt(id, BOB.public, base64=True)) == 324


def test_never_the_same_twice() -> None:
    """The same content is sealed with another key and iv each time."""
    one, two = (json.loads(encrypt("x", BOB.public)) for _ in range(2))
    for member in ("iv", "ephemeralPK", "cipherText", "mac"):
        assert one[member] != two[member]


def test_given_randomness() -> None:
    """With the same one-time key and iv the text is the same."""
    one, two = (encrypt("x", BOB.public, ephemeral=ALICE, iv=bytes(16)) for _ in range(2))
    assert one == two


def test_only_the_recipient() -> None:
    """Another key opens nothing, not even that of who sealed it."""
    for key in (ALICE, PrivateKey.generate()):
        with pytest.raises(CannotOpen, match="MAC"):
            decrypt(encrypt("x", BOB.public), key)


@settings(deadline=None)
@given(st.sampled_from(["iv", "ephemeralPK", "cipherText", "mac"]), st.integers(0, 31))
def test_any_change(member: str, place: int) -> None:
    """A digit changed anywhere is noticed."""
    form = json.loads(sealed())
    value = form[member]
    form[member] = (
        value[:place] + ("1" if value[place] == "0" else "0") + value[place + 1 :]
    )
    with pytest.raises(CannotOpen):
        decrypt(json.dumps(form), BOB)


@settings(deadline=None)
@given(st.text(max_size=100) | st.binary(max_size=100))
@example("")
@example("null")
@example("{}")
@example("[" * 100_000)
@example('{"iv":"\ud800"}')
@example(b"\xff")
@example('{"iv":"","ephemeralPK":"","cipherText":"","mac":""}')
def test_junk(text: str | bytes) -> None:
    """Any text that is not sealed content is refused without another error."""
    with pytest.raises(CannotOpen):
        decrypt(text, BOB)
    with pytest.raises(CannotOpen):
        decrypt_signed(text, BOB)


@pytest.mark.parametrize(
    "changes",
    [
        {"iv": "zz"},
        {"iv": 1},
        {"iv": "00"},
        {"mac": ""},
        {"mac": "zz"},
        {"mac": None},
        {"cipherText": "00"},
        {"cipherText": "zz"},
        {"cipherText": "//", "cipherTextEncoding": "base64"},
        {"cipherText": "\u00e9", "cipherTextEncoding": "base64"},
        {"cipherTextEncoding": "utf8"},
        {"cipherTextEncoding": None},
        {"ephemeralPK": ""},
        {"ephemeralPK": "00"},
        {"ephemeralPK": "02" + "ff" * 32},
        {"ephemeralPK": "02" + "00" * 31 + "05"},
        {"ephemeralPK": "04" + "01" * 64},
        {"ephemeralPK": "05" + "01" * 32},
        {"wasString": "yes"},
    ],
    ids=repr,
)
def test_malformed(changes: dict[str, Any]) -> None:
    """A form with a member that makes no sense is refused."""
    with pytest.raises(CannotOpen) as caught:
        decrypt(sealed(**changes), BOB)
    assert "a secret" not in str(caught.value)


def test_bytes_that_claim_to_be_text() -> None:
    """Who says text of what is none, which the MAC cannot tell, is refused."""
    form = json.loads(encrypt(b"\xff", BOB.public))
    with pytest.raises(CannotOpen, match="content"):
        decrypt(json.dumps({**form, "wasString": True}), BOB)


def test_the_form_of_the_one_time_key() -> None:
    """A point that is not compressed is the same point; its negative is another."""
    ephemeral = PrivateKey.generate()
    form = json.loads(encrypt("a secret", BOB.public, ephemeral=ephemeral))
    point = coincurve.PublicKey(ephemeral.public.raw).format(compressed=False).hex()
    assert decrypt(json.dumps({**form, "ephemeralPK": point}), BOB) == "a secret"
    negative = ("03" if form["ephemeralPK"][1] == "2" else "02") + form["ephemeralPK"][2:]
    for other in (negative, "06" + point[2:], "07" + point[2:]):
        with pytest.raises(CannotOpen):
            decrypt(json.dumps({**form, "ephemeralPK": other}), BOB)


def test_text_that_says_it_is_bytes() -> None:
    """The MAC does not cover `wasString`, so the other type may come, of the same bytes."""
    text, data = json.loads(encrypt("a secret", BOB.public)), encrypt(b"x", BOB.public)
    assert decrypt(json.dumps({**text, "wasString": False}), BOB) == b"a secret"
    assert decrypt(json.dumps({**json.loads(data), "wasString": True}), BOB) == "x"


def test_an_error_has_no_past() -> None:
    """What went wrong inside, which may hold bits of the content, hangs on no error."""
    form = json.loads(encrypt(b"a secret \xff", BOB.public))
    with pytest.raises(CannotOpen) as caught:
        decrypt(json.dumps({**form, "wasString": True}), BOB)
    assert caught.value.__suppress_context__
    assert caught.value.__cause__ is None


@pytest.mark.parametrize("algorithm", [Algorithm.EdDSA, Algorithm.ES256])
def test_other_keys(algorithm: Algorithm) -> None:
    """Keys that are not of secp256k1 cannot seal, open or sign."""
    other = PrivateKey(algorithm, bytes([7] * 32))
    with pytest.raises(ValueError, match="secp256k1"):
        encrypt("x", other.public)
    with pytest.raises(ValueError, match="secp256k1"):
        encrypt("x", BOB.public, ephemeral=other)
    with pytest.raises(ValueError, match="secp256k1"):
        encrypt_signed("x", BOB.public, other)
    with pytest.raises(ValueError, match="secp256k1"):
        decrypt(sealed(), other)


# --- the signed form -----------------------------------------------------------------


def signed(**changes: Any) -> str:
    """Seal to Bob and sign by Alice, then change members of the form."""
    form = json.loads(encrypt_signed("a secret", BOB.public, ALICE))
    return json.dumps({**form, **changes})


@pytest.mark.parametrize(
    "changes",
    [
        {"publicKey": BOB.public.raw.hex()},
        {"publicKey": ""},
        {"publicKey": "04" + "01" * 64},
        {"signature": ""},
        {"signature": "zz"},
        {"signature": "3006020100020100"},
        {"signature": "300602017f02017f"},
        {"signature": "30060201ff0201ff"},
        {"signature": "3026022201" + "00" * 33 + "020101"},
        {"cipherText": encrypt("other", BOB.public)},
        {"cipherText": 1},
    ],
    ids=[
        *("another key", "no key", "no point", "nothing", "no hex", "zero", "large"),
        *("negative", "too long", "another text", "no text"),
    ],
)
def test_bad_signatures(changes: dict[str, Any]) -> None:
    """A signature that is not the key's, over exactly this text, is refused."""
    with pytest.raises(CannotOpen):
        decrypt_signed(signed(**changes), BOB)


def test_a_signed_form_is_not_sealed_content() -> None:
    """Neither form is taken for the other."""
    with pytest.raises(CannotOpen):
        decrypt(signed(), BOB)
    with pytest.raises(CannotOpen):
        decrypt_signed(sealed(), BOB)


def test_the_signer_is_named_not_judged() -> None:
    """Anybody can sign; whose key it is, the caller is told."""
    stranger = PrivateKey.generate()
    opened = decrypt_signed(encrypt_signed("x", BOB.public, stranger), BOB)
    assert isinstance(opened.signer, PublicKey)
    assert stranger.public == opened.signer != ALICE.public

"""A letter opens for its recipient, and only where it agrees with its envelope."""

import json
from typing import Any

import httpx2
import msgspec
import pytest
from cryptography.hazmat.primitives.asymmetric.utils import encode_dss_signature
from hypothesis import example, given, settings
from hypothesis import strategies as st
from msgspec import UNSET

from pushd.client import Algorithm, CannotOpen, Envelope, PrivateKey, new_id
from pushd.client.letter import (
    MAX_LETTER,
    Letter,
    letter_path,
    letter_url,
    open_letter,
    seal_letter,
)
from pushd.identity import ecies
from pushd.identity.keys import BTC_ADDR

ALICE, BOB, EVE = (PrivateKey.generate() for _ in range(3))
BUCKET = f"https://gaia.example/hub/{ALICE.did.removeprefix(BTC_ADDR)}/"
APP = "https://app.example"
ENVELOPE = Envelope(new_id(), ALICE.did, BOB.did, BUCKET, app=APP)
LETTER = Letter(
    ENVELOPE.id, ALICE.did, BOB.did, 1_800_000_000, "hello Bob", "text/markdown", APP
)
MEMBERS = {"v": 1, **msgspec.to_builtins(LETTER)}


def forged(signer: PrivateKey = ALICE, **changes: Any) -> bytes:
    """Seal to Bob, and sign, what is no letter of Alice's; None leaves a member out."""
    members = {
        name: value for name, value in {**MEMBERS, **changes}.items() if value is not None
    }
    return ecies.encrypt_signed(json.dumps(members), BOB.public, signer).encode()


def test_what_is_sealed_opens() -> None:
    """The recipient reads what the sender wrote."""
    data = seal_letter(LETTER, BOB.public, ALICE)
    assert open_letter(data, BOB, ENVELOPE) == LETTER
    assert b"hello" not in data


def test_a_letter_of_the_least() -> None:
    """Without app and media type it is a letter, too; the time may have fractions."""
    letter = Letter(ENVELOPE.id, ALICE.did, BOB.did, 1.25, "")
    envelope = msgspec.structs.replace(ENVELOPE, app=UNSET)
    assert open_letter(seal_letter(letter, BOB.public, ALICE), BOB, envelope) == letter


def test_the_form_in_the_bucket() -> None:
    """Other languages find the form of `putFile`, and the members they expect."""
    data = seal_letter(LETTER, BOB.public, ALICE)
    assert list(json.loads(data)) == ["signature", "publicKey", "cipherText"]
    plain = ecies.decrypt_signed(data, BOB).content
    assert isinstance(plain, str)
    assert json.loads(plain) == {
        "v": 1,
        "id": ENVELOPE.id,
        "from": ALICE.did,
        "to": BOB.did,
        "at": 1_800_000_000,
        "content": "hello Bob",
        "contentType": "text/markdown",
        "app": APP,
    }


def test_members_of_a_later_day() -> None:
    """What is not known here is let be."""
    assert open_letter(forged(mood="good"), BOB, ENVELOPE) == LETTER


def test_keys_may_be_named_by_themselves() -> None:
    """The did:key of a secp256k1 key is as good, where envelope and letter use it."""
    names = {"from_": ALICE.public.did_key, "to": BOB.public.did_key}
    letter = msgspec.structs.replace(LETTER, **names)
    envelope = msgspec.structs.replace(ENVELOPE, **names)
    data = seal_letter(letter, BOB.public, ALICE)
    assert open_letter(data, BOB, envelope) == letter


# --- letters that disagree -----------------------------------------------------------


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"id": new_id()}, "another id"),
        ({"from": EVE.did}, "another sender"),
        ({"from": ALICE.public.did_key}, "another sender"),
        ({"to": EVE.did}, "another recipient"),
        ({"to": BOB.public.did_key}, "another recipient"),
        ({"app": "https://other.example"}, "another app"),
        ({"app": APP + "/"}, "another app"),
        ({"app": None}, "another app"),
        ({"v": 2}, "version"),
        ({"v": "1"}, "no letter"),
        ({"v": None}, "no letter"),
        ({"id": None}, "no letter"),
        ({"from": None}, "no letter"),
        ({"to": None}, "no letter"),
        ({"at": None}, "no letter"),
        ({"at": "now"}, "no letter"),
        ({"content": None}, "no letter"),
        ({"content": {}}, "no letter"),
        ({"contentType": 1}, "no letter"),
        ({"app": 1}, "no letter"),
    ],
)
def test_a_letter_that_disagrees(changes: dict[str, Any], sentence: str) -> None:
    """Each member is compared with the envelope, and the sentence says which differs."""
    with pytest.raises(CannotOpen, match=sentence):
        open_letter(forged(**changes), BOB, ENVELOPE)


def test_an_app_only_the_letter_names() -> None:
    """The envelope of another app, or of none, leads to no letter of this one."""
    envelope = msgspec.structs.replace(ENVELOPE, app=UNSET)
    with pytest.raises(CannotOpen, match="another app"):
        open_letter(forged(), BOB, envelope)


def test_a_letter_signed_by_another() -> None:
    """Who keeps the bucket cannot write in the sender's name."""
    with pytest.raises(CannotOpen, match="signed by another"):
        open_letter(forged(signer=EVE), BOB, ENVELOPE)


def test_a_letter_in_another_bucket() -> None:
    """Eve, who can read Alice's letter's file, cannot pass it off as hers."""
    envelope = msgspec.structs.replace(
        ENVELOPE, from_=EVE.did, bucket=BUCKET.replace(ALICE.did[13:], EVE.did[13:])
    )
    with pytest.raises(CannotOpen, match="signed by another"):
        open_letter(forged(), BOB, envelope)


def test_a_sender_without_an_address() -> None:
    """Whose DID is no address cannot have signed."""
    envelope = msgspec.structs.replace(
        ENVELOPE, from_=PrivateKey.generate(Algorithm.EdDSA).did
    )
    with pytest.raises(CannotOpen, match="signed by another"):
        open_letter(forged(), BOB, envelope)


def test_an_older_letter_in_its_place() -> None:
    """A storage provider cannot show another letter of the same two people."""
    older = msgspec.structs.replace(LETTER, id=new_id())
    with pytest.raises(CannotOpen, match="another id"):
        open_letter(seal_letter(older, BOB.public, ALICE), BOB, ENVELOPE)


def test_others_cannot_open() -> None:
    """Sealed to Bob means sealed to nobody else."""
    with pytest.raises(CannotOpen, match="MAC"):
        open_letter(forged(), EVE, ENVELOPE)


def test_a_changed_letter() -> None:
    """A signature counts for exactly what was signed."""
    form = json.loads(forged())
    form["cipherText"] = form["cipherText"].replace('"mac":"', '"mac":"0')
    with pytest.raises(CannotOpen, match="signature"):
        open_letter(json.dumps(form).encode(), BOB, ENVELOPE)


def test_a_bad_mac_that_is_signed() -> None:
    """A signature does not make up for a MAC."""
    sealed = json.loads(json.loads(forged())["cipherText"])
    other = json.loads(json.loads(forged())["cipherText"])
    text = json.dumps({**sealed, "mac": other["mac"]})
    with pytest.raises(CannotOpen, match="MAC"):
        open_letter(resigned(text), BOB, ENVELOPE)


def test_an_unsigned_letter() -> None:
    """Anybody can seal to Bob; only a signed file is a letter."""
    text = ecies.encrypt(json.dumps(MEMBERS), BOB.public)
    with pytest.raises(CannotOpen):
        open_letter(text.encode(), BOB, ENVELOPE)


def test_text_that_says_it_is_none() -> None:
    """Nothing depends on `wasString`, which the MAC does not cover."""
    sealed = json.loads(json.loads(forged())["cipherText"])
    for was_string in (True, False):
        text = json.dumps({**sealed, "wasString": was_string})
        assert open_letter(resigned(text), BOB, ENVELOPE) == LETTER


@settings(deadline=None)
@given(st.text(max_size=100) | st.binary(max_size=100))
@example(b"\xff")
@example("null")
@example('{"v":1,"x":' + "[" * 10_000)
@example('{"v":1,"id":"\\ud800"}')
def test_junk(content: str | bytes) -> None:
    """What is no letter is refused without another error, signed by whomever."""
    data = ecies.encrypt_signed(content, BOB.public, ALICE).encode()
    with pytest.raises(CannotOpen):
        open_letter(data, BOB, ENVELOPE)
    with pytest.raises(CannotOpen):
        open_letter(
            content if isinstance(content, bytes) else content.encode(), BOB, ENVELOPE
        )


# --- what is refused to be sealed ----------------------------------------------------


def test_sealing_with_the_wrong_key() -> None:
    """The keys have to be those of the letter's people, and of secp256k1."""
    with pytest.raises(ValueError, match="recipient"):
        seal_letter(LETTER, EVE.public, ALICE)
    with pytest.raises(ValueError, match="sender"):
        seal_letter(LETTER, BOB.public, EVE)
    key = PrivateKey.generate(Algorithm.EdDSA)
    with pytest.raises(ValueError, match="secp256k1"):
        seal_letter(msgspec.structs.replace(LETTER, to=key.did), key.public, ALICE)
    with pytest.raises(ValueError, match="secp256k1"):
        seal_letter(msgspec.structs.replace(LETTER, from_=key.did), BOB.public, key)


def test_a_letter_nobody_reads() -> None:
    """A letter is no longer than its readers take."""
    long = msgspec.structs.replace(LETTER, content="x" * (MAX_LETTER // 2 - 1024))
    assert len(seal_letter(long, BOB.public, ALICE)) <= MAX_LETTER
    longer = msgspec.structs.replace(LETTER, content="x" * (MAX_LETTER // 2))
    with pytest.raises(ValueError, match="bytes"):
        seal_letter(longer, BOB.public, ALICE)


# --- where letters are ---------------------------------------------------------------


def test_where_a_letter_is() -> None:
    """It has its place in the bucket, unless the envelope says another."""
    assert letter_path("abc") == "messages/abc"
    assert letter_url(ENVELOPE) == f"{BUCKET}messages/{ENVELOPE.id}"
    without_slash = msgspec.structs.replace(ENVELOPE, bucket=BUCKET.rstrip("/"))
    assert letter_url(without_slash) == letter_url(ENVELOPE)
    elsewhere = msgspec.structs.replace(ENVELOPE, path="my chat/ü?#.json")
    assert letter_url(elsewhere) == f"{BUCKET}my%20chat/%C3%BC%3F%23.json"


@pytest.mark.parametrize(
    "path",
    [
        *("", "/", "/x", "x/", "a//b", "..", "../x", "x/../y", "x/..", ".", "./x", "a/./b"),
        *("x\0", "a\nb", "a\x7f", "a\x9f", "\ud800", "x" * 257),
    ],
    ids=range(18),
)
def test_where_no_letter_can_be(path: str) -> None:
    """A path of a stranger leads to a file in the stranger's own bucket, or nowhere."""
    with pytest.raises(CannotOpen):
        letter_url(msgspec.structs.replace(ENVELOPE, path=path))
    with pytest.raises(CannotOpen):
        letter_url(msgspec.structs.replace(ENVELOPE, id=path))


@pytest.mark.parametrize(
    "bucket",
    [
        "",
        "gaia.example/hub/",
        "https://gaia.example/hub/",
        "ftp://gaia.example/hub/{}/",
        "https://eve@gaia.example/hub/{}/",
        "https://gaia.example/hub/../{}/",
        "https://gaia.example/hub/{}?x=",
        "https://gaia.example/hub/{}#",
        "https://gaia.example/hub/{}//",
    ],
)
def test_a_bucket_that_is_none(bucket: str) -> None:
    """A bucket's URL is http(s), and ends in an address."""
    bucket = bucket.format(ALICE.did.removeprefix(BTC_ADDR))
    with pytest.raises(CannotOpen, match="bucket"):
        letter_url(msgspec.structs.replace(ENVELOPE, bucket=bucket))


@given(st.text(max_size=300))
def test_every_path_stays_in_its_bucket(path: str) -> None:
    """Whatever a stranger writes, the URL is of ASCII and begins with the bucket's."""
    try:
        url = letter_url(msgspec.structs.replace(ENVELOPE, path=path))
    except CannotOpen:
        return
    assert url.startswith(BUCKET)
    assert url.isascii()
    assert httpx2.URL(url).raw_path.decode() == url.removeprefix("https://gaia.example")


def resigned(sealed: str) -> bytes:
    """Sign, as Alice, for what says it is sealed content."""
    signature = ALICE.sign(sealed.encode())
    r, s = int.from_bytes(signature[:32]), int.from_bytes(signature[32:])
    form = {
        "signature": encode_dss_signature(r, s).hex(),
        "publicKey": ALICE.public.raw.hex(),
        "cipherText": sealed,
    }
    return json.dumps(form).encode()

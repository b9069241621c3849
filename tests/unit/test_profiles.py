"""Profiles: signed by the owner of the name, or they lead nowhere."""

import json
import time
from datetime import UTC, datetime
from typing import Any

import coincurve
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pushd.errors import BadRequest, Unproven
from pushd.identity.documents import LEEWAY, MAX_DOCUMENT
from pushd.identity.keys import Algorithm, PrivateKey, address, hash160
from pushd.identity.profiles import MAX_PROFILE, Profile, make_profile, read_profile
from tests.vectors.handmade import ABSENT, ALICE, BOB, token

NOW = 1795348800.25
OWNER = hash160(ALICE.public.raw)
APP = "https://app.example"
OTHER_APP = "http://localhost:3000"
BUCKET = f"https://gaia.example/hub/{address(BOB.public.raw)}/"
KEY = BOB.public.raw.hex()


def iso(at: float) -> str:
    """Write a time as JavaScript does."""
    return datetime.fromtimestamp(at, UTC).strftime("%Y-%m-%dT%H:%M:%S.%f")[:-3] + "Z"


def claims(**changes: Any) -> dict[str, Any]:
    """Return the claims of Alice's profile, some changed or `ABSENT`."""
    holder = {"publicKey": ALICE.public.raw.hex()}
    made = {
        "jti": "1",
        "iat": iso(NOW - 60),
        "exp": iso(NOW + 60),
        "subject": holder,
        "issuer": holder,
        "claim": {"@type": "Person", "apps": {APP: BUCKET}},
    }
    made.update(changes)
    return {name: value for name, value in made.items() if value is not ABSENT}


def file(text: Any) -> bytes:
    """Put a token in an array, as it is stored."""
    return json.dumps([{"token": text}]).encode()


def read(data: bytes, *, owner: bytes = OWNER, now: float = NOW) -> Profile:
    """Read a profile of Alice's now."""
    return read_profile(data, owner=owner, now=now)


def claiming(**changes: Any) -> Profile:
    """Read a profile of these claims."""
    return read(file(token(claims(**changes))))


# --- what is made --------------------------------------------------------------------


def test_what_is_made_is_read() -> None:
    """Apps, keys and the time of signing come back from a profile."""
    data = make_profile(
        ALICE,
        {APP: BUCKET, OTHER_APP: BUCKET[:-1]},
        keys={APP: KEY},
        now=NOW,
        name="Alice",
    )
    profile = read(data)
    assert profile == Profile(
        apps={APP: BUCKET, OTHER_APP: BUCKET[:-1]}, keys={APP: KEY}, signed_at=NOW
    )
    assert BUCKET == profile.bucket(APP) == profile.bucket(OTHER_APP)


def test_what_is_made_has_the_shape_of_the_libraries() -> None:
    """Old readers find the token, its copy in plain, and dates in ISO 8601."""
    data = make_profile(ALICE, {APP: BUCKET}, keys={APP: KEY}, now=NOW, name="Alice")
    (entry,) = json.loads(data)
    holder = {"publicKey": ALICE.public.raw.hex()}
    assert entry["decodedToken"] == {
        "header": {"typ": "JWT", "alg": "ES256K"},
        "payload": {
            "iat": "2026-11-22T12:00:00.250Z",
            "exp": "2027-11-22T12:00:00.250Z",
            "subject": holder,
            "issuer": holder,
            "claim": {
                "@type": "Person",
                "@context": "http://schema.org",
                "name": "Alice",
                "apps": {APP: BUCKET},
                "appsMeta": {APP: {"storage": BUCKET, "publicKey": KEY}},
            },
        },
        "signature": entry["token"].rpartition(".")[2],
    }


def test_a_profile_ends() -> None:
    """One counts for the lifetime it was made with, and not a moment longer."""
    data = make_profile(ALICE, {}, now=NOW, lifetime=60)
    assert read(data, now=NOW + 59.9).apps == {}
    with pytest.raises(Unproven, match="expired"):
        read(data, now=NOW + 60)


@pytest.mark.parametrize(
    ("key", "apps"),
    [
        (PrivateKey(Algorithm.EdDSA, bytes([7] * 32)), {}),
        (ALICE, {f"{APP}/": BUCKET}),
        (ALICE, {APP: "https://gaia.example/hub/"}),
    ],
)
def test_what_is_not_made(key: PrivateKey, apps: dict[str, str]) -> None:
    """A profile nobody could use is refused by its maker."""
    with pytest.raises(BadRequest):
        make_profile(key, apps, now=NOW)


# --- the chain to the owner ----------------------------------------------------------


@pytest.mark.parametrize("compressed", [True, False])
def test_the_issuer_hashes_to_the_owner_as_it_is_written(compressed: bool) -> None:
    """A key in either form belongs to the address of that form, and to no other."""
    point = coincurve.PublicKey(ALICE.public.raw)
    raw, other = point.format(compressed), point.format(not compressed)
    holder = {"publicKey": raw.hex().upper()}
    data = file(token(claims(issuer=holder, subject=holder)))
    assert read(data, owner=hash160(raw)).apps == {APP: BUCKET}
    with pytest.raises(Unproven, match="another key"):
        read(data, owner=hash160(other))


def test_another_key_than_the_owner_s() -> None:
    """A profile well signed by somebody else is not the owner's."""
    bob = {"publicKey": BOB.public.raw.hex()}
    with pytest.raises(Unproven, match="another key"):
        read(file(token(claims(issuer=bob, subject=bob), BOB)))


def test_another_signature_than_the_owner_s() -> None:
    """To name the owner's key as issuer is not enough."""
    with pytest.raises(Unproven, match="signature"):
        read(file(token(claims(), BOB)))


def test_the_copy_in_plain_is_never_looked_at() -> None:
    """Only the token of the first entry counts, whatever stands beside it."""
    good = token(claims())
    evil = {"payload": claims(claim={"apps": {APP: "https://evil.example/"}})}
    data = json.dumps(
        [{"token": good, "decodedToken": evil}, {"token": "evil"}, 1, None]
    ).encode()
    assert read(data) == read(file(good))
    with pytest.raises(Unproven):
        read(json.dumps([{"token": "evil"}, {"token": good}]).encode())
    with pytest.raises(Unproven):
        read(json.dumps([{"decodedToken": {"payload": claims()}}]).encode())


@pytest.mark.parametrize("algorithm", ["ES256", "EdDSA", "HS256", "none", "es256k"])
def test_other_algorithms(algorithm: str) -> None:
    """The token cannot choose how it is verified."""
    header = {"typ": "JWT", "alg": algorithm}
    with pytest.raises(Unproven):
        read(file(token(claims(), header=header)))


# --- what is refused -----------------------------------------------------------------


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"[]",
        b"{}",
        b"null",
        b"<html>",
        b"[1]",
        b"[[]]",
        b"[{}]",
        b'[{"token":null}]',
        b'[{"token":1}]',
        b'[{"token":""}]',
        b'[{"token":"\xff"}]',
        b'[{"token":"a.b"}]',
        b'[{"token":"a.b.c"}]',
        b"[" * 100_000,
        b'[{"decodedToken":' + b"[" * 100_000,
        file(token("{")),
        file(token("[]")),
        file(token(claims())) + b"x",
        file(token(claims())).decode().encode("utf-16"),
        json.dumps({"token": token(claims())}).encode(),
        token(claims()).encode(),
    ],
)
def test_no_profiles(data: bytes) -> None:
    """What is no array of a signed token is no profile."""
    with pytest.raises(Unproven):
        read(data)


@pytest.mark.parametrize(
    "changes",
    [
        {"subject": ABSENT},
        {"subject": {}},
        {"subject": "key"},
        {"subject": {"publicKey": 1}},
        {"subject": {"publicKey": "02"}},
        {"subject": {"publicKey": ""}},
        {"issuer": ABSENT},
        {"issuer": {}},
        {"issuer": ALICE.public.raw.hex()},
        {"issuer": {"publicKey": None}},
        {"issuer": {"publicKey": "0x" + ALICE.public.raw.hex()}},
        {"issuer": {"publicKey": " " + ALICE.public.raw.hex()}},
        {"issuer": {"publicKey": ALICE.public.raw.hex() + "00"}},
        {"claim": ABSENT},
        {"claim": None},
        {"claim": []},
        {"claim": "x"},
        {"iat": ABSENT},
        {"iat": None},
        {"iat": ""},
        {"iat": "yesterday"},
        {"iat": "2026-13-01T00:00:00Z"},
        {"iat": [1]},
        {"iat": iso(NOW + LEEWAY + 1)},
        {"iat": NOW + LEEWAY + 1},
        {"iat": 1e18},
        {"exp": None},
        {"exp": "never"},
        {"exp": {}},
        {"exp": iso(NOW - 0.002)},
        {"exp": NOW},
        {"exp": 0},
        {"exp": "1970-01-01"},
    ],
)
def test_refused_claims(changes: dict[str, Any]) -> None:
    """Claims that name no signer, or no time at which the profile counts, are refused."""
    with pytest.raises(Unproven):
        claiming(**changes)


@pytest.mark.parametrize("kind", ["hybrid", "not-on-the-curve"])
def test_points_that_are_none(kind: str) -> None:
    """A key in another form is refused, even where its hash would be the owner's."""
    point = coincurve.PublicKey(ALICE.public.raw).format(compressed=False)
    raw = {
        "hybrid": bytes([6 + point[-1] % 2]) + point[1:],
        "not-on-the-curve": b"\2" + b"\xff" * 32,
    }[kind]
    data = file(token(claims(issuer={"publicKey": raw.hex()})))
    with pytest.raises(Unproven, match="secp256k1"):
        read(data, owner=hash160(raw))


def test_sizes() -> None:
    """A token is read up to its limit, and a file up to its own."""
    room = MAX_DOCUMENT * 3 // 4 - 1000
    long = token(claims(note="n" * room))
    assert 8192 < len(long) <= MAX_DOCUMENT
    assert read(file(long)).apps == {APP: BUCKET}
    with pytest.raises(Unproven):
        read(file(token(claims(note="n" * (room + 2000)))))
    copy = json.dumps([{"token": token(claims()), "decodedToken": ""}])
    padding = "n" * (MAX_PROFILE - len(copy))
    full = copy.replace('""', f'"{padding}"').encode()
    assert len(full) == MAX_PROFILE
    assert read(full).apps == {APP: BUCKET}
    with pytest.raises(Unproven):
        read(full + b" ")


# --- what is let be ------------------------------------------------------------------


@pytest.mark.parametrize(
    ("changes", "signed_at"),
    [
        ({"iat": iso(NOW + LEEWAY)}, NOW + LEEWAY),
        ({"iat": int(NOW)}, int(NOW)),
        ({"iat": NOW}, NOW),
        ({"iat": "2026-11-22T12:00:00Z"}, 1795348800),
        ({"iat": "2026-11-22T13:00:00+01:00"}, 1795348800),
        ({"iat": "2026-11-22T12:00:00"}, 1795348800),
        ({"iat": "0001-01-01T00:00:00+23:59"}, -62135683140),
        ({"iat": int(NOW), "exp": "9999-12-31T23:59:59.999-23:59"}, int(NOW)),
        ({"iat": int(NOW), "exp": NOW + 0.001}, int(NOW)),
        ({"iat": int(NOW), "exp": ABSENT}, int(NOW)),
        ({"iat": int(NOW), "jti": 1, "nbf": "x"}, int(NOW)),
    ],
)
def test_times(changes: dict[str, Any], signed_at: float) -> None:
    """Dates and numbers are read alike; without a zone they are of UTC."""
    assert claiming(**changes).signed_at == signed_at


def test_a_time_without_zone_is_the_same_everywhere(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The zone of the reader's machine does not matter."""
    monkeypatch.setenv("TZ", "Asia/Tokyo")
    time.tzset()
    try:
        assert claiming(iat="2026-11-22T12:00:00").signed_at == 1795348800
    finally:
        monkeypatch.undo()
        time.tzset()


@pytest.mark.parametrize(
    ("claim", "apps", "keys"),
    [
        ({}, {}, {}),
        ({"apps": None, "appsMeta": None}, {}, {}),
        ({"apps": [APP], "appsMeta": "x"}, {}, {}),
        ({"apps": {APP: 1, OTHER_APP: BUCKET}}, {OTHER_APP: BUCKET}, {}),
        ({"apps": {APP: "anything"}}, {APP: "anything"}, {}),
        ({"appsMeta": {APP: None, OTHER_APP: {"publicKey": KEY}}}, {}, {OTHER_APP: KEY}),
        ({"appsMeta": {APP: {"publicKey": 2}, OTHER_APP: {}}}, {}, {}),
        ({"name": 7, "api": None, "image": [{}]}, {}, {}),
    ],
)
def test_members_of_another_type(
    claim: dict[str, Any], apps: dict[str, str], keys: dict[str, str]
) -> None:
    """What does not matter may be anything; a list of apps that is none is empty."""
    profile = claiming(claim=claim)
    assert (profile.apps, profile.keys) == (apps, keys)


# --- buckets -------------------------------------------------------------------------


@pytest.mark.parametrize("app", [f"{APP}/", "https://other.example", "", APP.upper()])
def test_apps_that_are_not_there(app: str) -> None:
    """An app is found by its exact origin."""
    with pytest.raises(Unproven, match="does not list"):
        claiming().bucket(app)


@pytest.mark.parametrize(
    "url",
    [
        "",
        "https://gaia.example/hub/",
        BUCKET.replace("https", "ftp"),
        BUCKET.replace("//", "//user@"),
        f"{BUCKET}?x=",
        f"{BUCKET}x",
        f"{BUCKET}/",
    ],
)
def test_buckets_that_are_none(url: str) -> None:
    """What is listed for an app has to be a bucket's URL."""
    with pytest.raises(Unproven, match="no bucket"):
        claiming(claim={"apps": {APP: url}}).bucket(APP)


# --- any change ----------------------------------------------------------------------

MADE = make_profile(ALICE, {APP: BUCKET}, keys={APP: KEY}, now=NOW)


@settings(deadline=None)
@given(st.integers(0, len(MADE) - 1), st.integers(1, 255))
def test_any_change_is_refused_or_changes_nothing(place: int, change: int) -> None:
    """No byte of a profile can be altered so that it says something else."""
    data = MADE[:place] + bytes([MADE[place] ^ change]) + MADE[place + 1 :]
    try:
        found = read(data)
    except Unproven:
        return
    assert found == read(MADE)


@settings(deadline=None)
@given(st.binary(max_size=200), st.text(max_size=200))
def test_junk_is_refused(data: bytes, text: str) -> None:
    """Any bytes, claims or times are refused without another error."""
    for junk in (data, file(text), file(token(text)), file(token(claims(iat=text + "!")))):
        with pytest.raises(Unproven):
            read(junk)

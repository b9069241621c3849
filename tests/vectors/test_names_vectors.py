"""Replays names-profile.json: from a name to its bucket, each step as the libraries do.

The file lacks the profiles of two names, which are made here: `evil.json`, a good
profile of another key, and `expired.json`, one of the owner that is over.
"""

import json

import pytest

from pushd.errors import Unproven
from pushd.identity.addresses import hash160_of, stacks_address
from pushd.identity.keys import BTC_ADDR, PrivateKey, address, hash160
from pushd.identity.names import bucket_address
from pushd.identity.profiles import Profile, make_profile, read_profile
from pushd.identity.published import read_published_key
from pushd.identity.zonefiles import make_zone_file, profile_url
from tests.vectors.files import Json, cases, load
from tests.vectors.handmade import BOB

FILE = load("names-profile.json")
NOW = 1795348800
APP = "https://app.example"
BASE = "http://127.0.0.1:4020"
BUCKET = f"{BASE}/hub/{FILE['app']['bucket_address']}/"
APPS = {APP: BUCKET, "http://localhost:3000": BUCKET.rstrip("/")}

ALICE = PrivateKey.from_hex(FILE["identity"]["private_key"])
ALICE_S = json.dumps(FILE["profile_token_file"]).encode()
PROFILES = {
    f"{BASE}/profile.json": ALICE_S,
    f"{BASE}/profile.json".replace("http", "https"): ALICE_S,
    f"{BASE}/evil.json": make_profile(BOB, APPS, now=NOW),
    f"{BASE}/expired.json": make_profile(ALICE, APPS, now=NOW - 2000, lifetime=1000),
}


def profile_of(name: str) -> Profile:
    """Go from a name to its profile."""
    record: Json = FILE["names"][name]
    data = PROFILES[profile_url(record["zonefile"])]
    return read_profile(data, owner=hash160_of(record["address"]), now=NOW)


# --- addresses -----------------------------------------------------------------------


@cases("names-profile.json", "addresses")
def test_addresses(case: Json) -> None:
    """Each address stands for the hash of the key, and is written as the libraries do."""
    expected = bytes.fromhex(case["hash160"])
    for form in ("btc_p2pkh", "stacks_mainnet", "stacks_testnet"):
        assert expected == hash160_of(case[form])
    assert case["stacks_mainnet"] == stacks_address(expected)
    assert case["stacks_testnet"] == stacks_address(expected, 26)


def test_the_owner_s_addresses() -> None:
    """The owner of the names is the same by both of its addresses."""
    identity = FILE["identity"]
    expected = hash160(bytes.fromhex(identity["public_key"]))
    assert expected == hash160_of(identity["btc_address"])
    assert expected == hash160_of(identity["stacks_address"])


# --- zone files ----------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "url"),
    [
        ("alice.id.blockstack", f"{BASE}/profile.json"),
        ("alice-btc.id", f"{BASE}/profile.json"),
        ("evil.id", f"{BASE}/evil.json"),
        ("expired.id", f"{BASE}/expired.json"),
        ("https-record.id", f"{BASE}/profile.json"),
        ("noscheme.id", "https://127.0.0.1:4020/profile.json"),
    ],
)
def test_zone_files(name: str, url: str) -> None:
    """Each zone file leads to its profile."""
    assert url == profile_url(FILE["names"][name]["zonefile"])


def test_no_zone_file() -> None:
    """A name with an empty zone file leads nowhere."""
    with pytest.raises(Unproven):
        profile_of("nozone.btc")


def test_zone_files_are_written_alike() -> None:
    """A zone file made here is one of the libraries', but for an empty line."""
    expected = FILE["names"]["alice.id.blockstack"]["zonefile"]
    made = make_zone_file("alice.id.blockstack", f"{BASE}/profile.json")
    assert made == expected.removesuffix("\n")


# --- the whole chain -----------------------------------------------------------------


@pytest.mark.parametrize(
    "name", ["alice.id.blockstack", "alice-btc.id", "https-record.id", "noscheme.id"]
)
def test_names(name: str) -> None:
    """A name leads to the bucket and the key its owner signed for.

    The libraries know one form of the owner's address each, and one of them no record
    named `_https._tcp`; here all of these names have the same owner and profile.
    """
    profile = profile_of(name)
    assert profile.apps == APPS
    assert profile.signed_at == NOW
    assert {BUCKET} == {profile.bucket(app) for app in APPS}
    assert FILE["app"]["bucket_address"] == bucket_address(profile.bucket(APP))
    key = read_published_key(profile.keys[APP].encode(), bucket_address(BUCKET))
    assert FILE["app"]["public_key"] == key.raw.hex()
    assert key.did == BTC_ADDR + FILE["app"]["bucket_address"]


@pytest.mark.parametrize("library", ["@stacks/auth@7", "blockstack@21"])
def test_apps_are_those_the_libraries_find(library: str) -> None:
    """Where a library finds apps, the same are found here, unless they have expired."""
    found = {
        case["name"]: case[library]["apps"]
        for case in FILE["results"]
        if case[library]["ok"] and case[library]["apps"]
    }
    found.pop("expired.id", None)
    assert found
    assert found == {name: profile_of(name).apps for name in found}


def test_an_app_is_found_by_its_exact_origin() -> None:
    """With a slash behind it, it is another, as in the libraries."""
    with pytest.raises(Unproven):
        profile_of("alice.id.blockstack").bucket(f"{APP}/")


def test_a_profile_of_another_owner() -> None:
    """A profile that is good for somebody else proves nothing here."""
    with pytest.raises(Unproven, match="another key"):
        profile_of("evil.id")
    data = PROFILES[f"{BASE}/evil.json"]
    assert read_profile(data, owner=hash160(BOB.public.raw), now=NOW).apps == APPS


def test_an_expired_profile() -> None:
    """What is over is refused, though @stacks/auth takes it."""
    results = {case["name"]: case for case in FILE["results"]}
    assert results["expired.id"]["@stacks/auth@7"]["ok"]
    with pytest.raises(Unproven, match="expired"):
        profile_of("expired.id")
    data = PROFILES[f"{BASE}/expired.json"]
    owner = hash160_of(FILE["identity"]["stacks_address"])
    assert read_profile(data, owner=owner, now=NOW - 1500).apps == APPS


def test_a_profile_is_made_alike() -> None:
    """A profile made here has the members of the libraries', and a token beside them."""
    made = json.loads(
        make_profile(
            ALICE,
            APPS,
            keys={APP: FILE["app"]["public_key"]},
            now=NOW,
            name="Alice",
        )
    )
    expected = FILE["profile_token_file"]
    assert made[0].keys() == expected[0].keys()
    theirs = expected[0]["decodedToken"]
    ours = made[0]["decodedToken"]
    assert ours["header"] == theirs["header"]
    assert ours["payload"].keys() | {"jti"} == theirs["payload"].keys()
    for member in ("iat", "subject", "issuer"):
        assert ours["payload"][member] == theirs["payload"][member]
    assert ours["payload"]["claim"].keys() == theirs["payload"]["claim"].keys()
    assert ours["payload"]["claim"]["apps"] == theirs["payload"]["claim"]["apps"]


def test_the_app_s_bucket() -> None:
    """The bucket is named by the hash of the app's key."""
    app = FILE["app"]
    assert app["bucket_address"] == address(bytes.fromhex(app["public_key"]))

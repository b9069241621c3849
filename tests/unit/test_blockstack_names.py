"""Blockstack names: the chain from names API to bucket, and every way it can be false."""

import json
from pathlib import Path
from typing import Any

import pytest

from pushd.errors import ResolverUnavailable, Unproven
from pushd.identity import jws
from pushd.identity.addresses import stacks_address
from pushd.identity.keys import Algorithm, PrivateKey, address, hash160
from pushd.identity.profiles import make_profile
from pushd.identity.zonefiles import make_zone_file
from pushd.resolvers.base import Identity, Proof
from pushd.resolvers.blockstack import BlockstackNames
from pushd.resolvers.fetch import FetchFailed
from tests.unit.places import NOW, Places

VECTORS = Path(__file__).parents[2] / "spec/vectors/names-profile.json"
OWNER = PrivateKey(Algorithm.ES256K, bytes([5] * 32))
BOB = PrivateKey(Algorithm.ES256K, bytes([9] * 32))
EVE = PrivateKey(Algorithm.ES256K, bytes([6] * 32))
NAME = "bob.id.blockstack"
APP = "https://app.example"
API = f"https://names.example/v1/names/{NAME}"
PROFILE = "https://gaia.example/hub/profile.json"
BUCKET = f"https://gaia.example/hub/{address(BOB.public.raw)}/"


def record(**members: Any) -> bytes:
    """Make what the names API says of Bob's name."""
    record = {
        "address": stacks_address(hash160(OWNER.public.raw)),
        "blockchain": "stacks",
        "status": "registered_subdomain",
        "last_txid": "0x00",
        "zonefile": make_zone_file(NAME, PROFILE),
        "zonefile_hash": "00",
    } | members
    return json.dumps(record).encode()


def profile(**options: Any) -> bytes:
    """Make Bob's profile."""
    apps, key = options.pop("apps", {APP: BUCKET}), options.pop("key", OWNER)
    return make_profile(key, apps, **{"now": NOW - 60, **options})


def places(api: bytes | FetchFailed | None = None, **options: Any) -> Places:
    """Make the places Bob's name is told at."""
    return Places({API: record() if api is None else api, PROFILE: profile(**options)})


async def identify(places: Places, app: str = APP) -> Identity:
    """Find out who Bob is."""
    return await BlockstackNames("https://names.example/", places).identify(
        NAME, app, now=NOW
    )


# --- the chain -----------------------------------------------------------------------


async def test_from_name_to_bucket() -> None:
    """Names API, zone file and profile lead to the bucket of the app, in two fetches."""
    found = places()
    assert await identify(found) == Identity(
        did=BOB.did,
        proof=Proof.PROFILE,
        bucket=BUCKET,
        signed_at=NOW - 60,
        signer=stacks_address(hash160(OWNER.public.raw)),
    )
    assert found.asked == [API, PROFILE]


async def test_the_key_in_the_profile() -> None:
    """A key in the profile is told along if it is the bucket's, and else left out."""
    told = await identify(places(keys={APP: BOB.public.raw.hex()}))
    assert told.key == BOB.public
    lied = await identify(places(keys={APP: EVE.public.raw.hex()}))
    assert (lied.did, lied.key) == (BOB.did, None)


@pytest.mark.parametrize("form", ["stacks", "bitcoin"])
async def test_forms_of_the_owner(form: str) -> None:
    """The owner may be written as SP... or 1...: the same hash is the same owner."""
    owner = hash160(OWNER.public.raw)
    written = stacks_address(owner) if form == "stacks" else address(OWNER.public.raw)
    assert (await identify(places(record(address=written)))).did == BOB.did


@pytest.mark.parametrize(
    "status",
    [
        "registered",
        "registered_subdomain",
        "name-import",
        "name-register",
        "name-renewal",
        "name-transfer",
        "name-update",
    ],
)
async def test_names_that_are_held(status: str) -> None:
    """Whatever happened to a name last, if it left it with its owner it counts."""
    assert (await identify(places(record(status=status)))).did == BOB.did


@pytest.mark.parametrize(
    "zone_file",
    [
        f'_https._tcp\tIN\tURI\t10\t1\t"{PROFILE}"\n',
        f'_http._tcp\tIN\tURI\t10\t1\t"{PROFILE.removeprefix("https://")}"\n',
    ],
)
async def test_zone_files_as_they_are_found(zone_file: str) -> None:
    """A record of `_https._tcp` alone counts, and a target without scheme is https."""
    assert (await identify(places(record(zonefile=zone_file)))).did == BOB.did


async def test_the_real_thing() -> None:
    """A name the real libraries made resolves to the bucket they say."""
    vectors = json.loads(VECTORS.read_text())
    name = "alice.id.blockstack"
    answers = {
        f"https://names.example/v1/names/{name}": vectors["names"][name],
        "http://127.0.0.1:4020/profile.json": vectors["profile_token_file"],
    }
    names = BlockstackNames(
        "https://names.example",
        Places({url: json.dumps(answer).encode() for url, answer in answers.items()}),
    )
    found = await names.identify(name, "http://localhost:3000", now=NOW)
    assert found.did == f"did:btc-addr:{vectors['app']['bucket_address']}"
    assert found.bucket is not None
    assert found.bucket.endswith("/")
    assert found.key is None
    found = await names.identify(name, APP, now=NOW)
    assert found.key is not None
    assert found.key.raw.hex() == vectors["app"]["public_key"]


# --- what proves nothing -------------------------------------------------------------


@pytest.mark.parametrize(
    "status", ["name-revoke", "name-expired", "available", "revoked", "", "whatever"]
)
async def test_names_that_are_not_held(status: str) -> None:
    """A name that was given up, or is in a state we do not know, is nobody's."""
    with pytest.raises(Unproven, match="expired or was given up"):
        await identify(places(record(status=status)))


@pytest.mark.parametrize(
    "zone_file",
    [
        "",
        None,
        '{"v": "0.2", "name": {"formatted": "Bob"}}',
        '{"owner": "SP3MJ9VQM7S6BC2EBSJD0MATNM2C61Y1B7VGEWV08", "meta": []}',
        f"$ORIGIN {NAME}\n$TTL 3600\n",
        '_http._tcp\tIN\tURI\t10\t1\t"ftp://gaia.example/profile.json"\n',
    ],
)
async def test_zone_files_that_lead_nowhere(zone_file: str | None) -> None:
    """An empty zone file, or one that is JSON, leads to no profile, and nobody is asked."""
    found = places(record(zonefile=zone_file))
    with pytest.raises(Unproven, match="zone file"):
        await identify(found)
    assert found.asked == [API]


async def test_nobody_has_the_name() -> None:
    """The names API says 404."""
    with pytest.raises(Unproven, match="Nobody"):
        await identify(Places({}))


async def test_no_profile() -> None:
    """There is nothing where the zone file leads."""
    with pytest.raises(Unproven, match="no profile"):
        await identify(Places({API: record()}))


@pytest.mark.parametrize(
    ("options", "why"),
    [
        ({"key": EVE}, "another key"),
        ({"now": NOW + 301}, "future"),
        ({"now": NOW - 86400, "lifetime": 3600}, "expired"),
        ({"apps": {}}, "not list the app"),
        ({"apps": {"https://other.example": BUCKET}}, "not list the app"),
    ],
)
async def test_profiles_that_prove_nothing(options: dict[str, Any], why: str) -> None:
    """A profile counts if the owner of the name signed it, for now and for this app."""
    with pytest.raises(Unproven, match=why):
        await identify(places(**options))


async def test_the_copy_beside_the_token_is_not_looked_at() -> None:
    """A `decodedToken` that tells of another bucket changes nothing."""
    found = places()
    [entry] = json.loads(profile())
    entry["decodedToken"]["payload"]["claim"]["apps"][APP] = (
        f"https://eve.example/{address(EVE.public.raw)}/"
    )
    found.table[PROFILE] = json.dumps([entry]).encode()
    assert (await identify(found)).did == BOB.did


async def test_the_copy_beside_the_token_proves_nothing() -> None:
    """A `decodedToken` in the owner's name does not help a token that is Eve's."""
    found = places()
    [mine], [hers] = json.loads(profile()), json.loads(profile(key=EVE))
    mine["token"] = hers["token"]
    found.table[PROFILE] = json.dumps([mine]).encode()
    with pytest.raises(Unproven, match="another key"):
        await identify(found)


@pytest.mark.parametrize(
    "url",
    [
        "https://gaia.example/hub/",
        "https://gaia.example/hub/1NotAnAddressAtAllxxxxxxxxxxxx/",
        f"https://gaia.example/hub/{stacks_address(hash160(BOB.public.raw))}/",
        f"javascript:{BUCKET}",
        BUCKET.replace("hub", "x" * 256),
    ],
)
async def test_buckets_that_are_none(url: str) -> None:
    """What the owner lists for the app has to end in the address of a key."""
    [entry] = json.loads(profile())
    claims = entry["decodedToken"]["payload"]
    claims["claim"]["apps"][APP] = url
    entry["token"] = jws.sign(OWNER, json.dumps(claims).encode())
    found = places()
    found.table[PROFILE] = json.dumps([entry]).encode()
    with pytest.raises(Unproven, match="no bucket"):
        await identify(found)


@pytest.mark.parametrize("app", [f"{APP}/", "https://APP.example", "http://app.example"])
async def test_another_origin(app: str) -> None:
    """An app is its exact origin: a slash, a capital or the scheme make it another."""
    with pytest.raises(Unproven, match="not list the app"):
        await identify(places(), app)


# --- what is out of order ------------------------------------------------------------


@pytest.mark.parametrize(
    "answer",
    [
        pytest.param(FetchFailed("redirect"), id="a redirect"),
        pytest.param(FetchFailed("type"), id="another media type"),
        pytest.param(FetchFailed("timeout"), id="a timeout"),
        pytest.param(b" " * 10_000_000, id="10 MB"),
        pytest.param(b"", id="no bytes"),
        pytest.param(b"<html></html>", id="HTML"),
        pytest.param(b"[]", id="a list"),
        pytest.param(b"null", id="null"),
        pytest.param(b"\xff", id="not UTF-8"),
        pytest.param(b"[" * 60_000, id="a deep nest"),
        pytest.param(b'{"zonefile": ""}', id="without address and status"),
        pytest.param(record(address=17), id="an address of another type"),
        pytest.param(record(address="nobody"), id="an address that is none"),
        pytest.param(record(address="SP123"), id="a short address"),
        pytest.param(record(zonefile=["$ORIGIN"]), id="a zone file of another type"),
    ],
)
async def test_an_api_out_of_order(answer: bytes | FetchFailed) -> None:
    """What the names API should not say tells nothing of the name; try again later."""
    with pytest.raises(ResolverUnavailable):
        await identify(places(answer))


@pytest.mark.parametrize(
    "answer",
    [
        pytest.param(FetchFailed("connect"), id="connect"),
        pytest.param(FetchFailed("redirect"), id="redirect"),
        pytest.param(b" " * 10_000_000, id="size"),
    ],
)
async def test_a_profile_that_cannot_be_fetched(
    answer: bytes | FetchFailed, request: pytest.FixtureRequest
) -> None:
    """A bucket that is down tells nothing of the name, and is not spied on that way."""
    found = places()
    found.table[PROFILE] = answer
    with pytest.raises(ResolverUnavailable) as caught:
        await identify(found)
    assert request.node.callspec.id not in str(caught.value)


async def test_a_long_profile() -> None:
    """A profile may be longer than other documents, as it is written twice in the file."""
    found = places()
    found.table[PROFILE] = profile() + b" " * 200_000
    assert (await identify(found)).did == BOB.did


async def test_why_it_failed_is_told_to_the_log(
    caplog: pytest.LogCaptureFixture,
) -> None:
    """An operator who wants to know which host failed, and why, finds it in the log."""
    caplog.set_level("DEBUG", "pushd")
    found = places(record(zonefile='_http._tcp URI 10 1 "https://eve:secret@x.example/p"'))
    found.table["https://eve:secret@x.example/p"] = FetchFailed("connect")
    for broken in (found, places(b"{}")):
        with pytest.raises(ResolverUnavailable):
            await identify(broken)
    told = [(vars(entry)["host"], vars(entry)["reason"]) for entry in caplog.records]
    assert told == [("x.example", "connect"), ("names.example", "shape")]


@pytest.mark.parametrize(
    "text", [b"", b"<html>", b"{}", b"[]", b"[{}]", b'[{"token":"a.b.c"}]']
)
async def test_a_profile_that_is_none(text: bytes) -> None:
    """What lies where the profile should is not one, so nothing is proven."""
    found = places()
    found.table[PROFILE] = text
    with pytest.raises(Unproven):
        await identify(found)

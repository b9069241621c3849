"""The names of the development hub: who is registered, and what the names APIs answer."""

import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from pushd.errors import BadRequest
from pushd.identity.addresses import stacks_address
from pushd.identity.keys import Algorithm, PrivateKey, address, hash160
from pushd.identity.profiles import read_profile
from pushd.identity.zonefiles import profile_url
from tests.devhub import RunningHub, running_devhub

NOBODY = "1J3PUxY5uDShUnHRrMyU6yKtoHEUPhKULs"
APP = "https://app.example"
ALICE, ALICE_IN_APP = (PrivateKey.from_hex(digit * 64) for digit in "12")
OWNER = stacks_address(hash160(ALICE.public.raw))


@pytest.fixture(scope="module")
def hub() -> Iterator[RunningHub]:
    """Run a hub that knows Alice by a name of each kind."""
    with running_devhub() as running:
        running.hub.register("alice.id.blockstack", ALICE, {APP: ALICE_IN_APP})
        running.hub.register("alice.id", ALICE, {})
        servers = ["https://one.example", "https://two.example"]
        running.hub.register_bns("alice.btc", ALICE, ALICE_IN_APP.public, servers)
        yield running


# --- BNS V1 --------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "status"),
    [("alice.id.blockstack", "registered_subdomain"), ("alice.id", "name-register")],
)
def test_a_name_tells_its_owner(hub: RunningHub, name: str, status: str) -> None:
    """Address and zone file are there, and no member is null."""
    told = hub.http.get(f"/v1/names/{name}").json()
    zone_file = told["zonefile"]

    assert told == {
        "address": OWNER,
        "blockchain": "stacks",
        "last_txid": told["last_txid"],
        "status": status,
        "zonefile": zone_file,
        "zonefile_hash": hash160(zone_file.encode()).hex(),
    }
    assert len(told["last_txid"]) == 66


@pytest.mark.parametrize("publish_keys", [True, False])
def test_registering_does_all_that_a_wallet_does(
    hub: RunningHub, publish_keys: bool
) -> None:
    """From the name the way leads to the profile, its owner's signature and the bucket."""
    apps = {APP: ALICE_IN_APP}
    hub.hub.register("bob.id.blockstack", ALICE, apps, publish_keys=publish_keys)
    told = hub.http.get("/v1/names/bob.id.blockstack").json()
    url = profile_url(told["zonefile"])
    owner = hash160(ALICE.public.raw)
    profile = read_profile(hub.http.get(url).content, owner=owner, now=time.time())

    assert url == f"{hub.hub.read_url}{address(ALICE.public.raw)}/profile.json"
    in_app = address(ALICE_IN_APP.public.raw)
    assert profile.bucket(APP) == f"{hub.hub.read_url}{in_app}/"
    expected = {APP: ALICE_IN_APP.public.raw.hex()} if publish_keys else {}
    assert profile.keys == expected


@pytest.mark.parametrize(
    ("path", "error"),
    [
        ("/v1/names/nobody.id", "cannot find name nobody.id"),
        ("/v1/names/nobody.id.blockstack", "cannot find subdomain nobody.id.blockstack"),
        ("/v1/names/alice.btc", "cannot find name alice.btc"),
        ("/v1/names/nobody.id/zonefile", "No such name or zonefile does not exist"),
        (f"/v1/addresses/dogecoin/{NOBODY}", "Unsupported blockchain"),
        ("/bns/names/nobody.btc", "Name not found"),
        ("/bns/names/alice.id", "Name not found"),
        ("/bns/zonefile/nobody.btc/raw", "Name not found, expired or revoked"),
    ],
)
def test_what_is_not_known_is_404(hub: RunningHub, path: str, error: str) -> None:
    """Each API says so in its own words, and knows nothing of the other's names."""
    answer = hub.http.get(path)

    assert (answer.status_code, answer.json()) == (404, {"error": error})


def test_a_zone_file_can_be_asked_for_alone(hub: RunningHub) -> None:
    """It is the same text."""
    told = hub.http.get("/v1/names/alice.id").json()

    assert hub.http.get("/v1/names/alice.id/zonefile").json() == {
        "zonefile": told["zonefile"]
    }


def test_an_address_tells_its_names(hub: RunningHub) -> None:
    """Those of BNS V1; whoever has none has an empty list."""
    hub.hub.forget("bob.id.blockstack")
    told = hub.http.get(f"/v1/addresses/stacks/{OWNER}").json()

    assert told == {"names": ["alice.id", "alice.id.blockstack"]}
    assert hub.http.get(f"/v1/addresses/stacks/{NOBODY}").json() == {"names": []}


# --- BNS V2 --------------------------------------------------------------------------


def test_a_name_of_bns_tells_its_owner(hub: RunningHub) -> None:
    """With what a reader has to check: that it is valid, and not revoked."""
    told = hub.http.get("/bns/names/alice.btc").json()

    assert told["status"] == "active"
    data = told["data"]
    assert (data["full_name"], data["owner"]) == ("alice.btc", OWNER)
    assert (data["is_valid"], data["revoked"]) == (True, False)


def test_a_zone_file_of_bns_leads_to_servers(hub: RunningHub) -> None:
    """It is JSON, tells its owner, and names the key and the servers in order."""
    assert hub.http.get("/bns/zonefile/alice.btc/raw").json() == {
        "full_name": "alice.btc",
        "zonefile": {
            "owner": OWNER,
            "meta": [
                {
                    "name": "messaging-public-key",
                    "value": ALICE_IN_APP.public.raw.hex(),
                },
                {"name": "messaging-server", "value": "https://one.example"},
                {"name": "messaging-server", "value": "https://two.example"},
            ],
        },
    }


@pytest.mark.parametrize(
    ("zone_file", "status", "error"),
    [
        ("", 404, "No zonefile found for this name"),
        ("text", 400, "Zonefile owner does not match name owner"),
        ('{"owner": "SP000"}', 400, "Zonefile owner does not match name owner"),
    ],
)
def test_a_zone_file_of_bns_has_to_be_its_owners(
    hub: RunningHub, zone_file: str, status: int, error: str
) -> None:
    """One that tells another owner, or none, is not shown."""
    hub.hub.names.put("carol.btc", OWNER, zone_file)

    answer = hub.http.get("/bns/zonefile/carol.btc/raw")

    assert (answer.status_code, answer.json()) == (status, {"error": error})


# --- making names --------------------------------------------------------------------


def test_names_can_be_made_over_http(hub: RunningHub) -> None:
    """For other processes: a PUT makes a name or changes its owner, a DELETE ends it."""
    for owner in (NOBODY, OWNER):
        body = {"address": owner, "zonefile": "$ORIGIN dave.id"}
        assert hub.http.put("/dev/names/dave.id", json=body).status_code == 204
        assert hub.http.get("/v1/names/dave.id").json()["address"] == owner

    assert hub.http.delete("/dev/names/dave.id").status_code == 204
    assert hub.http.get("/v1/names/dave.id").status_code == 404
    assert hub.http.delete("/dev/names/dave.id").status_code == 204


GOOD = {"address": NOBODY, "zonefile": ""}


@pytest.mark.parametrize(
    ("name", "body", "status"),
    [
        ("Dave.id", GOOD, 400),
        ("dave", GOOD, 400),
        ("did:web:example.org", GOOD, 400),
        ("dave.id", {"address": NOBODY}, 400),
        ("dave.id", GOOD | {"address": "1Abc"}, 400),
        ("dave.id", GOOD | {"zonefile": 5}, 400),
        ("dave.id", [], 400),
        ("dave.id", GOOD | {"zonefile": "x" * 65536}, 413),
    ],
    ids=range(8),
)
def test_names_are_looked_at_before_they_are_made(
    hub: RunningHub, name: str, body: Any, status: int
) -> None:
    """A name has one of two forms, an owner with an address, and a zone file."""
    assert hub.http.put(f"/dev/names/{name}", json=body).status_code == status


def test_only_keys_of_buckets_are_registered(hub: RunningHub) -> None:
    """An Ed25519 key has no address, so it can own neither a name nor a bucket."""
    other = PrivateKey.generate(Algorithm.EdDSA)

    with pytest.raises(BadRequest, match="secp256k1"):
        hub.hub.register("erin.id", ALICE, {APP: other})
    with pytest.raises(BadRequest, match="secp256k1"):
        hub.hub.register("erin.id", other, {})
    assert hub.http.get("/v1/names/erin.id").status_code == 404


def test_a_directory_keeps_names(tmp_path: Path) -> None:
    """After a restart they are as they were, and forgotten ones stay forgotten."""
    with running_devhub(tmp_path) as first:
        first.hub.register("alice.id", ALICE, {})
        first.hub.register("bob.id", ALICE, {})
        first.hub.forget("bob.id")
        told = first.http.get("/v1/names/alice.id").json()
    with running_devhub(tmp_path) as second:
        assert second.http.get("/v1/names/alice.id").json() == told
        assert second.http.get("/v1/names/bob.id").status_code == 404

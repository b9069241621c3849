"""What leads from a name to its owner: profiles, zone files, contact documents."""

import json
import time
from typing import Any

import pytest

from pushd.client import PrivateKey
from pushd.errors import Unproven
from pushd.identity.addresses import stacks_address
from pushd.identity.contact import make_contact, read_contact
from pushd.identity.keys import address, hash160
from pushd.identity.profiles import make_profile, read_profile
from pushd.identity.zonefiles import profile_url
from tests.e2e.npm.app import ORIGIN, Packages, Thrown

SERVERS = ["https://push.example", "matrix:u/alice:example.org"]


@pytest.fixture
def url(key: PrivateKey) -> str:
    """Return the read URL of Alice's bucket."""
    return f"https://gaia.example/hub/{address(key.public.raw)}/"


def test_a_profile_of_the_packages_is_read(
    packages: Packages, owner: PrivateKey, key: PrivateKey, url: str
) -> None:
    """It leads to the bucket and the key, by the signature of the name's owner alone."""
    meta = {"storage": url, "publicKey": key.public.raw.hex()}
    claim = {"@type": "Person", "apps": {ORIGIN: url}, "appsMeta": {ORIGIN: meta}}
    token = packages.call("signProfileToken", claim, owner.to_hex())
    file = json.dumps([packages.call("wrapProfileToken", token)]).encode()

    profile = read_profile(file, owner=hash160(owner.public.raw), now=time.time())

    assert url == profile.bucket(ORIGIN)
    assert {ORIGIN: key.public.raw.hex()} == profile.keys
    with pytest.raises(Unproven):
        read_profile(file, owner=hash160(key.public.raw), now=time.time())


def test_a_profile_made_here_is_verified_by_the_packages(
    packages: Packages, owner: PrivateKey, url: str
) -> None:
    """They find its apps, if they are told the owner's address in the form they know.

    blockstack.js compares with Bitcoin addresses only, @stacks/profile with Stacks
    addresses only, though they are two forms of one hash.
    """
    file = json.loads(make_profile(owner, {ORIGIN: url}, now=time.time()))
    token, raw = file[0]["token"], owner.public.raw

    profile = packages.call("extractProfile", token, packages.address(owner.public))

    assert profile["apps"] == {ORIGIN: url}
    forms = {address(raw), stacks_address(hash160(raw))}
    (other,) = forms - {packages.address(owner.public)}
    with pytest.raises(Thrown, match="does not match the verifying value"):
        packages.call("extractProfile", token, other)


def test_a_zone_file_of_the_packages_is_read(packages: Packages) -> None:
    """It says where the profile is."""
    url = "https://gaia.example/hub/1Address/profile.json"
    zone_file = packages.call("makeProfileZoneFile", "alice.id.blockstack", url)

    assert url == profile_url(zone_file)


def contact_of(packages: Packages, key: PrivateKey, **claims: Any) -> bytes:
    """Make a contact document as an app would: sign claims, write JSON."""
    alice = packages.sign_in(key)
    token = alice.call(
        "sign",
        {
            "iss": alice.did,
            "public_keys": [alice.public_key],
            "messagingServers": SERVERS,
            "app": ORIGIN,
            "iat": time.time(),
            **claims,
        },
    )
    document = {"publicKey": alice.public_key, "messagingServers": SERVERS, "token": token}
    return json.dumps({"version": 1, **document}).encode()


def test_a_contact_document_of_an_app_is_read(packages: Packages, key: PrivateKey) -> None:
    """`TokenSigner` and `JSON.stringify` are all it takes."""
    document = contact_of(packages, key)
    where = address(key.public.raw)

    contact = read_contact(document, address=where, app=ORIGIN, now=time.time())

    assert (key.public, tuple(SERVERS)) == (contact.key, contact.servers)


def test_a_contact_document_of_another_key_is_refused(
    packages: Packages, key: PrivateKey
) -> None:
    """Whoever can write into a bucket, but has not its key, moves nobody's mail."""
    document = contact_of(packages, PrivateKey.generate())
    where = address(key.public.raw)

    with pytest.raises(Unproven):
        read_contact(document, address=where, app=ORIGIN, now=time.time())


def test_a_contact_document_made_here_is_verified_by_the_packages(
    packages: Packages, key: PrivateKey
) -> None:
    """Its token is one for `TokenVerifier`, with the key it names."""
    document = json.loads(make_contact(key, servers=SERVERS, app=ORIGIN, now=time.time()))

    assert packages.call("verifyToken", document["token"], document["publicKey"])

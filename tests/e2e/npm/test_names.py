"""Names: what wallets and apps on the real packages publish, and what is found there."""

import json
import time

import pytest

from pushd.client import Bucket, PrivateKey
from pushd.identity.addresses import stacks_address
from pushd.identity.contact import PATH, make_contact
from pushd.identity.keys import address, hash160
from pushd.resolvers.base import Proof
from pushd.resolvers.directory import Directory
from tests.devhub import RunningHub
from tests.e2e.npm.app import ORIGIN, App, Packages

SERVERS = ["https://push.example", "matrix:u/alice:example.org"]
PUBLIC = {"encrypt": False, "contentType": "application/json"}


def names_of(devhub: RunningHub) -> str:
    """Return what the packages call a zone file lookup URL."""
    return f"{devhub.url}/v1/names"


async def test_the_packages_find_a_bucket_by_name(
    packages: Packages, devhub: RunningHub, bucket: Bucket, name: str
) -> None:
    """A name that was registered here leads them through profile to bucket."""
    url = await bucket.url()

    profile = packages.call("lookupProfile", name, names_of(devhub))

    assert profile["apps"] == {ORIGIN: url}
    found = packages.call("getUserAppFileUrl", "me.json", name, ORIGIN, names_of(devhub))
    assert found == f"{url}me.json"
    other = "https://another.example"
    assert not packages.call("getUserAppFileUrl", "x", name, other, names_of(devhub))


async def test_an_app_reads_a_file_by_name(
    packages: Packages, devhub: RunningHub, bucket: Bucket, name: str
) -> None:
    """Bob's app reads what lies in Alice's bucket, knowing no more than her name."""
    bob = packages.sign_in(PrivateKey.generate(), hub=devhub.url)
    await bucket.store("me.json", b'{"mood": "good"}', content_type="application/json")

    text = bob.call(
        "getFile",
        "me.json",
        decrypt=False,
        username=name,
        app=ORIGIN,
        zoneFileLookupURL=names_of(devhub),
    )

    assert json.loads(text) == {"mood": "good"}


@pytest.mark.parametrize("form", ["1...", "SP..."])
async def test_a_name_that_a_wallet_made_is_found(
    packages: Packages,
    devhub: RunningHub,
    directory: Directory,
    app: App,
    owner: PrivateKey,
    form: str,
) -> None:
    """A profile that the packages signed and stored, and their zone file, prove a name.

    It does not matter in which form the names API writes the owner's address.
    """
    wallet = packages.sign_in(owner, hub=devhub.url)
    where = f"{devhub.hub.read_url}{app.address}/"
    meta = {"storage": where, "publicKey": app.public_key}
    claim = {"@type": "Person", "apps": {ORIGIN: where}, "appsMeta": {ORIGIN: meta}}
    token = packages.call("signProfileToken", claim, owner.to_hex())
    profile = json.dumps([packages.call("wrapProfileToken", token)])
    url = wallet.call("putFile", "profile.json", profile, **PUBLIC)
    zone_file = packages.call("makeProfileZoneFile", "bob.id.blockstack", url)
    raw = owner.public.raw
    owner_address = address(raw) if form == "1..." else stacks_address(hash160(raw))
    devhub.hub.names.put("bob.id.blockstack", owner_address, zone_file)

    identity = await directory.identify("bob.id.blockstack", ORIGIN)

    assert (app.did, where) == (identity.did, identity.bucket)
    assert identity.key is not None
    assert app.public_key == identity.key.raw.hex()
    assert identity.proof is Proof.PROFILE


async def test_a_contact_document_of_an_app_is_found(
    directory: Directory, app: App, key: PrivateKey, name: str
) -> None:
    """An app signs and stores one; it tells key and servers."""
    app.call("publish", SERVERS)

    destination = await directory.reach(name, ORIGIN)

    assert (key.did, key.public) == (destination.did, destination.key)
    assert list(destination.servers) == SERVERS


@pytest.mark.parametrize(
    ("path", "form"),
    [
        ("key.json", '"{}"'),
        ("public_key.json", '{{"appPublicKey": "{}"}}'),
        ("public_key.txt", "{}"),
    ],
)
async def test_an_older_key_file_of_an_app_is_found(
    directory: Directory, app: App, key: PrivateKey, name: str, path: str, form: str
) -> None:
    """Apps that know nothing of messaging published their key; it tells no server."""
    app.call("putFile", path, form.format(app.public_key), encrypt=False)

    destination = await directory.reach(name, ORIGIN)

    assert (key.did, key.public) == (destination.did, destination.key)
    assert destination.servers == ()


async def test_an_app_reads_a_contact_document(
    packages: Packages, devhub: RunningHub, bucket: Bucket, key: PrivateKey, name: str
) -> None:
    """By name, with the packages alone, it finds out how to write to somebody."""
    bob = packages.sign_in(PrivateKey.generate(), names=devhub.url)
    document = make_contact(key, servers=SERVERS, app=ORIGIN, now=time.time())
    await bucket.store(PATH, document, content_type="application/json")

    assert bob.call("reach", name) == {
        "did": key.did,
        "publicKey": key.public.raw.hex(),
        "server": SERVERS[0],
    }

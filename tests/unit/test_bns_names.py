"""Names of BNS V2: what the owner's zone file tells, and when it is not believed."""

import json
from typing import Any

import pytest

from pushd.errors import ResolverUnavailable, Unproven
from pushd.identity.addresses import stacks_address
from pushd.identity.keys import Algorithm, PrivateKey, address, hash160
from pushd.resolvers.base import Identity, Proof
from pushd.resolvers.bns import BnsNames
from pushd.resolvers.fetch import FetchFailed
from tests.unit.places import NOW, Places

BOB = PrivateKey(Algorithm.ES256K, bytes([9] * 32))
EVE = PrivateKey(Algorithm.ES256K, bytes([6] * 32))
OWNER = stacks_address(hash160(bytes(33)))
NAME_URL = "https://bns.example/names/bob.btc"
ZONE_FILE_URL = "https://bns.example/zonefile/bob.btc/raw"
SERVERS = ("https://push.example", "matrix:u/bob:example.org")
BUCKET = f"https://gaia.example/hub/{address(BOB.public.raw)}"


def held(**members: Any) -> bytes:
    """Make what the API says of a name that is held."""
    data = {"owner": OWNER, "revoked": False, "is_valid": True, "renewal_height": "0"}
    return json.dumps({"status": "active", "data": data | members}).encode()


def meta(*pairs: tuple[str, Any]) -> list[dict[str, Any]]:
    """Make the member `meta` of a zone file."""
    return [{"name": name, "value": value} for name, value in pairs]


KEY = ("messaging-public-key", BOB.public.raw.hex())


def zone_file(*pairs: tuple[str, Any], owner: str = OWNER, text: bool = True) -> bytes:
    """Make what the API says of a zone file with such `meta`."""
    file: Any = {"owner": owner, "bio": "Bob", "addresses": [], "meta": meta(*pairs)}
    file = json.dumps(file) if text else file
    return json.dumps({"full_name": "bob.btc", "zonefile": file}).encode()


def places(
    name: bytes | FetchFailed | None = None, file: bytes | FetchFailed | None = None
) -> Places:
    """Make the two places Bob's name is told at."""
    return Places(
        {
            NAME_URL: held() if name is None else name,
            ZONE_FILE_URL: zone_file(KEY) if file is None else file,
        }
    )


async def identify(places: Places) -> Identity:
    """Find out who Bob is."""
    return await BnsNames("https://bns.example/", places).identify(
        "bob.btc", "https://app.example", now=NOW
    )


@pytest.mark.parametrize("text", [True, False])
async def test_key_servers_and_bucket(text: bool) -> None:
    """A zone file, as text or as JSON, tells key, servers in their order, and bucket."""
    pairs = [("x", "y"), *(("messaging-server", server) for server in SERVERS)]
    file = zone_file(*pairs, KEY, ("messaging-bucket", BUCKET), text=text)
    found = places(file=file)
    assert await identify(found) == Identity(
        did=BOB.did,
        proof=Proof.ZONE_FILE,
        key=BOB.public,
        bucket=f"{BUCKET}/",
        servers=SERVERS,
    )
    assert found.asked == [NAME_URL, ZONE_FILE_URL]


async def test_a_key_alone() -> None:
    """With a key alone the identity is known, and no server."""
    found = await identify(places())
    assert (found.did, found.bucket, found.servers) == (BOB.did, None, ())


@pytest.mark.parametrize(
    ("name", "file", "why"),
    [
        (held(revoked=True), None, "revoked"),
        (held(is_valid=False), None, "expired"),
        (None, zone_file(KEY, owner=stacks_address(bytes(20))), "not of the name's owner"),
        (None, zone_file(), "one messaging-public-key"),
        (None, zone_file(KEY, KEY), "one messaging-public-key"),
        (None, zone_file((KEY[0], "02")), "messaging-public-key"),
        (None, zone_file((KEY[0], 17)), "zone file"),
        (None, zone_file(KEY, ("messaging-bucket", "https://x.example/")), "bucket"),
        (
            None,
            zone_file(
                KEY, ("messaging-bucket", f"https://x.example/{address(EVE.public.raw)}")
            ),
            "not the hash of the key",
        ),
        (None, zone_file(KEY, *[("messaging-server", "https://x")] * 9), "more than 8"),
        (None, zone_file(KEY, ("messaging-server", "x" * 513)), "512"),
        (None, b'{"zonefile": null}', "zone file"),
        (None, b'{"zonefile": ""}', "not JSON"),
        (None, b'{"zonefile": "$ORIGIN bob.btc"}', "not JSON"),
        (None, b'{"zonefile": "[]"}', "zone file"),
    ],
)
async def test_what_proves_nothing(
    name: bytes | None, file: bytes | None, why: str
) -> None:
    """A name counts that is held, and whose owner's own zone file tells one key."""
    with pytest.raises(Unproven, match=why):
        await identify(places(name, file))


@pytest.mark.parametrize(("url", "why"), [(NAME_URL, "Nobody"), (ZONE_FILE_URL, "no zone")])
async def test_nothing_there(url: str, why: str) -> None:
    """A name nobody has, or that has no zone file, is nobody's."""
    found = places()
    del found.table[url]
    with pytest.raises(Unproven, match=why):
        await identify(found)


@pytest.mark.parametrize("url", [NAME_URL, ZONE_FILE_URL])
@pytest.mark.parametrize(
    "answer",
    [
        pytest.param(FetchFailed("redirect"), id="a redirect"),
        pytest.param(FetchFailed("type"), id="another media type"),
        pytest.param(b" " * 10_000_000, id="10 MB"),
        pytest.param(b"", id="no bytes"),
        pytest.param(b"<html></html>", id="HTML"),
        pytest.param(b"{}", id="without members"),
        pytest.param(b'{"data": {"owner": 17}}', id="members of other types"),
    ],
)
async def test_an_api_out_of_order(url: str, answer: bytes | FetchFailed) -> None:
    """What the API should not say tells nothing of the name; try again later."""
    found = places()
    found.table[url] = answer
    with pytest.raises(ResolverUnavailable):
        await identify(found)

"""Names of the operator's own file, and bucket URLs: names that need nobody's answer."""

import json
from pathlib import Path
from typing import Any

import pytest

from pushd.errors import ConfigurationError, Unproven
from pushd.identity.keys import Algorithm, PrivateKey, address
from pushd.resolvers.base import Identity, Proof
from pushd.resolvers.bucket import BucketNames
from pushd.resolvers.static import StaticNames
from tests.unit.places import NOW

BOB = PrivateKey(Algorithm.ES256K, bytes([9] * 32))
EVE = PrivateKey(Algorithm.ES256K, bytes([6] * 32))
APP = "https://app.example"
KEY = BOB.public.raw.hex()
BUCKET = f"https://gaia.example/hub/{address(BOB.public.raw)}"


def names(path: Path, content: Any) -> StaticNames:
    """Read a file with this content."""
    file = path / "names.json"
    file.write_bytes(
        content if isinstance(content, bytes) else json.dumps(content).encode()
    )
    return StaticNames(file)


async def test_a_listed_name(tmp_path: Path) -> None:
    """What the file lists is who the name is, for its app, or for any."""
    bob = {
        "app": APP,
        "publicKey": KEY,
        "bucket": BUCKET,
        "messagingServers": ["https://push.example"],
    }
    static = names(tmp_path, {"bob.id.blockstack": bob, "eve.btc": {"publicKey": KEY}})
    assert "bob.id.blockstack" in static
    assert "nobody.btc" not in static
    assert await static.identify("bob.id.blockstack", APP, now=NOW) == Identity(
        did=BOB.did,
        proof=Proof.FILE,
        key=BOB.public,
        bucket=f"{BUCKET}/",
        servers=("https://push.example",),
    )
    anywhere = await static.identify("eve.btc", "https://other.example", now=NOW)
    assert (anywhere.did, anywhere.servers) == (BOB.did, ())


@pytest.mark.parametrize(
    ("name", "app", "why"),
    [
        ("nobody.btc", APP, "does not list"),
        ("bob.btc", "https://other.example", "another app"),
        ("bob.btc", f"{APP}/", "another app"),
    ],
)
async def test_a_name_that_is_not_listed(
    name: str, app: str, why: str, tmp_path: Path
) -> None:
    """Another name, or the name in another app, is nobody's."""
    static = names(tmp_path, {"bob.btc": {"publicKey": KEY, "app": APP}})
    with pytest.raises(Unproven, match=why):
        await static.identify(name, app, now=NOW)


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"{",
        b"\xff",
        b"[" * 60_000,
        [],
        {"bob.btc": KEY},
        {"bob.btc": {}},
        {"bob.btc": {"publicKey": "02"}},
        {"bob.btc": {"publicKey": KEY, "server": "https://push.example"}},
        {"bob.btc": {"publicKey": KEY, "app": f"{APP}/"}},
        {"bob.btc": {"publicKey": KEY, "bucket": "https://gaia.example/"}},
        {
            "bob.btc": {
                "publicKey": KEY,
                "bucket": f"https://gaia.example/{address(EVE.public.raw)}",
            }
        },
        {"bob.btc": {"publicKey": KEY, "messagingServers": ["https://x"] * 9}},
        {"Bob.btc": {"publicKey": KEY}},
        {"böb.btc": {"publicKey": KEY}},
        {"bob": {"publicKey": KEY}},
    ],
)
def test_a_file_that_is_wrong(content: Any, tmp_path: Path) -> None:
    """A file that is not as it should be is told of at the start, by its name."""
    with pytest.raises(ConfigurationError, match=r"names\.json"):
        names(tmp_path, content)


def test_a_file_that_is_not_there(tmp_path: Path) -> None:
    """A missing file is told of at the start."""
    with pytest.raises(ConfigurationError, match="cannot be read"):
        StaticNames(tmp_path / "names.json")


@pytest.mark.parametrize("slash", ["", "/"])
async def test_a_bucket_is_its_address(slash: str) -> None:
    """The identity of a bucket's URL is in the URL; nobody is asked."""
    assert await BucketNames().identify(BUCKET + slash, APP, now=NOW) == Identity(
        did=BOB.did, proof=Proof.BUCKET, bucket=f"{BUCKET}/"
    )

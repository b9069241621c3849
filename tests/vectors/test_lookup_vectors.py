"""Replays lookups.json: who a name is, by what a DID document or a zone file tells."""

import pytest

from pushd.errors import Unproven
from pushd.resolvers.base import Identity
from pushd.resolvers.bns import BnsNames
from pushd.resolvers.web import WebNames
from tests.unit.places import NOW, Places
from tests.vectors.files import Json, cases, load

FILE = "lookups.json"


async def identify(case: Json) -> Identity:
    """Find out who the name of a case is."""
    name = case["name"]
    places = Places({url: text.encode() for url, text in case["files"].items()})
    bns = BnsNames(load(FILE)["bns_api"], places)
    source = WebNames(places) if name.startswith("did:web:") else bns
    return await source.identify(name, "https://app.example", now=NOW)


@cases(FILE, "valid")
async def test_valid(case: Json) -> None:
    """The files tell key, bucket and servers."""
    found = await identify(case)
    assert found.key is not None
    assert case["identity"] == {
        "did": found.did,
        "publicKey": found.key.raw.hex(),
        "bucket": found.bucket,
        "servers": list(found.servers),
    }


@cases(FILE, "invalid")
async def test_invalid(case: Json) -> None:
    """The files prove nothing."""
    with pytest.raises(Unproven):
        await identify(case)

"""The directory against a Gaia hub and names APIs on a real port."""

from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager

import pytest

from pushd.errors import ResolverUnavailable, Unproven
from pushd.identity.contact import PATH, make_contact
from pushd.identity.keys import Algorithm, PrivateKey, address
from pushd.resolvers.base import Proof
from pushd.resolvers.compose import make_directory
from pushd.resolvers.directory import Directory
from pushd.resolvers.fetch import Fetcher
from tests.devhub import RunningHub, running_devhub
from tests.unit.places import NOW, Clock

OWNER = PrivateKey(Algorithm.ES256K, bytes([5] * 32))
BOB = PrivateKey(Algorithm.ES256K, bytes([9] * 32))
NAME = "bob.id.blockstack"
APP = "https://app.example"
SERVERS = ("https://push.example",)


@pytest.fixture
def clock() -> Clock:
    """Let time stand until it is set."""
    return Clock()


@pytest.fixture
def hub(clock: Clock) -> Iterator[RunningHub]:
    """Run a hub on which Bob has a name and a bucket."""
    with running_devhub(clock=clock) as hub:
        hub.hub.register(NAME, OWNER, {APP: BOB}, publish_keys=False)
        yield hub


def publish(hub: RunningHub, path: str, content: bytes) -> None:
    """Put a file into Bob's bucket."""
    hub.hub.storage.write(address(BOB.public.raw), path, content, "application/json")


@asynccontextmanager
async def looking(hub: RunningHub, clock: Clock) -> AsyncIterator[Directory]:
    """Make a directory that looks at the hub."""
    async with Fetcher(dev_hosts=[hub.host_port]) as fetcher:
        yield make_directory(
            fetcher=fetcher,
            names_api=hub.url,
            bns_api=hub.bns_url,
            names_file=None,
            clock=clock,
        )


async def test_a_name_leads_to_key_and_servers(hub: RunningHub, clock: Clock) -> None:
    """A name, and the URL of its bucket, lead to what its contact document says."""
    publish(hub, PATH, make_contact(BOB, servers=SERVERS, app=APP, now=NOW))
    async with looking(hub, clock) as directory:
        for name, proof in ((NAME, Proof.PROFILE), (hub.hub.bucket_url(BOB), Proof.BUCKET)):
            found = await directory.reach(name, APP)
            assert (found.did, found.key, found.servers, found.proof) == (
                BOB.did,
                BOB.public,
                SERVERS,
                proof,
            )
        with pytest.raises(Unproven, match="app"):
            await directory.reach(NAME, "https://other.example")
        with pytest.raises(Unproven, match="Nobody"):
            await directory.reach("nobody.id.blockstack", APP)


async def test_a_key_as_it_was_published_once(hub: RunningHub, clock: Clock) -> None:
    """Without a contact document the key is found in the file older apps wrote."""
    publish(hub, "public_key.txt", BOB.public.raw.hex().encode())
    async with looking(hub, clock) as directory:
        found = await directory.reach(NAME, APP)
        assert (found.key, found.servers) == (BOB.public, ())


async def test_a_name_of_bns(hub: RunningHub, clock: Clock) -> None:
    """The zone file of a .btc name leads to key and server."""
    hub.hub.register_bns("bob.btc", OWNER, BOB, SERVERS)
    async with looking(hub, clock) as directory:
        found = await directory.reach("bob.btc", APP)
        assert (found.did, found.key, found.servers) == (BOB.did, BOB.public, SERVERS)
        with pytest.raises(Unproven, match="Nobody"):
            await directory.reach("nobody.btc", APP)


async def test_an_outage(hub: RunningHub, clock: Clock) -> None:
    """What is known outlives an outage for an hour; what is not, is unavailable."""
    publish(hub, PATH, make_contact(BOB, servers=SERVERS, app=APP, now=NOW))
    async with looking(hub, clock) as directory:
        before = await directory.reach(NAME, APP)
        hub.stop()
        clock.now += 3599
        assert await directory.reach(NAME, APP) == before
        with pytest.raises(ResolverUnavailable):
            await directory.reach("alice.id.blockstack", APP)
        clock.now += 1
        with pytest.raises(ResolverUnavailable):
            await directory.reach(NAME, APP)
        hub.start()
        clock.now += 5
        assert await directory.reach(NAME, APP) == before


async def test_a_host_that_is_not_for_development(hub: RunningHub, clock: Clock) -> None:
    """A bucket in a private network is not looked at unless the operator lists it."""
    async with Fetcher() as fetcher:
        directory = make_directory(
            fetcher=fetcher, names_api=None, bns_api=None, names_file=None, clock=clock
        )
        with pytest.raises(ResolverUnavailable):
            await directory.reach(hub.hub.bucket_url(BOB), APP)

"""The directory: from a name to where to write, what is remembered, what is refused."""

import asyncio
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any, cast

import pytest

from pushd.errors import BadRequest, ResolverUnavailable, Unproven
from pushd.identity.addresses import stacks_address
from pushd.identity.contact import PATH, make_contact
from pushd.identity.keys import Algorithm, PrivateKey, address, hash160
from pushd.identity.profiles import make_profile
from pushd.identity.published import PATHS
from pushd.identity.zonefiles import make_zone_file
from pushd.resolvers.base import Destination, Identity, Proof
from pushd.resolvers.compose import make_directory
from pushd.resolvers.directory import Directory
from pushd.resolvers.fetch import FetchFailed
from tests.unit.places import NOW, Clock, Places

OWNER = PrivateKey(Algorithm.ES256K, bytes([5] * 32))
BOB = PrivateKey(Algorithm.ES256K, bytes([9] * 32))
EVE = PrivateKey(Algorithm.ES256K, bytes([6] * 32))
NAME = "bob.id.blockstack"
APP = "https://app.example"
SERVERS = ("https://push.example", "matrix:u/bob:example.org")
API = f"https://names.example/v1/names/{NAME}"
PROFILE = "https://gaia.example/hub/profile.json"
BUCKET = f"https://gaia.example/hub/{address(BOB.public.raw)}/"
CONTACT = BUCKET + PATH
DOWN = FetchFailed("connect")


class World:
    """Bob's name, profile, bucket and contact document, and a directory that looks."""

    def __init__(self, names_file: Path | None = None) -> None:
        self.clock = Clock()
        self.places = Places(
            {
                API: json.dumps(
                    {
                        "address": stacks_address(hash160(OWNER.public.raw)),
                        "status": "registered",
                        "zonefile": make_zone_file(NAME, PROFILE),
                    }
                ).encode(),
                PROFILE: profile(),
                CONTACT: contact(),
            }
        )
        self.directory = make_directory(
            fetcher=self.places,
            names_api="https://names.example",
            bns_api="https://bns.example",
            names_file=names_file,
            clock=self.clock,
        )

    @property
    def table(self) -> dict[str, bytes | FetchFailed]:
        """What lies where."""
        return self.places.table

    async def identify(self, name: str = NAME, app: str = APP) -> Identity:
        """Find out who a name is."""
        return await self.directory.identify(name, app)

    async def reach(self, name: str = NAME, app: str = APP) -> Destination:
        """Find out how to write to a name."""
        return await self.directory.reach(name, app)

    def asked(self) -> list[str]:
        """Return what was asked since the last time."""
        asked, self.places.asked = self.places.asked, []
        return asked


def profile(*, at: float = -60, key: PrivateKey = OWNER, **options: Any) -> bytes:
    """Make Bob's profile, signed that long after the start."""
    return make_profile(key, {APP: BUCKET}, **{"now": NOW + at, **options})


def contact(
    *,
    at: float = -60,
    key: PrivateKey = BOB,
    servers: Sequence[str] = SERVERS,
    app: str = APP,
    lifetime: float | None = None,
) -> bytes:
    """Make Bob's contact document, signed that long after the start."""
    return make_contact(key, servers=servers, app=app, now=NOW + at, lifetime=lifetime)


def destination(
    *,
    servers: tuple[str, ...] = SERVERS,
    key: PrivateKey | None = BOB,
    proof: Proof = Proof.PROFILE,
) -> Destination:
    """Make what Bob's name should lead to."""
    public = None if key is None else key.public
    return Destination(did=BOB.did, key=public, servers=servers, proof=proof)


# --- the way there -------------------------------------------------------------------


async def test_from_name_to_destination() -> None:
    """A name leads to key and servers in three fetches, and then in none."""
    world = World()
    assert await world.reach() == destination()
    assert world.asked() == [API, PROFILE, CONTACT]
    assert await world.reach() == destination()
    assert (await world.identify()).did == BOB.did
    assert world.asked() == []


async def test_a_bucket_is_a_name() -> None:
    """A bucket's URL leads to its contact document, with a slash or without."""
    world = World()
    for name in (BUCKET, BUCKET.rstrip("/")):
        assert await world.reach(name) == destination(proof=Proof.BUCKET)
    assert world.asked() == [CONTACT]


async def test_a_source_that_tells_all() -> None:
    """With key and servers from the source, no bucket is asked."""
    world = World()
    url = "https://example.org/.well-known/did.json"
    document = {
        "id": "did:web:example.org",
        "verificationMethod": [
            {"id": "#k", "publicKeyMultibase": BOB.public.did_key.removeprefix("did:key:")}
        ],
        "service": [
            {"type": "MessagingServer", "serviceEndpoint": "https://push.example"},
            {"type": "GaiaBucket", "serviceEndpoint": BUCKET},
        ],
    }
    world.table[url] = json.dumps(document).encode()
    expected = destination(servers=("https://push.example",), proof=Proof.DID_DOCUMENT)
    assert await world.reach("did:web:example.org") == expected
    assert world.asked() == [url]

    world = World()
    document["service"] = document["service"][1:]
    world.table[url] = json.dumps(document).encode()
    assert await world.reach("did:web:example.org") == destination(proof=Proof.DID_DOCUMENT)
    assert world.asked() == [url, CONTACT]


async def test_a_source_that_tells_a_key_alone() -> None:
    """A key without bucket and servers can be written for, and not be reached."""
    world = World()
    owner = stacks_address(hash160(OWNER.public.raw))
    zone_file = {
        "owner": owner,
        "meta": [{"name": "messaging-public-key", "value": BOB.public.raw.hex()}],
    }
    for path, answer in {
        "names/bob.btc": {"data": {"owner": owner, "revoked": False, "is_valid": True}},
        "zonefile/bob.btc/raw": {"zonefile": json.dumps(zone_file)},
    }.items():
        world.table[f"https://bns.example/{path}"] = json.dumps(answer).encode()
    assert await world.reach("bob.btc") == destination(servers=(), proof=Proof.ZONE_FILE)


async def test_names_of_the_file_come_first(tmp_path: Path) -> None:
    """What the operator's file lists, nobody else is asked for, not even for other apps."""
    file = tmp_path / "names.json"
    entry = {
        "publicKey": BOB.public.raw.hex(),
        "app": APP,
        "messagingServers": ["https://push.example"],
    }
    file.write_text(json.dumps({NAME: entry}))
    world = World(file)
    expected = destination(servers=("https://push.example",), proof=Proof.FILE)
    assert await world.reach() == expected
    with pytest.raises(Unproven, match="another app"):
        await world.reach(app="https://other.example")
    assert world.asked() == []
    assert (await world.identify(BUCKET)).proof is Proof.BUCKET


@pytest.mark.parametrize(("name", "form"), [(NAME, "Blockstack"), ("bob.btc", "BNS")])
async def test_a_form_nobody_knows(name: str, form: str) -> None:
    """Names of a form without a source are unproven."""
    directory = make_directory(
        fetcher=Places(), names_api=None, bns_api=None, names_file=None
    )
    with pytest.raises(Unproven, match=form):
        await directory.identify(name, APP)


@pytest.mark.parametrize(
    "name",
    [
        "",
        "bob",
        "Bob.id",
        "böb.id",
        "b%C3%B6b.id",
        "bob.id/../eve.id",
        "bob.id.blockstack.",
        "a" * 257,
        f"{'a' * 64}.id",
        f"https://gaia.example/{'a' * 250}/{address(BOB.public.raw)}/",
        f"https://gaia.example/hub/{stacks_address(hash160(BOB.public.raw))}/",
        f"https://GAIA.example/hub/{address(BOB.public.raw)}/",
        f"https://user@gaia.example/hub/{address(BOB.public.raw)}/",
        BOB.did,
        "did:web:Example.org",
    ],
)
async def test_what_is_no_name(name: str) -> None:
    """What is no name in its canonical spelling is refused, and nobody is asked."""
    world = World()
    assert world.directory.known(name, APP) is None
    for find in (world.identify, world.reach):
        with pytest.raises(BadRequest):
            await find(name)
    assert world.asked() == []


@pytest.mark.parametrize("app", ["", f"{APP}/", "https://APP.example", "app.example"])
@pytest.mark.parametrize("name", [NAME, "bob.btc", "did:web:example.org", BUCKET])
async def test_what_is_no_app(name: str, app: str) -> None:
    """An app is a web origin, without a slash at the end; nobody is asked for others."""
    world = World()
    with pytest.raises(BadRequest, match="origin"):
        await world.identify(name, app)
    assert world.asked() == []


# --- keys as they were published once ------------------------------------------------


@pytest.mark.parametrize("path", PATHS)
async def test_older_places_of_the_key(path: str) -> None:
    """Without a contact document the key alone is found, and no further than needed."""
    world = World()
    del world.table[CONTACT]
    world.table[BUCKET + path] = json.dumps(BOB.public.raw.hex()).encode()
    assert await world.reach() == destination(servers=())
    assert world.asked() == [
        *(API, PROFILE, CONTACT),
        *(BUCKET + asked for asked in PATHS[: PATHS.index(path) + 1]),
    ]


async def test_no_key_anywhere() -> None:
    """Who published no key can be named, and not written to."""
    world = World()
    del world.table[CONTACT]
    world.table[BUCKET + PATHS[0]] = EVE.public.raw.hex().encode()
    world.table[BUCKET + PATHS[1]] = b"<html></html>"
    assert await world.reach() == destination(key=None, servers=())
    assert len(world.asked()) == 3 + len(PATHS)


async def test_the_key_of_the_profile() -> None:
    """A key in the profile is enough without a contact document; none is looked for."""
    world = World()
    del world.table[CONTACT]
    world.table[PROFILE] = profile(keys={APP: BOB.public.raw.hex()})
    assert await world.reach() == destination(servers=())
    assert world.asked() == [API, PROFILE, CONTACT]


async def test_a_bucket_that_answers_half() -> None:
    """A file that cannot be fetched may hold the key, unless another one does."""
    world = World()
    del world.table[CONTACT]
    world.table[BUCKET + PATHS[0]] = DOWN
    with pytest.raises(ResolverUnavailable):
        await world.reach()
    world.clock.now += 5
    world.table[BUCKET + PATHS[2]] = BOB.public.raw.hex().encode()
    assert await world.reach() == destination(servers=())


async def test_no_contact_document_is_believed_for_a_minute() -> None:
    """Who publishes a contact document is reached by it a minute later."""
    world = World()
    del world.table[CONTACT]
    assert (await world.reach()).servers == ()
    world.table[CONTACT] = contact()
    world.clock.now += 59
    assert (await world.reach()).servers == ()
    world.clock.now += 1
    assert (await world.reach()).servers == SERVERS


# --- contact documents that are not believed -----------------------------------------


@pytest.mark.parametrize(
    "document",
    [
        pytest.param(contact(key=EVE), id="signed by another key"),
        pytest.param(contact(app="https://other.example"), id="for another app"),
        pytest.param(contact(app="https://app.example:8443"), id="for another port"),
        pytest.param(contact(at=301), id="of the future"),
        pytest.param(contact(at=-60, lifetime=60), id="expired"),
        pytest.param(b"", id="empty"),
        pytest.param(b"<html></html>", id="HTML"),
    ],
)
async def test_contact_documents_that_prove_nothing(document: bytes) -> None:
    """A contact document has to be signed by the bucket's key, for this app and now."""
    world = World()
    world.table[CONTACT] = document
    for _ in range(2):
        with pytest.raises(Unproven):
            await world.reach()
    assert world.asked() == [API, PROFILE, CONTACT]
    assert (await world.identify()).did == BOB.did


async def test_a_hub_that_swaps_the_server() -> None:
    """The servers are those in the token, whatever the plain members say."""
    world = World()
    document = json.loads(contact())
    document["messagingServers"] = ["https://eve.example"]
    document["publicKey"] = EVE.public.raw.hex()
    world.table[CONTACT] = json.dumps(document).encode()
    assert await world.reach() == destination()

    header, claims, signature = document["token"].split(".")
    other = json.loads(contact(servers=["https://eve.example"]))["token"].split(".")[1]
    assert other != claims
    document["token"] = f"{header}.{other}.{signature}"
    world = World()
    world.table[CONTACT] = json.dumps(document).encode()
    with pytest.raises(Unproven, match="signature"):
        await world.reach()


async def test_a_hub_that_replays_an_older_document() -> None:
    """An older document is no news: the newer is used while it may be, then nothing."""
    world = World()
    await world.reach()
    world.table[CONTACT] = contact(at=-61, servers=["https://old.example"])
    world.clock.now += 600
    assert await world.reach() == destination()
    world.clock.now += 3000
    with pytest.raises(Unproven, match="older"):
        await world.reach()
    world.clock.now += 86_400
    with pytest.raises(Unproven, match="older"):
        await world.reach()
    world.table[CONTACT] = contact(at=0, servers=["https://new.example"])
    world.clock.now += 60
    assert (await world.reach()).servers == ("https://new.example",)


async def test_an_older_document_elsewhere() -> None:
    """An older document is refused wherever it lies: the signer is the same."""
    world = World()
    await world.reach()
    mirror = BUCKET.replace("gaia", "mirror")
    world.table[mirror + PATH] = contact(at=-61, servers=["https://old.example"])
    with pytest.raises(Unproven, match="older"):
        await world.reach(mirror)
    assert await world.reach() == destination()


async def test_a_bucket_of_eves_that_ends_in_bobs_address() -> None:
    """What Eve's host says of Bob counts for her URL alone."""
    world = World()
    hers = BUCKET.replace("gaia", "eve")
    assert await world.reach(hers) == destination(key=None, servers=(), proof=Proof.BUCKET)
    assert await world.reach() == destination()
    world.table[hers + PATH] = b"nothing of Bob's"
    world.clock.now += 60
    with pytest.raises(Unproven):
        await world.reach(hers)
    assert await world.reach() == destination()


async def test_a_contact_document_that_expires_in_memory() -> None:
    """A document is used until its own end, and no longer though the bucket is down."""
    world = World()
    world.table[CONTACT] = contact(lifetime=90)  # 30 s from now
    await world.reach()
    world.table[CONTACT] = contact(at=0, servers=["https://new.example"])
    world.clock.now += 29
    assert (await world.reach()).servers == SERVERS
    world.clock.now += 1
    assert (await world.reach()).servers == ("https://new.example",)

    world = World()
    world.table[CONTACT] = contact(lifetime=90)
    await world.reach()
    world.table[CONTACT] = DOWN
    world.clock.now += 30
    with pytest.raises(ResolverUnavailable):
        await world.reach()


# --- profiles that are not believed --------------------------------------------------


async def test_an_older_profile() -> None:
    """An older profile is no news: the newer is used while it may be, then nothing."""
    world = World()
    await world.identify()
    world.table[PROFILE] = profile(at=-61)
    world.clock.now += 600
    assert (await world.identify()).signed_at == NOW - 60
    world.clock.now += 3000
    with pytest.raises(Unproven, match="older"):
        await world.identify()
    world.table[PROFILE] = profile(at=-59)
    world.clock.now += 60
    assert (await world.identify()).signed_at == NOW - 59


async def test_an_older_profile_for_another_app() -> None:
    """What was seen of a profile for one app holds for all: it is one document."""
    world = World()
    other = "https://other.example"
    await world.identify()
    world.table[PROFILE] = make_profile(OWNER, {other: BUCKET}, now=NOW - 61)
    with pytest.raises(Unproven, match="older"):
        await world.identify(app=other)


async def test_a_new_owner_s_profile_may_be_older() -> None:
    """A name that was handed over leads to who has it, who may have signed long before."""
    world, heir = World(), PrivateKey.generate()
    await world.identify()
    record = json.loads(cast(bytes, world.table[API]))
    record["address"] = stacks_address(hash160(heir.public.raw))
    world.table[API] = json.dumps(record).encode()
    world.table[PROFILE] = profile(at=-5000, key=heir)
    world.clock.now += 600
    assert (await world.identify()).signed_at == NOW - 5000


async def test_names_share_no_dates() -> None:
    """How new a proof of one name is means nothing for another name."""
    world = World()
    await world.identify()
    other = "eve.id.blockstack"
    world.table[API.replace(NAME, other)] = world.table[API]
    world.table[PROFILE] = profile(at=-61)
    assert (await world.identify(other)).signed_at == NOW - 61


@pytest.mark.parametrize(
    ("url", "text"),
    [
        pytest.param(API, None, id="nobody has the name any more"),
        pytest.param(PROFILE, None, id="no profile any more"),
        pytest.param(PROFILE, profile(key=EVE), id="signed by another key"),
        pytest.param(PROFILE, profile(at=901), id="of the future"),
        pytest.param(PROFILE, profile(at=-60, lifetime=60), id="expired"),
        pytest.param(CONTACT, contact(key=EVE), id="a contact document of another key"),
    ],
)
async def test_a_change_that_was_seen_is_final(url: str, text: bytes | None) -> None:
    """What stops to prove ends the belief, also if it cannot be looked at from then on."""
    world = World()
    await world.reach()
    del world.table[url]
    if text is not None:
        world.table[url] = text
    world.clock.now += 600
    with pytest.raises(Unproven):
        await world.reach()
    world.table[url] = DOWN
    world.clock.now += 60
    with pytest.raises(ResolverUnavailable):
        await world.reach()


# --- memory --------------------------------------------------------------------------


async def test_known_is_memory_alone() -> None:
    """`known` tells what is remembered and fresh, asks nobody, and None else."""
    world = World()
    assert world.directory.known(NAME, APP) is None
    identity = await world.identify()
    world.asked()
    assert world.directory.known(NAME, APP) is identity
    assert world.directory.known(NAME, "https://other.example") is None
    world.clock.now += 600
    assert world.directory.known(NAME, APP) is None
    assert world.asked() == []
    with pytest.raises(Unproven):
        await world.identify("nobody.id")
    with pytest.raises(Unproven):
        world.directory.known("nobody.id", APP)


async def test_many_at_once_ask_once() -> None:
    """A hundred who want to reach a name at the same time cause three fetches."""
    world = World()
    found = await asyncio.gather(*(world.reach() for _ in range(100)))
    assert found == [destination()] * 100
    assert world.asked() == [API, PROFILE, CONTACT]


@pytest.mark.parametrize("url", [API, PROFILE, CONTACT])
async def test_places_that_are_down(url: str) -> None:
    """What was known is used for an hour while a place is down; others get a 503."""
    world = World()
    await world.reach()
    world.table[url] = DOWN
    world.clock.now += 600
    assert await world.reach() == destination()
    world.clock.now += 2999
    assert await world.reach() == destination()
    world.clock.now += 1
    with pytest.raises(ResolverUnavailable):
        await world.reach()


async def test_a_place_that_is_down_is_not_hammered() -> None:
    """A place that does not answer is asked once in five seconds, however many want to."""
    world = World()
    world.table[API] = DOWN
    for _ in range(20):
        with pytest.raises(ResolverUnavailable):
            await world.reach()
    assert world.asked() == [API]
    world.clock.now += 5
    with pytest.raises(ResolverUnavailable):
        await world.reach()
    assert world.asked() == [API]


async def test_forgetting() -> None:
    """A name that is forgotten is asked for anew, contact document and all, after 10 s."""
    world = World()
    world.directory.forget(NAME, APP)
    await world.reach()
    world.asked()
    world.table[CONTACT] = contact(at=0, servers=["https://new.example"])
    world.directory.forget(NAME, APP)
    assert (await world.reach()).servers == SERVERS
    world.clock.now += 10
    assert (await world.reach()).servers == ("https://new.example",)
    assert world.asked() == [API, PROFILE, CONTACT]


async def test_a_crowd_of_names() -> None:
    """10,000 names asked for once cost no name in use its place."""
    world = World()
    for _ in range(2):
        await world.reach()
    world.asked()
    for number in range(10_000):
        with pytest.raises(Unproven):
            await world.identify(f"nobody-{number}.id")
        await world.identify(BUCKET.replace("gaia", f"gaia{number}"))
    assert len(world.asked()) == 10_000
    assert remembered(world.directory) <= 10_000
    assert await world.reach() == destination()
    assert world.asked() == []


def remembered(directory: Directory) -> int:
    """Count the identities a directory remembers."""
    return len(directory._identities)

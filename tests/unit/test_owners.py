"""Owners: for whom a mailbox is opened, under each policy."""

import pytest

from pushd.errors import RateLimited, ResolverUnavailable
from pushd.identity.keys import PrivateKey
from pushd.identity.tokens import Token
from pushd.owners import Openings, Owners
from tests.unit.fake_directory import SERVER, FakeDirectory, names_of, token_of

BOB = PrivateKey.generate().did
EVE = PrivateKey.generate().did
NAME = "bob.id.blockstack"


def token(name: str | None = NAME, did: str = BOB) -> Token:
    """Return a token as if verified."""
    return token_of(did, name)


def directory(*servers: str) -> FakeDirectory:
    """Return a directory in which Bob lists these servers."""
    directory = FakeDirectory()
    directory.know(NAME, BOB)
    directory.servers[BOB] = servers
    return directory


@pytest.mark.parametrize(
    ("openings", "listed", "did", "name", "servers", "allowed"),
    [
        ("open", (), BOB, None, (), True),
        ("listed", (BOB,), BOB, None, (), True),
        ("listed", (EVE,), BOB, NAME, (SERVER,), False),
        ("declared", (), BOB, NAME, (SERVER,), True),
        ("declared", (), BOB, NAME, ("https://else.example", SERVER), True),
        ("declared", (), BOB, NAME, ("https://else.example",), False),
        ("declared", (), BOB, NAME, (), False),
        ("declared", (), BOB, None, (SERVER,), False),
        ("declared", (), EVE, NAME, (SERVER,), False),
    ],
    ids=[
        *("open", "listed", "not listed", "declared", "second", "elsewhere", "nowhere"),
        *("no name", "another's name"),
    ],
)
async def test_who_may_open(
    openings: Openings,
    listed: tuple[str, ...],
    did: str,
    name: str | None,
    servers: tuple[str, ...],
    allowed: bool,
) -> None:
    """Everyone, or who is listed, or whose documents name this server."""
    owners = Owners(openings, listed, names_of(directory(*servers)))

    assert await owners.may_open(token(name, did)) is allowed


def test_who_is_welcome_needs_no_documents() -> None:
    """Nothing is looked up where the policy does not ask for it."""
    some = directory(SERVER)
    names = names_of(some)

    assert Owners("open", (), names).welcome(BOB)
    assert Owners("listed", (BOB,), names).welcome(BOB)
    assert not Owners("listed", (BOB,), names).welcome(EVE)
    assert not Owners("declared", (), names).welcome(BOB)
    assert some.asked == []


async def test_a_source_that_is_down_opens_nothing() -> None:
    """Nor does it say that there is nothing to open."""
    some = directory(SERVER)
    some.down = True
    with pytest.raises(ResolverUnavailable):
        await Owners("declared", (), names_of(some)).may_open(token())


async def test_coming_again_and_again_is_limited() -> None:
    """An owner whose documents name another server cannot have them read for ever."""
    some = directory("https://else.example")
    owners = Owners("declared", (), names_of(some, lookups=3))
    for _ in range(3):
        assert not await owners.may_open(token())
    with pytest.raises(RateLimited):
        await owners.may_open(token())

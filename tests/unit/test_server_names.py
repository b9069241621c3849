"""Names at a server: proven or refused, found or unknown, and how often anybody asks."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pushd.bounds import Bound
from pushd.errors import (
    BadRequest,
    NameMismatch,
    Overloaded,
    RateLimited,
    ResolverUnavailable,
    UnknownMailbox,
)
from pushd.identity.keys import PrivateKey
from pushd.identity.tokens import Token
from pushd.metrics import Metrics
from tests.unit.fake_directory import APP, SERVER, FakeDirectory, names_of, token_of

ALICE = PrivateKey.generate().did
BOB = PrivateKey.generate().did
NAME = "alice.id.blockstack"


def token(name: str | None = NAME, did: str = ALICE) -> Token:
    """Return a token as if verified."""
    return token_of(did, name)


@pytest.fixture
def directory() -> FakeDirectory:
    """Return a directory that knows Alice."""
    directory = FakeDirectory()
    directory.know(NAME, ALICE)
    return directory


def test_a_token_without_a_name_needs_no_proof(directory: FakeDirectory) -> None:
    """Most tokens claim none, and cost nothing."""
    assert names_of(directory).proven(token(None))
    assert directory.asked == []


async def test_a_name_is_proven_once_and_then_known(directory: FakeDirectory) -> None:
    """The first token asks, those after it find the answer in memory."""
    names = names_of(directory)

    assert not names.proven(token())
    await names.prove(token())
    assert names.proven(token())
    await names.prove(token())
    assert directory.asked == [NAME]


async def test_the_name_of_another_is_refused(directory: FakeDirectory) -> None:
    """Before the answer is in memory and after."""
    names = names_of(directory)
    for _ in range(2):
        with pytest.raises(NameMismatch):
            await names.prove(token(did=BOB))
    with pytest.raises(NameMismatch):
        names.proven(token(did=BOB))


@pytest.mark.parametrize(
    "name",
    [
        *("nobody.id.blockstack", "Alice.id.blockstack", "älice.id", "x" * 300, ""),
        pytest.param(BOB, id="a DID"),
    ],
)
async def test_what_is_nobodys_name_is_refused(directory: FakeDirectory, name: str) -> None:
    """Also what is no name at all."""
    with pytest.raises(NameMismatch):
        await names_of(directory).prove(token(name))


async def test_a_source_that_is_down_proves_nothing(directory: FakeDirectory) -> None:
    """A name is never believed because nobody could deny it."""
    directory.down = True
    with pytest.raises(ResolverUnavailable):
        await names_of(directory).prove(token())
    with pytest.raises(ResolverUnavailable):
        await names_of(directory).find(NAME, APP, asker=BOB)


async def test_a_recipient_is_found(directory: FakeDirectory) -> None:
    """By asking first, from memory then."""
    names = names_of(directory)

    assert names.mailbox(NAME, APP) is None
    assert await names.find(NAME, APP, asker=BOB) == ALICE
    assert names.mailbox(NAME, APP) == ALICE


async def test_a_recipient_who_is_nobody_is_unknown(directory: FakeDirectory) -> None:
    """And what is no name is a bad request."""
    names = names_of(directory)
    for _ in range(2):
        with pytest.raises(UnknownMailbox):
            await names.find("nobody.id", APP, asker=BOB)
    with pytest.raises(UnknownMailbox):
        names.mailbox("nobody.id", APP)
    with pytest.raises(BadRequest):
        await names.find("Nobody", APP, asker=BOB)


@pytest.mark.parametrize(
    ("servers", "here"),
    [
        ((SERVER,), True),
        (("https://else.example", f"{SERVER}/"), True),
        (("https://PUSH.example:443",), True),
        ((), False),
        (("https://else.example",), False),
        ((f"{SERVER}.evil.example", f"{SERVER}/path"), False),
        (("http://push.example",), False),
        (("matrix:u/bob:push.example", "nonsense"), False),
    ],
)
async def test_documents_declare_a_server(
    directory: FakeDirectory, servers: tuple[str, ...], here: bool
) -> None:
    """By its URL, in whatever spelling of the same."""
    directory.servers[ALICE] = servers
    assert await names_of(directory).declares(NAME, APP, ALICE, asker=BOB) is here


async def test_the_documents_of_another_declare_nothing(directory: FakeDirectory) -> None:
    """The name has to be that of the identity."""
    directory.servers[ALICE] = (SERVER,)
    names = names_of(directory)

    assert not await names.declares(NAME, APP, BOB, asker=BOB)
    assert not await names.declares("nobody.id", APP, BOB, asker=BOB)


async def test_one_key_cannot_have_the_world_looked_up(directory: FakeDirectory) -> None:
    """10,000 names made up by one key are 60 lookups, and its refusals say when to come."""
    metrics = Metrics()
    names = names_of(directory, lookups=60, metrics=metrics)
    waits = []
    for n in range(10_000):
        with pytest.raises((NameMismatch, RateLimited)) as refused:
            await names.prove(token(f"x{n}.id.blockstack"))
        waits.append(refused.value.retry_after)

    assert len(directory.asked) == 60
    assert waits == [None] * 60 + [1] * 9940
    assert 'pushd_lookups_total{outcome="limited"} 9940.0' in metrics.render().decode()


async def test_the_limit_is_on_lookups_not_on_names(directory: FakeDirectory) -> None:
    """What is in memory costs nothing, however often it is shown."""
    names = names_of(directory, lookups=1)
    await names.prove(token())
    for _ in range(100):
        await names.prove(token())
        assert await names.find(NAME, APP, asker=ALICE) == ALICE


async def test_every_way_to_ask_counts(directory: FakeDirectory) -> None:
    """Claiming, writing to and opening by a name are lookups alike."""
    names = names_of(directory, lookups=2)
    await names.prove(token())
    await names.declares(NAME, APP, ALICE, asker=ALICE)
    with pytest.raises(RateLimited):
        await names.declares(NAME, APP, ALICE, asker=ALICE)
    with pytest.raises(RateLimited):
        await names.find("x.id", APP, asker=ALICE)
    with pytest.raises(RateLimited):
        await names.prove(token("y.id"))
    with pytest.raises(UnknownMailbox):
        await names.find("x.id", APP, asker=BOB)


async def test_so_many_lookups_at_a_time(directory: FakeDirectory) -> None:
    """One more comes back later; each that is done, or fails, makes room."""
    under_way = Bound("lookups", 1)
    names = names_of(directory, under_way=under_way)
    for n in range(3):
        with pytest.raises(NameMismatch):
            await names.prove(token(f"x{n}.id.blockstack"))
    under_way.take()
    with pytest.raises(Overloaded):
        await names.prove(token())
    under_way.give()
    await names.prove(token())


@given(name=st.text(max_size=300), did=st.sampled_from([ALICE, BOB]))
async def test_no_text_is_ever_a_proven_name_by_itself(name: str, did: str) -> None:
    """Whatever a token claims, it is refused unless the directory says it is so."""
    names = names_of(FakeDirectory())
    with pytest.raises(NameMismatch):
        await names.prove(token(name or "x", did))

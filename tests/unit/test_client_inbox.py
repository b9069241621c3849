"""What it takes for a message to be shown, and what is never shown."""

import asyncio
from collections.abc import AsyncIterator, Callable
from typing import Any

import pytest

from pushd.client import (
    BucketUnreachable,
    CannotOpen,
    NoLetter,
    NotAccepted,
    NotYet,
    PrivateKey,
)
from pushd.client.handled import WAIT, Handled
from pushd.client.inbox import AGAIN, AGAIN_AT_MOST, Inbox
from pushd.client.listeners import Duplicate
from pushd.errors import ResolverUnavailable, Unproven
from tests.unit.client_fakes import (
    ALICE,
    APP,
    NOW,
    FakeDirectory,
    FakeFetcher,
    Post,
)

CAROL = "carol.id.blockstack"


class Case:
    """Bob's inbox, and a message of Alice that is well-formed until a test changes it."""

    def __init__(self, accept: Callable[[str], object] | None = None) -> None:
        self.alice, self.bob = PrivateKey.generate(), PrivateKey.generate()
        self.directory = FakeDirectory()
        self.directory.identities[ALICE] = self.alice.did
        self.fetcher = FakeFetcher()
        self.handled = Handled()
        self.now = 0.0
        self.post = Post(self.alice, self.bob)
        self.inbox = Inbox(
            self.bob,
            app=APP,
            directory=self.directory(),
            fetcher=self.fetcher(),
            handled=self.handled,
            accept=accept,
            clock=lambda: self.now,
        )

    async def opened(self) -> Any:
        """Put the letter where the envelope says, and open the message."""
        self.fetcher.files[self.post.url] = self.post.sealed()
        return await self.inbox.open(self.post.received())


@pytest.fixture
async def case() -> AsyncIterator[Case]:
    """Return a case."""
    case = Case()
    yield case
    await case.fetcher.http.aclose()


async def test_what_alice_wrote_is_what_bob_reads(case: Case) -> None:
    """With her name, which this client looked up itself."""
    message = await case.opened()
    assert (message.sender, message.name, message.app) == (case.alice.did, ALICE, APP)
    assert (message.id, message.at) == ("an-id", NOW)
    assert message.bucket == case.post.envelope["bucket"]
    assert (message.content, message.content_type) == ("Hello Bob", "text/plain")
    assert message.server == "https://push.example"
    message.ack()
    assert message.received.acked


# --- fakes ---------------------------------------------------------------------------


def by_another(post: Post) -> None:
    """Mallory signs what she writes in Alice's name."""
    post.signer = PrivateKey.generate()


def from_another(post: Post) -> None:
    """The envelope names another sender than the server verified."""
    post.sender = PrivateKey.generate().did


def into_another_bucket(post: Post) -> None:
    """The envelope leads to a bucket that is not the sender's."""
    address = PrivateKey.generate().did.rpartition(":")[2]
    post.envelope["bucket"] = f"https://gaia.example/hub/{address}/"


def of_another_app(post: Post) -> None:
    """Both parts belong to another app, and agree on that."""
    post.envelope["app"] = post.letter["app"] = "https://chat.example"


def letter_of_another_app(post: Post) -> None:
    """A letter of another app is put where the envelope leads."""
    post.letter["app"] = "https://chat.example"


def another_letter(post: Post) -> None:
    """Another letter of Alice's is put where the envelope leads."""
    post.letter["id"] = "another-id"


def proven_in_another_app(post: Post) -> None:
    """The server proved the name in one app, and the envelope tells another."""
    post.proven = {"name": ALICE}
    post.envelope["app"] = post.letter["app"] = "https://chat.example"


@pytest.mark.parametrize(
    "fake",
    [
        *(by_another, from_another, into_another_bucket, of_another_app),
        *(letter_of_another_app, another_letter, proven_in_another_app),
    ],
)
async def test_a_fake_is_not_shown(case: Case, fake: Callable[[Post], None]) -> None:
    """Whoever made it, and wherever on the way."""
    fake(case.post)
    with pytest.raises(CannotOpen):
        await case.opened()


async def test_a_message_to_another_is_not_shown(case: Case) -> None:
    """Not even who it is from."""
    received = case.post.received()
    received.payload = Post(case.alice, PrivateKey.generate()).received().payload
    with pytest.raises(CannotOpen):
        await case.inbox.open(received)
    assert case.fetcher.fetched == []


@pytest.mark.parametrize(
    "fake", [from_another, into_another_bucket, of_another_app, proven_in_another_app]
)
async def test_nothing_is_fetched_for_an_envelope_that_is_wrong(
    case: Case, fake: Callable[[Post], None]
) -> None:
    """A bucket learns nothing from whoever could not be who they say."""
    fake(case.post)
    with pytest.raises(CannotOpen):
        await case.opened()
    assert case.fetcher.fetched == []


# --- names ---------------------------------------------------------------------------


@pytest.mark.parametrize(
    "found",
    [
        "did:btc-addr:1BvBMSEYstWetqTFn5Au4m4GFg7xJaNVN2",
        Unproven("Nobody."),
        ResolverUnavailable("No answer."),
    ],
    ids=["another's", "nobody's", "no answer"],
)
async def test_a_name_that_is_not_proven_is_not_shown(case: Case, found: Any) -> None:
    """The message is; who wrote it is known by key, not by name."""
    case.directory.identities[ALICE] = found
    case.post.proven = {"name": ALICE}
    message = await case.opened()
    assert (message.name, message.content) == (None, "Hello Bob")


@pytest.mark.parametrize("name", ["no name\x1b[2J", "x" * 300])
async def test_what_is_no_name_is_not_shown(case: Case, name: str) -> None:
    """Nor does it keep the message from being shown."""
    case.post.envelope["name"] = name
    assert (await case.opened()).name is None


async def test_the_name_the_server_proved_is_looked_up_too(case: Case) -> None:
    """It comes first; a server is not believed about names either."""
    case.directory.identities[CAROL] = case.alice.did
    case.post.proven = {"name": CAROL}
    assert (await case.opened()).name == CAROL
    assert case.directory.asked == [CAROL]


async def test_the_name_of_the_envelope_is_enough(case: Case) -> None:
    """Where the server proved another that this client cannot prove."""
    case.post.proven = {"name": CAROL}
    assert (await case.opened()).name == ALICE
    assert case.directory.asked == [CAROL, ALICE]


async def test_who_claims_no_name_has_none(case: Case) -> None:
    """Nobody is asked."""
    del case.post.envelope["name"]
    del case.post.envelope["app"], case.post.letter["app"]
    message = await case.opened()
    assert (message.name, message.app) == (None, None)
    assert case.directory.asked == []


# --- whom to read --------------------------------------------------------------------


async def test_who_is_declined_learns_nothing() -> None:
    """The app is asked before anything is fetched, of buckets or of names."""
    asked: list[str] = []

    async def accept(sender: str) -> bool:
        asked.append(sender)
        return False

    case = Case(accept)
    with pytest.raises(NotAccepted):
        await case.opened()
    assert asked == [case.alice.did]
    assert case.fetcher.fetched == case.directory.asked == []
    await case.fetcher.http.aclose()


async def test_who_is_accepted_is_read() -> None:
    """A plain function will do."""
    case = Case(lambda sender: sender.startswith("did:btc-addr:"))
    assert (await case.opened()).content == "Hello Bob"
    await case.fetcher.http.aclose()


# --- buckets -------------------------------------------------------------------------


async def test_a_bucket_that_does_not_answer_is_asked_again(case: Case) -> None:
    """Later and later, to a quarter of an hour; meanwhile not for other messages either."""
    received = case.post.received()
    case.fetcher.files[case.post.url] = None
    pauses = []
    for _ in range(9):
        with pytest.raises(NotYet) as later:
            await case.inbox.open(received)
        assert isinstance(later.value.reason, BucketUnreachable)
        pauses.append(later.value.seconds)
        case.now += later.value.seconds
    assert pauses[:3] == [AGAIN, 2 * AGAIN, 4 * AGAIN]
    assert pauses[-1] == AGAIN_AT_MOST
    case.now -= 1
    with pytest.raises(NotYet) as later:
        await case.inbox.open(Post(case.alice, case.bob, "another").received())
    assert later.value.seconds == 1
    assert len(case.fetcher.fetched) == 9


async def test_failures_of_one_moment_count_once(case: Case) -> None:
    """Eight messages of a bucket are fetched at once; that is no reason to wait longer."""
    posts = [Post(case.alice, case.bob, f"id-{number}") for number in range(8)]
    case.fetcher.files = {post.url: None for post in posts}
    opening = (case.inbox.open(post.received()) for post in posts)
    for outcome in await asyncio.gather(*opening, return_exceptions=True):
        assert isinstance(outcome, NotYet)
        assert outcome.seconds == AGAIN


async def test_a_bucket_that_came_back_is_there_again(case: Case) -> None:
    """The message that was put off is opened, and a next failure begins anew."""
    received = case.post.received()
    case.fetcher.files[case.post.url] = None
    with pytest.raises(NotYet) as later:
        await case.inbox.open(received)
    case.now += later.value.seconds
    case.fetcher.files[case.post.url] = case.post.sealed()
    assert (await case.inbox.open(received)).content == "Hello Bob"
    case.fetcher.files.clear()
    post = Post(case.alice, case.bob, "another")
    case.fetcher.files[post.url] = None
    with pytest.raises(NotYet) as later:
        await case.inbox.open(post.received())
    assert later.value.seconds == AGAIN


async def test_a_letter_that_is_not_there_is_an_error(case: Case) -> None:
    """The bucket answers; there is nothing to wait for."""
    with pytest.raises(NoLetter):
        await case.inbox.open(case.post.received())


# --- once ----------------------------------------------------------------------------


async def test_what_was_handled_is_not_handled_again(case: Case) -> None:
    """Over whichever server the copy comes, and also after a restart."""
    message = await case.opened()
    assert case.handled.marks == []
    message.ack()
    assert case.handled.changed
    with pytest.raises(Duplicate):
        await case.inbox.open(case.post.received("https://second.example", seq=2))
    restarted = Handled()
    restarted.recall(case.handled.marks)
    with pytest.raises(Duplicate):
        restarted.enter(case.post.received(), "an-id")
    assert "an-id" not in "".join(case.handled.marks)


async def test_a_copy_waits_for_the_first_one(case: Case) -> None:
    """While that is with the listeners nobody knows yet whether it is needed."""
    first = await case.opened()
    copy = case.post.received("https://second.example", seq=2)
    with pytest.raises(NotYet) as later:
        await case.inbox.open(copy)
    assert (later.value.seconds, later.value.reason) == (WAIT, None)
    first.received.leave()
    assert (await case.inbox.open(copy)).content == "Hello Bob"


async def test_another_senders_message_of_the_same_id_is_another(case: Case) -> None:
    """Nobody can keep Bob from reading what somebody else wrote."""
    (await case.opened()).ack()
    case.post = Post(PrivateKey.generate(), case.bob)
    assert (await case.opened()).content == "Hello Bob"


async def test_what_is_remembered_is_bounded(
    case: Case, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The oldest is forgotten first."""
    monkeypatch.setattr("pushd.client.handled.REMEMBERED", 2)
    for number in range(3):
        received = case.post.received(seq=number + 1)
        case.handled.enter(received, f"id {number}")
        received.ack()
    case.handled.enter(case.post.received(), "id 0")
    with pytest.raises(Duplicate):
        case.handled.enter(case.post.received(), "id 2")
    assert len(case.handled.marks) == 2

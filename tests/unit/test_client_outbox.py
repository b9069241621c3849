"""The way of a message from its sender to the first server that keeps it."""

import random
from collections.abc import AsyncIterator

import httpx2
import pytest

from pushd.client import (
    Accepted,
    NotReachable,
    PrivateKey,
    Recipient,
    Sender,
    Unreachable,
)
from pushd.client.envelope import open_sealed
from pushd.client.letter import open_letter
from pushd.client.outbox import BRIEFLY, Draft, Outbox
from pushd.errors import (
    Forbidden,
    KeyConflict,
    MailboxFull,
    PayloadTooLarge,
    PushdError,
    RateLimited,
    UnknownMailbox,
    Unproven,
)
from pushd.identity.keys import Algorithm
from pushd.identity.tokens import verify
from tests.unit.client_fakes import (
    ALICE,
    APP,
    BOB,
    NOW,
    Answer,
    FakeBucket,
    FakeDirectory,
    FakeFetcher,
    accepting,
    refusing,
)

FIRST, SECOND, THIRD = (f"https://{n}.example" for n in ("first", "second", "third"))
DRAFT = Draft("an-id", "Hello Bob", None, None)


class Case:
    """Alice's outbox, with all that is around it."""

    def __init__(self) -> None:
        self.alice, self.bob = PrivateKey.generate(), PrivateKey.generate()
        self.directory = FakeDirectory()
        self.fetcher = FakeFetcher()
        self.bucket = FakeBucket(self.alice)
        self.outbox = self.make(give_up_after=0.0)

    def make(self, *, give_up_after: float) -> Outbox:
        """Make an outbox with some patience."""
        return Outbox(
            self.alice,
            app=APP,
            bucket=self.bucket(),
            directory=self.directory(),
            fetcher=self.fetcher(),
            name=ALICE,
            servers=lambda: [FIRST],
            give_up_after=give_up_after,
            clock=lambda: NOW,
        )


@pytest.fixture
async def case(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Case]:
    """Return a case whose backoff is as short as jitter allows."""
    monkeypatch.setattr(random, "random", lambda: 0.0)
    case = Case()
    yield case
    await case.fetcher.http.aclose()


async def test_the_letter_is_there_before_the_delivery(case: Case) -> None:
    """Who opens the envelope finds the message, and it is what Alice wrote."""
    case.directory.put(BOB, case.bob.public, FIRST)

    def accept(request: httpx2.Request) -> httpx2.Response:
        assert case.bucket.stored == ["messages/an-id"]
        return accepting(case.bob.did)(request)

    case.fetcher.servers[FIRST] = accept
    sent = await case.outbox.send(BOB, DRAFT._replace(ttl=60, content_type="text/x-a"))
    (body,) = case.fetcher.bodies()
    envelope = open_sealed(body["payload"], case.bob, sender=case.alice.did, app=APP)
    letter = open_letter(case.bucket.files["messages/an-id"], case.bob, envelope)
    assert (sent.id, sent.did, sent.server) == ("an-id", case.bob.did, FIRST)
    assert (body["to"], body["key"], body["ttl"]) == (BOB, "an-id", 60)
    assert (envelope.name, envelope.bucket) == (ALICE, case.bucket.read_url)
    assert (letter.content, letter.content_type, letter.at) == (
        *("Hello Bob", "text/x-a"),
        NOW,
    )


async def test_the_token_is_for_that_name_and_that_server(case: Case) -> None:
    """It claims Alice's name; one token serves many messages."""
    case.directory.put(BOB, case.bob.public, FIRST)
    case.fetcher.servers[FIRST] = accepting(case.bob.did)
    await case.outbox.send(BOB, DRAFT)
    await case.outbox.send(BOB, DRAFT._replace(id="another"))
    first, second = (one.headers["authorization"] for one in case.fetcher.posted)
    token = verify(first.removeprefix("Bearer "), now=NOW)
    assert (token.name, token.app) == (ALICE, APP)
    assert token.to == {BOB}
    assert token.audience == {FIRST}
    assert first == second


@pytest.mark.parametrize(
    ("status", "code", "error"),
    [
        (403, "forbidden", Forbidden),
        (409, "key_conflict", KeyConflict),
        (413, "payload_too_large", PayloadTooLarge),
        (429, "rate_limited", RateLimited),
        (507, "mailbox_full", MailboxFull),
    ],
)
async def test_who_refuses_is_not_gone_round(
    case: Case, status: int, code: str, error: type[PushdError]
) -> None:
    """A refusal counts, whatever other servers the recipient has."""
    case.directory.put(BOB, case.bob.public, FIRST, SECOND)
    case.fetcher.servers = {
        FIRST: refusing(status, code),
        SECOND: accepting(case.bob.did),
    }
    with pytest.raises(error):
        await case.outbox.send(BOB, DRAFT)
    assert case.fetcher.places == [FIRST]


@pytest.mark.parametrize("status", [403, 500, 302, 200])
async def test_an_odd_answer_is_not_gone_round(case: Case, status: int) -> None:
    """Somebody answered, who may have refused."""
    case.directory.put(BOB, case.bob.public, FIRST, SECOND)
    case.fetcher.servers = {
        FIRST: lambda request: httpx2.Response(status, text="<html>"),
        SECOND: accepting(case.bob.did),
    }
    with pytest.raises(Unreachable):
        await case.outbox.send(BOB, DRAFT)
    assert case.fetcher.places == [FIRST]


@pytest.mark.parametrize(
    "first",
    [
        None,
        refusing(503, "overloaded"),
        lambda request: httpx2.Response(502, text="<html>"),
    ],
    ids=["down", "busy", "bad gateway"],
)
async def test_who_is_away_is_passed_over(case: Case, first: Answer | None) -> None:
    """The next server gets the very same ciphertext."""
    case.directory.put(BOB, case.bob.public, FIRST, SECOND)
    case.fetcher.servers = {SECOND: accepting(case.bob.did)}
    if first is not None:
        case.fetcher.servers[FIRST] = first
    sent = await case.outbox.send(BOB, DRAFT)
    one, two = case.fetcher.bodies()
    assert case.fetcher.places == [FIRST, SECOND]
    assert one == two
    assert sent.server == SECOND
    assert case.directory.forgotten == []


async def test_who_is_away_does_not_keep_the_next_one_waiting(
    case: Case, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It gets the rest of its time when all were tried once."""
    tried: list[tuple[str, float]] = []

    async def send(sender: Sender, *arguments: object, **options: float) -> Accepted:
        tried.append((sender.server, options["give_up_after"]))
        raise Unreachable("Nobody there.")

    monkeypatch.setattr(Sender, "send", send)
    case.directory.put(BOB, case.bob.public, FIRST, SECOND)
    patient = case.make(give_up_after=30.0)
    with pytest.raises(Unreachable):
        await patient.send(BOB, DRAFT)
    assert tried == [
        *((FIRST, BRIEFLY), (SECOND, BRIEFLY)),
        *((FIRST, 30.0), (SECOND, 30.0)),
    ]
    tried.clear()
    with pytest.raises(Unreachable):
        await patient.send(case.bob.public.did_key, DRAFT)
    assert tried == [(FIRST, 30.0)]


async def test_a_timeout_is_passed_over(case: Case) -> None:
    """Whether it was delivered there is unknown, and the recipient drops the second."""

    def hang(request: httpx2.Request) -> httpx2.Response:
        raise httpx2.ReadTimeout("Too slow.")

    case.directory.put(BOB, case.bob.public, FIRST, SECOND)
    case.fetcher.servers = {FIRST: hang, SECOND: accepting(case.bob.did)}
    assert (await case.outbox.send(BOB, DRAFT)).server == SECOND


async def test_when_all_are_away_the_last_one_is_blamed(case: Case) -> None:
    """There is one error, and every server was asked."""
    case.directory.put(BOB, case.bob.public, FIRST, SECOND)
    with pytest.raises(Unreachable, match=SECOND):
        await case.outbox.send(BOB, DRAFT)
    assert case.fetcher.places == [FIRST, SECOND]


@pytest.mark.parametrize(
    "first",
    [
        refusing(404, "unknown_mailbox"),
        lambda request: httpx2.Response(404, text="<html>"),
    ],
    ids=["no mailbox", "no server"],
)
async def test_where_nobody_is_known_the_name_is_looked_up_again(
    case: Case, first: Answer
) -> None:
    """Bob has moved: the same ciphertext goes to his new server."""
    case.directory.put(BOB, case.bob.public, FIRST)
    case.directory.put(BOB, case.bob.public, SECOND)
    case.fetcher.servers = {FIRST: first, SECOND: accepting(case.bob.did)}
    assert (await case.outbox.send(BOB, DRAFT)).server == SECOND
    one, two = case.fetcher.bodies()
    assert one == two
    assert case.directory.forgotten == [BOB]
    assert case.bucket.stored == ["messages/an-id"]


async def test_where_nobody_answers_the_name_is_looked_up_again(case: Case) -> None:
    """Bob's old server is gone for good, and he has moved."""
    case.directory.put(BOB, case.bob.public, FIRST)
    case.directory.put(BOB, case.bob.public, SECOND)
    case.fetcher.servers = {SECOND: accepting(case.bob.did)}
    assert (await case.outbox.send(BOB, DRAFT)).server == SECOND
    one, two = case.fetcher.bodies()
    assert one == two


async def test_it_is_looked_up_again_once(case: Case) -> None:
    """Then the next servers are tried, and then that is it."""
    case.directory.put(BOB, case.bob.public, FIRST, SECOND)
    unknown = refusing(404, "unknown_mailbox")
    case.fetcher.servers = {FIRST: unknown, SECOND: unknown}
    with pytest.raises(UnknownMailbox):
        await case.outbox.send(BOB, DRAFT)
    assert case.fetcher.places == [FIRST, FIRST, SECOND]
    assert case.directory.forgotten == [BOB]


async def test_a_name_that_moved_to_another_key_is_encrypted_to_again(case: Case) -> None:
    """What the first key can open is not left to stand for what the second is sent."""
    carol = PrivateKey.generate()
    case.directory.put(BOB, case.bob.public, FIRST)
    case.directory.put(BOB, carol.public, FIRST)
    case.fetcher.servers[FIRST] = accepting(carol.did)
    sent = await case.outbox.send(BOB, DRAFT)
    one, two = case.fetcher.bodies()
    envelope = open_sealed(two["payload"], carol, sender=case.alice.did)
    assert (sent.did, sent.id) == (carol.did, envelope.id)
    assert one["key"] != two["key"]
    path = f"messages/{envelope.id}"
    assert open_letter(case.bucket.files[path], carol, envelope).content == "Hello Bob"


async def test_a_server_that_knows_a_name_otherwise_is_not_believed(case: Case) -> None:
    """What it keeps can be opened by nobody, and the sender hears of it."""
    case.directory.put(BOB, case.bob.public, FIRST)
    case.fetcher.servers[FIRST] = accepting(PrivateKey.generate().did)
    with pytest.raises(NotReachable, match="another"):
        await case.outbox.send(BOB, DRAFT)
    assert len(case.fetcher.posted) == 2


@pytest.mark.parametrize(
    "servers",
    [(), ("matrix:u/bob:example.org", "gaia-inbox:https://hub.example"), ("http://a.b",)],
)
async def test_without_a_usable_server_nothing_is_stored(
    case: Case, servers: tuple[str, ...]
) -> None:
    """Servers of other kinds are passed over, and named in the error."""
    case.directory.put(BOB, case.bob.public, *servers)
    with pytest.raises(NotReachable, match="|".join(servers[:1]) or "none"):
        await case.outbox.send(BOB, DRAFT)
    assert case.bucket.stored == []


async def test_what_strangers_list_cannot_steer_a_terminal(case: Case) -> None:
    """It is quoted where it is named."""
    case.directory.put(BOB, case.bob.public, "x:\x1b[2J")
    with pytest.raises(NotReachable) as refused:
        await case.outbox.send(BOB, DRAFT)
    assert str(refused.value).isprintable()


async def test_other_kinds_of_servers_are_passed_over(case: Case) -> None:
    """The first that speaks this protocol is the first that is tried."""
    case.directory.put(BOB, case.bob.public, "matrix:u/bob:example.org", SECOND)
    case.fetcher.servers[SECOND] = accepting(case.bob.did)
    assert (await case.outbox.send(BOB, DRAFT)).server == SECOND


async def test_without_a_key_there_is_no_way(case: Case) -> None:
    """Nobody is written to in clear."""
    case.directory.put(BOB, None, FIRST)
    with pytest.raises(NotReachable, match="key"):
        await case.outbox.send(BOB, DRAFT)
    case.directory.destinations.clear()
    case.directory.put(BOB, PrivateKey.generate(Algorithm.EdDSA).public, FIRST)
    with pytest.raises(NotReachable, match="encrypted to"):
        await case.outbox.send(BOB, DRAFT)
    assert case.bucket.stored == []


async def test_a_name_of_nobody_is_an_error(case: Case) -> None:
    """Before anything is stored."""
    with pytest.raises(Unproven):
        await case.outbox.send(BOB, DRAFT)
    assert case.bucket.stored == []


async def test_a_key_is_enough_where_the_server_is_known(case: Case) -> None:
    """A recipient by key and servers, or by did:key at the sender's own servers."""
    case.fetcher.servers = dict.fromkeys((FIRST, THIRD), accepting(case.bob.did))
    recipient = Recipient(case.bob.public, (THIRD,))
    assert (await case.outbox.send(recipient, DRAFT)).server == THIRD
    assert (await case.outbox.send(case.bob.public.did_key, DRAFT)).server == FIRST
    assert [body["to"] for body in case.fetcher.bodies()] == [case.bob.did] * 2
    assert case.directory.asked == []


async def test_an_address_alone_is_not_enough(case: Case) -> None:
    """It is the hash of a key, and says nothing of a server."""
    with pytest.raises(NotReachable, match="a name does"):
        await case.outbox.send(case.bob.did, DRAFT)


async def test_a_recipient_by_key_has_nothing_to_be_looked_up_again(case: Case) -> None:
    """What the server says is what is raised."""
    case.fetcher.servers[FIRST] = refusing(404, "unknown_mailbox")
    with pytest.raises(UnknownMailbox):
        await case.outbox.send(Recipient(case.bob.public, (FIRST,)), DRAFT)
    case.fetcher.servers[FIRST] = accepting(case.alice.did)
    with pytest.raises(NotReachable):
        await case.outbox.send(Recipient(case.bob.public, (FIRST,)), DRAFT)

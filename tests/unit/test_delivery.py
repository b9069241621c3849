"""Accepting a delivery: what is refused, what reaches the store, and what is answered."""

import asyncio
from asyncio import Future
from collections.abc import Callable, Sequence
from typing import Any, cast

import msgspec
import pytest

from pushd.admission import Admission
from pushd.bounds import Bound
from pushd.delivery import Deliveries, Outcome
from pushd.errors import (
    BadRequest,
    Forbidden,
    KeyConflict,
    PayloadTooLarge,
    PushdError,
    RateLimited,
    ResolverUnavailable,
    StoreUnavailable,
    Unauthorized,
    UnknownMailbox,
)
from pushd.identity.keys import PrivateKey
from pushd.identity.tokens import Token
from pushd.incidents import Incident
from pushd.mailbox.base import Entry, Mailboxes, Result, Stale
from pushd.metrics import Metrics
from pushd.owners import Openings, Owners
from pushd.policies import Policies
from pushd.protocol.messages import Accepted, Delivery
from pushd.rates import Rates
from pushd.recipients import Recipients
from pushd.rules import Rules
from tests.unit.fake_directory import APP, SERVER, FakeDirectory, names_of

ALICE = PrivateKey.generate().did
BOB = PrivateKey.generate().did
BOBS_NAME = "bob.id.blockstack"
MAX_TTL = 1000


class Shelf:
    """Keeps what it is given, and answers what the test says."""

    def __init__(self) -> None:
        self.entries: list[Entry] = []
        self.answers: list[Future[list[Result]]] = []
        self.unanswered: asyncio.Queue[Future[list[Result]]] = asyncio.Queue()
        self.opened: list[str] = []
        self.refreshed: list[str] = []

    def accept(self, entries: Sequence[Entry]) -> Future[list[Result]]:
        """Keep the entries; the test answers."""
        self.entries.extend(entries)
        answer: Future[list[Result]] = Future()
        self.answers.append(answer)
        self.unanswered.put_nowait(answer)
        return answer

    def store(
        self, entries: Sequence[Entry], done: Callable[[list[Result] | PushdError], None]
    ) -> None:
        """Keep the entries; tell what the test answers."""

        def tell(answer: Future[list[Result]]) -> None:
            error = answer.exception()
            done(error if isinstance(error, PushdError) else answer.result())

        self.accept(entries).add_done_callback(tell)

    async def open(self, mailbox: str, *, create: bool) -> None:
        """Open a mailbox."""
        assert create
        self.opened.append(mailbox)

    async def policy(self, mailbox: str) -> bytes:
        """Tell that there is no policy any more, when its names are looked up anew."""
        self.refreshed.append(mailbox)
        return b""


class Door:
    """The way in to a shelf, as a test uses it."""

    def __init__(
        self,
        openings: Openings = "open",
        *listed: str,
        lookups: int = 0,
        rates: Rates | None = None,
        **settings: bool,
    ) -> None:
        self.shelf = Shelf()
        self.metrics = Metrics()
        self.directory = FakeDirectory()
        self.directory.know(BOBS_NAME, BOB)
        self.names = names = names_of(self.directory, lookups=lookups)
        self.deliveries = Deliveries(
            cast(Mailboxes, self.shelf),
            recipients=Recipients(names),
            owners=Owners(openings, listed, names),
            policies=Policies(cast(Mailboxes, self.shelf), names),
            rules=Rules(max_payload=10, max_ttl=MAX_TTL),
            admission=Admission(Bound("delay_ms", 1)),
            rates=rates,
            metrics=self.metrics,
            **settings,
        )

    async def stored(self) -> Future[list[Result]]:
        """Wait until something new reaches the shelf, and return what awaits its answer."""
        return await self.shelf.unanswered.get()

    async def refused(self, delivery: Delivery, **token: Any) -> PushdError:
        """Return the error of a delivery that must not reach the store."""
        outcomes = await self.deliveries.accept(token_for(**token), [delivery])
        (outcome,) = outcomes
        assert isinstance(outcome, PushdError)
        assert self.shelf.entries == []
        return outcome

    async def entry(self, delivery: Delivery, body_key: str | None = None) -> Entry:
        """Return what reaches the store of a delivery."""
        self.deliveries.accept(token_for(), [delivery], body_key=body_key)
        return self.shelf.entries[-1]


def token_for(
    *to: str, did: str = ALICE, name: str | None = None, app: str | None = None
) -> Token:
    """Return a token as if verified, its name proven."""
    return Token(
        did=did,
        scope=frozenset({"deliver"}),
        to=frozenset(to or {BOB}),
        audience=frozenset({"http://x"}),
        name=name,
        app=app,
        issued_at=0.0,
        expires=1.0,
        jti="j",
        digest=None,
    )


@pytest.fixture
async def door() -> Door:
    """Return a way in to an empty shelf."""
    return Door()


async def test_a_good_delivery_is_stored_and_answered(door: Door) -> None:
    """The body is encoded once, with the sender who was proven, and the id comes back."""
    answer = door.deliveries.accept(token_for(), [Delivery(BOB, "hi", "k", 7)])
    (entry,) = door.shelf.entries
    message = msgspec.json.decode(b'{"id":""' + entry.body + b"}")

    assert Entry(BOB, ALICE, entry.body, 7, "k") == entry
    assert message == {"id": "", "from": {"did": ALICE}, "payload": "hi"}
    door.shelf.answers[0].set_result([Accepted("5-1", BOB, True)])
    assert await answer == [Accepted("5-1", BOB, duplicate=True)]


async def test_without_ttl_a_message_lives_as_long_as_may_be(door: Door) -> None:
    """The default is the maximum."""
    assert (await door.entry(Delivery(BOB, "hi"))).ttl == MAX_TTL


async def test_the_payload_is_measured_in_bytes(door: Door) -> None:
    """Ten bytes fit, whatever characters they make up; eleven do not."""
    await door.entry(Delivery(BOB, "0123456789"))
    await door.entry(Delivery(BOB, "ééééé"))
    door.shelf.entries.clear()
    assert isinstance(await door.refused(Delivery(BOB, "01234567890")), PayloadTooLarge)
    assert isinstance(await door.refused(Delivery(BOB, "ééééé.")), PayloadTooLarge)
    assert isinstance(await door.refused(Delivery(BOB, "")), BadRequest)


@pytest.mark.parametrize(
    ("delivery", "member"),
    [
        (Delivery(BOB, "hi", key=""), "`key`"),
        (Delivery(BOB, "hi", key="k" * 129), "`key`"),
        (Delivery(BOB, "hi", ttl=0), "`ttl`"),
        (Delivery(BOB, "hi", ttl=-1), "`ttl`"),
        (Delivery(BOB, "hi", ttl=MAX_TTL + 1), "`ttl`"),
        (Delivery(BOB, "hi", ttl=2**70), "`ttl`"),
    ],
)
async def test_a_member_out_of_bounds_is_refused(
    door: Door, delivery: Delivery, member: str
) -> None:
    """The detail names the member."""
    error = await door.refused(delivery)
    assert isinstance(error, BadRequest)
    assert member in error.detail


async def test_the_recipient_must_be_in_the_token(door: Door) -> None:
    """Character for character: neither a part, nor another case."""
    for to in (ALICE, BOB.upper(), f"{BOB} ", BOB[:-1]):
        assert isinstance(await door.refused(Delivery(to, "hi")), Forbidden)


@pytest.mark.parametrize(
    "to",
    ["did:btc-addr:1", "did:key:z", "did:x:y", pytest.param(f"{BOB}1", id="too long")],
)
async def test_a_malformed_did_is_refused(door: Door, to: str) -> None:
    """Even if the token names it."""
    assert type(await door.refused(Delivery(to, "hi"), did=ALICE)) is Forbidden
    outcomes = await door.deliveries.accept(token_for(to), [Delivery(to, "hi")])
    assert type(outcomes[0]) is BadRequest


async def test_one_refused_never_spoils_the_others(door: Door) -> None:
    """Everything keeps its place, errors of the caller and of the store too."""
    broken = BadRequest("not JSON")
    answer = door.deliveries.accept(
        token_for(),
        [broken, Delivery(BOB, "1"), Delivery(ALICE, "2"), Delivery(BOB, "3")],
    )
    conflict = KeyConflict()
    door.shelf.answers[0].set_result([Accepted("5-1", BOB, False), conflict])
    outcomes: list[Outcome] = await answer

    assert outcomes[0] is broken
    assert outcomes[1] == Accepted("5-1", BOB, duplicate=False)
    assert isinstance(outcomes[2], Forbidden)
    assert outcomes[3] is conflict
    text = door.metrics.render().decode()
    assert "pushd_accepted_total 1.0" in text
    assert 'pushd_refused_total{code="bad_request"} 1.0' in text
    assert 'pushd_refused_total{code="forbidden"} 1.0' in text
    assert 'pushd_refused_total{code="key_conflict"} 1.0' in text


async def test_the_body_is_the_key_of_what_has_none(door: Door) -> None:
    """A token that stores at most once makes each item of its body idempotent."""
    deliveries = [Delivery(BOB, "1"), Delivery(BOB, "2", key="own"), Delivery(BOB, "3")]
    door.deliveries.accept(token_for(), deliveries, body_key="jti")

    assert [entry.key for entry in door.shelf.entries] == ["jti", "own", "jti#2"]


async def test_a_store_that_fails_fails_the_future(door: Door) -> None:
    """All that was to be stored counts as refused."""
    answer = door.deliveries.accept(token_for(), [Delivery(BOB, "1"), Delivery(BOB, "2")])
    door.shelf.answers[0].set_exception(StoreUnavailable())
    with pytest.raises(StoreUnavailable):
        await answer
    text = door.metrics.render().decode()
    assert 'pushd_refused_total{code="store_unavailable"} 2.0' in text


async def test_an_answer_nobody_waits_for_is_counted_all_the_same(door: Door) -> None:
    """Who gave up waiting changes nothing about what was stored."""
    answer = door.deliveries.accept(token_for(), [Delivery(BOB, "1")])
    answer.cancel()
    door.shelf.answers[0].set_result([Accepted("5-1", BOB, False)])
    await asyncio.sleep(0)
    assert "pushd_accepted_total 1.0" in door.metrics.render().decode()


# --- names ---------------------------------------------------------------------------


def by_name(*to: str) -> Token:
    """Return a token to write to names."""
    return token_for(*(to or (BOBS_NAME,)), app=APP)


async def test_a_proven_name_travels_with_the_message(door: Door) -> None:
    """With the app it belongs to; without a name the app is not told either."""
    named = token_for(name="alice.id.blockstack", app=APP)
    door.deliveries.accept(named, [Delivery(BOB, "hi")])
    door.deliveries.accept(token_for(app=APP), [Delivery(BOB, "hi")])
    first, second = (
        msgspec.json.decode(b'{"id":""' + entry.body + b"}") for entry in door.shelf.entries
    )

    assert first["from"] == {"did": ALICE, "name": "alice.id.blockstack"}
    assert first["app"] == APP
    assert second["from"] == {"did": ALICE}
    assert "app" not in second


async def test_a_name_leads_to_a_mailbox(door: Door) -> None:
    """The first delivery asks whose it is, those after it are stored at once."""
    answer = door.deliveries.accept(by_name(), [Delivery(BOBS_NAME, "1")])
    stored = await door.stored()
    stored.set_result([Accepted("5-1", BOB, False)])
    assert await answer == [Accepted("5-1", BOB, duplicate=False)]

    door.deliveries.accept(by_name(), [Delivery(BOBS_NAME, "2")])
    assert [entry.mailbox for entry in door.shelf.entries] == [BOB, BOB]
    assert door.directory.asked == [BOBS_NAME]


async def test_deliveries_to_a_name_keep_their_order(door: Door) -> None:
    """Also those that come while the name is looked up."""
    for n in range(5):
        door.deliveries.accept(by_name(), [Delivery(BOBS_NAME, str(n))])
    for _ in range(5):
        await door.stored()

    payloads = [
        msgspec.json.decode(b'{"id":""' + entry.body + b"}")["payload"]
        for entry in door.shelf.entries
    ]
    assert payloads == ["0", "1", "2", "3", "4"]


async def test_a_name_that_is_nobodys_spoils_no_other(door: Door) -> None:
    """Each name has an answer of its own."""
    names = ["nobody.id", BOBS_NAME, "Not A Name"]
    answer = door.deliveries.accept(by_name(*names), [Delivery(to, "hi") for to in names])
    (await door.stored()).set_result([Accepted("5-1", BOB, False)])
    nobody, bob, nonsense = await answer

    assert isinstance(nobody, UnknownMailbox)
    assert bob == Accepted("5-1", BOB, duplicate=False)
    assert isinstance(nonsense, BadRequest)


async def test_a_source_that_is_down_is_not_a_name_that_is_not_there(door: Door) -> None:
    """The delivery is refused for now, and nothing of it is stored."""
    door.directory.down = True
    (outcome,) = await door.deliveries.accept(by_name(), [Delivery(BOBS_NAME, "hi")])

    assert isinstance(outcome, ResolverUnavailable)
    assert outcome.retry_after
    assert door.shelf.entries == []


async def test_a_name_outside_the_token_is_not_even_looked_up(door: Door) -> None:
    """What the token does not allow costs nothing."""
    answer = door.deliveries.accept(by_name("a.id"), [Delivery(BOBS_NAME, "hi")])
    (outcome,) = await answer

    assert isinstance(outcome, Forbidden)
    assert door.directory.asked == []


@pytest.mark.parametrize("openings", ["open", "declared"])
async def test_a_delivery_opens_the_mailbox_its_owner_wants_here(
    openings: Openings,
) -> None:
    """The first delivery by name may come before the owner, if her documents say where."""
    door = Door(openings)
    door.directory.servers[BOB] = (SERVER,)
    answer = door.deliveries.accept(by_name(), [Delivery(BOBS_NAME, "hi", "k")])
    (await door.stored()).set_result([UnknownMailbox()])
    (await door.stored()).set_result([Accepted("5-1", BOB, False)])

    assert await answer == [Accepted("5-1", BOB, duplicate=False)]
    assert door.shelf.opened == [BOB]
    first, second = door.shelf.entries
    assert first is second
    text = door.metrics.render().decode()
    assert "pushd_accepted_total 1.0" in text
    assert "pushd_refused_total{" not in text


async def test_only_what_found_no_mailbox_is_stored_again(door: Door) -> None:
    """The rest of a batch was stored the first time."""
    door.directory.servers[BOB] = (SERVER,)
    token = token_for(BOBS_NAME, ALICE, app=APP)
    deliveries = [Delivery(ALICE, "1"), Delivery(BOBS_NAME, "2"), Delivery(ALICE, "3")]
    answer = door.deliveries.accept(token, deliveries)
    one, two = Accepted("5-1", ALICE, False), Accepted("6-1", BOB, False)
    (await door.stored()).set_result([one, UnknownMailbox(), UnknownMailbox()])
    (await door.stored()).set_result([two])
    first, second, third = await answer

    assert (first, second) == (one, two)
    assert isinstance(third, UnknownMailbox)
    assert [entry.mailbox for entry in door.shelf.entries[3:]] == [BOB]


@pytest.mark.parametrize(
    ("openings", "listed", "servers"),
    [
        ("open", (), ()),
        ("open", (), ("https://else.example",)),
        ("declared", (), ("https://else.example",)),
        ("listed", (ALICE,), (SERVER,)),
    ],
)
async def test_a_delivery_opens_no_mailbox_its_owner_does_not_want_here(
    openings: Openings, listed: tuple[str, ...], servers: tuple[str, ...]
) -> None:
    """Nobody gets mail at a server they did not choose, nor where they may have none."""
    door = Door(openings, *listed)
    door.directory.servers[BOB] = servers
    answer = door.deliveries.accept(by_name(), [Delivery(BOBS_NAME, "hi")])
    (await door.stored()).set_result([UnknownMailbox()])

    (outcome,) = await answer
    assert isinstance(outcome, UnknownMailbox)
    assert door.shelf.opened == []
    text = door.metrics.render().decode()
    assert 'pushd_refused_total{code="unknown_mailbox"} 1.0' in text


async def test_a_did_opens_no_mailbox(door: Door) -> None:
    """A DID tells nobody where its documents are."""
    door.directory.servers[BOB] = (SERVER,)
    answer = door.deliveries.accept(token_for(BOB, app=APP), [Delivery(BOB, "hi")])
    (await door.stored()).set_result([UnknownMailbox()])

    (outcome,) = await answer
    assert isinstance(outcome, UnknownMailbox)
    assert door.directory.asked == []


async def test_documents_that_cannot_be_read_leave_it_open(door: Door) -> None:
    """503 while nobody can tell whether the mailbox may be opened; a retry will know."""
    await door.names.find(BOBS_NAME, APP, asker=ALICE)
    door.directory.down = True
    answer = door.deliveries.accept(by_name(), [Delivery(BOBS_NAME, "hi")])
    (await door.stored()).set_result([UnknownMailbox()])

    (outcome,) = await answer
    assert isinstance(outcome, ResolverUnavailable)


async def test_the_store_may_fail_at_the_second_time(door: Door) -> None:
    """All that was to be stored counts as refused then, and nobody is left waiting."""
    door.directory.servers[BOB] = (SERVER,)
    answer = door.deliveries.accept(by_name(), [Delivery(BOBS_NAME, "hi")])
    (await door.stored()).set_result([UnknownMailbox()])
    (await door.stored()).set_exception(StoreUnavailable())

    with pytest.raises(StoreUnavailable):
        await answer


async def test_a_sender_has_so_many_names_looked_up() -> None:
    """Beyond them its deliveries are told to wait, one by one."""
    door = Door(lookups=2)
    names = ["a.id", "b.id", "c.id"]
    outcomes = await door.deliveries.accept(
        by_name(*names), [Delivery(to, "hi") for to in names]
    )

    assert sorted(type(outcome).__name__ for outcome in outcomes) == [
        "RateLimited",
        "UnknownMailbox",
        "UnknownMailbox",
    ]
    assert any(isinstance(outcome, RateLimited) for outcome in outcomes)


# --- policies ------------------------------------------------------------------------


async def test_names_in_a_policy_are_looked_up_anew_when_they_are_stale(door: Door) -> None:
    """Once for a mailbox; then what is for it is stored, and nothing else again."""
    token = token_for(BOB, ALICE)
    deliveries = [Delivery(BOB, "1"), Delivery(ALICE, "2"), Delivery(BOB, "3")]
    answer = door.deliveries.accept(token, deliveries)
    one, three = Accepted("5-1", BOB, False), Accepted("5-2", BOB, False)
    two = Accepted("6-1", ALICE, False)
    (await door.stored()).set_result([Stale(), two, Stale()])
    (await door.stored()).set_result([one, three])

    assert await answer == [one, two, three]
    assert door.shelf.refreshed == [BOB]


async def test_a_policy_that_cannot_decide_makes_the_sender_wait(door: Door) -> None:
    """Nobody is believed, or denied, by a name that nobody can look up."""
    answer = door.deliveries.accept(token_for(), [Delivery(BOB, "hi")])
    (await door.stored()).set_result([Stale()])
    (await door.stored()).set_result([Stale()])

    (outcome,) = await answer
    assert isinstance(outcome, ResolverUnavailable)
    assert outcome.retry_after


async def test_a_refusal_by_the_policy_is_told(door: Door) -> None:
    """As what it is, where mailboxes are not hidden."""
    answer = door.deliveries.accept(by_name(), [Delivery(BOBS_NAME, "hi")])
    (await door.stored()).set_result([Forbidden()])

    (outcome,) = await answer
    assert isinstance(outcome, Forbidden)


async def test_a_hidden_mailbox_looks_as_if_it_were_not_there() -> None:
    """In the answer, in the count, and in all that is done for it."""
    outcomes = []
    for said in (Forbidden(), UnknownMailbox()):
        door = Door(hide_mailboxes=True)
        door.directory.servers[BOB] = (SERVER,)
        answer = door.deliveries.accept(by_name(), [Delivery(BOBS_NAME, "hi")])
        (await door.stored()).set_result([said])
        (await door.stored()).set_result([said])
        (outcome,) = await answer
        assert isinstance(outcome, PushdError)
        outcomes.append((outcome.code, outcome.detail, outcome.retry_after))
        assert (
            'pushd_refused_total{code="unknown_mailbox"} 1.0'
            in door.metrics.render().decode()
        )
        assert door.shelf.opened == [BOB]
    assert outcomes[0] == outcomes[1]
    assert outcomes[0][0] == "unknown_mailbox"


async def test_only_a_token_for_one_body_will_do_where_that_is_required() -> None:
    """Any other delivers nothing, over the stream too, and is told what would."""
    door = Door(require_digest=True)
    with pytest.raises(Unauthorized, match="digest"):
        await door.deliveries.accept(token_for(), [Delivery(BOB, "hi")])
    assert door.shelf.entries == []
    door.deliveries.accept(token_for(), [Delivery(BOB, "hi")], body_key="jti")
    assert len(door.shelf.entries) == 1


async def test_a_bug_is_told_by_its_number_and_counted(
    door: Door, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Wherever a delivery waits for the network, or somebody would wait for ever."""

    async def broken(*_: object, **__: object) -> None:
        raise RuntimeError("secret")

    monkeypatch.setattr(door.shelf, "policy", broken)
    deciding = door.deliveries.accept(token_for(), [Delivery(BOB, "hi")])
    (await door.stored()).set_result([Stale()])
    monkeypatch.setattr(door.names, "find", broken)
    finding = door.deliveries.accept(by_name(), [Delivery(BOBS_NAME, "hi")] * 2)

    for answer in (deciding, finding):
        with pytest.raises(Incident):
            await answer
    assert 'pushd_refused_total{code="internal"} 3.0' in door.metrics.render().decode()

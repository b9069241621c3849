"""Accepting a delivery: what is refused, what reaches the store, and what is answered."""

import asyncio
from asyncio import Future
from collections.abc import Sequence
from typing import Any, cast

import msgspec
import pytest

from pushd.delivery import Deliveries, Outcome
from pushd.errors import (
    BadRequest,
    Forbidden,
    KeyConflict,
    PayloadTooLarge,
    PushdError,
    StoreUnavailable,
    UnknownMailbox,
)
from pushd.identity.keys import PrivateKey
from pushd.identity.tokens import Token
from pushd.mailbox.base import Entry, Mailboxes, Stored
from pushd.metrics import Metrics
from pushd.protocol.ids import MessageId
from pushd.protocol.messages import Accepted, Delivery

ALICE = PrivateKey.generate().did
BOB = PrivateKey.generate().did
MAX_TTL = 1000


class Shelf:
    """Keeps what it is given, and answers what the test says."""

    def __init__(self) -> None:
        self.entries: list[Entry] = []
        self.answers: list[Future[list[Stored | PushdError]]] = []

    def accept(self, entries: Sequence[Entry]) -> Future[list[Stored | PushdError]]:
        """Keep the entries; the test answers."""
        self.entries.extend(entries)
        answer: Future[list[Stored | PushdError]] = Future()
        self.answers.append(answer)
        return answer


class Door:
    """The way in to a shelf, as a test uses it."""

    def __init__(self) -> None:
        self.shelf = Shelf()
        self.metrics = Metrics()
        self.deliveries = Deliveries(
            cast(Mailboxes, self.shelf),
            max_payload=10,
            max_ttl=MAX_TTL,
            metrics=self.metrics,
        )

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


def token_for(*to: str, did: str = ALICE) -> Token:
    """Return a token as if verified."""
    return Token(
        did=did,
        scope=frozenset({"deliver"}),
        to=frozenset(to or {BOB}),
        audience=frozenset({"http://x"}),
        name=None,
        app=None,
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
    door.shelf.answers[0].set_result([Stored(MessageId(5, 1), duplicate=True)])
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


@pytest.mark.parametrize("to", ["did:btc-addr:1", "did:key:z", "did:x:y", f"{BOB}1"])
async def test_a_malformed_did_is_refused(door: Door, to: str) -> None:
    """Even if the token names it."""
    assert type(await door.refused(Delivery(to, "hi"), did=ALICE)) is Forbidden
    outcomes = await door.deliveries.accept(token_for(to), [Delivery(to, "hi")])
    assert type(outcomes[0]) is BadRequest


@pytest.mark.parametrize("to", ["bob.id.blockstack", "did:web:bob.example", "bob"])
async def test_a_name_is_nobody_here(door: Door, to: str) -> None:
    """This version resolves no names."""
    outcomes = await door.deliveries.accept(token_for(to), [Delivery(to, "hi")])
    assert type(outcomes[0]) is UnknownMailbox


async def test_one_refused_never_spoils_the_others(door: Door) -> None:
    """Everything keeps its place, errors of the caller and of the store too."""
    broken = BadRequest("not JSON")
    answer = door.deliveries.accept(
        token_for(),
        [broken, Delivery(BOB, "1"), Delivery(ALICE, "2"), Delivery(BOB, "3")],
    )
    conflict = KeyConflict()
    door.shelf.answers[0].set_result([Stored(MessageId(5, 1), False), conflict])
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
    door.shelf.answers[0].set_result([Stored(MessageId(5, 1), False)])
    await asyncio.sleep(0)
    assert "pushd_accepted_total 1.0" in door.metrics.render().decode()

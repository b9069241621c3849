"""Promise: accepted means kept, in one order, once for each key."""

import asyncio
import json

import pytest

from pushd.errors import KeyConflict, MailboxFull, PushdError, UnknownMailbox
from pushd.mailbox.base import Entry, Quota
from pushd.mailbox.redis import RedisMailboxes
from pushd.protocol.ids import START, MessageId
from pushd.protocol.messages import Accepted, From, message_body
from tests.contract.conftest import Connect
from tests.contract.stores import ALICE, CAROL, Ear, entry, id_of, unread
from tests.stores import Server, Store


@pytest.fixture
async def mailboxes(connect: Connect, store: Store, ear: Ear) -> RedisMailboxes:
    """Connect to each kind of store, of one server and of several."""
    return await connect(store, ear)


async def accept(mailboxes: RedisMailboxes, *entries: Entry) -> list[Accepted]:
    """Deliver what must be accepted."""
    results = await mailboxes.accept(entries)
    stored = [result for result in results if isinstance(result, Accepted)]
    assert len(entries) == len(stored), results
    return stored


async def refused(mailboxes: RedisMailboxes, delivery: Entry) -> type[PushdError]:
    """Deliver what must be refused, and tell as what."""
    [result] = await mailboxes.accept([delivery])
    assert isinstance(result, PushdError)
    return type(result)


async def test_ids_count_from_one_without_gaps(mailboxes: RedisMailboxes, bob: str) -> None:
    """The messages of an epoch are numbered 1, 2, 3 in the order of acceptance."""
    tail = (await mailboxes.open(bob, create=True)).tail
    first = await accept(mailboxes, *[entry(bob, str(n)) for n in range(3)])
    second = await accept(mailboxes, entry(bob))
    assert MessageId(tail.epoch, 0) == tail
    assert [MessageId(tail.epoch, n) for n in (1, 2, 3, 4)] == [
        id_of(stored) for stored in first + second
    ]


async def test_concurrent_deliveries_keep_the_order_of_their_calls(
    mailboxes: RedisMailboxes, bob: str
) -> None:
    """Calls of one tick share a flight and are numbered in the order they were made."""
    await mailboxes.open(bob, create=True)
    results = await asyncio.gather(*[mailboxes.accept([entry(bob)]) for _ in range(500)])
    ids = [id_of(result).seq for [result] in results if isinstance(result, Accepted)]
    assert list(range(1, 501)) == ids
    assert len(await unread(mailboxes, bob)) == 500


async def test_what_is_stored_is_what_is_read(mailboxes: RedisMailboxes, bob: str) -> None:
    """A message comes back as the JSON the protocol says, whatever its payload."""
    await mailboxes.open(bob, create=True)
    payload = 'quotes " \\ tab \t line \n nul \0 emoji \U0001f600 umlaut ü'
    body = message_body(From(did=ALICE, name="alice.id"), payload, "https://app.example")
    [stored] = await accept(mailboxes, Entry(bob, ALICE, body, 60))
    page = await mailboxes.read(bob, after=START, limit=10)
    message = json.loads(page.messages[0].json)
    assert {
        "id": stored.id,
        "from": {"did": ALICE, "name": "alice.id"},
        "app": "https://app.example",
        "payload": payload,
        "at": message["at"],
        "expires": message["at"] + 60,
    } == message


async def test_the_same_key_and_payload_is_stored_once(
    mailboxes: RedisMailboxes, bob: str
) -> None:
    """A retry gets the first id and stores nothing, within a call and across calls."""
    await mailboxes.open(bob, create=True)
    first, again = await accept(mailboxes, *[entry(bob, key="k")] * 2)
    [later] = await accept(mailboxes, entry(bob, key="k"))
    assert [Accepted(first.id, bob, True)] * 2 == [again, later]
    assert not first.duplicate
    assert [id_of(first)] == await unread(mailboxes, bob)


async def test_a_key_outlives_its_message(mailboxes: RedisMailboxes, bob: str) -> None:
    """After the ack a retry still gets the first id."""
    await mailboxes.open(bob, create=True)
    [first] = await accept(mailboxes, entry(bob, key="k"))
    await mailboxes.acknowledge(bob, [id_of(first)])
    assert [Accepted(first.id, bob, True)] == await accept(mailboxes, entry(bob, key="k"))
    assert await unread(mailboxes, bob) == []


async def test_the_same_key_for_another_payload_conflicts(
    mailboxes: RedisMailboxes, bob: str
) -> None:
    """A key stands for one payload; the second is refused and nothing is stored."""
    await mailboxes.open(bob, create=True)
    [first] = await accept(mailboxes, entry(bob, "one", key="k"))
    assert KeyConflict is await refused(mailboxes, entry(bob, "two", key="k"))
    assert [id_of(first)] == await unread(mailboxes, bob)


async def test_a_new_name_of_the_sender_is_no_other_payload(
    mailboxes: RedisMailboxes, bob: str
) -> None:
    """A retry counts as the same although the sender proved a name meanwhile."""
    await mailboxes.open(bob, create=True)
    [first] = await accept(mailboxes, entry(bob, "one", key="k"))
    named = message_body(From(did=ALICE, name="alice.id"), "one", "https://app.example")
    [again] = await accept(mailboxes, Entry(bob, ALICE, named, 60, "k"))
    assert Accepted(first.id, bob, True) == again


async def test_keys_are_the_senders_and_the_mailboxs_own(
    mailboxes: RedisMailboxes, bob: str
) -> None:
    """Another sender, or another mailbox, may use the same key."""
    other = f"{bob}-other"
    for mailbox in (bob, other):
        await mailboxes.open(mailbox, create=True)
    stored = await accept(
        mailboxes,
        entry(bob, key="k"),
        entry(bob, sender=CAROL, key="k"),
        entry(other, key="k"),
    )
    assert [one.duplicate for one in stored] == [False] * 3


async def test_without_a_key_everything_is_stored(
    mailboxes: RedisMailboxes, bob: str
) -> None:
    """Equal deliveries without a key are different messages."""
    await mailboxes.open(bob, create=True)
    first, second = await accept(mailboxes, entry(bob), entry(bob))
    assert [id_of(first), id_of(second)] == await unread(mailboxes, bob)


async def test_remembered_keys_are_limited(
    connect: Connect, server: Server, bob: str
) -> None:
    """A mailbox remembers four times as many keys as messages, then refuses keys."""
    quota = Quota(messages=4, bytes=10**6, dedup=3600)
    mailboxes = await connect(server, quota=quota)
    await mailboxes.open(bob, create=True)
    for number in range(16):
        [stored] = await accept(mailboxes, entry(bob, key=str(number)))
        await mailboxes.acknowledge(bob, id_of(stored))
    assert MailboxFull is await refused(mailboxes, entry(bob, key="one more"))
    [again, plain] = await accept(mailboxes, entry(bob, key="0"), entry(bob))
    assert again.duplicate
    assert not plain.duplicate


async def test_a_key_is_remembered_for_at_least_its_time(
    connect: Connect, server: Server, bob: str
) -> None:
    """A key of the stretch before this one is still known; in the one after, no more."""
    mailboxes = await connect(server, quota=Quota(messages=10, bytes=10**6, dedup=1))
    await mailboxes.open(bob, create=True)
    loop = asyncio.get_running_loop()
    [first] = await accept(mailboxes, entry(bob, key="k"))
    accepted = loop.time()
    while (again := (await accept(mailboxes, entry(bob, key="k")))[0]).duplicate:
        assert id_of(first) == id_of(again)
        await asyncio.sleep(0.05)
    assert loop.time() - accepted >= 1.0
    with server.client() as client:
        assert len(client.keys(f"pushd:{{{bob}}}:k:*")) <= 2


async def test_a_missing_mailbox_is_unknown(mailboxes: RedisMailboxes, bob: str) -> None:
    """Nothing is stored for whom nobody opened a mailbox."""
    assert UnknownMailbox is await refused(mailboxes, entry(bob))
    with pytest.raises(UnknownMailbox):
        await mailboxes.open(bob, create=False)
    with pytest.raises(UnknownMailbox):
        await mailboxes.read(bob, after=START, limit=1)
    with pytest.raises(UnknownMailbox):
        await mailboxes.acknowledge(bob, [MessageId(1, 1)])
    assert await mailboxes.tails([bob]) == [None]


async def test_one_bad_entry_spoils_no_other(mailboxes: RedisMailboxes, bob: str) -> None:
    """The results of a batch have the order of its entries, good and bad."""
    await mailboxes.open(bob, create=True)
    results = await mailboxes.accept(
        [
            entry(bob, "one", key="k"),
            entry(f"{bob}-nobody"),
            entry(bob, "two", key="k"),
            entry(bob, "three"),
        ]
    )
    assert [Accepted, UnknownMailbox, KeyConflict, Accepted] == [type(r) for r in results]
    assert len(await unread(mailboxes, bob)) == 2


async def test_a_batch_of_a_thousand_over_many_mailboxes(
    mailboxes: RedisMailboxes, bob: str
) -> None:
    """A thousand entries in one call are stored, each mailbox in its own order."""
    names = [f"{bob}-{n}" for n in range(7)]
    await asyncio.gather(*[mailboxes.open(name, create=True) for name in names])
    stored = await accept(
        mailboxes, *[entry(names[n % 7], str(n), key=str(n)) for n in range(1000)]
    )
    for place, name in enumerate(names):
        expected = [id_of(stored[n]) for n in range(place, 1000, 7)]
        assert list(range(1, len(expected) + 1)) == [id.seq for id in expected]
        assert expected == await unread(mailboxes, name)


async def test_an_empty_batch_is_answered(mailboxes: RedisMailboxes) -> None:
    """Nothing to store is nothing stored."""
    assert await mailboxes.accept([]) == []


async def test_a_key_survives_a_new_epoch(
    connect: Connect, own_server: Server, bob: str
) -> None:
    """A retry after a restart of the store gets the id of the epoch it was stored in."""
    mailboxes = await connect(own_server)
    await mailboxes.open(bob, create=True)
    [first] = await accept(mailboxes, entry(bob, key="k"))
    own_server.restart()
    mailboxes = await connect(own_server)
    [again, new] = await accept(mailboxes, entry(bob, key="k"), entry(bob, key="new"))
    assert Accepted(first.id, bob, True) == again
    assert id_of(new).epoch > id_of(first).epoch
    assert [Accepted(new.id, bob, True)] == await accept(mailboxes, entry(bob, key="new"))

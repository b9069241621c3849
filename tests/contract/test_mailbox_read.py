"""Promise: every answer is honest about what is there, and where the mailbox ends."""

import asyncio
import gc

import pytest

from pushd.mailbox.base import Acknowledged, Opened, Page
from pushd.mailbox.redis import RedisMailboxes
from pushd.protocol.ids import START, MessageId
from pushd.protocol.messages import MAX_PAGE_BYTES, Accepted
from tests.contract.conftest import Connect
from tests.contract.stores import Ear, entry, id_of, unread, until
from tests.stores import Store


@pytest.fixture
async def mailboxes(connect: Connect, store: Store, ear: Ear) -> RedisMailboxes:
    """Connect to each kind of store, of one server and of several."""
    return await connect(store, ear)


async def deliver(mailboxes: RedisMailboxes, bob: str, count: int) -> list[MessageId]:
    """Open a mailbox and put messages into it."""
    await mailboxes.open(bob, create=True)
    results = await mailboxes.accept([entry(bob, str(n)) for n in range(count)])
    return [id_of(result) for result in results if isinstance(result, Accepted)]


async def test_an_empty_mailbox_has_a_tail(mailboxes: RedisMailboxes, bob: str) -> None:
    """A new mailbox ends at zero of its first epoch, in every answer."""
    opened = await mailboxes.open(bob, create=True)
    assert Opened(MessageId(opened.tail.epoch, 0), 0, (), None) == opened
    page = await mailboxes.read(bob, after=START, limit=10)
    assert Page([], True, opened.tail, 0, None) == page
    assert [opened.tail] == await mailboxes.tails([bob])
    assert opened == await mailboxes.open(bob, create=False)


async def test_pages_follow_each_other(mailboxes: RedisMailboxes, bob: str) -> None:
    """Reading after the last id goes on where the page ended, and says when it is all."""
    ids = await deliver(mailboxes, bob, 250)
    first = await mailboxes.read(bob, after=START, limit=120)
    second = await mailboxes.read(bob, after=ids[119], limit=130)
    assert (ids[:120], False) == ([m.id for m in first.messages], first.complete)
    assert (ids[120:], True) == ([m.id for m in second.messages], second.complete)
    assert (ids[-1], 250) == (second.tail, second.unread)
    assert (await mailboxes.read(bob, after=ids[-1], limit=1)).messages == []


async def test_a_page_of_one(mailboxes: RedisMailboxes, bob: str) -> None:
    """A limit of one is kept, and the last page of one is complete."""
    ids = await deliver(mailboxes, bob, 2)
    first = await mailboxes.read(bob, after=START, limit=1)
    last = await mailboxes.read(bob, after=ids[0], limit=1)
    assert ([ids[0]], False) == ([m.id for m in first.messages], first.complete)
    assert ([ids[1]], True) == ([m.id for m in last.messages], last.complete)


async def test_a_page_ends_at_four_mebibytes(mailboxes: RedisMailboxes, bob: str) -> None:
    """Large messages make fewer of them a page, and none is lost between pages."""
    await mailboxes.open(bob, create=True)
    large = "x" * 60_000
    results = await mailboxes.accept([entry(bob, large) for _ in range(100)])
    page = await mailboxes.read(bob, after=START, limit=100)
    size = sum(len(message.json) for message in page.messages)
    assert not page.complete
    assert MAX_PAGE_BYTES - 61_000 < size <= MAX_PAGE_BYTES
    ids = [id_of(result) for result in results if isinstance(result, Accepted)]
    assert ids == await unread(mailboxes, bob)


async def test_a_message_larger_than_a_page_is_still_read(
    mailboxes: RedisMailboxes, bob: str
) -> None:
    """A page holds at least one message, however large."""
    await mailboxes.open(bob, create=True)
    await mailboxes.accept([entry(bob, "x" * (MAX_PAGE_BYTES + 1)), entry(bob)])
    page = await mailboxes.read(bob, after=START, limit=10)
    assert (len(page.messages), page.complete) == (1, False)


async def test_tails_of_many_mailboxes(mailboxes: RedisMailboxes, bob: str) -> None:
    """Tails come in the order asked, None for who is not there, also asked twice."""
    names = [f"{bob}-{n}" for n in range(1200)]
    await asyncio.gather(*[mailboxes.open(name, create=True) for name in names[:600]])
    results = await mailboxes.accept([entry(name) for name in names[:600]])
    ids = [id_of(result) for result in results if isinstance(result, Accepted)]
    assert ids + [None] * 600 == await mailboxes.tails(names)
    assert [ids[0], None, ids[0]] == await mailboxes.tails([names[0], names[-1], names[0]])
    assert await mailboxes.tails([]) == []


async def test_what_a_device_holds_and_is_gone(mailboxes: RedisMailboxes, bob: str) -> None:
    """Opening tells which of the held ids are no longer in the mailbox."""
    ids = await deliver(mailboxes, bob, 4)
    await mailboxes.acknowledge(bob, [ids[0], ids[2]])
    unknown = MessageId(1, 1)
    opened = await mailboxes.open(bob, create=True, holding=[unknown, *ids])
    assert (unknown, ids[0], ids[2]) == opened.gone
    assert opened.unread == 2


# --- acks ----------------------------------------------------------------------------


async def test_ack_of_ids(mailboxes: RedisMailboxes, bob: str) -> None:
    """Exactly these are removed; again, or unknown ones, remove nothing, without error."""
    ids = await deliver(mailboxes, bob, 5)
    some = [ids[1], ids[3], MessageId(1, 1)]
    assert Acknowledged(2, 3) == await mailboxes.acknowledge(bob, some)
    assert Acknowledged(0, 3) == await mailboxes.acknowledge(bob, some)
    assert [ids[0], ids[2], ids[4]] == await unread(mailboxes, bob)


async def test_ack_up_to_an_id(mailboxes: RedisMailboxes, bob: str) -> None:
    """Everything up to the id is removed; zero of the epoch and repetition remove none."""
    ids = await deliver(mailboxes, bob, 5)
    zero = MessageId(ids[0].epoch, 0)
    assert Acknowledged(0, 5) == await mailboxes.acknowledge(bob, zero)
    assert Acknowledged(3, 2) == await mailboxes.acknowledge(bob, ids[2])
    assert Acknowledged(0, 2) == await mailboxes.acknowledge(bob, ids[2])
    assert ids[3:] == await unread(mailboxes, bob)


async def test_ack_above_the_tail_removes_nothing(
    mailboxes: RedisMailboxes, bob: str
) -> None:
    """An id that was not assigned yet cannot have been handled, nor one of the future."""
    ids = await deliver(mailboxes, bob, 2)
    above = MessageId(ids[1].epoch, 3)
    later = MessageId(ids[1].epoch + 1, 1)
    assert Acknowledged(0, 2) == await mailboxes.acknowledge(bob, above)
    assert Acknowledged(0, 2) == await mailboxes.acknowledge(bob, later)
    assert Acknowledged(2, 0) == await mailboxes.acknowledge(bob, ids[1])


async def test_ack_of_a_thousand_ids(mailboxes: RedisMailboxes, bob: str) -> None:
    """As many ids as an ack may have are removed in one call."""
    ids = await deliver(mailboxes, bob, 1000)
    assert Acknowledged(1000, 0) == await mailboxes.acknowledge(bob, ids)


async def test_acks_of_many_mailboxes_travel_together(
    mailboxes: RedisMailboxes, bob: str
) -> None:
    """Acks of one tick, of several mailboxes and in both forms, each get their answer."""
    names = [f"{bob}-{n}" for n in range(20)]
    ids = await asyncio.gather(*[deliver(mailboxes, name, 3) for name in names])
    answers = await asyncio.gather(
        *[
            mailboxes.acknowledge(name, [id[0], id[2]] if n % 2 else id[1])
            for n, (name, id) in enumerate(zip(names, ids, strict=True))
        ]
    )
    assert [Acknowledged(2, 1)] * 20 == answers


async def test_the_next_id_does_not_depend_on_acks(
    mailboxes: RedisMailboxes, bob: str
) -> None:
    """An emptied mailbox goes on counting in its epoch."""
    ids = await deliver(mailboxes, bob, 3)
    await mailboxes.acknowledge(bob, ids[-1])
    [next_id] = await deliver(mailboxes, bob, 1)
    assert MessageId(ids[0].epoch, 4) == next_id


# --- publications --------------------------------------------------------------------


async def test_publications_arrive_in_order(
    mailboxes: RedisMailboxes, ear: Ear, bob: str
) -> None:
    """Messages, acks and joins are heard once each, in the order they happened."""
    await mailboxes.subscribe(bob)
    ids = await deliver(mailboxes, bob, 3)
    await mailboxes.acknowledge(bob, ids[:2], origin="session one")
    await mailboxes.acknowledge(bob, ids[2], origin="")
    await mailboxes.open(bob, create=False, device="my\tphone ☎", session="s1")
    [last] = await deliver(mailboxes, bob, 1)
    await until(lambda: last in ear.messages(bob))
    assert [*ids, last] == ear.messages(bob)
    assert [
        (ids[:2], "session one"),
        (ids[2], ""),
        ("my\tphone ☎", "s1"),
    ] == [heard.details for heard in ear.heard if heard.what != "published"]
    assert ear.what()[-1] == "published"


async def test_a_burst_comes_in_few_pieces(
    mailboxes: RedisMailboxes, ear: Ear, bob: str
) -> None:
    """Messages of one network read are told together, as they are read from the store."""
    await mailboxes.subscribe(bob)
    ids = await deliver(mailboxes, bob, 500)
    await until(lambda: ids[-1] in ear.messages(bob))
    assert ids == ear.messages(bob)
    assert len(ear.heard) < 100
    page = await mailboxes.read(bob, after=START, limit=500)
    assert page.messages == [
        message
        for heard in ear.heard
        if isinstance(heard.details, list)
        for message in heard.details
    ]


async def test_an_ack_of_nothing_is_not_published(
    mailboxes: RedisMailboxes, ear: Ear, bob: str
) -> None:
    """Only what was removed is worth telling."""
    await mailboxes.subscribe(bob)
    ids = await deliver(mailboxes, bob, 1)
    for _ in range(2):
        await mailboxes.acknowledge(bob, ids)
    [last] = await deliver(mailboxes, bob, 1)
    await until(lambda: last in ear.messages(bob))
    assert ear.what() == ["published", "acknowledged", "published"]


async def test_after_unsubscribing_nothing_is_heard(
    mailboxes: RedisMailboxes, ear: Ear, bob: str
) -> None:
    """Subscribing is idempotent, ends with one unsubscribe, and can begin again."""
    other = f"{bob}-other"
    await asyncio.gather(*[mailboxes.subscribe(name) for name in (bob, bob, other)])
    await mailboxes.subscribe(bob)
    mailboxes.unsubscribe(bob)
    mailboxes.unsubscribe(bob)
    await deliver(mailboxes, bob, 1)
    [heard] = await deliver(mailboxes, other, 1)
    await until(lambda: heard in ear.messages(other))
    assert ear.messages(bob) == []
    mailboxes.unsubscribe(other)
    await mailboxes.subscribe(bob)
    [second] = await deliver(mailboxes, bob, 1)
    await until(lambda: second in ear.messages(bob))
    assert [second] == ear.messages(bob)


async def test_more_channels_than_one_command_takes(
    mailboxes: RedisMailboxes, ear: Ear, bob: str
) -> None:
    """More than a thousand subscriptions of one tick are all confirmed, and heard."""
    names = [f"{bob}-{n}" for n in range(1100)]
    await asyncio.gather(*[mailboxes.subscribe(name) for name in names])
    await asyncio.gather(*[mailboxes.open(name, create=True) for name in names])
    await mailboxes.accept([entry(name) for name in names])
    await until(lambda: all(len(ear.messages(name)) == 1 for name in names[-3:]))


async def test_no_call_leaves_garbage(mailboxes: RedisMailboxes, bob: str) -> None:
    """A server at rest grew by what every tail check left to the garbage collector."""
    ids = await deliver(mailboxes, bob, 3)
    gc.collect()
    gc.disable()
    try:
        for _ in range(20):
            await mailboxes.tails([bob])
            await mailboxes.read(bob, after=START, limit=10)
            await mailboxes.acknowledge(bob, ids)
            await deliver(mailboxes, bob, 1)
        assert gc.collect() < 20
    finally:
        gc.enable()

"""Promise: a full mailbox refuses, says so to both sides, and nobody fills it alone."""

import asyncio

import pytest

from pushd.errors import MailboxFull
from pushd.mailbox.base import Acknowledged, Quota
from pushd.mailbox.redis import RedisMailboxes
from pushd.protocol.ids import MessageId
from pushd.protocol.messages import Accepted, Overflow
from tests.contract.conftest import Connect
from tests.contract.stores import ALICE, CAROL, Ear, entry, id_of, unread, until
from tests.stores import Server

EIGHT = Quota(messages=8, bytes=10**6, dedup=3600)
SENDERS = [ALICE, CAROL]


@pytest.fixture
async def small(connect: Connect, server: Server, ear: Ear) -> RedisMailboxes:
    """Connect to the shared server, with room for eight messages in a mailbox."""
    return await connect(server, ear, EIGHT)


async def fill(mailboxes: RedisMailboxes, bob: str) -> list[MessageId]:
    """Fill a mailbox of eight from two senders in turn."""
    await mailboxes.open(bob, create=True)
    ids = []
    for number in range(8):
        [result] = await mailboxes.accept([entry(bob, sender=SENDERS[number % 2])])
        assert isinstance(result, Accepted)
        ids.append(id_of(result))
    return ids


async def refused(mailboxes: RedisMailboxes, bob: str, sender: str = ALICE) -> str | None:
    """Try to deliver; tell why not."""
    [result] = await mailboxes.accept([entry(bob, sender=sender)])
    if isinstance(result, MailboxFull):
        return result.detail
    assert isinstance(result, Accepted)
    return None


async def overflow(mailboxes: RedisMailboxes, bob: str) -> Overflow | None:
    """Ask what was refused and not yet told."""
    return (await mailboxes.open(bob, create=False)).overflow


async def test_a_full_mailbox_refuses_until_it_is_below_half(
    small: RedisMailboxes, bob: str
) -> None:
    """Eight fit; then it takes acks of more than half until another does."""
    ids = await fill(small, bob)
    assert MailboxFull.title == await refused(small, bob)
    await small.acknowledge(bob, ids[:4])
    assert MailboxFull.title == await refused(small, bob)
    assert ids[4:] == await unread(small, bob)
    await small.acknowledge(bob, [ids[4]])
    assert None is await refused(small, bob, CAROL)


async def test_one_call_cannot_pass_the_quota(small: RedisMailboxes, bob: str) -> None:
    """Entries of one batch are counted one by one."""
    await small.open(bob, create=True)
    results = await small.accept([entry(bob, sender=f"did:test:{n}") for n in range(20)])
    assert [Accepted] * 8 + [MailboxFull] * 12 == [type(result) for result in results]


async def test_a_mailbox_that_is_emptied_takes_the_whole_quota_again(
    small: RedisMailboxes, bob: str
) -> None:
    """Acks of any form give room; a mailbox read as it fills is never full."""
    ids = await fill(small, bob)
    await small.acknowledge(bob, ids[-1])
    await fill(small, bob)
    await small.acknowledge(bob, await unread(small, bob))
    for _ in range(30):
        [result] = await small.accept([entry(bob)])
        assert isinstance(result, Accepted)
        await small.acknowledge(bob, [id_of(result)])


async def test_bytes_are_limited(connect: Connect, server: Server, bob: str) -> None:
    """Few large messages fill a mailbox as many small ones do."""
    quota = Quota(messages=1000, bytes=40_000, dedup=3600)
    mailboxes = await connect(server, quota=quota)
    await mailboxes.open(bob, create=True)
    batch = [entry(bob, "x" * 4000, sender=f"did:test:{n}") for n in range(12)]
    results = await mailboxes.accept(batch)
    ids = [id_of(result) for result in results if isinstance(result, Accepted)]
    assert [Accepted] * 9 + [MailboxFull] * 3 == [type(result) for result in results]
    await mailboxes.acknowledge(bob, ids[:4])
    assert await refused(mailboxes, bob)
    await mailboxes.acknowledge(bob, ids[4:6])
    assert None is await refused(mailboxes, bob)


async def test_a_known_key_is_answered_although_the_mailbox_is_full(
    small: RedisMailboxes, bob: str
) -> None:
    """A retry of what was accepted is no new message."""
    await small.open(bob, create=True)
    [first] = await small.accept([entry(bob, key="k")])
    await fill_up(small, bob)
    assert isinstance(first, Accepted)
    assert [Accepted(first.id, bob, True)] == await small.accept([entry(bob, key="k")])
    assert None is await overflow_before(small, bob, refusals=1)


async def fill_up(mailboxes: RedisMailboxes, bob: str) -> None:
    """Deliver from ever new senders until it is refused."""
    number = 0
    while not await refused(mailboxes, bob, f"did:test:{number}"):
        number += 1


async def overflow_before(
    mailboxes: RedisMailboxes, bob: str, *, refusals: int
) -> Overflow | None:
    """Tell the overflow unless it is of just so many refusals."""
    found = await overflow(mailboxes, bob)
    return None if found is not None and found.refused == refusals else found


# --- one sender's share --------------------------------------------------------------


async def test_one_sender_gets_half(small: RedisMailboxes, bob: str) -> None:
    """The fifth of eight from one sender is refused as its share; others still fit."""
    await small.open(bob, create=True)
    results = await small.accept([entry(bob) for _ in range(6)])
    assert [Accepted] * 4 + [MailboxFull] * 2 == [type(result) for result in results]
    assert "share" in str(results[4])
    assert None is await refused(small, bob, CAROL)


async def test_a_share_is_free_again_below_its_half(
    small: RedisMailboxes, bob: str
) -> None:
    """The sender waits until its part has drained below half; other acks do not help."""
    await small.open(bob, create=True)
    results = await small.accept(
        [entry(bob) for _ in range(4)] + [entry(bob, sender=CAROL) for _ in range(3)]
    )
    ids = [id_of(result) for result in results if isinstance(result, Accepted)]
    assert await refused(small, bob)
    await small.acknowledge(bob, ids[4:6])
    assert await refused(small, bob)
    await small.acknowledge(bob, ids[:2])
    assert await refused(small, bob)
    await small.acknowledge(bob, [ids[2]])
    assert None is await refused(small, bob)


async def test_shares_of_many_messages_are_counted_in_steps(
    connect: Connect, server: Server, bob: str
) -> None:
    """A mailbox that fills quickly catches up with counting before a share is passed."""
    quota = Quota(messages=2000, bytes=10**7, dedup=3600)
    mailboxes = await connect(server, quota=quota)
    await mailboxes.open(bob, create=True)
    senders = [ALICE] * 4 + [CAROL]
    accepted = []
    for start in range(0, 2500, 500):
        batch = [entry(bob, sender=senders[n % 5]) for n in range(start, start + 500)]
        results = await mailboxes.accept(batch)
        accepted += [
            (delivery.sender, id_of(result))
            for delivery, result in zip(batch, results, strict=True)
            if isinstance(result, Accepted)
        ]
    by_alice = [id for sender, id in accepted if sender == ALICE]
    assert len(by_alice) == 1000
    assert await refused(mailboxes, bob)
    await mailboxes.acknowledge(bob, by_alice[499])
    assert await refused(mailboxes, bob)
    await mailboxes.acknowledge(bob, [by_alice[500]])
    assert None is await refused(mailboxes, bob)


async def test_a_large_heavy_mailbox_is_acked_at_once(
    connect: Connect, server: Server, bob: str
) -> None:
    """An ack up to the tail empties even a mailbox whose shares are counted."""
    quota = Quota(messages=3000, bytes=10**7, dedup=3600)
    mailboxes = await connect(server, quota=quota)
    await mailboxes.open(bob, create=True)
    for _ in range(5):
        batch = [entry(bob, sender=SENDERS[n % 2]) for n in range(500)]
        results = await mailboxes.accept(batch)
    last = results[-1]
    assert isinstance(last, Accepted)
    assert await mailboxes.acknowledge(bob, id_of(last)) == Acknowledged(2500, 0)
    with server.client() as client:
        assert [f"pushd:{{{bob}}}:m", f"pushd:{{{bob}}}:s"] == sorted(
            key.decode() for key in client.keys(f"pushd:{{{bob}}}*")
        )


# --- the owner is told ---------------------------------------------------------------


async def test_the_owner_learns_what_was_refused(
    small: RedisMailboxes, ear: Ear, bob: str
) -> None:
    """Each refusal counts; it shows in every answer, and at once to who listens."""
    await small.subscribe(bob)
    await fill(small, bob)
    assert None is await overflow(small, bob)
    for _ in range(3):
        assert await refused(small, bob)
    found = await overflow(small, bob)
    assert found is not None
    assert found.refused == 3
    assert found == (await small.read(bob, after=MessageId(0, 0), limit=1)).overflow
    await until(lambda: "overflowed" in ear.what())
    await small.acknowledge(bob, await unread(small, bob), origin="end")
    await until(lambda: "acknowledged" in ear.what())
    told = [heard.details for heard in ear.heard if heard.what == "overflowed"]
    assert [Overflow(refused=1, since=found.since)] == told


async def test_who_listens_is_told_again_after_a_minute(
    small: RedisMailboxes, server: Server, ear: Ear, bob: str
) -> None:
    """While it goes on, at most once in that time; the count is that of all refusals."""
    await small.subscribe(bob)
    await fill(small, bob)
    assert await refused(small, bob)
    with server.client() as client:
        for passed in (50, 11):
            client.hincrby(f"pushd:{{{bob}}}:o", "said", -passed)
            assert await refused(small, bob)
    found = await overflow(small, bob)
    assert found is not None
    await small.acknowledge(bob, await unread(small, bob), origin="end")
    await until(lambda: "acknowledged" in ear.what())
    told = [heard.details for heard in ear.heard if heard.what == "overflowed"]
    assert [Overflow(refused, found.since) for refused in (1, 3)] == told


async def test_it_is_forgotten_once_told_and_accepting(
    small: RedisMailboxes, bob: str
) -> None:
    """While it refuses the count stays; told and drained, it is gone."""
    ids = await fill(small, bob)
    assert await refused(small, bob)
    found = await overflow(small, bob)
    assert found is not None
    small.told(bob, found)
    assert found == await overflow(small, bob)
    await small.acknowledge(bob, ids[-1])
    small.told(bob, found)
    assert None is await overflow(small, bob)


async def test_refusals_after_the_telling_are_kept(small: RedisMailboxes, bob: str) -> None:
    """What was told is taken off, what came later is told next."""
    ids = await fill(small, bob)
    assert await refused(small, bob)
    found = await overflow(small, bob)
    assert found is not None
    small.told(bob, found)
    await asyncio.gather(*[refused(small, bob) for _ in range(2)])
    await small.acknowledge(bob, ids[-1])
    small.told(bob, found)
    left = await overflow(small, bob)
    assert left is not None
    assert left.refused == 2
    assert left.since >= found.since
    small.told(bob, left)
    assert None is await overflow(small, bob)


async def test_a_refused_share_is_told_too(small: RedisMailboxes, bob: str) -> None:
    """The owner learns of every refusal, whosever quota it was."""
    await small.open(bob, create=True)
    await small.accept([entry(bob) for _ in range(5)])
    found = await overflow(small, bob)
    assert found is not None
    assert found.refused == 1
    small.told(bob, found)
    assert None is await overflow(small, bob)


async def test_an_id_twice_in_an_ack_counts_once(small: RedisMailboxes, bob: str) -> None:
    """A share is not made free twice by the same message."""
    await small.open(bob, create=True)
    await small.accept([entry(bob, sender=CAROL)])
    results = await small.accept([entry(bob) for _ in range(4)])
    first = results[0]
    assert isinstance(first, Accepted)
    assert await refused(small, bob)
    assert await small.acknowledge(bob, [id_of(first)] * 3) == Acknowledged(1, 4)
    assert await refused(small, bob)

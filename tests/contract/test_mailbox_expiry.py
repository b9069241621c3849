"""Promise: an expired message is gone for everyone, and the numbering goes on."""

import asyncio
import struct

import pytest

from pushd.mailbox.base import Quota
from pushd.mailbox.redis import RedisMailboxes
from pushd.protocol.ids import START, MessageId
from pushd.protocol.messages import Accepted
from tests.contract.conftest import Connect
from tests.contract.stores import ALICE, CAROL, QUOTA, entry, id_of, unread, until
from tests.stores import Server


async def deliver(mailboxes: RedisMailboxes, bob: str, *ttls: int) -> list[MessageId]:
    """Open a mailbox and put in a message for each time to live."""
    await mailboxes.open(bob, create=True)
    results = await mailboxes.accept([entry(bob, ttl=ttl) for ttl in ttls])
    return [id_of(result) for result in results if isinstance(result, Accepted)]


async def emptied(mailboxes: RedisMailboxes, bob: str, count: int) -> None:
    """Wait until so many messages are left."""

    async def so_many() -> bool:
        return (await mailboxes.read(bob, after=START, limit=1)).unread == count

    await until(so_many)


async def test_expired_messages_are_neither_returned_nor_counted(
    mailboxes: RedisMailboxes, bob: str
) -> None:
    """Of long and short lives mixed, in any order, only the long ones stay."""
    ids = await deliver(mailboxes, bob, 100, 1, 200, 2, 1, 50, 1)
    assert len(ids) == 7
    await emptied(mailboxes, bob, 3)
    assert [ids[0], ids[2], ids[5]] == await unread(mailboxes, bob)
    opened = await mailboxes.open(bob, create=False, holding=ids)
    assert (ids[1], ids[3], ids[4], ids[6]) == opened.gone
    assert (3, ids[-1]) == (opened.unread, opened.tail)


async def test_the_numbering_goes_on_after_everything_expired(
    mailboxes: RedisMailboxes, bob: str
) -> None:
    """A hole is an expired message, not a new epoch."""
    first = await deliver(mailboxes, bob, 1, 1)
    await emptied(mailboxes, bob, 0)
    assert [first[-1]] == await mailboxes.tails([bob])
    [third] = await deliver(mailboxes, bob, 60)
    assert MessageId(first[0].epoch, 3) == third


async def test_more_expire_at_once_than_one_call_sweeps(
    mailboxes: RedisMailboxes, bob: str
) -> None:
    """A reader is never shown what is past, however much of it there is."""
    await deliver(mailboxes, bob, *[1] * 450)
    [last] = await deliver(mailboxes, bob, 60)
    async with asyncio.timeout(20):
        while (page := await mailboxes.read(bob, after=START, limit=500)).unread > 1:
            assert len(page.messages) == page.unread == 451
            await asyncio.sleep(0.05)
    assert [last] == [message.id for message in page.messages]


async def test_exceptions_that_were_acked_leave_nothing(
    mailboxes: RedisMailboxes, server: Server, bob: str
) -> None:
    """The book of exceptions is kept by acks of both forms, too."""
    ids = await deliver(mailboxes, bob, 1000, 500, 400, 300, 200)
    exceptions = f"pushd:{{{bob}}}:x"
    with server.client() as client:
        assert client.zcard(exceptions) == 4
        await mailboxes.acknowledge(bob, ids[1:3])
        assert client.zcard(exceptions) == 2
        await mailboxes.acknowledge(bob, ids[-1])
        assert client.exists(exceptions) == 0
    [id] = await deliver(mailboxes, bob, 10)
    with server.client() as client:
        assert client.exists(exceptions) == 0, "an empty mailbox begins a new chain"
    assert [id] == await unread(mailboxes, bob)


async def test_expiry_makes_room(connect: Connect, server: Server, bob: str) -> None:
    """A full mailbox accepts again once enough has expired."""
    mailboxes = await connect(server, quota=Quota(8, 10**6, 3600))
    await mailboxes.open(bob, create=True)
    senders = [ALICE, CAROL] * 4
    for sender in senders:
        await mailboxes.accept([entry(bob, sender=sender, ttl=1)])

    async def accepted() -> bool:
        [result] = await mailboxes.accept([entry(bob, sender=ALICE)])
        return isinstance(result, Accepted)

    await until(accepted)
    assert len(await unread(mailboxes, bob)) == 1


async def test_expiry_counts_for_the_senders_share(
    connect: Connect, server: Server, bob: str
) -> None:
    """What expired is no longer in its sender's share."""
    mailboxes = await connect(server, quota=Quota(8, 10**6, 3600))
    await mailboxes.open(bob, create=True)
    await mailboxes.accept([entry(bob, sender=CAROL) for _ in range(3)])
    results = await mailboxes.accept([entry(bob, ttl=1) for _ in range(5)])
    assert not isinstance(results[-1], Accepted)

    async def accepted() -> bool:
        [result] = await mailboxes.accept([entry(bob)])
        return isinstance(result, Accepted)

    await until(accepted)


async def test_everything_a_mailbox_keeps_has_an_end(
    connect: Connect, server: Server, bob: str
) -> None:
    """Messages leave the store by themselves, the mailbox itself after 90 days unused."""
    mailboxes = await connect(server)
    month, day = 30 * 86400, 86400
    await mailboxes.open(bob, create=True)
    await mailboxes.accept([entry(bob, ttl=month, key="k"), entry(bob, ttl=60)])
    with server.client() as client:
        left = {
            key.decode().rsplit(":", 1)[-1 if b":k:" not in key else 0][-1]: client.ttl(key)
            for key in client.keys(f"pushd:{{{bob}}}:*")
        }
    assert {"m", "s", "x", "k"} == set(left)
    assert month + day < left["s"] <= month + 2 * day
    assert left["s"] == pytest.approx(left["x"], abs=2)
    assert month + 91 * day == pytest.approx(left["m"], abs=2)
    assert QUOTA.dedup < left["k"] <= 2 * QUOTA.dedup


async def test_using_a_mailbox_keeps_it(server: Server, mailboxes: RedisMailboxes) -> None:
    """Who reads keeps the mailbox and its numbering, though nothing is written."""
    bob = "did:test:reader"
    opened = await mailboxes.open(bob, create=True)
    state = f"pushd:{{{bob}}}:m"
    with server.client() as client:
        packed = client.get(state)
        assert isinstance(packed, bytes)
        at = struct.calcsize("<16s7d")
        [kept] = struct.unpack_from("<d", packed, at)
        earlier = struct.pack(
            "<d", kept - 3 * 86400
        )  # as if nobody had come for three days
        client.set(state, packed[:at] + earlier + packed[at + 8 :], ex=1000)
        client.expire(f"pushd:{{{bob}}}:s", 1000)
        assert [opened.tail] == await mailboxes.tails([bob])
        assert client.ttl(state) > 90 * 86400
        assert client.ttl(f"pushd:{{{bob}}}:s") > 86400

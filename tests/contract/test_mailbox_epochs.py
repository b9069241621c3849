"""Promise: whatever interrupts the store opens a new epoch, and every answer shows it."""

import asyncio
import contextlib
import socket
import tempfile
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest
import redis

from pushd.errors import UnknownMailbox
from pushd.mailbox.base import Acknowledged
from pushd.mailbox.redis import RedisMailboxes
from pushd.protocol.ids import START, MessageId
from pushd.protocol.messages import Accepted
from tests.contract.conftest import Connect
from tests.contract.stores import Ear, entry, id_of, unread, until
from tests.stores import Server

Look = Callable[[RedisMailboxes, str, MessageId], Awaitable[MessageId]]


async def _open(mailboxes: RedisMailboxes, bob: str, old: MessageId) -> MessageId:
    return (await mailboxes.open(bob, create=False)).tail


async def _read(mailboxes: RedisMailboxes, bob: str, old: MessageId) -> MessageId:
    return (await mailboxes.read(bob, after=old, limit=10)).tail


async def _tails(mailboxes: RedisMailboxes, bob: str, old: MessageId) -> MessageId:
    [tail] = await mailboxes.tails([bob])
    assert isinstance(tail, MessageId)
    return tail


async def _acknowledge(mailboxes: RedisMailboxes, bob: str, old: MessageId) -> MessageId:
    await mailboxes.acknowledge(bob, MessageId(1, 1))
    return await _tails(mailboxes, bob, old)


LOOKS: list[Look] = [_open, _read, _tails, _acknowledge]


async def store_three(mailboxes: RedisMailboxes, bob: str) -> list[MessageId]:
    """Open a mailbox and put three messages into it."""
    await mailboxes.open(bob, create=True)
    results = await mailboxes.accept([entry(bob, str(n)) for n in range(3)])
    return [id_of(result) for result in results if isinstance(result, Accepted)]


@pytest.mark.parametrize("look", LOOKS)
async def test_after_a_restart_nobody_sees_the_old_tail(
    connect: Connect, own_server: Server, bob: str, look: Look
) -> None:
    """Whatever is asked first after a restart, the answer is of a new epoch."""
    mailboxes = await connect(own_server)
    ids = await store_three(mailboxes, bob)
    own_server.restart()
    mailboxes = await connect(own_server)
    tail = await look(mailboxes, bob, ids[-1])
    assert tail.seq == 0
    assert tail.epoch > ids[-1].epoch
    assert ids == await unread(mailboxes, bob)
    assert tail == await _tails(mailboxes, bob, tail)


async def test_a_new_epoch_counts_from_one_behind_the_old_messages(
    connect: Connect, own_server: Server, bob: str
) -> None:
    """What was unread stays first, under its old ids; what comes is numbered anew."""
    mailboxes = await connect(own_server)
    old = await store_three(mailboxes, bob)
    own_server.restart()
    mailboxes = await connect(own_server)
    new = await store_three(mailboxes, bob)
    assert [id.seq for id in new] == [1, 2, 3]
    assert old + new == await unread(mailboxes, bob)


async def test_acks_across_epochs(connect: Connect, own_server: Server, bob: str) -> None:
    """Up to an id means its own epoch only, current or old; ids are of any epoch."""
    mailboxes = await connect(own_server)
    old = await store_three(mailboxes, bob)
    own_server.restart()
    mailboxes = await connect(own_server)
    new = await store_three(mailboxes, bob)
    assert Acknowledged(2, 4) == await mailboxes.acknowledge(bob, new[1])
    assert [*old, new[2]] == await unread(mailboxes, bob)
    assert Acknowledged(2, 2) == await mailboxes.acknowledge(bob, old[1])
    assert Acknowledged(2, 0) == await mailboxes.acknowledge(bob, [new[2], old[2]])


async def test_an_old_epoch_is_acked_whole(
    connect: Connect, own_server: Server, bob: str
) -> None:
    """An old epoch has no tail to be above of: what is left of it is removed."""
    mailboxes = await connect(own_server)
    old = await store_three(mailboxes, bob)
    own_server.restart()
    mailboxes = await connect(own_server)
    beyond = MessageId(old[-1].epoch, old[-1].seq + 100)
    assert Acknowledged(3, 0) == await mailboxes.acknowledge(bob, beyond)


async def test_an_epoch_ends_once_per_restart(
    connect: Connect, own_server: Server, bob: str
) -> None:
    """The new epoch is opened by whoever comes first, and stays."""
    mailboxes = await connect(own_server)
    await store_three(mailboxes, bob)
    own_server.restart()
    mailboxes = await connect(own_server)
    answers = await asyncio.gather(
        *[mailboxes.tails([bob]) for _ in range(20)],
        *[mailboxes.tails([bob, bob]) for _ in range(20)],
    )
    assert len({tail for answer in answers for tail in answer}) == 1


async def test_a_lost_stream_is_a_new_epoch(
    connect: Connect, server: Server, mailboxes: RedisMailboxes, bob: str
) -> None:
    """When the messages vanished from the store, no answer vouches for continuity."""
    for look in [*LOOKS[:3], _accept]:
        ids = await store_three(mailboxes, bob)
        with server.client() as client:
            client.delete(f"pushd:{{{bob}}}:s")
        tail = await look(mailboxes, bob, ids[-1])
        assert tail.epoch > ids[-1].epoch


async def _accept(mailboxes: RedisMailboxes, bob: str, old: MessageId) -> MessageId:
    [first, again] = await mailboxes.accept([entry(bob, key="k")] * 2)
    assert isinstance(first, Accepted)
    assert isinstance(again, Accepted)
    assert id_of(first).seq == 1
    assert id_of(first) == id_of(again)
    return id_of(first)


async def test_lost_state_is_a_new_epoch(
    server: Server, mailboxes: RedisMailboxes, bob: str
) -> None:
    """A mailbox made again over an old stream counts above everything in it."""
    ids = await store_three(mailboxes, bob)
    await mailboxes.accept([entry(bob, ttl=1)])
    with server.client() as client:
        client.delete(f"pushd:{{{bob}}}:m")
    assert await mailboxes.tails([bob]) == [None]
    opened = await mailboxes.open(bob, create=True)
    assert opened.tail.epoch > ids[-1].epoch

    async def expired() -> bool:
        return await unread(mailboxes, bob) == ids

    await until(expired)


async def test_an_epoch_is_above_the_stream_even_if_the_clock_went_back(
    server: Server, mailboxes: RedisMailboxes, bob: str
) -> None:
    """A new epoch exceeds whatever the stream holds, whatever the clock says."""
    future = 2**52
    with server.client() as client:
        client.xadd(f"pushd:{{{bob}}}:s", {"m": "x"}, id=f"{future}-5")
        client.xdel(f"pushd:{{{bob}}}:s", f"{future}-5")
    opened = await mailboxes.open(bob, create=True)
    assert MessageId(future + 1, 0) == opened.tail


async def test_a_stream_that_is_ahead_opens_a_new_epoch(
    server: Server, mailboxes: RedisMailboxes, bob: str
) -> None:
    """If the state is behind the stream, no id is given twice."""
    ids = await store_three(mailboxes, bob)
    ahead = f"{ids[0].epoch}-9"
    with server.client() as client:
        client.xadd(f"pushd:{{{bob}}}:s", {"m": "x"}, id=ahead)
        client.xdel(f"pushd:{{{bob}}}:s", ahead)
    new = await store_three(mailboxes, bob)
    assert [id.seq for id in new] == [1, 2, 3]
    assert new[0].epoch > ids[0].epoch


async def test_everything_lost_is_an_unknown_mailbox(
    connect: Connect, own_server: Server, bob: str
) -> None:
    """After FLUSHALL the mailbox is not there; made again it is in a later epoch."""
    mailboxes = await connect(own_server)
    ids = await store_three(mailboxes, bob)
    with own_server.client() as client:
        client.flushall()
    with pytest.raises(UnknownMailbox):
        await mailboxes.read(bob, after=ids[-1], limit=10)
    opened = await mailboxes.open(bob, create=True, holding=ids)
    assert opened.tail.epoch > ids[-1].epoch
    assert tuple(ids) == opened.gone


async def test_a_promoted_replica_is_a_new_epoch(
    connect: Connect, own_server: Server, kind: str, bob: str
) -> None:
    """After a failover the epoch is new, though the state came along."""
    mailboxes = await connect(own_server)
    ids = await store_three(mailboxes, bob)
    with own_server.client() as client:
        port = _listen(client)
    with (
        tempfile.TemporaryDirectory(prefix="pushd-") as directory,
        Server(kind, Path(directory)) as replica,
        replica.client() as client,
    ):
        client.replicaof("127.0.0.1", port)
        await until(lambda: client.info("replication").get("master_link_status") == "up")
        await until(lambda: client.xlen(f"pushd:{{{bob}}}:s") == 3)
        client.replicaof("NO", "ONE")
        await until(lambda: client.info("persistence")["aof_enabled"] == 1)
        promoted = await connect(replica)
        assert (await _tails(promoted, bob, ids[-1])).epoch > ids[-1].epoch
        assert ids == await unread(promoted, bob)
        await promoted.close()


async def test_a_rewrite_of_the_log_keeps_the_epoch(
    connect: Connect, own_server: Server, bob: str
) -> None:
    """What does not interrupt the store does not end the epoch."""
    mailboxes = await connect(own_server)
    ids = await store_three(mailboxes, bob)
    with own_server.client() as client:
        client.bgrewriteaof()
        await until(lambda: not client.info("persistence")["aof_rewrite_in_progress"])
    assert ids[-1] == await _tails(mailboxes, bob, START)


async def test_two_processes_share_a_store(
    connect: Connect, server: Server, bob: str
) -> None:
    """A delivery and an ack in one process are heard in the other."""
    ears = [Ear(), Ear()]
    one, other = [await connect(server, ear) for ear in ears]
    await asyncio.gather(one.subscribe(bob), other.subscribe(bob))
    ids = await store_three(one, bob)
    await until(lambda: all(len(ear.messages(bob)) == 3 for ear in ears))
    await other.acknowledge(bob, ids[1], origin="other")
    await until(lambda: all("acknowledged" in ear.what() for ear in ears))
    assert [ids, ids] == [ear.messages(bob) for ear in ears]
    assert [(ids[1], "other")] * 2 == [ear.heard[-1].details for ear in ears]


def _listen(client: redis.Redis) -> int:
    """Let a server listen on a port that nobody else has taken meanwhile."""
    while True:
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            port: int = probe.getsockname()[1]
        with contextlib.suppress(redis.ResponseError):
            client.config_set("port", port)
            return port

"""On a Cluster: calls find the primary that has the mailbox, whatever moves meanwhile."""

import asyncio
import shutil
import tempfile
from collections.abc import AsyncIterator, Callable, Iterator
from functools import partial
from pathlib import Path

import pytest

from pushd.errors import ConfigurationError, PushdError, StoreUnavailable
from pushd.mailbox.redis import RedisMailboxes
from pushd.mailbox.translation import channel_of, slot_of
from pushd.protocol.ids import MessageId
from pushd.protocol.messages import Accepted
from tests.contract.stores import (
    QUOTA,
    Ear,
    accepted,
    entry,
    id_of,
    mailboxes_at,
    unread,
    until,
)
from tests.processes import free_port
from tests.stores import Cluster, Server, certificate

NAMES = [f"did:test:{number}" for number in range(60)]
BOB = NAMES[0]
SLOT = slot_of(channel_of(BOB))


@pytest.fixture(scope="module")
def cluster() -> Iterator[Cluster]:
    """Run three primaries for the tests that lose none of them."""
    with (
        tempfile.TemporaryDirectory(prefix="pushd-") as directory,
        Cluster("valkey", Path(directory)) as cluster,
    ):
        yield cluster


@pytest.fixture
def ear() -> Ear:
    """Hear publications."""
    return Ear()


@pytest.fixture
async def mailboxes(cluster: Cluster, ear: Ear) -> AsyncIterator[RedisMailboxes]:
    """Connect to the Cluster."""
    async with mailboxes_at(cluster.url, ear, BOB) as mailboxes:
        yield mailboxes


async def everyone(mailboxes: RedisMailboxes) -> None:
    """Open many mailboxes, some at each primary, and listen to them."""
    await asyncio.gather(*[mailboxes.open(name, create=True) for name in NAMES])
    await asyncio.gather(*[mailboxes.subscribe(name) for name in NAMES])


async def test_one_call_over_all_primaries(
    cluster: Cluster, mailboxes: RedisMailboxes, ear: Ear
) -> None:
    """It is split by slot, and the answers come back in the order of the question."""
    await everyone(mailboxes)
    owners = {cluster.owner(slot_of(channel_of(name))) for name in NAMES}
    assert len(owners) == 3
    names = [*NAMES, "did:test:nobody", *reversed(NAMES)]
    results = await mailboxes.accept([entry(name) for name in names])
    assert not isinstance(results[60], Accepted)
    stored = [result for result in results if isinstance(result, Accepted)]
    assert len(stored) == 120
    for name, first, second in zip(NAMES, stored[:60], reversed(stored[60:]), strict=True):
        assert (await unread(mailboxes, name))[-2:] == [id_of(first), id_of(second)]
    tails = await mailboxes.tails([*NAMES, "did:test:nobody", BOB])
    ids = [id_of(one) for one in stored[60:]]
    assert tails == [*reversed(ids), None, ids[-1]]
    counts = await mailboxes.charge(dict.fromkeys(NAMES, 100.0))
    assert list(counts) == NAMES
    await until(lambda: all(len(ear.messages(name)) == 2 for name in NAMES))


async def test_a_slot_moves_under_load(
    cluster: Cluster, mailboxes: RedisMailboxes, ear: Ear
) -> None:
    """Nothing is lost or done twice, and publications come from the new place."""
    ids: list[MessageId] = []
    moving = asyncio.Event()

    async def deliver() -> None:
        while not moving.is_set():
            ids.append(await accepted(mailboxes, BOB, f"load-{len(ids)}"))

    before = await unread(mailboxes, BOB)
    load = asyncio.create_task(deliver())
    for _ in range(3):
        count = len(ids)
        await until(lambda count=count: len(ids) > count + 20)  # type: ignore[misc] # mypy cannot infer a lambda's default
        target = another(cluster, cluster.owner(SLOT))
        await asyncio.to_thread(cluster.move, SLOT, target)
        count = len(ids)
        await until(lambda count=count: len(ids) > count + 20)  # type: ignore[misc] # mypy cannot infer a lambda's default
    moving.set()
    await load
    assert await unread(mailboxes, BOB) == before + ids
    await until(lambda: ids[-1] in ear.messages(BOB))
    await until(lambda: [BOB] in [heard.details for heard in ear.heard])
    assert ear.messages(BOB) == sorted(ear.messages(BOB))


async def test_one_that_only_listens_goes_along(
    cluster: Cluster, mailboxes: RedisMailboxes, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It asks nothing, so no answer sends it on; the end of its subscription does."""
    monkeypatch.setattr("pushd.mailbox.cluster.LOOK_SECONDS", 600.0)
    monkeypatch.setattr("pushd.mailbox.subscriptions.TICK_SECONDS", 600.0)
    quiet = Ear()
    async with mailboxes_at(cluster.url, quiet, BOB):
        target = another(cluster, cluster.owner(SLOT))
        await asyncio.to_thread(cluster.move, SLOT, target)
        await until(lambda: [BOB] in [heard.details for heard in quiet.heard])
        id = await accepted(mailboxes, BOB, f"for the quiet one at {target.port}")
        await until(lambda: id in quiet.messages(BOB))


def another(cluster: Cluster, owner: Server) -> Server:
    """Find a primary that is not this one."""
    return next(server for server in cluster.primaries() if server is not owner)


async def test_a_mailbox_that_is_half_carried_waits(
    cluster: Cluster, mailboxes: RedisMailboxes
) -> None:
    """While its keys are in two places it is no unknown mailbox, nor a new one."""
    first = await accepted(mailboxes, BOB, "before")
    before = await unread(mailboxes, BOB)
    target = another(cluster, cluster.owner(SLOT))
    source = cluster.open(SLOT, target)
    assert cluster.carry(SLOT, source, target, at_once=1)
    delivering = mailboxes.accept([entry(BOB, "meanwhile", key="meanwhile")])
    reading = mailboxes.tails([BOB])
    with pytest.raises(StoreUnavailable):
        await mailboxes.open(BOB, create=True)
    with pytest.raises(StoreUnavailable):
        await delivering
    with pytest.raises(StoreUnavailable):
        await reading
    late = mailboxes.accept([entry(BOB, "late", key="late")])
    while cluster.carry(SLOT, source, target, at_once=1):
        pass
    cluster.close(SLOT, source, target)
    [result] = await late
    assert isinstance(result, Accepted)
    assert (id_of(result).epoch, result.duplicate) > (first.epoch, False)
    assert await unread(mailboxes, BOB) == [*before, id_of(result)]


async def test_a_primary_that_is_new(
    cluster: Cluster, mailboxes: RedisMailboxes, ear: Ear
) -> None:
    """It gets the functions, and serves what is moved to it."""
    await everyone(mailboxes)
    fresh = await asyncio.to_thread(cluster.add)
    for name in NAMES[:5]:
        await asyncio.to_thread(cluster.move, slot_of(channel_of(name)), fresh)
    for name in NAMES[:5]:
        id = await accepted(mailboxes, name, "to the new one")
        await until(partial(told, ear, name, id, 0))
        id = await accepted(mailboxes, name, "and now it is heard there")
        await until(lambda name=name, id=id: id in ear.messages(name))  # type: ignore[misc] # mypy cannot infer a lambda's default
    await until(lambda: mailboxes.ready() is None)


def told(ear: Ear, mailbox: str, id: MessageId, since: int) -> bool:
    """Whether a message was heard, or its mailbox was to be compared since then.

    It is stored at the new primary before or after that has the subscription.
    """
    return id in ear.messages(mailbox) or any(
        mailbox in heard.details
        for heard in ear.heard[since:]
        if heard.what == "interrupted" and isinstance(heard.details, list)
    )


async def test_a_part_that_is_away_takes_no_other_along(
    cluster: Cluster, mailboxes: RedisMailboxes
) -> None:
    """One primary is stopped: the others accept, and tell their tails."""
    await everyone(mailboxes)
    stopped = cluster.primaries()[1]
    gone = {name for name in NAMES if cluster.owner(slot_of(channel_of(name))) is stopped}
    stopped.kill()
    try:
        await until(lambda: mailboxes.ready() is not None)
        results = await mailboxes.accept([entry(name) for name in NAMES])
        for name, result in zip(NAMES, results, strict=True):
            assert isinstance(result, StoreUnavailable if name in gone else Accepted)
        tails = await mailboxes.tails(NAMES)
        for name, tail in zip(NAMES, tails, strict=True):
            assert isinstance(tail, PushdError if name in gone else MessageId)
    finally:
        stopped.start()
    await until(lambda: mailboxes.ready() is None)
    for name in NAMES:
        await accepted(mailboxes, name, "again")


# --- failover --------------------------------------------------------------------------


async def test_a_primary_is_replaced(ear: Ear) -> None:
    """Its replica is found, sessions hear it, and what was replicated is all there."""
    with (
        tempfile.TemporaryDirectory(prefix="pushd-") as directory,
        Cluster("valkey", Path(directory), replicas=1) as cluster,
    ):
        async with mailboxes_at(cluster.url, ear, BOB, "replicated") as mailboxes:
            ids = [await accepted(mailboxes, BOB, f"first-{n}") for n in range(5)]
            since = len(ear.heard)
            await replace(cluster, lambda: cluster.failover(cluster.owner(SLOT)))
            ids += [await accepted(mailboxes, BOB, f"second-{n}") for n in range(5)]
            await until(partial(told, ear, BOB, ids[-1], since))
            since = len(ear.heard)
            former = cluster.owner(SLOT)
            former.kill()
            await replace(cluster, lambda: cluster.await_failover(former))
            former.start()
            ids += [await accepted(mailboxes, BOB, f"third-{n}") for n in range(5)]
            await until(partial(told, ear, BOB, ids[-1], since))
            assert await unread(mailboxes, BOB) == ids
            assert len({id.epoch for id in ids}) == 3
            await until(lambda: mailboxes.ready() is None)


async def replace(cluster: Cluster, promote: Callable[[], Server]) -> None:
    """Have Bob's slot served by another server."""
    promoted = await asyncio.to_thread(promote)
    assert cluster.owner(SLOT) is promoted


# --- being let in ----------------------------------------------------------------------


@pytest.mark.skipif(shutil.which("redis-server") is None, reason="needs redis-server")
async def test_tls_and_users(ear: Ear) -> None:
    """All its servers are reached by TLS, as the user of the URL, at their own ports."""
    with tempfile.TemporaryDirectory(prefix="pushd-") as directory:
        own = certificate(Path(directory))
        with Cluster("redis", Path(directory), certificate=own) as cluster:
            rules = ["on", ">secret", "~pushd:*", "&pushd:*", "+@all"]
            for server in cluster.servers:
                server.ask("ACL", "SETUSER", "app", *rules)
            url = cluster.url.replace("//", "//app:secret@") + f"?ssl_ca_certs={own}"
            async with mailboxes_at(url, ear, BOB) as mailboxes:
                await everyone(mailboxes)
                results = await mailboxes.accept([entry(name) for name in NAMES])
                assert all(isinstance(result, Accepted) for result in results)
                await until(lambda: all(ear.messages(name) for name in NAMES))
            assert "password" in await refusal(url.replace("secret", "sesame"))


# --- what is no Cluster ----------------------------------------------------------------


async def test_the_url_fits_the_store(cluster: Cluster) -> None:
    """One server is no Cluster, nor the other way round; a sentence says which it is."""
    with (
        tempfile.TemporaryDirectory(prefix="pushd-") as directory,
        Server("valkey", Path(directory), port=str(free_port())) as single,
    ):
        assert "redis://" in await refusal(f"redis+cluster://127.0.0.1:{single.port}")
    assert "redis+cluster://" in await refusal(cluster.servers[0].url)
    nobody = RedisMailboxes(
        "redis+cluster://127.0.0.1:1", subscriber=Ear(), quota=QUOTA, durability="fsync"
    )
    await nobody.start()
    assert "None of 127.0.0.1:1" in str(nobody.ready())
    with pytest.raises(StoreUnavailable):
        await nobody.subscribe(BOB)
    await nobody.close()


async def refusal(url: str) -> str:
    """Start on what will not do; tell what is said."""
    mailboxes = RedisMailboxes(url, subscriber=Ear(), quota=QUOTA, durability="fsync")
    with pytest.raises(ConfigurationError) as raised:
        await mailboxes.start()
    return str(raised.value)

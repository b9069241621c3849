"""To come and to go costs the store few commands, and who waits for it is always told."""

import asyncio
import tempfile
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import cast

import pytest

from pushd.errors import PushdError, StoreUnavailable
from pushd.mailbox import subscriptions
from pushd.mailbox.redis import RedisMailboxes
from tests.contract.stores import QUOTA, Ear, accepted, until
from tests.stores import Server

NAMES = [f"did:test:{number}" for number in range(20)]


@pytest.fixture(scope="module")
def server() -> Iterator[Server]:
    """Run a store."""
    with (
        tempfile.TemporaryDirectory(prefix="pushd-") as directory,
        Server("valkey", Path(directory)) as server,
    ):
        yield server


@pytest.fixture
def ear() -> Ear:
    """Hear publications."""
    return Ear()


@pytest.fixture
async def mailboxes(server: Server, ear: Ear) -> AsyncIterator[RedisMailboxes]:
    """Connect to the store."""
    mailboxes = RedisMailboxes(server.url, subscriber=ear, quota=QUOTA, durability="memory")
    await mailboxes.start()
    yield mailboxes
    await mailboxes.close()


def calls(server: Server, command: str) -> int:
    """Tell how often a command was called."""
    with server.client() as client:
        stats = cast(dict[str, dict[str, int]], client.info("commandstats"))
    return stats.get(f"cmdstat_{command}", {}).get("calls", 0)


def subscribed(server: Server) -> set[str]:
    """Tell which mailboxes of these tests somebody is subscribed to."""
    channels = server.ask("PUBSUB", "SHARDCHANNELS", "pushd:{did:test:*")
    return {channel.decode() for channel in channels}


async def test_what_comes_while_one_is_awaited_travels_together(
    server: Server, mailboxes: RedisMailboxes
) -> None:
    """Twenty that come in twenty turns take two commands where the store is slow."""
    before = calls(server, "ssubscribe")
    server.pause()
    try:
        waiting = []
        for name in NAMES:
            waiting.append(mailboxes.subscribe(name))
            await asyncio.sleep(0)
    finally:
        server.resume()
    await asyncio.gather(*waiting)
    assert calls(server, "ssubscribe") == before + 2
    assert len(subscribed(server)) == len(NAMES)


async def test_who_leaves_is_unsubscribed_with_the_next_who_comes(
    server: Server, mailboxes: RedisMailboxes
) -> None:
    """Until then nothing is sent for it; all that left go with one command."""
    await asyncio.gather(*map(mailboxes.subscribe, NAMES))
    before = calls(server, "sunsubscribe")
    for name in NAMES[1:]:
        mailboxes.unsubscribe(name)
        await asyncio.sleep(0)
    assert len(subscribed(server)) == len(NAMES)
    await mailboxes.subscribe("did:test:another")
    assert len(subscribed(server)) == 2
    assert calls(server, "sunsubscribe") == before + 1


async def test_who_leaves_is_unsubscribed_after_a_while(
    server: Server, ear: Ear, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also where nobody comes: with a tick."""
    monkeypatch.setattr(subscriptions, "TICK_SECONDS", 0.1)
    mailboxes = RedisMailboxes(server.url, subscriber=ear, quota=QUOTA, durability="memory")
    await mailboxes.start()
    await asyncio.gather(*map(mailboxes.subscribe, NAMES))
    for name in NAMES:
        mailboxes.unsubscribe(name)
    await until(lambda: not subscribed(server))
    await mailboxes.close()


async def test_who_comes_back_before_that_hears(
    mailboxes: RedisMailboxes, ear: Ear
) -> None:
    """In the same turn, or while to subscribe is awaited; and in the end it can leave."""
    bob = NAMES[0]
    await mailboxes.open(bob, create=True)
    first = mailboxes.subscribe(bob)
    await asyncio.sleep(0)
    mailboxes.unsubscribe(bob)
    with pytest.raises(StoreUnavailable):
        await first
    await mailboxes.subscribe(bob)
    mailboxes.unsubscribe(bob)
    await mailboxes.subscribe(bob)
    id = await accepted(mailboxes, bob, "one")
    await until(lambda: ear.messages(bob) == [id])


async def test_one_who_fails_on_the_answer_harms_nobody(
    mailboxes: RedisMailboxes, caplog: pytest.LogCaptureFixture
) -> None:
    """Neither those that were told with it nor those that come later."""

    def failing(answer: PushdError | None) -> None:
        raise ValueError("planted")

    mailboxes.hear(NAMES[0], failing)
    await asyncio.gather(*map(mailboxes.subscribe, NAMES))
    await mailboxes.subscribe("did:test:another")
    assert "planted" in caplog.text

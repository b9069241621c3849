"""Durability `replicated`: what is promised is on a replica too, or it is not promised."""

import asyncio
import tempfile
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import TypeVar

import httpx2
import pytest

from pushd.errors import StoreUnavailable
from pushd.mailbox import replicate, subscriptions
from pushd.mailbox.base import Opened
from pushd.mailbox.redis import RedisMailboxes
from pushd.protocol.ids import START
from pushd.protocol.messages import Accepted
from tests.contract.stores import QUOTA, Ear, entry, id_of, until
from tests.harness import Person, serving
from tests.processes import PATIENCE, free_port, wait_until
from tests.stores import KINDS, Server, eventually, missing

BOB, CAROL = "did:test:bob", "did:test:carol"

T = TypeVar("T")
Make = Callable[[], Awaitable[RedisMailboxes]]


@pytest.fixture(scope="module", params=KINDS)
def pair(request: pytest.FixtureRequest) -> Iterator[tuple[Server, Server]]:
    """Run a primary and its replica."""
    kind: str = request.param
    if missing(kind):
        pytest.skip(missing(kind))
    with tempfile.TemporaryDirectory(prefix="pushd-") as directory:
        primary = Server(kind, Path(directory, "p"), port=str(free_port()))
        follow = f"127.0.0.1 {primary.port}"
        with primary, Server(kind, Path(directory, "r"), replicaof=follow) as replica:
            eventually(lambda: primary.ask("WAIT", 1, 100) == 1, "the replica")
            yield primary, replica


@pytest.fixture
def primary(pair: tuple[Server, Server]) -> Server:
    """Empty the primary before a test."""
    pair[0].ask("FLUSHALL")
    return pair[0]


@pytest.fixture
def replica(pair: tuple[Server, Server]) -> Iterator[Server]:
    """Let the replica go on after a test that stopped it."""
    primary, replica = pair
    yield replica
    replica.resume()
    eventually(lambda: primary.ask("WAIT", 1, 100) == 1, "the replica")


@pytest.fixture
async def make(
    primary: Server, replica: Server, monkeypatch: pytest.MonkeyPatch
) -> AsyncIterator[Make]:
    """Make mailboxes that do not wait long for a replica."""
    monkeypatch.setattr(replicate, "SECONDS", 0.5)
    made: list[RedisMailboxes] = []

    async def make() -> RedisMailboxes:
        mailboxes = RedisMailboxes(
            primary.url, subscriber=Ear(), quota=QUOTA, durability="replicated"
        )
        made.append(mailboxes)
        await mailboxes.start()
        return mailboxes

    yield make
    for mailboxes in made:
        await mailboxes.close()


async def reached(call: Callable[[], Awaitable[T]]) -> T:
    """Call until the level is reached, as long as a loaded machine may take."""
    async with asyncio.timeout(PATIENCE):
        while True:
            with suppress(StoreUnavailable):
                return await call()


async def accepted(
    mailboxes: RedisMailboxes, payload: str = "hello", key: str | None = None
) -> Accepted:
    """Deliver to Bob until it is accepted."""
    [result] = await reached(lambda: mailboxes.accept([entry(BOB, payload, key=key)]))
    assert isinstance(result, Accepted)
    return result


async def opened(mailboxes: RedisMailboxes, mailbox: str = BOB) -> Opened:
    """Open a mailbox until that is held."""
    return await reached(lambda: mailboxes.open(mailbox, create=True))


async def test_without_a_replica_nothing_is_accepted(make: Make, replica: Server) -> None:
    """While the replica is stopped there is no 202; the retry finds the message."""
    mailboxes = await make()
    await opened(mailboxes)
    await accepted(mailboxes, payload="one")
    replica.pause()
    with pytest.raises(StoreUnavailable):
        await mailboxes.accept([entry(BOB, "two", key="k")])
    replica.resume()
    assert (await accepted(mailboxes, payload="two", key="k")).duplicate


async def test_a_duplicate_is_held_to_the_level_too(make: Make, replica: Server) -> None:
    """What another connection wrote, and no replica has, is no duplicate to rely on."""
    one, other = await make(), await make()
    await opened(one)
    replica.pause()
    with pytest.raises(StoreUnavailable):
        await one.accept([entry(BOB, key="k")])
    with pytest.raises(StoreUnavailable):
        await other.accept([entry(BOB, key="k")])
    replica.resume()
    assert (await accepted(other, key="k")).duplicate


async def test_an_opened_mailbox_is_on_the_replica(make: Make, replica: Server) -> None:
    """Nobody is welcomed to a mailbox that one crash would forget."""
    one, other = await make(), await make()
    await opened(other)
    replica.pause()
    with pytest.raises(StoreUnavailable):
        await one.open(CAROL, create=True)
    with pytest.raises(StoreUnavailable):
        await other.open(CAROL, create=False)
    replica.resume()
    assert (await opened(other, CAROL)).unread == 0


async def test_acks_and_reads_do_not_wait(make: Make, replica: Server) -> None:
    """A stopped replica holds up deliveries, nothing else."""
    mailboxes = await make()
    await opened(mailboxes)
    stored = await accepted(mailboxes)
    replica.pause()
    waiting = mailboxes.accept([entry(BOB)])
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    page = await mailboxes.read(BOB, after=START, limit=10)
    assert [id_of(stored)] == [message.id for message in page.messages[:1]]
    assert (await mailboxes.acknowledge(BOB, id_of(stored))).removed == 1
    assert not waiting.done()
    with pytest.raises(StoreUnavailable):
        await waiting


async def test_one_tail_that_cannot_be_told_costs_no_other(
    make: Make, primary: Server, replica: Server
) -> None:
    """A mailbox has to be brought in order, and that is not on the replica."""
    mailboxes = await make()
    bob, _ = await opened(mailboxes), await opened(mailboxes, CAROL)
    primary.ask("DEL", f"pushd:{{{CAROL}}}:s")
    replica.pause()
    tail, refused = await mailboxes.tails([BOB, CAROL])
    assert tail == bob.tail
    assert isinstance(refused, StoreUnavailable)


async def test_calls_of_a_tick_share_one_wait(make: Make, primary: Server) -> None:
    """Group commit: a hundred senders cost the replica one round trip."""
    mailboxes = await make()
    await opened(mailboxes)
    primary.ask("CONFIG", "RESETSTAT")
    await asyncio.gather(*[mailboxes.accept([entry(BOB)]) for _ in range(100)])
    with primary.client() as client:
        assert client.info("commandstats")["cmdstat_wait"]["calls"] == 1


async def test_a_full_store_can_be_emptied(make: Make, primary: Server) -> None:
    """Out of memory, the owner still comes in, and what is written for WAIT fits."""
    mailboxes = await make()
    await opened(mailboxes)
    stored = await accepted(mailboxes)
    primary.ask("CONFIG", "SET", "maxmemory", "1mb")
    try:
        assert (await opened(mailboxes)).unread == 1
        assert (await mailboxes.acknowledge(BOB, id_of(stored))).removed == 1
    finally:
        primary.ask("CONFIG", "SET", "maxmemory", "0")


async def test_it_is_not_ready_while_replicas_are_missing(
    make: Make, replica: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Ticks find out, with nobody delivering."""
    monkeypatch.setattr(subscriptions, "TICK_SECONDS", 0.1)
    mailboxes = await make()
    replica.pause()
    await until(lambda: "replicas" in str(mailboxes.ready()))
    replica.resume()
    await until(lambda: mailboxes.ready() is None)


def test_the_server_says_and_holds_its_level(primary: Server, replica: Server) -> None:
    """`/.well-known/pushd` says `replicated`, and a delivery that is not is a 503."""
    with (
        serving("", redis_url=primary.url, durability="replicated") as server,
        httpx2.Client(base_url=server.url, trust_env=False) as http,
    ):
        assert http.get("/.well-known/pushd").json()["durability"] == "replicated"
        alice, bob = Person(server.url), Person(server.url)
        wait_until(
            lambda: http.get("/v1/messages", headers=bob.receive()).is_success, "Bob"
        )
        body = {"to": bob.did, "payload": "hello", "key": "k"}
        replica.pause()
        refused = http.post("/v1/deliveries", headers=alice.deliver(bob.did), json=body)
        assert (refused.status_code, refused.json()["code"]) == (503, "store_unavailable")
        replica.resume()
        headers = alice.deliver(bob.did)

        def duplicate() -> bool:
            answer = http.post("/v1/deliveries", headers=headers, json=body)
            return answer.status_code == 202 and bool(answer.json()["duplicate"])

        wait_until(duplicate, "a duplicate")

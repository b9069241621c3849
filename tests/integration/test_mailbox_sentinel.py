"""Behind sentinels: whoever is promoted is found, and nobody is left silently short."""

import asyncio
import shutil
import tempfile
from contextlib import AsyncExitStack
from pathlib import Path

import httpx2
import pytest

from pushd.errors import ConfigurationError, StoreUnavailable
from pushd.mailbox import coalesce, link, sentinel
from pushd.mailbox.address import StoreUrl
from pushd.mailbox.checks import Durability
from pushd.mailbox.redis import RedisMailboxes
from pushd.mailbox.sentinel import Sentinels as Asked
from tests.contract.stores import QUOTA, Ear, accepted, entry, mailboxes_at, unread, until
from tests.harness import Person, RunningServer, serving
from tests.stores import Sentinel, Sentinels, Server
from tests.talking import Stream, listening

BOB = "did:test:bob"
FUTURE = 2**52
"""An epoch that no clock of today opens."""


async def test_a_switch_is_followed(monkeypatch: pytest.MonkeyPatch) -> None:
    """A primary that only stopped in its steps is left too, for the sentinels say so."""
    monkeypatch.setattr(coalesce, "STUCK_SECONDS", 600.0)
    ear = Ear()
    with tempfile.TemporaryDirectory(prefix="pushd-") as directory:
        place = Path(directory)
        with Sentinels("valkey", place, down_after=1.0) as group:
            async with mailboxes_at(group.url, ear, BOB) as mailboxes:
                first = await accepted(mailboxes, BOB, "one")
                await asyncio.to_thread(group.failover)
                await until(lambda: ear.what().count("interrupted") == 1)
                second = await accepted(mailboxes, BOB, "two")
                await until(lambda: second in ear.messages(BOB))
                assert ear.what() == ["published", "interrupted", "published"]
                stopped = group.primary()
                await asyncio.to_thread(group.await_failover, stopped.pause)
                await until(lambda: ear.what().count("interrupted") > 1)
                third = await accepted(mailboxes, BOB, "three")
                await until(lambda: third in ear.messages(BOB))
                assert first.epoch < second.epoch < third.epoch
                assert [first, second, third] == await unread(mailboxes, BOB)
                await until(lambda: mailboxes.ready() is None)
            with Sentinel("valkey", place / "alone", watching(stopped)) as alone:
                url = group.url.replace("//", f"//127.0.0.1:{alone.port},")
                found = await Asked(StoreUrl.parse(url), lambda address: None).find()
                assert found.port == group.primary().port
            stopped.resume()


@pytest.mark.parametrize("durability", ["fsync", "replicated"])
async def test_nobody_goes_on_connecting_to_the_former_primary(
    durability: Durability, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An attempt at one that stopped is given up on a switch, like a connection.

    Else it succeeds once that goes on, and still takes itself for the primary. With
    `replicated` it is the second connection that attempts it; the first was idle.
    """
    monkeypatch.setattr(link, "CONNECT_SECONDS", 600.0)
    monkeypatch.setattr(coalesce, "STUCK_SECONDS", 0.1)
    ear = Ear()
    with (
        tempfile.TemporaryDirectory(prefix="pushd-") as directory,
        Sentinels("valkey", Path(directory), replicas=2, down_after=30.0) as group,
    ):
        async with mailboxes_at(group.url, ear, BOB, durability) as mailboxes:
            stopped = group.primary()
            stopped.pause()
            with pytest.raises(StoreUnavailable):
                await mailboxes.accept([entry(BOB, "one", key="one")])
            await asyncio.to_thread(group.await_failover, group.promote)
            id = await accepted(mailboxes, BOB, "two")
            await until(lambda: id in ear.messages(BOB) and mailboxes.ready() is None)
        stopped.resume()


async def test_one_connection_that_finds_a_replica_moves_them_all(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Reads go on at a replica; what writes notices, and all look for the primary then."""
    monkeypatch.setattr(sentinel, "SWITCH", "+nothing")  # nobody tells
    ear = Ear()
    with (
        tempfile.TemporaryDirectory(prefix="pushd-") as directory,
        Sentinels("valkey", Path(directory)) as group,
    ):
        async with mailboxes_at(group.url, ear, BOB, "replicated") as mailboxes:
            await accepted(mailboxes, BOB, "one")
            await asyncio.to_thread(group.failover)
            id = await accepted(mailboxes, BOB, "two")
            await until(lambda: id in ear.messages(BOB) and mailboxes.ready() is None)


async def test_a_promotion_that_takes_long_is_no_secret() -> None:
    """The new primary is named while another replica still has to turn to it."""
    with (
        tempfile.TemporaryDirectory(prefix="pushd-") as directory,
        Sentinels("valkey", Path(directory), replicas=2, down_after=30.0) as group,
    ):
        former, *replicas = group.servers
        for replica in replicas:  # the one that is not promoted will find no way in
            replica.ask("CONFIG", "SET", "masterauth", "wrong")
        group.promote()
        leader = group.sentinels[0]
        await until(lambda: leader.facts()["config-epoch"] == "1")
        assert leader.port_of_primary() == former.port
        url = f"redis+sentinel://127.0.0.1:{leader.port}/{Sentinels.SERVICE}"
        found = await Asked(StoreUrl.parse(url), lambda address: None).find()
        [promoted] = [one.port for one in replicas if one.info()["role"] == "master"]
        assert found.port == promoted


def watching(server: Server) -> list[str]:
    """Configure a sentinel that knows nobody else, and whom it watched last."""
    return [f"sentinel monitor {Sentinels.SERVICE} 127.0.0.1 {server.port} 1"]


# --- sessions --------------------------------------------------------------------------


async def deliver(server: RunningServer, sender: Person, to: Person, payload: str) -> str:
    """Deliver until it is accepted; return the id."""
    body = {"to": to.did, "payload": payload, "key": payload}
    async with httpx2.AsyncClient(trust_env=False) as http, asyncio.timeout(30):
        while True:
            answer = await http.post(
                f"{server.url}/v1/deliveries", headers=sender.deliver(to.did), json=body
            )
            if answer.status_code == 202:
                id: str = answer.json()["id"]
                return id
            assert answer.status_code == 503, answer.text
            await asyncio.sleep(0.02)


async def replayed(stream: Stream, last: str) -> list[str]:
    """Wait for the replay, then list what follows it, up to a payload."""
    await stream.next("replay")
    payloads: list[str] = []
    while last not in payloads:
        payloads += await stream.payloads(1)
    return payloads


async def test_a_lagging_replica_leaves_nobody_silently_short() -> None:
    """What it lacks is lost at `fsync`; every client is told `replay`, live and resuming.

    The old primary had opened an epoch of its own that is above any the next one opens, so
    that what it alone gave out looks newer. When it comes back, the same holds again.
    """
    with (
        tempfile.TemporaryDirectory(prefix="pushd-") as directory,
        Sentinels("valkey", Path(directory), down_after=1.0) as group,
        serving("", redis_url=group.url) as server,
    ):
        await play(group, server)


async def play(group: Sentinels, server: RunningServer) -> None:
    """Fail over with sessions open, and fail back."""
    alice = Person(server.url)
    people = [Person(server.url) for _ in range(5)]
    old = group.primary()
    async with AsyncExitStack() as stack:
        streams = [
            await stack.enter_async_context(listening(person, server.url))
            for person in people
        ]
        for person in people:
            await deliver(server, alice, person, "known to both")
        with old.client() as client:
            client.set("written", "last")
            assert client.wait(1, 20_000) == 1
        cut_off(old)
        for person in people:
            ahead(old, person)
        cursors = [await deliver(server, alice, person, "lost") for person in people]
        assert all(cursor.startswith(f"{FUTURE + 1}-") for cursor in cursors)
        for stream in streams:
            while "lost" not in await stream.payloads(1):
                pass
        await asyncio.to_thread(group.await_failover, old.kill)
        for person in people:
            await deliver(server, alice, person, "after")
        for stream in streams:
            assert await replayed(stream, "after") == ["known to both", "after"]
        for person, cursor in zip(people, cursors, strict=True):
            async with listening(person, server.url, after=cursor) as again:
                assert again.welcome["continuity"] == "replay"
                assert again.welcome["unread"] == 2
        old.start()
        await asyncio.to_thread(group.demote, old)
        await asyncio.to_thread(group.failover)
        assert group.primary() is old
        for person in people:
            await deliver(server, alice, person, "back")
        for stream in streams:
            assert await replayed(stream, "back") == ["known to both", "after", "back"]


def cut_off(primary: Server) -> None:
    """Let its replica get nothing of what follows."""
    primary.ask("ACL", "SETUSER", "default", "-psync", "-sync")
    primary.ask("CLIENT", "KILL", "TYPE", "replica")


def ahead(server: Server, person: Person) -> None:
    """Let the next epoch of a mailbox be above any that a clock would open."""
    key = f"pushd:{{{person.did}}}:s"
    with server.client() as client:
        client.xadd(key, {"m": "x"}, id=f"{FUTURE}-1")
        client.xdel(key, f"{FUTURE}-1")


# --- being let in ----------------------------------------------------------------------


@pytest.mark.skipif(shutil.which("redis-server") is None, reason="needs redis-server")
async def test_the_store_and_the_sentinels_know_different_users() -> None:
    """Each is told its own; a wrong one is told in a sentence that shows none."""
    rules = ["~pushd:*", "&pushd:*", "+@all"]
    lines = ["user watch on >two +@all &*"]
    with (
        tempfile.TemporaryDirectory(prefix="pushd-") as directory,
        Sentinels("redis", Path(directory), lines=lines) as group,
    ):
        for server in group.servers:
            server.ask("ACL", "SETUSER", "app", "on", ">one", *rules)
        for sentinel in group.sentinels:
            sentinel.ask("ACL", "SETUSER", "default", "off")
        url = group.url.replace("//", "//app:one@")
        url += "?sentinel_username=watch&sentinel_password=two"
        async with mailboxes_at(url, Ear(), BOB) as mailboxes:
            id = await accepted(mailboxes, BOB, "hello")
            assert [id] == await unread(mailboxes, BOB)
        for password in ("one", "two"):
            wrong = url.replace(password, "sesame")
            assert "user name or password" in await refusal(wrong)
        wrong = url.replace(f"/{Sentinels.SERVICE}", "/other")
        assert "primary of other" in await refusal(wrong)


async def refusal(url: str) -> str:
    """Start on what will not do; tell what is said, which shows no password."""
    mailboxes = RedisMailboxes(url, subscriber=Ear(), quota=QUOTA, durability="fsync")
    with pytest.raises(ConfigurationError) as raised:
        await mailboxes.start()
    assert "sesame" not in str(raised.value)
    return str(raised.value)


async def test_sentinels_that_are_away() -> None:
    """Without any of them nothing is guessed; the server waits, and says for whom."""
    url = "redis+sentinel://127.0.0.1:1,127.0.0.1:2/mailboxes"
    mailboxes = RedisMailboxes(url, subscriber=Ear(), quota=QUOTA, durability="fsync")
    await mailboxes.start()
    assert "None of the sentinels 127.0.0.1:1, 127.0.0.1:2" in str(mailboxes.ready())
    with pytest.raises(StoreUnavailable):
        await mailboxes.open(BOB, create=True)
    await mailboxes.close()

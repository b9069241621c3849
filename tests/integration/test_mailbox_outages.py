"""The store goes away, comes back, hangs or lies: nothing accepted is lost meanwhile."""

import asyncio
import os
import signal
import tempfile
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path

import pytest

from pushd.bounds import STORE_CALLS, Bound
from pushd.errors import Overloaded, PushdError, StoreUnavailable
from pushd.mailbox import coalesce, link, subscriptions
from pushd.mailbox.base import Acknowledged
from pushd.mailbox.redis import RedisMailboxes
from pushd.protocol.ids import MessageId
from pushd.protocol.messages import Accepted, StoredMessage
from tests.contract.stores import QUOTA, Ear, accepted, entry, unread, until
from tests.stores import Server

BOB = "did:test:bob"


@pytest.fixture
def stopped() -> Iterator[Server]:
    """Prepare a store that does not run yet."""
    with tempfile.TemporaryDirectory(prefix="pushd-") as directory:
        server = Server("valkey", Path(directory))
        yield server
        server.kill()


@pytest.fixture
def server(stopped: Server) -> Server:
    """Run a store of one's own."""
    stopped.start()
    return stopped


@pytest.fixture
def ear() -> Ear:
    """Hear publications."""
    return Ear()


@pytest.fixture
def waiting() -> Bound:
    """Return what bounds waiting calls."""
    return Bound("store_calls", STORE_CALLS)


@pytest.fixture
async def mailboxes(
    server: Server, ear: Ear, waiting: Bound
) -> AsyncIterator[RedisMailboxes]:
    """Connect to the running store; Bob has a mailbox."""
    mailboxes = made(server.url, ear, waiting)
    await mailboxes.start()
    await mailboxes.open(BOB, create=True)
    yield mailboxes
    await mailboxes.close()


def made(url: str, ear: Ear, waiting: Bound | None = None) -> RedisMailboxes:
    """Make mailboxes that are not started."""
    return RedisMailboxes(
        url, subscriber=ear, quota=QUOTA, durability="fsync", waiting=waiting
    )


async def test_a_store_that_is_not_there_yet(stopped: Server, ear: Ear) -> None:
    """The server starts, is not ready, refuses for a while, and then serves."""
    mailboxes = made(stopped.url, ear)
    await mailboxes.start()
    assert "does not answer" in str(mailboxes.ready())
    with pytest.raises(StoreUnavailable):
        await mailboxes.open(BOB, create=True)
    with pytest.raises(StoreUnavailable):
        await mailboxes.subscribe(BOB)
    stopped.start()
    await until(lambda: mailboxes.ready() is None)
    await mailboxes.subscribe(BOB)
    await mailboxes.open(BOB, create=True)
    id = await accepted(mailboxes, BOB, "hello")
    await until(lambda: ear.messages(BOB) == [id])
    await mailboxes.close()


async def test_a_call_waits_a_moment_for_the_store(stopped: Server, ear: Ear) -> None:
    """What was not sent yet is sent when the store comes within a second."""
    mailboxes = made(stopped.url, ear)
    await mailboxes.start()
    opening = mailboxes.open(BOB, create=True)
    await asyncio.to_thread(stopped.start)
    assert (await opening).unread == 0
    await mailboxes.close()


@pytest.mark.parametrize("crashes", [3])
async def test_everything_accepted_survives_crashes(
    server: Server, mailboxes: RedisMailboxes, crashes: int
) -> None:
    """Killed in the middle of deliveries, the store has all it accepted, once, in order."""
    ids: list[MessageId] = []

    async def deliver(sender: int) -> None:
        for number in range(200):
            id = await accepted(mailboxes, BOB, f"{sender}/{number}")
            ids.append(id)

    async def crash() -> None:
        for turn in range(1, crashes + 1):
            await until(lambda turn=turn: len(ids) > turn * 300)  # type: ignore[misc] # mypy cannot infer a lambda's default
            await asyncio.to_thread(server.restart)

    await asyncio.gather(crash(), *[deliver(sender) for sender in range(8)])
    found = await unread(mailboxes, BOB)
    assert found == sorted(ids)
    assert len(found) == 1600
    assert len({id.epoch for id in found}) > 1


async def test_the_subscriber_is_told_of_an_interruption(
    server: Server, mailboxes: RedisMailboxes, ear: Ear
) -> None:
    """After the store was away, everything is subscribed again, and then compared."""
    names = [f"did:test:{n}" for n in range(600)]
    await asyncio.gather(*[mailboxes.subscribe(name) for name in [BOB, *names]])
    first = await accepted(mailboxes, BOB, "one")
    await until(lambda: first in ear.messages(BOB))
    await asyncio.to_thread(server.restart)
    await until(lambda: "interrupted" in ear.what())
    second = await accepted(mailboxes, BOB, "two")
    await until(lambda: second in ear.messages(BOB))
    assert ear.what() == ["published", "interrupted", "published"]
    assert second.epoch > first.epoch


async def test_who_comes_in_vain_costs_nobody_who_listens_already(
    server: Server, mailboxes: RedisMailboxes, ear: Ear
) -> None:
    """One is refused while the store is away; the other hears again once it is back."""
    await mailboxes.subscribe(BOB)
    server.kill()
    await until(lambda: mailboxes.ready() is not None)
    with pytest.raises(StoreUnavailable):
        await mailboxes.subscribe(BOB)
    await asyncio.to_thread(server.start)
    await until(lambda: "interrupted" in ear.what())
    id = await accepted(mailboxes, BOB, "hello")
    await until(lambda: id in ear.messages(BOB))


async def test_who_comes_late_to_a_store_that_is_away_is_told_so_too(
    server: Server, mailboxes: RedisMailboxes
) -> None:
    """Also where somebody listens already, and all patience with the store is at an end."""
    await mailboxes.subscribe(BOB)
    server.kill()
    await until(lambda: mailboxes.ready() is not None)
    with pytest.raises(StoreUnavailable):
        await mailboxes.subscribe("did:test:carol")
    async with asyncio.timeout(10):
        with pytest.raises(StoreUnavailable):
            await mailboxes.subscribe(BOB)


async def test_calls_in_flight_fail_when_the_connection_is_lost(
    server: Server, mailboxes: RedisMailboxes
) -> None:
    """Nobody waits for an answer that cannot come any more."""
    os.kill(server.pid, signal.SIGSTOP)
    waiting = mailboxes.accept([entry(BOB)])
    await asyncio.sleep(0)
    await asyncio.sleep(0.01)
    server.kill()
    with pytest.raises(StoreUnavailable):
        await waiting


async def test_a_store_that_hangs_is_given_up(
    server: Server, mailboxes: RedisMailboxes, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A call unanswered for too long fails; later the store serves again."""
    monkeypatch.setattr(coalesce, "STUCK_SECONDS", 0.5)
    monkeypatch.setattr(link, "CONNECT_SECONDS", 0.5)
    os.kill(server.pid, signal.SIGSTOP)
    with pytest.raises(StoreUnavailable):
        await mailboxes.accept([entry(BOB, "hung", key="hung")])
    assert mailboxes.ready() is not None
    os.kill(server.pid, signal.SIGCONT)
    await until(lambda: mailboxes.ready() is None)
    await accepted(mailboxes, BOB, "hung")
    assert len(await unread(mailboxes, BOB)) == 1


async def test_a_lost_library_is_loaded_again(
    server: Server, mailboxes: RedisMailboxes
) -> None:
    """A store that forgot the functions gets them at the next connection."""
    with server.client() as client:
        client.function_flush()
    await accepted(mailboxes, BOB, "hello")
    assert mailboxes.ready() is None


async def test_a_demoted_store_takes_nothing(
    server: Server, mailboxes: RedisMailboxes
) -> None:
    """While it is a replica it is not ready; as the primary again it is."""
    with server.client() as client:
        client.replicaof("127.0.0.1", 1)
        with pytest.raises(StoreUnavailable):
            await mailboxes.accept([entry(BOB)])
        await until(lambda: "replica" in str(mailboxes.ready()))
        client.replicaof("NO", "ONE")
    await until(lambda: mailboxes.ready() is None)
    await accepted(mailboxes, BOB, "hello")


async def test_a_full_store_can_be_emptied(
    server: Server, mailboxes: RedisMailboxes
) -> None:
    """Out of memory, nothing is accepted, but all is read and acked."""
    id = await accepted(mailboxes, BOB, "hello")
    with server.client() as client:
        client.config_set("maxmemory", "1mb")
        with pytest.raises(StoreUnavailable):
            await mailboxes.accept([entry(BOB)])
        assert (await mailboxes.open(BOB, create=False)).unread == 1
        assert await unread(mailboxes, BOB) == [id]
        assert await mailboxes.acknowledge(BOB, id) == Acknowledged(1, 0)
        client.config_set("maxmemory", "0")
    await accepted(mailboxes, BOB, "again")


async def test_waiting_calls_are_limited(
    server: Server,
    mailboxes: RedisMailboxes,
    waiting: Bound,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Behind a store that does not answer, memory is bounded."""
    os.kill(server.pid, signal.SIGSTOP)
    waiting.most = 100
    calls = [mailboxes.accept([entry(BOB)]) for _ in range(200)]
    results = asyncio.gather(*calls, return_exceptions=True)
    await asyncio.sleep(0.01)
    os.kill(server.pid, signal.SIGCONT)
    kinds = [type(result) for result in await results]
    assert kinds.count(Overloaded) == 100
    assert (waiting.held, waiting.turned_away) == (0, 100)
    monkeypatch.setattr(coalesce, "MAX_WAITING_BYTES", 1000)
    [large] = await asyncio.gather(
        mailboxes.accept([entry(BOB, "x" * 1001)]), return_exceptions=True
    )
    assert isinstance(large, Overloaded)


class Exploding(Ear):
    """A subscriber that breaks its promise never to raise."""

    def published(self, mailbox: str, messages: list[StoredMessage]) -> None:
        """Note the messages, then fail."""
        super().published(mailbox, messages)
        raise RuntimeError("planted")


async def test_an_exploding_subscriber_harms_nobody(
    server: Server, caplog: pytest.LogCaptureFixture
) -> None:
    """What a subscriber raises is logged; the connection stays, others are served."""
    ear = Exploding()
    mailboxes = made(server.url, ear)
    await mailboxes.start()
    for name in (BOB, "did:test:carol"):
        await mailboxes.open(name, create=True)
        await mailboxes.subscribe(name)
    await mailboxes.accept([entry(BOB), entry("did:test:carol"), entry(BOB)])
    await until(lambda: len(ear.messages(BOB) + ear.messages("did:test:carol")) == 3)
    await accepted(mailboxes, BOB, "later")
    await until(lambda: len(ear.messages(BOB)) == 3)
    assert "interrupted" not in ear.what()
    assert "planted" in caplog.text
    await mailboxes.close()


async def test_an_exploding_caller_harms_nobody(mailboxes: RedisMailboxes) -> None:
    """A cancelled or failing caller takes no other's answer away."""
    futures = [mailboxes.accept([entry(BOB)]) for _ in range(3)]
    futures[1].cancel()
    futures[0].add_done_callback(lambda future: mailboxes.unsubscribe("did:test:nobody"))
    assert isinstance((await futures[2])[0], Accepted)
    assert len(await unread(mailboxes, BOB)) == 3


async def test_closing_answers_everyone(server: Server, ear: Ear) -> None:
    """Whoever still waits when the server stops gets an error, not silence."""
    mailboxes = made(server.url, ear)
    await mailboxes.start()
    opening, subscribing = mailboxes.open(BOB, create=True), mailboxes.subscribe(BOB)
    await mailboxes.close()
    results = await asyncio.gather(opening, subscribing, return_exceptions=True)
    assert [StoreUnavailable] * 2 == [type(result) for result in results]
    with pytest.raises(PushdError):
        await mailboxes.accept([entry(BOB)])


# --- a connection that is dead without knowing it ------------------------------------


class Proxy:
    """Stands between, and can swallow what the store says on connections that subscribe."""

    def __init__(self, target: str) -> None:
        self._target = target
        self._tasks: set[asyncio.Task[None]] = set()
        self._server: asyncio.Server | None = None
        self._muted: set[int] = set()
        self._hearing: set[int] = set()
        self.connections = 0

    async def start(self, path: Path) -> str:
        """Listen; return the URL."""
        self._server = await asyncio.start_unix_server(self._accept, path)
        return f"unix://{path}"

    def mute(self) -> None:
        """Swallow from now on what is said to those who have subscribed by now."""
        self._muted |= self._hearing

    async def close(self) -> None:
        """Stop everything."""
        assert self._server is not None
        self._server.close()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _accept(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        self.connections += 1
        number = self.connections
        up_reader, up_writer = await asyncio.open_unix_connection(self._target)

        def to_store(data: bytes) -> bool:
            if b"SSUBSCRIBE" in data:
                self._hearing.add(number)
            return True

        def to_us(data: bytes) -> bool:
            return number not in self._muted

        for source, sink, allowed in (
            (reader, up_writer, to_store),
            (up_reader, writer, to_us),
        ):
            task = asyncio.create_task(_copy(source, sink, allowed))
            self._tasks.add(task)


async def _copy(
    source: asyncio.StreamReader,
    sink: asyncio.StreamWriter,
    allowed: Callable[[bytes], bool],
) -> None:
    try:
        while data := await source.read(65536):
            if allowed(data):
                sink.write(data)
    finally:
        sink.close()


async def test_silent_publications_are_noticed(
    server: Server, ear: Ear, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """When ticks stop to arrive, it is said, and the connection is made anew."""
    monkeypatch.setattr(subscriptions, "TICK_SECONDS", 0.1)
    proxy = Proxy(server.url.removeprefix("unix://"))
    with tempfile.TemporaryDirectory(prefix="pushd-") as directory:
        mailboxes = made(await proxy.start(Path(directory, "p")), ear)
        await mailboxes.start()
        await mailboxes.open(BOB, create=True)
        await mailboxes.subscribe(BOB)
        await asyncio.sleep(0.5)
        assert proxy.connections == 2
        proxy.mute()
        await until(lambda: mailboxes.ready() is not None)
        await until(lambda: "interrupted" in ear.what())
        assert mailboxes.ready() is None
        id = await accepted(mailboxes, BOB, "hello")
        await until(lambda: ear.messages(BOB) == [id])
        await mailboxes.close()
        await proxy.close()

"""The Python client and a real server: live, offline and back, many listeners, restarts."""

import asyncio
import contextlib
import socket
import time
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import httpx2
import pytest

from pushd.client import (
    Delivery,
    FileCursors,
    Overflow,
    Phase,
    Read,
    Received,
    Receiver,
    Sender,
    Status,
    StreamClosed,
)
from pushd.client.credentials import Credentials
from pushd.errors import Forbidden, MailboxFull, Unauthorized
from pushd.protocol.closing import CloseCode
from pushd.settings import Settings
from tests.harness import Person, RunningServer, serving


class Inbox:
    """What a receiver brought, to wait for.

    Attributes:
        payloads: Of the messages, in the order they came.
        states: How the connection stood, one after the other.
    """

    def __init__(self) -> None:
        self.payloads: list[str] = []
        self.states: list[Status] = []
        self._changed = asyncio.Event()

    def take(self, message: Received) -> None:
        """Take a message, as a listener."""
        self.payloads.append(message.payload)
        self._changed.set()

    def note(self, what: object) -> None:
        """Take anything else."""
        if isinstance(what, Status):
            self.states.append(what)
        self._changed.set()

    async def until(self, condition: Callable[[], object]) -> None:
        """Wait until something holds."""
        while not condition():
            self._changed.clear()
            await self._changed.wait()

    async def has(self, count: int) -> list[str]:
        """Wait for so many messages, and return them all."""
        await self.until(lambda: len(self.payloads) >= count)
        return self.payloads

    async def phase(self, phase: Phase) -> Status:
        """Wait until the connection stands so."""
        await self.until(lambda: self.states and self.states[-1].phase is phase)
        return self.states[-1]


@contextlib.asynccontextmanager
async def receiving(
    person: Person, inbox: Inbox | None = None, **options: object
) -> AsyncIterator[Receiver]:
    """Run a receiver, with an inbox as its only listener."""
    receiver = Receiver(person.key, server=person.server, **options)  # type: ignore[arg-type] # options of many types
    if inbox is not None:
        receiver.listen(inbox.take)
        receiver.on_state(inbox.note)
    async with receiver:
        yield receiver


@pytest.fixture
def alice(server: RunningServer) -> Person:
    """Return somebody who sends."""
    return Person(server.url)


@pytest.fixture
async def bob(server: RunningServer, http: httpx2.AsyncClient) -> Person:
    """Return somebody who has a mailbox."""
    bob = Person(server.url)
    assert await unread(http, bob) == 0
    return bob


@pytest.fixture
async def sender(alice: Person) -> AsyncIterator[Sender]:
    """Return Alice's sender."""
    async with Sender(alice.key, server=alice.server) as sender:
        yield sender


async def unread(http: httpx2.AsyncClient, person: Person) -> int:
    """Tell how many messages a mailbox holds."""
    answer = await http.get("/v1/messages?limit=1", headers=person.receive())
    answer.raise_for_status()
    count: int = answer.json()["unread"]
    return count


async def test_live_push(sender: Sender, alice: Person, bob: Person) -> None:
    """What Alice sends reaches Bob's listener, with who she is."""
    inbox, messages = Inbox(), list[Received]()
    async with receiving(bob, inbox) as receiver:
        receiver.listen(messages.append)
        await inbox.phase(Phase.LIVE)
        accepted = await sender.send(bob.did, "hello")
        assert await inbox.has(1) == ["hello"]
        (message,) = messages
    assert (message.id, message.sender) == (accepted.id, alice.did)
    assert (message.name, message.app) == (None, None)
    assert message.expires > message.at > time.time() - 60


async def test_offline_then_catch_up(
    sender: Sender, bob: Person, http: httpx2.AsyncClient
) -> None:
    """What came while Bob was away comes first, and is acked once it was handled."""
    for payload in ("1", "2"):
        await sender.send(bob.did, payload)
    inbox = Inbox()
    async with receiving(bob, inbox):
        assert (await inbox.phase(Phase.LIVE)).unread == 2
        await sender.send(bob.did, "3")
        assert await inbox.has(3) == ["1", "2", "3"]
    assert await unread(http, bob) == 0


async def test_a_long_backlog(
    sender: Sender, bob: Person, http: httpx2.AsyncClient
) -> None:
    """Five thousand come in order, once, with progress on the way, and are acked."""
    expected = [str(number) for number in range(5000)]
    await sender.send_many([Delivery(bob.did, payload) for payload in expected])
    inbox = Inbox()
    async with receiving(bob, inbox):
        assert await inbox.has(5000) == expected
        await inbox.phase(Phase.LIVE)
    received = [s.received for s in inbox.states if s.phase is Phase.CATCHING_UP]
    assert {5000} == {s.unread for s in inbox.states if s.phase is Phase.CATCHING_UP}
    assert received == sorted(received)
    assert len(received) >= 50
    assert await unread(http, bob) == 0


async def test_slow_listeners_beside_each_other(sender: Sender, bob: Person) -> None:
    """With `concurrency` messages overtake one another, and each comes once."""
    expected = [str(number) for number in range(500)]
    await sender.send_many([Delivery(bob.did, payload) for payload in expected])
    inbox, now, most = Inbox(), 0, 0

    async def slow(message: Received) -> None:
        nonlocal now, most
        now += 1
        most = max(most, now)
        for _ in range(int(message.payload) % 5):
            await asyncio.sleep(0)
        now -= 1
        inbox.take(message)

    async with receiving(bob, window=50, concurrency=20) as receiver:
        receiver.listen(slow)
        assert sorted(await inbox.has(500)) == sorted(expected)
    assert most == 20


async def test_two_listeners_with_filters(
    sender: Sender, bob: Person, http: httpx2.AsyncClient
) -> None:
    """Each gets its own; what nobody wants waits for a listener that does."""
    letters, digits, rest = Inbox(), Inbox(), Inbox()
    async with receiving(bob) as receiver:
        receiver.listen(letters.take, lambda m: m.payload.isalpha())
        receiver.listen(digits.take, lambda m: m.payload.isdigit())
        for payload in ("a", "?", "1", "b", "2"):
            await sender.send(bob.did, payload)
        assert await letters.has(2) == ["a", "b"]
        assert await digits.has(2) == ["1", "2"]
        receiver.listen(rest.take)
        assert await rest.has(1) == ["?"]
    assert await unread(http, bob) == 0


async def test_a_listener_that_fails(
    sender: Sender, bob: Person, http: httpx2.AsyncClient
) -> None:
    """The error listener learns of it; the message stays, and comes again."""
    failures: asyncio.Queue[tuple[str, Exception]] = asyncio.Queue()
    good = Inbox()

    def fail(message: Received) -> None:
        raise LookupError

    async with receiving(bob) as receiver:
        receiver.on_error(lambda m, error: failures.put_nowait((m.payload, error)))
        receiver.listen(fail, lambda m: m.payload == "bad")
        receiver.listen(good.take, lambda m: m.payload == "good")
        for payload in ("bad", "good"):
            await sender.send(bob.did, payload)
        await good.has(1)
        payload, error = await failures.get()
    assert (payload, type(error)) == ("bad", LookupError)
    assert await unread(http, bob) == 1
    inbox = Inbox()
    async with receiving(bob, inbox):
        assert await inbox.has(1) == ["bad"]
    assert await unread(http, bob) == 0


async def test_a_cursor_file_survives_a_restart(
    sender: Sender, bob: Person, tmp_path: Path
) -> None:
    """A new process goes on where the old one was, though a message before stays."""
    inbox = Inbox()
    async with receiving(bob, inbox, cursor_store=FileCursors(tmp_path)):
        await inbox.phase(Phase.LIVE)
        await sender.send(bob.did, "1")
        await inbox.has(1)
    progress = await FileCursors(tmp_path).load(bob.did, bob.server)
    assert progress is not None
    assert progress.cursor is not None
    assert (progress.acks, progress.upto) == ([], [])
    await sender.send(bob.did, "2")
    again = Inbox()
    async with receiving(bob, again, cursor_store=FileCursors(tmp_path)):
        assert await again.has(1) == ["2"]


async def test_manual_acks(sender: Sender, bob: Person, http: httpx2.AsyncClient) -> None:
    """What the app holds stays unread, and comes no second time to this process."""
    held = list[Received]()
    inbox = Inbox()
    async with receiving(bob, inbox, ack="manual") as receiver:
        receiver.listen(held.append)
        for payload in ("1", "2", "3"):
            await sender.send(bob.did, payload)
        await inbox.has(3)
        assert await unread(http, bob) == 3
        held[1].ack()
        receiver._transport.reopen()
        await sender.send(bob.did, "4")
        assert await inbox.has(4) == ["1", "2", "3", "4"]
        held[0].ack()
        held[2].ack()
    assert await unread(http, bob) == 1


async def test_iteration(sender: Sender, bob: Person, http: httpx2.AsyncClient) -> None:
    """Each message is acked when the next is asked for; the one at the break is not."""
    for payload in ("1", "2", "3"):
        await sender.send(bob.did, payload)
    payloads = []
    async with receiving(bob) as receiver:
        async for message in receiver.messages():
            payloads.append(message.payload)
            if len(payloads) == 3:
                break
    assert payloads == ["1", "2", "3"]
    assert await unread(http, bob) == 1


async def test_iteration_again(sender: Sender, bob: Person) -> None:
    """A loop goes on where the one before was left, and not with what was acked."""
    for payload in ("1", "2", "3"):
        await sender.send(bob.did, payload)
    payloads = []
    async with receiving(bob) as receiver:
        for ack in (False, True, False):
            async for message in receiver.messages():
                payloads.append(message.payload)
                if ack:
                    message.ack()
                break
    assert payloads == ["1", "1", "2"]


async def test_reads_of_another_device_are_told(sender: Sender, bob: Person) -> None:
    """One acks, the other learns which."""
    reads: asyncio.Queue[Read] = asyncio.Queue()
    phone, laptop = Inbox(), Inbox()
    async with (
        receiving(bob, phone, ack="manual", device="phone") as receiver,
        receiving(bob, device="laptop") as other,
    ):
        receiver.on_read(reads.put_nowait)
        await phone.phase(Phase.LIVE)
        accepted = await sender.send(bob.did, "1")
        await phone.has(1)
        other.listen(laptop.take)
        assert await laptop.has(1) == ["1"]
        read = await reads.get()
    assert accepted.id in (read.upto, *(read.ids or ()))


async def test_a_newer_session_of_the_device_takes_over(bob: Person) -> None:
    """The older one ends for good, and says so."""
    first, second = Inbox(), Inbox()
    old = Receiver(bob.key, server=bob.server, device="phone")
    old.listen(first.take)
    old.on_state(first.note)
    task = asyncio.create_task(old.run())
    await first.phase(Phase.LIVE)
    async with receiving(bob, second, device="phone"):
        await second.phase(Phase.LIVE)
        with pytest.raises(StreamClosed) as closed:
            await task
        assert second.states[-1].phase is Phase.LIVE
    assert closed.value.code == CloseCode.DISPLACED
    assert first.states[-1].phase is Phase.STOPPED


async def test_a_token_that_ends_is_renewed(
    bob: Person, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The session outlives its tokens, without a reconnect."""
    inbox, made = Inbox(), list[bool]()
    token = Credentials.token

    def counted(credentials: Credentials, new: bool = False) -> str:
        made.append(new)
        inbox.note("token")
        return token(credentials, new=new)

    monkeypatch.setattr(Credentials, "token", counted)
    async with receiving(bob, inbox, token_lifetime=3.0):
        await inbox.until(lambda: made.count(True) >= 4)
    phases = [status.phase for status in inbox.states]
    assert phases == [Phase.CONNECTING, Phase.CATCHING_UP, Phase.LIVE, Phase.STOPPED]


async def test_a_wrong_clock_is_corrected(bob: Person) -> None:
    """A token of the past is refused with the server's time, and made again by it."""
    inbox = Inbox()
    async with receiving(bob, inbox, clock=lambda: time.time() - 86400 * 30):
        await inbox.phase(Phase.LIVE)
    refused = [status for status in inbox.states if status.phase is Phase.WAITING]
    assert [status.code for status in refused] == [CloseCode.UNAUTHORIZED]


async def test_tokens_for_another_server_are_refused_for_good(bob: Person) -> None:
    """A server that calls itself otherwise is not talked into anything."""
    inbox = Inbox()
    receiver = Receiver(bob.key, server=bob.server.replace("127.0.0.1", "localhost"))
    receiver.listen(inbox.take)
    with pytest.raises(StreamClosed) as closed:
        await receiver.run()
    assert closed.value.code == CloseCode.UNAUTHORIZED
    assert isinstance(closed.value.error, Unauthorized)


async def test_who_may_not_listen_learns_it(store_url: str) -> None:
    """A server for listed owners refuses others, and they do not come back."""
    owner = Person("").did
    with serving(store_url, mailboxes="listed", owners=(owner,)) as server:
        receiver = Receiver(Person(server.url).key, server=server.url)
        running = asyncio.create_task(receiver.run())
        with pytest.raises(StreamClosed) as closed:
            await anext(receiver.messages())
        with pytest.raises(StreamClosed):
            await running
    assert closed.value.code == CloseCode.FORBIDDEN
    assert isinstance(closed.value.error, Forbidden)


async def test_a_full_mailbox_is_told_to_both(store_url: str) -> None:
    """Alice gets the error, Bob the count."""
    told: asyncio.Queue[Overflow] = asyncio.Queue()
    with serving(store_url, max_mailbox_messages=4) as server:
        alice, bob = Person(server.url), Person(server.url)
        async with httpx2.AsyncClient(base_url=server.url, trust_env=False) as http:
            await unread(http, bob)
        async with Sender(alice.key, server=server.url) as sender:
            deliveries = [Delivery(bob.did, "x")] * 5
            outcomes = await sender.send_many(deliveries)
        refused = sum(isinstance(outcome, MailboxFull) for outcome in outcomes)
        assert refused >= 1
        async with receiving(bob, Inbox()) as receiver:
            receiver.on_overflow(told.put_nowait)
            overflow = await told.get()
    assert overflow.refused == refused


async def test_a_server_that_restarts(store_url: str) -> None:
    """The client comes back by itself, and gets what it missed."""
    with socket.create_server(("127.0.0.1", 0)) as found:
        port = found.getsockname()[1]
    settings = Settings.read({}, port=port, drain_seconds=1)
    alice, bob = Person(settings.public_url), Person(settings.public_url)
    inbox = Inbox()
    async with receiving(bob, inbox), Sender(alice.key, server=alice.server) as sender:
        for payload in ("1", "2"):
            listener = socket.create_server(("127.0.0.1", port))
            server = RunningServer(settings, store_url, listener)
            await asyncio.to_thread(server.start)
            try:
                await inbox.phase(Phase.LIVE)
                await sender.send(bob.did, payload)
                await inbox.has(int(payload))
            finally:
                await asyncio.to_thread(server.stop)
            await inbox.phase(Phase.WAITING)
    assert inbox.payloads == ["1", "2"]


async def test_no_server_at_all(unused_tcp_port: int) -> None:
    """It keeps trying, says so, and can be stopped meanwhile."""
    inbox = Inbox()
    async with receiving(Person(f"http://127.0.0.1:{unused_tcp_port}"), inbox):
        status = await inbox.phase(Phase.WAITING)
    assert status.code == 1006
    assert inbox.states[-1].phase is Phase.STOPPED


@pytest.fixture
def unused_tcp_port() -> int:
    """Return a port nobody listens on."""
    with socket.create_server(("127.0.0.1", 0)) as found:
        port: int = found.getsockname()[1]
    return port

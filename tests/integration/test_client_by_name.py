"""Two people who know of each other nothing but names, on real servers and a real hub."""

import asyncio
import time
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from contextlib import asynccontextmanager
from errno import ENOSPC
from itertools import count
from pathlib import Path
from typing import Any

import httpx2
import pytest

from pushd.client import (
    BucketUnreachable,
    CannotOpen,
    Client,
    Incoming,
    NoLetter,
    NotAccepted,
    Phase,
    PrivateKey,
    Received,
    Sender,
    Unproven,
)
from pushd.client.cursors import replace
from pushd.errors import BadRequest, MailboxFull, NameMismatch
from pushd.identity.contact import PATH as CONTACT
from pushd.identity.contact import make_contact
from pushd.mailbox.embedded import EmbeddedStore
from tests.devhub import RunningHub, running_devhub
from tests.harness import Person, RunningServer, serving
from tests.unit.client_fakes import Post

APP = "https://calendar.example"

_numbers = count(1)


class Inbox:
    """What a client brought, to wait for."""

    def __init__(self, client: Client) -> None:
        self.messages: list[Incoming] = []
        self.errors: list[tuple[Received, Exception]] = []
        self._changed = asyncio.Event()
        client.on_error(self._fail)
        self._client = client

    def listen(self) -> None:
        """Begin to listen."""
        self._client.listen(self._take)

    def _take(self, message: Incoming) -> None:
        self.messages.append(message)
        self._changed.set()

    def _fail(self, message: Received, error: Exception) -> None:
        self.errors.append((message, error))
        self._changed.set()

    async def has(self, count: int) -> list[str]:
        """Wait for so many messages, and return what all say."""
        await self.until(lambda: len(self.messages) >= count)
        return [message.content for message in self.messages]

    async def failed(self) -> Exception:
        """Wait for an error, and return it."""
        await self.until(lambda: self.errors)
        return self.errors.pop()[1]

    async def until(self, condition: Callable[[], object]) -> None:
        """Wait until something holds."""
        while not condition():
            self._changed.clear()
            await self._changed.wait()


class World:
    """A hub with names, a server, and Alice and Bob, whose names are theirs alone.

    Attributes:
        hub: Keeps buckets and names.
        server: Where both have their mailboxes.
        alice: Alice's key.
        bob: Bob's.
        alice_name: Her name; a server that met another Alice would remember her.
        bob_name: His.
    """

    def __init__(self, hub: RunningHub, server: RunningServer) -> None:
        self.hub = hub
        self.server = server
        self.alice, self.bob = PrivateKey.generate(), PrivateKey.generate()
        number = next(_numbers)
        self.alice_name = f"alice{number}.id.blockstack"
        self.bob_name = f"bob{number}.id.blockstack"
        hub.hub.register(self.alice_name, PrivateKey.generate(), {APP: self.alice})
        hub.hub.register(self.bob_name, PrivateKey.generate(), {APP: self.bob})

    def client(
        self, key: PrivateKey, name: str | None, servers: Sequence[str] = (), **options: Any
    ) -> Client:
        """Make a client of somebody; without servers, at the server of this world."""
        settings: dict[str, Any] = {
            "app": APP,
            "hub": self.hub.url,
            "names_api": self.hub.url,
            "dev_hosts": hosts(self.hub.url, self.server.url, *servers),
            "give_up_after": 5.0,
        }
        servers = servers or [self.server.url]
        return Client(key, name=name, servers=servers, **settings | options)

    def alices(self, **options: Any) -> Client:
        """Make a client of Alice."""
        return self.client(self.alice, self.alice_name, **options)

    def bobs(self, **options: Any) -> Client:
        """Make a client of Bob."""
        return self.client(self.bob, self.bob_name, **options)

    def put(self, owner: PrivateKey, path: str, content: bytes) -> None:
        """Put a file into somebody's bucket, as who keeps it can."""
        self.hub.hub.storage.write(bucket(owner), path, content, "application/json")

    def take(self, owner: PrivateKey, path: str) -> bytes:
        """Return a file of somebody's bucket."""
        file = self.hub.hub.storage.read(bucket(owner), path)
        assert file is not None
        return file.content


def bucket(owner: PrivateKey) -> str:
    """Return the address of somebody's bucket."""
    return owner.did.rpartition(":")[2]


def hosts(*urls: str) -> list[str]:
    """Return the hosts of URLs, as development hosts."""
    return [url.partition("://")[2] for url in urls]


@pytest.fixture(scope="module")
def hub() -> Iterator[RunningHub]:
    """Run a hub."""
    with running_devhub() as hub:
        yield hub


@pytest.fixture(scope="module")
def server(store_url: str, hub: RunningHub) -> Iterator[RunningServer]:
    """Run a server that knows names."""
    with naming_server(store_url, hub) as running:
        yield running


def naming_server(store_url: str, hub: RunningHub) -> Any:
    """Run a server that asks this hub for names."""
    return serving(store_url, names_api=hub.url, dev_hosts=hub.host_port)


@pytest.fixture(scope="module")
def second(
    tmp_path_factory: pytest.TempPathFactory, hub: RunningHub
) -> Iterator[RunningServer]:
    """Run another server, on a store of its own."""
    store = EmbeddedStore(tmp_path_factory.mktemp("second"))
    try:
        with naming_server(store.start(), hub) as running:
            yield running
    finally:
        store.stop()


@pytest.fixture
def world(hub: RunningHub, server: RunningServer) -> World:
    """Return a world of new people."""
    return World(hub, server)


async def test_a_name_is_all_it_takes(world: World) -> None:
    """Bob is away, and never was there before; he gets what is Alice's, by her name."""
    async with world.bobs() as bob:
        assert await bob.publish() == [".well-known/messaging.json", "key.json"]
        assert await bob.publish() == []
    async with world.alices() as alice:
        sent = await alice.send(world.bob_name, "Hello Bob")
    assert sent.did == world.bob.did
    async with world.bobs() as bob:
        inbox = Inbox(bob)
        inbox.listen()
        assert await inbox.has(1) == ["Hello Bob"]
    (message,) = inbox.messages
    assert (message.id, message.sender, message.name) == (
        sent.id,
        world.alice.did,
        world.alice_name,
    )
    assert (message.app, message.server) == (APP, world.server.url)
    assert await unread(world, world.server) == 0


async def test_live_and_both_ways(world: World) -> None:
    """Each answers the other, in order, over one socket each."""
    async with talking(world) as (alice, bob, inbox):
        answers = Inbox(alice)
        answers.listen()
        await alice.publish()
        for number in range(5):
            await alice.send(world.bob_name, f"question {number}")
        assert await inbox.has(5) == [f"question {number}" for number in range(5)]
        await bob.send(world.alice_name, "answer", content_type="text/x-answer")
        assert await answers.has(1) == ["answer"]
    assert answers.messages[0].content_type == "text/x-answer"
    assert answers.messages[0].name == world.bob_name


async def test_a_filter_sees_what_was_opened(world: World) -> None:
    """Who it is from, and what it says; what nobody wanted comes to who asks for it."""
    async with talking(world, listen=False) as (alice, bob, inbox):
        invitations: list[str] = []
        bob.listen(
            lambda message: invitations.append(message.content),
            lambda message: (
                message.name == world.alice_name and "invited" in message.content
            ),
        )
        await alice.send(world.bob_name, "something else")
        await alice.send(world.bob_name, "You are invited")
        await eventually(lambda: invitations)
        inbox.listen()
        assert await inbox.has(1) == ["something else"]
    assert invitations == ["You are invited"]


async def test_after_a_restart_only_the_new_comes(world: World, tmp_path: Path) -> None:
    """What was handled and acked is not handled again; what was missed comes."""
    options: dict[str, Any] = {"state_dir": tmp_path}
    async with world.alices() as alice:
        async with talking(world, **options) as (_, _, inbox):
            await alice.send(world.bob_name, "one")
            await inbox.has(1)
        await alice.send(world.bob_name, "two")
        async with talking(world, **options) as (_, _, inbox):
            assert await inbox.has(1) == ["two"]


# --- changing servers ----------------------------------------------------------------


async def test_changing_the_server_is_one_call(
    world: World, second: RunningServer, tmp_path: Path
) -> None:
    """The next message goes to the new one; what still goes to the old one arrives."""
    options: dict[str, Any] = {
        "dev_hosts": hosts(world.hub.url, world.server.url, second.url)
    }
    async with world.alices(**options) as early:
        async with talking(world, **options, state_dir=tmp_path) as (_, bob, inbox):
            assert (await early.send(world.bob_name, "one")).server == world.server.url
            await bob.move_to([second.url])
            assert bob.servers == (second.url,)
            # What this client remembers of Bob is not out of date yet.
            assert (await early.send(world.bob_name, "two")).server == world.server.url
            async with world.alices(**options) as late:
                assert (await late.send(world.bob_name, "three")).server == second.url
            assert sorted(await inbox.has(3)) == ["one", "three", "two"]
        await early.send(world.bob_name, "four")
        options = {"servers": [second.url], "state_dir": tmp_path}
        async with talking(world, **options) as (_, _, inbox):
            assert await inbox.has(1) == ["four"]
            assert inbox.messages[0].server == world.server.url


async def test_an_old_server_is_left_when_its_time_is_over(
    world: World, second: RunningServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """And not before; then the client is not connected there any more."""
    monkeypatch.setattr("pushd.client.client.LOOK_EVERY", 0.02)
    passed = 0.0
    options: dict[str, Any] = {
        "dev_hosts": hosts(world.hub.url, world.server.url, second.url),
        "clock": lambda: time.time() + passed,
    }
    async with talking(world, **options) as (_, bob, _):
        states: dict[str, Phase] = {}
        bob.on_state(lambda server, status: states.update({server: status.phase}))
        await bob.move_to([second.url])
        await eventually(lambda: states.get(second.url) is Phase.LIVE)
        assert states.get(world.server.url) is not Phase.STOPPED
        passed = 7200.0
        await eventually(lambda: states.get(world.server.url) is Phase.STOPPED)


async def test_what_could_not_be_saved_is_saved_later(
    world: World, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Though nothing changes any more; a full disk is somebody's affair, and passes."""
    failed = asyncio.Event()

    def fails_once(path: Path, content: bytes) -> None:
        if failed.is_set():
            replace(path, content)
        else:
            failed.set()
            raise OSError(ENOSPC, "No space left on device")

    monkeypatch.setattr("pushd.client.client.LOOK_EVERY", 0.02)
    monkeypatch.setattr("pushd.client.state.replace", fails_once)
    async with talking(world, state_dir=tmp_path, listen=False):
        await eventually(lambda: list(tmp_path.glob("client-*.json")))
        assert failed.is_set()


async def test_nobody_moves_to_no_server(world: World) -> None:
    """The document would go on to name the old one, where nobody listens any more."""
    async with talking(world) as (alice, bob, inbox):
        with pytest.raises(BadRequest, match="at least one server"):
            await bob.move_to([])
        await alice.send(world.bob_name, "still here")
        assert await inbox.has(1) == ["still here"]


async def test_a_copy_over_a_second_server_is_handled_once(
    world: World, second: RunningServer
) -> None:
    """A sender who got no answer of the first tried the second; both mailboxes empty."""
    both = [world.server.url, second.url]
    options: dict[str, Any] = {
        "servers": both,
        "dev_hosts": hosts(world.hub.url, *both),
    }
    async with talking(world, **options) as (alice, _, inbox):
        sent = await alice.send(world.bob_name, "once")
        await inbox.has(1)
        payload = inbox.messages[0].received.payload
        await unread(world, second)
        await deliver(world.alice, world.bob, second, payload, key=sent.id)
        await alice.send(world.bob_name, "twice")
        assert await inbox.has(2) == ["once", "twice"]
        assert await unread(world, second, until=0) == 0
        assert await unread(world, world.server, until=0) == 0
    assert len(inbox.messages) == 2


# --- fakes ---------------------------------------------------------------------------


async def test_a_letter_that_the_hub_changed_is_not_shown(world: World) -> None:
    """Whatever it puts there, also another letter of Alice herself; Bob's app is told."""
    async with talking(world, listen=False) as (alice, _, inbox):
        first, second = (
            await alice.send(world.bob_name, "one"),
            await alice.send(world.bob_name, "two"),
        )
        letter = world.take(world.alice, f"messages/{first.id}")
        world.put(world.alice, f"messages/{second.id}", letter)
        inbox.listen()
        assert await inbox.has(1) == ["one"]
        assert isinstance(await inbox.failed(), CannotOpen)
    assert await unread(world, world.server) == 1


async def test_a_letter_that_is_gone_stays_unread(world: World) -> None:
    """The app hears of it, and may give it up."""
    async with talking(world, listen=False) as (alice, bob, inbox):
        sent = await alice.send(world.bob_name, "one")
        assert alice.bucket is not None
        await alice.bucket.delete(f"messages/{sent.id}")
        inbox.listen()
        assert isinstance(await inbox.failed(), NoLetter)
        assert await unread(world, world.server) == 1
        bob.on_error(lambda message, error: message.ack())
    async with talking(world, listen=False) as (_, bob, inbox):
        bob.on_error(lambda message, error: message.ack())
        inbox.listen()
        await inbox.failed()
        assert await unread(world, world.server, until=0) == 0


async def test_who_is_not_alice_does_not_get_her_name(world: World) -> None:
    """The server refuses to be told it, and Bob's client to be told it in an envelope."""
    mallory = PrivateKey.generate()
    post = Post(mallory, world.bob)
    post.envelope["bucket"] = world.hub.hub.bucket_url(mallory)
    post.envelope["name"] = world.alice_name
    world.put(mallory, "messages/an-id", post.sealed())
    async with talking(world) as (_, _, inbox):
        async with world.client(mallory, world.alice_name) as liar:
            with pytest.raises(NameMismatch):
                await liar.send(world.bob_name, "I am Alice")
        await unread(world, world.server)
        payload = post.received().payload
        await deliver(mallory, world.bob, world.server, payload, key="a key")
        await inbox.has(1)
    assert inbox.messages[0].name is None
    assert inbox.messages[0].sender == mallory.did


@pytest.mark.parametrize("swap", ["another key's", "another app's", "older"])
async def test_a_contact_document_that_the_hub_swapped_leads_nowhere(
    world: World, swap: str
) -> None:
    """Neither key nor server of another, nor a server that Bob has left."""
    async with world.bobs() as bob:
        await bob.publish()
    old = world.take(world.bob, CONTACT)
    passed = 0.0
    async with world.alices(clock=lambda: time.time() + passed) as alice:
        if swap == "older":
            async with world.bobs() as bob:
                await bob.move_to(["https://push.example"])
            await alice.directory.reach(world.bob_name, APP)
            fake = old
        else:
            key = PrivateKey.generate() if swap == "another key's" else world.bob
            app = APP if swap == "another key's" else "https://chat.example"
            servers = ["https://mallory.example"]
            fake = make_contact(key, servers=servers, app=app, now=time.time())
        world.put(world.bob, CONTACT, fake)
        passed = 1800.0
        if swap == "older":
            destination = await alice.directory.reach(world.bob_name, APP)
            assert destination.servers == ("https://push.example",)
        else:
            with pytest.raises(Unproven):
                await alice.send(world.bob_name, "Hello")


# --- outages -------------------------------------------------------------------------


async def test_a_bucket_that_is_away_is_waited_for(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The app is told; then the message comes, over the same connection."""
    monkeypatch.setattr("pushd.client.inbox.AGAIN", 0.1)
    with running_devhub() as own_hub:
        options = {"dev_hosts": hosts(world.hub.url, own_hub.url, world.server.url)}
        async with talking(world, listen=False, **options) as (_, bob, inbox):
            async with world.alices(hub=own_hub.url, **options) as alice:
                await alice.send(world.bob_name, "one")
            own_hub.stop()
            states: list[Phase] = []
            bob.on_state(lambda _, status: states.append(status.phase))
            inbox.listen()
            assert isinstance(await inbox.failed(), BucketUnreachable)
            assert await unread(world, world.server) == 1
            own_hub.start()
            assert await inbox.has(1) == ["one"]
            assert states.count(Phase.LIVE) == 1
            assert inbox.messages[0].name == world.alice_name


async def test_a_resolver_that_is_away_costs_the_name_alone(world: World) -> None:
    """The message is shown, and never with a name that nobody proved."""
    async with talking(world, listen=False, names_api="http://127.0.0.1:1") as (*_, inbox):
        async with world.alices() as alice:
            await alice.send(world.bob_name, "one")
        inbox.listen()
        assert await inbox.has(1) == ["one"]
    assert inbox.messages[0].name is None


async def test_who_is_declined_is_not_read(world: World) -> None:
    """Their bucket is not asked for anything; the message stays unread."""
    nobody: dict[str, Any] = {"listen": False, "accept": lambda did: False}
    async with talking(world, **nobody) as (alice, _, inbox):
        sent = await alice.send(world.bob_name, "one")
        assert alice.bucket is not None
        await alice.bucket.delete(f"messages/{sent.id}")
        inbox.listen()
        assert isinstance(await inbox.failed(), NotAccepted)
    assert await unread(world, world.server) == 1


async def test_a_mailbox_that_was_full_is_told(
    world: World, store_url: str, hub: RunningHub
) -> None:
    """To the sender as an error that no other server is tried for, to the owner by whom."""
    names = {"names_api": hub.url, "dev_hosts": hub.host_port}
    limits: dict[str, Any] = {"max_mailbox_messages": 2, **names}
    with serving(store_url, **limits) as small:
        servers = [small.url, "https://other.example"]
        async with world.bobs(servers=servers) as bob:
            await bob.publish()
            told: list[tuple[str, int]] = []
            bob.on_overflow(lambda server, what: told.append((server, what.refused)))
            async with world.alices(servers=servers) as alice:
                await alice.send(world.bob_name, "one")
                with pytest.raises(MailboxFull):
                    await alice.send(world.bob_name, "two")
            Inbox(bob).listen()
            await eventually(lambda: told)
    assert told[0] == (small.url, 1)


# --- what the tests need -------------------------------------------------------------


@asynccontextmanager
async def talking(
    world: World, *, listen: bool = True, **options: Any
) -> AsyncIterator[tuple[Client, Client, Inbox]]:
    """Run clients of Alice and Bob, whose contact document is there; options are Bob's."""
    async with world.alices() as alice, world.bobs(**options) as bob:
        inbox = Inbox(bob)
        await bob.publish()
        if listen:
            inbox.listen()
        yield alice, bob, inbox


async def eventually(condition: Callable[[], object]) -> None:
    """Wait until something holds."""
    while not condition():  # noqa: ASYNC110 # of what it waits for no event tells
        await asyncio.sleep(0.01)


async def unread(world: World, server: RunningServer, until: int | None = None) -> int:
    """Return how many messages Bob's mailbox at a server holds, once it is so many."""
    person = Person(server.url)
    person.key, person.did = world.bob, world.bob.did
    async with httpx2.AsyncClient(trust_env=False) as http:
        while True:
            answer = await http.get(f"{server.url}/v1/messages", headers=person.receive())
            number = answer.json()["unread"]
            if until is None or number == until:
                return int(number)


async def deliver(
    alice: PrivateKey, bob: PrivateKey, server: RunningServer, payload: str, *, key: str
) -> None:
    """Deliver a payload, without a name."""
    async with Sender(alice, server=server.url) as sender:
        await sender.send(bob.did, payload, key=key)

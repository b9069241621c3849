"""Who may write, said by the Python client and by `pushdctl` to real servers."""

from collections.abc import Iterator
from errno import ENOSPC
from pathlib import Path

import pytest

from pushd.client import (
    Accepted,
    Client,
    NoServer,
    OwnPolicy,
    Policy,
    PrivateKey,
    Sender,
    Unreachable,
)
from pushd.errors import BadRequest, Forbidden
from pushd.identity.contact import PATH, make_contact
from pushd.keyfiles import create_key
from pushd.mailbox.embedded import EmbeddedStore
from tests.contract.stores import until
from tests.devhub import RunningHub
from tests.harness import Clock, RunningServer, serving
from tests.processes import free_port, run

APP = "https://calendar.example"
ALICE, BOB = "alice.id.blockstack", "bob.id.blockstack"
OPEN = Policy("accept")


@pytest.fixture(scope="module")
def server(store_url: str, hub: RunningHub) -> Iterator[RunningServer]:
    """Run a server that knows names."""
    with serving(store_url, names_api=hub.url, dev_hosts=hub.host_port) as running:
        yield running


@pytest.fixture(scope="module")
def second(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningServer]:
    """Run another server, on a store of its own."""
    store = EmbeddedStore(tmp_path_factory.mktemp("second"))
    try:
        with serving(store.start()) as running:
            yield running
    finally:
        store.stop()


def client(key: PrivateKey, *servers: RunningServer) -> Client:
    """Make a client of somebody at these servers."""
    return Client(key, app=APP, servers=[server.url for server in servers])


def at_hub(
    key: PrivateKey,
    hub: RunningHub,
    server: RunningServer | str,
    state_dir: Path | None = None,
) -> Client:
    """Make a client of somebody who publishes, and soon gives up."""
    return Client(
        key,
        app=APP,
        hub=hub.url,
        servers=[server if isinstance(server, str) else server.url],
        dev_hosts=[hub.host_port],
        give_up_after=1.0,
        state_dir=state_dir,
    )


async def write(
    key: PrivateKey, to: str, server: RunningServer, name: str | None = None
) -> Accepted:
    """Write to somebody, or be refused."""
    async with Sender(key, server=server.url, name=name, app=APP) as sender:
        return await sender.send(to, "x")


async def test_a_policy_is_read_as_it_was_set(server: RunningServer) -> None:
    """It counts at once; the next one takes its place."""
    friend, stranger, bob = [PrivateKey.generate() for _ in range(3)]
    async with client(bob, server) as owner:
        assert await owner.policy() == OPEN
        await owner.set_policy("refuse", allow=[friend.did])
        assert await owner.policy() == Policy("refuse", [friend.did])
        await write(friend, bob.did, server)
        with pytest.raises(Forbidden):
            await write(stranger, bob.did, server)
        await owner.set_policy("accept", block=[friend.did])
        await write(stranger, bob.did, server)
        with pytest.raises(Forbidden):
            await write(friend, bob.did, server)


async def test_a_policy_may_have_names(server: RunningServer, hub: RunningHub) -> None:
    """They are those of the client's app; one that is nobody's changes nothing."""
    alice, bob = PrivateKey.generate(), PrivateKey.generate()
    hub.hub.register(ALICE, PrivateKey.generate(), {APP: alice})
    async with client(bob, server) as owner:
        await owner.set_policy("accept", block=[ALICE])
        with pytest.raises(Forbidden):
            await write(alice, bob.did, server, ALICE)
        with pytest.raises(BadRequest, match=r"nobody\.id"):
            await owner.set_policy("accept", allow=["nobody.id.blockstack"])
        assert await owner.policy() == Policy("accept", [], [ALICE])


async def test_a_policy_is_set_at_all_servers(
    server: RunningServer, second: RunningServer
) -> None:
    """Who is refused at one finds no other open."""
    stranger, bob = PrivateKey.generate(), PrivateKey.generate()
    async with client(bob, server, second) as owner:
        await owner.set_policy("refuse")
    for place in (server, second):
        with pytest.raises(Forbidden):
            await write(stranger, bob.did, place)


async def test_a_policy_moves_along(
    server: RunningServer, second: RunningServer, hub: RunningHub
) -> None:
    """To a server that is new; what was said there before is not touched."""
    stranger, bob = PrivateKey.generate(), PrivateKey.generate()
    async with at_hub(bob, hub, server) as owner:
        await owner.set_policy("refuse")
        await owner.move_to([second.url])
        with pytest.raises(Forbidden):
            await write(stranger, bob.did, second)
        await owner.set_policy("accept")
        await owner.move_to([second.url])
        await write(stranger, bob.did, second)


async def test_a_policy_moves_along_where_the_move_cannot_be_saved(
    server: RunningServer,
    second: RunningServer,
    hub: RunningHub,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A full disk lets nobody in; and the move is saved once there is room."""
    monkeypatch.setattr("pushd.client.client.LOOK_EVERY", 0.02)
    stranger, bob = PrivateKey.generate(), PrivateKey.generate()

    def full(path: Path, content: bytes) -> None:
        raise OSError(ENOSPC, "No space left on device")

    def saved() -> bool:
        files = tmp_path.glob("client-*.json")
        return any(second.url.encode() in file.read_bytes() for file in files)

    async with at_hub(bob, hub, server, tmp_path) as owner:
        await owner.set_policy("refuse")
        with monkeypatch.context() as disk:
            disk.setattr("pushd.client.state.replace", full)
            await owner.move_to([second.url])
        with pytest.raises(Forbidden):
            await write(stranger, bob.did, second)
        await until(saved)


async def test_who_moves_from_a_server_that_is_gone_says_the_policy(
    second: RunningServer, hub: RunningHub
) -> None:
    """Else nothing is moved, so that nobody who was blocked gets in by that."""
    stranger, bob = PrivateKey.generate(), PrivateKey.generate()
    gone = f"http://127.0.0.1:{free_port()}"
    async with at_hub(bob, hub, gone) as owner:
        with pytest.raises(Unreachable):
            await owner.move_to([second.url])
        assert owner.servers == (gone,)
        await owner.move_to([second.url], policy=Policy("refuse"))
        with pytest.raises(Forbidden):
            await write(stranger, bob.did, second)


async def test_without_a_server_there_is_no_policy() -> None:
    """There is no mailbox it could be of."""
    async with client(PrivateKey.generate()) as owner:
        with pytest.raises(NoServer):
            await owner.policy()
        with pytest.raises(NoServer):
            await owner.set_policy("accept")


async def test_a_wrong_clock_is_corrected(server: RunningServer) -> None:
    """As it is for deliveries."""
    clock = Clock()
    clock.ahead = 7200
    bob = PrivateKey.generate()
    async with OwnPolicy(bob, servers=[server.url], clock=clock) as own:
        assert await own.get() == OPEN


async def test_a_name_opens_the_mailbox_a_policy_is_of(
    store_url: str, hub: RunningHub
) -> None:
    """Where a contact document is the way in, the name is claimed."""
    bob = PrivateKey.generate()
    hub.hub.register(BOB, PrivateKey.generate(), {APP: bob})
    with serving(
        store_url, mailboxes="declared", names_api=hub.url, dev_hosts=hub.host_port
    ) as server:
        declare(hub, bob, server)
        async with OwnPolicy(bob, servers=[server.url], app=APP) as own:
            with pytest.raises(Forbidden):
                await own.set(Policy("refuse"))
        async with OwnPolicy(bob, servers=[server.url], name=BOB, app=APP) as own:
            await own.set(Policy("refuse"))
            assert await own.get() == Policy("refuse")


def declare(hub: RunningHub, owner: PrivateKey, server: RunningServer) -> None:
    """Say in somebody's contact document that this server is theirs."""
    contact = make_contact(owner, servers=[server.url], app=APP, now=Clock()())
    address = owner.did.rpartition(":")[2]
    hub.hub.storage.write(address, PATH, contact, "application/json")


def test_on_the_command_line(server: RunningServer, tmp_path: Path) -> None:
    """What `policy set` says, `policy show` prints; a refusal is said in a sentence."""
    create_key(tmp_path / "bob.json")
    basis = ["--key", "bob.json", "--server", server.url]
    did = PrivateKey.generate().did
    said = run(["policy", "set", *basis, "--default", "refuse", "--allow", did], tmp_path)
    assert (said.returncode, said.stdout, said.stderr) == (0, "", "")
    shown = run(["policy", "show", *basis], tmp_path)
    assert shown.stdout.split() == ["default", "refuse", "allow", did]
    wrong = ["policy", "set", *basis, "--default", "refuse", "--block", "nobody"]
    refused = run(wrong, tmp_path)
    assert refused.returncode == 1
    assert "block[0]" in refused.stderr

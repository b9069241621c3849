"""The example of docs/examples/calendar_invites, on a real hub and a real server."""

import asyncio
import importlib.util
import subprocess
import sys
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from pushd.client import CannotOpen, PrivateKey
from pushd.mailbox.embedded import EmbeddedStore
from tests.devhub import RunningHub, running_devhub
from tests.harness import serving
from tests.processes import Program, clean_environ

PLACE = Path(__file__).parent.parent.parent / "docs" / "examples" / "calendar_invites"
APP = "https://calendar.example"
NAMES = ("alice.id.blockstack", "bob.id.blockstack", "carol.id.blockstack")
WORDS = ("Picnic by the lake", "the old oak")


@pytest.fixture(scope="module")
def example() -> ModuleType:
    """Import the example, as an app that copied it would."""
    spec = importlib.util.spec_from_file_location("invitations", PLACE / "invitations.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_the_party_of_the_demo(tmp_path: Path) -> None:
    """What the README says to run runs: Alice invites Bob, and he comes."""
    with Program(["demo", "--port", "0"], tmp_path) as demo:
        demo.says("Ctrl-C stops it.")
        done = subprocess.run(
            [sys.executable, PLACE / "party.py"],
            cwd=tmp_path,
            env=clean_environ(),
            capture_output=True,
            text=True,
            timeout=30,
            check=False,
        )

    assert done.returncode == 0, done.stderr
    assert "13:00" in done.stdout
    assert "{'bob.id.blockstack': True}" in done.stdout


async def until(condition: Callable[[], object]) -> None:
    """Wait until something holds."""
    while not condition():  # noqa: ASYNC110 # the example has no event to wait for
        await asyncio.sleep(0.01)


class World:
    """What the people of a test live in.

    Attributes:
        hub: Keeps their files.
        keys: Their keys, by name.
        calendars: Their calendars, by name.
        store: The directory of the server's store.
    """

    def __init__(self, hub: RunningHub, store: Path) -> None:
        self.hub = hub
        self.store = store
        self.keys = {name: PrivateKey.generate() for name in NAMES}
        self.calendars: list[Any] = []

    def held(self) -> bytes:
        """Return every byte that hub and server hold, each file by itself in the clear."""
        storage = self.hub.hub.storage
        files = [
            file.content
            for key in self.keys.values()
            for _, file in storage.files(key.did.rpartition(":")[2])
        ]
        kept = [path.read_bytes() for path in self.store.rglob("*") if path.is_file()]
        return b"\n".join(files + kept)


@asynccontextmanager
async def people(example: ModuleType, tmp_path: Path) -> AsyncIterator[World]:
    """Run a hub, a server, and a calendar for each of three people."""
    async with AsyncExitStack() as stack:
        hub = stack.enter_context(running_devhub())
        store = EmbeddedStore(tmp_path)
        stack.callback(store.stop)
        server = stack.enter_context(
            serving(store.start(), names_api=hub.url, dev_hosts=hub.host_port)
        )
        world = World(hub, tmp_path)
        for name, key in world.keys.items():
            hub.hub.register(name, PrivateKey.generate(), {APP: key})
            client = hub.client(key, name, app=APP, server=server.url)
            await stack.enter_async_context(client)
            await client.publish()
            world.calendars.append(example.Calendar(key, client))
        yield world


async def test_guests_come_and_nobody_else_reads(
    example: ModuleType, tmp_path: Path
) -> None:
    """Invited, read, changed, read again, answered; and nothing in clear anywhere."""
    async with people(example, tmp_path) as world:
        alice, bob, carol = world.calendars
        picnic = example.Event(WORDS[0], "2026-06-01T12:00", WORDS[1])
        uid = await alice.invite(picnic, NAMES[1:])
        await until(lambda: uid in bob.invitations and uid in carol.invitations)
        assert await bob.read(uid) == picnic
        later = example.Event(WORDS[0], "2026-06-01T13:00", WORDS[1])
        await alice.change(uid, later)
        assert await carol.read(uid) == later
        await bob.answer(uid, coming=True)
        await carol.answer(uid, coming=False)
        expected = {NAMES[1]: True, NAMES[2]: False}
        await until(lambda: alice.guests[uid] == expected)

        held = world.held()
        invitation, owner = bob.invitations[uid]
        assert owner == NAMES[0]
        assert uid.encode() not in held, "not even where the event is"
        keys = [invitation.key, *(key.to_hex() for key in world.keys.values())]
        for secret in (*keys, *WORDS, "invitation", "coming"):
            assert secret.encode() not in held
        for key in keys:
            assert bytes.fromhex(key) not in held
        assert b'"payload"' in held, "what was looked through is what the server keeps"


async def test_what_the_hub_makes_of_an_event_is_not_read(
    example: ModuleType, tmp_path: Path
) -> None:
    """A guest knows the event's key, and still cannot write in Alice's name."""
    async with people(example, tmp_path) as world:
        alice, bob, _ = world.calendars
        uid = await alice.invite(example.Event("a", "b", "c"), [NAMES[1]])
        await until(lambda: uid in bob.invitations)
        invitation, _ = bob.invitations[uid]
        key = PrivateKey.from_hex(invitation.key).public
        fake = example.ecies.encrypt_signed("{}", key, world.keys[NAMES[1]]).encode()
        address = world.keys[NAMES[0]].did.rpartition(":")[2]
        path = f"shared/{uid}/event.json"
        world.hub.hub.storage.write(address, path, fake, "application/json")
        with pytest.raises(CannotOpen, match="owner"):
            await bob.read(uid)

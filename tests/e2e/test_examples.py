"""The Python of README.md and docs/clients.md is run as it stands there."""

import asyncio
import re
from collections.abc import AsyncIterator, Coroutine, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import httpx2
import pytest

from pushd.client import Accepted, Client, Delivery, Envelope, PrivateKey
from tests.devhub import RunningHub, running_devhub
from tests.harness import Person, RunningServer, serving
from tests.talking import open_mailbox

ROOT = Path(__file__).parent.parent.parent
EXAMPLE = re.compile(r"^```python\n(.*?)^```$", re.MULTILINE | re.DOTALL)
APP = "https://calendar.example"
ALICE, BOB = "alice.id.blockstack", "bob.id.blockstack"

Printed = asyncio.Queue[tuple[Any, ...]]


class World:
    """A hub and a server that know Alice and Bob, who never met."""

    def __init__(self, hub: RunningHub, server: RunningServer) -> None:
        self.hub = hub
        self.server = server
        self.alice, self.bob = PrivateKey.generate(), PrivateKey.generate()
        for name, key in ((ALICE, self.alice), (BOB, self.bob)):
            hub.hub.register(name, PrivateKey.generate(), {APP: key})

    def here(self, code: str) -> str:
        """Let an example talk to this hub and this server."""
        hosts = [url.removeprefix("http://") for url in (self.hub.url, self.server.url)]
        names_api = f'names_api="{self.hub.url}", dev_hosts={hosts!r}'
        code = code.replace('names_api="https://names.example.org"', names_api)
        code = code.replace("https://hub.example.org", self.hub.url)
        return code.replace("https://push.example.org", self.server.url)

    def examples(self, page: str, printed: Printed) -> dict[str, Any]:
        """Return what the examples of a page define."""
        namespace: dict[str, Any] = {"print": lambda *what: printed.put_nowait(what)}
        for code in EXAMPLE.findall((ROOT / page).read_text()):
            exec(compile(self.here(code), page, "exec"), namespace)  # noqa: S102 - ours
        return namespace


@pytest.fixture
def world(
    store_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[World]:
    """Run a hub and a server of their own, in an empty directory."""
    monkeypatch.chdir(tmp_path)
    with (
        running_devhub() as hub,
        serving(store_url, names_api=hub.url, dev_hosts=hub.host_port) as server,
    ):
        yield World(hub, server)


@asynccontextmanager
async def beside(listening: Coroutine[Any, Any, None]) -> AsyncIterator[None]:
    """Run a listening coroutine beside the body, and end it after that."""
    task = asyncio.create_task(listening)
    yield
    task.cancel()
    await asyncio.wait([task])


async def test_the_readme_sends_and_listens(world: World) -> None:
    """What the first example of README.md sends, the second one shows."""
    printed = Printed()
    example = world.examples("README.md", printed)
    async with beside(example["be_bob"](world.bob)):
        while not world.hub.hub.storage.files(address(world.bob)):  # noqa: ASYNC110
            await asyncio.sleep(0.01)
        await example["greet"](world.alice)
        assert await printed.get() == (ALICE, "Hello Bob")


async def test_the_page_about_clients_sends_and_listens(world: World) -> None:
    """The examples of docs/clients.md about clients understand each other."""
    printed = Printed()
    example = world.examples("docs/clients.md", printed)
    printed.get_nowait()  # the example of a key prints one
    alice: Client = example["make_client"](world.alice, ALICE, world.server.url)
    bob: Client = example["make_client"](world.bob, BOB, world.server.url)
    async with alice, bob:
        await bob.publish()
        await example["invite"](alice, BOB)
        id, server = await printed.get()
        assert server == world.server.url
        async with beside(example["listen"](bob)):
            assert await printed.get() == (id, ALICE, "You are invited")
        await example["be_found"](bob)
        assert await printed.get() == ([],)
        assert bob.servers == ("https://push.example.net", world.server.url)


async def test_the_parts_send_and_listen(world: World, http: httpx2.AsyncClient) -> None:
    """The examples of docs/clients.md about the parts understand each other."""
    printed = Printed()
    example = world.examples("docs/clients.md", printed)
    printed.get_nowait()
    bob = Person(world.server.url)
    await open_mailbox(http, world.server.url, bob)
    bucket = world.hub.hub.bucket_url(world.alice)

    await example["tell"](world.alice, bob.key.public, bucket, world.server.url)
    id, duplicate = await printed.get()
    assert not duplicate
    many = [Delivery(bob.did, "no envelope")]
    await example["tell_many"](world.alice, many, world.server.url)
    (outcome,) = await printed.get()
    assert isinstance(outcome, Accepted)

    async with beside(example["receive"](bob.key, world.server.url)):
        first, second = await printed.get(), await printed.get()

    # Opening goes ahead of listening, so either may be told first.
    opened, failed = (first, second) if first[0] == id else (second, first)
    assert (id, world.alice.did) == opened[:2]
    assert isinstance(opened[2], Envelope)
    assert (outcome.id, "stays unread:") == failed[:2]


def address(key: PrivateKey) -> str:
    """Return the address of a key's bucket."""
    return key.did.rpartition(":")[2]

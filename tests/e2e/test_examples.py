"""The Python of README.md and docs/clients.md is run as it stands there."""

import asyncio
import re
from collections.abc import AsyncIterator, Coroutine
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, NamedTuple

import httpx2
import pytest

from pushd.client import Accepted, Delivery, Envelope, PrivateKey
from tests.harness import Person, RunningServer
from tests.talking import open_mailbox

ROOT = Path(__file__).parent.parent.parent
EXAMPLE = re.compile(r"^```python\n(.*?)^```$", re.MULTILINE | re.DOTALL)
STRANGER = re.compile(r"did:btc-addr:1BvBMSEYstWetqTFn5Au4m4GFg7xJaNVN2")

Printed = asyncio.Queue[tuple[Any, ...]]


class People(NamedTuple):
    """Two keys, and where Alice keeps her messages."""

    alice: PrivateKey
    bob: PrivateKey
    bucket: str


@pytest.fixture
async def people(
    server: RunningServer,
    http: httpx2.AsyncClient,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> People:
    """Return people who never met, in an empty directory; Bob has a mailbox."""
    monkeypatch.chdir(tmp_path)
    alice, bob = Person(server.url), Person(server.url)
    await open_mailbox(http, server.url, bob)
    address = alice.did.rpartition(":")[2]
    return People(alice.key, bob.key, f"https://gaia.example/hub/{address}/")


def examples(page: str, url: str, friend: str, printed: Printed) -> dict[str, Any]:
    """Return what the examples of a page define, for this server and this friend."""
    namespace: dict[str, Any] = {"print": lambda *what: printed.put_nowait(what)}
    for code in EXAMPLE.findall((ROOT / page).read_text()):
        here = STRANGER.sub(friend, code.replace("https://push.example.org", url))
        exec(compile(here, page, "exec"), namespace)  # noqa: S102 - our own pages
    return namespace


@asynccontextmanager
async def beside(listening: Coroutine[Any, Any, None]) -> AsyncIterator[None]:
    """Run a listening coroutine beside the body, and end it after that."""
    task = asyncio.create_task(listening)
    yield
    task.cancel()
    await asyncio.wait([task])


async def test_the_readme_sends_and_listens(server: RunningServer, people: People) -> None:
    """What the sender of README.md delivers, its listener opens."""
    printed = Printed()
    example = examples("README.md", server.url, people.alice.did, printed)
    await example["tell_bob"](people.alice, people.bucket, people.bob.public)

    async with beside(example["be_bob"](people.bob)):
        sender, envelope = await printed.get()

    assert people.alice.did == sender
    assert isinstance(envelope, Envelope)
    assert people.bucket == envelope.bucket


async def test_the_page_about_clients_sends_and_listens(
    server: RunningServer, people: People
) -> None:
    """The examples of docs/clients.md understand each other."""
    printed = Printed()
    example = examples("docs/clients.md", server.url, people.alice.did, printed)
    printed.get_nowait()  # the example of a key prints one

    await example["tell"](people.alice, people.bob.public, people.bucket, server.url)
    id, duplicate = await printed.get()
    assert not duplicate
    many = [Delivery(people.bob.did, "no envelope")]
    await example["tell_many"](people.alice, many, server.url)
    (outcome,) = await printed.get()
    assert isinstance(outcome, Accepted)

    async with beside(example["listen"](people.bob, server.url)):
        first, second = await printed.get(), await printed.get()

    assert (id, people.alice.did) == first[:2]
    assert isinstance(first[2], Envelope)
    assert (outcome.id, "stays unread:") == second[:2]

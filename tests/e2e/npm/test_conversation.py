"""Two people who know each other's names only, one in an app on the real packages."""

import asyncio
from collections.abc import AsyncIterator, Iterator

import pytest

from pushd.client import Client, Incoming, PrivateKey
from tests.devhub import RunningHub
from tests.e2e.npm.app import ORIGIN, App, Packages
from tests.harness import RunningServer, serving


@pytest.fixture(scope="module")
def server(store_url: str, devhub: RunningHub) -> Iterator[RunningServer]:
    """Run a server that looks names up where the people do."""
    hosts = (devhub.host_port,)
    with serving(store_url, names_api=devhub.url, dev_hosts=hosts) as running:
        yield running


@pytest.fixture
def alice(
    packages: Packages,
    devhub: RunningHub,
    server: RunningServer,
    key: PrivateKey,
    name: str,
) -> App:
    """Return the app of Alice, who has said which server is hers."""
    alice = packages.sign_in(key, hub=devhub.url, name=name, names=devhub.url)
    alice.call("publish", [server.url])
    return alice


@pytest.fixture
async def bob(
    packages: Packages, devhub: RunningHub, server: RunningServer
) -> AsyncIterator[Client]:
    """Return the client of Bob, who has done the same."""
    key = PrivateKey.generate()
    name = packages.register("bob", PrivateKey.generate(), key, hub=devhub.hub)
    async with devhub.client(key, name, app=ORIGIN, server=server.url) as client:
        await client.publish()
        yield client


async def test_an_app_writes_to_a_client(alice: App, bob: Client, name: str) -> None:
    """Alice's app finds Bob by his name, and Bob's client proves hers."""
    heard = asyncio.Queue[Incoming]()
    bob.listen(heard.put_nowait)

    alice.call("send", bob.name, "See you at nine.")

    message = await heard.get()
    assert message.content == "See you at nine."
    assert (alice.did, name) == (message.sender, message.name)


async def test_a_client_writes_to_an_app(
    alice: App, bob: Client, server: RunningServer, name: str
) -> None:
    """Bob's client finds Alice by her name, and the server proves his to her app."""
    await bob.send(name, "See you at nine.")

    (message,) = alice.call("receive", server.url)

    assert message["content"] == "See you at nine."
    assert message["from"] == {"did": bob.identity, "name": bob.name}

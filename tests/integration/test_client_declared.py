"""Clients at a server that opens mailboxes only for those who declared it theirs."""

import asyncio
from collections.abc import Iterator

import pytest

from pushd.client import Client, Incoming, PrivateKey, StreamClosed
from tests.devhub import RunningHub
from tests.harness import RunningServer, serving

APP = "https://calendar.example"
ALICE, BOB = "alice.id.blockstack", "bob.id.blockstack"


@pytest.fixture
def server(store_url: str, hub: RunningHub) -> Iterator[RunningServer]:
    """Run a server for those who declared it theirs."""
    with serving(
        store_url, mailboxes="declared", names_api=hub.url, dev_hosts=hub.host_port
    ) as running:
        yield running


def client(hub: RunningHub, server: RunningServer, key: PrivateKey, name: str) -> Client:
    """Make a client of somebody, whose name is known from now on."""
    hub.hub.register(name, PrivateKey.generate(), {APP: key})
    return hub.client(key, name, app=APP, server=server.url)


async def first(client: Client) -> Incoming:
    """Return the first message."""
    arrived: asyncio.Queue[Incoming] = asyncio.Queue()
    client.listen(arrived.put_nowait)
    return await arrived.get()


async def test_a_contact_document_is_the_way_in(
    hub: RunningHub, server: RunningServer
) -> None:
    """The client shows its name where that is needed, and only there."""
    alices, bobs = PrivateKey.generate(), PrivateKey.generate()
    async with client(hub, server, bobs, BOB) as bob:
        await bob.publish()
        async with client(hub, server, alices, ALICE) as alice:
            listening = asyncio.create_task(first(bob))
            await alice.send(BOB, "Hello Bob")
            message = await listening
    assert (message.content, message.name) == ("Hello Bob", ALICE)


async def test_who_has_a_mailbox_reads_it_while_names_are_down(
    hub: RunningHub, server: RunningServer
) -> None:
    """Reading needs no name, so no source of names."""
    alices, bobs = PrivateKey.generate(), PrivateKey.generate()
    async with client(hub, server, bobs, "bob2.id") as bob:
        await bob.publish()
        async with client(hub, server, alices, "alice2.id") as alice:
            await alice.send("bob2.id", "1")
    known: asyncio.Queue[str] = asyncio.Queue()
    async with client(hub, server, bobs, "bob2.id") as bob:
        hub.stop()
        try:
            bob.on_state(lambda _, status: known.put_nowait(status.phase.name))
            bob.listen(lambda _: None)
            while await known.get() != "LIVE":
                pass
        finally:
            hub.start()


async def test_who_did_not_declare_the_server_stays_outside(
    hub: RunningHub, server: RunningServer
) -> None:
    """Refused without a name and with it, the client does not try for ever."""
    async with client(hub, server, PrivateKey.generate(), "eve.id") as eve:
        eve.listen(lambda _: None)
        with pytest.raises(StreamClosed) as closed:
            await eve.wait()
    assert closed.value.code == 4403

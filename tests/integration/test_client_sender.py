"""The Python sender and a real server: what is kept once, and each refusal's own error."""

import asyncio
from collections.abc import AsyncIterator, Iterator

import httpx2
import pytest

from pushd.client import Accepted, Delivery, PrivateKey, Sender
from pushd.errors import (
    BadRequest,
    Forbidden,
    KeyConflict,
    NameMismatch,
    PayloadTooLarge,
    UnknownMailbox,
)
from tests.devhub import running_devhub
from tests.harness import Person, RunningServer, serving

APP = "https://app.example"
NAME = "alice.id.blockstack"
NAMED = PrivateKey.generate()


@pytest.fixture
async def bob(server: RunningServer, http: httpx2.AsyncClient) -> Person:
    """Return somebody who has a mailbox."""
    bob = Person(server.url)
    answer = await http.get("/v1/messages", headers=bob.receive())
    answer.raise_for_status()
    return bob


@pytest.fixture
async def sender(server: RunningServer) -> AsyncIterator[Sender]:
    """Return a sender of somebody."""
    async with Sender(Person(server.url).key, server=server.url) as sender:
        yield sender


async def payloads(http: httpx2.AsyncClient, person: Person) -> list[str]:
    """Return what is in a mailbox."""
    answer = await http.get("/v1/messages", headers=person.receive())
    return [message["payload"] for message in answer.json()["messages"]]


async def test_the_same_key_is_kept_once(
    sender: Sender, bob: Person, http: httpx2.AsyncClient
) -> None:
    """Sent twice, it has one id, and is there once."""
    first = await sender.send(bob.did, "x", key="one")
    again = await sender.send(bob.did, "x", key="one")
    assert again == Accepted(first.id, bob.did, duplicate=True)
    await sender.send(bob.did, "x")
    assert await payloads(http, bob) == ["x", "x"]


async def test_refusals(sender: Sender, bob: Person, server: RunningServer) -> None:
    """Each is the error of its code."""
    await sender.send(bob.did, "x", key="one")
    with pytest.raises(KeyConflict):
        await sender.send(bob.did, "y", key="one")
    with pytest.raises(PayloadTooLarge):
        await sender.send(bob.did, "x" * 5000)
    with pytest.raises(UnknownMailbox):
        await sender.send(Person(server.url).did, "x")
    with pytest.raises(BadRequest):
        await sender.send(bob.did, "x", ttl=0)
    with pytest.raises(BadRequest):
        await sender.send(bob.did, "x", key="k" * 200)


async def test_a_name_nobody_can_prove(server: RunningServer, bob: Person) -> None:
    """A claimed name is refused where no resolver is."""
    async with Sender(
        Person(server.url).key,
        server=server.url,
        name="alice.id.blockstack",
        app="https://app.example",
    ) as sender:
        with pytest.raises(NameMismatch) as refused:
            await sender.send(bob.did, "x")
    assert isinstance(refused.value, Forbidden)


async def test_many(sender: Sender, bob: Person, http: httpx2.AsyncClient) -> None:
    """A batch is kept in order, around what is refused."""
    outcomes = await sender.send_many(
        [Delivery(bob.did, "1"), Delivery(bob.did, "x" * 5000), Delivery(bob.did, "2")]
    )
    kinds = [type(outcome) for outcome in outcomes]
    assert kinds == [Accepted, PayloadTooLarge, Accepted]
    assert await payloads(http, bob) == ["1", "2"]
    assert await sender.send_many([]) == []


@pytest.fixture(scope="module")
def narrow(store_url: str) -> Iterator[RunningServer]:
    """Run a server that takes nothing but tokens for one body, and knows names."""
    with (
        running_devhub() as hub,
        serving(
            store_url, require_digest=True, names_api=hub.url, dev_hosts=hub.host_port
        ) as server,
    ):
        hub.hub.register(NAME, PrivateKey.generate(), {APP: NAMED})
        yield server


async def test_a_token_for_each_body_where_the_server_wants_it(
    narrow: RunningServer,
) -> None:
    """Nobody has to say so: two at once find it out, later ones know, many too."""
    bob = await newcomer(narrow)
    async with Sender(Person(narrow.url).key, server=narrow.url) as sender:
        one, two = await asyncio.gather(
            sender.send(bob.did, "x", key="one"), sender.send(bob.did, "y", key="two")
        )
        assert not one.duplicate
        assert not two.duplicate
        again = await sender.send(bob.did, "x", key="one")
        assert again == Accepted(one.id, bob.did, duplicate=True)
        with pytest.raises(KeyConflict):
            await sender.send(bob.did, "y", key="one")
        many = [Delivery(bob.did, payload, payload) for payload in "abc"]
        first = await sender.send_many(many)
        second = await sender.send_many(many)
    assert not any(accepted(outcome).duplicate for outcome in first)
    assert all(accepted(outcome).duplicate for outcome in second)
    async with httpx2.AsyncClient(base_url=narrow.url, trust_env=False) as http:
        assert sorted(await payloads(http, bob)) == ["a", "b", "c", "x", "y"]


async def test_a_token_for_each_body_by_name(narrow: RunningServer) -> None:
    """Names are claimed, and found, with such tokens as with others."""
    named = Person(narrow.url)
    named.key, named.did = NAMED, NAMED.did
    await open_mailbox(named)
    async with Sender(NAMED, server=narrow.url, name=NAME, app=APP) as sender:
        kept = await sender.send(NAME, "x", key="one")
        assert kept.mailbox == NAMED.did
        assert (await sender.send(NAME, "x", key="one")).duplicate


async def newcomer(server: RunningServer) -> Person:
    """Return somebody who has a mailbox at a server."""
    person = Person(server.url)
    await open_mailbox(person)
    return person


async def open_mailbox(person: Person) -> None:
    """Visit a mailbox, so that it is there."""
    async with httpx2.AsyncClient(base_url=person.server, trust_env=False) as http:
        await payloads(http, person)


def accepted(outcome: object) -> Accepted:
    """Return an outcome as what it has to be."""
    assert isinstance(outcome, Accepted)
    return outcome

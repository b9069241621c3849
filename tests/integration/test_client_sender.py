"""The Python sender and a real server: what is kept once, and each refusal's own error."""

from collections.abc import AsyncIterator

import httpx2
import pytest

from pushd.client import Accepted, Delivery, Sender
from pushd.errors import (
    BadRequest,
    Forbidden,
    KeyConflict,
    NameMismatch,
    PayloadTooLarge,
    UnknownMailbox,
)
from tests.harness import Person, RunningServer


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

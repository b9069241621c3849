"""The store is killed under live sessions and a run of deliveries."""

import asyncio
import os
import signal
from collections.abc import Iterator
from pathlib import Path

import httpx2
import pytest

from pushd.mailbox.embedded import EmbeddedStore
from tests.harness import Person, RunningServer, serving
from tests.talking import Stream, listening


@pytest.fixture
def store(tmp_path: Path) -> Iterator[EmbeddedStore]:
    """Run a store of our own, to be killed."""
    store = EmbeddedStore(tmp_path / "data")
    yield store
    store.stop()


def kill(store: EmbeddedStore) -> None:
    """Kill the store's process; its supervision starts it again."""
    assert store._process is not None
    os.kill(store._process.pid, signal.SIGKILL)


async def deliver_all(
    server: RunningServer, sender: Person, to: Person, count: int
) -> list[str]:
    """Deliver numbered payloads, each until it is accepted; the key makes that safe."""
    accepted: list[str] = []
    headers = sender.deliver(to.did)
    async with httpx2.AsyncClient(trust_env=False) as http:
        for n in range(count):
            body = {"to": to.did, "payload": str(n), "key": f"key-{n}"}
            while True:
                answer = await http.post(
                    f"{server.url}/v1/deliveries", headers=headers, json=body
                )
                if answer.status_code == 202:
                    break
                assert answer.status_code == 503, answer.text
                await asyncio.sleep(0.02)
            accepted.append(answer.json()["id"])
    return accepted


async def follow(stream: Stream, last: str) -> tuple[dict[str, str], int]:
    """Collect payloads by id, and count replays, until the payload `last` has come."""
    payloads: dict[str, str] = {}
    replays = 0
    while last not in payloads.values():
        frame = await stream.next("messages", "replay")
        if frame["type"] == "replay":
            replays += 1
            payloads.clear()  # all unread follow from the first
            continue
        for message in frame["messages"]:
            payloads[message["id"]] = message["payload"]
        await stream.send("seen", upto=frame["messages"][-1]["id"])
    return payloads, replays


async def test_a_session_outlives_the_store(store: EmbeddedStore) -> None:
    """Through two deaths of the store: each 202 is pushed once, in order, and told."""
    with serving(store.start()) as server:
        alice, bob = Person(server.url), Person(server.url)
        async with listening(bob, server.url, window=1000) as stream:
            await stream.next("caught_up")
            run = asyncio.create_task(deliver_all(server, alice, bob, 600))
            for number in ("150", "300"):
                while True:
                    messages = (await stream.next("messages"))["messages"]
                    await stream.send("seen", upto=messages[-1]["id"])
                    if int(messages[-1]["payload"]) >= int(number):
                        break
                kill(store)
                await stream.next("replay")
            payloads, _ = await follow(stream, "599")
            accepted = await run
        async with listening(bob, server.url) as again:
            assert again.welcome["continuity"] == "replay"
            assert again.welcome["unread"] == 600
            assert await again.payloads(600) == [str(n) for n in range(600)]
    assert set(accepted) >= set(payloads)
    assert len(set(accepted)) == 600
    epochs = {id.partition("-")[0] for id in accepted}
    assert len(epochs) == 3

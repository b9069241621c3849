"""The server is killed in the middle of a delivery run: what was accepted is there."""

import asyncio
import signal
from collections.abc import Iterator, Mapping
from itertools import islice
from pathlib import Path
from typing import Any

import httpx2
import pytest

from pushd.protocol.ids import MessageId
from tests.harness import Person
from tests.processes import Server, is_alive, wait_until
from tests.talking import listening, open_mailbox

TOTAL = 10_000
AT_ONCE = (1, 1, 1, 10, 10, 50, 50, 100)
"""How many deliveries each of the senders puts into one request."""


class Run:
    """A delivery run: every number below `TOTAL` once, whatever happens on the way.

    Attributes:
        accepted: The id that was answered, by number.
        half: Whether half of all is accepted.
    """

    def __init__(self, alice: Person, bob: Person):
        self.accepted: dict[int, str] = {}
        self.half = asyncio.Event()
        self._alice, self._bob = alice, bob

    async def deliver(self, url: str) -> None:
        """Deliver what is not yet accepted, until that is done or the server is gone."""
        rest = iter([n for n in range(TOTAL) if n not in self.accepted])
        headers = self._alice.deliver(self._bob.did)
        async with httpx2.AsyncClient(headers=headers, base_url=url, timeout=30) as http:
            await asyncio.gather(*(self._send(http, rest, size) for size in AT_ONCE))

    async def _send(self, http: httpx2.AsyncClient, rest: Iterator[int], size: int) -> None:
        while numbers := list(islice(rest, size)):
            items = [self._delivery(number) for number in numbers]
            body = items[0] if size == 1 else {"deliveries": items}
            try:
                answer = await http.post("/v1/deliveries", json=body)
            except httpx2.TransportError:
                return
            if answer.status_code == 503:
                return  # the store was gone a moment before its server
            assert answer.is_success, answer.text
            results = [answer.json()] if size == 1 else answer.json()["results"]
            self._take(dict(zip(numbers, results, strict=True)))

    def _take(self, results: Mapping[int, dict[str, Any]]) -> None:
        """Note what was accepted; what was not has only the store to blame."""
        for number, result in results.items():
            if "error" in result:
                assert result["error"]["code"] == "store_unavailable", result
            else:
                self.accepted[number] = result["id"]
        if len(self.accepted) >= TOTAL // 2:
            self.half.set()

    def _delivery(self, number: int) -> dict[str, str]:
        return {"to": self._bob.did, "payload": str(number), "key": str(number)}


async def read_everything(bob: Person, url: str) -> list[dict[str, Any]]:
    """Catch up over the socket, and return every message in the order it came."""
    found: list[dict[str, Any]] = []
    async with listening(bob, url) as stream:
        while True:
            frame = await stream.next("messages", "caught_up")
            if frame["type"] == "caught_up":
                break
            found += frame["messages"]
            await stream.send("seen", upto=found[-1]["id"])
    assert len(found) == stream.welcome["unread"] == frame["unread"]
    return found


def assert_once_and_in_order(messages: list[dict[str, Any]]) -> None:
    """Every payload is there once; ids grow, without gaps within an epoch."""
    ids = [MessageId.parse(message["id"]) for message in messages]
    for before, after in zip([MessageId(0, 0), *ids], ids, strict=False):
        if before.epoch == after.epoch:
            assert after.seq == before.seq + 1
        else:
            assert after.epoch > before.epoch
            assert after.seq == 1
    assert len({message["payload"] for message in messages}) == len(messages)


@pytest.mark.timeout(180)
@pytest.mark.parametrize("workers", ["1", "2"])
async def test_accepted_is_kept_through_kill_9(tmp_path: Path, workers: str) -> None:
    """Answered deliveries are there, once, in order; the run goes on where it stopped."""
    alice, bob = Person(""), Person("")
    run = Run(alice, bob)
    with Server(tmp_path, "--workers", workers) as server:
        alice.server = bob.server = server.url
        async with httpx2.AsyncClient() as http:
            await open_mailbox(http, server.url, bob)
        delivering = asyncio.create_task(run.deliver(server.url))
        await run.half.wait()
        family = server.family()
        server.signal_group(signal.SIGKILL)
        await delivering
        wait_until(lambda: not any(map(is_alive, family)), "the end of every process")
    assert TOTAL // 2 <= len(run.accepted) < TOTAL

    with Server(tmp_path, "--workers", workers, name="again") as server:
        alice.server = bob.server = server.url
        messages = await read_everything(bob, server.url)
        kept = {int(message["payload"]): message["id"] for message in messages}
        assert_once_and_in_order(messages)
        assert run.accepted.items() <= kept.items()

        await run.deliver(server.url)
        messages = await read_everything(bob, server.url)
        assert_once_and_in_order(messages)
        assert {int(m["payload"]): m["id"] for m in messages} == run.accepted
    assert sorted(run.accepted) == list(range(TOTAL))

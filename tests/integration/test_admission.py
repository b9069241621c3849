"""Admission over real sockets: what cannot be served in time is told so at once."""

import asyncio
import os
import signal
import threading
from collections import Counter
from collections.abc import Iterator
from contextlib import AsyncExitStack
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import httpx2
import pytest

from pushd.admission import IN_A_TURN
from pushd.bounds import COME_BACK
from pushd.mailbox import coalesce
from tests.contract.stores import until
from tests.harness import Person, RunningServer, serving
from tests.stores import Server
from tests.talking import connected, listening, open_mailbox

PATIENCE = 60
SOON = range(COME_BACK[0], COME_BACK[1] + 1)


@pytest.fixture
def store() -> Iterator[Server]:
    """Run a store that may be harmed."""
    with (
        TemporaryDirectory(prefix="pushd-") as directory,
        Server("valkey", Path(directory)) as store,
    ):
        yield store


async def post(
    http: httpx2.AsyncClient, server: RunningServer, sender: Person, to: Person
) -> tuple[int, str, int]:
    """Deliver; return the status, the code and the time to come back."""
    answer = await http.post(
        f"{server.url}/v1/deliveries",
        headers=sender.deliver(to.did),
        json={"to": to.did, "payload": "x"},
        timeout=30,
    )
    members = answer.json()
    return answer.status_code, members.get("code", ""), members.get("retry_after", 0)


async def test_behind_a_store_that_hangs_what_is_new_is_refused_at_once(
    http: httpx2.AsyncClient, store: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Most of it, and a hello too; what was let in is served when the store is back."""
    monkeypatch.setattr(coalesce, "STUCK_SECONDS", 3600.0)
    with serving(store.url) as server:
        alice, bob, carol = (Person(server.url) for _ in range(3))
        await open_mailbox(http, server.url, bob)
        delay = server.parts["bounds"].delay
        async with asyncio.timeout(PATIENCE):
            os.kill(store.pid, signal.SIGSTOP)
            try:
                await until(lambda: delay.held > 2 * delay.most)
                posts = [post(http, server, alice, bob) for _ in range(30)]
                tasks = [asyncio.create_task(one) for one in posts]
                done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
                assert {task.result()[:2] for task in done} == {(503, "overloaded")}
                assert all(task.result()[2] in SOON for task in done)
                assert await closed_with(server, carol) == 1013
            finally:
                os.kill(store.pid, signal.SIGCONT)
            answers = await asyncio.gather(*tasks)
            assert {answer[0] for answer in answers} <= {202, 503}
            await until(lambda: delay.held < delay.most)
            assert (await post(http, server, alice, bob))[0] == 202
        async with listening(carol, server.url) as stream:
            await stream.next("caught_up")


async def closed_with(server: RunningServer, person: Person) -> int | None:
    """Say hello, again and again, until it is refused; return the close code."""
    async with AsyncExitStack() as stack:
        while True:
            stream = await stack.enter_async_context(connected(server.url))
            await stream.send("hello", token=person.token("receive"))
            await stream.send("ping", ref=1)
            answer = await stream.next("error", "pong")
            if answer["type"] == "error":
                assert answer["code"] == "overloaded"
                return await stream.closed()


async def test_where_the_line_is_too_long_clients_come_back_later(
    http: httpx2.AsyncClient, server: RunningServer
) -> None:
    """1013 to a stream, 503 to a request; deliveries do not stand in it."""
    alice, bob, carol = (Person(server.url) for _ in range(3))
    await open_mailbox(http, server.url, bob)
    line = server.parts["bounds"].catchups
    before, line.most = line.most, 0
    try:
        async with connected(server.url) as stream:
            await stream.send("hello", token=carol.token("receive"))
            assert (await stream.next("error"))["code"] == "overloaded"
            assert (await stream.next("closing"))["retry_after"] >= 1
            assert await stream.closed() == 1013
        answer = await http.get("/v1/messages", headers=bob.receive())
        assert (answer.status_code, answer.json()["code"]) == (503, "overloaded")
        assert (await post(http, server, alice, bob))[0] == 202
    finally:
        line.most = before
    async with listening(bob, server.url) as stream:
        assert await stream.payloads(1) == ["x"]
    assert line.held == 0


async def test_a_session_that_finds_the_line_full_reads_on_later(
    http: httpx2.AsyncClient, server: RunningServer
) -> None:
    """Nothing of its history is lost for that."""
    alice, bob = Person(server.url), Person(server.url)
    await open_mailbox(http, server.url, bob)
    line = server.parts["bounds"].catchups
    for _ in range(3):
        assert (await post(http, server, alice, bob))[0] == 202
    async with listening(bob, server.url, window=2) as stream:
        first = await stream.next("messages")
        before, line.most = line.most, 0
        await stream.send("seen", upto=first["messages"][-1]["id"])
        await stream.send("ping", ref=1)
        await stream.next("pong")
        line.most = before
        assert await stream.payloads(1) == ["x"]


class Turns:
    """Counts the turns of a server's event loop.

    Attributes:
        verified: The tokens that were verified in each.
        held_up: Whether the server waits for the test, or has waited.
    """

    def __init__(self, server: RunningServer, monkeypatch: pytest.MonkeyPatch) -> None:
        self.verified = Counter[int]()
        self.held_up = False
        self._loop = server.servers[0].get_loop()
        self._turn = 0
        authenticator = server.parts["authenticator"]
        authenticate = authenticator.authenticate

        def counted(*args: Any, **more: Any) -> Any:
            self.verified[self._turn] += 1
            return authenticate(*args, **more)

        monkeypatch.setattr(authenticator, "authenticate", counted)

    def hold_up(self, halt: threading.Event) -> None:
        """Hold the server up until the event, and count from then on."""
        self._loop.call_soon_threadsafe(self._begin, halt)

    def _begin(self, halt: threading.Event) -> None:
        self.held_up = True
        halt.wait(PATIENCE)
        self._next()

    def _next(self) -> None:
        self._turn += 1
        if self._turn < 1000:
            self._loop.call_soon(self._next)


async def test_hellos_that_come_at_once_are_taken_a_few_at_a_time(
    server: RunningServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The others of the server have their turn between them; the frames behind wait."""
    turns, halt = Turns(server, monkeypatch), threading.Event()
    people = [Person(server.url) for _ in range(3 * IN_A_TURN)]
    async with AsyncExitStack() as stack, asyncio.timeout(PATIENCE):
        *streams, liar, leaver = [
            await stack.enter_async_context(connected(server.url))
            for _ in range(len(people) + 2)
        ]
        turns.hold_up(halt)
        try:
            await until(lambda: turns.held_up)
            for person, stream in zip(people, streams, strict=True):
                await stream.send("hello", token=person.token("receive"))
                await stream.send("ping", ref=1)
            for stream in (liar, leaver):
                await stream.send("hello", token="no token")
            leaver.vanish()
        finally:
            halt.set()
        for stream in streams:
            await stream.next("pong")
            await stream.next("caught_up")
        assert await liar.closed() == 4401
        await until(lambda: server.parts["bounds"].strangers.held == 0)
    assert sum(turns.verified.values()) > len(people)
    assert max(turns.verified.values()) <= IN_A_TURN

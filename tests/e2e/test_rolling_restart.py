"""Two servers behind HAProxy, as `docs/examples/haproxy.cfg` has it: rolled under load."""

import asyncio
import os
import re
import shutil
import signal
import subprocess
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import AsyncExitStack, ExitStack, asynccontextmanager
from functools import partial
from pathlib import Path
from typing import NamedTuple, Self

import httpx2
import pytest

from pushd.client import Phase, Received, Receiver, Sender, Status, StreamClosed
from pushd.protocol.closing import CloseCode
from tests.e2e.proxies import tells_addresses
from tests.harness import Person
from tests.needs import need
from tests.processes import Server, free_port, is_ready, wait_until
from tests.talking import open_mailbox

CONFIGURATION = Path(__file__).parents[2] / "docs/examples/haproxy.cfg"
PAIRS = 4
"""Senders, each with a recipient."""


class Node:
    """One of the servers, which can be stopped and started again on its port."""

    def __init__(self, directory: Path, store_url: str, public_url: str, name: str) -> None:
        port = free_port()
        self.url = f"http://127.0.0.1:{port}"
        self._directory, self._name = directory, name
        self._flags = (
            *("--port", str(port), "--redis-url", store_url, "--public-url", public_url),
            *("--notice-seconds", "2", "--drain-seconds", "2"),
            *("--trusted-proxies", "127.0.0.1", "--address-rate", "300"),
        )
        self._starts = 0

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.__exit__()

    def start(self) -> None:
        """Start it, and wait until it serves."""
        self._starts += 1
        name = f"{self._name}-{self._starts}"
        self._server = Server(self._directory, *self._flags, name=name).__enter__()

    def stop(self) -> int:
        """Stop it as an upgrade does, and return its exit status."""
        self._server.process.send_signal(signal.SIGTERM)
        return self._server.ends()

    def replace(self) -> None:
        """Stop it and start another, and wait until the proxy sends it deliveries."""
        assert self.stop() == 0
        self.start()
        wait_until(lambda: self.accepted > 0, "the proxy to come back")

    @property
    def accepted(self) -> int:
        """How many deliveries it accepted since it started."""
        text = httpx2.get(f"{self.url}/metrics", trust_env=False).text
        (count,) = re.findall(r"^pushd_accepted_total (\d+)", text, re.MULTILINE)
        return int(count)


class Service(NamedTuple):
    """Where the proxy is, and the servers behind it."""

    url: str
    nodes: list[Node]


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory, store_url: str) -> Iterator[Service]:
    """Run two servers behind HAProxy; skip without it, but never where CI counts on it."""
    need(shutil.which("haproxy"), "haproxy is not installed")
    directory = tmp_path_factory.mktemp("nodes")
    address = f"127.0.0.1:{free_port()}"
    url = f"http://{address}"
    with ExitStack() as stack:
        nodes = [
            stack.enter_context(Node(directory, store_url, url, name))
            for name in ("one", "two")
        ]
        places = (address, *(node.url.removeprefix("http://") for node in nodes))
        environ = dict(zip(("PUSHD_BIND", "PUSHD_ONE", "PUSHD_TWO"), places, strict=True))
        command = ["haproxy", "-db", "-f", str(CONFIGURATION)]
        proxy = subprocess.Popen(command, env={**os.environ, **environ})
        stack.callback(proxy.wait)
        stack.callback(proxy.kill)
        wait_until(lambda: is_ready(url), "the proxy")
        yield Service(url, nodes)


class Pair:
    """Alice, who sends to Bob, who listens.

    Attributes:
        accepted: How many payloads she was told 202 for: "0", "1" and so on.
        received: What came to him, each payload once, in the order of its first coming.
        states: How his connection stood, one after the other.
    """

    def __init__(self, service: Service) -> None:
        self.alice, self.bob = Person(service.url), Person(service.url)
        self.accepted = 0
        self.received: dict[str, None] = {}
        self.states: list[Status] = []

    def take(self, message: Received) -> None:
        """Take a message that came to Bob."""
        self.received[message.payload] = None

    async def send(self, stop: asyncio.Event) -> None:
        """Send until told to stop, each as soon as the one before is accepted."""
        async with Sender(self.alice.key, server=self.alice.server) as sender:
            while not stop.is_set():
                await sender.send(self.bob.did, str(self.accepted))
                self.accepted += 1

    @asynccontextmanager
    async def listening(self) -> AsyncIterator[None]:
        """Listen as Bob."""
        receiver = Receiver(self.bob.key, server=self.bob.server)
        receiver.listen(self.take)
        receiver.on_state(self.states.append)
        async with receiver:
            await until(lambda: self.is_live, "a session")
            yield

    @property
    def is_live(self) -> bool:
        """Whether Bob's session has caught up."""
        return bool(self.states) and self.states[-1].phase is Phase.LIVE

    async def hears(self, payloads: list[str]) -> None:
        """Wait until these have come, and see that they came in order."""
        await until(lambda: len(self.received) == len(payloads), "every message")
        assert list(self.received) == payloads


async def deliver_plainly(service: Service, stop: asyncio.Event) -> list[str]:
    """Deliver until told to stop, without a second try; return what never got an answer."""
    alice, bob = Person(service.url), Person(service.url)
    headers = alice.deliver(bob.did)
    lost: list[str] = []
    async with httpx2.AsyncClient(base_url=service.url, trust_env=False) as http:
        await open_mailbox(http, service.url, bob)
        while not stop.is_set():
            body = {"to": bob.did, "payload": "x"}
            try:
                answer = await http.post("/v1/deliveries", headers=headers, json=body)
            except httpx2.TransportError as error:
                lost.append(repr(error))
                continue
            if answer.status_code in (502, 504):
                lost.append(answer.text)
    return lost


def note(inbox: list[str], message: Received) -> None:
    """Note a message that came."""
    inbox.append(message.payload)


async def until(condition: Callable[[], bool], what: str) -> None:
    """Wait until a condition holds, while everything here goes on."""
    await asyncio.to_thread(wait_until, condition, what)


@pytest.mark.timeout(120)
async def test_a_rolling_restart_loses_nothing(service: Service) -> None:
    """Both servers are replaced in turn: each 202 arrives, in order, and all come back."""
    stop = asyncio.Event()
    pairs = [Pair(service) for _ in range(PAIRS)]
    async with AsyncExitStack() as stack:
        for pair in pairs:
            await stack.enter_async_context(pair.listening())
        plain = asyncio.create_task(deliver_plainly(service, stop))
        sending = [asyncio.create_task(pair.send(stop)) for pair in pairs]
        for node in service.nodes:
            await asyncio.to_thread(node.replace)
        stop.set()
        await asyncio.gather(*sending)
        for pair in pairs:
            await pair.hears([str(number) for number in range(pair.accepted)])
            assert CloseCode.RESTARTING in [status.code for status in pair.states]
        assert await plain == []


async def test_each_client_has_its_own_address(service: Service) -> None:
    """As HAProxy tells it, whatever the client says; who floods shuts nobody else out."""
    await tells_addresses(service.url)


@pytest.mark.timeout(120)
async def test_two_clients_of_one_device_do_not_duel(service: Service) -> None:
    """At two servers at once, one is displaced and stays away; between them all arrives."""
    alice, bob = Person(service.url), Person(service.url)
    received: list[list[str]] = [[], []]
    receivers = [Receiver(bob.key, server=bob.server, device="phone") for _ in received]
    for receiver, inbox in zip(receivers, received, strict=True):
        receiver.listen(partial(note, inbox))
    async with Sender(alice.key, server=alice.server) as sender:
        tasks = [asyncio.create_task(receiver.run()) for receiver in receivers]
        over, (alive,) = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        with pytest.raises(StreamClosed) as closed:
            await over.pop()
        assert closed.value.code == CloseCode.DISPLACED
        survivor = tasks.index(alive)
        for number in range(10):
            await sender.send(bob.did, str(number))
        await until(lambda: len(received[survivor]) == 10, "every message")
        assert not alive.done()
        await receivers[survivor].stop()
        await alive
    assert received[survivor] == [str(number) for number in range(10)]

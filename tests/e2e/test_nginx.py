"""Behind nginx, as `docs/examples/nginx.conf` has it: every way in, and what it hides."""

import asyncio
import shutil
import signal
import subprocess
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import NamedTuple

import httpx2
import pytest

from pushd.client import Sender
from tests.contract.stores import until
from tests.e2e.proxies import tells_addresses
from tests.harness import Person
from tests.needs import need
from tests.processes import Server, free_port, is_ready, wait_until
from tests.talking import deliver, listening, open_mailbox, reading_events

CONFIGURATION = Path(__file__).parents[2] / "docs/examples/nginx.conf"
AROUND = """
daemon off;
pid {0}/pid;
error_log {0}/error.log;
events {{ worker_connections 1024; }}
http {{
    access_log {0}/access.log;
    client_body_temp_path {0}/body;
    proxy_temp_path {0}/proxy;
    fastcgi_temp_path {0}/fastcgi;
    scgi_temp_path {0}/scgi;
    uwsgi_temp_path {0}/uwsgi;
    include {0}/pushd.conf;
}}
"""
PING = 2
"""Seconds between the pings of a session."""
SHORT = 5
"""Seconds of silence that nginx bears; like pings, a part of what the example has."""
PATIENCE = 60


class Service(NamedTuple):
    """Where nginx is, its log, and the servers behind it."""

    url: str
    log: Path
    servers: list[Server]


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory, store_url: str) -> Iterator[Service]:
    """Run two servers behind nginx; skip without it, but never where CI counts on it."""
    need(shutil.which("nginx"), "nginx is not installed")
    directory = tmp_path_factory.mktemp("nginx")
    places = [f"127.0.0.1:{free_port()}" for _ in range(3)]
    url = f"http://{places[0]}"
    environ = {
        "PUSHD_REDIS_URL": store_url,
        "PUSHD_PUBLIC_URL": url,
        "PUSHD_PING_INTERVAL": str(PING),
        "PUSHD_TRUSTED_PROXIES": "127.0.0.1",
        "PUSHD_ADDRESS_RATE": "100",
    }
    with ExitStack() as stack:
        servers = [
            stack.enter_context(
                Server(directory, "--port", port, environ=environ, name=port)
            )
            for port in (place.split(":")[1] for place in places[1:])
        ]
        stack.enter_context(nginx(directory, places))
        yield Service(url, directory / "access.log", servers)


@contextmanager
def nginx(directory: Path, places: Sequence[str]) -> Iterator[None]:
    """Run nginx at the first of these places, in front of the servers at the others."""
    text = CONFIGURATION.read_text()
    examples = ("127.0.0.1:8480", "127.0.0.1:8481", "127.0.0.1:8482", "90s")
    for example, here in zip(examples, [*places, f"{SHORT}s"], strict=True):
        assert example in text
        text = text.replace(example, here)
    (directory / "pushd.conf").write_text(text)
    (directory / "nginx.conf").write_text(AROUND.format(directory))
    file = str(directory / "nginx.conf")
    with subprocess.Popen(["nginx", "-e", "stderr", "-c", file]) as proxy:
        try:
            wait_until(lambda: is_ready(f"http://{places[0]}"), "nginx")
            yield
        finally:
            proxy.terminate()


@pytest.fixture
async def http(service: Service) -> AsyncIterator[httpx2.AsyncClient]:
    """Return a client of the proxy."""
    async with httpx2.AsyncClient(
        base_url=service.url, trust_env=False, timeout=PATIENCE
    ) as client:
        yield client


async def test_every_way_of_listening(service: Service, http: httpx2.AsyncClient) -> None:
    """A websocket, an event stream and a long poll hear of a message while they wait."""
    alice, bob = Person(service.url), Person(service.url)
    await open_mailbox(http, service.url, bob)
    async with (
        listening(bob, service.url) as stream,
        reading_events(http, bob) as events,
    ):
        await events.next("caught_up")
        await stream.next("caught_up")
        poll = asyncio.create_task(
            http.get("/v1/messages", params={"wait": SHORT - 1}, headers=bob.receive())
        )
        id = await deliver(http, service.url, alice, bob, "hello")
        assert await stream.payloads(1) == await events.payloads(1) == ["hello"]
        page = (await poll).json()
        assert [message["id"] for message in page["messages"]] == [id]
        await stream.send("ack", ids=[id], ref=1)
        assert (await stream.next("acked"))["removed"] == 1
        assert (await events.next("read"))["ids"] == [id]


async def test_what_is_idle_stays_open(service: Service, http: httpx2.AsyncClient) -> None:
    """Pings come before nginx takes it that nobody is there, on either kind of stream."""
    bob = Person(service.url)
    async with (
        listening(bob, service.url, device="websocket") as stream,
        reading_events(http, bob, device="events") as events,
    ):
        reading = asyncio.create_task(events.ended())
        await until(lambda: len(events.comments) * PING > SHORT or reading.done())
        assert not reading.done()
        reading.cancel()
        await stream.send("ping", ref="still here")
        assert (await stream.next("pong"))["ref"] == "still here"


async def test_each_client_has_its_own_address(service: Service) -> None:
    """As nginx tells it, whatever the client says; who floods shuts nobody else out."""
    await tells_addresses(service.url)


async def test_the_log_has_no_secret(service: Service, http: httpx2.AsyncClient) -> None:
    """Tokens travel in headers and frames; what nginx writes of them is nothing."""
    alice, bob = Person(service.url), Person(service.url)
    await open_mailbox(http, service.url, bob)
    headers = {**alice.deliver(bob.did), "User-Agent": "the one that is waited for"}
    async with listening(bob, service.url), reading_events(http, bob):
        body = {"to": bob.did, "payload": "x"}
        await http.post("/v1/deliveries", headers=headers, json=body)
    await until(lambda: headers["User-Agent"] in service.log.read_text())
    log = service.log.read_text()
    assert "/v1/stream" in log
    assert "eyJ" not in log, "so begins every token"


async def test_metrics_are_for_nobody_outside(http: httpx2.AsyncClient) -> None:
    """They are told to who asks a server itself."""
    assert (await http.get("/metrics")).status_code == 403


async def test_a_server_that_stops_is_not_missed(
    service: Service, http: httpx2.AsyncClient
) -> None:
    """While one of two drains, and when it is gone, what is sent arrives, and once."""
    alice, bob = Person(service.url), Person(service.url)
    await open_mailbox(http, service.url, bob)
    stopping = service.servers[0]
    stopping.process.send_signal(signal.SIGTERM)
    sent = 0
    async with Sender(alice.key, server=service.url) as sender:
        while stopping.process.poll() is None or sent < 10:
            await sender.send(bob.did, str(sent))
            sent += 1
    answer = await http.get("/v1/messages", params={"limit": 1}, headers=bob.receive())
    assert answer.json()["unread"] == sent

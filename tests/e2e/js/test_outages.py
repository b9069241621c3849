"""What stands between an app and its server: proxies, restarts, and a long absence."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import httpx2
import pytest

from pushd.client import Delivery, PrivateKey, Sender
from tests.devhub import RunningHub
from tests.e2e.js.app import Apps
from tests.e2e.js.conftest import People
from tests.e2e.js.proxy import Passes, Proxy, no_stream, no_websocket, running_proxy
from tests.harness import Person, RunningServer, serving
from tests.talking import open_mailbox


@pytest.fixture
async def proxy() -> AsyncIterator[Proxy]:
    """Run a proxy; the server is known by its URL."""
    async with running_proxy() as running:
        yield running


@asynccontextmanager
async def behind(
    proxy: Proxy, store_url: str, devhub: RunningHub
) -> AsyncIterator[RunningServer]:
    """Run the server behind a proxy while the block runs."""
    hosts = (devhub.host_port, f"127.0.0.1:{proxy.port}")
    with serving(
        store_url, public_url=proxy.url, names_api=devhub.url, dev_hosts=hosts
    ) as server:
        proxy.behind = server.settings.port
        try:
            yield server
        finally:
            proxy.behind = None
            await proxy.cut()


@pytest.mark.parametrize(
    ("passes", "way"), [(no_websocket, "events"), (no_stream, "polling")]
)
async def test_a_proxy_lets_no_websocket_pass(
    store_url: str, devhub: RunningHub, apps: Apps, proxy: Proxy, passes: Passes, way: str
) -> None:
    """The app goes on by events, or by asking again and again; and misses nothing."""
    async with behind(proxy, store_url, devhub) as server:
        people = People(devhub, server, apps)
        bob = await people.in_an_app(f"bob-{way}")
        await bob.listen()
        await bob.hears("state", **{"is": "live", "way": "websocket"})
        proxy.passes = passes
        await proxy.cut()
        alice = await people.in_an_app(f"alice-{way}")

        sent = await alice.call("send", people.name(f"bob-{way}"), "Around the proxy.")

        assert sent["id"] == (await bob.hears())["id"]
        await bob.hears("state", **{"is": "live", "way": way})


async def test_a_restart(
    store_url: str, devhub: RunningHub, apps: Apps, proxy: Proxy
) -> None:
    """What is sent while the server is away waits, and arrives once it is back."""
    async with behind(proxy, store_url, devhub) as server:
        people = People(devhub, server, apps)
        frank = await people.in_an_app("frank", giveUpAfter=1)
        grace = await people.in_an_app("grace")
        await grace.listen()
        await grace.hears("state", **{"is": "live"})
    await grace.hears("state", **{"is": "offline"})
    sending = [
        asyncio.create_task(frank.call("send", people.name("grace"), f"Message {number}"))
        for number in range(3)
    ]
    while len(await frank.call("queued")) < len(sending):  # noqa: ASYNC110
        await asyncio.sleep(0.01)

    async with behind(proxy, store_url, devhub):
        heard = [(await grace.hears())["content"] for _ in sending]
        await asyncio.gather(*sending)
        # A server that was away is no reason to do without a websocket.
        await grace.hears("state", **{"is": "live", "way": "websocket"})

    assert heard == [f"Message {number}" for number in range(3)]
    assert await frank.call("queued") == []


@pytest.mark.parametrize("way", ["websocket", "events", "polling"])
async def test_a_long_absence(
    server: RunningServer, apps: Apps, http: httpx2.AsyncClient, way: str
) -> None:
    """Each of many unread messages comes once, in order, and all are acked."""
    heidi = Person(server.url)
    await open_mailbox(http, server.url, heidi)
    payloads = [f"payload {number}" for number in range(1500)]
    async with Sender(PrivateKey.generate(), server=server.url) as sender:
        await sender.send_many([Delivery(heidi.did, payload) for payload in payloads])

    key = heidi.key.to_hex()
    await apps.call("receive", who=way, key=key, server=server.url, way=way)

    events = apps.events[way, "payload"]
    async with asyncio.timeout(30):
        assert payloads == [(await events.get())["payload"] for _ in payloads]
    await apps.call("stop", who=way)
    answer = await http.get(f"{server.url}/v1/messages", headers=heidi.receive())
    assert answer.json()["unread"] == 0
    assert events.empty()

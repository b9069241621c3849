"""Apps where a system has next to nothing, as in React Native: no storage, no tabs.

The process is Node's without all that, see `native.mjs`. What a phone does when it sleeps
is not seen here.
"""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from tests.devhub import RunningHub
from tests.e2e.js.app import Apps
from tests.e2e.js.conftest import People
from tests.e2e.js.proxy import no_websocket, running_proxy
from tests.e2e.js.test_outages import behind

LACKING = ["indexedDB", "localStorage", "BroadcastChannel", "navigator", "document"]


@pytest.fixture
async def apps(tmp_path: Path) -> AsyncIterator[Apps]:
    """Run the process of the apps, without what React Native lacks."""
    async with Apps(tmp_path / "apps.log", "--import", "./native.mjs") as running:
        assert await running.call("lacks", names=LACKING) == LACKING
        yield running


async def test_a_conversation(people: People, apps: Apps) -> None:
    """Two write to each other; the store that an app brings keeps where it was."""
    peggy = await people.in_an_app("peggy", keeps="phone")
    victor = await people.in_an_app("victor")
    await peggy.listen()
    sent = await victor.call("send", people.name("peggy"), "Before.")
    assert sent["id"] == (await peggy.hears())["id"]
    await peggy.call("stop")
    kept = await apps.call("kept", keeps="phone")
    await victor.call("send", people.name("peggy"), "Meanwhile.")

    again = await people.in_an_app("peggy", keeps="phone")
    await again.listen()

    message = await again.hears()
    assert ("Meanwhile.", people.name("victor")) == (message["content"], message["name"])
    assert any(name.startswith("cursor") for name in kept)
    await victor.listen()
    answer = await again.call("send", message["bucket"], "After.")
    assert answer["id"] == (await victor.hears())["id"]


async def test_no_websocket_passes(store_url: str, devhub: RunningHub, apps: Apps) -> None:
    """As an answer cannot be read in pieces either, the app asks again and again."""
    async with running_proxy() as proxy, behind(proxy, store_url, devhub) as server:
        proxy.passes = no_websocket
        people = People(devhub, server, apps)
        trent = await people.in_an_app("trent")
        await trent.listen()
        await trent.hears("state", **{"is": "live", "way": "polling"})
        sent = await trent.call("send", people.name("trent"), "To myself.")
        assert sent["id"] == (await trent.hears())["id"]

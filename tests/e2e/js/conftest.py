"""People who know each other's names, some in apps on the TypeScript client."""

from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest

from pushd.client import Client, PrivateKey
from tests.devhub import RunningHub, running_devhub
from tests.e2e.js.app import App, Apps, require_client
from tests.harness import RunningServer, serving

APP = "https://app.example"


@pytest.fixture(scope="session", autouse=True)
def built() -> None:
    """Ask for the built package."""
    require_client()


@pytest.fixture(scope="module")
def devhub() -> Iterator[RunningHub]:
    """Run a Gaia hub with its reader and a names API."""
    with running_devhub() as running:
        yield running


@pytest.fixture(scope="module")
def server(store_url: str, devhub: RunningHub) -> Iterator[RunningServer]:
    """Run a server that looks names up where the people do."""
    hosts = (devhub.host_port,)
    with serving(store_url, names_api=devhub.url, dev_hosts=hosts) as running:
        yield running


@pytest.fixture
async def apps(tmp_path: Path) -> AsyncIterator[Apps]:
    """Run the process of the apps."""
    async with Apps(tmp_path / "apps.log") as running:
        yield running


class People:
    """Names in the hub, and the clients of those who have them."""

    def __init__(self, devhub: RunningHub, server: RunningServer, apps: Apps) -> None:
        self._devhub = devhub
        self._server = server
        self._apps = apps
        self.keys: dict[str, PrivateKey] = {}

    def name(self, who: str) -> str:
        """Give somebody a key and a name, once."""
        name = f"{who}.id.blockstack"
        if who not in self.keys:
            self.keys[who] = PrivateKey.generate()
            self._devhub.hub.register(name, PrivateKey.generate(), {APP: self.keys[who]})
        return name

    @property
    def _hosts(self) -> list[str]:
        return [self._devhub.host_port, urlsplit(self._server.url).netloc]

    async def in_an_app(self, who: str, **options: object) -> App:
        """Return somebody's app, who has said where to write to them."""
        name = self.name(who)
        places = {"hub": self._devhub.url, "servers": [self._server.url]}
        api = {"namesApi": self._devhub.url, "devHosts": self._hosts}
        told: dict[str, Any] = {"app": APP, "name": name, **places, **api, **options}
        app = await self._apps.make(who, self.keys[who], **told)
        await app.call("start")
        await app.call("publish")
        return app

    def in_python(self, who: str) -> Client:
        """Return somebody's client in Python, to be opened."""
        name = self.name(who)
        return self._devhub.client(self.keys[who], name, app=APP, server=self._server.url)


@pytest.fixture
def people(devhub: RunningHub, server: RunningServer, apps: Apps) -> People:
    """Return the people; each test has others, as names are theirs for good."""
    return People(devhub, server, apps)

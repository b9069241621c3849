"""A real store and a real server, shared by the tests of a file; people are new in each."""

from collections.abc import AsyncIterator, Iterator

import httpx2
import pytest

from pushd.mailbox.embedded import EmbeddedStore
from tests.devhub import Bucket, RunningHub, running_devhub
from tests.harness import RunningServer, serving


@pytest.fixture(scope="module")
def store_url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Run a store."""
    store = EmbeddedStore(tmp_path_factory.mktemp("store"))
    yield store.start()
    store.stop()


@pytest.fixture(scope="module")
def server(store_url: str) -> Iterator[RunningServer]:
    """Run a server with ordinary settings."""
    with serving(store_url) as running:
        yield running


@pytest.fixture
async def http(server: RunningServer) -> AsyncIterator[httpx2.AsyncClient]:
    """Return a client of that server."""
    async with httpx2.AsyncClient(base_url=server.url, trust_env=False) as client:
        yield client


@pytest.fixture(scope="module")
def hub() -> Iterator[RunningHub]:
    """Run a hub with the limits of the real one."""
    with running_devhub() as running:
        yield running


@pytest.fixture
def bucket(hub: RunningHub) -> Bucket:
    """Return a new, empty bucket."""
    return Bucket(hub)

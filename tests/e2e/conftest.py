"""A real server on a real store, shared by the tests of a file."""

from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import httpx2
import pytest

from pushd.mailbox.embedded import EmbeddedStore
from tests.harness import RunningServer, serving


@pytest.fixture(scope="module")
def store_url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Run a store."""
    store = EmbeddedStore(Path(tmp_path_factory.mktemp("store")))
    yield store.start()
    store.stop()


@pytest.fixture(scope="module")
def server(store_url: str) -> Iterator[RunningServer]:
    """Run a server with ordinary settings."""
    with serving(store_url) as running:
        yield running


@pytest.fixture
async def http() -> AsyncIterator[httpx2.AsyncClient]:
    """Return an HTTP client."""
    async with httpx2.AsyncClient(trust_env=False) as client:
        yield client

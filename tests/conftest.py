"""What every test may use; a store and a server are shared by the tests of a file."""

from collections.abc import Iterator

import pytest

from pushd.mailbox.embedded import EmbeddedStore
from tests.harness import RunningServer, serving


@pytest.fixture(scope="session")
def anyio_backend() -> str:
    """Run async tests on asyncio, the loop the server runs on."""
    return "asyncio"


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

"""What talks to the server of a file, and a hub beside it; people are new in each test."""

from collections.abc import AsyncIterator, Iterator

import httpx2
import pytest

from tests.devhub import Bucket, RunningHub, running_devhub
from tests.harness import RunningServer


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

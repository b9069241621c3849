"""Apps on the real npm packages, one node process for each family, and a hub of theirs."""

import os
from collections.abc import AsyncIterator, Iterator

import pytest

from pushd.resolvers.fetch import Fetcher
from tests.devhub import RunningHub, running_devhub
from tests.e2e.npm.app import FAMILIES, Packages, installed


@pytest.fixture(scope="session", params=FAMILIES)
def packages(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Packages]:
    """Run the packages of a family; without them skip, but never where CI counts on it."""
    if not installed():
        missing = "The npm packages are not installed: make packages"
        (pytest.fail if "CI" in os.environ else pytest.skip)(missing)
    log = tmp_path_factory.mktemp("npm") / f"{request.param}.log"
    with Packages(request.param, log) as running:
        yield running


@pytest.fixture(scope="module")
def devhub() -> Iterator[RunningHub]:
    """Run a Gaia hub with its reader and a names API."""
    with running_devhub() as running:
        yield running


@pytest.fixture
async def fetcher(devhub: RunningHub) -> AsyncIterator[Fetcher]:
    """Return a way out that leads to the hub."""
    async with Fetcher(dev_hosts=[devhub.host_port]) as fetcher:
        yield fetcher

"""Apps on the real npm packages, one node process for each family, and a hub of theirs."""

from collections.abc import AsyncIterator, Iterator

import pytest

from pushd.client import Bucket, PrivateKey
from pushd.resolvers.compose import make_directory
from pushd.resolvers.directory import Directory
from pushd.resolvers.fetch import Fetcher
from tests.devhub import RunningHub, running_devhub
from tests.e2e.npm.app import FAMILIES, App, Packages, installed
from tests.needs import need


@pytest.fixture(scope="session", params=FAMILIES)
def packages(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Packages]:
    """Run the packages of a family; without them skip, but never where CI counts on it."""
    need(installed(), "The npm packages are not installed: make packages")
    log = tmp_path_factory.mktemp("npm") / f"{request.param}.log"
    with Packages(request.param, log) as running:
        yield running


@pytest.fixture(scope="module")
def devhub() -> Iterator[RunningHub]:
    """Run a Gaia hub with its reader and a names API."""
    with running_devhub() as running:
        yield running


@pytest.fixture(scope="module")
async def fetcher(devhub: RunningHub) -> AsyncIterator[Fetcher]:
    """Return a way out that leads to the hub."""
    async with Fetcher(dev_hosts=[devhub.host_port]) as fetcher:
        yield fetcher


@pytest.fixture
def directory(devhub: RunningHub, fetcher: Fetcher) -> Directory:
    """Return a directory that asks the hub's names API."""
    return make_directory(
        fetcher=fetcher, names_api=devhub.url, bns_api=None, names_file=None
    )


# --- Alice, in an app and here -------------------------------------------------------


@pytest.fixture
def key() -> PrivateKey:
    """Return Alice's app key."""
    return PrivateKey.generate()


@pytest.fixture
def owner() -> PrivateKey:
    """Return the key that owns Alice's name."""
    return PrivateKey.generate()


@pytest.fixture
def app(packages: Packages, devhub: RunningHub, key: PrivateKey) -> App:
    """Return the app in which Alice is signed in."""
    return packages.sign_in(key, hub=devhub.url)


@pytest.fixture
def bucket(devhub: RunningHub, fetcher: Fetcher, key: PrivateKey) -> Bucket:
    """Return Alice's bucket."""
    return Bucket(key, devhub.url, fetcher=fetcher)


@pytest.fixture
def name(packages: Packages, devhub: RunningHub, owner: PrivateKey, key: PrivateKey) -> str:
    """Return a name that leads to Alice's bucket."""
    return packages.register("alice", owner, key, hub=devhub.hub)

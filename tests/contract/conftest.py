"""Every real store the promises are tested on."""

import os
import tempfile
from collections.abc import AsyncIterator, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Protocol
from uuid import uuid4

import pytest

from pushd.mailbox.base import Quota
from pushd.mailbox.redis import RedisMailboxes
from tests.contract.stores import QUOTA, Ear
from tests.stores import KINDS, Cluster, Sentinels, Server, Store, missing


class Connect(Protocol):
    """Makes mailboxes on a server; they are closed after the test."""

    async def __call__(
        self, server: Store, ear: Ear | None = None, quota: Quota = QUOTA
    ) -> RedisMailboxes:
        """Connect."""


@pytest.fixture(scope="session", params=KINDS)
def kind(request: pytest.FixtureRequest) -> str:
    """Name each kind of store; one that is not here is skipped unless it must be."""
    kind: str = request.param
    why = missing(kind)
    if why and kind not in os.environ.get("PUSHD_TEST_STORES", ""):
        pytest.skip(why)
    return kind


@pytest.fixture(scope="session")
def server(kind: str) -> Iterator[Server]:
    """Run a server for all tests that leave it as it was."""
    with (
        tempfile.TemporaryDirectory(prefix="pushd-") as directory,
        Server(kind, Path(directory)) as server,
    ):
        yield server


@pytest.fixture(scope="session", params=[*KINDS, "sentinels", "cluster"])
def store(request: pytest.FixtureRequest) -> Iterator[Store]:
    """Run a store of each kind, and of several servers."""
    kind: str = request.param
    if missing(kind):
        pytest.skip(missing(kind))
    with tempfile.TemporaryDirectory(prefix="pushd-") as directory, ExitStack() as stack:
        place = Path(directory)
        if kind == "sentinels":
            yield stack.enter_context(Sentinels("valkey", place))
        elif kind == "cluster":
            yield stack.enter_context(Cluster("valkey", place))
        else:
            yield stack.enter_context(Server(kind, place))


@pytest.fixture
def own_server(kind: str) -> Iterator[Server]:
    """Run a server for one test, which may do it harm."""
    with (
        tempfile.TemporaryDirectory(prefix="pushd-") as directory,
        Server(kind, Path(directory)) as server,
    ):
        yield server


@pytest.fixture
async def connect() -> AsyncIterator[Connect]:
    """Make mailboxes in tests, and close them at the end."""
    made: list[RedisMailboxes] = []

    async def connect(
        server: Store, ear: Ear | None = None, quota: Quota = QUOTA
    ) -> RedisMailboxes:
        mailboxes = RedisMailboxes(
            server.url, subscriber=ear or Ear(), quota=quota, durability="fsync"
        )
        made.append(mailboxes)
        await mailboxes.start()
        return mailboxes

    yield connect
    for mailboxes in made:
        await mailboxes.close()


@pytest.fixture
def ear() -> Ear:
    """Hear publications."""
    return Ear()


@pytest.fixture
async def mailboxes(connect: Connect, server: Server, ear: Ear) -> RedisMailboxes:
    """Connect to the shared server, with the usual quota."""
    return await connect(server, ear)


@pytest.fixture
def bob() -> str:
    """Name a mailbox that no other test uses."""
    return f"did:test:{uuid4().hex}"

"""The directory as server and client have it: which sources, by what was set."""

import time
from collections.abc import Callable
from pathlib import Path

from pushd.identity.names import Form
from pushd.resolvers.base import Source
from pushd.resolvers.blockstack import BlockstackNames
from pushd.resolvers.bns import BnsNames
from pushd.resolvers.bucket import BucketNames
from pushd.resolvers.directory import Directory
from pushd.resolvers.fetch import Fetcher
from pushd.resolvers.static import StaticNames
from pushd.resolvers.web import WebNames


def make_directory(
    *,
    fetcher: Fetcher,
    names_api: str | None,
    bns_api: str | None,
    names_file: Path | None,
    clock: Callable[[], float] = time.time,
) -> Directory:
    """Make a directory.

    Args:
        fetcher: The way out.
        names_api: Base URL of the names API for `alice.id` and `alice.id.blockstack`;
            None: these names are unproven.
        bns_api: Base URL of the BNS V2 API for `alice.btc`; None: these are unproven.
        names_file: File of names known beforehand; None: there are none.
        clock: Returns Unix seconds.

    Raises:
        ConfigurationError: If the file cannot be read, or is not as it should be.
    """
    sources: dict[Form, Source] = {
        Form.WEB: WebNames(fetcher),
        Form.BUCKET: BucketNames(),
    }
    if names_api is not None:
        sources[Form.BLOCKSTACK] = BlockstackNames(names_api, fetcher)
    if bns_api is not None:
        sources[Form.BNS] = BnsNames(bns_api, fetcher)
    static = None if names_file is None else StaticNames(names_file)
    return Directory(sources, fetcher, static=static, clock=clock)

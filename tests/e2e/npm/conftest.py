"""Apps on the real npm packages, one node process for each family of them."""

import os
from collections.abc import Iterator

import pytest

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

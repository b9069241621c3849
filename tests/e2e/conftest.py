"""What talks to the programs."""

from collections.abc import AsyncIterator

import httpx2
import pytest


@pytest.fixture
async def http() -> AsyncIterator[httpx2.AsyncClient]:
    """Return an HTTP client."""
    async with httpx2.AsyncClient(trust_env=False) as client:
        yield client

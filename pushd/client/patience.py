"""How long a call goes on trying, and which lost connections are worth it."""

import asyncio
import random
import time

import httpx2

from pushd.protocol.client import BACKOFF_BASE, BACKOFF_CAP

TRANSIENT = (
    httpx2.TimeoutException,
    httpx2.NetworkError,
    httpx2.RemoteProtocolError,
)
"""Errors of a connection that another one may not have."""


class Patience:
    """How long a call goes on trying: full jitter, within a bounded time.

    Args:
        seconds: How long.
    """

    def __init__(self, seconds: float) -> None:
        self._until = time.monotonic() + seconds
        self._attempts = 0

    async def pause(self, retry_after: float) -> bool:
        """Wait before the next attempt; False, at once, if there is no time for one.

        Args:
            retry_after: Seconds that a server asks for; below zero is zero, or one that
                says so would be asked without end.
        """
        limit = min(BACKOFF_CAP, BACKOFF_BASE * 2**self._attempts)
        jitter = random.random() * limit  # noqa: S311 # spreads load only
        delay = max(0.0, retry_after) + jitter
        if time.monotonic() + delay > self._until:
            return False
        self._attempts += 1
        await asyncio.sleep(delay)
        return True

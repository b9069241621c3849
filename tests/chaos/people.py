"""What senders and clients have in common: a key, patience, and a place to meet.

They talk plain HTTP and a plain websocket, so that nothing of pushd's own client can hide
what a server does. A wrong clock of a server they take from its answers, as clients do.
"""

import asyncio
import random
import ssl
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import Any, NamedTuple

import httpx2

from tests.chaos.history import Recorder
from tests.harness import Person

ANSWERED_WITHIN = 4.0
"""Seconds after which a request counts as unanswered."""
CONNECTIONS = 10
"""Connections of one HTTP client; what finds none free waits for one."""
PAUSE, MOST = 0.2, 1.5
"""Seconds before somebody tries again: at first, and after many failures."""

# Nobody here talks TLS, and to load the authorities for each client is dear.
_NO_TLS = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)

Urls = Callable[[], str]
"""Picks the server to go to next."""


class Place(NamedTuple):
    """Where people meet: what they share of a run.

    Attributes:
        recorder: Writes down what happens.
        rng: Decides what they do.
        urls: Picks a server.
        public_url: What tokens are for.
        loading: Set while new deliveries are made, and acks.
        over: Set when everybody goes home.
    """

    recorder: Recorder
    rng: random.Random
    urls: Urls
    public_url: str
    loading: asyncio.Event
    over: asyncio.Event


class Someone:
    """A key, and tokens that a server with a wrong clock takes too."""

    def __init__(self, place: Place, name: str, person: Person | None = None) -> None:
        self.place = place
        self.name = name
        self.person = person or Person(place.public_url)
        self._ahead = 0.0
        self._tokens: dict[tuple[str, tuple[str, ...]], tuple[str, float]] = {}

    def token(self, scope: str, to: Sequence[str] = ()) -> str:
        """Make a token, or take the one that still is good for long."""
        now = time.time() + self._ahead
        token, ends = self._tokens.get((scope, tuple(to)), ("", 0.0))
        if not now + 300 < ends < now + 900:
            token, ends = self.person.token(scope, to, now=now), now + 600
            self._tokens[scope, tuple(to)] = (token, ends)
        return token

    def learn(self, problem: dict[str, Any]) -> None:
        """Learn the server's time from what it refused."""
        if "now" in problem:
            self._ahead = problem["now"] - time.time()
            self._tokens.clear()

    async def pause(self, tries: int = 0) -> None:
        """Wait before trying again, longer after many tries, and never all together."""
        longest = min(PAUSE * 2**tries, MOST)
        with suppress(TimeoutError):
            async with asyncio.timeout(self.place.rng.uniform(longest / 4, longest)):
                await self.place.over.wait()


def http_client() -> httpx2.AsyncClient:
    """Make a client that gives up where a request counts as unanswered."""
    return httpx2.AsyncClient(
        timeout=httpx2.Timeout(ANSWERED_WITHIN, pool=None),
        limits=httpx2.Limits(max_connections=CONNECTIONS),
        verify=_NO_TLS,
        trust_env=False,
    )

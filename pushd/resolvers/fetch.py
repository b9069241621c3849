"""The fetcher: the one way out to URLs that somebody else chose, narrow on purpose.

    async with Fetcher() as fetcher:
        data = await fetcher.get("https://gaia.example/hub/1Addr/profile.json")

Where it may go, `guard.py` says, and `transport.py` sees to it. What may come back is
small, quick, of an expected media type, not compressed, and from the origin that was asked.
"""

import asyncio
import ssl
from collections.abc import AsyncIterator, Collection
from contextlib import asynccontextmanager
from http.cookiejar import CookieJar, DefaultCookiePolicy
from typing import Self
from weakref import WeakValueDictionary

import httpx2

from pushd.resolvers.guard import Guard, Refused
from pushd.resolvers.transport import GuardedTransport, Lookup, Unfit, system_lookup

CONNECT_SECONDS = 2.0
"""Seconds a look-up and the connecting may take together; TLS has as many again."""
MAX_REDIRECTS = 3
"""Redirects that are followed, all within one origin."""
PER_HOST = 4
"""Files fetched at once from one host."""
IN_ALL = 32
"""Files fetched at once."""

JSON_TYPES = frozenset(
    {
        "application/json",
        "application/ld+json",
        "application/did+json",
        "application/did+ld+json",
    }
)
"""Media types of JSON."""
TEXT_TYPES = JSON_TYPES | {"text/plain"}
"""Media types of text, JSON included: what was stored without a type of its own."""
ANY_TYPE = frozenset({"*/*"})
"""Whatever it says it is, or not."""

_GONE = frozenset({404, 410})
_REDIRECTS = frozenset({301, 302, 303, 307, 308})


class FetchFailed(Exception):
    """A file could not be fetched; whatever it was, the sentence is the same.

    Otherwise who chose the URL would learn what else answers in this network, and how.

    Attributes:
        reason: What it was, in a word or two; for debug logs, never shown to peers.
    """

    def __init__(self, reason: str) -> None:
        super().__init__("The file could not be fetched.")
        self.reason = reason


class Fetcher:
    """Fetches files from URLs nobody vouches for.

    Args:
        dev_hosts: Development hosts as `host:port`, where http and private addresses
            are allowed.
        lookup: Finds the addresses of a name.
        verify: Verifies certificates; None does so as the system is set up.

    Attributes:
        http: For other requests to such URLs, as to deliver: guarded alike, without
            redirects, cookies and the proxies of the environment. A URL that is not
            allowed raises `Refused`, an `httpx2.ConnectError`; an answer that is packed
            or has over 1 MiB raises `Unfit`, an `httpx2.RemoteProtocolError`.
    """

    def __init__(
        self,
        *,
        dev_hosts: Collection[str] = (),
        lookup: Lookup = system_lookup,
        verify: ssl.SSLContext | None = None,
    ) -> None:
        self._guard = Guard(dev_hosts)
        self._turns = asyncio.Semaphore(IN_ALL)
        self._turns_at: WeakValueDictionary[bytes, asyncio.Semaphore] = (
            WeakValueDictionary()
        )
        self.http = httpx2.AsyncClient(
            transport=GuardedTransport(self._guard, lookup, verify),
            headers={"User-Agent": "pushd", "Accept-Encoding": "identity"},
            cookies=CookieJar(DefaultCookiePolicy(allowed_domains=())),
            timeout=httpx2.Timeout(10.0, connect=CONNECT_SECONDS),
            follow_redirects=False,
            trust_env=False,
        )

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    async def close(self) -> None:
        """Close the connections."""
        await self.http.aclose()

    def plain(self, host_port: str) -> bool:
        """Tell whether http and private addresses are allowed at `host:port`."""
        return self._guard.plain(host_port)

    async def get(
        self,
        url: str,
        *,
        limit: int = 65536,
        seconds: float = 3.0,
        types: Collection[str] = JSON_TYPES,
    ) -> bytes | None:
        """Fetch a file.

        Safe to cancel.

        Args:
            url: Where it is; see `Guard.check_url`.
            limit: Bytes it may have.
            seconds: How long all of it may take, from waiting for a turn to the last
                byte.
            types: Media types it may have, in lower case.

        Returns:
            Its bytes; None if the host says that there is none (404, 410).

        Raises:
            FetchFailed: If anything else happens.
        """
        try:
            async with asyncio.timeout(seconds):
                self._guard.check_url(url)
                first = httpx2.URL(url)
                async with self._turn(first.raw_host):
                    return await self._follow(first, limit, types)
        except (Refused, Unfit) as error:
            raise FetchFailed(error.reason) from error
        except (TimeoutError, httpx2.TimeoutException) as error:
            raise FetchFailed("timeout") from error
        except httpx2.ConnectError as error:
            raise FetchFailed("connect") from error
        except httpx2.TransportError as error:
            raise FetchFailed("protocol") from error

    @asynccontextmanager
    async def _turn(self, host: bytes) -> AsyncIterator[None]:
        """Wait for a turn, and hold it.

        First at the host: those who wait for a slow one hold up nobody else. Once nobody
        does, nothing is kept of it.
        """
        turns = self._turns_at.setdefault(host, asyncio.Semaphore(PER_HOST))
        async with turns, self._turns:
            yield

    async def _follow(
        self, first: httpx2.URL, limit: int, types: Collection[str]
    ) -> bytes | None:
        """Fetch a file, wherever it is at this origin."""
        # The deadline of `get` is the one for all but the connecting.
        extensions = {"limit": limit, "timeout": {"connect": CONNECT_SECONDS}}
        url = first
        for _ in range(1 + MAX_REDIRECTS):
            async with self.http.stream("GET", url, extensions=extensions) as response:
                if response.status_code not in _REDIRECTS:
                    return await _file(response, types)
                url = _redirected(response, first)
        raise FetchFailed("redirect")


def _redirected(response: httpx2.Response, first: httpx2.URL) -> httpx2.URL:
    """Return where a response redirects to, within the origin that was asked first."""
    location = response.headers.get("location")
    if location is None:
        raise FetchFailed(f"status {response.status_code}")
    try:
        url = response.url.join(location)
    except (httpx2.InvalidURL, ValueError) as error:
        raise FetchFailed("redirect") from error
    if (url.scheme, url.netloc) != (first.scheme, first.netloc):
        raise FetchFailed("redirect")
    return url


async def _file(response: httpx2.Response, types: Collection[str]) -> bytes | None:
    """Read the file a response carries, None if it says that there is none."""
    if response.status_code in _GONE:
        return None
    if response.status_code != 200:
        raise FetchFailed(f"status {response.status_code}")
    media_type, _, _ = response.headers.get("content-type", "").partition(";")
    if media_type.strip().lower() not in types and "*/*" not in types:
        raise FetchFailed("type")
    return await response.aread()

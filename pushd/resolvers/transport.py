"""The transport: it connects where the guard allows, and reads no more than is wanted.

It is below everything that makes requests, so nothing goes around it. A name is looked up
once, all its addresses are checked, and the connection goes to an address that was checked.
A name that changes its answer is not asked again; TLS and the `Host` header keep the name.

What comes back is counted as it arrives, read in sips, and never unpacked: a host that
says too much, or little in many words, must not keep this process from its work.
"""

import asyncio
import math
import socket
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import aclosing, contextmanager
from itertools import zip_longest
from typing import Any

import httpcore2
import httpx2

from pushd.resolvers.guard import Guard, literal

MAX_CONNECTIONS = 128
"""Connections open at once, to all hosts together."""
MAX_ANSWER = 1024 * 1024
"""Bytes of the body of a response, unless the request's extension `limit` says another."""
MAX_HEAD = 32 * 1024
"""Bytes of the head of a response, with all interim responses before it."""
SIP = 4 * 1024
"""Bytes read at once, before others get their turn."""
MIN_PART = 32
"""Bytes a part of a body costs at least; `SIP` of these costs are free."""
KEEP_ALIVE = 4.0
"""Seconds an idle connection is kept for another request to the same origin; many
servers close theirs after five."""
LOOKUP_THREADS = 16
"""Names looked up at once."""

Lookup = Callable[[str, int], Awaitable[Sequence[str]]]
"""Returns the addresses of a host and port, in order of preference (OSError: none)."""


class Unfit(httpx2.RemoteProtocolError):
    """The body of a response is not one to read.

    Attributes:
        reason: What is wrong, in a word or two; for debug logs, never shown to peers.
    """

    def __init__(self, reason: str) -> None:
        super().__init__("The response is not one to read.")
        self.reason = reason


# Threads of their own: a name server that is slow on purpose holds up other look-ups
# here, and not what else the process does in the threads of its event loop.
_threads = ThreadPoolExecutor(LOOKUP_THREADS, thread_name_prefix="lookup")


async def system_lookup(host: str, port: int) -> Sequence[str]:
    """Ask the system for the addresses of a host, in its order of preference.

    Raises:
        OSError: If there is none, or nobody answers.
    """
    loop = asyncio.get_running_loop()
    found = await loop.run_in_executor(
        _threads, lambda: socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    )
    return list(dict.fromkeys(str(sockaddr[0]) for *_, sockaddr in found))


def interleaved(addresses: Iterable[str]) -> list[str]:
    """Let IPv6 and IPv4 addresses take turns, so that a dead family costs one attempt.

    The family that came first stays first (RFC 8305 section 4).
    """
    families: dict[bool, list[str]] = {}
    for address in addresses:
        families.setdefault(":" in address, []).append(address)
    turns = zip_longest(*families.values())
    return [address for turn in turns for address in turn if address is not None]


class GuardedBackend(httpcore2.AsyncNetworkBackend):
    """Opens connections: one look-up, all addresses checked, one of them connected to.

    Args:
        guard: Says which addresses are allowed.
        lookup: Finds the addresses of a name.
        network: Connects to an address; None is the real one.
    """

    def __init__(
        self,
        guard: Guard,
        lookup: Lookup,
        network: httpcore2.AsyncNetworkBackend | None = None,
    ) -> None:
        self._guard = guard
        self._lookup = lookup
        self._network = network or httpcore2.AnyIOBackend()

    async def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,  # noqa: ASYNC109 - the interface of httpcore2
        local_address: str | None = None,
        socket_options: Iterable[httpcore2.SOCKET_OPTION] | None = None,
    ) -> httpcore2.AsyncNetworkStream:
        """Connect to a host.

        Args:
            host: A name, or an IP address without brackets.
            port: Its port.
            timeout: Seconds for the look-up and all attempts; None waits.
            local_address: Of the interface; not used.
            socket_options: Of the interface; not used.

        Raises:
            Refused: If one of its addresses is not allowed.
            httpcore2.ConnectError: If there is no address, or none to connect to.
            httpcore2.ConnectTimeout: If that takes too long.
        """
        try:
            async with asyncio.timeout(timeout) as deadline:
                addresses = await self._checked(host, port)
                return _Sips(await self._first(addresses, port, deadline.when()))
        except TimeoutError as late:
            raise httpcore2.ConnectTimeout("no connection in time") from late

    async def _checked(self, host: str, port: int) -> list[str]:
        """Return the addresses of a host, every one of them allowed."""
        addresses: Sequence[str] = [host]
        if literal(host) is None:
            try:
                addresses = await self._lookup(host, port)
            except OSError as error:
                raise httpcore2.ConnectError("no address") from error
        self._guard.check_addresses(host, port, addresses)
        return interleaved(addresses)

    async def _first(
        self, addresses: Sequence[str], port: int, until: float | None
    ) -> httpcore2.AsyncNetworkStream:
        """Connect to the first address that answers.

        Each but the last gets half of the time that is left, so that one that swallows
        packets leaves some for the others.
        """
        if not addresses:
            raise httpcore2.ConnectError("no address")
        *others, last = addresses
        now = asyncio.get_running_loop().time
        for address in others:
            timeout = None if until is None else (until - now()) / 2
            try:
                return await self._network.connect_tcp(address, port, timeout)
            except (httpcore2.ConnectError, httpcore2.ConnectTimeout):
                continue
        return await self._network.connect_tcp(last, port)

    async def sleep(self, seconds: float) -> None:
        """Wait."""
        await asyncio.sleep(seconds)


class _Sips(httpcore2.AsyncNetworkStream):
    """A connection that is read in sips, and whose host has to come to the point.

    Attributes:
        allowance: Bytes that may still be read; a new one comes with every request.
    """

    def __init__(self, stream: httpcore2.AsyncNetworkStream) -> None:
        self._stream = stream
        self.allowance: float = MAX_HEAD

    async def read(self, max_bytes: int, timeout: float | None = None) -> bytes:  # noqa: ASYNC109
        # What TLS has unpacked already is read without waiting, so others would wait.
        await asyncio.sleep(0)
        data = await self._stream.read(min(max_bytes, SIP), timeout)
        self.allowance -= len(data)
        if self.allowance < 0:
            raise httpcore2.RemoteProtocolError("the head of the response is too long")
        return data

    async def write(self, buffer: bytes, timeout: float | None = None) -> None:  # noqa: ASYNC109
        self.allowance = MAX_HEAD
        await self._stream.write(buffer, timeout)

    async def aclose(self) -> None:
        await self._stream.aclose()

    async def start_tls(
        self,
        ssl_context: ssl.SSLContext,
        server_hostname: str | None = None,
        timeout: float | None = None,  # noqa: ASYNC109
    ) -> httpcore2.AsyncNetworkStream:
        try:
            return _Sips(
                await self._stream.start_tls(ssl_context, server_hostname, timeout)
            )
        except asyncio.CancelledError:
            await self.aclose()  # httpcore2 does so for other errors only
            raise

    def get_extra_info(self, info: str) -> Any:
        return self._stream.get_extra_info(info)


class GuardedTransport(httpx2.AsyncBaseTransport):
    """Carries requests to where the guard lets them go, and nowhere else.

    It knows no proxies, and speaks HTTP/1.1.

    Args:
        guard: Says where.
        lookup: Finds the addresses of a name.
        verify: Verifies certificates; None does so as the system is set up.
        network: Connects to an address; None is the real one.
    """

    def __init__(
        self,
        guard: Guard,
        lookup: Lookup = system_lookup,
        verify: ssl.SSLContext | None = None,
        network: httpcore2.AsyncNetworkBackend | None = None,
    ) -> None:
        self._guard = guard
        self._pool = httpcore2.AsyncConnectionPool(
            ssl_context=verify or httpcore2.default_ssl_context(),
            max_connections=MAX_CONNECTIONS,
            keepalive_expiry=KEEP_ALIVE,
            network_backend=GuardedBackend(guard, lookup, network),
        )

    async def handle_async_request(self, request: httpx2.Request) -> httpx2.Response:
        """Send a request.

        Raises:
            Refused: If it may not go where it should go.
            httpx2.TransportError: If it cannot.
        """
        self._guard.check_url(str(request.url))
        with _as_httpx_errors():
            answer = await self._pool.handle_async_request(
                httpcore2.Request(
                    method=request.method,
                    url=httpcore2.URL(
                        scheme=request.url.raw_scheme,
                        host=request.url.raw_host,
                        port=request.url.port,
                        target=request.url.raw_path,
                    ),
                    headers=request.headers.raw,
                    content=request.stream,
                    extensions=request.extensions,
                )
            )
        answer.extensions["network_stream"].allowance = math.inf  # `_Body` counts from here
        return httpx2.Response(
            status_code=answer.status,
            headers=answer.headers,
            stream=_Body(answer, request.extensions.get("limit", MAX_ANSWER)),
            extensions=answer.extensions,
        )

    async def aclose(self) -> None:
        """Close the connections."""
        await self._pool.aclose()


class _Body(httpx2.AsyncByteStream):
    """The body of a response, as it arrives, and as long as it is fit to be read."""

    def __init__(self, answer: httpcore2.Response, limit: int) -> None:
        self._answer = answer
        self._limit = limit

    async def __aiter__(self) -> AsyncIterator[bytes]:
        headers = httpx2.Headers(self._answer.headers)
        if headers.get("content-encoding", "identity").lower() != "identity":
            raise Unfit("encoding")
        size = cost = 0
        with _as_httpx_errors():
            if int(headers.get("content-length", 0)) > self._limit:
                raise Unfit("size")
            async with aclosing(self._answer.aiter_stream()) as parts:
                async for part in parts:
                    size += len(part)
                    cost += max(len(part), MIN_PART)
                    if size > self._limit or cost > self._limit + SIP:
                        raise Unfit("size")
                    yield part

    async def aclose(self) -> None:
        await self._answer.aclose()


_HTTPX_ERRORS: dict[type[Exception], type[httpx2.TransportError]] = {
    httpcore2.ConnectTimeout: httpx2.ConnectTimeout,
    httpcore2.ReadTimeout: httpx2.ReadTimeout,
    httpcore2.WriteTimeout: httpx2.WriteTimeout,
    httpcore2.PoolTimeout: httpx2.PoolTimeout,
    httpcore2.ConnectError: httpx2.ConnectError,
    httpcore2.ReadError: httpx2.ReadError,
    httpcore2.WriteError: httpx2.WriteError,
    httpcore2.LocalProtocolError: httpx2.LocalProtocolError,
    httpcore2.RemoteProtocolError: httpx2.RemoteProtocolError,
}


@contextmanager
def _as_httpx_errors() -> Iterator[None]:
    """Raise the errors of a connection as those that users of httpx2 know."""
    try:
        yield
    except tuple(_HTTPX_ERRORS) as error:
        raise _HTTPX_ERRORS[type(error)](str(error)) from error

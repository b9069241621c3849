"""The guard: where requests to URLs from outside may go, and what may come back.

Whoever names a server names where this process connects to, so a URL from outside must
not lead to what only this process can reach. Three things make that certain:

- A URL has one meaning: what two parsers could read differently is refused unread.
- A name is looked up once, all its addresses are checked, and the connection goes to an
  address that was checked. A name that changes its answer is not asked again; TLS and the
  `Host` header keep the name.
- The check sits in the transport, below everything that makes requests.

What comes back is counted as it arrives, read in sips, and never unpacked: a host that
says too much, or little in many words, must not keep this process from its work.
"""

import asyncio
import math
import re
import socket
import ssl
from collections.abc import (
    AsyncIterator,
    Awaitable,
    Callable,
    Collection,
    Iterable,
    Iterator,
    Sequence,
)
from concurrent.futures import ThreadPoolExecutor
from contextlib import aclosing, contextmanager
from ipaddress import IPv4Address, IPv4Network, IPv6Network, ip_address
from itertools import zip_longest
from typing import Any

import httpcore2
import httpx2

MAX_URL = 2048
"""Characters of the longest URL."""
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

# `ipaddress.is_global` calls multicast, 6to4 and NAT64 global, and changes with the
# version of Python; so the registries are written out here (IANA, IPv4 and IPv6
# Special-Purpose Address Registry, RFC 6890; both of 2025).
_NOT_GLOBAL_V4 = tuple(
    IPv4Network(network)
    for network in (
        "0.0.0.0/8",  # this network (RFC 791)
        "10.0.0.0/8",  # private (RFC 1918)
        "100.64.0.0/10",  # carrier-grade NAT (RFC 6598)
        "127.0.0.0/8",  # loopback (RFC 1122)
        "168.63.129.16/32",  # the host below a virtual machine of Azure
        "169.254.0.0/16",  # link-local, clouds' metadata (RFC 3927)
        "172.16.0.0/12",  # private (RFC 1918)
        "192.0.0.0/24",  # protocol assignments (RFC 6890)
        "192.0.2.0/24",  # documentation (RFC 5737)
        "192.31.196.0/24",  # AS112, answered nearby (RFC 7535)
        "192.52.193.0/24",  # AMT relays, answered nearby (RFC 7450)
        "192.88.99.0/24",  # 6to4 relays (RFC 7526)
        "192.168.0.0/16",  # private (RFC 1918)
        "192.175.48.0/24",  # AS112, answered nearby (RFC 7534)
        "198.18.0.0/15",  # benchmarking (RFC 2544)
        "198.51.100.0/24",  # documentation (RFC 5737)
        "203.0.113.0/24",  # documentation (RFC 5737)
        "224.0.0.0/4",  # multicast (RFC 5771)
        "240.0.0.0/4",  # reserved, and broadcast (RFC 1112)
    )
)
_UNICAST_V6 = IPv6Network("2000::/3")
"""All that is given out; mapped, NAT64, link- and site-local, ULA, multicast are not."""
_NOT_GLOBAL_V6 = tuple(
    IPv6Network(network)
    for network in (
        "2001::/23",  # protocol assignments: Teredo, benchmarking, ORCHID (RFC 2928)
        "2001:db8::/32",  # documentation (RFC 3849)
        "2002::/16",  # 6to4, an IPv4 address in disguise (RFC 3056)
        "2620:4f:8000::/48",  # AS112, answered nearby (RFC 7534)
        "3fff::/20",  # documentation (RFC 9637)
    )
)

_LABEL = r"[A-Za-z0-9_](?:[A-Za-z0-9_-]{0,61}[A-Za-z0-9_])?"
_URL = re.compile(
    r"(?P<scheme>https?)://"
    rf"(?P<host>(?:{_LABEL}\.)*{_LABEL}|\[[0-9a-f]*:[0-9a-f:.]*\])"
    r"(?::(?P<port>[1-9][0-9]{0,4}))?"
    r"(?:[/?](?:[A-Za-z0-9._~!$&'()*+,;=:@/?-]|%[0-9A-Fa-f]{2})*)?"
)
# The last label of a name begins with a letter; otherwise it may be read as an address:
# 127.1, 0x7f.1, 0177.0.0.1 (WHATWG URL, "ends in a number").
_DOTTED_NAME = re.compile(rf"(?:{_LABEL}\.)+[A-Za-z](?:[A-Za-z0-9-]{{0,61}}[A-Za-z0-9])?")
_DEFAULT_PORTS = {"http": 80, "https": 443}


class Refused(httpx2.ConnectError):
    """The guard does not let a request go there.

    Attributes:
        reason: What is wrong, in a word or two; for debug logs, never shown to peers.
    """

    def __init__(self, reason: str) -> None:
        super().__init__("This URL is not one to connect to.")
        self.reason = reason


class Unfit(httpx2.RemoteProtocolError):
    """The body of a response is not one to read.

    Attributes:
        reason: What is wrong, in a word or two; for debug logs, never shown to peers.
    """

    def __init__(self, reason: str) -> None:
        super().__init__("The response is not one to read.")
        self.reason = reason


def is_global(address: str) -> bool:
    """Tell whether an address is one host's on the public internet.

    Args:
        address: As a resolver writes it; with a zone (`%eth0`) it is not.
    """
    try:
        parsed = ip_address(address)
    except ValueError:
        return False
    if isinstance(parsed, IPv4Address):
        return not any(parsed in network for network in _NOT_GLOBAL_V4)
    return (
        parsed.scope_id is None
        and parsed in _UNICAST_V6
        and not any(parsed in network for network in _NOT_GLOBAL_V6)
    )


class Guard:
    """Knows where requests may go.

    Args:
        dev_hosts: Development hosts as `host:port`, `[::1]:port` for an IPv6 address;
            http and all addresses are allowed there, and nowhere else.
    """

    def __init__(self, dev_hosts: Collection[str] = ()) -> None:
        self._dev_hosts = frozenset(host.lower() for host in dev_hosts)

    def plain(self, host_port: str) -> bool:
        """Tell whether http and private addresses are allowed at `host:port`."""
        return host_port.lower() in self._dev_hosts

    def check_url(self, url: str) -> None:
        """Check all of a URL that can be checked without asking anybody.

        It is absolute, https, at most 2048 characters, and ASCII; no user, no fragment;
        its host is a dotted name without a dot at the end, or an IP address in its
        canonical spelling; its port is 443 or one from 1024 on, as below live services
        that take a request for their own commands. A development host may also have
        http, a name without dots, and any port.

        Raises:
            Refused: If it is not.
        """
        match = _URL.fullmatch(url)
        if match is None or len(url) > MAX_URL:
            raise Refused("url")
        scheme, host = match["scheme"], match["host"].lower()
        port = int(match["port"] or _DEFAULT_PORTS[scheme])
        if port > 65535:
            raise Refused("port")
        if self.plain(f"{host}:{port}"):
            return
        if scheme != "https":
            raise Refused("scheme")
        if port != 443 and port < 1024:
            raise Refused("port")
        literal = _literal(host.strip("[]"))
        if literal is None and (_DOTTED_NAME.fullmatch(host) is None or len(host) > 253):
            raise Refused("host")
        if literal is not None and not is_global(literal):
            raise Refused("address")

    def check_addresses(self, host: str, port: int, addresses: Sequence[str]) -> None:
        """Check what a host was looked up to; one bad address spoils all.

        Raises:
            Refused: If one is not allowed.
        """
        bracketed = f"[{host}]" if ":" in host else host
        if not (self.plain(f"{bracketed}:{port}") or all(map(is_global, addresses))):
            raise Refused("address")


def _literal(host: str) -> str | None:
    """Return a host that is an IP address in its canonical spelling, None if it is not."""
    try:
        return host if str(ip_address(host)) == host else None
    except ValueError:
        return None


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
        if _literal(host) is None:
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

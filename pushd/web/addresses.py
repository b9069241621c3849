"""Where requests come from, and what is refused for coming too often from there.

An address is asked for and looked at only where addresses have a limit. It pays for each
token that was never seen before, because that has to be verified and may open a mailbox;
one that does not verify costs more. Tokens that are known cost nothing, so whoever shares
an address with an attacker goes on.
"""

from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from ipaddress import (
    IPv4Address,
    IPv4Network,
    IPv6Address,
    IPv6Network,
    ip_address,
    ip_network,
)

from pushd.errors import Unauthorized
from pushd.identity.authenticator import Authenticator
from pushd.rates import Rates

Network = IPv4Network | IPv6Network

UNKNOWN = "unknown"
"""Where something comes from that has no address; all of it shares one limit."""
PREFIX = 64
"""Bits of an IPv6 address that count: a client has the rest to itself (RFC 6177)."""


class Addresses:
    """The addresses of clients, and what comes from each.

    Args:
        rates: The limit of an address.
        authenticator: Knows which tokens were seen.
        proxies: Addresses and networks whose word counts for whom they speak for.

    Attributes:
        asked: Whether addresses have a limit; else nothing here need be called.
    """

    def __init__(
        self, rates: Rates, authenticator: Authenticator, proxies: Iterable[str] = ()
    ) -> None:
        self.asked = rates.ask_addresses
        self._rates = rates
        self._authenticator = authenticator
        self._proxies = tuple(map(ip_network, proxies))

    def of(self, peer: tuple[object, ...] | None, forwarded: bytes) -> str:
        """Name the client behind a connection.

        Args:
            peer: The address at the other end of the socket, its text first; None: it has
                none.
            forwarded: The header X-Forwarded-For; lines of it joined by commas.
        """
        hops = [str(peer[0])] if peer else []
        hops[:0] = forwarded.decode("latin-1").split(",") if forwarded else ()
        for hop in map(str.strip, reversed(hops)):
            if not self._is_proxy(hop):
                return _group(hop)
        return _group(hops[0].strip()) if hops else UNKNOWN

    def of_stranger(self, peer: tuple[object, ...] | None) -> str | None:
        """Name the other end of a connection; None for a proxy, which stands for many."""
        text = str(peer[0]) if peer else ""
        return None if self._is_proxy(text) else _group(text)

    def concern(self, token: str) -> bool:
        """Tell whether it matters where a token comes from: a known one costs nothing."""
        return self.asked and not self._authenticator.knows(token)

    @contextmanager
    def trying(self, address: str, token: str) -> Iterator[None]:
        """Verify, inside this block, a new token of an address; empty: it has none.

        Raises:
            Limited: If too many came from there; nothing is verified then.
        """
        if token:
            self._rates.knock(address)
        try:
            yield
        except Unauthorized:
            self._rates.failed(address)
            raise

    def _is_proxy(self, text: str) -> bool:
        address = _parse(text)
        return address is not None and any(address in proxy for proxy in self._proxies)


def forwarded_in(headers: Iterable[tuple[bytes, bytes]]) -> bytes:
    """Join the lines of X-Forwarded-For; each proxy may have added its own."""
    return b",".join(value for name, value in headers if name == b"x-forwarded-for")


def forwarded_of(headers: Mapping[bytes, bytes]) -> bytes:
    """Return X-Forwarded-For of headers whose lines are joined already."""
    return headers.get(b"x-forwarded-for", b"")


def _group(text: str) -> str:
    """Name the addresses that count as one."""
    address = _parse(text)
    if address is None:
        return UNKNOWN
    if isinstance(address, IPv4Address):
        return str(address)
    return str(IPv6Network((address, PREFIX), strict=False))


def _parse(text: str) -> IPv4Address | IPv6Address | None:
    """Read an address, with or without a port; an IPv4 one in an IPv6 one is itself."""
    host = text
    if text.startswith("["):
        host = text[1:].partition("]")[0]
    elif text.count(":") == 1:
        host = text.partition(":")[0]
    try:
        address = ip_address(host.partition("%")[0])
    except ValueError:
        return None
    return getattr(address, "ipv4_mapped", None) or address

"""The guard: which URLs and addresses requests may go to when somebody else names them.

Whoever names a server names where this process connects to, so a URL from outside must not
lead to what only this process can reach. A URL has one meaning: what two parsers could read
differently is refused unread. And each address that a name leads to has to be public.
`transport.py` sees to it that no other is ever connected to.
"""

import re
from collections.abc import Collection, Sequence
from ipaddress import IPv4Address, IPv4Network, IPv6Network, ip_address

import httpx2

MAX_URL = 2048
"""Characters of the longest URL."""

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
        address = literal(host.strip("[]"))
        if address is None and (_DOTTED_NAME.fullmatch(host) is None or len(host) > 253):
            raise Refused("host")
        if address is not None and not is_global(address):
            raise Refused("address")

    def check_addresses(self, host: str, port: int, addresses: Sequence[str]) -> None:
        """Check what a host was looked up to; one bad address spoils all.

        Raises:
            Refused: If one is not allowed.
        """
        bracketed = f"[{host}]" if ":" in host else host
        if not (self.plain(f"{bracketed}:{port}") or all(map(is_global, addresses))):
            raise Refused("address")


def literal(host: str) -> str | None:
    """Return a host that is an IP address in its canonical spelling, None if it is not."""
    try:
        return host if str(ip_address(host)) == host else None
    except ValueError:
        return None

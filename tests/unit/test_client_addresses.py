"""Where a request comes from: the socket's word, and a trusted proxy's; nobody else's."""

from typing import cast

import pytest

from pushd.identity.authenticator import Authenticator
from pushd.mailbox.base import Meter
from pushd.metrics import Metrics
from pushd.rates import Rates
from pushd.web.addresses import UNKNOWN, Addresses

PROXIES = ("10.0.0.0/8", "192.0.2.7", "fd00::/8")


def made() -> Addresses:
    """Return addresses that trust some proxies."""
    nobody = cast(Meter, None)  # is told nothing here
    rates = Rates(nobody, address=1, metrics=Metrics())
    authenticator = Authenticator(
        "http://x", deliver_lifetime=60, receive_lifetime=60, dedup=120, cache_bytes=0
    )
    return Addresses(rates, authenticator, PROXIES)


def of(peer: str | None, forwarded: str = "") -> str:
    """Say who is behind a connection, where some proxies are trusted."""
    return made().of(None if peer is None else (peer, 1234), forwarded.encode())


@pytest.mark.parametrize(
    ("peer", "forwarded", "address"),
    [
        ("203.0.113.9", "", "203.0.113.9"),
        ("203.0.113.9", "198.51.100.1", "203.0.113.9"),
        ("10.1.2.3", "198.51.100.1", "198.51.100.1"),
        ("10.1.2.3", "198.51.100.1:5000", "198.51.100.1"),
        ("10.1.2.3", "6.6.6.6, 198.51.100.1", "198.51.100.1"),
        ("10.1.2.3", "198.51.100.1, 192.0.2.7", "198.51.100.1"),
        ("10.1.2.3", "10.9.9.9", "10.9.9.9"),
        ("10.1.2.3", "", "10.1.2.3"),
        ("10.1.2.3", "nonsense", UNKNOWN),
        ("10.1.2.3", ",", UNKNOWN),
        ("::ffff:203.0.113.9", "", "203.0.113.9"),
        ("::ffff:10.1.2.3", "198.51.100.1", "198.51.100.1"),
        ("fd00::1", "[2001:db8:1:2:3::4]:80", "2001:db8:1:2::/64"),
        ("2001:db8:1:2:ffff::9%eth0", "", "2001:db8:1:2::/64"),
        (None, "", UNKNOWN),
    ],
)
def test_where_it_comes_from(peer: str | None, forwarded: str, address: str) -> None:
    """The last address that is no proxy of ours; of IPv6 the network of one client."""
    assert of(peer, forwarded) == address

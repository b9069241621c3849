"""Canonical URLs: one spelling for each server, compared character for character."""

import re
from ipaddress import IPv6Address

from pushd.errors import BadRequest

_PORTS = {"http": "80", "https": "443"}

# Scheme, host and port, path; of RFC 3986, what a server's URL may hold.
_URL = re.compile(
    r"(?P<scheme>[A-Za-z][A-Za-z0-9+.-]*)://"
    r"(?P<host>\[[0-9A-Fa-f:.]+\]|[A-Za-z0-9._~-]+)"
    r"(?::(?P<port>[0-9]*))?"
    r"(?P<path>(?:/[A-Za-z0-9._~!$&'()*+,;=:@%-]*)*)"
)


def canonical_url(text: str) -> str:
    """Return the canonical form of a server's URL.

    Scheme and host in lower case, no default port, no slash at the end.

    Raises:
        BadRequest: If it is not an absolute http or https URL, or holds user
            information, a query or a fragment. A host of other than ASCII letters is
            written in its `xn--` form.
    """
    match = _URL.fullmatch(text)
    if match is None:
        raise BadRequest(
            "A server's URL is http(s)://host[:port][/path], "
            "without user, query or fragment."
        )
    scheme = match["scheme"].lower()
    if scheme not in _PORTS:
        raise BadRequest("A server's URL begins with https:// or http://.")
    host = match["host"].lower()
    if host.startswith("["):
        _validate_ipv6(host[1:-1])
    return f"{scheme}://{host}{_port(match['port'], scheme)}{match['path'].rstrip('/')}"


def _validate_ipv6(text: str) -> None:
    try:
        IPv6Address(text)
    except ValueError:
        raise BadRequest("The host of the URL is no IPv6 address.") from None


def _port(text: str | None, scheme: str) -> str:
    """Return `:port`, or nothing for the port the scheme has anyway."""
    if not text:
        return ""
    port = text.lstrip("0")
    if not port or len(port) > 5 or int(port) > 65535:
        raise BadRequest("The port of the URL is 1 to 65535.")
    return "" if port == _PORTS[scheme] else f":{port}"

"""Where the store is, and who we are there, read from its URL.

    redis://user:password@host:6379/0                  one server
    unix://user:password@/path/to/socket               one server
    redis+sentinel://host:26379,host:26379/service/0   the primary that sentinels name
    redis+cluster://host:6379,host:6379                a Cluster; it names its other servers

`rediss` instead of `redis` is TLS, to the sentinels too. User and password are for the
servers that have the mailboxes.
"""

import re
import ssl
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal
from urllib.parse import parse_qsl, unquote

from pushd.errors import ConfigurationError

SCHEMES = (
    *("redis", "rediss", "unix"),
    *("redis+sentinel", "rediss+sentinel", "redis+cluster", "rediss+cluster"),
)
FORMS = (
    "redis://host:port/db, unix:///path/to/socket,"
    " redis+sentinel://host:port,host:port/service or redis+cluster://host:port,host:port;"
    " with TLS rediss://, rediss+sentinel:// or rediss+cluster://"
)
"""What a URL looks like, in a sentence."""

TLS_OPTIONS = {
    "ssl_ca_certs": "file of the authorities whose certificates count",
    "ssl_certfile": "file of our own certificate",
    "ssl_keyfile": "file of its private key",
    "ssl_check_hostname": "false: a certificate counts whatever host it is for",
    "ssl_cert_reqs": "none: no certificate is looked at",
}
SENTINEL_OPTIONS = {
    "sentinel_username": "who we are at the sentinels",
    "sentinel_password": "our password there",
}

_HOST = re.compile(r"(\[[0-9A-Fa-f:.]+\]|[^:\[\]/,\s]*)(?::([0-9]{1,5}))?")

Topology = Literal["server", "sentinel", "cluster"]


@dataclass(frozen=True)
class Access:
    """Who we are at a server, and how the way there is protected.

    Attributes:
        username: As whom; None: as the server's default user.
        password: Never shown; None: there is none.
        db: Which of the server's databases has the mailboxes.
        tls: How the server is verified; None: the way is plain.
    """

    username: str | None = None
    password: str | None = field(default=None, repr=False)
    db: int = 0
    tls: ssl.SSLContext | None = None


@dataclass(frozen=True)
class Address:
    """Where one server is. Shown without the password.

    Attributes:
        host: Its name or address.
        port: Its port.
        access: How we come in.
        path: Of its socket in the file system, instead of host and port; or None.
    """

    host: str
    port: int
    access: Access
    path: str | None = None

    def __str__(self) -> str:
        return self.path or f"{self.host}:{self.port}"


@dataclass(frozen=True)
class StoreUrl:
    """What a URL says.

    Attributes:
        topology: One server, one primary behind sentinels, or a Cluster.
        addresses: The server, the sentinels, or some servers of the Cluster.
        service: What the sentinels call the primary and its replicas.
        access: To the servers that have the mailboxes.
    """

    topology: Topology
    addresses: tuple[Address, ...]
    service: str
    access: Access

    @classmethod
    def parse(cls, url: str) -> "StoreUrl":
        """Read a URL.

        Raises:
            ConfigurationError: If it is none, or names files that cannot be used.
        """
        try:
            return _parse(url)
        except ValueError as error:
            raise ConfigurationError(
                f"The store's URL is {FORMS} ({error}); set PUSHD_REDIS_URL."
            ) from None

    def at(self, host: str, port: int) -> Address:
        """Return the address of a server that somebody named."""
        return Address(host, port, self.access)


def _parse(url: str) -> StoreUrl:
    scheme, mark, rest = url.partition("://")
    if not mark or scheme not in SCHEMES:
        raise ValueError("it begins with none of these")
    rest, _, query = rest.partition("?")
    place, slash, path = rest.partition("/")
    login, _, hosts = place.rpartition("@")
    base, _, kind = scheme.partition("+")
    options = _options(query, base, kind)
    tls = _tls(options) if base == "rediss" else None
    if base == "unix":
        access = _access(login, options.get("db", ""), tls)
        address = Address("", 0, access, unquote(slash + path))
        if hosts or not path:
            raise ValueError("a path has three slashes")
        return StoreUrl("server", (address,), "", access)
    if kind == "sentinel":
        service, _, path = path.partition("/")
        if not service:
            raise ValueError("the name of the service is missing")
        access = _access(login, path, tls)
        theirs = Access(
            options.get("sentinel_username"), options.get("sentinel_password"), 0, tls
        )
        return StoreUrl("sentinel", _hosts(hosts, 26379, theirs), unquote(service), access)
    access = _access(login, path, tls)
    if kind == "cluster":
        if access.db:
            raise ValueError("a Cluster has no databases but 0")
        return StoreUrl("cluster", _hosts(hosts, 6379, access), "", access)
    addresses = _hosts(hosts, 6379, access)
    if len(addresses) > 1:
        raise ValueError("several hosts are sentinels or a Cluster")
    return StoreUrl("server", addresses, "", access)


def _options(query: str, base: str, kind: str) -> dict[str, str]:
    known = {"db"} if base == "unix" else set()
    if base == "rediss":
        known |= TLS_OPTIONS.keys()
    if kind == "sentinel":
        known |= SENTINEL_OPTIONS.keys()
    options = dict(parse_qsl(query, keep_blank_values=True))
    for name in options.keys() - known:
        raise ValueError(f"{name} is no option of it")
    return options


def _access(login: str, db: str, tls: ssl.SSLContext | None) -> Access:
    if db and not db.isdecimal():
        raise ValueError("a database is a number")
    user, _, password = login.partition(":")
    return Access(unquote(user) or None, unquote(password) or None, int(db or 0), tls)


def _hosts(text: str, port: int, access: Access) -> tuple[Address, ...]:
    addresses = []
    for part in text.split(","):
        found = _HOST.fullmatch(part)
        number = int(found[2] or port) if found else 0
        if found is None or not 0 < number < 65536:
            raise ValueError("a host and its port are not as they should be")
        addresses.append(Address(found[1].strip("[]") or "127.0.0.1", number, access))
    return tuple(addresses)


def _tls(options: Mapping[str, str]) -> ssl.SSLContext:
    """Verify the store's certificate, as far as the options let us."""
    try:
        context = ssl.create_default_context(cafile=options.get("ssl_ca_certs"))
        if "ssl_certfile" in options:
            context.load_cert_chain(options["ssl_certfile"], options.get("ssl_keyfile"))
    except OSError as error:
        raise ConfigurationError(
            f"The certificates that PUSHD_REDIS_URL names cannot be used: {error}."
        ) from None
    blind = _choice(options, "ssl_cert_reqs", "required", "none")
    if blind or _choice(options, "ssl_check_hostname", "true", "false"):
        context.check_hostname = False
    if blind:
        context.verify_mode = ssl.CERT_NONE
    return context


def _choice(options: Mapping[str, str], name: str, usual: str, other: str) -> bool:
    """Tell whether an option has the less usual one of its two values."""
    value = options.get(name, usual)
    if value not in (usual, other):
        raise ValueError(f"{name} is {usual} or {other}")
    return value == other

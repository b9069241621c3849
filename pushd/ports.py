"""The port of a server: its alone, and shared among its own workers.

SO_REUSEPORT gives each worker a queue of its own, and lets the kernel spread connections
evenly; it would also let a second server slip onto the same port unnoticed. So the first
socket listens without it, which fails if anybody else is there, and only then, before
the others join, the option is set.
"""

import errno
import socket

from pushd.errors import ConfigurationError

BACKLOG = 4096
"""Connections that may wait to be accepted; the kernel's own limit may be lower."""


def claim(host: str, port: int) -> socket.socket:
    """Listen on an address nobody else listens on; one that `share` can extend.

    Args:
        host: An IP address or a name; of a name, its first address. `::` hears IPv4 too.
        port: 0 lets the system choose.

    Raises:
        ConfigurationError: If the port is taken or not allowed, or the address is not
            of this machine.
    """
    family, address = _resolve(host, port)
    listener = _open(family)
    try:
        listener.bind(address)
        listener.listen(BACKLOG)
    except OSError as error:
        listener.close()
        raise ConfigurationError(_sentence(error, host, port)) from None
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
    return listener


def share(family: int, address: tuple[str, int]) -> socket.socket:
    """Listen on an address that this server has claimed, with a queue of its own.

    Raises:
        ConfigurationError: If the port went to somebody else meanwhile.
    """
    listener = _open(family)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
    try:
        listener.bind(address)
        listener.listen(BACKLOG)
    except OSError as error:
        listener.close()
        raise ConfigurationError(_sentence(error, *address[:2])) from None
    return listener


def url(listener: socket.socket) -> str:
    """Return the URL under which this machine reaches a listener."""
    host, port = listener.getsockname()[:2]
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"


def _open(family: int) -> socket.socket:
    listener = socket.socket(family, socket.SOCK_STREAM)
    # Without it a restart would wait a minute for the connections of the last run.
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    if family == socket.AF_INET6:
        listener.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0)
    return listener


def _resolve(host: str, port: int) -> tuple[int, tuple[str, int]]:
    try:
        family, _, _, _, address = socket.getaddrinfo(
            host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )[0]
    except (OSError, UnicodeError):
        raise ConfigurationError(
            f"The host {host!r} is no address and no name this machine knows;"
            " set PUSHD_HOST or --host to one, 0.0.0.0 for every address."
        ) from None
    return family, address  # type: ignore[return-value] # IPv6 has two more numbers


def _sentence(error: OSError, host: str, port: int) -> str:
    if error.errno == errno.EADDRINUSE:
        return (
            f"Port {port} of {host} is in use by another program;"
            " stop that one, or set PUSHD_PORT or --port to a free port."
        )
    if error.errno in (errno.EACCES, errno.EPERM):
        return (
            f"Port {port} needs privileges this user does not have;"
            " set PUSHD_PORT or --port to one above 1023."
        )
    if error.errno == errno.EADDRNOTAVAIL:
        return (
            f"{host} is not an address of this machine;"
            " set PUSHD_HOST or --host to one that is, 0.0.0.0 for every address."
        )
    return f"This server cannot listen on port {port} of {host}: {error.strerror}."

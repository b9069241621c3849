"""A port belongs to one server, and to all of its workers."""

import socket

import pytest

from pushd import ports
from pushd.errors import ConfigurationError


def test_a_claimed_port_is_refused_to_a_second_server() -> None:
    """Two servers on one port are refused with a sentence that says what to set."""
    with ports.claim("127.0.0.1", 0) as listener:
        port = listener.getsockname()[1]
        with pytest.raises(ConfigurationError, match=f"Port {port} .* in use.*--port"):
            ports.claim("127.0.0.1", port)


def test_a_shared_port_is_refused_as_well() -> None:
    """Workers that share the port do not let another server in, the first one gone."""
    with ports.claim("127.0.0.1", 0) as first:
        port = first.getsockname()[1]
        with ports.share(first.family, first.getsockname()):
            first.close()
            with pytest.raises(ConfigurationError, match="in use"):
                ports.claim("127.0.0.1", port)


def test_workers_each_have_connections() -> None:
    """The kernel spreads connections over the claimed and the sharing sockets."""
    with (
        ports.claim("127.0.0.1", 0) as first,
        ports.share(first.family, first.getsockname()) as second,
    ):
        clients = [socket.create_connection(first.getsockname()) for _ in range(64)]
        taken = [_accept_all(listener) for listener in (first, second)]
        for client in clients:
            client.close()

    assert sum(taken) == 64
    assert all(taken)


def _accept_all(listener: socket.socket) -> int:
    listener.setblocking(False)
    taken = 0
    while True:
        try:
            listener.accept()[0].close()
        except BlockingIOError:
            return taken
        taken += 1


def test_sharing_a_port_that_somebody_else_took_is_refused() -> None:
    """A port that was lost between two workers is not shared with a stranger."""
    with (
        socket.create_server(("127.0.0.1", 0)) as stranger,
        pytest.raises(ConfigurationError, match="in use"),
    ):
        ports.share(stranger.family, stranger.getsockname())


@pytest.mark.parametrize(
    ("host", "sentence"),
    [
        ("no-such-host.invalid", "no name this machine knows"),
        ("host..name", "no name this machine knows"),
        ("192.0.2.1", "not an address of this machine"),
    ],
)
def test_a_host_that_is_not_here_is_refused(host: str, sentence: str) -> None:
    """An address must be of this machine."""
    with pytest.raises(ConfigurationError, match=sentence):
        ports.claim(host, 0)


@pytest.mark.parametrize("host", ["127.0.0.1", "::1", "localhost"])
def test_the_url_reaches_the_listener(host: str) -> None:
    """Every kind of address has a URL, brackets around IPv6."""
    with ports.claim(host, 0) as listener:
        address, port = listener.getsockname()[:2]
        expected = f"[{address}]:{port}" if ":" in address else f"{address}:{port}"

        assert f"http://{expected}" == ports.url(listener)

"""A real server on a real store for tests, and people who talk to it.

    with serving(store_url) as server:
        alice, bob = Person(server.url), Person(server.url)
        httpx2.post(server.url + "/v1/deliveries", headers=alice.deliver(bob.did), ...)

The server runs in a thread of its own, with the loop, the HTTP parser and the websocket
of production, so a test may block, or run a loop itself.
"""

import socket
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from itertools import count
from typing import Any, cast
from urllib.parse import urlsplit

import uvicorn

from pushd.app import create_app
from pushd.identity.keys import Algorithm, PrivateKey
from pushd.identity.tokens import make_token
from pushd.settings import Settings
from pushd.web.http import Http
from pushd.web.parts import Parts
from pushd.web.stream import Stream
from tests.threads import ThreadedServer

_numbers = count(1)


class Person:
    """A key, and the tokens it makes for one server."""

    def __init__(self, server: str, algorithm: Algorithm = Algorithm.ES256K) -> None:
        self.key = PrivateKey.generate(algorithm)
        self.did = self.key.did
        self.server = server

    def token(self, scope: str, to: str | Sequence[str] = (), **claims: Any) -> str:
        """Make a token; `claims` are arguments of `make_token`."""
        arguments: dict[str, Any] = {
            "audience": self.server,
            "now": time.time(),
            "lifetime": 600.0,
            "jti": f"jti-{next(_numbers)}",
        } | claims
        return make_token(self.key, scope=scope, to=to, **arguments)

    def deliver(self, *to: str, **claims: Any) -> dict[str, str]:
        """Return headers to deliver to these recipients."""
        return bearer(self.token("deliver", to, **claims))

    def receive(self, **claims: Any) -> dict[str, str]:
        """Return headers to read one's own mailbox."""
        return bearer(self.token("receive", **claims))


class Clock:
    """Tells the time, and can be put forward."""

    def __init__(self) -> None:
        self.ahead = 0.0

    def __call__(self) -> float:
        """Tell the time."""
        return time.time() + self.ahead


def bearer(token: str) -> dict[str, str]:
    """Return the headers that carry a token."""
    return {"Authorization": f"Bearer {token}"}


def exchange(url: str, request: bytes) -> bytes:
    """Send bytes to a server and return all it answers; let it close the connection."""
    parts = urlsplit(url)
    with socket.create_connection((parts.hostname, parts.port), timeout=10) as peer:
        peer.sendall(request)
        return b"".join(iter(lambda: peer.recv(65536), b""))


class RunningServer(ThreadedServer):
    """A server in a thread.

    Attributes:
        url: Where it is; also the audience of tokens.
        settings: What it was made of.
    """

    def __init__(self, settings: Settings, store_url: str, listener: socket.socket) -> None:
        app = create_app(settings, store_url=store_url)
        config = uvicorn.Config(
            app,
            loop="uvloop",
            http=Http,
            ws=Stream,
            ws_per_message_deflate=False,
            lifespan="on",
            log_config=None,
            access_log=False,
            server_header=False,
            proxy_headers=False,
            timeout_graceful_shutdown=10,
        )
        super().__init__(config, listener)
        self.url = settings.public_url
        self.settings = settings

    @property
    def parts(self) -> Parts:
        """The live parts, to look at from outside its loop."""
        return cast(Parts, self.lifespan.state)


@contextmanager
def serving(
    store_url: str, environ: Mapping[str, str] | None = None, **settings: Any
) -> Iterator[RunningServer]:
    """Run a server while the block runs.

    Args:
        store_url: Where its mailboxes are.
        environ: Variables to read settings from; None: none, not even those of the test.
        settings: Settings by name; they count more.
    """
    listener = socket.create_server(("127.0.0.1", 0))
    settings = {"port": listener.getsockname()[1], "drain_seconds": 1, **settings}
    try:
        read = Settings.read(environ or {}, **settings)
    except BaseException:
        listener.close()
        raise
    server = RunningServer(read, store_url, listener)
    server.start()
    try:
        yield server
    finally:
        server.stop()

"""A development hub on a real port for tests.

    with running_devhub() as hub:
        hub.hub.register("alice.id.blockstack", alice, {"https://app.example": key})
        Fetcher(dev_hosts=[hub.host_port]) ...

It runs in a thread with a loop of its own, so a test may block, or run a loop itself.
"""

import socket
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from hashlib import md5
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import httpx2
import msgspec

from pushd.client import Client
from pushd.devhub import DevHub, Limits, program
from pushd.identity import jws
from pushd.identity.keys import PrivateKey, address
from tests.threads import ThreadedServer

HELLO = md5(b"hello", usedforsecurity=False).hexdigest()
"""The etag of what a `Bucket` stores where nothing else is said."""
Claims = Mapping[str, Any]


class RunningHub:
    """A hub in a thread.

    Args:
        directory: Where it keeps everything; None keeps it in memory.
        limits: What it allows.
        clock: Tells it seconds since the epoch.

    Attributes:
        url: Where it is, without a slash at the end; also the names API.
        host_port: The same without `http://`, to be named as a dev host.
        hub: The hub itself, to register names in.
        http: A client of the hub.
    """

    def __init__(
        self, directory: Path | None, limits: Limits, clock: Callable[[], float]
    ) -> None:
        self._listener: socket.socket | None = socket.create_server(("127.0.0.1", 0))
        self._address = self._listener.getsockname()[:2]
        self.host_port = f"127.0.0.1:{self._address[1]}"
        self.url = f"http://{self.host_port}"
        self.hub = DevHub(directory, url=self.url, limits=limits, clock=clock)
        self.http = httpx2.Client(base_url=self.url, trust_env=False)
        self._server: ThreadedServer | None = None

    @property
    def bns_url(self) -> str:
        """Where the API of BNS V2 is."""
        return f"{self.url}/bns"

    def client(self, key: PrivateKey, name: str, *, app: str, server: str) -> Client:
        """Make the client of somebody whose files are here, and names looked up.

        Args:
            key: Theirs.
            name: What the key is registered as.
            app: Web origin of the app.
            server: URL of their message server.
        """
        return Client(
            key,
            app=app,
            name=name,
            hub=self.url,
            servers=[server],
            names_api=self.url,
            dev_hosts=[self.host_port, urlsplit(server).netloc],
        )

    def start(self) -> None:
        """Serve, after an outage on the same port as before."""
        if self._listener is None:
            self._listener = socket.create_server(self._address)
        self._server = ThreadedServer(program.config(self.hub), self._listener)
        self._listener = None
        self._server.start()

    def stop(self) -> None:
        """Refuse connections until the next start; buckets and names stay."""
        if self._server is not None:
            self._server.stop()
            self._server = None


@contextmanager
def running_devhub(
    directory: Path | None = None,
    *,
    clock: Callable[[], float] = time.time,
    **limits: Any,
) -> Iterator[RunningHub]:
    """Run a hub on a free port while the block runs.

    Args:
        directory: Where it keeps everything; None keeps it in memory.
        clock: Tells it seconds since the epoch.
        limits: Members of `pushd.devhub.Limits`, by name.
    """
    hub = RunningHub(directory, Limits(**limits), clock)
    with hub.http:
        hub.start()
        try:
            yield hub
        finally:
            hub.stop()


class Bucket:
    """A bucket of a hub, and its owner, who makes tokens by hand."""

    def __init__(self, hub: RunningHub, key: PrivateKey | None = None) -> None:
        self.key = PrivateKey.generate() if key is None else key
        self.address = address(self.key.public.raw)
        self.hub = hub
        self.challenge = hub.http.get("/hub_info").json()["challenge_text"]

    def token(self, signer: PrivateKey | None = None, **claims: Any) -> str:
        """Make a token; a claim that is None is left out."""
        own = {"iss": self.key.public.raw.hex(), "gaiaChallenge": self.challenge}
        told = {name: value for name, value in (own | claims).items() if value is not None}
        return jws.sign(signer or self.key, msgspec.json.encode(told))

    def call(
        self,
        method: str,
        verb: str,
        path: str = "",
        *,
        claims: Claims | None = None,
        authorization: str | None = None,
        headers: Mapping[str, str] | None = None,
        **body: Any,
    ) -> httpx2.Response:
        """Call the write half, with a token of these claims unless another is given."""
        if authorization is None:
            authorization = f"bearer v1:{self.token(**(claims or {}))}"
        url = f"/{verb}/{self.address}{path and '/' + path}"
        sent = {"Authorization": authorization, **(headers or {})}
        return self.hub.http.request(method, url, headers=sent, **body)

    def store(self, path: str, content: Any = b"hello", **call: Any) -> httpx2.Response:
        """Store a file."""
        return self.call("POST", "store", path, content=content, **call)

    def delete(self, path: str, **call: Any) -> httpx2.Response:
        """Delete a file."""
        return self.call("DELETE", "delete", path, **call)

    def list_files(
        self, page: Any = None, *, stat: bool = False, **call: Any
    ) -> httpx2.Response:
        """List a page of files."""
        return self.call("POST", "list-files", json={"page": page, "stat": stat}, **call)

    def revoke(self, oldest: Any, **call: Any) -> httpx2.Response:
        """Revoke all tokens that are older."""
        return self.call(
            "POST", "revoke-all", json={"oldestValidTimestamp": oldest}, **call
        )

    def read(self, path: str, method: str = "GET", **headers: str) -> httpx2.Response:
        """Read a file from the read half."""
        return self.hub.http.request(method, f"{self.url}{path}", headers=headers)

    @property
    def url(self) -> str:
        """Where its files are read."""
        return f"{self.hub.hub.read_url}{self.address}/"

    def names(self, **call: Any) -> list[str]:
        """List the names of all its files, of which there are few."""
        names: list[str] = self.list_files(**call).json()["entries"]
        return names


@contextmanager
def bucket_of(**limits: Any) -> Iterator[Bucket]:
    """Run a hub with other limits, and yield a bucket there."""
    with running_devhub(**limits) as running:
        yield Bucket(running)


def error(response: httpx2.Response) -> tuple[int, str | None]:
    """Return the status and the class a refusal has."""
    return response.status_code, response.json().get("error")

"""What a client leans on, as tests want it to be: names, buckets, and the way out."""

import asyncio
from collections.abc import Callable, Mapping
from typing import Any, cast

import httpx2
import msgspec
from msgspec import UNSET

from pushd.client.envelope import Envelope, seal
from pushd.client.gaia import Bucket
from pushd.client.letter import Letter, letter_path, seal_letter
from pushd.client.listeners import Received
from pushd.client.transports import Recipient
from pushd.errors import Unproven
from pushd.identity import ecies
from pushd.identity.keys import PrivateKey, PublicKey
from pushd.protocol.ids import MessageId
from pushd.protocol.messages import From, Message
from pushd.resolvers.base import Destination, Identity, Proof
from pushd.resolvers.directory import Directory
from pushd.resolvers.fetch import Fetcher, FetchFailed

APP = "https://calendar.example"
ALICE, BOB = "alice.id.blockstack", "bob.id.blockstack"
NOW = 1_800_000_000.0

Answer = Callable[[httpx2.Request], httpx2.Response]


class FakeDirectory:
    """Knows what a test says; an exception is what a name leads to, too.

    Attributes:
        destinations: What `reach` answers, by name, one after the other.
        identities: The DIDs of names, for `identify`.
        asked: Names that were asked for.
        forgotten: Names that were to be asked for anew.
    """

    def __init__(self) -> None:
        self.destinations: dict[str, list[Destination]] = {}
        self.identities: dict[str, str | Exception] = {}
        self.asked: list[str] = []
        self.forgotten: list[str] = []

    def put(self, name: str, key: PublicKey | None, *servers: str) -> None:
        """Let a name lead to a key and servers, once that before is forgotten."""
        did = "did:btc-addr:1unknown" if key is None else key.did
        destination = Destination(did=did, key=key, servers=servers, proof=Proof.PROFILE)
        self.destinations.setdefault(name, []).append(destination)

    async def reach(self, name: str, app: str) -> Destination:
        """Return the destination that is current."""
        assert app == APP
        self.asked.append(name)
        if name not in self.destinations:
            raise Unproven("The name is nobody's.")
        return self.destinations[name][0]

    async def identify(self, name: str, app: str) -> Identity:
        """Return whose name it is."""
        assert app == APP
        self.asked.append(name)
        found = self.identities.get(name, Unproven("The name is nobody's."))
        if isinstance(found, Exception):
            raise found
        return Identity(did=found, proof=Proof.PROFILE)

    def forget(self, name: str, app: str) -> None:
        """Go on to the next destination."""
        self.forgotten.append(name)
        if len(self.destinations[name]) > 1:
            del self.destinations[name][0]

    def __call__(self) -> Directory:
        """Return it as what it stands for."""
        return cast(Directory, self)


class FakeBucket:
    """A bucket in memory.

    Attributes:
        files: Contents by path.
        stored: Paths in the order in which they were stored.
    """

    def __init__(self, key: PrivateKey) -> None:
        self.address = key.did.rpartition(":")[2]
        self.read_url = f"https://gaia.example/hub/{self.address}/"
        self.files: dict[str, bytes] = {}
        self.stored: list[str] = []

    async def url(self) -> str:
        """Return where it is read."""
        return self.read_url

    async def store(self, path: str, content: bytes, *, content_type: str) -> str:
        """Keep a file."""
        self.files[path] = content
        self.stored.append(path)
        return "etag"

    async def read(self, path: str) -> Any:
        """Return a file."""
        content = self.files.get(path)
        return None if content is None else type("File", (), {"content": content})

    def __call__(self) -> Bucket:
        """Return it as what it stands for."""
        return cast(Bucket, self)


class FakeFetcher:
    """Fetches from a bucket in memory, and posts to servers that do what a test says.

    Attributes:
        files: What is where; None is a host that does not answer.
        fetched: URLs that were fetched.
        servers: What a server answers, by its URL; one that is not there is down.
        posted: Requests that were made.
    """

    def __init__(self) -> None:
        self.files: dict[str, bytes | None] = {}
        self.fetched: list[str] = []
        self.servers: dict[str, Answer] = {}
        self.posted: list[httpx2.Request] = []
        self.http = httpx2.AsyncClient(transport=httpx2.MockTransport(self._post))

    async def get(self, url: str, **options: object) -> bytes | None:
        """Return a file."""
        self.fetched.append(url)
        await asyncio.sleep(0)
        if url not in self.files:
            return None
        content = self.files[url]
        if content is None:
            raise FetchFailed("timeout")
        return content

    def plain(self, host_port: str) -> bool:
        """Allow nothing but https."""
        return False

    def _post(self, request: httpx2.Request) -> httpx2.Response:
        self.posted.append(request)
        server = str(request.url).removesuffix("/v1/deliveries")
        if server not in self.servers:
            raise httpx2.ConnectError("Nobody there.")
        return self.servers[server](request)

    @property
    def places(self) -> list[str]:
        """Servers that were asked, one after the other."""
        return [str(one.url).removesuffix("/v1/deliveries") for one in self.posted]

    def bodies(self) -> list[dict[str, Any]]:
        """Return the bodies that were posted."""
        return [msgspec.json.decode(request.content) for request in self.posted]

    def __call__(self) -> Fetcher:
        """Return it as what it stands for."""
        return cast(Fetcher, self)


class Recorder:
    """A transport that writes down what became of messages."""

    def __init__(self) -> None:
        self.calls: list[str] = []
        self.empty = False

    async def run(self, recipient: Recipient) -> None:
        """Do nothing."""

    def handled(self, id: MessageId) -> None:
        """Write it down."""
        self.calls.append("handled")

    def held(self, id: MessageId) -> None:
        """Write it down."""
        self.calls.append("held")

    def failed(self, id: MessageId) -> None:
        """Write it down."""
        self.calls.append("failed")

    def reopen(self) -> None:
        """Do nothing."""

    def stop(self) -> None:
        """Do nothing."""


def accepting(mailbox: str) -> Answer:
    """Return a server that puts everything into one mailbox."""
    answer = {"id": "1-1", "mailbox": mailbox, "duplicate": False}
    return lambda request: httpx2.Response(202, json=answer)


def refusing(status: int, code: str) -> Answer:
    """Return a server that refuses."""
    problem = {"code": code, "detail": "A sentence.", "retry_after": 1000}
    return lambda request: httpx2.Response(status, json=problem)


class Post:
    """A message from Alice to Bob; a test may change any of it before it is sent."""

    def __init__(self, alice: PrivateKey, bob: PrivateKey, id: str = "an-id") -> None:
        self.bob = bob
        self.signer = alice
        self.envelope: dict[str, Any] = {
            "id": id,
            "from_": alice.did,
            "to": bob.did,
            "bucket": f"https://gaia.example/hub/{alice.did.rpartition(':')[2]}/",
            "app": APP,
            "name": ALICE,
        }
        self.letter: dict[str, Any] = {
            "id": id,
            "from_": alice.did,
            "to": bob.did,
            "at": NOW,
            "content": "Hello Bob",
            "app": APP,
        }
        self.sender = alice.did
        self.proven: Mapping[str, str] = {}

    @property
    def url(self) -> str:
        """Where the letter lies."""
        return f"{self.envelope['bucket']}{letter_path(self.envelope['id'])}"

    def sealed(self) -> bytes:
        """Return the letter as it lies there."""
        sender = Letter(**self.letter)
        if self.signer.did != sender.from_:
            # What its signer would not write of itself has to be put together by hand.
            return forged_letter(sender, self.bob.public, self.signer)
        return seal_letter(sender, self.bob.public, self.signer)

    def received(self, server: str = "https://push.example", seq: int = 1) -> Received:
        """Return the message as a server brings it."""
        payload = seal(Envelope(**self.envelope), self.bob.public)
        app = APP if self.proven else UNSET
        sender = From(self.sender, **self.proven)
        message = Message(f"1-{seq}", sender, payload, 1, 2, app)
        return Received(MessageId(1, seq), message, Recorder(), server)


def forged_letter(letter: Letter, to: PublicKey, signer: PrivateKey) -> bytes:
    """Sign a letter of somebody else."""
    text = msgspec.json.encode({"v": 1, **msgspec.to_builtins(letter)}).decode()
    return ecies.encrypt_signed(text, to, signer).encode()

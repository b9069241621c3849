"""Real stores for tests: server processes that can be killed and started again."""

import asyncio
import os
import shutil
import socket
import subprocess
import time
from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path
from typing import NamedTuple, Self

import redis

from pushd.mailbox.base import Entry, Mailboxes
from pushd.mailbox.embedded import find_server
from pushd.protocol.ids import START, MessageId
from pushd.protocol.messages import From, Overflow, StoredMessage, message_body

KINDS = ("valkey", "redis")
ALICE = "did:btc-addr:1AqzjNiKLo7gVw6dXXiUmKLg4yCRWm1Zzz"
CAROL = "did:btc-addr:1CqzjNiKLo7gVw6dXXiUmKLg4yCRWm1Zzz"


def missing(kind: str) -> str:
    """Tell why this kind of store cannot be had here, or the empty string."""
    if kind == "redis" and shutil.which("redis-server") is None:
        return "redis-server is not installed"
    return ""


class Server:
    """One server process on a unix socket.

    Args:
        kind: `valkey`, the one that pushd embeds, or `redis`, the system's.
        directory: Its data; a short path, for it holds the socket too.
        options: What to configure, over what mailboxes need.
    """

    def __init__(self, kind: str, directory: Path, **options: str) -> None:
        self._binary = find_server(system=False) if kind == "valkey" else "redis-server"
        self._directory = directory
        self._socket = directory / "s"
        self._options = {
            "port": "0",
            "unixsocket": os.fspath(self._socket),
            "dir": os.fspath(directory),
            "logfile": os.fspath(directory / "log"),
            "enable-debug-command": "yes",
            "save": "",
            "appendonly": "yes",
            "appendfsync": "always",
            "maxmemory-policy": "noeviction",
            "repl-diskless-sync-delay": "0",
            **{name.replace("_", "-"): value for name, value in options.items()},
        }
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        """Where it listens."""
        return f"unix://{self._socket}"

    @property
    def pid(self) -> int:
        """The process, which runs."""
        assert self._process is not None
        return self._process.pid

    def start(self) -> None:
        """Start it, and wait until it answers."""
        options = [part for name, v in self._options.items() for part in (f"--{name}", v)]
        self._process = subprocess.Popen([self._binary, *options])
        deadline = time.monotonic() + 20
        while not self._answers():
            assert self._process.poll() is None, (self._directory / "log").read_text()
            assert time.monotonic() < deadline, "the server does not answer"
            time.sleep(0.005)

    def kill(self) -> None:
        """Kill it, as a crash would; idempotent."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            self._process = None

    def __enter__(self) -> Self:
        try:
            self.start()
        except BaseException:
            self.kill()
            raise
        return self

    def __exit__(self, *raised: object) -> None:
        self.kill()

    def restart(self) -> None:
        """Kill it and start it again on what it had written."""
        self.kill()
        self.start()

    def client(self) -> "redis.Redis":
        """Make a client of its own, to look at it from outside or to do it harm."""
        return redis.Redis(unix_socket_path=os.fspath(self._socket), protocol=2)

    def _answers(self) -> bool:
        try:
            with socket.socket(socket.AF_UNIX) as probe:
                probe.connect(os.fspath(self._socket))
                probe.sendall(b"PING\r\n")
                return probe.recv(64).startswith((b"+PONG", b"-NOAUTH"))
        except OSError:
            return False


class Heard(NamedTuple):
    """Something a subscriber was told."""

    what: str
    mailbox: str
    details: object


class Ear:
    """A subscriber that writes down what it hears, in order."""

    def __init__(self) -> None:
        self.heard: list[Heard] = []

    def published(self, mailbox: str, messages: list[StoredMessage]) -> None:
        """Note messages."""
        self.heard.append(Heard("published", mailbox, messages))

    def acknowledged(
        self, mailbox: str, what: Sequence[MessageId] | MessageId, origin: str
    ) -> None:
        """Note an ack."""
        self.heard.append(Heard("acknowledged", mailbox, (what, origin)))

    def overflowed(self, mailbox: str, overflow: Overflow) -> None:
        """Note an overflow."""
        self.heard.append(Heard("overflowed", mailbox, overflow))

    def joined(self, mailbox: str, device: str, session: str) -> None:
        """Note a device."""
        self.heard.append(Heard("joined", mailbox, (device, session)))

    def interrupted(self) -> None:
        """Note an interruption."""
        self.heard.append(Heard("interrupted", "", None))

    def what(self) -> list[str]:
        """List what was heard, without the details."""
        return [heard.what for heard in self.heard]

    def messages(self, mailbox: str) -> list[MessageId]:
        """List the ids of the messages heard of a mailbox."""
        return [
            message.id
            for heard in self.heard
            if heard.what == "published" and heard.mailbox == mailbox
            for message in _messages(heard.details)
        ]


def _messages(details: object) -> list[StoredMessage]:
    assert isinstance(details, list)
    return details


def entry(
    mailbox: str,
    payload: str = "hello",
    *,
    sender: str = ALICE,
    key: str | None = None,
    ttl: int = 3600,
) -> Entry:
    """Make a delivery."""
    body = message_body(From(did=sender), payload)
    return Entry(mailbox=mailbox, sender=sender, body=body, ttl=ttl, key=key)


async def unread(mailboxes: Mailboxes, mailbox: str) -> list[MessageId]:
    """List the ids of all unread messages, page by page."""
    ids: list[MessageId] = []
    while True:
        after = ids[-1] if ids else START
        page = await mailboxes.read(mailbox, after=after, limit=100)
        ids += [message.id for message in page.messages]
        if page.complete:
            return ids


async def until(condition: Callable[[], Awaitable[bool] | bool]) -> None:
    """Wait until something is so."""
    async with asyncio.timeout(20):
        while True:
            now = condition()
            if now if isinstance(now, bool) else await now:
                return
            await asyncio.sleep(0.01)

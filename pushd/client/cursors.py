"""Where a client keeps its cursor and its unconfirmed acks: on disk, or nowhere.

What is kept may be late: a message handled after the last save comes again, and is acked
again. It must be whole: cursor and acks of one moment, or an ack could be lost behind the
cursor. So a file is replaced at once, after it is safe on the disk.
"""

import asyncio
import os
import tempfile
from contextlib import suppress
from hashlib import sha256
from pathlib import Path
from typing import Protocol

import msgspec
from msgspec import Struct

from pushd.protocol.ledger import Progress


class CursorStore(Protocol):
    """Keeps the progress of identities at servers; an app may bring its own."""

    async def load(self, identity: str, server: str) -> Progress | None:
        """Return what was saved last, None if nothing was.

        Args:
            identity: DID of the mailbox.
            server: Canonical URL.
        """

    async def save(self, identity: str, server: str, progress: Progress) -> None:
        """Keep this instead of what was saved before, whole or not at all."""


class MemoryCursors:
    """Keeps progress as long as the object lives."""

    def __init__(self) -> None:
        self._kept: dict[tuple[str, str], Progress] = {}

    async def load(self, identity: str, server: str) -> Progress | None:
        """Return what was saved last, None if nothing was."""
        return self._kept.get((identity, server))

    async def save(self, identity: str, server: str, progress: Progress) -> None:
        """Keep this instead of what was saved before."""
        self._kept[identity, server] = progress


class _Kept(Struct):
    """What a file holds; whose it is is there for people."""

    identity: str
    server: str
    progress: Progress


_decode = msgspec.json.Decoder(_Kept).decode


class FileCursors:
    """Keeps progress in a directory, a file for each identity and server.

    Args:
        directory: Where, `~` included; it is made if it is not there. No other process
            may use it for the same identity and server.
    """

    def __init__(self, directory: Path | str) -> None:
        self.directory = Path(directory).expanduser()

    async def load(self, identity: str, server: str) -> Progress | None:
        """Return what was saved last, None if nothing was.

        Raises:
            OSError: If the file cannot be read.
            ValueError: If it holds something else; removing it begins anew, at the
                first unread message.
        """
        return await asyncio.to_thread(self._load, self.path(identity, server))

    async def save(self, identity: str, server: str, progress: Progress) -> None:
        """Replace what was saved before.

        Raises:
            OSError: If that cannot be; what was saved before is still there.
        """
        kept = msgspec.json.encode(_Kept(identity, server, progress))
        await asyncio.to_thread(replace, self.path(identity, server), kept)

    def path(self, identity: str, server: str) -> Path:
        """Return the file of an identity at a server."""
        name = sha256(f"{identity}\n{server}".encode()).hexdigest()[:32]
        return self.directory / f"{name}.json"

    def _load(self, path: Path) -> Progress | None:
        try:
            return _decode(path.read_bytes()).progress
        except FileNotFoundError:
            return None
        except msgspec.MsgspecError as error:
            raise ValueError(f"{path} does not hold a cursor: {error}") from error


def replace(path: Path, content: bytes) -> None:
    """Write a file whole or not at all; its directory is made if it is not there.

    Raises:
        OSError: If that cannot be; what was there before still is.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, draft = tempfile.mkstemp(dir=path.parent, prefix=path.stem)
    try:
        with open(handle, "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        os.replace(draft, path)
    except BaseException:  # interrupted too
        with suppress(FileNotFoundError):
            os.unlink(draft)
        raise
    directory = os.open(path.parent, os.O_RDONLY)
    try:
        os.fsync(directory)  # the new name is safe only with its directory
    finally:
        os.close(directory)

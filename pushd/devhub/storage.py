"""Buckets of files in memory, and in a directory as well if they are to last.

The directory is laid out as the disk driver of the Gaia hub does it, so that either can
open what the other wrote: `<bucket>/<path>`, and beside the buckets
`.gaia-metadata/<bucket>/<path>` with the content type.
"""

import os
import time
from collections.abc import Callable
from hashlib import md5
from pathlib import Path
from typing import NamedTuple

import msgspec

from pushd.devhub.errors import BadPathError, DoesNotExist, HubError

MAX_PATH = 4096
"""Characters of a bucket and a path together."""
MAX_LEVELS = 100
"""Levels of a bucket and a path together."""
MAX_SEGMENT = 255
"""Bytes of a name between two slashes; file systems allow no more."""

METADATA = ".gaia-metadata"


class File(NamedTuple):
    """A file as it is kept.

    Attributes:
        content: Its bytes.
        content_type: As its writer declared it.
        modified: Seconds since the epoch.
    """

    content: bytes
    content_type: str
    modified: float

    @property
    def etag(self) -> str:
        """MD5 of the content in hexadecimal; clients must not know that."""
        return md5(self.content, usedforsecurity=False).hexdigest()


class Storage:
    """Files by bucket and path. Thread-safe as far as single calls go.

    Args:
        directory: Where they last; None keeps them in memory only.
        clock: Tells the time of a write, in seconds since the epoch.
    """

    def __init__(
        self, directory: Path | None = None, *, clock: Callable[[], float] = time.time
    ) -> None:
        self._directory = directory
        self._clock = clock
        self._buckets: dict[str, dict[str, File]] = {}
        if directory is not None:
            directory.mkdir(parents=True, exist_ok=True)
            self._load(directory)

    def read(self, bucket: str, path: str) -> File | None:
        """Return a file, None if there is none.

        Raises:
            BadPathError: If no file can have this path.
        """
        return self._buckets.get(bucket, {}).get(normal(bucket, path))

    def write(self, bucket: str, path: str, content: bytes, content_type: str) -> File:
        """Make or replace a file.

        Raises:
            BadPathError: If no file can have this path.
            HubError: If a file is where a directory would have to be, or the reverse.
        """
        path = normal(bucket, path)
        files = self._buckets.setdefault(bucket, {})
        _fit(path, files)
        file = File(content, content_type, self._clock())
        self._keep(bucket, path, file)
        files[path] = file
        return file

    def delete(self, bucket: str, path: str) -> None:
        """Delete a file.

        Raises:
            BadPathError: If no file can have this path.
            DoesNotExist: If there is none.
        """
        self._take(bucket, normal(bucket, path))

    def rename(self, bucket: str, path: str, new: str) -> None:
        """Give a file another path in its bucket, over whatever is there.

        Raises:
            BadPathError: If no file can have one of the paths.
            DoesNotExist: If there is none.
        """
        new = normal(bucket, new)
        file = self._take(bucket, normal(bucket, path))
        self._keep(bucket, new, file)
        self._buckets[bucket][new] = file

    def files(self, bucket: str) -> list[tuple[str, File]]:
        """List paths and files of a bucket, each directory in alphabetical order."""
        files = list(self._buckets.get(bucket, {}).items())
        return sorted(files, key=lambda entry: entry[0].split("/"))

    def size(self, bucket: str) -> int:
        """Return how many bytes all files of a bucket have."""
        return sum(len(file.content) for _, file in self.files(bucket))

    def _take(self, bucket: str, path: str) -> File:
        file = self._buckets.get(bucket, {}).pop(path, None)
        if file is None:
            raise DoesNotExist("File does not exist")
        if self._directory is not None:
            for root in (self._directory, self._directory / METADATA):
                _remove(root / bucket / path, root)
        return file

    def _keep(self, bucket: str, path: str, file: File) -> None:
        if self._directory is None:
            return
        content = self._directory / bucket / path
        metadata = self._directory / METADATA / bucket / path
        for place in (content, metadata):
            place.parent.mkdir(parents=True, exist_ok=True)
        content.write_bytes(file.content)
        os.utime(content, (file.modified, file.modified))
        about = {"content-type": file.content_type, "etag": file.etag}
        metadata.write_bytes(msgspec.json.encode(about))

    def _load(self, directory: Path) -> None:
        for metadata in sorted((directory / METADATA).rglob("*")):
            bucket, *segments = metadata.relative_to(directory / METADATA).parts
            path = "/".join(segments)
            content = directory / bucket / path
            if not metadata.is_file() or not content.is_file():
                continue  # a directory, or a file whose deletion was cut short
            about = msgspec.json.decode(metadata.read_bytes(), type=dict[str, str])
            file = File(
                content.read_bytes(), about["content-type"], content.stat().st_mtime
            )
            self._buckets.setdefault(bucket, {})[path] = file


def normal(bucket: str, path: str) -> str:
    """Return the one spelling of a path: without empty segments and single dots.

    Raises:
        BadPathError: If it has two dots anywhere, ends with a slash, or is too long or
            too deep.
        HubError: If a file system would not take it.
    """
    if ".." in path or path.endswith("/"):
        raise BadPathError("Invalid Path")
    segments = [segment for segment in path.split("/") if segment not in ("", ".")]
    plain = "/".join(segments)
    if len(bucket) + 1 + len(plain) > MAX_PATH:
        raise BadPathError("Path is too long")
    if 1 + len(segments) > MAX_LEVELS:
        raise BadPathError("Path is too deep")
    if not segments or "\0" in plain:
        raise HubError
    if any(len(segment.encode()) > MAX_SEGMENT for segment in segments):
        raise HubError
    return plain


def _fit(path: str, files: dict[str, File]) -> None:
    """Check that a path neither leads through a file nor names a directory.

    Raises:
        HubError: If it does.
    """
    segments = path.split("/")
    above = ("/".join(segments[:depth]) for depth in range(1, len(segments)))
    if any(place in files for place in above):
        raise HubError
    if any(other.startswith(f"{path}/") for other in list(files)):
        raise HubError


def _remove(place: Path, root: Path) -> None:
    """Remove a file, and the directories below `root` that are empty then."""
    place.unlink()
    for directory in place.parents:
        if directory == root or any(directory.iterdir()):
            return
        directory.rmdir()

"""What the operator of a hub may set, and the count of writes to each bucket."""

from collections import deque
from collections.abc import Callable, Collection
from dataclasses import dataclass

from pushd.devhub.errors import Throttled

MEGABYTE = 1024 * 1024


@dataclass(frozen=True)
class Limits:
    """What an operator may set; the defaults are those of the real hub.

    Attributes:
        max_file_megabytes: The largest file.
        page_size: Files of one page of list-files.
        writes_per_second: Writes and deletions of one bucket within a second before it
            is answered 429; None: any number. The public hub had 20.
        max_bucket_bytes: Bytes of a bucket above which each write is answered 429, as
            the public hub did from 2019 on; None: any number.
        proofs_required: Whether writing needs a profile with social proofs, which nobody
            has: each write is answered 402.
        whitelist: Addresses that may write, or vouch for others; None: all.
        require_hub_url: Whether a token must name this hub in its claim `hubUrl`.
    """

    max_file_megabytes: float = 20
    page_size: int = 100
    writes_per_second: int | None = None
    max_bucket_bytes: int | None = None
    proofs_required: bool = False
    whitelist: Collection[str] | None = None
    require_hub_url: bool = False

    @property
    def max_file(self) -> int:
        """Bytes of the largest file."""
        return int(self.max_file_megabytes * MEGABYTE)


class Throttle:
    """Counts the writes to each bucket, as the proxy before a hub does.

    Args:
        limits: How many, and how much.
        size: Tells how many bytes are in a bucket.
        clock: Tells seconds since the epoch.
    """

    def __init__(
        self, limits: Limits, size: Callable[[str], int], clock: Callable[[], float]
    ) -> None:
        self._limits = limits
        self._size = size
        self._clock = clock
        self._writes: dict[str, deque[float]] = {}

    def count(self, bucket: str) -> None:
        """Count a write.

        Raises:
            Throttled: If it is one too many, or the bucket has too much already.
        """
        most = self._limits.max_bucket_bytes
        if most is not None and self._size(bucket) > most:
            raise Throttled
        if self._limits.writes_per_second is None:
            return
        now = self._clock()
        writes = self._writes.setdefault(bucket, deque())
        while writes and writes[0] <= now - 1:
            writes.popleft()
        if len(writes) >= self._limits.writes_per_second:
            raise Throttled
        writes.append(now)

"""The places sources ask, as a table of URLs; and a clock that stands until it is set."""

from collections.abc import Collection, Mapping

from pushd.resolvers.fetch import JSON_TYPES, Fetcher, FetchFailed

NOW = 1795348800.0


class Clock:
    """Tells the time that was set.

    Attributes:
        now: Unix seconds.
    """

    def __init__(self) -> None:
        self.now = NOW

    def __call__(self) -> float:
        """Return Unix seconds."""
        return self.now


class Places(Fetcher):
    """Answers from a table, and notes what was asked for.

    Attributes:
        table: What lies where; nothing lies at other URLs, and of an error the host is
            down.
        asked: The URLs that were asked for.
        plain_hosts: Where http is good enough, as `host:port`.
    """

    def __init__(
        self,
        table: Mapping[str, bytes | FetchFailed] = {},
        *,
        plain_hosts: Collection[str] = (),
    ) -> None:
        self.table = dict(table)
        self.asked: list[str] = []
        self.plain_hosts = plain_hosts

    def plain(self, host_port: str) -> bool:
        """Tell whether http is good enough."""
        return host_port in self.plain_hosts

    async def get(
        self,
        url: str,
        *,
        limit: int = 65536,
        seconds: float = 3.0,
        types: Collection[str] = JSON_TYPES,
    ) -> bytes | None:
        """Return what lies there."""
        self.asked.append(url)
        found = self.table.get(url)
        if isinstance(found, FetchFailed):
            raise found
        if found is not None and len(found) > limit:
            raise FetchFailed("size")
        return found

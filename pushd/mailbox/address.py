"""Where the store is, read from its URL."""

import ssl
from dataclasses import dataclass
from typing import Any, cast

from redis.asyncio.connection import parse_url

from pushd.errors import ConfigurationError


@dataclass(frozen=True)
class Address:
    """Where the store is, and who we are there. Shown without the password."""

    url: str
    path: str | None
    host: str
    port: int
    db: int
    username: str | None
    password: str | None
    tls: ssl.SSLContext | None

    @classmethod
    def parse(cls, url: str) -> "Address":
        """Read a `redis://`, `rediss://` or `unix://` URL.

        Raises:
            ConfigurationError: If it is none of them.
        """
        try:
            parts = cast(dict[str, Any], parse_url(url))
            db = int(parts.get("db") or 0)
        except (ValueError, TypeError):
            raise ConfigurationError(
                "The store's URL is redis://host:port/db, rediss://... for TLS, or"
                " unix:///path/to/socket; set PUSHD_REDIS_URL."
            ) from None
        return cls(
            url=url,
            path=parts.get("path"),
            host=parts.get("host") or "127.0.0.1",
            port=parts.get("port") or 6379,
            db=db,
            username=parts.get("username"),
            password=parts.get("password"),
            tls=_tls(parts) if url.startswith("rediss:") else None,
        )

    def __str__(self) -> str:
        return self.path or f"{self.host}:{self.port}"


def _tls(parts: dict[str, Any]) -> ssl.SSLContext:
    """Verify the store's certificate, unless the URL says `ssl_cert_reqs=none`."""
    context = ssl.create_default_context(cafile=parts.get("ssl_ca_certs"))
    if parts.get("ssl_cert_reqs") == "none":
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    return context

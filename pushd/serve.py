"""Run a server from its settings: claim the port, keep the store, serve, stop in order.

One worker serves in this very process (`worker.py`); several run below it
(`workers.py`). In either case the process that was started owns the embedded store, and
stops it last, when nobody needs it any more.
"""

import asyncio
import logging
import socket
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from urllib.parse import urlsplit

from pushd import logs, metrics, ports
from pushd.mailbox.embedded import EmbeddedStore
from pushd.settings import Settings
from pushd.worker import GRACE, Started, run, stoppable
from pushd.workers import Workers

log = logging.getLogger("pushd.serve")


def serve(environ: Mapping[str, str]) -> None:
    """Serve until SIGTERM or SIGINT, and drain; a second signal hurries.

    Args:
        environ: The settings, as the environment has them.

    Raises:
        ConfigurationError: If the settings, the port or the store will not do.
    """
    settings = Settings.read(environ)
    logs.configure(settings.log_format, level=settings.log_level)
    with stoppable(), ports.claim(settings.host, settings.port) as listener:
        environ = {**environ, "PUSHD_PORT": str(listener.getsockname()[1])}
        settings = Settings.read(environ)
        started = partial(announce, settings, ports.url(listener))
        with store(settings) as store_url:
            if settings.workers == 1:
                run(settings, store_url, listener, started=started)
            else:
                environ["PUSHD_REDIS_URL"] = store_url
                supervise(settings, environ, listener, started=started)
    log.info("stopped")


@contextmanager
def store(settings: Settings) -> Iterator[str]:
    """Keep the embedded store running if no other is set; yield the store's URL.

    Raises:
        ConfigurationError: If another server has the data directory.
    """
    if settings.redis_url is not None:
        yield settings.redis_url
        return
    embedded = EmbeddedStore(settings.data_dir)
    try:
        yield embedded.start()
    finally:
        embedded.stop()


def supervise(
    settings: Settings,
    environ: Mapping[str, str],
    listener: socket.socket,
    *,
    started: Started,
) -> None:
    """Serve in processes below this one until a signal.

    Args:
        settings: Say how many workers and how long they drain.
        environ: The settings, for the workers to read.
        listener: The claimed address.
        started: Called once the first worker serves.

    Raises:
        ConfigurationError: If the store is not what the settings ask for.
    """

    async def main(counts: str) -> None:
        workers = Workers(
            settings.workers,
            {**environ, metrics.SHARED: counts},
            drain=settings.notice_seconds + settings.drain_seconds + GRACE,
            started=started,
            ended=partial(metrics.forget_sessions, directory=Path(counts)),
        )
        await workers.run(listener)

    with TemporaryDirectory(prefix="pushd-metrics-") as counts:
        asyncio.run(main(counts))


def announce(settings: Settings, listener_url: str) -> None:
    """Log what now serves whom, from where, and how well it keeps things."""
    log.info(
        "serving",
        extra={
            "address": listener_url,
            "public_url": settings.public_url,
            "store": where(settings),
            "durability": settings.durability,
            "workers": settings.workers,
        },
    )


def where(settings: Settings) -> str:
    """Tell where the mailboxes are, and nothing that could be a password."""
    if settings.redis_url is None:
        return f"embedded in {settings.data_dir}"
    parts = urlsplit(settings.redis_url)
    place = parts.path if parts.scheme == "unix" else parts.hostname
    return f"{parts.scheme}://{place}"

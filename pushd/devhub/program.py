"""The hub as a program: one process that serves until it is told to stop."""

from contextlib import suppress
from socket import socket

import uvicorn

from pushd import ports
from pushd.devhub.app import DevHub


def greeting(hub: DevHub) -> str:
    """Say where everything is, and what a server must be told to look there for names."""
    host_port = hub.url.partition("://")[2]
    return "\n".join(
        (
            f"The hub for development is at {hub.url}, for this machine and for tests.",
            "",
            f"    write    {hub.url}/store/<address>/<path>",
            f"    read     {hub.read_url}<address>/<path>",
            f"    names    {hub.url}/v1/names/<name>",
            f"    new ones {hub.url}/dev/names/<name>",
            "",
            "Its names count for a server or a client that has these variables:",
            "",
            f"    PUSHD_NAMES_API={hub.url}",
            f"    PUSHD_BNS_API={hub.url}/bns",
            f"    PUSHD_DEV_HOSTS={host_port}",
            "",
            "Ctrl-C stops it.",
        )
    )


def serve(hub: DevHub, listener: socket) -> None:
    """Serve a hub until SIGTERM or SIGINT."""
    with suppress(KeyboardInterrupt):
        uvicorn.Server(config(hub)).run(sockets=[listener])


def config(hub: DevHub) -> uvicorn.Config:
    """Return how uvicorn serves a hub."""
    return uvicorn.Config(
        hub.app,
        ws="none",
        lifespan="off",
        log_config=None,
        access_log=False,
        backlog=ports.BACKLOG,
        timeout_graceful_shutdown=1,
    )

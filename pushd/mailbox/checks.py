"""What a store must be before mailboxes are trusted to it, checked at every connection.

Each refusal is a sentence that says what to set, for whoever runs the server.
"""

from typing import Literal

import hiredis

from pushd.errors import ConfigurationError
from pushd.mailbox.connection import Connection, Unavailable, pairs
from pushd.mailbox.functions import LIMITS, MAILBOXES, Library
from pushd.mailbox.translation import TAILS, TICK

OLDEST = (7, 0)

Durability = Literal["memory", "fsync", "replicated"]
"""What an accepted message survives; each level holds the one before too."""


class NotPrimary(Unavailable):
    """It is a replica, at the moment: the primary is another one, or will be it."""


async def check(
    connection: Connection, *, durability: Durability, cluster: bool, home: str
) -> None:
    """Check a fresh connection, and load the functions if they are not there.

    Args:
        connection: To the store.
        durability: What accepted messages have to survive.
        cluster: Whether it is one of a Cluster's primaries.
        home: A key there that is nobody's, to try the functions on.

    Raises:
        ConfigurationError: If the store cannot keep what is promised.
        NotPrimary: If it is a replica, at the moment.
        Unavailable: If it is out of memory.
        hiredis.ReplyError: If it refuses a question.
    """
    info = _parse(await connection.command("INFO"))
    _check_version(info)
    _check_mode(info, cluster=cluster)
    _check_role(info)
    _check_eviction(info)
    if durability != "memory":
        await _check_fsync(connection, info, durability)
    for library in (MAILBOXES, LIMITS):
        await _load(connection, library)
    await _probe(connection, home)


def _parse(text: bytes) -> dict[str, str]:
    lines = text.decode().splitlines()
    return dict(line.split(":", 1) for line in lines if ":" in line)


def _check_version(info: dict[str, str]) -> None:
    version = info.get("redis_version", "0")
    numbers = tuple(int(part) for part in version.split(".")[:2] if part.isdigit())
    if numbers < OLDEST:
        raise ConfigurationError(
            f"The store is version {version}; pushd needs Valkey or Redis 7.0 or newer."
        )


def _check_mode(info: dict[str, str], *, cluster: bool) -> None:
    if (info.get("cluster_enabled") == "1") is not cluster:
        what, scheme = ("no", "redis://") if cluster else ("a", "redis+cluster://")
        raise ConfigurationError(
            f"The store is {what} Cluster; let PUSHD_REDIS_URL begin with {scheme}."
        )


def _check_role(info: dict[str, str]) -> None:
    if info.get("role") != "master":
        raise NotPrimary("The store is a replica; it is used once it is the primary.")


def _check_eviction(info: dict[str, str]) -> None:
    policy = info.get("maxmemory_policy")
    if policy != "noeviction":
        raise ConfigurationError(
            f"The store's maxmemory-policy is {policy}, so it would delete mailboxes when"
            " memory runs out; set maxmemory-policy noeviction in its configuration."
        )


async def _check_fsync(
    connection: Connection, info: dict[str, str], durability: Durability
) -> None:
    """Refuse a store that answers before what it was told is on disk."""
    remedy = (
        "set appendonly yes and appendfsync always in the store's configuration, or"
        " PUSHD_DURABILITY=memory to promise less"
    )
    if info.get("aof_enabled") != "1":
        raise ConfigurationError(
            f"PUSHD_DURABILITY is {durability}, but the store keeps no append-only file:"
            f" {remedy}."
        )
    try:
        reply = await connection.command("CONFIG", "GET", "appendfsync")
    except hiredis.ReplyError:
        raise ConfigurationError(
            f"PUSHD_DURABILITY is {durability}, but the store does not let pushd see"
            " whether it keeps that: permit CONFIG GET, or set PUSHD_DURABILITY=memory."
        ) from None
    policy = pairs(reply).get(b"appendfsync", b"unknown").decode()
    if policy != "always":
        raise ConfigurationError(
            f"PUSHD_DURABILITY is {durability}, but the store's appendfsync is {policy}:"
            f" {remedy}."
        )


async def _load(connection: Connection, library: Library) -> None:
    """Load a library if the store has none of this name, or something else by it."""
    known = await connection.command(
        "FUNCTION", "LIST", "LIBRARYNAME", library.name, "WITHCODE"
    )
    code = library.code.encode()
    if any(pairs(entry).get(b"library_code") == code for entry in known):
        return
    try:
        await connection.command("FUNCTION", "LOAD", "REPLACE", library.code)
    except hiredis.ReplyError as error:
        if str(error).startswith("OOM"):
            raise Unavailable("The store is out of memory.") from None
        raise


async def _probe(connection: Connection, home: str) -> None:
    """Call functions, for what they do needs permissions of its own."""
    for function, arguments in ((TICK, ("0",)), (TAILS, ())):
        await connection.command("FCALL", function, 1, home, *arguments)

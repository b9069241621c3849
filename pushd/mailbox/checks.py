"""What a store must be before mailboxes are trusted to it, checked at every connection.

Each refusal is a sentence that says what to set, for whoever runs the server.
"""

from importlib.resources import files
from typing import Any

import hiredis

from pushd.errors import ConfigurationError
from pushd.mailbox.connection import Connection, Unavailable

OLDEST = (7, 0)
LIBRARY = "pushd_v3"
"""Name of the library of mailboxes, and prefix of its functions. Two releases share a store
as long as they agree on it: a change of what a function takes, answers or keeps changes the
number."""
LIMITS = "pushd_limits_v1"
"""Name of the library that counts for the rate limits, likewise."""

_FILES = {LIBRARY: "functions.lua", LIMITS: "limits.lua"}

DURABILITIES = ("memory", "fsync")


def code_of(library: str) -> str:
    """Read a library of functions that ships with this release."""
    return files("pushd.mailbox").joinpath(_FILES[library]).read_text("utf-8")


async def check(connection: Connection, durability: str) -> None:
    """Check a fresh connection, and load the functions if they are not there.

    Args:
        connection: To the store.
        durability: What accepted messages have to survive.

    Raises:
        ConfigurationError: If the store cannot keep what is promised.
        Unavailable: If it is a replica, at the moment.
        hiredis.ReplyError: If it refuses a question.
    """
    info = _parse(await connection.command("INFO"))
    _check_version(info)
    _check_role(info)
    _check_eviction(info)
    if durability == "fsync":
        await _check_fsync(connection, info)
    for library in _FILES:
        await _load(connection, library)
    await _probe(connection)


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


def _check_role(info: dict[str, str]) -> None:
    if info.get("cluster_enabled") == "1":
        raise ConfigurationError(
            "The store is a Cluster; this release of pushd keeps its mailboxes on one"
            " primary, so set PUSHD_REDIS_URL to a store that is not in cluster mode."
        )
    if info.get("role") != "master":
        raise Unavailable("The store is a replica; it is used once it is the primary.")


def _check_eviction(info: dict[str, str]) -> None:
    policy = info.get("maxmemory_policy")
    if policy != "noeviction":
        raise ConfigurationError(
            f"The store's maxmemory-policy is {policy}, so it would delete mailboxes when"
            " memory runs out; set maxmemory-policy noeviction in its configuration."
        )


async def _check_fsync(connection: Connection, info: dict[str, str]) -> None:
    """Refuse a store that answers before what it was told is on disk."""
    remedy = (
        "set appendonly yes and appendfsync always in the store's configuration, or"
        " PUSHD_DURABILITY=memory to promise less"
    )
    if info.get("aof_enabled") != "1":
        raise ConfigurationError(
            f"PUSHD_DURABILITY is fsync, but the store keeps no append-only file: {remedy}."
        )
    try:
        reply = await connection.command("CONFIG", "GET", "appendfsync")
    except hiredis.ReplyError:
        raise ConfigurationError(
            "PUSHD_DURABILITY is fsync, but the store does not let pushd see whether it"
            " keeps that: permit CONFIG GET, or set PUSHD_DURABILITY=memory."
        ) from None
    policy = _pairs(reply).get(b"appendfsync", b"unknown").decode()
    if policy != "always":
        raise ConfigurationError(
            f"PUSHD_DURABILITY is fsync, but the store's appendfsync is {policy}: {remedy}."
        )


def _pairs(reply: Any) -> dict[bytes, bytes]:
    """Read a map, which an old protocol gives as a flat list."""
    if isinstance(reply, dict):
        return reply
    return dict(zip(reply[::2], reply[1::2], strict=True))


async def _load(connection: Connection, library: str) -> None:
    """Load a library if the store has none of this name, or another."""
    code = code_of(library)
    known = await connection.command("FUNCTION", "LIST", "LIBRARYNAME", library, "WITHCODE")
    if any(_pairs(entry).get(b"library_code") == code.encode() for entry in known):
        return
    try:
        await connection.command("FUNCTION", "LOAD", "REPLACE", code)
    except hiredis.ReplyError as error:
        if str(error).startswith("OOM"):
            raise Unavailable("The store is out of memory.") from None
        raise


async def _probe(connection: Connection) -> None:
    """Call functions, for what they do needs permissions of its own."""
    for function, arguments in (("tick", ("0",)), ("tails", ())):
        await connection.command(
            "FCALL", f"{LIBRARY}_{function}", 1, "pushd:{probe}", *arguments
        )

"""Asking the places where it is told who a name is, and what each kind of silence means.

A source's own API is trusted: what it should not say means that it is out of order. A
user's place is not: what does not verify there proves nothing. Why one did not answer is
told to the log alone, as the one who asks may have chosen the place.
"""

import logging
from collections.abc import Collection, Sequence
from typing import TypeVar

import msgspec

from pushd.errors import BadRequest, ResolverUnavailable, Unproven
from pushd.identity.contact import MAX_SERVER, MAX_SERVERS
from pushd.identity.documents import MAX_DOCUMENT
from pushd.identity.keys import BTC_ADDR, PublicKey
from pushd.identity.names import bucket_address
from pushd.resolvers.fetch import JSON_TYPES, Fetcher, FetchFailed

log = logging.getLogger(__name__)

T = TypeVar("T")


async def ask_api(fetcher: Fetcher, url: str, shape: type[T], *, nothing: str) -> T:
    """Ask a names API.

    Args:
        fetcher: The way out.
        url: What to ask for.
        shape: What it answers.
        nothing: What it means if it answers that there is nothing; a sentence.

    Raises:
        Unproven: If there is nothing.
        ResolverUnavailable: If it does not answer, or anything else.
    """
    data = await fetch(fetcher, url)
    if data is None:
        raise Unproven(nothing)
    try:
        return msgspec.json.decode(data, type=shape)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        _note(url, "shape")
        raise ResolverUnavailable(
            "A name cannot be looked up: its source does not answer as it should."
        ) from None


async def fetch(
    fetcher: Fetcher,
    url: str,
    *,
    limit: int = MAX_DOCUMENT,
    types: Collection[str] = JSON_TYPES,
) -> bytes | None:
    """Fetch a file; None if there is none.

    Raises:
        ResolverUnavailable: If nobody can tell.
    """
    try:
        return await fetcher.get(url, limit=limit, types=types)
    except FetchFailed as error:
        _note(url, error.reason)
        raise ResolverUnavailable(
            "A name cannot be looked up: a place where it is told does not answer."
        ) from None


def _note(url: str, reason: str) -> None:
    """Tell the operator who asks for it which host did not answer, and why."""
    host = url.partition("://")[2].partition("/")[0].rpartition("@")[2]
    log.debug("no answer on the way from a name", extra={"host": host, "reason": reason})


def bucket_of(key: PublicKey, url: str) -> str:
    """Return the URL of a key's own bucket, with a slash at the end.

    Raises:
        Unproven: If it is no bucket's, or another key's.
    """
    try:
        owner = BTC_ADDR + bucket_address(url)
    except BadRequest as error:
        raise Unproven(error.detail) from None
    if owner != key.did:
        raise Unproven("The bucket's address is not the hash of the key.")
    return url if url.endswith("/") else f"{url}/"


def listed_servers(servers: Sequence[str]) -> tuple[str, ...]:
    """Return message servers as they are listed, if that is no more than may be.

    Raises:
        Unproven: If there are too many, or one is too long.
    """
    if len(servers) > MAX_SERVERS or any(len(server) > MAX_SERVER for server in servers):
        raise Unproven(
            f"The message servers are more than {MAX_SERVERS}, or one has more than"
            f" {MAX_SERVER} characters."
        )
    return tuple(servers)

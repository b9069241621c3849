"""What is asked of a hub: the places in URLs, bodies of JSON, and what cannot be one."""

import re
from typing import Any, NamedTuple
from urllib.parse import unquote_to_bytes

import msgspec
from starlette.exceptions import HTTPException
from starlette.requests import Request

from pushd.devhub.errors import NothingHere

MAX_JSON = 4096
"""Bytes of a body that is JSON."""

_BAD_ESCAPE = re.compile(rb"%(?![0-9A-Fa-f]{2})")


class Place(NamedTuple):
    """Where a file is, or is to be.

    Attributes:
        bucket: An address.
        path: As it stands in the URL, escapes decoded.
    """

    bucket: str
    path: str


def read_place(pattern: re.Pattern[bytes], request: Request) -> Place:
    """Return the bucket and the path in a request's URL.

    Args:
        pattern: Matches the URL's path as it was sent; its groups are the two.
        request: The request.

    Raises:
        NothingHere: If these are not there.
        HTTPException: With status 400, if the path has an escape that is none, or is not
            UTF-8.
    """
    match = pattern.fullmatch(request.scope["raw_path"])
    if match is None:
        raise NothingHere
    bucket, path = match.groups()
    try:
        if _BAD_ESCAPE.search(path):
            raise ValueError
        return Place(bucket.decode(), unquote_to_bytes(path).decode().removesuffix("/"))
    except ValueError:
        raise HTTPException(400, "Failed to decode param") from None


def read_bucket(pattern: re.Pattern[bytes], request: Request) -> str:
    """Return the bucket in a request's URL, whatever comes behind it.

    Args:
        pattern: Matches where the URL's path begins; its group is the bucket.
        request: The request.

    Raises:
        NothingHere: If there is none.
    """
    match = pattern.match(request.scope["raw_path"])
    if match is None:
        raise NothingHere
    return match[1].decode()


async def read_json(request: Request) -> dict[str, Any]:
    """Return the members of a body of JSON; none of a body that is anything else.

    Raises:
        HTTPException: With status 413 if it is too long, 400 if it is no JSON object or
            array and says it is JSON.
    """
    body = bytearray()
    async for chunk in request.stream():
        body += chunk
        if len(body) > MAX_JSON:
            raise HTTPException(413, "request entity too large")
    kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if kind != "application/json" or not body:
        return {}
    try:
        read = msgspec.json.decode(bytes(body))
    except (msgspec.DecodeError, RecursionError):
        raise HTTPException(400, "this is not JSON") from None
    if not isinstance(read, dict | list):
        raise HTTPException(400, "this is not a JSON object")
    return read if isinstance(read, dict) else {}

"""The write half of a Gaia hub: hub_info, store, delete, list-files, revoke-all.

Checks come in the order of hub 2.8.1, so that a request with two faults is refused for
the same one here and there.
"""

import re
import secrets
import string
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from starlette.requests import ClientDisconnect, Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from pushd.devhub.asked import Place, read_bucket, read_json, read_place
from pushd.devhub.errors import (
    ConflictError,
    HubError,
    NotEnoughProofError,
    PayloadTooLargeError,
    PreconditionFailedError,
    ValidationError,
)
from pushd.devhub.limits import Limits, Throttle
from pushd.devhub.storage import File, Storage
from pushd.devhub.tokens import Scopes, TokenRules, challenge

MAX_CONTENT_TYPE = 1024
"""Characters of a content type."""
HISTORY = ".history."
"""What the names of renamed files begin with, where nothing may be lost."""

_FILE = re.compile(rb"/(?:store|delete)/([a-zA-Z0-9]+)/(.+)", re.DOTALL)
_BUCKET = re.compile(rb"/(?:list-files|revoke-all)/([a-zA-Z0-9]+)")


class Gaia:
    """The routes of the write half.

    Args:
        storage: Where the files are.
        rules: What it wants of tokens.
        limits: What else it wants.
        read_url: Where the read half serves the files, with a slash at the end.
        clock: Tells seconds since the epoch.
    """

    def __init__(
        self,
        storage: Storage,
        rules: TokenRules,
        *,
        limits: Limits,
        read_url: str,
        clock: Callable[[], float],
    ) -> None:
        self._storage = storage
        self._rules = rules
        self._limits = limits
        self._read_url = read_url
        self._clock = clock
        self._busy: set[Place] = set()
        self._throttle = Throttle(limits, storage.size, clock)
        self.routes = [
            Route("/hub_info", self._hub_info),
            Route("/hub_info/", self._hub_info),
            Route("/store/{file:path}", self._store, methods=["POST"]),
            Route("/delete/{file:path}", self._delete, methods=["DELETE"]),
            Route("/list-files/{bucket:path}", self._list_files, methods=["POST"]),
            Route("/revoke-all/{bucket:path}", self._revoke_all, methods=["POST"]),
        ]

    async def _hub_info(self, request: Request) -> Response:
        return JSONResponse(
            {
                "challenge_text": challenge(self._rules.server),
                "latest_auth_version": "v1",
                "max_file_upload_size_megabytes": self._limits.max_file_megabytes,
                "read_url_prefix": self._read_url,
            }
        )

    # --- writing ---------------------------------------------------------------------

    async def _store(self, request: Request) -> Response:
        place = read_place(_FILE, request)
        self._throttle.count(place.bucket)
        with self._alone(place, "store"):
            scopes = self._check(request, place.bucket)
            _allow(scopes, "putFile", place)
            self._check_preconditions(request, place)
            self._require_proofs(place)
            self._check_length(request)
            if scopes.archival and self._storage.read(*place) is not None:
                self._storage.rename(*place, self._history(place.path))
            content = await self._content(request)
            content_type = request.headers.get("content-type", "application/octet-stream")
            if len(content_type) > MAX_CONTENT_TYPE:
                raise HubError
            file = self._storage.write(*place, content, content_type)
        url = f"{self._read_url}{place.bucket}/{place.path}"
        return JSONResponse({"publicURL": url, "etag": file.etag}, status_code=202)

    async def _delete(self, request: Request) -> Response:
        place = read_place(_FILE, request)
        self._throttle.count(place.bucket)
        with self._alone(place, "delete"):
            scopes = self._check(request, place.bucket)
            _allow(scopes, "deleteFile", place)
            self._require_proofs(place)
            if scopes.archival:
                self._storage.rename(*place, self._history(place.path))
            else:
                self._storage.delete(*place)
        return Response(status_code=202)

    @contextmanager
    def _alone(self, place: Place, what: str) -> Iterator[None]:
        """Keep others from the place meanwhile, even those who may not write there."""
        if place in self._busy:
            where = f"{place.bucket}/{place.path}"
            raise ConflictError(f"Concurrent operation ({what}) attempted on {where}")
        self._busy.add(place)
        try:
            yield
        finally:
            self._busy.remove(place)

    def _require_proofs(self, place: Place) -> None:
        # Only a profile in a directory passes without, not the one wallets write. The
        # real hub means the other one, and gets it wrong.
        if self._limits.proofs_required and not place.path.endswith("/profile.json"):
            raise NotEnoughProofError("Error fetching and verifying social proofs")

    def _check_preconditions(self, request: Request, place: Place) -> None:
        if_match = request.headers.get("if-match")
        if_none_match = request.headers.get("if-none-match")
        if if_match and if_none_match:
            raise PreconditionFailedError(
                "Request should not contain both if-match and if-none-match headers"
            )
        if if_none_match and if_none_match != "*":
            raise PreconditionFailedError(
                "Misuse of the if-none-match header. Expected to be * on write requests."
            )
        if if_match and if_match != "*":
            file = self._storage.read(*place)
            if file is None or file.etag != if_match:
                raise PreconditionFailedError(
                    "The provided ETag does not match that of the resource on the server"
                )
        if if_none_match and self._storage.read(*place) is not None:
            raise PreconditionFailedError(
                "The entity you are trying to create already exists"
            )

    def _check_length(self, request: Request) -> None:
        declared = request.headers.get("content-length", "")
        if declared.isdecimal() and int(declared) > self._limits.max_file:
            raise self._too_large("Content-Length", int(declared))

    async def _content(self, request: Request) -> bytes:
        content = bytearray()
        try:
            async for chunk in request.stream():
                content += chunk
                if len(content) > self._limits.max_file:
                    raise self._too_large("POST body stream", len(content))
        except ClientDisconnect:
            raise HubError from None  # nobody reads it
        return bytes(content)

    def _too_large(self, what: str, size: int) -> PayloadTooLargeError:
        return PayloadTooLargeError(
            f"Max file upload size is {self._limits.max_file_megabytes} megabytes."
            f" Rejected {what} of {size} bytes"
        )

    def _history(self, path: str) -> str:
        directory, slash, name = path.rpartition("/")
        letters = string.digits + string.ascii_letters
        unique = "".join(secrets.choice(letters) for _ in range(10))
        milliseconds = int(self._clock() * 1000)
        return f"{directory}{slash}{HISTORY}{milliseconds}.{unique}.{name}"

    # --- the bucket as a whole -------------------------------------------------------

    async def _list_files(self, request: Request) -> Response:
        bucket = read_bucket(_BUCKET, request)
        asked = await read_json(request)
        # Any scopes will do: the names of all files show, as they do on the real hub.
        scopes = self._check(request, bucket)
        files = self._storage.files(bucket)
        number = _page(asked.get("page")) if files else 0
        first = number * self._limits.page_size
        page = files[first : first + self._limits.page_size]
        # Once there is a second page the disk driver calls none the last: a client has to
        # stop at an empty one, too.
        following = None if len(page) == len(files) else str(number + 1)
        stat = bool(asked.get("stat"))
        entries: list[Any] = [
            _stat(path, file) if stat else path
            for path, file in page
            if not (scopes.archival and _is_history(path))
        ]
        if page and not entries and following is not None:
            entries = [None]  # so that it is not taken for an empty page
        return JSONResponse({"entries": entries, "page": following}, status_code=202)

    async def _revoke_all(self, request: Request) -> Response:
        bucket = read_bucket(_BUCKET, request)
        asked = await read_json(request)
        if not asked.get("oldestValidTimestamp"):
            return _bad_json("missing oldestValidTimestamp")
        match = re.match(r"\s*\+?(\d+)", str(asked["oldestValidTimestamp"]), re.ASCII)
        if match is None:
            return _bad_json("oldestValidTimestamp is not a valid integer")
        # Neither scopes nor an earlier revocation are looked at: whoever holds any token
        # may lock the owner out. The real hub lets them.
        self._rules.check(_authorization(request), bucket, oldest=0, now=self._clock())
        before, oldest = self._oldest(bucket), _int32(int(match[1]))
        if before == 0 or before <= oldest:
            self._storage.write(
                f"{bucket}-auth",
                "authTimestamp",
                str(oldest).encode(),
                "text/plain; charset=UTF-8",
            )
        return JSONResponse({"status": "success"}, status_code=202)

    def _check(self, request: Request, bucket: str) -> Scopes:
        return self._rules.check(
            _authorization(request),
            bucket,
            oldest=self._oldest(bucket),
            now=self._clock(),
        )

    def _oldest(self, bucket: str) -> int:
        """Return since when the tokens of a bucket count; its readers see that, too."""
        file = self._storage.read(f"{bucket}-auth", "authTimestamp")
        return 0 if file is None else int(file.content)


def _authorization(request: Request) -> str:
    header: str = request.headers.get("authorization", "")
    return header


def _allow(scopes: Scopes, verb: str, place: Place) -> None:
    """Check a verb against the scopes, those that keep history first.

    Raises:
        ValidationError: If they do not allow it.
    """
    if not scopes.allow("putFileArchival", place.path):
        raise ValidationError(
            f"Address {place.bucket} not authorized to modify {place.path} by scopes"
        )
    if not scopes.allow(verb, place.path):
        what = {"putFile": "write to", "deleteFile": "delete from"}[verb]
        raise ValidationError(
            f"Address {place.bucket} not authorized to {what} {place.path} by scopes"
        )


def _bad_json(what: str) -> Response:
    return JSONResponse({"message": f"Invalid JSON: {what}"}, status_code=400)


def _page(marker: Any) -> int:
    """Return the number of a page; without a marker the first.

    Raises:
        HubError: If it is no marker of this hub.
    """
    if not marker:
        return 0
    if not re.fullmatch(r"[0-9]+", str(marker)):
        raise HubError
    return int(str(marker))


def _stat(path: str, file: File) -> dict[str, Any]:
    return {
        "exists": True,
        "etag": file.etag,
        "contentLength": len(file.content),
        "contentType": file.content_type,
        "lastModifiedDate": round(file.modified),
        "name": path,
    }


def _is_history(path: str) -> bool:
    return path.rpartition("/")[2].startswith(HISTORY)


def _int32(number: int) -> int:
    """Keep the 32 bits that the real hub keeps; from 2038 on it will revoke nothing."""
    return (number + 2**31) % 2**32 - 2**31

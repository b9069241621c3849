"""A Gaia hub in memory, in which a test can plan what goes wrong."""

import json
from collections.abc import AsyncIterator, Callable
from hashlib import md5
from typing import Any
from urllib.parse import unquote_to_bytes

import httpx2

from pushd.identity import jws
from pushd.resolvers.fetch import Fetcher
from pushd.resolvers.transport import Unfit

HUB = "https://hub.example"
READER = "https://gaia.example/hub/"
CHALLENGE = '["gaiahub","0","hub.example","blockstack_storage_please_sign"]'

LOST = "lose the request"
UNANSWERED = "do what was asked, and lose the answer"

Trouble = httpx2.Response | str | Callable[[], None]
"""What goes wrong with a request: another answer, none, or something before it."""


class FakeHub(Fetcher):
    """Keeps files, and is the fetcher that leads to it.

    Attributes:
        files: Content and media type by path.
        info: What it says of itself.
        trouble: What goes wrong with the next requests, one for each.
        requests: What it was asked.
    """

    def __init__(self, *trouble: Trouble) -> None:
        self.files: dict[str, tuple[bytes, str]] = {}
        self.info: Any = {
            "challenge_text": CHALLENGE,
            "latest_auth_version": "v1",
            "max_file_upload_size_megabytes": 20,
            "read_url_prefix": READER,
        }
        self.trouble = list(trouble)
        self.requests: list[httpx2.Request] = []
        self.page = 100
        self.http = httpx2.AsyncClient(transport=httpx2.MockTransport(self.answer))

    def plain(self, host_port: str) -> bool:
        """Tell the one host that may have http."""
        return host_port in ("dev.example:8080", "plain.example:80")

    @property
    def asked(self) -> list[str]:
        """What it was asked, each in a word or two."""
        return [
            f"{request.method} {request.url.path.split('/')[1]}"
            for request in self.requests
        ]

    def claims(self, at: int) -> dict[str, Any]:
        """Return the claims of the token of a request."""
        header = self.requests[at].headers["Authorization"]
        claims: dict[str, Any] = json.loads(
            jws.read(header.removeprefix("bearer v1:")).claims
        )
        return claims

    def answer(self, request: httpx2.Request) -> httpx2.Response:
        """Answer a request, unless there is trouble."""
        self.requests.append(request)
        trouble = self.trouble.pop(0) if self.trouble else None
        if trouble == LOST:
            raise httpx2.ConnectTimeout("lost")
        if isinstance(trouble, httpx2.Response):
            return streamed(trouble, request)
        if callable(trouble):
            trouble()
        answer = self.act(request)
        if trouble == UNANSWERED:
            raise httpx2.ReadError("lost")
        return streamed(answer, request)

    def act(self, request: httpx2.Request) -> httpx2.Response:
        """Do what is asked."""
        target = unquote_to_bytes(request.url.raw_path).decode()
        _, action, *rest = target.split("/", 3)
        path = rest[1] if len(rest) > 1 else ""
        match action:
            case "hub_info":
                return httpx2.Response(200, json=self.info)
            case "store":
                return self.store(path, request)
            case "hub":
                return self.read(path)
            case "delete":
                found = self.files.pop(path, None)
                return httpx2.Response(404 if found is None else 202)
            case _:
                return self.list(json.loads(request.content)["page"])

    def store(self, path: str, request: httpx2.Request) -> httpx2.Response:
        """Store a file, if the conditions are met."""
        if "If-None-Match" in request.headers and path in self.files:
            return httpx2.Response(412, json={"error": "PreconditionFailedError"})
        if "If-Match" in request.headers:
            there = self.files.get(path)
            if there is None or etag(there[0]) != request.headers["If-Match"]:
                return httpx2.Response(412, json={"etag": there and etag(there[0])})
        self.files[path] = (request.content, request.headers["Content-Type"])
        return httpx2.Response(202, json={"etag": etag(request.content)})

    def read(self, path: str) -> httpx2.Response:
        """Read a file."""
        if path not in self.files:
            return httpx2.Response(404, text="File not found")
        content, content_type = self.files[path]
        headers = {"ETag": etag(content), "Content-Type": content_type}
        return httpx2.Response(200, headers=headers, content=content)

    def list(self, page: str | None) -> httpx2.Response:
        """List a page of the files; as on a disk, after the last comes an empty one."""
        at = int(page or 0)
        paths: list[str | None] = [*self.files]
        some = paths[at * self.page : (at + 1) * self.page]
        following = None if len(some) == len(paths) else str(at + 1)
        return httpx2.Response(202, json={"entries": some, "page": following})


def streamed(answer: httpx2.Response, request: httpx2.Request) -> httpx2.Response:
    """Return an answer as it comes through the guard: its body not read yet."""
    return httpx2.Response(
        answer.status_code,
        headers=answer.headers,
        stream=Body(answer.content, request.extensions["limit"], answer.headers),
    )


class Body(httpx2.AsyncByteStream):
    """The body of an answer, unless it is not one to read."""

    def __init__(self, content: bytes, limit: int, headers: httpx2.Headers) -> None:
        self._content = content
        self._fit = len(content) <= limit and "Content-Encoding" not in headers

    async def __aiter__(self) -> AsyncIterator[bytes]:
        """Yield it whole."""
        if not self._fit:
            raise Unfit("size")
        yield self._content


def etag(content: bytes) -> str:
    """Return the etag of a content, without quotes, as a hub on a disk makes it."""
    return md5(content, usedforsecurity=False).hexdigest()

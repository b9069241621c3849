"""The read half of a Gaia hub: `GET /hub/{address}/{path}`, for everybody.

Each answer is whole and fresh; `If-None-Match` and `Range` are not looked at.
"""

import re
from email.utils import formatdate

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from pushd.devhub.asked import read_place
from pushd.devhub.errors import HubError
from pushd.devhub.storage import Storage

PREFIX = "/hub/"

_FILE = re.compile(rb"/hub/([a-zA-Z0-9_-]+)/(.+)", re.DOTALL)
_TEXT = re.compile(r"text/|application/(?:javascript|json)")
_CACHE = {"Cache-Control": "no-cache"}
_HTML = "text/html; charset=utf-8"


class Reader:
    """The route of the read half.

    Args:
        storage: Where the files are.
    """

    def __init__(self, storage: Storage) -> None:
        self._storage = storage
        self.routes = [Route(f"{PREFIX}{{file:path}}", self._read)]

    async def _read(self, request: Request) -> Response:
        place = read_place(_FILE, request)
        if ".." in place.path:
            return Response("Could not return file", 400, _CACHE, _HTML)
        try:
            file = self._storage.read(*place)
        except HubError:
            file = None  # what cannot be written is not there
        if file is None:
            return Response("File not found", 404, _CACHE, _HTML)
        headers = {
            **_CACHE,
            "ETag": file.etag,
            "Last-Modified": formatdate(file.modified, usegmt=True),
            "Content-Type": _with_charset(file.content_type),
        }
        return Response(file.content, headers=headers)


def _with_charset(content_type: str) -> str:
    """Say UTF-8 of text that does not say what it is written in, as the real reader."""
    if _TEXT.match(content_type) and "charset" not in content_type.lower():
        return f"{content_type}; charset=utf-8"
    return content_type

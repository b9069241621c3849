"""Pages that a server shows to people: a few files each, and headers that keep others out.

Nothing of a page comes from anywhere else, and nothing in it runs that is not one of its
files: no inline script, no style from elsewhere, no frame around it.
https://www.w3.org/TR/CSP3/
"""

from collections.abc import Mapping
from pathlib import Path

from starlette.routing import Route
from starlette.types import Receive, Scope, Send

from pushd.errors import NotFound
from pushd.web.exchange import answer

SHARED = tuple(map(Path(__file__).with_name, ("look.css", "icon.svg")))
"""What all pages have of their looks."""

PLAYGROUND = Path(__file__).with_name("playground")

MEDIA_TYPES = {
    ".html": b"text/html; charset=utf-8",
    ".css": b"text/css; charset=utf-8",
    ".js": b"text/javascript; charset=utf-8",
    ".svg": b"image/svg+xml",
}

HEADERS = (
    (b"cache-control", b"no-cache"),
    (b"x-content-type-options", b"nosniff"),
    (b"referrer-policy", b"no-referrer"),
    (b"cross-origin-opener-policy", b"same-origin"),
)


class Page:
    """A page at a path: `index.html`, and beside it what it needs.

    Args:
        path: Where it is, like `/admin`.
        directory: Of its files.
        connect: Where its scripts may connect to, besides where it comes from.
    """

    def __init__(self, path: str, directory: Path, *, connect: str = "") -> None:
        self._path = path
        files = [file for file in directory.iterdir() if file.suffix in MEDIA_TYPES]
        self._files: Mapping[str, Path] = {file.name: file for file in [*files, *SHARED]}
        policy = (
            "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; "
            f"connect-src 'self' {connect}; base-uri 'none'; form-action 'none'; "
            "frame-ancestors 'none'"
        )
        self._headers = (*HEADERS, (b"content-security-policy", policy.encode()))

    def routes(self) -> list[Route]:
        """Return the routes of its files."""
        return [
            Route(self._path, self, methods=["GET"]),
            Route(f"{self._path}/{{name}}", self, methods=["GET"]),
        ]

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer with a file.

        Raises:
            NotFound: If there is none of that name.
        """
        file = self._files.get(scope["path_params"].get("name", "index.html"))
        if file is None:
            raise NotFound
        media_type = MEDIA_TYPES[file.suffix]
        await answer(send, 200, file.read_bytes(), *self._headers, media_type=media_type)

"""Heads of deliveries that are like one before, and so need not be parsed again.

A client says the same with each delivery, but for the token, sometimes, and the length of
the body. All the rest is the shape of its heads. A parser is asked once whether what has
that shape is a plain delivery; from then on the connection compares bytes. A head that
differs anywhere else is parsed.

Why that is enough: a parser that stands between two requests makes the same of the same
bytes. What differs means nothing to it. The token was verified before, so it is three
base64url segments; the length is written as we would write it, and is that of all that
follows. Whether the parser stands between two requests is for `http.py` to know.
"""

import re
from collections.abc import Mapping
from typing import NamedTuple

from httptools import HttpParserError, HttpParserUpgrade, HttpRequestParser

from pushd.web.exchange import bearer_of
from pushd.web.express import MAX_BODY, PATH

LONGEST = 8 * 1024
"""Bytes of a head from which on its shape is not worth the memory."""

_END = b"\r\n\r\n"
_TOKEN = re.compile(rb"\r\nauthorization: bearer ([\w.-]+)\r\n", re.IGNORECASE)
_LENGTH = re.compile(rb"\r\ncontent-length: (\d+)\r\n", re.IGNORECASE)

_PROBES = ((b"a", b"1"), (b"b", b"2"))
"""Tokens and lengths: what follows two of them was not there by chance."""

_UNKNOWN = 1 << 62
"""Bytes of a body whose length nobody told."""


class Shape(NamedTuple):
    """What the heads of a client have in common.

    Attributes:
        start: All that comes before the first of token and length.
        middle: What is between them.
        end: What follows, to the end of the head.
        token_first: Whether the first is the token.
    """

    start: bytes
    middle: bytes
    end: bytes
    token_first: bool

    def read(self, data: bytes) -> tuple[str, bytes] | None:
        """Take apart what is one request of this shape, neither more nor less.

        Returns:
            The text where the token is, and the body; None if it is not one.
        """
        start, middle, end, token_first = self
        if not data.startswith(start):
            return None
        first, _, rest = data[len(start) :].partition(middle)
        second, found, body = rest.partition(end)
        token, length = (first, second) if token_first else (second, first)
        if found and length == b"%d" % len(body) and len(body) <= MAX_BODY:
            return token.decode("latin-1"), body
        return None

    def written(self, token: bytes, length: bytes) -> bytes:
        """Write a head of this shape."""
        first, second = (token, length) if self.token_first else (length, token)
        return b"".join((self.start, first, self.middle, second, self.end))


def shape_of(data: bytes) -> Shape | None:
    """Return the shape of the head that a read begins with.

    None, unless a parser takes every head of that shape for a plain delivery.
    """
    end = data.find(_END, 0, LONGEST) + len(_END)
    token, length = _TOKEN.search(data, 0, end), _LENGTH.search(data, 0, end)
    if token is None or length is None:
        return None
    (a, b), (c, d) = sorted((token.span(1), length.span(1)))
    shape = Shape(data[:a], data[b:c], data[d:end], token.start() < length.start())
    return shape if all(_is_understood(shape, *probe) for probe in _PROBES) else None


def _is_understood(shape: Shape, token: bytes, length: bytes) -> bool:
    """Ask a parser whether a head of this shape is a plain delivery with this token."""
    heard = _Heard()
    parser = HttpRequestParser(heard)
    try:
        parser.feed_data(shape.written(token, length))
    except (HttpParserError, HttpParserUpgrade):
        return False
    headers = dict(heard.headers)
    return (
        heard.complete
        and not heard.body
        and heard.url == PATH
        and is_plain(parser, headers)
        and parser.should_keep_alive()
        and bearer_of(headers.get(b"authorization", b"")).encode("latin-1") == token
        and headers.get(b"content-length") == length
    )


def is_plain(parser: HttpRequestParser, headers: Mapping[bytes, bytes]) -> bool:
    """Tell whether a head, if it is one of a delivery, may come the short way."""
    return (
        parser.get_method() == b"POST"
        and parser.get_http_version() == "1.1"
        and not parser.should_upgrade()
        and int(headers.get(b"content-length", _UNKNOWN)) <= MAX_BODY
        and b"expect" not in headers
    )


class _Heard:
    """What a parser tells of one head."""

    def __init__(self) -> None:
        self.url = self.body = b""
        self.headers: list[tuple[bytes, bytes]] = []
        self.complete = False

    def on_url(self, url: bytes) -> None:
        self.url += url

    def on_header(self, name: bytes, value: bytes) -> None:
        self.headers.append((name.lower(), value))

    def on_headers_complete(self) -> None:
        self.complete = True

    def on_body(self, body: bytes) -> None:
        self.body += body

"""Paths of files in a bucket: checked, and written for a URL."""

import re
from urllib.parse import quote

MAX_PATH = 1024
"""Characters of the longest path; object stores take no more."""

_UNWRITABLE = re.compile(r"[\x00-\x1f\x7f-\x9f\ud800-\udfff]")  # controls, surrogates


def quote_path(path: str) -> str:
    """Return a path as it stands in a URL, each segment percent-encoded (RFC 3986).

    Raises:
        ValueError: If it is empty or too long, begins or ends with a slash, holds an
            empty segment, control characters or dots that could lead out of the bucket.
            Two dots are refused wherever they stand, as a hub refuses them.
    """
    if not 0 < len(path) <= MAX_PATH:
        raise ValueError(f"A path has 1 to {MAX_PATH} characters.")
    segments = path.split("/")
    if "" in segments:
        raise ValueError("A path neither begins nor ends with a slash, nor has two in one.")
    if "." in segments or ".." in path:
        raise ValueError("A path has no two dots, nor one for a segment.")
    if _UNWRITABLE.search(path):
        raise ValueError("A path has no control characters.")
    return "/".join(quote(segment, safe="") for segment in segments)

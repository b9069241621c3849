"""Writes the vectors of `spec/vectors` that this project makes itself.

    python -m tests.vectors.make

The same input always gives the same files, so a change shows what it changed.
"""

import json
from collections.abc import Callable
from pathlib import Path

from tests.vectors import (
    contact_cases,
    frame_cases,
    id_cases,
    key_cases,
    lookup_cases,
    session_cases,
    token_cases,
    url_cases,
)
from tests.vectors.files import VECTORS, Json

MADE: dict[str, Callable[[], Json]] = {
    "contacts.json": contact_cases.document,
    "frames.json": frame_cases.document,
    "ids.json": id_cases.document,
    "keys.json": key_cases.document,
    "lookups.json": lookup_cases.document,
    "sessions.json": session_cases.document,
    "tokens.json": token_cases.document,
    "urls.json": url_cases.document,
}


def text_of(document: Json) -> str:
    """Write a document as it stands in its file."""
    return json.dumps(document, indent=1, ensure_ascii=True) + "\n"


def main(directory: Path = VECTORS) -> None:
    """Write all files anew."""
    for name, document in MADE.items():
        (directory / name).write_text(text_of(document()))


if __name__ == "__main__":
    main()

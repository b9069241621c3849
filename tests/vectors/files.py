"""Reads the vectors of `spec/vectors` for the tests that replay them."""

import json
from functools import cache
from pathlib import Path
from typing import Any

import pytest

VECTORS = Path(__file__).parents[2] / "spec" / "vectors"

Json = dict[str, Any]


@cache
def load(name: str) -> Json:
    """Read a file of vectors."""
    document: Json = json.loads((VECTORS / name).read_text())
    return document


def cases(name: str, *path: str) -> pytest.MarkDecorator:
    """Parametrize a test's `case` by a list of vectors, named by their ids if they have.

    Args:
        name: The file.
        path: Members that lead to the list.
    """
    found: Any = load(name)
    for member in path:
        found = found[member]
    return pytest.mark.parametrize(
        "case", found, ids=[case.get("id", str(place)) for place, case in enumerate(found)]
    )

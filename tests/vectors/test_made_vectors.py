"""The vectors made here are as `tests/vectors/make.py` makes them now."""

import pytest

from tests.vectors.files import VECTORS, load
from tests.vectors.make import MADE, text_of


@pytest.mark.parametrize("name", MADE)
def test_made(name: str) -> None:
    """A file of vectors is what the cases say, to the letter."""
    assert (VECTORS / name).read_text() == text_of(MADE[name]())


@pytest.mark.parametrize("name", sorted(path.name for path in VECTORS.glob("*.json")))
def test_described(name: str) -> None:
    """Every file says what it is about, and the page beside it describes it."""
    assert load(name)["about"]
    assert f"`{name}`" in (VECTORS / "README.md").read_text()

"""Replays urls.json: the one spelling of a server's URL."""

import pytest

from pushd.errors import BadRequest
from pushd.protocol.urls import canonical_url
from tests.vectors.files import Json, cases


@cases("urls.json", "canonical")
def test_canonical(case: Json) -> None:
    """Every spelling leads to one, which leads to itself."""
    assert case["canonical"] == canonical_url(case["url"])
    assert case["canonical"] == canonical_url(case["canonical"])


@cases("urls.json", "invalid")
def test_invalid(case: Json) -> None:
    """What cannot be a server's URL is refused."""
    with pytest.raises(BadRequest) as caught:
        canonical_url(case["url"])
    assert case["error"] == caught.value.code

"""Replays tokens.json: what a server takes and what it refuses."""

import pytest

from pushd.errors import ERRORS
from pushd.identity.authenticator import Authenticator
from tests.vectors.files import Json, cases, load

FILE = load("tokens.json")


def server() -> Authenticator:
    """Make the server the tokens are shown to."""
    return Authenticator(
        FILE["server"],
        deliver_lifetime=FILE["lifetimes"]["deliver"],
        receive_lifetime=FILE["lifetimes"]["receive"],
        leeway=FILE["leeway"],
        cache_bytes=1 << 20,
    )


@cases("tokens.json", "valid")
def test_valid(case: Json) -> None:
    """A good token is taken for its issuer, again when it is shown again."""
    authenticator = server()
    first = authenticator.authenticate(
        case["token"], case["scope"], now=FILE["evaluate_at"]
    )
    again = authenticator.authenticate(
        case["token"], case["scope"], now=FILE["evaluate_at"]
    )
    assert case["did"] == first.did == again.did


@cases("tokens.json", "invalid")
def test_invalid(case: Json) -> None:
    """A bad token is refused with its code, again when it is shown again."""
    authenticator = server()
    for _ in range(2):
        with pytest.raises(ERRORS[case["error"]]) as caught:
            authenticator.authenticate(
                case["token"], case["scope"], now=FILE["evaluate_at"]
            )
        assert case["error"] == caught.value.code
        assert not case["token"] or case["token"] not in caught.value.detail

"""Replays tokens.json: what a server takes and what it refuses."""

import pytest

from pushd.errors import ERRORS
from pushd.identity.authenticator import Authenticator
from pushd.identity.keys import PrivateKey
from pushd.identity.tokens import Token, make_token, verify
from tests.unit.fake_directory import FakeDirectory, names_of
from tests.vectors.files import Json, cases, load

FILE = load("tokens.json")


class Server:
    """The server the tokens are shown to."""

    def __init__(self) -> None:
        self._authenticator = Authenticator(
            FILE["server"],
            deliver_lifetime=FILE["lifetimes"]["deliver"],
            receive_lifetime=FILE["lifetimes"]["receive"],
            dedup=FILE["lifetimes"]["receive"],
            leeway=FILE["leeway"],
            cache_bytes=1 << 20,
        )
        directory = FakeDirectory()
        for known in FILE["names"]:
            directory.know(known["name"], known["did"], known["app"])
        self._names = names_of(directory)

    async def admit(self, case: Json) -> Token:
        """Verify a token and prove its name."""
        token = self._authenticator.authenticate(
            case["token"], case["scope"], now=FILE["evaluate_at"]
        )
        await self._names.prove(token)
        return token


@cases("tokens.json", "valid")
async def test_valid(case: Json) -> None:
    """A good token is taken for its issuer, again when it is shown again."""
    server = Server()
    assert case["did"] == (await server.admit(case)).did
    assert case["did"] == (await server.admit(case)).did


@cases("tokens.json", "invalid")
async def test_invalid(case: Json) -> None:
    """A bad token is refused with its code, again when it is shown again."""
    server = Server()
    for _ in range(2):
        with pytest.raises(ERRORS[case["error"]]) as caught:
            await server.admit(case)
        assert case["error"] == caught.value.code
        assert not case["token"] or case["token"] not in caught.value.detail


@cases("tokens.json", "made")
def test_made(case: Json) -> None:
    """Of the same claims the same token is made, and it is a good one."""
    key = PrivateKey.from_hex(case["private_key"])
    assert case["token"] == make_token(key, **case["told"])
    speaker = case["told"].get("issuer", key.did)
    assert speaker == verify(case["token"], now=FILE["evaluate_at"]).did

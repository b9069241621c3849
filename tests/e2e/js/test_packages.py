"""The TypeScript client and the real npm packages read what the other writes."""

from collections.abc import Iterator

import pytest

from pushd.identity.keys import PrivateKey
from tests.e2e.js.app import Apps
from tests.e2e.npm.app import Packages, installed

TEXT = "See you at nine. \u20ac \U0001f511"


@pytest.fixture(scope="module")
def packages(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Packages]:
    """Run @stacks/encryption and jsontokens."""
    assert installed(), "The npm packages are not installed: make packages"
    with Packages("stacks", tmp_path_factory.mktemp("npm") / "log") as running:
        yield running


async def test_sealed_there_opened_here(packages: Packages, apps: Apps) -> None:
    """What @stacks/encryption seals, the client opens."""
    key = PrivateKey.generate()
    user = packages.sign_in(PrivateKey.generate())
    sealed = user.call("encryptContent", TEXT, publicKey=key.public.raw.hex())

    assert await apps.call("decrypt", text=sealed, key=key.to_hex()) == TEXT


async def test_sealed_here_opened_there(packages: Packages, apps: Apps) -> None:
    """What the client seals, @stacks/encryption opens."""
    key = PrivateKey.generate()
    user = packages.sign_in(key)
    sealed = await apps.call("encrypt", text=TEXT, to=key.public.raw.hex())

    assert user.call("decryptContent", sealed) == TEXT


async def test_tokens_made_here_are_verified_there(packages: Packages, apps: Apps) -> None:
    """A token of the client is good to `jsontokens`, which reads its claims."""
    key = PrivateKey.generate()
    token = await apps.call(
        "token",
        key=key.to_hex(),
        audience="https://push.example",
        scope="receive",
        now=1795348800,
        lifetime=600,
        jti="6b1f",
    )

    assert packages.call("verifyToken", token, key.public.raw.hex())
    assert packages.call("decodeToken", token)["payload"]["iss"] == key.did

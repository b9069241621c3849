"""Letters, the messages as they lie in their sender's bucket, and who has signed them."""

import json
import time
from typing import Any

import msgspec
import pytest

from pushd.client import Bucket, CannotOpen, Envelope, PrivateKey, PublicKey, new_id
from pushd.client.letter import Letter, letter_path, letter_url, open_letter, seal_letter
from pushd.identity.ecies import encrypt_signed
from pushd.resolvers.fetch import Fetcher
from tests.devhub import RunningHub
from tests.e2e.npm.app import ORIGIN, App, Packages, Thrown


@pytest.fixture
def letter(key: PrivateKey, bob: App) -> Letter:
    """Return what Alice writes to Bob."""
    return Letter(
        id=new_id(),
        from_=key.did,
        to=bob.did,
        at=time.time(),
        content="See you at nine.",
        app=ORIGIN,
    )


@pytest.fixture
def bob(packages: Packages, devhub: RunningHub) -> App:
    """Return the app in which Bob is signed in."""
    return packages.sign_in(PrivateKey.generate(), hub=devhub.url)


def get_letter(reader: App, letter: Letter, name: str, devhub: RunningHub) -> Any:
    """Read a letter as the packages do it by themselves: by its sender's name."""
    text = reader.call(
        "getFile",
        letter_path(letter.id),
        verify=True,
        username=name,
        app=ORIGIN,
        zoneFileLookupURL=f"{devhub.url}/v1/names",
    )
    return json.loads(text)


async def test_a_letter_of_an_app_is_opened(app: App, fetcher: Fetcher) -> None:
    """What `putFile` seals to somebody else and signs is a letter, if it says so inside."""
    bob = PrivateKey.generate()
    to = {"did": bob.did, "publicKey": bob.public.raw.hex()}

    written = app.call("write", to, "See you at nine.")

    envelope = msgspec.convert(written, Envelope)
    file = await fetcher.get(letter_url(envelope))
    assert file is not None
    assert open_letter(file, bob, envelope).content == "See you at nine."


async def test_an_app_opens_a_letter(
    devhub: RunningHub, bucket: Bucket, key: PrivateKey, name: str, bob: App, letter: Letter
) -> None:
    """`getFile` opens it, and finds by the sender's name who has to have signed it."""
    file = seal_letter(letter, PublicKey.from_hex(bob.public_key), key)
    await bucket.store(letter_path(letter.id), file, content_type="application/json")

    opened = get_letter(bob, letter, name, devhub)

    assert (letter.id, letter.content) == (opened["id"], opened["content"])


async def test_an_app_refuses_a_letter_of_another_signer(
    devhub: RunningHub, bucket: Bucket, name: str, bob: App, letter: Letter
) -> None:
    """Whoever keeps the bucket can put a file there, and not sign it."""
    text = msgspec.json.encode(letter).decode()
    file = encrypt_signed(text, PublicKey.from_hex(bob.public_key), PrivateKey.generate())
    await bucket.store(letter_path(letter.id), file.encode())

    with pytest.raises(Thrown, match="SignatureVerificationError"):
        get_letter(bob, letter, name, devhub)


async def test_a_letter_of_another_app_user_is_refused(
    app: App, bob: App, fetcher: Fetcher
) -> None:
    """What Bob's app signs, at the place Alice's envelope names, is no letter of hers."""
    carol = PrivateKey.generate()
    to = {"did": carol.did, "publicKey": carol.public.raw.hex()}
    written = app.call("write", to, "See you at nine.")
    forged = bob.call(
        "encryptContent",
        json.dumps({**written, "at": time.time(), "content": "See you at ten."}),
        publicKey=carol.public.raw.hex(),
        sign=True,
    )

    with pytest.raises(CannotOpen):
        open_letter(forged.encode(), carol, msgspec.convert(written, Envelope))

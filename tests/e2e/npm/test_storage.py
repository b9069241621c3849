"""One bucket, used from apps on the real packages and from here."""

import json

import pytest

from pushd.client import Bucket
from pushd.client.gaia import NEW, Changed
from tests.e2e.npm.app import App, Thrown

CONTENTS = [
    pytest.param("See you at nine.", id="text"),
    pytest.param("Grüße, 世界 🎈", id="beyond ASCII"),
    pytest.param(bytes(range(256)), id="bytes"),
]
SIGNED = pytest.mark.parametrize("signed", [False, True], ids=["sealed", "signed"])


# --- what one writes the other reads -------------------------------------------------


@SIGNED
@pytest.mark.parametrize("content", CONTENTS)
async def test_the_bucket_opens_what_an_app_writes(
    app: App, bucket: Bucket, content: str | bytes, signed: bool
) -> None:
    """`putFile` seals to the user unless it is told otherwise."""
    app.call("putFile", "notes/1", content, sign=signed)

    assert content == await bucket.read_encrypted("notes/1", signed=signed)


@SIGNED
@pytest.mark.parametrize("content", CONTENTS)
async def test_an_app_opens_what_the_bucket_writes(
    app: App, bucket: Bucket, content: str | bytes, signed: bool
) -> None:
    """`getFile` opens, and with `verify` it wants the owner's signature."""
    await bucket.store_encrypted("notes/1", content, sign=signed)

    assert content == app.call("getFile", "notes/1", verify=signed)


async def test_the_bucket_reads_a_public_file_of_an_app(app: App, bucket: Bucket) -> None:
    """Content and media type are as the app gave them; of text the reader says UTF-8."""
    text = json.dumps({"name": "Zoë"}, ensure_ascii=False)

    app.call("putFile", "me.json", text, encrypt=False, contentType="application/json")

    file = await bucket.read("me.json")
    assert file is not None
    assert text.encode() == file.content
    assert file.content_type == "application/json; charset=utf-8"


@pytest.mark.parametrize(
    ("content", "content_type"),
    [('{"name": "Zoë"}', "application/json"), (b"\x00\xff", "application/octet-stream")],
)
async def test_an_app_reads_a_public_file_of_the_bucket(
    app: App, bucket: Bucket, content: str | bytes, content_type: str
) -> None:
    """The media type decides whether the app gets text or bytes."""
    data = content.encode() if isinstance(content, str) else content

    await bucket.store("me", data, content_type=content_type)

    assert content == app.call("getFile", "me", decrypt=False)


@pytest.mark.parametrize("path", [".well-known/me.json", "a b/Grüße.txt", "q&a+1"])
async def test_both_write_a_path_alike(app: App, bucket: Bucket, path: str) -> None:
    """Dots, spaces and letters beyond ASCII lead both to one file."""
    app.call("putFile", path, "an app's")
    assert await bucket.read_encrypted(path) == "an app's"

    await bucket.store_encrypted(path, "the bucket's")
    assert app.call("getFile", path) == "the bucket's"


@pytest.mark.parametrize("sign", ["#", "?"])
async def test_an_app_cuts_a_path_short(app: App, bucket: Bucket, sign: str) -> None:
    """The packages put a path into a URL as it is, so what follows a # or ? is lost.

    Here such a path has a file of its own; whoever shares files with apps avoids both.
    """
    app.call("putFile", f"notes{sign}1", "the first")
    await bucket.store_encrypted(f"notes{sign}1", "another file")

    assert await bucket.read_encrypted("notes") == "the first"
    assert app.call("getFile", f"notes{sign}1") == "the first"


# --- who may overwrite what ----------------------------------------------------------


async def test_an_app_overwrites_only_what_it_has_read(app: App, bucket: Bucket) -> None:
    """Since version 21 `putFile` says which etag it replaces, as a session last read it."""
    await bucket.store_encrypted("notes/1", "first")

    with pytest.raises(Thrown, match="PreconditionFailedError"):
        app.call("putFile", "notes/1", "second")
    assert app.call("getFile", "notes/1") == "first"
    app.call("putFile", "notes/1", "second")
    await bucket.store_encrypted("notes/1", "third")
    with pytest.raises(Thrown, match="PreconditionFailedError"):
        app.call("putFile", "notes/1", "fourth")
    assert await bucket.read_encrypted("notes/1") == "third"
    app.call("putFile", "notes/1", "fourth", dangerouslyIgnoreEtag=True)
    assert await bucket.read_encrypted("notes/1") == "fourth"


async def test_the_bucket_overwrites_only_what_is_as_expected(
    app: App, bucket: Bucket
) -> None:
    """Neither a new file nor the next version gets in the way of an app's."""
    app.call("putFile", "notes/1", "first")
    file = await bucket.read("notes/1")
    assert file is not None

    with pytest.raises(Changed):
        await bucket.store("notes/1", b"second", match=NEW)
    app.call("putFile", "notes/1", "second")
    with pytest.raises(Changed):
        await bucket.store("notes/1", b"third", match=file.etag)
    assert app.call("getFile", "notes/1") == "second"
    file = await bucket.read("notes/1")
    assert file is not None
    await bucket.store("notes/1", b"third", match=file.etag)
    assert app.call("getFile", "notes/1", decrypt=False) == b"third"


async def test_a_signed_public_file_of_an_app_cannot_be_updated(
    app: App, bucket: Bucket
) -> None:
    """The packages write the signature into a file beside it, and always as a new file.

    So the second `putFile` replaces the content, not its signature, and nobody can verify
    it any more. This is why a contact document carries its signature inside.
    """
    options = {"encrypt": False, "sign": True, "contentType": "text/plain"}
    app.call("putFile", "me.txt", "first", **options)
    assert app.call("getFile", "me.txt", decrypt=False, verify=True) == "first"
    signature = await bucket.read("me.txt.sig")

    with pytest.raises(Thrown, match="PreconditionFailedError"):
        app.call("putFile", "me.txt", "second", **options)

    assert signature == await bucket.read("me.txt.sig")
    await bucket.store("me.txt", b"second", content_type="text/plain")
    with pytest.raises(Thrown, match="SignatureVerificationError"):
        app.call("getFile", "me.txt", decrypt=False, verify=True)


# --- list and delete -----------------------------------------------------------------


async def test_both_list_the_files_of_both(app: App, bucket: Bucket) -> None:
    """A listing is of the bucket, whoever wrote its files."""
    app.call("putFile", "an app's", "text")
    await bucket.store("here/1", b"text")

    assert {"an app's", "here/1"} == {path async for path in bucket.list()}
    assert {"an app's", "here/1"} == set(app.call("listFiles"))


async def test_both_delete_the_files_of_the_other(app: App, bucket: Bucket) -> None:
    """A deleted file is gone for both."""
    app.call("putFile", "an app's", "text")
    await bucket.store_encrypted("here/1", "text")

    assert await bucket.delete("an app's")
    app.call("deleteFile", "here/1")

    with pytest.raises(Thrown, match="DoesNotExist"):
        app.call("getFile", "an app's")
    assert await bucket.read("here/1") is None
    assert [path async for path in bucket.list()] == []

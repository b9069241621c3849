"""What a bucket says of its owner, and when that is written."""

import msgspec
import pytest

from pushd.client.publisher import KEY_FILE, Publisher
from pushd.errors import BadRequest
from pushd.identity.contact import PATH, ContactDocument, make_contact, read_contact
from pushd.identity.keys import PrivateKey
from tests.unit.client_fakes import APP, NOW, FakeBucket

A, B = "https://a.example", "https://b.example"


class Case:
    """Bob's bucket, and his client."""

    def __init__(self) -> None:
        self.bob = PrivateKey.generate()
        self.bucket = FakeBucket(self.bob)
        self.now = NOW
        self.publisher = Publisher(
            self.bob, app=APP, bucket=self.bucket(), clock=lambda: self.now
        )

    def read(self, seen: ContactDocument | None = None) -> ContactDocument:
        """Read the contact document as others do."""
        return read_contact(
            self.bucket.files[PATH],
            address=self.bucket.address,
            app=APP,
            now=self.now,
            seen=seen,
        )

    def put(self, **changes: object) -> None:
        """Put a contact document there that differs from a good one."""
        whole = {"servers": [A], "app": APP, "now": NOW} | changes
        key = whole.pop("key", self.bob)
        self.bucket.files[PATH] = make_contact(key, **whole)  # type: ignore[arg-type] # of many types


async def test_all_is_said_once() -> None:
    """Key and servers for whoever can read both, the key for older apps."""
    case = Case()
    assert await case.publisher.publish([A, B]) == [PATH, KEY_FILE]
    assert case.read().servers == (A, B)
    assert msgspec.json.decode(case.bucket.files[KEY_FILE]) == case.bob.public.raw.hex()
    assert await case.publisher.publish([A, B]) == []


@pytest.mark.parametrize(
    "changes",
    [
        {"servers": [B, A]},
        {"app": "https://chat.example"},
        {"key": PrivateKey.generate()},
        {"lifetime": 1.0, "now": NOW - 2},
        {"now": NOW + 1000},
    ],
    ids=["servers", "app", "key", "expired", "of the future"],
)
async def test_what_is_not_right_is_written_again(changes: dict[str, object]) -> None:
    """Nobody would believe it, or it leads elsewhere."""
    case = Case()
    case.put(**changes)
    assert PATH in await case.publisher.publish([A])
    assert case.read().servers == (A,)


async def test_what_is_no_document_is_written_over() -> None:
    """The bucket is the owner's."""
    case = Case()
    case.bucket.files[PATH] = b"<html>"
    case.bucket.files[KEY_FILE] = b"<html>"
    assert await case.publisher.publish([A]) == [PATH, KEY_FILE]


@pytest.mark.parametrize("form", ['"{}"', "{}", '{{"publicKey": "{}"}}'])
async def test_a_key_in_another_form_stays(form: str) -> None:
    """Some other app of the owner wrote it so."""
    case = Case()
    case.bucket.files[KEY_FILE] = form.format(case.bob.public.raw.hex()).encode()
    assert await case.publisher.publish([A]) == [PATH]


async def test_a_newer_document_is_always_newer() -> None:
    """However fast it follows, and though the clock went back: readers believe it."""
    case = Case()
    await case.publisher.publish([A])
    before = case.read()
    case.now -= 60
    await case.publisher.publish([B])
    assert case.read(seen=before).servers == (B,)


async def test_a_document_that_was_put_back_is_written_again() -> None:
    """By whoever keeps the bucket; the owner's client knows that it wrote a newer one."""
    case = Case()
    await case.publisher.publish([A])
    old = case.bucket.files[PATH]
    case.now += 10
    await case.publisher.publish([B])
    case.now += 10
    await case.publisher.publish([A])
    newest = case.read()
    case.bucket.files[PATH] = old
    assert await case.publisher.publish([A]) == [PATH]
    assert case.read(seen=newest).servers == (A,)


async def test_without_a_server_only_the_key_is_told() -> None:
    """Who only sends has no mailbox to lead to."""
    case = Case()
    assert await case.publisher.publish([]) == [KEY_FILE]


async def test_more_servers_than_anybody_reads_are_refused() -> None:
    """Nothing is written."""
    case = Case()
    with pytest.raises(BadRequest, match="servers"):
        await case.publisher.publish([f"https://{n}.example" for n in range(9)])
    assert case.bucket.stored == []

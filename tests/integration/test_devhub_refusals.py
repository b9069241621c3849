"""What the development hub refuses: paths, sizes, preconditions, too many writes."""

import socket
import time
from collections.abc import Iterator, Mapping

import httpx2
import pytest

from tests.devhub import (
    HELLO,
    Bucket,
    bucket_of,
    error,
)
from tests.harness import exchange

# --- what is refused -----------------------------------------------------------------

ONE_KILOBYTE = 1 / 1024


@pytest.mark.parametrize("path", ["%2e%2e", "a..b", "%2e%2e/x", "x%2F..%2Fy", "a//"])
def test_two_dots_are_refused_anywhere(bucket: Bucket, path: str) -> None:
    """So is a second slash at the end: 403 BadPathError, for a delete too."""
    assert error(bucket.store(path)) == (403, "BadPathError")
    assert error(bucket.delete(path)) == (403, "BadPathError")


def test_the_reader_refuses_two_dots(bucket: Bucket) -> None:
    """It has a status of its own for them."""
    assert (bucket.read("a..b").status_code, bucket.read("a..b").text) == (
        400,
        "Could not return file",
    )


@pytest.mark.parametrize(
    "path", ["/".join(["y" * 200] * 21), "d/" * 99 + "d"], ids=["long", "deep"]
)
def test_paths_have_limits(bucket: Bucket, path: str) -> None:
    """4096 characters and 100 levels, the bucket's own name included."""
    assert error(bucket.store(path)) == (403, "BadPathError")


@pytest.mark.parametrize("path", ["%zz", "%", "%ff", "a%2"])
@pytest.mark.parametrize("verb", ["store", "hub"])
def test_escapes_have_to_be_right(bucket: Bucket, path: str, verb: str) -> None:
    """A percent sign that escapes nothing, or is not UTF-8, is a bad request."""
    method = "POST" if verb == "store" else "GET"
    line = f"{method} /{verb}/{bucket.address}/{path} HTTP/1.1\r\n"
    rest = f"Host: {bucket.hub.host_port}\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"

    answer = exchange(bucket.hub.url, (line + rest).encode())

    assert answer.startswith(b"HTTP/1.1 400 ")


@pytest.mark.parametrize(
    "path", ["a", "a/b/c", "%2e", "nul%00", "x" * 256], ids=lambda path: path[:8]
)
def test_what_a_file_system_refuses_is_a_nameless_500(bucket: Bucket, path: str) -> None:
    """A file and a directory cannot share a name, nor can one be longer than 255 bytes."""
    bucket.store("a/b")

    answer = bucket.store(path)

    assert answer.status_code == 500
    assert answer.json() == {"message": "Server Error"}


def test_a_content_type_has_a_limit(bucket: Bucket) -> None:
    """1024 characters pass, one more is a nameless 500."""
    assert bucket.store("a", headers={"Content-Type": "t/" + "x" * 1022}).status_code == 202
    assert bucket.store("a", headers={"Content-Type": "t/" + "x" * 1023}).status_code == 500


def chunks(size: int) -> Iterator[bytes]:
    """Yield bytes whose number nobody knows before."""
    for _ in range(size // 256):
        yield b"x" * 256
    yield b"x" * (size % 256)


@pytest.mark.parametrize("counted", [False, True], ids=["declared", "counted"])
def test_files_have_a_limit(counted: bool) -> None:
    """The largest file passes, one byte more is 413 and leaves the old file alone."""
    with bucket_of(max_file_megabytes=ONE_KILOBYTE) as bucket:
        good, bad = (chunks(n) if counted else b"x" * n for n in (1024, 1025))
        stored, refused = bucket.store("a", good), bucket.store("a", bad)

        assert stored.status_code == 202
        assert error(refused) == (413, "PayloadTooLargeError")
        assert bucket.read("a").content == b"x" * 1024


def test_a_declared_length_is_refused_before_the_upload(bucket: Bucket) -> None:
    """The answer is there though not one byte of the file was sent."""
    head = (
        f"POST /store/{bucket.address}/a HTTP/1.1\r\nHost: {bucket.hub.host_port}\r\n"
        f"Authorization: bearer v1:{bucket.token()}\r\nConnection: close\r\n"
        f"Content-Length: {20 * 1024 * 1024 + 1}\r\n\r\n"
    )

    with socket.create_connection(("127.0.0.1", httpx2.URL(bucket.hub.url).port)) as peer:
        peer.settimeout(10)
        peer.sendall(head.encode())
        assert peer.recv(12) == b"HTTP/1.1 413"


def test_auth_comes_before_the_size() -> None:
    """Who may not write learns nothing of limits."""
    with bucket_of(max_file_megabytes=ONE_KILOBYTE) as bucket:
        assert error(bucket.store("a", b"x" * 2000, authorization="")) == (
            401,
            "ValidationError",
        )


def upload(bucket: Bucket, path: str, authorization: str) -> socket.socket:
    """Begin to store a file of two bytes, and return the connection after the first."""
    url = httpx2.URL(bucket.hub.url)
    peer = socket.create_connection((url.host, url.port), timeout=10)
    head = (
        f"POST /store/{bucket.address}/{path} HTTP/1.1\r\nHost: {bucket.hub.host_port}\r\n"
        f"Authorization: {authorization}\r\nConnection: close\r\n"
        "Content-Length: 2\r\nExpect: 100-continue\r\n\r\n"
    )
    peer.sendall(head.encode())
    assert peer.recv(1024).startswith(b"HTTP/1.1 100 ")  # so the hub reads the body now
    peer.sendall(b"1")
    return peer


def test_a_path_takes_one_write_at_a_time(bucket: Bucket) -> None:
    """A second is 409, without a token too; other paths are free, and this one after."""
    with upload(bucket, "a", f"bearer v1:{bucket.token()}") as peer:
        assert error(bucket.store("a")) == (409, "ConflictError")
        assert error(bucket.delete("a", authorization="")) == (409, "ConflictError")
        assert bucket.store("b").status_code == 202
        peer.sendall(b"2")
        assert peer.recv(1024).startswith(b"HTTP/1.1 202 ")

    assert bucket.read("a").content == b"12"
    assert bucket.store("a").status_code == 202


def test_an_upload_that_breaks_off_stores_nothing(bucket: Bucket) -> None:
    """The old file stays, and the path is free again."""
    bucket.store("a")
    upload(bucket, "a", f"bearer v1:{bucket.token()}").close()
    deadline = time.monotonic() + 10
    while (answer := bucket.delete("a")).status_code == 409:
        assert time.monotonic() < deadline

    assert answer.status_code == 202


def test_writes_may_be_limited_in_number() -> None:
    """One too many within a second is 429, for its bucket alone, and without JSON."""
    now = 1000.0
    with bucket_of(writes_per_second=2, clock=lambda: now) as bucket:
        first = [bucket.store(path).status_code for path in "abc"]
        other = Bucket(bucket.hub).store("a").status_code
        late = bucket.delete("a")
        now += 1
        later = bucket.store("c").status_code

    assert (first, other, later) == ([202, 202, 429], 202, 202)
    assert (late.status_code, late.text) == (429, "Too Many Requests")


def test_a_bucket_may_be_limited_in_size() -> None:
    """Above the limit each write is 429; what is there can be read."""
    with bucket_of(max_bucket_bytes=5) as bucket:
        answers = [bucket.store(path).status_code for path in "abc"]

        assert answers == [202, 202, 429]
        assert bucket.read("a").status_code == 200


def test_a_hub_may_want_social_proofs() -> None:
    """Then each write is 402, even of the profile that would have to hold them."""
    with bucket_of(proofs_required=True) as bucket:
        assert error(bucket.store("a")) == (402, "NotEnoughProofError")
        assert error(bucket.store("profile.json")) == (402, "NotEnoughProofError")
        assert error(bucket.delete("a")) == (402, "NotEnoughProofError")
        assert bucket.store("a/profile.json").status_code == 202


@pytest.mark.parametrize(
    ("headers", "there", "absent"),
    [
        ({}, 202, 202),
        ({"If-None-Match": "*"}, 412, 202),
        ({"If-Match": HELLO}, 202, 412),
        ({"If-Match": "*"}, 202, 202),
        ({"If-Match": "0" * 32}, 412, 412),
        ({"If-Match": f'"{HELLO}"'}, 412, 412),
        ({"If-None-Match": HELLO}, 412, 412),
        ({"If-Match": "*", "If-None-Match": "*"}, 412, 412),
    ],
    ids=str,
)
def test_preconditions(
    bucket: Bucket, headers: Mapping[str, str], there: int, absent: int
) -> None:
    """A writer may insist that a file is there, is not, or is the one it knows."""
    bucket.store("old")
    answers = [bucket.store(path, b"new", headers=headers) for path in ("old", "new")]

    assert [answer.status_code for answer in answers] == [there, absent]
    assert bucket.read("old").content == (b"new" if there == 202 else b"hello")
    assert bucket.read("new").status_code == (200 if absent == 202 else 404)
    for answer in answers:
        if answer.status_code == 412:
            assert error(answer) == (412, "PreconditionFailedError")


def test_delete_knows_no_preconditions(bucket: Bucket) -> None:
    """An etag that does not match keeps nothing."""
    bucket.store("a")

    assert bucket.delete("a", headers={"If-Match": "0" * 32}).status_code == 202

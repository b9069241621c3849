"""The development hub over real HTTP: each call as the real hub was seen to answer it."""

from pathlib import Path
from typing import Any
from urllib.parse import quote

import httpx2
import pytest

from tests.devhub import (
    HELLO,
    Bucket,
    RunningHub,
    bucket_of,
    error,
    running_devhub,
)

# --- every call ----------------------------------------------------------------------


@pytest.mark.parametrize("path", ["/hub_info", "/hub_info/"])
def test_hub_info_tells_how_to_write_and_where_to_read(hub: RunningHub, path: str) -> None:
    """It is open to all, and its challenge is JSON in a string."""
    answer = hub.http.get(path)

    assert answer.status_code == 200
    assert answer.json() == {
        "challenge_text": f'["gaiahub","0","{hub.host_port}",'
        '"blockstack_storage_please_sign"]',
        "latest_auth_version": "v1",
        "max_file_upload_size_megabytes": 20,
        "read_url_prefix": f"{hub.url}/hub/",
    }


def test_what_is_stored_can_be_read(bucket: Bucket) -> None:
    """Store answers 202 with the URL to read and an etag, and the reader has both."""
    stored = bucket.store("notes/a.bin", headers={"Content-Type": "image/png"})
    read = bucket.hub.http.get(stored.json()["publicURL"])

    assert stored.status_code == 202
    assert stored.json() == {"publicURL": f"{bucket.url}notes/a.bin", "etag": HELLO}
    assert (read.status_code, read.content) == (200, b"hello")
    assert read.headers["etag"] == HELLO
    assert read.headers["content-type"] == "image/png"
    assert read.headers["cache-control"] == "no-cache"
    assert read.headers["last-modified"].endswith(" GMT")


def test_head_is_a_read_without_the_content(bucket: Bucket) -> None:
    """It has the headers of GET, the length too."""
    bucket.store("a")
    head = bucket.read("a", "HEAD")

    assert (head.status_code, head.content) == (200, b"")
    assert (head.headers["content-length"], head.headers["etag"]) == ("5", HELLO)


@pytest.mark.parametrize(
    ("declared", "served"),
    [
        (None, "application/octet-stream"),
        ("text/plain", "text/plain; charset=utf-8"),
        ("text/html; charset=iso-8859-1", "text/html; charset=iso-8859-1"),
        ("application/json", "application/json; charset=utf-8"),
        ("application/ld+json", "application/ld+json"),
        ("image/png", "image/png"),
    ],
)
def test_content_types_are_kept(bucket: Bucket, declared: str | None, served: str) -> None:
    """The reader adds a charset to text and JSON that tell none; hub and list do not."""
    bucket.store("a", headers={} if declared is None else {"Content-Type": declared})

    assert bucket.read("a").headers["content-type"] == served
    [listed] = bucket.list_files(stat=True).json()["entries"]
    assert listed["contentType"] == (declared or "application/octet-stream")


@pytest.mark.parametrize(
    ("stored", "read"),
    [
        (".well-known/messaging.json", ".well-known/messaging.json"),
        ("ends/", "ends"),
        ("a//b", "a/b"),
        ("%2e/c", "c"),
        (quote("grüße an alle"), quote("grüße an alle")),
        ("with%2Fslash", "with/slash"),
        ("question%3Fhash%23", "question%3Fhash%23"),
        ("b%5Cc", "b%5Cc"),
        ("p+q", "p+q"),
    ],
)
def test_paths_may_hold_nearly_anything(bucket: Bucket, stored: str, read: str) -> None:
    """Dot directories, spaces and other scripts pass; one slash at the end is dropped."""
    assert bucket.store(stored).status_code == 202
    assert bucket.read(read).content == b"hello"


def test_an_empty_file_is_a_file(bucket: Bucket) -> None:
    """A body of no bytes is stored as such."""
    assert bucket.store("empty", b"").status_code == 202
    assert (bucket.read("empty").status_code, bucket.read("empty").content) == (200, b"")


def test_delete_takes_a_file_away(bucket: Bucket) -> None:
    """It answers 202 without a body, and 404 where there is none."""
    bucket.store("a")
    deleted = bucket.delete("a")

    assert (deleted.status_code, deleted.content) == (202, b"")
    assert bucket.read("a").status_code == 404
    assert error(bucket.delete("a")) == (404, "DoesNotExist")


@pytest.mark.parametrize("header", ["If-None-Match", "If-Modified-Since", "Range"])
def test_the_reader_always_answers_in_full(bucket: Bucket, header: str) -> None:
    """What would save it the content is not looked at."""
    bucket.store("a")
    values = {
        "If-None-Match": HELLO,
        "If-Modified-Since": "Fri, 01 Jan 2100 00:00:00 GMT",
        "Range": "bytes=0-1",
    }
    read = bucket.read("a", **{header: values[header]})

    assert (read.status_code, read.content) == (200, b"hello")


@pytest.mark.parametrize("path", ["nothing", "%00", "x" * 300, "d/" * 200 + "x"])
def test_what_is_not_there_is_not_found(bucket: Bucket, path: str) -> None:
    """The reader says so in text, not to be cached, of what cannot be there as well."""
    read = bucket.read(path)

    assert (read.status_code, read.text) == (404, "File not found")
    assert read.headers["content-type"] == "text/html; charset=utf-8"
    assert read.headers["cache-control"] == "no-cache"


def test_a_directory_is_no_file(bucket: Bucket) -> None:
    """What begins other paths cannot be read or deleted."""
    bucket.store("a/b")

    assert bucket.read("a").status_code == 404
    assert error(bucket.delete("a")) == (404, "DoesNotExist")


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("GET", "/store/1Abc/a"),
        ("PUT", "/store/1Abc/a"),
        ("POST", "/store"),
        ("POST", "/store/1Abc"),
        ("POST", "/store/1Abc/"),
        ("POST", "/store/1Abc-auth/authTimestamp"),
        ("DELETE", "/delete/1Abc"),
        ("GET", "/list-files/1Abc"),
        ("POST", "/list-files/"),
        ("POST", "/revoke-all/-"),
        ("POST", "/hub/1Abc/a"),
        ("GET", "/"),
    ],
)
def test_other_paths_and_methods_are_not_found(
    hub: RunningHub, method: str, path: str
) -> None:
    """There is no 405, and the state of a revocation cannot be written as a file."""
    assert hub.http.request(method, path).status_code == 404


# --- listing -------------------------------------------------------------------------


def test_an_empty_bucket_has_one_empty_page(bucket: Bucket) -> None:
    """Whatever page is asked for."""
    for page in (None, "1", "x"):
        assert bucket.list_files(page).json() == {"entries": [], "page": None}


def test_all_files_on_one_page_are_the_last_page(bucket: Bucket) -> None:
    """Directories are walked in order, and nothing follows."""
    for path in ("b", "a/2", "a/1", "a.txt", "a/b/c", "A"):
        bucket.store(path)

    assert bucket.list_files().json() == {
        "entries": ["A", "a/1", "a/2", "a/b/c", "a.txt", "b"],
        "page": None,
    }


def test_pages_follow_each_other_without_end() -> None:
    """Past the first page the disk driver calls none the last: an empty one is the end."""
    with bucket_of(page_size=2) as bucket:
        for path in "abcde":
            bucket.store(path)
        pages, marker = [], None
        for _ in range(5):
            answer = bucket.list_files(marker).json()
            pages.append(answer["entries"])
            marker = answer["page"]

    assert pages == [["a", "b"], ["c", "d"], ["e"], [], []]
    assert marker == "5"


def test_stat_tells_more_of_each_file() -> None:
    """Length, type, etag and the time in seconds, beside the name."""
    with bucket_of(clock=lambda: 1234.4) as bucket:
        bucket.store("a", headers={"Content-Type": "image/png"})

        assert bucket.list_files(stat=True).json()["entries"] == [
            {
                "name": "a",
                "exists": True,
                "etag": HELLO,
                "contentLength": 5,
                "contentType": "image/png",
                "lastModifiedDate": 1234,
            }
        ]


@pytest.mark.parametrize("marker", ["x", "-1", "1.5", {"a": 1}])
def test_a_marker_of_another_hub_is_a_nameless_500(bucket: Bucket, marker: Any) -> None:
    """Markers are numbers here; a client must only repeat what it was given."""
    bucket.store("a")

    assert bucket.list_files(marker).status_code == 500


@pytest.mark.parametrize(
    ("body", "content_type", "status"),
    [
        (b"", "application/json", 202),
        (b"{}", "application/json; charset=utf-8", 202),
        (b"[]", "application/json", 202),
        (b"{", "text/plain", 202),  # what is not called JSON is not looked at
        (b"{", "application/json", 400),
        (b"null", "application/json", 400),
        (b"5", "application/json", 400),
        (b"[" * 3000, "application/json", 400),
        (b'{"x":"' + b"y" * 4088 + b'"}', "application/json", 202),
        (b'{"x":"' + b"y" * 4089 + b'"}', "application/json", 413),
    ],
    ids=range(10),
)
def test_bodies_of_json(
    bucket: Bucket, body: bytes, content_type: str, status: int
) -> None:
    """An object or nothing, of at most 4096 bytes."""
    headers = {"Content-Type": content_type}

    answer = bucket.call("POST", "list-files", headers=headers, content=body)

    assert answer.status_code == status


# --- pages of other origins ----------------------------------------------------------

PREFLIGHT = {
    "Origin": "https://app.example",
    "Access-Control-Request-Method": "POST",
    "Access-Control-Request-Headers": "authorization,if-match",
}


def cors(response: httpx2.Response) -> dict[str, str]:
    """Return what an answer tells a browser about other origins."""
    start = "access-control-"
    told = response.headers.items()
    return {name.removeprefix(start): value for name, value in told if start in name}


@pytest.mark.parametrize("path", ["/store/1Abc/a", "/hub_info", "/v1/names/alice.id"])
def test_pages_may_write(hub: RunningHub, path: str) -> None:
    """A preflight of the write half lists methods and headers, for a day."""
    answer = hub.http.options(path, headers=PREFLIGHT)

    assert answer.status_code == 204
    assert cors(answer) == {
        "allow-origin": "*",
        "allow-methods": "DELETE,POST,GET,OPTIONS,HEAD",
        "allow-headers": "Authorization,Content-Type,If-Match,If-None-Match",
        "max-age": "86400",
    }


def test_pages_may_read(hub: RunningHub) -> None:
    """The read half allows the headers it is asked for, and shows the etag."""
    answer = hub.http.options("/hub/1Abc/a", headers=PREFLIGHT)
    plain = hub.http.options("/hub/1Abc/a")

    assert answer.status_code == 204
    assert cors(answer) == {
        "allow-origin": "*",
        "allow-methods": "GET,HEAD,OPTIONS",
        "allow-headers": "authorization,if-match",
        "expose-headers": "Content-Type,ETag",
        "max-age": "86400",
    }
    assert "allow-headers" not in cors(plain)


def test_pages_can_read_why_they_were_refused(bucket: Bucket) -> None:
    """Errors are for all origins, too, on both halves."""
    assert cors(bucket.store("a", authorization="")) == {"allow-origin": "*"}
    assert cors(bucket.read("nothing")) == {
        "allow-origin": "*",
        "expose-headers": "Content-Type,ETag",
    }


def test_pages_cannot_make_names(hub: RunningHub) -> None:
    """A browser asks before a PUT, and is told nothing that would let it."""
    answer = hub.http.options("/dev/names/alice.id", headers=PREFLIGHT)

    assert cors(answer) == {}


# --- restarts and outages ------------------------------------------------------------


def test_a_directory_keeps_everything(tmp_path: Path) -> None:
    """After a restart files, types, times and revocations are as they were."""
    with running_devhub(tmp_path) as first:
        bucket = Bucket(first)
        bucket.store("a/b", headers={"Content-Type": "image/png"})
        bucket.store("gone/c")
        bucket.delete("gone/c")
        bucket.revoke(1000)
        before = bucket.read("a/b").headers["last-modified"]
    with running_devhub(tmp_path) as second:
        after = Bucket(second, bucket.key)
        read = after.read("a/b")

        assert after.names(claims={"iat": 1000}) == ["a/b"]
        assert (read.content, read.headers["etag"]) == (b"hello", HELLO)
        assert read.headers["content-type"] == "image/png"
        assert read.headers["last-modified"] == before
        assert after.store("d").status_code == 401


def test_an_outage_ends_where_it_began(hub: RunningHub, bucket: Bucket) -> None:
    """A stopped hub refuses connections, and has port and files again afterwards."""
    bucket.store("a")
    hub.stop()
    with pytest.raises(httpx2.ConnectError):
        bucket.read("a")
    hub.start()

    assert bucket.read("a").content == b"hello"

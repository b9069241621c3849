"""The files of the development hub: one spelling of a path, and a directory that lasts."""

from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from pushd.devhub.errors import BadPathError, DoesNotExist, HubError
from pushd.devhub.storage import Storage, normal


@pytest.mark.parametrize(
    ("path", "plain"),
    [
        ("a", "a"),
        ("a/b", "a/b"),
        ("a//b", "a/b"),
        ("/a", "a"),
        ("./a/./b", "a/b"),
        (".well-known/x", ".well-known/x"),
        ("ü" * 127, "ü" * 127),
    ],
)
def test_a_path_has_one_spelling(path: str, plain: str) -> None:
    """Empty segments and single dots say nothing."""
    assert normal("1Abc", path) == plain


@pytest.mark.parametrize(
    ("path", "error"),
    [
        ("..", BadPathError),
        ("a..b", BadPathError),
        ("a/", BadPathError),
        ("x/" * 99 + "x", BadPathError),
        ("/".join(["x" * 200] * 21), BadPathError),
        ("", HubError),
        (".", HubError),
        ("a\0", HubError),
        ("ü" * 128, HubError),
    ],
)
def test_some_paths_no_file_can_have(path: str, error: type[HubError]) -> None:
    """What the hub refuses has a name; what a file system refuses is its 500."""
    with pytest.raises(HubError) as refused:
        normal("1Abc", path)
    assert refused.type is error


def test_the_limits_of_a_path_count_the_bucket() -> None:
    """100 levels and 4096 characters, slashes and bucket included, are the most."""
    assert normal("1Abc", "/".join("x" * 99)).count("/") == 98
    longest = "/".join(["x" * 200] * 20) + "/" + "x" * (4096 - 5 - 20 * 201)
    assert normal("1Abc", longest) == longest
    with pytest.raises(BadPathError):
        normal("1Abc", f"{longest}x")


def test_a_file_and_a_directory_share_no_name() -> None:
    """Neither way round, and the first one stays."""
    storage = Storage()
    storage.write("b", "a/b", b"1", "")
    storage.write("b", "c", b"2", "")

    for path in ("a", "c/d", "c/d/e"):
        with pytest.raises(HubError):
            storage.write("b", path, b"3", "")
    assert [path for path, _ in storage.files("b")] == ["a/b", "c"]


def test_a_rename_keeps_everything_but_the_name() -> None:
    """Content, type and time go with it; where nothing is there is nothing to rename."""
    clock = iter((1.0, 2.0))
    storage = Storage(clock=lambda: next(clock))
    before = storage.write("b", "a", b"1", "text/plain")
    storage.rename("b", "a", "c/d")

    assert storage.read("b", "a") is None
    assert storage.read("b", "c/d") == before
    with pytest.raises(DoesNotExist):
        storage.rename("b", "a", "e")


def test_the_directory_is_that_of_the_real_hub(tmp_path: Path) -> None:
    """Content lies at bucket and path, its type beside all buckets, as JSON."""
    file = Storage(tmp_path).write("1Abc", "a/b", b"hello", "text/plain")

    assert (tmp_path / "1Abc/a/b").read_bytes() == b"hello"
    assert (tmp_path / ".gaia-metadata/1Abc/a/b").read_bytes() == (
        b'{"content-type":"text/plain","etag":"%s"}' % file.etag.encode()
    )


def test_a_deletion_that_was_cut_short_is_done(tmp_path: Path) -> None:
    """A content type without its file is no file."""
    Storage(tmp_path).write("1Abc", "a", b"hello", "text/plain")
    (tmp_path / "1Abc/a").unlink()

    assert Storage(tmp_path).files("1Abc") == []


PATHS = st.sampled_from(["a", "a/b", "a/b/c", "b", "c d/é", ".history.1.x.a"])
STEPS = st.lists(st.tuples(st.sampled_from(["write", "delete", "rename"]), PATHS, PATHS))


def follow(storage: Storage, steps: list[tuple[str, str, str]]) -> None:
    """Do what the steps say, as far as it is allowed."""
    for number, (step, path, other) in enumerate(steps):
        try:
            if step == "write":
                storage.write("1Abc", path, b"%d" % number, other)
            elif step == "delete":
                storage.delete("1Abc", path)
            else:
                storage.rename("1Abc", path, f"{path}.{number}")
        except HubError:
            pass  # both refuse the same


@settings(deadline=None)
@given(STEPS)
@example([("write", "a/b/c", ""), ("delete", "a/b/c", ""), ("write", "a", "")])
def test_memory_and_directory_agree(steps: list[tuple[str, str, str]]) -> None:
    """Whatever happens, a directory opened again holds what memory alone would."""
    memory = Storage(clock=lambda: 5.0)
    follow(memory, steps)
    with TemporaryDirectory() as directory:
        follow(Storage(Path(directory), clock=lambda: 5.0), steps)
        opened = Storage(Path(directory))

    assert opened.files("1Abc") == memory.files("1Abc")

"""What a client keeps on disk survives, whole, and belongs to one identity and server."""

from pathlib import Path

import pytest

from pushd.client import CursorStore, FileCursors, MemoryCursors, Progress

BOB = "did:btc-addr:1Bob"
SERVER = "https://push.example"
PROGRESS = Progress(cursor="1-2@3", acks=["1-5"], upto=["1-2"])


@pytest.fixture(params=["file", "memory"])
def cursors(request: pytest.FixtureRequest, tmp_path: Path) -> CursorStore:
    """Return a store of each kind."""
    return FileCursors(tmp_path / "new") if request.param == "file" else MemoryCursors()


def files(directory: Path) -> list[Path]:
    """List a directory."""
    return list(directory.iterdir())


async def test_what_was_saved_is_loaded(cursors: CursorStore) -> None:
    """The latest counts."""
    assert await cursors.load(BOB, SERVER) is None
    await cursors.save(BOB, SERVER, Progress(cursor="1-1"))
    await cursors.save(BOB, SERVER, PROGRESS)
    assert await cursors.load(BOB, SERVER) == PROGRESS


async def test_identities_and_servers_are_kept_apart(cursors: CursorStore) -> None:
    """A cursor means nothing in another mailbox."""
    await cursors.save(BOB, SERVER, PROGRESS)
    assert await cursors.load(BOB, SERVER + ":1") is None
    assert await cursors.load(BOB + "1", SERVER) is None


async def test_a_file_outlives_its_object(tmp_path: Path) -> None:
    """And nothing else is left beside it."""
    await FileCursors(tmp_path).save(BOB, SERVER, PROGRESS)
    assert await FileCursors(str(tmp_path)).load(BOB, SERVER) == PROGRESS
    assert [FileCursors(tmp_path).path(BOB, SERVER)] == files(tmp_path)


async def test_a_save_that_fails_leaves_what_was(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A full disk costs the latest save only."""
    cursors = FileCursors(tmp_path)
    await cursors.save(BOB, SERVER, PROGRESS)

    def full(handle: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("os.fsync", full)
    with pytest.raises(OSError, match="No space"):
        await cursors.save(BOB, SERVER, Progress())
    assert await cursors.load(BOB, SERVER) == PROGRESS
    assert len(files(tmp_path)) == 1


async def test_a_file_of_something_else_is_no_cursor(tmp_path: Path) -> None:
    """It is refused with its name, rather than taken for a beginning."""
    cursors = FileCursors(tmp_path)
    cursors.path(BOB, SERVER).write_text("{}")
    with pytest.raises(ValueError, match="does not hold a cursor"):
        await cursors.load(BOB, SERVER)

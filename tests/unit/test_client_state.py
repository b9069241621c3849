"""What a client knows after a restart."""

from pathlib import Path

import pytest

from pushd.client.state import State, StateFile

BOB = "did:btc-addr:1BvBMSEYstWetqTFn5Au4m4GFg7xJaNVN2"
STATE = State(["https://a.example"], {"https://b.example": 1.5}, ["mark"])


async def test_a_state_comes_back(tmp_path: Path) -> None:
    """Each identity has its own."""
    directory = tmp_path / "deeper"
    await StateFile(directory, BOB).save(STATE)
    assert await StateFile(str(directory), BOB).load() == STATE
    assert await StateFile(directory, "did:key:z1").load() == State()


async def test_without_a_directory_nothing_is_kept() -> None:
    """It is no error."""
    file = StateFile(None, BOB)
    await file.save(STATE)
    assert await file.load() == State()


async def test_what_is_no_state_is_refused(tmp_path: Path) -> None:
    """With the name of the file, so that somebody can look."""
    file = StateFile(tmp_path, BOB)
    assert file.path is not None
    file.path.write_text("[]")
    with pytest.raises(ValueError, match="does not hold a state"):
        await file.load()

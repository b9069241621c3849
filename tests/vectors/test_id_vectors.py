"""Replays ids.json: message ids, cursors, continuity."""

import pytest

from pushd.errors import BadRequest
from pushd.protocol.ids import Cursor, MessageId
from tests.vectors.files import Json, cases


@cases("ids.json", "ids", "valid")
def test_ids(case: Json) -> None:
    """An id is read as two numbers and written as it was."""
    id = MessageId.parse(case["id"])
    assert MessageId(case["epoch"], case["seq"]) == id
    assert case["id"] == str(id)


@cases("ids.json", "ids", "invalid")
def test_invalid_ids(case: Json) -> None:
    """What is not two canonical decimals is refused."""
    with pytest.raises(BadRequest) as caught:
        MessageId.parse(case["text"])
    assert case["error"] == caught.value.code


@cases("ids.json", "cursors", "valid")
def test_cursors(case: Json) -> None:
    """A cursor is read as an id and an epoch, and written in its shorter form."""
    cursor = Cursor.parse(case["id"])
    assert MessageId(case["after"]["epoch"], case["after"]["seq"]) == cursor.id
    assert case["epoch"] == cursor.epoch
    assert case["canonical"] == str(cursor)


@cases("ids.json", "cursors", "invalid")
def test_invalid_cursors(case: Json) -> None:
    """What is neither an id nor an id with an epoch is refused."""
    with pytest.raises(BadRequest) as caught:
        Cursor.parse(case["text"])
    assert case["error"] == caught.value.code


@cases("ids.json", "continuity")
def test_continuity(case: Json) -> None:
    """A cursor continues only in the current epoch and not above the tail."""
    tail = MessageId.parse(case["tail"])
    continues = case["cursor"] is not None and Cursor.parse(case["cursor"]).continues(tail)
    assert case["continuity"] == ("exact" if continues else "replay")

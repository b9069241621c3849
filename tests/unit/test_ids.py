"""Message ids and cursors: read, written, compared."""

from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pushd.errors import BadRequest
from pushd.protocol.ids import LIMIT, START, Cursor, MessageId

numbers = st.integers(0, LIMIT - 1)
ids = st.builds(MessageId, numbers, numbers)


@given(ids)
def test_an_id_is_read_as_it_is_written(id: MessageId) -> None:
    """Writing and reading an id gives the id."""
    assert id == MessageId.parse(str(id))


@given(ids, numbers)
def test_a_cursor_is_read_as_it_is_written(id: MessageId, epoch: int) -> None:
    """Writing and reading a cursor gives the cursor."""
    cursor = Cursor(id, epoch)
    assert cursor == Cursor.parse(str(cursor))


@given(ids)
def test_an_id_is_a_cursor(id: MessageId) -> None:
    """A plain id is a cursor of its own epoch."""
    assert Cursor(id, id.epoch) == Cursor.parse(str(id))


@given(ids, ids)
def test_ids_are_compared_as_numbers(one: MessageId, two: MessageId) -> None:
    """The order of ids is that of their numbers, never that of their texts."""
    assert (one < two) == ((one.epoch, one.seq) < (two.epoch, two.seq))
    assert one >= START


@given(st.text(max_size=40))
def test_junk(text: str) -> None:
    """A text that is no id or cursor is refused without another error."""
    for parse in (MessageId.parse, Cursor.parse):
        with suppress(BadRequest):
            assert parse(text) == parse(str(parse(text)))


@pytest.mark.parametrize("id", [MessageId(LIMIT, 1), MessageId(1, LIMIT)])
def test_numbers_every_language_can_hold(id: MessageId) -> None:
    """A number of 2^53 or more is refused."""
    with pytest.raises(BadRequest, match="2\\^53"):
        MessageId.parse(str(id))


@given(ids, ids)
def test_a_tail_is_a_cursor_that_continues(id: MessageId, tail: MessageId) -> None:
    """A client that adopts the tail misses nothing; above the tail nothing continues."""
    assert Cursor(tail, tail.epoch).continues(tail)
    if id > tail:
        assert not Cursor(id, tail.epoch).continues(tail)

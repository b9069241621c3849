"""Message ids and cursors: where a message stands in its mailbox.

A message id is `<epoch>-<seq>`. Within an epoch `seq` counts 1, 2, 3... without gaps; a
new epoch begins whenever the store cannot vouch for continuity. A cursor is the id up to
which a client has handled everything, together with the epoch in which it was told so:
`<id>` when that is the id's own epoch, else `<id>@<epoch>`.
"""

import re
from collections.abc import Iterable
from typing import Self

from msgspec import Struct

from pushd.errors import BadRequest

LIMIT = 2**53
"""Epochs and sequence numbers are below this, so that every language can hold them."""

_ID = re.compile(r"(0|[1-9][0-9]{0,15})-(0|[1-9][0-9]{0,15})")


class MessageId(Struct, frozen=True, order=True, gc=False):
    """Place of a message in its mailbox; ordered, and compared as two numbers.

    Attributes:
        epoch: Which stretch of unbroken numbering; microseconds since 1970, roughly.
        seq: Place within the epoch, from 1; 0 stands before its first message.
    """

    epoch: int
    seq: int

    @classmethod
    def parse(cls, text: str) -> Self:
        """Read `<epoch>-<seq>`.

        Raises:
            BadRequest: If it is not two canonical decimals below 2^53.
        """
        match = _ID.fullmatch(text)
        if match is None:
            raise BadRequest("An id is <epoch>-<seq>, two canonical decimal numbers.")
        epoch, seq = int(match[1]), int(match[2])
        if epoch >= LIMIT or seq >= LIMIT:
            raise BadRequest("The numbers of an id are below 2^53.")
        return cls(epoch, seq)

    def covers(self, other: "MessageId") -> bool:
        """Tell whether an ack up to this id removes `other`: it stays in its epoch."""
        return self.epoch == other.epoch and self.seq >= other.seq

    def __str__(self) -> str:
        return f"{self.epoch}-{self.seq}"


START = MessageId(0, 0)
"""Before the first message of every mailbox."""


class Cursor(Struct, frozen=True, gc=False):
    """Point up to which a client has handled everything.

    Attributes:
        id: Reading goes on after this id.
        epoch: The epoch that was current when the cursor was given out.
    """

    id: MessageId
    epoch: int

    @classmethod
    def parse(cls, text: str) -> Self:
        """Read `<id>` or `<id>@<epoch>`.

        Raises:
            BadRequest: If it is neither.
        """
        head, at, tail = text.partition("@")
        id = MessageId.parse(head)
        if not at:
            return cls(id, id.epoch)
        return cls(id, MessageId.parse(f"{tail}-0").epoch)

    def continues(self, tail: MessageId) -> bool:
        """Tell whether nothing can be missing between this cursor and `tail`.

        True is the protocol's continuity `exact`; otherwise history is replayed from
        the first unread message.
        """
        return self.epoch == tail.epoch and self.id <= tail

    def __str__(self) -> str:
        if self.epoch == self.id.epoch:
            return str(self.id)
        return f"{self.id}@{self.epoch}"


def parse_ids(texts: Iterable[str]) -> tuple[MessageId, ...]:
    """Read ids.

    Raises:
        BadRequest: If one is malformed.
    """
    return tuple(MessageId.parse(text) for text in texts)

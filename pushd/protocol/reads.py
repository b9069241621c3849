"""What was acked elsewhere and is still to be told; pure.

It waits while a page is under way, or the client takes nothing. So that it cannot grow with
what others do meanwhile, acks are kept as few: the highest `upto` of each epoch, and ids
beside it.
"""

from collections.abc import Iterator, Sequence

from pushd.protocol.ids import MessageId


class Reads:
    """Acks of other sessions; `in` tells whether one of them is of an id."""

    __slots__ = ("_ids", "_uptos")

    def __init__(self) -> None:
        # In the order in which they came.
        self._ids: dict[MessageId, None] = {}
        self._uptos: dict[int, MessageId] = {}

    def add(self, what: Sequence[MessageId] | MessageId) -> None:
        """Keep what one ack removed: these ids, or everything up to one in its epoch."""
        if not isinstance(what, MessageId):
            self._ids.update(dict.fromkeys(what))
            return
        before = self._uptos.get(what.epoch)
        if before is None or before < what:
            self._uptos[what.epoch] = what
            self._ids = {id: None for id in self._ids if not what.covers(id)}

    def __contains__(self, id: MessageId) -> bool:
        upto = self._uptos.get(id.epoch)
        return id in self._ids or (upto is not None and upto.covers(id))

    def __iter__(self) -> Iterator[Sequence[MessageId] | MessageId]:
        """Return what there is to tell, each in the form of an ack."""
        yield from self._uptos.values()
        if self._ids:
            yield list(self._ids)

    def __len__(self) -> int:
        """Return how much is kept: ids, and what stands for many."""
        return len(self._ids) + len(self._uptos)

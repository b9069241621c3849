"""What a client has handled: its cursor, its acks, and the duplicates it drops.

Theory of operation. Messages arrive in the order of the mailbox, and are handled in any
order. `waiting` holds those that arrived and are not handled, in order, each with the
cursor that stood before it. So the cursor is the one before the first of them, or, when
nothing waits, the one after the last arrival: it can not pass a message that is not
handled, and memory grows with what waits only.

A connection begins again after the cursor: what waited is forgotten, for the server sends
it again. A replay begins at the first unread message: the cursor is forgotten too, until
messages are handled from there.

An ack is owed from the moment a message is handled until the server confirmed it. Owed
acks and cursor are saved together, or a message whose ack was lost would stay in the
mailbox unseen, behind the cursor.
"""

from collections import OrderedDict
from collections.abc import Iterable, Sequence
from enum import Enum
from itertools import count, islice

from msgspec import UNSET, Struct

from pushd.errors import BadRequest
from pushd.protocol.ids import Cursor, MessageId
from pushd.protocol.messages import MAX_IDS, Ack, Read, Ref

REMEMBERED = 10_000
"""Handled ids that are remembered, to drop the duplicates of a replay."""


class Progress(Struct, frozen=True, omit_defaults=True):
    """What a client keeps across restarts.

    Attributes:
        cursor: Everything up to here was handled; None begins at the first unread.
        acks: Ids handled, whose acks the server has not confirmed.
        upto: Ids up to which everything of their epoch was handled, unconfirmed too.
    """

    cursor: str | None = None
    acks: list[str] = []
    upto: list[str] = []


class _Place(Enum):
    """Where a message is, while it is neither handled nor only in the mailbox."""

    RUNNING = "with the listeners"
    HELD = "kept by the app, which will ack it"


class Ledger:
    """The books of one mailbox, for one client.

    Attributes:
        owed: The acks the server has not confirmed.
        running: How many messages are with the listeners.
    """

    def __init__(self, progress: Progress) -> None:
        self.owed = Owed(progress)
        self.running = 0
        self._places: dict[MessageId, _Place] = {}
        self._handled: OrderedDict[MessageId, None] = OrderedDict()
        for id in self.owed.ids:
            self._remember(id)
        self._waiting: OrderedDict[MessageId, Cursor | None] = OrderedDict()
        self._reached = None if progress.cursor is None else Cursor.parse(progress.cursor)

    @property
    def cursor(self) -> Cursor | None:
        """Point up to which everything was handled; None before the first unread."""
        return next(iter(self._waiting.values()), self._reached)

    @property
    def holding(self) -> list[str]:
        """The first of the messages that arrived and are not handled."""
        return [str(id) for id in islice(self._waiting, MAX_IDS)]

    @property
    def settled(self) -> bool:
        """Whether all that arrived was handled, and the server confirmed every ack."""
        return not self._waiting and self.owed.settled

    def progress(self) -> Progress:
        """Return what has to survive a restart."""
        cursor = self.cursor
        ids, upto = self.owed.everything()
        return Progress(
            cursor=None if cursor is None else str(cursor),
            acks=[str(id) for id in ids],
            upto=[str(id) for id in upto],
        )

    # --- what the server says --------------------------------------------------------

    def resume(self) -> None:
        """Begin a connection after the cursor: what waits there is sent again."""
        self._reached = self.cursor
        self._waiting.clear()

    def restart(self) -> None:
        """Begin again at the first unread message."""
        self._reached = None
        self._waiting.clear()

    def arrived(self, id: MessageId, epoch: int) -> bool:
        """Enter a message that came, in a frame whose cursor is of this epoch.

        Returns:
            Whether it goes to the listeners; if not, it is a duplicate.

        Raises:
            BadRequest: If it comes after a later one of its epoch, so that the cursor
                would no longer mean anything.
        """
        again = id in self._handled
        known = again or id in self._waiting or id in self._places
        if self._overtaken(id):
            if not known:
                raise BadRequest("The server sent a message after a later one.")
        elif id not in self._waiting:
            if not again:
                self._waiting[id] = self._reached
            self._reached = Cursor(id, epoch)
        if again:
            self.owed.add(id)
        if again or id in self._places:
            return False
        self._places[id] = _Place.RUNNING
        self.running += 1
        return True

    def _overtaken(self, id: MessageId) -> bool:
        reached = self._reached
        return reached is not None and id.epoch == reached.id.epoch and id <= reached.id

    def caught_up(self, cursor: Cursor) -> None:
        """Take the cursor after all of history; it counts once that is handled."""
        self._reached = cursor

    def gone(self, read: Read) -> None:
        """Strike what was acked elsewhere: it waits no longer."""
        for id in _named(read, self._waiting):
            self._waiting.pop(id, None)
            if self._places.get(id) is _Place.HELD:
                del self._places[id]

    # --- what the listeners say ------------------------------------------------------

    def handled(self, id: MessageId) -> None:
        """Owe an ack: this message is safe with the app."""
        self._leave(id)
        self._waiting.pop(id, None)
        self._remember(id)
        self.owed.add(id)

    def held(self, id: MessageId) -> None:
        """Note that the listeners are done, and the app will ack later."""
        if id in self._places:
            self._leave(id)
            self._places[id] = _Place.HELD

    def failed(self, id: MessageId) -> None:
        """Note that nobody handled it: it stays unread, for the next connection."""
        self._leave(id)

    def _leave(self, id: MessageId) -> None:
        if self._places.pop(id, None) is _Place.RUNNING:
            self.running -= 1

    def _remember(self, id: MessageId) -> None:
        self._handled[id] = None
        if len(self._handled) > REMEMBERED:
            self._handled.popitem(last=False)


class Owed:
    """Acks from the moment they are due until the server confirmed them.

    Attributes:
        ids: Messages to ack; a set that keeps its order.
        changed: Whether anything changed since this was last set to False.
    """

    def __init__(self, progress: Progress) -> None:
        self.ids = dict.fromkeys(map(MessageId.parse, progress.acks))
        self.changed = False
        self._upto: dict[int, MessageId] = {}
        self._unconfirmed: dict[Ref, Sequence[MessageId] | MessageId] = {}
        self._refs = count(1)
        for text in progress.upto:
            self._add_upto(MessageId.parse(text))

    @property
    def due(self) -> bool:
        """Whether there are acks to say."""
        return bool(self.ids or self._upto)

    @property
    def settled(self) -> bool:
        """Whether the server confirmed everything."""
        return not (self.due or self._unconfirmed)

    def add(self, id: MessageId) -> None:
        """Owe the ack of a message."""
        self.ids[id] = None
        self.changed = True

    def _add_upto(self, id: MessageId) -> None:
        self._upto[id.epoch] = max(id, self._upto.get(id.epoch, id))

    def frames(self, cursor: Cursor | None) -> list[Ack]:
        """Turn what is due into frames, each to be confirmed by its `ref`.

        What the cursor covers is acked by one id up to which everything of its epoch
        was handled, the rest by name.

        Args:
            cursor: Up to which everything was handled; None: it covers nothing yet.
        """
        if cursor is not None:
            covered = [i for i in self.ids if i.epoch == cursor.id.epoch and i <= cursor.id]
            for id in covered:
                del self.ids[id]
            if covered:
                self._add_upto(max(covered))
        ids, self.ids = list(self.ids), {}
        upto, self._upto = list(self._upto.values()), {}
        named = [ids[start : start + MAX_IDS] for start in range(0, len(ids), MAX_IDS)]
        return [self._frame(id) for id in upto] + [self._frame(some) for some in named]

    def _frame(self, what: Sequence[MessageId] | MessageId) -> Ack:
        ref = next(self._refs)
        self._unconfirmed[ref] = what
        if isinstance(what, MessageId):
            return Ack(upto=str(what), ref=ref)
        return Ack(ids=[str(id) for id in what], ref=ref)

    def confirmed(self, ref: Ref) -> None:
        """Forget an ack: the server carried it out."""
        self._unconfirmed.pop(ref, None)
        self.changed = True

    def refused(self, ref: Ref) -> bool:
        """Owe an ack again that the server could not carry out.

        Returns:
            Whether `ref` was that of an ack.
        """
        what = self._unconfirmed.pop(ref, None)
        if isinstance(what, MessageId):
            self._add_upto(what)
        elif what is not None:
            self.ids.update(dict.fromkeys(what))
        return what is not None

    def lost(self) -> None:
        """Owe everything again that is not confirmed: the connection is gone."""
        for ref in list(self._unconfirmed):
            self.refused(ref)

    def everything(self) -> tuple[list[MessageId], list[MessageId]]:
        """Return all that is not confirmed: by name, and by the id up to which."""
        ids, upto = list(self.ids), list(self._upto.values())
        for what in self._unconfirmed.values():
            if isinstance(what, MessageId):
                upto.append(what)
            else:
                ids += what
        return ids, upto


def _named(read: Read, waiting: Iterable[MessageId]) -> list[MessageId]:
    """Return the ids a `read` frame speaks of; for an `upto`, those that wait."""
    if read.ids is not UNSET:
        return [MessageId.parse(text) for text in read.ids]
    if read.upto is UNSET:
        return []
    upto = MessageId.parse(read.upto)
    return [id for id in waiting if id.epoch == upto.epoch and id <= upto]

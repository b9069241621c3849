"""What of a mailbox goes out to one client, and when; of who the client is, nothing.

Theory of operation. The flow owns one promise: the client is sent every message after its
cursor, in order, at least once, never more than `window` of them unseen, and is told the
truth whenever continuity was broken.

    OPENING --opened--> CATCHUP --complete page--> LIVE
       ^                                          |    ^
       |                 gap, or no room to push  v    | complete
       +------- another epoch is seen ---------- LAGGING page

- `position` is how far the client was sent; a message goes out only as its successor.
- In CATCHUP and LAGGING pages are pulled, one at a time, as room allows. While a page is
  under way publications wait in the *gate*: what the page does not cover is pushed right
  after it, so nothing falls between reading and listening. A gate that overflows is
  given up and another page read; the mailbox is the truth, publications only make it fast.
- Room is the window less what the client has not seen. A client that reads slowly, or a
  transport that is full, has no room: pushes are dropped and pulled later.
- `read` events wait behind a page under way, and drop from it what was read elsewhere. They
  wait for a transport that is full, too.
- Another epoch, seen anywhere, is not a gap: the mailbox is opened again, the client told
  `replay`, and history begins at the first unread message.
"""

from bisect import bisect_right
from collections.abc import Sequence
from enum import IntEnum

from pushd.protocol.commands import Commands, Open, Push, ReadPage, Send, Told
from pushd.protocol.ids import START, Cursor, MessageId
from pushd.protocol.messages import (
    MESSAGES_PER_FRAME,
    CaughtUp,
    Overflow,
    Overflowed,
    Read,
    Replay,
    StoredMessage,
    frames_of,
)
from pushd.protocol.reads import Reads

GATE_LIMIT = MESSAGES_PER_FRAME
"""Publications kept while a page is under way; more are read instead."""


class State(IntEnum):
    """Where a session stands."""

    GREETING = 0
    OPENING = 1
    CATCHUP = 2
    LIVE = 3
    LAGGING = 4
    CLOSING = 5


NOTHING: Commands = []
"""The answer of most events; shared, never changed."""


class Flow:
    """The messages of one mailbox on their way to one client.

    Attributes:
        state: Where the session stands.
        epoch: The mailbox's, as the client was told; 0 until it was opened.
        position: How far the client was sent.
        window: How many messages may be unseen.
    """

    __slots__ = (
        "_blocked_since",
        "_gate",
        "_reads",
        "_replay_reason",
        "_retry_at",
        "_unseen",
        "epoch",
        "position",
        "state",
        "window",
    )

    def __init__(self) -> None:
        self.state = State.GREETING
        self.epoch = 0
        self.position = START
        self.window = 0
        # What was published since a page, or an opening, is under way; None if none is.
        self._gate: list[StoredMessage] | None = None
        # Ids sent and not yet seen, ascending; None when there are none.
        self._unseen: list[MessageId] | None = None
        self._reads: Reads | None = None
        self._replay_reason = ""
        # Since when the transport has taken nothing, in Unix seconds; 0 if not full.
        self._blocked_since = 0.0
        # When to read again what failed, in Unix seconds; 0 if nothing did.
        self._retry_at = 0.0

    # --- history ---------------------------------------------------------------------

    def _open(self, holding: Sequence[MessageId]) -> Commands:
        self._gate = []
        return [Open(holding)]

    def _reopen(self, reason: str) -> Commands:
        """Begin again from the first unread message, because continuity was broken."""
        self.state = State.OPENING
        self._replay_reason = reason
        self._unseen = None
        return self._open(())

    def _replayed(self, tail: MessageId, unread: int) -> Replay:
        """Go back to the first unread message, and say why."""
        self.position = START
        reason, self._replay_reason = self._replay_reason, ""
        return Replay(tail=str(tail), unread=unread, reason=reason)

    def _begin(
        self,
        tail: MessageId,
        unread: int,
        gone: Sequence[MessageId],
        overflow: Overflow | None,
    ) -> Commands:
        """Begin the history of a mailbox that was opened, from the position."""
        gate, self._gate = self._gate, None
        commands: Commands = []
        if gone:
            commands.append(Send(Read(ids=[str(id) for id in gone])))
        self.epoch = tail.epoch
        self.state = State.CATCHUP
        if unread == 0 or self.position == tail:
            return commands + self._arrive(tail, unread, overflow, gate)
        return commands + self._go_on()

    def page(
        self,
        messages: Sequence[StoredMessage],
        complete: bool,
        tail: MessageId,
        unread: int,
        overflow: Overflow | None,
    ) -> Commands:
        """Take a page: send it, and go on with the next or with what waits in the gate.

        Args:
            messages: What follows the position, as far as the limits went.
            complete: Whether nothing followed the last of them.
            tail: The last id assigned in the current epoch, or `<epoch>-0`.
            unread: How many messages the mailbox holds.
            overflow: What a full mailbox refused and its owner was not yet told, or None.
        """
        if self.state is State.CLOSING:
            return NOTHING
        gate, self._gate = self._gate, None
        if tail.epoch != self.epoch:
            return self._reopen("The mailbox began a new epoch.")
        commands = self._send(self._without_read(messages))
        if complete:
            return commands + self._arrive(tail, unread, overflow, gate)
        self.position = messages[-1].id
        return commands + self._go_on()

    def _arrive(
        self,
        tail: MessageId,
        unread: int,
        overflow: Overflow | None,
        gate: Sequence[StoredMessage] | None,
    ) -> Commands:
        """Go live from `tail`, with what was published while the page was under way."""
        self.position = tail
        commands: Commands = []
        if self.state is State.CATCHUP:
            end = str(tail)
            commands.append(Send(CaughtUp(tail=end, cursor=end, unread=unread)))
            # No page after a lag tells it: while the mailbox is full, each of them would.
            if overflow is not None:
                commands += self.overflowed(overflow)
        if gate and len(gate) > GATE_LIMIT:
            self.state = State.LAGGING
            return commands + self._go_on()
        self.state = State.LIVE
        if gate:
            commands += self._follow(gate)
        return commands + self._tell_reads()

    def _go_on(self) -> Commands:
        """Tell what had to wait, and read on if there is room."""
        return self._tell_reads() + self._pull()

    def _pull(self) -> Commands:
        """Read the next page, if none is under way and there is room for some of it."""
        if self._gate is not None or self._retry_at:
            return NOTHING
        if self.state not in (State.CATCHUP, State.LAGGING):
            return NOTHING
        room = self._room
        if room < min(MESSAGES_PER_FRAME, (self.window + 1) // 2):
            return NOTHING
        self._gate = []
        return [ReadPage(self.position, min(MESSAGES_PER_FRAME, room))]

    def _retry(self, now: float) -> Commands:
        """Try again what failed, once it is time."""
        if not self._retry_at or now < self._retry_at:
            return NOTHING
        self._retry_at = 0.0
        if self._gate is not None:
            return NOTHING
        if self.state is State.OPENING:
            return self._open(())
        return self._pull()

    # --- what happens in the mailbox -------------------------------------------------

    def takes(self, id: MessageId) -> bool:
        """Tell whether the one message just published is to be sent as it is, and now.

        That is almost always so, and no commands are made for it: it counts as sent. If
        not, nothing has changed, and `published` decides.
        """
        position = self.position
        if (
            self.state is not State.LIVE
            or id.seq != position.seq + 1
            or id.epoch != position.epoch
            or self._reads
            or self._blocked_since
        ):
            return False
        if self._unseen is None:
            self._unseen = [id]
        elif len(self._unseen) < self.window:
            self._unseen.append(id)
        else:
            return False
        self.position = id
        return True

    def published(self, messages: Sequence[StoredMessage]) -> Commands:
        """Take messages as they were accepted, in order."""
        if self.state is State.LIVE:
            return self._follow(messages)
        self._keep(messages)
        return NOTHING

    def _keep(self, messages: Sequence[StoredMessage]) -> None:
        """Hold publications back; one above the limit tells that there were more."""
        if self._gate is not None:
            self._gate.extend(messages[: GATE_LIMIT + 1 - len(self._gate)])

    def overflowed(self, overflow: Overflow) -> Commands:
        """Take that the full mailbox refused deliveries."""
        if self.state in (State.GREETING, State.OPENING, State.CLOSING):
            return NOTHING
        frame = Overflowed(refused=overflow.refused, since=overflow.since)
        return [Send(frame), Told(overflow)]

    def tail(self, tail: MessageId | None) -> Commands:
        """Compare with the mailbox's tail; None if the mailbox is not there.

        Finds what a lost publication hid, and an epoch that nobody published in. Whatever
        waits to be tried again is tried now: a clock that was set back since would have it
        wait for as long as that.
        """
        retry, self._retry_at = self._retry_at, 0.0
        if self._gate is not None or self.state in (State.GREETING, State.CLOSING):
            return NOTHING
        if self.state is State.OPENING:
            return self._open(()) if retry else NOTHING
        if tail is None:
            return self._reopen("The mailbox was lost.")
        if tail.epoch != self.epoch:
            return self._reopen("The mailbox began a new epoch.")
        if self.state is State.LIVE and tail > self.position:
            self.state = State.LAGGING
        return self._pull() if self.state is not State.LIVE else NOTHING

    # --- sending ---------------------------------------------------------------------

    @property
    def _room(self) -> int:
        """How many messages may be sent now."""
        if self._blocked_since:
            return 0
        return self.window - (len(self._unseen) if self._unseen is not None else 0)

    def _follow(self, messages: Sequence[StoredMessage]) -> Commands:
        """Send what directly follows the position; fall behind at a gap or without room."""
        room = self._room
        epoch, seq = self.position.epoch, self.position.seq
        if len(messages) == 1 and room > 0:  # as almost always
            id = messages[0].id
            if id.epoch == epoch and id.seq == seq + 1:
                self.position = id
                return self._send(self._without_read(messages))
        taken: list[StoredMessage] = []
        for message in messages:
            id = message.id
            if id.epoch > epoch:
                commands = self._send(self._without_read(taken))
                return commands + self._reopen("The mailbox began a new epoch.")
            if id.epoch < epoch or id.seq <= seq:
                continue
            if id.seq != seq + 1 or len(taken) >= room:
                self.state = State.LAGGING
                break
            seq += 1
            taken.append(message)
        if seq != self.position.seq:
            self.position = MessageId(epoch, seq)
        commands = self._send(self._without_read(taken))
        if self.state is State.LAGGING:
            commands = commands + self._pull()
        return commands

    def _send(self, messages: Sequence[StoredMessage]) -> Commands:
        """Push messages in frames of bounded count and size."""
        if not messages:
            return []
        if self._unseen is None:
            self._unseen = []
        self._unseen.extend([message.id for message in messages])
        return [Push(part, Cursor(part[-1].id, self.epoch)) for part in frames_of(messages)]

    def _seen(self, upto: MessageId) -> Commands:
        """Open the window for what the client took off the wire."""
        unseen = self._unseen
        if unseen is not None:
            if unseen[-1] <= upto:
                self._unseen = None
            else:
                del unseen[: bisect_right(unseen, upto)]
        return self._pull() if self.state is not State.LIVE else NOTHING

    # --- what is read elsewhere ------------------------------------------------------

    def _read_elsewhere(self, what: Sequence[MessageId] | MessageId) -> Commands:
        """Tell what was acked elsewhere, now or when it may be told."""
        if self._gate is None and not self._blocked_since:
            return self._tell_reads() + self._tell_read(what)
        if self._reads is None:
            self._reads = Reads()
        self._reads.add(what)
        return NOTHING

    def _without_read(self, messages: Sequence[StoredMessage]) -> Sequence[StoredMessage]:
        """Leave out what was read elsewhere while it was on its way."""
        reads = self._reads
        if reads is None:
            return messages
        return [message for message in messages if message.id not in reads]

    def _tell_reads(self) -> Commands:
        """Tell what was acked elsewhere and had to wait."""
        if self._reads is None or self._blocked_since:
            return []
        commands: Commands = []
        reads, self._reads = self._reads, None
        for what in reads:
            commands += self._tell_read(what)
        return commands

    def _tell_read(self, what: Sequence[MessageId] | MessageId) -> Commands:
        """Tell what was acked elsewhere, in the form of the ack."""
        if isinstance(what, MessageId):
            return [Send(Read(upto=str(what))), *self._seen(what)]
        return [Send(Read(ids=[str(id) for id in what])), *self._seen(max(what))]

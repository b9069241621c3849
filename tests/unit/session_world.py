"""A world for one session: a mailbox, a bus and a client, each acting in small steps.

Every await of a driver is two steps: the store executes a command (and sees the mailbox
as it is then), and later the answer lands at the session. Between any two steps anything
else may happen. The client checks every promise as frames reach it.
"""

from collections import deque
from collections.abc import Callable, Sequence
from typing import NamedTuple

from pushd.errors import Overloaded
from pushd.protocol.commands import (
    Acknowledge,
    Authenticate,
    Close,
    Command,
    Commands,
    Open,
    Probe,
    Push,
    ReadPage,
    Send,
    Told,
)
from pushd.protocol.ids import START, Cursor, MessageId
from pushd.protocol.messages import (
    Ack,
    CaughtUp,
    Hello,
    Read,
    Replay,
    Seen,
    StoredMessage,
    Welcome,
)
from pushd.protocol.session import RETRY, ServerSession, Terms

NOW = 1_800_000_000.0
TERMS = Terms(server="https://push.example", ping_interval=25)
BOB = "did:btc-addr:12yhNanxrq1q5diWovJkfCXRMZvqoRVPo6"


def stored(id: MessageId) -> StoredMessage:
    """Return a message as the store hands it out."""
    return StoredMessage(id, b'{"id":"%s"}' % str(id).encode())


class Mailbox:
    """The mailbox as the store keeps it."""

    def __init__(self, epoch: int) -> None:
        self.unread: list[MessageId] = []
        self.tail = MessageId(epoch, 0)

    def accept(self) -> MessageId:
        """Assign the next id."""
        self.tail = MessageId(self.tail.epoch, self.tail.seq + 1)
        self.unread.append(self.tail)
        return self.tail

    def new_epoch(self) -> None:
        """Restart: numbering begins again, what is unread stays."""
        self.tail = MessageId(self.tail.epoch + 7, 0)

    def remove(self, what: Sequence[MessageId] | MessageId) -> None:
        """Forget what was acked."""
        if isinstance(what, MessageId):
            self.unread = [id for id in self.unread if not what.covers(id)]
        else:
            self.unread = [id for id in self.unread if id not in what]


class PageAnswer(NamedTuple):
    """A page as the mailbox was when the store executed the command."""

    messages: list[StoredMessage]
    complete: bool
    tail: MessageId
    unread: int


class OpenAnswer(NamedTuple):
    """The mailbox as it was when it was opened."""

    tail: MessageId
    unread: int


Published = list[MessageId] | tuple[Sequence[MessageId] | MessageId, str]


class Client:
    """The other end: remembers what it was sent, and checks each promise at once."""

    def __init__(self, window: int) -> None:
        self.window = window
        self.start: MessageId | None = None
        self.epoch = 0
        self.sent: list[MessageId] = []
        self.position = START
        self.owed_caught_up = 0
        self.owed_reads: list[Sequence[MessageId] | MessageId] = []
        self.closed = False

    def take(self, command: Send | Push, unread: list[MessageId]) -> None:
        """Take a frame off the session's hands, while `unread` is in the mailbox."""
        match command:
            case Push(messages, cursor):
                self._pushed([message.id for message in messages], cursor, unread)
            case Send(Welcome() as welcome):
                self._begin(MessageId.parse(welcome.tail), after=self.start)
            case Send(Replay() as replay):
                tail = MessageId.parse(replay.tail)
                assert tail.epoch > self.epoch, "a replay is told for a new epoch only"
                self._begin(tail, after=None)
            case Send(CaughtUp() as caught_up):
                self.owed_caught_up -= 1
                assert self.owed_caught_up == 0, "caught_up comes once after a history"
                tail = MessageId.parse(caught_up.tail)
                assert tail.epoch == self.epoch
                assert Cursor.parse(caught_up.cursor) == Cursor(tail, tail.epoch)
                self.no_hole(tail, unread)
            case Send(Read() as read):
                self._told(read)
            case _:
                pass

    def _begin(self, tail: MessageId, after: MessageId | None) -> None:
        self.epoch = tail.epoch
        self.start = after if after is not None and after <= tail else START
        if self.start.epoch != tail.epoch:
            self.start = START
        self.sent = []
        self.position = START
        self.owed_caught_up = 1

    def _pushed(
        self, ids: list[MessageId], cursor: Cursor, unread: list[MessageId]
    ) -> None:
        assert cursor == Cursor(ids[-1], self.epoch)
        for id in ids:
            assert id.epoch <= self.epoch, "another epoch is told before it is sent"
            assert id not in self.sent, "nothing is sent twice"
            assert not self.sent or id > self.sent[-1], "messages keep their order"
            self.no_hole(MessageId(id.epoch, id.seq - 1), unread)
            self.sent.append(id)
        above = sum(1 for id in self.sent if id > self.position)
        assert above <= self.window, "the window is never overrun"

    def no_hole(self, upto: MessageId, unread: list[MessageId]) -> None:
        """Everything unread after the cursor and up to here was sent."""
        assert self.start is not None
        missing = [id for id in unread if self.start < id <= upto and id not in self.sent]
        assert not missing, "no unread message is passed over"

    def _told(self, read: Read) -> None:
        if isinstance(read.upto, str):
            upto = MessageId.parse(read.upto)
            self._untold(upto.covers)
            self.saw(upto)
        elif isinstance(read.ids, list):
            ids = [MessageId.parse(id) for id in read.ids]
            self._untold(ids.__contains__)
            self.saw(max(ids))

    def _untold(self, told: Callable[[MessageId], bool]) -> None:
        """Strike out what was told of the acks of others."""
        self.owed_reads = [
            what
            for what in self.owed_reads
            if not all(told(id) for id in ([what] if isinstance(what, MessageId) else what))
        ]

    def saw(self, upto: MessageId) -> None:
        """Move the position that the window is counted from."""
        self.position = max(self.position, upto)


class World:
    """One session between a mailbox, a bus and a client."""

    def __init__(
        self, make: type[ServerSession], *, window: int, backlog: int, after: int | None
    ) -> None:
        self.mailbox = Mailbox(epoch=100)
        for _ in range(backlog):
            self.mailbox.accept()
        self.client = Client(window)
        self.subscribed = False
        self.bus: deque[Published] = deque()
        self.commands: deque[Command] = deque()
        self.answers: deque[PageAnswer | OpenAnswer] = deque()
        self.session = make("s1", TERMS, now=NOW)
        if after is not None:
            self.client.start = MessageId(100, after)
        self.greet(window, None if after is None else f"100-{after}")
        self.carry_out(self.session.authenticated(BOB, NOW + 3600, NOW))

    def greet(self, window: int, after: str | None) -> None:
        """Say hello."""
        hello = Hello(token="t", window=window)
        if after is not None:
            hello.after = after
        self.carry_out(self.session.received(hello, NOW))

    def carry_out(self, commands: Commands) -> None:
        """Carry out what the session asks for; frames reach the client at once."""
        for command in commands:
            match command:
                case Send() | Push():
                    self.client.take(command, self.mailbox.unread)
                case ReadPage() | Open():
                    self.commands.append(command)
                case Acknowledge(what, _):
                    self.remove(what, origin="s1")
                case Close():
                    self.client.closed = True
                case Probe() | Told() | Authenticate() | _:
                    pass

    # --- steps of the store and the bus ----------------------------------------------

    def execute(self) -> None:
        """The store executes the oldest command, on the mailbox as it is now."""
        command = self.commands.popleft()
        mailbox = self.mailbox
        if isinstance(command, Open):
            self.subscribed = True
            self.answers.append(OpenAnswer(mailbox.tail, len(mailbox.unread)))
        elif isinstance(command, ReadPage):
            after = [id for id in mailbox.unread if id > command.after]
            self.answers.append(
                PageAnswer(
                    [stored(id) for id in after[: command.limit]],
                    len(after) <= command.limit,
                    mailbox.tail,
                    len(mailbox.unread),
                )
            )

    def land(self) -> None:
        """The oldest answer lands at the session."""
        answer = self.answers.popleft()
        if isinstance(answer, OpenAnswer):
            self.carry_out(self.session.opened(*answer, (), None))
        else:
            self.carry_out(self.session.page(*answer, None))

    def accept(self, count: int) -> None:
        """Messages are accepted, and published together."""
        ids = [self.mailbox.accept() for _ in range(count)]
        if self.subscribed:
            self.bus.append(ids)

    def remove(self, what: Sequence[MessageId] | MessageId, origin: str) -> None:
        """Messages are acked, and that is published."""
        self.mailbox.remove(what)
        if self.subscribed:
            self.bus.append((what, origin))

    def publish(self) -> None:
        """The oldest publication reaches the session."""
        published = self.bus.popleft()
        if isinstance(published, tuple):
            self.tell_ack(*published)
        elif len(published) == 1 and self.session.takes(published[0]):
            push = Push([stored(published[0])], Cursor(published[0], published[0].epoch))
            self.client.take(push, self.mailbox.unread)
        else:
            self.carry_out(self.session.published([stored(id) for id in published]))

    def postpone(self) -> None:
        """The oldest publication reaches the session, while nothing may be pushed."""
        published = self.bus.popleft()
        if isinstance(published, tuple):
            self.tell_ack(*published)
        else:
            messages = [stored(id) for id in published]
            self.carry_out(self.session.postponed(messages, NOW))

    def tell_ack(self, what: Sequence[MessageId] | MessageId, origin: str) -> None:
        """An ack reaches the session; one of others has to reach the client."""
        if origin != self.session.id:
            self.client.owed_reads.append(what)
        self.carry_out(self.session.acknowledged(what, origin))

    def fail_read(self) -> None:
        """The oldest reading is refused, as one is while nothing may be pushed."""
        self.commands.popleft()
        self.carry_out(self.session.failed(Overloaded(), NOW))

    def tick(self) -> None:
        """Enough time passes for what is to be tried again."""
        later = NOW + 2 * RETRY
        self.carry_out(self.session.tick(later, later, 0))

    # --- steps of the client ---------------------------------------------------------

    def see(self, share: float) -> None:
        """The client says that it took some of what it was sent off the wire."""
        if self.client.sent:
            index = min(int(share * len(self.client.sent)), len(self.client.sent) - 1)
            upto = self.client.sent[index]
            self.client.saw(upto)
            self.carry_out(self.session.received(Seen(upto=str(upto)), NOW))

    def ack(self, share: float, *, upto: bool) -> None:
        """The client acks one message, or everything up to one."""
        if self.client.sent:
            index = min(int(share * len(self.client.sent)), len(self.client.sent) - 1)
            id = self.client.sent[index]
            self.client.saw(id)
            frame = Ack(upto=str(id)) if upto else Ack(ids=[str(id)])
            if (what := self.session.acks(frame)) is not None:
                self.remove(what, origin="s1")
            else:
                self.carry_out(self.session.received(frame, NOW))

    def check_tail(self) -> None:
        """The periodic comparison with the store."""
        self.carry_out(self.session.tail(self.mailbox.tail))

    def settle(self, *, bus_first: bool, tail_check: bool) -> None:
        """Let everything come to rest; if it goes on, nothing may be missing then."""
        self.carry_out(self.session.resumed())
        for _ in range(1000):
            if self.commands:
                self.execute()
            elif self.bus and (bus_first or not self.answers):
                self.publish()
            elif self.answers:
                self.land()
            else:
                before = (self.client.position, len(self.client.sent))
                self.see(1.0)
                self.tick()
                if tail_check:
                    self.check_tail()
                after = (self.client.position, len(self.client.sent))
                if before == after and not (self.commands or self.answers or self.bus):
                    break
        else:
            raise AssertionError("the session comes to rest")
        if self.client.closed:
            return
        assert self.client.start is not None
        self.client.no_hole(self.mailbox.tail, self.mailbox.unread)
        assert self.client.owed_caught_up == 0, "every history ends in caught_up"
        assert not self.client.owed_reads, "every ack of others is told"
        if tail_check:
            assert self.client.epoch == self.mailbox.tail.epoch, "a new epoch is told"

"""A server, an app and a network around a `ClientSession`, all of them models.

The model knows what is true (what was accepted, handled, acked) and checks every step of
the session against it. Nothing happens by itself: a test says what happens next, so any
frame can be late, lost or sent twice, any listener slow, and a crash can come anywhere.
"""

from collections import deque
from collections.abc import Callable
from typing import assert_never

from msgspec import UNSET, Raw

from pushd.protocol.client import ClientSession
from pushd.protocol.client_commands import (
    Close,
    Connect,
    Dispatch,
    MakeToken,
    Phase,
    Save,
    Send,
    Stop,
    Tell,
)
from pushd.protocol.ids import START, Cursor, MessageId
from pushd.protocol.ledger import Progress
from pushd.protocol.messages import (
    Ack,
    Acked,
    AnyClientFrame,
    AnyServerFrame,
    CaughtUp,
    ErrorFrame,
    From,
    Hello,
    Message,
    Messages,
    Ping,
    Pong,
    Read,
    Renew,
    Renewed,
    Replay,
    Seen,
    Welcome,
    encode,
)

NOW = 1_800_000_000.0


class Socket:
    """One connection: the frames under way in it, and the server's state of it."""

    def __init__(self) -> None:
        self.to_client: deque[AnyServerFrame] = deque()
        self.to_server: deque[AnyClientFrame] = deque()
        self.greeted = False
        self.caught_up = False
        self.position = START
        self.window = 0
        self.unseen: list[MessageId] = []
        self.sent: list[MessageId] = []


class World:
    """A mailbox, its server, one client of it, and what is true about them."""

    def __init__(self, make: Callable[..., ClientSession], *, window: int) -> None:
        self.make = make
        self.window = window
        self.now = NOW
        self.epoch = 1
        self.seq = 0
        self.unread: set[MessageId] = set()
        self.accepted: set[MessageId] = set()
        self.dispatched: set[MessageId] = set()
        self.handled: set[MessageId] = set()
        self.elsewhere: set[MessageId] = set()
        self.disk = Progress()
        self.socket: Socket | None = None
        self.begin()

    # --- the client's process --------------------------------------------------------

    def begin(self) -> None:
        """The client's process starts, with what was on disk."""
        self.running: list[MessageId] = []
        self.held: list[MessageId] = []
        self.done: set[MessageId] = set()
        self.saves: list[Progress] = []
        self.wants_connection = False
        self.stopped: Stop | None = None
        self.session = self.make(
            lambda: 0.5, progress=self.disk, window=self.window, device="phone"
        )
        self.session.start()
        self.carry_out()

    def crash(self, lag: int) -> None:
        """The client's process dies, and starts again; the last saves may be missing."""
        if len(self.saves) > lag:
            self.disk = self.saves[-1 - lag]
        self.socket = None
        self.begin()

    def carry_out(self) -> None:
        """Do what the session wants, as its driver would."""
        for command in self.session.commands():
            match command:
                case Connect():
                    self.wants_connection = True
                case Send():
                    if self.socket is not None:
                        frame = command.frame
                        assert isinstance(frame, AnyClientFrame)
                        self.socket.to_server.append(frame)
                case Dispatch():
                    assert command.id not in self.running, "called twice at once"
                    assert command.id not in self.done, "called again after it was handled"
                    self.running.append(command.id)
                    self.dispatched.add(command.id)
                case MakeToken():
                    self.session.renewed("a new token")
                case Save():
                    self.check_save(command.progress)
                    self.saves.append(command.progress)
                case Close():
                    self.lose(command.code)
                case Stop():
                    self.stopped = command
                case Tell():
                    pass
                case _:
                    assert_never(command)
        self.check_cursor()

    def check_cursor(self) -> None:
        """No cursor that counts has passed a message that nobody handled."""
        cursor = self.session._ledger.cursor
        if cursor is not None and cursor.continues(self.tail):
            passed = {id for id in self.unread if id <= cursor.id}
            assert passed <= self.handled, "the cursor passed an unhandled message"

    def check_save(self, progress: Progress) -> None:
        """A cursor is saved with the acks, not yet carried out, that it has passed."""
        if progress.cursor is None:
            return
        cursor = Cursor.parse(progress.cursor)
        acks = {MessageId.parse(id) for id in progress.acks}
        upto = [MessageId.parse(id) for id in progress.upto]
        for id in self.unread & self.done if cursor.continues(self.tail) else ():
            saved = id in acks or any(id.epoch == u.epoch and id <= u for u in upto)
            assert saved or id > cursor.id, "an ack was forgotten"

    # --- the listeners ---------------------------------------------------------------

    def finish(self, index: int, outcome: str) -> None:
        """A listener is done with one of the messages it has."""
        id = self.running.pop(index % len(self.running))
        if outcome == "handled":
            self.handle(id)
        elif outcome == "held":
            self.held.append(id)
            self.session.held(id)
        else:
            self.session.failed(id)
        self.carry_out()

    def release(self, index: int) -> None:
        """The app acks a message it had kept."""
        self.handle(self.held.pop(index % len(self.held)))
        self.carry_out()

    def handle(self, id: MessageId) -> None:
        """A message is safe with the app."""
        self.handled.add(id)
        self.done.add(id)
        self.session.handled(id)

    # --- the network -----------------------------------------------------------------

    def connect(self) -> None:
        """The connection the client wants comes to be."""
        self.wants_connection = False
        self.socket = Socket()
        self.session.connected("a token", self.now)
        self.carry_out()

    def fail_to_connect(self) -> None:
        """The connection the client wants does not come to be."""
        self.wants_connection = False
        self.session.closed(1006)
        self.carry_out()

    def lose(self, code: int = 1006) -> None:
        """The connection is gone, with all that was under way in it."""
        self.socket = None
        self.session.closed(code)
        self.carry_out()

    def receive(self) -> None:
        """The client receives a frame."""
        assert self.socket is not None
        self.session.frame(encode(self.socket.to_client.popleft()), self.now)
        self.carry_out()

    def receive_some(self, frames: int) -> None:
        """The client receives some frames."""
        for _ in range(frames):
            if self.socket is not None and self.socket.to_client:
                self.receive()

    def tick(self, seconds: float) -> None:
        """Time passes."""
        self.now += seconds
        self.session.tick(self.now)
        self.carry_out()

    # --- the server ------------------------------------------------------------------

    @property
    def tail(self) -> MessageId:
        """The last id that was assigned."""
        return MessageId(self.epoch, self.seq)

    def accept(self, count: int) -> None:
        """Messages are accepted."""
        for _ in range(count):
            self.seq += 1
            self.unread.add(self.tail)
            self.accepted.add(self.tail)

    def new_epoch(self, resurrect: int) -> None:
        """The store restarts; the acks of some messages may be lost."""
        lost = sorted(self.accepted - self.unread)[-resurrect:] if resurrect else []
        self.unread.update(lost)
        self.epoch += 5
        self.seq = 0
        socket = self.socket
        if socket is not None and socket.greeted:
            replay = Replay(tail=str(self.tail), unread=len(self.unread), reason="restart")
            socket.to_client.append(replay)
            socket.position = START
            socket.unseen.clear()
            socket.sent.clear()
            socket.caught_up = False

    def ack_elsewhere(self, count: int, by_id: bool) -> None:
        """Another device acks the first messages it has."""
        first = sorted(self.unread)[:count]
        first = [id for id in first if id.epoch == first[0].epoch]
        if not first:
            return
        self.unread.difference_update(first)
        self.elsewhere.update(first)
        socket = self.socket
        if socket is not None and socket.greeted:
            ids = [str(id) for id in first]
            read = Read(ids=ids) if by_id else Read(upto=ids[-1])
            socket.to_client.append(read)

    def push(self, most: int) -> None:
        """The server sends what follows, as far as the window goes."""
        socket = self.socket
        if socket is None or not socket.greeted:
            return
        room = min(most, socket.window - len(socket.unseen))
        ahead = sorted(id for id in self.unread if id > socket.position)
        if ahead[:room]:
            self._send(socket, ahead[:room])
            socket.position = ahead[:room][-1]
            socket.unseen += ahead[:room]
        elif not ahead and not socket.caught_up:
            socket.caught_up = True
            socket.position = self.tail
            tail = str(self.tail)
            socket.to_client.append(
                CaughtUp(tail=tail, cursor=tail, unread=len(self.unread))
            )

    def push_again(self, index: int) -> None:
        """The server sends a message twice."""
        socket = self.socket
        if socket is not None and socket.sent:
            again = socket.sent[index % len(socket.sent)]
            self._send(socket, [again])

    def _send(self, socket: Socket, ids: list[MessageId]) -> None:
        raw = [
            Raw(encode(Message(str(id), From("did:btc-addr:1x"), "ciphertext", 0, 1)))
            for id in ids
        ]
        cursor = Cursor(ids[-1], self.epoch)
        socket.to_client.append(Messages(messages=raw, cursor=str(cursor)))
        socket.sent += ids

    def serve(self, ack_fails: bool = False) -> None:
        """The server takes a frame of the client."""
        socket = self.socket
        assert socket is not None
        frame = socket.to_server.popleft()
        match frame:
            case Hello():
                self._greet(socket, frame)
            case Seen():
                upto = MessageId.parse(frame.upto)
                socket.unseen = [id for id in socket.unseen if id > upto]
            case Ack():
                self._acked(socket, frame, ack_fails)
            case Ping():
                socket.to_client.append(Pong(frame.ref))
            case Renew():
                socket.to_client.append(Renewed(int(self.now) + 3600))
            case _:
                raise AssertionError(frame)

    def serve_all(self) -> None:
        """The server takes all frames."""
        while self.socket is not None and self.socket.to_server:
            self.serve()

    def _greet(self, socket: Socket, hello: Hello) -> None:
        exact = False
        if hello.after is not UNSET:
            after = Cursor.parse(hello.after)
            exact = after.continues(self.tail)
            socket.position = after.id if exact else START
        socket.greeted = True
        socket.window = hello.window
        welcome = Welcome(
            session="s",
            mailbox="did:btc-addr:1y",
            server="http://127.0.0.1:8480",
            unread=len(self.unread),
            tail=str(self.tail),
            continuity="exact" if exact else "replay",
            ping_interval=25,
            window=hello.window,
        )
        socket.to_client.append(welcome)
        gone = [id for id in hello.holding if MessageId.parse(id) not in self.unread]
        if gone:
            socket.to_client.append(Read(ids=gone))

    def _acked(self, socket: Socket, frame: Ack, fails: bool) -> None:
        assert frame.ref is not UNSET
        if fails:
            refusal = ErrorFrame("store_unavailable", "No answer.", 0, frame.ref)
            socket.to_client.append(refusal)
            return
        if frame.ids is not UNSET:
            assert 1 <= len(frame.ids) <= 1000
            named = {MessageId.parse(id) for id in frame.ids}
            highest = max(named)
        else:
            assert frame.upto is not UNSET
            highest = MessageId.parse(frame.upto)
            named = {
                id for id in self.unread if id.epoch == highest.epoch and id <= highest
            }
        removed = named & self.unread
        safe = self.handled | self.elsewhere
        assert removed <= safe, "an unhandled message was acked"
        self.unread -= removed
        socket.unseen = [id for id in socket.unseen if id > highest]
        socket.to_client.append(Acked(frame.ref, len(removed)))

    # --- the end ---------------------------------------------------------------------

    def settle(self) -> None:
        """Let everything happen that can, without further trouble, and check the end."""
        while self.held:
            self.release(0)
        while self.running:
            self.finish(0, "handled")
        if self.socket is not None:
            self.lose()
        for _ in range(200):
            self._settle_once()
            if self.quiet:
                break
        assert self.stopped is None
        assert set() == self.unread, "acks were lost"
        assert self.accepted == self.dispatched | self.elsewhere, "a message was lost"
        assert self.session.status.phase is Phase.LIVE

    @property
    def quiet(self) -> bool:
        """Whether nothing more is going to happen."""
        socket = self.socket
        return (
            socket is not None
            and socket.caught_up
            and not (socket.to_client or socket.to_server or self.running)
            and not self.unread
        )

    def _settle_once(self) -> None:
        if self.wants_connection:
            self.connect()
        self.serve_all()
        self.push(100)
        self.receive_some(1000)
        while self.running:
            self.finish(0, "handled")
        self.tick(1.0)

"""Sessions brought to where a test begins, and what their commands say."""

from pushd.protocol.commands import Commands, Push, Send
from pushd.protocol.flow import State
from pushd.protocol.ids import MessageId
from pushd.protocol.messages import Hello, ServerFrame, StoredMessage
from pushd.protocol.session import ServerSession
from tests.unit.session_world import BOB, NOW, TERMS, stored

E1 = 100


def ids(*seqs: int) -> list[MessageId]:
    """Return ids of the first epoch."""
    return [MessageId(E1, seq) for seq in seqs]


def messages(*seqs: int) -> list[StoredMessage]:
    """Return messages of the first epoch."""
    return [stored(id) for id in ids(*seqs)]


def frames(commands: Commands) -> list[ServerFrame]:
    """Return the control frames among the commands."""
    return [command.frame for command in commands if isinstance(command, Send)]


def pushed(commands: Commands) -> list[int]:
    """Return the sequence numbers pushed."""
    return [
        message.id.seq
        for command in commands
        if isinstance(command, Push)
        for message in command.messages
    ]


def greeted(hello: Hello | None = None) -> ServerSession:
    """Return a session whose hello was authenticated."""
    session = ServerSession("s1", TERMS, now=NOW)
    session.received(hello or Hello(token="t"), NOW)
    session.authenticated(BOB, NOW + 3600, NOW)
    return session


def live(hello: Hello | None = None, *, tail: int = 0) -> ServerSession:
    """Return a session that is caught up with an empty mailbox."""
    session = greeted(hello)
    session.opened(MessageId(E1, tail), 0, (), None)
    assert session.state is State.LIVE
    return session

"""Cases of sessions.json: what happens to a client's session, and what it does then.

Some scripts are told by hand, one for each rule. The others are walks: trouble at random
around a model of a server and an app, written down as it happened to the session.
"""

from collections.abc import Callable, Iterator
from functools import partial
from inspect import signature
from random import Random
from typing import Any

import msgspec
from msgspec import Raw

from pushd.protocol import messages as m
from pushd.protocol.client import ClientSession
from pushd.protocol.client_commands import (
    Close,
    Command,
    Connect,
    Dispatch,
    MakeToken,
    Save,
    Send,
    Status,
    Stop,
    StreamClosed,
    Tell,
)
from pushd.protocol.ids import MessageId
from pushd.protocol.ledger import Progress
from tests.unit.client_world import World
from tests.vectors.files import Json

NOW = 1000.0
WALKS = 8
STEPS = 50
EVENTS = frozenset(
    {
        *("start", "connected", "renewed", "closed", "heard", "tick", "reopen", "stop"),
        *("frame", "handled", "held", "failed"),
    }
)
"""The methods of a session by which it learns that something happened."""

# --- writing down --------------------------------------------------------------------


def written(command: Command) -> Json:
    """Write a command as JSON; sentences for people are left out, each has its own."""
    match command:
        case Connect(delay, new_token):
            return {"connect": {"delay": delay, "new_token": new_token}}
        case Send(frame):
            return {"send": msgspec.to_builtins(frame)}
        case Dispatch(id, _):
            return {"dispatch": str(id)}
        case MakeToken():
            return {"make_token": True}
        case Save(progress):
            return {"save": _progress(progress)}
        case Tell(Status() as status):
            told = {"retry_in": status.retry_in, "code": status.code}
            known = {name: value for name, value in told.items() if value is not None}
            phase = {"phase": str(status.phase)}
            return {
                "status": {
                    **phase,
                    "unread": status.unread,
                    "received": status.received,
                    **known,
                }
            }
        case Tell(m.Overflow() as overflow):
            return {"overflow": msgspec.to_builtins(overflow)}
        case Tell(read):
            members: Json = msgspec.to_builtins(read)
            return {"read": {name: members[name] for name in members if name != "type"}}
        case Close(code, _):
            return {"close": int(code)}
        case Stop(error):
            return {"stop": None if error is None else _failure(error)}


def _failure(closed: StreamClosed) -> Json:
    error = None if closed.error is None else closed.error.code
    return {"code": int(closed.code), "error": error}


def _progress(progress: Progress) -> Json:
    written: Json = {"acks": progress.acks, "upto": progress.upto}
    return written if progress.cursor is None else {"cursor": progress.cursor, **written}


class Recorder:
    """A session that writes down what happens to it, and what it does."""

    def __init__(
        self,
        random: Callable[[], float],
        *,
        progress: Progress | None = None,
        window: int = m.DEFAULT_WINDOW,
        device: str | None = None,
    ) -> None:
        self._session = ClientSession(
            random, progress=progress, window=window, device=device
        )
        self.script: Json = {
            "progress": None if progress is None else _progress(progress),
            "window": window,
            "device": device,
            "random": random(),
            "steps": [],
        }

    def __getattr__(self, name: str) -> Any:
        return (
            partial(self._happen, name) if name in EVENTS else getattr(self._session, name)
        )

    def _happen(self, event: str, *arguments: Any, **named: Any) -> None:
        """Let something happen to the session, and write it down."""
        happen = getattr(self._session, event)
        told = signature(happen).bind(*arguments, **named).arguments
        told.pop("reason", None)
        step = {name: _plain(value) for name, value in told.items()}
        self.script["steps"].append({"event": event, **step})
        happen(*arguments, **named)

    def commands(self) -> list[Command]:
        """Write down what is to be done after the last step."""
        commands = self._session.commands()
        step = self.script["steps"][-1]
        step["commands"] = list(map(written, commands))
        if self._session.empty:
            step["empty"] = True
        if self._session.server_time is not None:
            step["server_time"] = self._session.server_time
        return commands


def _plain(value: Any) -> object:
    """Write an argument of an event as JSON."""
    match value:
        case MessageId():
            return str(value)
        case bytes():
            return value.decode()
        case bool() | float() | str():
            return value
        case _:
            return int(value)


# --- told by hand --------------------------------------------------------------------


def welcome(unread: int = 0, tail: str = "7-0", continuity: str = "exact") -> bytes:
    """Write a welcome."""
    told: Any = continuity
    return m.encode(
        m.Welcome(
            "s", "did:btc-addr:1y", "https://push.example", unread, tail, told, 25, 256
        )
    )


def caught_up(tail: str = "7-0") -> bytes:
    """Write the end of history."""
    return m.encode(m.CaughtUp(tail=tail, cursor=tail, unread=0))


def pushed(*ids: str, cursor: str | None = None) -> bytes:
    """Write a frame of messages."""
    sender = m.From("did:btc-addr:1x")
    raw = [Raw(m.encode(m.Message(id, sender, "sealed", 0, 1))) for id in ids]
    return m.encode(m.Messages(raw, cursor or ids[-1]))


class Script:
    """One session, told step by step; after each it is asked what to do."""

    def __init__(self, random: float = 0.5, **options: Any) -> None:
        self.recorder = Recorder(lambda: random, **options)
        self.now = NOW
        self.do("start")

    def do(self, event: str, *arguments: Any, **named: Any) -> None:
        """Let something happen."""
        getattr(self.recorder, event)(*arguments, **named)
        self.recorder.commands()

    def connect(self) -> None:
        """Let the connection come to be."""
        self.do("connected", "a token", self.now)

    def say(self, *frames: bytes | str) -> None:
        """Let the server say something."""
        for frame in frames:
            self.do("frame", frame, self.now)

    def go_live(self, tail: str = "7-0") -> None:
        """Let the client come to the end of history."""
        self.connect()
        self.say(welcome(tail=tail), caught_up(tail))

    def wait(self, *seconds: float) -> None:
        """Let time pass."""
        for some in seconds:
            self.now += some
            self.do("tick", self.now)

    def settle(self, outcome: str, *ids: str) -> None:
        """Let the listeners be done."""
        for id in ids:
            self.do(outcome, MessageId.parse(id))


def told() -> Iterator[tuple[str, Script]]:
    """Tell each script by its name."""
    yield from _comings_and_goings()
    yield from _messages()
    yield from _refusals()
    yield from _ends()


def _comings_and_goings() -> Iterator[tuple[str, Script]]:
    script = Script(device="phone", window=10)
    script.go_live()
    yield "comes-to-live", script

    script = Script(random=1.0)
    for _ in range(8):
        script.do("closed", 1006)
    script.do("closed", 1013, retry_after=7.5)
    script.go_live()
    script.do("closed", 1006)
    yield "waits-longer-each-time", script

    script = Script()
    script.connect()
    script.wait(10.0, 0.5)
    yield "the-server-does-not-answer-the-hello", script

    script = Script()
    script.go_live()
    script.wait(37.0, 1.0, 1.0, 10.0, 2.0)
    script.do("closed", 4408)
    yield "the-server-falls-silent", script

    script = Script()
    script.go_live()
    script.wait(38.0)
    script.do("heard", script.now)
    script.wait(38.0, 10.0)
    yield "the-server-is-heard-of", script

    script = Script()
    script.go_live()
    closing = m.Closing("The server restarts.", retry_after=3.5, reconnect=True)
    script.say(m.encode(closing))
    script.do("closed", 1012, retry_after=1.0)
    yield "the-server-says-when-to-come-back", script

    script = Script()
    script.go_live()
    script.say(m.encode(m.Expiring(at=2000)))
    script.do("renewed", "a new token")
    script.say(m.encode(m.Renewed(expires=6000)), '{"type":"from the future"}')
    yield "renews-its-token", script


def _messages() -> Iterator[tuple[str, Script]]:
    script = Script(window=8)
    script.connect()
    script.say(welcome(3, "7-3"), pushed("7-1", "7-2", "7-3"), caught_up("7-3"))
    script.settle("handled", "7-2", "7-1")
    script.settle("handled", "7-3")
    script.say(m.encode(m.Acked(1, 1)), m.encode(m.Acked(2, 1)), m.encode(m.Acked(3, 1)))
    yield "acks-a-prefix-by-its-end", script

    script = Script(window=4)
    script.connect()
    script.say(welcome(9, "7-9"), pushed("7-1", "7-2", "7-3", "7-4"))
    script.wait(1.0)
    script.settle("failed", "7-1")
    script.wait(1.0)
    script.settle("held", "7-2")
    script.do("closed", 1006)
    script.connect()
    script.say(welcome(9, "7-9"), pushed("7-1", "7-2", "7-3", "7-4"))
    script.settle("handled", "7-2")
    yield "says-seen-only-while-the-listeners-have-room", script

    script = Script(progress=Progress(cursor="7-2@8", acks=["7-5"], upto=["7-2"]))
    script.connect()
    script.say(welcome(1, "9-0", "replay"), pushed("7-5", cursor="7-5@9"), caught_up("9-0"))
    yield "begins-with-what-was-saved", script

    script = Script()
    script.go_live("7-2")
    script.say(pushed("7-3"), m.encode(m.Replay("9-1", 2, "The store restarted.")))
    script.say(pushed("7-3", cursor="7-3@9"), pushed("9-1"), caught_up("9-1"))
    script.settle("handled", "7-3", "9-1")
    yield "a-replay-under-way", script

    script = Script()
    script.go_live()
    script.say(pushed("7-1", "7-2", "7-3"), m.encode(m.Read(upto="7-2")))
    script.settle("held", "7-3")
    script.say(m.encode(m.Read(ids=["7-3", "6-1"])), m.encode(m.Overflowed(3, 900)))
    yield "others-read", script

    script = Script()
    script.go_live()
    script.say(pushed("7-1", "7-2"))
    script.settle("failed", "7-1")
    script.settle("handled", "7-2")
    script.do("reopen")
    script.do("closed", 1000)
    script.connect()
    script.say(welcome(1, "7-2"), pushed("7-1"), caught_up("7-2"))
    script.settle("handled", "7-1")
    yield "reopens-to-be-sent-again", script


def _refusals() -> Iterator[tuple[str, Script]]:
    script = Script()
    script.go_live()
    script.say(pushed("7-1"))
    script.settle("handled", "7-1")
    script.say(m.encode(m.ErrorFrame("store_unavailable", "No answer.", 900, 1)))
    script.say(m.encode(m.ErrorFrame("bad_request", "Not an ack.", 900, "x")))
    script.wait(1.0)
    script.say(m.encode(m.Acked(2, 1)))
    yield "an-ack-is-refused-and-said-again", script

    script = Script()
    script.connect()
    script.say(m.encode(m.ErrorFrame("token_expired", "Old.", 1700)))
    script.do("closed", 4401)
    script.connect()
    script.say(m.encode(m.ErrorFrame("unauthorized", "No.", 1700)))
    script.do("closed", 4401)
    yield "a-token-is-refused-twice", script

    script = Script()
    script.connect()
    script.do("closed", 4401)
    script.go_live()
    script.do("closed", 4401)
    yield "a-new-token-helps", script

    script = Script()
    script.connect()
    script.say(m.encode(m.ErrorFrame("forbidden", "No mailbox here.", 1700)))
    script.say(m.encode(m.Closing("Forbidden.", retry_after=0.0, reconnect=False)))
    script.do("closed", 4403, another_token=True)
    script.connect()
    script.do("closed", 4403)
    yield "a-token-with-a-name-is-tried", script

    for code in (1000, 1001, 4400, 4409, 4429, 4999):
        script = Script()
        script.go_live()
        script.do("closed", code)
        yield f"is-closed-with-{code}", script

    for id, frame in (
        ("no-json", "pardon?"),
        (
            "a-member-of-wrong-type",
            '{"type":"caught_up","tail":"7-0","cursor":7,"unread":0}',
        ),
        ("no-cursor", '{"type":"messages","messages":[],"cursor":"latest"}'),
        ("messages-out-of-order", pushed("7-2", "7-1", cursor="7-2")),
        ("a-message-without-sender", '{"type":"messages","messages":[{}],"cursor":"7-1"}'),
    ):
        script = Script()
        script.go_live()
        script.say(pushed("7-1"), pushed("7-3"), frame, pushed("7-4"))
        script.do("closed", 4400)
        script.connect()
        yield f"the-server-says-{id}", script


def _ends() -> Iterator[tuple[str, Script]]:
    script = Script()
    script.do("stop")
    yield "stops-before-it-connects", script

    script = Script()
    script.connect()
    script.do("stop")
    script.do("closed", 1006)
    yield "stops-before-it-is-welcome", script

    script = Script()
    script.go_live()
    script.say(pushed("7-1"))
    script.settle("handled", "7-1")
    script.do("stop")
    script.say(pushed("7-2"), m.encode(m.Acked(1, 1)))
    script.do("closed", 1000)
    yield "stops-once-its-acks-are-confirmed", script

    script = Script()
    script.go_live()
    script.say(pushed("7-1"))
    script.settle("handled", "7-1")
    script.do("stop")
    script.wait(1.0, 1.0, 1.0)
    script.do("closed", 1000)
    yield "stops-though-nobody-confirms", script


# --- walks ---------------------------------------------------------------------------


def walk(seed: int) -> Iterator[Json]:
    """Wander through trouble, and yield the script of each session on the way."""
    random = Random(seed)  # noqa: S311 # has to be the same each time
    recorders: list[Recorder] = []

    def make(*arguments: Any, **options: Any) -> Any:
        recorders.append(Recorder(*arguments, **options))
        return recorders[-1]

    world = World(make, window=random.choice([1, 3, 8]))
    world.accept(random.randrange(10))
    for _ in range(STEPS):
        random.choice(_STEPS)(world, random)
    world.settle()
    for recorder in recorders:
        yield recorder.script


def _accept(world: World, random: Random) -> None:
    world.accept(random.randrange(1, 4))


def _connect(world: World, random: Random) -> None:
    if world.socket is None and random.random() < 0.2:
        world.fail_to_connect()
    elif world.socket is None:
        world.connect()
        world.serve()


def _talk(world: World, random: Random) -> None:
    if world.socket is not None:
        while world.socket.to_server:
            world.serve(ack_fails=random.random() < 0.2)
        world.push(3)
        world.receive_some(random.randrange(8))


def _finish(world: World, random: Random) -> None:
    if world.running:
        outcome = random.choice(["handled", "handled", "handled", "failed", "held"])
        world.finish(random.randrange(20), outcome)
    elif world.held:
        world.release(random.randrange(20))


def _trouble(world: World, random: Random) -> None:
    number = random.randrange(3)
    match random.randrange(6):
        case 0 if world.socket is not None:
            world.lose(random.choice([1006, 1012, 4408]))
        case 1:
            world.new_epoch(resurrect=number)
        case 2:
            world.ack_elsewhere(number, by_id=bool(number % 2))
        case 3:
            world.crash(lag=number)
        case 4:
            world.push_again(number)
        case _:
            world.tick([1.0, 12.0, 40.0][number])


_STEPS = (_accept, _connect, _talk, _talk, _talk, _finish, _finish, _finish, _trouble)


def document() -> Json:
    """Write sessions.json."""
    scripts = [{"id": id, **script.recorder.script} for id, script in told()]
    for seed in range(WALKS):
        scripts += [
            {"id": f"walk-{seed}-{place}", **script}
            for place, script in enumerate(walk(seed))
        ]
    return {
        "about": "Scripts of the client's half of a session. Each step is an event, and "
        "the commands that follow; sentences for people are left out.",
        "client": scripts,
    }

"""Replays frames.json: every frame as text, and what closes a stream."""

import json
from typing import get_args

import pytest

from pushd.errors import BadRequest
from pushd.protocol.closing import CloseCode
from pushd.protocol.commands import Close, Commands, Send
from pushd.protocol.messages import (
    MAX_CLIENT_FRAME,
    AnyClientFrame,
    AnyServerFrame,
    ErrorFrame,
    Hello,
    decode_client_frame,
    decode_server_frame,
    encode,
)
from pushd.protocol.session import ServerSession, Terms
from tests.vectors.files import Json, cases, load

TERMS = Terms(server="https://push.example", ping_interval=25)
FILE = load("frames.json")


def received(text: str) -> Commands:
    """Receive a frame, after a hello unless it is one; return what a session does then."""
    session = ServerSession("s", TERMS, now=0)
    try:
        frame = decode_client_frame(text.encode())
    except BadRequest as error:
        return session.broken(error, 0)
    if not isinstance(frame, Hello):
        session.received(Hello(), 0)
    return session.received(frame, 0)


def closes(commands: Commands) -> list[CloseCode]:
    """Return the codes a session closes with, if it does."""
    return [command.code for command in commands if isinstance(command, Close)]


@cases("frames.json", "client", "valid")
def test_client_frames(case: Json) -> None:
    """A client's frame is written as it was read, and a session goes on after it."""
    frame = decode_client_frame(case["text"].encode())
    assert case["text"] == encode(frame).decode()
    assert closes(received(case["text"])) == []


@cases("frames.json", "client", "lenient")
def test_lenient_frames(case: Json) -> None:
    """A frame in other words is accepted."""
    assert closes(received(case["text"])) == []


@cases("frames.json", "client", "refused")
def test_refused_frames(case: Json) -> None:
    """A frame that breaks the protocol gets an error of its code, and the close code."""
    commands = received(case["text"])
    assert closes(commands) == [CloseCode.PROTOCOL_ERROR]
    sent = [command.frame for command in commands if isinstance(command, Send)]
    assert case["error"] in [frame.code for frame in sent if isinstance(frame, ErrorFrame)]
    assert len(case["text"]) <= MAX_CLIENT_FRAME


@cases("frames.json", "server")
def test_server_frames(case: Json) -> None:
    """A server's frame is written as it was read."""
    assert case["text"] == encode(decode_server_frame(case["text"])).decode()


@pytest.mark.parametrize(
    ("kind", "union"),
    [("client", AnyClientFrame), ("server", AnyServerFrame)],
)
def test_every_type_is_there(kind: str, union: object) -> None:
    """No type of frame is left out of the vectors."""
    vectors = FILE["client"]["valid"] if kind == "client" else FILE["server"]
    types = {json.loads(case["text"])["type"] for case in vectors}
    assert {frame.__struct_config__.tag for frame in get_args(union)} == types

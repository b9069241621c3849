"""Replays sessions.json: a client's session does what the scripts say, step by step."""

from pushd.protocol.client import ClientSession
from pushd.protocol.ids import MessageId
from pushd.protocol.ledger import Progress
from tests.vectors.files import Json, cases
from tests.vectors.session_cases import written


def session_of(case: Json) -> ClientSession:
    """Make the session of a script."""
    progress = None if case["progress"] is None else Progress(**case["progress"])
    return ClientSession(
        lambda: float(case["random"]),
        progress=progress,
        window=case["window"],
        device=case["device"],
    )


@cases("sessions.json", "client")
def test_sessions(case: Json) -> None:
    """After each step the session wants done what the script says."""
    session = session_of(case)
    for step in case["steps"]:
        arguments = {
            name: MessageId.parse(value) if name == "id" else value
            for name, value in step.items()
            if name not in ("event", "commands", "empty", "server_time")
        }
        getattr(session, step["event"])(**arguments)
        if "commands" in step:
            assert step["commands"] == list(map(written, session.commands()))
            assert step.get("empty", False) == session.empty
            assert step.get("server_time") == session.server_time

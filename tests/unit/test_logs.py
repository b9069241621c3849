"""One line an event, as text or as JSON."""

import io
import json
import logging
import sys
import warnings
from collections.abc import Iterator

import pytest

from pushd import logs


class Terminal(io.StringIO):
    """A stream that says it is a terminal."""

    def isatty(self) -> bool:
        """Say so."""
        return True


@pytest.fixture(autouse=True)
def root() -> Iterator[None]:
    """Leave the logging of the other tests as it was."""
    logger = logging.getLogger()
    before = logger.handlers[:], logger.level
    yield
    logging.captureWarnings(False)
    logger.handlers[:], level = before
    logger.setLevel(level)
    logging.getLogger("pushd").setLevel(logging.NOTSET)


def test_json_has_an_event_and_its_fields() -> None:
    """A line holds time, level, logger and event, and each field under its name."""
    stream = io.StringIO()
    logs.configure("json", stream=stream)

    logging.getLogger("pushd.workers").info("worker died", extra={"worker": 7})

    line = json.loads(stream.getvalue())
    assert line.pop("time").endswith("Z")
    expected = {"level": "info", "logger": "pushd.workers", "event": "worker died"}
    assert {**expected, "worker": 7} == line


def test_json_keeps_a_trace_on_its_line() -> None:
    """An error's trace is a member, not more lines."""
    stream = io.StringIO()
    logs.configure("json", stream=stream)

    try:
        raise ValueError("of all things")
    except ValueError:
        logging.getLogger("pushd").exception("something failed")

    (line,) = stream.getvalue().splitlines()
    assert json.loads(line)["trace"].endswith("ValueError: of all things")


def test_text_is_plain_in_a_file_and_coloured_on_a_terminal() -> None:
    """Only a terminal gets escape sequences, and only where something is wrong."""
    file, terminal = io.StringIO(), Terminal()
    for stream in (file, terminal):
        logs.configure(stream=stream)
        logging.getLogger("pushd").info("serving", extra={"store": "in data", "n": 2})
        logging.getLogger("pushd").error("stopped")

    first, second = file.getvalue().splitlines()
    assert first.endswith('Z INFO    serving store="in data" n=2')
    assert second.endswith("Z ERROR   stopped")
    first, second = terminal.getvalue().splitlines()
    assert "\x1b" not in first
    assert second.startswith("\x1b[31m")


def test_a_field_cannot_begin_a_line() -> None:
    """What others wrote into a field stays within the line."""
    stream = io.StringIO()
    logs.configure(stream=stream)

    logging.getLogger("pushd").warning("refused", extra={"path": "/\nERROR all lost"})

    assert stream.getvalue().endswith('refused path="/\\nERROR all lost"\n')


def test_libraries_are_heard_only_when_they_warn() -> None:
    """Chatter of libraries is left out, their warnings and Python's are not."""
    stream = io.StringIO()
    with warnings.catch_warnings():
        warnings.simplefilter("default")
        logs.configure("json", stream=stream)

        logging.getLogger("uvicorn.error").info("Waiting for application startup.")
        logging.getLogger("uvicorn.error").warning("Invalid HTTP request received.")
        warnings.warn("old", DeprecationWarning, stacklevel=1)

    events = [json.loads(line)["event"] for line in stream.getvalue().splitlines()]
    assert len(events) == 2
    assert events[0] == "Invalid HTTP request received."


def test_the_standard_error_is_the_stream(capsys: pytest.CaptureFixture[str]) -> None:
    """Without a stream, lines go to the standard error."""
    logs.configure(stream=None)
    assert isinstance(sys.stderr.isatty(), bool)

    logging.getLogger("pushd").info("serving")

    assert capsys.readouterr().err.endswith("serving\n")


def test_printable_text_steers_no_terminal() -> None:
    """Whatever is no letter, digit, sign or space becomes a dot."""
    assert logs.printable("ä ✓\t\x1b[2J\n\u202e") == "ä ✓··[2J··"


def test_the_latest_are_remembered_without_their_traces() -> None:
    """Warnings and worse, each with its fields, and no more of them than that."""
    recent = logs.Recent()
    logger = logging.getLogger("pushd.recent")
    logger.addHandler(recent)
    try:
        logger.info("too little")
        for n in range(logs.RECENT + 1):
            logger.warning("warned", extra={"n": n})
        try:
            raise ValueError("secret")
        except ValueError:
            logger.exception("failed")
    finally:
        logger.removeHandler(recent)
    lines = recent.lines()

    assert len(lines) == logs.RECENT
    assert lines[0]["fields"] == {"n": "2"}
    assert (lines[-1]["level"], lines[-1]["event"]) == ("error", "failed")
    assert "secret" not in str(lines)

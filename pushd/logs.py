"""How the server speaks to its operator: one line an event, as text or as JSON.

A record's message is the event's stable name, its particulars come as fields:
`logger.info("worker died", extra={"worker": 1, "status": -9})`. No token, key or payload
is ever a field, nor part of an event.
"""

import json
import logging
import sys
from collections import deque
from datetime import UTC, datetime
from typing import Any, Literal, TextIO

Format = Literal["text", "json"]

RECENT = 50
"""Records that are remembered for the operator's page."""

_STANDARD = frozenset(logging.makeLogRecord({}).__dict__) | {"message", "color_message"}
_COLOURS = {"DEBUG": "2", "WARNING": "33", "ERROR": "31", "CRITICAL": "31;1"}


def configure(
    format: Format = "text", *, level: str = "INFO", stream: TextIO | None = None
) -> None:
    """Send every log record of this process to one stream.

    Args:
        format: `text` for people, `json` for one JSON object a line.
        level: The least level of pushd's own events that is written; of the libraries'
            only warnings are.
        stream: Where to write; None is the standard error.
    """
    stream = sys.stderr if stream is None else stream
    handler = logging.StreamHandler(stream)
    handler.setFormatter(Json() if format == "json" else Text(colour=stream.isatty()))
    logging.basicConfig(level=logging.WARNING, handlers=[handler], force=True)
    logging.getLogger("pushd").setLevel(level.upper())
    logging.captureWarnings(True)


def printable(text: str) -> str:
    """Return text that cannot steer a terminal, whoever wrote it."""
    return "".join(letter if letter.isprintable() else "·" for letter in text)


class Json(logging.Formatter):
    """One JSON object a line: `time`, `level`, `logger`, `event`, then the fields."""

    def format(self, record: logging.LogRecord) -> str:
        """Write a record as JSON."""
        line = {
            "time": _time(record, "milliseconds"),
            "level": record.levelname.lower(),
            "logger": record.name,
            "event": record.getMessage(),
            **_fields(record),
        }
        if trace := _trace(self, record):
            line["trace"] = trace
        return json.dumps(line, ensure_ascii=False, default=str)


class Text(logging.Formatter):
    """One line a record, `time LEVEL event field=value`, then the trace of an error.

    Args:
        colour: Whether the stream is a terminal that shows colours.
    """

    def __init__(self, *, colour: bool):
        super().__init__()
        self._colour = colour

    def format(self, record: logging.LogRecord) -> str:
        """Write a record as text."""
        parts = [_time(record, "seconds"), f"{record.levelname:<7}", record.getMessage()]
        parts += [f"{name}={_value(value)}" for name, value in _fields(record).items()]
        line = " ".join(parts)
        if self._colour and record.levelname in _COLOURS:
            line = f"\x1b[{_COLOURS[record.levelname]}m{line}\x1b[0m"
        trace = _trace(self, record)
        return f"{line}\n{trace}" if trace else line


class Recent(logging.Handler):
    """What was logged lately as a warning or worse, for the operator's page."""

    def __init__(self) -> None:
        super().__init__(logging.WARNING)
        self._lines: deque[dict[str, Any]] = deque(maxlen=RECENT)

    def emit(self, record: logging.LogRecord) -> None:
        """Remember a record, but for its trace."""
        fields = {name: str(value) for name, value in _fields(record).items()}
        self._lines.append(
            {
                "time": record.created,
                "level": record.levelname.lower(),
                "logger": record.name,
                "event": record.getMessage(),
                "fields": fields,
            }
        )

    def lines(self) -> list[dict[str, Any]]:
        """Return what is remembered, the newest last."""
        return list(self._lines)


def _time(record: logging.LogRecord, precision: str) -> str:
    time = datetime.fromtimestamp(record.created, UTC)
    return time.isoformat(timespec=precision).replace("+00:00", "Z")


def _fields(record: logging.LogRecord) -> dict[str, Any]:
    return {name: v for name, v in record.__dict__.items() if name not in _STANDARD}


def _value(value: object) -> str:
    text = str(value)
    plain = text.isprintable() and text and not {" ", '"', "="} & set(text)
    return text if plain else json.dumps(text, ensure_ascii=False)


def _trace(formatter: logging.Formatter, record: logging.LogRecord) -> str:
    return formatter.formatException(record.exc_info) if record.exc_info else ""

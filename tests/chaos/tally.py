"""What many schedules came to, by topology and level: the rows of a report."""

from collections import Counter
from pathlib import Path

import msgspec
from msgspec import Struct, field

from tests.chaos.schedule import Outcome


class Row(Struct):
    """What the schedules of one kind came to.

    Attributes:
        bad: Seeds of those that were complained of.
        rules: How often each rule was broken.
    """

    topology: str
    level: str
    schedules: int = 0
    accepted: int = 0
    pushed: int = 0
    replays: int = 0
    bad: list[int] = field(default_factory=list)
    rules: Counter[str] = field(default_factory=Counter)

    def __str__(self) -> str:
        return (
            f"{self.topology}, {self.level}: {self.schedules} schedules,"
            f" {self.accepted} accepted, {self.pushed} pushed, {self.replays} replays,"
            f" {len(self.bad)} with complaints {dict(self.rules)}"
        )


class Tally:
    """Counts outcomes as they come, so that a run that is broken off has numbers too."""

    def __init__(self) -> None:
        self._rows: dict[tuple[str, str], Row] = {}

    @property
    def rows(self) -> list[Row]:
        """Return a row for each topology and level, in order."""
        return [self._rows[kind] for kind in sorted(self._rows)]

    def count(self, outcome: Outcome) -> None:
        """Count one more."""
        shape, numbers = outcome.schedule.shape, outcome.numbers
        kind = (shape.topology, shape.level)
        row = self._rows.setdefault(kind, Row(*kind))
        row.schedules += 1
        row.accepted += numbers.accepted
        row.pushed += numbers.pushed
        row.replays += numbers.replays
        if outcome.complaints:
            row.bad.append(outcome.schedule.seed)
        row.rules.update(complaint.rule for complaint in outcome.complaints)

    def save(self, path: Path) -> None:
        """Write the rows as JSON."""
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(msgspec.json.format(msgspec.json.encode(self.rows)))

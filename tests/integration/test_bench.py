"""The benchmark itself: it builds, loads a real server, and believes no failed run."""

import json
import shutil
from pathlib import Path

import pytest

from bench import report
from bench.__main__ import measure
from bench.load import Counters, LoadFailed
from bench.scenarios import SCENARIOS, Plan, check

TINY = Plan(
    runs=1,
    seconds=0.2,
    warmup=0.1,
    recipients=16,
    idle=(8, 16),
    settle=0.1,
    storm=32,
    mailboxes=4,
    unread=150,
)


def counters(*, failures: int = 0, refused: int = 0) -> Counters:
    """Return counters of a load program that did nothing but this."""
    counted = dict.fromkeys(Counters.__struct_fields__, 0)
    return Counters(**{**counted, "failures": failures, "refused": refused})


needs_compiler = pytest.mark.skipif(
    shutil.which("cc") is None, reason="the load program needs a C compiler (cc)"
)


@needs_compiler
@pytest.mark.timeout(120)
def test_every_line_of_the_table_is_measured() -> None:
    """All scenarios run against a real server, and every line gets its figure."""
    said: list[str] = []
    runs = measure(TINY, SCENARIOS, said.append)
    measured = {name for run in runs for name in run}
    assert {line.name for line in report.LINES} <= measured
    assert len(runs) + 1 == len(said)
    assert len(report.LINES) + 2 == len(report.table(runs).splitlines())


def test_a_budget_is_met_or_not() -> None:
    """A limit above and a limit below are judged, and no limit is not."""
    assert [report.Line("a", "a", "us", most=2).met(n) for n in (2, 3)] == ["yes", "no"]
    assert [report.Line("a", "a", "us", least=3).met(n) for n in (2, 3)] == ["no", "yes"]
    assert report.Line("a", "a", "us").met(1) == ""


def test_the_results_are_kept(tmp_path: Path) -> None:
    """The JSON holds every run's figure, with its median and extremes."""
    path = tmp_path / "results" / "one.json"
    report.write(path, {"cores": 2}, [{"a": 1.0}, {"a": 5.0, "b": 2.0}, {"a": 3.0}])
    written = json.loads(path.read_text())
    assert written["machine"] == {"cores": 2}
    assert written["figures"]["a"] == {
        "median": 3.0,
        "min": 1.0,
        "max": 5.0,
        "runs": [1.0, 5.0, 3.0],
    }


def test_a_run_with_failures_is_no_result() -> None:
    """A request refused, or a delivery, makes the figures worthless."""
    with pytest.raises(LoadFailed):
        check(counters(failures=1))
    with pytest.raises(LoadFailed):
        check(counters(refused=1))
    check(counters())

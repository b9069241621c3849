"""The benchmark itself: it builds, loads a real server, and believes no failed run."""

import json
import shutil
from pathlib import Path
from typing import NoReturn

import pytest

from bench import compare, report
from bench.__main__ import measure
from bench.bare import BUDGETED_US
from bench.compare import Outcome
from bench.load import Counters, LoadFailed
from bench.peers import PEERS, mosquitto
from bench.peers.conventional import Conventional
from bench.peers.pushd import Pushd
from bench.processes import Unavailable
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


def test_figures_are_told_in_bare_posts() -> None:
    """On a machine twice as slow twice the time keeps the budget, and more does not."""
    slow = {"pace.post_us": 2 * BUDGETED_US}
    runs = [
        slow | {"single.full.memory.server_us": 2 * 40.0, "p50_ms": 9.0},
        slow | {"connect.seen.per_server_second": 12_000 / 2.1},
    ]
    single, seen = report.table(runs).splitlines()[2:4]
    assert [cell.strip() for cell in single.split("|")[6:-1]] == [
        "no",
        "7.14",
        "<= 7.1",
        "yes",
    ]
    assert [cell.strip() for cell in seen.split("|")[6:-1]] == ["no", "15.6", "<= 15", "no"]


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


@needs_compiler
@pytest.mark.timeout(120)
def test_peers_do_the_same_work() -> None:
    """The conventional stack is loaded as pushd is, and stands beside it in one table."""
    plan = TINY._replace(warmup=0.5, seconds=1.0)
    said: list[str] = []
    outcomes = compare.compare(plan, ["pushd", "conventional"], said.append)
    assert [outcome.missing for outcome in outcomes.values()] == ["", ""]
    for outcome in outcomes.values():
        assert min(outcome.middle("server_us"), outcome.middle("store_us")) > 0
    first, second = compare.table(outcomes).splitlines()[2:4]
    assert "pushd" in first
    assert "| x 1" in first
    assert Conventional.lacks in second


class NotHad(Conventional):
    """A peer that this machine cannot have."""

    def install(self) -> None:
        """Find no network."""
        raise Unavailable("no network")


class NeverStarts(Conventional):
    """A peer that is there, and does not start."""

    def running(self, directory: Path) -> NoReturn:
        """Fail as a program that ended."""
        raise Unavailable("it ended")


@needs_compiler
def test_a_peer_that_fails_does_not_end_the_others(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Neither is measured, each for its reason, and both are in the outcome."""
    failing = {"not-had": NotHad, "never-starts": NeverStarts}
    for name, peer in failing.items():
        monkeypatch.setitem(PEERS, name, peer)
    said: list[str] = []
    outcomes = compare.compare(TINY, failing, said.append)
    missing = {name: (o.missing, list(o.runs)) for name, o in outcomes.items()}
    assert missing == {"not-had": ("no network", []), "never-starts": ("it ended", [])}


def test_a_peer_that_is_not_to_be_had_says_so() -> None:
    """Its row has no figures but the reason, on one line; the others stay."""
    run = dict.fromkeys(
        ("server_kib", "store_kib", "server_us", "store_us", "per_second", "others"), 2.0
    )
    outcomes = {
        "pushd": Outcome(Pushd(1), [run | {"verify_us": 30.0, "post_us": 6.0}]),
        "conventional": Outcome(Conventional(1), missing="no\nnetwork"),
    }
    first, second = compare.table(outcomes).splitlines()[2:4]
    assert first.count(" 2 ") == 5
    assert "(not measured: no network)" in second
    assert compare.versions(outcomes)["conventional"] == "no\nnetwork"
    assert "pushd.server_kib" in compare.named_runs(outcomes)[0]


def test_a_peer_without_a_store_shows_none() -> None:
    """What a system has no part for is empty, not 0."""
    outcome = Outcome(Pushd(1), [{"store_us": 0.0}, {"store_us": 0.0}])
    assert outcome.cell("store_us") == ""


def test_medians_stand_before_their_spread() -> None:
    """A cell tells the middle of the runs, and the lowest and the highest."""
    outcome = Outcome(Pushd(1), [{"a": value, "b": 1.0} for value in (5.0, 1.0, 2.0)])
    assert outcome.cell("a") == "2 (1-5)"
    assert outcome.middle("a", "b") == 3.0


def test_lengths_of_mqtt_take_as_many_bytes_as_they_need() -> None:
    """The examples of MQTT 3.1.1, table 2.4: 127 and 128, 16,383 and 16,384."""
    lengths = (0, 127, 128, 16_383, 16_384)
    heads = [mosquitto.packet(0x30, bytes(n))[1 : -n or None].hex() for n in lengths]
    assert heads == ["00", "7f", "8001", "ff7f", "808001"]


def test_mqtt_connects_as_specified() -> None:
    """The fields of MQTT 3.1.1, section 3.1, in their order."""
    assert mosquitto.connect("ab", mosquitto.CLEAN) == bytes.fromhex(
        "100e 0004 4d515454 04 02 0000 0002 6162"
    )

"""Nothing is lost, reordered or made up while things fail, one by one and together.

All schedules run at once, for they mostly wait; `make chaos` runs as many as you like.
"""

import asyncio
from collections.abc import Mapping
from pathlib import Path

import pytest

from tests.chaos.checker import READER, RULES, Complaint
from tests.chaos.faults import FAULTS
from tests.chaos.history import Hello, Numbers, load
from tests.chaos.named import NAMED
from tests.chaos.schedule import SILENCES, Outcome, Schedule, draw, draw_long, run, run_all
from tests.chaos.tally import Tally
from tests.chaos.world import TOPOLOGIES

ROOT = Path(__file__).parents[2]
SEEDS = range(1, 7)
SCHEDULES: Mapping[str, Schedule] = {
    **NAMED,
    **{f"drawn from {seed}": draw(seed) for seed in SEEDS},
}

pytestmark = [
    pytest.mark.timeout(300),
    # An HTTP client that is cancelled while it connects leaves its socket lying about.
    pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning"),
]


@pytest.fixture(scope="module")
def outcomes() -> Mapping[str, Outcome]:
    """Run all schedules."""
    found = asyncio.run(run_all(SCHEDULES.values(), parallel=6))
    return dict(zip(SCHEDULES, found, strict=True))


@pytest.mark.parametrize("name", SCHEDULES)
def test_nothing_is_lost_or_reordered(outcomes: Mapping[str, Outcome], name: str) -> None:
    """The checker finds nothing wrong with what was accepted, pushed and acked."""
    outcome = outcomes[name]

    assert outcome.complaints == []
    assert outcome.numbers.accepted > 0
    assert outcome.numbers.pushed > 0


def test_a_seed_draws_the_same_schedule_again() -> None:
    """What a seed broke can be broken again, and every fault has its turn."""
    assert draw(7) == draw(7)
    schedules = [draw(seed, topology=name) for seed in range(300) for name in TOPOLOGIES]
    assert {strike.fault for each in schedules for strike in each.strikes} == set(FAULTS)


def test_a_mixed_run_has_its_share_of_each_topology() -> None:
    """Three of five are on one store; what they came to is told apart."""
    tally = Tally()
    for seed in range(10):
        schedule = draw(seed, topology="mixed", level="fsync")
        numbers = Numbers(accepted=seed, pushed=0, sessions=0, replays=0)
        bad = [Complaint("lost", 1.0, "")] if seed == 6 else []
        tally.count(Outcome(schedule, numbers, bad))

    counted = [(row.topology, row.schedules, row.accepted, row.bad) for row in tally.rows]
    assert counted == [
        ("cluster", 2, 3 + 8, []),
        ("sentinels", 2, 1 + 6, [6]),
        ("single", 6, 0 + 2 + 4 + 5 + 7 + 9, []),
    ]


def test_long_silences_are_drawn_for_every_topology() -> None:
    """Each stops or silences one part for up to a minute, at a server's own pace."""
    schedules = [draw_long(seed, topology="mixed") for seed in range(300)]

    assert {strike.fault for each in schedules for strike in each.strikes} == set(SILENCES)
    assert all(each.shape.pace == 1.0 and len(each.strikes) == 1 for each in schedules)
    assert max(each.strikes[0].lasts for each in schedules) > 50


def test_every_fault_and_every_complaint_is_documented() -> None:
    """The page on reliability names all that can be broken, and all that can be wrong."""
    page = (ROOT / "docs/reliability.md").read_text()

    assert [name for name in [*FAULTS, *RULES] if f"`{name}`" not in page] == []


async def test_what_is_wrong_is_kept(tmp_path: Path) -> None:
    """Of a run with complaints the history, the complaints and the logs are kept."""
    schedule = NAMED["a publication that is lost"]
    shape = schedule.shape._replace(mutant="tail check", patience=2.0)

    outcome = await run(schedule._replace(shape=shape), tmp_path)

    assert outcome.complaints
    kept = tmp_path / str(schedule.seed)
    history = load(kept / "history.jsonl")
    assert any(type(e) is Hello and not e.client.startswith(READER) for e in history)
    assert "lost" in (kept / "complaints.txt").read_text()
    assert (kept / "node-0.1.log").exists()

"""The checker finds what a server without its safeguards does to messages.

The same schedules, and others, find nothing wrong with the server as it is.
"""

import asyncio

import pytest

from tests.chaos.named import NAMED
from tests.chaos.schedule import Schedule, run

SEAM = "the seam between history and live"
OLDER = "a store that comes back older"
MOVING = "a slot that moves, and a node is killed"
LAGGING = "a replica in a Cluster that lags, and its primary dies"
PUBLICATION = "a publication that is lost"

PATIENCE = 10.0
"""Seconds in which what comes late has come; a mutant never catches up."""
TRIES = 12
"""Runs in which a race is met once, very surely, also on a machine with much to do."""

pytestmark = [
    pytest.mark.timeout(300),
    # An HTTP client that is cancelled while it connects leaves its socket lying about.
    pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning"),
]


def without(mutant: str, name: str) -> Schedule:
    """Return a schedule on servers in which something is switched off."""
    schedule = NAMED[name]
    shape = schedule.shape._replace(mutant=mutant, patience=PATIENCE)
    return schedule._replace(shape=shape)


async def rules(mutant: str, name: str) -> set[str]:
    """Run a schedule until the checker complains, and return the rules that are broken."""
    for _ in range(TRIES):
        outcome = await run(without(mutant, name))
        if outcome.complaints:
            return {complaint.rule for complaint in outcome.complaints}
    return set()


async def test_without_the_tail_check_the_seams_hold() -> None:
    """What finds a missing seam is not that the tail check is missing too."""
    names = (SEAM, SEAM, MOVING)
    outcomes = await asyncio.gather(*[run(without("tail check", name)) for name in names])

    assert [outcome.complaints for outcome in outcomes] == [[], [], []]


async def test_mutants_are_found() -> None:
    """Without the gate, a subscription's seam, epochs or the tail check, it is seen."""
    gate, seam, moved, epoch, promoted, tail = await asyncio.gather(
        rules("gate", SEAM),
        rules("seam,tail check", SEAM),
        rules("adoption,tail check", MOVING),
        rules("epoch", OLDER),
        rules("epoch", LAGGING),
        rules("tail check", PUBLICATION),
    )

    assert "skipped" in gate
    assert "lost" in seam
    assert "lost" in moved
    assert {"renamed", "dishonest"} & epoch
    assert {"renamed", "dishonest"} & promoted
    assert "lost" in tail

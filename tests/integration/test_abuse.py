"""Abuse in small: who abuses a server is refused, and costs a pair that behaves nothing."""

import pytest

from bench.abuse import measure
from bench.abusers import Plan

SMALL = Plan(seconds=2.0, pace=5.0, limit=25, flood=100.0, idle=30, lagging=20, unread=300)


@pytest.mark.timeout(180)
def test_a_pair_that_behaves_gets_all_its_messages() -> None:
    """In order, beside a flood, idle sockets and slow readers; the flood gets its limit.

    How long it takes is for a quiet machine to say. That all arrived, `measure` sees to.
    """
    figures = measure(SMALL)

    assert figures.quiet.sent == figures.abused.sent == 10
    assert 1 <= figures.counts["flood answered 202"] <= 2 * SMALL.limit
    assert figures.counts["flood answered 429"] >= 1
    assert figures.counts["idle connections"] >= SMALL.idle
    assert figures.counts["slow readers still there"] == SMALL.lagging
    bob, carol = 1, 1  # Carol is whom the flood goes to
    assert figures.bounds["held sessions"] == SMALL.lagging + bob + carol
    assert figures.bounds["turned away sessions"] == 0

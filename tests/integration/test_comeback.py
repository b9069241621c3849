"""A mass that comes back, in small: all are served, and a pair beside it goes on."""

import pytest

from bench.comeback import Plan, measure

SMALL = Plan(people=40, unread=3, pace=200.0)


@pytest.mark.timeout(180)
def test_all_come_back_with_what_is_unread() -> None:
    """Their server was killed; at the other they get everything, and the pair its own.

    How long it takes is for a quiet machine to say. That all of it came, `measure` sees to.
    """
    figures = measure(SMALL)

    assert figures.quiet.sent == 200
    assert figures.storm.sent + figures.storm.refused >= 200
    assert figures.people.attempts >= SMALL.people
    assert figures.bounds["held sessions"] == SMALL.people + 1  # and Bob
    assert 0 < figures.rss <= figures.peak

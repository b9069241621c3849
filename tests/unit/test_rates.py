"""Rates: so many a minute for each, decided here, added up elsewhere."""

import time
from inspect import signature

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pushd import rates
from pushd.names import Names
from pushd.rates import WINDOW, Rate, Rates, Standing

NOW = 1_760_000_000.0
ALICE, MALLORY = "did:test:alice", "did:test:mallory"


def do(rate: Rate, who: str, now: float, times: int) -> int:
    """Try to do something several times, and return how often it was allowed."""
    done = 0
    for _ in range(times):
        if not rate.exhausted(who, now):
            rate.count(who, now)
            done += 1
    return done


@given(st.integers(1, 5000))
def test_a_minutes_worth_may_be_done_at_once(most: int) -> None:
    """Exactly so many, whatever the number; the next after the time that one takes."""
    rate = Rate("sender", most)

    assert do(rate, ALICE, NOW, most + 10) == most
    assert do(rate, ALICE, NOW + WINDOW / most + 0.002, 2) == 1


def test_a_flood_gets_its_rate_and_no_more() -> None:
    """Ten times too much, for five minutes: five minutes' worth beyond the first."""
    rate = Rate("sender", 60)

    done = sum(do(rate, MALLORY, NOW + at / 10, 1) for at in range(3000))
    assert done == 60 + 299
    assert do(rate, ALICE, NOW + 299, 100) == 60


def test_what_others_let_through_counts_here() -> None:
    """The store tells of more than was done here; what it was not told of is added."""
    rate = Rate("sender", 60)
    rate.count(ALICE, NOW, 10)
    rate.untold.clear()
    rate.count(ALICE, NOW, 5)

    rate.learn(ALICE, 40.0, NOW)
    assert rate.standing(ALICE, NOW) == Standing("sender", 60, 15, 1)


def test_a_debt_is_paid_before_more_is_let_through() -> None:
    """What servers together let through too much is made up for first."""
    rate = Rate("sender", 60)

    rate.learn(ALICE, 90.0, NOW)
    assert rate.standing(ALICE, NOW) == Standing("sender", 60, 0, 31)
    assert rate.exhausted(ALICE, NOW + 30.9)
    assert not rate.exhausted(ALICE, NOW + 31)


def test_how_somebody_stands() -> None:
    """All is left to who did nothing; then less; then it is told when there is one more."""
    rate = Rate("sender", 6)

    assert rate.standing(ALICE, NOW) == Standing("sender", 6, 6, 10)
    rate.count(ALICE, NOW)
    assert rate.standing(ALICE, NOW) == Standing("sender", 6, 5, 10)
    rate.count(ALICE, NOW, 5)
    assert rate.standing(ALICE, NOW + 4) == Standing("sender", 6, 0, 6)


def test_many_who_did_little_take_bounded_room() -> None:
    """Keys cost nothing: a new one for each delivery must not fill the memory."""
    rate = Rate("sender", 1)
    for n in range(rates.REMEMBERED + 10):
        rate.count(f"key {n}", NOW)

    assert len(rate._counts_until) <= rates.REMEMBERED


def test_those_who_did_nothing_lately_are_forgotten_first() -> None:
    """Who is over a limit is remembered while there are others to forget."""
    rate = Rate("sender", 1)
    for n in range(rates.REMEMBERED - 1):
        rate.count(f"key {n}", NOW)
    later = NOW + WINDOW + 1
    rate.count(MALLORY, later)
    rate.count(ALICE, later)

    assert rate.exhausted(MALLORY, later)
    assert len(rate._counts_until) == 2


@pytest.mark.parametrize("limited", [Rates, Names])
def test_limits_go_by_a_clock_that_nobody_sets(limited: type[object]) -> None:
    """By one that was set back an hour, nobody might do anything for as long."""
    assert signature(limited).parameters["clock"].default is time.monotonic
    rate = Rate("sender", 60)
    rate.count(ALICE, NOW)
    assert rate.exhausted(ALICE, NOW - 3600)

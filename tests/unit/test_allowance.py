"""Allowances: so many a minute for each, and for all together."""

from hypothesis import given
from hypothesis import strategies as st

from pushd.allowance import WINDOW, Allowance

NOW = 1_000_000.0


def test_so_many_and_no_more() -> None:
    """The whole allowance may be used at once; then it comes back one by one."""
    allowance = Allowance(each=3, together=100)

    assert [allowance.take("alice", NOW) for _ in range(4)] == [0, 0, 0, WINDOW / 3]
    assert allowance.take("alice", NOW + WINDOW / 3) == 0
    assert allowance.take("alice", NOW + WINDOW / 3) > 0


def test_one_who_takes_all_takes_nothing_from_others() -> None:
    """Each has an allowance of their own."""
    allowance = Allowance(each=1, together=100)

    assert allowance.take("mallory", NOW) == 0
    assert allowance.take("mallory", NOW) > 0
    assert allowance.take("alice", NOW) == 0


def test_a_crowd_is_held_back_as_one() -> None:
    """Keys cost nothing: a new one for each try finds the end of what all may do."""
    allowance = Allowance(each=5, together=20)

    taken = sum(allowance.take(f"key {n}", NOW) == 0 for n in range(1000))
    assert taken == 20
    assert allowance.take("late", NOW + WINDOW) == 0


def test_what_is_refused_costs_nothing() -> None:
    """Who asks again and again waits no longer than who waits."""
    allowance = Allowance(each=1, together=100)
    allowance.take("alice", NOW)
    for _ in range(50):
        allowance.take("alice", NOW + 1)

    assert allowance.take("alice", NOW + WINDOW) == 0


def test_none_is_any_number() -> None:
    """An operator may leave the limit out."""
    allowance = Allowance(each=0, together=0)

    assert {allowance.take("alice", NOW) for _ in range(1000)} == {0.0}


@given(st.lists(st.tuples(st.integers(0, 40), st.floats(0, 5)), max_size=300))
def test_nobody_passes_the_limit_in_any_minute(steps: list[tuple[int, float]]) -> None:
    """In no minute does one do it more than twice the allowance; memory is bounded."""
    allowance, now = Allowance(each=4, together=10), NOW
    done: list[tuple[int, float]] = []
    for who, pause in steps:
        now += pause
        if allowance.take(str(who), now) == 0:
            done.append((who, now))
        assert len(allowance._whole_at) <= 21
    for who, at in done:
        mine = [t for other, t in done if other == who and at <= t < at + WINDOW]
        assert len(mine) <= 8
        assert len([t for _, t in done if at <= t < at + WINDOW]) <= 20


def test_asking_takes_nothing() -> None:
    """How long one would have to wait can be asked for without doing it."""
    allowance = Allowance(each=2, together=100)
    assert [allowance.wait("alice", NOW) for _ in range(5)] == [0.0] * 5
    allowance.take("alice", NOW)
    allowance.take("alice", NOW)
    assert allowance.wait("alice", NOW) == allowance.take("alice", NOW) == WINDOW / 2

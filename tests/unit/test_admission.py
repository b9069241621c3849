"""Admission: what is let in when not all can be served in time, and in which order."""

import asyncio
from asyncio import Future
from collections.abc import Sequence
from functools import partial
from typing import cast

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pushd import admission, pulse
from pushd.admission import WINDOW, Admission, Line, Pace
from pushd.bounds import Bound
from pushd.errors import Overloaded, PushdError, StoreUnavailable
from pushd.futures import Done, awaited
from pushd.incidents import Incident
from pushd.mailbox.base import Mailboxes
from pushd.pulse import Pulse
from tests.contract.stores import until

NOW = 1000.0


def measured(*delays: float, every: float = 0.2) -> Admission:
    """Return what an admission makes of delays, measured one after the other."""
    made = Admission(Bound("delay_ms", 500))
    for n, delay in enumerate(delays):
        made.measured(delay, NOW + n * every)
    return made


def share(of: Admission) -> float:
    """Tell which share of what is new it refuses."""
    return sum(of.refuses(chance / 1000) for chance in range(1000)) / 1000


def test_in_time_nothing_is_refused() -> None:
    """Neither before anything was measured nor while calls are quick."""
    assert share(measured()) == 0
    assert share(measured(*[0.4] * 50)) == 0


def test_a_delay_that_stays_refuses_a_share() -> None:
    """As much as is too much: half at twice the delay, most at ten times."""
    assert share(measured(*[1.0] * 50)) == pytest.approx(0.5, abs=0.01)
    assert share(measured(*[5.0] * 50)) == pytest.approx(0.9, abs=0.01)


def test_a_peak_is_no_overload() -> None:
    """One quick answer in the window, and all are let in."""
    assert share(measured(*[9.0] * 9, 0.1, *[9.0] * 9)) == 0
    assert share(measured(*[9.0] * 5)) == 0


def test_when_the_delay_is_gone_all_are_let_in_at_once() -> None:
    """The first quick answer ends it."""
    assert share(measured(*[9.0] * 50, 0.01)) == 0


@given(st.lists(st.floats(0, 10), min_size=11, max_size=60))
def test_the_delay_is_the_least_of_the_window(delays: list[float]) -> None:
    """Whatever was measured, in whatever order."""
    bound = Bound("delay_ms", 500)
    made = Admission(bound)
    for n, delay in enumerate(delays):
        made.measured(delay, NOW + n * 0.25)
    lately = delays[-int(WINDOW / 0.25) :]

    assert bound.held == round(min(lately) * 1000)


class SlowMailboxes:
    """Answers each call a while after it was asked."""

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds

    def tails(self, mailboxes: Sequence[str]) -> Future[list[None]]:
        """Take a call."""
        loop = asyncio.get_running_loop()
        answer: Future[list[None]] = loop.create_future()
        loop.call_later(self._seconds, answer.set_result, [None for _ in mailboxes])
        return answer


async def test_each_call_of_the_pulse_is_measured_by_itself(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """So a delay shorter than the window is noticed, as the next call undercuts none."""
    monkeypatch.setattr(admission, "WINDOW", 0.5)
    monkeypatch.setattr(pulse, "INTERVAL", 0.02)
    bound = Bound("delay_ms", 100)
    beating = Pulse(cast(Mailboxes, SlowMailboxes(0.3)), Admission(bound))
    beating.start()
    await until(lambda: bound.held > 200)
    beating.stop()


class Store:
    """Answers calls when the test says so."""

    def __init__(self) -> None:
        self.calls: list[int] = []
        self._waiting: list[Done[int]] = []

    def call(self, number: int, done: Done[int]) -> None:
        """Take a call."""
        self.calls.append(number)
        self._waiting.append(done)

    def answer(self, at: int, answer: int | PushdError) -> None:
        """Answer the call that came at this place."""
        self._waiting[at](answer)


def stand(line: Line, store: Store, number: int) -> Future[int]:
    """Stand in line for a call."""
    return awaited(partial(line.run, partial(store.call, number)))


async def test_so_many_are_asked_at_a_time_and_the_others_in_their_order() -> None:
    """Each answer lets the next one pass, also one that is an error."""
    store, bound = Store(), Bound("catchups", 100)
    line = Line(bound, at_once=2)
    results = [stand(line, store, n) for n in range(5)]
    assert store.calls == [0, 1]
    assert bound.held == 5
    store.answer(1, StoreUnavailable())
    with pytest.raises(StoreUnavailable):
        await results[1]
    assert store.calls == [0, 1, 2]
    for number in (0, 2):
        store.answer(number, number)
        assert await results[number] == number
    assert store.calls == [0, 1, 2, 3, 4]
    for number in (3, 4):
        store.answer(number, number)
        assert await results[number] == number
    assert bound.held == 0


async def test_who_waits_no_more_holds_nobody_up() -> None:
    """One that was cancelled in the line, or while it was its turn."""
    store, bound = Store(), Bound("catchups", 100)
    line = Line(bound, at_once=1)
    results = [stand(line, store, n) for n in range(3)]
    results[1].cancel()
    results[0].cancel()
    for number in range(3):
        store.answer(number, number)
    assert await results[2] == 2
    assert bound.held == 0


async def test_who_fails_on_its_answer_holds_nobody_up() -> None:
    """It is told of its own bug, its turn ends once, and the next has one."""
    store, bound = Store(), Bound("catchups", 100)
    line = Line(bound, at_once=1)
    told: list[int | PushdError] = []

    def failing(answer: int | PushdError) -> None:
        told.append(answer)
        raise ValueError("planted")

    line.run(partial(store.call, 0), failing)
    results = [stand(line, store, n) for n in (1, 2)]
    store.answer(0, 0)
    assert [type(answer) for answer in told] == [int, Incident]
    assert bound.held == 2
    assert store.calls == [0, 1]
    for number in (1, 2):
        store.answer(number, number)
        assert await results[number - 1] == number
    assert bound.held == 0


async def test_a_line_has_an_end() -> None:
    """One more is told to come back; when somebody is served there is room again."""
    store, bound = Store(), Bound("catchups", 2)
    line = Line(bound, at_once=1)
    first, second = stand(line, store, 0), stand(line, store, 1)
    with pytest.raises(Overloaded):
        stand(line, store, 2)
    store.answer(0, 0)
    await first
    assert not stand(line, store, 3).done()
    assert not second.done()
    assert bound.turned_away == 1


def ask(pace: Pace, done: list[int], number: int) -> None:
    """Do something in this turn if the pace allows it, else later."""
    if pace.allows():
        done.append(number)
    else:
        pace.later(partial(done.append, number))


async def test_the_pace_is_so_many_in_a_turn_of_the_event_loop() -> None:
    """The others have theirs in their order, and who comes meanwhile is behind them."""
    pace, done = Pace(in_a_turn=2), list[int]()
    for number in range(5):
        ask(pace, done, number)
    seen = [list(done)]
    for number in range(5, 9):
        await asyncio.sleep(0)
        ask(pace, done, number)
        seen.append(list(done))
    upto = [list(range(n)) for n in (2, 4, 6, 8, 9)]
    assert seen == upto


async def test_at_rest_the_pace_costs_the_event_loop_nothing() -> None:
    """Once nobody waits nothing is scheduled, and who comes need not wait."""
    turns = 0

    class Counted(Pace):
        def _next(self) -> None:
            nonlocal turns
            turns += 1
            super()._next()

    pace, done = Counted(in_a_turn=1), list[int]()
    ask(pace, done, 0)
    ask(pace, done, 1)
    for _ in range(10):
        await asyncio.sleep(0)
    assert done == [0, 1]
    assert turns == 2
    ask(pace, done, 2)
    assert done == [0, 1, 2]


async def test_who_fails_in_a_turn_holds_nobody_up() -> None:
    """It is told to the event loop, and the others have their turns."""
    pace, done, told = Pace(in_a_turn=2), list[int](), list[str]()
    loop = asyncio.get_running_loop()
    loop.set_exception_handler(lambda _, context: told.append(str(context["exception"])))
    ask(pace, done, 0)
    ask(pace, done, 1)
    pace.later(partial(done.remove, 9))
    for number in (2, 3):
        ask(pace, done, number)
    for _ in range(3):
        await asyncio.sleep(0)
    assert done == [0, 1, 2, 3]
    assert len(told) == 1

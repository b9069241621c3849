"""The directory's memory under every interleaving, and the planted bugs this must catch."""

import asyncio
import gc
from collections.abc import Awaitable, Callable
from typing import Any

import pytest
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    precondition,
    rule,
    run_state_machine_as_test,
)

from pushd.errors import ResolverUnavailable, Unproven
from pushd.resolvers.cache import Cache, Outdated, _Entry
from tests.unit.machines import HUNT, SETTINGS
from tests.unit.places import NOW, Clock

Answer = str | Exception


def expires(value: str) -> float:
    """Return until when a value counts: one that says `+30` until 30 s from the start."""
    return NOW + float(value.partition("+")[2] or "inf")


class Belief:
    """What one who heard all answers about a key may believe; told as the rules are."""

    def __init__(self) -> None:
        self.value: str | None = None
        self.learnt = 0.0
        self.refusal: str | None = None
        self.heard = 0.0
        self.failed = -1e9
        self.forgotten = False

    def hear(self, answer: Answer, asked: float, now: float, *, doubted: bool) -> None:
        """Take in what the source said to a question asked at some time."""
        usable = self.usable(now)
        if isinstance(answer, ResolverUnavailable) or (
            isinstance(answer, Outdated) and usable
        ):
            self.failed = now
        elif isinstance(answer, Unproven):
            self.value, self.refusal, self.failed = None, str(answer), -1e9
        elif isinstance(answer, str):
            self.value, self.refusal, self.failed = answer, None, -1e9
            self.learnt = asked
        else:
            return
        if self.failed == now and not usable:
            self.value = self.refusal = None
        self.heard, self.forgotten = asked, doubted

    def usable(self, now: float) -> bool:
        """Tell whether there is a value that may still be used at all."""
        return self.value is not None and now < min(self.learnt + 3600, expires(self.value))

    def current(self, now: float) -> bool:
        """Tell whether the source need not be asked."""
        if self.forgotten and now >= self.heard + 10:
            return False
        if self.failed > -1e9:
            return now < self.failed + (10 if self.usable(now) else 5) and (
                self.value is None or self.usable(now)
            )
        if self.value is not None:
            return self.usable(now) and now < self.learnt + 600
        return self.refusal is not None and now < self.heard + 60

    def outcome(self) -> object:
        """Return what is to be answered from memory."""
        if self.value is not None:
            return self.value
        return (Unproven, self.refusal) if self.refusal is not None else ResolverUnavailable


def told(task: "asyncio.Future[str]") -> object:
    """Return what a waiter was told."""
    if task.cancelled():
        return "cancelled"
    error = task.exception()
    if error is None:
        return task.result()
    return (Unproven, str(error)) if isinstance(error, Unproven) else type(error)


def meant(answer: Answer, belief: Belief) -> object:
    """Return what those who waited for an answer are to be told."""
    return type(answer) if isinstance(answer, ValueError) else belief.outcome()


class Question:
    """A question the source has not answered yet."""

    def __init__(self, key: str, asked: float) -> None:
        self.key = key
        self.asked = asked
        self.answer = asyncio.get_running_loop().create_future()
        self.doubted = False
        self.waiters: list[asyncio.Task[str]] = []


KINDS = st.sampled_from(["value", "value for 30 s", "nothing", "old news", "down"])


class Interleavings(RuleBasedStateMachine):
    """Questions, answers, cancellations and time in any order, compared with a belief."""

    make: type[Cache[str, str]] = Cache

    @initialize()
    def begin(self) -> None:
        """Nothing is known."""
        self.loop = asyncio.new_event_loop()
        self.complaints: list[object] = []
        self.loop.set_exception_handler(
            lambda _, context: self.complaints.append(context["message"])
        )
        self.clock = Clock()
        self.cache = self.make(clock=self.clock, expires=expires)
        self.beliefs = {key: Belief() for key in "ab"}
        self.questions: list[Question] = []
        self.number = 0

    def settle(self) -> None:
        """Let everything happen that can."""

        async def pause() -> None:
            for _ in range(6):
                await asyncio.sleep(0)

        self.loop.run_until_complete(pause())

    async def source(self, key: str) -> str:
        """Answer when told to."""
        question = Question(key, self.clock())
        self.questions.append(question)
        answer: Answer = await question.answer
        if isinstance(answer, Exception):
            raise answer
        return answer

    def under_way(self, key: str) -> list[Question]:
        """List the open questions about a key."""
        return [question for question in self.questions if question.key == key]

    @rule(key=st.sampled_from("aaab"))
    def ask(self, key: str) -> None:
        """Somebody wants a value: remembered, being asked for already, or neither."""
        belief, before = self.beliefs[key], self.under_way(key)
        waiter = self.loop.create_task(self.cache.get(key, lambda: self.source(key)))
        self.settle()
        if belief.current(self.clock()):
            assert waiter.done()
            assert told(waiter) == belief.outcome()
            assert self.under_way(key) == before
        else:
            assert not waiter.done()
            assert len(self.under_way(key)) == 1
            assert not before or self.under_way(key) == before
            self.under_way(key)[0].waiters.append(waiter)

    @rule(key=st.sampled_from("aaab"))
    def know(self, key: str) -> None:
        """Somebody looks into memory only."""
        belief = self.beliefs[key]
        expected = belief.outcome() if belief.current(self.clock()) else None
        try:
            found: object = self.cache.known(key)
        except Unproven as error:
            found = (Unproven, str(error))
        assert found == (None if expected is ResolverUnavailable else expected)

    @precondition(lambda self: self.questions)
    @rule(data=st.data(), kind=KINDS)
    def answer(self, data: st.DataObject, kind: str) -> None:
        """The source answers a question."""
        self.land(data.draw(st.sampled_from(self.questions)), self.words(kind))

    @precondition(lambda self: not self.under_way("a"))
    @rule(kind=KINDS)
    def exchange(self, kind: str) -> None:
        """Somebody wants a value, and the source answers before anything else happens."""
        self.ask("a")
        for question in self.under_way("a"):
            self.land(question, self.words(kind))

    def words(self, kind: str) -> Answer:
        """Make an answer, each another one."""
        self.number += 1
        match kind:
            case "value":
                return str(self.number)
            case "value for 30 s":
                return f"{self.number}+{self.clock() - NOW + 30}"
            case "nothing":
                return Unproven(str(self.number))
            case "old news":
                return Outdated(str(self.number))
            case _:
                return ResolverUnavailable()

    @precondition(lambda self: self.questions)
    @rule(data=st.data())
    def break_down(self, data: st.DataObject) -> None:
        """The source has a bug."""
        self.land(data.draw(st.sampled_from(self.questions)), ValueError())

    def land(self, question: Question, answer: Answer) -> None:
        """Let an answer arrive, and see that all who wait are told."""
        self.questions.remove(question)
        belief = self.beliefs[question.key]
        belief.hear(answer, question.asked, self.clock(), doubted=question.doubted)
        assert not question.answer.done(), "the question was cancelled"
        question.answer.set_result(answer)
        self.settle()
        for waiter in question.waiters:
            assert waiter.done()
            assert told(waiter) == meant(answer, belief)

    @precondition(lambda self: any(question.waiters for question in self.questions))
    @rule(data=st.data())
    def cancel(self, data: st.DataObject) -> None:
        """Somebody waits no longer; the others do."""
        waited = [question for question in self.questions if question.waiters]
        question = data.draw(st.sampled_from(waited))
        waiter = question.waiters.pop(data.draw(st.integers(0, len(question.waiters) - 1)))
        waiter.cancel()
        self.settle()
        assert told(waiter) == "cancelled"
        assert not any(other.done() for other in question.waiters)

    @rule(key=st.sampled_from("aaab"))
    def forget(self, key: str) -> None:
        """Somebody doubts what is remembered."""
        self.cache.forget(key)
        self.beliefs[key].forgotten = True
        for question in self.under_way(key):
            question.doubted = True

    @rule(seconds=st.sampled_from([1, 4, 5, 10, 20, 60, 590, 2500]))
    def wait(self, seconds: int) -> None:
        """Time passes."""
        self.clock.now += seconds

    def teardown(self) -> None:
        """In the end everybody was told, and no error was left lying about."""
        if not hasattr(self, "loop"):
            return
        try:
            for question in [*self.questions]:
                self.land(question, ValueError())
            gc.collect(0)
            assert self.complaints == []
        finally:
            for task in asyncio.all_tasks(self.loop):
                task.cancel()
            self.settle()
            self.loop.close()


class NegativesIgnored(Cache[str, str]):
    """Bug: that there is nothing any more is taken for a source that is down."""

    def _fail(
        self, key: str, asked: float, error: Unproven | ResolverUnavailable
    ) -> _Entry[str]:
        last = self._find(key)
        if last is not None and last.value is not None:
            error = ResolverUnavailable()
        return super()._fail(key, asked, error)


class StaleForEver(Cache[str, str]):
    """Bug: without its source a value is used for ever."""

    def _learn(self, asked: float, value: str) -> _Entry[str]:
        entry = super()._learn(asked, value)
        entry.usable = float("inf")
        return entry


class ExpiryIgnored(Cache[str, str]):
    """Bug: a value is believed beyond its own end."""

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(**{**kwargs, "expires": lambda _: float("inf")})


class FreshSinceAnswered(Cache[str, str]):
    """Bug: lifetimes count from the answer, not from the question."""

    def _learn(self, asked: float, value: str) -> _Entry[str]:
        return super()._learn(self._clock(), value)


class Hammering(Cache[str, str]):
    """Bug: a source that is down is asked again at once."""

    def _fail(
        self, key: str, asked: float, error: Unproven | ResolverUnavailable
    ) -> _Entry[str]:
        entry = super()._fail(key, asked, error)
        if entry.value is not None:
            entry.current = asked
        return entry


class ForgetsAtOnce(Cache[str, str]):
    """Bug: whoever doubts makes the source be asked each time."""

    def forget(self, key: str) -> None:
        """Forget."""
        entry = self._find(key)
        if entry is not None:
            entry.current = entry.asked


class DoubtLost(Cache[str, str]):
    """Bug: a doubt that comes while the source is asked is overtaken by its answer."""

    def forget(self, key: str) -> None:
        """Forget."""
        entry = self._find(key)
        if entry is not None:
            entry.doubt()


class ManyFlights(Cache[str, str]):
    """Bug: everybody asks for themselves."""

    async def get(self, key: str, ask: Callable[[], Awaitable[str]]) -> str:
        """Get."""
        before = self._flights.pop(key, None)
        try:
            return await super().get(key, ask)
        finally:
            if before is not None:
                self._flights[key] = before


class Unshielded(Cache[str, str]):
    """Bug: who cancels, cancels for all."""

    async def get(self, key: str, ask: Callable[[], Awaitable[str]]) -> str:
        """Get."""
        try:
            return await super().get(key, ask)
        except asyncio.CancelledError:
            if key in self._flights:
                self._flights[key].task.cancel()
            raise


class Unretrieved(Cache[str, str]):
    """Bug: the flight raises, whether somebody waits or not."""

    async def _ask(
        self, key: str, ask: Callable[[], Awaitable[str]]
    ) -> _Entry[str] | Exception:
        outcome = await super()._ask(key, ask)
        if isinstance(outcome, Exception):
            raise outcome
        return outcome


def test_no_interleaving_breaks_a_promise() -> None:
    """Whatever happens in whatever order, everybody is told what the rules say."""
    run_state_machine_as_test(Interleavings, settings=SETTINGS)


@pytest.mark.parametrize(
    "bug",
    [
        NegativesIgnored,
        StaleForEver,
        ExpiryIgnored,
        FreshSinceAnswered,
        Hammering,
        ForgetsAtOnce,
        DoubtLost,
        ManyFlights,
        Unshielded,
        Unretrieved,
    ],
)
def test_a_planted_bug_is_caught(bug: type[Cache[str, str]]) -> None:
    """Each bug planted on purpose makes the property fail, so the property can fail."""
    planted = type("Planted", (Interleavings,), {"make": bug})
    with pytest.raises(AssertionError):
        run_state_machine_as_test(planted, settings=HUNT)

"""The memory of the directory: what it believes, for how long, and what it asks for."""

import asyncio
from typing import Any

import pytest
from hypothesis import Phase, given, settings
from hypothesis import strategies as st

from pushd.errors import ResolverUnavailable, Unproven
from pushd.resolvers.cache import Cache, Outdated, Recent, _Entry
from tests.unit.places import NOW, Clock


class Desk:
    """A cache, its clock, and a source that answers as it is told to."""

    def __init__(self, *, size: int = 100, make: type[Cache[str, str]] = Cache) -> None:
        self.clock = Clock()
        self.cache = make(clock=self.clock, size=size, expires=expires)
        self.asked: list[str] = []

    async def get(self, key: str, answer: str | Exception) -> str:
        """Get a key's value; if the source is asked, this is its answer."""

        async def ask() -> str:
            self.asked.append(key)
            if isinstance(answer, Exception):
                raise answer
            return answer

        return await self.cache.get(key, ask)


def expires(value: str) -> float:
    """Return until when a value counts: one that says `+30` until 30 s from the start."""
    return NOW + float(value.partition("+")[2] or "inf")


# --- lifetimes -----------------------------------------------------------------------


async def test_a_value_is_believed_for_ten_minutes() -> None:
    """A value is asked for once, and again when it is 600 s old."""
    desk = Desk()
    assert await desk.get("bob", "1") == "1"
    desk.clock.now += 599.9
    assert await desk.get("bob", "2") == "1" == desk.cache.known("bob")
    desk.clock.now += 0.1
    assert desk.cache.known("bob") is None
    assert await desk.get("bob", "2") == "2"
    assert len(desk.asked) == 2


async def test_nothing_is_believed_for_a_minute() -> None:
    """That there is nothing is remembered for 60 s, with its reason."""
    desk = Desk()
    with pytest.raises(Unproven, match="nobody"):
        await desk.get("bob", Unproven("nobody"))
    desk.clock.now += 59.9
    with pytest.raises(Unproven, match="nobody"):
        await desk.get("bob", "1")
    with pytest.raises(Unproven, match="nobody"):
        desk.cache.known("bob")
    desk.clock.now += 0.1
    assert desk.cache.known("bob") is None
    assert await desk.get("bob", "1") == "1"


@pytest.mark.parametrize("failure", [ResolverUnavailable(), Outdated("old")])
async def test_a_value_outlives_its_source_for_an_hour(failure: Exception) -> None:
    """While the source is down, or tells old news, the value is used until 3600 s old."""
    desk = Desk()
    await desk.get("bob", "1")
    desk.clock.now += 600
    assert await desk.get("bob", failure) == "1" == desk.cache.known("bob")
    desk.clock.now += 2999
    assert await desk.get("bob", failure) == "1"
    desk.clock.now += 1
    with pytest.raises((ResolverUnavailable, Unproven)):
        await desk.get("bob", failure)


async def test_a_source_that_is_down_is_left_alone() -> None:
    """A failed source is asked again 10 s later with an old value at hand, else 5 s."""
    desk = Desk()
    for after in (0, 4.9, 0.1):
        desk.clock.now += after
        with pytest.raises(ResolverUnavailable):
            await desk.get("eve", ResolverUnavailable())
    assert len(desk.asked) == 2
    assert desk.cache.known("eve") is None

    await desk.get("bob", "1")
    desk.clock.now += 600
    for after in (0, 9.9, 0.1):
        desk.clock.now += after
        assert await desk.get("bob", ResolverUnavailable()) == "1"
    assert len(desk.asked) == 2 + 3


async def test_a_change_that_was_seen_is_final() -> None:
    """Once the source said there is nothing, the old value is not used again."""
    desk = Desk()
    await desk.get("bob", "1")
    desk.clock.now += 600
    with pytest.raises(Unproven):
        await desk.get("bob", Unproven("gone"))
    desk.clock.now += 60
    with pytest.raises(ResolverUnavailable):
        await desk.get("bob", ResolverUnavailable())


async def test_a_value_may_end_sooner() -> None:
    """A value that expires is asked for anew then, and not used beyond."""
    desk = Desk()
    await desk.get("bob", "1+30")
    desk.clock.now += 29.9
    assert desk.cache.known("bob") == "1+30"
    desk.clock.now += 0.1
    assert desk.cache.known("bob") is None
    with pytest.raises(ResolverUnavailable):
        await desk.get("bob", ResolverUnavailable())


async def test_a_value_ends_though_its_source_is_left_alone() -> None:
    """A value is not used beyond its end while the source that failed is left alone."""
    desk = Desk()
    await desk.get("bob", "1+30")
    desk.clock.now += 25
    desk.cache.forget("bob")
    assert await desk.get("bob", ResolverUnavailable()) == "1+30"
    desk.clock.now += 4.9
    assert desk.cache.known("bob") == "1+30"
    desk.clock.now += 0.1
    assert desk.cache.known("bob") is None


async def test_forgetting_waits_ten_seconds() -> None:
    """What is to be forgotten is asked for anew, 10 s after the last time or later."""
    desk = Desk()
    await desk.get("bob", "1")
    for after in (0, 9.9):
        desk.clock.now += after
        desk.cache.forget("bob")
        assert await desk.get("bob", "2") == "1"
    desk.clock.now += 0.1
    assert await desk.get("bob", "2") == "2"
    desk.cache.forget("nobody ever asked for")


async def test_a_clock_set_back_does_not_prolong_belief() -> None:
    """What was learnt in what is now the future is asked for anew."""
    desk = Desk()
    await desk.get("bob", "1")
    desk.clock.now -= 1
    assert desk.cache.known("bob") is None
    with pytest.raises(ResolverUnavailable):
        await desk.get("bob", ResolverUnavailable())
    desk.clock.now -= 1
    assert await desk.get("bob", "2") == "2"


async def test_other_errors_are_not_remembered() -> None:
    """An error of another kind reaches who asked, and the next one asks again."""
    desk = Desk()
    for _ in range(2):
        with pytest.raises(ValueError, match="bug"):
            await desk.get("bob", ValueError("bug"))
    assert len(desk.asked) == 2
    assert len(desk.cache) == 0


async def test_a_remembered_error_holds_on_to_nothing() -> None:
    """An error raised from memory is a new one, without the way of those before."""
    desk = Desk()
    errors = []
    for _ in range(3):
        with pytest.raises(Unproven) as caught:
            await desk.get("bob", Unproven("nobody"))
        errors.append(caught.value)
    assert len(set(map(id, errors))) == 3
    assert all(error.__context__ is None for error in errors)


# --- what makes place ----------------------------------------------------------------


async def test_a_crowd_asked_once_pushes_out_nobody_in_use() -> None:
    """10,000 names asked for once stay within the room, and names in use stay known."""
    desk = Desk(size=10_000)
    regulars = [f"regular {number}" for number in range(5_000)]
    for key in regulars * 2:
        await desk.get(key, "known")
    desk.asked.clear()
    for number in range(10_000):
        await desk.get(f"passer-by {number}", "seen")
        assert len(desk.cache) <= 10_000
    assert len(desk.asked) == 10_000
    assert all(desk.cache.known(key) == "known" for key in regulars)


async def test_a_crowd_of_nobodies_pushes_out_nobody() -> None:
    """10,000 names that are nobody's cost no known name its place."""
    desk = Desk(size=1_000)
    known = [f"known {number}" for number in range(200)]
    for key in known:
        await desk.get(key, "known")
    for number in range(10_000):
        with pytest.raises(Unproven):
            await desk.get(f"nobody {number}", Unproven("nobody"))
    assert len(desk.cache) <= 1_000
    assert all(desk.cache.known(key) == "known" for key in known)


async def test_the_longest_unused_makes_place() -> None:
    """Of what was asked for again the longest unused goes, after a last chance."""
    desk = Desk(size=10)  # 8 values, of them 6 asked for again
    for key in "abcdef" * 2:
        await desk.get(key, key)
    assert desk.cache.known("a") == "a"
    for key in "gghhii":  # b, c and d were not used since
        await desk.get(key, key)
    assert [key for key in "abcdefghi" if desk.cache.believed(key)] == list("acdefghi")
    assert desk.cache.known("c") == "c"  # and so it stays, and e has the last chance
    await desk.get("j", "j")
    assert [key for key in "acdefghij" if desk.cache.believed(key)] == list("acefghij")


async def test_a_new_answer_keeps_its_place() -> None:
    """A name in use keeps its place when it is asked for anew."""
    desk = Desk(size=10)
    for _ in range(2):
        await desk.get("bob", "1")
    desk.clock.now += 600
    await desk.get("bob", "2")
    for number in range(10):
        await desk.get(str(number), "seen")
    assert desk.cache.known("bob") == "2"


async def test_two_at_once_ask_again() -> None:
    """A name two ask for at the same time was asked for again, and stays."""
    desk = Desk(size=10)
    await asyncio.gather(desk.get("bob", "1"), desk.get("bob", "2"))
    for number in range(10):
        await desk.get(str(number), "seen")
    assert desk.cache.known("bob") == "1"


CROWDED = settings(deadline=None, max_examples=60)
steps = st.lists(
    st.tuples(st.sampled_from(["once", "nobody", "regular"]), st.integers(0, 5)),
    max_size=80,
)


def crowd(make: type[Cache[str, str]], sequence: list[tuple[str, int]]) -> None:
    """Let six regulars be asked for among crowds, and see that they are never lost."""

    async def live() -> None:
        desk = Desk(size=10, make=make)
        for regular in range(6):
            await asyncio.gather(*(desk.get(f"regular {regular}", "1") for _ in range(2)))
        desk.asked.clear()
        for number, (kind, regular) in enumerate(sequence):
            if kind == "regular":
                await desk.get(f"regular {regular}", "1")
            elif kind == "once":
                await desk.get(f"passer-by {number}", "1")
            else:
                with pytest.raises(Unproven):
                    await desk.get(f"nobody {number}", Unproven(""))
            assert len(desk.cache) <= 10
        assert not [key for key in desk.asked if key.startswith("regular")]

    asyncio.run(live())


@CROWDED
@given(steps)
def test_no_crowd_pushes_out_what_is_in_use(sequence: list[tuple[str, int]]) -> None:
    """Whatever else is asked for once or is nobody's, regulars stay, within the room."""
    crowd(Cache, sequence)


class OneLine(Cache[str, str]):
    """Bug: all entries stand in one line, so a crowd pushes out everybody."""

    def _remember(self, key: str, entry: _Entry[str], *, again: bool) -> None:
        self._again.add(key, entry)


class Endless(Cache[str, str]):
    """Bug: nothing leaves."""

    def _remember(self, key: str, entry: _Entry[str], *, again: bool) -> None:
        self._once[key] = entry


class NothingAmongAll(Cache[str, str]):
    """Bug: what has no value stands among what was asked for again."""

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self._nothing = self._again


@pytest.mark.parametrize("bug", [OneLine, Endless, NothingAmongAll])
def test_a_planted_bug_in_what_makes_place_is_caught(bug: type[Cache[str, str]]) -> None:
    """The property fails for each bug planted on purpose."""

    @settings(CROWDED, derandomize=True, database=None, phases=[Phase.generate])
    @given(steps)
    def hunt(sequence: list[tuple[str, int]]) -> None:
        crowd(bug, sequence)

    with pytest.raises(AssertionError):
        hunt()


def test_recent_keeps_the_latest() -> None:
    """What is added moves to the end, and the first makes place."""
    recent = Recent[str, int](2)
    assert recent.add("a", 1) is None
    assert recent.add("b", 2) is None
    assert recent.add("a", 3) is None
    assert recent.add("c", 4) == ("b", 2)
    assert list(recent.items()) == [("a", 3), ("c", 4)]

"""A schedule: a world and what goes wrong in it, drawn from a seed; and running it."""

import asyncio
import random
import tempfile
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

from tests.chaos.acts import Strike
from tests.chaos.checker import Complaint, check
from tests.chaos.faults import FAULTS, strike
from tests.chaos.history import Complained, Numbers, save
from tests.chaos.world import Shape, World

SINGLE_LEVELS = ("fsync", "fsync", "fsync", "memory")
MIX = ("single", "sentinels", "single", "cluster", "single")
"""The topologies of a mixed run, by turns."""
LONGEST = 2.5
"""Seconds a fault lasts at most, at that pace."""
SILENCES = (
    *("node stopped", "store stopped", "primary stopped", "replica stopped"),
    *("link silent", "commands silent", "publications silent", "clients silent"),
)
"""Faults in which somebody says nothing and is not gone."""
LONG = (5.0, 60.0)
"""Seconds a long silence lasts."""


class Schedule(NamedTuple):
    """A world and the faults that come over it."""

    seed: int
    shape: Shape
    strikes: tuple[Strike, ...]

    def __str__(self) -> str:
        shape = self.shape
        kept = shape.level if shape.appended else f"{shape.level} without a file"
        store = (
            shape.store if shape.topology == "single" else f"{shape.store} {shape.topology}"
        )
        faults = "; ".join(map(str, self.strikes)) or "no fault"
        return f"{shape.nodes} on {store}, {kept}: {faults}"


class Outcome(NamedTuple):
    """What came of a schedule."""

    schedule: Schedule
    numbers: Numbers
    complaints: list[Complaint]


def draw(seed: int, **fixed: object) -> Schedule:
    """Draw a schedule; `fixed` are members of the shape that are not drawn.

    A topology of `mixed` is one of `MIX`. Of several stores the first fault is one that a
    single store cannot have.
    """
    rng = random.Random(seed)  # noqa: S311 - chance that can be repeated
    shape = _draw_shape(seed, rng, fixed)
    names = [name for name, kind in FAULTS.items() if kind.fits(shape)]
    own = [name for name in names if not FAULTS[name].fits(Shape())] or names
    stretch = 5.0 / shape.pace
    strikes = [
        Strike(
            fault=rng.choice(names if number else own),
            at=stretch * rng.uniform(0.2, 0.8 * shape.load),
            lasts=stretch * rng.uniform(0.1, LONGEST),
            node=rng.randrange(shape.nodes),
        )
        for number in range(rng.choice((1, 1, 2, 2, 3, 4)))
    ]
    return Schedule(seed, shape, tuple(sorted(strikes, key=lambda strike: strike.at)))


def draw_long(seed: int, **fixed: object) -> Schedule:
    """Draw a schedule of one long silence, for servers that wait as in production."""
    rng = random.Random(seed)  # noqa: S311 - chance that can be repeated
    waits = {"pace": 1.0, "load": LONG[1] / 5.0, "rate": 3.0}
    shape = _draw_shape(seed, rng, {**fixed, **waits})
    strike = Strike(
        fault=rng.choice([name for name in SILENCES if FAULTS[name].fits(shape)]),
        at=rng.uniform(1.0, 5.0),
        lasts=rng.uniform(*LONG),
        node=rng.randrange(shape.nodes),
    )
    return Schedule(seed, shape, (strike,))


def _draw_shape(seed: int, rng: random.Random, fixed: Mapping[str, object]) -> Shape:
    if fixed.get("topology") == "mixed":
        fixed = {**fixed, "topology": MIX[seed % len(MIX)]}
    replicated = fixed.get("topology", "single") != "single"
    levels = ("replicated", "replicated", "fsync") if replicated else SINGLE_LEVELS
    level = rng.choice(levels)
    drawn = {
        "store": rng.choice(("valkey", "redis")),
        "level": level,
        "appended": level != "memory" or rng.random() < 0.5,
        "nodes": rng.choice((1, 2)),
        "load": 8.0 if replicated else 3.0,
    }
    return Shape(**{**drawn, **fixed})  # type: ignore[arg-type] # members of any type


async def run(schedule: Schedule, keep: Path | None = None) -> Outcome:
    """Run a schedule and check its history.

    Args:
        schedule: What to run.
        keep: Directory for the history and the logs, if something is wrong with them.
    """
    rng = random.Random(schedule.seed)  # noqa: S311 - chance that can be repeated
    with tempfile.TemporaryDirectory(prefix="pushd-") as directory:
        world = World(schedule.shape, rng, Path(directory))
        try:
            async with world.running():
                await _strike_all(world, schedule.strikes)
                await world.settle()
        except Exception as error:  # one world that falls apart does not end the others
            world.recorder.note(Complained(line=f"The world fell apart: {error!r}."))
        history = world.recorder.history
        complaints = check(history)
        if complaints and keep is not None:
            _keep(world, schedule, complaints, keep)
        return Outcome(schedule, world.recorder.numbers(), complaints)


async def run_all(
    schedules: Iterable[Schedule],
    *,
    parallel: int,
    keep: Path | None = None,
    pause: Path | None = None,
    done: Callable[[Outcome], None] = lambda outcome: None,
) -> list[Outcome]:
    """Run schedules, some at once, and return what came of each, in order.

    Args:
        schedules: What to run; the next is asked for when there is room.
        parallel: How many run at once.
        keep: As of `run`.
        pause: While this file is there none begins; those that run go on.
        done: Called with each outcome as it is there.
    """
    outcomes: dict[int, Outcome] = {}
    waiting = iter(enumerate(schedules))

    async def work() -> None:
        for number, schedule in waiting:
            await asyncio.to_thread(_wait_while, pause)
            outcomes[number] = await run(schedule, keep)
            done(outcomes[number])

    async with asyncio.TaskGroup() as tasks:
        for _ in range(parallel):
            tasks.create_task(work())
    return [outcomes[number] for number in sorted(outcomes)]


def _wait_while(pause: Path | None) -> None:
    while pause is not None and pause.exists():
        time.sleep(1.0)


async def _strike_all(world: World, strikes: Sequence[Strike]) -> None:
    """Let the faults come over the world while it is under load, and a little longer."""
    async with asyncio.TaskGroup() as tasks:
        for each in strikes:
            tasks.create_task(strike(world, each))
        await asyncio.sleep(world.shape.load * 5.0 / world.shape.pace)
        world.place.loading.clear()


def _keep(
    world: World, schedule: Schedule, complaints: list[Complaint], keep: Path
) -> None:
    directory = keep / str(schedule.seed)
    directory.mkdir(parents=True, exist_ok=True)
    save(world.recorder.history, directory / "history.jsonl")
    lines = [str(schedule), *map(str, complaints)]
    directory.joinpath("complaints.txt").write_text("\n".join(lines) + "\n")
    for log in world.directory.glob("*.log"):
        directory.joinpath(log.name).write_bytes(log.read_bytes())

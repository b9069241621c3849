"""The command `python -m bench.waits`: what messages wait for, and the slowest above all.

At half load, one message in a POST and many, to a store that syncs to its disk before it
answers: the kernel's profiler (perf, Debian's linux-perf) writes down who runs, who could
run, when the store syncs and when the server turns, and the load program when each message
was due and when it came. Together they tell what went on meanwhile (`timeline.py`).

Before it, with nothing to do, the cores are watched: a thread that only looks at the clock
notices when it stands still.
"""

import sys
import tempfile
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from statistics import median
from struct import Struct
from typing import NamedTuple

from bench import load, pace, perf, scenarios
from bench.__main__ import QUICK
from bench.load import LoadFailed
from bench.pace import Figures
from bench.processes import Unavailable, cores
from bench.report import markdown, number
from bench.scenarios import KINDS, Plan, Rig
from bench.timeline import (
    EVENTS,
    FIELDS,
    GOING,
    Cast,
    Stretch,
    Timeline,
    bursts,
    events,
)

PLAN = QUICK._replace(runs=4, seconds=3.0, storm=1, idle=(1, 2), mailboxes=1)
"""How much is done."""
LOOK = 1.0
"""Seconds each core is watched at rest, before each run."""
SLOWEST = 0.01
"""The share of messages that is above the 99th percentile."""
BUFFERS = "64M"
"""What perf keeps for each core; as long as that is enough it disturbs nobody."""
MS = 1e6

_NOTE = Struct("<QQ")

Message = tuple[int, int]
"""When it was due and when it came, in nanoseconds by the clock of the events."""


class Burst(NamedTuple):
    """Some of the slowest messages, under way at the same time.

    Attributes:
        size: How many they are.
        hold: What held up longest meanwhile.
    """

    size: int
    hold: Stretch


class Run(NamedTuple):
    """What was measured in one run.

    Attributes:
        still: Milliseconds of each time that a core stood still before it.
        plain: Figures of deliveries at half load.
        recorded: The same with the profiler.
    """

    still: Sequence[float]
    plain: Figures
    recorded: Figures


class Waits(NamedTuple):
    """What was seen of one kind in one run.

    Attributes:
        run: What was measured in it.
        every: Milliseconds of a message in which each thing went on.
        slowest: The same of the slowest.
        bursts: The slowest, by what they were under way with.
    """

    run: Run
    every: Figures
    slowest: Figures
    bursts: Sequence[Burst]


def main() -> None:
    """Watch, and print the tables."""
    try:
        with tempfile.TemporaryDirectory(prefix="pushd-waits-") as name:
            seen = measure(Path(name))
    except (Unavailable, LoadFailed) as error:
        sys.exit(f"waits: {error}")
    for kind, waits in seen.items():
        tables = of_runs(waits), of_messages(waits), of_bursts(waits)
        print(f"{kind.capitalize()}:", *tables, sep="\n\n", end="\n\n")


def measure(directory: Path, plan: Plan = PLAN) -> dict[str, list[Waits]]:
    """Watch messages of each kind, in each run with a new server and store.

    Raises:
        Unavailable: If the machine lacks something.
        LoadFailed: If a server did not do what it should.
    """
    program = load.build(directory)
    files = scenarios.prepare(plan, directory)
    seen: dict[str, list[Waits]] = {kind: [] for kind in KINDS}
    for run in range(plan.runs):
        still = [ms for core in cores() for ms in pace.pauses_ms(core, LOOK)]
        place = directory / f"rig-{run}"
        with scenarios.rig(place, program, "fsync") as rig:
            scenarios.listen(rig, plan, files)
            for kind, batch in KINDS.items():
                rig.load.tell(f"posts {files.posts[batch]}")
                seen[kind].append(_watched(rig, plan, batch, place, still))
    return seen


def _watched(
    rig: Rig, plan: Plan, batch: int, directory: Path, still: Sequence[float]
) -> Waits:
    """Deliver at half load, without and with a profiler."""
    full = scenarios.full_load(rig, plan, batch)
    plain = scenarios.half_load(rig, plan, batch, full)
    cast = Cast(rig.server.pid, rig.own_store.pid, rig.load.measured.pid)
    notes, path = directory / "notes", directory / "perf"
    with perf.recording(path, *_options(cast)):
        rig.load.tell(f"note {notes}")
        recorded = scenarios.half_load(rig, plan, batch, full)
    messages: list[Message] = list(_NOTE.iter_unpack(notes.read_bytes()))
    begins = min(due for due, _ in messages) + plan.warmup * 1e9
    timeline = Timeline(events(perf.told(path, FIELDS)), cast)
    return _seen(
        Run(still, plain, recorded),
        timeline,
        sorted((one for one in messages if one[0] > begins), key=_latency),
    )


def _latency(message: Message) -> int:
    due, came = message
    return came - due


def _options(cast: Cast) -> list[str]:
    """Return what perf is to record: threads that come and go, and calls of the cast."""
    options = ["--all-cpus", "--clockid=CLOCK_MONOTONIC", f"--mmap-pages={BUFFERS}"]
    ours = "||".join(f"common_pid=={thread}" for thread in cast)
    for event in EVENTS:
        options.append(f"--event={event}")
        if event.startswith("syscalls"):
            options.append(f"--filter={ours}")
    return options


def _seen(run: Run, timeline: Timeline, messages: Sequence[Message]) -> Waits:
    """Tell what went on while messages were under way, the slowest of which are last."""
    slowest = messages[-max(1, round(len(messages) * SLOWEST)) :]
    found = []
    for begin, end, count in bursts(slowest):
        if hold := timeline.longest(begin, end):
            found.append(Burst(count, hold))
    return Waits(run, _ms(timeline, messages), _ms(timeline, slowest), found)


def _ms(timeline: Timeline, messages: Sequence[Message]) -> Figures:
    spent = Counter[str]()
    for due, came in messages:
        spent.update(timeline.during(due, came))
    return {what: spent[what] / len(messages) / MS for what in GOING}


# --- tables -----------------------------------------------------------------------------


def of_runs(seen: Sequence[Waits]) -> str:
    """Write what the runs were, as a Markdown table."""
    head = "run", "at rest: still", "longest, ms", "messages/s", "p50, ms", "p99, ms"
    rows: list[tuple[str, ...]] = [(*head, "recorded: p50", "p99")]
    for place, (run, *_) in enumerate(seen, 1):
        still = f"{sum(run.still) / (2 * LOOK * 1e3):.1%}"
        longest = number(max(run.still, default=0))
        rate = number(run.recorded["per_second"])
        both = run.plain, run.recorded
        times = [number(figures[f"p{q}_ms"]) for figures in both for q in (50, 99)]
        rows.append((f"{place}", still, longest, rate, *times))
    return markdown(rows)


def of_messages(seen: Sequence[Waits]) -> str:
    """Write what went on while messages were under way, as a Markdown table."""
    rows = [("ms of a message", "of all", "of the slowest 1 %")]
    for what in GOING:
        every = median(one.every[what] for one in seen)
        slowest = median(one.slowest[what] for one in seen)
        rows.append((what, number(every), number(slowest)))
    return markdown(rows)


def of_bursts(seen: Sequence[Waits]) -> str:
    """Write what held the slowest messages up, as a Markdown table."""
    found = [burst for one in seen for burst in one.bursts]
    of: dict[str, list[Burst]] = {}
    for burst in found:
        of.setdefault(burst.hold.what, []).append(burst)
    rows = [("longest hold", "bursts", "of the slowest", "ms, median", "ms, most")]
    for what, some in sorted(of.items(), key=lambda item: -_sizes(item[1])):
        held = [(burst.hold.end - burst.hold.begin) / MS for burst in some]
        share = f"{_sizes(some) / _sizes(found):.0%}"
        rows.append((what, f"{len(some)}", share, number(median(held)), number(max(held))))
    return markdown(rows)


def _sizes(some: Sequence[Burst]) -> int:
    return sum(burst.size for burst in some)


if __name__ == "__main__":
    main()

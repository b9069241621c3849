"""The command `python -m bench.guard`: did a change make the server do more than before?

Compares with `baseline.json`, which is committed, and ends with status 1 where something
is over it by more than its `MARGIN`. First it counts the bytecode instructions of a server
per message and per connect: no other program and no other machine changes them, only
another version of Python does. Then it measures processor time, relative to what a loop
and a signature take on the same machine, for what instructions do not show; that is
believed only while other programs leave the machine alone.
"""

import argparse
import math
import platform
import sys
import tempfile
import time
from pathlib import Path
from typing import NamedTuple

import msgspec
from msgspec import Struct

from bench import counting, growth, load, pace, report
from bench.load import LoadFailed
from bench.pace import Figures
from bench.processes import Unavailable, cores, on_core
from bench.rigs import Bench, Cost
from bench.scenarios import WIDTH, check

BASELINE = Path(__file__).with_name("baseline.json")

INSTRUCTIONS = "instructions"
PACE = "x pace"

MARGIN = {INSTRUCTIONS: 0.15, PACE: 0.35}
"""The share by which a figure may be over its baseline, by unit."""
DISTURBED = 0.10
"""The share of the cores from which on other programs disturb processor time."""
PLAN = growth.QUICK._replace(rounds=5, recipients=64)
"""How processor time is measured."""
CONNECTS = 512
"""Connects of a round."""
LOOP = 1000
"""Turns of the loop that stands for Python: about as long as a signature."""
TIMES = 100


class Figure(NamedTuple):
    """A figure that is guarded.

    Attributes:
        says: What it is.
        unit: What it is counted in.
    """

    says: str
    unit: str


FIGURES = {
    "single": Figure("message, one per POST", INSTRUCTIONS),
    "batch": Figure(f"message, {counting.PEOPLE} per POST", INSTRUCTIONS),
    "socket": Figure("message, over the socket", INSTRUCTIONS),
    "connect.seen": Figure("connect, seen token", INSTRUCTIONS),
    "connect.fresh": Figure("connect, fresh token", INSTRUCTIONS),
    "catch_up": Figure("message, caught up", INSTRUCTIONS),
    "cpu.single": Figure("message, one per POST", PACE),
    "cpu.connect.seen": Figure("connect, seen token", PACE),
}


class Baseline(Struct):
    """What the figures were when somebody last looked at them and was content.

    Attributes:
        python: The version that executed the instructions, without its patch level.
        figures: By name.
    """

    python: str
    figures: dict[str, float]


# --- measuring ----------------------------------------------------------------------------


def instructions(directory: Path, rounds: int) -> Figures:
    """Count what a new server executes."""
    counted = counting.instructions(directory, rounds)
    return {name: sum(spent.values()) for name, spent in counted.items()}


def processor_time(bench: Bench) -> Figures:
    """Measure a new server, relative to the pace of the machine; and who disturbed it."""
    figures: Figures = {"cpu.single": math.inf, "cpu.connect.seen": math.inf}
    disturbed = []
    with bench.rig("cpu") as (rig, server):
        for _ in range(bench.plan.rounds):
            pace_us = pace.verify_us() + _loop_us()
            round = bench.deliver(rig)
            disturbed.append(round["others"])
            cost = Cost(server)
            check(rig.load.tell(f"storm {CONNECTS} {WIDTH}"))
            connect = cost.per(CONNECTS)["server_us"]
            for name, us in (("single", round["server_us"]), ("connect.seen", connect)):
                figures[f"cpu.{name}"] = min(figures[f"cpu.{name}"], us / pace_us)
    return figures | {"others": min(disturbed)}


def _loop_us() -> float:
    """Return the microseconds of a loop that takes Python about as long as a signature."""

    def once() -> float:
        began, number = time.process_time_ns(), 0
        for _ in range(TIMES * LOOP):
            number = number * 5 + 1 & 0xFF
        return (time.process_time_ns() - began) / TIMES / 1e3

    with on_core(cores()[0]):
        return min(once() for _ in range(pace.ROUNDS))


# --- the verdict ------------------------------------------------------------------------


class Verdict(NamedTuple):
    """What became of a figure.

    Attributes:
        over: Whether it is over its baseline by more than the margin.
        says: Why, or why it was not judged.
    """

    over: bool
    says: str


def judge(name: str, figures: Figures, baseline: Baseline) -> Verdict:
    """Compare a figure with its baseline."""
    if name not in baseline.figures:
        return Verdict(False, "no baseline yet")
    if FIGURES[name].unit == PACE and figures["others"] > DISTURBED:
        return Verdict(False, f"not judged: others take {figures['others']:.0%}")
    if FIGURES[name].unit == INSTRUCTIONS and baseline.python != python():
        return Verdict(False, f"not judged: counted with Python {baseline.python}")
    change = figures[name] / baseline.figures[name] - 1
    over = change > MARGIN[FIGURES[name].unit]
    return Verdict(over, f"{change:+.1%}{', over' if over else ''}")


def python() -> str:
    """Return the version of Python that decides about instructions."""
    return ".".join(platform.python_version_tuple()[:2])


def table(figures: Figures, baseline: Baseline) -> str:
    """Write the figures beside their baseline as a Markdown table."""
    rows: list[tuple[str, ...]] = [("what", "unit", "baseline", "now", "change")]
    for name, (says, unit) in FIGURES.items():
        was = baseline.figures.get(name)
        rows.append(
            (
                says,
                unit,
                "" if was is None else report.number(was),
                report.number(figures[name]),
                judge(name, figures, baseline).says,
            )
        )
    return report.markdown(rows)


def measure(rounds: int, bench: Bench) -> Figures:
    """Return all figures."""
    return instructions(bench.directory, rounds) | processor_time(bench)


def main() -> None:
    """Measure, print the table, and end with status 1 if anything is over."""
    options = _options()
    try:
        with tempfile.TemporaryDirectory(prefix="pushd-guard-") as name:
            directory = Path(name)
            figures = measure(
                counting.ROUNDS, Bench(PLAN, directory, load.build(directory), _quiet)
            )
    except (Unavailable, LoadFailed) as error:
        sys.exit(f"guard: {error}")
    except KeyboardInterrupt:
        sys.exit("guard: stopped")
    if options.update:
        kept = Baseline(python(), {name: round(figures[name], 2) for name in FIGURES})
        BASELINE.write_bytes(msgspec.json.format(msgspec.json.encode(kept)) + b"\n")
    baseline = msgspec.json.decode(BASELINE.read_bytes(), type=Baseline)
    print(table(figures, baseline))
    sys.exit(any(judge(name, figures, baseline).over for name in FIGURES))


def _quiet(sentence: str) -> None:
    """Say nothing: the table says it all."""


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m bench.guard", description=__doc__)
    parser.add_argument(
        "--update", action="store_true", help="let these figures be the baseline"
    )
    return parser.parse_args()


if __name__ == "__main__":
    main()

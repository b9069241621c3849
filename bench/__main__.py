"""The command `python -m bench`: run the scenarios, print one table, write one JSON."""

import argparse
import shlex
import signal
import sys
import tempfile
import time
from collections.abc import Callable, Iterable
from contextlib import AbstractContextManager
from itertools import count, product
from pathlib import Path
from types import FrameType
from typing import NoReturn

from bench import load, pace, report, scenarios
from bench.load import LoadFailed
from bench.processes import Durability, Unavailable, most_files
from bench.scenarios import SCENARIOS, Figures, Plan, Rig

RESULTS = Path(__file__).with_name("results")

FULL = Plan(
    runs=3,
    seconds=2.5,
    warmup=1.0,
    recipients=2048,
    idle=(1000, 5000, 10_000),
    settle=1.0,
    storm=10_000,
    mailboxes=200,
    unread=1000,
)
QUICK = FULL._replace(
    runs=1, seconds=1.5, warmup=0.5, idle=(500, 1500, 3000), storm=4000, mailboxes=50
)
SPARE_FILES = 500
"""Open files of a process that are no idle connections."""

CALM = 2.0
"""Percent of the cores that other programs always take."""

Note = Callable[[str], None]


def main() -> None:
    """Measure, and print the table."""
    options = _options()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, _stop)
    plan = QUICK if options.quick else FULL
    began = time.monotonic()
    facts = report.machine()
    try:
        names = options.only or SCENARIOS
        runs = measure(within_limits(plan), names, _say, attempts=options.attempts)
    except (Unavailable, LoadFailed) as error:
        sys.exit(f"bench: {error}")
    print(report.table(runs))
    facts["command"] = shlex.join(["python", "-m", "bench", *sys.argv[1:]])
    facts["took_seconds"] = round(time.monotonic() - began)
    path = options.output or RESULTS / f"{time.strftime('%Y%m%dT%H%M%S')}.json"
    report.write(path, facts, runs)
    _say(f"{facts['took_seconds']} s; everything is in {path}")


def measure(
    plan: Plan, names: Iterable[str], note: Note, *, attempts: int = 1
) -> list[Figures]:
    """Run scenarios, and return the figures of every run.

    Args:
        plan: How much is done.
        names: Which scenarios.
        note: Told what happens.
        attempts: How often a run is tried while other programs disturb it; the one
            disturbed least counts.

    Raises:
        Unavailable: If the machine lacks something.
        LoadFailed: If a server did not do what it should.
    """
    figures: list[Figures] = []
    with tempfile.TemporaryDirectory(prefix="pushd-bench-") as name:
        directory = Path(name)
        program = load.build(directory)
        note("making identities and tokens")
        files = scenarios.prepare(plan, directory)
        rigs = (directory / f"rig-{number}" for number in count())

        def new_rig(durability: Durability) -> AbstractContextManager[Rig]:
            return scenarios.rig(next(rigs), program, durability)

        def once(scenario: str) -> Figures:
            run = {"pace.verify_us": pace.verify_us()}
            run |= SCENARIOS[scenario](plan, files, new_rig)
            run["others.percent"] = _others(run)
            note(f"{scenario}: {_brief(run)}")
            return run

        for scenario, _ in product(names, range(plan.runs)):
            tried: list[Figures] = []
            while len(tried) < attempts and not any(_others(run) < CALM for run in tried):
                tried.append(once(scenario))
            figures.append(min(tried, key=_others))
    return figures


def _others(run: Figures) -> float:
    """Return what other programs took of the cores while it was measured, in percent."""
    shares = [value for name, value in run.items() if name.endswith(".others")]
    return 100 * max(shares, default=0.0)


def within_limits(plan: Plan) -> Plan:
    """Return the plan with no more connections than a process here may have open."""
    most = most_files() - SPARE_FILES
    steps = tuple(step for step in plan.idle if step <= most)
    if len(steps) < 2 or plan.recipients > most:
        raise Unavailable("Too few files may be open here: raise `ulimit -Hn`.")
    return plan._replace(idle=steps)


def _brief(figures: Figures) -> str:
    named = ((line, figures.get(line.name)) for line in report.LINES)
    return ", ".join(
        f"{value:,.1f} {line.unit}" for line, value in named if value is not None
    )


def _say(sentence: str) -> None:
    print(sentence, file=sys.stderr, flush=True)


def _stop(number: int, frame: FrameType | None) -> NoReturn:
    """End with what was started, whoever asks and however."""
    sys.exit("bench: stopped")


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m bench", description=__doc__)
    parser.add_argument(
        "--quick", action="store_true", help="one short run, under a minute"
    )
    parser.add_argument(
        "--only", nargs="+", choices=SCENARIOS, help="these scenarios; all by default"
    )
    parser.add_argument(
        "--attempts",
        type=int,
        default=1,
        help="of so many, count the run that other programs disturbed least",
    )
    parser.add_argument("--output", type=Path, help="where the JSON goes")
    return parser.parse_args()


if __name__ == "__main__":
    main()

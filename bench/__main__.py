"""The command `python -m bench`: pushd against its budgets and beside its peers.

Every scenario is run, then every peer does the same work; one run prints what came of it
and writes one JSON. With `--only` or `--peers` just what they name is done.
"""

import argparse
import shlex
import signal
import sys
import tempfile
import time
from collections.abc import Callable, Iterable
from contextlib import AbstractContextManager
from functools import partial
from itertools import count, product
from pathlib import Path
from types import FrameType
from typing import NoReturn

from bench import compare, load, pace, report, scenarios
from bench.bare import Yardstick
from bench.load import LoadFailed
from bench.pace import Figures
from bench.peers import PEERS
from bench.processes import Durability, Unavailable, most_files
from bench.scenarios import SCENARIOS, Plan, Rig

RESULTS = Path(__file__).with_name("results")

FULL = Plan(
    runs=3,
    seconds=2.5,
    warmup=1.0,
    recipients=2048,
    idle=(1000, 5000, 15_000),
    settle=1.0,
    storm=10_000,
    mailboxes=200,
    unread=1000,
)
QUICK = FULL._replace(
    runs=1, seconds=1.5, warmup=0.5, idle=(500, 1500, 3000), storm=4000, mailboxes=50
)
PEERS_STEPS = (1000, 3000, 6000)
"""At most so many idle connections are made to peers: some take two files for each."""
SPARE_FILES = 500
"""Open files of a process that are no idle connections."""

Note = Callable[[str], None]


def main() -> None:
    """Measure, and print the tables."""
    options = _options()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, _stop)
    began = time.monotonic()
    facts = report.machine()
    _say(f"CPython {facts['python']}; {facts['store']}")
    runs: list[Figures] = []
    tables: list[str] = []
    try:
        plan = within_limits(QUICK if options.quick else FULL)
        if options.only or options.peers is None:
            names = options.only or SCENARIOS
            runs += measure(plan, names, _say, attempts=options.attempts)
            tables.append(report.table(runs))
        if options.peers is not None or not options.only:
            peers, among = options.peers or PEERS, among_peers(plan)
            outcomes = compare.compare(among, peers, _say, attempts=options.attempts)
            runs += compare.named_runs(outcomes)
            tables.append(compare.table(outcomes))
            facts["peers"] = compare.versions(outcomes)
    except (Unavailable, LoadFailed) as error:
        sys.exit(f"bench: {error}")
    print(*tables, sep="\n\n")
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
        yardstick = Yardstick(directory / "bare")
        note("making identities and tokens")
        files = scenarios.prepare(plan, directory)
        rigs = (directory / f"rig-{number}" for number in count())

        def new_rig(durability: Durability) -> AbstractContextManager[Rig]:
            return scenarios.rig(next(rigs), program, durability)

        def once(scenario: str) -> Figures:
            run = {"pace.verify_us": pace.verify_us(), "pace.post_us": yardstick.post_us()}
            run |= SCENARIOS[scenario](plan, files, new_rig)
            run["others.percent"] = 100 * pace.others(run)
            note(f"{scenario}: {_brief(run)}")
            return run

        for scenario, _ in product(names, range(plan.runs)):
            figures.append(pace.calmest(partial(once, scenario), attempts))
    return figures


def within_limits(plan: Plan) -> Plan:
    """Return the plan with no more connections than a process here may have open."""
    most = most_files() - SPARE_FILES
    steps = tuple(step for step in plan.idle if step <= most)
    if len(steps) < 2 or plan.recipients > most:
        raise Unavailable("Too few files may be open here: raise `ulimit -Hn`.")
    return plan._replace(idle=steps)


def among_peers(plan: Plan) -> Plan:
    """Return the plan as it suits every peer: fewer connections, and longer to warm up."""
    return plan._replace(
        idle=tuple(map(min, plan.idle, PEERS_STEPS)), warmup=4 * plan.warmup
    )


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
    parser.add_argument("--quick", action="store_true", help="one short run of each")
    parser.add_argument(
        "--only", nargs="+", choices=SCENARIOS, help="these scenarios, against the budgets"
    )
    parser.add_argument(
        "--peers",
        nargs="*",
        choices=PEERS,
        metavar="PEER",
        help="beside these, installed if need be; with no name all of them:"
        f" {', '.join(PEERS)}",
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

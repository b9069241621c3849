"""Run random schedules of faults: `make chaos ARGS="--seed 7 --schedules 1000"`.

Prints a line for each schedule, with the seed that draws it again, and ends with 1 if the
checker complained of any; then the history and the logs are in `build/chaos/<seed>`.
"""

import argparse
import asyncio
import signal
import sys
import time
from collections import Counter
from pathlib import Path

from tests.chaos.schedule import Outcome, draw, run_all
from tests.chaos.world import TOPOLOGIES

KEEP = Path("build/chaos")


def main() -> int:
    """Run what the arguments ask for."""
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # so all is cleaned up
    arguments = _arguments()
    seed = int(time.time()) if arguments.seed is None else arguments.seed
    seeds = range(seed, seed + arguments.schedules)
    fixed = {"pace": arguments.pace, "topology": arguments.topology}
    schedules = (draw(number, **fixed) for number in seeds)
    outcomes = asyncio.run(
        run_all(
            schedules,
            parallel=arguments.parallel,
            keep=KEEP,
            pause=arguments.pause,
            done=_tell,
        )
    )
    bad = [outcome for outcome in outcomes if outcome.complaints]
    rules = Counter(c.rule for outcome in bad for c in outcome.complaints)
    accepted = sum(outcome.numbers.accepted for outcome in outcomes)
    pushed = sum(outcome.numbers.pushed for outcome in outcomes)
    _say(
        f"{len(outcomes)} schedules from seed {seed}: {accepted} accepted, {pushed} pushed,"
        f" {len(bad)} with complaints {dict(rules)}"
    )
    return 1 if bad else 0


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="make chaos", description=__doc__)
    parser.add_argument("--seed", type=int, help="of the first schedule; else the time")
    parser.add_argument("--schedules", type=int, default=20, help="how many")
    parser.add_argument("--parallel", type=int, default=4, help="how many at once")
    parser.add_argument("--pace", type=float, default=5.0, help="1 is a server's own")
    parser.add_argument("--topology", choices=TOPOLOGIES, default=TOPOLOGIES[0])
    parser.add_argument("--pause", type=Path, help="start none while this file is there")
    return parser.parse_args()


def _tell(outcome: Outcome) -> None:
    schedule, numbers = outcome.schedule, outcome.numbers
    verdict = "BAD" if outcome.complaints else "ok "
    _say(
        f"{verdict} seed {schedule.seed}: {numbers.accepted} accepted, {numbers.pushed}"
        f" pushed, {numbers.replays} replays; {schedule}"
    )
    for complaint in outcome.complaints[:5]:
        _say(f"    {complaint}")


def _say(line: str) -> None:
    sys.stdout.write(line + "\n")
    sys.stdout.flush()


if __name__ == "__main__":
    sys.exit(main())

"""Run random schedules of faults: `make chaos ARGS="--seed 7 --schedules 1000"`.

Prints a line for each schedule, with the seed that draws it again, and in the end what
they came to by topology and level, which is in `build/chaos/<first seed>.json` too. Ends
with 1 if the checker complained; then the history and the logs are in `build/chaos/<seed>`.
"""

import argparse
import asyncio
import signal
import sys
import time
from pathlib import Path

from tests.chaos.schedule import Outcome, draw, draw_long, run_all
from tests.chaos.tally import Tally
from tests.chaos.world import TOPOLOGIES

KEEP = Path("build/chaos")


def main() -> int:
    """Run what the arguments ask for."""
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # so all is cleaned up
    arguments = _arguments()
    seed = int(time.time()) if arguments.seed is None else arguments.seed
    seeds = range(seed, seed + arguments.schedules)
    tally = Tally()

    def done(outcome: Outcome) -> None:
        tally.count(outcome)
        tally.save(KEEP / f"{seed}.json")
        _tell(outcome)

    fixed = {"pace": arguments.pace, "topology": arguments.topology}
    draw_one = draw_long if arguments.long else draw
    schedules = (draw_one(number, **fixed) for number in seeds)
    try:
        asyncio.run(
            run_all(
                schedules,
                parallel=arguments.parallel,
                keep=KEEP,
                pause=arguments.pause,
                done=done,
            )
        )
    finally:
        _say(f"From seed {seed}:", *map(str, tally.rows))
    return 1 if any(row.bad for row in tally.rows) else 0


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="make chaos", description=__doc__)
    parser.add_argument("--seed", type=int, help="of the first schedule; else the time")
    parser.add_argument("--schedules", type=int, default=20, help="how many")
    parser.add_argument("--parallel", type=int, default=4, help="how many at once")
    parser.add_argument("--pace", type=float, default=5.0, help="1 is a server's own")
    topologies = (*TOPOLOGIES, "mixed")
    parser.add_argument("--topology", choices=topologies, default=TOPOLOGIES[0])
    parser.add_argument("--long", action="store_true", help="silences up to a minute")
    parser.add_argument("--pause", type=Path, help="start none while this file is there")
    return parser.parse_args()


def _tell(outcome: Outcome) -> None:
    schedule, numbers = outcome.schedule, outcome.numbers
    verdict = "BAD" if outcome.complaints else "ok "
    _say(
        f"{verdict} seed {schedule.seed}: {numbers.accepted} accepted, {numbers.pushed}"
        f" pushed, {numbers.replays} replays; {schedule}",
        *[f"    {complaint}" for complaint in outcome.complaints[:5]],
    )


def _say(*lines: str) -> None:
    sys.stdout.writelines(f"{line}\n" for line in lines)
    sys.stdout.flush()


if __name__ == "__main__":
    sys.exit(main())

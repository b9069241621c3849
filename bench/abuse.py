"""The command `python -m bench.abuse`: what does abuse cost those who behave?

A pair talks, Alice to Bob, at a steady pace: first alone, then while a process beside it
does all at once what a server must bear (`abusers.py`): a flood from one key, sockets that
say nothing, readers that hardly read.
"""

import argparse
import asyncio
import sys
import tempfile
from multiprocessing import get_context
from pathlib import Path
from typing import NamedTuple

from bench.abusers import Plan, abuse
from bench.pair import Latencies, bounds_of, converse, on_last_core, pair
from bench.processes import Unavailable
from bench.servers import Serving, serving


class Figures(NamedTuple):
    """What came of it.

    Attributes:
        quiet: The pair by itself.
        abused: The pair beside the abuse.
        counts: What the abusers did, and were told.
        bounds: What the server held at the end, and whom it turned away, as it says.
        rss: Bytes of the server's memory at the end.
    """

    quiet: Latencies
    abused: Latencies
    counts: dict[str, int]
    bounds: dict[str, float]
    rss: int


def main() -> None:
    """Measure, and print what came of it."""
    parser = argparse.ArgumentParser(prog="python -m bench.abuse", description=__doc__)
    parser.add_argument("--seconds", type=float, default=Plan().seconds)
    try:
        figures = measure(Plan(seconds=parser.parse_args().seconds))
    except Unavailable as error:
        sys.exit(str(error))
    sys.stdout.write(report(figures))


def report(figures: Figures) -> str:
    """Put the figures into words."""
    lines = [f"pair alone: {figures.quiet}", f"pair abused: {figures.abused}"]
    told = {**figures.counts, **figures.bounds, "server's MB": figures.rss / 1e6}
    lines += [f"{what}: {number:.0f}" for what, number in told.items() if number]
    return "\n".join(lines) + "\n"


def measure(plan: Plan) -> Figures:
    """Run a server, the pair and the abusers.

    Raises:
        Unavailable: If the server does not start.
    """
    with (
        tempfile.TemporaryDirectory(prefix="pushd-") as directory,
        serving(Path(directory, "run"), {"sender_rate": plan.limit}) as running,
        on_last_core(),
    ):
        return asyncio.run(_measure(plan, running))


async def _measure(plan: Plan, running: Serving) -> Figures:
    times = int(plan.seconds * plan.pace)
    spawn = get_context("spawn")
    here, there = spawn.Pipe()
    process = spawn.Process(target=abuse, args=(running.port, plan, there))
    async with pair(running.port) as (alice, bob):
        quiet = await converse(alice, bob, plan.pace, times.__le__)
        process.start()
        try:
            await asyncio.to_thread(here.recv)  # all is in place
            abused = await converse(alice, bob, plan.pace, times.__le__)
            bounds = await asyncio.to_thread(bounds_of, running.port)
            rss = running.server.rss()
            here.send("stop")
            counts: dict[str, int] = await asyncio.to_thread(here.recv)
        finally:
            process.kill()
            process.join()
    return Figures(quiet, abused, counts, bounds, rss)


if __name__ == "__main__":
    main()

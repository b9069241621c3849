"""The command `python -m bench.growth`: does a message cost more where there is more?

One thing grows at a time: the mailboxes in the store, the unread messages of a mailbox,
the sessions beside those that are written to, the workers. A message should cost the same
at every step. Two axes say what `python -m bench` does not: what latency does as load
nears the most there can be, and what a delivery over the socket costs.

The steps of an axis stand side by side, each a server of its own, and are measured in
turn, round after round: what disturbs one disturbs all. Work of other programs mostly
adds, so the cheapest quarter of the rounds of a step is shown as its cost, and of
everything else the median.
"""

import argparse
import os
import shlex
import sys
import tempfile
import time
from collections.abc import Sequence
from itertools import product
from pathlib import Path
from statistics import median, quantiles

from bench import load, pace, report
from bench.axes import AXES, COST
from bench.load import LoadFailed
from bench.pace import Figures
from bench.processes import Unavailable, cores
from bench.rigs import Bench, Note, Plan

RESULTS = Path(__file__).with_name("results")

FULL = Plan(
    rounds=6,
    seconds=1.0,
    warmup=0.5,
    recipients=256,
    mailboxes=(1, 1000, 100_000, 1_000_000),
    unread=(0, 10_000, 100_000),
    sessions=(100, 1000, 5000, 15_000),
    rest=26.0,
    workers=(1, 2),
    rate=1000.0,
    shares=(10, 25, 50, 70, 80, 90),
    flights=(1, 16, 64),
)
QUICK = FULL._replace(
    rounds=3,
    seconds=0.7,
    mailboxes=(1, 1000, 100_000),
    unread=(0, 10_000),
    sessions=(100, 1000, 3000),
    rest=5.0,
    shares=(25, 50, 75),
)


def measure(plan: Plan, names: Sequence[str], note: Note) -> list[Figures]:
    """Measure along axes; return the figures of every round, by axis, step and name.

    Raises:
        Unavailable: If the machine lacks something.
        LoadFailed: If a server did not do what it should.
    """
    runs: list[Figures] = [{"pace.verify_us": pace.verify_us()}]
    with tempfile.TemporaryDirectory(prefix="pushd-growth-") as directory:
        bench = Bench(plan, Path(directory), load.build(Path(directory)), note)
        for name in names:
            with AXES[name].stand(bench) as steps:
                for _, at in product(range(plan.rounds), steps):
                    figures = steps[at]()
                    runs.append({f"{name}.{at}.{k}": v for k, v in figures.items()})
                    shown = [f"{k} {report.number(figures[k])}" for k in COST]
                    note(f"{name} {at:,}: {', '.join(shown)}")
    return runs


def series(runs: Sequence[Figures], axis: str, figure: str) -> dict[int, float]:
    """Return one figure along an axis: by step, the cheapest quarter or the median."""
    found: dict[int, list[float]] = {}
    for run in runs:
        for name, value in run.items():
            if name.startswith(f"{axis}.") and name.endswith(f".{figure}"):
                found.setdefault(int(name.split(".")[1]), []).append(value)
    of = _cheap if figure.endswith("_us") else median
    return {at: of(values) for at, values in sorted(found.items())}


def _cheap(values: Sequence[float]) -> float:
    return quantiles(values, n=4, method="inclusive")[0] if len(values) > 1 else values[0]


def table(runs: Sequence[Figures], name: str) -> str:
    """Write an axis as a Markdown table, with what each cost is to the first."""
    axis = AXES[name]
    columns = [series(runs, name, figure) for figure in axis.columns]
    rows: list[tuple[str, ...]] = [(axis.says, *axis.columns.values())]
    for at in columns[0]:
        cells = [
            _cell(column, at, compare=figure.endswith("_us"))
            for figure, column in zip(axis.columns, columns, strict=True)
        ]
        rows.append((f"{at:,}", *cells))
    return report.markdown(rows)


def _cell(column: dict[int, float], at: int, *, compare: bool) -> str:
    if at not in column:
        return ""
    first = column[min(column)]
    times = f" (x {column[at] / first:.2f})" if compare and column[at] != first else ""
    return report.number(column[at]) + times


def main() -> None:
    """Measure, and print a table for each axis."""
    options = _options()
    facts = report.machine()
    began = time.monotonic()
    os.sched_setaffinity(0, set(cores()))
    try:
        names = options.only or list(AXES)
        runs = measure(QUICK if options.quick else FULL, names, _say)
    except (Unavailable, LoadFailed) as error:
        sys.exit(f"growth: {error}")
    except KeyboardInterrupt:
        sys.exit("growth: stopped")
    print("\n\n".join(table(runs, name) for name in names))
    facts["command"] = shlex.join(["python", "-m", "bench.growth", *sys.argv[1:]])
    facts["took_seconds"] = round(time.monotonic() - began)
    path = options.output or RESULTS / f"growth-{time.strftime('%Y%m%dT%H%M%S')}.json"
    report.write(path, facts, runs)
    _say(f"{facts['took_seconds']} s; everything is in {path}")


def _say(sentence: str) -> None:
    print(sentence, file=sys.stderr, flush=True)


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m bench.growth", description=__doc__)
    parser.add_argument("--quick", action="store_true", help="less of everything")
    parser.add_argument("--only", nargs="+", choices=AXES, help="these; all by default")
    parser.add_argument("--output", type=Path, help="where the JSON goes")
    return parser.parse_args()


if __name__ == "__main__":
    main()

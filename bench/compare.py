"""pushd beside its peers: the same work on the same machine, in one table."""

import tempfile
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from itertools import product
from pathlib import Path
from statistics import median
from typing import NamedTuple

from bench import load, pace
from bench.bare import BUDGETED_US, Yardstick
from bench.load import LoadFailed
from bench.pace import Figures
from bench.peers import PEERS
from bench.peers.base import Peer
from bench.processes import Unavailable, cores
from bench.report import markdown, number
from bench.scenarios import WIDTH, Plan, Rig, check, full_load, memory
from bench.wire import write

FIRST = "pushd"
"""What the others are compared to."""
HEAD = (
    *("system", "KiB/connection: server", "store", "us/message: server", "store"),
    *("messages/s", "memory", "CPU", "without"),
)


class Outcome(NamedTuple):
    """What came of measuring a peer.

    Attributes:
        peer: Which one.
        runs: The figures of its runs; none if it cannot be had, or every run failed.
        missing: Why it cannot be had, or the last run failed; empty if neither.
    """

    peer: Peer
    runs: Sequence[Figures] = ()
    missing: str = ""

    def middle(self, *figures: str) -> float:
        """Return the median over the runs of these figures' sum."""
        return median(self._sums(figures))

    def cell(self, figure: str) -> str:
        """Write the median and the extremes; nothing where it has no such part."""
        values = self._sums([figure])
        if not any(values):
            return ""
        if len(values) == 1:
            return number(values[0])
        return f"{number(median(values))} ({number(min(values))}-{number(max(values))})"

    def _sums(self, figures: Iterable[str]) -> list[float]:
        return [sum(run[figure] for figure in figures) for run in self.runs]


Outcomes = Mapping[str, Outcome]
Note = Callable[[str], None]


def compare(
    plan: Plan, names: Iterable[str], note: Note, *, attempts: int = 1
) -> dict[str, Outcome]:
    """Install peers, and measure them in turns, so that all see the same of other programs.

    Args:
        plan: How much is done.
        names: Of the peers.
        note: Told what happens.
        attempts: How often a run is tried while other programs disturb it.

    Raises:
        Unavailable: If the machine lacks what the bench itself needs.
    """
    peers = {name: PEERS[name](max(plan.recipients, plan.idle[-1])) for name in names}
    outcomes = {name: _installed(peer, note) for name, peer in peers.items()}
    had = [name for name, outcome in outcomes.items() if not outcome.missing]
    with tempfile.TemporaryDirectory(prefix="pushd-bench-") as directory:
        program = load.build(Path(directory))
        yardstick = Yardstick(Path(directory) / "bare")
        benches = {
            name: Bench(peers[name], plan, Path(directory) / name, program, yardstick)
            for name in had
        }
        for _, name in product(range(plan.runs), had):
            outcomes[name] = _with_run(outcomes[name], benches[name], attempts)
            note(f"{name}: {outcomes[name].missing or _brief(outcomes[name].runs[-1])}")
    return outcomes


def _installed(peer: Peer, note: Note) -> Outcome:
    note(f"{peer.name}: installing what is not there")
    try:
        peer.install()
    except Unavailable as error:
        note(f"{peer.name}: {error}")
        return Outcome(peer, missing=str(error))
    return Outcome(peer)


def _with_run(outcome: Outcome, bench: "Bench", attempts: int) -> Outcome:
    try:
        run = pace.calmest(bench.run, attempts)
    except (Unavailable, LoadFailed) as error:
        return outcome._replace(missing=str(error))
    return outcome._replace(runs=[*outcome.runs, run], missing="")


class Bench:
    """One peer on the bench.

    Args:
        peer: What is measured.
        plan: How much is done.
        directory: To be made, for all that is written.
        program: The load program.
        yardstick: What every run is measured beside.
    """

    def __init__(
        self, peer: Peer, plan: Plan, directory: Path, program: Path, yardstick: Yardstick
    ) -> None:
        directory.mkdir()
        self._peer, self._plan, self._program = peer, plan, program
        self._yardstick = yardstick
        self._directory = directory
        self._rigs = 0
        self._hellos = write(directory / "hellos", peer.hellos())
        self._posts = write(directory / "posts", peer.posts(plan.recipients))

    def run(self) -> Figures:
        """Measure memory, and deliveries on another new server."""
        figures = {"verify_us": pace.verify_us(), "post_us": self._yardstick.post_us()}
        with self._rig() as rig:
            figures |= memory(rig, self._plan)
        with self._rig() as rig:
            check(rig.load.tell(f"connect {self._plan.recipients} {WIDTH}"))
            figures |= full_load(rig, self._plan, 1)
        return figures

    @contextmanager
    def _rig(self) -> Iterator[Rig]:
        self._rigs += 1
        directory = self._directory / str(self._rigs)
        directory.mkdir()
        with (
            self._peer.running(directory) as (server, store, port, senders_port),
            load.running(self._program, port, senders_port, core=cores()[1]) as loading,
        ):
            loading.speak(self._peer.wire, directory)
            loading.tell(f"hellos {self._hellos}")
            loading.tell(f"posts {self._posts}")
            yield Rig(server, store, loading)


def _brief(run: Figures) -> str:
    return (
        f"{run['server_kib']:.1f} + {run['store_kib']:.1f} KiB,"
        f" {run['server_us']:.1f} + {run['store_us']:.1f} us,"
        f" {run['per_second']:,.0f} messages/s"
    )


def table(outcomes: Outcomes) -> str:
    """Write a Markdown table with a row for each peer, and how calm the machine was.

    Memory and CPU are those of server and store together, as multiples of pushd's.
    """
    rows = [HEAD, *(_row(outcome, outcomes.get(FIRST)) for outcome in outcomes.values())]
    runs = [run for outcome in outcomes.values() for run in outcome.runs]
    return f"{markdown(rows)}\n\n{_machine(runs)}" if runs else markdown(rows)


def _machine(runs: Sequence[Figures]) -> str:
    paces, bare = [run["verify_us"] for run in runs], [run["post_us"] for run in runs]
    taken = 100 * max(run["others"] for run in runs)
    return (
        f"A POST took {number(min(bare))} to {number(max(bare))} us bare, and"
        f" {number(BUDGETED_US)} where the budgets were set; one signature was verified in"
        f" {number(min(paces))} to {number(max(paces))} us;"
        f" other programs took up to {number(taken)} % of the machine."
    )


def _row(outcome: Outcome, first: Outcome | None) -> tuple[str, ...]:
    peer = outcome.peer
    system = f"{peer.name} {peer.version}".strip()
    if not outcome.runs:
        words = " ".join(outcome.missing.split())[:200]
        return (system, *[""] * (len(HEAD) - 2), f"(not measured: {words})")
    figures = ("server_kib", "store_kib", "server_us", "store_us", "per_second")
    return (
        system,
        *map(outcome.cell, figures),
        _times(outcome, first, "server_kib", "store_kib"),
        _times(outcome, first, "server_us", "store_us"),
        peer.lacks,
    )


def _times(outcome: Outcome, first: Outcome | None, *figures: str) -> str:
    if first is None or not first.runs:
        return ""
    whole = first.middle(*figures)
    return f"x {outcome.middle(*figures) / whole:.2g}" if whole > 0 else ""


def named_runs(outcomes: Outcomes) -> list[Figures]:
    """Return the figures of all runs, each by its peer and its name."""
    return [
        {f"{name}.{figure}": value for figure, value in run.items()}
        for name, outcome in outcomes.items()
        for run in outcome.runs
    ]


def versions(outcomes: Outcomes) -> dict[str, str]:
    """Return the version of each peer, or why it was not measured."""
    return {
        name: outcome.peer.version if outcome.runs else outcome.missing
        for name, outcome in outcomes.items()
    }

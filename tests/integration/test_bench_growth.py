"""The benches of growth: tiny versions run against real servers, and judge rightly."""

import asyncio
import json
import shutil
from collections import Counter
from pathlib import Path
from xml.etree import ElementTree as ET

import pytest

from bench import axes, growth, guard, plots, report, rigs, soak
from bench.guard import Baseline, judge
from bench.load import build
from bench.servers import serving
from bench.soak import MIB, Sample, Soaked

TINY = rigs.Plan(
    rounds=1,
    seconds=0.4,
    warmup=0.1,
    recipients=8,
    mailboxes=(1, 50),
    unread=(0, 3000),
    sessions=(4, 12),
    rest=0.1,
    workers=(2,),
    rate=50,
    shares=(25, 50),
    flights=(4,),
)

needs_compiler = pytest.mark.skipif(
    shutil.which("cc") is None, reason="the load program needs a C compiler (cc)"
)


# --- growth and its plots -------------------------------------------------------------


@needs_compiler
@pytest.mark.timeout(180)
def test_every_axis_is_measured_and_drawn(tmp_path: Path) -> None:
    """Each step of each axis has all its figures, and the plots are what SVG is."""
    said: list[str] = []
    runs = growth.measure(TINY, list(axes.AXES), said.append)
    for name, axis in axes.AXES.items():
        lines = growth.table(runs, name).splitlines()
        assert len(lines) == 2 + (1 if name in {"heavy", "workers", "socket"} else 2)
        assert all(cell.strip() for cell in lines[-1].split("|")[1:-1]), lines
        assert lines[0].count("|") == len(axis.columns) + 2
    path = tmp_path / "result.json"
    report.write(path, {}, runs)
    written = plots.draw_all(json.loads(path.read_text()), tmp_path / "plots")
    assert {file.stem for file in written} == set(plots.PLOTS)
    for file in written:
        picture = ET.fromstring(file.read_text())  # noqa: S314 - our own
        assert picture.tag == f"{{{plots.SVG}}}svg"
        assert len(picture.findall(f"{{{plots.SVG}}}polyline")) == 2


def test_a_result_without_figures_has_no_plots(tmp_path: Path) -> None:
    """What was not measured is not drawn."""
    assert plots.draw_all({"figures": {"other.1.p50_ms": {"median": 1}}}, tmp_path) == []


@pytest.mark.parametrize(
    ("most", "marks"),
    [
        (0.9, [0, 0.2, 0.4, 0.6, 0.8, 1.0]),
        (10_000, [0, 2000, 4000, 6000, 8000, 10_000]),
        (0, [0]),
    ],
)
def test_axes_have_round_marks(most: float, marks: list[float]) -> None:
    """Marks reach from zero to the largest value, in steps that people like."""
    assert plots.linear_marks(most) == pytest.approx(marks)


def test_names_and_signs_are_escaped() -> None:
    """A title may have any character."""
    lines = {"a": [(1.0, 1.0)], "<b>": [(2.0, 3.0)]}
    picture = plots.draw(plots.Plot('"<&>"', "x", "y", lines))
    assert ET.fromstring(picture).get("aria-label") == '"<&>"'  # noqa: S314


# --- soak -----------------------------------------------------------------------------


@pytest.mark.timeout(120)
def test_people_come_and_go(tmp_path: Path) -> None:
    """A short soak has connects, messages, refusals of nobody, and leaves nothing open."""
    with serving(tmp_path / "rig", soak.SETTINGS) as server:
        soaked = asyncio.run(soak.soak(server, seconds=4, every=0.5, people=12))
    assert soaked.counts["connects"] > 0
    assert soaked.counts["messages"] > 0
    assert soaked.counts["answer 202"] > 0
    assert not [name for name in soaked.counts if name.startswith("error")]
    assert soaked.after.files <= soaked.before.files
    assert len(soak.table(soaked).splitlines()) == 8
    assert soak.figures(soaked)


def soaked(*, grows: float = 0.0, left: int = 0) -> Soaked:
    """Return a soak whose server grew by a share of 100 MiB a minute."""
    during = [
        Sample(minute, int((100 + grows * minute) * MIB), 10 * MIB, 50)
        for minute in range(20)
    ]
    end = Sample(20, 100 * MIB, 10 * MIB, 15 + left)
    return Soaked(Sample(0, 90 * MIB, 5 * MIB, 15), during, end, Counter())


def test_growth_is_seen() -> None:
    """A server that grows steadily is told from one that does not."""
    assert soak.verdict(soaked()) == []
    assert soak.verdict(soaked(grows=0.05)) == []
    assert soak.verdict(soaked(grows=1)) == ["The server grew by 9.00 MiB in 9.0 min."]
    assert soak.verdict(soaked(left=2)) == ["2 files are open that nobody uses."]


# --- guard ----------------------------------------------------------------------------


@needs_compiler
@pytest.mark.timeout(120)
def test_every_figure_is_guarded(tmp_path: Path) -> None:
    """Both ways of measuring give what the committed baseline has."""
    plan = TINY._replace(rounds=1)
    bench = rigs.Bench(plan, tmp_path, build(tmp_path), lambda sentence: None)
    figures = guard.measure(2, bench)
    assert guard.FIGURES.keys() <= figures.keys()
    assert all(figures[name] > 0 for name in guard.FIGURES)
    baseline = json.loads(guard.BASELINE.read_text())
    assert baseline["figures"].keys() == guard.FIGURES.keys()


@pytest.mark.parametrize(
    ("name", "now", "others", "over"),
    [
        ("single", 110, 0.9, False),
        ("single", 120, 0.9, True),
        ("single", 10, 0.0, False),
        ("cpu.single", 130, 0.0, False),
        ("cpu.single", 140, 0.0, True),
        ("cpu.single", 140, 0.2, False),
        ("unknown", 140, 0.0, False),
    ],
)
def test_more_work_is_seen(name: str, now: float, others: float, over: bool) -> None:
    """A figure is over by its margin alone; processor time only on a quiet machine."""
    baseline = Baseline(guard.python(), {"single": 100, "cpu.single": 100})
    assert judge(name, {name: now, "others": others}, baseline).over is over


def test_another_python_is_not_judged() -> None:
    """Instructions of another version of Python are none to compare with."""
    baseline = Baseline("2.7", {"single": 100})
    assert judge("single", {"single": 900, "others": 0}, baseline).over is False

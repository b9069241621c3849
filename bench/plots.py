"""The command `python -m bench.plots RESULT.json... DIRECTORY`: draw what was measured.

Each plot is one SVG file written by hand: no library, no script, and colours that follow
the reader's light or dark scheme. What a result does not have is not drawn.
"""

import argparse
import json
import math
import sys
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple
from xml.sax.saxutils import escape, quoteattr

WIDTH, HEIGHT = 720, 400
LEFT, RIGHT, TOP, BOTTOM = 70, 130, 50, 60
"""Pixels around the area that is plotted; the names of lines stand on its right."""
TICKS = 6
"""Marks on an axis, at most."""

SVG = "http://www.w3.org/2000/svg"
STYLE = """
  text { fill: #1f2328; font: 13px system-ui, sans-serif; }
  .title { font-size: 16px; font-weight: 600; }
  .paper { fill: #ffffff; }
  .grid { stroke: #d8dee4; }
  .line { fill: none; stroke-width: 2; }
  .first { stroke: #0550ae; }
  .second { stroke: #bc4c00; stroke-dasharray: 7 4; }
  .first.dot { fill: #0550ae; }
  .second.dot { fill: #bc4c00; stroke: none; }
  @media (prefers-color-scheme: dark) {
    text { fill: #e6edf3; }
    .paper { fill: #0d1117; }
    .grid { stroke: #30363d; }
    .first { stroke: #79c0ff; }
    .second { stroke: #ffa657; }
    .first.dot { fill: #79c0ff; }
    .second.dot { fill: #ffa657; }
  }
"""
KINDS = ("first", "second")
"""Of lines; they differ in more than colour."""

Point = tuple[float, float]


class Plot(NamedTuple):
    """A plot of lines over one axis.

    Attributes:
        title: What is shown.
        across: What the horizontal axis is, with its unit.
        up: What the vertical axis is, with its unit.
        lines: The points of each line, by its name; there are two.
        logarithmic: Whether the horizontal axis grows by factors.
    """

    title: str
    across: str
    up: str
    lines: Mapping[str, Sequence[Point]]
    logarithmic: bool = False


# --- axes -------------------------------------------------------------------------------


class Scale(NamedTuple):
    """Places values on an axis.

    Attributes:
        marks: The values that are marked, ascending; the axis reaches from the first to
            the last.
        start: Pixels of the first.
        end: Pixels of the last.
        logarithmic: Whether equal factors are equally long.
    """

    marks: Sequence[float]
    start: float
    end: float
    logarithmic: bool = False

    def __call__(self, value: float) -> float:
        """Return the pixels of a value."""
        low, high, at = self.marks[0], self.marks[-1], value
        if self.logarithmic:
            low, high, at = math.log(low), math.log(high), math.log(at)
        return self.start + (at - low) / (high - low) * (self.end - self.start)


def linear_marks(most: float) -> list[float]:
    """Return round numbers from 0 to at least `most`, equally far apart."""
    step = most / (TICKS - 1) or 1.0
    unit = 10 ** math.floor(math.log10(step))
    step = unit * next(factor for factor in (1, 2, 2.5, 5, 10) if factor * unit >= step)
    return [step * number for number in range(math.ceil(most / step - 1e-9) + 1)]


def powers(least: float, most: float) -> list[float]:
    """Return powers of ten around everything between two positive numbers."""
    first, last = math.floor(math.log10(least)), math.ceil(math.log10(most))
    return [10.0**power for power in range(first, max(last, first + 1) + 1)]


# --- drawing ----------------------------------------------------------------------------


def draw(plot: Plot) -> str:
    """Return a plot as an SVG document."""
    points = [point for line in plot.lines.values() for point in line]
    xs, ys = [x for x, _ in points], [y for _, y in points]
    marks = powers(min(xs), max(xs)) if plot.logarithmic else linear_marks(max(xs))
    across = Scale(marks, LEFT, WIDTH - RIGHT, plot.logarithmic)
    up = Scale(linear_marks(max(ys)), HEIGHT - BOTTOM, TOP)
    box, label = f"0 0 {WIDTH} {HEIGHT}", quoteattr(plot.title)
    parts = [
        f'<svg xmlns="{SVG}" viewBox="{box}" role="img" aria-label={label}>',
        f"<style>{STYLE}</style>",
        f'<rect class="paper" width="{WIDTH}" height="{HEIGHT}"/>',
        _text(LEFT, TOP - 24, plot.title, kind="title"),
        *_across(across, plot.across),
        *_up(up, plot.up),
        *_lines(plot, across, up),
        "</svg>",
    ]
    return "\n".join(parts) + "\n"


def _across(scale: Scale, name: str) -> Iterable[str]:
    bottom = HEIGHT - BOTTOM
    for mark in scale.marks:
        x = scale(mark)
        yield _stroke(x, TOP, x, bottom)
        yield _text(x, bottom + 20, _number(mark), anchor="middle")
    middle = (scale.start + scale.end) / 2
    yield _text(middle, HEIGHT - 14, name, anchor="middle")


def _up(scale: Scale, name: str) -> Iterable[str]:
    for mark in scale.marks:
        y = scale(mark)
        yield _stroke(LEFT, y, WIDTH - RIGHT, y)
        yield _text(LEFT - 8, y + 4, _number(mark), anchor="end")
    middle = (scale.start + scale.end) / 2
    yield _text(18, middle, name, anchor="middle", turn=True)


def _lines(plot: Plot, across: Scale, up: Scale) -> Iterable[str]:
    labels = _apart([up(line[-1][1]) for line in plot.lines.values()])
    for kind, label, (name, line) in zip(KINDS, labels, plot.lines.items(), strict=True):
        places = [(across(x), up(y)) for x, y in line]
        path = " ".join(f"{x:.1f},{y:.1f}" for x, y in places)
        yield f'<polyline class="line {kind}" points="{path}"/>'
        for x, y in places:
            yield f'<circle class="dot {kind}" cx="{x:.1f}" cy="{y:.1f}" r="3"/>'
        yield _text(places[-1][0] + 10, label + 4, name)


def _apart(heights: Sequence[float], least: float = 16) -> list[float]:
    """Move the second of two names away from the first if they would touch."""
    first, *others = heights
    return [first, *(_away(other, first, least) for other in others)]


def _away(height: float, other: float, least: float) -> float:
    if abs(height - other) >= least:
        return height
    return other + math.copysign(least, height - other)


def _text(
    x: float, y: float, words: str, *, kind: str = "", anchor: str = "", turn: bool = False
) -> str:
    extra = f' class="{kind}"' if kind else ""
    extra += f' text-anchor="{anchor}"' if anchor else ""
    extra += f' transform="rotate(-90 {x:.1f} {y:.1f})"' if turn else ""
    return f'<text x="{x:.1f}" y="{y:.1f}"{extra}>{escape(words)}</text>'


def _stroke(x1: float, y1: float, x2: float, y2: float) -> str:
    return f'<line class="grid" x1="{x1:.1f}" y1="{y1:.1f}" x2="{x2:.1f}" y2="{y2:.1f}"/>'


def _number(value: float) -> str:
    return f"{value:,.0f}" if value >= 10 or value == int(value) else f"{value:g}"


# --- what is drawn ----------------------------------------------------------------------

Medians = Mapping[str, float]
"""The median of every figure of a result."""


def _steps(figures: Medians, axis: str, figure: str) -> list[Point]:
    """Return a figure along an axis of `bench.growth`, by step."""
    found = [
        (float(name.split(".")[1]), value)
        for name, value in figures.items()
        if name.startswith(f"{axis}.") and name.endswith(f".{figure}")
    ]
    return sorted(found)


def latency(figures: Medians) -> Plot:
    """Draw what latency does as load nears the most there can be."""
    rates = dict(_steps(figures, "load", "per_second"))
    return Plot(
        "Latency against load, one message per POST, synced to disk",
        "messages a second",
        "from due to frame, ms",
        {
            name: [(rates[at], ms) for at, ms in _steps(figures, "load", f"{name}_ms")]
            for name in ("p50", "p99")
        },
    )


def memory(figures: Medians) -> Plot:
    """Draw what memory does as connections become more."""
    return Plot(
        "Memory against connections",
        "idle, authenticated sessions",
        "in RAM, MiB",
        {name: _steps(figures, "sessions", f"{name}_mib") for name in ("server", "store")},
    )


def mailboxes(figures: Medians) -> Plot:
    """Draw what a message costs as mailboxes become more."""
    return Plot(
        "Processor time of a message against mailboxes",
        "mailboxes in the store",
        "a message, us",
        {name: _steps(figures, "mailboxes", f"{name}_us") for name in ("server", "store")},
        logarithmic=True,
    )


PLOTS: Mapping[str, Callable[[Medians], Plot]] = {
    "latency": latency,
    "memory": memory,
    "mailboxes": mailboxes,
}


def draw_all(result: Mapping[str, Any], directory: Path) -> list[Path]:
    """Draw every plot that a result has the figures of; return the files."""
    medians = {name: figure["median"] for name, figure in result["figures"].items()}
    directory.mkdir(parents=True, exist_ok=True)
    written = []
    for name, plot_of in PLOTS.items():
        plot = plot_of(medians)
        if all(len(line) > 1 for line in plot.lines.values()):
            path = directory / f"{name}.svg"
            path.write_text(draw(plot))
            written.append(path)
    return written


def main() -> None:
    """Draw the plots of the results that are named."""
    parser = argparse.ArgumentParser(prog="python -m bench.plots", description=__doc__)
    parser.add_argument("results", nargs="+", type=Path, help="JSON of bench.growth")
    parser.add_argument("directory", type=Path, help="where the plots go")
    options = parser.parse_args()
    written = [
        path
        for result in options.results
        for path in draw_all(json.loads(result.read_text()), options.directory)
    ]
    print(*written, sep="\n")
    if not written:
        sys.exit("plots: there is nothing to draw in these results.")


if __name__ == "__main__":
    main()

"""The command `python -m bench.profile`: whose code a server and its store execute.

While a server is loaded as by `python -m bench`, the kernel's profiler (perf, Debian's
linux-perf) writes down a thousand times a second which library each of both is in. That
times what was measured meanwhile is what each library costs a message. Then the bytecode
instructions of a server are counted (`counting.py`), by the file whose they are.
"""

import sys
import tempfile
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from functools import partial
from itertools import chain
from pathlib import Path
from re import Pattern, compile
from typing import NamedTuple

import pushd
from bench import counting, load, perf, scenarios
from bench.__main__ import QUICK
from bench.counting import Spent
from bench.load import LoadFailed
from bench.pace import Figures
from bench.processes import Unavailable
from bench.report import markdown, number
from bench.scenarios import KINDS, WIDTH, Files, Plan, Rig

PLAN = QUICK._replace(seconds=4.0, storm=10_000, idle=(1, 2), mailboxes=1)
"""How much is done."""
RATE = 997
"""Looks a second; no divisor of anything that happens at a steady pace."""
MOST = 24
"""Files of which the instructions are told; the others are joined."""

PARTS: Mapping[str, Pattern[str]] = {
    "the kernel": compile(r"^\[(kernel|vdso|guest)"),
    "CPython": compile(r"/(lib)?python3[^/]*$|/lib-dynload/|/libcrypto"),
    "libc: memory, copying": compile(r"/libc\.so"),
    "uvloop: the event loop": compile("/uvloop/"),
    "httptools: HTTP": compile("/httptools/"),
    "msgspec: JSON": compile("/msgspec/"),
    "hiredis: the store's protocol": compile("/hiredis/"),
    "libsecp256k1: signatures": compile("/coincurve/"),
    "the store itself, Lua in it": compile("/(redis|valkey)-"),
}
"""The parts of a program, by the library whose code is executed."""
OTHERS = "others"

COUNTED = {
    "single": "one per POST",
    "batch": f"{counting.PEOPLE} per POST",
    "connect.seen": "connect, seen token",
    "connect.fresh": "connect, fresh token",
}

Work = Callable[[], Figures]
"""Has a server do something, and tells what it cost."""
Us = dict[str, float]
"""Microseconds by part."""


class Profile(NamedTuple):
    """Where the time of one kind of work goes, for each message or connect."""

    server: Us
    store: Us


def main() -> None:
    """Profile, and print the tables."""
    try:
        with tempfile.TemporaryDirectory(prefix="pushd-profile-") as name:
            directory = Path(name)
            profiles = measure(directory)
            counted = counting.instructions(directory)
    except (Unavailable, LoadFailed) as error:
        sys.exit(f"profile: {error}")
    of_server = {work: profile.server for work, profile in profiles.items()}
    of_store = {work: profile.store for work, profile in profiles.items()}
    print(table("server, us", of_server), table("store, us", of_store), sep="\n\n")
    print(f"\n{by_file(counted)}")


# --- time, by library -------------------------------------------------------------------


def measure(directory: Path, plan: Plan = PLAN) -> dict[str, Profile]:
    """Profile a new server and store at each kind of work, at full load if not said.

    Raises:
        Unavailable: If the machine lacks something.
        LoadFailed: If a server did not do what it should.
    """
    program = load.build(directory)
    files = scenarios.prepare(plan, directory)
    with scenarios.rig(directory / "rig", program, "memory") as rig:
        works = _works(rig, plan, files)
        return {name: _profiled(work, rig, directory / "perf") for name, work in works}


def _works(
    rig: Rig, plan: Plan, files: Files
) -> Iterator[tuple[str, Callable[[], Figures]]]:
    """Have the server do one kind of work after the other."""
    storm = partial(scenarios.storm, rig, plan)
    rig.load.tell(f"hellos {files.known}")
    rig.load.tell(f"storm {plan.recipients} {WIDTH}")
    yield "connect, seen token", storm
    rig.load.tell(f"hellos {files.fresh}")
    yield "connect, fresh token", storm
    scenarios.listen(rig, plan, files)
    for name, batch in KINDS.items():
        rig.load.tell(f"posts {files.posts[batch]}")
        full = scenarios.full_load(rig, plan, batch)  # and the tokens have been seen
        yield name, partial(scenarios.full_load, rig, plan, batch)
        yield f"{name}, half load", partial(scenarios.half_load, rig, plan, batch, full)


def _profiled(work: Work, rig: Rig, path: Path) -> Profile:
    """Return where the time goes while something is measured."""
    pids = f"--pid={rig.server.pid},{rig.own_store.pid}"
    with perf.recording(path, "--event=cpu-clock", f"--freq={RATE}", pids):
        figures = work()
    server, store = Counter[str](), Counter[str]()
    for pid, library in _looks(path):
        (server if pid == rig.server.pid else store)[part_of(library)] += 1
    return Profile(_us(server, figures["server_us"]), _us(store, figures["store_us"]))


def _looks(path: Path) -> Iterator[tuple[int, str]]:
    """Yield what was seen: a process, and the library whose code it executed."""
    for line in perf.told(path, "pid,ip,dso"):
        pid, _, library = line.split(maxsplit=2)
        yield int(pid), library.strip("()")


def part_of(library: str) -> str:
    """Return the part to which the code of a library belongs."""
    return next((part for part, of in PARTS.items() if of.search(library)), OTHERS)


def _us(looks: Counter[str], us: float) -> Us:
    total = looks.total()
    return {part: us * seen / total for part, seen in looks.items()}


# --- instructions, by file --------------------------------------------------------------


def file_of(path: str) -> str:
    """Return what to call a file: by its place in pushd, or by its package."""
    ours = Path(pushd.__file__).parent
    if Path(path).is_relative_to(ours):
        return str(Path(path).relative_to(ours.parent))
    return Path(path.partition("site-packages/")[2] or "Python's own library").parts[0]


def by_file(counted: Mapping[str, Spent]) -> str:
    """Write the instructions of each file as a Markdown table, the dearest first."""
    works = {says: Counter[str]() for says in COUNTED.values()}
    for work, says in COUNTED.items():
        for path, instructions in counted[work].items():
            works[says][file_of(path)] += round(instructions)
    dearest = Counter[str]()
    for counts in works.values():
        dearest.update(counts)
    shown = {file for file, _ in dearest.most_common(MOST)}
    joined = {says: Counter[str]() for says in works}
    for says, counts in works.items():
        for file, count in counts.items():
            joined[says][file if file in shown else OTHERS] += count
    return table("instructions", joined)


def table(head: str, works: Mapping[str, Mapping[str, float]]) -> str:
    """Write what parts cost, for each kind of work, as a Markdown table."""
    totals: dict[str, float] = {}
    for part, cost in chain.from_iterable(costs.items() for costs in works.values()):
        totals[part] = totals.get(part, 0.0) + cost
    parts = sorted(totals, key=lambda part: (part != OTHERS, totals[part]), reverse=True)
    rows: list[tuple[str, ...]] = [(head, *works)]
    rows += [(part, *(_cell(costs, part) for costs in works.values())) for part in parts]
    rows.append(("all", *(number(sum(costs.values())) for costs in works.values())))
    return markdown(rows)


def _cell(costs: Mapping[str, float], part: str) -> str:
    if not costs.get(part):
        return ""
    return f"{number(costs[part])} ({costs[part] / sum(costs.values()):.0%})"


if __name__ == "__main__":
    main()

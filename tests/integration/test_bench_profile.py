"""The profiler: whose code a real server executes, and what its messages wait for."""

import shutil
import subprocess
from pathlib import Path

import pytest

from bench import counting, perf, profile, waits
from bench.processes import Unavailable
from bench.profile import OTHERS, PLAN, file_of, part_of
from bench.scenarios import KINDS
from bench.timeline import DISK, SERVER, STORE

needs_compiler = pytest.mark.skipif(
    shutil.which("cc") is None, reason="the load program needs a C compiler (cc)"
)


@pytest.fixture
def profiler() -> None:
    """There is a profiler here, and the kernel lets it look, also into the kernel.

    Not every kernel has one packaged. Where a kernel lets nobody look, perf names what it
    was not let: `perf_event_open` or `perf_event_paranoid`. Whatever else it says is a
    reason to fail.
    """
    if shutil.which("perf") is None or _ask("perf", "--version").returncode:
        pytest.skip("there is no profiler (perf) here; on Debian: apt install linux-perf")
    command = ["perf", "record", "--event=cpu-clock:k", "--output=/dev/null", "true"]
    told = _ask(*command)
    if told.returncode and "perf_event" in told.stderr:
        pytest.skip("the kernel lets no profiler look")
    assert told.returncode == 0, told.stderr


@pytest.fixture
def tracer(profiler: None) -> None:
    """The kernel also tells which thread runs when, and of system calls.

    Asked by names of this test's own: a wrong one among those that are recorded must not
    look as if the kernel told nothing.
    """
    command = ["perf", "record", "--all-cpus", "--output=/dev/null"]
    for event in ("sched:sched_switch", "syscalls:sys_enter_read"):
        if _ask(*command, f"--event={event}", "true").returncode:
            pytest.skip("the kernel tells nobody which thread runs when")


def _ask(*command: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(command, capture_output=True, text=True)


TINY = PLAN._replace(recipients=16, seconds=0.5, warmup=0.2, storm=200)


@needs_compiler
@pytest.mark.usefixtures("profiler")
@pytest.mark.timeout(120)
def test_the_time_of_a_server_is_told_by_library(tmp_path: Path) -> None:
    """Each work took the kernel and the interpreter some time, and the store its own."""
    profiles = profile.measure(tmp_path, TINY)
    assert len(profiles) == 6
    for name, (server, store) in profiles.items():
        assert min(server["CPython"], server["the kernel"]) > 0, name
        assert "the store itself, Lua in it" not in server
        assert store.keys() & {"the store itself, Lua in it", "the kernel"}
        assert "CPython" not in store


@needs_compiler
@pytest.mark.usefixtures("tracer")
@pytest.mark.timeout(120)
def test_what_messages_waited_for_adds_up(tmp_path: Path) -> None:
    """What went on while they were under way is as long as they were, the slowest too."""
    seen = waits.measure(tmp_path, TINY._replace(runs=1))
    assert seen.keys() == KINDS.keys()
    for (found,) in seen.values():
        assert min(found.every[what] for what in (SERVER, STORE, DISK)) > 0
        assert sum(found.slowest.values()) >= sum(found.every.values())
        assert sum(found.every.values()) > found.run.recorded["p50_ms"] / 3
        assert sum(burst.size for burst in found.bursts) > 0
        tables = (
            waits.of_runs([found]),
            waits.of_messages([found]),
            waits.of_bursts([found]),
        )
        assert all(len(table.splitlines()) > 2 for table in tables)


@pytest.mark.usefixtures("profiler")
def test_what_cannot_be_recorded_is_said(tmp_path: Path) -> None:
    """In the words of the profiler, and nothing is run for it."""
    with (
        pytest.raises(Unavailable, match="no:such"),
        perf.recording(tmp_path / "perf", "--event=no:such"),
    ):
        raise AssertionError


@pytest.mark.timeout(120)
def test_the_instructions_of_a_server_are_told_by_file(tmp_path: Path) -> None:
    """A message is taken by `http.py` and pushed by `stream.py`, and the rows add up."""
    counted = counting.instructions(tmp_path, rounds=1)
    single = {file_of(path): round(n) for path, n in counted["single"].items()}
    assert min(single["pushd/web/http.py"], single["pushd/web/stream.py"]) > 0
    lines = profile.by_file(counted).splitlines()
    cells = [line.split("|")[2].split("(")[0].replace(",", "") for line in lines[2:]]
    *rows, total = [float(cell) for cell in cells if cell.strip()]
    assert sum(rows) == pytest.approx(total, rel=0.01)


@pytest.mark.parametrize(
    ("library", "part"),
    [
        ("[kernel.kallsyms]", "the kernel"),
        ("/usr/bin/python3.11", "CPython"),
        ("/usr/lib/libpython3.11.so.1.0", "CPython"),
        ("/usr/lib/x86_64-linux-gnu/libc.so.6", "libc: memory, copying"),
        ("/lib/python3.11/site-packages/uvloop/loop.so", "uvloop: the event loop"),
        ("/usr/bin/redis-check-rdb", "the store itself, Lua in it"),
        ("/usr/lib/libsomething.so", OTHERS),
    ],
)
def test_a_library_belongs_to_a_part(library: str, part: str) -> None:
    """What perf calls a library is counted where a reader would look for it."""
    assert part_of(library) == part

"""Metrics: verbs in, Prometheus text out, for one process and for several."""

import os
import subprocess
import sys
from pathlib import Path

from pushd.metrics import Metrics, forget_sessions


def numbers(text: bytes) -> dict[str, float]:
    """Return every sample of a scrape by its name and labels."""
    lines = text.decode().splitlines()
    pairs = (line.rsplit(" ", 1) for line in lines if not line.startswith("#"))
    return {name: float(value) for name, value in pairs}


def test_every_verb_shows() -> None:
    """What is counted is what a scrape tells."""
    metrics = Metrics()
    metrics.accepted(2)
    metrics.accepted(1)
    metrics.refused("forbidden")
    metrics.refused("store_unavailable", 3)
    metrics.pushed(5)
    metrics.acked(4)
    metrics.session_opened()
    metrics.session_opened()
    metrics.session_closed()
    metrics.caught_up(0.2, 100)
    metrics.store_call(0.003)
    metrics.connect_refused("unauthorized")

    seen = numbers(metrics.render())

    assert seen["pushd_accepted_total"] == 3
    assert seen['pushd_refused_total{code="forbidden"}'] == 1
    assert seen['pushd_refused_total{code="store_unavailable"}'] == 3
    assert seen["pushd_pushed_total"] == 5
    assert seen["pushd_acked_total"] == 4
    assert seen["pushd_sessions"] == 1
    assert seen["pushd_sessions_opened_total"] == 2
    assert seen['pushd_catchup_seconds_bucket{le="0.5"}'] == 1
    assert seen['pushd_catchup_seconds_bucket{le="0.1"}'] == 0
    assert seen["pushd_catchup_messages_total"] == 100
    assert seen["pushd_store_call_seconds_count"] == 1
    assert seen['pushd_connects_refused_total{reason="unauthorized"}'] == 1


def test_a_second_scrape_counts_nothing_twice() -> None:
    """Flushing moves the sums, it does not copy them."""
    metrics = Metrics()
    metrics.accepted(2)
    metrics.render()
    metrics.accepted(1)

    assert numbers(metrics.render())["pushd_accepted_total"] == 3


WORKER = """
import os, sys
from pushd.metrics import Metrics
metrics = Metrics()
metrics.accepted(int(sys.argv[1]))
metrics.session_opened()
print(os.getpid())
sys.stdout.buffer.write(metrics.render())
"""


def test_workers_that_share_a_directory_answer_with_the_sums_of_all(
    tmp_path: Path,
) -> None:
    """Whichever worker a scrape reaches, it tells of all; the dead hold no sessions."""
    environ = {**os.environ, "PROMETHEUS_MULTIPROC_DIR": str(tmp_path)}

    def worker(accepted: int) -> tuple[int, dict[str, float]]:
        output = subprocess.run(
            [sys.executable, "-c", WORKER, str(accepted)],
            env=environ,
            check=True,
            capture_output=True,
        ).stdout
        pid, _, text = output.partition(b"\n")
        return int(pid), numbers(text)

    first, _ = worker(2)
    _, both = worker(3)
    assert both["pushd_accepted_total"] == 5
    assert both["pushd_sessions"] == 2

    forget_sessions(first, tmp_path)
    _, all_three = worker(0)
    assert all_three["pushd_accepted_total"] == 5
    assert all_three["pushd_sessions"] == 2

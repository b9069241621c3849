"""What the server counts, in its own verbs; Prometheus is inside and nowhere else.

The verbs of the hot path only add to integers; `flush` moves the sums into Prometheus,
which costs a lock and a microsecond each. `render` flushes, and so does the server once
a second.

A process counts for itself. When several workers share one port, a scrape reaches any of
them, so they share files: the parent sets `PROMETHEUS_MULTIPROC_DIR` to an empty
directory before it starts them, and every worker then answers with the sums of all. What
a worker that died has counted stays counted; `forget_sessions` takes its sessions away.
"""

import os
from bisect import bisect_left
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Literal

from prometheus_client import (
    CONTENT_TYPE_LATEST,
    CollectorRegistry,
    Counter,
    Gauge,
    Histogram,
    generate_latest,
    multiprocess,
)

from pushd.bounds import Bound

SHARED = "PROMETHEUS_MULTIPROC_DIR"
"""The variable that names the directory in which workers share their counts."""

Lookup = Literal["found", "unproven", "unavailable", "limited"]
"""What came of looking a name up; `limited`: it was not."""

CONTENT_TYPE = CONTENT_TYPE_LATEST
"""Media type of what `Metrics.render` returns."""

_CALL_BUCKETS = (0.0005, 0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.5, 2.0)
_CATCHUP_BUCKETS = (0.01, 0.05, 0.1, 0.5, 1.0, 5.0, 10.0, 30.0, 60.0, 300.0)


class _Tally(Histogram):
    """A histogram that adds up by itself, and moves the sums now and then.

    To observe takes prometheus_client ten calls and two locks, which twice a connect is a
    thirtieth of all it costs.
    """

    def __init__(
        self,
        name: str,
        documentation: str,
        *,
        buckets: Sequence[float],
        registry: CollectorRegistry,
    ) -> None:
        super().__init__(name, documentation, buckets=buckets, registry=registry)
        self._amounts = 0.0
        self._counts = [0] * len(self._upper_bounds)

    def tally(self, amount: float) -> None:
        """Observe; it shows after the next `move`."""
        self._amounts += amount
        self._counts[bisect_left(self._upper_bounds, amount)] += 1

    def move(self) -> None:
        """Show what was observed."""
        for bucket, count in zip(self._buckets, self._counts, strict=True):
            if count:
                bucket.inc(count)
        self._sum.inc(self._amounts)
        self._amounts, self._counts = 0.0, [0] * len(self._counts)


class Metrics:
    """Everything one process counts."""

    def __init__(self) -> None:
        registry = self._registry = CollectorRegistry()
        self._accepted = self._pushed = self._acked = 0
        self._opened = self._closed = self._caught_up = 0
        self._bounds: list[tuple[Bound, Gauge, Counter]] = []
        self._accepted_total = Counter(
            "pushd_accepted", "Deliveries accepted, duplicates too.", registry=registry
        )
        self._refused_total = Counter(
            "pushd_refused",
            "Deliveries and requests refused, by code of the error.",
            ["code"],
            registry=registry,
        )
        self._pushed_total = Counter(
            "pushd_pushed", "Messages written to sessions.", registry=registry
        )
        self._acked_total = Counter(
            "pushd_acked", "Messages removed by acks.", registry=registry
        )
        self._sessions = Gauge(
            "pushd_sessions",
            "Sessions that are open now: streams, event streams, requests that wait.",
            multiprocess_mode="livesum",
            registry=registry,
        )
        self._sessions_total = Counter(
            "pushd_sessions_opened", "Sessions opened.", registry=registry
        )
        self._catchup_seconds = _Tally(
            "pushd_catchup_seconds",
            "Time from a session's opening until its history was sent.",
            buckets=_CATCHUP_BUCKETS,
            registry=registry,
        )
        self._catchup_messages = Counter(
            "pushd_catchup_messages", "Messages sent as history.", registry=registry
        )
        self._store_seconds = _Tally(
            "pushd_store_call_seconds",
            "Time the mailbox store took to answer a call.",
            buckets=_CALL_BUCKETS,
            registry=registry,
        )
        self._lookups = Counter(
            "pushd_lookups",
            "Names that were not in memory, by what came of looking them up.",
            ["outcome"],
            registry=registry,
        )
        self._limited = Counter(
            "pushd_limited",
            "Deliveries and tokens refused by a rate limit, by whose it is.",
            ["limit"],
            registry=registry,
        )
        self._held = Gauge(
            "pushd_held",
            "What there is now of each thing that is bounded in a process.",
            ["what"],
            multiprocess_mode="livesum",
            registry=registry,
        )
        self._bound = Gauge(
            "pushd_bound",
            "What there may be of each.",
            ["what"],
            multiprocess_mode="livesum",
            registry=registry,
        )
        self._turned_away = Counter(
            "pushd_turned_away",
            "How often there was no room, by what there was no room for.",
            ["what"],
            registry=registry,
        )
        self._connects_refused = Counter(
            "pushd_connects_refused",
            "Streams and event streams refused, by reason: the code of the error.",
            ["reason"],
            registry=registry,
        )

    # --- deliveries and messages -----------------------------------------------------

    def accepted(self, n: int) -> None:
        """Count deliveries that were accepted."""
        self._accepted += n

    def refused(self, code: str, n: int = 1) -> None:
        """Count deliveries, or requests, that were refused with this code."""
        self._refused_total.labels(code).inc(n)

    def pushed(self, n: int) -> None:
        """Count messages written to a session."""
        self._pushed += n

    def acked(self, n: int) -> None:
        """Count messages removed by an ack."""
        self._acked += n

    # --- sessions --------------------------------------------------------------------

    def session_opened(self) -> None:
        """Count a session that opened."""
        self._opened += 1

    def session_closed(self) -> None:
        """Count a session that ended."""
        self._closed += 1

    def caught_up(self, seconds: float, messages: int) -> None:
        """Count a history that was sent: how long it took, how many messages it had."""
        self._catchup_seconds.tally(seconds)
        self._caught_up += messages

    def connect_refused(self, reason: str) -> None:
        """Count a stream, or event stream, that was refused, by the code of the error."""
        self._connects_refused.labels(reason).inc()

    # --- limits ----------------------------------------------------------------------

    def watch(self, bounds: Iterable[Bound]) -> None:
        """Show these bounds from now on."""
        for bound in bounds:  # whose series are found once, and not every second
            held, turned_away = self._held.labels(bound.name), self._turned_away
            self._bound.labels(bound.name).set(bound.most)
            self._bounds.append((bound, held, turned_away.labels(bound.name)))

    def limited(self, limit: str) -> None:
        """Count what a rate limit refused: `sender`, `mailbox` or `address`."""
        self._limited.labels(limit).inc()

    # --- names -----------------------------------------------------------------------

    def looked_up(
        self, outcome: Literal["found", "unproven", "unavailable", "limited"]
    ) -> None:
        """Count a name that was not in memory, and what came of looking it up."""
        self._lookups.labels(outcome).inc()

    # --- the store -------------------------------------------------------------------

    def store_call(self, seconds: float) -> None:
        """Note how long the store took to answer one call."""
        self._store_seconds.tally(seconds)

    # --- output ----------------------------------------------------------------------

    def flush(self) -> None:
        """Move what the hot path counted into Prometheus."""
        self._accepted_total.inc(self._accepted)
        self._pushed_total.inc(self._pushed)
        self._acked_total.inc(self._acked)
        self._sessions_total.inc(self._opened)
        self._sessions.inc(self._opened - self._closed)
        self._catchup_messages.inc(self._caught_up)
        self._accepted = self._pushed = self._acked = 0
        self._opened = self._closed = self._caught_up = 0
        self._catchup_seconds.move()
        self._store_seconds.move()
        for bound, held, turned_away in self._bounds:
            held.set(bound.held)
            turned_away.inc(bound.turned_away)
            bound.turned_away = 0

    def render(self) -> bytes:
        """Return all numbers in Prometheus's text format, of all workers if they share."""
        return generate_latest(self._counted())

    def samples(self) -> list[tuple[str, dict[str, str], float]]:
        """Return the same numbers one by one: name, labels, value."""
        return [
            (sample.name, sample.labels, sample.value)
            for family in self._counted().collect()
            for sample in family.samples
        ]

    def _counted(self) -> CollectorRegistry:
        """Return what was counted, by all workers if they share."""
        self.flush()
        if not os.environ.get(SHARED):
            return self._registry
        registry = CollectorRegistry()
        multiprocess.MultiProcessCollector(registry)  # type: ignore[no-untyped-call] # untyped in 0.26
        return registry


def forget_sessions(pid: int, directory: Path) -> None:
    """Take away the open sessions of a worker that died; its totals stay.

    Args:
        pid: The worker's process id.
        directory: Where the workers share their counts.
    """
    multiprocess.mark_process_dead(pid, str(directory))  # type: ignore[no-untyped-call] # untyped in 0.26

"""The scenarios: what is done to a server, and what that cost.

Each returns the figures of one run by name. Those of deliveries also say how many are in
a request, at what load, and how well the store keeps them: `single.full.fsync.server_us`.
"""

import os
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from functools import partial
from pathlib import Path
from typing import NamedTuple

from bench import load
from bench.load import Counters, Load, LoadFailed
from bench.pace import Figures
from bench.processes import (
    Durability,
    Measured,
    Unavailable,
    busy_ns,
    cores,
    server_and_store,
)
from bench.records import WIRE, Recipients
from bench.wire import write

WIDTH = 64
"""Connections that are opened at a time."""
BATCH = 64
"""Deliveries in a request that carries many."""
KINDS = {"one per POST": 1, f"{BATCH} per POST": BATCH}
"""Of requests, by what they are called: how many deliveries are in each."""
SENDERS = {1: 64, BATCH: 16}
"""Connections to post on, by deliveries in a request; at saturation all are busy."""
PATIENCE = 20.0
"""Seconds until all that was accepted must have been pushed."""


class Plan(NamedTuple):
    """How much is done.

    Attributes:
        runs: How often each figure is measured, each time on a new server.
        seconds: How long deliveries are measured.
        warmup: Seconds of deliveries before that.
        recipients: Connected while deliveries are measured.
        idle: Numbers of connections at which memory is read, ascending.
        settle: Seconds in which a server comes to rest before that.
        storm: Connects of each kind.
        mailboxes: That catch up.
        unread: Messages in each of them.
    """

    runs: int
    seconds: float
    warmup: float
    recipients: int
    idle: tuple[int, ...]
    settle: float
    storm: int
    mailboxes: int
    unread: int

    @property
    def identities(self) -> int:
        """How many identities all of it takes."""
        return max(self.recipients, self.mailboxes, self.idle[-1])


class Files(NamedTuple):
    """What the load program is given to send.

    Attributes:
        everyone: A hello of each identity.
        known: A hello of each recipient.
        fresh: Hellos of the recipients, each with a token of its own.
        posts: Requests to the recipients, by how many deliveries are in each.
        filling: Requests to the mailboxes that catch up.
    """

    everyone: Path
    known: Path
    fresh: Path
    posts: dict[int, Path]
    filling: Path


class Rig(NamedTuple):
    """A server with its store, if it has one, and the load program before it."""

    server: Measured
    store: Measured | None
    load: Load

    @property
    def own_store(self) -> Measured:
        """The store, of a server that has one."""
        if self.store is None:
            raise Unavailable("This rig has no store.")
        return self.store


NewRig = Callable[[Durability], AbstractContextManager[Rig]]
"""Runs a new server on a new store, of which little or much is asked."""


def prepare(plan: Plan, directory: Path) -> Files:
    """Make identities, tokens and requests."""
    people = Recipients(plan.identities)

    def file(name: str, made: list[bytes]) -> Path:
        return write(directory / name, made)

    return Files(
        everyone=file("everyone", people.hellos(plan.identities)),
        known=file("known", people.hellos(plan.recipients)),
        fresh=file("fresh", people.hellos(plan.storm, among=plan.recipients)),
        posts={
            batch: file(f"posts-{batch}", people.posts(plan.recipients, batch=batch))
            for batch in SENDERS
        },
        filling=file("filling", people.posts(plan.mailboxes, batch=BATCH)),
    )


@contextmanager
def rig(directory: Path, program: Path, durability: Durability) -> Iterator[Rig]:
    """Run a new server on a new store, and a load program."""
    with (
        server_and_store(directory, durability) as (server, store, port),
        load.running(program, port, core=cores()[1]) as loading,
    ):
        loading.speak(WIRE, directory)
        yield Rig(server, store, loading)


# --- measuring -----------------------------------------------------------------------


class Sample(NamedTuple):
    """The counters of a rig at one moment; all only grow."""

    load: Counters
    server_ns: int
    store_ns: int
    load_ns: int
    all_ns: int


def sample(rig: Rig) -> Sample:
    """Read all counters."""
    counters = rig.load.tell("sample")
    return Sample(
        counters,
        rig.server.cpu_ns(),
        rig.store.cpu_ns() if rig.store else 0,
        rig.load.measured.cpu_ns(),
        busy_ns(),
    )


def per(count: int, before: Sample, after: Sample) -> Figures:
    """Return what each of `count` things cost between two samples, and their rate.

    `others` is the share of all cores that programs took which are not ours.
    """
    elapsed = after.load.ns - before.load.ns
    server = after.server_ns - before.server_ns
    store = after.store_ns - before.store_ns
    load = after.load_ns - before.load_ns
    others = after.all_ns - before.all_ns - server - store - load
    return {
        "server_us": server / count / 1e3,
        "store_us": store / count / 1e3,
        "load_us": load / count / 1e3,
        "per_second": count / elapsed * 1e9,
        "per_server_second": count / server * 1e9,
        "server_busy": server / elapsed,
        "others": max(0.0, others / elapsed / (os.cpu_count() or 1)),
    }


def check(counters: Counters) -> None:
    """Refuse figures of a run in which anything failed.

    Raises:
        LoadFailed: If anything did.
    """
    if counters.failures or counters.refused:
        raise LoadFailed(f"{counters.failures} failures, {counters.refused} refusals.")


# --- idle sessions -------------------------------------------------------------------


def idle(plan: Plan, files: Files, new_rig: NewRig) -> Figures:
    """Measure what an idle, authenticated session adds to the memory."""
    with new_rig("memory") as rig:
        rig.load.tell(f"hellos {files.everyone}")
        return _named("idle", memory(rig, plan))


def memory(rig: Rig, plan: Plan) -> Figures:
    """Return what a recipient adds to the memory of a server and its store."""
    server, store, connected = [], [], 0
    for step in plan.idle:
        check(rig.load.tell(f"connect {step - connected} {WIDTH}"))
        connected = step
        time.sleep(plan.settle)
        server.append(rig.server.rss())
        store.append(rig.store.rss() if rig.store else 0)
    sessions = plan.idle[-1] - plan.idle[0]
    return {
        "server_kib": (server[-1] - server[0]) / sessions / 1024,
        "store_kib": (store[-1] - store[0]) / sessions / 1024,
    }


# --- connecting ----------------------------------------------------------------------


def connects(plan: Plan, files: Files, new_rig: NewRig) -> Figures:
    """Measure reconnects, from the upgrade request to `caught_up`.

    The seen tokens were shown before, and the server remembers them; the fresh ones were
    not. The mailboxes are there in both cases.
    """
    with new_rig("memory") as rig:
        return _connects(rig, plan, files)


def _connects(rig: Rig, plan: Plan, files: Files) -> Figures:
    rig.load.tell(f"hellos {files.known}")
    rig.load.tell(f"storm {plan.recipients} {WIDTH}")
    seen = storm(rig, plan)
    rig.load.tell(f"hellos {files.fresh}")
    fresh = storm(rig, plan)
    return _named("connect.seen", seen) | _named("connect.fresh", fresh)


def storm(rig: Rig, plan: Plan) -> Figures:
    """Measure so many connects with the hellos there are."""
    before = sample(rig)
    rig.load.tell(f"storm {plan.storm} {WIDTH}")
    after = sample(rig)
    check(after.load)
    return per(plan.storm, before, after)


# --- deliveries ----------------------------------------------------------------------


def deliveries(
    durability: Durability, plan: Plan, files: Files, new_rig: NewRig
) -> Figures:
    """Measure messages from request to ack, one and many in a request.

    First as many as the server takes, then half of that at random moments.
    """
    with new_rig(durability) as rig:
        return _deliveries(rig, plan, files, durability)


def _deliveries(rig: Rig, plan: Plan, files: Files, durability: Durability) -> Figures:
    listen(rig, plan, files)
    figures: Figures = {}
    for batch, name in ((1, "single"), (BATCH, "batch")):
        rig.load.tell(f"posts {files.posts[batch]}")
        full = full_load(rig, plan, batch)
        half = half_load(rig, plan, batch, full)
        figures |= _named(f"{name}.full.{durability}", full)
        figures |= _named(f"{name}.half.{durability}", half)
    return figures


def listen(rig: Rig, plan: Plan, files: Files) -> None:
    """Have all recipients connected."""
    rig.load.tell(f"hellos {files.known}")
    check(rig.load.tell(f"connect {plan.recipients} {WIDTH}"))


def full_load(rig: Rig, plan: Plan, batch: int) -> Figures:
    """Deliver so many in a request, as fast as the server answers."""
    return deliver(rig, plan, senders=SENDERS[batch], rate=0)


def half_load(rig: Rig, plan: Plan, batch: int, full: Figures) -> Figures:
    """Deliver half as many messages a second as at full load, at random moments.

    There are more senders: more requests may be under way than on average, and none must
    wait for a free connection.
    """
    rate = full["per_second"] / 2 / batch
    return deliver(rig, plan, senders=4 * SENDERS[batch], rate=rate)


def deliver(rig: Rig, plan: Plan, *, senders: int, rate: float) -> Figures:
    """Deliver for a while, and until a message came.

    Args:
        rig: What is loaded.
        plan: How long.
        senders: Connections that post.
        rate: Requests a second at random moments; 0 is as fast as answers come.

    Raises:
        LoadFailed: If none came, or not exactly what was accepted.
    """
    rig.load.tell(f"deliver {senders} {rate:.3f}")
    time.sleep(plan.warmup)
    before, messages = sample(rig), 0
    until = time.monotonic() + PATIENCE
    while not messages:
        if time.monotonic() > until:
            raise LoadFailed("No message arrived while it was measured.")
        time.sleep(plan.seconds)
        after = sample(rig)
        messages = after.load.messages - before.load.messages
    rig.load.tell("stop")
    _drain(rig.load)
    figures = per(messages, before, after)
    figures["p50_ms"] = after.load.p50_us / 1e3
    figures["p99_ms"] = after.load.p99_us / 1e3
    return figures


def _drain(load: Load) -> None:
    """Wait until every accepted message was pushed.

    Raises:
        LoadFailed: If some are not in time, or more than were accepted.
    """
    until = time.monotonic() + PATIENCE
    while (counters := load.tell("sample")).messages < counters.accepted:
        if time.monotonic() > until:
            missing = counters.accepted - counters.messages
            raise LoadFailed(f"{missing} accepted messages were not pushed.")
        time.sleep(0.02)
    check(counters)
    if counters.messages > counters.accepted:
        raise LoadFailed("More messages were pushed than accepted.")


# --- catching up ---------------------------------------------------------------------


def catch_up(plan: Plan, files: Files, new_rig: NewRig) -> Figures:
    """Measure how full mailboxes are read, all at once, each by its owner."""
    with new_rig("memory") as rig:
        _fill(rig, plan, files)
        return _catch_up(rig, plan, files)


def _fill(rig: Rig, plan: Plan, files: Files) -> None:
    """Fill the mailboxes; from now on their owners only say what they have seen."""
    rig.load.tell(f"hellos {files.everyone}")
    check(rig.load.tell(f"storm {plan.mailboxes} {WIDTH}"))
    rig.load.tell("answer seen")
    rig.load.tell(f"posts {files.filling}")
    requests = -(-plan.mailboxes // BATCH) * plan.unread
    check(rig.load.tell(f"fill {SENDERS[BATCH]} {requests}"))


def _catch_up(rig: Rig, plan: Plan, files: Files) -> Figures:
    rig.load.tell(f"hellos {files.everyone}")
    before = sample(rig)
    rig.load.tell(f"connect {plan.mailboxes} {plan.mailboxes}")
    after = sample(rig)
    rig.load.tell("disconnect")
    check(after.load)
    messages = after.load.messages - before.load.messages
    if messages != plan.mailboxes * plan.unread:
        raise LoadFailed(f"{messages} messages were read.")
    return _named("catch_up", per(messages, before, after))


def _named(prefix: str, figures: Figures) -> Figures:
    return {f"{prefix}.{name}": value for name, value in figures.items()}


Scenario = Callable[[Plan, Files, NewRig], Figures]

SCENARIOS: dict[str, Scenario] = {
    "idle": idle,
    "deliver": partial(deliveries, "memory"),
    "deliver-fsync": partial(deliveries, "fsync"),
    "connect": connects,
    "catch-up": catch_up,
}

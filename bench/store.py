"""The command `python -m bench.store`: what a message costs the store, and us to ask it.

No web server: `RedisMailboxes` alone, many calls in flight, each of the same number of
deliveries with a key to different mailboxes, then an ack of each message. The store's
part is read from the kernel, ours is this process's own time. Other work on the machine
only ever adds, so of many short rounds the cheapest quarter is shown.
"""

import argparse
import asyncio
import os
import secrets
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from statistics import quantiles
from typing import NamedTuple, Self

import uvloop

from bench.processes import Durability, Measured, cores, store
from pushd.mailbox.base import Entry, Quota
from pushd.mailbox.redis import RedisMailboxes
from pushd.protocol.ids import MessageId
from pushd.protocol.messages import Accepted, From, Overflow, StoredMessage, message_body

QUOTA = Quota(messages=100_000, bytes=64 * 1024 * 1024, dedup=7 * 86400)
SENDER = "did:btc-addr:1AqzjNiKLo7gVw6dXXiUmKLg4yCRWm1Zzz"
BODY = message_body(From(did=SENDER), "x" * 280)
MAILBOXES = [f"did:btc-addr:1B{number:032d}" for number in range(2000)]
ROUNDS = 24
"""Rounds of each measurement."""


class Cost(NamedTuple):
    """Microseconds of processor time for one message, at the store and here."""

    store: float
    client: float


class Deaf:
    """A subscriber to nothing."""

    def published(self, mailbox: str, messages: list[StoredMessage]) -> None:
        """Hear nothing."""

    def acknowledged(
        self, mailbox: str, what: Sequence[MessageId] | MessageId, origin: str
    ) -> None:
        """Hear nothing."""

    def alone(self, mailbox: str, origin: str) -> bool:
        """Hear nothing."""
        return False

    def overflowed(self, mailbox: str, overflow: Overflow) -> None:
        """Hear nothing."""

    def joined(self, mailbox: str, device: str, session: str) -> None:
        """Hear nothing."""

    def interrupted(self, mailboxes: Sequence[str]) -> None:
        """Hear nothing."""


Calls = list[list[Entry]]
Kept = list[tuple[str, MessageId]]


async def measure(path: Path, kept: Measured, durability: Durability, each: int) -> str:
    """Measure calls of `each` deliveries; return a line of the table."""
    mailboxes = RedisMailboxes(
        f"unix://{path}", subscriber=Deaf(), quota=QUOTA, durability=durability
    )
    await mailboxes.start()
    await asyncio.gather(*[mailboxes.open(name, create=True) for name in MAILBOXES])
    accepts, acks = [], []
    for _ in range(ROUNDS):
        calls = [_entries(MAILBOXES[at : at + each]) for at in range(0, 2000, each)]
        with Meter(kept) as accepting:
            stored = await accept(mailboxes, calls)
        with Meter(kept) as acking:
            await asyncio.gather(
                *[mailboxes.acknowledge(name, id, count=False) for name, id in stored]
            )
        accepts.append(accepting.cost(len(stored)))
        acks.append(acking.cost(len(stored)))
    await mailboxes.close()
    accepted, acked = cheap(accepts), cheap(acks)
    return (
        f"{durability:>7} {each:5d} {accepted.store:14.1f} {acked.store:8.1f}"
        f" {accepted.store + acked.store:8.1f} {accepted.client:14.1f} {acked.client:10.1f}"
    )


def _entries(names: list[str]) -> list[Entry]:
    return [Entry(name, SENDER, BODY, 86400, secrets.token_hex(8)) for name in names]


async def accept(mailboxes: RedisMailboxes, calls: Calls) -> Kept:
    """Deliver with at most 1024 deliveries unanswered; return what is stored where."""
    lanes = min(len(calls), 1024 // len(calls[0]))
    stored = await asyncio.gather(
        *[_lane(mailboxes, calls[n::lanes]) for n in range(lanes)]
    )
    return [one for lane in stored for one in lane]


async def _lane(mailboxes: RedisMailboxes, calls: Calls) -> Kept:
    return [
        (entry.mailbox, MessageId.parse(result.id))
        for entries in calls
        for entry, result in zip(entries, await mailboxes.accept(entries), strict=True)
        if isinstance(result, Accepted)
    ]


class Meter:
    """Reads the processor time of the store and of this process around some work."""

    def __init__(self, kept: Measured) -> None:
        self._kept = kept

    def __enter__(self) -> Self:
        self._store, self._client = -self._kept.cpu_ns(), -time.process_time_ns()
        return self

    def __exit__(self, *raised: object) -> None:
        self._client += time.process_time_ns()
        self._store += self._kept.cpu_ns()

    def cost(self, messages: int) -> Cost:
        """Return what each message cost."""
        return Cost(self._store / messages / 1000, self._client / messages / 1000)


def cheap(costs: list[Cost]) -> Cost:
    """Return the costs that a quarter of the rounds stayed below."""
    return Cost(*(quantiles(column, n=4)[0] for column in zip(*costs, strict=True)))


def main() -> None:
    """Measure, and print the table."""
    parser = argparse.ArgumentParser(prog="python -m bench.store", description=__doc__)
    parser.parse_args()
    ours, its = cores()
    os.sched_setaffinity(0, {ours})
    print("microseconds of processor time per message, cheapest quarter of the rounds")
    print("  keeps  each   store: accept    +ack     =sum   here: accept       +ack")
    for durability in ("memory", "fsync"):
        for each in (1, 64):
            with (
                tempfile.TemporaryDirectory(prefix="pushd-") as name,
                store(Path(name), durability, core=its) as kept,
            ):
                path = Path(name) / "store.sock"
                print(uvloop.run(measure(path, kept, durability, each)), flush=True)


if __name__ == "__main__":
    main()

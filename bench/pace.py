"""How quick the machine is while it is measured: a fixed piece of work, timed by itself.

A virtual machine shares its caches and its clock with strangers, and its cores with
whatever else runs. The same signature is verified before each run, so that tables from
other days and machines can be compared, and a disturbed one be recognised.
"""

import time
from collections.abc import Callable

from bench.processes import cores, on_core
from pushd.identity.keys import PrivateKey

ROUNDS = 5
TIMES = 400
CALM = 0.02
"""The share of the cores that other programs always take."""

STILL = 0.5
"""Milliseconds after which a thread that does not go on stands still."""

Figures = dict[str, float]
"""What was measured, by name."""


def verify_us() -> float:
    """Return the microseconds one ES256K signature takes on the server's core, at best."""
    key = PrivateKey.generate()
    message = b"pace"
    signature, public = key.sign(message), key.public

    def once() -> float:
        began = time.process_time_ns()
        for _ in range(TIMES):
            public.verify(signature, message)
        return (time.process_time_ns() - began) / TIMES / 1e3

    with on_core(cores()[0]):
        return min(once() for _ in range(ROUNDS))


def pauses_ms(core: int, seconds: float) -> list[float]:
    """Return how long a thread stood still, each time it did, that only reads the clock.

    Args:
        core: On which it runs.
        seconds: For how long.
    """
    found = []
    with on_core(core):
        last = time.monotonic_ns()
        until = last + seconds * 1e9
        while last < until:
            now = time.monotonic_ns()
            if now - last > STILL * 1e6:
                found.append((now - last) / 1e6)
            last = now
    return found


def calmest(run: Callable[[], Figures], attempts: int) -> Figures:
    """Run up to so many times, and return the figures that others disturbed least.

    Args:
        run: Returns figures, with the share of the cores taken by others as `others`,
            on its own or at the end of a name.
        attempts: At most; one that was calm is enough.
    """
    tried: list[Figures] = []
    while len(tried) < attempts and not any(others(figures) < CALM for figures in tried):
        tried.append(run())
    return min(tried, key=others)


def others(figures: Figures) -> float:
    """Return the share of the cores that other programs took while it was measured."""
    shares = [value for name, value in figures.items() if name.endswith("others")]
    return max(shares, default=0.0)

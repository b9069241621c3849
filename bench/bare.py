"""What a POST costs a server that does nothing: the yardstick of all other figures.

Budgets are microseconds, and a microsecond is not the same work on another machine, nor an
hour later on a shared one. So before each run a small C program, `bare.c`, answers the very
requests that pushd is measured with, on the same core and from the same load program, and
figures are also told in multiples of what that takes.
"""

import time
from pathlib import Path

from bench import load
from bench.load import LoadFailed
from bench.processes import cores, free_port, listens_on, started, wait_until
from bench.records import WIRE, Recipients
from bench.wire import write

SOURCE = Path(__file__).with_name("bare.c")

BUDGETED_US = 5.6
"""What it took where and when the budgets were set."""

SENDERS = 64
WARMUP = 0.2
SECONDS = 0.5


class Yardstick:
    """Measures the bare POST, as often as wanted.

    Args:
        directory: For the programs and the requests; it is made.

    Raises:
        Unavailable: If there is no C compiler.
    """

    def __init__(self, directory: Path) -> None:
        directory.mkdir()
        self._directory = directory
        self._bare = load.build(directory, SOURCE)
        self._load = load.build(directory)
        self._posts = write(
            directory / "posts", Recipients(SENDERS).posts(SENDERS, batch=1)
        )

    def post_us(self) -> float:
        """Return the microseconds of processor time that one POST takes, bare.

        Raises:
            LoadFailed: If not every request was answered.
        """
        port, log = free_port(), self._directory / "log"
        first, last = cores()
        with started([self._bare, str(port)], core=first, log=log) as server:
            wait_until(lambda: listens_on(port), server, log)
            with load.running(self._load, port, core=last) as loading:
                loading.speak(WIRE, self._directory)
                loading.tell(f"posts {self._posts}")
                loading.tell(f"deliver {SENDERS} 0")
                time.sleep(WARMUP)
                before, began = loading.tell("sample"), server.cpu_ns()
                time.sleep(SECONDS)
                after, ended = loading.tell("sample"), server.cpu_ns()
                if loading.tell("stop").failures or after.answers == before.answers:
                    raise LoadFailed("The bare server did not answer every request.")
        return (ended - began) / (after.answers - before.answers) / 1e3

"""The load program: built from load.c, told what to do, asked what it counted."""

import select
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from msgspec import Struct
from msgspec.json import Decoder

from bench.processes import Measured, Unavailable, on_core
from bench.wire import Wire, write

SOURCE = Path(__file__).with_name("load.c")
PATIENCE = 60.0
"""Seconds until an order must have been carried out."""


class Counters(Struct):
    """What the load program counted since it started.

    Attributes:
        ns: When, on a clock of its own.
        recipients: Connected now, and caught up.
        connects: Recipients that ever caught up.
        posts: Requests sent.
        answers: Answers to them.
        accepted: Messages accepted in those.
        refused: Messages refused in those.
        frames: Frames with messages received.
        messages: Messages in those.
        acks: Answers of recipients to them.
        failures: Whatever was not as it should be.
        p50_us: Median of the microseconds from the moment a request was due to the
            arrival of its message, since the last sample.
        p99_us: What 99 % of them were below.
    """

    ns: int
    recipients: int
    connects: int
    posts: int
    answers: int
    accepted: int
    refused: int
    frames: int
    messages: int
    acks: int
    failures: int
    p50_us: float
    p99_us: float


class LoadFailed(Exception):
    """The load program ended, or does not answer."""


class Load:
    """A running load program."""

    def __init__(self, process: "subprocess.Popen[str]") -> None:
        self._process = process
        self._decode = Decoder(Counters).decode
        self.measured = Measured(process)

    def speak(self, wire: Wire, directory: Path) -> None:
        """Talk in this way from now on; it is written to a file of the directory."""
        path = write(directory / "wire", wire.records())
        self.tell(f"wire {wire.frames} {path}")
        self.tell(f"answer {wire.answer}")

    def tell(self, order: str) -> Counters:
        """Give an order, and return the counters when it is carried out.

        Raises:
            LoadFailed: If the program ends or takes longer than `PATIENCE`.
        """
        to, back = self._process.stdin, self._process.stdout
        if to is None or back is None:
            raise LoadFailed("The load program has no pipes.")
        to.write(order + "\n")
        to.flush()
        if not select.select([back], [], [], PATIENCE)[0]:
            raise LoadFailed(f"The load program was told {order} and does not answer.")
        answer = back.readline()
        if not answer:
            raise LoadFailed(f"The load program ended when it was told {order}.")
        return self._decode(answer)


def build(directory: Path, source: Path = SOURCE) -> Path:
    """Compile a program of the bench into a directory, the load program by default.

    Raises:
        Unavailable: If there is no C compiler.
    """
    compiler = shutil.which("cc")
    if compiler is None:
        raise Unavailable(
            "The load program is written in C and there is no compiler (cc) here;"
            " on Debian and Ubuntu: apt install gcc libc6-dev"
        )
    program = directory / source.stem
    subprocess.run(
        [compiler, "-std=c11", "-O2", "-Wall", "-Wextra", "-o", program, source, "-lm"],
        check=True,
    )
    return program


@contextmanager
def running(program: Path, *ports: int, core: int) -> Iterator[Load]:
    """Run the load program against a port of this machine, or one and that of senders."""
    with on_core(core):
        process = subprocess.Popen(
            [program, *map(str, ports)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
    with process:
        try:
            yield Load(process)
        finally:
            process.kill()

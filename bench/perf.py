"""The kernel's profiler, perf(1): it writes down what happens, and tells it afterwards.

It is Debian's linux-perf. What it may look at is for the kernel to say; as a rule root may
look at everything.
"""

import os
import signal
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from shutil import which

from bench.processes import Unavailable


@contextmanager
def recording(path: Path, *options: str) -> Iterator[None]:
    """Record for as long as this lasts; see perf-record(1).

    Args:
        path: Where to.
        options: What.

    Raises:
        Unavailable: If there is no perf, or it may not look.
    """
    if which("perf") is None:
        raise Unavailable(
            "There is no profiler (perf) here; on Debian: apt install linux-perf"
        )
    (control, orders), (answers, answer) = os.pipe(), os.pipe()
    command = ["perf", "record", "--quiet", *options, f"--output={path}"]
    command += ["--delay=-1", f"--control=fd:{control},{answer}"]
    with (
        subprocess.Popen(
            command, stderr=subprocess.PIPE, pass_fds=(control, answer), text=True
        ) as perf,
        open(orders, "w", buffering=1) as tell,
        open(answers) as told,
    ):
        os.close(control)
        os.close(answer)
        tell.write("enable\n")
        if not told.readline():
            raise Unavailable(f"perf cannot record: {perf.communicate()[1]}")
        try:
            yield
        finally:
            perf.send_signal(signal.SIGINT)
            perf.communicate()


def told(path: Path, fields: str) -> list[str]:
    """Return what was recorded, a line each; see perf-script(1).

    Args:
        path: Where it is.
        fields: What of it, separated by commas.
    """
    command = ["perf", "script", "--ns", f"--fields={fields}", f"--input={path}"]
    return subprocess.run(
        command, capture_output=True, text=True, check=True
    ).stdout.splitlines()

"""Fuzz HTTP by hand: `make fuzz-http` lets schemathesis ask a real server for a while.

    make fuzz-http                      # ten minutes
    make fuzz-http ARGS="--seconds 60"  # or another time

What it asks comes from `spec/openapi.yaml`, and so does what may be answered; the tokens
are good. An answer that is not in the document, a line in the log that says more than a
warning, and memory that grows are findings. A finding becomes a test with a name.
"""

import argparse
import json
import subprocess
import sys
import tempfile
from pathlib import Path
from string import Template
from typing import NamedTuple

import httpx2

from tests.harness import Person
from tests.processes import Server, clean_environ

CONFIG = Path(__file__).with_suffix(".toml")
DOCUMENT = CONFIG.parents[2] / "spec/openapi.yaml"
AUDIENCE = "https://push.example"
APP = "https://app.example"
NAME = "bob.id.blockstack"
WARM = 30
"""Seconds of questions after which memory should not grow much any more."""
MOST_GROWTH = 32
"""MiB by which a server and its store may grow all the same, as what is asked is stored."""
SEVERE = {"error", "critical"}
LIMITS = ("--max-mailbox-messages", "1000", "--token-cache-bytes", "1048576")


class Found(NamedTuple):
    """What a run came to."""

    answers: bool
    log: list[str]
    accepted: float
    warm: float
    end: float

    def complaints(self) -> list[str]:
        """Say what is wrong."""
        found = ["an answer that is not in the document"] if self.answers else []
        found += self.log
        if not self.accepted:
            found.append("no delivery that was accepted, so only the doorkeeper was asked")
        if self.end > self.warm + MOST_GROWTH:
            found.append(f"growth by more than {MOST_GROWTH} MiB")
        return found


def main() -> int:
    """Ask for a while; return 0 if nothing was found."""
    parser = argparse.ArgumentParser(prog="make fuzz-http", allow_abbrev=False)
    parser.add_argument("schemathesis", help="the program; make knows where it is")
    parser.add_argument("--seconds", type=int, default=600, help="once the server is warm")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as directory:
        found = run(options.schemathesis, options.seconds, Path(directory))
    sys.stdout.write(
        f"{found.accepted:.0f} deliveries were accepted; memory was {found.warm:.0f} MiB, "
        f"and {found.end:.0f} MiB in the end.\n"
        f"Found: {'; '.join(found.complaints()) or 'nothing'}.\n"
    )
    return 1 if found.complaints() else 0


def run(program: str, seconds: int, directory: Path) -> Found:
    """Ask a server of its own, in a directory of its own."""
    flags = (
        "--public-url",
        AUDIENCE,
        "--names-file",
        str(directory / "names.json"),
        *LIMITS,
    )
    prepare(directory)
    with Server(directory, *flags) as server:
        ask = [str(Path(program).absolute()), "run", str(DOCUMENT), "--url", server.url]
        wrong = questions([*ask, "--phases", "fuzzing", "--max-time", str(WARM)], directory)
        warm = memory(server)
        wrong |= questions([*ask, "--max-time", str(seconds)], directory)
        log = [str(line) for line in server.lines() if line["level"] in SEVERE]
        return Found(wrong, log, accepted(server), warm, memory(server))


def prepare(directory: Path) -> None:
    """Make up Alice, who delivers, and Bob, who has a name, and their tokens."""
    alice, bob = Person(AUDIENCE), Person(AUDIENCE)
    name = {"publicKey": bob.key.public.raw.hex(), "app": APP}
    (directory / "names.json").write_text(json.dumps({NAME: name}))
    config = Template(CONFIG.read_text()).substitute(
        deliver=alice.token("deliver", [bob.did, NAME], app=APP, lifetime=3600),
        receive=bob.token("receive", app=APP, lifetime=86400),
        recipient=bob.did,
    )
    (directory / CONFIG.name).write_text(config)


def questions(command: list[str], directory: Path) -> bool:
    """Let schemathesis ask; tell whether an answer was wrong. Its settings are there."""
    answer = subprocess.run(command, cwd=directory, env=clean_environ(), check=False)
    return answer.returncode != 0


def memory(server: Server) -> float:
    """Return the MiB of RAM that a server and its store have."""
    rollups = [
        Path(f"/proc/{pid.number}/smaps_rollup").read_text() for pid in server.family()
    ]
    lines = [line.split() for rollup in rollups for line in rollup.splitlines()]
    return sum(int(line[1]) for line in lines if line[0] == "Rss:") / 1024


def accepted(server: Server) -> float:
    """Return how many deliveries a server accepted."""
    metrics = httpx2.get(f"{server.url}/metrics", trust_env=False).text
    lines = (line.split() for line in metrics.splitlines())
    return next(float(line[1]) for line in lines if line[0] == "pushd_accepted_total")


if __name__ == "__main__":
    sys.exit(main())

"""Runs Autobahn's fuzzing client against the websocket: `make autobahn`.

    python -m tests.integration.autobahn build/autobahn/bin/wstest

The suite (PyPI `autobahntestsuite`) runs on Python 2.7 only, so it is no part of
`make test`; `test_rfc6455_cases.py` has the same cases as a table. Left out are 12 and 13,
which are about compression: it is declined. The messages of 9 reach 16 MiB, so the echo
that answers here has larger limits than `pushd` itself; nothing else differs.
"""

import json
import subprocess
import sys
import tempfile
from collections import Counter
from pathlib import Path
from typing import Any

from tests.integration.echo_server import Echo, echo_server

SPEC = Path(__file__).with_suffix(".json")
AGENT = "pushd"
FINE = {"OK", "NON-STRICT", "INFORMATIONAL"}
"""What the suite calls passed; NON-STRICT is text found wrong at its end, not before."""


class Large(Echo):
    """An echo for messages larger than a client of `pushd` may send."""

    __slots__ = ()

    max_message = 64 * 1024 * 1024
    max_fragments = 1024 * 1024


def main(wstest: str) -> int:
    """Run every case; return 0 if none failed."""
    spec = json.loads(SPEC.read_text())
    with echo_server(Large) as server, tempfile.TemporaryDirectory() as directory:
        spec["servers"] = [{"agent": AGENT, "url": f"ws://127.0.0.1:{server.port}"}]
        adapted = Path(directory, "spec.json")
        adapted.write_text(json.dumps(spec))
        command = [wstest, "--mode", "fuzzingclient", "--spec", str(adapted)]
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
    index = json.loads(Path(spec["outdir"], "index.json").read_text())
    return report(index[AGENT])


def report(cases: dict[str, dict[str, Any]]) -> int:
    """Print what came out; return 1 if a case failed or none ran."""
    outcomes = Counter(case["behavior"] for case in cases.values())
    lines = [f"{len(cases)} cases: " + ", ".join(f"{n} {o}" for o, n in outcomes.items())]
    lines += [
        f"{number}: {case['behavior']}, close {case['behaviorClose']}"
        for number, case in cases.items()
        if {case["behavior"], case["behaviorClose"]} - FINE
    ]
    sys.stdout.write("\n".join(lines) + "\n")
    return 1 if len(lines) > 1 or not cases else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))

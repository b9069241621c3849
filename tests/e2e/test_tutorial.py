"""The tutorial does what it says: its commands are run as they stand there."""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.processes import Program, clean_environ

ROOT = Path(__file__).parent.parent.parent
CONSOLE = re.compile(r"^```console\n(.*?)^```$", re.MULTILINE | re.DOTALL)
PRINTED = "http://127.0.0.1:8480"
"""The server's address in the text; the test takes a port that is free."""


def steps() -> list[tuple[str, str]]:
    """List each command of the tutorial's consoles, with the output that is printed."""
    found = []
    for console in CONSOLE.findall((ROOT / "docs" / "tutorial.md").read_text()):
        for step in re.split(r"^\$ ", console, flags=re.MULTILINE)[1:]:
            command, _, output = step.partition("\n")
            found.append((command, output))
    return found


@pytest.mark.skipif(shutil.which("curl") is None, reason="the tutorial uses curl")
def test_the_tutorial_does_what_it_says(tmp_path: Path) -> None:
    """Every command succeeds, and prints what the page says where it says anything."""
    # Without a port the demo takes the first that is free, and says which.
    with Program(["demo"], tmp_path) as server:
        said = server.says("Ctrl-C stops it")
        address = re.search(r"serves at (http://[0-9.:]+)", said)
        assert address is not None
        outputs = run_in_one_shell(tmp_path, address[1])

    for (command, expected), output in zip(steps(), outputs, strict=True):
        if expected:
            assert expected.strip() == output.strip(), command
    shown, published, *sent, heard = outputs[:6]
    assert f"server      {address[1]}" in shown
    assert published == ""
    assert all(re.fullmatch(r"\d+-\d+", id) for id in sent)
    lines = re.findall(r"  alice\.id\.blockstack  (\w+)$", heard, re.MULTILINE)
    assert lines == ["one", "two", "three"]
    assert re.fullmatch(r'\{"id":"\d+-\d+","mailbox":".+","duplicate":false\}', outputs[8])
    assert '"payload":"anything"' in outputs[10]


def run_in_one_shell(directory: Path, address: str) -> list[str]:
    """Run the commands one after the other, and return what each printed."""
    mark = "-- next --"
    script = ["set -e"]
    for command, _ in steps():
        script.append(command.replace(PRINTED, address))
        script.append(f"echo; echo '{mark}'")
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    done = subprocess.run(
        ["bash"],
        input="\n".join(script),
        cwd=directory,
        env={**clean_environ(), "PATH": path},
        capture_output=True,
        text=True,
        timeout=50,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return [output.strip() for output in done.stdout.split(mark)[:-1]]

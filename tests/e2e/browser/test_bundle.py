"""The client that the playground ships is the one of `js/`."""

import shutil
import subprocess
from pathlib import Path

from tests.needs import need

ROOT = Path(__file__).parents[3]


def test_the_bundle_is_what_the_sources_give(tmp_path: Path) -> None:
    """`make playground` would change nothing."""
    need(shutil.which("node"), "There is no node here to make it with.")
    made = tmp_path / "client.js"
    subprocess.run(
        ["make", "--silent", "playground", f"BUNDLE={made}"], cwd=ROOT, check=True
    )

    assert made.read_bytes() == (ROOT / "pushd/web/playground/client.js").read_bytes()

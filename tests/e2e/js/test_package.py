"""The package as npm would have it, installed in an empty folder."""

import json
import subprocess
from pathlib import Path

import pytest

from tests.e2e.js.app import BUILT

JS = BUILT.parents[1]
IMPORTS = """
import { Client, PrivateKey } from '@pushd/client';
import { Receiver, Sender } from '@pushd/client/parts';
import { Model } from '@pushd/client/radiks';
import * as bundle from '@pushd/client/bundle';

const key = PrivateKey.generate();
const client = new Client(key, { app: 'https://app.example' });
const same = bundle.PrivateKey.fromHex(key.toHex());
const parts = [Receiver, Sender, Model].map(part => typeof part);
console.log(JSON.stringify({ same: client.identity === same.did, parts }));
"""


def npm(directory: Path, *arguments: str) -> str:
    """Run npm, and return what it says."""
    done = subprocess.run(
        ["npm", *arguments, "--ignore-scripts", "--no-audit", "--no-fund", "--silent"],
        cwd=directory,
        check=True,
        capture_output=True,
        text=True,
    )
    return done.stdout


def install(folder: Path) -> list[str]:
    """Install the package in a folder, and return the names of its files."""
    (packed,) = json.loads(npm(JS, "pack", "--json", "--pack-destination", str(folder)))
    (folder / "package.json").write_text('{"private": true, "type": "module"}')
    npm(folder, "install", "--prefer-offline", packed["filename"])
    return [file["path"] for file in packed["files"]]


@pytest.mark.timeout(120)
def test_the_package_in_an_empty_folder(tmp_path: Path) -> None:
    """Everything it exports is there, and nothing else is in it."""
    files = install(tmp_path)
    (tmp_path / "app.js").write_text(IMPORTS)

    answer = subprocess.run(
        ["node", "app.js"], cwd=tmp_path, check=True, capture_output=True, text=True
    )

    assert json.loads(answer.stdout) == {"same": True, "parts": ["function"] * 3}
    assert {name.split("/")[0] for name in files} == {"dist", "README.md", "package.json"}
    assert {Path(name).suffix for name in files if name.startswith("dist/")} == {
        ".js",
        ".ts",
    }

"""`pushdctl devhub` as a developer meets it: what it prints is there, and stays there."""

import re
import signal
from pathlib import Path

import httpx2
import pytest

from pushd.keyfiles import create_key
from tests.processes import Program, run

READY = "Ctrl-C stops it."
PERSON = (
    *("--name", "alice.id.blockstack", "--owner", "owner.json"),
    *("--app", "https://app.example", "--app-key", "alice.json"),
)


def printed(said: str) -> dict[str, str]:
    """Return the variables it prints."""
    return dict(re.findall(r"(PUSHD_\w+)=(\S+)", said))


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_it_serves_what_it_prints(tmp_path: Path, number: signal.Signals) -> None:
    """The variables lead to it, the person is registered, and a signal ends it well."""
    for name in ("owner", "alice"):
        create_key(tmp_path / f"{name}.json")
    arguments = ["devhub", "--port", "0", "--data-dir", "data"]
    with Program([*arguments, *PERSON], tmp_path, name="first") as hub:
        variables = printed(hub.says(READY))
        url = variables["PUSHD_NAMES_API"]
        told = httpx2.get(f"{url}/v1/names/alice.id.blockstack", trust_env=False).json()
        hub.signal_group(number)
        assert hub.ends() == 0
    with Program(arguments, tmp_path, name="second") as again:
        url = printed(again.says(READY))["PUSHD_NAMES_API"]
        later = httpx2.get(f"{url}/v1/names/alice.id.blockstack", trust_env=False).json()

    host_port = variables["PUSHD_DEV_HOSTS"]
    assert host_port.startswith("127.0.0.1:")
    assert variables["PUSHD_NAMES_API"] == f"http://{host_port}"
    assert variables["PUSHD_BNS_API"] == f"http://{host_port}/bns"
    assert later == told


def test_half_a_person_is_refused(tmp_path: Path) -> None:
    """The flags that make a person belong together."""
    ended = run(["devhub", "--port", "0", "--name", "alice.id"], tmp_path)

    assert ended.returncode == 2
    assert "--owner, --app and --app-key" in ended.stderr

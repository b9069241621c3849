"""What others say cannot steer the terminal of who reads it."""

import asyncio
import sys
from pathlib import Path

import pytest

from pushd import cli
from pushd.client import PrivateKey
from pushd.keyfiles import contact_path, create_key
from pushd.protocol.client_commands import Phase, Status
from pushd.screen import Screen
from tests.unit.test_client_sender import serving

CLEAR = "\x1b[2J"
"""Clears the screen; other sequences name the window, or type in the reader's name."""


def run(monkeypatch: pytest.MonkeyPatch, *arguments: str | Path) -> object:
    """Run `pushdctl` in this process, and return its exit status."""
    monkeypatch.setattr(sys, "argv", ["pushdctl", *map(str, arguments)])
    with pytest.raises(SystemExit) as ended:
        cli.main()
    return ended.value.code


@pytest.mark.parametrize(
    ("status", "answer", "exit_status"),
    [
        (202, {"id": f"1-1{CLEAR}", "mailbox": "did:key:z1", "duplicate": False}, 0),
        (403, {"code": "forbidden", "detail": f"No.{CLEAR}"}, 1),
    ],
)
async def test_a_recipient_s_server_is_anybody_s(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
    status: int,
    answer: dict[str, object],
    exit_status: int,
) -> None:
    """Neither the id it gives nor its reason to refuse is more than text."""
    key = tmp_path / "alice.json"
    create_key(key)
    async with serving((status, answer)) as server:
        arguments = ("send", "--key", key, "--to", contact_path(key), "--raw", "x")
        told = await asyncio.to_thread(run, monkeypatch, *arguments, "--server", server.url)
    out, err = capfd.readouterr()
    assert told == exit_status
    assert "·[2J" in out + err
    assert "\x1b" not in out + err


async def test_why_a_server_closed_is_text(capfd: pytest.CaptureFixture[str]) -> None:
    """The reason of a close frame is whatever a server likes."""
    screen = Screen(PrivateKey.generate(), None, json=False)
    screen.state("https://push.example", Status(Phase.WAITING, retry_in=1.0, reason=CLEAR))
    assert "·[2J; trying again in 1.0 s." in capfd.readouterr().err

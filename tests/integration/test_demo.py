"""`pushdctl demo` as newcomers meet it: what it prints works, nothing stays behind."""

import re
import shlex
import signal
import socket
import subprocess
from contextlib import ExitStack, suppress
from pathlib import Path

import pytest

from pushd.demo.places import PORT
from tests.processes import Program, clean_environ, is_alive, run

READY = "Ctrl-C stops it."


def commands(said: str) -> tuple[list[str], list[str]]:
    """Return the printed commands, to listen and to send, as a shell reads them."""
    listen, send = (shlex.split(line) for line in said.splitlines() if " --key " in line)
    return listen, send


def test_the_printed_commands_work(tmp_path: Path) -> None:
    """Pasted into other terminals, they listen and send; the demo shows what passes.

    Bob is shown what Alice wrote, and her name; the server sees neither word nor letter.
    """
    with Program(["demo", "--port", "0"], tmp_path) as demo:
        listen, send = commands(demo.says(READY))
        with subprocess.Popen(
            [*listen, "--count", "1"],
            cwd=tmp_path,
            env=clean_environ(),
            stdout=subprocess.PIPE,
            text=True,
        ) as listener:
            sent = subprocess.run(
                send,
                cwd=tmp_path,
                env=clean_environ(),
                capture_output=True,
                text=True,
                check=True,
            )
            heard, _ = listener.communicate(timeout=30)

        assert listener.returncode == 0
        assert "alice.id.blockstack  Hello Bob" in heard
        said = demo.says("bob.id.blockstack acked")
        way = f"alice.id.blockstack → bob.id.blockstack  {sent.stdout.strip()}"
        assert way in said
        assert "Hello" not in said.partition(READY)[2]


def test_ctrl_c_leaves_nothing_and_the_data_stays(tmp_path: Path) -> None:
    """What Bob has not read is there after a second start, and so are the keys."""
    with Program(["demo", "--port", "0"], tmp_path, name="first") as demo:
        _, send = commands(demo.says(READY))
        subprocess.run(send, cwd=tmp_path, env=clean_environ(), check=True)
        family = demo.family()
        demo.signal_group(signal.SIGINT)

        assert demo.ends() == 0
        assert not any(map(is_alive, family))
        assert "Stopped; data/demo stays." in demo.output()
        assert "Traceback" not in demo.output()
    with Program(["demo", "--port", "0"], tmp_path, name="second") as demo:
        listen, _ = commands(demo.says(READY))
        heard = subprocess.run(
            [*listen, "--count", "1"],
            cwd=tmp_path,
            env=clean_environ(),
            capture_output=True,
            text=True,
            timeout=30,
            check=True,
        )
        assert "alice.id.blockstack  Hello Bob" in heard.stdout


def test_nothing_stays_of_a_throw_away_demo(tmp_path: Path) -> None:
    """Its directory vanishes with it."""
    with Program(["demo", "--port", "0", "--throw-away"], tmp_path) as demo:
        found = re.search(r"keeps all in (\S+)\.", demo.says(READY))
        assert found is not None
        assert Path(found[1], "bob.json").exists()
        demo.process.terminate()

        assert demo.ends() == 0
        assert not Path(found[1]).exists()
    assert not (tmp_path / "data").exists()


def test_a_taken_port_is_passed_over(tmp_path: Path) -> None:
    """Without a port it takes the next that is free, and says so."""
    with ExitStack() as stack:
        with suppress(OSError):  # if somebody else has it, that is as good
            stack.enter_context(socket.create_server(("127.0.0.1", PORT)))
        demo = stack.enter_context(Program(["demo"], tmp_path))

        assert f"Port {PORT} is taken; this demo has" in demo.says(READY)
        assert f"http://127.0.0.1:{PORT} " not in demo.output()


@pytest.mark.parametrize("flags", [["--port", "0"], []])
def test_two_demos_do_not_share_a_directory(tmp_path: Path, flags: list[str]) -> None:
    """The second is refused with a sentence, before it spoils anything."""
    with Program(["demo", "--port", "0"], tmp_path) as demo:
        demo.says(READY)
        second = run(["demo", *flags], tmp_path)

    assert second.returncode == 2
    assert "data/demo/store" in second.stderr
    assert "Traceback" not in second.stderr


def test_a_port_asked_for_is_the_port_or_none(tmp_path: Path) -> None:
    """Who names a port does not get another."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        refused = run(["demo", "--port", str(port)], tmp_path)

    assert refused.returncode == 2
    assert f"Port {port} of 127.0.0.1 is in use" in refused.stderr

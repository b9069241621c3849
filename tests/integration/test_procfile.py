"""The Procfile as a process host runs it: honcho starts `web` with a PORT, and stops it."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import httpx2

from tests.processes import clean_environ, free_port, wait_until

ROOT = Path(__file__).parent.parent.parent
BIN = Path(sys.executable).parent


def is_ready(url: str) -> bool:
    """Tell whether a server is there and says it is ready."""
    try:
        return httpx2.get(f"{url}/health/ready", trust_env=False).status_code == 200
    except httpx2.TransportError:
        return False


def test_a_process_host_runs_the_procfile(tmp_path: Path) -> None:
    """With PORT alone the server is ready there, and SIGTERM ends it and its store."""
    port = free_port()
    environ = {
        **clean_environ(),
        "PATH": f"{BIN}{os.pathsep}{os.environ['PATH']}",
        "PORT": str(port),
    }
    with (tmp_path / "output").open("wb") as output:
        host = subprocess.Popen(
            [BIN / "honcho", "-f", ROOT / "Procfile", "-d", tmp_path, "start", "web"],
            env=environ,
            cwd=tmp_path,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            start_new_session=True,
        )
    try:
        wait_until(
            lambda: is_ready(f"http://127.0.0.1:{port}") or host.poll() is not None, "ready"
        )
        assert is_ready(f"http://127.0.0.1:{port}"), (tmp_path / "output").read_text()
        host.send_signal(signal.SIGTERM)
        host.wait(30)
        assert not is_ready(f"http://127.0.0.1:{port}")
    finally:
        if host.poll() is None:
            os.killpg(host.pid, signal.SIGKILL)
            host.wait()

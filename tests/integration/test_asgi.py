"""The app without `pushdctl`: any process that runs uvicorn has a whole server."""

import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx2

from pushd.mailbox.embedded import EmbeddedStore
from tests.harness import Person
from tests.processes import PATIENCE, clean_environ, wait_until
from tests.talking import listening

RUN = """
import sys, uvicorn
uvicorn.run("pushd.asgi:app", fd=int(sys.argv[1]), lifespan="on",
            http="pushd.web.http:Http", ws="pushd.web.stream:Stream")
"""


@contextmanager
def process(directory: Path, output: Path) -> Iterator[tuple[str, subprocess.Popen[bytes]]]:
    """Run uvicorn on a free port and this data directory; yield its URL and process."""
    with socket.create_server(("127.0.0.1", 0)) as listener, output.open("wb") as written:
        port = listener.getsockname()[1]
        running = subprocess.Popen(
            [sys.executable, "-c", RUN, str(listener.fileno())],
            env={
                **clean_environ(),
                "PUSHD_PORT": str(port),
                "PUSHD_DATA_DIR": str(directory),
            },
            stderr=written,
            pass_fds=[listener.fileno()],
        )
    try:
        yield f"http://127.0.0.1:{port}", running
    finally:
        running.terminate()
        running.wait(PATIENCE)


async def test_the_app_starts_its_own_store(tmp_path: Path) -> None:
    """With neither a store nor `pushdctl` there is a whole server, streams too."""
    output = tmp_path / "output"
    with process(tmp_path / "data", output) as (url, running):
        wait_until(lambda: b"startup complete" in output.read_bytes(), "the start")
        async with httpx2.AsyncClient(base_url=url, trust_env=False) as http:
            assert (await http.get("/health/ready")).status_code == 200
        async with listening(Person(url), url) as stream:
            await stream.next("caught_up")
        running.terminate()
        running.wait(PATIENCE)
    store = EmbeddedStore(tmp_path / "data")  # nobody has it any more
    store.start()
    store.stop()


def test_a_configuration_that_cannot_be_is_told_in_a_sentence(tmp_path: Path) -> None:
    """No traceback hides what to mend."""
    store = EmbeddedStore(tmp_path / "data")
    store.start()
    output = tmp_path / "output"
    try:
        with process(tmp_path / "data", output) as (_, running):
            assert running.wait(PATIENCE) != 0
    finally:
        store.stop()
    assert str(tmp_path / "data") in output.read_text()
    assert "Traceback" not in output.read_text()

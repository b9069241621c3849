"""`pushdctl serve` as operators run it: real processes, real signals, a real store."""

import os
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import AsyncExitStack
from pathlib import Path

import httpx2
import pytest

from pushd import __version__
from tests.harness import Person
from tests.processes import Program, Server, is_alive, run, wait_until
from tests.talking import deliver, listening, open_mailbox

BEHIND = "https://push.example"
"""The public URL of servers that are one service."""

KINDS = pytest.mark.parametrize("workers", ["1", "2"])


@pytest.fixture
def redis(tmp_path: Path) -> Iterator[str]:
    """Run a Redis that keeps what it accepted; yield its URL."""
    with Redis(tmp_path, "--appendonly", "yes", "--appendfsync", "always") as url:
        yield url


class Redis:
    """A Redis on a socket in a directory, with these settings."""

    def __init__(self, directory: Path, *settings: str):
        self.path = directory / "redis.sock"
        self.process = subprocess.Popen(
            ["redis-server", "--port", "0", "--unixsocket", self.path, *settings],
            cwd=directory,
            stdout=subprocess.DEVNULL,
        )

    def __enter__(self) -> str:
        wait_until(self.path.exists, "Redis")
        return f"unix://{self.path}"

    def __exit__(self, *_: object) -> None:
        self.process.terminate()
        self.process.wait()


# --- serving -------------------------------------------------------------------------


@KINDS
async def test_one_command_serves(tmp_path: Path, workers: str) -> None:
    """From nothing to a delivery that is pushed; it says where, what and how safely."""
    with Server(tmp_path, "--workers", workers) as server:
        alice, bob = Person(server.url), Person(server.url)
        async with httpx2.AsyncClient() as http, listening(bob, server.url) as stream:
            await deliver(http, server.url, alice, bob, "hello")

            assert await stream.payloads(1) == ["hello"]
        (serving,) = server.events("serving")
    assert serving["public_url"] == server.url
    assert serving["store"] == "embedded in data"
    assert serving["durability"] == "fsync"
    assert serving["workers"] == int(workers)


async def test_workers_are_one_service(tmp_path: Path) -> None:
    """A delivery at one worker is pushed by all, and an ack clears the others' sessions."""
    with Server(tmp_path, "--workers", "2") as server:
        alice, bob = Person(server.url), Person(server.url)
        async with httpx2.AsyncClient() as http, AsyncExitStack() as stack:
            # The kernel spreads connections: only one in 2^11 runs has all at one worker.
            streams = [
                await stack.enter_async_context(listening(bob, server.url))
                for _ in range(12)
            ]
            id = await deliver(http, server.url, alice, bob, "hello")
            for stream in streams:
                assert await stream.payloads(1) == ["hello"]
            await streams[0].send("ack", ids=[id])
            for stream in streams[1:]:
                assert (await stream.next("read"))["ids"] == [id]


async def test_two_servers_on_one_redis_are_one_service(tmp_path: Path, redis: str) -> None:
    """A delivery at one server is pushed by the other, an ack clears the other's."""
    flags = ("--redis-url", redis, "--public-url", BEHIND)
    alice, bob = Person(BEHIND), Person(BEHIND)
    with (
        Server(tmp_path, *flags, name="one") as one,
        Server(tmp_path, *flags, name="two") as two,
    ):
        async with (
            httpx2.AsyncClient() as http,
            listening(bob, one.url) as here,
            listening(bob, two.url) as there,
        ):
            id = await deliver(http, two.url, alice, bob, "hello")
            assert await here.payloads(1) == ["hello"]
            assert await there.payloads(1) == ["hello"]
            await there.send("ack", ids=[id])
            assert (await here.next("read"))["ids"] == [id]


async def test_process_hosts_set_two_names(tmp_path: Path, redis: str) -> None:
    """`PORT` and `REDIS_URL` count where the variables of pushd are unset."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = str(free.getsockname()[1])
    program = Program(["serve"], tmp_path, {"PORT": port, "REDIS_URL": redis})
    with program:
        said = program.says("serving")

        assert f"address=http://127.0.0.1:{port} " in said
        assert f"store={redis} " in said


@KINDS
async def test_metrics_are_of_all_workers(tmp_path: Path, workers: str) -> None:
    """Whichever worker answers, it counts what all of them did."""
    with Server(tmp_path, "--workers", workers) as server:
        alice, bob = Person(server.url), Person(server.url)
        async with httpx2.AsyncClient() as http:
            await open_mailbox(http, server.url, bob)
        for _ in range(8):  # each on a connection of its own
            async with httpx2.AsyncClient() as http:
                await deliver(http, server.url, alice, bob, "hello")

        def counted() -> bool:
            return "pushd_accepted_total 8.0" in httpx2.get(f"{server.url}/metrics").text

        wait_until(counted, "every worker's count")


# --- stopping ------------------------------------------------------------------------


@KINDS
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
async def test_a_signal_drains_and_ends_everything(
    tmp_path: Path, workers: str, number: signal.Signals
) -> None:
    """Sessions are told and closed with 1012; status 0; no process stays."""
    flags = ("--workers", workers, "--drain-seconds", "1")
    with Server(tmp_path, *flags) as server:
        family = server.family()
        async with listening(Person(server.url), server.url) as stream:
            server.process.send_signal(number)
            closing = await stream.next("closing")
            code = await stream.closed()

        assert closing["reconnect"] is True
        assert code == 1012
        assert server.ends() == 0
        assert not any(map(is_alive, family))
    first, *middle, last = [line["event"] for line in server.lines()]
    assert (first, last) == ("serving", "stopped")
    # A worker that was still starting has nothing to drain.
    assert set(middle) == {"draining"}
    assert len(middle) <= int(workers)


INTERRUPTED = """
import os, signal, socket
from starlette.applications import Starlette
from pushd import worker
from pushd.settings import Settings

plain = worker.Server.serve

def interrupted(self, sockets=None):
    serving = plain(self, sockets)
    os.kill(os.getpid(), signal.SIGTERM)
    return serving

worker.Server.serve = interrupted
with worker.stoppable(), socket.create_server(("127.0.0.1", 0)) as listener:
    app = Starlette()
    worker.run(Settings.read({}), "", listener, started=lambda: None, app=app)
"""


def test_a_signal_between_two_handlers_waits() -> None:
    """One that came while a worker made its server left it half made, and said so."""
    ended = subprocess.run(
        [sys.executable, "-c", INTERRUPTED], capture_output=True, timeout=50, check=False
    )
    assert (ended.returncode, ended.stderr) == (0, b"")


@KINDS
async def test_ctrl_c_leaves_nothing_and_keeps_the_data(
    tmp_path: Path, workers: str
) -> None:
    """SIGINT reaches the whole process group, as in a terminal; a next start goes on."""
    with Server(tmp_path, "--workers", workers) as server:
        alice, bob = Person(BEHIND), Person(BEHIND)
        alice.server = bob.server = server.url
        async with httpx2.AsyncClient() as http:
            await open_mailbox(http, server.url, bob)
            await deliver(http, server.url, alice, bob, "hello")
        family = server.family()
        server.signal_group(signal.SIGINT)

        assert server.ends() == 0
        assert not any(map(is_alive, family))
        assert "Traceback" not in server.output()
    with Server(tmp_path, "--workers", workers, name="again") as server:
        bob.server = server.url
        async with listening(bob, server.url) as stream:
            assert await stream.payloads(1) == ["hello"]


@KINDS
async def test_a_second_signal_does_not_wait(tmp_path: Path, workers: str) -> None:
    """A server that drains for minutes ends at once when asked again."""
    flags = ("--workers", workers, "--drain-seconds", "600")
    with Server(tmp_path, *flags) as server:
        bob = Person(server.url)
        async with listening(bob, server.url), listening(bob, server.url) as stream:
            server.process.send_signal(signal.SIGINT)
            await stream.next("closing")
            server.process.send_signal(signal.SIGINT)

            assert server.ends() == 0


@KINDS
def test_kill_9_of_the_parent_leaves_nothing(tmp_path: Path, workers: str) -> None:
    """Workers and store die with the parent, even when it cannot tell them."""
    with Server(tmp_path, "--workers", workers) as server:
        family = server.family()
        assert len(family) >= 2
        server.process.kill()

        wait_until(lambda: not any(map(is_alive, family)), "the end of every process")


async def test_a_worker_that_falls_is_replaced(tmp_path: Path) -> None:
    """The others go on, and a new one takes its place."""
    with Server(tmp_path, "--workers", "2") as server:
        before = workers_of(server)
        os.kill(before[0], signal.SIGKILL)
        wait_until(lambda: len(set(workers_of(server)) | set(before)) == 3, "a new worker")
        wait_until(lambda: httpx2.get(f"{server.url}/health/ready").is_success, "it")

        assert server.events("worker died")[0]["worker"] == before[0]
        assert server.events("worker died")[0]["status"] == -signal.SIGKILL


def workers_of(server: Server) -> list[int]:
    """List the process ids of a server's workers."""
    return [
        process.number
        for process in server.family()
        if b"pushd.worker" in command_line(process.number)
    ]


def command_line(pid: int) -> bytes:
    """Return a process's arguments; nothing of one that is gone."""
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes()
    except (FileNotFoundError, ProcessLookupError):
        return b""


# --- what cannot be ------------------------------------------------------------------


def refused(directory: Path, *flags: str, environ: dict[str, str] | None = None) -> str:
    """Run a server that must not start, and return its one sentence."""
    ended = run(["serve", *flags], directory, environ)
    assert ended.returncode == 2, ended.stderr
    assert ended.stdout == ""
    lines = ended.stderr.splitlines()
    assert len(lines) == 1, ended.stderr
    return lines[0].removeprefix("pushdctl: ")


@KINDS
def test_a_port_in_use_is_refused(tmp_path: Path, workers: str) -> None:
    """Two servers on one port would take each other's connections."""
    (tmp_path / "other").mkdir()
    with Server(tmp_path, "--workers", "2") as server:
        port = server.url.rpartition(":")[2]

        sentence = refused(tmp_path / "other", "--port", port, "--workers", workers)

    assert sentence.startswith(f"Port {port} of 127.0.0.1 is in use")


@KINDS
def test_a_data_directory_in_use_is_refused(tmp_path: Path, workers: str) -> None:
    """Two servers on one data directory would spoil each other's store."""
    with Server(tmp_path, "--workers", workers):
        assert "data" in refused(tmp_path, "--port", "0", "--workers", workers)


def test_an_unknown_variable_is_refused(tmp_path: Path) -> None:
    """A typo is not taken for the default."""
    sentence = refused(tmp_path, environ={"PUSHD_PROT": "80"})

    assert sentence == ("PUSHD_PROT is no setting of this server; did you mean PUSHD_PORT?")


@pytest.mark.parametrize(
    ("flags", "sentence"),
    [
        (("--port", "many"), "PUSHD_PORT is 'many'"),
        (("--durability", "eternal"), "PUSHD_DURABILITY is 'eternal'"),
        (("--host", "192.0.2.1", "--port", "0"), "192.0.2.1 is not an address"),
    ],
)
def test_a_flag_that_cannot_be_is_refused(
    tmp_path: Path, flags: tuple[str, ...], sentence: str
) -> None:
    """The sentence names the setting."""
    assert refused(tmp_path, *flags).startswith(sentence)


@KINDS
def test_a_store_that_forgets_is_refused_once(tmp_path: Path, workers: str) -> None:
    """A store that cannot keep the durability asked for ends the server, all workers."""
    with Redis(tmp_path, "--appendonly", "no") as url:
        sentence = refused(
            tmp_path, "--port", "0", "--redis-url", url, "--workers", workers
        )

    assert "appendfsync" in sentence or "appendonly" in sentence


@KINDS
def test_a_store_that_is_away_is_waited_for(tmp_path: Path, workers: str) -> None:
    """A server whose store does not answer runs, and says it is not ready."""
    away = f"unix://{tmp_path}/redis.sock"
    with Server(tmp_path, "--redis-url", away, "--workers", workers) as server:
        assert httpx2.get(f"{server.url}/health/live").status_code == 200
        assert httpx2.get(f"{server.url}/health/ready").status_code == 503
        with Redis(tmp_path, "--appendonly", "yes", "--appendfsync", "always"):
            ready = f"{server.url}/health/ready"
            wait_until(lambda: httpx2.get(ready).is_success, "the store")


# --- what it says --------------------------------------------------------------------


async def test_logs_hold_no_secret(tmp_path: Path) -> None:
    """Every line is JSON; no token, key, payload or password is in any."""
    with Server(tmp_path, "--log-level", "debug", "--drain-seconds", "1") as server:
        alice, bob = Person(server.url), Person(server.url)
        token = alice.token("deliver", bob.did)
        secrets = [token, token.rpartition(".")[2], alice.key.to_hex(), "a-payload"]
        async with httpx2.AsyncClient() as http:
            await open_mailbox(http, server.url, bob)
            await deliver(http, server.url, alice, bob, "a-payload")
            for bad in ({}, {"to": bob.did}, {"to": bob.did, "payload": ["a-payload"]}):
                answer = await http.post(
                    f"{server.url}/v1/deliveries",
                    headers={"authorization": f"Bearer {token}"},
                    json=bad,
                )
                assert answer.status_code == 400
            await http.get(f"{server.url}/v1/messages", headers={"authorization": token})
        async with listening(bob, server.url) as stream:
            await stream.payloads(1)
            await stream.send("deliver", to=bob.did, payload="a-payload", ref=1)
            await stream.send("a-payload", token=token)
        server.process.terminate()
        assert server.ends() == 0

    assert server.lines()
    for secret in secrets:
        assert secret not in server.output()


def test_the_password_of_the_store_is_not_logged(tmp_path: Path) -> None:
    """The log says where the store is, without the password in its URL."""
    away = "redis://somebody:open-sesame@127.0.0.1:1/0"
    with Server(tmp_path, environ={"PUSHD_REDIS_URL": away}) as server:
        (serving,) = server.events("serving")

        assert serving["store"] == "redis://127.0.0.1"
    assert "open-sesame" not in server.output()


def test_it_tells_its_version(tmp_path: Path) -> None:
    """`--version` is the version of the package."""
    assert run(["--version"], tmp_path).stdout == f"pushdctl {__version__}\n"

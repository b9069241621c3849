"""Real stores for tests: servers, sentinels and Clusters, to be killed, paused and moved.

    with Cluster("valkey", directory) as cluster:
        cluster.move(slot, cluster.primaries()[1])

Everything listens on loopback, on ports that were free, and ends with its block.
"""

import os
import shutil
import signal
import socket
import subprocess
import time
from collections.abc import Callable, Iterable, Sequence
from contextlib import ExitStack, suppress
from pathlib import Path
from typing import Any, NamedTuple, Protocol, Self, cast

import redis

from pushd.mailbox.embedded import find_server
from tests.processes import PATIENCE, free_port, wait_until

KINDS = ("valkey", "redis")
SLOTS = 16384


def missing(kind: str) -> str:
    """Tell why this kind of store cannot be had here, or the empty string."""
    if kind == "redis" and shutil.which("redis-server") is None:
        return "redis-server is not installed"
    return ""


def eventually(condition: Callable[[], bool], what: str) -> None:
    """Wait until a condition of stores holds; while one does not answer it does not.

    Raises:
        TimeoutError: If it does not within `PATIENCE`.
    """

    def holds() -> bool:
        with suppress(redis.RedisError, OSError):
            return condition()
        return False

    wait_until(holds, what)


def binary_of(kind: str) -> str:
    """Find the program of a kind of store."""
    return find_server(system=False) if kind == "valkey" else "redis-server"


class Store(Protocol):
    """What mailboxes can be on.

    Attributes:
        url: Where it is.
    """

    @property
    def url(self) -> str:
        """Say where."""


def certificate(directory: Path) -> Path:
    """Make a certificate for this machine; its key lies beside it as `key`."""
    path = directory / "certificate"
    command = (
        "openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 2"
        " -subj /CN=localhost -addext subjectAltName=DNS:localhost,IP:127.0.0.1"
    )
    files = ["-keyout", str(directory / "key"), "-out", str(path)]
    subprocess.run([*command.split(), *files], check=True, capture_output=True)
    return path


def tls(certificate: Path) -> dict[str, str]:
    """Configure a server for TLS with a certificate."""
    return {
        "tls_key_file": str(certificate.with_name("key")),
        "tls_cert_file": str(certificate),
        "tls_ca_cert_file": str(certificate),
        "tls_auth_clients": "no",
    }


class Server:
    """One server process on a unix socket, and on a port where `port` is an option.

    Args:
        kind: `valkey`, the one that pushd embeds, or `redis`, the system's.
        directory: Its data; made if it is not there. A short path, for it holds the
            socket too.
        options: What to configure, over what mailboxes need.
    """

    def __init__(self, kind: str, directory: Path, **options: str) -> None:
        self._binary = binary_of(kind)
        self._directory = directory
        self._socket = directory / "s"
        self._options = {
            "port": "0",
            "bind": "127.0.0.1",
            "unixsocket": os.fspath(self._socket),
            "dir": os.fspath(directory),
            "logfile": os.fspath(directory / "log"),
            "enable-debug-command": "yes",
            "save": "",
            "appendonly": "yes",
            "appendfsync": "always",
            "maxmemory-policy": "noeviction",
            "repl-diskless-sync-delay": "0",
            **{name.replace("_", "-"): value for name, value in options.items()},
        }
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        """Where it listens."""
        return f"unix://{self._socket}"

    @property
    def port(self) -> int:
        """The port it listens on; 0 for none."""
        return int(self._options["port"])

    @property
    def pid(self) -> int:
        """The process, which runs."""
        assert self._process is not None
        return self._process.pid

    @property
    def runs(self) -> bool:
        """Whether it was started and not killed since; a paused one runs."""
        return self._process is not None

    @property
    def alive(self) -> bool:
        """Whether its process is there; one that gave up by itself is not."""
        return self._process is not None and self._process.poll() is None

    def start(self) -> None:
        """Start it, and wait until it answers."""
        self._directory.mkdir(exist_ok=True)
        command = [self._binary, *self._arguments()]
        # It inherits that SIGXFSZ is ignored: a file that may not grow is an error to it.
        self._process = subprocess.Popen(
            command, start_new_session=True, restore_signals=False
        )
        deadline = time.monotonic() + PATIENCE
        while not self._answers():
            assert self._process.poll() is None, (self._directory / "log").read_text()
            assert time.monotonic() < deadline, "the server does not answer"
            time.sleep(0.005)

    def kill(self) -> None:
        """Kill it, as a crash would, and what it forked to write files; idempotent."""
        if self._process is not None:
            with suppress(ProcessLookupError):  # it may have given up by itself
                os.killpg(self._process.pid, signal.SIGKILL)
            self._process.wait()
            self._process = None

    def pause(self) -> None:
        """Stop it in its steps; its connections stay open and say nothing."""
        os.kill(self.pid, signal.SIGSTOP)

    def resume(self) -> None:
        """Let a paused one go on."""
        os.kill(self.pid, signal.SIGCONT)

    def __enter__(self) -> Self:
        try:
            self.start()
        except BaseException:
            self.kill()
            raise
        return self

    def __exit__(self, *raised: object) -> None:
        self.kill()

    def restart(self) -> None:
        """Kill it and start it again on what it had written."""
        self.kill()
        self.start()

    def client(self, user: str | None = None, password: str | None = None) -> "redis.Redis":
        """Make a client of its own, to look at it from outside or to do it harm."""
        # No attempt twice: what is waited for is asked again by who waits.
        return redis.Redis(
            unix_socket_path=os.fspath(self._socket),
            username=user,
            password=password,
            protocol=2,
            socket_timeout=PATIENCE,
        )

    def ask(self, *command: str | int) -> Any:
        """Send it one command, as its default user."""
        with self.client() as client:
            return client.execute_command(*command)

    def info(self) -> dict[str, Any]:
        """Ask what it is and does."""
        with self.client() as client:
            return cast(dict[str, Any], client.info())

    def option(self, name: str) -> str:
        """Return what it was configured with."""
        return self._options[name]

    def _arguments(self) -> list[str]:
        return [part for name, v in self._options.items() for part in (f"--{name}", v)]

    def _answers(self) -> bool:
        try:
            with socket.socket(socket.AF_UNIX) as probe:
                probe.connect(os.fspath(self._socket))
                probe.sendall(b"PING\r\n")
                return probe.recv(64).startswith((b"+PONG", b"-NOAUTH"))
        except OSError:
            return False


class Sentinel(Server):
    """One sentinel process, configured by the lines of its file."""

    def __init__(self, kind: str, directory: Path, lines: Iterable[str]) -> None:
        super().__init__(kind, directory, port=str(free_port()))
        names = ("port", "bind", "unixsocket", "dir", "logfile")
        kept = [f"{name} {self.option(name)}" for name in names]
        self._lines = "".join(f"{line}\n" for line in [*kept, *lines])

    def port_of_primary(self) -> int:
        """Ask it where the primary is."""
        return int(self.facts()["port"])

    def facts(self) -> dict[str, str]:
        """Ask it what it knows of the primary and its company."""
        words = map(_text, self.ask("SENTINEL", "MASTER", Sentinels.SERVICE))
        return dict(zip(words, words, strict=True))

    def _arguments(self) -> list[str]:
        """Write its file the first time; it finds again what it added to it."""
        file = self._directory / "conf"
        if not file.exists():
            file.write_text(self._lines)
        return [os.fspath(file), "--sentinel"]


class Sentinels:
    """A primary and its replicas, watched by sentinels.

    Args:
        kind: Of all servers.
        directory: Of them all; a short path.
        replicas: How many.
        sentinels: How many; more than half of them have to agree.
        down_after: Seconds of silence after which a sentinel takes a server for dead.
        lines: More lines for the sentinels' files.
        options: Of the servers.

    Attributes:
        servers: The first primary, then the replicas.
        sentinels: Those who watch.
    """

    SERVICE = "mailboxes"

    def __init__(
        self,
        kind: str,
        directory: Path,
        *,
        replicas: int = 1,
        sentinels: int = 3,
        down_after: float = 1.5,
        lines: Sequence[str] = (),
        **options: str,
    ) -> None:
        self._stack = ExitStack()
        self.servers = [
            Server(kind, directory / str(n), port=str(free_port()), **options)
            for n in range(1 + replicas)
        ]
        first, name = self.servers[0].port, self.SERVICE
        watch = [
            f"sentinel monitor {name} 127.0.0.1 {first} {sentinels // 2 + 1}",
            f"sentinel down-after-milliseconds {name} {down_after * 1000:.0f}",
            f"sentinel failover-timeout {name} 6000",
            *lines,
        ]
        self.sentinels = [
            Sentinel(kind, directory / f"sentinel-{n}", watch) for n in range(sentinels)
        ]

    @property
    def url(self) -> str:
        """What to ask for the primary."""
        hosts = ",".join(f"127.0.0.1:{sentinel.port}" for sentinel in self.sentinels)
        return f"redis+sentinel://{hosts}/{self.SERVICE}"

    def __enter__(self) -> Self:
        with self._stack:
            first, *replicas = [self._stack.enter_context(one) for one in self.servers]
            for replica in replicas:
                replica.ask("REPLICAOF", "127.0.0.1", first.port)
            eventually(lambda: all(map(_follows, replicas)), "the replicas")
            for sentinel in self.sentinels:
                self._stack.enter_context(sentinel)
            eventually(self.settled, "the sentinels")
            self._stack = self._stack.pop_all()
        return self

    def __exit__(self, *raised: object) -> None:
        self._stack.close()
        for one in [*self.servers, *self.sentinels]:
            one.kill()

    def primary(self) -> Server:
        """Find the server that most sentinels hold for the primary."""
        said = [sentinel.port_of_primary() for sentinel in self._watching()]
        port = max(set(said), key=said.count)
        return next(server for server in self.servers if server.port == port)

    def replicas(self) -> list[Server]:
        """List the others, those that are down included."""
        primary = self.primary()
        return [server for server in self.servers if server is not primary]

    def settled(self) -> bool:
        """Tell whether all sentinels know each other and every server, and agree."""
        facts = [sentinel.facts() for sentinel in self._watching()]
        others, replicas = str(len(self.sentinels) - 1), str(len(self.servers) - 1)
        return len({fact["port"] for fact in facts}) == 1 and all(
            fact["num-other-sentinels"] == others and fact["num-slaves"] == replicas
            for fact in facts
        )

    def _watching(self) -> list[Sentinel]:
        return [sentinel for sentinel in self.sentinels if sentinel.runs]

    def failover(self) -> Server:
        """Promote a replica although nothing is wrong; return it once all agree."""
        before = self.primary()
        after = self.await_failover(self.promote)
        self.demote(before)
        return after

    def promote(self) -> None:
        """Have a sentinel begin to promote a replica, once it finds one that is fit."""
        eventually(self._begins_failover, "a replica fit to be promoted")

    def _begins_failover(self) -> bool:
        try:
            self.sentinels[0].ask("SENTINEL", "FAILOVER", self.SERVICE)
        except redis.ResponseError as refusal:  # the replica has only just come back
            if "NOGOODSLAVE" not in str(refusal):
                raise
            return False
        return True

    def demote(self, former: Server) -> None:
        """Make a former primary a replica, which sentinels take 8 seconds for."""
        former.ask("REPLICAOF", "127.0.0.1", self.primary().port)
        eventually(lambda: _follows(former) and self.settled(), "its copy")

    def await_failover(self, harm: Callable[[], object]) -> Server:
        """Do something that costs the primary its place; return the next one."""
        before = self.primary()
        harm()

        def promoted() -> bool:
            now = {sentinel.port_of_primary() for sentinel in self._watching()}
            return now != {before.port} and len(now) == 1 and _leads(self.primary())

        eventually(promoted, "another primary")
        return self.primary()


class Place(NamedTuple):
    """A range of slots and the ports of those who have it, the primary first."""

    first: int
    last: int
    ports: list[int]


class Cluster:
    """A Cluster with the slots spread evenly over its primaries.

    Args:
        kind: Of all servers.
        directory: Of them all; a short path.
        primaries: How many.
        replicas: How many for each primary.
        node_timeout: Seconds of silence after which a server is taken for dead.
        certificate: Theirs, if they speak TLS.
        options: Of the servers.

    Attributes:
        servers: All of them, the first primaries first.
    """

    def __init__(
        self,
        kind: str,
        directory: Path,
        *,
        primaries: int = 3,
        replicas: int = 0,
        node_timeout: float = 2.0,
        certificate: Path | None = None,
        **options: str,
    ) -> None:
        self._stack = ExitStack()
        self._kind, self._directory = kind, directory
        self._options = {
            "cluster_enabled": "yes",
            "cluster_node_timeout": f"{node_timeout * 1000:.0f}",
            "cluster_replica_validity_factor": "0",
            "cluster_allow_replica_migration": "no",
            # A replica without an offset is on no map of Redis 7.0; a ping gives it one.
            "repl_ping_replica_period": "1",
            **options,
        }
        self._secured = certificate is not None
        if certificate is not None:
            secured = {"tls_cluster": "yes", "tls_replication": "yes"}
            self._options |= {**secured, **tls(certificate)}
        self._first = primaries
        self.servers: list[Server] = []
        for _ in range(primaries * (1 + replicas)):
            self._make()

    def _make(self) -> Server:
        number = len(self.servers)
        ports = {"port": str(free_port()), "cluster_port": str(free_port())}
        if self._secured:
            ports["tls_port"] = str(free_port())
        place = self._directory / str(number)
        self.servers.append(Server(self._kind, place, **ports, **self._options))
        return self.servers[-1]

    @property
    def url(self) -> str:
        """Where to ask who has what: two of them, to find the others by."""
        name, scheme = ("tls-port", "rediss") if self._secured else ("port", "redis")
        hosts = ",".join(f"127.0.0.1:{server.option(name)}" for server in self.servers[:2])
        return f"{scheme}+cluster://{hosts}"

    def __enter__(self) -> Self:
        with self._stack:
            for number, server in enumerate(self.servers):
                self._stack.enter_context(server)
                server.ask("CLUSTER", "SET-CONFIG-EPOCH", number + 1)
            for number, server in enumerate(self.servers[: self._first]):
                first = number * SLOTS // self._first
                last = (number + 1) * SLOTS // self._first - 1
                server.ask("CLUSTER", "ADDSLOTSRANGE", first, last)
            for server in self.servers[1:]:
                self._introduce(server)
            eventually(self._all_known, "the Cluster's servers to know each other")
            for number, replica in enumerate(self.servers[self._first :]):
                _replicate(replica, self.servers[number % self._first])
            eventually(self.settled, "the Cluster")
            self._stack = self._stack.pop_all()
        return self

    def __exit__(self, *raised: object) -> None:
        self._stack.close()
        for server in self.servers:
            server.kill()

    def _introduce(self, server: Server) -> None:
        bus = server.option("cluster-port")
        self.servers[0].ask("CLUSTER", "MEET", "127.0.0.1", server.port, bus)

    def _all_known(self) -> bool:
        lists = [_text(server.ask("CLUSTER", "NODES")) for server in self._running()]
        known = len(self.servers)
        return all(
            nodes.count("\n") == known and "handshake" not in nodes for nodes in lists
        )

    def settled(self) -> bool:
        """Tell whether all agree who has which slots, and every replica follows."""
        running = self._running()
        places = [self.places(server) for server in running]
        known = {port for place in places[0] for port in place.ports}
        return (
            all(b"cluster_state:ok" in server.ask("CLUSTER", "INFO") for server in running)
            and all(other == places[0] for other in places)
            and all(_leads(s) or (_follows(s) and s.port in known) for s in running)
        )

    def _running(self) -> list[Server]:
        return [server for server in self.servers if server.runs]

    def places(self, asked: Server | None = None) -> list[Place]:
        """Ask one server who has which slots."""
        asked = asked or self._running()[0]
        ranges = asked.ask("CLUSTER", "SLOTS")
        return sorted(
            Place(first, last, [primary[1], *sorted(node[1] for node in replicas)])
            for first, last, primary, *replicas in ranges
        )

    def primaries(self) -> list[Server]:
        """List the servers that have slots, in the order of those."""
        ports = dict.fromkeys(place.ports[0] for place in self.places())
        return [self._at(port) for port in ports]

    def owner(self, slot: int) -> Server:
        """Find the server that has a slot."""
        places = self.places()
        return self._at(next(p.ports[0] for p in places if p.first <= slot <= p.last))

    def replica_of(self, primary: Server) -> Server:
        """Find a replica of a primary."""
        places = self.places()
        return self._at(next(p.ports[1] for p in places if p.ports[0] == primary.port))

    def _at(self, port: int) -> Server:
        return next(server for server in self.servers if server.port == port)

    def failover(self, primary: Server) -> Server:
        """Promote a replica although nothing is wrong; return it once all agree."""
        replica = self.replica_of(primary)
        replica.ask("CLUSTER", "FAILOVER")
        eventually(lambda: _leads(replica) and self.settled(), "the promotion")
        return replica

    def await_failover(self, primary: Server) -> Server:
        """Wait until the replica of a primary that is down has its place; return it."""
        replicas = [s for s in self._running() if s is not primary and not _leads(s)]
        eventually(lambda: any(map(_leads, replicas)), "another primary")
        return next(filter(_leads, replicas))

    def add(self) -> Server:
        """Start one more primary, which has no slots yet."""
        server = self._make()
        self._stack.enter_context(server)
        self._introduce(server)
        eventually(lambda: self._all_known() and self.settled(), "the new primary")
        return server

    def open(self, slot: int, target: Server) -> Server:
        """Begin to move a slot; return the server that still has it."""
        source = self.owner(slot)
        target.ask("CLUSTER", "SETSLOT", slot, "IMPORTING", _id_of(source))
        source.ask("CLUSTER", "SETSLOT", slot, "MIGRATING", _id_of(target))
        return source

    def carry(self, slot: int, source: Server, target: Server, at_once: int = 100) -> bool:
        """Carry some keys of a slot that is being moved; false once none is left."""
        keys = source.ask("CLUSTER", "GETKEYSINSLOT", slot, at_once)
        if keys:
            where = ("127.0.0.1", target.port, "", 0, PATIENCE * 1000)
            source.ask("MIGRATE", *where, "KEYS", *keys)
        return bool(keys)

    def close(self, slot: int, source: Server, target: Server) -> None:
        """End the move of a slot whose keys are all carried, and tell everyone."""
        for server in dict.fromkeys((target, source, *self._running())):
            if _leads(server):
                server.ask("CLUSTER", "SETSLOT", slot, "NODE", _id_of(target))

    def move(self, slot: int, target: Server) -> None:
        """Move a slot with its keys, as `redis-cli --cluster reshard` does."""
        source = self.open(slot, target)
        while self.carry(slot, source, target):
            pass
        self.close(slot, source, target)


def _replicate(replica: Server, primary: Server) -> None:
    """Make it a replica, once it has heard of its primary."""
    eventually(
        lambda: replica.ask("CLUSTER", "REPLICATE", _id_of(primary)) == b"OK",
        "the primary to be known",
    )


def _id_of(server: Server) -> str:
    return _text(server.ask("CLUSTER", "MYID"))


def _leads(server: Server) -> bool:
    return server.runs and str(server.info()["role"]) == "master"


def _follows(server: Server) -> bool:
    info = server.info()
    return (str(info["role"]), str(info["master_link_status"])) == ("slave", "up")


def _text(value: Any) -> str:
    return value.decode() if isinstance(value, bytes) else str(value)

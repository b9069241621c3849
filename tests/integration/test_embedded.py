"""The embedded store: private, durable, one at a time, and gone with its owner."""

import asyncio
import os
import signal
import stat
import subprocess
import sys
import time
from pathlib import Path

import pytest

from pushd.errors import ConfigurationError
from pushd.mailbox import embedded
from pushd.mailbox.base import Quota
from pushd.mailbox.embedded import EmbeddedStore
from pushd.mailbox.redis import RedisMailboxes
from pushd.protocol.ids import MessageId
from pushd.protocol.messages import Accepted
from tests.contract.stores import Ear, entry, unread

BOB = "did:test:bob"
QUOTA = Quota(messages=1000, bytes=10**7, dedup=3600)
HOLD = """
import sys, time
from pathlib import Path
from pushd.mailbox.embedded import EmbeddedStore
print(EmbeddedStore(Path(sys.argv[1])).start(), flush=True)
time.sleep(60)
"""


async def deliver(url: str, count: int) -> list[MessageId]:
    """Open Bob's mailbox, deliver, and list all that is unread."""
    mailboxes = RedisMailboxes(url, subscriber=Ear(), quota=QUOTA, durability="fsync")
    await mailboxes.start()
    await mailboxes.open(BOB, create=True)
    if count:
        results = await mailboxes.accept([entry(BOB, str(n)) for n in range(count)])
        assert all(isinstance(result, Accepted) for result in results)
    found = await unread(mailboxes, BOB)
    await mailboxes.close()
    return found


def processes(directory: Path) -> list[int]:
    """List the processes that work in a directory."""
    found = []
    for process in Path("/proc").iterdir():
        try:
            if process.name.isdigit() and (process / "cwd").readlink() == directory:
                found.append(int(process.name))
        except OSError:
            continue
    return found


def wait_until_gone(directory: Path) -> None:
    """Wait until no process works in a directory."""
    deadline = time.monotonic() + 20
    while processes(directory):
        assert time.monotonic() < deadline, processes(directory)
        time.sleep(0.01)


def test_it_starts_serves_and_stops(tmp_path: Path) -> None:
    """Started, it serves over a socket; stopped, nothing runs; again, the data is there."""
    directory = tmp_path / "made" / "on the way"
    store = EmbeddedStore(directory)
    first = asyncio.run(deliver(store.start(), 3))
    alive = [store.alive]
    store.stop()
    store.stop()
    assert [*alive, store.alive] == [True, False]
    assert processes(directory) == []
    again = EmbeddedStore(directory)
    assert asyncio.run(deliver(again.start(), 0)) == first
    again.stop()


def test_nobody_else_reaches_it(tmp_path: Path) -> None:
    """Its socket is its owner's, and it listens on no port."""
    store = EmbeddedStore(tmp_path)
    path = Path(store.start().removeprefix("unix://"))
    assert stat.S_IMODE(path.stat().st_mode) == 0o700
    [pid] = processes(tmp_path)
    sockets = {os.readlink(link) for link in Path(f"/proc/{pid}/fd").iterdir()}
    for table in ("tcp", "tcp6"):
        rows = Path(f"/proc/{pid}/net/{table}").read_text().splitlines()[1:]
        inodes = {f"socket:[{row.split()[9]}]" for row in rows}
        assert sockets & inodes == set()
    store.stop()


def test_two_servers_on_one_directory_are_refused(tmp_path: Path) -> None:
    """The second says so in a sentence, in this process or another; the first goes on."""
    store = EmbeddedStore(tmp_path)
    url = store.start()
    with pytest.raises(ConfigurationError, match="Another pushd is running on"):
        EmbeddedStore(tmp_path).start()
    other = subprocess.run(
        [sys.executable, "-c", HOLD, tmp_path], capture_output=True, text=True, check=False
    )
    assert f"Another pushd is running on the data directory {tmp_path}" in other.stderr
    assert len(asyncio.run(deliver(url, 1))) == 1
    store.stop()


def test_it_dies_with_its_owner(tmp_path: Path) -> None:
    """Killed with SIGKILL, the owner takes the store along; the next start has the data."""
    with subprocess.Popen(
        [sys.executable, "-c", HOLD, tmp_path], stdout=subprocess.PIPE, text=True
    ) as owner:
        assert owner.stdout is not None
        first = asyncio.run(deliver(owner.stdout.readline().strip(), 5))
        owner.kill()
    store = EmbeddedStore(tmp_path)
    assert asyncio.run(deliver(store.start(), 0)) == first
    assert len(processes(tmp_path)) == 1
    store.stop()


def test_everything_killed_at_once(tmp_path: Path) -> None:
    """A stale socket and half a record at the end of the log do not stop a start."""
    store = EmbeddedStore(tmp_path)
    first = asyncio.run(deliver(store.start(), 5))
    store.stop()
    (tmp_path / "store.sock").touch()
    log = max((tmp_path / "appendonlydir").glob("*.incr.aof"))
    with log.open("ab") as file:
        file.write(b"*3\r\n$3\r\nSET\r\n$1\r\nx\r\n$100\r\nhalf")
    again = EmbeddedStore(tmp_path)
    assert asyncio.run(deliver(again.start(), 0)) == first
    again.stop()


def test_a_leftover_is_waited_for(tmp_path: Path) -> None:
    """The directory is free only when the last process that writes there is gone."""
    with subprocess.Popen(
        [sys.executable, "-c", HOLD, tmp_path], stdout=subprocess.PIPE, text=True
    ) as owner:
        assert owner.stdout is not None
        url = owner.stdout.readline().strip()
        asyncio.run(deliver(url, 2))
        [left] = processes(tmp_path)
        os.kill(left, signal.SIGSTOP)
        owner.kill()
    store = EmbeddedStore(tmp_path)
    assert len(asyncio.run(deliver(store.start(), 0))) == 2
    assert left not in processes(tmp_path)
    store.stop()


def test_a_dead_store_is_started_again(tmp_path: Path) -> None:
    """Its owner brings it back, with the data, at the same place."""
    store = EmbeddedStore(tmp_path)
    url = store.start()
    first = asyncio.run(deliver(url, 3))
    for _ in range(2):
        [pid] = processes(tmp_path)
        os.kill(pid, signal.SIGKILL)
        deadline = time.monotonic() + 20
        while processes(tmp_path) in ([], [pid]):
            assert time.monotonic() < deadline
            time.sleep(0.01)
    while embedded.ask(url.removeprefix("unix://")) != b"+PONG\r\n":
        assert time.monotonic() < deadline
    assert asyncio.run(deliver(url, 0)) == first
    store.stop()
    assert processes(tmp_path) == []


def test_a_long_path(tmp_path: Path) -> None:
    """A socket's path is short; a directory's need not be."""
    directory = tmp_path / ("d" * 100)
    store = EmbeddedStore(directory)
    url = store.start()
    assert len(asyncio.run(deliver(url, 1))) == 1
    store.stop()
    assert not Path(url.removeprefix("unix://")).parent.exists()


def test_a_directory_that_cannot_be(tmp_path: Path) -> None:
    """What is in the way is said."""
    (tmp_path / "file").touch()
    with pytest.raises(ConfigurationError, match="cannot be used"):
        EmbeddedStore(tmp_path / "file").start()


def test_a_store_that_does_not_start(tmp_path: Path) -> None:
    """A log that is broken in the middle is not read over; the operator is told where."""
    store = EmbeddedStore(tmp_path)
    asyncio.run(deliver(store.start(), 1))
    store.stop()
    log = max((tmp_path / "appendonlydir").glob("*.incr.aof"))
    log.write_bytes(b"*nonsense\r\n" + log.read_bytes())
    with pytest.raises(ConfigurationError, match=r"does not start: .*store\.log"):
        EmbeddedStore(tmp_path).start()
    assert processes(tmp_path) == []


def test_no_server_at_all(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Without the packaged server another is used only if asked for."""
    monkeypatch.setattr(embedded, "find_spec", lambda name: None)
    monkeypatch.setenv("PATH", os.fspath(tmp_path))
    with pytest.raises(ConfigurationError, match="set PUSHD_REDIS_URL"):
        EmbeddedStore(tmp_path).start()
    fake = tmp_path / "redis-server"
    fake.touch(mode=0o755)
    assert embedded.find_server(system=True) == os.fspath(fake)
    with pytest.raises(ConfigurationError):
        embedded.find_server(system=False)

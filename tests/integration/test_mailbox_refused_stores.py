"""A store that cannot keep the promises is refused; a sentence says what to set."""

import asyncio
import shutil
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import pytest

from pushd.errors import ConfigurationError
from pushd.mailbox import link
from pushd.mailbox.base import Quota
from pushd.mailbox.checks import Durability
from pushd.mailbox.redis import RedisMailboxes
from tests.contract.stores import Ear, entry, until
from tests.processes import free_port
from tests.stores import Server, certificate, tls

QUOTA = Quota(messages=100, bytes=10**6, dedup=3600)
BOB = "did:test:bob"


@contextmanager
def running(kind: str = "valkey", **options: str) -> Iterator[Server]:
    """Run a store with these options over the usual ones."""
    with (
        tempfile.TemporaryDirectory(prefix="pushd-") as directory,
        Server(kind, Path(directory), **options) as server,
    ):
        yield server


def as_user(
    server: Server,
    *,
    commands: Sequence[str] = ("+@all",),
    keys: Sequence[str] = ("*",),
    channels: Sequence[str] = ("*",),
) -> str:
    """Make a user who may do no more than this; return the URL for it."""
    with server.client() as client:
        client.acl_setuser(
            "pushd",
            enabled=True,
            nopass=True,
            commands=commands,
            keys=keys,
            channels=channels,
        )
    return server.url.replace("unix://", "unix://pushd:x@")


def made(url: str, durability: Durability = "fsync") -> RedisMailboxes:
    """Make mailboxes that are not started."""
    return RedisMailboxes(url, subscriber=Ear(), quota=QUOTA, durability=durability)


async def refusal(url: str, durability: Durability = "fsync") -> str:
    """Start on a store that will not do; tell what is said."""
    with pytest.raises(ConfigurationError) as raised:
        await made(url, durability).start()
    return str(raised.value)


async def serves(url: str, durability: Durability = "fsync") -> None:
    """Start on a store that will do, and use it."""
    mailboxes = made(url, durability)
    await mailboxes.start()
    assert mailboxes.ready() is None
    await mailboxes.subscribe(BOB)
    await mailboxes.open(BOB, create=True)
    await mailboxes.accept([entry(BOB)])
    await mailboxes.close()


@pytest.mark.parametrize("policy", ["allkeys-lru", "volatile-ttl"])
async def test_a_store_that_evicts(policy: str) -> None:
    """Eviction would delete mailboxes, whatever the durability."""
    with running(maxmemory_policy=policy) as server:
        for durability in ("fsync", "memory"):
            sentence = await refusal(server.url, durability)
            assert f"maxmemory-policy is {policy}" in sentence
            assert "set maxmemory-policy noeviction" in sentence


async def test_a_store_without_a_log() -> None:
    """Without an append-only file nothing survives; for `memory` that will do."""
    with running(appendonly="no") as server:
        assert "set appendonly yes and appendfsync always" in await refusal(server.url)
        await serves(server.url, "memory")


@pytest.mark.parametrize("policy", ["everysec", "no"])
async def test_a_store_that_answers_before_the_disk(policy: str) -> None:
    """A later fsync loses what was accepted; for `memory` that will do."""
    with running(appendfsync=policy) as server:
        sentence = await refusal(server.url)
        assert f"appendfsync is {policy}" in sentence
        assert "PUSHD_DURABILITY=memory" in sentence
        await serves(server.url, "memory")


async def test_a_store_that_does_not_show_its_settings() -> None:
    """What cannot be checked is not promised."""
    with running() as server:
        url = as_user(server, commands=["+@all", "-config"])
        assert "permit CONFIG GET" in await refusal(url)
        await serves(url, "memory")


async def test_a_user_who_may_not_load_functions() -> None:
    """The store's own words tell what it does not permit."""
    with running() as server:
        url = as_user(server, commands=["+@all", "-function"])
        assert "does not permit" in await refusal(url)


async def test_a_user_who_may_not_publish() -> None:
    """What the functions do is tried, before a message depends on it."""
    with running() as server:
        url = as_user(server, keys=["pushd:*"], channels=["others:*"])
        assert "channels pushd:*" in await refusal(url)
        with server.client() as client:
            client.execute_command("ACL", "SETUSER", "pushd", "&pushd:*")
        await serves(url)


async def test_a_cluster() -> None:
    """A Cluster is not taken for one server."""
    with running(cluster_enabled="yes", cluster_port=str(free_port())) as server:
        assert "redis+cluster://" in await refusal(server.url)


async def test_a_wrong_password_and_a_right_one() -> None:
    """The password is never shown; with the right one, another database does as well."""
    port = free_port()
    with running(requirepass="p@ss", port=str(port)):
        for url in (f"redis://127.0.0.1:{port}", f"redis://:sesame@127.0.0.1:{port}"):
            sentence = await refusal(url)
            assert "password" in sentence
            assert "sesame" not in sentence
        await serves(f"redis://:p%40ss@127.0.0.1:{port}/3")


OLD_INFO = b"redis_version:6.2.14\r\nrole:master\r\n"


@pytest.mark.parametrize(
    ("replies", "said"),
    [
        ([b"-ERR unknown command `HELLO`\r\n"], "7.0 or newer"),
        ([b"%0\r\n", b"$%d\r\n%s\r\n" % (len(OLD_INFO), OLD_INFO)], "is version 6.2.14"),
    ],
)
async def test_a_store_that_is_too_old(replies: list[bytes], said: str) -> None:
    """Stores before 7.0 have no functions."""
    left = asyncio.Event()

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        for reply in replies:
            await reader.read(1000)
            writer.write(reply)
        await reader.read()
        writer.close()
        left.set()

    with tempfile.TemporaryDirectory(prefix="pushd-") as directory:
        path = Path(directory, "s")
        async with await asyncio.start_unix_server(answer, path):
            assert said in await refusal(f"unix://{path}")
            await left.wait()


async def test_a_store_that_goes_wrong_later(monkeypatch: pytest.MonkeyPatch) -> None:
    """Found at a reconnect, it is not ready and says why, until it is put right."""
    monkeypatch.setattr(link, "MISCONFIGURED_SECONDS", 0.1)
    with running() as server:
        mailboxes = made(server.url)
        await mailboxes.start()
        with server.client() as client:
            client.config_set("appendfsync", "everysec")
            client.client_kill_filter(_type="normal", skipme=True)
            await until(lambda: "appendfsync is everysec" in str(mailboxes.ready()))
            client.config_set("appendfsync", "always")
        await until(lambda: mailboxes.ready() is None)
        await mailboxes.close()


@pytest.mark.skipif(
    shutil.which("redis-server") is None or shutil.which("openssl") is None,
    reason="needs a redis-server with TLS, and openssl",
)
async def test_tls(tmp_path: Path) -> None:
    """A certificate is verified, unless the URL says otherwise."""
    port, own = free_port(), certificate(tmp_path)
    with running("redis", tls_port=str(port), **tls(own)):
        url = f"rediss://localhost:{port}"
        mailboxes = made(url)
        await mailboxes.start()
        assert "does not answer" in str(mailboxes.ready())
        await mailboxes.close()
        await serves(f"{url}?ssl_ca_certs={own}")
        await serves(f"{url}?ssl_cert_reqs=none")

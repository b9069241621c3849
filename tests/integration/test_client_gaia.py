"""A bucket on a development hub, over real sockets: rules, refusals, outages."""

import asyncio
import random
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from typing import Any

import httpx2
import msgspec
import pytest

from pushd.client import CannotOpen, Envelope, PrivateKey, new_id, open_sealed, seal
from pushd.client.gaia import (
    NEW,
    Bucket,
    Busy,
    Changed,
    File,
    HubUnreachable,
    NotAllowed,
    ProofRequired,
    TooLarge,
)
from pushd.client.letter import (
    MAX_LETTER,
    Letter,
    letter_path,
    letter_url,
    open_letter,
    seal_letter,
)
from pushd.devhub.tokens import challenge
from pushd.identity import jws
from pushd.resolvers.fetch import Fetcher
from tests.devhub import RunningHub, running_devhub

OCTETS = "application/octet-stream"


class Clock:
    """A time that stands still until it is set."""

    def __init__(self) -> None:
        self.now = 1_800_000_000.0

    def __call__(self) -> float:
        """Return Unix seconds."""
        return self.now


class Proxy:
    """A way to a hub on which answers may be lost.

    Attributes:
        host_port: Where it is.
        losing: How many answers it will lose.
    """

    def __init__(self, hub: RunningHub) -> None:
        self.host_port = ""
        self.losing = 0
        self._upstream = port_of(hub)
        self._connections: dict[asyncio.Task[None], asyncio.StreamWriter] = {}

    async def turn_to(self, hub: RunningHub) -> None:
        """Lead to another hub from now on."""
        self._upstream = port_of(hub)
        await self.disconnect()

    async def disconnect(self) -> None:
        """End all connections."""
        for task in self._connections:
            task.cancel()
        await asyncio.gather(*self._connections, return_exceptions=True)

    def accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Carry a new connection."""
        task = asyncio.create_task(self._carry(reader, writer))
        self._connections[task] = writer
        task.add_done_callback(self._connections.pop)

    async def _carry(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        there, back = await asyncio.open_connection("127.0.0.1", self._upstream)
        requests = asyncio.create_task(_copy(reader, back))
        try:
            while data := await there.read(65536):
                if self.losing:
                    self.losing -= 1
                    break
                writer.write(data)
        finally:
            requests.cancel()
            back.close()
            writer.close()


async def _copy(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    while data := await reader.read(65536):
        writer.write(data)
    writer.write_eof()


def port_of(hub: RunningHub) -> int:
    """Return the port of a hub."""
    return int(hub.host_port.rpartition(":")[2])


@pytest.fixture
async def bucket(hub: RunningHub) -> AsyncIterator[Bucket]:
    """Return somebody's bucket."""
    async with bucket_on(hub) as bucket:
        yield bucket


@pytest.fixture
def no_jitter(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let every backoff be as short as jitter allows."""
    monkeypatch.setattr(random, "random", lambda: 0.0)


@pytest.fixture
async def proxy(hub: RunningHub) -> AsyncIterator[Proxy]:
    """Run a proxy to the hub."""
    proxy = Proxy(hub)
    server = await asyncio.start_server(proxy.accept, "127.0.0.1", 0)
    proxy.host_port = f"127.0.0.1:{server.sockets[0].getsockname()[1]}"
    async with server:
        yield proxy
        await proxy.disconnect()


@pytest.fixture
async def distant(hub: RunningHub, proxy: Proxy) -> AsyncIterator[Bucket]:
    """Return a bucket whose owner writes through the proxy."""
    async with Fetcher(dev_hosts=[hub.host_port, proxy.host_port]) as fetcher:
        yield Bucket(PrivateKey.generate(), f"http://{proxy.host_port}", fetcher=fetcher)


# --- files ---------------------------------------------------------------------------


async def test_what_is_stored_is_read_by_everybody(hub: RunningHub, bucket: Bucket) -> None:
    """A file is at the bucket's URL, with its media type."""
    etag = await bucket.store("notes/1.txt", b"hello", content_type="text/plain")
    file = await bucket.read("notes/1.txt")
    assert file == File(b"hello", etag, "text/plain; charset=utf-8")
    assert await bucket.url() == f"{hub.hub.read_url}{bucket.address}/"
    async with Fetcher(dev_hosts=[hub.host_port]) as anybody:
        url = f"{await bucket.url()}notes/1.txt"
        assert await anybody.get(url, types={"text/plain"}) == b"hello"


@pytest.mark.parametrize(
    "path",
    [
        ".well-known/messaging.json",
        "grüße/日本/👨‍👩‍👧.txt",
        "a b/c?d#e%2Ff&g+h;i=j",
        "%2e%2e/x",
        "\u00a0",
        "deep/" * 40 + "x",
    ],
)
async def test_paths(bucket: Bucket, path: str) -> None:
    """What can be a path comes back as it was, in the listing as well."""
    await bucket.store(path, path.encode(), match=NEW)
    assert (await bucket.read(path)) is not None
    assert [name async for name in bucket.list()] == [path]
    assert await bucket.delete(path)
    assert await bucket.read(path) is None
    assert [name async for name in bucket.list()] == []


@pytest.mark.parametrize(
    "content_type", ["application/json", "image/png", OCTETS, "x/y;z=1"]
)
async def test_media_types(bucket: Bucket, content_type: str) -> None:
    """A file is of the type its writer says."""
    await bucket.store("x", b"{}", content_type=content_type)
    file = await bucket.read("x")
    assert file is not None
    assert file.content_type is not None
    assert file.content_type.removesuffix("; charset=utf-8") == content_type


async def test_a_large_file(bucket: Bucket) -> None:
    """Megabytes go and come."""
    content = bytes(range(256)) * (6 * 1024 * 4)
    await bucket.store("large", content)
    file = await bucket.read("large", limit=len(content))
    assert file is not None
    assert file.content == content
    with pytest.raises(TooLarge):
        await bucket.read("large", limit=len(content) - 1)


async def test_an_empty_file(bucket: Bucket) -> None:
    """No bytes are a file."""
    await bucket.store("empty", b"")
    file = await bucket.read("empty")
    assert file is not None
    assert file.content == b""


async def test_deleting(bucket: Bucket) -> None:
    """A file is deleted once."""
    await bucket.store("x", b"1")
    assert await bucket.delete("x")
    assert not await bucket.delete("x")
    assert await bucket.read("x") is None


@pytest.mark.parametrize("number", [0, 100, 101, 250])
async def test_listing(hub: RunningHub, bucket: Bucket, number: int) -> None:
    """Every file is told once, over as many pages as it takes, and then no more."""
    paths = sorted(f"messages/{n:04}" for n in range(number))
    for path in paths:
        hub.hub.storage.write(bucket.address, path, b"x", OCTETS)
    assert [path async for path in bucket.list()] == paths


# --- conditions ----------------------------------------------------------------------


async def test_create_only(bucket: Bucket) -> None:
    """A new file is not stored over another, but after it was deleted."""
    await bucket.store("x", b"1", match=NEW)
    for content in (b"1", b"2"):
        with pytest.raises(Changed):
            await bucket.store("x", content, match=NEW)
    await bucket.delete("x")
    await bucket.store("x", b"3", match=NEW)


async def test_update(bucket: Bucket) -> None:
    """An etag stands for what was stored or read, until somebody else writes."""
    stored = await bucket.store("x", b"1")
    second = await bucket.store("x", b"2", match=stored)
    read = await bucket.read("x")
    assert read is not None
    third = await bucket.store("x", b"3", match=read.etag)
    assert len({stored, second, third}) == 3
    for old in (stored, second, "nonsense"):
        with pytest.raises(Changed):
            await bucket.store("x", b"4", match=old)
    await bucket.delete("x")
    with pytest.raises(Changed):
        await bucket.store("x", b"5", match=third)


async def test_overwrite(bucket: Bucket) -> None:
    """Without a condition there is none."""
    for content in (b"1", b"2"):
        await bucket.store("x", content)
    file = await bucket.read("x")
    assert file is not None
    assert file.content == b"2"


# --- refusals ------------------------------------------------------------------------


async def test_too_large(hub: RunningHub, proxy: Proxy) -> None:
    """A hub that takes less than it once said refuses what is larger."""
    with running_devhub(max_file_megabytes=0.5) as strict:
        places = [place.host_port for place in (hub, proxy, strict)]
        async with Fetcher(dev_hosts=places) as fetcher:
            url = f"http://{proxy.host_port}"
            bucket = Bucket(PrivateKey.generate(), url, fetcher=fetcher)
            await bucket.info()
            await proxy.turn_to(strict)
            with pytest.raises(TooLarge):
                await bucket.store("x", bytes(1_000_000))
            with pytest.raises(TooLarge, match="524288"):  # as the hub says by now
                await bucket.store("x", bytes(524_289))
            await bucket.store("x", bytes(524_288))


async def test_proof_is_required() -> None:
    """A hub may want to know more of somebody than a key."""
    with running_devhub(proofs_required=True) as hub:
        async with bucket_on(hub) as bucket:
            with pytest.raises(ProofRequired):
                await bucket.store("x", b"1")
            with pytest.raises(ProofRequired):
                await bucket.delete("x")


async def test_whitelists() -> None:
    """A private hub is for those on its list."""
    key = PrivateKey.generate()
    address = key.did.rpartition(":")[2]
    with running_devhub(whitelist=[address]) as hub:
        async with bucket_on(hub, key) as bucket:
            await bucket.store("x", b"1")
        async with bucket_on(hub) as bucket:
            with pytest.raises(NotAllowed):
                await bucket.store("x", b"1")
            with pytest.raises(NotAllowed):
                _ = [path async for path in bucket.list()]


async def test_a_hub_that_wants_to_be_named() -> None:
    """A token says which hub it is for."""
    with running_devhub(require_hub_url=True) as hub:
        async with bucket_on(hub) as bucket:
            await bucket.store("x", b"1")


async def test_too_many_writes() -> None:
    """A hub that is asked too often is asked again when it may be."""
    clock = Clock()
    with running_devhub(clock=clock, writes_per_second=1) as hub:
        async with bucket_on(hub, give_up_after=0.0, clock=clock) as bucket:
            await bucket.store("x", b"1")
            with pytest.raises(Busy):
                await bucket.store("x", b"2")
            clock.now += 1
            await bucket.store("x", b"2")


async def test_a_full_bucket() -> None:
    """A bucket that has too much takes nothing more, and can be read."""
    with running_devhub(max_bucket_bytes=10) as hub:
        async with bucket_on(hub, give_up_after=0.0) as bucket:
            await bucket.store("x", bytes(11))
            with pytest.raises(Busy):
                await bucket.store("y", b"")
            assert await bucket.read("x") is not None


async def test_another_write_under_way(
    hub: RunningHub, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Two writes to one path wait for each other."""
    key = PrivateKey.generate()
    finish = asyncio.Event()

    async def slow_content() -> AsyncIterator[bytes]:
        yield b"slow"
        await finish.wait()

    async with (
        bucket_on(hub, key, give_up_after=0.0) as hasty,
        Fetcher(dev_hosts=[hub.host_port]) as fetcher,
    ):
        slow = asyncio.create_task(
            fetcher.http.post(
                f"{hub.url}/store/{hasty.address}/x",
                content=slow_content(),
                headers=authorization(key, hub),
            )
        )
        with suppress(Busy):
            while True:  # until the slow one has begun
                await hasty.store("x", b"hasty")

        def jitter() -> float:
            finish.set()
            return 0.1

        monkeypatch.setattr(random, "random", jitter)
        patient = Bucket(key, hub.url, fetcher=fetcher)
        await patient.store("x", b"patient")
        assert (await slow).status_code == 202
    assert hub.hub.storage.read(hasty.address, "x") is not None


# --- lost answers and outages --------------------------------------------------------


@pytest.mark.parametrize("losses", [1, 2])
async def test_lost_answers(
    proxy: Proxy, distant: Bucket, no_jitter: None, losses: int
) -> None:
    """What was done although nobody heard of it is found done."""
    await distant.info()
    proxy.losing = losses
    first = await distant.store("x", b"1", match=NEW)
    proxy.losing = losses
    second = await distant.store("x", b"2", match=first)
    proxy.losing = losses
    assert await distant.store("x", b"2") == second
    file = await distant.read("x")
    assert file is not None
    assert (file.content, file.etag) == (b"2", second)
    proxy.losing = losses
    assert [path async for path in distant.list()] == ["x"]
    proxy.losing = losses
    assert await distant.delete("x")
    assert proxy.losing == 0


async def test_a_lost_answer_and_another_writer(
    hub: RunningHub, proxy: Proxy, distant: Bucket, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What somebody else stored before the retry is neither lost nor taken for ours."""
    await distant.info()

    def interfere() -> float:
        hub.hub.storage.write(distant.address, "x", b"theirs", OCTETS)
        return 0.0

    monkeypatch.setattr(random, "random", interfere)
    proxy.losing = 1
    with pytest.raises(Changed):
        await distant.store("x", b"ours", match=NEW)
    file = await distant.read("x")
    assert file is not None
    assert file.content == b"theirs"


async def test_an_outage(monkeypatch: pytest.MonkeyPatch) -> None:
    """A hub that comes back in time was never missed; one that does not was."""
    with running_devhub() as hub:
        async with bucket_on(hub) as patient, bucket_on(hub, give_up_after=0.0) as hasty:

            def come_back() -> float:
                hub.start()
                return 0.0

            monkeypatch.setattr(random, "random", come_back)
            hub.stop()
            await patient.store("x", b"1", match=NEW)
            hub.stop()
            assert await patient.read("x") is not None
            hub.stop()
            assert await patient.delete("x")
            hub.stop()
            monkeypatch.undo()
            for _ in range(2):
                with pytest.raises(HubUnreachable):
                    await hasty.store("x", b"1")


async def test_an_outage_within_a_listing(monkeypatch: pytest.MonkeyPatch) -> None:
    """A listing goes on where it was."""
    with running_devhub(page_size=2) as hub:
        async with bucket_on(hub) as bucket:
            paths = list("abcde")
            for path in paths:
                hub.hub.storage.write(bucket.address, path, b"", OCTETS)

            def come_back() -> float:
                hub.start()
                return 0.0

            monkeypatch.setattr(random, "random", come_back)
            found = []
            async for path in bucket.list():
                found.append(path)
                if path == "b":
                    hub.stop()
            assert found == paths


# --- tokens --------------------------------------------------------------------------


async def test_a_revocation() -> None:
    """Tokens made before a revocation are made anew, and none from before is used."""
    key, clock = PrivateKey.generate(), Clock()
    with running_devhub(clock=clock) as hub:
        async with bucket_on(hub, key, clock=clock) as bucket:
            await bucket.store("x", b"1")
            clock.now += 60
            await revoke(bucket, key, hub, clock.now)
            await bucket.store("x", b"2")
            await revoke(bucket, key, hub, clock.now + 60)
            with pytest.raises(NotAllowed):
                await bucket.store("x", b"3")
            clock.now += 60
            await bucket.store("x", b"3")


async def test_a_bucket_of_somebody_else(hub: RunningHub, bucket: Bucket) -> None:
    """A key writes into the bucket of its own hash, and nowhere else."""
    bucket.address = PrivateKey.generate().did.rpartition(":")[2]
    with pytest.raises(NotAllowed):
        await bucket.store("x", b"1")


async def test_an_hour_later() -> None:
    """A token that has ended is not used."""
    clock = Clock()
    with running_devhub(clock=clock) as hub:
        async with bucket_on(hub, clock=clock) as bucket:
            for _ in range(4):
                await bucket.store("x", b"1")
                clock.now += 1799


# --- what is no hub ------------------------------------------------------------------


@pytest.mark.parametrize("path", ["/hub", "/v1", "/dev"])
async def test_not_a_hub(hub: RunningHub, path: str) -> None:
    """Something else that answers is no hub."""
    async with Fetcher(dev_hosts=[hub.host_port]) as fetcher:
        bucket = Bucket(PrivateKey.generate(), hub.url + path, fetcher=fetcher)
        with pytest.raises(HubUnreachable):
            await bucket.store("x", b"1")


async def test_where_not_to_connect(hub: RunningHub) -> None:
    """A private address is a hub's for those only who say so."""
    async with Fetcher() as fetcher:
        bucket = Bucket(PrivateKey.generate(), hub.url, fetcher=fetcher)
        with pytest.raises(HubUnreachable, match="connect"):
            await bucket.store("x", b"1")


# --- letters -------------------------------------------------------------------------


async def test_a_letter(hub: RunningHub) -> None:
    """Alice stores a letter; Bob, sent its envelope, finds, opens and believes it."""
    alice, bob = PrivateKey.generate(), PrivateKey.generate()
    letter = Letter(new_id(), alice.did, bob.did, time.time(), "hello Bob " * 1000)
    async with bucket_on(hub, alice) as bucket:
        envelope = Envelope(letter.id, alice.did, bob.did, await bucket.url())
        await bucket.store(
            letter_path(letter.id),
            seal_letter(letter, bob.public, alice),
            content_type="application/json",
            match=NEW,
        )
    payload = seal(envelope, bob.public)
    opened = open_sealed(payload, bob, sender=alice.did)
    async with Fetcher(dev_hosts=[hub.host_port]) as fetcher:
        data = await fetcher.get(letter_url(opened), limit=MAX_LETTER)
        assert data is not None
        assert open_letter(data, bob, opened) == letter
        hub.hub.storage.write(
            bucket.address,
            letter_path(letter.id),
            seal_letter(msgspec.structs.replace(letter, id=new_id()), bob.public, alice),
            "application/json",
        )
        data = await fetcher.get(letter_url(opened), limit=MAX_LETTER)
        assert data is not None
        with pytest.raises(CannotOpen, match="another id"):
            open_letter(data, bob, opened)


@pytest.mark.parametrize("sign", [False, True])
async def test_sealed_files(bucket: Bucket, sign: bool) -> None:
    """What the owner seals to the owner lies there for nobody else."""
    await bucket.store_encrypted("diary", "dear diary", sign=sign)
    assert await bucket.read_encrypted("diary", signed=sign) == "dear diary"
    file = await bucket.read("diary")
    assert file is not None
    assert b"dear" not in file.content


# --- parts ---------------------------------------------------------------------------


@asynccontextmanager
async def bucket_on(
    hub: RunningHub, key: PrivateKey | None = None, **options: Any
) -> AsyncIterator[Bucket]:
    """Return the bucket of a key, by default of somebody new."""
    async with Fetcher(dev_hosts=[hub.host_port]) as fetcher:
        yield Bucket(key or PrivateKey.generate(), hub.url, fetcher=fetcher, **options)


def authorization(
    key: PrivateKey, hub: RunningHub, now: float | None = None
) -> dict[str, str]:
    """Return headers with a token made as by another program of the owner."""
    claims = {
        "gaiaChallenge": challenge(hub.host_port),
        "iss": key.public.raw.hex(),
        "iat": time.time() if now is None else now,
    }
    token = jws.sign(key, msgspec.json.encode(claims))
    return {"Authorization": f"bearer v1:{token}"}


async def revoke(bucket: Bucket, key: PrivateKey, hub: RunningHub, now: float) -> None:
    """Refuse all tokens made before a time."""
    async with httpx2.AsyncClient(trust_env=False) as http:
        answer = await http.post(
            f"{hub.url}/revoke-all/{bucket.address}",
            json={"oldestValidTimestamp": int(now)},
            headers=authorization(key, hub, now),
        )
    assert answer.status_code == 202

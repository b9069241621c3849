"""The fetcher and real hosts that are slow, big, broken, or want it elsewhere."""

import asyncio
import gzip
import json
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path

import httpx2
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from pushd.resolvers.fetch import (
    ANY_TYPE,
    IN_ALL,
    PER_HOST,
    TEXT_TYPES,
    Fetcher,
    FetchFailed,
)
from pushd.resolvers.guard import Refused
from pushd.resolvers.transport import MAX_ANSWER, MAX_HEAD, MIN_PART, SIP, Unfit

JSON = "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n"
"""The head of a good answer, still open."""

TRUSTS_NOBODY = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
"""For tests without TLS: what the system trusts takes a while to read."""

CHUNK = "1\r\nx\r\n"
"""A chunk of a single byte."""

Answer = Callable[[str, asyncio.StreamWriter], Awaitable[None]]
"""Writes the answer to a request, whose head it is given."""


class Host:
    """A host on this machine that answers as it is told, byte for byte.

    Attributes:
        at: Its `host:port`.
        heads: Heads of the requests it got.
        names: Names of the TLS handshakes it got (SNI).
        connections: Its connections, all it ever had.
        left: Is released for each connection that the other side closed.
    """

    def __init__(self, answer: Answer) -> None:
        self.port = 0
        self.heads: list[str] = []
        self.names: list[str | None] = []
        self.left = asyncio.Semaphore(0)
        self._answer = answer
        self.connections: set[asyncio.Task[None]] = set()

    @property
    def at(self) -> str:
        """Return its address and port."""
        return f"127.0.0.1:{self.port}"

    @property
    def url(self) -> str:
        """Return its URL, without a slash at the end."""
        return f"http://{self.at}"

    async def connected(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        """Answer the requests of a connection."""
        task = asyncio.current_task()
        assert task is not None
        self.connections.add(task)
        try:
            while True:
                head = await reader.readuntil(b"\r\n\r\n")
                self.heads.append(head.decode())
                await self._answer(head.decode(), writer)
                await writer.drain()
        except (asyncio.IncompleteReadError, ConnectionError):
            self.left.release()
        except asyncio.CancelledError:
            pass
        finally:
            writer.close()

    async def stop(self) -> None:
        """Close all connections."""
        for task in self.connections:
            task.cancel()
        await asyncio.gather(*self.connections)


@asynccontextmanager
async def answering(
    answer: Answer | str | bytes, tls: ssl.SSLContext | None = None
) -> AsyncIterator[Host]:
    """Run a host with this answer; one that is text or bytes ends with the connection."""
    if isinstance(answer, str | bytes):
        answer = saying(answer)
    host = Host(answer)
    if tls is not None:
        tls.sni_callback = lambda _, name, __: host.names.append(name)
    server = await asyncio.start_server(host.connected, "127.0.0.1", 0, ssl=tls)
    host.port = server.sockets[0].getsockname()[1]
    try:
        yield host
    finally:
        server.close()
        await host.stop()
        await server.wait_closed()


@asynccontextmanager
async def fetching(answer: Answer | str | bytes) -> AsyncIterator[tuple[Host, Fetcher]]:
    """Run a host with this answer, and a fetcher that may fetch from it."""
    async with (
        answering(answer) as host,
        Fetcher(dev_hosts={host.at}, verify=TRUSTS_NOBODY) as fetcher,
    ):
        yield host, fetcher


def saying(*parts: str | bytes) -> Answer:
    """Return an answer that is these parts, at once, and the end of the connection."""

    async def answer(head: str, writer: asyncio.StreamWriter) -> None:
        for part in parts:
            writer.write(part.encode() if isinstance(part, str) else part)
        writer.close()

    return answer


def good(body: bytes = b"{}", *headers: str) -> bytes:
    """Return a good answer."""
    lines = "".join(f"{header}\r\n" for header in headers)
    return f"{JSON}Content-Length: {len(body)}\r\n{lines}\r\n".encode() + body


def redirecting(*locations: str, status: int = 302) -> Answer:
    """Return an answer that redirects to one after the other, and then is good."""
    left = list(locations)

    async def answer(head: str, writer: asyncio.StreamWriter) -> None:
        if left:
            text = f"HTTP/1.1 {status} Found\r\nLocation: {left.pop(0)}\r\n"
            writer.write(f"{text}Content-Length: 0\r\n\r\n".encode())
        else:
            writer.write(good())

    return answer


async def endless(writer: asyncio.StreamWriter, part: bytes) -> None:
    """Write a part again and again, as fast as it is taken."""
    while True:
        writer.write(part)
        await writer.drain()


async def drip(writer: asyncio.StreamWriter, text: bytes) -> None:
    """Write a text slowly, and never end."""
    while True:
        for byte in text:
            writer.write(bytes([byte]))
            await asyncio.sleep(0.01)


async def failure(fetcher: Fetcher, url: str, **limits: float) -> str:
    """Fetch in vain, and return why."""
    with pytest.raises(FetchFailed) as failed:
        await fetcher.get(url, **limits)  # type: ignore[arg-type]
    assert str(failed.value) == "The file could not be fetched."
    return failed.value.reason


async def failure_of(answer: Answer | str | bytes, **limits: float) -> str:
    """Fetch in vain from a host with this answer, and return why."""
    async with fetching(answer) as (host, fetcher):
        return await failure(fetcher, f"{host.url}/file.json", **limits)


# --- what is fetched ------------------------------------------------------------------


async def test_a_file() -> None:
    """The host is asked for it, and for it alone, by who says no more than needed."""
    async with fetching(good(b'{"a":1}')) as (host, fetcher):
        assert await fetcher.get(f"{host.url}/a%20b/file.json?v=1") == b'{"a":1}'
    first, *headers = host.heads[0].strip().split("\r\n")
    assert first == "GET /a%20b/file.json?v=1 HTTP/1.1"
    assert {line.split(": ")[0].lower(): line.split(": ")[1] for line in headers} == {
        "host": host.at,
        "user-agent": "pushd",
        "accept": "*/*",
        "accept-encoding": "identity",
        "connection": "keep-alive",
    }


@pytest.mark.parametrize("status", [404, 410])
async def test_no_file(status: int) -> None:
    """A host that says there is none is believed, whatever else it says."""
    says = f"HTTP/1.1 {status} No\r\nContent-Type: text/html\r\nContent-Length: 9\r\n\r\n"
    async with fetching(says) as (host, fetcher):
        assert await fetcher.get(f"{host.url}/file.json") is None


@pytest.mark.parametrize(
    "answer",
    [
        JSON + "\r\n{}",
        JSON
        + "Transfer-Encoding: chunked\r\n\r\n1\r\n{\r\n1;x=y\r\n}\r\n0\r\nX: y\r\n\r\n",
        JSON + "Content-Length: 2\r\nContent-Length: 2\r\n\r\n{}",
        JSON + "Content-Length: 2, 2\r\n\r\n{}",
        JSON + "Content-Length: 2\r\nContent-Encoding: identity\r\n\r\n{}",
        JSON + "Content-Length: 2\r\nContent-Encoding: Identity\r\n\r\n{}",
        "HTTP/1.1 100 Continue\r\n\r\n" + JSON + "Content-Length: 2\r\n\r\n{}",
        "HTTP/1.0 200 OK\r\nContent-Type: application/json\r\n\r\n{}",
        "HTTP/1.1 200 OK\r\nContent-Type: Application/JSON; charset=utf-8\r\n\r\n{}",
    ],
)
async def test_a_file_in_other_words(answer: str) -> None:
    """What HTTP allows to say otherwise is understood."""
    async with fetching(answer) as (host, fetcher):
        assert await fetcher.get(f"{host.url}/file.json") == b"{}"


async def test_a_name_the_system_knows() -> None:
    """It is looked up, and where it has addresses without anybody, the next is tried."""
    async with answering(good()) as host:
        at = f"localhost:{host.port}"
        async with Fetcher(dev_hosts={at}, verify=TRUSTS_NOBODY) as fetcher:
            assert await fetcher.get(f"http://{at}/") == b"{}"


async def test_a_connection_is_used_again() -> None:
    """Files of one host come over one connection, while they come at all."""

    async def answer(head: str, writer: asyncio.StreamWriter) -> None:
        writer.write(good(str(id(writer)).encode()))

    async with fetching(answer) as (host, fetcher):
        first = await fetcher.get(f"{host.url}/1")
        assert await fetcher.get(f"{host.url}/2") == first


# --- what is not ----------------------------------------------------------------------


@pytest.mark.parametrize(
    "status",
    [
        *("201 Created", "204 No Content", "206 Partial Content", "300 Many", "302 Found"),
        *("304 Not Modified", "400 No", "401 No", "403 No", "500 No", "503 No"),
    ],
)
async def test_other_statuses(status: str) -> None:
    """Only 200 is a file, and only 404 and 410 say that there is none."""
    answer = good().decode().replace("200 OK", status)
    assert await failure_of(answer) == f"status {status[:3]}"


@pytest.mark.parametrize(
    ("header", "types"),
    [
        ("Content-Type: text/html", TEXT_TYPES),
        ("Content-Type: text/plain", {"application/json"}),
        ("Content-Type: text/html; application/json", TEXT_TYPES),
        ("Content-Type: application/jsonp", TEXT_TYPES),
        ("Content-Type: application/json, text/html", TEXT_TYPES),
        ("Content-Type: ", TEXT_TYPES),
        ("X-Content-Type: application/json", TEXT_TYPES),
    ],
)
async def test_other_types(header: str, types: set[str]) -> None:
    """A file has the type it should have; a service in the network seldom does."""
    answer = f"HTTP/1.1 200 OK\r\n{header}\r\nContent-Length: 2\r\n\r\n{{}}"
    async with fetching(answer) as (host, fetcher):
        with pytest.raises(FetchFailed) as failed:
            await fetcher.get(f"{host.url}/file", types=types)
        assert failed.value.reason == "type"
        assert await fetcher.get(f"{host.url}/file", types=ANY_TYPE) == b"{}"


@pytest.mark.parametrize(
    "answer",
    [
        "<html>HTTP/0.9 had no head</html>",
        "SSH-2.0-OpenSSH_9.9\r\n",
        "-ERR unknown command\r\n",
        "220 mail.example ESMTP\r\n",
        "",
        "HTTP/1.1 200\r",
        "HTTP/1.1 200 OK\r\nContent-Type",
        "HTTP/1.1 20 OK\r\n\r\n",
        "HTTP/2 200 OK\r\n\r\n",
        JSON + "Content-Length: -1\r\n\r\n{}",
        JSON + "Content-Length: 0x2\r\n\r\n{}",
        JSON + "Content-Length: 2, 3\r\n\r\n{}",
        JSON + "Content-Length: 2\r\nContent-Length: 3\r\n\r\n{}",
        JSON + f"Content-Length: {'9' * 5000}\r\n\r\n{{}}",
        JSON + "Content-Length: 100\r\n\r\n{}",
        JSON + "Transfer-Encoding: chunked\r\n\r\n100\r\n{}",
        JSON + "Transfer-Encoding: chunked\r\n\r\n1\r\n{\r\n",
        JSON + "Transfer-Encoding: chunked\r\n\r\n-1\r\n{}\r\n0\r\n\r\n",
        JSON + "Transfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n",
        JSON + "Transfer-Encoding: gzip\r\n\r\n{}",
        JSON + "A Header: x\r\n\r\n{}",
        "HTTP/1.1 101 Switching\r\nUpgrade: x\r\nConnection: upgrade\r\n\r\n",
    ],
)
async def test_no_http(answer: str) -> None:
    """What another service says, or a host that breaks off, is no file."""
    assert await failure_of(answer) == "protocol"


# --- how big --------------------------------------------------------------------------


async def test_a_file_may_be_as_big_as_the_limit() -> None:
    """One byte more is too much, announced or not."""
    async with fetching(good(b"x" * 100)) as (host, fetcher):
        assert await fetcher.get(host.url, limit=100) == b"x" * 100
        assert await failure(fetcher, host.url, limit=99) == "size"
    async with fetching(f"{JSON}\r\n{'x' * 100}") as (host, fetcher):
        assert await fetcher.get(host.url, limit=100) == b"x" * 100
        assert await failure(fetcher, host.url, limit=99) == "size"


async def test_a_file_of_64_kib_is_the_biggest_unless_asked() -> None:
    """That is what a profile or a contact document may have."""
    async with fetching(good(b"x" * 65536)) as (host, fetcher):
        assert await fetcher.get(host.url) == b"x" * 65536
    assert await failure_of(good(b"x" * 65537)) == "size"


async def test_a_big_file_may_be_asked_for() -> None:
    """Over what other answers may have, too."""
    body = b"x" * (MAX_ANSWER + 1)
    async with fetching(good(body)) as (host, fetcher):
        assert await fetcher.get(host.url, limit=len(body), seconds=10) == body


async def test_a_body_announced_too_big_is_not_read() -> None:
    """The answer comes before the body does."""

    async def answer(head: str, writer: asyncio.StreamWriter) -> None:
        writer.write(f"{JSON}Content-Length: 10485760\r\n\r\n".encode())
        await asyncio.Event().wait()

    assert await failure_of(answer, seconds=30) == "size"


@pytest.mark.parametrize("chunk", [b"x" * 1000, b"1\r\nx\r\n" * 1000])
async def test_a_body_without_end(chunk: bytes) -> None:
    """It is read to the limit, and no further."""
    chunked = "Transfer-Encoding: chunked\r\n" if chunk.startswith(b"1\r\n") else ""

    async def answer(head: str, writer: asyncio.StreamWriter) -> None:
        writer.write(f"{JSON}{chunked}\r\n".encode())
        await endless(writer, chunk)

    assert await failure_of(answer, seconds=30) == "size"


FREE = SIP // MIN_PART + 4
"""How many tiny parts a body may have, with a limit of about as many bytes."""


async def test_a_body_in_tiny_parts() -> None:
    """They cost more than they carry, so fewer are read than the limit has bytes."""
    few, many = (
        f"{JSON}Transfer-Encoding: chunked\r\n\r\n{parts * CHUNK}0\r\n\r\n"
        for parts in (FREE, FREE + 1)
    )
    async with fetching(few) as (host, fetcher):
        assert await fetcher.get(host.url, limit=FREE + 1) == b"x" * FREE
    assert await failure_of(many, limit=FREE + 1) == "size"


@pytest.mark.parametrize(
    "part",
    [
        b"X-More: and more\r\n" * 100,
        b"x" * 1000,
        b"X-More: " + b"x" * 2 * MAX_HEAD + b"\r\n",
    ],
)
async def test_headers_without_end(part: bytes) -> None:
    """They are read to a limit too."""

    async def answer(head: str, writer: asyncio.StreamWriter) -> None:
        writer.write(JSON.encode())
        await endless(writer, part)

    assert await failure_of(answer, seconds=30) == "protocol"


async def test_headers_may_be_long_but_not_longer() -> None:
    """A file of many bytes behind them does not count, nor what came before."""

    async def answer(head: str, writer: asyncio.StreamWriter) -> None:
        fill = "x" * int(head.split(" ")[1].removeprefix("/"))
        writer.write(good(b"x" * 65536, f"X-Fill: {fill}"))

    async with fetching(answer) as (host, fetcher):
        for _ in range(3):
            assert await fetcher.get(f"{host.url}/{MAX_HEAD - SIP - 200}") == b"x" * 65536
        assert await failure(fetcher, f"{host.url}/{MAX_HEAD}") == "protocol"


async def test_interim_answers_without_end() -> None:
    """They are no answer, and count like one."""

    async def answer(head: str, writer: asyncio.StreamWriter) -> None:
        await endless(writer, b"HTTP/1.1 103 Early Hints\r\n\r\n" * 100)

    assert await failure_of(answer, seconds=30) == "protocol"


async def test_trailers_without_end() -> None:
    """And so is what comes after the body."""

    async def answer(head: str, writer: asyncio.StreamWriter) -> None:
        writer.write(f"{JSON}Transfer-Encoding: chunked\r\n\r\n2\r\n{{}}\r\n0\r\n".encode())
        await endless(writer, b"X-More: and more\r\n" * 100)

    assert await failure_of(answer, seconds=30) == "protocol"


@pytest.mark.parametrize(
    "encoding",
    ["gzip", "GZIP", "gzip, gzip", "deflate", "br", "zstd", "x-gzip", "identity, gzip"],
)
@pytest.mark.parametrize("type_", ["application/json", "application/json; charset=utf-8"])
async def test_nothing_is_unpacked(encoding: str, type_: str) -> None:
    """A small file that would be a big one is refused, packed once or more often."""
    bomb = gzip.compress(gzip.compress(bytes(10_000_000)))
    head = (
        f"HTTP/1.1 200 OK\r\nContent-Type: {type_}\r\nContent-Length: {len(bomb)}\r\n"
        f"Content-Encoding: {encoding}\r\n\r\n"
    )
    assert await failure_of(head.encode() + bomb) == "encoding"


# --- how long -------------------------------------------------------------------------


@pytest.mark.parametrize(
    "said",
    ["", "HTTP/1.1 200 OK\r\n", JSON + "\r\n", JSON + "Content-Length: 9\r\n\r\n{"],
)
async def test_a_host_that_stops_talking(said: str) -> None:
    """At whatever point, the time is over in the end."""

    async def answer(head: str, writer: asyncio.StreamWriter) -> None:
        writer.write(said.encode())
        await asyncio.Event().wait()

    assert await failure_of(answer, seconds=0.1) == "timeout"


@pytest.mark.parametrize(
    "begin",
    ["", JSON, JSON + "\r\n", JSON + "Transfer-Encoding: chunked\r\n\r\n"],
)
async def test_a_slow_drip(begin: str) -> None:
    """A byte now and then does not win time."""

    async def answer(head: str, writer: asyncio.StreamWriter) -> None:
        writer.write(begin.encode())
        await drip(writer, b"1\r\nx\r\n" if "chunked" in begin else b"x: y\r\n")

    assert await failure_of(answer, seconds=0.2) == "timeout"


async def test_the_look_up_counts() -> None:
    """A name server can be as slow as a host."""

    async def never(host: str, port: int) -> Sequence[str]:
        await asyncio.Event().wait()
        return []

    async with Fetcher(lookup=never, verify=TRUSTS_NOBODY) as fetcher:
        assert await failure(fetcher, "https://example.com/", seconds=0.05) == "timeout"


async def test_a_tls_handshake_that_does_not_end() -> None:
    """It counts like all else, and its connection is closed."""
    async with fetching(good()) as (host, fetcher):
        assert await failure(fetcher, f"https://{host.at}/", seconds=0.1) == "timeout"
        await host.left.acquire()


# --- where ----------------------------------------------------------------------------


async def loopback(host: str, port: int) -> Sequence[str]:
    """Look up every name to this machine."""
    return ["127.0.0.1"]


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
async def test_a_redirect_within_the_host(status: int) -> None:
    """It is followed: hubs spell paths their own way."""
    answer = redirecting("other.json?x=1", status=status)
    async with fetching(answer) as (host, fetcher):
        assert await fetcher.get(f"{host.url}/a/file.json") == b"{}"
    paths = [head.split(" ")[1] for head in host.heads]
    assert paths == ["/a/file.json", "/a/other.json?x=1"]


async def test_three_redirects_are_followed_and_four_are_not() -> None:
    """A chain has to end."""
    async with fetching(redirecting("/1", "/2", "/3")) as (host, fetcher):
        assert await fetcher.get(f"{host.url}/0") == b"{}"
    assert await failure_of(redirecting("/1", "/2", "/3", "/4")) == "redirect"


async def test_a_redirect_in_a_circle() -> None:
    """It is left after a few rounds."""
    async with fetching(redirecting(*["/file.json"] * 99)) as (host, fetcher):
        assert await failure(fetcher, f"{host.url}/file.json") == "redirect"
    assert len(host.heads) == 4


@pytest.mark.parametrize(
    "location",
    [
        "http://127.0.0.1:{other}/",
        "//127.0.0.1:{other}/",
        "http://127.0.0.1/",
        "http://localhost:{port}/",
        "http://127.1:{port}/",
        "https://127.0.0.1:{port}/",
        "https://127.0.0.1/",
        "https://example.com/",
        "//example.com/",
        "///example.com/",
        "/\\example.com/",
        "http://169.254.169.254/latest/meta-data/",
        "http://127.0.0.1:{port}@example.com/",
        "http://example.com#@127.0.0.1:{port}/",
        "http://[::1/",
        "http://[::1%25lo]:{port}/",
        "http://127.0.0.1:99999999/",
        "http://127.0.0.1:{port}x/",
        "file:///etc/passwd",
        "gopher://127.0.0.1:{port}/_x",
        "data:application/json,{{}}",
        "javascript:x",
        "mailto:x",
        "/\x7f",
        "http://ex\u00e4mple.com/",
        "http://\u24db\u24de\u24d2\u24d0\u24db/",
        "http://" + "a" * 70_000,
    ],
)
async def test_a_redirect_elsewhere(location: str) -> None:
    """Another host, port or scheme is not asked; a location that is none leads nowhere."""
    async with answering(good()) as elsewhere:
        here = Host(saying())
        async with answering(redirecting_here(location, elsewhere, here)) as host:
            here.port = host.port
            dev_hosts = {host.at, elsewhere.at, f"localhost:{host.port}"}
            async with Fetcher(
                dev_hosts=dev_hosts, lookup=loopback, verify=TRUSTS_NOBODY
            ) as fetcher:
                reason = await failure(fetcher, f"{host.url}/file.json")
    assert reason in ("redirect", "url", "protocol")
    assert elsewhere.heads == []


def redirecting_here(location: str, elsewhere: Host, here: Host) -> Answer:
    """Return an answer that redirects to a location with the ports filled in."""

    async def answer(head: str, writer: asyncio.StreamWriter) -> None:
        filled = location.format(port=here.port, other=elsewhere.port)
        writer.write(f"HTTP/1.1 302 Found\r\nLocation: {filled}\r\n".encode())
        writer.write(b"Content-Length: 0\r\n\r\n")

    return answer


@pytest.mark.parametrize("user", ["alice@", "alice:secret@"])
async def test_a_redirect_with_a_user(user: str) -> None:
    """The host is the same, but nobody logs in anywhere."""
    async with answering(good()) as host:
        host._answer = redirecting(f"http://{user}{host.at}/")
        async with Fetcher(dev_hosts={host.at}, verify=TRUSTS_NOBODY) as fetcher:
            assert await failure(fetcher, host.url) == "url"
    assert len(host.heads) == 1


async def test_a_host_inside() -> None:
    """It is not even connected to, by name or by number."""
    async with (
        answering(good()) as host,
        Fetcher(
            dev_hosts={"127.0.0.1:1"}, lookup=loopback, verify=TRUSTS_NOBODY
        ) as fetcher,
    ):
        for name in ("example.com", "127.0.0.1"):
            url = f"https://{name}:{host.port}/"
            assert await failure(fetcher, url) == "address"
            with pytest.raises(Refused):
                await fetcher.http.post(url)
        assert not host.connections


async def test_nobody_there() -> None:
    """A port where nobody listens is a failure like any other."""
    async with answering(good()) as host:
        pass
    async with Fetcher(dev_hosts={host.at}, verify=TRUSTS_NOBODY) as fetcher:
        assert await failure(fetcher, host.url) == "connect"


@pytest.mark.parametrize(
    ("url", "reason"),
    [
        ("", "url"),
        ("https://alice@example.com/", "url"),
        ("https://example\u3002com/", "url"),
        ("https://example.com/\n", "url"),
        ("http://example.com/", "scheme"),
        ("https://example.com:22/", "port"),
        ("https://2130706433/", "host"),
        ("https://10.0.0.1/", "address"),
    ],
)
async def test_a_url_that_is_refused(url: str, reason: str) -> None:
    """It is so as it was written, whatever a client would make of it."""
    async with Fetcher(lookup=loopback, verify=TRUSTS_NOBODY) as fetcher:
        assert await failure(fetcher, url) == reason


async def test_a_name_whose_punycode_is_none() -> None:
    """It is a name like any other."""
    async with answering(good()) as host:
        names = {f"{name}:{host.port}" for name in ("xn--a.example", "xn--zz.example")}
        async with Fetcher(
            dev_hosts=names, lookup=loopback, verify=TRUSTS_NOBODY
        ) as fetcher:
            for name in names:
                assert await fetcher.get(f"http://{name}/") == b"{}"


# --- TLS ------------------------------------------------------------------------------


class Authority:
    """A certificate authority for tests.

    Attributes:
        trust: Trusts what it certifies, and nothing else.
    """

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._key = ec.generate_private_key(ec.SECP256R1())
        self._name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "Test CA")])
        certificate = self._certify(self._name, self._key, ca=True)
        self.trust = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        self.trust.load_verify_locations(
            cadata=certificate.public_bytes(serialization.Encoding.PEM).decode()
        )

    def _certify(
        self, name: x509.Name, key: ec.EllipticCurvePrivateKey, *, ca: bool
    ) -> x509.Certificate:
        now = datetime.now(UTC)
        host = name.rdns[0].get_attributes_for_oid(NameOID.COMMON_NAME)[0].value
        return (
            x509.CertificateBuilder()
            .subject_name(name)
            .issuer_name(self._name)
            .public_key(key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(now - timedelta(hours=1))
            .not_valid_after(now + timedelta(hours=1))
            .add_extension(x509.BasicConstraints(ca=ca, path_length=None), critical=True)
            .add_extension(
                x509.SubjectAlternativeName([x509.DNSName(str(host))]), critical=False
            )
            .sign(self._key, hashes.SHA256())
        )

    def serving(self, host: str) -> ssl.SSLContext:
        """Return what a server needs to be `host`."""
        key = ec.generate_private_key(ec.SECP256R1())
        name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, host)])
        file = self._directory / f"{host}.pem"
        file.write_bytes(
            key.private_bytes(
                serialization.Encoding.PEM,
                serialization.PrivateFormat.PKCS8,
                serialization.NoEncryption(),
            )
            + self._certify(name, key, ca=False).public_bytes(serialization.Encoding.PEM)
        )
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(file)
        return context


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    """Return an authority."""
    return Authority(tmp_path_factory.mktemp("authority"))


async def test_tls_is_for_the_name_and_the_connection_for_the_address(
    authority: Authority,
) -> None:
    """SNI, certificate and `Host` are the name's; nobody looks it up but once."""
    asked = []

    async def lookup(host: str, port: int) -> Sequence[str]:
        asked.append((host, port))
        return ["127.0.0.1"]

    async with answering(good(), authority.serving("files.example")) as host:
        at = f"files.example:{host.port}"
        async with Fetcher(
            dev_hosts={at}, lookup=lookup, verify=authority.trust
        ) as fetcher:
            assert await fetcher.get(f"https://{at}/file.json") == b"{}"
    assert asked == [("files.example", host.port)]
    assert host.names == ["files.example"]
    assert f"\r\nHost: {at}\r\n" in host.heads[0]


async def test_a_certificate_of_another_name(authority: Authority) -> None:
    """It is not taken for this one's, though the address is right."""
    async with answering(good(), authority.serving("other.example")) as host:
        at = f"files.example:{host.port}"
        async with Fetcher(
            dev_hosts={at}, lookup=loopback, verify=authority.trust
        ) as fetcher:
            assert await failure(fetcher, f"https://{at}/") == "connect"
    assert host.heads == []


async def test_a_certificate_of_nobody_known(authority: Authority) -> None:
    """Also a development host has to have one that is trusted."""
    async with answering(good(), authority.serving("files.example")) as host:
        at = f"files.example:{host.port}"
        async with Fetcher(
            dev_hosts={at}, lookup=loopback, verify=TRUSTS_NOBODY
        ) as fetcher:
            assert await failure(fetcher, f"https://{at}/") == "connect"
    assert host.heads == []


async def test_proxies_of_the_environment_are_not_used(
    authority: Authority, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A proxy would look names up itself, and connect to what nobody checked."""
    tls = authority.serving("files.example")
    async with (
        answering(good(b'"proxy"')) as proxy,
        answering(redirecting()) as plain,
        answering(redirecting(), tls) as secure,
    ):
        for variable in ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY"):
            monkeypatch.setenv(variable, proxy.url)
            monkeypatch.setenv(variable.lower(), proxy.url)
        monkeypatch.delenv("NO_PROXY", raising=False)
        monkeypatch.delenv("no_proxy", raising=False)
        at = f"files.example:{secure.port}"
        async with Fetcher(
            dev_hosts={plain.at, at}, lookup=loopback, verify=authority.trust
        ) as fetcher:
            for url in (plain.url, f"https://{at}"):
                assert await fetcher.get(url) == b"{}"
                assert (await fetcher.http.post(url)).content == b"{}"
    assert proxy.heads == []


# --- how many -------------------------------------------------------------------------


class Crowd:
    """Counts who is there at once, and lets nobody go before the gate opens."""

    def __init__(self) -> None:
        self.here = 0
        self.most = 0
        self.gate = asyncio.Event()
        self._arrivals = asyncio.Semaphore(0)

    async def answer(self, head: str, writer: asyncio.StreamWriter) -> None:
        """Answer once the gate is open."""
        self.here += 1
        self.most = max(self.most, self.here)
        self._arrivals.release()
        await self.gate.wait()
        self.here -= 1
        writer.write(good())

    async def arrive(self, number: int) -> None:
        """Wait until so many more have come."""
        for _ in range(number):
            await self._arrivals.acquire()

    async def open(self) -> None:
        """Open the gate, a while later, in which too many could come."""
        await asyncio.sleep(0.1)
        self.gate.set()


async def test_few_at_once_from_one_host() -> None:
    """The others wait for their turn, and get it."""
    crowd = Crowd()
    async with fetching(crowd.answer) as (host, fetcher), asyncio.TaskGroup() as group:
        for number in range(3 * PER_HOST):
            group.create_task(fetcher.get(f"{host.url}/{number}", seconds=30))
        await crowd.arrive(PER_HOST)
        await crowd.open()
    assert crowd.most == PER_HOST
    assert len(host.heads) == 3 * PER_HOST


async def test_few_at_once_in_all() -> None:
    """Many hosts are no way to more."""
    crowd = Crowd()
    async with answering(crowd.answer) as host:
        hosts = [f"host{number}.example:{host.port}" for number in range(20)]
        async with (
            Fetcher(dev_hosts=hosts, lookup=loopback, verify=TRUSTS_NOBODY) as fetcher,
            asyncio.TaskGroup() as group,
        ):
            for at in hosts * 2:
                group.create_task(fetcher.get(f"http://{at}/", seconds=30))
            await crowd.arrive(IN_ALL)
            await crowd.open()
    assert crowd.most == IN_ALL
    assert len(host.heads) == 40


async def test_a_host_that_is_slow_holds_up_no_other() -> None:
    """Those who wait for it do not take the turns of all."""
    crowd = Crowd()
    async with answering(crowd.answer) as slow, answering(good()) as quick:
        slowly, quickly = f"slow.example:{slow.port}", f"quick.example:{quick.port}"
        async with (
            Fetcher(
                dev_hosts={slowly, quickly}, lookup=loopback, verify=TRUSTS_NOBODY
            ) as fetcher,
            asyncio.TaskGroup() as group,
        ):
            for _ in range(2 * IN_ALL):
                group.create_task(fetcher.get(f"http://{slowly}/", seconds=30))
            await crowd.arrive(PER_HOST)
            assert await fetcher.get(f"http://{quickly}/", seconds=30) == b"{}"
            crowd.gate.set()


async def test_waiting_for_a_turn_counts() -> None:
    """Who waits too long is told, and leaves no trace."""
    crowd = Crowd()
    async with fetching(crowd.answer) as (host, fetcher), asyncio.TaskGroup() as group:
        for _ in range(PER_HOST):
            group.create_task(fetcher.get(host.url, seconds=30))
        await crowd.arrive(PER_HOST)
        assert await failure(fetcher, host.url, seconds=0.05) == "timeout"
        crowd.gate.set()
    assert len(host.heads) == PER_HOST


async def test_nothing_is_kept_of_hosts() -> None:
    """Memory does not grow with the hosts that were asked, or could not be."""
    async with answering(good()) as host:
        hosts = [f"host{number}.example:{host.port}" for number in range(9)]
        async with Fetcher(
            dev_hosts=hosts, lookup=loopback, verify=TRUSTS_NOBODY
        ) as fetcher:
            for at in hosts:
                await fetcher.get(f"http://{at}/")
            await failure(fetcher, "https://example.com/")
            assert len(fetcher._turns_at) == 0


async def test_cancelled_it_lets_go_of_the_connection() -> None:
    """Whoever gives up early leaves no socket open, and no turn taken."""
    crowd = Crowd()
    async with fetching(crowd.answer) as (host, fetcher):
        for _ in range(2 * PER_HOST):
            task = asyncio.create_task(fetcher.get(host.url, seconds=30))
            await crowd.arrive(1)
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task
        crowd.gate.set()
        for _ in range(2 * PER_HOST):
            await host.left.acquire()
        assert await fetcher.get(host.url) == b"{}"


# --- other requests -------------------------------------------------------------------


async def test_other_requests_pass_the_same_guard() -> None:
    """A sender delivers to a server that its recipient chose."""
    async with fetching(good()) as (host, fetcher):
        answer = await fetcher.http.post(host.url, content=b"")
        assert answer.content == b"{}"
        for url in ("https://127.0.0.1/", "http://example.com/", "https://a@example.com/"):
            with pytest.raises(httpx2.ConnectError):
                await fetcher.http.post(url, content=b"{}")


async def test_other_requests_follow_no_redirects() -> None:
    """A payload is for whom it is for."""
    async with fetching(redirecting("/elsewhere", status=307)) as (host, fetcher):
        answer = await fetcher.http.post(host.url)
    assert answer.status_code == 307
    assert len(host.heads) == 1


async def test_other_answers_are_neither_packed_nor_big() -> None:
    """A server cannot fill the memory of who writes to it."""
    packed = gzip.compress(json.dumps("x" * 100).encode())
    async with fetching(good(packed, "Content-Encoding: gzip")) as (host, fetcher):
        with pytest.raises(Unfit):
            await fetcher.http.post(host.url)
    async with fetching(good(b"x" * (MAX_ANSWER + 1))) as (host, fetcher):
        with pytest.raises(Unfit) as unfit:
            await fetcher.http.post(host.url)
    assert unfit.value.reason == "size"
    assert isinstance(unfit.value, httpx2.RemoteProtocolError)


async def test_no_cookies_are_kept() -> None:
    """One fetch tells a host nothing about another."""
    async with fetching(good(b"{}", "Set-Cookie: who=alice")) as (host, fetcher):
        await fetcher.get(host.url)
        await fetcher.http.post(host.url)
        await fetcher.get(host.url)
    assert [head for head in host.heads if "cookie" in head.lower()] == []


async def test_plain_hosts_are_the_development_hosts() -> None:
    """Whoever reads lists of servers has to know."""
    async with Fetcher(dev_hosts={"127.0.0.1:8481"}) as fetcher:
        assert fetcher.plain("127.0.0.1:8481")
        assert not fetcher.plain("127.0.0.1:8482")

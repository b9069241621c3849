"""The guard: the ways around it that are known, each shut, and what is left open."""

import asyncio
import socket
import ssl
from collections.abc import AsyncIterator, Iterable, Sequence
from contextlib import asynccontextmanager
from ipaddress import IPv4Address, IPv6Address, ip_address
from urllib.parse import urlsplit

import httpcore2
import httpx2
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pushd.resolvers.guard import MAX_URL, Guard, Refused, is_global
from pushd.resolvers.transport import (
    MAX_HEAD,
    SIP,
    GuardedBackend,
    GuardedTransport,
    interleaved,
)

TLS = ssl.create_default_context()
PUBLIC = "93.184.215.14"
PUBLIC_V6 = "2606:2800:21f:cb07:6820:80da:af6b:8b2c"
DEV = "127.0.0.1:8481"

NOT_ABSOLUTE = [
    "",
    "/etc/passwd",
    "//example.com/",
    "example.com",
    "https:example.com/",
    "https:/example.com/",
    "https:///example.com/",
    "https://",
    "https://?x",
    "https://:443/",
]
OTHER_SCHEMES = [
    "http://example.com/",
    "http://93.184.215.14/",
    "HTTP://example.com/",
    "HTTPS://example.com/",
    "file:///etc/passwd",
    "ftp://example.com/",
    "gopher://example.com:6379/_FLUSHALL",
    "ws://example.com/",
    "wss://example.com/",
    "data:application/json,{}",
    "http+unix://%2fvar%2frun%2fdocker.sock/info",
    "url:https://example.com/",
]
LITERALS_INSIDE = [
    "https://127.0.0.1/",
    "https://127.0.0.1:8482/",
    "https://127.255.255.254/",
    "https://0.0.0.0/",
    "https://10.0.0.1/",
    "https://169.254.169.254/latest/meta-data/",
    "https://100.100.100.200/latest/meta-data/",
    "https://168.63.129.16/machine",
    "https://192.0.0.192/latest/",
    "https://[::]/",
    "https://[::1]/",
    "https://[::1]:8481/",
    "https://[::ffff:7f00:1]/",
    "https://[::ffff:127.0.0.1]/",
    "https://[::ffff:a9fe:a9fe]/",
    "https://[::127.0.0.1]/",
    "https://[64:ff9b::7f00:1]/",
    "https://[2002:7f00:1::]/",
    "https://[fd00:ec2::254]/latest/meta-data/",
    "https://[fe80::1]/",
]
NUMBERS_AS_HOSTS = [
    "https://2130706433/",
    "https://0x7f000001/",
    "https://0x7F000001/",
    "https://017700000001/",
    "https://0/",
    "https://127.1/",
    "https://127.0.1/",
    "https://0x7f.1/",
    "https://0x7f.0x0.0x0.0x1/",
    "https://0177.0.0.1/",
    "https://0177.0.0.01/",
    "https://127.000.000.001/",
    "https://127.0.0.0x1/",
    "https://127.0.0.1./",
    "https://256.0.0.1/",
    "https://1.1.1.1.1/",
    "https://4294967296/",
    "https://example.123/",
    "https://example.0x7f/",
]
BRACKETS = [
    "https://[0:0:0:0:0:0:0:1]/",
    "https://[2606:2800:021f:cb07:6820:80da:af6b:8b2c]/",
    "https://[2606:2800:21F:CB07:6820:80DA:AF6B:8B2C]/",
    "https://[::1%25eth0]/",
    "https://[::1%eth0]/",
    "https://[2606:2800:21f::1%251]/",
    "https://[fe80::1%25lo]/",
    "https://[93.184.215.14]/",
    "https://[v1.fe80]/",
    "https://[::1]example.com/",
    "https://example.com[::1]/",
    "https://[::1/",
    "https://::1/",
    "https://2606:2800:21f::1/",
    "https://[]/",
    "https://[:]/",
    "https://[example.com]/",
]
OTHER_ALPHABETS = [
    "https://127\u30020\u30020\u30021/",
    "https://127\uff0e0\uff0e0\uff0e1/",
    "https://127\uff610\uff610\uff611/",
    "https://example\u3002com/",
    "https://\uff11\uff12\uff17.0.0.1/",
    "https://\u2460\u2461\u2466.\u24ea.\u24ea.\u2460/",
    "https://localho\u017ft/",
    "https://\u24db\u24de\u24d2\u24d0\u24db\u24d7\u24de\u24e2\u24e3/",
    "https://ex\u00e4mple.com/",
    "https://exam\u00adple.com/",
    "https://exam\u200bple.com/",
    "https://example.com\uff0f@127.0.0.1/",
    "https://example.com:\uff14\uff14\uff13/",
    "https://example.com/\u00e4",
]
NAMES_INSIDE = [
    "https://localhost/",
    "https://localhost./",
    "https://LOCALHOST/",
    "https://redis:6379/",
    "https://example.com./",
    "https://.example.com/",
    "https://example..com/",
    "https://-example.com/",
    "https://example-.com/",
    "https://example.c_m/",
    "https://example.-com/",
    f"https://{'a' * 64}.com/",
    f"https://{'a.' * 126}com/",
    "https://exa*mple.com/",
]
ESCAPES = [
    "https://127%2e0%2e0%2e1/",
    "https://%31%32%37.0.0.1/",
    "https://%6cocalhost/",
    "https://example.com%00.example.org/",
    "https://example.com%2f@127.0.0.1/",
    "https://example.com%23@127.0.0.1/",
    "https://example.com/%",
    "https://example.com/%zz",
    "https://example.com/%u0041",
]
USERS = [
    "https://alice@example.com/",
    "https://alice:secret@example.com/",
    "https://@example.com/",
    "https://:@example.com/",
    "https://example.com@127.0.0.1/",
    "https://example.com:443@127.0.0.1/",
    "https://127.0.0.1@example.com/",
    "https://example.com#@127.0.0.1/",
    "https://127.0.0.1#@example.com/",
    "https://127.0.0.1:8481@example.com/",
]
TWO_READINGS = [
    "https://example.com\\@127.0.0.1/",
    "https://127.0.0.1\\@example.com/",
    "https://example.com\\.example.org/",
    "https:\\\\example.com\\",
    "https://example.com/a\\b",
    "https://exam\tple.com/",
    "https://exam\nple.com/",
    "https://example.com\r\n/",
    "https://example.com/ HTTP/1.1\r\nHost: localhost\r\n\r\n",
    "https://example.com/\x00",
    "https://example.com/\x7f",
    "https://example.com/\n",
    "https://example.com\n",
    " https://example.com/",
    "https://example.com /",
    "https://example.com/a b",
    "https://example.com/?a b",
    "https://example.com/<",
    'https://example.com/"',
    "https://example.com/|",
    "https://example.com/#",
    "https://example.com/#/path",
    "https://example.com;127.0.0.1/",
    "https://example.com,127.0.0.1/",
    f"https://example.com/{'a' * (MAX_URL - 19)}",
]
PORTS = [
    "https://example.com:/",
    "https://example.com:0/",
    "https://example.com:22/",
    "https://example.com:25/",
    "https://example.com:80/",
    "https://example.com:1023/",
    "https://example.com:0443/",
    "https://example.com:+443/",
    "https://example.com:-1/",
    "https://example.com:443x/",
    "https://example.com:4 43/",
    "https://example.com:65536/",
    "https://example.com:99999/",
    "https://example.com:4294967739/",
    "https://example.com:443:443/",
]
REFUSED_URLS = [
    *NOT_ABSOLUTE,
    *OTHER_SCHEMES,
    *LITERALS_INSIDE,
    *NUMBERS_AS_HOSTS,
    *BRACKETS,
    *OTHER_ALPHABETS,
    *NAMES_INSIDE,
    *ESCAPES,
    *USERS,
    *TWO_READINGS,
    *PORTS,
]

REFUSED_ADDRESSES = [
    *("0.0.0.0", "0.1.2.3", "0.255.255.255"),  # this network
    *("10.0.0.0", "10.255.255.255", "172.16.0.0", "172.31.255.255"),  # private
    *("192.168.0.0", "192.168.255.255"),
    *("100.64.0.0", "100.100.100.200", "100.127.255.255"),  # carrier-grade NAT
    *("127.0.0.1", "127.255.255.255"),  # loopback
    *("169.254.0.1", "169.254.169.254", "169.254.170.2"),  # link-local, metadata
    "168.63.129.16",  # Azure
    *("192.0.0.0", "192.0.0.8", "192.0.0.9", "192.0.0.170", "192.0.0.192"),
    *("192.0.2.1", "198.51.100.1", "203.0.113.255"),  # documentation
    *("192.31.196.1", "192.52.193.1", "192.175.48.1"),  # AS112, AMT
    "192.88.99.1",  # 6to4 relays
    *("198.18.0.0", "198.19.255.255"),  # benchmarking
    *("224.0.0.1", "233.252.0.1", "239.255.255.250"),  # multicast
    *("240.0.0.1", "255.255.255.254", "255.255.255.255"),  # reserved, broadcast
    *("::", "::1", "::2"),
    *("::ffff:127.0.0.1", "::ffff:10.0.0.1", "::ffff:93.184.215.14"),  # mapped
    *("::127.0.0.1", "::5db8:d70e"),  # IPv4-compatible
    *("::ffff:0:7f00:1", "::ffff:0:93.184.215.14"),  # translated
    *("64:ff9b::7f00:1", "64:ff9b::a9fe:a9fe", "64:ff9b::5db8:d70e"),  # NAT64
    *("64:ff9b:1::1", "64:ff9b:1:ffff:ffff:ffff:7f00:1"),
    *("100::1", "100:0:0:1::1"),  # discard, dummy
    *("2001::1", "2001:0:5db8:d70e::1"),  # Teredo
    *("2001:1::1", "2001:2::1", "2001:10::1", "2001:20::1", "2001:1ff:ffff::1"),
    *("2001:db8::1", "2001:db8:ffff::1", "3fff::1", "3fff:fff:ffff::1"),  # documentation
    *("2002::1", "2002:7f00:1::", "2002:5db8:d70e::1"),  # 6to4
    "2620:4f:8000::1",  # AS112
    *("4000::1", "5f00::1", "8000::1", "e000::1"),  # not given out, SRv6
    *("fc00::1", "fd00:ec2::254", "fdff::1"),  # unique local
    *("fe80::1", "fe80::1%eth0", "febf::1", "fec0::1", "feff::1"),  # link-, site-local
    *("ff01::1", "ff02::1", "ff05::2", "ff0e::1"),  # multicast
    "2606:2800:21f:cb07:6820:80da:af6b:8b2c%eth0",  # a zone makes it a local one
    *("", "localhost", "2130706433", "0x7f.1", "127.1", "93.184.215.014", "[::1]"),
]
ALLOWED_ADDRESSES = [
    *("1.0.0.1", "1.1.1.1", "8.8.8.8", "9.255.255.255", "11.0.0.0", PUBLIC),
    *("100.63.255.255", "100.128.0.0", "126.255.255.255", "128.0.0.1"),
    *("168.63.129.15", "168.63.129.17", "169.253.255.255", "169.255.0.0"),
    *("172.15.255.255", "172.32.0.0", "191.255.255.255", "192.0.1.0", "192.0.3.0"),
    *("192.88.98.255", "192.88.100.0", "192.167.255.255", "192.169.0.0"),
    *("198.17.255.255", "198.20.0.0", "198.51.99.255", "203.0.114.0", "223.255.255.255"),
    *("2000::1", "2001:200::1", "2001:4860:4860::8888", "2001:db7::1", "2001:db9::1"),
    *("2003::1", "2400:cb00::1", "2a00:1450::1", "2606:4700:4700::1111", PUBLIC_V6),
    *("2620:4f:7fff::1", "2620:4f:8001::1", "3ffe:ffff::1", "3fff:1000::1"),
]


class Network(httpcore2.AsyncNetworkBackend):
    """Notes what it is asked to connect to, and answers a request with `{}`."""

    def __init__(self, dead: Iterable[str] = (), silent: Iterable[str] = ()) -> None:
        self.connected: list[tuple[str, int]] = []
        self._dead = set(dead)
        self._silent = set(silent)

    async def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,  # noqa: ASYNC109 - the interface of httpcore2
        local_address: str | None = None,
        socket_options: Iterable[httpcore2.SOCKET_OPTION] | None = None,
    ) -> httpcore2.AsyncNetworkStream:
        """Connect, unless nobody is there."""
        self.connected.append((host, port))
        if host in self._dead:
            raise httpcore2.ConnectError
        if host in self._silent:
            try:
                async with asyncio.timeout(timeout):
                    await asyncio.Event().wait()
            except TimeoutError:
                raise httpcore2.ConnectTimeout from None
        return httpcore2.AsyncMockStream(
            [b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\n{}"]
        )


class Names:
    """Answers look-ups in turn with these addresses, the last again and again."""

    def __init__(self, *answers: Sequence[str]) -> None:
        self.asked: list[str] = []
        self._answers = list(answers)

    async def __call__(self, host: str, port: int) -> Sequence[str]:
        """Look up a host."""
        self.asked.append(host)
        return self._answers.pop(0) if len(self._answers) > 1 else self._answers[0]


async def like_the_c_library(host: str, port: int) -> Sequence[str]:
    """Look up a host as `getaddrinfo` does, which reads 127.1 and 0x7f000001."""
    try:
        return [socket.inet_ntoa(socket.inet_aton(host))]
    except OSError:
        return ["127.0.0.1"] if "localhost" in host else [PUBLIC]


@asynccontextmanager
async def client(transport: GuardedTransport) -> AsyncIterator[httpx2.AsyncClient]:
    """Use a transport."""
    async with httpx2.AsyncClient(transport=transport, trust_env=False) as http:
        yield http


@pytest.mark.parametrize("url", REFUSED_URLS)
def test_a_way_around_is_refused_unread(url: str) -> None:
    """The URL alone is enough to refuse it."""
    with pytest.raises(Refused):
        Guard([DEV]).check_url(url)


@pytest.mark.parametrize("url", REFUSED_URLS)
async def test_whoever_makes_the_request_gets_nowhere_inside(url: str) -> None:
    """However a client reads the URL, no connection goes to where it must not go."""
    network = Network()
    guard = Guard([DEV])
    async with client(GuardedTransport(guard, like_the_c_library, TLS, network)) as http:
        try:
            await http.post(url, content=b"{}")
        except (httpx2.TransportError, httpx2.InvalidURL):
            assert network.connected == []
        else:
            assert network.connected == [(PUBLIC, 443)]


@pytest.mark.parametrize(
    ("url", "reason"),
    [
        ("https://example.com/#", "url"),
        ("http://example.com/", "scheme"),
        ("https://redis/", "host"),
        ("https://example.com:22/", "port"),
        ("https://10.0.0.1/", "address"),
    ],
)
def test_a_refusal_tells_the_log_why_and_the_peer_nothing(url: str, reason: str) -> None:
    """The sentence is one; the reason is kept apart."""
    with pytest.raises(Refused) as refused:
        Guard().check_url(url)
    assert refused.value.reason == reason
    assert str(refused.value) == "This URL is not one to connect to."
    assert isinstance(refused.value, httpx2.ConnectError)


@pytest.mark.parametrize(
    "url",
    [
        "https://example.com",
        "https://example.com/",
        "https://example.com:443/",
        "https://example.com:1024/",
        "https://example.com:65535/",
        "https://Example.COM/",
        "https://gaia_1.example.com/hub/1Addr/a%20b.json?x=1&y=/?",
        "https://example.com?x",
        "https://example.com/@alice",
        "https://xn--exmple-cua.com/",
        "https://1.example.com/",
        "https://a.b.c.d.e.f.example.co/",
        f"https://{PUBLIC}/",
        f"https://[{PUBLIC_V6}]:8443/",
        f"https://example.com/{'a' * (MAX_URL - 20)}",
        "http://127.0.0.1:8481/hub/",
        "https://127.0.0.1:8481/hub/",
    ],
)
def test_what_is_allowed_is_left_alone(url: str) -> None:
    """Ordinary URLs pass, and those of development hosts."""
    Guard([DEV]).check_url(url)


@pytest.mark.parametrize(
    ("dev_host", "url"),
    [
        ("localhost:8481", "http://localhost:8481/"),
        ("LocalHost:8481", "http://LOCALHOST:8481/"),
        ("hub:80", "http://hub/"),
        ("hub:443", "https://hub/"),
        ("[::1]:8481", "http://[::1]:8481/"),
        ("10.0.0.1:22", "http://10.0.0.1:22/"),
    ],
)
async def test_a_development_host_may_be_anything(dev_host: str, url: str) -> None:
    """There http, names without dots, all ports and addresses are allowed."""
    network = Network()
    transport = GuardedTransport(Guard([dev_host]), Names(["127.0.0.9"]), TLS, network)
    async with client(transport) as http:
        answer = await http.get(url)
    assert answer.content == b"{}"
    assert len(network.connected) == 1


@pytest.mark.parametrize(
    "url",
    [
        "http://127.0.0.1:8482/",
        "http://127.0.0.1/",
        "http://127.0.0.2:8481/",
        "http://localhost:8481/",
        "http://x.127.0.0.1:8481/",
        "http://127.0.0.1:08481/",
    ],
)
def test_a_development_host_is_that_host_and_port_alone(url: str) -> None:
    """Another port of it, or another name of it, is as any other host."""
    with pytest.raises(Refused):
        Guard([DEV]).check_url(url)


def test_plain_hosts_are_the_development_hosts() -> None:
    """Others may ask too."""
    guard = Guard([DEV, "Hub:80"])
    assert guard.plain(DEV)
    assert guard.plain("hub:80")
    assert not guard.plain("hub")
    assert not guard.plain("example.com:443")


@pytest.mark.parametrize("address", REFUSED_ADDRESSES)
async def test_no_name_leads_to_an_address_inside(address: str) -> None:
    """Whatever a name is looked up to, only the public internet is connected to."""
    network = Network()
    backend = GuardedBackend(Guard([DEV]), Names([address]), network)
    with pytest.raises(Refused) as refused:
        await backend.connect_tcp("example.com", 443)
    assert refused.value.reason == "address"
    assert network.connected == []


@pytest.mark.parametrize("address", ["127.0.0.1", "10.0.0.1", "fd00::1"])
@pytest.mark.parametrize("at", [0, 1, 2])
async def test_one_bad_address_spoils_all(address: str, at: int) -> None:
    """A name that is here and there is nowhere."""
    answer = [PUBLIC, PUBLIC_V6]
    answer.insert(at, address)
    network = Network()
    backend = GuardedBackend(Guard(), Names(answer), network)
    with pytest.raises(Refused):
        await backend.connect_tcp("example.com", 443)
    assert network.connected == []


@pytest.mark.parametrize("address", ALLOWED_ADDRESSES)
async def test_public_addresses_are_connected_to(address: str) -> None:
    """The neighbours of what is refused are not."""
    network = Network()
    await GuardedBackend(Guard(), Names([address]), network).connect_tcp("a.example", 443)
    assert network.connected == [(address, 443)]


@given(st.ip_addresses(v=4))
def test_an_ipv4_address_in_disguise_is_never_global(address: IPv4Address) -> None:
    """Mapped, compatible, translated, NAT64, 6to4, Teredo: who routes them is unknown."""
    number = int(address)
    disguises = [
        0xFFFF << 32 | number,
        number,
        0xFFFF << 48 | number,
        0x64FF9B << 96 | number,
        0x64FF9B0001 << 80 | number,
        0x2002 << 112 | number << 80,
        0x20010000 << 96 | number << 64 | number ^ 0xFFFFFFFF,
    ]
    assert [hidden for hidden in disguises if is_global(str(IPv6Address(hidden)))] == []


@given(st.ip_addresses())
def test_the_registries_agree_with_the_standard_library(
    address: IPv4Address | IPv6Address,
) -> None:
    """What it knows to be private or the like is never called global here."""
    if is_global(str(address)):
        assert address.is_global
        assert not address.is_multicast
        assert not address.is_reserved


@given(st.sampled_from(REFUSED_ADDRESSES + ALLOWED_ADDRESSES))
def test_brackets_make_no_address_better(address: str) -> None:
    """A literal in a URL is judged as one that a name is looked up to."""
    try:
        parsed = ip_address(address)
    except ValueError:
        return
    host = f"[{address}]" if parsed.version == 6 else address
    try:
        Guard().check_url(f"https://{host}/")
    except Refused:
        assert address in REFUSED_ADDRESSES
    else:
        assert address in ALLOWED_ADDRESSES


LABEL = st.from_regex(r"[A-Za-z0-9_-]{1,12}", fullmatch=True)
HOST = st.lists(LABEL, min_size=1, max_size=4).map(".".join) | st.ip_addresses().map(
    lambda address: f"[{address}]" if address.version == 6 else str(address)
)
PORT = st.just("") | st.integers(0, 70000).map(lambda port: f":{port}")
REST = st.sampled_from(["", "/", "?x"]) | st.text(
    st.characters(max_codepoint=0x100) | st.sampled_from("/?#@\\:%"), max_size=9
)


@given(st.sampled_from(["http", "https"]), HOST, PORT, REST)
def test_what_passes_has_one_meaning(scheme: str, host: str, port: str, rest: str) -> None:
    """Two parsers read the same scheme, host and port from a URL that was let through."""
    url = f"{scheme}://{host}{port}{rest}"
    try:
        Guard().check_url(url)
    except Refused:
        return
    ours, theirs = httpx2.URL(url), urlsplit(url)
    assert ours.scheme == theirs.scheme == "https"
    assert ours.raw_host.decode() == theirs.hostname
    assert (ours.port or 443) == (theirs.port or 443)
    assert not ours.userinfo


async def test_a_name_is_looked_up_once_and_what_was_checked_is_connected_to() -> None:
    """A name server that answers otherwise the second time is not asked again."""
    network, names = Network(), Names([PUBLIC], ["127.0.0.1"])
    async with client(GuardedTransport(Guard(), names, TLS, network)) as http:
        await http.get("https://example.com/")
    assert names.asked == ["example.com"]
    assert network.connected == [(PUBLIC, 443)]


async def test_the_next_look_up_is_checked_like_the_first() -> None:
    """Having been good once is worth nothing for another connection."""
    network, names = Network(), Names([PUBLIC], ["127.0.0.1"])
    backend = GuardedBackend(Guard(), names, network)
    await backend.connect_tcp("example.com", 443)
    with pytest.raises(Refused):
        await backend.connect_tcp("example.com", 443)
    assert network.connected == [(PUBLIC, 443)]


@pytest.mark.parametrize("address", [PUBLIC, PUBLIC_V6])
async def test_an_address_is_not_looked_up(address: str) -> None:
    """There is nothing to ask, so nobody can answer otherwise."""
    network, names = Network(), Names(["127.0.0.1"])
    await GuardedBackend(Guard(), names, network).connect_tcp(address, 443)
    assert names.asked == []
    assert network.connected == [(address, 443)]


@pytest.mark.parametrize("host", ["127.0.0.1", "::1", "::ffff:7f00:1", "64:ff9b::1"])
async def test_an_address_is_checked_again_where_it_is_connected_to(host: str) -> None:
    """The backend trusts nobody above it."""
    network = Network()
    with pytest.raises(Refused):
        await GuardedBackend(Guard(), Names([PUBLIC]), network).connect_tcp(host, 443)
    assert network.connected == []


async def test_the_next_address_is_tried() -> None:
    """An address where nobody is costs one attempt; the other family has the next."""
    network = Network(dead=[PUBLIC_V6, PUBLIC])
    names = Names([PUBLIC_V6, "2400:cb00::1", PUBLIC])
    await GuardedBackend(Guard(), names, network).connect_tcp("example.com", 443, 5)
    assert [host for host, _ in network.connected] == [PUBLIC_V6, PUBLIC, "2400:cb00::1"]


async def test_an_address_that_is_silent_leaves_time_for_the_next() -> None:
    """It may use up half of the time."""
    network = Network(silent=[PUBLIC_V6])
    names = Names([PUBLIC_V6, PUBLIC])
    await GuardedBackend(Guard(), names, network).connect_tcp("example.com", 443, 1)
    assert network.connected == [(PUBLIC_V6, 443), (PUBLIC, 443)]


@pytest.mark.parametrize("answer", [[PUBLIC], [PUBLIC, PUBLIC_V6], []])
async def test_nobody_there(answer: list[str]) -> None:
    """No address, or none where somebody is, ends like any other failed connection."""
    network = Network(dead=answer)
    backend = GuardedBackend(Guard(), Names(answer), network)
    with pytest.raises(httpcore2.ConnectError):
        await backend.connect_tcp("example.com", 443)
    assert len(network.connected) == len(answer)


async def test_a_name_server_that_fails() -> None:
    """It is no other case to the caller."""

    async def fails(host: str, port: int) -> Sequence[str]:
        raise socket.gaierror(socket.EAI_AGAIN, "try again")

    async with client(GuardedTransport(Guard(), fails, TLS, Network())) as http:
        with pytest.raises(httpx2.ConnectError):
            await http.get("https://example.com/")


async def test_a_name_server_that_never_answers() -> None:
    """The time to connect counts from the look-up."""

    async def never(host: str, port: int) -> Sequence[str]:
        await asyncio.Event().wait()
        return []

    backend = GuardedBackend(Guard(), never, Network())
    with pytest.raises(httpcore2.ConnectTimeout):
        await backend.connect_tcp("example.com", 443, 0.01)


class Flood(httpcore2.AsyncNetworkStream):
    """Has always more to read, and never waits."""

    async def read(self, max_bytes: int, timeout: float | None = None) -> bytes:  # noqa: ASYNC109
        """Read as much as there may be."""
        return bytes(max_bytes)


class FloodedNetwork(httpcore2.AsyncNetworkBackend):
    """Connects to nothing but floods."""

    async def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,  # noqa: ASYNC109 - the interface of httpcore2
        local_address: str | None = None,
        socket_options: Iterable[httpcore2.SOCKET_OPTION] | None = None,
    ) -> httpcore2.AsyncNetworkStream:
        """Connect."""
        return Flood()


async def test_a_flood_is_read_in_sips_and_others_get_their_turns() -> None:
    """However much there is to read, the process goes on with its work."""
    backend = GuardedBackend(Guard(), Names([PUBLIC]), FloodedNetwork())
    stream = await backend.connect_tcp("example.com", 443)
    turns = 0

    async def other() -> None:
        nonlocal turns
        while True:
            turns += 1
            await asyncio.sleep(0)

    task = asyncio.create_task(other())
    sips = [len(await stream.read(65536)) for _ in range(MAX_HEAD // SIP)]
    task.cancel()
    assert sips == [SIP] * len(sips)
    assert turns >= len(sips)


async def test_a_host_that_does_not_come_to_the_point() -> None:
    """The head of a response ends in time."""
    backend = GuardedBackend(Guard(), Names([PUBLIC]), FloodedNetwork())
    stream = await backend.connect_tcp("example.com", 443)
    for _ in range(MAX_HEAD // SIP):
        await stream.read(65536)
    with pytest.raises(httpcore2.RemoteProtocolError):
        await stream.read(65536)


@pytest.mark.parametrize(
    ("found", "turns"),
    [
        ([], []),
        (["1.1.1.1", "2.2.2.2"], ["1.1.1.1", "2.2.2.2"]),
        (["a::1", "a::2", "1.1.1.1"], ["a::1", "1.1.1.1", "a::2"]),
        (
            ["1.1.1.1", "2.2.2.2", "3.3.3.3", "a::1"],
            ["1.1.1.1", "a::1", "2.2.2.2", "3.3.3.3"],
        ),
    ],
)
def test_families_take_turns(found: list[str], turns: list[str]) -> None:
    """The family that came first stays first."""
    assert interleaved(found) == turns

"""A bucket on a hub that does what the test says: conditions, refusals, lost answers."""

import json
import random
from collections.abc import Iterator
from typing import Any

import httpx2
import pytest

from pushd.client.gaia import (
    NEW,
    Bucket,
    Busy,
    Changed,
    File,
    GaiaError,
    HubUnreachable,
    NotAllowed,
    ProofRequired,
    TooLarge,
)
from pushd.client.gaia_hub import SLACK, Request
from pushd.errors import BadRequest
from pushd.identity import ecies, jws
from pushd.identity.ecies import CannotOpen
from pushd.identity.keys import BTC_ADDR, Algorithm, PrivateKey
from pushd.resolvers.guard import Refused
from tests.unit.fake_hub import (
    CHALLENGE,
    HUB,
    LOST,
    READER,
    UNANSWERED,
    FakeHub,
    Trouble,
    etag,
)

KEY = PrivateKey.generate()
EVE = PrivateKey.generate()
ADDRESS = KEY.did.removeprefix(BTC_ADDR)
INFO = "GET hub_info"
STORE = "POST store"
OCTETS = "application/octet-stream"


@pytest.fixture(autouse=True)
def no_jitter(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let every backoff be as short as jitter allows."""
    monkeypatch.setattr(random, "random", lambda: 0.0)


def bucket_on(hub: FakeHub, **options: Any) -> Bucket:
    """Return a bucket on a hub."""
    return Bucket(KEY, HUB, fetcher=hub, **options)


def refusal(status: int, **headers: str) -> httpx2.Response:
    """Return an answer of a hub that does not do what is asked."""
    return httpx2.Response(status, json={"message": "no"}, headers=headers)


# --- files ---------------------------------------------------------------------------


async def test_what_is_stored_is_read() -> None:
    """A file comes back with its media type and the etag under which it was stored."""
    hub = FakeHub()
    bucket = bucket_on(hub)
    stored = await bucket.store("notes/1.txt", b"hello", content_type="text/plain")
    assert await bucket.read("notes/1.txt") == File(b"hello", stored, "text/plain")
    assert await bucket.url() == f"{READER}{ADDRESS}/"
    assert hub.asked == [INFO, STORE, "GET hub"]
    assert str(hub.requests[1].url) == f"{HUB}/store/{ADDRESS}/notes/1.txt"
    assert str(hub.requests[2].url) == f"{READER}{ADDRESS}/notes/1.txt"


async def test_a_file_without_content() -> None:
    """No bytes are a file, too."""
    bucket = bucket_on(FakeHub())
    await bucket.store("empty", b"")
    assert await bucket.read("empty", limit=0) == File(b"", etag(b""), OCTETS)


async def test_no_file_is_none() -> None:
    """What is not there is not an error."""
    assert await bucket_on(FakeHub()).read("nothing") is None


@pytest.mark.parametrize(
    ("path", "in_url"),
    [
        (".well-known/messaging.json", ".well-known/messaging.json"),
        ("grüße/日本.txt", "gr%C3%BC%C3%9Fe/%E6%97%A5%E6%9C%AC.txt"),
        ("a b?c#d%2F&e+f", "a%20b%3Fc%23d%252F%26e%2Bf"),
        ("%2e%2e/x", "%252e%252e/x"),
        ("back\\slash", "back%5Cslash"),
    ],
)
async def test_a_path_stays_what_it_is(path: str, in_url: str) -> None:
    """Each segment is percent-encoded, once."""
    hub = FakeHub()
    bucket = bucket_on(hub)
    await bucket.store(path, b"x")
    assert list(hub.files) == [path]
    assert hub.requests[1].url.raw_path.decode() == f"/store/{ADDRESS}/{in_url}"
    assert (await bucket.read(path)) is not None
    assert await bucket.delete(path)


@pytest.mark.parametrize(
    "path", ["", "/x", "x/", "a//b", ".", "./x", "..", "../x", "x..y", "a\nb", "x" * 1025]
)
async def test_no_such_path(path: str) -> None:
    """A path that could lead elsewhere is refused before anybody is asked."""
    hub = FakeHub()
    bucket = bucket_on(hub)
    with pytest.raises(ValueError, match="A path"):
        await bucket.store(path, b"x")
    with pytest.raises(ValueError, match="A path"):
        await bucket.read(path)
    with pytest.raises(ValueError, match="A path"):
        await bucket.delete(path)
    assert hub.requests == []


async def test_a_file_that_is_too_large_to_read() -> None:
    """The caller says how many bytes are welcome; one more is not read."""
    hub = FakeHub()
    bucket = bucket_on(hub)
    await bucket.store("x", b"12345")
    assert await bucket.read("x", limit=5) is not None
    with pytest.raises(TooLarge):
        await bucket.read("x", limit=4)
    assert hub.requests[-1].extensions["limit"] <= 4 + SLACK


async def test_a_compressed_file_is_refused() -> None:
    """What was not asked for could be a bomb, and is not what was stored."""
    hub = FakeHub()
    bucket = bucket_on(hub)
    await bucket.info()
    packed = {"Content-Encoding": "gzip"}
    hub.trouble = [httpx2.Response(200, headers=packed)]
    with pytest.raises(HubUnreachable, match="compressed"):
        await bucket.read("x")
    hub.trouble = [httpx2.Response(402, headers=packed)]
    with pytest.raises(ProofRequired):
        await bucket.store("x", b"1")


async def test_a_reader_without_etags() -> None:
    """A file has an etag only if the reader says so."""
    hub = FakeHub(httpx2.Response(200, content=b"x"))
    hub.trouble.insert(0, lambda: None)
    assert await bucket_on(hub).read("x") == File(b"x", None, None)


async def test_delete() -> None:
    """What was there is told apart from what was not."""
    hub = FakeHub()
    bucket = bucket_on(hub)
    await bucket.store("x", b"1")
    assert await bucket.delete("x")
    assert not await bucket.delete("x")
    assert hub.files == {}


# --- conditions ----------------------------------------------------------------------


async def test_conditions() -> None:
    """Create only, update, overwrite: each finds out what it has to."""
    hub = FakeHub()
    bucket = bucket_on(hub)
    first = await bucket.store("x", b"1", match=NEW)
    with pytest.raises(Changed) as exists:
        await bucket.store("x", b"2", match=NEW)
    assert exists.value.etag is None
    second = await bucket.store("x", b"2", match=first)
    with pytest.raises(Changed) as changed:
        await bucket.store("x", b"3", match=first)
    assert changed.value.etag == second
    await bucket.store("x", b"4")
    assert hub.files["x"][0] == b"4"


@pytest.mark.parametrize(
    "body", [b"<html>", b'{"etag":1}', b'{"x":' + b"[" * 99999], ids=range(3)
)
async def test_a_failed_condition_without_a_word(body: bytes) -> None:
    """Whatever comes with a failed condition, it failed."""
    hub = FakeHub()
    bucket = bucket_on(hub)
    await bucket.info()
    hub.trouble = [httpx2.Response(412, content=body)]
    with pytest.raises(Changed) as changed:
        await bucket.store("x", b"1", match=NEW)
    assert changed.value.etag is None


async def test_an_etag_goes_back_as_it_came() -> None:
    """A hub that puts quotes around etags compares them, too."""
    stored = httpx2.Response(202, json={"publicURL": "", "etag": '"abc"'})
    hub = FakeHub()
    bucket = bucket_on(hub)
    await bucket.info()
    hub.trouble = [stored]
    got = await bucket.store("x", b"1")
    with pytest.raises(Changed):
        await bucket.store("x", b"2", match=got)
    assert hub.requests[-1].headers["If-Match"] == '"abc"'
    assert "If-None-Match" not in hub.requests[-1].headers


@pytest.mark.parametrize("match", [NEW, etag(b"old"), None])
async def test_an_answer_that_was_lost(match: str | None) -> None:
    """A condition that no longer holds, as the lost attempt had met it, is no failure."""
    hub = FakeHub()
    if match:
        hub.files["x"] = (b"old", OCTETS)
    bucket = bucket_on(hub)
    await bucket.info()
    hub.trouble = [UNANSWERED]
    assert await bucket.store("x", b"new", match=match) == etag(b"new")
    assert hub.files["x"] == (b"new", OCTETS)


@pytest.mark.parametrize("status", [500, 502, 503, 504])
async def test_a_failure_after_the_fact(status: int) -> None:
    """A hub, or a proxy, that failed may have stored the file before it did."""
    hub = FakeHub()
    hub.files["x"] = (b"new", OCTETS)
    bucket = bucket_on(hub)
    await bucket.info()
    hub.trouble = [refusal(status)]
    assert await bucket.store("x", b"new", match=NEW) == etag(b"new")


@pytest.mark.parametrize("status", [409, 429])
async def test_a_refusal_leaves_no_doubt(status: int) -> None:
    """Who was told that nothing was stored did not store what is there."""
    hub = FakeHub()
    hub.files["x"] = (b"new", OCTETS)
    bucket = bucket_on(hub)
    await bucket.info()
    hub.trouble = [refusal(status)]
    with pytest.raises(Changed):
        await bucket.store("x", b"new", match=NEW)


@pytest.mark.parametrize("there", [b"hers", b"longer than mine", b""])
async def test_a_lost_answer_and_another_writer(there: bytes) -> None:
    """What somebody else wrote meanwhile is not taken for one's own."""
    hub = FakeHub()
    hub.files["x"] = (there, OCTETS)
    bucket = bucket_on(hub)
    await bucket.info()
    hub.trouble = [LOST]
    with pytest.raises(Changed):
        await bucket.store("x", b"mine", match=NEW)


async def test_the_same_content_by_another_writer() -> None:
    """Without a lost answer, a file that exists exists, whatever is in it."""
    hub = FakeHub()
    hub.files["x"] = (b"mine", OCTETS)
    with pytest.raises(Changed):
        await bucket_on(hub).store("x", b"mine", match=NEW)


async def test_a_deletion_whose_answer_was_lost() -> None:
    """It was there, as far as anybody can know."""
    hub = FakeHub()
    bucket = bucket_on(hub)
    await bucket.store("x", b"1")
    hub.trouble = [UNANSWERED]
    assert await bucket.delete("x")
    assert hub.files == {}


# --- refusals and retries ------------------------------------------------------------


@pytest.mark.parametrize(
    ("status", "error"),
    [
        (301, HubUnreachable),
        (400, HubUnreachable),
        (402, ProofRequired),
        (403, NotAllowed),
        (404, HubUnreachable),
        (413, TooLarge),
        (507, HubUnreachable),
    ],
)
async def test_refusals(status: int, error: type[GaiaError]) -> None:
    """Each has its error, and is not tried again."""
    hub = FakeHub()
    bucket = bucket_on(hub)
    await bucket.info()
    hub.trouble = [refusal(status, Location=f"{HUB}/elsewhere")]
    with pytest.raises(error):
        await bucket.store("x", b"1")
    assert hub.asked == [INFO, STORE]


@pytest.mark.parametrize("status", [301, 402, 403, 418])
async def test_refusals_of_the_rest(status: int) -> None:
    """Reading, deleting and listing are refused as storing is."""
    hub = FakeHub()
    bucket = bucket_on(hub)
    await bucket.info()
    hub.trouble = [refusal(status) for _ in range(3)]
    with pytest.raises(GaiaError):
        await bucket.read("x")
    with pytest.raises(GaiaError):
        await bucket.delete("x")
    with pytest.raises(GaiaError):
        _ = [path async for path in bucket.list()]


@pytest.mark.parametrize(
    "trouble",
    [
        *(refusal(status) for status in (409, 500, 502, 503, 504)),
        httpx2.Response(503, text="<html>"),
        refusal(429, **{"Retry-After": "0"}),
        refusal(429, **{"Retry-After": "Mon, 23 Nov 2026 15:00:00 GMT"}),
        LOST,
    ],
    ids=[
        *("conflict", "500", "502", "503", "504"),
        *("a page", "too many", "too many until", "lost"),
    ],
)
async def test_trouble_that_passes(trouble: Trouble) -> None:
    """It is waited for, by every call."""
    hub = FakeHub(trouble)
    bucket = bucket_on(hub)
    await bucket.info()
    hub.trouble = [trouble]
    await bucket.store("x", b"1", match=NEW)
    hub.trouble = [trouble]
    assert await bucket.read("x") is not None
    hub.trouble = [trouble]
    assert [path async for path in bucket.list()] == ["x"]
    hub.trouble = [trouble]
    assert await bucket.delete("x")


@pytest.mark.parametrize(
    ("trouble", "error"),
    [
        (refusal(409), Busy),
        (refusal(429), Busy),
        (refusal(503), HubUnreachable),
        (LOST, HubUnreachable),
    ],
)
async def test_patience_ends(trouble: Trouble, error: type[GaiaError]) -> None:
    """What does not pass in time is an error."""
    hub = FakeHub()
    bucket = bucket_on(hub, give_up_after=0.0)
    await bucket.info()
    hub.trouble = [trouble]
    with pytest.raises(error):
        await bucket.store("x", b"1")
    assert hub.asked == [INFO, STORE]


async def test_retry_after_is_honoured() -> None:
    """A hub that asks for more time than there is is not asked again."""
    hub = FakeHub()
    bucket = bucket_on(hub, give_up_after=5.0)
    await bucket.info()
    hub.trouble = [refusal(429, **{"Retry-After": "100"})]
    with pytest.raises(Busy):
        await bucket.store("x", b"1")
    assert hub.asked == [INFO, STORE]


def test_a_large_file_takes_its_time() -> None:
    """Twenty megabytes may take minutes, there or back; a word half a minute."""
    large = 20 * 1024 * 1024
    assert Request("POST", HUB, bytes(large)).seconds == 350
    assert Request("GET", HUB, limit=large).seconds == 350
    assert Request("GET", HUB, limit=0).seconds == 30


async def test_where_not_to_connect() -> None:
    """A URL the guard refuses is not tried again; one that nobody knows just now is."""
    hub = FakeHub()
    bucket = bucket_on(hub)

    def refuse(reason: str) -> Trouble:
        def trouble() -> None:
            raise Refused(reason)

        return trouble

    hub.trouble = [refuse("lookup")]
    await bucket.info()
    hub.trouble = [refuse("address")]
    with pytest.raises(HubUnreachable, match="connect"):
        await bucket.store("x", b"1")
    assert hub.asked == [INFO, INFO, STORE]


async def test_nonsense_instead_of_http() -> None:
    """What does not speak HTTP will not learn it."""
    hub = FakeHub()

    def trouble() -> None:
        raise httpx2.UnsupportedProtocol("nonsense")

    hub.trouble = [trouble]
    with pytest.raises(HubUnreachable, match="HTTP"):
        await bucket_on(hub).info()
    assert hub.asked == [INFO]


@pytest.mark.parametrize(
    "answer",
    [
        httpx2.Response(202, text="<html>"),
        httpx2.Response(202, json={"publicURL": "https://x"}),
        httpx2.Response(202, json={"etag": ""}),
        httpx2.Response(202, json={"etag": "a\r\nX: y"}),
        httpx2.Response(202, content=b'{"x":' + b"[" * 100_000),
        httpx2.Response(202, content=b"\xff"),
        httpx2.Response(200, content=bytes(2 * 1024 * 1024)),
    ],
    ids=range(7),
)
async def test_an_answer_that_is_no_hubs(answer: httpx2.Response) -> None:
    """A captive portal stores nothing."""
    hub = FakeHub()
    bucket = bucket_on(hub)
    await bucket.info()
    hub.trouble = [answer]
    with pytest.raises(HubUnreachable, match="Gaia"):
        await bucket.store("x", b"1")


async def test_too_large_for_the_hub() -> None:
    """A file the hub would not take is not sent; one that just fits is."""
    hub = FakeHub()
    hub.info["max_file_upload_size_megabytes"] = 0.0001
    bucket = bucket_on(hub)
    assert (await bucket.info()).max_bytes == 104
    with pytest.raises(TooLarge, match="104"):
        await bucket.store("x", bytes(105))
    assert hub.asked == [INFO]
    await bucket.store("x", bytes(104))


# --- what the hub says of itself -----------------------------------------------------


@pytest.mark.parametrize(
    "info",
    [
        {"read_url_prefix": "https://gaia.example/hub"},
        {"read_url_prefix": "https://gaia.example"},
        {"read_url_prefix": "ftp://gaia.example/hub/"},
        {"read_url_prefix": "http://gaia.example/hub/"},
        {"read_url_prefix": "http://gaia.example:x/hub/"},
        {"read_url_prefix": "https://eve@gaia.example/hub/"},
        {"read_url_prefix": "https://gaia.example/hub?x=/"},
        {"read_url_prefix": "https://gaia.example/hub/../"},
        {"read_url_prefix": "//gaia.example/"},
        {"read_url_prefix": ""},
        {"read_url_prefix": None},
        {"challenge_text": None},
        {"challenge_text": "x" * 2000},
        {"max_file_upload_size_megabytes": -1},
        {"max_file_upload_size_megabytes": 1e300},
        {"max_file_upload_size_megabytes": "20"},
    ],
    ids=range(16),
)
async def test_a_hub_that_lies(info: dict[str, object]) -> None:
    """Nobody is sent to a place that cannot be a reader, and nothing is stored."""
    hub = FakeHub()
    hub.info |= info
    bucket = bucket_on(hub)
    with pytest.raises(HubUnreachable):
        await bucket.url()
    with pytest.raises(HubUnreachable):
        await bucket.store("x", b"1")
    assert hub.asked == [INFO, INFO]


@pytest.mark.parametrize("info", [[], "hub", None, {}])
async def test_no_hub(info: object) -> None:
    """Any JSON may come from what is no hub."""
    hub = FakeHub()
    hub.info = info
    with pytest.raises(HubUnreachable):
        await bucket_on(hub).info()


@pytest.mark.parametrize(
    "answer",
    [
        httpx2.Response(200, text="<!doctype html><title>Welcome</title>"),
        httpx2.Response(200, content=b"{" + b" " * 2 * 1024 * 1024),
        httpx2.Response(404, text="no"),
        httpx2.Response(302, headers={"Location": "https://elsewhere.example/"}),
    ],
    ids=["html", "huge", "not found", "redirect"],
)
async def test_a_page_instead_of_a_hub(answer: httpx2.Response) -> None:
    """A page of the web, however long, is no hub, and leads nowhere."""
    hub = FakeHub(answer)
    with pytest.raises(HubUnreachable):
        await bucket_on(hub).info()
    assert hub.asked == [INFO]


@pytest.mark.parametrize("host", ["dev.example:8080", "plain.example"])
async def test_a_reader_for_development(host: str) -> None:
    """At a development host http will do."""
    hub = FakeHub()
    hub.info["read_url_prefix"] = f"http://{host}/hub/"
    assert await bucket_on(hub).url() == f"http://{host}/hub/{ADDRESS}/"


async def test_an_old_hub_says_no_size() -> None:
    """Then a file is sent, and the hub says whether it takes it."""
    hub = FakeHub()
    del hub.info["max_file_upload_size_megabytes"]
    bucket = bucket_on(hub)
    assert (await bucket.info()).max_bytes is None
    await bucket.store("x", bytes(1000))


# --- tokens --------------------------------------------------------------------------


async def test_the_token() -> None:
    """It has the claims of the packages' tokens, and an end, and is used again."""
    hub = FakeHub()
    now = 1_800_000_000.5
    bucket = Bucket(KEY, f"{HUB}/", fetcher=hub, clock=lambda: now)
    for path in ("a", "b"):
        await bucket.store(path, b"x")
    claims = hub.claims(1)
    assert len(bytes.fromhex(claims.pop("salt"))) == 16
    assert claims == {
        "iss": KEY.public.raw.hex(),
        "gaiaChallenge": CHALLENGE,
        "hubUrl": HUB,
        "iat": 1_800_000_000,
        "exp": 1_800_003_600,
    }
    token = hub.requests[1].headers["Authorization"].removeprefix("bearer v1:")
    jws.read(token).verify(KEY.public)
    assert (
        hub.requests[1].headers["Authorization"] == hub.requests[2].headers["Authorization"]
    )


async def test_a_token_is_made_anew_before_it_ends() -> None:
    """It lasts for the longest upload."""
    hub = FakeHub()
    times: Iterator[float] = iter([0, 2700, 2701])
    bucket = bucket_on(hub, clock=lambda: next(times))
    for path in "abc":
        await bucket.store(path, b"x")
    assert [hub.claims(at)["iat"] for at in (1, 2, 3)] == [0, 0, 2701]


async def test_a_challenge_that_changed() -> None:
    """A refused token is made anew, once, by what the hub says now."""
    hub = FakeHub()
    bucket = bucket_on(hub)
    await bucket.store("x", b"1")
    hub.info["challenge_text"] = "another"
    hub.trouble = [refusal(401)]
    await bucket.store("x", b"2")
    assert hub.asked == [INFO, STORE, STORE, INFO, STORE]
    assert hub.claims(4)["gaiaChallenge"] == "another"
    assert hub.claims(4)["salt"] != hub.claims(2)["salt"]


async def test_not_allowed() -> None:
    """A key the hub does not want is told so after two tokens."""
    hub = FakeHub()
    bucket = bucket_on(hub)
    await bucket.info()
    hub.trouble = [refusal(401), lambda: None, refusal(401)]
    with pytest.raises(NotAllowed):
        await bucket.store("x", b"1")
    assert hub.asked == [INFO, STORE, INFO, STORE]


async def test_a_lost_answer_before_a_new_token() -> None:
    """That a file may be there already is remembered over a new token."""
    hub = FakeHub()
    bucket = bucket_on(hub)
    await bucket.info()
    hub.trouble = [UNANSWERED, refusal(401)]
    assert await bucket.store("x", b"1", match=NEW) == etag(b"1")


async def test_nothing_leaks() -> None:
    """No error tells a token, a content, or a word of the hub's."""
    hub = FakeHub()
    bucket = bucket_on(hub)
    await bucket.info()
    said = httpx2.Response(403, json={"message": "SECRET", "error": "SECRET"})
    hub.trouble = [said]
    with pytest.raises(NotAllowed) as caught:
        await bucket.store("x", b"SECRET")
    assert "SECRET" not in str(caught.value)
    assert "v1:" not in str(caught.value)


def test_keys_without_a_bucket() -> None:
    """An address is the hash of a secp256k1 key."""
    with pytest.raises(ValueError, match="secp256k1"):
        Bucket(PrivateKey.generate(Algorithm.EdDSA), HUB, fetcher=FakeHub())


def test_no_url_of_a_hub() -> None:
    """The hub is an http(s) URL."""
    with pytest.raises(BadRequest):
        Bucket(KEY, "hub.example", fetcher=FakeHub())


# --- the listing ---------------------------------------------------------------------


@pytest.mark.parametrize("number", [0, 1, 99, 100, 101, 250, 300])
async def test_listing(number: int) -> None:
    """Every file is told once, over as many pages as it takes."""
    hub = FakeHub()
    hub.files = {f"f{n}": (b"", OCTETS) for n in range(number)}
    assert [path async for path in bucket_on(hub).list()] == list(hub.files)


async def test_holes_in_a_listing() -> None:
    """Hubs put null where a file is hidden, and "" where there is none."""
    hub = FakeHub()
    bucket = bucket_on(hub)
    await bucket.info()
    hub.trouble = [
        httpx2.Response(202, json={"entries": [None], "page": "1"}),
        httpx2.Response(202, json={"entries": ["a", None, ""], "page": None}),
    ]
    assert [path async for path in bucket.list()] == ["a"]


async def test_a_listing_without_an_end(monkeypatch: pytest.MonkeyPatch) -> None:
    """A hub that lies about its pages is left."""
    monkeypatch.setattr("pushd.client.gaia.MAX_PAGES", 3)
    hub = FakeHub()
    bucket = bucket_on(hub)
    await bucket.info()
    page = {"entries": ["a"], "page": "1"}
    hub.trouble = [httpx2.Response(202, json=page) for _ in range(5)]
    with pytest.raises(GaiaError, match="pages"):
        _ = [path async for path in bucket.list()]
    assert hub.asked == [INFO, *["POST list-files"] * 3]


async def test_a_listing_that_is_left() -> None:
    """Nothing more is asked than is read."""
    hub = FakeHub()
    hub.files = {f"f{n}": (b"", OCTETS) for n in range(250)}
    async for _ in bucket_on(hub).list():
        break
    assert hub.asked == [INFO, "POST list-files"]


# --- sealed files --------------------------------------------------------------------


@pytest.mark.parametrize("sign", [False, True])
@pytest.mark.parametrize("content", ["text", b"\xff\x00", ""])
async def test_sealed(content: str | bytes, sign: bool) -> None:
    """Text comes back as text and bytes as bytes, and nobody else reads them."""
    hub = FakeHub()
    bucket = bucket_on(hub)
    await bucket.store_encrypted("x", content, sign=sign)
    assert await bucket.read_encrypted("x", signed=sign) == content
    sealed, content_type = hub.files["x"]
    assert content_type == "application/json"
    assert ("signature" in json.loads(sealed)) is sign
    with pytest.raises(CannotOpen):
        await bucket.read_encrypted("x", signed=not sign)
    assert await bucket.read_encrypted("y") is None


async def test_sealed_to_another() -> None:
    """What is sealed to Eve is opened by Eve alone."""
    hub = FakeHub()
    bucket = bucket_on(hub)
    await bucket.store_encrypted("x", "hello", recipient=EVE.public, match=NEW)
    assert ecies.decrypt(hub.files["x"][0], EVE) == "hello"
    with pytest.raises(CannotOpen):
        await bucket.read_encrypted("x")
    with pytest.raises(Changed):
        await bucket.store_encrypted("x", "again", match=NEW)


async def test_signed_by_another() -> None:
    """What a storage provider signs itself is not the owner's."""
    hub = FakeHub()
    hub.files["x"] = (ecies.encrypt_signed("lie", KEY.public, EVE).encode(), OCTETS)
    with pytest.raises(CannotOpen, match="owner"):
        await bucket_on(hub).read_encrypted("x", signed=True)

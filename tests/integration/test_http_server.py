"""What every path has in common, over a real socket: problems, CORS, health, metrics."""

import contextlib
import logging
from pathlib import Path
from typing import Any

import httpx2
import pytest

from pushd.web import limits
from pushd.web.wellknown import FEATURES
from tests.harness import Person, RunningServer, exchange, serving
from tests.talking import listening

PATHS = {
    "/v1/deliveries": "OPTIONS, POST",
    "/v1/messages": "GET, HEAD, OPTIONS",
    "/v1/acks": "OPTIONS, POST",
    "/v1/stream": "GET, HEAD, OPTIONS",
    "/.well-known/pushd": "GET, HEAD, OPTIONS",
    "/health/live": "GET, HEAD, OPTIONS",
    "/health/ready": "GET, HEAD, OPTIONS",
    "/metrics": "GET, HEAD, OPTIONS",
}
PAGE = "https://app.example"


def problem(answer: httpx2.Response) -> tuple[int, str]:
    """Return status and code of a problem document."""
    assert answer.headers["content-type"] == "application/problem+json"
    assert answer.json()["status"] == answer.status_code
    return answer.status_code, answer.json()["code"]


# --- paths and methods ---------------------------------------------------------------


@pytest.mark.parametrize(
    "path", ["/", "/v1", "/v1/deliveries/", "/v1//deliveries", "/health", "/v2/messages"]
)
async def test_a_path_that_is_not_there(http: httpx2.AsyncClient, path: str) -> None:
    """404 as a problem document, and no redirect to another spelling."""
    assert problem(await http.get(path)) == (404, "not_found")


@pytest.mark.parametrize("path", PATHS)
async def test_a_method_that_is_not_there(http: httpx2.AsyncClient, path: str) -> None:
    """405 says which are."""
    answer = await http.request("DELETE", path)
    assert problem(answer) == (405, "method_not_allowed")
    assert answer.headers["allow"] == PATHS[path]


@pytest.mark.parametrize("path", PATHS)
async def test_options_lists_the_methods(http: httpx2.AsyncClient, path: str) -> None:
    """Asking is no error."""
    answer = await http.options(path)
    assert (answer.status_code, answer.headers["allow"]) == (200, PATHS[path])


async def test_head_answers_as_get_without_a_body(http: httpx2.AsyncClient) -> None:
    """Same status, same length told."""
    for path in ("/health/live", "/.well-known/pushd"):
        get, head = await http.get(path), await http.head(path)
        assert (head.status_code, head.content) == (200, b"")
        assert head.headers["content-length"] == get.headers["content-length"]


async def test_the_stream_needs_an_upgrade(http: httpx2.AsyncClient) -> None:
    """426 to plain HTTP, unless it asks for events."""
    answer = await http.get("/v1/stream")
    assert problem(answer) == (426, "bad_request")
    assert answer.headers["upgrade"] == "websocket"
    assert "text/event-stream" in answer.json()["detail"]


async def test_who_asks_for_another_protocol_is_answered_in_this_one(
    http: httpx2.AsyncClient, caplog: pytest.LogCaptureFixture
) -> None:
    """RFC 9110 section 7.8: an upgrade may be ignored; a log is no place for strangers."""
    answer = await http.get(
        "/.well-known/pushd", headers={"Connection": "Upgrade", "Upgrade": "h2c"}
    )
    assert answer.status_code == 200
    assert caplog.records == []


async def test_a_body_that_does_not_come_holds_no_connection(
    server: RunningServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Half a body and silence: the connection is cut."""
    monkeypatch.setattr(limits, "BODY_SECONDS", 0.2)
    alice = Person(server.url)
    token = alice.token("deliver", alice.did).encode()
    request = (
        b"POST /v1/deliveries HTTP/1.1\r\nHost: x\r\nContent-Length: 100\r\n"
        b"Authorization: Bearer %b\r\n\r\n{"
    )
    with contextlib.suppress(ConnectionResetError):
        assert exchange(server.url, request % token) == b""


async def test_a_stream_is_no_body_that_does_not_come(
    server: RunningServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Once upgraded, a connection may be silent as long as the stream allows."""
    monkeypatch.setattr(limits, "BODY_SECONDS", 0)
    async with listening(Person(server.url), server.url) as stream:
        await stream.next("caught_up")


# --- CORS ----------------------------------------------------------------------------


async def test_any_page_may_use_the_server(http: httpx2.AsyncClient) -> None:
    """`*` on every answer, errors too, and never with credentials."""
    for path, status in (
        ("/health/live", 200),
        ("/v1/messages", 401),
        ("/nothing", 404),
        ("/v1/acks", 405),
        ("/v1/stream", 426),
    ):
        answer = await http.get(path, headers={"Origin": PAGE})
        assert answer.status_code == status
        assert answer.headers["access-control-allow-origin"] == "*"
        assert "access-control-allow-credentials" not in answer.headers
        exposed = answer.headers["access-control-expose-headers"]
        assert {"Retry-After", "Date", "RateLimit"} <= set(exposed.split(", "))


@pytest.mark.parametrize("path", [*PATHS, "/nothing"])
async def test_a_preflight_allows_what_clients_send(
    http: httpx2.AsyncClient, path: str
) -> None:
    """Without a token, for a browser sends none (Fetch standard)."""
    answer = await http.options(
        path,
        headers={
            "Origin": PAGE,
            "Access-Control-Request-Method": "POST",
            "Access-Control-Request-Headers": "authorization,content-type",
        },
    )
    assert (answer.status_code, answer.content) == (204, b"")
    assert answer.headers["access-control-allow-origin"] == "*"
    assert "POST" in answer.headers["access-control-allow-methods"]
    allowed = answer.headers["access-control-allow-headers"]
    assert allowed == "Authorization, Content-Type, Last-Event-ID"


async def test_an_operator_may_list_the_origins(store_url: str) -> None:
    """Listed ones are named, others get no CORS headers; caches are warned."""
    with serving(store_url, allowed_origins=(PAGE,)) as server:
        async with httpx2.AsyncClient(base_url=server.url, trust_env=False) as http:
            for origin, allowed in (
                (PAGE, PAGE),
                ("https://evil.example", None),
                ("null", None),
                (None, None),
            ):
                headers = {} if origin is None else {"Origin": origin}
                for path in ("/health/live", "/nothing"):
                    answer = await http.get(path, headers=headers)
                    assert answer.headers.get("access-control-allow-origin") == allowed
                    assert answer.headers["vary"] == "Origin"
                asked = {**headers, "Access-Control-Request-Method": "POST"}
                answer = await http.options("/v1/acks", headers=asked)
                assert answer.headers.get("access-control-allow-origin") == allowed


# --- what the server says of itself --------------------------------------------------


async def test_the_server_tells_what_it_allows(
    http: httpx2.AsyncClient, server: RunningServer
) -> None:
    """A client reads its limits before it runs into them."""
    about = (await http.get("/.well-known/pushd")).json()
    assert about["protocol"] == 1
    assert about["server"] == server.url
    assert about["durability"] == "fsync"
    assert about["features"] == list(FEATURES)
    assert about["limits"]["payload"] == 4096
    assert about["limits"]["dedup"] == 7 * 86_400
    assert about["limits"]["body"] == 8 * 1024 * 1024


async def test_a_server_with_a_store_is_ready(http: httpx2.AsyncClient) -> None:
    """It lives, and it is ready."""
    assert (await http.get("/health/live")).json() == {"status": "live"}
    assert (await http.get("/health/ready")).json() == {"status": "ready"}


async def test_a_store_that_is_away_means_not_ready(tmp_path: Path) -> None:
    """The server starts, lives, and says 503 to what needs the store."""
    with serving(f"unix://{tmp_path}/nothing.sock") as server:
        alice, bob = Person(server.url), Person(server.url)
        async with httpx2.AsyncClient(base_url=server.url, trust_env=False) as http:
            ready = await http.get("/health/ready")
            delivered = await http.post(
                "/v1/deliveries",
                json={"to": bob.did, "payload": "x"},
                headers=alice.deliver(bob.did),
            )
            batch = await http.post(
                "/v1/deliveries",
                json={"deliveries": [{"to": bob.did, "payload": "x"}]},
                headers=alice.deliver(bob.did),
            )
            read = await http.get("/v1/messages", headers=bob.receive())
            assert (await http.get("/health/live")).status_code == 200
            for answer in (ready, delivered, batch, read):
                assert problem(answer) == (503, "store_unavailable")
                assert int(answer.headers["retry-after"]) > 0


async def test_a_server_that_stops_takes_no_new_sessions(store_url: str) -> None:
    """It is not ready, and whoever would wait is told to come back; deliveries go on."""
    with serving(store_url) as server:
        alice, bob = Person(server.url), Person(server.url)
        async with httpx2.AsyncClient(base_url=server.url, trust_env=False) as http:
            await http.get("/v1/messages", headers=bob.receive())
            server.parts["hub"].drain(0)
            ready = await http.get("/health/ready")
            waiting = await http.get("/v1/messages?wait=60", headers=bob.receive())
            for answer in (ready, waiting):
                assert problem(answer) == (503, "overloaded")
                assert int(answer.headers["retry-after"]) > 0
            delivered = await http.post(
                "/v1/deliveries",
                json={"to": bob.did, "payload": "x"},
                headers=alice.deliver(bob.did),
            )
            assert delivered.status_code == 202


# --- our bugs ------------------------------------------------------------------------


async def test_a_bug_tells_nothing_but_a_number(
    store_url: str, caplog: pytest.LogCaptureFixture
) -> None:
    """500 with CORS, so that the page can read it; the log knows the number."""
    with serving(store_url) as server:
        server.lifespan.state["mailboxes"] = None
        bob = Person(server.url)
        async with httpx2.AsyncClient(base_url=server.url, trust_env=False) as http:
            answer = await http.get("/v1/messages", headers=bob.receive())

    assert problem(answer) == (500, "internal")
    assert answer.headers["access-control-allow-origin"] == "*"
    assert "AttributeError" not in answer.text
    incidents = [r.__dict__.get("incident") for r in caplog.records]
    assert answer.json()["incident"] in incidents


# --- what is written down ------------------------------------------------------------


async def test_metrics_count_what_passes(store_url: str) -> None:
    """Accepted, refused by code, acked, and the store's latency."""
    with serving(store_url) as server:
        alice, bob = Person(server.url), Person(server.url)
        async with httpx2.AsyncClient(base_url=server.url, trust_env=False) as http:
            await http.get("/v1/messages", headers=bob.receive())
            headers = alice.deliver(bob.did)
            delivery = {"to": bob.did, "payload": "x"}
            id = (await http.post("/v1/deliveries", json=delivery, headers=headers)).json()[
                "id"
            ]
            await http.post("/v1/deliveries", json={**delivery, "ttl": 0}, headers=headers)
            await http.post("/v1/deliveries", json=delivery)
            await http.post("/v1/acks", json={"upto": id}, headers=bob.receive())
            answer = await http.get("/metrics")

    lines = answer.text.splitlines()
    assert answer.headers["content-type"].startswith("text/plain; version=")
    assert "pushd_accepted_total 1.0" in lines
    assert 'pushd_refused_total{code="bad_request"} 1.0' in lines
    assert 'pushd_refused_total{code="unauthorized"} 1.0' in lines
    assert "pushd_acked_total 1.0" in lines
    assert "pushd_store_call_seconds_count 0.0" not in lines


async def test_no_token_key_or_payload_is_written_down(
    store_url: str, caplog: pytest.LogCaptureFixture
) -> None:
    """Neither in a log of any level, nor in a metric, nor in the error of another."""
    payload, key = "secret-payload-4711", "secret-key-4711"
    with caplog.at_level(logging.DEBUG), serving(store_url) as server:
        alice, bob = Person(server.url), Person(server.url)
        async with httpx2.AsyncClient(base_url=server.url, trust_env=False) as http:
            await http.get("/v1/messages", headers=bob.receive())
            token = alice.token("deliver", bob.did)
            headers = {"Authorization": f"Bearer {token}"}
            delivery: dict[str, Any] = {"to": bob.did, "payload": payload, "key": key}
            answers = [
                await http.post("/v1/deliveries", json=body, headers=headers)
                for body in (
                    delivery,
                    {**delivery, "payload": payload + "!"},
                    {**delivery, "ttl": 0},
                    {**delivery, "to": alice.did},
                    {"deliveries": [delivery, {**delivery, "key": key * 20}]},
                )
            ]
            answers.append(
                await http.post(
                    "/v1/deliveries",
                    json=delivery,
                    headers={"Authorization": f"Bearer {token}x"},
                )
            )
            answers.append(await http.get("/metrics"))
    ours = [r for r in caplog.records if not r.name.startswith(("httpcore", "httpx"))]
    written = [str(record.__dict__) for record in ours] + [a.text for a in answers]

    assert [a.status_code for a in answers] == [202, 409, 400, 403, 200, 401, 200]
    for secret in (payload, key, token):
        assert [text for text in written if secret in text] == []


async def test_no_answer_names_the_software(http: httpx2.AsyncClient) -> None:
    """What runs here is nobody's business."""
    answer = await http.get("/health/live")
    assert "server" not in answer.headers
    assert "date" in answer.headers

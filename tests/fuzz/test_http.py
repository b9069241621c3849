"""A real server is asked nonsense over HTTP, and answers as `spec/openapi.yaml` says."""

import json
import logging
import socket
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import httpx2
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from jsonschema import Draft202012Validator

from pushd.mailbox.embedded import EmbeddedStore
from tests.fuzz.decoders import DECODERS, seeds_of
from tests.fuzz.test_decoders import mutants
from tests.harness import Person, RunningServer, bearer, serving
from tests.test_spec import REGISTRY, SPEC, document

DOCUMENT = document("openapi.yaml")
BODIES = {
    ("post", "/v1/deliveries"): "delivery",
    ("post", "/v1/acks"): "acks",
    ("put", "/v1/policy"): "policy",
}
"""Whose body is read by which decoder."""
ASKED = [
    (method, path)
    for path, methods in DOCUMENT["paths"].items()
    for method in methods
    if path not in ("/v1/stream", "/admin")
]
"""Operations with answers that end."""

quickly = settings(deadline=None, max_examples=60, suppress_health_check=list(HealthCheck))


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningServer]:
    """Run a server on a store of its own."""
    store = EmbeddedStore(Path(tmp_path_factory.mktemp("store")))
    try:
        with serving(store.start()) as running:
            yield running
    finally:
        store.stop()


def answers_of(method: str, path: str, status: int) -> dict[str, Any]:
    """Return the media types, each with its schema, that an operation may answer with."""
    responses = DOCUMENT["paths"][path][method]["responses"]
    assert str(status) in responses, f"{method} {path} answers {status}"
    response = responses[str(status)]
    if "$ref" in response:
        response = DOCUMENT["components"]["responses"][response["$ref"].rpartition("/")[2]]
    content: dict[str, Any] = response.get("content", {})
    return {kind: value["schema"] for kind, value in content.items()}


def check(method: str, path: str, answer: httpx2.Response) -> None:
    """See that an answer is one of those the document has."""
    schemas = answers_of(method, path, answer.status_code)
    kind = answer.headers.get("content-type", "").partition(";")[0]
    assert kind in schemas
    if "json" not in kind:
        return
    schema = schemas[kind]
    if "$ref" in schema:
        file, _, pointer = schema["$ref"].partition("#")
        schema = {"$ref": (SPEC / file).as_uri() + (f"#{pointer}" if pointer else "")}
    Draft202012Validator(schema, registry=REGISTRY).validate(answer.json())


@pytest.mark.parametrize(("method", "path"), ASKED, ids=map(" ".join, ASKED))
def test_answers_are_as_documented(
    server: RunningServer, caplog: pytest.LogCaptureFixture, method: str, path: str
) -> None:
    """Whatever the body, the query and the token, and never with an error of ours."""
    alice, bob = Person(server.url), Person(server.url)
    both = bob.token("receive deliver", to=[bob.did])
    decoder = DECODERS.get(BODIES.get((method, path), ""))
    bodies = st.just(b"")
    if decoder:
        bodies = st.sampled_from(decoder.seeds) | mutants(seeds_of(decoder))
    text = st.text(st.characters(codec="utf-8", exclude_characters="\0"), max_size=20)
    number = st.integers(-2, 600).map(str)
    cursors = st.sampled_from(["1-1", "1-1@2", "0-0", "9" * 30 + "-1"])
    queries = st.dictionaries(
        st.sampled_from(["after", "limit", "x"]), text | number | cursors, max_size=3
    )
    tokens = st.sampled_from([both, both, both, alice.token("deliver", bob.did), "x"])
    statuses: set[int] = set()
    to_bob = json.dumps({"to": bob.did, "payload": "x"}).encode()

    with (
        httpx2.Client(base_url=server.url, trust_env=False) as http,
        caplog.at_level(logging.ERROR),
    ):
        http.get("/v1/messages", headers=bearer(both))  # else Bob has no mailbox

        @quickly
        @given(bodies | st.just(to_bob), queries, tokens)
        def asked(body: bytes, query: dict[str, str], token: str) -> None:
            headers = bearer(token) | {"Content-Type": "application/json"}
            content = body if method in ("post", "put") else None
            answer = http.request(
                method, path, params=query, headers=headers, content=content
            )
            check(method, path, answer)
            statuses.add(answer.status_code)

        asked()
    good = 202 if (method, path) == ("post", "/v1/deliveries") else 200
    assert good in statuses  # else only the doorkeeper was asked
    assert caplog.records == []


def test_noise_on_the_socket_harms_nobody(
    server: RunningServer, caplog: pytest.LogCaptureFixture
) -> None:
    """Heads and upgrades that are nearly good are answered or dropped; others go on."""
    parts = urlsplit(server.url)
    heads = [
        *DECODERS["upgrade"].seeds,
        b"POST /v1/deliveries HTTP/1.1\r\nHost: x\r\nContent-Length: 2\r\n\r\n{}",
        b"POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n1\r\n{\r\n",
    ]

    @quickly
    @given(mutants(heads))
    def sent(data: bytes) -> None:
        with socket.create_connection((parts.hostname, parts.port), timeout=20) as peer:
            peer.sendall(data)
            peer.shutdown(socket.SHUT_WR)
            try:
                while peer.recv(65536):
                    pass
            except ConnectionResetError:
                return  # it did not want to read all of it

    with caplog.at_level(logging.ERROR):
        sent()
    assert caplog.records == []
    assert httpx2.get(f"{server.url}/health/ready", trust_env=False).is_success

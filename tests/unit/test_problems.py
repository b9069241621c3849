"""Problem documents: every error as HTTP tells it, and what is never told."""

import json
import logging
from typing import Any

import pytest
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from pushd.errors import ERRORS, PushdError, RateLimited, Unauthorized
from pushd.metrics import Metrics
from pushd.web.problems import Problems, UpgradeRequired

SECRET = "eyJhbGciOiJFUzI1NksifQ.payload"


class Answer:
    """What a peer sees of an exception.

    Attributes:
        status: Of the answer; 0 if there was none.
        headers: By name.
        document: The body.
    """

    def __init__(self) -> None:
        self.metrics = Metrics()
        self.status = 0
        self.headers: dict[str, str] = {}
        self.document: dict[str, Any] = {}

    @property
    def counted(self) -> list[str]:
        """Lines of the metrics that tell of refusals."""
        lines = self.metrics.render().decode().splitlines()
        return [line for line in lines if line.startswith("pushd_refused_total")]


async def answer_to(error: Exception, method: str = "GET") -> Answer:
    """Let an endpoint raise this, and return what comes out."""
    answer = Answer()

    async def endpoint(scope: Scope, receive: Receive, send: Send) -> None:
        raise error

    async def receive() -> Message:
        return {"type": "http.request", "body": b""}

    async def send(message: Message) -> None:
        if message["type"] == "http.response.start":
            answer.status = message["status"]
            answer.headers = {k.decode(): v.decode() for k, v in message["headers"]}
        else:
            answer.document = json.loads(message["body"])

    app: ASGIApp = Problems(endpoint)
    scope = {"type": "http", "method": method, "state": {"metrics": answer.metrics}}
    await app(scope, receive, send)
    return answer


@pytest.mark.parametrize("error", ERRORS.values(), ids=ERRORS)
async def test_every_error_of_the_table_is_told(error: type[PushdError]) -> None:
    """Code, status, title and sentence; how long to wait, where that helps."""
    answer = await answer_to(error("What happened."))
    document = answer.document

    assert answer.status == document["status"] == error.status
    assert answer.headers["content-type"] == "application/problem+json"
    assert document["type"] == f"urn:pushd:error:{error.code}"
    assert document["code"] == error.code
    assert document["title"] == error.title
    assert document["detail"] == "What happened."
    assert document.get("retry_after") == error.default_retry_after
    wait = error.default_retry_after
    assert answer.headers.get("retry-after") == (None if wait is None else str(wait))
    assert ("now" in document) == issubclass(error, Unauthorized)
    assert answer.counted == [f'pushd_refused_total{{code="{error.code}"}} 1.0']


async def test_an_error_may_say_how_long_to_wait() -> None:
    """Document and header say the same."""
    answer = await answer_to(RateLimited(retry_after=17))
    assert answer.document["retry_after"] == 17
    assert answer.headers["retry-after"] == "17"


async def test_401_says_how_to_authenticate_and_what_time_it_is() -> None:
    """A client whose clock is wrong can tell by `now`."""
    answer = await answer_to(Unauthorized())
    assert answer.headers["www-authenticate"] == "Bearer"
    assert isinstance(answer.document["now"], int)


async def test_our_bug_is_told_by_number_alone(caplog: pytest.LogCaptureFixture) -> None:
    """The peer gets a number; the log the place, and nothing of what the peer sent."""
    with caplog.at_level(logging.DEBUG):
        answer = await answer_to(KeyError(SECRET))

    assert answer.status == 500
    assert answer.document["code"] == "internal"
    assert SECRET not in json.dumps(answer.document)
    assert "Traceback" not in json.dumps(answer.document)
    (record,) = caplog.records
    assert record.__dict__["incident"] == answer.document["incident"]
    assert record.__dict__["error"] == "KeyError"
    assert "test_problems.py" in record.__dict__["at"]
    assert SECRET not in str(record.__dict__)


async def test_a_path_that_is_not_there() -> None:
    """Starlette's 404 becomes one of ours."""
    answer = await answer_to(HTTPException(404))
    assert (answer.status, answer.document["code"]) == (404, "not_found")


async def test_a_method_that_is_not_there() -> None:
    """Starlette's 405 becomes one of ours, and says which methods are."""
    answer = await answer_to(HTTPException(405, headers={"Allow": "HEAD, GET"}))
    assert (answer.status, answer.document["code"]) == (405, "method_not_allowed")
    assert answer.headers["allow"] == "GET, HEAD, OPTIONS"


async def test_options_lists_the_methods() -> None:
    """It is no error to ask (RFC 9110 section 9.3.7)."""
    error = HTTPException(405, headers={"Allow": "POST"})
    answer = await answer_to(error, method="OPTIONS")
    assert (answer.status, answer.headers["allow"]) == (200, "OPTIONS, POST")
    assert answer.counted == []


async def test_an_upgrade_that_is_required_is_named() -> None:
    """A 426 says to what (RFC 9110 section 15.5.22)."""
    answer = await answer_to(UpgradeRequired())
    assert (answer.status, answer.document["code"]) == (426, "bad_request")
    assert answer.headers["upgrade"] == "websocket"
    assert answer.headers["connection"] == "upgrade"


async def test_a_client_that_went_away_is_told_nothing() -> None:
    """There is nobody to answer, and nothing to count."""
    answer = await answer_to(ClientDisconnect())
    assert answer.status == 0
    assert answer.counted == []

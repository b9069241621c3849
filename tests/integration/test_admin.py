"""The operator's page: there only if asked for, and only for whoever has its token."""

import logging
import time
from collections.abc import AsyncIterator, Iterator
from types import SimpleNamespace
from typing import Any

import httpx2
import pytest

from pushd.web.admin import numbers as module
from pushd.web.admin.numbers import FAILURES
from tests.harness import Person, RunningServer, serving
from tests.talking import listening, reading_events

TOKEN = "0123456789abcdef0123456789abcdef"
OPERATOR = {"Authorization": f"Admin {TOKEN}"}


@pytest.fixture
def watched(store_url: str) -> Iterator[RunningServer]:
    """Run a server with an operator's page."""
    with serving(store_url, admin_token=TOKEN) as server:
        yield server


@pytest.fixture
async def there(watched: RunningServer) -> AsyncIterator[httpx2.AsyncClient]:
    """Return a client of it."""
    async with httpx2.AsyncClient(base_url=watched.url, trust_env=False) as client:
        yield client


async def numbers(there: httpx2.AsyncClient) -> dict[str, Any]:
    """Return what the operator is shown."""
    answer = await there.get("/admin/numbers", headers=OPERATOR)
    assert answer.status_code == 200, answer.text
    assert answer.headers["cache-control"] == "no-store"
    found: dict[str, Any] = answer.json()
    return found


@pytest.mark.parametrize("path", ["/admin", "/admin/admin.js", "/admin/numbers"])
async def test_without_a_token_there_is_no_page(
    http: httpx2.AsyncClient, path: str
) -> None:
    """A server that was not told one says that there is nothing."""
    answer = await http.get(path, headers=OPERATOR)
    assert (answer.status_code, answer.json()["code"]) == (404, "not_found")


@pytest.mark.parametrize("name", ["", "/admin.js", "/admin.css", "/look.css", "/icon.svg"])
async def test_the_page_is_kept_to_itself(there: httpx2.AsyncClient, name: str) -> None:
    """Each file comes with headers that let nothing else in, and the page in nowhere."""
    answer = await there.get(f"/admin{name}")
    policy = answer.headers["content-security-policy"]
    assert answer.status_code == 200
    assert "default-src 'none'; script-src 'self'; style-src 'self'" in policy
    assert "frame-ancestors 'none'" in policy
    assert "unsafe" not in policy
    assert answer.headers["x-content-type-options"] == "nosniff"
    assert answer.headers["referrer-policy"] == "no-referrer"


@pytest.mark.parametrize("name", ["numbers.py", "__init__.py", "..%2Fpages.py", "nothing"])
async def test_only_its_own_files_are_shown(there: httpx2.AsyncClient, name: str) -> None:
    """What lies beside them, or elsewhere, is nothing."""
    assert (await there.get(f"/admin/{name}")).status_code == 404


@pytest.mark.parametrize(
    "authorization",
    [
        None,
        "",
        "Admin",
        f"Bearer {TOKEN}",
        f"Admin {TOKEN}x",
        f"Admin {TOKEN[:-1]}",
    ],
)
async def test_a_wrong_token_shows_nothing(
    there: httpx2.AsyncClient, authorization: str | None
) -> None:
    """401, and not a number."""
    headers = {} if authorization is None else {"Authorization": authorization}
    answer = await there.get("/admin/numbers", headers=headers)
    assert (answer.status_code, answer.json()["code"]) == (401, "unauthorized")
    assert "metrics" not in answer.json()


async def test_a_token_does_not_count_in_the_url(there: httpx2.AsyncClient) -> None:
    """Nor as a cookie: both are kept in places where others look."""
    answer = await there.get(
        "/admin/numbers", params={"token": TOKEN}, headers={"Cookie": f"token={TOKEN}"}
    )
    assert answer.status_code == 401


async def test_guessing_is_slow(there: httpx2.AsyncClient) -> None:
    """After some wrong tokens not even the right one counts from there, for a while."""
    wrong = {"Authorization": "Admin wrong"}
    for _ in range(FAILURES):
        assert (await there.get("/admin/numbers", headers=wrong)).status_code == 401
    answer = await there.get("/admin/numbers", headers=OPERATOR)
    assert (answer.status_code, answer.json()["code"]) == (429, "rate_limited")
    assert int(answer.headers["retry-after"]) > 0


async def test_a_clock_that_is_set_back_keeps_nobody_out(
    there: httpx2.AsyncClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What was guessed before counts no longer than it would have."""
    for _ in range(FAILURES - 1):
        await there.get("/admin/numbers")
    back = SimpleNamespace(time=lambda: time.time() - 3600, monotonic=time.monotonic)
    monkeypatch.setattr(module, "time", back)
    await numbers(there)


async def test_looking_is_not_limited(there: httpx2.AsyncClient) -> None:
    """The page asks every two seconds, all day."""
    for _ in range(3 * FAILURES):
        await numbers(there)


async def test_the_numbers_are_those_of_the_metrics(there: httpx2.AsyncClient) -> None:
    """Each sample under the same name, with the same labels."""
    await there.get("/nothing")
    shown = (await numbers(there))["metrics"]
    text = (await there.get("/metrics")).text

    assert ["pushd_refused_total", {"code": "not_found"}, 1.0] in shown
    assert {name for name, _, _ in shown} == {
        line.partition("{")[0].partition(" ")[0]
        for line in text.splitlines()
        if not line.startswith("#")
    }


async def test_mailboxes_are_told_deepest_first_and_shortened(
    there: httpx2.AsyncClient, watched: RunningServer
) -> None:
    """With their unread messages and sessions, and without a whole address."""
    alice, bob, carol = (Person(watched.url) for _ in range(3))
    async with (
        listening(bob, watched.url),
        reading_events(there, bob),
        listening(carol, watched.url),
    ):
        for _ in range(3):
            delivery = {"to": bob.did, "payload": "x"}
            await there.post(
                "/v1/deliveries", json=delivery, headers=alice.deliver(bob.did)
            )
        found = await numbers(there)
    deepest, empty = found["mailboxes"]

    assert (found["listening"], found["sampled"]) == (2, 2)
    assert (deepest["unread"], empty["unread"]) == (3, 0)
    assert deepest["sessions"] == {"Events": 1, "Stream": 1}
    assert deepest["mailbox"].startswith(bob.did[:18])
    assert deepest["mailbox"].endswith(bob.did[-4:])
    assert bob.did not in str(found)
    assert found["trouble"] is None


async def test_warnings_and_errors_are_remembered(there: httpx2.AsyncClient) -> None:
    """With their fields, until newer ones take their place."""
    logging.getLogger("pushd.somewhere").info("nothing much")
    logging.getLogger("pushd.somewhere").warning("worker died", extra={"worker": 7})
    last = (await numbers(there))["errors"][-1]

    assert (last["level"], last["event"]) == ("warning", "worker died")
    assert last["fields"] == {"worker": "7"}

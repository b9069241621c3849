"""The operator's page in a real browser."""

from collections.abc import Iterator

import httpx2
import pytest
from playwright.sync_api import Page, expect

from tests.harness import Person, RunningServer, serving

TOKEN = "0123456789abcdef0123456789abcdef"

expect.set_options(timeout=30_000)


@pytest.fixture(scope="module")
def watched(store_url: str) -> Iterator[RunningServer]:
    """Run a server with an operator's page."""
    with serving(store_url, admin_token=TOKEN) as server:
        yield server


@pytest.fixture
def admin(page: Page, watched: RunningServer) -> Page:
    """Open the page."""
    page.goto(f"{watched.url}/admin")
    return page


def enter(admin: Page, token: str) -> None:
    """Give a token."""
    admin.get_by_label("Admin token").fill(token)
    admin.get_by_role("button", name="Look").click()


def tile(admin: Page, title: str) -> str:
    """Return what a tile says."""
    text: str = admin.locator("#rates li", has_text=title).first.inner_text()
    return text


def test_the_numbers_follow_what_happens(admin: Page, watched: RunningServer) -> None:
    """Sessions, deliveries and refusals show, without loading the page again."""
    enter(admin, TOKEN)
    expect(admin.locator("#health")).to_have_text("ready")
    alice, bob = Person(watched.url), Person(watched.url)
    answer = httpx2.post(
        f"{watched.url}/v1/deliveries",
        headers=alice.deliver(bob.did),
        json={"to": bob.did, "payload": "x"},
        trust_env=False,
    )
    assert answer.status_code == 404
    refusals = admin.locator("#refusals tr", has_text="unknown_mailbox")
    expect(refusals.locator(".number").first).to_have_text("1")
    assert "0" in tile(admin, "Sessions")


def test_a_wrong_token_shows_nothing(admin: Page) -> None:
    """The page says so, and asks again."""
    enter(admin, "wrong")
    expect(admin.get_by_role("alert").first).to_contain_text("not the admin token")
    expect(admin.locator("#numbers")).to_be_hidden()
    expect(admin.get_by_label("Admin token")).to_be_focused()


def test_the_token_is_kept_nowhere(admin: Page) -> None:
    """Not in the address, a cookie or a store of the browser, nor in the form."""
    enter(admin, TOKEN)
    expect(admin.locator("#numbers")).to_be_visible()
    kept = admin.evaluate(
        """() => [location.href, document.cookie, JSON.stringify({ ...localStorage }),
            JSON.stringify({ ...sessionStorage }), document.documentElement.outerHTML,
            document.getElementById("token").value].join()"""
    )
    assert TOKEN not in kept
    admin.reload()
    expect(admin.locator("#numbers")).to_be_hidden()


def test_it_fits_a_phone(admin: Page) -> None:
    """At 375 pixels one scrolls one way only."""
    admin.set_viewport_size({"width": 375, "height": 800})
    admin.emulate_media(color_scheme="dark")
    enter(admin, TOKEN)
    expect(admin.locator("#rates li")).to_have_count(8)
    assert admin.evaluate("() => document.documentElement.scrollWidth") == 375

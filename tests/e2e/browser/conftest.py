"""A real browser, Debian's Chromium, and pages in it that must not complain."""

import re
import shutil
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path

import pytest
from playwright.sync_api import Browser, BrowserContext, Error, Page, sync_playwright

from tests.needs import need

ROOT = Path(__file__).parents[3]
PICTURES = ROOT / "build" / "screenshots"
"""Where each test leaves a picture of its pages; CI keeps them."""
BROWSERS = ("chromium", "google-chrome")
"""Debian's, and the same as it is on the machines of GitHub."""
FLAGS = [
    *("--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run"),
    *("--disable-background-networking", "--disable-component-update", "--disable-sync"),
    *("--enable-precise-memory-info", "--js-flags=--expose-gc"),
]
PATIENCE = 30_000
"""Milliseconds after which what a test waits for will not come any more."""


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    """Start the browser; without it skip, but never where CI counts on it.

    It goes with its file: while Playwright runs, no other test can have an event loop.
    """
    chromium = next(filter(None, map(shutil.which, BROWSERS)), None)
    need(chromium, "There is no Chromium here; on Debian: apt install chromium")
    with sync_playwright() as playwright:
        running = playwright.chromium.launch(executable_path=chromium, args=FLAGS)
        yield running
        running.close()


@pytest.fixture
def context(browser: Browser, request: pytest.FixtureRequest) -> Iterator[BrowserContext]:
    """Return a browser profile of the test's own; at the end its pages are pictured."""
    context = browser.new_context(viewport={"width": 1360, "height": 860})
    context.set_default_timeout(PATIENCE)
    context.set_default_navigation_timeout(PATIENCE)
    yield context
    PICTURES.mkdir(parents=True, exist_ok=True)
    name = re.sub(r"\W+", "-", request.node.name).strip("-")
    for number, page in enumerate(context.pages):
        with suppress(Error):  # of one that crashed there is no picture
            page.screenshot(path=PICTURES / f"{name}-{number}.png")
    context.close()


@pytest.fixture
def new_page(context: BrowserContext) -> Iterator[Callable[[], Page]]:
    """Return what opens a page; an error in any of them fails the test."""
    errors: list[str] = []

    def opened() -> Page:
        page = context.new_page()
        page.on("pageerror", lambda error: errors.append(str(error)))
        return page

    yield opened
    assert errors == []


@pytest.fixture
def page(new_page: Callable[[], Page]) -> Page:
    """Return a page."""
    return new_page()

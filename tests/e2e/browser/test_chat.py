"""The chat of docs/examples, from the package in an empty folder, in a real browser."""

import shutil
from collections.abc import Iterator
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread

import pytest
from playwright.sync_api import Page, expect

from tests.devhub import running_devhub
from tests.e2e.js.app import require_client
from tests.e2e.js.test_package import install
from tests.harness import serving

PAGE = Path(__file__).parents[3] / "docs" / "examples" / "chat" / "index.html"


class _Files(SimpleHTTPRequestHandler):
    def log_message(self, format: str, *args: object) -> None:
        """Say nothing."""


@pytest.fixture
def folder(tmp_path: Path) -> Iterator[str]:
    """Do as the README of the chat says, and return where the folder is served."""
    require_client()
    install(tmp_path)
    shutil.copy(PAGE, tmp_path)
    server = ThreadingHTTPServer(("127.0.0.1", 0), partial(_Files, directory=str(tmp_path)))
    thread = Thread(target=server.serve_forever)
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    thread.join()
    server.server_close()


@pytest.mark.timeout(120)
def test_alice_and_bob_chat(page: Page, folder: str, store_url: str) -> None:
    """What one writes, the other reads, and answers."""
    with (
        running_devhub() as hub,
        serving(store_url, names_api=hub.url, dev_hosts=(hub.host_port,)) as server,
    ):
        page.goto(f"{folder}/?server={server.url}&hub={hub.url}")
        alice, bob = page.locator("#alice"), page.locator("#bob")
        expect(alice).to_have_attribute("title", "live")
        expect(bob).to_have_attribute("title", "live")

        alice.get_by_label("Write to Bob").fill("Lunch?")
        alice.get_by_label("Write to Bob").press("Enter")
        expect(bob.locator("li")).to_have_text(["them: Lunch?"])
        bob.get_by_label("Write to Alice").fill("At one.")
        bob.get_by_label("Write to Alice").press("Enter")
        expect(alice.locator("li")).to_have_text(["me: Lunch?", "them: At one."])
        page.goto("about:blank")

"""The TypeScript client in a real browser: tabs, sleep, restarts, walls, full mailboxes."""

import shutil
import threading
from collections.abc import Callable, Iterator
from contextlib import suppress
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import httpx2
import pytest
from playwright.sync_api import Error, Page

from tests.harness import Person, RunningServer
from tests.processes import Server, wait_until

HERE = Path(__file__).parent
BUNDLE = HERE.parents[2] / "pushd" / "web" / "playground" / "client.js"
MANY = 10_000
BATCH = 1000
MIB = 1024 * 1024


class Quiet(SimpleHTTPRequestHandler):
    """Serves files and says nothing."""

    def log_message(self, *_: Any) -> None:
        """Say nothing."""


@pytest.fixture(scope="module")
def app(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Serve the app at an origin of its own, and return its address."""
    files = shutil.copytree(HERE / "app", tmp_path_factory.mktemp("app") / "files")
    shutil.copy(BUNDLE, files)
    handler = partial(Quiet, directory=str(files))
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}/"
        server.shutdown()
        thread.join()


class Bob:
    """Bob at a server: pages that listen as him, and Alice, who writes to him."""

    def __init__(self, url: str, app: str, new_page: Callable[[], Page]) -> None:
        self.url = url
        self.alice, self.bob = Person(url), Person(url)
        self._app = app
        self._new_page = new_page

    def opens(self, prepare: Callable[[Page], None] = lambda _: None) -> Page:
        """Open a page that listens."""
        page = self._new_page()
        prepare(page)
        page.goto(self._app)
        wait_until(lambda: bool(page.evaluate("() => window.isReady")), "the app")
        arguments = [self.url, self.bob.key.to_hex()]
        page.evaluate("([server, key]) => window.begin(server, key)", arguments)
        return page

    def gets(self, *payloads: str) -> None:
        """Have Alice deliver to Bob."""
        for at in range(0, len(payloads), BATCH):
            batch = [
                {"to": self.bob.did, "payload": one} for one in payloads[at : at + BATCH]
            ]
            httpx2.post(
                f"{self.url}/v1/deliveries",
                headers=self.alice.deliver(self.bob.did),
                json={"deliveries": batch},
                trust_env=False,
                timeout=30,
            ).raise_for_status()

    def unread(self) -> int:
        """Return how many messages wait for Bob."""
        answer = httpx2.get(
            f"{self.url}/v1/messages", headers=self.bob.receive(), trust_env=False
        )
        count: int = answer.json()["unread"]
        return count


@pytest.fixture
def bob(server: RunningServer, app: str, new_page: Callable[[], Page]) -> Bob:
    """Return Bob, whose pages an ordinary server pushes to."""
    return Bob(server.url, app, new_page)


def state(page: Page) -> dict[str, Any]:
    """Return how the page's connection stands."""
    told: dict[str, Any] = page.evaluate("() => window.state")
    return told


def live(page: Page, way: str = "websocket") -> None:
    """Wait until the page is live, by this way."""

    def is_live() -> bool:
        now = state(page)
        return now.get("is") == "live" and now["way"] == way

    wait_until(is_live, f"live by {way}, not {state(page)}")


def heard(page: Page, *payloads: str) -> None:
    """Wait until the page heard these, each once and in this order."""
    wait_until(
        lambda: len(page.evaluate("() => window.heard")) >= len(payloads),
        f"{payloads}, not {page.evaluate('() => window.heard')}",
    )
    assert page.evaluate("() => window.heard") == list(payloads)


def sessions(server: RunningServer, owner: Person) -> int:
    """Return how many sessions somebody has."""
    return len(server.parts["hub"]._listeners.get(owner.did, ()))


# --- tabs ----------------------------------------------------------------------------


def test_two_tabs_share_one_socket(bob: Bob, server: RunningServer) -> None:
    """Both hear everything once, over the connection of one of them."""
    first, second = bob.opens(), bob.opens()
    live(first)
    live(second)
    bob.gets("a", "b")
    heard(first, "a", "b")
    heard(second, "a", "b")
    assert sorted(state(page)["leader"] for page in (first, second)) == [False, True]
    assert sessions(server, bob.bob) == 1


def test_when_a_tab_is_killed_the_other_takes_over(bob: Bob, server: RunningServer) -> None:
    """No farewell is needed, and nothing is lost between the two."""
    first = bob.opens()
    live(first)
    second = bob.opens()
    live(second)
    bob.gets("before")
    heard(second, "before")
    wait_until(lambda: bob.unread() == 0, "it is acked")
    crash(first)
    bob.gets("after")
    heard(second, "before", "after")
    live(second)
    assert state(second)["leader"]
    wait_until(lambda: bob.unread() == 0, "both are acked")
    wait_until(lambda: sessions(server, bob.bob) == 1, "one session")


def crash(page: Page) -> None:
    """End the process of a page, as an out-of-memory killer does."""
    with page.expect_event("crash"), suppress(Error):
        page.goto("chrome://crash")


# --- sleep, restarts, walls ----------------------------------------------------------


def test_a_page_that_slept_catches_up(bob: Bob) -> None:
    """Frozen, as in a bag, it hears nothing; woken up it hears everything, once."""
    page = bob.opens()
    live(page)
    devtools = page.context.new_cdp_session(page)
    devtools.send("Page.setWebLifecycleState", {"state": "frozen"})
    bob.gets(*map(str, range(30)))
    devtools.send("Page.setWebLifecycleState", {"state": "active"})
    heard(page, *map(str, range(30)))
    wait_until(lambda: bob.unread() == 0, "all are acked")


def test_a_restart_is_survived(
    tmp_path: Path, app: str, new_page: Callable[[], Page]
) -> None:
    """The page comes back by itself, and goes on where it was."""
    with Server(tmp_path, "--drain-seconds", "1") as first:
        bob = Bob(first.url, app, new_page)
        page = bob.opens()
        live(page)
        bob.gets("before")
        heard(page, "before")
        wait_until(lambda: bob.unread() == 0, "it is acked")
        first.process.terminate()
        assert first.ends() == 0
    wait_until(lambda: state(page)["is"] != "live", "the page notices")
    port = bob.url.rpartition(":")[2]
    with Server(tmp_path, "--port", port, name="second"):
        bob.gets("after")
        heard(page, "before", "after")
        live(page)


def test_without_a_websocket_events_carry_on(bob: Bob) -> None:
    """Where none gets through, the frames come as server-sent events."""
    page = bob.opens(without_websocket)
    live(page, "events")
    bob.gets("a", "b")
    heard(page, "a", "b")
    wait_until(lambda: bob.unread() == 0, "both are acked")


def test_without_events_either_polling_carries_on(bob: Bob) -> None:
    """And where an answer is held back until it is whole, requests that wait."""

    def walled(page: Page) -> None:
        without_websocket(page)
        page.route("**/v1/stream*", lambda route: route.abort())

    page = bob.opens(walled)
    live(page, "polling")
    bob.gets("a", "b")
    heard(page, "a", "b")
    wait_until(lambda: bob.unread() == 0, "both are acked")


def without_websocket(page: Page) -> None:
    """Let no websocket of a page get through."""
    page.route_web_socket("**/v1/stream", lambda socket: socket.close())


# --- many ----------------------------------------------------------------------------


def watched(page: Page) -> None:
    """Note how long a page cannot paint, from its beginning."""
    page.add_init_script("window.onload = () => watch()")


def test_ten_thousand_unread_leave_the_page_usable(bob: Bob) -> None:
    """Each is heard once and in order, while the page paints, and holds little of it."""
    httpx2.get(f"{bob.url}/v1/messages", headers=bob.bob.receive(), trust_env=False)
    payloads = [f"{n:0500}" for n in range(MANY)]
    bob.gets(*payloads)
    page = bob.opens(watched)
    count = "() => window.heard.length"
    wait_until(lambda: page.evaluate(count) >= MANY, f"{MANY} messages")
    assert page.evaluate("() => window.heard") == payloads
    wait_until(lambda: bob.unread() == 0, "all are acked")
    page.evaluate("() => (window.heard = [])")
    assert page.evaluate("() => window.heldBytes()") < 32 * MIB
    assert page.evaluate("() => window.longestGap") < 2000

"""The playground in a real browser: what a newcomer sees in the first half minute."""

import re
from collections.abc import Iterator

import httpx2
import pytest
from playwright.sync_api import Locator, Page, expect

from tests.harness import RunningServer, serving
from tests.processes import Program

expect.set_options(timeout=30_000)


@pytest.fixture(scope="module")
def demo(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Run the demo, as `make run` does, and return the address that it prints."""
    directory = tmp_path_factory.mktemp("demo")
    with Program(["demo", "--port", "0", "--throw-away"], directory) as program:
        found = re.search(r"http://\S+/playground", program.says("Ctrl-C stops it."))
        assert found is not None
        yield found[0]


@pytest.fixture
def play(page: Page, demo: str) -> Iterator[Page]:
    """Open the playground, whose policy may not be broken; at the end all is read."""
    said: list[str] = []
    page.on("console", lambda message: said.append(message.text))
    page.goto(demo)
    for name in ("phone", "laptop"):
        expect(device(page, name).locator(".state")).to_have_text("live")
    yield page
    everything = device(page, "laptop").locator(".all")
    if everything.is_enabled():
        everything.click()
    for mailbox in page.locator(".mailbox").all():
        expect(mailbox.locator(".pill")).to_have_text("empty")
    assert said == []


def device(page: Page, name: str) -> Locator:
    """Return one of Bob's devices."""
    return page.locator(f"[data-device={name}]")


def write(page: Page, text: str) -> None:
    """Have Alice send a message."""
    page.get_by_label("Message to Bob").fill(text)
    page.get_by_role("button", name="Send", exact=True).click()


def test_a_message_is_open_at_bobs_and_sealed_at_the_server(play: Page) -> None:
    """Alice's words are on Bob's devices, under her proven name, and nowhere between."""
    write(play, "The tea is ready.")
    for name in ("phone", "laptop"):
        message = device(play, name).locator("li", has_text="The tea is ready.")
        expect(message).to_contain_text("alice.id.blockstack")
    held = play.locator(".mailbox").first
    expect(held.locator(".pill")).to_have_text("1 held")
    expect(held.locator(".cipher")).to_have_text(re.compile(r"^[0-9a-f]{100,}$"))
    assert "tea" not in held.inner_text()
    expect(play.locator("#sent li").first).to_contain_text("kept by Bob's server")


def test_read_on_one_device_is_read_on_the_other(play: Page) -> None:
    """And the server forgets it."""
    write(play, "Read me.")
    phone, laptop = device(play, "phone"), device(play, "laptop")
    expect(laptop.locator("li", has_text="Read me.")).to_be_visible()
    phone.locator("li", has_text="Read me.").get_by_role("button").click()
    expect(laptop.locator("li.read", has_text="Read me.")).to_be_visible()
    expect(laptop.locator(".unread")).to_have_text("nothing unread")
    expect(play.locator(".mailbox .pill").first).to_have_text("empty")


def test_bob_catches_up_on_a_hundred(play: Page) -> None:
    """Offline he gets nothing; back again everything, with a bar that shows how far."""
    phone = device(play, "phone")
    online = phone.get_by_role("switch", name="Online")
    before = int(phone.get_attribute("data-messages") or 0)
    online.uncheck()
    expect(phone.locator(".state")).to_have_text("offline")
    play.get_by_role("button", name="Send a hundred").click()
    expect(play.locator(".mailbox .pill").first).to_have_text("100 held")
    assert int(phone.get_attribute("data-messages") or 0) == before
    bars = play.evaluate_handle(
        """() => {
            const seen = [];
            const bar = document.querySelector("[data-device=phone] progress");
            new MutationObserver(() => bar.hidden || seen.push([bar.value, bar.max]))
                .observe(bar, { attributes: true });
            return seen;
        }"""
    )
    online.check()
    expect(phone).to_have_attribute("data-messages", str(before + 100))
    expect(phone.locator("progress")).to_be_hidden()
    seen = bars.json_value()
    assert {top for _, top in seen} == {100}
    assert len({value for value, _ in seen}) > 10


def test_bob_changes_his_server(play: Page) -> None:
    """What Alice sends from then on is kept at the new one, and nothing is lost."""
    boxes = play.locator(".mailbox")
    first, second = play.get_by_label("His message server").locator("option").all()
    for option, box in ((second, boxes.nth(1)), (first, boxes.nth(0))):
        play.get_by_label("His message server").select_option(option.get_attribute("value"))
        expect(play.get_by_label("His message server")).to_be_enabled()
        text = f"To {option.inner_text()}"
        write(play, text)
        expect(box.locator(".pill")).to_have_text("1 held")
        expect(device(play, "phone").locator("li", has_text=text)).to_be_visible()
        device(play, "phone").locator(".all").click()
        expect(box.locator(".pill")).to_have_text("empty")


def test_the_wire_shows_frames_both_ways_and_no_token(play: Page) -> None:
    """Whoever looks over somebody's shoulder learns how it works, and no secret."""
    play.locator("#wire summary").click()
    frames = play.locator("#frames")
    expect(frames.locator("li.out b", has_text="hello").first).to_be_visible()
    expect(frames.locator("li.in b", has_text="welcome").first).to_be_visible()
    assert "eyJ" not in frames.inner_text()
    play.locator("#wire summary").click()


def test_alice_and_bob_have_a_window_each(page: Page, demo: str) -> None:
    """By a link; in Alice's there is nothing of Bob's."""
    page.goto(f"{demo}#bob")
    expect(device(page, "phone").locator(".state")).to_have_text("live")
    alice = page.context.new_page()
    alice.goto(f"{demo}#alice")
    expect(alice.locator("#bob")).to_be_hidden()
    expect(alice.locator("#server")).to_be_hidden()
    write(alice, "From my window.")
    expect(device(page, "phone").locator("li", has_text="From my window.")).to_be_visible()
    device(page, "phone").locator(".all").click()
    expect(device(page, "laptop").locator(".unread")).to_have_text("nothing unread")


def test_a_server_that_is_no_demo_has_people_of_the_pages_own(
    page: Page, store_url: str
) -> None:
    """Made up by the page, they write, catch up and read as the demo's do."""
    with serving(store_url, playground=True) as server:
        page.goto(f"{server.url}/playground")
        phone, laptop = device(page, "phone"), device(page, "laptop")
        expect(laptop.locator(".state")).to_have_text("live")
        phone.get_by_role("switch").uncheck()
        write(page, "Just between us.")
        expect(laptop.locator("li", has_text="Just between us.")).to_be_visible()
        expect(page.locator(".mailbox .pill")).to_have_text("1 held")
        assert "between" not in page.locator(".mailbox").inner_text()
        phone.get_by_role("switch").check()
        phone.locator("li", has_text="Just between us.").get_by_role("button").click()
        expect(laptop.locator("li.read")).to_be_visible()
        expect(page.locator(".mailbox .pill")).to_have_text("empty")
        expect(page.get_by_label("His message server")).to_be_hidden()


def test_nobody_who_did_not_ask_has_a_playground(server: RunningServer) -> None:
    """A server for others shows no page."""
    answer = httpx2.get(f"{server.url}/playground", trust_env=False)
    assert answer.status_code == 404


@pytest.mark.parametrize("colours", ["light", "dark"])
def test_it_fits_a_phone(play: Page, colours: str) -> None:
    """At 375 pixels nothing is cut off, and one scrolls one way only."""
    write(play, "A word without end: " + "x" * 200)
    expect(device(play, "phone").locator("li").first).to_be_visible()
    play.emulate_media(color_scheme="dark" if colours == "dark" else "light")
    play.set_viewport_size({"width": 375, "height": 800})
    assert play.evaluate("() => document.documentElement.scrollWidth") == 375


def test_it_can_be_used_with_a_keyboard(play: Page) -> None:
    """Every control has a name, is reached by Tab, and shows where one is."""
    play.locator("body").focus()
    reached: list[str] = []
    for _ in range(40):
        play.keyboard.press("Tab")
        reached.append(
            play.evaluate(
                """() => {
                    const at = document.activeElement;
                    const style = getComputedStyle(at);
                    const name = at.getAttribute("aria-label") ?? at.labels?.[0]?.innerText
                        ?? at.labels?.[0]?.textContent ?? at.innerText;
                    const shown = style.outlineStyle !== "none";
                    return `${at.tagName} ${name.trim()} ${shown}`;
                }"""
            )
        )
    wanted = {
        "TEXTAREA Message to Bob true",
        "BUTTON Send true",
        "BUTTON Send a hundred true",
        "SELECT His message server true",
        "INPUT Online true",
    }
    assert wanted <= set(reached)
    assert not [one for one in reached if one.split(" ")[1] == ""]


def test_only_the_page_is_told_the_keys(demo: str) -> None:
    """A page of another origin, or one that leads its own name here, is refused."""
    url = f"{demo}/people"
    for headers in (
        {},
        {"Sec-Fetch-Site": "cross-site"},
        {"Sec-Fetch-Site": "same-site"},
        {"Sec-Fetch-Site": "same-origin", "Host": "evil.example:8480"},
    ):
        answer = httpx2.get(url, headers=headers, trust_env=False)
        assert answer.status_code == 403
        assert "key" not in answer.json()
    ours = {"Sec-Fetch-Site": "same-origin"}
    assert len(httpx2.get(url, headers=ours, trust_env=False).json()["bob"]["key"]) == 64

"""The shell of the page: its files, signing in, the way from view to view."""

from __future__ import annotations

import hashlib
import re

import pytest
from playwright.sync_api import Page, expect

from shared.edge.page import FILES
from tests.integration.served import ROOT
from tests.ui.conftest import NARROW, WIDE, OpenPage, obstacles
from tests.ui.deployment import Deployment

STATIC = ROOT / "ui_fn" / "static"
VIEWS = ("Now", "Features", "Evaluations", "Models", "Events", "Setup", "Try it")


def test_what_is_vendored_is_what_was_published_with_its_licence() -> None:
    vendor = STATIC / "vendor"
    listed = dict(line.split()[::-1] for line in (vendor / "SHA256SUMS").read_text().splitlines())
    parts = {part for parts in FILES.values() for part in parts if part.startswith("vendor/")}

    assert {f"vendor/{name}" for name in listed} == parts
    for name, wanted in listed.items():
        assert hashlib.sha256((vendor / name).read_bytes()).hexdigest() == wanted
    for name in ("htm", "pico", "preact", "uplot"):
        assert "licen" in (vendor / f"{name}.LICENSE.txt").read_text().lower()


def test_every_file_that_the_page_names_is_served_and_no_other_exists() -> None:
    named = set()
    for path in STATIC.rglob("*"):
        if path.suffix in (".js", ".html") and path.parent.name != "vendor":
            named |= set(re.findall(r'"/page/([a-z0-9./-]+)"', path.read_text()))
    own = {
        str(path.relative_to(STATIC)) for path in STATIC.rglob("*") if path.is_file() and path.parent.name != "vendor"
    }

    assert named <= set(FILES)
    assert own == {part for parts in FILES.values() for part in parts if not part.startswith("vendor/")}


def test_the_page_is_nothing_without_a_key(open_page: OpenPage) -> None:
    page = open_page(key="a wrong one", expected=("401",))

    expect(page.get_by_role("alert")).to_contain_text("no key of this loop")
    expect(page.get_by_role("navigation")).to_have_count(0)
    page.get_by_label("Key").fill("")
    assert page.evaluate("[localStorage.length, sessionStorage.length, document.cookie]") == [0, 0, ""]


def test_a_key_is_forgotten_when_the_page_is_loaded_again(open_page: OpenPage) -> None:
    page = open_page()
    expect(page.get_by_role("navigation")).to_be_visible()
    assert page.evaluate("[localStorage.length, sessionStorage.length, document.cookie]") == [0, 0, ""]

    page.reload()

    expect(page.get_by_label("Key")).to_have_value("")


def test_a_loops_key_opens_its_page_alone(open_page: OpenPage, deployment: Deployment) -> None:
    made = deployment.call("POST", "loops", {"name": "page-key"})
    key = made["keys"]["key1"]

    page = open_page("/loops/page-key/", key=key)
    expect(page.locator(".loop")).to_have_text("page-key")
    other = open_page("/", key=key, expected=("401",))
    expect(other.get_by_role("alert")).to_contain_text("no key of this loop")


def test_an_address_is_read_as_the_host_reads_it(open_page: OpenPage, deployment: Deployment) -> None:
    made = deployment.call("POST", "loops", {"name": "page-capital"})

    page = open_page("/Loops/page-capital/#/now", key=made["keys"]["key1"])
    expect(page.locator(".loop")).to_have_text("page-capital")
    none = open_page("/loops/%zz/#/now", expected=("404",))
    expect(none.get_by_role("alert")).to_contain_text("See the address of this page.")


def test_another_loop_is_a_step_that_can_be_taken_back(open_page: OpenPage, deployment: Deployment) -> None:
    deployment.call("POST", "loops", {"name": "page-switch"})
    page = open_page("/#/setup")

    page.get_by_label("Loop", exact=True).select_option("page-switch")
    expect(page).to_have_url(f"{deployment.address}/loops/page-switch/#/setup")
    expect(page.get_by_label("Loop", exact=True)).to_have_value("page-switch")
    page.go_back()
    expect(page.get_by_label("Loop", exact=True)).to_have_value("default")


def test_what_answers_slower_than_it_is_asked_is_shown(open_page: OpenPage) -> None:
    page = open_page("/#/setup")
    expect(page.get_by_role("heading", name="Settings")).to_be_visible()
    # As long as the list of events is not loaded again; and as fetch does, it ends when it is told to.
    page.evaluate("""() => {
      const real = fetch;
      window.fetch = (address, options) => new Promise((resolve, reject) => {
        const slow = String(address).includes("/v1/events?");
        setTimeout(() => resolve(real(address, options)), slow ? 4000 : 0);
        options?.signal?.addEventListener("abort", () => reject(options.signal.reason));
      });
    }""")

    page.get_by_role("link", name="Events", exact=True).click()

    expect(page.get_by_role("region", name="The newest first")).to_be_visible()


def test_a_connection_that_hangs_is_told(open_page: OpenPage) -> None:
    page = open_page("/#/events")
    expect(page.get_by_role("region", name="The newest first")).to_be_visible()
    page.evaluate("""() => {
      const real = AbortSignal.timeout;
      AbortSignal.timeout = (ms) => real.call(AbortSignal, ms / 60);
    }""")

    page.route("**/rankloop/v1/events?*", lambda _: None)  # never answered

    expect(page.locator(".stale")).to_contain_text("No answer came")
    expect(page.get_by_role("region", name="The newest first")).to_be_visible()


def test_a_loop_that_cannot_be_opened_just_now_leaves_the_page_as_it_was(
    open_page: OpenPage, deployment: Deployment
) -> None:
    deployment.call("POST", "loops", {"name": "page-stay"})
    page = open_page("/#/events", expected=("ERR_FAILED",))
    page.route("**/loops/page-stay/rankloop/v1/access", lambda route: route.abort())

    page.get_by_label("Loop", exact=True).select_option("page-stay")

    expect(page.get_by_role("alert")).to_contain_text("No answer came")
    expect(page).to_have_url(f"{deployment.address}/#/events")
    expect(page.get_by_label("Loop", exact=True)).to_have_value("default")
    expect(page.get_by_role("region", name="The newest first")).to_be_visible()
    assert not page.evaluate("document.getElementById('content').inert")
    page.unroute("**/loops/page-stay/rankloop/v1/access")
    page.get_by_role("button", name="Try again").click()
    expect(page).to_have_url(f"{deployment.address}/loops/page-stay/#/events")
    expect(page.get_by_label("Loop", exact=True)).to_have_value("page-stay")
    expect(page.get_by_role("alert")).to_have_count(0)


def test_what_is_stale_says_the_next_step(open_page: OpenPage) -> None:
    page = open_page("/#/events", expected=("401",))
    expect(page.get_by_role("region", name="The newest first")).to_be_visible()
    refused = {"error": {"code": "Unauthorized", "message": "No such key."}}

    page.route("**/rankloop/v1/events?*", lambda route: route.fulfill(status=401, json=refused))

    expect(page.locator(".stale")).to_contain_text("No such key. The key may have been replaced: sign out,")


def test_a_time_of_another_day_is_told_with_its_date(open_page: OpenPage) -> None:
    told = open_page().evaluate("""async () => {
      const { html, render } = await import("/page/preact.js");
      const { When } = await import("/page/parts.js");
      const place = document.createElement("div");
      const now = Date.now() / 1000;
      return [now, now - 3 * 86400, now + 3 * 86400].map((at) => {
        render(html`<${When} at=${at} short />`, place);
        return place.textContent;
      });
    }""")

    assert [bool(re.fullmatch(r"\d\d:\d\d:\d\d", one)) for one in told] == [True, False, False]
    assert all(re.fullmatch(r"\d+ \w+ \d{4}, \d\d:\d\d:\d\d", one) for one in told[1:])


def test_where_there_is_no_clipboard_a_text_is_copied_by_hand(open_page: OpenPage, deployment: Deployment) -> None:
    page = open_page("/#/setup?section=keys")
    # As it is without https, elsewhere than on localhost.
    page.evaluate("""() => {
      window.clipboard = navigator.clipboard;
      Object.defineProperty(navigator, "clipboard", { value: undefined });
    }""")

    page.get_by_role("button", name="Copy the endpoint").click()
    expect(page.get_by_label("Press Ctrl+C")).to_be_focused()
    assert obstacles(page) == []
    page.keyboard.press("Control+C")

    expect(page.get_by_role("button", name="Copied")).to_be_visible()
    expect(page.get_by_label("Press Ctrl+C")).to_have_count(0)
    assert page.evaluate("window.clipboard.readText()") == f"{deployment.address}/"


def test_a_view_that_cannot_be_drawn_says_so_and_leaves_the_others(open_page: OpenPage) -> None:
    page = open_page("/#/setup", expected=("Cannot read properties",))
    expect(page.get_by_role("heading", name="Settings")).to_be_visible()
    page.route("**/rankloop/v1/events?*", lambda route: route.fulfill(json={"events": [None]}))

    page.get_by_role("link", name="Events", exact=True).click()

    expect(page.get_by_role("alert")).to_contain_text("This view cannot be drawn")
    page.get_by_role("link", name="Models", exact=True).click()
    expect(page.get_by_role("heading", name="Models")).to_be_visible()
    page.unroute("**/rankloop/v1/events?*")
    page.get_by_role("link", name="Events", exact=True).click()
    expect(page.get_by_role("region", name="The newest first")).to_be_visible()


@pytest.mark.parametrize(("width", "dark"), [(WIDE, False), (NARROW, True)], ids=["wide-light", "narrow-dark"])
def test_every_view_opens_without_obstacles(open_page: OpenPage, dark: bool, width: int) -> None:
    page = open_page(dark=dark, width=width)

    for name in VIEWS:
        page.get_by_role("link", name=name, exact=True).click()
        expect(page.get_by_role("link", name=name, exact=True)).to_have_attribute("aria-current", "page")
        settled(page)
        expect(page.locator("main h1")).to_have_count(1)
        assert obstacles(page) == [], name
        assert page.evaluate("document.documentElement.scrollWidth <= innerWidth"), f"{name} is cut off"


def test_colours_can_be_turned(open_page: OpenPage) -> None:
    page = open_page()
    ground = "getComputedStyle(document.documentElement).getPropertyValue('--ink')"
    light = page.evaluate(ground)

    page.get_by_role("button", name="Dark colours").click()

    assert page.evaluate(ground) != light
    page.get_by_role("button", name="Light colours").click()
    assert page.evaluate(ground) == light


def test_a_keyboard_is_enough_to_go_from_view_to_view(open_page: OpenPage) -> None:
    page = open_page()
    expect(page.locator("#content")).to_be_focused()

    page.keyboard.press("Shift+Tab")
    expect(page.locator(":focus")).to_have_text("Sign out")
    page.get_by_role("link", name="To the content").focus()
    page.keyboard.press("Enter")
    expect(page.locator("#content")).to_be_focused()
    page.get_by_role("link", name="Models", exact=True).focus()
    page.keyboard.press("Enter")
    expect(page).to_have_title(re.compile("Models"))


def settled(page: Page) -> None:
    """Wait until nothing is loading."""
    expect(page.locator("main h1").first).to_be_visible()
    expect(page.locator("main [aria-busy=true]")).to_have_count(0)

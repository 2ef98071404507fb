"""Turns a served deployment and Debian's Chromium into pages that a test can look at and work with."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Final

import pytest
from playwright.sync_api import Browser, BrowserContext, ConsoleMessage, Page, Request, Route, expect, sync_playwright

from localhost.azurite import Azurite
from localhost.setup import BROWSER_PACKAGES, BROWSERS
from tests.ui.deployment import PATIENCE, Deployment

EVENTS: Final = 400
WIDE, NARROW = 1200, 390
_AXE: Final = Path(__file__).parent / "js" / "node_modules" / "axe-core" / "axe.min.js"
_OPTIONS: Final = (
    "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking",
    "--disable-component-update", "--disable-sync",
)  # fmt: skip


@pytest.fixture(scope="session")
def azurite() -> Iterator[Azurite]:
    """An Azurite of the page's tests alone: others leave a default loop, with settings and events, in theirs."""
    with Azurite() as running:
        yield running


@pytest.fixture(scope="session")
def deployment(azurite: Azurite) -> Iterator[Deployment]:
    """A deployment whose default loop has served, joined and learned `EVENTS` coffees. Tests may add, not take away."""
    served = Deployment(azurite.connection_string)
    try:
        served.hasten()
        served.serve_coffee(EVENTS)
        served.settle(EVENTS)
        yield served
    finally:
        served.stop()


@pytest.fixture(scope="module")
def chromium() -> Iterator[Browser]:
    """The browser; of a module, since while it runs no event loop of another test can."""
    found = next(filter(None, map(shutil.which, BROWSERS)), None)
    assert found, (
        f"There is no {BROWSER_PACKAGES[0]} here, which the tests of the page drive: run `make setup`, or install it."
    )
    options = [*_OPTIONS, "--no-sandbox"] if os.geteuid() == 0 else list(_OPTIONS)
    expect.set_options(timeout=1000 * PATIENCE)  # a busy machine is no reason to fail
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=found, args=options)
        yield browser
        browser.close()


class Watched:
    """A page, and what went wrong in it: requests to elsewhere, errors, and what the content policy refused."""

    def __init__(self, page: Page, origin: str) -> None:
        self.page = page
        self.wrong: list[str] = []
        self.expected: tuple[str, ...] = ()
        self._origin = f"{origin}/"
        page.on("request", self._requested)
        page.on("console", self._said)
        page.on("pageerror", lambda error: self.wrong.append(f"error: {error}"))

    def _requested(self, request: Request) -> None:
        if not request.url.startswith((self._origin, "data:", "blob:")):
            self.wrong.append(f"a request left the origin: {request.url}")

    def _said(self, message: ConsoleMessage) -> None:
        if message.type in ("error", "warning") and not any(text in message.text for text in self.expected):
            self.wrong.append(f"{message.type}: {message.text}")


OpenPage = Callable[..., Page]


@pytest.fixture
def open_page(chromium: Browser, deployment: Deployment) -> Iterator[OpenPage]:
    """Opens the page, signed in; a key or a deployment of its own may be given.

    The test fails when the page asks another origin for anything, when a script of it fails, and when it tells of an
    error or a warning on the console, but for those that hold a text of `expected`, such as the status of a refusal.
    """
    watched: list[tuple[BrowserContext, Watched]] = []
    served = deployment

    def open_(
        path: str = "/#/now",
        *,
        dark: bool = False,
        width: int = WIDE,
        key: str | None = None,
        expected: tuple[str, ...] = (),
        deployment: Deployment | None = None,
    ) -> Page:
        at = deployment or served
        context = chromium.new_context(
            base_url=at.address,
            color_scheme="dark" if dark else "light",
            viewport={"width": width, "height": 900},
            permissions=["clipboard-read", "clipboard-write"],
            reduced_motion="reduce",
        )
        page = context.new_page()
        seen = Watched(page, at.address)
        seen.expected = expected
        watched.append((context, seen))
        page.goto(path)
        sign_in(page, at.key if key is None else key)
        return page

    yield open_
    wrong = [text for _, seen in watched for text in seen.wrong]
    for context, _ in watched:
        context.close()
    assert wrong == []


def sign_in(page: Page, key: str) -> None:
    """Open the loop with a key."""
    page.get_by_label("Key").fill(key)
    page.get_by_role("button", name="Open").click()


def obstacles(page: Page) -> list[str]:
    """What axe-core finds that is serious or critical: which rule, and where."""
    # Not as a script of the page, which its content policy would refuse.
    page.evaluate(_AXE.read_text())
    found: dict[str, Any] = page.evaluate("axe.run(document, {resultTypes: ['violations']})")
    return [
        f"{violation['id']}: {node['target']} {node['failureSummary']}"
        for violation in found["violations"]
        if violation["impact"] in ("serious", "critical")
        for node in violation["nodes"]
    ]


def sign_in_to_read(page: Page, key: str) -> None:
    """Open the loop as somebody would whose key may read alone: what is answered of it says no more."""

    def reading(route: Route) -> None:
        answered = route.fetch()
        route.fulfill(response=answered, json={**answered.json(), "roles": ["read"]})

    page.route("**/rankloop/v1/access", reading)
    sign_in(page, key)


def assert_clear(page: Page) -> None:
    """Nothing stands in the way of anybody, and nothing is cut off."""
    assert obstacles(page) == []
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth"), "the page is cut off"

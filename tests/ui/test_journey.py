"""A newcomer's way through the page of a fresh `make run`: no other tool, and no dead end.

Pictures of it, and of every view, go into the folder that RANKLOOP_SCREENSHOTS names.
"""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Final, NamedTuple

import pytest
from playwright.sync_api import Locator, Page, expect

from localhost.azurite import HOST, ROOT
from tests.integration.test_run import free_port
from tests.ui.conftest import NARROW, WIDE, OpenPage, obstacles
from tests.ui.test_page import VIEWS, settled

PATIENCE: Final = 300_000
"""Milliseconds: only bounds how long a broken run hangs."""
QUICKER: Final = "--cb_explore_adf --epsilon 0.1 --power_t 0 -l 0.05 --cb_type mtr -q ::"


class Fresh(NamedTuple):
    """A deployment that was started just now."""

    address: str
    key: str


@pytest.fixture(scope="module")
def fresh(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Fresh]:
    """What `make run` starts, with nothing in it yet."""
    made = Fresh(f"http://{HOST}:{free_port()}", "newcomer")
    given = {"RANKLOOP_PORT": made.address.rpartition(":")[2], "RANKLOOP_KEY": made.key}
    data = {"RANKLOOP_DATA": str(tmp_path_factory.mktemp("fresh") / "data")}
    run = subprocess.Popen(
        [sys.executable, "-m", "localhost.up"],
        cwd=ROOT,
        env={**os.environ, **given, **data},
        stdout=subprocess.PIPE,
        text=True,
    )
    try:
        assert run.stdout is not None
        assert "Rankloop is ready" in run.stdout.readline()
        yield made
    finally:
        run.send_signal(signal.SIGTERM)
        run.communicate()


def test_a_newcomer_needs_nothing_but_the_page(fresh: Fresh, open_page: OpenPage) -> None:
    page = open_page("/", deployment=fresh)

    # It learns.
    to(page, "Try it")
    page.get_by_role("button", name="Start in the loop default").click()
    learned = page.locator(".figure", has_text="Of what can be learned").locator(".value")
    expect(learned).to_have_text(re.compile(r"^([6-9]\d|1\d\d) %$"), timeout=PATIENCE)
    picture(page, "try")
    page.get_by_role("button", name="Stop").click()
    expect(page.get_by_text("Done.")).to_be_visible(timeout=PATIENCE)

    # One event, and the same decision once more.
    page.get_by_role("link", name="open one of its events").click()
    expect(page.get_by_text("Same answer: yes.")).to_be_visible(timeout=PATIENCE)
    page.get_by_role("button", name="Explain this decision").click()
    expect(page.get_by_text("In units of the reward.")).to_be_visible(timeout=PATIENCE)
    picture(page, "event")

    # Another policy is weighed on the log, and applied.
    to(page, "Try it")
    page.get_by_role("link", name="compare policies on its log").click()
    page.get_by_role("button", name="New evaluation").click()
    page.get_by_label("Name", exact=True).fill("a quicker one")
    page.get_by_role("switch", name=re.compile("Look for better policies")).uncheck()
    page.get_by_role("button", name="Add a policy").click()
    page.get_by_label("Name of the policy").fill("quicker")
    page.get_by_label("Arguments").fill(QUICKER)
    page.get_by_role("button", name="Start", exact=True).click()
    expect(page.get_by_text("finished", exact=True)).to_be_visible(timeout=PATIENCE)
    picture(page, "evaluation")
    row(page, "quicker").get_by_role("button", name="Apply").click()
    page.get_by_role("dialog").get_by_role("button", name="Apply").click()
    expect(page.get_by_text("The new model stands")).to_be_visible(timeout=PATIENCE)

    # And back.
    to(page, "Models")
    page.get_by_role("row").filter(has_text="--epsilon 0.2").get_by_role("link").first.click()
    page.get_by_role("button", name="Roll back to it").click()
    page.get_by_role("dialog").get_by_role("button", name="Roll back").click()
    expect(page.get_by_text("pinned", exact=True)).to_be_visible(timeout=PATIENCE)
    to(page, "Now")
    settled(page)
    picture(page, "now")


def to(page: Page, view: str) -> None:
    """Go to a view as anybody does."""
    page.get_by_role("navigation", name="Views").get_by_role("link", name=view, exact=True).click()
    expect(page).to_have_title(re.compile(re.escape(view)))


def row(page: Page, name: str) -> Locator:
    """Of a policy, in the table of an evaluation."""
    table = page.get_by_role("table", name="Policies")
    return table.get_by_role("row").filter(has=page.get_by_role("cell", name=name, exact=True))


def picture(page: Page, name: str) -> None:
    """Keep what is seen, where that is asked for."""
    if folder := os.environ.get("RANKLOOP_SCREENSHOTS"):
        page.evaluate("scrollTo(0, 0)")
        page.screenshot(path=Path(folder) / f"{name}.png", full_page=True)


@pytest.mark.parametrize("dark", [False, True], ids=["light", "dark"])
@pytest.mark.parametrize("width", [WIDE, NARROW], ids=["wide", "narrow"])
def test_after_all_that_every_view_has_something_to_say(
    fresh: Fresh, open_page: OpenPage, dark: bool, width: int
) -> None:
    page = open_page("/", deployment=fresh, dark=dark, width=width)

    for view in VIEWS:
        to(page, view)
        settled(page)
        expect(page.get_by_role("alert").filter(has_text=re.compile(r"\S"))).to_have_count(0)
        assert len(page.locator("main").inner_text()) > 100, view
        assert obstacles(page) == [], view
        kind = f"{'dark' if dark else 'light'}-{'narrow' if width == NARROW else 'wide'}"
        picture(page, f"{view.lower().replace(' ', '-')}-{kind}")

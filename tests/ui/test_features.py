"""The view Features: what is shown, which features matter, and what the loop sees."""

from __future__ import annotations

import math
import re
from urllib.parse import quote

import pytest
from playwright.sync_api import expect

from demo.coffee import COFFEE
from tests.ui import test_events
from tests.ui.conftest import NARROW, WIDE, OpenPage, obstacles, sign_in
from tests.ui.deployment import Deployment

IMPORTANCES = "personalizer/featureImportances?api-version=2022-09-01-preview"


def test_actions_are_told_with_their_share_and_their_reward(open_page: OpenPage) -> None:
    page = open_page()
    # What the page was told, and not what a call of the test's own would be: events of other tests may still be joined.
    with page.expect_response(re.compile("metrics/actions")) as response:
        page.get_by_role("link", name="Features", exact=True).click()
    told = response.value.json()["actions"]

    expect(page.get_by_role("img", name="Share of the decisions")).to_be_visible()
    expect(page.get_by_text("Do not read this as which action is best.")).to_be_visible()
    of_others = {action["id"] for action in test_events.ACTIONS}  # which call the same loop, and may be joined by now
    assert {one["id"] for one in told} - of_others == set(COFFEE.actions)
    events = sum(sum(one["events"]) for one in told)
    for one in told:
        own = sum(one["events"])
        row = page.get_by_role("region", name="Actions of the last 24 h").get_by_role("row", name=one["id"])
        expect(row).to_contain_text(f"{own:,}")
        # As browsers round it, away from zero.
        expect(row).to_contain_text(f"{math.floor(1000 * own / events + 0.5) / 10:.1f} %")


def test_an_action_that_is_chosen_is_shown_with_its_interval(open_page: OpenPage) -> None:
    page = open_page("/#/features")
    name = next(iter(COFFEE.actions))

    page.get_by_role("link", name=name, exact=True).click()

    expect(page).to_have_url(re.compile(f"#/features.action={quote(name)}$"))
    chart = page.get_by_role("img", name=f"Average reward of each hour. {name}: ")
    expect(chart).to_have_attribute("aria-label", re.compile(r"\(\S+ … \S+\) at the end\.$"))


@pytest.mark.parametrize(("dark", "width"), [(False, WIDE), (True, NARROW)], ids=["light", "dark and narrow"])
def test_nothing_stands_in_the_way(open_page: OpenPage, dark: bool, width: int) -> None:
    page = open_page("/#/features", dark=dark, width=width)
    expect(page.get_by_role("heading", name="What the loop sees")).to_be_visible()
    expect(page.get_by_role("img", name="Share of the decisions")).to_be_visible()

    assert obstacles(page) == []
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")


def test_a_feature_importance_is_begun_watched_and_shown(open_page: OpenPage, deployment: Deployment) -> None:
    page = open_page("/#/features")

    page.get_by_label("Weigh the features of").select_option("1")
    page.get_by_role("button", name="Start", exact=True).click()

    expect(page.get_by_role("status").filter(has_text="Features, the last day")).to_be_visible()
    bars = page.get_by_role("table", name="What is lost without a feature")
    expect(bars.or_(page.get_by_text("There is too little to go by"))).to_be_visible(timeout=60_000)
    made = deployment.call("GET", IMPORTANCES)["value"][0]
    assert made["name"] == "Features, the last day"
    assert made["status"] == "Succeeded"


def test_an_importance_that_is_not_there_is_not_taken_for_another(open_page: OpenPage) -> None:
    page = open_page(expected=("404",))
    spans = dict.fromkeys(("creationTime", "startTime", "endTime"), "2026-01-01T00:00:00Z")
    listed = {"value": [{"id": "latest", "name": "Latest", "status": "Succeeded", **spans}]}
    page.route("**/personalizer/featureImportances?*", lambda route: route.fulfill(json=listed))

    page.goto("/#/features?importance=of-last-year")

    matters = page.get_by_role("region", name="Which features matter")
    expect(matters.get_by_role("alert")).to_contain_text("of-last-year")
    expect(matters.get_by_label("Shown")).to_have_value("of-last-year")


def test_who_may_only_read_is_told_which_role_it_takes(open_page: OpenPage, deployment: Deployment) -> None:
    page = open_page("/#/features")
    access = {"loop": "default", "roles": ["read"], "loops": ["default"]}
    page.route("**/rankloop/v1/access", lambda route: route.fulfill(json=access))

    page.reload()
    sign_in(page, deployment.key)

    start = page.get_by_role("button", name="Start", exact=True)
    expect(start).to_be_disabled()
    expect(start).to_have_attribute("title", re.compile("Rankloop.Manage"))


def test_what_health_finds_of_features_stands_beside_them(open_page: OpenPage) -> None:
    page = open_page()
    counted = {"seen": 900, "of": 1000, "texts": 900, "empty": 0, "large": 0}
    session = {"path": "context.session", "distinct": 880, "constant": False, "findings": ["valuesAreIds"]}
    dead = {"path": "context.channel", "distinct": 1, "constant": True, "findings": ["featureConstant"]}
    told = {"events": 1000, "features": [{**counted, **session}, {**counted, **dead}]}
    page.route("**/rankloop/v1/features", lambda route: route.fulfill(json=told))

    page.get_by_role("link", name="Features", exact=True).click()

    row = page.get_by_role("row", name="context.session")
    for text in ("90.0 %", "about 880", "looks like an id"):
        expect(row).to_contain_text(text)
    expect(page.get_by_role("row", name="context.channel")).to_contain_text("never changes")

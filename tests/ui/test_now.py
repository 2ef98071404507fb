"""The view Now: whether a loop learns, and whether it is well, in every mode."""

from __future__ import annotations

import re

import pytest
from playwright.sync_api import Page, expect

from tests.ui.conftest import EVENTS, NARROW, WIDE, OpenPage, obstacles
from tests.ui.deployment import Deployment, until
from tests.ui.written import written

CONFIGURATION = "personalizer/v1.1-preview.3/configurations/service"


def shown(page: Page, label: str) -> str:
    """What a figure says."""
    return page.locator(".figure").filter(has=page.get_by_text(label)).inner_text()


def test_it_tells_what_was_earned_by_whom(open_page: OpenPage, deployment: Deployment) -> None:
    page = open_page()

    chart = page.get_by_role("img", name="Average reward of a decision")
    expect(chart).to_be_visible()
    series = deployment.call("GET", "metrics")["series"]
    events, rewards = sum(series["events"]), sum(series["rewards"])
    assert events >= EVENTS
    policies = page.get_by_role("table", name="Average reward over the last 2 h")
    expect(policies.get_by_role("row", name="This loop")).to_contain_text(written(rewards / events, 3))
    expect(policies.get_by_role("row", name="Baseline, estimated")).to_be_visible()
    assert f"{events:,}" in shown(page, "Decisions")
    expect(page.get_by_role("img", name="Share of decisions that explored")).to_be_visible()
    serving = deployment.call("GET", "health")["modelVersion"]
    assert serving.split("-")[1][:6] in shown(page, "Model")


def test_calls_are_counted_by_what_they_were_answered(open_page: OpenPage, deployment: Deployment) -> None:
    def answered_ranks() -> int:
        return sum(deployment.call("GET", "metrics")["calls"]["rank"]["ok"])

    until(lambda: answered_ranks() >= EVENTS)  # instances count for some seconds before they say so
    page = open_page()

    row = page.get_by_role("region", name="Calls of the last 2 h").get_by_role("row", name="Rank")
    answered = answered_ranks()
    expect(row).to_contain_text(f"{answered:,}")


def test_the_address_holds_the_span_and_the_average(open_page: OpenPage) -> None:
    page = open_page("/#/now?span=24h")
    expect(page.get_by_role("link", name="24 h")).to_have_attribute("aria-current", "true")

    page.get_by_role("link", name="Since the span began").click()
    expect(page).to_have_url(re.compile(re.escape("/#/now?span=24h&average=all") + "$"))
    expect(page.get_by_role("img", name="Average reward of a decision, since the span began")).to_be_visible()
    page.get_by_role("link", name="30 d").click()

    expect(page).to_have_url(re.compile(re.escape("/#/now?span=30d&average=all") + "$"))
    expect(page.get_by_role("img", name="Average reward of a decision, since the span began")).to_be_visible()


def test_it_looks_again_by_itself_and_leaves_the_span_that_was_zoomed(open_page: OpenPage) -> None:
    page = open_page()
    chart = page.get_by_role("img", name="Average reward of a decision")
    chart.focus()
    page.keyboard.press("+")
    # A key reaches the plot that was there, though data were loaded again meanwhile.
    page.evaluate("document.querySelector('.uplot').dataset.mine = 'yes'")
    told = page.get_by_text("As of").locator("time")
    first = told.get_attribute("datetime")

    expect(told).not_to_have_attribute("datetime", first or "", timeout=30_000)

    assert page.locator(".uplot").first.get_attribute("data-mine") == "yes"
    expect(chart).to_be_focused()


def test_a_loop_without_events_says_how_to_send_the_first(open_page: OpenPage, deployment: Deployment) -> None:
    deployment.call("POST", "loops", {"name": "now-empty"})

    page = open_page("/loops/now-empty/")

    expect(page.get_by_role("heading", name="No events yet")).to_be_visible()
    expect(page.get_by_role("link", name="Play an example")).to_have_attribute("href", "#/try")


def test_an_apprentice_is_told_how_near_it_is_and_a_logger_that_nothing_acts(
    open_page: OpenPage, deployment: Deployment
) -> None:
    deployment.call("POST", "loops", {"name": "now-modes"})
    deployment.hasten("now-modes")
    settings = deployment.call("GET", CONFIGURATION, loop="now-modes")
    deployment.call("PUT", CONFIGURATION, {**settings, "learningMode": "Apprentice"}, "now-modes")
    until(lambda: bool(deployment.call("GET", "health", loop="now-modes")["learningMode"] == "Apprentice"))
    deployment.serve_coffee(60, "now-modes", prefix="apprentice-")
    until(lambda: bool(deployment.call("GET", "apprentice", loop="now-modes")["events"] >= 60))

    page = open_page("/loops/now-modes/")
    expect(page.get_by_text("Apprentice mode: every answer is the application's own")).to_be_visible()
    expect(page.get_by_text("Wait: 60 of the 1000 events")).to_be_visible()
    expect(page.get_by_role("img", name="What the loop would have achieved")).to_be_visible()
    policies = page.get_by_role("table", name="Average reward over the last 2 h")
    expect(policies.get_by_role("row")).to_have_text([re.compile("^The application")])

    settings = deployment.call("GET", CONFIGURATION, loop="now-modes")
    deployment.call("PUT", CONFIGURATION, {**settings, "learningMode": "LoggingOnly"}, "now-modes")
    page = open_page("/loops/now-modes/")
    expect(page.get_by_text("LoggingOnly mode: every answer is the application's own")).to_be_visible()


@pytest.mark.parametrize(("dark", "width"), [(False, WIDE), (True, NARROW)], ids=["light", "dark and narrow"])
def test_what_is_amiss_is_said_with_what_to_do(
    open_page: OpenPage, deployment: Deployment, dark: bool, width: int
) -> None:
    page = open_page("/#/features", dark=dark, width=width)
    finding = {"code": "modelStale", "severity": "error", "what": "No new model.", "numbers": {}, "todo": "Look there."}
    held_back = {"heldBackVersion": "1-a", "heldBackReason": "it earns too little."}
    told = {**deployment.call("GET", "health"), "findings": [finding], "modelPinned": True, **held_back}
    page.route("**/rankloop/v1/health", lambda route: route.fulfill(json=told))

    page.get_by_role("link", name="Now", exact=True).click()

    listed = page.get_by_role("list", name="Findings").get_by_role("listitem")
    expect(listed.filter(has_text="No new model.")).to_contain_text("Look there.")
    expect(listed.filter(has_text="held back")).to_contain_text("it earns too little.")
    expect(listed.filter(has_text="pinned")).to_contain_text("Unpin it")
    assert obstacles(page) == []
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")


def test_a_join_that_is_behind_is_told_from_a_loop_without_traffic(open_page: OpenPage) -> None:
    run = """async ([ok, through]) => {
      const { overdue } = await import("/page/views/now.js");
      const metrics = { start: "2026-01-01T00:00:00Z", step: 60, through, calls: { rank: { ok } } };
      return overdue(metrics, { time: Date.parse("2026-01-01T01:00:00Z") / 1000, rewardWaits: [{ seconds: 600 }] });
    }"""
    page = open_page()
    hour = [1] * 60

    assert page.evaluate(run, [hour, "2026-01-01T00:50:00Z"]) == 0
    assert page.evaluate(run, [hour, "2026-01-01T00:30:00Z"]) == 10  # of the 40 minutes that should be joined
    assert page.evaluate(run, [[0] * 60, "2020-01-01T00:00:00Z"]) == 0
    assert page.evaluate(run, [hour, None]) == 40


def test_what_cannot_be_loaded_is_told_and_tried_again(open_page: OpenPage) -> None:
    page = open_page("/#/features", expected=("500",))
    page.route("**/rankloop/v1/metrics?**", lambda route: route.fulfill(status=500, body=""), times=1)

    page.get_by_role("link", name="Now", exact=True).click()

    expect(page.get_by_role("alert")).to_contain_text("500")
    page.get_by_role("button", name="Try again").click()
    expect(page.get_by_role("img", name="Average reward of a decision")).to_be_visible()

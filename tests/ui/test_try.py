"""Trying a loop from the page: a tutorial that it is seen to learn, a scratch loop, and a call of one's own."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from typing import Any

import pytest
from playwright.sync_api import Page, Route, expect

from tests.ui.conftest import NARROW, WIDE, OpenPage, obstacles
from tests.ui.deployment import PATIENCE, Deployment, until

SETTINGS = "personalizer/v1.1-preview.3/configurations/service"
LONG = 1000 * PATIENCE
"""Milliseconds for what takes a run."""


def make(deployment: Deployment, name: str) -> str:
    """A loop of its own, which learns within seconds; returns its key."""
    made = deployment.call("POST", "loops", {"name": name})
    deployment.hasten(name)
    key: str = made["keys"]["key1"]
    return key


def waits(deployment: Deployment, loop: str) -> tuple[str, str]:
    held = deployment.call("GET", SETTINGS, loop=loop)
    return held["rewardWaitTime"], held["modelExportFrequency"]


def sent(page: Page) -> int:
    told = page.locator(".figure", has_text="Events sent").locator(".value").inner_text()
    return int(told.replace(",", ""))


def sends(page: Page) -> None:
    """Wait until something more was sent than before."""
    before = sent(page)
    until(lambda: sent(page) > before)


def test_a_loop_is_seen_to_learn_and_gets_its_waits_back(open_page: OpenPage, deployment: Deployment) -> None:
    deployment.call("POST", "loops", {"name": "try-whole"})
    page = open_page("/loops/try-whole/#/try")

    page.get_by_role("button", name="Start", exact=True).click()
    expect(page.get_by_text("Running.")).to_be_visible()
    until(lambda: waits(deployment, "try-whole") == ("PT5S", "PT5S"))
    learned = page.locator(".figure", has_text="Of what can be learned").locator(".value")
    # Chance is 0 %: all that comes of 100 events whose choices know nothing stays far below.
    expect(learned).to_have_text(re.compile(r"^([6-9]\d|1\d\d) %$"), timeout=LONG)
    expect(page.get_by_role("img", name="Average reward. Mean reward of 100 events")).to_be_visible()
    page.get_by_role("button", name="Pause").click()
    expect(page.get_by_text("Paused.")).to_be_visible()
    page.get_by_role("button", name="Go on").click()
    sends(page)
    page.get_by_role("button", name="Stop").click()
    expect(page.get_by_text("Done.")).to_be_visible(timeout=LONG)

    assert waits(deployment, "try-whole") == ("PT10M", "PT5M")
    page.get_by_role("link", name="open one of its events").click()
    expect(page.get_by_role("heading", name="Ranked")).to_be_visible()


def test_a_run_goes_on_while_other_views_are_shown(open_page: OpenPage, deployment: Deployment) -> None:
    make(deployment, "try-away")
    page = open_page("/loops/try-away/#/try")
    page.get_by_role("button", name="Start", exact=True).click()
    sends(page)

    page.get_by_role("link", name="Events", exact=True).click()
    page.get_by_role("heading", name="Events").wait_for()
    page.get_by_role("link", name="Try it", exact=True).click()
    expect(page.get_by_role("button", name="Pause")).to_be_visible()
    page.get_by_label("Loop", exact=True).select_option("default")
    expect(page.get_by_text("A run goes on in the loop try-away")).to_be_visible()
    page.get_by_role("button", name="Stop it").click()
    expect(page.get_by_role("button", name="Start in the loop default")).to_be_visible()


@pytest.mark.parametrize("way", ["sign out", "reload"])
def test_whoever_leaves_leaves_the_waits_as_they_were(open_page: OpenPage, deployment: Deployment, way: str) -> None:
    loop = f"try-{way.replace(' ', '-')}"
    deployment.call("POST", "loops", {"name": loop})
    page = open_page(f"/loops/{loop}/#/try", expected=("401",))
    page.get_by_role("button", name="Start", exact=True).click()
    until(lambda: waits(deployment, loop) == ("PT5S", "PT5S"))
    sends(page)

    if way == "reload":
        page.reload()
    else:
        page.get_by_role("button", name="Sign out").click()

    expect(page.get_by_label("Key")).to_be_visible()
    until(lambda: waits(deployment, loop) == ("PT10M", "PT5M"))


def run_that_keeps_the_waits(page: Page, deployment: Deployment, loop: str, status: int) -> Callable[[], None]:
    """Start and stop a run whose loop refuses to be given its own waits; returns what ends the refusals."""
    page.get_by_role("button", name="Start", exact=True).click()
    sends(page)
    assert waits(deployment, loop) == ("PT5S", "PT5S")
    refused = {"error": {"code": "Refused", "message": "Not just now."}}

    def refuse(route: Route) -> None:
        if route.request.method == "PUT":
            route.fulfill(status=status, json=refused)
        else:
            route.continue_()

    page.route("**/configurations/service", refuse)
    page.get_by_role("button", name="Stop").click()
    expect(page.get_by_text("still has waits of 5 s")).to_be_visible(timeout=LONG)
    expect(page.get_by_role("alert")).to_contain_text("Not just now.")
    return lambda: page.unroute("**/configurations/service")


def test_waits_that_could_not_be_put_back_are_tried_again(open_page: OpenPage, deployment: Deployment) -> None:
    deployment.call("POST", "loops", {"name": "try-retry"})
    page = open_page("/loops/try-retry/#/try", expected=("503",))
    mend = run_that_keeps_the_waits(page, deployment, "try-retry", 503)

    expect(page.get_by_text("goes on trying")).to_be_visible()
    mend()

    expect(page.get_by_text("still has waits of 5 s")).to_have_count(0, timeout=LONG)
    assert waits(deployment, "try-retry") == ("PT10M", "PT5M")


def test_waits_that_were_refused_are_put_back_by_hand(open_page: OpenPage, deployment: Deployment) -> None:
    deployment.call("POST", "loops", {"name": "try-by-hand"})
    page = open_page("/loops/try-by-hand/#/try", expected=("403",))
    mend = run_that_keeps_the_waits(page, deployment, "try-by-hand", 403)
    mend()
    held = deployment.call("GET", SETTINGS, loop="try-by-hand")
    deployment.call("PUT", SETTINGS, {**held, "modelExportFrequency": "PT2M"}, "try-by-hand")

    page.get_by_role("button", name="Put its own waits back").click()

    expect(page.get_by_text("still has waits of 5 s")).to_have_count(0)
    # What was set by hand meanwhile is nobody's to take back.
    assert waits(deployment, "try-by-hand") == ("PT10M", "PT2M")


def test_another_run_ends_with_the_waits_from_before_the_first(open_page: OpenPage, deployment: Deployment) -> None:
    deployment.call("POST", "loops", {"name": "try-twice"})
    page = open_page("/loops/try-twice/#/try", expected=("403",))
    mend = run_that_keeps_the_waits(page, deployment, "try-twice", 403)
    mend()

    page.get_by_role("button", name="Start again").click()
    expect(page.get_by_text("Running.")).to_be_visible()
    expect(page.get_by_text("still has waits of 5 s")).to_have_count(0)
    assert waits(deployment, "try-twice") == ("PT5S", "PT5S")
    page.get_by_role("button", name="Stop").click()
    expect(page.get_by_text("Done.")).to_be_visible(timeout=LONG)

    assert waits(deployment, "try-twice") == ("PT10M", "PT5M")


@pytest.mark.parametrize(("status", "said"), [(429, "takes no more calls"), (503, "asks for patience")])
def test_a_loop_that_asks_for_patience_gets_it(
    open_page: OpenPage, deployment: Deployment, status: int, said: str
) -> None:
    loop = f"try-busy-{status}"
    make(deployment, loop)
    page = open_page(f"/loops/{loop}/#/try", expected=(str(status),))
    asked: list[str] = []

    def refuse(route: Route) -> None:
        asked.append(route.request.url)
        refused = {"error": {"code": "TooManyRequests", "message": "Later."}}
        route.fulfill(status=status, headers={"Retry-After": "2"}, json=refused)

    page.route("**/personalizer/v1.0/rank", refuse)
    page.get_by_role("button", name="Start", exact=True).click()

    expect(page.get_by_text(said)).to_be_visible()
    assert len(asked) <= 8, "all wait, not each for itself"
    page.unroute("**/personalizer/v1.0/rank")
    sends(page)
    expect(page.get_by_text(said)).to_have_count(0)
    page.get_by_role("button", name="Stop").click()
    expect(page.get_by_text("Done.")).to_be_visible(timeout=LONG)


def test_a_run_that_is_refused_ends_and_says_why(open_page: OpenPage, deployment: Deployment) -> None:
    make(deployment, "try-refused")
    page = open_page("/loops/try-refused/#/try", expected=("400",))
    refused = {"error": {"code": "InvalidRankRequest", "message": "No such thing."}}
    page.route("**/personalizer/v1.0/rank", lambda route: route.fulfill(status=400, json=refused))

    page.get_by_role("button", name="Start", exact=True).click()

    expect(page.get_by_role("alert")).to_contain_text("No such thing.")
    expect(page.get_by_role("button", name="Start again")).to_be_visible()


def test_a_scratch_loop_is_made_and_deleted_from_here(open_page: OpenPage, deployment: Deployment) -> None:
    page = open_page("/#/try")

    expect(page.get_by_text("has learned from")).to_contain_text("events already")
    page.get_by_role("button", name="Make a scratch loop").click()
    expect(page).to_have_url(re.compile(r"/loops/try-[a-z0-9]{6}/#/try"))
    loop = page.url.split("/")[4]
    expect(page.get_by_role("button", name="Start", exact=True)).to_be_visible()
    assert waits(deployment, loop) == ("PT5S", "PT5S")

    page.get_by_role("button", name="Delete this scratch loop").click()
    page.get_by_role("button", name="Delete it").click()
    expect(page).to_have_url(f"{deployment.address}/#/try")
    assert loop not in [one["name"] for one in deployment.call("GET", "loops")["value"]]


def test_a_loop_that_only_logs_is_said_not_to_learn(open_page: OpenPage, deployment: Deployment) -> None:
    make(deployment, "try-logs")
    held = deployment.call("GET", SETTINGS, loop="try-logs")
    deployment.call("PUT", SETTINGS, {**held, "learningMode": "LoggingOnly"}, "try-logs")
    page = open_page("/loops/try-logs/#/try")

    expect(page.get_by_text("Its learning mode is LoggingOnly")).to_contain_text("the reward does not rise")


def test_a_loops_key_runs_in_its_loop_alone(open_page: OpenPage, deployment: Deployment) -> None:
    key = make(deployment, "mine-to-try")
    page = open_page("/loops/mine-to-try/#/try", key=key)

    expect(page.get_by_role("button", name="Start in the loop mine-to-try")).to_be_enabled()
    expect(page.get_by_role("button", name="Make a scratch loop")).to_have_count(0)


def test_a_call_of_ones_own_is_ranked_and_rewarded(open_page: OpenPage, deployment: Deployment) -> None:
    make(deployment, "try-own")
    page = open_page("/loops/try-own/#/try", expected=("400",))
    request = page.get_by_label("Request")

    request.fill("{ no")
    expect(page.get_by_text("This is no JSON")).to_be_visible()
    expect(page.get_by_role("button", name="Rank")).to_be_disabled()
    request.fill('{"actions": []}')
    page.get_by_role("button", name="Rank").click()
    expect(page.get_by_role("alert")).to_contain_text("actions")
    request.fill('{"eventId": "my/own", "actions": [{"id": "only", "features": [{"x": 1}]}]}')
    page.get_by_role("button", name="Rank").click()
    expect(page.get_by_label("Response")).to_contain_text('"rewardActionId": "only"')
    page.get_by_role("slider").fill("0.35")
    page.get_by_role("button", name="Reward", exact=True).click()
    expect(page.get_by_text("Rewarded with 0.35")).to_be_visible()

    (told,) = deployment.call("GET", "events/my%2Fown", loop="try-own")["events"]
    assert [one["value"] for one in told["observations"]] == [0.35]
    page.get_by_role("link", name="Its story").click()
    expect(page.get_by_role("heading", name="Ranked")).to_be_visible()


@pytest.mark.parametrize("language", ["csharp", "curl"])
def test_a_request_that_is_no_program_leaves_the_page_at_work(
    open_page: OpenPage, deployment: Deployment, language: str
) -> None:
    page = open_page(f"/#/try?code={language}")
    request, programs = page.get_by_label("Request"), page.get_by_role("tabpanel")
    wrong: dict[str, dict[str, Any]] = {"csharp": {"excludedActions": "a"}, "curl": {"slots": [None]}}

    request.fill(json.dumps({"actions": [{"id": "a"}], **wrong[language]}))
    expect(programs).to_contain_text("cannot be written as a program")
    request.fill('{"actions": [{"id": "mended", "features": [{"x": 1}]}]}')
    expect(programs).to_contain_text("mended")


@pytest.mark.parametrize(("width", "dark"), [(WIDE, False), (NARROW, True)], ids=["wide-light", "narrow-dark"])
def test_trying_has_no_obstacles(open_page: OpenPage, deployment: Deployment, dark: bool, width: int) -> None:
    page = open_page("/#/try?scenario=coffee&code=curl", dark=dark, width=width)
    page.get_by_role("button", name="Rank").click()
    page.get_by_role("slider").wait_for()

    assert obstacles(page) == []
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")
    expect(page.get_by_role("radio", name="Coffee")).to_be_checked()
    expect(page.get_by_role("tab", name="curl")).to_have_attribute("aria-selected", "true")

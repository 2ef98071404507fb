"""Evaluations on the page: one is started, finished, applied and rolled back; and how others are looked at."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any, Final
from urllib.parse import quote

import pytest
from playwright.sync_api import Page, Route, expect

from tests.ui.conftest import NARROW, WIDE, OpenPage, assert_clear, sign_in_to_read
from tests.ui.deployment import Deployment, until
from tests.ui.written import written

LOOP, SLOTS = "page-acts", "page-slots"
EVENTS: Final = 300
PATIENCE: Final = 300_000
"""Milliseconds: only bounds how long a broken run hangs."""
FASTER: Final = "--cb_explore_adf --epsilon 0.1 --power_t 0 -l 0.05 --cb_type mtr -q ::"
NEW: Final = "api-version=2022-09-01-preview"
EVER: Final = {"startTime": "2000-01-01", "endTime": "2100-01-01"}


@pytest.fixture(scope="module")
def acts(deployment: Deployment) -> Iterator[Deployment]:
    """A loop of its own with some coffees, since policies are applied to it, and an evaluation called `first act`."""
    deployment.call("POST", "loops", {"name": LOOP})
    deployment.hasten(LOOP)
    deployment.serve_coffee(EVENTS, LOOP)
    deployment.settle(EVENTS, LOOP)
    evaluate(deployment, LOOP, "first act", [{"name": "faster", "arguments": FASTER}])
    yield deployment


def evaluate(deployment: Deployment, loop: str, name: str, policies: list[dict[str, str]]) -> None:
    body = {"name": name, **EVER, "policies": policies}
    deployment.call("PUT", f"personalizer/evaluations/{quote(name)}?{NEW}", body, loop)
    until(lambda: deployment.call("GET", f"evaluations/{quote(name)}", loop=loop)["status"] == "Succeeded")


def test_one_is_started_applied_and_rolled_back(open_page: OpenPage, acts: Deployment) -> None:
    before = serving(acts)
    page = open_page(f"/loops/{LOOP}/#/evaluations")
    page.get_by_role("button", name="New evaluation").click()
    page.get_by_label("Name", exact=True).fill("second act")
    page.get_by_role("button", name="Add a policy").click()
    page.get_by_label("Name of the policy").fill("mine")
    page.get_by_label("Arguments").fill(FASTER)
    expect(page.get_by_role("switch", name=re.compile("Look for better policies"))).to_be_checked()
    page.get_by_role("button", name="Start").click()

    expect(page.get_by_role("heading", name="second act")).to_be_visible()
    expect(page.get_by_text("finished", exact=True)).to_be_visible(timeout=PATIENCE)
    report = report_of(acts, page)
    assert {"Custom", "OfflineExperimentation"} < {one["policySource"] for one in report["policies"]}
    shown = page.get_by_role("table", name=re.compile("95 % interval")).get_by_role("rowheader").all_inner_texts()
    judged = {one["name"]: one["slots"][0]["judged"] for one in report["policies"]}
    ordered = sorted(judged, key=lambda name: -judged[name]["snips"]["value"])
    assert [name.split(" · ")[0] for name in shown] == ordered
    effective = row(page, "mine").get_by_role("cell").nth(4)
    expect(effective).to_have_text(f"{round(judged['mine']['effectiveEvents']):,}")

    row(page, "mine").get_by_role("button", name="Apply").click()
    asked = page.get_by_role("dialog")
    expect(asked).to_contain_text("A new model is built from")
    expect(asked).to_contain_text("Exploration changes from 20 % to 10 % at once")
    expect(asked).to_contain_text("Auto-optimisation would")
    asked.get_by_role("button", name="Apply").click()
    expect(page.get_by_text("The new model stands")).to_be_visible(timeout=PATIENCE)
    expect(row(page, "mine")).to_contain_text("in force")
    policy = acts.call("GET", f"personalizer/configurations/policy?{NEW}", loop=LOOP)
    assert policy["arguments"] == FASTER
    until(lambda: serving(acts)["policy"] != before["policy"])  # the job ends before its version serves

    page.get_by_label("New model", exact=True).get_by_role("link", name="Models").click()
    page.get_by_role("link", name=before["version"][6:19]).first.click()
    page.get_by_role("button", name="Roll back to it").click()
    expect(page.get_by_role("dialog")).to_contain_text("no newer version and no new policy takes its place")
    page.get_by_role("dialog").get_by_role("button", name="Roll back").click()
    expect(page.get_by_text("pinned", exact=True)).to_be_visible()
    assert (serving(acts)["version"], serving(acts)["pinned"]) == (before["version"], True)

    page.get_by_role("link", name="All versions").click()
    page.get_by_role("button", name="Unpin: the newest serves").click()
    page.get_by_role("dialog").get_by_role("button", name="Unpin").click()
    expect(page.get_by_role("button", name="Pin it")).to_be_visible()
    assert serving(acts)["pinned"] is False
    assert serving(acts)["policy"] != before["policy"]


def test_a_policy_that_is_refused_is_told_of_at_its_field(open_page: OpenPage, acts: Deployment) -> None:
    page = open_page(f"/loops/{LOOP}/#/evaluations?show=new", expected=("400",))
    page.get_by_role("button", name="Add a policy").click()
    page.get_by_role("button", name="Add a policy").click()
    page.get_by_label("Arguments").nth(1).fill("--cb_explore_adf --no_such_option 1")
    page.get_by_role("button", name="Start").click()

    expect(page.get_by_role("group", name="Policy 2").get_by_role("alert")).to_contain_text("no_such_option")
    expect(page.get_by_role("group", name="Policy 1").get_by_role("alert")).to_have_count(0)
    page.get_by_role("button", name="Remove mine 2").click()
    expect(page.get_by_role("group", name="Policy 2")).to_have_count(0)


def test_ten_policies_are_the_most(open_page: OpenPage, acts: Deployment) -> None:
    page = open_page(f"/loops/{LOOP}/#/evaluations?show=new")
    add = page.get_by_role("button", name="Add a policy")
    for _ in range(10):
        add.click()

    expect(add).to_be_disabled()
    expect(page.get_by_label("Name of the policy")).to_have_count(10)


def test_a_link_holds_what_is_looked_at(open_page: OpenPage, acts: Deployment) -> None:
    page = open_page(f"/loops/{LOOP}/#/evaluations?id=first%20act&estimate=dr")
    report = report_of(acts, page)
    estimates = next(one for one in report["policies"] if one["name"] == "faster")["slots"][0]["judged"]
    expect(page.get_by_label("Estimate")).to_have_value("dr")
    expect(row(page, "faster")).to_contain_text(
        f"{written(estimates['dr']['low'], 3)} … {written(estimates['dr']['high'], 3)}"
    )

    page.get_by_label("Estimate").select_option("conservative")
    page.get_by_role("combobox", name="Average reward").select_option("by the hour")
    page.get_by_label("BaselineRand").check()

    again = open_page(page.url.removeprefix(acts.address))
    expect(again.get_by_label("Estimate")).to_have_value("conservative")
    expect(again.get_by_role("combobox", name="Average reward")).to_have_value("60")
    expect(again.get_by_label("BaselineRand")).to_be_checked()


def test_one_that_is_begun_can_be_canceled_and_deleted(open_page: OpenPage, acts: Deployment) -> None:
    body = {"name": "third act", **EVER, "policies": [], "enablePolicyOptimization": True}
    acts.call("PUT", f"personalizer/evaluations/third?{NEW}", body, LOOP)
    page = open_page(f"/loops/{LOOP}/#/evaluations?id=third")
    expect(page.get_by_role("progressbar")).to_be_visible()
    page.get_by_role("button", name="Cancel it").click()
    page.get_by_role("dialog").get_by_role("button", name="Cancel it").click()
    expect(page.get_by_text("canceled", exact=True)).to_be_visible()
    expect(page.get_by_text("There are no results.")).to_be_visible()

    page.get_by_role("button", name="Delete").click()
    page.get_by_role("dialog").get_by_role("button", name="Delete").click()
    expect(page.get_by_role("heading", name="Evaluations")).to_be_visible()
    expect(page.get_by_role("link", name="first act")).to_be_visible()
    expect(page.get_by_role("link", name="third act")).to_have_count(0)


def test_a_list_is_narrowed_down_by_the_address(open_page: OpenPage, acts: Deployment) -> None:
    page = open_page(f"/loops/{LOOP}/#/evaluations?find=FIRST")
    expect(page.get_by_role("link", name="first act")).to_be_visible()

    page.get_by_label("Name contains").fill("no such one")
    expect(page.get_by_text("evaluations is like that")).to_be_visible()
    page.get_by_role("link", name="Show all").click()
    expect(page.get_by_role("link", name="first act")).to_be_visible()


def test_runs_of_auto_optimisation_stand_beside_the_baseline(open_page: OpenPage, acts: Deployment) -> None:
    report = acts.call("GET", "evaluations/first%20act", loop=LOOP)
    found = next(one for one in report["policies"] if one["name"] == "faster")
    found["policySource"] = "OfflineExperimentation"

    def listed(route: Route) -> None:
        run = {**{name: report[name] for name in ("id", "name", "creationTime")}, "status": "OnlinePolicyRetained"}
        route.fulfill(json={"value": [run]})

    page = open_page(f"/loops/{LOOP}/#/evaluations")
    page.route(re.compile(r"evaluations\?.*Auto"), listed)
    page.route("**/rankloop/v1/evaluations/first%20act", lambda route: route.fulfill(json=report))
    page.get_by_role("link", name="Auto-optimisation").click()

    run = page.get_by_role("row").nth(1)
    expect(run).to_contain_text("policy kept")
    expect(run).to_contain_text("faster")
    online, baseline = (
        next(one for one in report["policies"] if one["policySource"] == source)["slots"][0]["judged"]["snips"]["value"]
        for source in ("Online", "Baseline")
    )
    expect(run).to_contain_text(f"{written(100 * online / baseline, 0)} %")
    expect(page.get_by_role("link", name="Change this in Setup")).to_have_attribute("href", "#/setup")


def test_slots_are_judged_one_by_one(open_page: OpenPage, deployment: Deployment) -> None:
    deployment.call("POST", "loops", {"name": SLOTS})
    service = f"personalizer/configurations/service?{NEW}"
    held = deployment.call("GET", service, loop=SLOTS)
    quick = {"rewardWaitTime": "PT5S", "modelExportFrequency": "PT5S"}
    deployment.call("PUT", service, {**held, **quick, "isAutoOptimizationEnabled": False}, SLOTS)
    slotted = {"name": "slots", "arguments": "--ccb_explore_adf --epsilon 0.2 --power_t 0 -l 0.001 --cb_type mtr -q ::"}
    deployment.call("PUT", f"personalizer/configurations/policy?{NEW}", slotted, SLOTS)
    actions = [{"id": name, "features": [{"name": name}]} for name in "abc"]
    slots = [{"id": name, "baselineAction": action} for name, action in (("top", "a"), ("side", "b"))]
    for n in range(20):
        asked = {"eventId": f"slotted-{n}", "actions": actions, "slots": slots}
        deployment.call("POST", "personalizer/v1.1-preview.1/multislot/rank", asked, SLOTS)
        rewarded = {"reward": [{"slotId": "top", "value": n % 2}]}
        deployment.call("POST", f"personalizer/v1.1-preview.1/multislot/events/slotted-{n}/reward", rewarded, SLOTS)
    deployment.settle(20, SLOTS)
    evaluate(deployment, SLOTS, "slotted", [])
    report = deployment.call("GET", "evaluations/slotted", loop=SLOTS)
    online = {slot["slotId"]: slot["judged"]["snips"]["value"] for slot in report["policies"][0]["slots"]}

    page = open_page(f"/loops/{SLOTS}/#/evaluations?id=slotted")
    assert online["top"] != online[""]
    expect(row(page, "online")).to_contain_text(written(online[""], 4))
    page.get_by_role("combobox", name=re.compile("^Slot")).select_option("top")
    expect(row(page, "online")).to_contain_text(written(online["top"], 4))
    assert "slot=top" in page.url


def test_who_may_only_read_is_told_what_it_takes(open_page: OpenPage, acts: Deployment) -> None:
    page = open_page(f"/loops/{LOOP}/#/evaluations", key="", expected=("401",))
    sign_in_to_read(page, acts.key)

    new = page.get_by_role("button", name="New evaluation")
    expect(new).to_be_disabled()
    expect(new).to_have_attribute("title", re.compile("Manage"))
    page.get_by_role("link", name="first act").click()
    expect(row(page, "faster").get_by_role("button", name="Apply")).to_be_disabled()
    expect(page.get_by_role("button", name="Delete")).to_be_disabled()


def test_what_fails_says_the_next_step(open_page: OpenPage, acts: Deployment) -> None:
    page = open_page(f"/loops/{LOOP}/#/now", expected=("503",))
    page.route("**/personalizer/evaluations?*", lambda route: route.fulfill(status=503, json=refusal()))
    page.get_by_role("link", name="Evaluations", exact=True).click()
    expect(page.get_by_role("alert")).to_contain_text("It is slow just now")
    page.unroute_all()
    page.get_by_role("button", name="Try again").click()
    expect(page.get_by_role("link", name="first act")).to_be_visible()


def refusal() -> dict[str, Any]:
    return {"error": {"code": "ServiceUnavailable", "message": "It is slow just now."}}


def test_a_loop_without_anything_says_where_to_begin(open_page: OpenPage, deployment: Deployment) -> None:
    deployment.call("POST", "loops", {"name": "page-blank"})
    page = open_page("/loops/page-blank/#/evaluations")
    expect(page.get_by_text("There is no evaluation yet.")).to_be_visible()
    page.get_by_role("link", name="Auto-optimisation").click()
    expect(page.get_by_text("Auto-optimisation has not run yet.")).to_be_visible()
    page.get_by_role("button", name="New evaluation").click()
    expect(page.get_by_text("The log holds nothing yet.")).to_be_visible()


@pytest.mark.parametrize(("width", "dark"), [(WIDE, False), (NARROW, True)], ids=["wide-light", "narrow-dark"])
def test_nothing_stands_in_the_way(open_page: OpenPage, acts: Deployment, dark: bool, width: int) -> None:
    page = open_page(f"/loops/{LOOP}/#/evaluations", dark=dark, width=width)
    page.get_by_role("link", name="first act").wait_for()
    assert_clear(page)
    page.get_by_role("link", name="first act").click()
    expect(row(page, "faster")).to_be_visible()
    expect(page.locator("main [aria-busy=true]")).to_have_count(0)
    assert_clear(page)
    row(page, "faster").get_by_role("button").last.click()
    assert_clear(page)
    page.keyboard.press("Escape")
    page.get_by_role("link", name="All evaluations").click()
    page.get_by_role("button", name="New evaluation").click()
    page.get_by_role("button", name="Add a policy").click()
    assert_clear(page)


def row(page: Page, name: str) -> Any:
    """The row of a policy in the table."""
    table = page.get_by_role("table", name="Policies")
    return table.get_by_role("row").filter(has=page.get_by_role("cell", name=name, exact=True))


def report_of(deployment: Deployment, page: Page) -> Any:
    """The report of the evaluation that a page shows."""
    found = re.search(r"id=([^&]+)", page.url)
    assert found
    return deployment.call("GET", f"evaluations/{found[1].replace('+', '%20')}", loop=LOOP)


def serving(deployment: Deployment) -> Any:
    """The version that serves."""
    return next(one for one in deployment.call("GET", "versions", loop=LOOP)["value"] if one["serves"])

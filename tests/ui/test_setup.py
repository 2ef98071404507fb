"""A loop is set up from the page: what a change leads to is said before it is made, and the API's word counts."""

from __future__ import annotations

import re
import urllib.error
from typing import Any

import pytest
from playwright.sync_api import Dialog, Page, Route, expect

from tests.ui.conftest import NARROW, WIDE, OpenPage, obstacles
from tests.ui.deployment import Deployment

SERVICE = "personalizer/v1.1-preview.3/configurations/service"
SECTIONS = ("Settings", "Learning mode", "Policy", "Holdback", "Limits", "Keys", "Loops", "Jobs", "Clear")


@pytest.fixture
def loop(deployment: Deployment, request: pytest.FixtureRequest) -> str:
    """A loop of the test's own; its name."""
    name = re.sub("[^a-z0-9]+", "-", request.node.name.removeprefix("test_"))[:60].strip("-")
    deployment.call("POST", "loops", {"name": name})
    return name


def setup(loop: str, section: str = "settings") -> str:
    return f"/loops/{loop}/#/setup?section={section}"


def settings(deployment: Deployment, loop: str) -> Any:
    return deployment.call("GET", SERVICE, loop=loop)


def confirm(page: Page, button: str, word: str = "") -> None:
    """Agree to what a dialog asks."""
    dialog = page.get_by_role("dialog")
    if word:
        expect(dialog.get_by_role("button", name=button)).to_be_disabled()
        dialog.get_by_label("Type").fill(word)
    dialog.get_by_role("button", name=button).click()
    expect(dialog).to_have_count(0)


def test_a_change_that_loses_nothing_is_said_and_saved_at_once(
    open_page: OpenPage, deployment: Deployment, loop: str
) -> None:
    page = open_page(setup(loop))
    bar = page.get_by_role("region", name="Unsaved changes")
    update = page.get_by_label("Model update", exact=True)
    expect(update).to_have_value("5")
    expect(bar).to_have_count(0)

    update.fill("2")
    page.get_by_label("Unit of Model update").select_option("hours")

    expect(page.get_by_text("Was 5 minutes.")).to_be_visible()
    expect(bar).to_contain_text("Model update: 5 minutes → 2 hours.")
    expect(bar).not_to_contain_text("new model")
    bar.get_by_role("button", name="Save").click()
    expect(page.get_by_text("Saved.", exact=True)).to_be_visible()
    expect(bar).to_have_count(0)
    assert settings(deployment, loop)["modelExportFrequency"] == "PT2H"


def test_what_was_typed_back_is_no_change(open_page: OpenPage, loop: str) -> None:
    page = open_page(setup(loop))

    page.get_by_label("Exploration (%)").fill("30")
    expect(page.get_by_text("Was 20 %.")).to_be_visible()
    page.get_by_label("Exploration (%)").fill("20")
    expect(page.get_by_role("region", name="Unsaved changes")).to_have_count(0)
    page.get_by_label("Default reward").fill("0.25")
    page.get_by_role("button", name="Discard").click()
    expect(page.get_by_label("Default reward")).to_have_value("0")


def test_a_change_that_makes_a_new_model_asks_and_leads_to_its_job(
    open_page: OpenPage, deployment: Deployment, loop: str
) -> None:
    deployment.hasten(loop)
    deployment.serve_coffee(40, loop, prefix="job-")
    deployment.settle(40, loop)
    page = open_page(setup(loop))

    page.get_by_label("Default reward").fill("0.1")
    bar = page.get_by_role("region", name="Unsaved changes")
    expect(bar).to_contain_text("A new model is made from the log")
    bar.get_by_role("button", name="Save").click()
    expect(page.get_by_role("dialog")).to_contain_text("Default reward: 0 → 0.1.")
    assert settings(deployment, loop)["defaultReward"] == 0
    confirm(page, "Save, and make a new model")

    page.get_by_role("link", name="See the job that makes the new model").click(timeout=60_000)
    expect(page).to_have_url(re.compile("section=jobs&job="))
    row = page.get_by_role("row").filter(has_text="linked")
    expect(row).to_contain_text("defaultReward changed from 0 to 0.1")
    expect(row).to_contain_text("Succeeded", timeout=60_000)
    assert settings(deployment, loop)["defaultReward"] == pytest.approx(0.1)


def test_a_shorter_log_asks_since_it_is_lost(open_page: OpenPage, deployment: Deployment, loop: str) -> None:
    page = open_page(setup(loop))

    page.get_by_label("The log is kept for").fill("30")
    page.get_by_role("button", name="Save").click()
    expect(page.get_by_role("dialog")).to_contain_text("What is older than 30 days is deleted")
    page.get_by_role("dialog").get_by_role("button", name="Cancel").click()
    expect(page.get_by_role("button", name="Save")).to_be_focused()
    assert settings(deployment, loop)["logRetentionDays"] == 90
    page.get_by_role("button", name="Save").click()
    confirm(page, "Save all the same")
    expect(page.get_by_text("Saved.", exact=True)).to_be_visible()
    assert settings(deployment, loop)["logRetentionDays"] == 30


def test_what_cannot_be_is_said_at_once_and_not_sent(open_page: OpenPage, loop: str) -> None:
    page = open_page(setup(loop))
    wait = page.get_by_label("Reward wait", exact=True)

    wait.fill("3000")
    expect(wait).to_have_attribute("aria-invalid", "true")
    expect(page.get_by_role("alert")).to_have_text("From 5 seconds to 2 days.")
    expect(page.get_by_role("button", name="Save")).to_be_disabled()
    wait.fill("")
    expect(page.get_by_role("alert")).to_have_text("A number.")


def test_what_the_api_refuses_is_said_beside_the_field(open_page: OpenPage, loop: str) -> None:
    page = open_page(setup(loop), expected=("400",))
    container = page.get_by_label("The mirror's container")

    page.get_by_label("Mirror the log").check()
    expect(page.get_by_role("alert")).to_have_text("A mirror needs the address of a container.")
    container.fill("https://elsewhere.example/logs?sig=s")
    page.get_by_role("button", name="Save").click()

    expect(container).to_have_attribute("aria-invalid", "true")
    expect(page.get_by_role("alert")).to_contain_text("logMirrorSasUri")
    container.fill("https://elsewhere.example/logs?sig=other")
    expect(container).not_to_have_attribute("aria-invalid", "true")


def test_a_change_of_somebody_else_is_not_undone(open_page: OpenPage, deployment: Deployment, loop: str) -> None:
    page = open_page(setup(loop))
    page.get_by_label("Model update", exact=True).fill("7")
    deployment.call("PUT", SERVICE, {**settings(deployment, loop), "logRetentionDays": 45}, loop)

    page.get_by_role("button", name="Save").click()
    expect(page.get_by_label("The log is kept for")).to_have_value("45")

    found = settings(deployment, loop)
    assert (found["modelExportFrequency"], found["logRetentionDays"]) == ("PT7M", 45)


def test_unsaved_changes_are_kept_within_and_asked_for_when_left(open_page: OpenPage, loop: str) -> None:
    page = open_page(setup(loop))
    page.get_by_label("Default reward").fill("0.5")
    sections = page.get_by_role("navigation", name="Sections")

    sections.get_by_role("link", name="Policy").click()
    expect(page.get_by_label("Arguments")).to_be_visible()
    sections.get_by_role("link", name="Settings (not saved)").click()
    expect(page.get_by_label("Default reward")).to_have_value("0.5")

    page.get_by_role("link", name="Now", exact=True).click()
    dialog = page.get_by_role("dialog", name="Leave without saving?")
    dialog.get_by_role("button", name="Stay").click()
    expect(page.get_by_label("Default reward")).to_have_value("0.5")
    expect(page).to_have_url(re.compile("#/setup"))
    page.get_by_role("button", name="Sign out").click()
    dialog.get_by_role("button", name="Stay").click()
    page.get_by_label("Loop", exact=True).select_option("default")
    dialog.get_by_role("button", name="Stay").click()
    expect(page.get_by_label("Loop", exact=True)).to_have_value(loop)
    page.get_by_role("link", name="Now", exact=True).click()
    dialog.get_by_role("button", name="Leave").click()
    expect(page).to_have_url(re.compile("#/now"))
    page.get_by_role("link", name="Setup", exact=True).click()
    expect(page.get_by_label("Default reward")).to_have_value("0")
    page.get_by_role("link", name="Now", exact=True).click()
    expect(page).to_have_url(re.compile("#/now"))


def test_a_closed_page_asks_for_unsaved_changes(open_page: OpenPage, loop: str) -> None:
    page = open_page(setup(loop))
    asked: list[str] = []

    def leave(dialog: Dialog) -> None:
        asked.append(dialog.type)
        dialog.accept()

    page.on("dialog", leave)

    page.get_by_label("Default reward").fill("0.5")
    expect(page.get_by_role("button", name="Save")).to_be_enabled()
    page.reload()

    assert asked == ["beforeunload"]


def test_a_loop_is_made_an_apprentice_and_told_how_it_does(
    open_page: OpenPage, deployment: Deployment, loop: str
) -> None:
    page = open_page(setup(loop, "mode"))
    expect(page.get_by_text("This loop was never an apprentice.")).to_be_visible()

    page.get_by_role("radio", name="Apprentice").check()
    page.get_by_role("button", name="Save").click()
    expect(page.get_by_role("dialog")).to_contain_text("Every answer is the baseline")
    confirm(page, "Save, and make a new model")

    expect(page.get_by_text("Wait: 0 of the 1000 events that it is judged by are joined.")).to_be_visible()
    assert settings(deployment, loop)["learningMode"] == "Apprentice"


def test_a_policy_is_explained_tried_and_reset(open_page: OpenPage, deployment: Deployment, loop: str) -> None:
    path = "personalizer/v1.0/configurations/policy"
    default = deployment.call("GET", path, loop=loop)["arguments"]
    page = open_page(setup(loop, "policy"))
    arguments = page.get_by_label("Arguments")
    expect(arguments).to_have_value(default)

    arguments.fill("--cb_explore_adf --data /etc/passwd")
    expect(page.get_by_role("alert")).to_contain_text("The option --data is not allowed.")
    expect(page.get_by_role("button", name="Save")).to_be_disabled()
    arguments.fill("--cb_explore_adf --squarecb -q ::")
    expect(page.get_by_role("row").filter(has_text="--squarecb").first).to_contain_text(
        "Explores what may still be good"
    )
    page.get_by_role("button", name="Save").click()
    confirm(page, "Save, and make a new model")
    expect(page.get_by_text("Saved.", exact=True)).to_be_visible()
    assert deployment.call("GET", path, loop=loop)["arguments"] == "--cb_explore_adf --squarecb -q ::"

    page.get_by_role("button", name="Reset to the default").click()
    confirm(page, "Reset, and make a new model")
    expect(arguments).to_have_value(default)


def test_a_share_is_held_back_and_the_lift_shown(open_page: OpenPage, deployment: Deployment, loop: str) -> None:
    page = open_page(setup(loop, "holdback"))
    expect(page.get_by_text("Nothing is held back.")).to_be_visible()

    page.get_by_label("Held back (%)").fill("5")
    page.get_by_role("button", name="Save").click()
    expect(page.get_by_text("Saved.", exact=True)).to_be_visible()
    expect(page.get_by_role("region", name="Lift")).to_contain_text("Counted since the share was last changed")
    assert deployment.call("GET", "holdback", loop=loop)["share"] == 0.05
    page.get_by_label("Held back (%)").fill("10")
    page.get_by_role("button", name="Save").click()
    expect(page.get_by_role("dialog", name="Begin the comparison anew?")).to_be_visible()


def test_an_owner_moves_the_limits(open_page: OpenPage, deployment: Deployment, loop: str) -> None:
    page = open_page(setup(loop, "limits"))

    page.get_by_label("Most actions").fill("200")
    page.get_by_label("Longest reward wait", exact=True).fill("30")
    page.get_by_role("button", name="Save").click()
    expect(page.get_by_text("Saved.", exact=True)).to_be_visible()
    found = deployment.call("GET", "limits", loop=loop)
    assert (found["mostActions"], found["longestRewardWait"]) == (200, "P30D")
    page.get_by_role("link", name="Settings", exact=True).click()
    expect(page.get_by_text("From 5 seconds to 30 days.")).to_have_count(2)
    page.get_by_role("link", name="Limits", exact=True).click()
    page.get_by_label("Highest reward").fill("20")
    page.get_by_role("button", name="Save").click()
    expect(page.get_by_role("dialog", name="Make a new model?")).to_be_visible()


def test_a_loops_key_may_not_own(open_page: OpenPage, deployment: Deployment) -> None:
    key = deployment.call("POST", "loops", {"name": "no-owner"})["keys"]["key1"]
    page = open_page(setup("no-owner", "limits"), key=key)

    expect(page.get_by_role("note")).to_contain_text("Rankloop.Owner")
    expect(page.get_by_label("Most actions")).to_be_disabled()
    page.get_by_role("link", name="Keys", exact=True).click()
    expect(page.get_by_role("button", name="Replace key1")).to_be_disabled()
    page.get_by_role("link", name="Loops", exact=True).click()
    expect(page.get_by_text("This page shows the loop no-owner.")).to_be_visible()
    page.get_by_role("link", name="Clear", exact=True).click()
    expect(page.get_by_role("button", name="Clear the log")).to_be_enabled()


def test_a_key_is_replaced_and_shown_once(open_page: OpenPage, deployment: Deployment, loop: str) -> None:
    page = open_page(setup(loop, "keys"))

    page.get_by_role("button", name="Replace key1").click()
    expect(page.get_by_role("dialog")).to_contain_text("Move callers to key2 first")
    confirm(page, "Replace it")
    key = page.locator("code.secret").inner_text()
    assert re.fullmatch("[0-9a-f]{64}", key)
    page.get_by_role("button", name="Copy key1").click()
    expect(page.get_by_role("button", name="Copied")).to_be_visible()
    assert page.evaluate("navigator.clipboard.readText()") == key
    other = open_page(setup(loop, "keys"), key=key)
    expect(other.get_by_role("heading", name="Keys")).to_be_visible()
    page.get_by_role("link", name="Jobs", exact=True).click()
    page.get_by_role("link", name="Keys", exact=True).click()
    expect(page.get_by_role("button", name="Replace key1")).to_be_visible()
    expect(page.locator("code.secret")).to_have_count(0)


def test_a_loop_is_made_shown_and_deleted(open_page: OpenPage, deployment: Deployment, loop: str) -> None:
    page = open_page(setup(loop, "loops"), expected=("409", "404"))
    name = page.get_by_role("textbox", name="Name")

    name.fill("Not a name")
    expect(page.get_by_role("alert")).to_contain_text("1 to 63 of a-z")
    name.fill(loop)
    page.get_by_role("button", name="Make it").click()
    expect(page.get_by_role("alert")).to_contain_text("There is a loop named")
    name.fill("made-here")
    page.get_by_role("button", name="Make it").click()
    expect(page.get_by_text("The loop made-here is made")).to_be_visible()
    expect(page.locator("code.secret")).to_have_count(2)
    expect(page.get_by_label("Loop", exact=True).locator("option", has_text="made-here")).to_have_count(1)

    page.get_by_role("button", name="Show made-here").click()
    expect(page).to_have_url(re.compile("/loops/made-here/#/setup"))
    page.get_by_role("button", name="Delete made-here").click()
    confirm(page, "Delete it for ever", "made-here")
    expect(page).to_have_url(f"{deployment.address}/#/setup?section=loops")
    expect(page.get_by_role("button", name="Delete default")).to_be_disabled()
    with pytest.raises(urllib.error.HTTPError, match="404"):
        deployment.call("GET", "health", loop="made-here")


def test_keys_that_are_shown_once_outlast_a_failure_right_after(
    open_page: OpenPage, deployment: Deployment, loop: str
) -> None:
    page = open_page(setup(loop, "loops"), expected=("503",))
    page.get_by_label("Name").fill("made-meanwhile")
    refused = {"error": {"code": "ServiceUnavailable", "message": "Storage does not answer just now."}}
    page.route(re.compile("/access$"), lambda route: route.fulfill(status=503, json=refused), times=1)

    page.get_by_role("button", name="Make it").click()

    expect(page.get_by_role("alert")).to_contain_text("Storage does not answer just now.")
    keys = page.locator(".made code")
    expect(keys).to_have_count(2)
    shown = keys.all_inner_texts()
    page.get_by_role("button", name="Try again").click()
    expect(page.get_by_role("alert")).to_have_count(0)
    expect(page.get_by_label("Loop", exact=True).get_by_role("option", name="made-meanwhile")).to_have_count(1)
    assert keys.all_inner_texts() == shown


def test_what_is_shown_of_a_loop_acts_on_no_other(open_page: OpenPage, deployment: Deployment, loop: str) -> None:
    page = open_page(setup(loop, "loops"))
    content, chosen = page.locator("#content"), page.get_by_label("Loop", exact=True)
    expect(page.get_by_role("button", name=f"Delete {loop}")).to_be_enabled()
    held: list[Route] = []
    page.route(re.compile("/access$"), lambda route: held.append(route))

    page.get_by_role("button", name="Show default").click()
    expect(page).to_have_url(f"{deployment.address}/#/setup?section=loops")
    expect(content).to_have_js_property("inert", True)
    expect(chosen).to_have_value(loop)

    (route,) = held
    route.continue_()
    expect(chosen).to_have_value("default")
    expect(content).to_have_js_property("inert", False)
    page.get_by_role("button", name=f"Delete {loop}").click()
    expect(page.get_by_role("dialog")).to_be_visible()


def test_log_model_and_settings_are_cleared_once_the_name_is_typed(
    open_page: OpenPage, deployment: Deployment, loop: str
) -> None:
    deployment.hasten(loop)
    deployment.serve_coffee(20, loop, prefix="clear-")
    deployment.settle(20, loop)
    before = settings(deployment, loop)
    deployment.call("PUT", SERVICE, {**before, "explorationPercentage": 0.4, "learningMode": "Apprentice"}, loop)
    page = open_page(setup(loop, "clear"))

    for step in ("Clear the log", "Clear the model", "Reset the settings"):
        page.get_by_role("button", name=step).click()
        confirm(page, step, loop)
        expect(page.get_by_role("status")).to_contain_text(f"Done: {step.lower()}.")

    assert deployment.call("GET", "personalizer/v1.0/logs/properties", loop=loop) == {}
    found = settings(deployment, loop)
    assert (found["explorationPercentage"], found["learningMode"]) == (pytest.approx(0.2), "Online")
    assert (found["rewardWaitTime"], found["modelExportFrequency"]) == ("PT10M", "PT5M")
    assert found["autoOptimizationStartDate"] == before["autoOptimizationStartDate"]


def test_faults_are_told_with_a_way_on_and_what_was_there_stays(open_page: OpenPage, loop: str) -> None:
    down = {"error": {"code": "OperationNotAllowed", "message": "The deployment's storage does not answer."}}
    page = open_page(f"/loops/{loop}/#/now", expected=("503", "403"))
    page.get_by_role("link", name="Setup", exact=True).wait_for()
    page.route("**/rankloop/v1/limits", lambda route: route.fulfill(status=503, json=down))

    page.get_by_role("link", name="Setup", exact=True).click()
    expect(page.get_by_role("alert")).to_contain_text("storage does not answer")
    page.unroute_all()
    page.get_by_role("button", name="Try again").click()
    page.get_by_label("Model update", exact=True).fill("9")
    page.route("**/rankloop/v1/limits", lambda route: route.fulfill(status=503, json=down))
    page.get_by_role("button", name="Save").click()
    expect(page.get_by_text("Saved.", exact=True)).to_be_visible()
    expect(page.get_by_text(re.compile("This is of .* storage does not answer"))).to_be_visible()
    expect(page.get_by_label("Reward wait", exact=True)).to_be_visible()
    forbidden = {"error": {"code": "Forbidden", "message": "This call takes the role Rankloop.Manage."}}
    page.route("**/configurations/service*", lambda route: route.fulfill(status=403, json=forbidden))
    page.get_by_label("Model update", exact=True).fill("11")
    page.get_by_role("button", name="Save").click()
    expect(page.get_by_role("alert")).to_contain_text("takes the role Rankloop.Manage")


@pytest.mark.parametrize(("width", "dark"), [(WIDE, False), (NARROW, True)], ids=["wide and light", "narrow and dark"])
def test_every_section_is_without_obstacles(open_page: OpenPage, dark: bool, width: int) -> None:
    page = open_page("/#/setup", dark=dark, width=width)

    for name in SECTIONS:
        link = page.get_by_role("navigation", name="Sections").get_by_role("link", name=re.compile(f"^{name}"))
        link.click()
        expect(page.get_by_role("heading", name=name, level=2)).to_be_visible()
        expect(page.locator("main [aria-busy=true]")).to_have_count(0)
        if name == "Settings":
            page.get_by_label("Reward wait", exact=True).fill("3000")
            page.get_by_label("Default reward").fill("0.5")
        assert obstacles(page) == [], name
        assert page.evaluate("document.documentElement.scrollWidth <= innerWidth"), f"{name} is cut off"


def test_a_keyboard_is_enough_to_save(open_page: OpenPage, deployment: Deployment, loop: str) -> None:
    page = open_page(setup(loop))
    page.get_by_label("Reward wait", exact=True).focus()

    for expected in ("Unit of Reward wait", "Default reward", "Several rewards of one event", "Exploration (%)"):
        page.keyboard.press("Tab")
        expect(page.get_by_label(expected, exact=True)).to_be_focused()
    page.keyboard.press("Control+a")
    page.keyboard.type("25")
    page.get_by_role("button", name="Save").focus()
    page.keyboard.press("Enter")
    dialog = page.get_by_role("dialog")
    expect(dialog).to_be_visible()
    page.keyboard.press("Escape")
    expect(dialog).to_have_count(0)
    expect(page.get_by_role("button", name="Save")).to_be_focused()
    page.keyboard.press("Enter")
    dialog.get_by_role("button", name="Save, and make a new model").focus()
    page.keyboard.press("Enter")
    expect(page.get_by_text("Saved.", exact=True)).to_be_visible()
    assert settings(deployment, loop)["explorationPercentage"] == 0.25

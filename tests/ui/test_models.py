"""Models on the page: versions, what differs between them, which one serves, and files that leave and come."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import pytest
from playwright.sync_api import Page, expect

from localhost.azurite import Azurite
from shared.learning.signed import generate_key
from tests.ui.conftest import NARROW, WIDE, OpenPage, assert_clear, sign_in_to_read
from tests.ui.deployment import Deployment, until

LOOP: Final = "page-models"
EVENTS: Final = 80
NEW: Final = "api-version=2022-09-01-preview"


@pytest.fixture(scope="module")
def models(deployment: Deployment) -> Iterator[Deployment]:
    """A loop of its own with two versions at least, since its versions are rolled back to and its model is deleted."""
    deployment.call("POST", "loops", {"name": LOOP})
    deployment.hasten(LOOP)
    for n in (1, 2):
        deployment.serve_coffee(EVENTS, LOOP, seed=n, prefix=f"models-{n}-")
        deployment.settle(n * EVENTS, LOOP)
    yield deployment


def test_versions_stand_with_what_they_have_learned(open_page: OpenPage, models: Deployment) -> None:
    page = open_page(f"/loops/{LOOP}/#/models")
    newest = versions(models)[0]
    first = page.get_by_role("row").filter(has=page.get_by_role("link", name=short(newest), exact=True)).first
    expect(first).to_contain_text("serves")
    expect(first).to_contain_text("learns")
    expect(first).to_contain_text(str(newest["events"]))
    expect(first).to_contain_text(newest["policy"])
    expect(page.get_by_role("img", name=re.compile("Progressive reward of each version"))).to_be_visible()

    first.get_by_role("link", name=short(newest)).click()
    expect(page.get_by_text(newest["version"], exact=True)).to_be_visible()
    page.get_by_role("button", name="Copy").first.click()
    assert page.evaluate("navigator.clipboard.readText()") == newest["version"]


def test_a_link_holds_which_versions_are_compared(open_page: OpenPage, models: Deployment) -> None:
    newest, *_, oldest = versions(models)
    page = open_page(f"/loops/{LOOP}/#/models?version={newest['version']}")
    page.get_by_label("From version").select_option(oldest["version"])
    told = page.get_by_label("Difference")
    expect(told).to_contain_text(f"+{newest['events'] - oldest['events']} events learned")
    assert f"with={oldest['version']}" in page.url
    difference = models.call("GET", f"versions/{newest['version']}/diff?with={oldest['version']}", loop=LOOP)
    weights = told.get_by_role("table", name="Weights").get_by_role("row").nth(1)
    expect(weights).to_contain_text(str(difference["weights"]["differ"]))

    again = open_page(page.url.removeprefix(models.address))
    expect(again.get_by_label("From version")).to_have_value(oldest["version"])
    expect(again.get_by_label("Difference")).to_contain_text("The policies are alike.")


def test_what_serves_is_pinned_and_learns_on_from_there(open_page: OpenPage, models: Deployment) -> None:
    page = open_page(f"/loops/{LOOP}/#/models")
    page.get_by_role("button", name="Pin it").click()
    page.get_by_role("dialog").get_by_role("button", name="Pin it").click()
    expect(page.get_by_role("button", name="Unpin: the newest serves")).to_be_visible()
    assert serving(models)["pinned"]

    page.get_by_role("button", name="Unpin: this one learns on").click()
    page.get_by_role("dialog").get_by_role("button", name="Unpin").click()
    expect(page.get_by_role("button", name="Pin it")).to_be_visible()
    assert not serving(models)["pinned"]


def test_what_was_loaded_stays_when_it_cannot_be_loaded_again(open_page: OpenPage, models: Deployment) -> None:
    page = open_page(f"/loops/{LOOP}/#/models", expected=("503",))
    page.get_by_role("button", name="Pin it").wait_for()
    refusal = {"error": {"code": "ServiceUnavailable", "message": "It is slow just now."}}
    page.route("**/rankloop/v1/pin", lambda route: route.fulfill(status=200, json={}))
    page.route("**/rankloop/v1/versions?*", lambda route: route.fulfill(status=503, json=refusal))
    page.get_by_role("button", name="Pin it").click()
    page.get_by_role("dialog").get_by_role("button", name="Pin it").click()

    expect(page.get_by_role("status").filter(has_text="It is slow just now")).to_be_visible()
    expect(page.get_by_role("button", name="Pin it")).to_be_visible()
    page.unroute_all()
    page.get_by_role("button", name="Try again").click()
    expect(page.get_by_text("It is slow just now")).to_have_count(0)


def test_learning_settings_leave_and_come(open_page: OpenPage, models: Deployment, tmp_path: Path) -> None:
    page = open_page(f"/loops/{LOOP}/#/models")
    area = page.get_by_label("Learning settings", exact=True)
    with page.expect_download() as download:
        area.get_by_role("button", name="Export", exact=True).click()
    file = tmp_path / "settings.json"
    download.value.save_as(file)
    held = models.call("GET", f"personalizer/configurations/policy?{NEW}", loop=LOOP)
    assert json.loads(file.read_text()) == held

    area.get_by_label("Import learning settings").set_input_files({"name": "a.json", "mimeType": "", "buffer": b"no"})
    expect(area.get_by_role("alert")).to_contain_text("no JSON")
    expect(area.get_by_role("button", name="Import", exact=True)).to_be_disabled()
    changed = held["arguments"].replace("-l 0.001", "-l 0.01")
    file.write_text(json.dumps({"name": "mine", "arguments": changed}))
    area.get_by_label("Import learning settings").set_input_files(file)
    area.get_by_role("button", name="Import", exact=True).click()
    expect(page.get_by_role("dialog")).to_contain_text(changed)
    page.get_by_role("dialog").get_by_role("button", name="Import").click()
    expect(area).to_contain_text(changed)
    expect(page.get_by_text("The new model stands")).to_be_visible()
    until(lambda: "0.01 " in serving(models)["policy"])  # the job ends before its version serves


def test_a_renewal_shows_its_cause_and_how_far_it_is(open_page: OpenPage, models: Deployment) -> None:
    job = {
        "id": "1790000000000-0123456789abcdef", "kind": "retrain", "status": "Running", "pieces": 4, "piecesDone": 1,
        "cause": "modelRetrainDays changed from 2 to 7", "events": 1000, "eventsEstimated": 4100,
        "created": "2026-01-31T00:00:00Z",
    }  # fmt: skip
    page = open_page(f"/loops/{LOOP}/#/now")
    page.route("**/rankloop/v1/jobs?*", lambda route: route.fulfill(json={"value": [job]}))
    page.get_by_role("link", name="Models", exact=True).click()

    told = page.get_by_label("New model", exact=True)
    expect(told).to_contain_text("Since modelRetrainDays changed from 2 to 7.")
    expect(told).to_contain_text("1 of 4 pieces are learned, 1,000 events of about 4,100")
    expect(told.get_by_role("progressbar")).to_have_attribute("max", "4")
    job |= {"status": "Failed", "error": "the log is damaged"}
    expect(told).to_contain_text("The new model failed. What served before goes on. the log is damaged")


def test_a_model_leaves_signed_and_comes_back(
    open_page: OpenPage, models: Deployment, azurite: Azurite, tmp_path: Path
) -> None:
    signing = Deployment(azurite.connection_string, RANKLOOP_SIGNING_KEY=generate_key())
    try:
        page = open_page(f"/loops/{LOOP}/#/models", deployment=signing)
        area = page.get_by_label("Model file")
        plain, packed = (download(page, area, name, tmp_path) for name in ("Export", "Export signed"))
        assert plain.read_bytes()[4:].startswith(b"9.")
        assert packed.read_bytes().startswith(b"PK")

        exported = serving(models)["version"]
        models.serve_coffee(10, LOOP, seed=3, prefix="models-3-")
        until(lambda: serving(models)["version"][11:] != exported[11:])
        expect(area.get_by_role("button", name="Import", exact=True)).to_be_disabled()
        area.get_by_label("Import a signed model").set_input_files(packed)
        area.get_by_role("button", name="Import", exact=True).click()
        page.get_by_role("dialog").get_by_role("button", name="Import").click()
        expect(page.get_by_role("dialog")).to_have_count(0)
        expect(page.get_by_role("row").filter(has_text="imported").first).to_be_visible()
        assert serving(models)["version"][11:] == exported[11:], "the same bytes"
    finally:
        signing.stop()


def test_a_deployment_without_a_key_says_what_signing_takes(open_page: OpenPage, models: Deployment) -> None:
    page = open_page(f"/loops/{LOOP}/#/models", expected=("403", "401", "400"))
    page.get_by_role("button", name="Export signed").click()
    expect(page.get_by_label("Model file").get_by_role("alert")).to_contain_text("RANKLOOP_SIGNING_KEY")


def test_past_decisions_are_imported_and_deleted(open_page: OpenPage, models: Deployment) -> None:
    page = open_page(f"/loops/{LOOP}/#/models", expected=("400",))
    area = page.get_by_label("Past decisions")
    area.get_by_label("File of past decisions").set_input_files(
        {"name": "past.dsjson", "mimeType": "", "buffer": b"no decision\n"}
    )
    area.get_by_role("button", name="Import decisions").click()
    expect(area.get_by_role("alert")).to_contain_text("nothing that this loop could learn")

    line = {
        "EventId": "past-1", "Timestamp": "2026-01-31T00:00:00Z", "_label_cost": -1.0, "_label_probability": 0.5,
        "_label_Action": 1, "_labelIndex": 0, "a": [1, 2], "p": [0.5, 0.5],
        "c": {"FromUrl": [{"weather": "Sunny"}], "_multi": [{"i": {"constant": 1}, "j": [{"n": n}]} for n in "ab"]},
    }  # fmt: skip
    area.get_by_label("File of past decisions").set_input_files(
        {"name": "past.dsjson", "mimeType": "", "buffer": json.dumps(line).encode()}
    )
    area.get_by_role("button", name="Import decisions").click()
    expect(area.get_by_role("status")).to_contain_text("1 decisions are imported")
    expect(area.get_by_role("table", name="Imported").get_by_role("row")).to_have_count(2)
    area.get_by_role("button", name="Delete").click()
    page.get_by_role("dialog").get_by_role("button", name="Delete").click()
    expect(area.get_by_role("table")).to_have_count(0)
    assert models.call("GET", "imports", loop=LOOP)["value"] == []


def test_who_may_only_read_changes_nothing(open_page: OpenPage, models: Deployment) -> None:
    page = open_page(f"/loops/{LOOP}/#/models", key="", expected=("401",))
    sign_in_to_read(page, models.key)

    for name in ("Pin it", "Delete model", "Import decisions"):
        expect(page.get_by_role("button", name=name)).to_be_disabled()
        expect(page.get_by_role("button", name=name)).to_have_attribute("title", re.compile("Manage"))
    page.goto(f"{models.address}/loops/{LOOP}/#/models?version={versions(models)[-1]['version']}")
    expect(page.get_by_role("button", name="Roll back to it")).to_be_disabled()


@pytest.mark.parametrize(("width", "dark"), [(WIDE, False), (NARROW, True)], ids=["wide-light", "narrow-dark"])
def test_nothing_stands_in_the_way(open_page: OpenPage, models: Deployment, dark: bool, width: int) -> None:
    page = open_page(f"/loops/{LOOP}/#/models", dark=dark, width=width)
    page.get_by_role("img", name=re.compile("Progressive")).wait_for()
    assert_clear(page)
    page.get_by_role("table", name="versions").get_by_role("row").nth(1).get_by_role("link").first.click()
    page.get_by_label("Difference").get_by_text("events learned").wait_for()
    assert_clear(page)
    page.get_by_role("button", name="Roll back to it").click()
    assert_clear(page)


def test_the_model_is_deleted_once_the_loop_is_named(open_page: OpenPage, models: Deployment) -> None:
    page = open_page(f"/loops/{LOOP}/#/models")
    page.get_by_role("button", name="Delete model").click()
    yes = page.get_by_role("dialog").get_by_role("button", name="Delete")
    expect(yes).to_be_disabled()
    page.get_by_label(re.compile("^Type")).fill(LOOP)
    yes.click()

    expect(page.get_by_text("No model serves.")).to_be_visible()
    assert serving(models)["blank"]


def test_a_loop_without_a_model_says_how_it_gets_one(open_page: OpenPage, deployment: Deployment) -> None:
    deployment.call("POST", "loops", {"name": "page-unlearned"})
    page = open_page("/loops/page-unlearned/#/models")
    expect(page.get_by_text("The loop has no model yet.")).to_be_visible()
    expect(page.get_by_role("link", name="Try it", exact=True).last).to_have_attribute("href", "#/try")


def download(page: Page, area: Any, name: str, folder: Path) -> Path:
    with page.expect_download() as waited:
        area.get_by_role("button", name=name, exact=True).click()
    waited.value.save_as(folder / name)
    return folder / name


def short(version: Any) -> str:
    return str(version["version"])[6:19]


def versions(deployment: Deployment) -> list[Any]:
    """Those of the loop, the newest first."""
    return list(deployment.call("GET", "versions", loop=LOOP)["value"])


def serving(deployment: Deployment) -> Any:
    """The version that serves."""
    return next(one for one in versions(deployment) if one["serves"])

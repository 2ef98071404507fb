"""The tutorials that the page plays are those of the demo, and the programs that it prints run as they are printed."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from typing import Any

import pytest
from playwright.sync_api import Page, expect

from demo.coffee import COFFEE
from demo.grocery import GROCERY
from demo.scenario import Scenario
from localhost.azurite import node
from tests.integration.served import ROOT
from tests.ui.conftest import OpenPage
from tests.ui.deployment import PATIENCE, Deployment
from tests.ui.test_try import make

VIEWS = ROOT / "ui_fn" / "static" / "views"


def test_the_tutorials_are_those_of_the_demo() -> None:
    script = f"""
        const {{ SCENARIOS, uniform, ceiling }} = await import({json.dumps((VIEWS / "try-scenarios.js").as_uri())});
        const told = (one) => ({{ ...one, uniform: uniform(one), ceiling: ceiling(one, 0.2) }});
        const all = Object.entries(SCENARIOS).map(([name, one]) => [name, told(one)]);
        console.log(JSON.stringify(Object.fromEntries(all)));
    """
    found = json.loads(ran([str(node()), "--no-warnings", "--input-type=module", "-e", script]))

    assert found.keys() == {"coffee", "grocery"}
    for scenario in (COFFEE, GROCERY):
        same(found[scenario.name], scenario)


def same(found: Any, scenario: Scenario) -> None:
    assert {action["id"]: action["features"] for action in found["actions"]} == {
        name: [features] for name, features in scenario.actions.items()
    }
    visits = [{"context": list(visit.context), "rewards": visit.rewards} for visit in scenario.visits]
    assert by_context(found["visits"]) == by_context(visits)
    assert found["uniform"] == pytest.approx(scenario.uniform)
    assert found["ceiling"] == pytest.approx(scenario.ceiling(0.2))


def by_context(visits: list[Any]) -> dict[str, Any]:
    found = {json.dumps(visit["context"], sort_keys=True): visit["rewards"] for visit in visits}
    assert len(found) == len(visits)
    return found


def ran(command: list[str], text: str = "") -> str:
    """What a program prints that must succeed; it sees nothing of what tests are set up with."""
    done = subprocess.run(
        command, input=text, capture_output=True, text=True, timeout=PATIENCE, env={"PATH": os.environ["PATH"]}
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def program(page: Page, language: str, key: str) -> str:
    """A program as the page prints it, and copies it, once its key is shown."""
    page.get_by_role("tab", name=language, exact=True).click()
    block = page.get_by_label(f"{language} program")
    expect(block).to_contain_text("<your key>")
    shown = page.get_by_label("Show my key in the code")
    shown.check()
    expect(block).to_contain_text(key)
    block.get_by_role("button", name="Copy").click()
    expect(block.get_by_role("button")).to_have_text("Copied")
    shown.uncheck()
    copied: str = page.evaluate("navigator.clipboard.readText()")
    return copied


COMMANDS: dict[str, list[str]] = {
    "Python": [sys.executable, "-"],
    "JavaScript": [str(node()), "--input-type=module", "-"],
    "curl": ["bash", "-e"],
}
NASTY = {
    "contextFeatures": [
        {"quote's": 'a "b" $HOME `id` \\ \n ü', "true": "true", "none": "null", "yes": True, "many": [1, 2.5]},
    ],
    "actions": [{"id": "it's $1", "features": [{"class": "x", "no name": 1}]}, {"id": "b", "features": [{"y": 1}]}],
    "excludedActions": ["b"],
    "deferActivation": False,
}  # fmt: skip


@pytest.mark.parametrize("language", COMMANDS)
def test_programs_run_as_they_are_printed(open_page: OpenPage, deployment: Deployment, language: str) -> None:
    loop = f"try-code-{language.lower()}"
    key = make(deployment, loop)
    page = open_page(f"/loops/{loop}/#/try", key=key)

    for request in (None, NASTY):
        if request:
            page.get_by_label("Request").fill(json.dumps(request))
        printed = ran(COMMANDS[language], program(page, language, key))
        event = re.search(r"Rewarded (\S+)", printed)
        assert event, printed
        (told,) = deployment.call("GET", f"events/{event[1]}", loop=loop)["events"]
        assert [one["value"] for one in told["observations"]] == [1]
        assert told["decision"]["ranking"][0]["id"] in printed


def test_curl_encodes_an_id_of_ones_own(open_page: OpenPage, deployment: Deployment) -> None:
    key = make(deployment, "try-own-id")
    page = open_page("/loops/try-own-id/#/try?code=curl", key=key)
    page.get_by_label("Request").fill(json.dumps({**NASTY, "eventId": "it's my own/\u00e9"}))

    ran(COMMANDS["curl"], program(page, "curl", key))

    (told,) = deployment.call("GET", "events/it's%20my%20own%2F%C3%A9", loop="try-own-id")["events"]
    assert [one["value"] for one in told["observations"]] == [1]


def test_programs_of_several_slots_run_too(open_page: OpenPage, deployment: Deployment) -> None:
    key = make(deployment, "try-slots")
    deployment.decide_slots("try-slots")
    page = open_page("/loops/try-slots/#/try", key=key)

    expect(page.get_by_text("decides for several slots at a time")).to_be_visible()
    for language, command in COMMANDS.items():
        event = re.search(r"Rewarded (\S+)", ran(command, program(page, language, key)))
        assert event
        (told,) = deployment.call("GET", f"events/{event[1]}", loop="try-slots")["events"]
        assert {one["slot"] for one in told["observations"]} == {"hero", "sidebar"}
    page.get_by_role("button", name="Rank").click()
    page.get_by_role("button", name="Reward", exact=True).click()
    expect(page.get_by_text("Rewarded with 1")).to_be_visible()


def test_csharp_names_what_it_can_and_quotes_the_rest(open_page: OpenPage, deployment: Deployment) -> None:
    key = make(deployment, "try-csharp")
    page = open_page("/loops/try-csharp/#/try?code=csharp", key=key)
    page.get_by_label("Request").fill(json.dumps(NASTY))

    code = program(page, "C#", key)

    assert f'new Uri("{deployment.address}/loops/try-csharp/")' in code
    assert '["class"] = "x"' in code
    assert 'excludedActions: new[] { "b" }' in code
    assert "deferActivation: false" in code
    page.get_by_role("button", name="Begin anew").click()
    expect(page.get_by_label("C# program")).to_contain_text('brand_info = new { company = "pasta_inc" }')

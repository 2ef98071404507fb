"""Events on the page: the latest calls, and the story of one, of whatever id and kind, from its draw to its erasure."""

from __future__ import annotations

import re
from typing import Any
from urllib.parse import quote

import pytest
from playwright.sync_api import Page, Route, expect

from shared.ranking.sampling import draw, uniform
from tests.ui.conftest import NARROW, WIDE, OpenPage, obstacles
from tests.ui.deployment import Deployment

ODD = "odd/id ü?&#%2e+='\"/explanation"
ACTIONS: list[dict[str, Any]] = [{"id": f"a{n}", "features": [{"x": f"v{n}"}]} for n in range(3)]


def story(deployment: Deployment, event_id: str, loop: str = "default") -> Any:
    return deployment.call("GET", f"events/{quote(event_id, safe='').replace('%2F', '%252F')}", loop=loop)


def rank(deployment: Deployment, event_id: str, loop: str = "default", **more: Any) -> Any:
    asked = {"eventId": event_id, "actions": ACTIONS, "contextFeatures": [{"y": 1}], **more}
    slots = "multislot/" if "slots" in more else ""
    return deployment.call("POST", f"personalizer/v1.1-preview.3/{slots}rank", asked, loop)


def at(event_id: str) -> str:
    return f"/#/events?id={quote(event_id, safe='')}"


def test_the_latest_calls_lead_to_their_stories(open_page: OpenPage, deployment: Deployment) -> None:
    rank(deployment, "latest-1")
    page = open_page("/#/events")
    latest = page.get_by_role("region", name="The newest first")

    expect(latest.get_by_role("link", name="latest-1").first).to_be_visible()
    page.get_by_role("switch", name="Keep up").uncheck()
    rank(deployment, "latest-2")
    page.get_by_role("switch", name="Keep up").check()
    expect(latest.get_by_role("link", name="latest-2").first).to_be_visible()
    latest.get_by_role("link", name="latest-2").first.click()

    expect(page.get_by_role("heading", name="Ranked")).to_be_visible()
    expect(page.get_by_label("Event id")).to_have_value("latest-2")
    page.get_by_role("link", name="All recent events").click()
    expect(latest).to_be_visible()


def test_the_latest_calls_are_not_asked_for_while_nobody_looks(open_page: OpenPage) -> None:
    page = open_page("/#/events")
    page.get_by_role("region", name="The newest first").wait_for()
    page.evaluate("Object.defineProperty(document, 'hidden', {configurable: true, get: () => true})")
    asked: list[str] = []
    page.on("request", lambda request: asked.append(request.url))

    page.clock.install()
    page.clock.run_for(60_000)
    assert asked == []
    page.evaluate("delete document.hidden")


def test_the_whole_story_is_told_with_its_draw(open_page: OpenPage, deployment: Deployment) -> None:
    (told,) = story(deployment, "coffee-0")["events"]
    page = open_page(at("coffee-0"))

    happened = page.get_by_role("article").get_by_role("listitem")
    expect(happened.filter(has_text="Ranked")).to_contain_text(str(told["ranked"]["seeds"][0]))
    expect(happened.nth(1)).to_have_text(re.compile("Reward.*it counts", re.DOTALL))
    expect(happened.filter(has_text="Joined")).to_be_visible()
    expect(happened.filter(has_text="Learned")).to_contain_text(told["trainedInto"])
    expect(page.get_by_text("Same answer: yes.")).to_be_visible()
    chosen = told["decision"]["ranking"][0]
    expect(page.get_by_role("table", name="Probabilities").get_by_role("row", name=chosen["id"])).to_contain_text(
        "drawn"
    )
    assert shown_draws(page) == [pytest.approx(told["ranked"]["draws"][0], abs=1e-6)]


def shown_draws(page: Page) -> list[float]:
    """Where marks are drawn: each must lie within the step that is said to be the drawn one."""
    found = page.evaluate(
        """[...document.querySelectorAll('.steps')].filter(one => one.querySelector('.mark')).map(one => {
          const bar = one.querySelector('.drawn .bar'), mark = one.querySelector('.mark');
          const [x, width] = ['x', 'width'].map(name => Number(bar.getAttribute(name)));
          return [x, x + width, Number(mark.getAttribute('x1'))];
        })"""
    )
    assert all(first <= mark <= last for first, last, mark in found), found
    return [mark / 100 for _, _, mark in found]


def test_a_draw_falls_into_its_step_wherever_the_best_action_stood(open_page: OpenPage) -> None:
    page = open_page("/#/events")
    page.get_by_role("heading", name="Events").wait_for()
    cases: list[tuple[list[dict[str, Any]], int, int]] = []
    for seed in range(200):
        probabilities = [0.7, 0.1, 0.1, 0.05, 0.05] if seed % 3 else [0.4, 0.4, 0.2] if seed % 2 else [0.2] * 5
        chosen = draw(seed, probabilities)
        ranking: list[dict[str, Any]] = [{"id": str(n), "probability": p} for n, p in enumerate(probabilities)]
        ranking[0], ranking[chosen] = ranking[chosen], ranking[0]
        cases.append((ranking, chosen, seed))
    draws = [uniform(seed) for _, _, seed in cases]

    found = page.evaluate(
        """async ([rankings, draws]) => {
          const { staircase } = await import('/page/views/events-draw.js');
          const told = ({ id, from, to, drawn }) => [id, from, to, drawn];
          return rankings.map((ranking, n) => staircase(ranking, draws[n]).map(told));
        }""",
        [[ranking for ranking, _, _ in cases], draws],
    )

    for steps, (_, chosen, _), drawn in zip(found, cases, draws, strict=True):
        assert [step[0] for step in steps] == [str(n) for n in range(len(steps))]
        (taken,) = [step for step in steps if step[3]]
        assert taken[0] == str(chosen)
        assert taken[1] <= drawn < taken[2] + 1e-12


def test_any_id_is_found_by_typing_it_and_by_its_link(open_page: OpenPage, deployment: Deployment) -> None:
    rank(deployment, ODD)
    page = open_page("/#/events")

    page.get_by_label("Event id").fill(ODD)
    page.get_by_role("button", name="Find").click()
    expect(page.get_by_text("Pending: rewards may still come")).to_be_visible()
    again = open_page(page.url.removeprefix(deployment.address))
    expect(again.get_by_text("Pending: rewards may still come")).to_be_visible()
    expect(again.get_by_label("Event id")).to_have_value(ODD)


def test_what_is_not_there_leads_on(open_page: OpenPage) -> None:
    page = open_page(at("never/was"), expected=("404",))

    expect(page.get_by_text("The log holds no event")).to_contain_text("never/was")
    page.get_by_role("link", name="The latest events").click()
    expect(page.get_by_role("heading", name="The latest calls")).to_be_visible()


def test_a_decision_is_explained(open_page: OpenPage, deployment: Deployment) -> None:
    (event,) = deployment.serve_coffee(1, prefix="why-")
    told = deployment.call("GET", f"events/{event}/explanation")["events"][0]["actions"]
    page = open_page(at(event))

    page.get_by_role("button", name="Explain this decision").click()
    expected = page.get_by_role("table", name="Reward expected of each action")
    expect(expected.get_by_role("row")).to_have_count(4)
    first = told[1]["features"][0]["name"].replace("^", " \N{MULTIPLICATION SIGN} ")
    page.get_by_label("What spoke for it").select_option(told[1]["id"])
    expect(page.get_by_role("table", name="What each feature added").get_by_role("row").first).to_contain_text(first)


def test_several_slots_tell_each_draw_and_why_nothing_more(open_page: OpenPage, deployment: Deployment) -> None:
    loop = "events-slots"
    deployment.call("POST", "loops", {"name": loop})
    deployment.decide_slots(loop)
    slots = [{"id": name, "baselineAction": f"a{n}", "features": [{"s": n}]} for n, name in enumerate(("top", "side"))]
    rank(deployment, "slots/1", loop, slots=slots)
    (told,) = story(deployment, "slots/1", loop)["events"]

    page = open_page(f"/loops/{loop}{at('slots/1')}")

    for slot in told["decision"]["slots"]:
        table = page.get_by_role("table", name=f"Probabilities for {slot['id']}")
        expect(table.get_by_role("row", name=slot["ranking"][0]["id"])).to_contain_text("drawn")
    assert shown_draws(page) == [pytest.approx(one, abs=1e-6) for one in told["ranked"]["draws"]]
    expect(page.get_by_text("Same answer: yes.")).to_be_visible()
    page.get_by_role("button", name="Explain this decision").click()
    expect(page.get_by_text("It cannot be explained.")).to_be_visible()


@pytest.mark.parametrize(
    ("replay", "said"),
    [
        ({"same": False, "answer": {}, "sha256": "0"}, "Same answer: no."),
        ({"cannotReplay": "Its model version is gone."}, "Its model version is gone."),
    ],
)
def test_a_replay_that_differs_or_fails_is_said_plainly(
    open_page: OpenPage, deployment: Deployment, replay: dict[str, Any], said: str
) -> None:
    told = story(deployment, "coffee-1")
    told["events"][0]["replay"] = replay
    page = open_page("/#/events")
    page.route("**/rankloop/v1/events/coffee-1", lambda route: route.fulfill(json=told))

    page.get_by_label("Event id").fill("coffee-1")
    page.get_by_label("Event id").press("Enter")

    expect(page.get_by_role("status").filter(has_text=said)).to_be_visible()


def test_an_event_is_erased_once_it_was_said_what_that_means(open_page: OpenPage, deployment: Deployment) -> None:
    rank(deployment, "erase/me")
    page = open_page(at("erase/me"), expected=("404",))

    page.get_by_role("button", name="Erase this event").click()
    asked = page.get_by_role("dialog", name="Erase this event for ever?")
    expect(asked).to_contain_text("models that have learned it")
    asked.get_by_role("button", name="Cancel").click()
    assert story(deployment, "erase/me")["events"]
    page.get_by_role("button", name="Erase this event").click()
    asked.get_by_role("button", name="Erase it").click()

    erasure = page.get_by_role("region", name="Erasure")
    expect(erasure.get_by_role("status")).to_contain_text("hidden from everything")
    expect(page.get_by_text("any more.")).to_be_visible()
    record = re.search(r"erasure=([\w-]+)", page.url)
    assert record and record[1] in erasure.inner_text()
    assert deployment.call("GET", f"erasures/{record[1]}")["kind"] == "event"


def test_a_reader_is_told_which_role_erasing_takes(open_page: OpenPage) -> None:
    page = open_page()
    page.route("**/rankloop/v1/access", lambda route: _as_reader(route))
    page.get_by_role("button", name="Sign out").click()
    page.get_by_label("Key").fill("the key of the page's tests")
    page.get_by_role("button", name="Open").click()
    page.get_by_role("link", name="Events", exact=True).click()
    page.get_by_label("Event id").fill("coffee-1")
    page.get_by_label("Event id").press("Enter")

    erase = page.get_by_role("button", name="Erase this event")
    expect(erase).to_be_disabled()
    assert "Rankloop.Manage" in (erase.get_attribute("title") or "")


def _as_reader(route: Route) -> None:
    answer = route.fetch()
    route.fulfill(json={**answer.json(), "roles": ["read"]})


def test_what_fails_is_told_and_what_was_read_stays(open_page: OpenPage) -> None:
    page = open_page("/#/events", expected=("503",))
    latest = page.get_by_role("region", name="The newest first")
    latest.wait_for()
    refused = {"error": {"code": "ServiceUnavailable", "message": "Storage does not answer."}}
    page.route("**/rankloop/v1/events?*", lambda route: route.fulfill(status=503, json=refused))

    expect(page.locator(".stale")).to_contain_text("Storage does not answer.")
    expect(latest).to_be_visible()
    page.get_by_role("link", name="Try it", exact=True).click()
    page.get_by_role("link", name="Events", exact=True).click()
    expect(page.get_by_role("alert")).to_contain_text("Storage does not answer.")
    page.unroute("**/rankloop/v1/events?*")
    page.get_by_role("button", name="Try again").click()
    expect(latest).to_be_visible()


def test_a_silent_loop_says_the_next_step(open_page: OpenPage, deployment: Deployment) -> None:
    deployment.call("POST", "loops", {"name": "events-silent"})
    page = open_page("/loops/events-silent/#/events")

    expect(page.get_by_text("Nothing has been ranked here lately.")).to_be_visible()
    page.get_by_role("link", name="let the page do it").click()
    expect(page.get_by_role("heading", name="Try it")).to_be_visible()


@pytest.mark.parametrize(("width", "dark"), [(WIDE, False), (NARROW, True)], ids=["wide-light", "narrow-dark"])
def test_a_story_has_no_obstacles(open_page: OpenPage, deployment: Deployment, dark: bool, width: int) -> None:
    (event,) = deployment.serve_coffee(1, prefix=f"plain-{dark}-{width}-")
    page = open_page(at(event), dark=dark, width=width)
    page.get_by_role("button", name="Explain this decision").click()
    page.get_by_text("In units of the reward.").wait_for()

    assert obstacles(page) == []
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")
    page.get_by_role("button", name="Erase this event").click()
    assert obstacles(page) == []

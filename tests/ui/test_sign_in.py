"""People sign in to the page at a tenant of the tests' own, and may do what their roles say."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from typing import Final

import pytest
from playwright.sync_api import Browser, BrowserContext, Page, expect

from localhost.azurite import Azurite
from tests.integration.jwks import AUDIENCE, TENANT
from tests.ui.authority import CLIENT, WHO, Authority
from tests.ui.conftest import Watched, obstacles
from tests.ui.deployment import Deployment

LOOP: Final = "signed-in"
SignIn = Callable[..., Page]


@pytest.fixture(scope="module")
def authority() -> Iterator[Authority]:
    with Authority() as running:
        yield running


@pytest.fixture(scope="module")
def tenants(azurite: Azurite, authority: Authority) -> Iterator[Deployment]:
    """A deployment that people of the tenant may sign in to."""
    served = Deployment(
        azurite.connection_string,
        RANKLOOP_ENTRA_TENANT=TENANT,
        RANKLOOP_ENTRA_AUDIENCES=AUDIENCE,
        RANKLOOP_ENTRA_AUTHORITY=authority.authority,
        RANKLOOP_ENTRA_CLIENT=CLIENT,
    )
    try:
        authority.returns = f"{served.address}/"
        served.call("POST", "loops", {"name": LOOP})
        yield served
    finally:
        served.stop()


@pytest.fixture
def opened(chromium: Browser, tenants: Deployment, authority: Authority) -> Iterator[SignIn]:
    """Opens the page; nothing but the deployment and the authority may be asked for anything."""
    watched: list[tuple[BrowserContext, Watched]] = []

    def open_(path: str = "/#/setup", expected: tuple[str, ...] = ()) -> Page:
        context = chromium.new_context(base_url=tenants.address, viewport={"width": 1200, "height": 900})
        seen = Watched(context.new_page(), tenants.address)
        seen.expected = expected
        watched.append((context, seen))
        seen.page.goto(path)
        return seen.page

    yield open_
    wrong = [text for _, seen in watched for text in seen.wrong if f": {authority.authority}/" not in text]
    for context, _ in watched:
        context.close()
    assert wrong == []


@pytest.fixture
def sign_in(opened: SignIn) -> SignIn:
    """The page, once the person was at the authority and is back."""

    def sign_in_(path: str = "/#/setup", expected: tuple[str, ...] = ()) -> Page:
        page = opened(path, expected)
        page.get_by_role("button", name="Sign in with Microsoft Entra ID").click()
        return page

    return sign_in_


def test_who_signs_in_is_back_where_they_were_and_keeps_nothing(sign_in: SignIn, authority: Authority) -> None:
    authority.begin("Rankloop.Read")

    page = sign_in(f"/loops/{LOOP}/#/setup?section=mode")

    expect(page.get_by_role("heading", name="Learning mode", level=2)).to_be_visible()
    expect(page).to_have_url(re.compile(rf"/loops/{LOOP}/#/setup\?section=mode$"))
    expect(page.locator(".loop")).to_have_text(LOOP)
    expect(page.get_by_role("button", name="Sign out")).to_have_attribute("title", f"Signed in as {WHO}")
    assert page.evaluate("[localStorage.length, sessionStorage.length, document.cookie]") == [0, 0, ""]
    assert authority.given == {"authorization_code": 1, "refresh_token": 0}
    page.get_by_role("button", name="Sign out").click()
    expect(page.get_by_role("button", name="Sign in with Microsoft Entra ID")).to_be_visible()


def test_who_may_read_sees_everything_and_can_change_nothing(sign_in: SignIn, authority: Authority) -> None:
    authority.begin("Rankloop.Read")
    page = sign_in()
    expect(page.get_by_text("read only", exact=True)).to_be_visible()

    checked = 0
    for section in ("Settings", "Learning mode", "Policy", "Holdback", "Limits", "Keys", "Loops", "Jobs", "Clear"):
        page.get_by_role("navigation", name="Sections").get_by_role("link", name=section, exact=True).click()
        expect(page.get_by_role("heading", name=section, level=2)).to_be_visible()
        expect(page.locator("main [aria-busy=true]")).to_have_count(0)
        if section != "Jobs":
            role = "Owner" if section in ("Limits", "Keys", "Loops") else "Manage"
            expect(page.get_by_role("note")).to_contain_text(f"Rankloop.{role}")
        changing = page.locator("#content").locator("input, select, textarea, button:not(.copy)")
        for control in changing.all():
            if control.is_visible():
                expect(control).to_be_disabled()
                expect(control).to_have_attribute("title", re.compile(r"Rankloop\.(Manage|Owner)"))
                checked += 1
    assert checked > 30


def test_who_may_manage_changes_settings_and_no_keys(
    sign_in: SignIn, authority: Authority, tenants: Deployment
) -> None:
    authority.begin("Rankloop.Read", "Rankloop.Manage")
    page = sign_in(f"/loops/{LOOP}/#/setup")

    page.get_by_label("Model update", exact=True).fill("7")
    page.get_by_role("button", name="Save").click()
    expect(page.get_by_role("status")).to_contain_text("Saved.")

    assert tenants.call("GET", "personalizer/v1.0/configurations/service", loop=LOOP)["modelExportFrequency"] == "PT7M"
    page.get_by_role("link", name="Keys", exact=True).click()
    expect(page.get_by_role("button", name="Replace key1")).to_be_disabled()


def test_an_owner_may_do_all_of_it(sign_in: SignIn, authority: Authority) -> None:
    authority.begin("Rankloop.Owner")
    page = sign_in(f"/loops/{LOOP}/#/setup?section=keys")

    expect(page.get_by_role("button", name="Replace key1")).to_be_enabled()
    expect(page.get_by_role("note")).to_have_count(0)
    expect(page.get_by_label("Loop", exact=True)).to_have_value(LOOP)


def test_somebody_without_a_role_is_told_which_to_ask_for(sign_in: SignIn, authority: Authority) -> None:
    authority.begin()

    page = sign_in(expected=("403",))

    expect(page.get_by_role("status")).to_contain_text("Rankloop.Read")
    expect(page.get_by_role("navigation")).to_have_count(0)


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        ({"tid": "11111111-2b34-4da1-9baa-8bc8c9d6a490"}, "tenant"),
        ({"aud": "api://other"}, "(aud)"),
    ],
)
def test_a_token_of_somebody_else_opens_nothing(
    sign_in: SignIn, authority: Authority, changed: dict[str, object], said: str
) -> None:
    authority.begin("Rankloop.Owner")
    authority.changed = changed

    page = sign_in(expected=("401",))

    expect(page.get_by_role("status")).to_contain_text(said)
    expect(page.get_by_role("navigation")).to_have_count(0)
    assert authority.given["refresh_token"] == 0


def test_a_refused_consent_is_told(sign_in: SignIn, authority: Authority) -> None:
    authority.begin("Rankloop.Read")
    authority.consents = False

    page = sign_in(f"/loops/{LOOP}/#/setup")

    expect(page.get_by_role("status")).to_contain_text("User declined to consent")
    expect(page).to_have_url(re.compile(rf"/loops/{LOOP}/#/setup$"))
    expect(page.get_by_text(f"Loop {LOOP}.")).to_be_visible()


@pytest.mark.parametrize("begun", [False, True], ids=["none was begun", "another was begun"])
def test_an_answer_that_was_not_asked_for_is_no_sign_in(opened: SignIn, authority: Authority, begun: bool) -> None:
    authority.begin("Rankloop.Owner")
    page = opened("/")
    if begun:
        kept = {"state": "mine", "nonce": "n", "verifier": "v", "from": "/"}
        page.evaluate("(kept) => sessionStorage.setItem('rankloop.signin', JSON.stringify(kept))", kept)

    page.goto("/#code=stolen&state=guessed")
    page.reload()

    expect(page.get_by_role("status")).to_contain_text("not to a sign-in that was begun in this tab")
    expect(page).to_have_url(re.compile(r"/$"))
    assert authority.given["authorization_code"] == 0
    assert not any("/token" in path for path in authority.asked)
    assert page.evaluate("sessionStorage.length") == 0


def test_an_identity_that_was_not_asked_for_is_no_sign_in(sign_in: SignIn, authority: Authority) -> None:
    authority.begin("Rankloop.Owner")
    authority.nonce = "of another time"

    page = sign_in()

    expect(page.get_by_role("status")).to_contain_text("an identity that was not asked for")
    expect(page.get_by_role("navigation")).to_have_count(0)


def test_a_token_is_renewed_before_its_end_once_for_all_that_wait(sign_in: SignIn, authority: Authority) -> None:
    authority.begin("Rankloop.Read")
    authority.lasts = 30
    page = sign_in()
    expect(page.get_by_label("Reward wait", exact=True)).to_be_visible()
    authority.lasts = 3600
    page.get_by_role("link", name="Holdback", exact=True).click()
    expect(page.get_by_label("Held back")).to_be_visible()
    # One for `access`, one for the three calls that the settings are made of, one for the holdback.
    assert authority.given["refresh_token"] == 3

    page.get_by_role("link", name="Jobs", exact=True).click()
    page.get_by_role("link", name="Settings", exact=True).click()
    expect(page.get_by_label("Reward wait", exact=True)).to_be_visible()

    assert authority.given["refresh_token"] == 3


def test_a_token_that_the_api_refuses_is_renewed(sign_in: SignIn, authority: Authority) -> None:
    authority.begin("Rankloop.Read")
    page = sign_in(f"/loops/{LOOP}/#/setup?section=jobs", expected=("401",))
    expect(page.get_by_text("Nothing was done for this loop yet")).to_be_visible()

    page.route("**/rankloop/v1/holdback", lambda route: route.fulfill(status=401, json={"error": {}}), times=1)
    page.get_by_role("link", name="Holdback", exact=True).click()

    expect(page.get_by_label("Held back")).to_be_visible()
    assert authority.given["refresh_token"] == 1


def test_a_sign_in_that_has_ended_is_asked_for_again(sign_in: SignIn, authority: Authority) -> None:
    authority.begin("Rankloop.Read")
    page = sign_in("/#/setup?section=policy", expected=("400", "401"))
    expect(page.get_by_label("Arguments")).to_be_visible()
    authority.renews = False

    page.route("**/rankloop/v1/holdback", lambda route: route.fulfill(status=401, json={"error": {}}))
    page.get_by_role("link", name="Holdback", exact=True).click()

    expect(page.get_by_role("status")).to_contain_text("Your sign-in has ended")
    expect(page).to_have_url(re.compile(r"/#/setup\?section=holdback$"))
    authority.renews = True
    page.unroute_all()
    page.get_by_role("button", name="Sign in with Microsoft Entra ID").click()
    expect(page.get_by_label("Held back")).to_be_visible()


def test_the_ways_in_have_no_obstacles_and_a_key_still_opens(opened: SignIn, tenants: Deployment) -> None:
    page = opened("/#/setup")

    assert obstacles(page) == []
    page.get_by_label("Key").fill(tenants.key)
    page.get_by_role("button", name="Open").click()
    expect(page.get_by_label("Reward wait", exact=True)).to_be_visible()

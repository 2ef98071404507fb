"""The page is told where people sign in, and may call nobody else; without a registration it is told nothing."""

import html
import re

import pytest

from shared.config import Config, ConfigError
from shared.edge import page
from shared.edge.page import SignIn

ENTRA = SignIn("https://login.example", "contoso.example", "0a1b", "api://rankloop/.default")
SETTINGS = Config(
    storage="s",
    key="k",
    entra_tenant="Contoso.Example",
    entra_audiences=frozenset({"api://rankloop"}),
    entra_authority="https://login.example/",
    entra_client="0a1b",
    entra_scope="api://rankloop/.default",
)


def shown(path: str, entra: SignIn | None) -> tuple[str, dict[str, str]]:
    """A file of the page and the directives of its policy."""
    reply = page.reply(path, {}, entra)
    policy = dict(one.split(" ", 1) for one in reply.headers["content-security-policy"].split("; "))
    return reply.body.decode(), policy


def told(text: str) -> dict[str, str]:
    """What the page's meta element says."""
    element = re.search(r'<meta name="entra"([^>]*)/>', text)
    return {
        name: html.unescape(value) for name, value in re.findall(r'data-(\w+)="([^"]*)"', element[1] if element else "")
    }


def test_the_settings_are_those_that_tokens_are_checked_by() -> None:
    assert page.sign_in(SETTINGS) == ENTRA
    assert page.sign_in(Config(storage="s", key="k")) is None
    with pytest.raises(ConfigError, match="stands for any"):
        page.sign_in(Config(storage="s", key="k", entra_client="c", entra_tenant="common"))


@pytest.mark.parametrize("path", ["", "loops/news/"])
def test_the_page_is_told_and_may_call_the_authority(path: str) -> None:
    text, policy = shown(path, ENTRA)

    assert told(text) == ENTRA._asdict()
    assert text.index('<meta name="entra"') < text.index("</head>")
    assert policy["connect-src"] == "'self' https://login.example"


def test_without_a_registration_it_is_told_nothing_and_calls_nobody_else() -> None:
    text, policy = shown("", None)

    assert told(text) == {}
    assert "login" not in text
    assert policy["connect-src"] == "'self'"
    with_it, wider = shown("", ENTRA)
    assert {name: value for name, value in wider.items() if name != "connect-src"} == {
        name: value for name, value in policy.items() if name != "connect-src"
    }
    assert with_it != text


def test_values_cannot_leave_their_attribute() -> None:
    scope = 'api://a"><script>alert(1)</script>/.default'

    text, _ = shown("", ENTRA._replace(scope=scope))

    assert told(text)["scope"] == scope
    assert "<script>alert" not in text


def test_pages_with_and_without_it_are_cached_apart() -> None:
    tags = {page.reply("", {}, entra).headers["etag"] for entra in (None, ENTRA, ENTRA._replace(client="other"))}

    assert len(tags) == 3
    for name in ("page/page.js", "page/entra.js"):
        assert shown(name, ENTRA)[0] == shown(name, None)[0]

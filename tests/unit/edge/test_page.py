"""The page and its files: which paths they have, how they are packed, and what they may load."""

from __future__ import annotations

import gzip

import pytest

from shared.edge import page
from shared.edge.bundle import bundle
from shared.edge.calls import Reply
from tests.integration.served import ROOT
from tests.unit.edge.inmemory import InMemory


def reply(path: str, **headers: str) -> Reply:
    return page.reply(path, {name.replace("_", "-"): value for name, value in headers.items()})


@pytest.mark.parametrize("path", ["", "loops/news", "loops/news/"])
async def test_the_page_needs_no_key_and_tells_of_no_loop(served: InMemory, path: str) -> None:
    response = await served("GET", path, ocp_apim_subscription_key="")

    assert response.status_code == 200
    assert response.get_body() == (ROOT / "ui_fn/static/index.html").read_bytes()
    assert response.headers["content-type"] == "text/html; charset=utf-8"
    assert response.headers["x-content-type-options"] == "nosniff"


@pytest.mark.parametrize(
    "path", ["page/vendor/SHA256SUMS", "page/../host.json", "page/", "page/views/../page.js", "page"]
)
async def test_what_is_not_listed_is_not_served(served: InMemory, path: str) -> None:
    assert (await served("GET", path)).status_code == 404


async def test_other_calls_are_not_the_pages(served: InMemory) -> None:
    assert (await served("POST", "page/page.js")).status_code == 404
    assert not page.has("loops/news/personalizer")


@pytest.mark.parametrize("name", page.FILES)
def test_each_file_is_sent_packed_or_plain_under_tags_of_their_own(name: str) -> None:
    plain, packed = reply(f"page/{name}"), reply(f"page/{name}", accept_encoding="br, GZIP")

    sources = [(ROOT / "ui_fn/static" / part).read_bytes() for part in page.FILES[name]]
    module = name.endswith(".js") and len(sources) > 1
    assert plain.body == (bundle(sources, f"/page/{name}") if module else b"".join(sources))
    assert gzip.decompress(packed.body) == plain.body
    assert packed.headers["content-encoding"] == "gzip"
    assert "content-encoding" not in plain.headers
    assert plain.headers["etag"] != packed.headers["etag"]
    for found, headers in ((plain, {}), (packed, {"accept_encoding": "gzip"})):
        again = reply(f"page/{name}", if_none_match=f'W/"x", {found.headers["etag"]}', **headers)
        assert (again.status, again.body) == (304, b"")


def test_the_page_may_load_nothing_from_elsewhere_nor_run_what_is_no_file_of_its_own() -> None:
    policy = dict(rule.split(" ", 1) for rule in reply("").headers["content-security-policy"].split("; "))

    assert policy["default-src"] == "'none'"
    assert policy["script-src"] == policy["style-src"] == policy["connect-src"] == "'self'"
    assert policy["frame-ancestors"] == policy["base-uri"] == "'none'"
    assert "unsafe" not in str(policy)


async def test_access_tells_what_a_key_opens(served: InMemory) -> None:
    _, keys = await served.app.loops.create("news")

    assert await served.json("GET", "rankloop/v1/access") == {
        "loop": "default",
        "roles": ["call", "read", "manage", "owner"],
        "loops": ["default", "news"],
    }
    response = await served("GET", "loops/news/rankloop/v1/access", ocp_apim_subscription_key=keys[0])
    assert response.get_body() == b'{"loop":"news","roles":["call","read","manage"],"loops":["news"]}'

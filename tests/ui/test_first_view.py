"""What the first view costs: requests and bytes from an empty browser until Now is shown."""

from __future__ import annotations

from urllib.parse import urlsplit

from playwright.sync_api import Browser, Request, expect

from tests.ui.conftest import sign_in
from tests.ui.deployment import Deployment

REQUESTS = 12
BYTES = 120_000


def test_the_first_view_takes_few_requests_and_bytes(chromium: Browser, deployment: Deployment) -> None:
    with chromium.new_context(base_url=deployment.address) as context:
        page = context.new_page()
        made: list[Request] = []
        page.on("request", lambda request: made.append(request))

        page.goto("/")
        with page.expect_response("**/rankloop/v1/versions**"):
            sign_in(page, deployment.key)
        expect(page.get_by_role("img", name="Average reward of a decision")).to_be_visible()

        sent = [request for request in made if not request.url.startswith("data:")]
        paths = [urlsplit(request.url).path for request in sent]
        sizes = [_body(request) for request in sent]
        print(f"first view: {len(sent)} requests, {sum(sizes) / 1000:.1f} kB: {dict(zip(paths, sizes, strict=True))}")
        assert {"/", "/page/views/now.js", "/rankloop/v1/metrics", "/rankloop/v1/versions"} <= set(paths)
        assert len(sent) <= REQUESTS
        assert len(set(paths)) == len(paths)
        assert sum(sizes) <= BYTES


def _body(request: Request) -> int:
    """How many bytes of body came, as they were sent."""
    response = request.response()
    assert response is not None and response.ok, request.url
    return int(response.headers["content-length"])

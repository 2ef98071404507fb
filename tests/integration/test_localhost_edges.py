"""The local host over real HTTP: encoded paths, keys, CORS and sizes."""

import json
import re
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.integration.sample_app import APP, SETTINGS, write_app
from tests.integration.served import DEADLINE, ROOT, Answer, Served


@pytest.fixture(scope="module")
def app_dir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_app(tmp_path_factory.mktemp("app"), APP)


@pytest.fixture(scope="module")
def served(app_dir: Path) -> Iterator[Served]:
    with Served(app_dir) as running:
        yield running


@pytest.fixture(scope="module")
def guarded(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    """The same app with keys, CORS, a small body limit, a prefix and slashes that stay encoded."""
    directory = write_app(
        tmp_path_factory.mktemp("guarded"),
        APP,
        prefix=None,
        settings={"Values": SETTINGS, "Host": {"CORS": "http://page.example", "CORSCredentials": True}},
    )
    env = {"HOST_FUNCTION_KEY": "fk", "HOST_MASTER_KEY": "mk", "FUNCTIONS_REQUEST_BODY_SIZE_LIMIT": "1000"}
    with Served(directory, "--auth", "--no-decode-slash", env=env) as running:
        yield running


@pytest.mark.parametrize(
    ("raw", "decoded", "kept"),
    [
        ("ev%2F1", "ev/1", "ev%2F1"),
        ("a%3Fb%23c%25d", "a?b#c%d", "a?b#c%d"),
        ("%C3%A9%F0%9F%8E%89", "é🎉", "é🎉"),
        ("x%2F..%2F.%2F%2Fy", "x/.././/y", "x%2F..%2F.%2F%2Fy"),
        ("x/../y//z/", "x/../y//z/", "x/../y//z/"),
        ("%FF", "%FF", "%FF"),
        ("a+b", "a+b", "a+b"),
    ],
)
def test_both_ways_to_decode_a_path(served: Served, guarded: Served, raw: str, decoded: str, kept: str) -> None:
    as_deployed = json.loads(served.get(f"/echo/{raw}").body)
    as_func_start = json.loads(guarded.get(f"/api/echo/{raw}").body)

    assert as_deployed["route"] == {"path": decoded}
    assert as_func_start["route"] == {"path": kept}
    for url in (as_deployed["url"], as_func_start["url"]):
        assert url.isascii()
        assert not set(url) & set(" ?#")


def test_an_encoded_slash_splits_a_segment_only_when_deployed(served: Served, guarded: Served) -> None:
    assert served.get("/events/a%2Fb/reward").status == 404
    assert guarded.get("/api/events/a%2Fb/reward").text == 'event {"id": "a%2Fb"}'


def test_the_environment_chooses_how_to_decode(app_dir: Path) -> None:
    with Served(app_dir, env={"RANKLOOP_DECODE_SLASH": "false", "AzureWebJobsDisableHomepage": "1"}) as kept:
        assert kept.get("/events/a%2Fb/reward").status == 200
        assert kept.get("/").status == 204


def test_a_nul_in_the_path_is_a_bad_request(served: Served) -> None:
    assert served.get("/echo/%00").status == 400


@pytest.mark.parametrize(
    ("path", "headers", "status"),
    [
        ("/api/keyed", {}, 401),
        ("/api/keyed", {"x-functions-key": "no"}, 401),
        ("/api/keyed", {"x-functions-key": "fk"}, 200),
        ("/api/keyed", {"x-functions-key": "mk"}, 200),
        ("/api/keyed?code=fk", {}, 200),
        ("/api/keyed?code=fk", {"x-functions-key": "no"}, 401),
        ("/api/master?code=fk", {}, 401),
        ("/api/master?code=mk", {}, 200),
        ("/api/thread", {}, 200),
        ("/api/unknown", {}, 404),
        ("/admin/host/ping", {}, 200),
        ("/admin/host/status", {}, 401),
        ("/admin/functions?code=fk", {}, 401),
        ("/admin/functions?code=mk", {}, 200),
    ],
)
def test_keys(guarded: Served, path: str, headers: dict[str, str], status: int) -> None:
    answer = guarded.get(path, headers)

    assert answer.status == status
    assert (answer.body == b"") == (status != 200 or path.endswith("ping"))


def test_keys_that_were_given_are_not_logged(guarded: Served, app_dir: Path) -> None:
    assert guarded.get("/api/keyed", {"x-functions-key": "mk"}).status == 200
    assert " functions of " in guarded.errors
    assert "key mk" not in guarded.errors and "key fk" not in guarded.errors

    with Served(app_dir, "--auth", env={"HOST_FUNCTION_KEY": "given"}) as half:
        assert half.get("/keyed", {"x-functions-key": "given"}).status == 200
    assert " functions of " in half.errors
    assert "given" not in half.errors and "master key" not in half.errors


def test_keys_that_were_made_up_can_be_read_in_the_log(app_dir: Path) -> None:
    with Served(app_dir, "--auth") as alone:
        function, master = re.findall(r"function key (\S+), master key (\S+)", alone.errors)[0]

        assert alone.get("/keyed", {"x-functions-key": function}).status == 200
        assert alone.get("/admin/functions", {"x-functions-key": function}).status == 401
        assert alone.get("/admin/functions", {"x-functions-key": master}).status == 200


def test_keys_are_not_asked_for_without_auth(served: Served) -> None:
    assert served.get("/keyed").text == "keyed"


def cors(answer: Answer) -> dict[str, str]:
    return {name.lower(): value for name, value in answer.headers.items() if name.lower().startswith("access-control-")}


def test_cors(guarded: Served, served: Served) -> None:
    origin = {"Origin": "http://page.example"}
    asked = {"Access-Control-Request-Method": "PUT", "Access-Control-Request-Headers": "x-a, x-b"}
    allowed = {
        "access-control-allow-origin": "http://page.example",
        "access-control-allow-credentials": "true",
    }

    plain = guarded.get("/api/thread", origin)
    preflight = guarded.request("OPTIONS", "/api/keyed", headers={**origin, **asked})

    assert (cors(plain), plain.headers["Vary"]) == (allowed, "Origin")
    assert cors(guarded.get("/api/unknown", origin)) == allowed
    assert preflight.status == 204
    assert cors(preflight) == allowed | {
        "access-control-allow-methods": "PUT",
        "access-control-allow-headers": "x-a, x-b",
    }
    assert cors(guarded.get("/api/thread", {"Origin": "http://other.example"})) == {}
    assert cors(guarded.request("OPTIONS", "/api/x", headers={"Origin": "http://other.example", **asked})) == {}
    # Without an Origin it is no preflight, and without the setting nothing is.
    assert guarded.request("OPTIONS", "/api/thread").status == 200
    assert cors(served.get("/thread", origin)) == {}


def test_a_body_that_is_too_large(guarded: Served) -> None:
    assert guarded.post("/api/echo", b"x" * 1000).status == 200
    assert guarded.post("/api/echo", b"x" * 1001).status == 413
    assert guarded.post("/api/echo", b"x" * 3_000_000).status == 413
    with socket.create_connection(("127.0.0.1", guarded.port), timeout=DEADLINE) as connection:
        connection.sendall(
            b"POST /api/echo HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n7d0\r\n" + b"x" * 2000
        )
        assert connection.recv(65536).startswith(b"HTTP/1.1 413 ")


def test_every_answer_has_the_headers_of_host_json(app_dir: Path, tmp_path: Path) -> None:
    http = json.loads((ROOT / "host.json").read_text())["extensions"]["http"]
    assert http["customHeaders"] == {"X-Content-Type-Options": "nosniff"}
    assert http["hsts"]["isEnabled"] is True  # over https, which this host does not speak
    directory = write_app(tmp_path, APP)
    (directory / "host.json").write_text(json.dumps({"extensions": {"http": http}}))

    with Served(directory) as running:
        for path in ("/echo/a", "/nowhere", "/boom"):
            assert running.get(path).headers.get_all("X-Content-Type-Options") == ["nosniff"], path


def test_no_page_of_another_origin_may_read_an_answer_unless_it_was_said(storage: str) -> None:
    settings = {"RANKLOOP_STORAGE": storage, "RANKLOOP_KEY": "k"}
    page = {"Origin": "https://evil.example"}
    with Served(ROOT, "--no-timers", "--no-queues", env=settings) as running:
        answers = [running.get(path, page) for path in ("/rankloop/v1/health", "/openapi.json", "/health/live", "/x")]
        wants = {**page, "Access-Control-Request-Method": "POST", "Access-Control-Request-Headers": "x-a"}
        answers.append(running.request("OPTIONS", "/personalizer/v1.0/rank", headers=wants))

    assert [answer.status for answer in answers] == [401, 200, 200, 404, 404]
    for answer in answers:
        assert cors(answer) == {}

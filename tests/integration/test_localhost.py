"""The local host over real HTTP: routes, handlers and admin, as the Functions host answers."""

import json
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.integration.sample_app import APP, ROUTES, write_app
from tests.integration.served import DEADLINE, Served


@pytest.fixture(scope="module")
def app_dir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_app(tmp_path_factory.mktemp("app"), APP)


@pytest.fixture(scope="module")
def served(app_dir: Path) -> Iterator[Served]:
    with Served(app_dir) as running:
        yield running


@pytest.mark.parametrize(
    ("path", "expected"),
    [
        ("items/special", ("literal", {})),
        ("ITEMS/Special", ("literal", {})),
        ("items/12", ("integer", {"id": "12"})),
        ("items/ab", ("any", {"id": "ab"})),
        ("items/", None),
        ("opt", ("optional", {})),
        ("opt/1", ("optional", {"a": "1"})),
        ("d", ("default", {"a": "x"})),
        ("d/y", ("default", {"a": "y"})),
        ("r/5", ("range", {"n": "5"})),
        ("r/10", None),
        ("files", ("rest", {})),
        ("files/a/b", ("rest", {"path": "a/b"})),
        ("v/abb", ("regex", {"x": "abb"})),
        ("v/ac", None),
        ("g/not", None),
        ("g/0f8fad5b-d9cb-469f-a165-70867728950e", ("guid", {"id": "0f8fad5b-d9cb-469f-a165-70867728950e"})),
        ("m/x.json", ("mixed", {"name": "x"})),
        ("l/abc", ("length", {"s": "abc"})),
        ("l/abcd", None),
        ("events/e%201/reward", ("event", {"id": "e 1"})),
        ("none", None),
        ("off", None),
    ],
)
def test_routes(served: Served, path: str, expected: tuple[str, dict[str, str]] | None) -> None:
    answer = served.get(f"/{path}")

    if expected is None:
        assert (answer.status, answer.body) == (404, b"")
    else:
        name, params = answer.text.split(" ", 1)
        assert (name, json.loads(params)) == expected


def test_a_wrong_method_is_not_found(served: Served) -> None:
    assert served.post("/items/special").status == 404
    assert served.request("BREW", "/items/special").status in (400, 404)


@pytest.mark.parametrize("method", ["GET", "POST", "PUT", "DELETE", "PATCH", "OPTIONS"])
def test_every_method(served: Served, method: str) -> None:
    assert json.loads(served.request(method, "/echo").body)["method"] == method


def test_head_has_the_headers_and_no_body(served: Served) -> None:
    answer = served.request("HEAD", "/echo")

    assert (answer.status, answer.body, answer.headers["X-Answer"]) == (200, b"", "1")
    assert int(answer.headers["Content-Length"]) > 0


def test_what_a_handler_sees(served: Served, app_dir: Path) -> None:
    headers = {"X-A": "1", "traceparent": "00-1-2-03", "Host": "rank.example:9"}
    answer = served.request("POST", "/echo/a%20b?q=1&q=%C3%A9", b"x" * 300_000, headers)

    seen = json.loads(answer.body)
    assert (answer.status, answer.headers["Content-Type"], answer.headers["X-Answer"]) == (200, "application/json", "1")
    assert seen["url"] == "http://rank.example:9/echo/a%20b?q=1&q=%C3%A9"
    assert (seen["params"], seen["route"], seen["length"]) == ({"q": "1,é"}, {"path": "a b"}, 300_000)
    assert (seen["headers"]["x-a"], seen["trace"]) == ("1", "00-1-2-03")
    assert (seen["function"], len(seen["invocation"]), seen["thread"]) == ("echo", 36, "MainThread")
    assert seen["cwd"] == str(app_dir)


def test_a_chunked_body(served: Served) -> None:
    with socket.create_connection(("127.0.0.1", served.port), timeout=DEADLINE) as connection:
        connection.sendall(b"POST /echo HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\nConnection: close\r\n\r\n")
        connection.sendall(b"3\r\nabc\r\n")
        connection.sendall(b"2\r\nde\r\n0\r\n\r\n")
        received = b"".join(iter(lambda: connection.recv(65536), b""))

    assert b'"length": 5' in received


def test_a_plain_function_runs_in_a_thread(served: Served) -> None:
    answer = served.get("/thread")

    assert answer.text.startswith("function_")
    assert answer.headers["Content-Type"] == "text/plain; charset=utf-8"


def test_a_204_has_no_body(served: Served) -> None:
    answer = served.get("/status/204")

    assert (answer.status, answer.body, answer.headers["Content-Length"]) == (204, b"", None)
    assert served.get("/status/418").text == "body"


@pytest.mark.parametrize(("path", "reason"), [("/boom", "the reason"), ("/nothing", "must return an HttpResponse")])
def test_a_failure_is_logged_and_tells_the_caller_nothing(served: Served, path: str, reason: str) -> None:
    answer = served.get(path)

    assert (answer.status, answer.body) == (500, b"")
    assert reason in served.errors
    assert "Traceback" in served.errors


def test_home_page(served: Served, app_dir: Path) -> None:
    assert "up and running" in served.get("/").text


def test_admin(served: Served) -> None:
    functions = json.loads(served.get("/admin/functions").body)

    assert served.get("/admin/host/ping").status == 200
    assert json.loads(served.get("/ADMIN/host/status").body)["state"] == "Running"
    assert len(functions) == len(ROUTES) + 9
    assert [f["name"] for f in functions if f["isDisabled"]] == ["off"]
    assert json.loads(served.get("/admin/functions/tick").body)["config"]["bindings"][0]["schedule"] == "0 0 0 1 1 *"
    assert served.post("/admin/functions/echo").status == 400
    assert [served.get(f"/admin/{path}").status for path in ("", "x", "functions/x")] == [404] * 3
    assert served.request("PUT", "/admin/functions/tick").status == 404


def test_a_timer_can_be_asked_to_run_and_its_failures_are_retried(served: Served) -> None:
    assert served.post("/admin/functions/TICK").status == 202

    assert [served.line() for _ in range(3)] == ["tick 0 False", "tick 1 False", "tick 2 False"]

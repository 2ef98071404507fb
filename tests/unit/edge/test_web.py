"""Requests as the Functions worker hands them over, into what it sends back: keys, roles, sizes, refusals, headers."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from types import SimpleNamespace
from typing import Any, cast

import azure.functions as func
import orjson
import pytest

import manage_fn
import rank_fn
import reward_fn
from shared.access.roles import ALL, LOOP_KEY, Access, Role
from shared.app import App
from shared.contract.errors import ApiError
from shared.contract.versions import Version
from shared.edge import web
from shared.edge.calls import Call, Reply
from shared.edge.routes import PERSONALIZER, RANKLOOP, Found, Route, find
from shared.loops.loops import DEFAULT
from shared.storage import Blob
from shared.telemetry import about
from shared.telemetry.traces import Span, Value
from tests.unit.edge.inmemory import KEY, InMemory, error, refusal
from tests.unit.edge.test_routes import EVERY, address, named

RANK = {"actions": [{"id": "a", "features": [{"x": 1}]}, {"id": "b", "features": [{"x": 2}]}], "eventId": "e1"}
EVERY_ONCE = [next((r, v) for r, v in EVERY if r is route) for route in (*PERSONALIZER, *RANKLOOP)]
"""Every route, in one of its versions."""


def path_of(route: Route, version: Version | None, loop: str = DEFAULT) -> str:
    path, query = address(route, version, loop)
    return path + "".join(f"?{name}={value}" for name, value in query.items())


class Operation:
    """Stands for the operation of every route, and tells of its calls."""

    __name__ = "operation"

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.calls: list[Call] = []
        self.reply = Reply(204)
        monkeypatch.setattr(web, "find", self._find)

    def _find(self, *args: Any) -> Found:
        found = find(*args)
        return found._replace(route=replace(found.route, operation=self))

    async def __call__(self, app: App, call: Call) -> Reply:
        self.calls.append(call)
        return self.reply


@pytest.fixture
def operation(monkeypatch: pytest.MonkeyPatch) -> Operation:
    """What is called in place of any operation."""
    return Operation(monkeypatch)


# -- the way in -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("route", "params", "path"),
    [
        ("openapi.json", {}, "openapi.json"),
        ("personalizer/{version}/rank", {"version": "v1.0"}, "personalizer/v1.0/rank"),
        ("personalizer/rank", {}, "personalizer/rank"),
        ("personalizer/{*path}", {"path": "v1.0/model/properties"}, "personalizer/v1.0/model/properties"),
        ("personalizer/{*path}", {"path": ""}, "personalizer/"),
        ("personalizer/{*path}", {"path": None}, "personalizer/"),
        ("personalizer/{*path}", {}, "personalizer/"),
        (
            "loops/{loop}/personalizer/{version}/events/{*event}",
            {"loop": "news", "version": "v1.0", "event": "a/{loop}/{*event}/reward"},
            "loops/news/personalizer/v1.0/events/a/{loop}/{*event}/reward",
        ),
    ],
)
async def test_a_handler_puts_the_path_together_again(
    monkeypatch: pytest.MonkeyPatch, route: str, params: dict[str, str], path: str
) -> None:
    served: list[tuple[func.HttpRequest, str, str]] = []

    async def serve(req: func.HttpRequest, path: str, parent: str) -> func.HttpResponse:
        served.append((req, path, parent))
        return func.HttpResponse("done")

    monkeypatch.setattr(web, "serve", serve)
    request = func.HttpRequest("GET", "https://h/", headers={}, params={}, route_params=params, body=b"")

    trace = SimpleNamespace(trace_parent="00-1-2-01")
    response = await web.handler(route)(request, cast(func.Context, SimpleNamespace(trace_context=trace)))

    assert (served, response.get_body()) == ([(request, path, "00-1-2-01")], b"done")


def test_every_function_route_leads_to_paths_that_there_are() -> None:
    routes = {**rank_fn.ROUTES, **reward_fn.ROUTES, **manage_fn.ROUTES}

    assert len(set(routes.values())) == len(routes)
    assert {name.removeprefix("loop_") for name, route in routes.items() if route.startswith("loops/{loop}/")} == {
        name for name, route in routes.items() if route.startswith(("personalizer/", "rankloop/"))
    }


@pytest.mark.parametrize(("route", "version"), EVERY_ONCE, ids=named)
async def test_an_operation_gets_the_call_in_its_parts(
    served: InMemory, operation: Operation, route: Route, version: Version | None
) -> None:
    loop = await served.app.loops.named(DEFAULT)
    response = await served(route.method, path_of(route, version), b"body", x_one="1")

    assert (response.status_code, response.get_body()) == (204, b"")
    (call,) = operation.calls
    assert (call.loop, call.name, call.body, call.roles) == (loop, DEFAULT, b"body", ALL)
    assert (call.version, call.id) == (version or Version.V2022, "e1" if "{" in route.path else "")
    assert call.headers["x-one"] == "1"
    assert call.query.get("api-version") == (Version.V2022 if version is Version.V2022 else None)
    assert call.url == f"https://localhost/{address(route, version)[0]}"


async def test_a_call_of_a_named_loop_gets_that_loop(served: InMemory, operation: Operation) -> None:
    made, _ = await served.app.loops.create("news")

    await served("POST", "loops/news/personalizer/v1.0/rank", b"{}")

    (call,) = operation.calls
    assert (call.loop, call.name) == (made, "news")


async def test_a_method_in_lower_case_is_taken(served: InMemory) -> None:
    assert (await served("get", "personalizer/v1.0/configurations/policy")).status_code == 200


@pytest.mark.parametrize(
    ("method", "path"), [("GET", "personalizer/v1.0/nowhere"), ("GET", "personalizer/v1.0/rank"), ("GET", "nowhere")]
)
@pytest.mark.parametrize("key", [KEY, "wrong", ""])
async def test_an_unknown_path_or_method_is_404_for_all(served: InMemory, method: str, path: str, key: str) -> None:
    response = served(method, path, ocp_apim_subscription_key=key)

    assert await refusal(response) == (404, "ResourceNotFound")


@pytest.mark.parametrize("query", ["", "?api-version=2023-01-01"])
async def test_a_missing_version_is_told(served: InMemory, query: str) -> None:
    assert await refusal(served("POST", f"personalizer/rank{query}", RANK)) == (400, "BadRequest")
    assert (await served("POST", "personalizer/rank?api-version=2022-09-01-preview", RANK)).status_code == 201


# -- keys and roles ---------------------------------------------------------------------------------------------------

APP_ROLES = {
    "": Role.NONE,
    "Rankloop.Call": Role.CALL,
    "Rankloop.Read": Role.READ,
    "Rankloop.Manage": Role.MANAGE,
    "Rankloop.Call Rankloop.Read": Role.CALL | Role.READ,
    "Rankloop.Call Rankloop.Manage": Role.CALL | Role.MANAGE,
    "Rankloop.Read Rankloop.Manage": Role.READ | Role.MANAGE,
    "Rankloop.Call Rankloop.Read Rankloop.Manage": LOOP_KEY,
    "Rankloop.Owner": ALL,
}


class Tokens:
    """Stands for Entra ID: a token is the names of its app roles."""

    async def roles(self, token: str) -> frozenset[str]:
        if token == "bad":
            raise ApiError("Unauthorized", "The token is none of ours.")
        return frozenset(token.split())


@pytest.fixture
def tokens(served: InMemory) -> None:
    """Have the deployment take tokens."""
    served.app.access = Access(KEY, Tokens())


@pytest.mark.parametrize(("route", "version"), EVERY_ONCE, ids=named)
@pytest.mark.parametrize("loop", [DEFAULT, "news"])
@pytest.mark.usefixtures("tokens")
async def test_a_route_is_open_to_those_alone_who_hold_its_role(
    served: InMemory, operation: Operation, route: Route, version: Version | None, loop: str
) -> None:
    await served.app.loops.create("news")
    for names, held in APP_ROLES.items():
        operation.calls.clear()
        response = await served(
            route.method, path_of(route, version, loop), ocp_apim_subscription_key="", authorization=f"Bearer {names}"
        )

        if held & route.role:
            assert (response.status_code, len(operation.calls)) == (204, 1), names
        else:
            assert (response.status_code, error(response)["code"]) == (403, "Forbidden"), names
            assert f"Rankloop.{cast(str, route.role.name).title()}" in error(response)["message"]
            assert operation.calls == []


@pytest.mark.parametrize(("route", "version"), EVERY_ONCE, ids=named)
async def test_a_loops_key_opens_what_personalizers_did_and_no_other_loop(
    served: InMemory, operation: Operation, route: Route, version: Version | None
) -> None:
    _, keys = await served.app.loops.create("news")
    await served.app.loops.create("sports")

    for key in keys:
        opened = await served(route.method, path_of(route, version, "news"), ocp_apim_subscription_key=key)
        assert opened.status_code == (403 if route.role is Role.OWNER else 204)
        for other in (DEFAULT, "sports", "nowhere"):
            shut = served(route.method, path_of(route, version, other), ocp_apim_subscription_key=key)
            assert await refusal(shut) == (401, "Unauthorized")
    assert {call.name for call in operation.calls} <= {"news"}


@pytest.mark.parametrize("key", ["", "wrong", "é", "\ud800"])
@pytest.mark.parametrize(("route", "version"), EVERY_ONCE, ids=named)
async def test_no_operation_is_reached_without_a_key(
    served: InMemory, operation: Operation, route: Route, version: Version | None, key: str
) -> None:
    response = await served(route.method, path_of(route, version), RANK, ocp_apim_subscription_key=key)

    assert (response.status_code, error(response)["code"]) == (401, "Unauthorized")
    assert operation.calls == []
    assert served.app.counters["refused.Unauthorized"] == 1


async def test_a_loop_that_nobody_made_is_told_to_owners_alone(served: InMemory) -> None:
    path = "loops/nowhere/personalizer/v1.0/configurations/policy"

    assert await refusal(served("GET", path)) == (404, "FrontEndNotFound")
    assert served.app.counters["refused.FrontEndNotFound"] == 1


@pytest.mark.usefixtures("tokens")
async def test_a_token_of_an_owner_is_told_of_it_and_any_other_is_not(served: InMemory) -> None:
    path = "loops/nowhere/personalizer/v1.0/configurations/policy"

    for names, held in APP_ROLES.items():
        response = served("GET", path, ocp_apim_subscription_key="", authorization=f"Bearer {names}")
        assert await refusal(response) == ((404, "FrontEndNotFound") if held else (401, "Unauthorized"))
    bad = served("GET", path, ocp_apim_subscription_key="", authorization="Bearer bad")
    assert await refusal(bad) == (401, "Unauthorized")


@pytest.mark.parametrize("key", ["", "wrong"])
async def test_a_stranger_cannot_tell_a_loop_that_there_is_from_one_that_there_is_not(
    served: InMemory, key: str
) -> None:
    await served.app.loops.create("news")

    answers = [
        await served("GET", f"loops/{name}/personalizer/v1.0/model", ocp_apim_subscription_key=key)
        for name in ("news", "nowhere", "NEWS", "a b", "%2e%2e", "")
    ]

    assert len({(a.status_code, a.get_body(), tuple(sorted(a.headers.items()))) for a in answers}) == 1
    assert answers[0].status_code == 401


async def test_a_key_is_neither_logged_nor_answered(served: InMemory, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    secret = "a very secret key"

    response = await served("GET", "personalizer/v1.0/model", ocp_apim_subscription_key=secret)

    assert secret not in caplog.text
    assert secret.encode() not in response.get_body()
    assert secret not in str(response.headers.items())
    assert not any(secret in name for name in served.app.counters.snapshot())


# -- bodies -----------------------------------------------------------------------------------------------------------


async def test_the_largest_body_is_read_and_a_larger_one_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    body = orjson.dumps(RANK)
    served = InMemory(monkeypatch, max_body=len(body))

    assert (await served("POST", "personalizer/v1.0/rank", body)).status_code == 201
    response = await served("POST", "personalizer/v1.0/rank", body + b" ")

    assert response.status_code == 400
    assert error(response)["code"] == "PayloadSizeExceeded"
    assert f"{len(body) + 1} bytes; at most {len(body)}" in error(response)["message"]
    assert served.app.counters["refused.PayloadSizeExceeded"] == 1


@pytest.mark.parametrize(("route", "version"), EVERY_ONCE, ids=named)
async def test_every_route_takes_bodies_up_to_its_limit(
    monkeypatch: pytest.MonkeyPatch, route: Route, version: Version | None
) -> None:
    served, operation = InMemory(monkeypatch, max_body=100), Operation(monkeypatch)
    monkeypatch.setattr(web, "MAX_UPLOAD", 1000)
    most = 1000 if route.body is bytes else 100

    assert (await served(route.method, path_of(route, version), b"x" * most)).status_code == 204
    large = served(route.method, path_of(route, version), b"x" * (most + 1))
    assert await refusal(large) == (400, "PayloadSizeExceeded")
    assert len(operation.calls) == 1
    stranger = served(route.method, path_of(route, version), b"x" * (most + 1), ocp_apim_subscription_key="wrong")
    assert await refusal(stranger) == (401, "Unauthorized")


# -- answers ----------------------------------------------------------------------------------------------------------


async def test_an_answer_has_its_own_type_and_headers(served: InMemory, operation: Operation) -> None:
    operation.reply = Reply(200, b"\x00\xff", {"Last-Modified": "now"}, "application/octet-stream")

    response = await served("GET", "personalizer/v1.0/model")

    assert (response.status_code, response.get_body()) == (200, b"\x00\xff")
    assert dict(response.headers) == {
        "Content-Type": "application/octet-stream",
        "Last-Modified": "now",
        "x-content-type-options": "nosniff",
        "cache-control": "no-store",
    }


async def test_an_answer_without_a_body_has_no_type(served: InMemory, operation: Operation) -> None:
    response = await served("DELETE", "personalizer/v1.0/model")

    assert (response.status_code, response.get_body()) == (204, b"")
    assert dict(response.headers) == {"x-content-type-options": "nosniff", "cache-control": "no-store"}


async def test_answers_are_counted_by_status(served: InMemory) -> None:
    for _ in range(2):
        await served("POST", "personalizer/v1.0/rank", RANK)
    await served("POST", "personalizer/v1.0/rank", b"{")
    await served("POST", "nowhere")

    counted = served.app.counters.snapshot()
    assert (counted["http.201"], counted["http.400"], counted["http.404"]) == (2, 1, 1)
    assert (counted["refused.BadRequest"], counted["refused.ResourceNotFound"]) == (1, 1)


@pytest.mark.parametrize(("route", "version"), EVERY_ONCE, ids=named)
async def test_storage_that_does_not_answer_is_503_with_when_to_come_back(
    served: InMemory, caplog: pytest.LogCaptureFixture, route: Route, version: Version | None
) -> None:
    served.blobs.down = True

    response = await served(route.method, path_of(route, version))

    assert response.status_code == 503
    assert response.headers["Retry-After"] == "1"
    assert error(response)["code"] == "OperationNotAllowed"
    assert "secret-name" not in response.get_body().decode()
    assert served.app.counters["http.storage_errors"] == 1
    assert any(record.levelno == logging.ERROR and route.method in record.getMessage() for record in caplog.records)


@pytest.mark.parametrize(
    ("path", "told"),
    [
        ("personalizer/v1.0/events/x\nmade up/reward", "personalizer/v1.0/events/...:"),
        ("rankloop/v1/subjects/ann\nsmith@example.com", "rankloop/v1/subjects/...:"),
        (
            "loops/x\r\nmade\u2028up\x1b[2K/personalizer/v1.0/rank",
            r"loops/x\r\nmade\u2028up\x1b[2K/personalizer/v1.0/rank:",
        ),
    ],
)
async def test_no_path_makes_a_line_of_its_own_in_the_log(
    served: InMemory, caplog: pytest.LogCaptureFixture, path: str, told: str
) -> None:
    served.blobs.down = True

    for method in ("POST", "DELETE"):
        await served(method, path)

    lines = [record.getMessage() for record in caplog.records if record.name == "rankloop.web"]
    assert lines
    assert all(line.split(" ")[1] == told and line.isprintable() for line in lines)


async def test_settings_of_a_later_release_are_no_reason_to_refuse_a_key(served: InMemory) -> None:
    # Two releases run side by side while one replaces the other; the newer one may allow more policies.
    key, _ = await served.make_loop("news")
    loop = await served.app.loops.named("news")
    path = f"loops/{loop.id}/settings.json"
    blob = await served.blobs.get(path)
    assert isinstance(blob, Blob)
    held = {**orjson.loads(blob.data), "policy": "--cb_explore_adf --an_option_to_come"}
    await served.blobs.put(path, orjson.dumps(held), blob.etag)
    served.app.loops = type(served.app.loops)(served.tables, served.blobs, served.app.clock)

    response = served("POST", "loops/news/personalizer/v1.0/rank", RANK, ocp_apim_subscription_key=key)

    assert await refusal(response) == (503, "OperationNotAllowed")


async def test_a_fault_of_ours_is_500_and_tells_the_log_alone(
    served: InMemory, operation: Operation, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    async def broken(app: App, call: Call) -> Reply:
        raise ZeroDivisionError("inside information")

    monkeypatch.setattr(Operation, "__call__", lambda self, app, call: broken(app, call))
    response = await served("POST", "personalizer/v1.0/rank", RANK)

    assert response.status_code == 500
    assert error(response) == {"code": "InternalServerError", "message": "Server got itself in trouble"}
    assert (served.app.counters["http.faults"], served.app.counters["http.500"]) == (1, 1)
    assert "inside information" in caplog.text


ECHO = "x-ms-client-request-id"


@pytest.mark.parametrize(
    ("headers", "echoed"),
    [
        ({"x_ms_client_request_id": "r1", "x_ms_return_client_request_id": "true"}, "r1"),
        ({"x_ms_client_request_id": "r1", "x_ms_return_client_request_id": "TRUE"}, "r1"),
        ({"x_ms_client_request_id": "r1", "x_ms_return_client_request_id": "false"}, None),
        ({"x_ms_client_request_id": "r1"}, None),
        ({"x_ms_return_client_request_id": "true"}, None),
        # The host cannot write these, and would answer 500.
        ({"x_ms_client_request_id": "é", "x_ms_return_client_request_id": "true"}, None),
        ({"x_ms_client_request_id": "a\r\nb: c", "x_ms_return_client_request_id": "true"}, None),
    ],
)
async def test_the_request_id_comes_back_where_it_is_asked_for(
    served: InMemory, headers: dict[str, str], echoed: str | None
) -> None:
    for call in (("POST", "personalizer/v1.0/rank", RANK), ("GET", "nowhere"), ("GET", "rankloop/v1/health")):
        assert (await served(*call, **headers)).headers.get(ECHO) == echoed


# -- what is told of calls --------------------------------------------------------------------------------------------


class Tracer:
    """Keeps spans and what they were told."""

    def __init__(self) -> None:
        self.made: list[tuple[str, str | None, dict[str, Value]]] = []

    def takes(self, parent: str) -> bool:
        return True

    @contextmanager
    def span(self, name: str, parent: str | None) -> Iterator[tuple[Span, bool]]:
        facts: dict[str, Value] = {}
        self.made.append((name, parent, facts))

        class Told:
            def tell(self, name: str, value: Value) -> None:
                facts[name] = value

        yield Told(), True


async def test_a_call_is_measured_and_traced_with_its_loop_event_and_end(served: InMemory) -> None:
    tracer, heard = Tracer(), list[tuple[str, str]]()
    served.app.traces.send_to(tracer)
    served.app.counters.listen(lambda name, value, kind: heard.append((name, kind)))
    await served.make_loop("news")
    tracer.made.clear()
    heard.clear()

    await served("POST", "loops/news/personalizer/v1.0/rank", RANK, x_rankloop_subject="user-4711")
    await served("POST", "personalizer/v1.0/events/e/7/reward", {"value": "much"})
    await served("GET", "rankloop/v1/loops")
    await served("POST", "nowhere")

    calls = [(name, facts) for name, parent, facts in tracer.made if parent is not None]
    assert calls == [
        ("rank", {"rankloop.loop": "news", "rankloop.event": "e1", "http.response.status_code": 201}),
        ("reward", {"rankloop.loop": DEFAULT, "rankloop.event": "e/7", "http.response.status_code": 400,
                    "error.type": "BadRequest"}),
        ("list_loops", {"rankloop.loop": DEFAULT, "http.response.status_code": 200}),
    ]  # fmt: skip
    assert [name for name, parent, _ in tracer.made if parent is None] == ["decide", "log"]
    assert [kind for name, kind in heard if name == "call.duration"] == ["rank", "reward", "list_loops"]
    assert {name for name, _ in heard} == {"call.duration", "rank.scoring", "journal.write", "journal.batch"}


async def test_a_line_of_the_log_names_the_loop_and_the_event_of_its_call(
    served: InMemory, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[about.About | None] = []

    async def fails(*given: object) -> None:
        seen.append(about.current())
        raise RuntimeError

    monkeypatch.setattr(served.app.observer, "observe", fails)
    assert (await served("POST", "personalizer/v1.0/events/e1/reward", {"value": 1})).status_code == 500

    assert seen == [about.About(DEFAULT, "e1")]
    assert about.current() is None


async def test_telemetry_is_begun_by_the_first_answer(served: InMemory, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[None] = []
    monkeypatch.setattr(served.app.telemetry, "soon", lambda: asked.append(None))
    await served("GET", "health/live")

    assert asked == [None]

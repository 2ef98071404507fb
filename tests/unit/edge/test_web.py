"""Requests as the Functions worker hands them over, into what it sends back; storage is in memory."""

from __future__ import annotations

import json
import logging
from collections.abc import Callable
from typing import Any

import azure.functions as func
import orjson
import pytest

from shared import app as running
from shared.app import App
from shared.config import Config
from shared.edge import operations, web
from shared.edge.operations import Call, Reply
from shared.learning import registry
from shared.learning.registry import Version
from shared.log.records import Observed, decode_observed
from shared.storage import Blob, Row, Unavailable
from shared.storage.memory import MemoryBlobs, MemoryTables

KEY = "k"
RANK = {"actions": [{"id": "a", "features": [{"x": 1}]}, {"id": "b", "features": [{"x": 2}]}], "eventId": "e1"}


class Tables(MemoryTables):
    """Tables that can be out of reach."""

    down = False

    async def put(self, table: str, row: Row) -> float:
        if self.down:
            raise Unavailable("account secret-name does not answer")
        return await super().put(table, row)


class Blobs(MemoryBlobs):
    """Blobs that can be out of reach."""

    down = False

    async def get_changed(self, path: str, etag: str | None) -> Blob | None:
        if self.down:
            raise Unavailable("account secret-name does not answer")
        return await super().get_changed(path, etag)

    async def get(self, path: str) -> Blob | None:
        if self.down:
            raise Unavailable("account secret-name does not answer")
        return await super().get(path)


class Served:
    """An app over storage in memory, and the calls to it."""

    def __init__(self, **settings: Any) -> None:
        self.tables, self.blobs = Tables(), Blobs()
        # A deadline that no fast write misses: nothing here is timed.
        self.app = App(Config("", KEY, **{"log_deadline": 5.0, **settings}), self.tables, self.blobs)

    async def __call__(
        self, method: str, path: str, body: Any = b"", operation: operations.Operation | None = None, **headers: Any
    ) -> func.HttpResponse:
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        request = func.HttpRequest(
            method,
            f"https://localhost/{path}",
            headers={"ocp-apim-subscription-key": KEY, **named},
            params={},
            route_params={},
            body=body if isinstance(body, bytes) else orjson.dumps(body),
        )
        return await web.serve(request, path, operation)


@pytest.fixture
def served(monkeypatch: pytest.MonkeyPatch) -> Served:
    made = Served()
    monkeypatch.setattr(running, "current", lambda: made.app)
    return made


def error(response: func.HttpResponse) -> dict[str, str]:
    assert response.headers["Content-Type"] == "application/json; charset=utf-8"
    found: dict[str, str] = orjson.loads(response.get_body())["error"]
    assert response.headers["x-ms-error-code"] == found["code"]
    return found


async def test_a_rank_is_answered(served: Served) -> None:
    response = await served("POST", "personalizer/v1.0/rank", RANK, operations.rank)

    assert response.status_code == 201
    assert response.headers["Content-Type"] == "application/json; charset=utf-8"
    assert response.headers["csp-billing-usage"] == "CognitiveServices.Personalizer.Transaction=1"
    assert response.headers["x-content-type-options"] == "nosniff"
    assert "x-rankloop-log" not in response.headers
    assert orjson.loads(response.get_body())["eventId"] == "e1"
    assert served.app.counters["http.201"] == 1
    assert served.app.counters["journal.lines"] == 1


async def test_a_rank_that_is_not_durable_yet_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    made = Served(log_deadline=0.01)
    monkeypatch.setattr(running, "current", lambda: made.app)
    assert (await made("POST", "personalizer/v1.0/rank", RANK)).headers.get("x-rankloop-log") is None
    made.tables.down = True

    response = await made("POST", "personalizer/v1.0/rank", RANK)

    assert response.status_code == 201
    assert response.headers["x-rankloop-log"] == "pending"
    made.tables.down = False
    await made.app.drain()


@pytest.fixture
def logged(served: Served, monkeypatch: pytest.MonkeyPatch) -> list[Observed]:
    """The observations put into the journal."""
    seen: list[Observed] = []
    append = served.app.journal.append

    def noted(stream: str, loop_id: str, waits: Any, text: bytes, time: float, mark: bytes = b"") -> Any:
        seen.append(decode_observed(text))
        return append(stream, loop_id, waits, text, time, mark)

    monkeypatch.setattr(served.app.journal, "append", noted)
    return seen


@pytest.mark.parametrize(
    ("segment", "event_id"),
    [("e1", "e1"), ("a/b", "a/b"), ("a%2Fb", "a/b"), ("été", "été"), ("never ranked", "never ranked")],
)
async def test_rewards_and_activations_are_logged(
    served: Served, logged: list[Observed], segment: str, event_id: str
) -> None:
    rewarded = await served("POST", f"personalizer/v1.0/events/{segment}/reward", {"value": 0.5})
    activated = await served("POST", f"personalizer/v1.0/events/{segment}/activate", x_ms_client_request_id="r1")

    for response in (rewarded, activated):
        assert (response.status_code, response.get_body()) == (204, b"")
    assert [(o.e, o.k, o.v, o.q) for o in logged] == [(event_id, "r", 0.5, None), (event_id, "a", 0.0, "r1")]


@pytest.mark.parametrize(
    ("path", "body", "code", "target"),
    [
        ("rank", b"{", "BadRequest", None),
        ("rank", {"actions": []}, "InvalidRankRequest", "actions"),
        ("rank", {"actions": [{"id": "a", "features": [{"\ud800": 1}]}]}, "BadRequest", None),
        ("events/e1/reward", {"value": "x"}, "BadRequest", "value"),
        ("events/e1/reward", {"value": 1e39}, "InvalidRewardRequest", "value"),
        ("events//reward", {"value": 1}, "InvalidRewardRequest", "eventId"),
        (f"events/{'x' * 257}/reward", {"value": 1}, "InvalidRewardRequest", "eventId"),
        ("events//activate", b"", "InvalidEventIdToActivate", "eventId"),
        (f"events/{'x' * 257}/activate", b"", "InvalidEventIdToActivate", "eventId"),
    ],
)
async def test_refusals_are_400_in_the_contracts_shape(
    served: Served, path: str, body: Any, code: str, target: str | None
) -> None:
    raw = body if isinstance(body, bytes) else json.dumps(body).encode()
    response = await served("POST", f"personalizer/v1.0/{path}", raw)

    found = error(response)
    assert (response.status_code, found["code"], found.get("target")) == (400, code, target)
    assert served.app.counters[f"refused.{code}"] == 1
    assert served.app.counters["journal.lines"] == 0


async def test_the_largest_body_is_read_and_a_larger_one_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    body = orjson.dumps(RANK)
    made = Served(max_body=len(body))
    monkeypatch.setattr(running, "current", lambda: made.app)

    assert (await made("POST", "personalizer/v1.0/rank", body)).status_code == 201
    response = await made("POST", "personalizer/v1.0/rank", body + b" ")

    assert response.status_code == 400
    assert error(response)["code"] == "PayloadSizeExceeded"
    assert f"{len(body) + 1} bytes; at most {len(body)}" in error(response)["message"]


@pytest.mark.parametrize("key", ["", "wrong", "é"])
async def test_no_operation_is_reached_without_the_key(served: Served, key: str) -> None:
    for path in ("rank", "events/e/reward", "configurations/service", "nowhere"):
        response = await served("POST", f"personalizer/v1.0/{path}", RANK, ocp_apim_subscription_key=key)

        assert response.status_code == 401
        assert error(response)["code"] == "Unauthorized"


@pytest.mark.parametrize(("method", "path"), [("GET", "personalizer/v1.0/nowhere"), ("GET", "personalizer/v1.0/rank")])
async def test_an_unknown_path_or_method_is_404(served: Served, method: str, path: str) -> None:
    response = await served(method, path)

    assert response.status_code == 404
    assert error(response)["code"] == "ResourceNotFound"


async def test_a_method_in_lower_case_is_taken(served: Served) -> None:
    assert (await served("get", "personalizer/v1.0/configurations/policy")).status_code == 200


@pytest.mark.parametrize(
    ("method", "path", "body"),
    [
        ("POST", "rank", RANK),
        ("POST", "events/e1/reward", {"value": 1}),
        ("POST", "events/e1/activate", b""),
        ("GET", "configurations/service", b""),
        ("GET", "configurations/policy", b""),
        ("GET", "model/properties", b""),
    ],
)
async def test_storage_that_does_not_answer_is_503_with_when_to_come_back(
    served: Served, caplog: pytest.LogCaptureFixture, method: str, path: str, body: Any
) -> None:
    served.blobs.down = True

    response = await served(method, f"personalizer/v1.0/{path}", body)

    assert response.status_code == 503
    assert response.headers["Retry-After"] == "1"
    assert error(response)["code"] == "OperationNotAllowed"
    assert "secret-name" not in response.get_body().decode()
    assert served.app.counters["http.storage_errors"] == 1
    assert any(record.levelno == logging.ERROR and path in record.getMessage() for record in caplog.records)


@pytest.mark.parametrize("kind", ["reward", "activate"])
async def test_an_observation_that_is_not_durable_in_time_is_to_be_repeated(
    monkeypatch: pytest.MonkeyPatch, kind: str
) -> None:
    made = Served(log_deadline=0.01)
    monkeypatch.setattr(running, "current", lambda: made.app)
    await made("GET", "personalizer/v1.0/configurations/service")
    made.tables.down = True

    response = await made("POST", f"personalizer/v1.0/events/e1/{kind}", {"value": 1})

    assert (response.status_code, response.headers["Retry-After"]) == (503, "1")
    made.tables.down = False
    await made.app.drain()


async def test_a_fault_of_ours_is_500_and_tells_the_log_alone(served: Served, caplog: pytest.LogCaptureFixture) -> None:
    async def broken(app: App, call: Call) -> Reply:
        raise ZeroDivisionError("inside information")

    response = await served("POST", "personalizer/v1.0/rank", RANK, broken)

    assert response.status_code == 500
    assert error(response) == {"code": "InternalServerError", "message": "Server got itself in trouble"}
    assert served.app.counters["http.faults"] == 1
    assert "inside information" in caplog.text


def rank_call(served: Served, **headers: str) -> Any:
    return served("POST", "personalizer/v1.0/rank", RANK, None, **headers)


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
@pytest.mark.parametrize("call", [rank_call, lambda served, **headers: served("GET", "nowhere", **headers)])
async def test_the_request_id_comes_back_where_it_is_asked_for(
    served: Served, call: Callable[..., Any], headers: dict[str, str], echoed: str | None
) -> None:
    assert (await call(served, **headers)).headers.get("x-ms-client-request-id") == echoed


async def test_settings_are_read_and_changed(served: Served) -> None:
    before = await served("GET", "personalizer/v1.0/configurations/service")
    wanted = {**orjson.loads(before.get_body()), "defaultReward": 0.5, "explorationPercentage": 0.1}

    changed = await served("PUT", "personalizer/v1.0/configurations/service", wanted)
    after = await served("GET", "personalizer/v1.0/configurations/service")

    assert orjson.loads(before.get_body())["rewardWaitTime"] == "PT10M"
    assert (changed.status_code, orjson.loads(changed.get_body())) == (200, wanted)
    assert orjson.loads(after.get_body()) == wanted


async def test_the_policy_is_named_by_the_loops_id(served: Served) -> None:
    loop = await served.app.loops.named("default")

    response = await served("GET", "personalizer/v1.0/configurations/policy")

    assert orjson.loads(response.get_body()) == {
        "name": loop.id,
        "arguments": "--cb_explore_adf --epsilon 0.2 --power_t 0 -l 0.001 --cb_type mtr -q ::",
    }


async def test_model_properties_tell_when_it_was_made(served: Served) -> None:
    never = await served("GET", "personalizer/v1.0/model/properties")
    loop = await served.app.loops.named("default")
    version = Version("v1", "", "", 5, 1, 0.0, 1_700_000_060.0, 1_700_000_000.0)
    await registry.point(served.blobs, loop.id, version, None)
    made = await served("GET", "personalizer/v1.0/model/properties")

    assert orjson.loads(never.get_body()) == dict.fromkeys(
        ("creationTime", "lastModifiedTime"), "0001-01-01T00:00:00+00:00"
    )
    assert orjson.loads(made.get_body()) == {
        "creationTime": "2023-11-14T22:13:20+00:00",
        "lastModifiedTime": "2023-11-14T22:14:20+00:00",
    }


async def test_health_tells_how_far_everything_is(served: Served) -> None:
    await served("POST", "personalizer/v1.0/rank", RANK)
    loop = await served.app.loops.named("default")
    fresh = orjson.loads((await served("GET", "rankloop/v1/health")).get_body())
    await registry.point(served.blobs, loop.id, Version("v1", "", "", 55, 7, 0.25, 0.0, 0.0), None)
    trained = orjson.loads((await served("GET", "rankloop/v1/health")).get_body())

    assert fresh["loopId"] == loop.id
    assert fresh["rewardWaits"] == [{"from": 0, "seconds": 600.0}]
    assert (fresh["modelVersion"], fresh["modelEvents"], fresh["trainedThrough"]) == (None, 0, 0)
    assert (fresh["joinedEvents"], fresh["waitingBytes"]) == (0, 0)
    assert fresh["counters"]["http.201"] == 1
    assert (trained["modelVersion"], trained["modelEvents"], trained["modelReward"]) == ("v1", 7, 0.25)
    assert trained["trainedThrough"] == 55


async def test_health_answers_when_storage_does_not(served: Served, monkeypatch: pytest.MonkeyPatch) -> None:
    await served("POST", "personalizer/v1.0/rank", RANK)

    async def down(path: str) -> None:
        raise Unavailable("down")

    monkeypatch.setattr(served.blobs, "get", down)
    response = await served("GET", "rankloop/v1/health")

    told = orjson.loads(response.get_body())
    assert (response.status_code, told["storageAnswers"], told["joinedThrough"]) == (200, False, None)
    assert told["counters"]["http.201"] == 1

"""What Azure's own runtime takes, refuses and answers; the library that CI runs is the one that production runs."""

import json
import uuid
from pathlib import Path
from textwrap import dedent

import pytest

from shared.work import QUEUE
from tests.integration.inprocess import Call, HttpResult, Outcome, run_in_runtime
from tests.integration.served import ROOT, Served

APP = """
    from __future__ import annotations

    import functools, json
    import azure.functions as func

    app = func.FunctionApp(http_auth_level=func.AuthLevel.ANONYMOUS)
    bp = func.Blueprint()

    def decorated(call):
        @functools.wraps(call)
        async def wrapper(*args, **kwargs):
            return await call(*args, **kwargs)
        return wrapper

    @bp.route(route="echo/{*path}", methods=["POST"])
    @decorated
    async def echo(req: func.HttpRequest) -> func.HttpResponse:
        seen = {"method": req.method, "url": req.url, "params": dict(req.params), "route": dict(req.route_params),
                "header": req.headers["X-A"], "json": req.get_json()}
        return func.HttpResponse(json.dumps(seen), status_code=201, mimetype="application/json", headers={"X-B": "1"})

    @bp.route(route="plain")
    def plain(req: func.HttpRequest, context: func.Context) -> str:
        return context.function_name

    @bp.route(route="empty")
    async def empty(req: func.HttpRequest) -> func.HttpResponse:
        return func.HttpResponse(status_code=204)

    @bp.route(route="boom")
    async def boom(req: func.HttpRequest) -> func.HttpResponse:
        raise RuntimeError("the reason")

    @bp.route(route="nothing")
    async def nothing(req: func.HttpRequest) -> func.HttpResponse:
        return None

    @bp.timer_trigger(schedule="0 * * * * *", arg_name="timer")
    @bp.retry(strategy="fixed_delay", max_retry_count="2", delay_interval="00:00:05")
    async def tick(timer: func.TimerRequest) -> None:
        print("tick", timer.past_due)

    @bp.timer_trigger(schedule="0 * * * * *", arg_name="timer")
    async def chatty(timer: func.TimerRequest) -> None:
        return "something"

    @bp.queue_trigger(arg_name="message", queue_name="q", connection="STORE")
    async def take(message: func.QueueMessage) -> None:
        told = (message.get_body(), message.id, message.dequeue_count, message.pop_receipt)
        assert told == (b"a message", "m1", 1, "r1"), told

    app.register_functions(bp)
"""


def write(directory: Path, source: str) -> Path:
    (directory / "function_app.py").write_text(dedent(source))
    return directory


def test_a_good_app(tmp_path: Path) -> None:
    post = Call(
        "echo", "POST", "http://h/echo/a?q=1", '{"a": 1}', headers={"x-a": "z"}, query={"q": "1"}, params={"path": "a"}
    )

    outcome = run_in_runtime(
        write(tmp_path, APP),
        [post, Call("plain", "GET"), Call("empty", "GET"), Call("boom", "GET"), Call("nothing", "GET"), Call("tick"),
         Call("chatty"), Call("take", message="a message"), Call("take", message="another")],
    )  # fmt: skip

    assert outcome.error is None
    assert outcome.functions == ["boom", "chatty", "echo", "empty", "nothing", "plain", "take", "tick"]
    assert outcome.queues == {"take": ("q", "STORE")}
    echo, plain, empty, boom, nothing, tick, chatty, taken, refused = outcome.results
    assert isinstance(echo, HttpResult)
    assert (echo.status, echo.headers) == (201, {"X-B": "1", "content-type": "application/json"})
    assert json.loads(echo.body) == {
        "method": "POST",
        "url": "http://h/echo/a?q=1",
        "params": {"q": "1"},
        "route": {"path": "a"},
        "header": "z",
        "json": {"a": 1},
    }
    assert plain == HttpResult(200, {"content-type": "text/plain; charset=utf-8"}, b"plain")
    assert isinstance(empty, HttpResult)
    assert (empty.status, empty.body) == (204, b"")
    assert "the reason" in str(boom)
    assert isinstance(nothing, str)
    assert tick is None
    assert "without a $return binding" in str(chatty)
    assert taken is None
    assert "another" in str(refused)


PREAMBLE = """
import azure.functions as func
app = func.FunctionApp()
"""
ROUTE = '@app.route(route="x")\n'


@pytest.mark.parametrize(
    ("source", "reason"),
    [
        ("import nowhere", "No module named 'nowhere'"),
        ("", "Could not find top level function app"),
        (PREAMBLE + ROUTE + "def f(req: func.HttpRequest) -> str: ...\nother = func.FunctionApp()", "More than one"),
        (PREAMBLE + ROUTE + "def f(request: func.HttpRequest) -> str: ...", "declared in Python"),
        (PREAMBLE + ROUTE + "def f(req: func.HttpRequest, deps=None) -> str: ...", "declared in Python"),
        (PREAMBLE + ROUTE + "def f(req: func.HttpRequest) -> dict: ...", "does not match binding type"),
        (PREAMBLE + ROUTE + "def f(req: func.HttpRequest) -> str | func.HttpResponse: ...", "non-type return"),
        (PREAMBLE + ROUTE + "def f(req: func.TimerRequest) -> str: ...", "do not match"),
        (
            PREAMBLE + ROUTE + "def f(req: func.HttpRequest) -> str: ...\n"
            '@app.function_name("f")\n@app.route(route="y")\ndef g(req: func.HttpRequest) -> str: ...',
            "unique function name",
        ),
    ],
)
def test_apps_that_azure_refuses(tmp_path: Path, source: str, reason: str) -> None:
    outcome = run_in_runtime(write(tmp_path, source))

    assert outcome.error is not None
    assert reason in outcome.error


@pytest.fixture
def settings(storage: str) -> dict[str, str]:
    """What the real app is told, with a storage of its own and schedules that do not come round."""
    sample = json.loads((ROOT / "local.settings.sample.json").read_text())["Values"]
    schedules = dict.fromkeys(("RANKLOOP_JOIN_SCHEDULE", "RANKLOOP_TRAIN_SCHEDULE"), "0 0 0 29 2 *")
    # A busy machine is no reason for a 503.
    patient = dict.fromkeys(("RANKLOOP_LOG_DEADLINE_MS", "RANKLOOP_REWARD_DEADLINE_MS"), "3500")
    own = {"RANKLOOP_STORAGE": storage, "AzureWebJobsStorage": storage, "RANKLOOP_KEY": "k"}
    return {**sample, **schedules, **patient, **own}


KEY = {"ocp-apim-subscription-key": "k"}
LATEST = {"api-version": "2022-09-01-preview"}


def body_of(event: str) -> str:
    return json.dumps({"actions": [{"id": "a", "features": [{"x": 1}]}], "eventId": event})


def answered(outcome: Outcome) -> list[HttpResult]:
    assert outcome.error is None
    assert all(isinstance(result, HttpResult) for result in outcome.results), outcome.results
    return [result for result in outcome.results if isinstance(result, HttpResult)]


def test_the_real_app_ranks_and_its_timers_run(settings: dict[str, str]) -> None:
    url, version = "http://localhost/personalizer/v1.0/rank", {"version": "v1.0"}

    outcome = run_in_runtime(
        ROOT,
        [
            Call("rank", "POST", url, body_of("e"), KEY, params=version),
            Call("rank", "POST", url, body_of("e"), params=version),
            Call("join_timer"),
            Call("train_timer"),
        ],
        settings,
    )

    assert outcome.error is None
    ranked, refused, joined, trained = outcome.results
    assert isinstance(ranked, HttpResult)
    assert isinstance(refused, HttpResult)
    assert (ranked.status, json.loads(ranked.body)["rewardActionId"]) == (201, "a")
    assert refused.status == 401
    assert (joined, trained) == (None, None)


def test_all_functions_load_under_names_and_routes_of_their_own(settings: dict[str, str]) -> None:
    outcome = run_in_runtime(ROOT, env=settings)

    assert outcome.error is None
    timers = {"join_timer", "train_timer"}
    assert outcome.queues == {"work": (QUEUE, "RANKLOOP_STORAGE")}
    assert set(outcome.functions) == {*outcome.routes, *outcome.queues, *timers}
    assert outcome.functions == sorted(set(outcome.functions))
    routes = [endpoint.route for endpoint in outcome.routes.values()]
    assert len({route.lower() for route in routes}) == len(routes)
    assert {endpoint.level for endpoint in outcome.routes.values()} == {"ANONYMOUS"}
    assert {name.removeprefix("loop_") for name in outcome.routes if name.startswith("loop_")} == {
        "rank", "rank_slots", "rank_2022", "events", "events_slots", "events_2022", "personalizer", "rankloop",
        "home",
    }  # fmt: skip
    # The host keeps these for itself, and what begins so.
    assert not [route for route in routes if route.lower().startswith(("admin", "runtime"))]


@pytest.mark.parametrize(
    ("given", "connection"),
    [
        ({"RANKLOOP_STORAGE": "account"}, "AzureWebJobsStorage"),
        ({"RANKLOOP_STORAGE": ""}, "AzureWebJobsStorage"),
        ({"RANKLOOP_STORAGE": "account", "RANKLOOP_WORK_CONNECTION": "Other"}, "Other"),
    ],
)
def test_the_host_is_told_where_the_queue_is(settings: dict[str, str], given: dict[str, str], connection: str) -> None:
    outcome = run_in_runtime(ROOT, env={**settings, **given})

    assert outcome.error is None
    assert outcome.queues == {"work": (QUEUE, connection)}


def test_a_message_that_the_real_app_cannot_take_fails_so_that_it_is_delivered_again(settings: dict[str, str]) -> None:
    calls = [Call("work", message=text) for text in ('{"kind":"of another release"}', "no json")]

    outcome = run_in_runtime(ROOT, calls, settings)

    assert outcome.error is None
    unknown, broken = outcome.results
    assert "this release knows no work of the kind 'of another release'" in str(unknown)
    assert "the message is no piece of work" in str(broken)


def test_each_function_of_the_real_app_answers_the_calls_of_its_route(settings: dict[str, str]) -> None:
    """With the parameters that a deployed host reads off each path: decoded, slashes and all."""
    name = f"test-{uuid.uuid4().hex[:12]}"
    news, slots, activate = {"loop": name}, {"version": "multislot"}, {"event": "a/b/activate"}
    v10, p1 = {"version": "v1.0"}, {"version": "v1.1-preview.1"}
    calls = [
        Call("rankloop", "POST", body=json.dumps({"name": name}), headers=KEY, params={"path": "v1/loops"}),
        Call("rank", "POST", body=body_of("a/b"), headers=KEY, params=v10),
        Call("rank_2022", "POST", body=body_of("a/b"), headers=KEY, query=LATEST),
        Call("rank_2022", "POST", body=body_of("a/b"), headers=KEY),
        Call("rank", "POST", body="{}", headers=KEY, query=LATEST, params=slots),
        Call("rank_slots", "POST", body="{}", headers=KEY, params=p1),
        Call("rank_slots", "POST", body="{}", headers=KEY, params=v10),
        Call("events", "POST", body='{"value": 1}', headers=KEY, params={**v10, "event": "a/b/reward"}),
        Call("events", "POST", headers=KEY, query=LATEST, params={**slots, **activate}),
        Call("events_2022", "POST", headers=KEY, query=LATEST, params=activate),
        Call("events_slots", "POST", headers=KEY, params={**p1, **activate}),
        Call("personalizer", "GET", headers=KEY, params={"path": "v1.0/configurations/policy"}),
        Call("personalizer", "GET", headers=KEY),
        Call("rankloop", "GET", headers=KEY, params={"path": "v1/health"}),
        Call("openapi", "GET"),
        Call("home", "GET"),
        Call("loop_home", "GET", params={"loop": "nowhere"}),
        Call("page", "GET", params={"file": "page.js"}),
        Call("page", "GET", params={"file": "../host.json"}),
        Call("probe", "GET", params={"probe": "live"}),
        Call("probe", "GET", params={"probe": "dead"}),
        Call("loop_rank", "POST", body=body_of("a/b"), headers=KEY, params={**news, **v10}),
        Call("loop_rank_2022", "POST", body=body_of("a/b"), headers=KEY, query=LATEST, params=news),
        Call("loop_rank_slots", "POST", body="{}", headers=KEY, params={**news, **p1}),
        Call("loop_events", "POST", headers=KEY, params={**news, **v10, **activate}),
        Call("loop_events_2022", "POST", headers=KEY, query=LATEST, params={**news, **activate}),
        Call("loop_events_slots", "POST", headers=KEY, params={**news, **p1, **activate}),
        Call("loop_personalizer", "GET", headers=KEY, params={**news, "path": "v1.1-preview.3/configurations/service"}),
        Call("loop_rankloop", "GET", headers=KEY, params={**news, "path": "v1/health"}),
        Call("loop_rankloop", "GET", headers=KEY, params={"loop": "nowhere", "path": "v1/health"}),
    ]  # fmt: skip

    outcome = run_in_runtime(ROOT, calls, settings)

    told = [(result.status, result.headers.get("x-ms-error-code")) for result in answered(outcome)]
    no_slots = (400, "InvalidMultiSlotApiAccess")
    assert told == [
        (201, None), (201, None), (201, None), (400, "BadRequest"), no_slots, no_slots, (404, "ResourceNotFound"),
        (204, None), no_slots, (204, None), no_slots, (200, None), (404, "ResourceNotFound"), (200, None), (200, None),
        (200, None), (200, None), (200, None), (404, "ResourceNotFound"),
        (200, None), (404, "ResourceNotFound"), (201, None), (201, None), no_slots, (204, None), (204, None), no_slots,
        (200, None), (200, None),
        (404, "FrontEndNotFound"),
    ]  # fmt: skip
    assert {call.name for call in calls} == set(outcome.routes)


def test_the_local_host_serves_the_same_functions(settings: dict[str, str]) -> None:
    with Served(ROOT, "--no-timers", env=settings) as served:
        listed = [function["name"] for function in json.loads(served.get("/admin/functions").body)]

    assert sorted(listed) == run_in_runtime(ROOT, env=settings).functions

"""What Azure's own runtime takes, refuses and answers; the library that CI runs is the one that production runs."""

import json
from pathlib import Path
from textwrap import dedent

import pytest

from tests.integration.inprocess import Call, HttpResult, run_in_runtime
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
         Call("chatty")],
    )  # fmt: skip

    assert outcome.error is None
    assert outcome.functions == ["boom", "chatty", "echo", "empty", "nothing", "plain", "tick"]
    echo, plain, empty, boom, nothing, tick, chatty = outcome.results
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
    return {**sample, **schedules, "RANKLOOP_STORAGE": storage, "AzureWebJobsStorage": storage, "RANKLOOP_KEY": "k"}


def test_the_real_app_ranks_and_its_timers_run(settings: dict[str, str]) -> None:
    body = json.dumps({"actions": [{"id": "a", "features": [{"x": 1}]}], "eventId": "e"})
    url = "http://localhost/personalizer/v1.0/rank"

    outcome = run_in_runtime(
        ROOT,
        [
            Call("rank", "POST", url, body, {"ocp-apim-subscription-key": "k"}),
            Call("rank", "POST", url, body),
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


def test_the_local_host_serves_the_same_functions(settings: dict[str, str]) -> None:
    with Served(ROOT, "--no-timers", env=settings) as served:
        listed = [function["name"] for function in json.loads(served.get("/admin/functions").body)]

    assert sorted(listed) == run_in_runtime(ROOT, env=settings).functions

"""The local host over real HTTP: what the Functions host would answer, and how a process starts and ends."""

import json
import os
import signal
import socket
import subprocess
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from textwrap import dedent

import pytest

from tests.integration.served import DEADLINE, Answer, Served, command, environment, wait_for_line

ROUTES = {
    "literal": "items/special",
    "integer": "items/{id:int}",
    "any": "items/{id}",
    "optional": "opt/{a?}",
    "default": "d/{a=x}",
    "range": "r/{n:int:range(1,9)}",
    "rest": "files/{*path}",
    "regex": "v/{x:regex(^ab+$)}",
    "guid": "g/{id:guid}",
    "mixed": "m/{name}.json",
    "length": "l/{s:length(3)}",
    "event": "events/{id}/reward",
}
APP = """
    import asyncio, json, os, threading
    import azure.functions as func

    app = func.FunctionApp(http_auth_level=func.AuthLevel.ANONYMOUS)

    def add(name, route):
        @app.function_name(name)
        @app.route(route=route, methods=["GET"])
        def handler(req: func.HttpRequest) -> func.HttpResponse:
            return func.HttpResponse(name + " " + json.dumps(dict(req.route_params)))

    for name, route in %r.items():
        add(name, route)

    @app.route(route="echo/{*path}")
    async def echo(req: func.HttpRequest, context: func.Context) -> func.HttpResponse:
        return func.HttpResponse(json.dumps({
            "method": req.method, "url": req.url, "headers": dict(req.headers), "params": dict(req.params),
            "route": dict(req.route_params), "length": len(req.get_body()), "thread": threading.current_thread().name,
            "function": context.function_name, "invocation": context.invocation_id, "cwd": os.getcwd(),
            "trace": context.trace_context.trace_parent,
        }), mimetype="application/json", headers={"X-Answer": "1"})

    @app.route(route="thread")
    def thread(req: func.HttpRequest) -> str:
        return threading.current_thread().name

    @app.route(route="status/{code:int}")
    async def status(req: func.HttpRequest) -> func.HttpResponse:
        return func.HttpResponse("body", status_code=int(req.route_params["code"]))

    @app.route(route="boom")
    async def boom(req: func.HttpRequest) -> func.HttpResponse:
        raise RuntimeError("the reason")

    @app.route(route="nothing")
    async def nothing(req: func.HttpRequest) -> func.HttpResponse:
        return None

    @app.route(route="keyed", auth_level=func.AuthLevel.FUNCTION)
    async def keyed(req: func.HttpRequest) -> str:
        return "keyed"

    @app.route(route="master", auth_level=func.AuthLevel.ADMIN)
    async def master(req: func.HttpRequest) -> str:
        return "master"

    @app.route(route="off")
    async def off(req: func.HttpRequest) -> str:
        return "off"

    @app.timer_trigger(schedule="%%EVERY%%", arg_name="timer")
    @app.retry(strategy="fixed_delay", max_retry_count="2", delay_interval="00:00:00")
    async def tick(timer: func.TimerRequest, context: func.Context) -> None:
        print("tick", context.retry_context.retry_count, timer.past_due)
        raise RuntimeError("tick fails")
""" % (ROUTES,)  # noqa: UP031 - the source is full of braces
SETTINGS = {"EVERY": "0 0 0 1 1 *", "AzureWebJobs.off.Disabled": "true"}


def write_app(directory: Path, source: str, *, prefix: str | None = "", settings: object = None) -> Path:
    directory.mkdir(exist_ok=True)
    (directory / "function_app.py").write_text(dedent(source))
    if prefix is not None:
        (directory / "host.json").write_text(json.dumps({"extensions": {"http": {"routePrefix": prefix}}}))
    (directory / "local.settings.json").write_text(json.dumps(settings or {"Values": SETTINGS}))
    return directory


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
    with socket.create_connection(("127.0.0.1", guarded.port), timeout=DEADLINE) as connection:
        connection.sendall(
            b"POST /api/echo HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n7d0\r\n" + b"x" * 2000
        )
        assert connection.recv(65536).startswith(b"HTTP/1.1 413 ")


Refused = Callable[..., str]


@pytest.fixture
def refused(tmp_path: Path) -> Refused:
    """Starts an app that must not start, and returns the one line it ends with."""

    def start(source: str, *options: str, settings: object = None) -> str:
        app_dir = write_app(tmp_path / "app", source, settings=settings)
        ended = subprocess.run(
            command(app_dir, *options), env=environment(), capture_output=True, text=True, timeout=DEADLINE, check=False
        )
        assert ended.returncode == 1
        assert ended.stdout == ""
        [line] = ended.stderr.splitlines()
        assert line.startswith("localhost: ")
        return line.removeprefix("localhost: ")

    return start


PREAMBLE = """
import azure.functions as func
app = func.FunctionApp()
"""


def function(name: str, route: str, argument: str = "req") -> str:
    return f'''
@app.function_name("{name}")
@app.route(route="{route}")
def {name}({argument}: func.HttpRequest) -> str: return ""
'''


@pytest.mark.parametrize(
    ("source", "reason"),
    [
        ("import nowhere.to_be_found", "ModuleNotFoundError: No module named 'nowhere' (function_app.py, line 1)"),
        ("def f(:", "SyntaxError: invalid syntax (function_app.py, line 1)"),
        ("", "one FunctionApp is needed at its top level; it has 0"),
        (PREAMBLE + "other = func.FunctionApp()", "it has 2"),
        (PREAMBLE, "the FunctionApp has no functions"),
        (PREAMBLE + function("a", "x", "request"), "its parameters are request"),
        (
            PREAMBLE + function("a", "x") + function("b", "X"),
            "functions a and b have the same route 'X'",
        ),
        (
            PREAMBLE + function("a", "x") + function("a", "y"),
            "unique function name",
        ),
        (PREAMBLE + function("a", "admin/x"), "is reserved for the host"),
        (PREAMBLE + function("a", "{x:nonsense}"), "there is no constraint 'nonsense'"),
        (
            PREAMBLE + '@app.timer_trigger(schedule="%GONE%", arg_name="t")\ndef a(t: func.TimerRequest): pass',
            "function a: '%GONE%' does not resolve to a value",
        ),
        (
            PREAMBLE + '@app.timer_trigger(schedule="soon", arg_name="t")\ndef a(t: func.TimerRequest): pass',
            "schedule 'soon'",
        ),
        (
            PREAMBLE + '@app.queue_trigger("m", "q", "c")\ndef a(m: func.QueueMessage): pass',
            "queueTrigger is not served here",
        ),
        (
            PREAMBLE + function("a", "x") + "def drain(): pass",
            "drain must be a coroutine",
        ),
    ],
)
def test_an_app_that_cannot_be_served_says_why_in_one_line(refused: Refused, source: str, reason: str) -> None:
    assert reason in refused(source)


def test_other_reasons_not_to_start(refused: Refused, tmp_path: Path) -> None:
    source = PREAMBLE + function("a", "x")

    assert "there is no nothing.py" in refused(source, settings={"Values": {"PYTHON_SCRIPT_FILE_NAME": "nothing.py"}})
    assert "Values must be a JSON object" in refused(source, settings={"Values": 1})
    assert "there is no directory" in refused(source, "--app", str(tmp_path / "gone"))
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        assert f"cannot listen on 127.0.0.1:{port}" in refused(source, "--port", str(port))


LIFE = """
    import asyncio, pathlib, sys
    import azure.functions as func

    app = func.FunctionApp(http_auth_level="ANONYMOUS")
    release = pathlib.Path("release")

    async def released():
        while not release.exists():
            await asyncio.sleep(0.01)

    @app.route(route="slow")
    async def slow(req: func.HttpRequest) -> str:
        print("in slow")
        await released()
        return "answered"

    @app.timer_trigger(schedule="0 0 0 1 1 *", arg_name="timer")
    async def work(timer: func.TimerRequest) -> None:
        print("in work")
        await released()
        print("work done")

    @app.route(route="path")
    async def path(req: func.HttpRequest) -> str:
        return "\\n".join(sys.path)

    async def drain() -> None:
        print("drained")
        if pathlib.Path("fail").exists():
            raise RuntimeError("nowhere to write")
"""


@pytest.fixture
def alive(tmp_path: Path) -> Iterator[Served]:
    with Served(write_app(tmp_path / "app", LIFE)) as running:
        yield running
        running.process.kill()


def fetch(served: Served, path: str, answers: list[Answer]) -> threading.Thread:
    thread = threading.Thread(target=lambda: answers.append(served.get(path)))
    thread.start()
    return thread


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_an_end_in_order(alive: Served, tmp_path: Path, number: signal.Signals) -> None:
    answers: list[Answer] = []
    thread = fetch(alive, "/slow", answers)
    assert alive.line() == "in slow"
    alive.post("/admin/functions/work")
    assert alive.line() == "in work"

    alive.process.send_signal(number)
    # Once it takes no new connections, it must still be waiting for what it has begun.
    while True:
        try:
            socket.create_connection(("127.0.0.1", alive.port), timeout=DEADLINE).close()
        except ConnectionError:
            break
    assert alive.process.poll() is None
    (tmp_path / "app" / "release").touch()
    thread.join(DEADLINE)

    assert [answer.text for answer in answers] == ["answered"]
    assert [alive.line(), alive.line()] == ["work done", "drained"]
    assert alive.process.wait(DEADLINE) == 0


def test_a_second_signal_ends_it_at_once(alive: Served) -> None:
    alive.post("/admin/functions/work")
    assert alive.line() == "in work"

    while alive.process.poll() is None:
        alive.process.send_signal(signal.SIGTERM)
        try:
            alive.process.wait(0.05)
        except subprocess.TimeoutExpired:
            continue

    assert alive.process.returncode == 128 + signal.SIGTERM
    assert alive.line() == ""


def test_a_drain_that_fails_is_told(alive: Served, tmp_path: Path) -> None:
    (tmp_path / "app" / "fail").touch()

    assert alive.stop() == 1
    assert "nowhere to write" in alive.errors


def test_the_app_is_last_on_the_path(alive: Served, tmp_path: Path) -> None:
    entries = alive.get("/path").text.splitlines()

    assert entries[-1] == str(tmp_path / "app")
    assert entries.count(entries[-1]) == 1
    assert "" not in entries


TIMER = """
    import azure.functions as func

    app = func.FunctionApp()

    @app.timer_trigger(schedule="0 0 0 1 1 *", arg_name="timer", run_on_startup=True, use_monitor=True)
    def tick(timer: func.TimerRequest) -> None:
        print("tick", timer.past_due)
"""


def test_a_timer_starts_with_the_app_and_notes_its_runs(tmp_path: Path) -> None:
    app_dir = write_app(tmp_path / "app", TIMER)
    status = app_dir / "data" / "timers" / "tick.json"

    with Served(app_dir, env={"RANKLOOP_DATA": "data"}) as served:
        assert served.line() == "tick False"
        wait_for_line(status, '"Last": "20')

    status.write_text(json.dumps(dict.fromkeys(("Last", "Next", "LastUpdated"), "2020-01-01T00:00:00+00:00")))
    with Served(app_dir, env={"RANKLOOP_DATA": str(app_dir / "data")}) as served:
        assert served.line() == "tick True"


def test_timers_can_be_left_out(tmp_path: Path) -> None:
    app_dir = write_app(tmp_path / "app", TIMER)

    with Served(app_dir, "--no-timers") as served:
        assert served.get("/admin/host/ping").status == 200

    assert not os.path.exists(app_dir / ".rankloop")
    assert "tick False" not in served.errors

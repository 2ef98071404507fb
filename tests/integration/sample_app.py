"""A function app with one route of each kind, and how tests write apps to disk."""

import json
from pathlib import Path
from textwrap import dedent

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

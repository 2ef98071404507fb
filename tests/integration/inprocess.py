"""Turns calls into invocations of a function app by the library that Azure itself runs, in this process.

azure-functions-runtime is the worker of Python 3.13 and later without its gRPC part. It takes the classes of its
messages as a parameter, so plain Python stand-ins do, and neither gRPC nor protobuf is needed.

The library and the app keep state in modules, so one process loads one app. `run_in_runtime` uses a new process; it
runs this file as a script, which therefore imports nothing of ours.
"""

import asyncio
import base64
import json
import os
import subprocess
import sys
import uuid
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from types import SimpleNamespace
from typing import Any, NamedTuple

DEADLINE = 60.0
_REMOVED = ("RANKLOOP_", "AzureWebJobs", "FUNCTIONS_", "PYTHON")


class RuntimeFailure(Exception):
    """The runtime reported a failure; the text is its message and, in a function, the traceback."""


class HttpResult(NamedTuple):
    """What the host would send."""

    status: int
    headers: dict[str, str]
    body: bytes


class Endpoint(NamedTuple):
    """Where an HTTP function is found: no methods stand for all of them."""

    route: str
    level: str
    methods: list[str]


class Source(NamedTuple):
    """Where a queue function's messages come from."""

    queue: str
    connection: str


class Message:
    """Stands in for a protobuf message: it holds the fields that it was given."""

    oneof: str | None = None

    def __init__(self, **fields: Any) -> None:
        self.__dict__.update(fields)

    def WhichOneof(self, _: str) -> str | None:
        """The field that is set, in messages of which only one can be."""
        return self.oneof or next(iter(self.__dict__), None)


def _message(name: str, **constants: Any) -> type[Message]:
    return type(name, (Message,), constants)


_PLAIN = """
    WorkerInitResponse WorkerMetadata RpcException FunctionMetadataResponse RpcFunctionMetadata FunctionLoadResponse
    InvocationResponse TypedData RpcHttp RpcRetryOptions NullableString NullableBool NullableDouble NullableTimestamp
"""
PROTOS = SimpleNamespace(
    **{name: _message(name) for name in _PLAIN.split()},
    ParameterBinding=_message("ParameterBinding", oneof="data"),
    BindingInfo=_message("BindingInfo", inout=2, out=1, undefined=0),
    StatusResult=_message("StatusResult", Success=1, Failure=0),
    RpcHttpCookie=_message(
        "RpcHttpCookie", SameSite=SimpleNamespace(**{"None": 0, "Lax": 1, "Strict": 2, "ExplicitNone": 3})
    ),
)


class Runtime:
    """One function app, loaded and invoked as in Azure."""

    def __init__(self, app_dir: Path) -> None:
        """Put the app last on sys.path, where Azure has it."""
        import azure_functions_runtime

        self._runtime = azure_functions_runtime
        self._app_dir = str(app_dir)
        self._functions: dict[str, Any] = {}
        sys.path.append(self._app_dir)
        azure_functions_runtime.start_threadpool_executor()

    @property
    def functions(self) -> list[str]:
        """The names of the functions, after `load`."""
        return sorted(self._functions)

    @property
    def routes(self) -> dict[str, Endpoint]:
        """Where the HTTP functions are found, by name."""
        triggers = self._triggers("httpTrigger")
        return {name: Endpoint(t["route"], t["authLevel"], t.get("methods") or []) for name, t in triggers.items()}

    @property
    def queues(self) -> dict[str, Source]:
        """What the queue functions listen to, by name."""
        triggers = self._triggers("queueTrigger")
        return {name: Source(t["queueName"], t["connection"]) for name, t in triggers.items()}

    def _triggers(self, kind: str) -> dict[str, dict[str, Any]]:
        return {
            name: trigger
            for name, function in self._functions.items()
            for trigger in map(json.loads, function.raw_bindings)
            if trigger["type"] == kind
        }

    async def load(self) -> None:
        """Index and load all functions; `RuntimeFailure` where Azure would refuse the app."""
        init = SimpleNamespace(capabilities={}, function_app_directory=self._app_dir)
        _check(await self._runtime.worker_init_request(_request(worker_init_request=init)))
        metadata = _check(await self._runtime.functions_metadata_request(_request()))
        for function in metadata.function_metadata_results or ():
            load = SimpleNamespace(function_id=function.function_id)
            _check(await self._runtime.function_load_request(_request(function_load_request=load)))
            assert function.name not in self._functions
            self._functions[function.name] = function

    async def http(
        self,
        name: str,
        method: str = "GET",
        url: str = "http://localhost/",
        body: bytes = b"",
        headers: Mapping[str, str] | None = None,
        query: Mapping[str, str] | None = None,
        params: Mapping[str, str] | None = None,
    ) -> HttpResult:
        """Invoke an HTTP function; `params` are its route's. `RuntimeFailure` where the host would answer 500."""
        request = PROTOS.RpcHttp(
            method=method,
            url=url,
            headers=dict(headers or {}),
            query=dict(query or {}),
            params=dict(params or {}),
            body=PROTOS.TypedData(bytes=body),
        )
        value = await self._invoke(name, PROTOS.TypedData(http=request))
        if value.WhichOneof("data") == "string":
            return HttpResult(200, {"content-type": "text/plain; charset=utf-8"}, value.string.encode())
        return HttpResult(int(value.http.status_code), dict(value.http.headers), value.http.body.bytes)

    async def timer(self, name: str, *, past_due: bool = False) -> None:
        """Run a timer function; `RuntimeFailure` where it fails."""
        info = {"Schedule": {"AdjustForDST": True}, "ScheduleStatus": {}, "IsPastDue": past_due}
        await self._invoke(name, PROTOS.TypedData(json=json.dumps(info)))

    async def queue(self, name: str, body: str, count: int = 1) -> None:
        """Deliver a message to a queue function, for the first or a later time; `RuntimeFailure` where it fails."""
        told = {"Id": "m1", "DequeueCount": count, "PopReceipt": "r1"}
        metadata = {name: PROTOS.TypedData(json=json.dumps(value)) for name, value in told.items()}
        await self._invoke(name, PROTOS.TypedData(string=body), metadata)

    async def _invoke(self, name: str, data: Message, metadata: Mapping[str, Message] | None = None) -> Any:
        function = self._functions[name]
        argument = next(key for key, binding in function.bindings.items() if binding.type.lower().endswith("trigger"))
        invocation = SimpleNamespace(
            invocation_id=str(uuid.uuid4()),
            function_id=function.function_id,
            trigger_metadata=dict(metadata or {}),
            input_data=[PROTOS.ParameterBinding(name=argument, data=data)],
            trace_context=SimpleNamespace(trace_parent="", trace_state="", attributes={}),
            retry_context=SimpleNamespace(retry_count=0, max_retry_count=0, exception=None),
        )
        return _check(await self._runtime.invocation_request(_request(invocation_request=invocation))).return_value


def _request(**content: Any) -> SimpleNamespace:
    return SimpleNamespace(request=SimpleNamespace(**content), properties={"host": "127.0.0.1", "protos": PROTOS})


def _check(response: Any) -> Any:
    if response.result.status != PROTOS.StatusResult.Success:
        exception = response.result.exception
        raise RuntimeFailure(f"{exception.message}\n{exception.stack_trace}")
    return response


@dataclass
class Call:
    """One invocation for `run_in_runtime`: of an HTTP function, or, where there is no method, of a queue function if
    there is a message, else of a timer.
    """

    name: str
    method: str | None = None
    url: str = "http://localhost/"
    body: str = ""
    headers: dict[str, str] = field(default_factory=dict)
    query: dict[str, str] = field(default_factory=dict)
    params: dict[str, str] = field(default_factory=dict)
    message: str | None = None


class Outcome(NamedTuple):
    """What a process of `run_in_runtime` reports: `error` where the app was not loaded, else a result for each call."""

    error: str | None
    functions: list[str]
    results: list[HttpResult | str | None]
    routes: dict[str, Endpoint]
    queues: dict[str, Source]


def run_in_runtime(
    app_dir: Path, calls: Sequence[Call] = (), env: Mapping[str, str] | None = None, python: str = sys.executable
) -> Outcome:
    """Load the app in a new process, of any Python that has the library, and make the calls one after the other.

    The result of an HTTP function is an `HttpResult`, of any other None, of a failed invocation its error as a string.
    """
    kept = {name: value for name, value in os.environ.items() if not name.startswith(_REMOVED)}
    ended = subprocess.run(
        [python, __file__, str(app_dir)],
        input=json.dumps([asdict(call) for call in calls]),
        env={**kept, **(env or {})},
        cwd=app_dir,
        capture_output=True,
        text=True,
        timeout=DEADLINE,
        check=False,
    )
    if ended.returncode != 0:
        raise AssertionError(f"the process ended with {ended.returncode}:\n{ended.stderr}")
    # The app may print too; the report is the last line.
    report = json.loads(ended.stdout.splitlines()[-1])
    results = [
        HttpResult(result[0], result[1], base64.b64decode(result[2])) if isinstance(result, list) else result
        for result in report["results"]
    ]
    routes = {name: Endpoint(*route) for name, route in report["routes"].items()}
    queues = {name: Source(*source) for name, source in report["queues"].items()}
    return Outcome(report["error"], report["functions"], results, routes, queues)


async def _report(app_dir: Path, calls: Sequence[Call]) -> dict[str, Any]:
    runtime = Runtime(app_dir)
    try:
        await runtime.load()
    except RuntimeFailure as failure:
        return {"error": str(failure), "functions": [], "results": [], "routes": {}, "queues": {}}
    results = [await _result(runtime, call) for call in calls]
    return {
        "error": None,
        "functions": runtime.functions,
        "results": results,
        "routes": runtime.routes,
        "queues": runtime.queues,
    }


async def _result(runtime: Runtime, call: Call) -> object:
    try:
        if call.message is not None:
            await runtime.queue(call.name, call.message)
            return None
        if call.method is None:
            await runtime.timer(call.name)
            return None
        status, headers, body = await runtime.http(
            call.name, call.method, call.url, call.body.encode(), call.headers, call.query, call.params
        )
    except RuntimeFailure as failure:
        return str(failure)
    return [status, headers, base64.b64encode(body).decode()]


if __name__ == "__main__":
    # The directory of a script comes first on the path, and Azure has nothing like it.
    del sys.path[0]
    _calls = [Call(**call) for call in json.load(sys.stdin)]
    print(json.dumps(asyncio.run(_report(Path(sys.argv[1]), _calls))))

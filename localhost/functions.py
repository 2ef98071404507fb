"""Turns a decorated Python function into a `Function` that the host can call as the Python worker would."""

from __future__ import annotations

import asyncio
import functools
import inspect
import json
import threading
import uuid
from collections.abc import Callable, Mapping
from concurrent.futures import Executor
from dataclasses import dataclass
from datetime import timedelta
from types import SimpleNamespace
from typing import Any

import azure.functions as func

from localhost.config import StartError, is_disabled, parse_interval, resolve_settings

_LOCAL = threading.local()


@dataclass(frozen=True, slots=True)
class HttpTrigger:
    """What a request must look like; an empty set of methods stands for all of them."""

    route: str
    methods: frozenset[str]
    level: str


@dataclass(frozen=True, slots=True)
class TimerTrigger:
    """When to run; the schedule has its %SETTINGS% replaced."""

    schedule: str
    run_on_startup: bool
    use_monitor: bool


@dataclass(frozen=True, slots=True)
class QueueTrigger:
    """Whose messages are taken; the name has its %SETTINGS% replaced, the connection is the name of a setting."""

    queue: str
    connection: str


Trigger = HttpTrigger | TimerTrigger | QueueTrigger


@dataclass(frozen=True, slots=True)
class RetryPolicy:
    """How often, and after how long, a failed run is repeated; a count of -1 repeats for ever."""

    max_retries: int
    minimum: timedelta
    maximum: timedelta | None

    def delay(self, failures: int) -> float:
        """Return the seconds to wait after so many failures: fixed, or doubled each time up to the maximum."""
        seconds = self.minimum.total_seconds()
        if self.maximum is None:
            return seconds
        # The exponent is bounded since a policy may repeat for ever.
        return float(min(seconds * 2 ** min(failures - 1, 32), self.maximum.total_seconds()))


@dataclass(frozen=True, slots=True)
class Function:
    """One function of the app."""

    name: str
    trigger: Trigger
    call: Callable[..., Any]
    argument: str
    wants_context: bool
    is_async: bool
    returns: bool
    disabled: bool
    retry: RetryPolicy | None
    directory: str


class Context(func.Context):
    """What a handler's `context` parameter holds."""

    def __init__(self, function: Function, headers: Mapping[str, str], retry: tuple[int, int]) -> None:
        """Start a new invocation of the function; `retry` holds the count so far and the most there will be."""
        self._function = function
        self._id = str(uuid.uuid4())
        self._trace = SimpleNamespace(
            trace_parent=headers.get("traceparent", ""), trace_state=headers.get("tracestate", ""), attributes={}
        )
        self._retry = SimpleNamespace(retry_count=retry[0], max_retry_count=retry[1], exception=None)

    @property
    def invocation_id(self) -> str:
        """A new id for each invocation."""
        return self._id

    @property
    def thread_local_storage(self) -> Any:
        """Holds the invocation's id in the thread that runs it."""
        return _LOCAL

    @property
    def function_name(self) -> str:
        """The function's name."""
        return self._function.name

    @property
    def function_directory(self) -> str:
        """The directory of the app."""
        return self._function.directory

    @property
    def trace_context(self) -> Any:
        """The W3C trace headers of the request."""
        return self._trace

    @property
    def retry_context(self) -> Any:
        """How often this run was tried before."""
        return self._retry


def read_function(definition: Any, app_dir: str, environ: Mapping[str, str]) -> Function:
    """Read one function of `FunctionApp.get_functions()`.

    Raises `StartError` where its bindings and its Python parameters differ, or its trigger is not served here.
    """
    name = definition.get_function_name()
    bindings = [json.loads(binding) for binding in definition.get_raw_bindings()]
    trigger = next(binding for binding in bindings if binding["type"].lower().endswith("trigger"))
    call = definition.get_user_function()
    parameters = set(inspect.signature(call).parameters)
    bound = {binding["name"] for binding in bindings} - {"$return"}
    wants_context = "context" in parameters - bound
    if wants_context:
        parameters.remove("context")
    if parameters != bound:
        raise StartError(
            f"function {name}: its parameters are {_listed(parameters)}, but its decorators bind {_listed(bound)}"
        )
    if len(bound) > 1:
        raise StartError(f"function {name}: only triggers are served here, not the other bindings of {_listed(bound)}")
    return Function(
        name=name,
        trigger=_trigger(name, trigger, environ),
        call=call,
        argument=trigger["name"],
        wants_context=wants_context,
        is_async=inspect.iscoroutinefunction(call),
        returns=any(binding["name"] == "$return" for binding in bindings),
        disabled=is_disabled(name, environ),
        retry=_retry(name, definition.get_settings_dict("retry_policy")),
        directory=app_dir,
    )


async def invoke(
    function: Function,
    value: object,
    pool: Executor,
    headers: Mapping[str, str] | None = None,
    retry: tuple[int, int] = (0, 0),
) -> Any:
    """Call the function with its trigger's value and return its result; what it raises comes through.

    A coroutine function runs on the event loop, any other in the pool. Raises `RuntimeError` where a function that
    has nothing to return returned something.
    """
    arguments = {function.argument: value}
    context = Context(function, headers or {}, retry) if function.wants_context else None
    if context is not None:
        arguments["context"] = context
    if function.is_async:
        result = await function.call(**arguments)
    else:
        call = functools.partial(_call_in_thread, function.call, arguments, context)
        result = await asyncio.get_running_loop().run_in_executor(pool, call)
    if result is not None and not function.returns:
        raise RuntimeError(f"function {function.name!r} without a $return binding returned a non-None value")
    return result


def _call_in_thread(call: Callable[..., Any], arguments: Mapping[str, object], context: Context | None) -> Any:
    _LOCAL.invocation_id = context.invocation_id if context is not None else None
    return call(**arguments)


def _trigger(name: str, binding: Mapping[str, Any], environ: Mapping[str, str]) -> Trigger:
    kind = binding["type"].lower()
    if kind == "httptrigger":
        methods = frozenset(method.upper() for method in binding.get("methods") or ())
        route = binding.get("route") or name
        return HttpTrigger(route.strip("/"), methods, (binding.get("authLevel") or "function").lower())
    try:
        if kind == "timertrigger":
            schedule = resolve_settings(binding["schedule"], environ)
            return TimerTrigger(schedule, binding.get("runOnStartup") is True, binding.get("useMonitor") is not False)
        if kind == "queuetrigger":
            queue = resolve_settings(binding["queueName"], environ).lower()
            return QueueTrigger(queue, binding.get("connection") or "AzureWebJobsStorage")
    except StartError as error:
        raise StartError(f"function {name}: {error}") from None
    raise StartError(f"function {name}: {binding['type']} is not served here")


def _retry(name: str, settings: Mapping[str, str] | None) -> RetryPolicy | None:
    if not settings:
        return None
    try:
        count = int(settings["max_retry_count"])
        if settings["strategy"] == "fixed_delay":
            return RetryPolicy(count, parse_interval(settings["delay_interval"]), None)
        minimum, maximum = (parse_interval(settings[f"{name}_interval"]) for name in ("minimum", "maximum"))
        return RetryPolicy(count, minimum, maximum)
    except (KeyError, TypeError, ValueError) as error:
        raise StartError(f"function {name}: its retry policy cannot be read: {error!r}") from None


def _listed(names: set[str]) -> str:
    return ", ".join(sorted(names)) or "none"

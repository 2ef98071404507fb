"""Turns requests below /admin into what the host tells about itself, or into a timer's run."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Iterable, Mapping
from typing import Any

from localhost.functions import Function, HttpTrigger, QueueTrigger
from localhost.keys import Keys
from localhost.response import Response, empty
from localhost.timers import Timers


class Admin:
    """The part of the host's own API that developers use."""

    def __init__(self, functions: Iterable[Function], keys: Keys, timers: Timers) -> None:
        """Answer about these functions, to holders of the master key."""
        self._functions = {function.name.lower(): function for function in functions}
        self._keys = keys
        self._timers = timers
        self._started = time.monotonic()

    def answer(self, method: str, path: str, headers: Mapping[str, str], query: Mapping[str, str]) -> Response:
        """Return the answer to a request for `path`, which is in lower case and starts with /admin/."""
        place = path.removeprefix("/admin/").rstrip("/")
        if place == "host/ping":
            return empty(200)
        if not self._keys.admit("admin", headers, query):
            return empty(401)
        if place == "host/status" and method == "GET":
            uptime = int((time.monotonic() - self._started) * 1000)
            return _json(
                {"state": "Running", "version": "localhost", "processUptime": uptime, "processId": os.getpid()}
            )
        if place == "functions" and method == "GET":
            return _json([_described(function) for function in self._functions.values()])
        function = self._functions.get(place.removeprefix("functions/"))
        if function is None or not place.startswith("functions/"):
            return empty(404)
        if method == "GET":
            return _json(_described(function))
        if method != "POST":
            return empty(404)
        return empty(202 if self._timers.run_now(function.name) else 400)


def _described(function: Function) -> dict[str, Any]:
    trigger = function.trigger
    if isinstance(trigger, HttpTrigger):
        binding: dict[str, Any] = {
            "type": "httpTrigger",
            "name": function.argument,
            "authLevel": trigger.level,
            "methods": sorted(trigger.methods),
            "route": trigger.route,
        }
    elif isinstance(trigger, QueueTrigger):
        binding = {
            "type": "queueTrigger",
            "name": function.argument,
            "queueName": trigger.queue,
            "connection": trigger.connection,
        }
    else:
        binding = {
            "type": "timerTrigger",
            "name": function.argument,
            "schedule": trigger.schedule,
            "runOnStartup": trigger.run_on_startup,
            "useMonitor": trigger.use_monitor,
        }
    return {
        "name": function.name,
        "language": "python",
        "config": {"bindings": [binding]},
        "isDisabled": function.disabled,
    }


def _json(content: object) -> Response:
    body = json.dumps(content).encode()
    return 200, [(b"content-type", b"application/json; charset=utf-8"), (b"content-length", b"%d" % len(body))], body

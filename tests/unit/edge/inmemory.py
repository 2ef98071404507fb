"""Turns an app over storage in memory, which can be out of reach, into the answers to calls."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from typing import Any
from urllib.parse import parse_qsl

import azure.functions as func
import orjson
import pytest

from shared import app as running
from shared.app import App
from shared.config import Config
from shared.edge import web
from shared.loops.policy import DEFAULT_ARGUMENTS, Problem
from shared.storage import Blob, Row, Unavailable
from shared.storage.memory import MemoryBlobs, MemoryTables

KEY = "k"


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


class InMemory:
    """An app, and the calls to it; it is the process's own from now on.

    Attributes:
        now: the storage's time, and this machine's; None for what it really is.
    """

    def __init__(self, monkeypatch: pytest.MonkeyPatch, **settings: Any) -> None:
        self.now: float | None = None
        self.tables, self.blobs = Tables(self._time), Blobs()
        # A deadline that no fast write misses: nothing here is timed.
        self.app = App(Config("", KEY, **{"log_deadline": 5.0, **settings}), self.tables, self.blobs)
        self.app.clock.local = self._time
        monkeypatch.setattr(running, "current", lambda: self.app)

    def _time(self) -> float:
        return time.time() if self.now is None else self.now

    async def __call__(self, method: str, path: str, body: Any = b"", **headers: str) -> func.HttpResponse:
        """Call a path, with its query; a header's name has `_` for `-`."""
        place, _, query = path.partition("?")
        request = func.HttpRequest(
            method,
            f"https://localhost/{path}",
            headers={"ocp-apim-subscription-key": KEY, **{name.replace("_", "-"): v for name, v in headers.items()}},
            params=dict(parse_qsl(query)),
            route_params={},
            body=body if isinstance(body, bytes) else orjson.dumps(body),
        )
        return await web.serve(request, place)

    async def json(self, method: str, path: str, body: Any = b"", **headers: str) -> Any:
        """The JSON that a call which must succeed answers; None for an answer without a body."""
        response = await self(method, path, body, **headers)
        assert response.status_code < 300, response.get_body()
        return orjson.loads(response.get_body()) if response.get_body() else None

    async def make_loop(self, name: str) -> tuple[str, str]:
        """A loop of that name; returns its keys."""
        made = await self.json("POST", "rankloop/v1/loops", {"name": name})
        return made["keys"]["key1"], made["keys"]["key2"]

    async def use_slots(self, loop: str = "") -> None:
        """Turn a loop, of which the start of its path is given, into a multi-slot one."""
        held = await self.json("GET", f"{loop}personalizer/v1.1-preview.3/configurations/service")
        off = {**held, "isAutoOptimizationEnabled": False}
        await self.json("PUT", f"{loop}personalizer/v1.1-preview.3/configurations/service", off)
        slots = {"name": "slots", "arguments": DEFAULT_ARGUMENTS[Problem.MULTI_SLOT]}
        await self.json("PUT", f"{loop}personalizer/v1.1-preview.3/configurations/policy", slots)


def error(response: func.HttpResponse) -> dict[str, str]:
    """What a refusal says: code, message and, where there is one, target."""
    assert response.status_code >= 400
    assert response.headers["Content-Type"] == "application/json; charset=utf-8"
    found: dict[str, str] = orjson.loads(response.get_body())["error"]
    assert response.headers["x-ms-error-code"] == found["code"]
    return found


async def refusal(call: Awaitable[func.HttpResponse]) -> tuple[int, str]:
    """The status and code that a call is refused with."""
    response = await call
    return response.status_code, error(response)["code"]


def most_reads_at_once(served: InMemory, monkeypatch: pytest.MonkeyPatch) -> Callable[[], int]:
    """Says how many blobs were read at the same time, at most, from now on."""
    get, under_way, most = served.blobs.get, 0, 0

    async def slow(path: str) -> Blob | None:
        nonlocal under_way, most
        under_way += 1
        most = max(most, under_way)
        for _ in range(5):
            await asyncio.sleep(0)
        under_way -= 1
        return await get(path)

    monkeypatch.setattr(served.blobs, "get", slow)
    return lambda: most

"""Turns documents into answers of an app over storage in memory, and tells what each one cost."""

from __future__ import annotations

import base64
import time
from collections.abc import Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast
from urllib.parse import quote

import azure.functions as func
import orjson

from shared import app as running
from shared.access.roles import Access
from shared.access.tokens import Tokens
from shared.app import App
from shared.config import Config
from shared.contract.errors import STATUS
from shared.contract.requests import MOST_ACTIONS
from shared.edge import erasures, logs, web
from shared.learning import pointer, trial
from shared.learning.trial import Trial, Verdict
from shared.loops.policy import Problem
from shared.ranking.action_cache import ActionCache
from shared.storage.memory import MemoryBlobs, MemoryContainers, MemoryTables
from tests.fuzz.bombs import INITIALS
from tests.fuzz.documents import KEY, RANKS, Document
from tests.fuzz.policies import MANY, POLICIES

_TENANT = "11111111-2222-3333-4444-555555555555"
_N = base64.urlsafe_b64encode(b"\xc1" * 256).rstrip(b"=").decode()


class Wrong(AssertionError):
    """An answer that no caller should ever see."""


class Served:
    """An app with a loop for each policy, each with a model that has learned; the process's own from now on.

    Args:
        models: the folder of the models, see `policies.prepare`.
        trials: how many policies that no loop has are tried as they are in earnest, in a process each; the rest is
            refused.
    """

    def __init__(self, models: Path, trials: int = 0) -> None:
        config = Config("", KEY, log_deadline=5.0, reward_deadline=5.0, entra_tenant=_TENANT,
                        entra_audiences=frozenset({"api://x"}))  # fmt: skip
        self.blobs = MemoryBlobs()
        self.ahead = 0.0
        self.app = App(config, MemoryTables(self._now), self.blobs, open_container=MemoryContainers().open)
        self.app.clock.local = self._now
        self.app.access = Access(KEY, Tokens(_TENANT, frozenset({"api://x"}), fetch=_published))
        self._models = models
        self._tried = 0
        self._trials = trials
        self._try = trial.verdicts
        running.current = lambda: self.app
        trial.verdicts = self._verdicts
        for module in (erasures, logs):
            cast(Any, module).asyncio = SimpleNamespace(sleep=self._pass)

    def _now(self) -> float:
        return time.time() + self.ahead

    async def _pass(self, seconds: float) -> None:
        """Let the time of a wait pass at once."""
        self.ahead += seconds

    async def _verdicts(self, trials: Sequence[Trial]) -> list[Verdict]:
        return [await self._verdict(one) for one in trials]

    async def _verdict(self, one: Trial) -> Verdict:
        if one.training in {held.training for held in POLICIES.values()}:
            return Verdict(one.training)
        self._tried += 1
        if self._tried > self._trials:
            return Verdict(problem="not tried")
        return (await self._try([one]))[0]

    async def start(self) -> None:
        """Make the loops and their models."""
        for name in (*POLICIES, "scratch"):
            await self._manage("POST", "rankloop/v1/loops", {"name": name})
        for name, held in POLICIES.items():
            loop = await self.app.loops.named(name)
            path = f"loops/{name}/personalizer/v1.1-preview.3/configurations"
            if held.problem is Problem.MULTI_SLOT:
                service = await self._manage("GET", f"{path}/service")
                await self._manage("PUT", f"{path}/service", {**service, "isAutoOptimizationEnabled": False})
            await self._manage("PUT", f"{path}/policy", {"name": name, "arguments": held.arguments})
            if name in MANY:
                await self._manage("PUT", f"loops/{name}/rankloop/v1/limits", {"mostActions": MOST_ACTIONS})
            data = (self._models / name).read_bytes()
            await pointer.install(self.blobs, loop.id, data, held.arguments, held.lineage, 0, self._now())

    async def _manage(self, method: str, path: str, body: Any = None) -> Any:
        headers = {"ocp-apim-subscription-key": KEY}
        data = b"" if body is None else orjson.dumps(body)
        response = await web.serve(_request(method, path, {}, headers, data), path)
        assert response.status_code < 300, response.get_body()
        return orjson.loads(response.get_body())

    async def send(self, document: Document) -> tuple[func.HttpResponse, float]:
        """The answer to a document, and the seconds of a core that it took.

        Raises:
            Wrong: it is none that a caller may see.
        """
        request = _request(document.method, document.path, document.query, document.headers, document.body)
        before = time.thread_time()
        response = await web.serve(request, document.path)
        spent = time.thread_time() - before
        self._check(document, response)
        return response, spent

    def _check(self, document: Document, response: func.HttpResponse) -> None:
        status, body, headers = response.status_code, response.get_body(), response.headers
        for name, value in headers.items():
            if not (name.isascii() and value.isascii() and value.isprintable()):
                raise Wrong(f"the host would not write the header {name}: {value!r}")
        if status >= 400:
            error = orjson.loads(body)["error"]
            if STATUS.get(error["code"]) != status or headers["x-ms-error-code"] != error["code"]:
                raise Wrong(f"status {status} with {body[:200]!r}")
            if status >= 500:
                raise Wrong(f"status {status}: {body[:200]!r}")
        elif headers.get("Content-Type", "").startswith("application/json"):
            orjson.loads(body)

    async def cost(self, document: Document, times: int, seen: bool) -> float:
        """Seconds of a core that a document takes at least, with nothing kept of it.

        Args:
            times: how often it is sent.
            seen: whether VW has seen every namespace before; else it has seen none.
        """
        name = document.path.split("/")[1] if document.path.startswith("loops/") else ""
        least = float("inf")
        for _ in range(times):
            if document.route.operation in RANKS and name in POLICIES:
                loop = await self.app.loops.named(name)
                held = await self.app.models.get(loop)
                held = self.app.models._entries[loop.id].open(held.exploration)
                if seen and held.model:  # a document may have deleted it
                    held.meet(frozenset(INITIALS))
            self.app.ranker._cache = ActionCache()
            least = min(least, (await self.send(document))[1])
        return least

    async def learn(self) -> None:
        """Join and learn what was logged.

        Raises:
            Wrong: an event that was acknowledged stops either.
        """
        self.ahead += 3600.0
        await self.app.journal.drain()
        await self.app.join_due()
        await self.app.train_due()
        failed = {name: number for name, number in self.app.counters.snapshot().items() if name.endswith(".failed")}
        if failed:
            raise Wrong(f"what was logged cannot be joined or learned: {failed}")


def _request(method: str, path: str, query: Any, headers: Any, body: bytes) -> func.HttpRequest:
    url = "https://localhost/" + quote(path.encode("utf-8", "replace"))
    return func.HttpRequest(method, url, headers=dict(headers), params=dict(query), route_params={}, body=body)


async def _published(url: str) -> bytes:
    """What a tenant publishes: one key."""
    return orjson.dumps({"keys": [{"kty": "RSA", "kid": "x", "n": _N, "e": "AQAB"}]})

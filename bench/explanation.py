"""Rank with an explanation in its answer against the same Rank without: over HTTP, in the app, and the decision alone.

Over HTTP the journal is in Azurite, which is how a user meets it. In the app storage is in memory, and answers at once.
"""

from __future__ import annotations

import asyncio
import random
import statistics
import tempfile
import time
from collections.abc import Sequence
from dataclasses import replace

import azure.functions as func

from bench.documents import body, make_actions, rank_request
from bench.http import Round, call, install, measure, served
from bench.rank import LOOP, answered, trained_model
from bench.raw import microseconds
from localhost.azurite import Azurite
from shared import app as running
from shared.app import App
from shared.config import Config
from shared.edge import web
from shared.learning.model import ServingModel
from shared.loops.settings import Loop
from shared.ranking.action_cache import ActionCache
from shared.ranking.model_cache import Held
from shared.storage.memory import MemoryBlobs, MemoryTables

KEY = "bench"
ACTIONS = (4, 10, 50)
HTTP_ROUNDS = 7
SECONDS = 2.0
FRESH = 6.0
"""Seconds after which settings and models that were changed are everywhere."""
ROUNDS = 31
REQUESTS = 50
GOAL = 1.5
EXPLAINED = replace(LOOP, configuration=replace(LOOP.configuration, is_inference_explainability_enabled=True))
Pair = tuple[float, float]
"""Microseconds of processor time a request, with an explanation and without: medians of interleaved rounds."""


class Requests:
    """Rank bodies over so many actions, every context a new one."""

    def __init__(self, actions: int) -> None:
        self._rng = random.Random(1)
        self._pool = make_actions(self._rng, actions)

    def some(self) -> list[bytes]:
        """As many as a round takes."""
        rng = self._rng
        return [body(rank_request(rng, self._pool), f"{rng.getrandbits(128):032x}") for _ in range(REQUESTS)]


def decisions(requests: Requests, held: Held) -> Pair:
    """Of the decision alone, body bytes to response bytes and journal line."""
    caches = ActionCache(), ActionCache()
    found: tuple[list[float], list[float]] = ([], [])
    for _ in range(ROUNDS):
        bodies = requests.some()
        for loop, cache, times in zip((EXPLAINED, LOOP), caches, found, strict=True):
            times.append(microseconds(lambda raw: answered(raw, held, cache, loop), bodies))  # noqa: B023
    return statistics.median(found[0]), statistics.median(found[1])


async def calls(requests: Requests, held: Held) -> Pair:
    """Of a call to the app, journal included."""
    found: tuple[list[float], list[float]] = ([], [])
    told, plain = _app(held, EXPLAINED), _app(held, LOOP)
    for n in range(ROUNDS + 1):
        bodies = requests.some()
        for app, times in zip((told, plain), found, strict=True):
            setattr(running, "current", lambda: app)  # noqa: B010, B023 - the app that serves
            spent = await _served(bodies)
            if n:  # the first one warms up
                times.append(spent)
    return statistics.median(found[0]), statistics.median(found[1])


def _app(held: Held, loop: Loop) -> App:
    """An app whose one loop is this one, with this model."""
    app = App(Config("", KEY, log_deadline=60.0), MemoryTables(time.time), MemoryBlobs())

    async def loop_named(name: str) -> Loop:
        return loop

    async def model_of(loop: Loop) -> Held:
        return held

    setattr(app.loops, "named", loop_named)  # noqa: B010 - in place of storage
    setattr(app.models, "get", model_of)  # noqa: B010
    return app


async def _served(bodies: Sequence[bytes]) -> float:
    headers = {"ocp-apim-subscription-key": KEY}
    started = time.process_time()
    for raw in bodies:
        request = func.HttpRequest("POST", "https://localhost/x", headers=headers, params={}, route_params={}, body=raw)
        response = await web.serve(request, "personalizer/v1.0/rank")
        if response.status_code != 201:
            raise SystemExit(f"a call was answered by {response.status_code}: {response.get_body()!r}")
    return (time.process_time() - started) / len(bodies) * 1e6


def over_http() -> None:
    """Print what it takes of a server, and how long a caller waits: two loops of it, of which one explains."""
    with tempfile.TemporaryDirectory() as folder, Azurite() as azurite:
        connection = azurite.connection_string
        with served("group", connection, folder) as server:
            call(server, "POST", "rankloop/v1/loops", {"name": "told"})
            service = "loops/told/personalizer/v1.1-preview.3/configurations/service"
            call(server, "PUT", service, {**call(server, "GET", service), "isInferenceExplainabilityEnabled": True})
            for actions in ACTIONS:
                for path in ("", "loops/told/"):
                    loop_id = call(server, "GET", f"{path}personalizer/v1.0/configurations/policy")["name"]
                    asyncio.run(install(connection, loop_id, actions))
                time.sleep(FRESH)
                rounds = []
                for n in range(HTTP_ROUNDS + 1):
                    seconds = SECONDS if n else 1.0
                    told = measure(server, actions, seconds, 1, "/loops/told")
                    rounds.append((told, measure(server, actions, seconds, 1)))
                _print(actions, rounds[1:])  # the first one warms up


def _print(actions: int, rounds: Sequence[tuple[Round, Round]]) -> None:
    for what, member, goal in (
        ("over HTTP, p50           ", "p50", f"  (goal at most {GOAL})"),
        ("over HTTP, the worker CPU", "cpu", f"  (goal at most {GOAL})"),
    ):
        pairs = [(getattr(told, member), getattr(plain, member)) for told, plain in rounds]
        ratio = statistics.median(told / plain for told, plain in pairs)
        told, plain = (1000 * statistics.median(values) for values in zip(*pairs, strict=True))
        print(f"  {actions:3} actions, {what}: {ratio:.2f}x  ({told:.0f} / {plain:.0f} us){goal}")


def main() -> None:
    """Print the ratios."""
    print("Rank with an explanation / without, one caller, the same context again and again:")
    over_http()
    print("The same in process (10 + 10 features an action, every context a new one):")
    for actions in ACTIONS:
        requests = Requests(actions)
        held = Held(model=ServingModel(trained_model(requests.some()), "--epsilon 0.2"))
        for what, (told, plain) in (
            ("a call to the app ", asyncio.run(calls(requests, held))),
            ("the decision alone", decisions(requests, held)),
        ):
            goal = f"  (goal at most {GOAL})" if what.startswith("a call") else ""
            print(f"  {actions:3} actions, {what}: {told / plain:.2f}x  ({told:.0f} / {plain:.0f} us){goal}")


if __name__ == "__main__":
    main()

"""What of a cold start is ours: from the first import to the first Rank that is answered, against the imports alone.

Each round is two fresh processes, one after the other: one imports what the app cannot do without, and nothing else;
the other imports the app and has its own handler answer a Rank, with a model in blob storage and a durable event.
"""

from __future__ import annotations

import asyncio
import importlib
import json
import os
import random
import statistics
import subprocess
import sys
import time
from types import SimpleNamespace

import orjson

from bench.documents import body, make_actions, rank_request
from localhost.azurite import Azurite

ROUNDS = 15
ACTIONS = 10
EVENTS = 2_200
"""Events that the model has learned: it has 1 MB then."""
KEY = "bench"
LIBRARIES = (
    "azure.functions",
    "vowpalwabbit",
    "azure.data.tables.aio",
    "azure.storage.blob.aio",
    "azure.storage.queue.aio",
)
"""What the app cannot do without."""
KINDS = ("imports", "rank")
"""What a fresh process does."""


def imports() -> None:
    """Import the libraries alone."""
    for name in LIBRARIES:
        importlib.import_module(name)


async def first_rank(request: bytes) -> str:
    """Import the app, and have it answer a Rank; the answer's event id."""
    import azure.functions as func

    import function_app

    (rank,) = (f for f in function_app.app.get_functions() if f.get_function_name() == "rank")
    params = {"version": "v1.1-preview.3"}
    headers = {"ocp-apim-subscription-key": KEY}
    call = func.HttpRequest("POST", "http://h/", headers=headers, params={}, route_params=params, body=request)
    context = SimpleNamespace(trace_context=SimpleNamespace(trace_parent=""))
    answer = await rank.get_user_function()(call, context)
    if answer.status_code != 201 or "x-rankloop-log" in answer.headers:
        raise SystemExit(f"the first Rank was answered {answer.status_code} {dict(answer.headers)}")
    return str(orjson.loads(answer.get_body())["eventId"])


async def prepare(storage: str) -> tuple[int, bytes]:
    """A deployment whose loop serves a model; its size in bytes, and a Rank that it answers."""
    from bench.rank import trained_model
    from shared.app import App
    from shared.config import Config
    from shared.learning import pointer
    from shared.loops.loops import DEFAULT
    from shared.storage.azure import AzureStorage

    rng = random.Random(4)
    requests = [body(rank_request(rng, make_actions(rng, ACTIONS)), f"e{n}") for n in range(EVENTS)]
    model = trained_model(requests)
    async with AzureStorage(storage) as held:
        app = App(Config(storage, KEY), held.tables, held.blobs)
        loop = await app.loops.named(DEFAULT)
        await pointer.install(held.blobs, loop.id, model, loop.learned.training, loop.learned.lineage, 0, time.time())
    return len(model), requests[0]


def settings(storage: str) -> dict[str, str]:
    """The environment of a process whose deployment is in this storage."""
    return {
        **{name: value for name, value in os.environ.items() if not name.startswith("RANKLOOP_")},
        "RANKLOOP_STORAGE": storage,
        "RANKLOOP_KEY": KEY,
        "RANKLOOP_LOG_DEADLINE_MS": "3500",
    }


def seconds(what: str, request: bytes, environment: dict[str, str]) -> list[float]:
    """What a fresh process has taken: seconds by the clock, and of a processor."""
    done = subprocess.run(
        [sys.executable, "-m", "bench.cold", what], input=request, env=environment, check=True, capture_output=True
    )
    return [float(taken) for taken in json.loads(done.stdout)]


def main() -> None:
    """Print the ratio."""
    with Azurite() as azurite:
        size, request = asyncio.run(prepare(azurite.connection_string))
        environment = settings(azurite.connection_string)
        rounds = [[seconds(kind, request, environment) for kind in KINDS] for _ in range(ROUNDS + 1)][1:]
    print(
        f"Cold start, fresh processes, medians of {ROUNDS} interleaved rounds, a model of {size / 1e6:.2f} MB in blobs:"
    )
    for n, (by, goal) in enumerate((("clock", "  (goal at most 4)"), ("processor time", ""))):
        alone, ours = (statistics.median(taken[kind][n] for taken in rounds) for kind in range(len(KINDS)))
        print(
            f"  by the {by}: first import to first Rank / import of azure.functions, vowpalwabbit and the storage SDKs"
        )
        print(f"    alone: {ours / alone:.2f}x  ({ours:.2f} s / {alone:.2f} s){goal}")


def _child(what: str) -> None:
    request = sys.stdin.buffer.read()
    began, cpu = time.perf_counter(), time.process_time()
    if what == "imports":
        imports()
    else:
        asyncio.run(first_rank(request))
    print(json.dumps([time.perf_counter() - began, time.process_time() - cpu]))


if __name__ == "__main__":
    _child(sys.argv[1])

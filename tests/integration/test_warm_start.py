"""A loop that was given the past on a real Azurite, over HTTP: it knows what that tells before it has seen an event."""

from __future__ import annotations

import gzip
import io
import random
from collections.abc import AsyncIterator, Callable
from statistics import fmean
from typing import Any

import azure.functions as func
import orjson
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from demo.grocery import GROCERY
from localhost.azurite import Azurite
from shared import app as running
from shared.app import App
from shared.config import Config
from shared.edge import web
from shared.log import imports
from shared.storage.azure import AzureStorage

KEY = "k"
PATH = "rankloop/v1/imports"
ACTIONS = [{"id": name, "features": [features]} for name, features in GROCERY.actions.items()]


class World:
    """A served app on an Azurite of its own."""

    def __init__(self, storage: AzureStorage) -> None:
        self.app = App(Config("", KEY, log_deadline=30.0, reward_deadline=30.0), storage.tables, storage.blobs)

    async def call(self, method: str, path: str, body: bytes = b"", /, **query: str) -> Any:
        headers = {"ocp-apim-subscription-key": KEY}
        request = func.HttpRequest(
            method, "https://localhost/", headers=headers, params=query, route_params={}, body=body
        )
        response = await web.serve(request, path)
        assert response.status_code < 300, response.get_body()
        return orjson.loads(response.get_body() or b"null")

    async def configure(self, **changed: Any) -> None:
        path = "personalizer/v1.0/configurations/service"
        held = await self.call("GET", path)
        await self.call("PUT", path, orjson.dumps({**held, **changed}))

    async def reward(self) -> float:
        """What the loop's choices earn over all visits, as it is now."""
        earned = []
        for visit in GROCERY.visits:
            body = orjson.dumps({"contextFeatures": list(visit.context), "actions": ACTIONS})
            answer = await self.call("POST", "personalizer/v1.0/rank", body)
            earned.append(visit.rewards[answer["rewardActionId"]])
        return fmean(earned)


@pytest.fixture
async def world(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[World]:
    with Azurite() as azurite:
        async with AzureStorage(azurite.connection_string) as storage:
            world = World(storage)
            monkeypatch.setattr(running, "current", lambda: world.app)
            yield world
            await world.app.journal.drain()


def past(count: int, seed: int = 1) -> list[dict[str, Any]]:
    """Decisions that somebody took at random, a second apart, as rows of a table."""
    chance, names, rows = random.Random(seed), list(GROCERY.actions), []
    for n in range(count):
        visit = chance.choice(GROCERY.visits)
        chosen = chance.choice(names)
        time = f"2025-01-01T{n // 3600:02d}:{n // 60 % 60:02d}:{n % 60:02d}Z"
        row = {"event_id": f"old-{n}", "time": time, "context": list(visit.context), "actions": ACTIONS}
        rows.append({**row, "chosen": chosen, "probability": 0.2, "reward": visit.rewards[chosen]})
    return rows


def as_csv(rows: list[dict[str, Any]]) -> bytes:
    lines = [",".join(rows[0])]
    for row in rows:
        cells = [orjson.dumps(v).decode() if isinstance(v, list) else str(v) for v in row.values()]
        lines.append(",".join('"' + cell.replace('"', '""') + '"' for cell in cells))
    return "\n".join(lines).encode()


def as_parquet(rows: list[dict[str, Any]]) -> bytes:
    packed = [{**row, "context": orjson.dumps(row["context"]).decode()} for row in rows]
    sink = io.BytesIO()
    pq.write_table(pa.Table.from_pylist(packed), sink)
    return sink.getvalue()


def as_dsjson(rows: list[dict[str, Any]]) -> bytes:
    """As VW's users write it: no ids, a namespace an action, the context beside them."""
    lines = []
    for row in rows:
        names = [action["id"] for action in ACTIONS]
        context = {f"Context{n}": part for n, part in enumerate(row["context"])}
        example = {**context, "_multi": [{"_tag": a["id"], "Action": a["features"][0]} for a in ACTIONS]}
        chosen = names.index(row["chosen"])
        lines.append(
            orjson.dumps(
                {
                    "_label_cost": -row["reward"],
                    "_label_probability": row["probability"],
                    "_labelIndex": chosen,
                    "Timestamp": row["time"],
                    "EventId": row["event_id"],
                    "a": [chosen + 1, *(n + 1 for n in range(len(names)) if n != chosen)],
                    "p": [0.2] * len(names),
                    "c": example,
                }
            )
        )
    return b"\n".join(lines)


@pytest.mark.parametrize(("form", "written"), [("csv", as_csv), ("parquet", as_parquet), ("dsjson", as_dsjson)])
async def test_what_was_imported_is_known_before_the_first_event(
    world: World, form: str, written: Callable[[list[dict[str, Any]]], bytes]
) -> None:
    await world.configure(explorationPercentage=0.0)
    assert await world.reward() < 0.7  # at random: 0.47

    made = await world.call("POST", PATH, written(past(1500)), format=form)
    await world.app.train_due()
    await world.app.models.renew((await world.app.loops.named("default")).id)

    assert (made["events"], made["refused"]) == (1500, 0)
    assert await world.reward() > 0.9
    version = await world.call("GET", "rankloop/v1/health")
    assert version["modelEvents"] == 1500


async def test_an_import_outlives_a_change_of_policy_and_goes_when_it_is_deleted(world: World) -> None:
    await world.configure(explorationPercentage=0.0, modelRetrainDays=1)
    loop = await world.app.loops.named("default")
    await world.app.blobs.put(f"{imports.incoming(loop.id)}old/log.csv.gz", gzip.compress(as_csv(past(1500))))
    made = await world.call("POST", PATH, format="csv", path="old/log.csv.gz")
    await world.app.train_due()

    policy = {"name": "p", "arguments": "--cb_explore_adf --epsilon 0 --cb_type mtr -q ::"}
    await world.call("PUT", "personalizer/v1.0/configurations/policy", orjson.dumps(policy))
    await world.app.train_due()
    await world.app.models.renew(loop.id)
    assert await world.reward() > 0.9

    await world.call("DELETE", f"{PATH}/{made['id']}")
    assert await world.call("GET", PATH) == {"value": []}
    assert await world.app.blobs.names(imports.folder(loop.id)) == []


async def test_an_erased_event_is_gone_from_imports_and_from_the_next_model(world: World) -> None:
    await world.call("POST", PATH, as_csv(past(20)), format="csv")
    await world.call("DELETE", "rankloop/v1/events/old-7")
    await world.app.train_due()

    assert (await world.call("GET", "rankloop/v1/health"))["modelEvents"] == 19

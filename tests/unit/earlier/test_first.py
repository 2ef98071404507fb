"""What the first day's code has stored (commit 2cf41ec), served, joined and learned on by the code of now.

`first.json` holds the tables and blobs of its storage in memory: sixteen events joined and learned in two versions,
five pending, one of them deferred; and the bytes of every Rank that it answered.
"""

from __future__ import annotations

import base64
import json
from pathlib import Path
from typing import Any

import msgspec
import orjson
import pytest

from shared.contract.stories import Story
from shared.learning import registry
from shared.log import checkpoint, joined
from shared.loops.loops import DEFAULT
from shared.storage import Row
from tests.unit.edge.inmemory import InMemory

STORED: dict[str, Any] = json.loads(Path(__file__).with_name("first.json").read_text())
ANSWERS = {event_id: base64.b64decode(answer) for event_id, answer in STORED["answers"].items()}
PENDING = ["pending-0", "pending-1", "pending-2", "pending-3", "deferred"]
ACTIONS = [{"id": f"a{n}", "features": [{"topic": f"t{n}", "n": n}]} for n in range(4)]
MARKS = ("join.json", "models/current.json", "settings.json")


def row(stored: dict[str, Any]) -> Row:
    return {name: base64.b64decode(v["bytes"]) if isinstance(v, dict) else v for name, v in stored.items()}


@pytest.fixture
async def updated(monkeypatch: pytest.MonkeyPatch) -> InMemory:
    """The code of now on what was stored, a moment later."""
    served = InMemory(monkeypatch)
    served.now = STORED["now"]
    for path, blob in STORED["blobs"].items():
        await served.blobs.put(path, base64.b64decode(blob["data"]), None, blob["metadata"])
    for table, rows in STORED["tables"].items():
        for stored in rows:
            await served.tables.put(table, row(stored))
    return served


async def story(served: InMemory, event_id: str) -> Story:
    response = await served("GET", f"rankloop/v1/events/{event_id}")
    assert response.status_code == 200, response.get_body()
    return msgspec.json.decode(response.get_body(), type=Story)


async def timers(served: InMemory) -> None:
    """Let the reward wait pass, and the timers run."""
    assert served.now is not None
    served.now += 1500
    await served.app.join_due()
    await served.app.train_due()
    assert [name for name in served.app.counters.snapshot() if name.endswith((".failed", ".damaged"))] == []


async def loop_id(served: InMemory) -> str:
    return (await served.app.loops.named(DEFAULT)).id


async def test_the_loop_serves_the_model_that_it_had(updated: InMemory) -> None:
    before = orjson.loads(
        base64.b64decode(STORED["blobs"][f"loops/{await loop_id(updated)}/models/current.json"]["data"])
    )

    told = await updated.json("GET", "rankloop/v1/health")
    ranked = await updated.json("POST", "personalizer/v1.0/rank", {"eventId": "now", "actions": ACTIONS})

    assert (told["modelVersion"], told["modelEvents"], told["joinedEvents"]) == (before["version"], 16, 16)
    assert len(ranked["ranking"]) == 4
    assert (await story(updated, "now")).events[0].ranked.model_version == before["version"]


async def test_every_event_has_its_story_and_its_decision_is_computed_again(updated: InMemory) -> None:
    for event_id, answer in ANSWERS.items():
        (event,) = (await story(updated, event_id)).events
        assert event.state == ("pending" if event_id in PENDING else "joined")
        assert event.replay.answer is not msgspec.UNSET, event.replay
        assert (bytes(event.replay.answer), event.replay.same) == (answer, True), event_id


async def test_what_was_pending_is_joined_with_its_rewards_and_learned_on(updated: InMemory) -> None:
    before, _ = await registry.current(updated.blobs, await loop_id(updated))
    await updated.json("POST", "personalizer/v1.0/events/pending-0/reward", {"value": 0.5})
    await updated.json("POST", "personalizer/v1.0/rank", {"eventId": "now", "actions": ACTIONS})
    await updated.json("POST", "personalizer/v1.0/events/now/reward", {"value": 1})

    await timers(updated)

    windows = await joined.windows(updated.blobs, await loop_id(updated), 0, 2**33)
    lines = [
        orjson.loads(line)
        for window in windows
        for line in await joined.read(updated.blobs, await loop_id(updated), window)
    ]
    assert sorted(line["EventId"] for line in lines) == sorted([*ANSWERS, "now"])
    rewards = {line["EventId"]: -line["_original_label_cost"] for line in lines}
    assert [rewards[event_id] for event_id in (*PENDING[:4], "now")] == [0.5, 1.0, 1.0, 1.0, 1.0]
    assert [line["EventId"] for line in lines if line.get("_skipLearn")] == ["deferred"]
    version, _ = await registry.current(updated.blobs, await loop_id(updated))
    assert before is not None
    assert version is not None
    assert (version.base, version.events) == (before.version, before.events + 5)
    assert (await checkpoint.load(updated.blobs, await loop_id(updated)))[0].events == len(lines)


async def test_an_instance_of_then_can_go_on_with_what_the_code_of_now_has_written(updated: InMemory) -> None:
    """While instances are replaced both write: no member that the older ones read is gone or of another type."""
    await updated.json("POST", "personalizer/v1.0/rank", {"eventId": "now", "actions": ACTIONS})
    held = await updated.json("GET", "personalizer/v1.0/configurations/service")
    await updated.json("PUT", "personalizer/v1.0/configurations/service", {**held, "modelExportFrequency": "PT1M"})
    await timers(updated)

    folder = f"loops/{await loop_id(updated)}/"
    for path in ("deployment.json", *(folder + name for name in MARKS)):
        stored, blob = orjson.loads(base64.b64decode(STORED["blobs"][path]["data"])), await updated.blobs.get(path)
        assert blob is not None
        assert blob.data != base64.b64decode(STORED["blobs"][path]["data"])
        now = orjson.loads(blob.data)
        assert now.get("format", 1) == stored.get("format", 1) == 1, path
        assert {name: type(now.get(name)) for name in stored} == {name: type(v) for name, v in stored.items()}, path
    (table,) = await updated.tables.names("rank")
    rows = [row async for row, _ in updated.tables.query(table, ("", "~"))]
    assert len(rows) == len(STORED["tables"][table]) + 1
    assert {frozenset(row) for row in rows} == {frozenset(row) for row in STORED["tables"][table]}
    assert {row["f"] for row in rows} == {1}

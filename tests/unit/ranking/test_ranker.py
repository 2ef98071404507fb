"""The rank call around a decision: which model it takes, and how long it waits for the log."""

from __future__ import annotations

import asyncio
import hashlib
import re
from dataclasses import replace
from typing import Any

import orjson
import pytest

from shared.clock import StorageClock
from shared.contract.errors import ApiError
from shared.counters import Counters
from shared.learning import pointer, registry
from shared.learning.model import ModelError, Scores, ServingModel
from shared.learning.pointer import Pointer
from shared.learning.registry import Version
from shared.log.buckets import Waits
from shared.log.journal import Full, Journal
from shared.log.line import Line
from shared.log.records import decode_ranked, mark
from shared.log.rows import lines
from shared.loops import policy
from shared.loops.service import ServiceConfiguration
from shared.loops.settings import Loop
from shared.ranking.model_cache import Held, ModelCache
from shared.ranking.ranker import Ranker
from shared.storage import Row
from shared.storage.memory import MemoryBlobs, MemoryTables
from tests.unit.ranking.trained import LOOP as ID
from tests.unit.ranking.trained import SINGLE, SLOTS, trained_model

LOOP = Loop(ID, ServiceConfiguration(), policy.read(SINGLE), Waits(((0, 600.0),)))
SLOT_LOOP = replace(LOOP, policy=policy.read(SLOTS))


def actions(count: int) -> list[dict[str, Any]]:
    return [{"id": f"a{n}", "features": [{"topic": f"t{n}"}]} for n in range(count)]


class Gate(MemoryTables):
    """Tables that take no row of a journal before they are opened."""

    def __init__(self) -> None:
        super().__init__()
        self.open = asyncio.Event()

    async def put(self, table: str, row: Row) -> float:
        if table != "clock":
            await self.open.wait()
        return await super().put(table, row)


class Parts:
    """A Ranker over storage in memory."""

    def __init__(self, strict: bool = False, max_bytes: int = 10**6, tables: MemoryTables | None = None) -> None:
        self.tables = tables or MemoryTables()
        self.blobs = MemoryBlobs()
        self.counters = Counters()
        self.clock = StorageClock(lambda: self.tables.put("clock", {"PartitionKey": "c", "RowKey": "p"}))
        self.journal = Journal(self.tables, self.blobs, self.clock, self.counters, max_bytes=max_bytes)
        self.models = ModelCache(self.blobs, self.counters)
        self.ranker = Ranker(self.models, self.journal, self.clock, self.counters, 0.02, strict)


BODY = orjson.dumps({"actions": actions(3), "eventId": "e1", "deferActivation": True})
SLOT_BODY = orjson.dumps(
    {
        "actions": actions(3),
        "slots": [
            {"id": "top", "baselineAction": "a0", "excludedActions": ["a1", "a2"]},
            {"id": "side", "baselineAction": "a1"},
        ],
        "eventId": "e1",
        "deferActivation": True,
    }
)


async def test_an_answer_is_durable_when_its_line_is_in_the_journal(monkeypatch: pytest.MonkeyPatch) -> None:
    parts = Parts()
    lines: list[tuple[Any, ...]] = []
    append = parts.journal.append

    def noted(*given: Any) -> Line:
        lines.append(given)
        return append(*given)

    monkeypatch.setattr(parts.journal, "append", noted)

    found = await parts.ranker.rank(LOOP, BODY)

    [(stream, loop_id, waits, line, time, marked)] = lines
    ranked = decode_ranked(line)
    told = orjson.loads(bytes(ranked.r))
    assert found.durable
    assert parts.counters["journal.lines"] == 1
    assert (stream, loop_id, waits, marked) == ("rank", ID, LOOP.waits, mark("e1", time))
    assert (ranked.e, ranked.t, ranked.d) == ("e1", time, True)
    assert ranked.p == pytest.approx(1 / 3)
    assert told["a"][0] == ranked.a + 1
    assert told["c"]["_multi"][ranked.a]["_tag"] == orjson.loads(found.body)["rewardActionId"]
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}Z", told["Timestamp"])


async def test_a_multi_slot_answer_is_logged_with_what_was_drawn_for_each_slot() -> None:
    parts = Parts()

    found = await parts.ranker.rank_slots(SLOT_LOOP, SLOT_BODY)

    [table] = await parts.tables.names("rank")
    [row] = [row async for row, _ in parts.tables.query(table, ("", "~"))]
    [line] = await lines(row, parts.blobs)
    ranked, answered = decode_ranked(line), orjson.loads(found.body)
    assert found.durable
    assert (ranked.e, ranked.d, ranked.m) == ("e1", True, "Online")
    assert ranked.s
    assert [f"a{slot.actions[0]}" for slot in ranked.s] == [slot["rewardActionId"] for slot in answered["slots"]]
    assert bytes(row["h"]) == mark("e1", ranked.t)  # type: ignore[arg-type]
    assert parts.counters["rank.empty_slots"] == 0


async def test_slots_that_were_left_without_an_action_are_counted() -> None:
    parts = Parts()
    slots = [
        {"id": "top", "baselineAction": "a0", "excludedActions": ["a2"]},
        {"id": "side", "baselineAction": "a1", "excludedActions": ["a0", "a2"]},  # none is left where `top` takes a1
    ]
    empty = 0
    for n in range(40):
        body = orjson.dumps({"actions": actions(3), "slots": slots, "eventId": f"e{n}"})
        empty += b'{"id":"side"}' in (await parts.ranker.rank_slots(SLOT_LOOP, body)).body

    assert parts.counters["rank.empty_slots"] == empty
    assert 5 < empty < 35


async def test_a_body_that_no_budget_admits_is_refused_unread() -> None:
    parts = Parts()
    too_large = BODY.ljust(3_000_001)

    for call in (parts.ranker.rank, parts.ranker.rank_slots):
        with pytest.raises(ApiError) as caught:
            await call(LOOP, too_large)
        assert caught.value.code == "PayloadSizeExceeded"
    assert (await parts.ranker.rank(LOOP, BODY.ljust(3_000_000))).durable


async def test_an_answer_does_not_wait_longer_than_the_deadline() -> None:
    gate = Gate()
    parts = Parts(tables=gate)

    found = await parts.ranker.rank(LOOP, BODY)

    assert not found.durable
    assert orjson.loads(found.body)["eventId"] == "e1"
    assert parts.counters["rank.pending"] == 1
    gate.open.set()
    await parts.journal.drain()
    assert parts.counters["journal.lines"] == 1


async def test_a_strict_deployment_refuses_what_is_not_durable_in_time() -> None:
    gate = Gate()
    parts = Parts(strict=True, tables=gate)

    with pytest.raises(ApiError) as caught:
        await parts.ranker.rank(LOOP, BODY)

    assert (caught.value.code, caught.value.status, caught.value.retry_after) == ("OperationNotAllowed", 503, 1)
    gate.open.set()
    await parts.journal.drain()


async def test_what_a_strict_deployment_refused_is_not_logged_unless_it_was_on_its_way() -> None:
    gate = Gate()
    parts = Parts(strict=True, tables=gate)
    for n in range(4):
        with pytest.raises(ApiError):
            await parts.ranker.rank(LOOP, orjson.dumps({"actions": actions(3), "eventId": f"e{n}"}))

    gate.open.set()
    await parts.journal.drain()

    rows = [row for name in await gate.names("rank") async for row, _ in gate.query(name, ("", "~"))]
    assert sum(int(row["n"]) for row in rows) == 2  # the two rows that may be in flight
    assert (parts.counters["rank.refused"], parts.counters["rank.pending"]) == (4, 0)


async def test_a_line_that_missed_its_bucket_is_not_answered_as_pending(monkeypatch: pytest.MonkeyPatch) -> None:
    parts = Parts()
    append = parts.journal.append

    def lost(*given: Any) -> Line:
        line = append(*given)
        line.done.cancel()
        line.done = asyncio.get_running_loop().create_future()
        line.done.set_result(False)
        return line

    monkeypatch.setattr(parts.journal, "append", lost)

    with pytest.raises(ApiError) as caught:
        await parts.ranker.rank(LOOP, BODY)

    assert caught.value.status == 503
    assert (parts.counters["rank.refused"], parts.counters["rank.pending"]) == (1, 0)


async def test_a_full_buffer_is_told_as_unavailable() -> None:
    parts = Parts(max_bytes=100)

    with pytest.raises(ApiError) as caught:
        await parts.ranker.rank(LOOP, BODY)

    assert (caught.value.status, caught.value.retry_after) == (503, 1)
    assert isinstance(caught.value.__cause__, Full)
    assert parts.counters["rank.refused"] == 1


class Refusing(ServingModel):
    """A model that takes no example."""

    def __init__(self) -> None:
        self.met = frozenset()

    def meet(self, initials: frozenset[str]) -> None:
        pass

    def score(self, example: bytes) -> Scores:
        raise ModelError("inside")

    def score_slots(self, example: bytes) -> list[list[tuple[int, float]]]:
        raise ModelError("inside")


@pytest.mark.parametrize("multi_slot", [False, True])
async def test_an_example_that_vw_refuses_is_a_ranking_error(monkeypatch: pytest.MonkeyPatch, multi_slot: bool) -> None:
    parts = Parts()

    async def held(*_: object) -> Held:
        return Held(model=Refusing())

    monkeypatch.setattr(parts.models, "get", held)

    with pytest.raises(ApiError) as caught:
        await (parts.ranker.rank_slots(SLOT_LOOP, SLOT_BODY) if multi_slot else parts.ranker.rank(LOOP, BODY))

    assert (caught.value.code, caught.value.status) == ("ModelRankingError", 409)
    assert "inside" not in caught.value.message
    assert parts.counters["rank.model_errors"] == 1
    assert parts.counters["journal.lines"] == 0


async def test_a_refused_body_costs_neither_storage_nor_the_log() -> None:
    parts = Parts()

    with pytest.raises(ApiError, match="1 to 50"):
        await parts.ranker.rank(LOOP, b'{"actions":[]}')

    assert await parts.tables.names("") == []


async def test_the_model_is_taken_after_all_waiting(monkeypatch: pytest.MonkeyPatch) -> None:
    parts = Parts()
    data = trained_model(300)
    order: list[str] = []
    models, clock = parts.models.get, parts.clock.ensure

    async def get(*given: Any) -> Held:
        order.append("model")
        return await models(*given)

    async def ensure() -> None:
        order.append("clock")
        await clock()

    monkeypatch.setattr(parts.models, "get", get)
    monkeypatch.setattr(parts.clock, "ensure", ensure)
    version = Version("v1", hashlib.sha256(data).hexdigest(), SINGLE, 5, 300, 0.0, 0.0, 0.0)
    await registry.store(parts.blobs, ID, version, data)
    await pointer.move(parts.blobs, ID, Pointer(version), None)

    found = await parts.ranker.rank(LOOP, BODY)

    # A newer version closes the one before as soon as it is loaded, so no wait may lie between taking and using it.
    assert order == ["clock", "model"]
    assert sorted(e["probability"] for e in orjson.loads(found.body)["ranking"])[-1] == pytest.approx(0.8666667)

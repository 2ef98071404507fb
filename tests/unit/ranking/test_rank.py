"""One rank call: the decision as a function of its inputs, then the waiting for the log around it."""

from __future__ import annotations

import asyncio
import hashlib
import re
from collections import Counter
from collections.abc import Iterator
from typing import Any

import orjson
import pytest

from shared.clock import StorageClock
from shared.contract.errors import ApiError
from shared.contract.requests import rank_request
from shared.counters import Counters
from shared.learning import registry
from shared.learning.model import Learner, ModelError, Scores, ServingModel
from shared.learning.registry import Version
from shared.learning.trainer import learn
from shared.log.buckets import Waits
from shared.log.join import Rules, decode_events, join
from shared.log.journal import Full, Journal, Line
from shared.log.records import decode_ranked, mark
from shared.loops.loops import Loop
from shared.loops.policy import DEFAULT_ARGUMENTS
from shared.loops.service import ServiceConfiguration
from shared.ranking.features import ActionCache, is_plain
from shared.ranking.model_cache import Held, ModelCache
from shared.ranking.rank import Decision, Ranker, decide, log_line
from shared.storage import Row
from shared.storage.memory import MemoryBlobs, MemoryTables
from tests.unit.ranking.trained import trained_model

ID = "0123456789abcdef0123456789abcdef"
LOOP = Loop(ID, ServiceConfiguration(), Waits(((0, 600.0),)), "")


def actions(count: int) -> list[dict[str, Any]]:
    return [{"id": f"a{n}", "features": [{"topic": f"t{n}"}]} for n in range(count)]


def decided(body: dict[str, Any], held: Held | None = None) -> Decision:
    raw = orjson.dumps(body)
    return decide(rank_request(raw), is_plain(raw), ID, held or Held(), ActionCache())


def answer(body: dict[str, Any], held: Held | None = None) -> dict[str, Any]:
    found: dict[str, Any] = orjson.loads(decided(body, held).body)
    return found


@pytest.fixture(scope="module")
def held() -> Iterator[Held]:
    data = trained_model(300)
    version = Version(registry.version_name(5, data), "", "", 5, 300, 0.0, 0.0, 0.0)
    model = ServingModel(data, "--epsilon 0.2")
    yield Held(version, model, "--epsilon 0.2")
    model.close()


def test_the_answer_is_written_as_the_service_wrote_it() -> None:
    body = decided({"actions": actions(2), "eventId": "e1", "excludedActions": ["a1"]}).body

    assert body == (
        b'{"ranking":[{"id":"a0","probability":1.0},{"id":"a1","probability":0.0}],"eventId":"e1","rewardActionId":"a0"}'
    )


def test_probabilities_are_spelled_as_32_bit_floats(held: Held) -> None:
    body = decided({"actions": actions(3), "eventId": "e1"}, held).body

    assert sorted(re.findall(rb'"probability":([^}]+)', body)) == [b"0.06666667", b"0.06666667", b"0.8666667"]


@pytest.mark.parametrize("count", [1, 2, 7, 50])
def test_without_a_model_every_action_is_as_probable(count: int) -> None:
    ranking = answer({"actions": actions(count), "eventId": "e1"})["ranking"]

    assert {entry["id"] for entry in ranking} == {f"a{n}" for n in range(count)}
    assert [entry["probability"] for entry in ranking] == [pytest.approx(1 / count)] * count


def test_a_single_action_has_probability_one(held: Held) -> None:
    assert answer({"actions": actions(1)}, held)["ranking"] == [{"id": "a0", "probability": 1.0}]


def test_the_same_event_id_gives_the_same_answer_and_others_explore(held: Held) -> None:
    body = {"actions": actions(4), "contextFeatures": [{"time": "t1"}]}

    chosen: Counter[str] = Counter()
    for n in range(400):
        first = decided({**body, "eventId": f"e{n}"}, held)
        assert first == decided({**body, "eventId": f"e{n}"}, held)
        chosen[orjson.loads(first.body)["rewardActionId"]] += 1

    assert chosen.most_common(1)[0][1] == pytest.approx(400 * 0.85, abs=25)
    assert set(chosen) == {"a0", "a1", "a2", "a3"}


@pytest.mark.parametrize(
    "excluded",
    [[0], [3], [5], [0, 1], [4, 5], [0, 5], [0, 2, 4], [1, 3, 5], [0, 1, 2, 3, 4], [1, 2, 3, 4, 5], [0, 1, 3, 4, 5]],
)
def test_excluded_actions_keep_their_place_with_probability_zero(held: Held, excluded: list[int]) -> None:
    sent = actions(6)
    body = {"actions": sent, "excludedActions": [f"a{n}" for n in excluded] + ["unknown"]}
    left = [action for n, action in enumerate(sent) if n not in excluded]
    for n in range(30):
        found = answer({**body, "eventId": f"e{n}"}, held)
        without = answer({"actions": left, "eventId": f"e{n}"}, held)

        places = {place: entry for place, entry in enumerate(found["ranking"]) if place in excluded}
        assert places == {place: {"id": f"a{place}", "probability": 0.0} for place in excluded}
        # The others are ranked as if the excluded ones had not been sent, and fill the remaining places in order.
        assert [entry for place, entry in enumerate(found["ranking"]) if place not in excluded] == without["ranking"]
        assert found["rewardActionId"] == without["rewardActionId"] == without["ranking"][0]["id"]


@pytest.mark.parametrize("excluded", [["nobody"], [], None, ["A0"], ["a0 "]])
def test_unknown_excluded_ids_do_no_harm(excluded: list[str] | None) -> None:
    body: dict[str, Any] = {"actions": actions(3), "eventId": "e1"}

    assert answer({**body, "excludedActions": excluded}) == answer(body)


@pytest.mark.parametrize(
    ("body", "code", "target", "problem"),
    [
        ({"actions": actions(2), "excludedActions": ["a1", "a0"]}, "InvalidRankRequest", "excludedActions",
         "no action"),
        ({"actions": actions(1) * 2}, "InvalidRankRequest", "actions", "'a0' stands more than once"),
        ({"actions": [*actions(2), None]}, "InvalidRankRequest", "actions[2]", "is null"),
        ({"actions": [*actions(2), 1]}, "BadRequest", "actions[2]", "must be an object"),
        ({"actions": [*actions(2), {"id": "x", "features": []}]}, "InvalidRankRequest", "actions[2].features",
         "at least"),
        ({"actions": actions(1), "contextFeatures": [None]}, "InvalidRankRequest", "contextFeatures[0]", "null"),
        ({"actions": actions(1), "contextFeatures": {}}, "BadRequest", "contextFeatures", "must be an array"),
        ({"actions": actions(1), "contextFeatures": [{"l": ["x"]}]}, "InvalidRankRequest", "contextFeatures[0].l[0]",
         "feature arrays hold numbers"),
        ({"actions": actions(1), "contextFeatures": [{f"f{n}": n for n in range(8000)}]}, "InvalidRankRequest",
         "actions", "feature pairs"),
    ],
)  # fmt: skip
def test_a_broken_rule_is_refused(body: dict[str, Any], code: str, target: str, problem: str) -> None:
    with pytest.raises(ApiError) as caught:
        decided(body)

    assert (caught.value.code, caught.value.target) == (code, target)
    assert problem in caught.value.message


@pytest.mark.parametrize(
    "body",
    [
        {"actions": [{"id": "a", "features": [{}]}]},
        {"actions": actions(2), "contextFeatures": None},
        {"actions": actions(2), "contextFeatures": []},
        {"actions": actions(2), "contextFeatures": [{}]},
        {"actions": [{"Id": "a", "FEATURES": [{"x": 1}], "extra": 1}, *actions(1)]},
        {"actions": actions(2), "contextFeatures": [{"diet": "{'vegan', 'vegetarian'}", "_ignored": ["x"]}]},
        {"actions": actions(2), "contextFeatures": [{"été": 1, "o": {"p": [1, 2]}}]},
    ],
)
def test_what_the_contract_allows_is_decided(held: Held, body: dict[str, Any]) -> None:
    found = answer(body, held)

    assert sum(entry["probability"] for entry in found["ranking"]) == pytest.approx(1)


def test_an_event_id_is_made_where_none_is_sent() -> None:
    ids = {answer({"actions": actions(2), "eventId": event_id})["eventId"] for event_id in (None, None)}

    assert len(ids) == 2
    assert all(re.fullmatch(r"[0-9a-f]{32}-01234", event_id) for event_id in ids)


@pytest.mark.parametrize("event_id", ["e/1", "é🎉", '"\\\0', "a%2Fb", "x" * 256])
def test_the_callers_event_id_is_answered(event_id: str) -> None:
    assert answer({"actions": actions(1), "eventId": event_id})["eventId"] == event_id


def test_the_logged_part_holds_what_was_ranked(held: Held) -> None:
    assert held.version
    decision = decided(
        {"actions": actions(4), "contextFeatures": [{"time": "t1"}], "eventId": "e7", "excludedActions": ["a0"]}, held
    )
    line, found = orjson.loads(decision.dsjson), orjson.loads(decision.body)
    rankable = ["a1", "a2", "a3"]

    assert line["Version"] == "1"
    assert line["EventId"] == "e7"
    assert line["VWState"] == {"m": held.version.version}
    assert line["excluded"] == [[0, "a0"]]
    assert [action["_tag"] for action in line["c"]["_multi"]] == rankable
    assert line["c"]["FromUrl"] == [{"time": "t1"}]
    # Both list the chosen one first; the log by its place among the ranked, counted from 1.
    assert [rankable[n - 1] for n in line["a"]] == [entry["id"] for entry in found["ranking"]][1:]
    assert line["p"] == [entry["probability"] for entry in found["ranking"]][1:]
    assert rankable[decision.chosen] == found["rewardActionId"]
    assert decision.probability == pytest.approx(line["p"][0])


def test_without_a_model_the_log_says_so_and_leaves_excluded_out() -> None:
    line = orjson.loads(decided({"actions": actions(2)}).dsjson)

    assert line["VWState"] == {"m": "N/A"}
    assert "excluded" not in line


# -- the call around it ----------------------------------------------------------------------------------------------


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
        pass

    def score(self, example: bytes) -> Scores:
        raise ModelError("inside")


async def test_an_example_that_vw_refuses_is_a_ranking_error(monkeypatch: pytest.MonkeyPatch) -> None:
    parts = Parts()

    async def held(*_: object) -> Held:
        return Held(model=Refusing())

    monkeypatch.setattr(parts.models, "get", held)

    with pytest.raises(ApiError) as caught:
        await parts.ranker.rank(LOOP, BODY)

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
    version = Version("v1", hashlib.sha256(data).hexdigest(), "", 5, 300, 0.0, 0.0, 0.0)
    await registry.store(parts.blobs, ID, version, data)
    await registry.point(parts.blobs, ID, version, None)

    found = await parts.ranker.rank(LOOP, BODY)

    # A newer version closes the one before as soon as it is loaded, so no wait may lie between taking and using it.
    assert order == ["clock", "model"]
    assert sorted(e["probability"] for e in orjson.loads(found.body)["ranking"])[-1] == pytest.approx(0.8666667)


@pytest.mark.parametrize("key", ['"_skipLearn', 'x"_skipLearn', "_skipLearn"])
def test_no_feature_name_keeps_an_event_from_being_learned(key: str) -> None:
    decision = decided({"contextFeatures": [{key: True, "n": {key: True}}], "actions": actions(3), "eventId": "e1"})
    joined = join(decode_events([log_line(decision, 1.0, False)]), [], [], Rules(5, 0.5, "earliest", (-1.0, 1.0)))
    learner = Learner(DEFAULT_ARGUMENTS, None)

    lesson = learn(learner, joined.lines)

    learner.close()
    assert (lesson.events, lesson.skipped) == (1, 0)

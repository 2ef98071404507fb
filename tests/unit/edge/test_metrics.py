"""The numbers behind charts: from calls, joined events and actions to what the API tells, by few reads."""

from __future__ import annotations

import gzip
from collections import Counter
from typing import Any

import azure.functions as func
import orjson
import pytest

from shared.access.admission import Places
from shared.counters import Counters
from shared.edge import metrics, web
from shared.edge.metrics import MEASURES, MOST_POINTS
from shared.log import checkpoint as checkpoints
from shared.log import minutes, series
from shared.log.answers import KINDS, OUTCOMES
from shared.log.checkpoint import Checkpoint
from shared.log.day import DAY, LATE, UNKNOWN, MinuteDay
from shared.log.minutes import OTHERS, Part
from shared.log.series import Ahead, Series
from tests.journalled import T0
from tests.unit.edge.inmemory import InMemory, error

NOON = T0 // DAY * DAY + DAY // 2
RANK = {"actions": [{"id": "a", "features": [{"x": 1}]}, {"id": "b", "features": [{"x": 2}]}]}


async def loop_id(served: InMemory) -> str:
    return (await served.app.loops.named("default")).id


async def keep(served: InMemory, checkpoint: Checkpoint, *parts: Part) -> None:
    """Have parts in blobs, and a checkpoint."""
    loop = await loop_id(served)
    for part in parts:
        await Series(served.blobs, Counters()).fold(loop, Ahead(part), 0)
    await checkpoints.save(served.blobs, loop, checkpoint, (await checkpoints.load(served.blobs, loop))[1])


def part(at: int, count: float, **actions: int) -> Part:
    hour = at // 3600 * 3600
    earned = {name: (n, n / 2, n / 4) for name, n in actions.items()}
    sums = {"events": [count], "rewards": [count / 2]}
    return Part(at + 60, [at], sums, {hour: earned} if earned else {})


def told(numbers: Any, name: str = "events") -> dict[int, float]:
    """What is not zero, by step."""
    return {n: value for n, value in enumerate(numbers["series"][name]) if value}


def test_all_that_is_counted_is_told() -> None:
    assert set(MEASURES) == {*minutes.MEASURES, LATE, UNKNOWN}


async def test_an_empty_loop_is_told_in_zeros(served: InMemory) -> None:
    served.now = NOON + 30.0
    found = await served.json("GET", "rankloop/v1/metrics")

    assert {name: found[name] for name in ("start", "step", "count", "through")} == {
        "start": "2023-11-14T10:00:00Z", "step": 60, "count": 121, "through": None,
    }  # fmt: skip
    assert found["series"] == {name: [0] * 121 for name in MEASURES}
    assert found["calls"] == {kind: {outcome: [0] * 121 for outcome in OUTCOMES} for kind in KINDS}
    assert await served.json("GET", "rankloop/v1/metrics/actions") == {
        "start": "2023-11-13T12:00:00Z", "step": 3600, "count": 25, "actions": [], "distinct": 0,
        "others": {"events": [0] * 25, "rewards": [0.0] * 25, "squares": [0.0] * 25},
    }  # fmt: skip


async def test_blobs_and_what_is_ahead_of_them_are_told_together(served: InMemory) -> None:
    served.now = NOON + 3600.0
    frozen, tail = part(NOON + 120, 3), part(NOON + 180, 4)
    await keep(served, Checkpoint(watermark=NOON + 240, ahead=Ahead(frozen, tail)), part(NOON - 60, 1), part(NOON, 2))

    query = "from=2023-11-14T11:58:30Z&to=2023-11-14T12:05:00Z"
    found = await served.json("GET", f"rankloop/v1/metrics?{query}")
    assert (found["start"], found["count"]) == ("2023-11-14T11:58:00Z", 7)
    assert told(found) == {1: 1, 2: 2, 4: 3, 5: 4}
    assert told(found, "rewards") == {1: 0.5, 2: 1.0, 4: 1.5, 5: 2.0}
    assert found["through"] == "2023-11-14T12:04:00Z"
    assert isinstance(found["series"]["events"][1], int)

    await Series(served.blobs, Counters()).fold(await loop_id(served), Ahead(frozen), 0)  # and not dropped yet
    assert told(await served.json("GET", f"rankloop/v1/metrics?{query}")) == {1: 1, 2: 2, 4: 3, 5: 4}


@pytest.mark.parametrize(
    ("step", "start", "expected"),
    [
        (300, "2023-11-13T23:55:00Z", {0: 1, 1: 6, 288: 4, 289: 5}),
        (3600, "2023-11-13T23:00:00Z", {0: 1, 1: 6, 24: 4, 25: 5}),
        (86_400, "2023-11-13T00:00:00Z", {0: 1, 1: 10, 2: 5}),
    ],
)
async def test_steps_are_summed_over_days(served: InMemory, step: int, start: str, expected: dict[int, float]) -> None:
    midnight = NOON - DAY // 2
    served.now = NOON + DAY
    at = {midnight - 60: 1, midnight: 2, midnight + 240: 4, midnight + DAY - 60: 4, midnight + DAY: 5}
    await keep(served, Checkpoint(watermark=NOON), *(part(minute, n) for minute, n in at.items()))

    query = f"from=2023-11-13T23:58:00Z&to=2023-11-15T00:04:00%2B00:00&step={step}"
    found = await served.json("GET", f"rankloop/v1/metrics?{query}")

    assert (found["start"], found["step"]) == (start, step)
    assert told(found) == expected
    assert found["count"] == max(expected) + 1


async def test_a_month_of_minutes_takes_few_reads(served: InMemory) -> None:
    """At most 35 reads and 2 MB, and never the log."""
    served.now = float(NOON + 31 * DAY)
    held = Series(served.blobs, Counters())
    loop = await loop_id(served)
    for n in range(32):
        await held.fold(loop, Ahead(part(NOON + n * DAY, 1.0)), 0)
    await keep(served, Checkpoint(watermark=NOON + 31 * DAY))
    reads = Counter[str]()
    get, query = served.blobs.get, served.tables.query

    async def counting(path: str) -> Any:
        reads[path.rpartition("/")[2].rpartition(".")[2]] += 1
        return await get(path)

    def counting_query(table: str, *more: Any) -> Any:
        reads[table[:5]] += 1
        return query(table, *more)

    served.blobs.get, served.tables.query = counting, counting_query  # type: ignore[method-assign, assignment]
    found = await served.json("GET", "rankloop/v1/metrics?from=2023-11-14T12:00:00Z")

    assert reads == {"minutes": 32, "json": 1, "calls": 2}
    assert found["count"] == MOST_POINTS
    assert sum(found["series"]["events"]) == 31


async def test_calls_are_told_when_their_minute_is_over_folded_or_not(
    served: InMemory, monkeypatch: pytest.MonkeyPatch
) -> None:
    served.now = NOON + 5.0
    event = await served.json("POST", "personalizer/v1.0/rank", RANK)
    await served("POST", "personalizer/v1.0/rank", {})
    await served("POST", "Personalizer/v1.0/Rank/", RANK, ocp_apim_subscription_key="no")
    for _ in range(3):
        await served("POST", f"personalizer/v1.0/events/{event['eventId']}/reward", {"value": 1})
    await served("POST", f"personalizer/v1.0/events/{event['eventId']}/activate")
    await served("GET", "rankloop/v1/health")
    await served("POST", "loops/made-up/personalizer/v1.0/rank", RANK)
    served.now += 60
    with monkeypatch.context() as full:
        full.setattr(Places, "take", lambda *_: False)
        await served("POST", "personalizer/v1.0/rank", RANK)
        assert isinstance(web.admit("personalizer/v1.0/rank", 5), func.HttpResponse)
    served.app.admission.asked_outside = False
    served.now += 60
    assert await calls(served) == {}

    await served.app.answers.drain()
    expected = {
        "rank.ok": {0: 1}, "rank.refused": {0: 2}, "reward.ok": {0: 3}, "activate.ok": {0: 1}, "rank.limited": {1: 2},
    }  # fmt: skip
    assert await calls(served) == expected
    served.now += 2000
    await served.app.train_due()
    await served.app.sweep.run(0.0, {})
    (day,) = await served.app.series.read(MinuteDay, await loop_id(served), [NOON // DAY * DAY])
    assert day.column("reward.ok").sum() == 3
    assert await calls(served) == expected
    assert {name[:-8] for name in await served.tables.names("calls")} == {f"calls{await loop_id(served)}"}


async def calls(served: InMemory) -> dict[str, dict[int, float]]:
    """The calls from noon on that are not zero, by kind, outcome and step."""
    query = "from=2023-11-14T12:00:00Z&to=2023-11-14T12:10:00Z"
    found = (await served.json("GET", f"rankloop/v1/metrics?{query}"))["calls"]
    by_name = {f"{kind}.{name}": values for kind, of in found.items() for name, values in of.items()}
    steps = {name: {n: value for n, value in enumerate(values) if value} for name, values in by_name.items()}
    return {name: values for name, values in steps.items() if values}


async def test_a_large_answer_is_compressed_for_who_takes_that(served: InMemory) -> None:
    served.now = NOON + 3600.0
    plain = await served("GET", "rankloop/v1/metrics")
    packed = await served("GET", "rankloop/v1/metrics", accept_encoding="br, gzip")
    small = await served("GET", "rankloop/v1/metrics?step=86400", accept_encoding="gzip")

    assert [answer.headers["Vary"] for answer in (plain, packed, small)] == ["Accept-Encoding"] * 3
    assert packed.headers["Content-Encoding"] == "gzip"
    assert gzip.decompress(packed.get_body()) == plain.get_body()
    assert not {"Content-Encoding"} & {*plain.headers, *small.headers}


async def test_what_was_deleted_is_not_told(served: InMemory) -> None:
    served.now = NOON + 3600.0
    await keep(
        served, Checkpoint(cleared=NOON + 60, watermark=NOON + 240), part(NOON - 60, 1), part(NOON + 120, 3, a=3)
    )

    assert list(told(await served.json("GET", "rankloop/v1/metrics")).values()) == [3]


@pytest.mark.parametrize(
    ("query", "target", "says"),
    [
        ("step=61", "step", "60, 300, 3600, 86400"),
        ("step=x", "step", "'x'"),
        ("from=yesterday", "from", "'yesterday'"),
        ("to=2023-13-01", "to", "'2023-13-01'"),
        ("from=2023-11-14T12:00:00Z&to=2023-11-14T11:00:00Z", "from", "before"),
        ("from=2023-01-01&to=2023-12-01", "from", "44640 steps"),
        ("from=2022-01-01&to=2023-12-01&step=86400", "from", "400 days"),
        ("from=0001-01-01", "from", "apart"),
    ],
)
async def test_what_cannot_be_told_is_refused(served: InMemory, query: str, target: str, says: str) -> None:
    served.now = NOON + 3600.0
    found = error(await served("GET", f"rankloop/v1/metrics?{query}"))

    assert (found["code"], found["target"]) == ("InvalidRequest", target)
    assert says in found["message"]


# -- actions ---------------------------------------------------------------------------------------------------------


async def test_actions_are_told_by_the_hour_and_the_rarest_together(
    served: InMemory, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("shared.edge.action_metrics.MOST_ACTIONS", 2)
    served.now = NOON + 7300.0
    first, second = part(NOON, 9, a=1, b=5, c=3), part(NOON + 3600, 9, a=7, d=1)
    await keep(
        served,
        Checkpoint(watermark=NOON + 7200, ahead=Ahead(tail=part(NOON + 7200, 2, **{"b": 1, OTHERS: 4}))),
        first,
        second,
    )

    query = "from=2023-11-14T12:00:00Z"
    found = await served.json("GET", f"rankloop/v1/metrics/actions?{query}")

    assert (found["count"], found["distinct"]) == (3, 4)
    assert [(one["id"], one["events"]) for one in found["actions"]] == [("a", [1, 7, 0]), ("b", [5, 0, 1])]
    assert found["actions"][0]["rewards"] == [0.5, 3.5, 0.0]
    assert found["others"]["events"] == [3, 1, 4]
    assert found["others"]["squares"] == [0.75, 0.25, 1.0]
    daily = await served.json("GET", f"rankloop/v1/metrics/actions?{query}&step=86400")
    assert daily["actions"][1]["events"] == [6]
    assert error(await served("GET", "rankloop/v1/metrics/actions?step=60"))["target"] == "step"


# -- the latest ------------------------------------------------------------------------------------------------------


async def test_the_latest_events_are_told_without_their_features(served: InMemory) -> None:
    served.now = NOON + 0.0
    await served.json("POST", "personalizer/v1.0/rank", {**RANK, "eventId": "e1", "deferActivation": True})
    served.now += 1
    await served.json("POST", "personalizer/v1.0/rank", {**RANK, "eventId": "e2"})
    served.now += 1
    await served("POST", "personalizer/v1.0/events/e2/reward", {"value": 0.5})
    await served("POST", "personalizer/v1.0/events/e1/activate")

    response = await served("GET", "rankloop/v1/events")
    found = orjson.loads(response.get_body())["events"]
    assert sorted((one["kind"], one["eventId"]) for one in found[:2]) == [("activate", "e1"), ("reward", "e2")]
    assert {one["kind"]: one for one in found[:2]}["reward"] == {
        "eventId": "e2", "time": "2023-11-14T12:00:02.000000Z", "kind": "reward", "value": 0.5,
    }  # fmt: skip
    drawn = found[2].pop("action")
    assert drawn in ("a", "b")
    assert found[2] == {
        "eventId": "e2", "time": "2023-11-14T12:00:01.000000Z", "kind": "rank", "propensity": 0.5, "version": None,
        "mode": "Online", "deferred": False, "holdback": False, "joined": False,
    }  # fmt: skip
    assert (found[3]["eventId"], found[3]["deferred"]) == ("e1", True)
    assert b'"x"' not in response.get_body()

    served.now += 10_000
    await served.app.join_due()
    later = (await served.json("GET", "rankloop/v1/events?limit=4"))["events"]
    assert [one["joined"] for one in later if one["kind"] == "rank"] == [True, True]
    assert [one["eventId"] for one in later[2:]] == ["e2", "e1"]
    assert later[2]["action"] == drawn


@pytest.mark.parametrize("limit", ["0", "201", "x", "-1", "1.5", "00000000005"])
async def test_a_limit_is_a_number_in_bounds(served: InMemory, limit: str) -> None:
    found = error(await served("GET", f"rankloop/v1/events?limit={limit}&x=y"))
    assert (found["code"], found["target"]) == ("InvalidRequest", "limit")


async def test_a_loop_joins_into_what_is_told(served: InMemory, monkeypatch: pytest.MonkeyPatch) -> None:
    """From calls to numbers, by the app's own timers."""
    monkeypatch.setattr(series, "MOST_MINUTES", 3)
    served.now = NOON + 0.0
    ids = []
    for _ in range(40):
        event = await served.json("POST", "personalizer/v1.0/rank", RANK)
        await served("POST", f"personalizer/v1.0/events/{event['eventId']}/reward", {"value": 0.5})
        ids.append(event["rewardActionId"])
        served.now += 30
    for _ in range(8):
        served.now += 300
        await served.app.join_due()

    query = "from=2023-11-14T12:00:00Z&step=3600"
    found = await served.json("GET", f"rankloop/v1/metrics?{query}")
    assert served.app.counters["series.folds"] > 0
    assert (found["series"]["events"], found["series"]["rewards"]) == ([40], [20.0])
    assert found["series"]["explorationAsked"] == [20.0]
    assert found["series"]["explored"] == [ids.count("b")]
    assert found["series"]["baselineWeights"] == [2.0 * ids.count("a")]
    actions = await served.json("GET", f"rankloop/v1/metrics/actions?{query}")
    assert {one["id"]: sum(one["events"]) for one in actions["actions"]} == Counter(ids)
    assert metrics.STEPS[0] == 60

"""The queries of docs/queries.md, over the Parquet files of a loop that really ran, against its dsjson lines."""

from __future__ import annotations

import asyncio
import itertools
import math
import random
import re
import statistics
from collections import Counter, defaultdict
from collections.abc import Iterator
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import duckdb
import orjson
import pyarrow.dataset as ds
import pytest

from localhost.azurite import Azurite
from shared.edge import health
from shared.log import checkpoint as checkpoints
from shared.log import joined, parts, schema
from shared.loops.holdback import Holdback
from shared.loops.loops import DEFAULT
from shared.storage.azure import AzureStorage
from tests.integration.test_logs import DAY, HOUR, World

DOCUMENT = (Path(__file__).parents[2] / "docs/queries.md").read_text()
BLOCKS = dict(re.findall(r"```sql ([a-z-]+)\n(.*?)```", DOCUMENT, re.DOTALL))
WAIT = 60.0
UNKNOWN = 7


@dataclass
class Ran:
    """What a loop has left, after the clock has gone on for long enough.

    Attributes:
        lines: its dsjson lines.
        observed: its observation lines.
        health: what it tells of itself.
    """

    lines: list[dict[str, Any]]
    observed: list[dict[str, Any]]
    health: dict[str, Any]

    def reward(self, line: dict[str, Any]) -> float:
        return 0.0 - float(line["_original_label_cost"])


async def run(folder: Path) -> Ran:
    """A loop's evening and night: decisions by several models, rewards in time, late, early, and of nothing."""
    chance = random.Random(5)
    with Azurite() as azurite:
        async with AzureStorage(azurite.connection_string) as storage:
            world = World(azurite, storage)
            await world.configure(rewardWaitTime="PT1M", modelExportFrequency="PT1M", rewardAggregation="sum")
            held_back = Holdback(0.25, world.now)
            await world.app.loops.change(DEFAULT, lambda loop: replace(loop, holdback=held_back))
            world.now = world.now // DAY * DAY + DAY - 0.75 * HOUR
            calls: list[tuple[float, str, float | None]] = []
            for n in range(160):
                ranked = world.now + (n // 40) * HOUR + (n % 40) * 20.0
                calls.append((ranked, f"e{n}", None))
                for _ in range(chance.choice([0, 1, 1, 2])):
                    delay = chance.choice([-30.0, 5.0, 5.0, 20.0, 59.5, 60.0, 90.0])
                    calls.append((ranked + delay, f"e{n}", chance.choice([0.0, 0.5, 1.0, 1.0])))
            calls += [(world.now + chance.uniform(0, 3 * HOUR), f"nothing{n}", 1.0) for n in range(UNKNOWN)]
            loop = await world.app.loops.named(DEFAULT)
            for hour, group in itertools.groupby(sorted(calls), key=lambda call: call[0] // HOUR):
                for at, event_id, reward in group:
                    world.now = at
                    if reward is None:
                        await world.rank(event_id)
                    else:
                        await world.app.observer.observe(loop.id, loop.waits, event_id, "r", None, reward)
                world.now = max(world.now + 300.0, (hour + 1) * HOUR - 400.0)
                await world.timers()
                world.app = world.instance()  # which looks at the model at once
            world.now += 2 * HOUR
            await world.timers()
            for path in await world.blobs.names(f"loops/{loop.id}/parquet/"):
                blob = await world.blobs.get(path)
                assert blob is not None
                target = folder / path.removeprefix(f"loops/{loop.id}/")
                target.parent.mkdir(parents=True, exist_ok=True)
                target.write_bytes(blob.data)
            watermark = (await checkpoints.load(world.blobs, loop.id))[0].watermark
            kept: dict[str, list[dict[str, Any]]] = {joined.DSJSON: [], joined.OBSERVATIONS: []}
            for kind, found in kept.items():
                for window in await joined.windows(world.blobs, loop.id, 0, watermark, kind):
                    found += map(orjson.loads, await joined.read_whole(world.blobs, loop.id, window, kind))
            told = orjson.loads((await health.get_health(world.app, await world.call())).body)
            return Ran(kept[joined.DSJSON], kept[joined.OBSERVATIONS], told)


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("copy")


@pytest.fixture(scope="module")
def ran(place: Path) -> Ran:
    return asyncio.run(run(place))


@pytest.fixture
def db(ran: Ran, place: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[duckdb.DuckDBPyConnection]:
    """DuckDB in the folder of the copy, set up as the document says."""
    monkeypatch.chdir(place)
    with duckdb.connect() as connection:
        connection.execute(BLOCKS["setup"])
        yield connection


def asked(db: duckdb.DuckDBPyConnection, name: str) -> list[dict[str, Any]]:
    found = db.execute(BLOCKS[name])
    columns = [column[0] for column in found.description or ()]
    return [dict(zip(columns, row, strict=True)) for row in found.fetchall()]


def error(values: list[float]) -> float:
    return 1.96 * statistics.stdev(values) / math.sqrt(len(values))


def test_the_document_has_six_queries_and_each_is_tested() -> None:
    assert list(BLOCKS) == ["setup", "reward-by-day", "actions", "calibration", "late", "models", "lift"]


def test_the_run_is_worth_querying(ran: Ran) -> None:
    assert len(ran.lines) == 160
    assert len({line["Timestamp"][:10] for line in ran.lines}) == 2
    assert len({line["VWState"]["m"] for line in ran.lines}) > 2
    assert ran.health["unknownRewards"] == UNKNOWN
    assert ran.health["lateRewards"] > 5
    assert ran.health["hoursThrough"] > ran.health["joinedThrough"], "the last hour is of a silent loop"


def test_reward_by_day(ran: Ran, db: duckdb.DuckDBPyConnection) -> None:
    days = defaultdict(list)
    for line in ran.lines:
        if "holdback" in line:
            continue
        baseline = ran.reward(line) / line["p"][0] if line["_labelIndex"] == 0 else 0.0
        days[line["Timestamp"][:10]].append((ran.reward(line), baseline))

    assert [{**row, "date": str(row["date"])} for row in asked(db, "reward-by-day")] == [
        {
            "date": day,
            "events": len(found),
            "online": pytest.approx(statistics.fmean(reward for reward, _ in found)),
            "online_error": pytest.approx(error([reward for reward, _ in found])),
            "baseline": pytest.approx(statistics.fmean(baseline for _, baseline in found)),
            "baseline_error": pytest.approx(error([baseline for _, baseline in found])),
        }
        for day, found in sorted(days.items())
    ]


def test_actions(ran: Ran, db: duckdb.DuckDBPyConnection) -> None:
    chosen = defaultdict(list)
    for line in ran.lines:
        chosen[f"a{line['_labelIndex']}"].append(line)

    assert asked(db, "actions") == [
        {
            "action_id": name,
            "events": len(lines),
            "share": pytest.approx(len(lines) / 160),
            "reward": pytest.approx(statistics.fmean(map(ran.reward, lines))),
            "rewarded": pytest.approx(sum(bool(line["o"]) for line in lines) / len(lines)),
        }
        for name, lines in sorted(chosen.items(), key=lambda item: (-len(item[1]), item[0]))
    ]


def test_calibration(ran: Ran, db: duckdb.DuckDBPyConnection) -> None:
    expected: Counter[str] = Counter()
    spread: Counter[str] = Counter()
    for line in ran.lines:
        for action, p in zip(line["a"], line["p"], strict=True):
            expected[f"a{action - 1}"] += p
            spread[f"a{action - 1}"] += p * (1 - p)
    drawn = Counter(f"a{line['_labelIndex']}" for line in ran.lines)

    found = asked(db, "calibration")

    assert found == [
        {
            "action_id": name,
            "drawn": drawn[name],
            "expected": pytest.approx(expected[name]),
            "z": pytest.approx((drawn[name] - expected[name]) / spread[name] ** 0.5),
        }
        for name in sorted(expected)
    ]
    assert sum(row["drawn"] for row in found) == 160 == pytest.approx(sum(row["expected"] for row in found))
    assert all(abs(row["z"]) < 4 for row in found)


def test_late(ran: Ran, db: duckdb.DuckDBPyConnection) -> None:
    ranked = {line["EventId"]: datetime.fromisoformat(line["Timestamp"]).timestamp() for line in ran.lines}
    hours = defaultdict(list)
    for line in ran.observed:
        delay = line["t"] - ranked[line["e"]] if line["e"] in ranked else None
        hours[line["t"] // HOUR * HOUR].append(delay)

    found = asked(db, "late")

    assert [row["hour"].replace(tzinfo=UTC).timestamp() for row in found] == sorted(hours)
    for row, (_, delays) in zip(found, sorted(hours.items()), strict=True):
        known = [delay for delay in delays if delay is not None]
        assert row["rewards"] == len(delays)
        assert row["late"] == pytest.approx(sum(delay >= WAIT for delay in known) / len(delays))
        assert row["unknown"] == pytest.approx(1 - len(known) / len(delays))
        assert (row["delay_95"] is None) is (not known)
    in_time = sum(len(line["o"]) for line in ran.lines)
    assert db.execute("SELECT count(*) FROM observations WHERE fate = 'joined'").fetchall() == [(in_time,)]
    assert db.execute("SELECT sum(rewards) FROM events").fetchall() == [(in_time,)]


def test_models(ran: Ran, db: duckdb.DuckDBPyConnection) -> None:
    versions = defaultdict(list)
    for line in ran.lines:
        if "holdback" in line:
            continue
        versions[line["VWState"]["m"]].append(line)

    found = asked(db, "models")

    assert [row["model_version"] for row in found] == list(versions)
    for row, lines in zip(found, versions.values(), strict=True):
        rewards = [ran.reward(line) for line in lines]
        assert datetime.fromisoformat(row["since"]) == datetime.fromisoformat(lines[0]["Timestamp"])
        assert (row["events"], row["reward"]) == (len(lines), pytest.approx(statistics.fmean(rewards)))
        assert row["error"] == pytest.approx(error(rewards))
        assert row["probability"] == pytest.approx(statistics.fmean(line["p"][0] for line in lines))


def test_lift(ran: Ran, db: duckdb.DuckDBPyConnection) -> None:
    days: dict[str, dict[bool, list[float]]] = defaultdict(lambda: {True: [], False: []})
    for line in ran.lines:
        days[line["Timestamp"][:10]]["holdback" in line].append(ran.reward(line))

    found = asked(db, "lift")

    assert [str(row["date"]) for row in found] == sorted(days)
    for row, (_, arms) in zip(found, sorted(days.items()), strict=True):
        held, model = arms[True], arms[False]
        assert (row["held"], row["modelled"]) == (len(held), len(model))
        assert (row["held_reward"], row["model_reward"]) == pytest.approx(tuple(map(statistics.fmean, (held, model))))
        assert row["lift"] == pytest.approx(statistics.fmean(model) - statistics.fmean(held))
        squares = statistics.variance(held) / len(held) + statistics.variance(model) / len(model)
        assert row["lift_error"] == pytest.approx(1.96 * math.sqrt(squares))
    assert sum(row["held"] for row in found) > 20


@pytest.mark.parametrize("table", parts.TABLES)
def test_the_columns_are_those_that_the_document_names(db: duckdb.DuckDBPyConnection, table: str) -> None:
    section = DOCUMENT.split(f"## {table.capitalize()}\n")[1].split("\n## ")[0]
    documented = re.findall(r"^\| `([a-z_]+)` \| `([^`]+)` \|", section, re.MULTILINE)
    partitions = [(name, "INTEGER") for name in ("day", "hour", "month", "year")]

    described = [(name, kind) for name, kind, *_ in db.execute(f"DESCRIBE {table}").fetchall()]

    assert described == documented + partitions


def test_a_folder_is_a_table_to_pyarrow_and_pandas(ran: Ran, db: duckdb.DuckDBPyConnection, place: Path) -> None:
    held = ds.dataset(place / "parquet/events", partitioning="hive")

    assert held.schema.names == [*schema.events().names, "year", "month", "day", "hour"]
    rows = held.to_table(columns=["event_id", "time", "hour"]).to_pylist()
    assert sorted(row["event_id"] for row in rows) == sorted(line["EventId"] for line in ran.lines)
    assert all(row["time"].hour == row["hour"] for row in rows)


def test_each_event_is_in_the_file_of_its_hour(ran: Ran, db: duckdb.DuckDBPyConnection) -> None:
    outside = (
        "SELECT count(*) FROM {} WHERE (year, month, day, hour) != (year(time), month(time), day(time), hour(time))"
    )
    for table in parts.TABLES:
        assert db.execute(outside.format(table)).fetchall() == [(0,)]

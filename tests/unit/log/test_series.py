"""Each window in a day's sums exactly once, whatever is killed in between and whoever joins it."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Sequence

import msgspec
import pytest

from shared.counters import Counters
from shared.log import activity, retention, series
from shared.log import checkpoint as checkpoints
from shared.log.buckets import Waits
from shared.log.checkpoint import Checkpoint
from shared.log.day import DAY, LATE, UNKNOWN, ActionDay, MinuteDay
from shared.log.join import LoopRules
from shared.log.joined import Window
from shared.log.joiner import Joiner
from shared.log.minutes import Part
from shared.log.series import Ahead, Series, completed, passed
from shared.storage import Blob
from shared.storage.memory import MemoryBlobs, MemoryTables
from tests.journalled import LOOP, T0, Gate, Obs, Rank, Record, WatchedBlobs, WatchedTables, journal

WAITS = Waits(((0, 5.0),))
RULES = LoopRules(LOOP, WAITS, 0.0, "sum", (-1.0, 1.0))
MIDNIGHT = T0 // DAY * DAY + DAY
LATER = 1_000_000.0


class Stored:
    """A loop's storage, and runs of its join that end after a few windows."""

    def __init__(self, gate: Gate | None = None) -> None:
        self.tables, self.blobs, self.counters = MemoryTables(), MemoryBlobs(), Counters()
        self.gate = gate
        self.calls = 0
        self.paths: list[str] = []

    async def _pass(self, name: str, done: bool) -> None:
        self.calls += not done
        if not done:
            self.paths.append(name)
        if self.gate is not None:
            await self.gate(name, done)

    def joiner(self) -> Joiner:
        return Joiner(WatchedTables(self.tables, self._pass), WatchedBlobs(self.blobs, self._pass), self.counters)

    async def write(self, records: Sequence[Record]) -> None:
        await journal(self.tables, records, WAITS, [0])

    async def run(self, now: float = T0 + LATER) -> int:
        return await self.joiner().run(RULES, (await activity.noted(self.tables)).get(LOOP, []), now)

    async def read(self, starts: Sequence[int]) -> tuple[list[MinuteDay], list[ActionDay]]:
        """The days as a reader has them."""
        checkpoint, _ = await checkpoints.load(self.blobs, LOOP)
        read, ahead, cleared = Series(self.blobs, self.counters).read, checkpoint.ahead, checkpoint.cleared
        minutes = [completed(day, ahead, cleared) for day in await read(MinuteDay, LOOP, starts)]
        return minutes, [completed(day, ahead, cleared) for day in await read(ActionDay, LOOP, starts)]

    async def told(self) -> list[float]:
        """What was counted: events and rewards of each minute around midnight, and those of actions."""
        minutes, actions = await self.read([MIDNIGHT - DAY, MIDNIGHT])
        found = [float(n) for day in minutes for name in ("events", "rewards") for n in day.column(name)]
        earned = [of for day in actions for _, by_id in sorted(day.hours.items()) for of in sorted(by_id.items())]
        return found + [float(n) for _, numbers in earned for n in numbers]


def traffic(seed: int = 1) -> list[Record]:
    """Events of ten minutes around midnight."""
    chance = random.Random(seed)
    ranks = [
        Rank(f"e{n}", MIDNIGHT - 300 + 6 * n + chance.random(), chosen=chance.randrange(3), best=0.5)
        for n in range(100)
    ]
    return [*ranks, *(Obs(rank.id, rank.t + 1, chance.choice([0.25, 0.5, 1.0])) for rank in ranks)]


@pytest.fixture
def often(monkeypatch: pytest.MonkeyPatch) -> None:
    """Windows of 20 events, folded as soon as there are two minutes."""
    monkeypatch.setattr("shared.log.joiner.MAX_EVENTS", 20)
    monkeypatch.setattr(series, "MOST_MINUTES", 2)


async def whole(records: Sequence[Record]) -> list[float]:
    """What the events come to if nothing goes wrong."""
    stored = Stored()
    await stored.write(records)
    await stored.run()
    told = await stored.told()
    assert sum(told[: DAY // 60]) == 50
    return told


async def test_every_event_counts_once_in_blobs_and_ahead_of_them(often: None) -> None:
    stored = Stored()
    await stored.write(traffic())
    assert await stored.run() > 4

    minutes, _ = await stored.read([MIDNIGHT - DAY, MIDNIGHT])
    events = [day.column("events") for day in minutes]
    assert [column.sum() for column in events] == [50, 50]
    assert sorted({*events[0], *events[1]}) == [0, 10]  # of ten minutes
    assert stored.counters["series.folds"] > 2
    folded = [path for path in stored.paths if path.startswith("put") and path.endswith(".minutes")]
    assert {path[-16:] for path in folded} == {"20231114.minutes", "20231115.minutes"}


@pytest.mark.parametrize("done", [False, True])
async def test_a_run_may_be_killed_at_every_call(often: None, done: bool) -> None:
    records = traffic()
    expected = await whole(records)
    kills = 0
    for point in range(10_000):
        stored = Stored()
        await stored.write(records)
        seen = 0

        async def gate(name: str, was_done: bool, point: int = point) -> None:
            nonlocal seen
            if was_done is done and ("series" in name or "join.json" in name):
                seen += 1
                if seen == point + 1:
                    raise OSError("killed")

        stored.gate = gate
        try:
            await stored.run()
        except OSError:
            kills += 1
            stored.gate = None
            await stored.run()
        else:
            break
        assert await stored.told() == pytest.approx(expected), point
    assert kills > 20


async def test_rivals_count_each_window_once(often: None) -> None:
    records = traffic()
    expected = await whole(records)
    for seed in range(10):
        chance = random.Random(seed)

        async def gate(name: str, done: bool, chance: random.Random = chance) -> None:
            for _ in range(chance.randrange(4)):
                await asyncio.sleep(0)

        stored = Stored(gate)
        await stored.write(records)
        await asyncio.gather(stored.run(), stored.run(), stored.run())

        assert await stored.told() == pytest.approx(expected)
    assert stored.counters["join.rivals"] > 0


async def test_a_run_that_comes_to_fold_what_others_have_folded_long_ago_changes_nothing(often: None) -> None:
    stored = Stored()
    await stored.write(traffic())
    held: list[Checkpoint] = []

    async def gate(name: str, done: bool) -> None:
        checkpoint, _ = await checkpoints.load(stored.blobs, LOOP)
        if checkpoint.ahead and checkpoint.ahead.frozen and checkpoint not in held:
            held.append(checkpoint)

    stored.gate = gate
    await stored.run()
    told = await stored.told()

    assert len(held) > 2
    for checkpoint in held[:-1]:
        await Series(stored.blobs, stored.counters).fold(LOOP, checkpoint.ahead, 0)
    assert await stored.told() == told


async def test_an_idle_loop_costs_nothing_and_a_busy_one_two_blobs_an_hour() -> None:
    stored = Stored()
    morning = T0 - 12 * 3600  # far from midnight
    await stored.write([Rank(f"e{n}", morning + 30 * n, best=0.5) for n in range(3 * 120)])
    for minute in range(0, 3 * 60 + 2):
        await stored.run(morning + 60 * minute + 50)

    folds = [path for path in stored.paths if ".minutes" in path or ".actions" in path]
    assert stored.counters["series.folds"] == 3
    assert len(folds) == 3 * 2 * 2  # each a read and a write of both blobs
    assert stored.counters["join.windows"] > 150


async def test_a_reader_that_sees_the_checkpoint_before_a_fold_and_the_blobs_after_it_counts_once(often: None) -> None:
    stored = Stored()
    await stored.write(traffic())
    told = []

    async def gate(name: str, done: bool) -> None:
        if name.startswith("put") and done and name.endswith((".minutes", ".actions", "join.json")):
            told.append(await counted(before))
            before.append((await checkpoints.load(stored.blobs, LOOP))[0])

    async def counted(states: list[Checkpoint]) -> bool:
        """Whether each state that a reader may have seen, with the blobs of now, has no event twice."""
        days = await Series(stored.blobs, stored.counters).read(MinuteDay, LOOP, [MIDNIGHT - DAY, MIDNIGHT])
        state = states[-1]
        found = sum(completed(day, state.ahead, 0).column("events").sum() for day in days)
        return bool(found in {state.events, (await checkpoints.load(stored.blobs, LOOP))[0].events})

    before = [Checkpoint()]
    stored.gate = gate
    await stored.run()

    assert len(told) > 10
    assert all(told)


async def test_deleting_the_log_clears_the_series_for_good(often: None) -> None:
    stored = Stored()
    await stored.write(traffic())
    await stored.run(MIDNIGHT + 200)
    late = (await checkpoints.load(stored.blobs, LOOP))[0].ahead
    assert sum(await stored.told()) > 0

    since = await retention.clear(stored.blobs, LOOP, MIDNIGHT + 215)
    assert sum(await stored.told()) == 0
    assert await stored.blobs.names(f"loops/{LOOP}/series/") == []
    assert late is not None
    for part in late.parts:  # by a run that was late
        await Series(stored.blobs, stored.counters).fold(LOOP, Ahead(part), 0)
    assert sum(await stored.told()) == 0
    await stored.run()

    minutes, actions = await stored.read([MIDNIGHT - DAY, MIDNIGHT])
    left = sum(isinstance(record, Rank) and record.t >= since for record in traffic())
    assert sum(day.column("events").sum() for day in minutes) == left > 0
    assert sum(earned[0] for day in actions for of in day.hours.values() for earned in of.values()) == left


async def test_days_go_when_they_are_old_or_deleted() -> None:
    blobs, counters = MemoryBlobs(), Counters()
    held = Series(blobs, counters)
    part = Part(T0, [T0], {"events": [1.0]}, {T0 // 3600 * 3600: {"a": (1, 1.0, 1.0)}})
    later = Part(T0 + DAY, [T0 + DAY], {"events": [1.0]})
    await held.fold(LOOP, Ahead(part), 0)
    await held.fold(LOOP, Ahead(later), 0)
    assert len(await blobs.names(f"loops/{LOOP}/series/")) == 4
    await blobs.put(f"loops/{LOOP}/series/of-a-later-release", b"")

    assert await series.expire(blobs, LOOP, MIDNIGHT - 1) == 0
    assert await series.expire(blobs, LOOP, MIDNIGHT) == 2
    assert len(await blobs.names(f"loops/{LOOP}/series/")) == 3
    await retention.expire(MemoryTables(), blobs, LOOP, -1, False, MIDNIGHT + 401 * DAY)
    assert await blobs.names(f"loops/{LOOP}/series/") == [f"loops/{LOOP}/series/of-a-later-release"]


@pytest.mark.parametrize("kind", [MinuteDay, ActionDay])
async def test_a_damaged_day_begins_anew(kind: type[MinuteDay | ActionDay], caplog: pytest.LogCaptureFixture) -> None:
    blobs, counters = MemoryBlobs(), Counters()
    await blobs.put(series.path(LOOP, MIDNIGHT - DAY, kind), b"damaged")
    part = Part(T0 + 60, [T0], {"events": [2.0]}, {T0 // 3600 * 3600: {"a": (2, 1.0, 1.0)}})

    await Series(blobs, counters).fold(LOOP, Ahead(part), 0)

    assert counters["series.damaged"] == 1
    assert "begins anew" in caplog.text
    (day,) = await Series(blobs, counters).read(MinuteDay, LOOP, [MIDNIGHT - DAY])
    (actions,) = await Series(blobs, counters).read(ActionDay, LOOP, [MIDNIGHT - DAY])
    assert day.column("events").sum() == 2
    assert actions.hours == part.actions


async def test_late_rewards_of_a_part_of_an_hour_count_once() -> None:
    blobs, counters = MemoryBlobs(), Counters()
    held = Series(blobs, counters)
    await held.count_rewards(LOOP, Window(T0, T0 + 60), 0, 0)
    assert await blobs.names("") == []

    for span, late in ((Window(T0, T0 + 60), 3), (Window(T0, T0 + 60, 1), 3), (Window(T0 + 60, T0 + 90), 4)):
        await held.count_rewards(LOOP, span, late, 1)

    (day,) = await held.read(MinuteDay, LOOP, [MIDNIGHT - DAY])
    at = (T0 - day.start) // 60
    assert (day.column(LATE)[at], day.column(LATE)[at + 1]) == (3, 4)
    assert day.column(UNKNOWN).sum() == 2


def test_a_window_without_events_adds_nothing_and_very_many_actions_are_folded() -> None:
    empty = Part(T0 + 5)
    full = Part(T0 + 5, [T0], {"events": [1.0]}, {T0: {f"a{n}": (1, 1.0, 1.0) for n in range(1000)}})

    assert passed(None, empty) is None
    assert passed(Ahead(frozen=full), empty) is None
    assert passed(Ahead(tail=full), Part(T0 + 10)) == Ahead(frozen=full)
    assert passed(None, Part(T0 + 5, [T0], {"events": [1.0]})) == Ahead(tail=Part(T0 + 5, [T0], {"events": [1.0]}))


async def test_a_checkpoint_with_sums_comes_back_and_one_without_is_read() -> None:
    blobs = MemoryBlobs()
    part = Part(T0, [T0], {"events": [1.0]}, {T0: {"a": (1, 0.5, 0.25)}})
    etag = await checkpoints.save(blobs, LOOP, Checkpoint(ahead=Ahead(part, part), cleared=7), None)

    held, _ = await checkpoints.load(blobs, LOOP)
    assert held.ahead == Ahead(part, part)
    assert held.cleared == 7
    await blobs.put(checkpoints.path(LOOP), msgspec.json.encode({"watermark": 5, "format": 1}), etag)
    assert (await checkpoints.load(blobs, LOOP))[0].ahead is None


async def test_a_day_that_another_run_changes_meanwhile_is_changed_again() -> None:
    class Interrupted(MemoryBlobs):
        async def get(self, path: str) -> Blob | None:
            blob = await super().get(path)
            if not interrupted:
                interrupted.append(path)
                await Series(self, Counters()).count_rewards(LOOP, Window(T0, T0 + 60), 1, 0)
            return blob

    interrupted: list[str] = []
    blobs = Interrupted()
    await Series(blobs, Counters()).fold(LOOP, Ahead(Part(T0, [T0], {"events": [1.0]})), 0)

    (day,) = await Series(blobs, Counters()).read(MinuteDay, LOOP, [MIDNIGHT - DAY])
    assert (day.column("events").sum(), day.column(LATE).sum()) == (1, 1)

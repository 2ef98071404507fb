"""What the train timer does besides training: retention, mirrors, and what deleted loops leave behind."""

from __future__ import annotations

import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace

import orjson
import pytest

from shared.app import App
from shared.config import Config
from shared.log import activity, joined, merged, parts
from shared.log import checkpoint as checkpoints
from shared.log.checkpoint import Checkpoint
from shared.log.joined import Window
from shared.loops.loops import DEFAULT
from shared.loops.settings import Loop
from shared.storage import Row, Unavailable
from shared.storage.memory import MemoryBlobs, MemoryContainer, MemoryContainers, MemoryTables

DAY = 86_400
HOUR = 3600.0
T0 = 1_700_000_040
BODY = orjson.dumps({"actions": [{"id": f"a{n}", "features": [{"x": n}]} for n in range(3)]})
URI = "https://account.blob.core.windows.net/container?sp=rwdl&sig=c2VjcmV0"


class Tables(MemoryTables):
    """Tables that tell what is asked of them."""

    def __init__(self, world: World) -> None:
        super().__init__(lambda: world.now)
        self.puts: list[str] = []

    async def put(self, table: str, row: Row) -> float:
        self.puts.append(table)
        return await super().put(table, row)


class World:
    """One storage account, whose time is moved by hand, and instances of the app on it."""

    def __init__(self) -> None:
        self.now = float(T0)
        self.tables, self.blobs, self.containers = Tables(self), MemoryBlobs(), MemoryContainers()
        self.mirrors_fail = False

    @asynccontextmanager
    async def open(self, url: str) -> AsyncIterator[MemoryContainer]:
        if self.mirrors_fail:
            raise Unavailable("its storage does not answer")
        async with self.containers.open(url) as container:
            yield container

    def instance(self) -> App:
        app = App(Config("", "k", log_deadline=5.0), self.tables, self.blobs, open_container=self.open)
        app.clock.local = lambda: self.now
        return app

    async def rank(self, app: App, name: str = DEFAULT) -> None:
        assert (await app.ranker.rank(await app.loops.named(name), BODY)).durable

    async def hold(self, loop_id: str, *days: int) -> None:
        """Put windows into a loop's log, so many days ago."""
        for day in days:
            start = int(self.now) // 60 * 60 - day * DAY
            await joined.write(self.blobs, loop_id, Window(start, start + 60), "dsjson", [b"{}"])
        _, etag = await checkpoints.load(self.blobs, loop_id)
        await checkpoints.save(self.blobs, loop_id, Checkpoint(watermark=int(self.now) // 60 * 60 + 60), etag)

    async def kept(self, loop_id: str) -> list[int]:
        """How many days ago the windows are from that are left."""
        paths = await self.blobs.names(joined.log_path(loop_id))
        return [round(self.now - int(path.rpartition("/")[2][:10])) // DAY for path in paths][::-1]

    async def begin(self, app: App) -> None:
        """Let something be joined, from which the sweeps count."""
        await activity.note_joined(self.tables, (await app.loops.named(DEFAULT)).id)
        await app.train_due()


@pytest.fixture
def world() -> World:
    return World()


async def test_a_deployment_without_an_event_is_not_swept(world: World) -> None:
    app = world.instance()
    await app.train_due()
    assert await world.blobs.names("") == []
    assert world.tables.puts == []


async def test_every_loop_keeps_what_its_retention_says(world: World) -> None:
    app = world.instance()
    other, _ = await app.loops.create("other")
    own = await app.loops.change(
        DEFAULT, lambda loop: replace(loop, configuration=replace(loop.configuration, log_retention_days=7))
    )
    for loop_id in (own.id, other.id):
        await world.hold(loop_id, 0, 1, 6, 9, 89, 91, 200)

    await world.begin(app)

    assert await world.kept(own.id) == [0, 1, 6]
    assert await world.kept(other.id) == [0, 1, 6, 9, 89]
    assert app.counters["log.expired"] == 4 + 2
    assert app.counters["sweep.failed"] == 0


async def test_the_deployment_is_swept_once_an_hour_by_one_of_its_instances(world: World) -> None:
    app, other = world.instance(), world.instance()
    loop = await app.loops.named(DEFAULT)
    await world.begin(app)
    await world.hold(loop.id, 91)

    for _ in range(5):
        world.now += HOUR / 6
        await app.train_due()
        await other.train_due()
    assert await world.kept(loop.id) == [91]

    world.now += HOUR / 6
    await other.train_due()
    await app.train_due()
    assert await world.kept(loop.id) == []
    assert (app.counters["log.expired"], other.counters["log.expired"]) == (0, 1)


async def test_a_sweep_that_takes_long_goes_on_with_the_next_loop_a_minute_later(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    app = world.instance()
    ids = [(await app.loops.named(DEFAULT)).id, *[(await app.loops.create(name))[0].id for name in ("a", "b")]]
    for loop_id in ids:
        await world.hold(loop_id, 0, 200)
    monkeypatch.setattr("shared.sweep._LASTS", -1.0)

    async def swept() -> int:
        return sum([await world.kept(loop_id) == [0] for loop_id in ids])

    await world.begin(app)
    counts = [await swept()]
    for _ in range(2):
        world.now += 61
        await app.train_due()
        counts.append(await swept())

    assert counts == [1, 2, 3]


async def test_a_clock_that_runs_ahead_expires_nothing(world: World) -> None:
    app = world.instance()
    loop = await app.loops.named(DEFAULT)
    await world.begin(app)
    await world.hold(loop.id, 2)
    app.clock.local = lambda: world.now + 1000 * DAY

    world.now += HOUR
    await app.train_due()

    assert await world.kept(loop.id) == [2]


async def test_one_loop_that_fails_does_not_hold_up_the_others(
    world: World, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    app = world.instance()
    made = [(await app.loops.create(name))[0].id for name in ("a", "b", "c")]
    for loop_id in made:
        await world.hold(loop_id, 0, 91)
    by_id = app.loops.by_id

    async def faulty(loop_id: str) -> Loop:
        if loop_id == made[1]:
            raise ValueError("a fault of ours")
        return await by_id(loop_id)

    monkeypatch.setattr(app.loops, "by_id", faulty)
    await world.begin(app)

    assert [await world.kept(loop_id) for loop_id in made] == [[0], [0, 91], [0]]
    assert app.counters["sweep.failed"] == 1
    assert made[1] in caplog.text

    monkeypatch.undo()
    world.now += HOUR
    await app.train_due()
    assert await world.kept(made[1]) == [0]


# -- mirrors ---------------------------------------------------------------------------------------------------------


async def mirrored(app: App) -> Loop:
    def enable(held: Loop) -> Loop:
        mirror = replace(held.configuration, log_mirror_enabled=True, log_mirror_sas_uri=URI)
        return replace(held, configuration=mirror)

    loop = await app.loops.change(DEFAULT, enable)
    await app.mirror.begin(loop.id)
    return loop


async def test_what_is_joined_is_mirrored_by_the_same_run_that_trains(world: World) -> None:
    app = world.instance()
    loop = await mirrored(app)
    await world.rank(app)
    world.now += HOUR
    assert (await app.join_due(), await app.train_due()) == (1, 1)

    ((name, text),) = world.containers.by_url[URI].blobs.items()
    assert name == f"20231114221400/data/2023/11/14_{T0:010d}.json"
    assert orjson.loads(text)["_label_Action"]
    assert app.counters["mirror.windows"] == 1
    assert loop.created == T0


async def test_a_mirror_that_fails_holds_up_nothing_and_is_made_up_for_by_the_sweep(
    world: World, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    app = world.instance()
    await mirrored(app)
    await world.rank(app)
    world.mirrors_fail = True
    world.now += HOUR
    assert (await app.join_due(), await app.train_due()) == (1, 1)
    assert app.counters["mirror.failed"] == 2, "by the train run, and by its sweep"
    assert (app.counters["train.versions"], app.counters["train.failed"], app.counters["sweep.failed"]) == (1, 0, 0)
    assert "c2VjcmV0" not in caplog.text

    world.mirrors_fail = False
    world.now += HOUR
    assert await app.train_due() == 0
    assert app.counters["mirror.windows"] == 1


async def test_a_training_that_fails_does_not_hold_up_the_mirror(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    app = world.instance()
    await mirrored(app)
    await world.rank(app)
    world.now += HOUR
    await app.join_due()

    async def fails(*_: object) -> None:
        raise Unavailable("down")

    monkeypatch.setattr(app.trainer, "run", fails)
    await app.train_due()

    assert (app.counters["train.failed"], app.counters["mirror.windows"]) == (1, 1)


# -- deleted loops ---------------------------------------------------------------------------------------------------


async def everything(world: World, loop_id: str) -> list[str]:
    """The names of all tables, blobs and notes of a loop."""
    found = [table for table in await world.tables.names("") if loop_id in table]
    found += [path for path in await world.blobs.names("") if loop_id in path]
    found += ["noted"] * (loop_id in await activity.noted(world.tables))
    return found + [note.loop_id for note in await activity.untrained(world.tables) if note.loop_id == loop_id]


async def test_a_deleted_loop_is_left_alone_for_a_minute_and_then_erased(world: World) -> None:
    app = world.instance()
    await world.begin(app)
    loop, _ = await app.loops.create("gone")
    await world.rank(app, "gone")
    await world.rank(app)
    world.now += HOUR
    await app.join_due()
    await app.train_due()
    await world.rank(app, "gone")
    await world.rank(app)
    own = (await app.loops.named(DEFAULT)).id
    before = await everything(world, own)
    assert len(await everything(world, loop.id)) >= 7
    await app.loops.delete("gone")

    world.now += 59
    await app.train_due()
    assert len(await everything(world, loop.id)) >= 7

    world.now += 2
    await app.train_due()
    assert await everything(world, loop.id) == []
    assert await everything(world, own) == before


async def test_what_a_late_instance_writes_for_a_deleted_loop_goes_too(world: World) -> None:
    app, late = world.instance(), world.instance()
    await world.begin(app)
    loop, _ = await app.loops.create("gone")
    stale = await late.loops.named("gone")
    await app.loops.delete("gone")
    world.now += 61
    await app.train_due()
    assert (await late.ranker.rank(stale, BODY)).durable
    assert await everything(world, loop.id) != []

    for _ in range(3):
        world.now += 450
        await app.train_due()

    assert await everything(world, loop.id) == []
    assert await world.instance().loops.deleted() == {}
    assert app.counters["loops.swept"] == 1


async def test_timers_say_nothing_of_a_deleted_loop(world: World, caplog: pytest.LogCaptureFixture) -> None:
    app = world.instance()
    await world.begin(app)
    loop, _ = await app.loops.create("gone")
    await world.rank(app, "gone")
    await activity.note_joined(world.tables, loop.id)
    await app.loops.delete("gone")
    await world.blobs.delete(f"loops/{loop.id}/settings.json")
    caplog.clear()
    world.now += HOUR

    assert (await app.join_due(), await app.train_due()) == (0, 0)

    assert [record for record in caplog.records if record.levelno >= logging.ERROR] == []
    assert app.counters["join.failed"] + app.counters["train.failed"] == 0


async def test_only_the_deployments_own_sweep_is_measured_as_a_whole_run(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def fails(*_: object) -> None:
        raise Unavailable("down")

    app = world.instance()
    await world.hold((await app.loops.named(DEFAULT)).id, 0, 91)
    await app.loops.create("gone")
    await app.loops.delete("gone")
    world.now += 61
    kinds: list[str] = []
    app.counters.listen(lambda name, value, kind: kinds.append(kind) if name == "task.duration" else None)
    monkeypatch.setattr("shared.learning.thinning.thin", fails)
    await world.begin(app)

    assert [kinds.count(kind) for kind in ("sweep_run", "sweep", "thin", "thin_run")] == [1, 2, 1, 0]
    assert (app.counters["thin.failed"], app.counters["sweep.failed"]) == (1, 0)


async def test_an_erasure_that_fails_is_repeated(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    app = world.instance()
    await world.begin(app)
    gone = []
    for name in ("a", "b"):
        gone.append((await app.loops.create(name))[0].id)
        await world.rank(app, name)
        await app.loops.delete(name)
    drop = world.tables.drop

    async def fails(table: str) -> None:
        if gone[0] in table:
            raise Unavailable("down")
        await drop(table)

    monkeypatch.setattr(world.tables, "drop", fails)
    world.now += 61
    await app.train_due()
    assert app.counters["sweep.failed"] == 1
    assert [bool(await everything(world, loop_id)) for loop_id in gone] == [True, False]

    monkeypatch.undo()
    await app.train_due()
    assert [await everything(world, loop_id) for loop_id in gone] == [[], []]


# -- hours ---------------------------------------------------------------------------------------------------------


async def hours_of(world: World, loop_id: str) -> list[str]:
    return await world.blobs.names(parts.folder(loop_id, parts.EVENTS))


async def test_a_busy_loops_hour_is_written_by_the_run_that_trains_it(world: World) -> None:
    app = world.instance()
    await world.begin(app)
    loop = await app.loops.named(DEFAULT)
    await activity.put_off_sweep(world.tables, world.now + DAY)
    for _ in range(20):
        await world.rank(app)
        world.now += 300
        await app.join_due()
        await app.train_due()

    assert len(await hours_of(world, loop.id)) == 1
    assert app.counters["hours.parts"] == 1


async def test_a_silent_loops_hour_is_written_by_a_sweep_and_once(world: World) -> None:
    app = world.instance()
    await world.begin(app)
    loop = await app.loops.named(DEFAULT)
    await world.rank(app)
    world.now += 1000
    await app.join_due()
    await app.train_due()
    assert await hours_of(world, loop.id) == []

    for _ in range(3):
        world.now += HOUR
        await app.train_due()

    assert len(await hours_of(world, loop.id)) == 1
    assert app.counters["hours.parts"] == 1
    assert app.counters["hours.failed"] + app.counters["sweep.failed"] == 0


async def test_an_hour_that_cannot_be_written_holds_up_no_other_loop(world: World) -> None:
    app = world.instance()
    await world.begin(app)
    broken, (fine, _) = await app.loops.named(DEFAULT), await app.loops.create("fine")
    start = int(world.now) // 60 * 60 - 2 * DAY
    for loop_id in (broken.id, fine.id):
        await world.hold(loop_id, 2)
    await world.blobs.delete(path := joined.window_path(broken.id, Window(start, start + 60), "dsjson"))
    await world.blobs.put(path, b"no log")

    world.now += HOUR
    await app.train_due()

    assert app.counters["hours.failed"] == 1
    assert await hours_of(world, broken.id) == []
    assert app.counters["hours.parts"] == 1


async def test_hours_and_tables_go_with_their_days(world: World) -> None:
    app = world.instance()
    loop = await app.loops.named(DEFAULT)
    start = int(world.now) // DAY * DAY
    for ago in (0, 89, 91, 200):
        day = start - ago * DAY
        for table in parts.TABLES:
            await world.blobs.put(parts.file_path(loop.id, table, Window(day, day + 3600, ago)), b"")
        await world.blobs.put(merged.path(loop.id, Window(day, day + 3600)), b"")
        await world.blobs.put(merged.path(loop.id, Window(day, day + DAY, 7)), b"")
    await world.hold(loop.id)

    await world.begin(app)

    days = {start - ago * DAY for ago in (0, 89)}
    for table in parts.TABLES:
        names = await world.blobs.names(parts.folder(loop.id, table))
        assert {parsed[0].start for name in names if (parsed := joined.parse(name))} == days
    assert {span.start for span in await merged.stored(world.blobs, loop.id)} == days
    assert app.counters["log.expired"] == 6, "the tables of parts had gone when their day was merged"


@pytest.mark.parametrize(
    ("hours_into_the_day", "days_of_silence", "swept"),
    [(12, 3, False), (2.1, 3, False), (1.9, 3, True), (0.1, 3, True), (12, 1, True), (12, 0, True)],
)
async def test_a_silent_loop_is_swept_when_a_day_begins_and_else_left_alone(
    world: World, hours_into_the_day: float, days_of_silence: int, swept: bool
) -> None:
    world.now = T0 // DAY * DAY + hours_into_the_day * HOUR
    app = world.instance()
    loop = await app.loops.named(DEFAULT)
    await world.hold(loop.id, 0, 91)
    held, etag = await checkpoints.load(world.blobs, loop.id)
    held.watermark -= days_of_silence * DAY
    await checkpoints.save(world.blobs, loop.id, held, etag)

    await app.sweep.run(0.0, {})

    assert await world.kept(loop.id) == ([0] if swept else [0, 91])


async def test_a_silent_loop_with_pending_events_or_a_mirror_is_looked_after(world: World) -> None:
    world.now = T0 // DAY * DAY + 12 * HOUR
    app = world.instance()
    loop = await app.loops.change(
        DEFAULT,
        lambda loop: replace(
            loop, configuration=replace(loop.configuration, log_mirror_enabled=True, log_mirror_sas_uri=URI)
        ),
    )
    await world.hold(loop.id, 0, 91)
    world.now += 3 * DAY

    await app.sweep.run(0.0, {})

    assert await world.kept(loop.id) == [3, 94]
    assert await world.blobs.get(f"loops/{loop.id}/mirror.json") is not None
    await world.rank(app)
    await app.sweep.run(0.0, {})
    assert await world.kept(loop.id) == [3]

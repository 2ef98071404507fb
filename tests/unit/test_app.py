"""The parts put together, over storage in memory and a clock that is moved by hand."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Iterator
from dataclasses import replace

import orjson
import pytest

import shared.storage.azure
from shared import app as running
from shared.app import App
from shared.config import Config, ConfigError
from shared.learning import registry
from shared.log import activity
from shared.log import checkpoint as checkpoints
from shared.log.buckets import Waits
from shared.loops.loops import DEFAULT, Loop
from shared.storage import Row, Unavailable
from shared.storage.memory import MemoryBlobs, MemoryTables

T0 = 1_700_000_040.0
BODY = {"actions": [{"id": f"a{n}", "features": [{"x": f"v{n}"}]} for n in range(3)]}


class World:
    """One storage account, whose time is moved by hand, and instances of the app on it."""

    def __init__(self) -> None:
        self.now = T0
        self.tables = MemoryTables(lambda: self.now)
        self.blobs = MemoryBlobs()

    def instance(self) -> App:
        app = App(Config("", "k", log_deadline=5.0), self.tables, self.blobs)
        app.clock.local = lambda: self.now
        return app

    async def rank(self, app: App, event_id: str) -> dict[str, object]:
        loop = await app.loops.named(DEFAULT)
        answer = await app.ranker.rank(loop, orjson.dumps({**BODY, "eventId": event_id}))
        assert answer.durable
        found: dict[str, object] = orjson.loads(answer.body)
        return found

    async def reward(self, app: App, event_id: str) -> None:
        loop = await app.loops.named(DEFAULT)
        await app.observer.observe(loop.id, loop.waits, event_id, "r", 1.0, None)


@pytest.fixture
def world() -> World:
    return World()


async def test_with_nothing_due_the_timers_do_nothing(world: World) -> None:
    app = world.instance()

    assert (await app.join_due(), await app.train_due()) == (0, 0)
    assert await world.blobs.names("") == []
    assert app.counters.snapshot() == {}


async def test_an_event_becomes_a_model_that_serves(world: World) -> None:
    app = world.instance()
    for n in range(3):
        await world.rank(app, f"e{n}")
    await world.reward(app, "e1")
    loop = await app.loops.named(DEFAULT)

    assert await app.join_due() == 0  # the wait is not over
    world.now += 3600
    assert await app.join_due() == 1
    assert await app.train_due() == 1

    version, _ = await registry.current(world.blobs, loop.id)
    checkpoint, _ = await checkpoints.load(app.blobs, loop.id)
    assert version
    assert (version.events, checkpoint.events, checkpoint.rewarded) == (3, 3, 1)
    assert version.created == world.now
    assert (await app.join_due(), await app.train_due()) == (0, 0)
    other = world.instance()
    ranking = (await world.rank(other, "e9"))["ranking"]
    assert isinstance(ranking, list)
    assert max(entry["probability"] for entry in ranking) == pytest.approx(0.8666667)


async def test_a_model_is_not_exported_more_often_than_the_loop_says(world: World) -> None:
    app = world.instance()
    loop = await app.loops.configure(DEFAULT, lambda held: replace(held, model_export_frequency=3600.0))

    async def events_in_model() -> int:
        version, _ = await registry.current(world.blobs, loop.id)
        return version.events if version else 0

    await world.rank(app, "e1")
    world.now += 3600  # 14 minutes into an hour
    assert (await app.join_due(), await app.train_due(), await events_in_model()) == (1, 1, 1)
    await world.rank(app, "e2")
    world.now += 1000
    assert (await app.join_due(), await app.train_due(), await events_in_model()) == (1, 1, 1)
    assert await app.train_due() == 0  # put off
    (note,) = await activity.untrained(world.tables)
    assert 0 < note.after - world.now <= 60  # and not for long: the settings may ask for an earlier model by then
    world.now += 2000
    assert (await app.train_due(), await events_in_model()) == (1, 2)


async def test_a_loop_that_fails_does_not_hold_up_the_others(
    world: World, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    app = world.instance()
    await world.rank(app, "e1")
    gone, broken = "0" * 32, "1" * 32
    by_id = app.loops.by_id

    async def faulty(loop_id: str) -> Loop:
        if loop_id == broken:
            raise ValueError("a fault of ours")
        return await by_id(loop_id)

    monkeypatch.setattr(app.loops, "by_id", faulty)
    waits = Waits(((0, 600.0),))
    for loop_id in (gone, broken):
        await activity.note_rows(world.tables, activity.span_of(loop_id, 0, int(T0), waits))
        await activity.note_joined(world.tables, loop_id)
    world.now += 3600

    assert await app.join_due() == 1
    assert await app.train_due() == 3

    loop = await app.loops.named(DEFAULT)
    assert (await registry.current(world.blobs, loop.id))[0] is not None
    assert (app.counters["join.failed"], app.counters["train.failed"]) == (2, 2)
    failures = [record for record in caplog.records if record.levelno == logging.ERROR]
    assert {record.getMessage().split()[1] for record in failures} == {"join", "train"}
    # Storage's own words are enough; anything else is a fault, told with its place.
    assert {bool(record.exc_info) for record in failures if gone in record.getMessage()} == {False}
    assert {bool(record.exc_info) for record in failures if broken in record.getMessage()} == {True}


class Gate(MemoryTables):
    """Tables that take rows once they are opened."""

    def __init__(self) -> None:
        super().__init__()
        self.open = asyncio.Event()

    async def put(self, table: str, row: Row) -> float:
        if table != "clock" and not self.open.is_set():
            raise Unavailable("down")
        return await super().put(table, row)


async def test_draining_waits_for_the_log_and_then_ends_the_connections() -> None:
    gate, closed = Gate(), []

    async def close() -> None:
        closed.append(app.counters["journal.lines"])

    app = App(Config("", "k", log_deadline=0.01), gate, MemoryBlobs(), close)
    loop = await app.loops.named(DEFAULT)
    assert not (await app.ranker.rank(loop, orjson.dumps(BODY))).durable
    draining = asyncio.ensure_future(app.drain())
    await asyncio.sleep(0)
    assert closed == []

    gate.open.set()
    await draining

    assert closed == [1]


async def test_an_app_without_connections_of_its_own_drains_too(world: World) -> None:
    app = world.instance()
    await world.rank(app, "e1")

    await app.drain()

    assert app.journal.waiting == 0


# -- the process's own app -------------------------------------------------------------------------------------------


class Account:
    """Stands for the account that the environment names."""

    opened: list[str] = []  # noqa: RUF012
    closed = 0

    def __init__(self, storage: str) -> None:
        Account.opened.append(storage)
        self.tables, self.blobs = MemoryTables(), MemoryBlobs()

    async def aclose(self) -> None:
        Account.closed += 1


@pytest.fixture
def account(monkeypatch: pytest.MonkeyPatch) -> Iterator[type[Account]]:
    monkeypatch.setattr(shared.storage.azure, "AzureStorage", Account)
    monkeypatch.setenv("RANKLOOP_STORAGE", "an account")
    monkeypatch.setenv("RANKLOOP_KEY", "k")
    monkeypatch.setattr(running, "_app", None)
    Account.opened, Account.closed = [], 0
    yield Account


async def test_the_process_has_one_app_built_of_its_environment(account: type[Account]) -> None:
    app = running.current()

    assert running.current() is app
    assert account.opened == ["an account"]
    assert app.config == Config("an account", "k")


def test_each_event_loop_has_an_app_of_its_own(account: type[Account]) -> None:
    async def current() -> App:
        return running.current()

    assert asyncio.run(current()) is not asyncio.run(current())
    assert len(account.opened) == 2


async def test_draining_the_process_ends_its_connections_once(account: type[Account]) -> None:
    await running.drain()
    assert account.closed == 0
    before = running.current()

    await running.drain()
    await running.drain()

    assert account.closed == 1
    assert running.current() is not before


async def test_a_process_without_storage_has_no_app(account: type[Account], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("RANKLOOP_STORAGE")
    monkeypatch.delenv("AzureWebJobsStorage", raising=False)

    with pytest.raises(ConfigError):
        running.current()

"""The parts put together, over storage in memory and a clock that is moved by hand."""

from __future__ import annotations

import asyncio
import gc
import logging
from collections.abc import Awaitable, Callable, Iterator
from contextlib import suppress
from dataclasses import replace
from typing import Any

import azure.functions as func
import msgspec
import orjson
import pytest

import shared.storage.azure
from shared import app as running
from shared.app import App
from shared.config import Config, ConfigError
from shared.contract.errors import ApiError
from shared.edge import web
from shared.evaluation.piecework import Scoring
from shared.health import examined
from shared.health.examiner import WHILE_YOUNG
from shared.learning import registry
from shared.learning.lesson import Job
from shared.learning.model import ServingModel
from shared.learning.signed import Signer, generate_key
from shared.log import activity, erasures
from shared.log import checkpoint as checkpoints
from shared.log.buckets import Waits
from shared.log.join import LoopRules
from shared.log.records import APPRENTICE, digest_of
from shared.loops import policy
from shared.loops.loops import DEFAULT
from shared.loops.policy import DEFAULT_ARGUMENTS, Problem
from shared.loops.settings import Loop
from shared.storage import Row, StorageError, Unavailable
from shared.storage.azure.calls import Count
from shared.storage.memory import MemoryBlobs, MemoryQueues, MemoryTables

T0 = 1_700_000_040.0
BODY = {"actions": [{"id": f"a{n}", "features": [{"x": f"v{n}"}]} for n in range(3)]}
SLOTS = {"slots": [{"id": f"s{n}", "baselineAction": f"a{n}"} for n in range(2)]}


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
        await app.observer.observe(loop.id, loop.waits, event_id, "r", None, 1.0)

    async def rank_slots(self, app: App, event_id: str, *paid: tuple[str, float]) -> dict[str, Any]:
        """A multi-slot call, and the rewards of some of its slots."""
        loop = await app.loops.named(DEFAULT)
        answer = await app.ranker.rank_slots(loop, orjson.dumps({**BODY, **SLOTS, "eventId": event_id}))
        if paid:
            await app.observer.observe(loop.id, loop.waits, event_id, "r", None, slots=list(paid))
        found: dict[str, Any] = orjson.loads(answer.body)
        return found

    async def learn(self, app: App) -> registry.Version:
        """Let an hour pass, and the timers run; returns the version that serves then."""
        self.now += 3600
        await app.join_due()
        await app.train_due()
        version, _ = await registry.current(self.blobs, (await app.loops.named(DEFAULT)).id)
        assert version
        return version


def with_policy(arguments: str) -> Any:
    """A change of a loop to a policy, as its PUT makes it."""

    def change(loop: Loop) -> Loop:
        configuration = replace(loop.configuration, is_auto_optimization_enabled=False)
        return replace(loop, configuration=configuration, policy=policy.read(arguments))

    return change


def configured(**changes: Any) -> Any:
    """A change of a loop's configuration."""
    return lambda loop: replace(loop, configuration=replace(loop.configuration, **changes))


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


async def three_loops(app: App) -> set[str]:
    """The ids of the default loop and of two new ones."""
    others = [(await app.loops.create(name))[0] for name in ("a", "b")]
    return {(await app.loops.named(DEFAULT)).id, *(loop.id for loop in others)}


async def test_a_run_that_takes_long_leaves_the_other_loops_to_the_next_ones(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    app = world.instance()
    ids = await three_loops(app)
    began: list[str] = []

    async def train(note: activity.Note, grown: object) -> None:
        began.append(note.loop_id)  # and its note stays: it wants another turn

    monkeypatch.setattr(app.training, "run", train)
    monkeypatch.setattr("shared.app._TRAINING", -1.0)
    for loop_id in ids:
        await activity.note_joined(app.tables, loop_id)

    assert [await app.train_due() for _ in range(6)] == [1] * 6
    assert set(began[:3]) == ids
    assert began[3:] == began[:3]


async def test_a_timers_run_and_a_piece_of_work_send_what_they_have_told(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    app, did = world.instance(), list[str]()

    async def flush() -> None:
        did.append("flush")

    async def end() -> None:
        did.append("end")

    async def run(message: bytes) -> None:
        did.append("work")

    monkeypatch.setattr(app.telemetry, "flush", flush)
    monkeypatch.setattr(app.telemetry, "end", end)
    monkeypatch.setattr(app.pieces, "run", run)

    await app.join_due()
    assert app.counters.take_worst() == {"join.lag": 0.0}
    await app.train_due()
    assert app.counters.take_worst() == {"model.late": 0.0}
    await app.work(b"")
    await app.drain()

    assert did == ["flush", "flush", "work", "flush", "end"]


async def test_what_exports_is_loaded_when_it_is_wanted_and_told_what_the_app_holds(world: World) -> None:
    app = App(
        Config("", "k"), world.tables, world.blobs, environment={"OTEL_EXPORTER_OTLP_ENDPOINT": "http://127.0.0.1:9"}
    )
    sender = app._export({})  # with nowhere to send it
    app.admission.events.take("a", 0)

    assert app.telemetry.wanted
    assert app._readings() == {"journal.waiting": 0, "calls.under_way": 1}
    await asyncio.to_thread(sender.close)


async def test_a_join_that_takes_long_leaves_the_other_loops_to_the_next_runs(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    app = world.instance()
    ids = await three_loops(app)
    joined: list[str] = []

    async def run(rules: LoopRules, spans: object, now: float, until: float) -> int:
        joined.append(rules.loop_id)
        return 1

    monkeypatch.setattr(app.joiner, "run", run)
    monkeypatch.setattr("shared.joining._JOINING", -1.0)
    for loop_id in ids:
        await activity.note_rows(app.tables, activity.Span(0, 60, 0, loop_id, 0.0))

    assert [await app.join_due() for _ in range(6)] == [1] * 6
    assert set(joined[:3]) == ids
    assert joined[3:] == joined[:3]


async def test_a_training_that_the_host_may_end_lets_others_go_first_next_time(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    app = world.instance()
    loop = await app.loops.named(DEFAULT)

    async def run(job: Job, now: float) -> float | None:
        await noted.wait()
        raise asyncio.CancelledError  # as when the host ends the run

    async def put_off(*given: Any) -> None:
        await really(*given)
        noted.set()

    noted, really = asyncio.Event(), activity.put_off
    monkeypatch.setattr(activity, "put_off", put_off)
    monkeypatch.setattr(app.trainer, "run", run)
    monkeypatch.setattr("shared.training._LONG", 0.0)
    await activity.note_joined(world.tables, loop.id)

    with pytest.raises(asyncio.CancelledError):
        await app.train_due()

    (note,) = await activity.untrained(world.tables)
    assert note.after == pytest.approx(world.now + 900, abs=1)


async def test_a_model_is_not_exported_more_often_than_the_loop_says(world: World) -> None:
    app = world.instance()
    loop = await app.loops.change(DEFAULT, configured(model_export_frequency=3600.0))

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


async def settled(world: World, app: App) -> None:
    """Let the timers run for a quarter of an hour, in which nobody calls; then nothing is left for them to do."""
    for _ in range(15):
        world.now += 60
        await app.join_due()
        await app.train_due()
    assert await activity.untrained(world.tables) == []


async def seen(world: World, app: App, name: str = DEFAULT) -> tuple[int, bool]:
    """How many of a loop's events health tells of, and whether that is of all that is joined."""
    loop = await app.loops.named(name)
    checkpoint, _ = await checkpoints.load(world.blobs, loop.id)
    held = (await examined.load(world.blobs, loop.id))[0].of(checkpoint.generation)
    return held.whole.events, held.through >= checkpoint.watermark


async def joined(world: World, app: App, *event_ids: str) -> None:
    """Rank events, and join them, an hour later."""
    for event_id in event_ids:
        await world.rank(app, event_id)
    world.now += 3600
    await app.join_due()


async def test_a_loop_whose_examination_failed_is_examined_by_the_next_run(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def down(*_: object) -> None:
        raise Unavailable("storage is down")

    app = world.instance()
    await joined(world, app, "e1", "e2")
    with monkeypatch.context() as patched:
        patched.setattr(examined, "save", down)
        assert await app.train_due() == 1
    assert (app.counters["examine.failed"], await seen(world, app)) == (1, (0, False))

    assert await app.train_due() == 1
    assert await seen(world, app) == (2, True)
    assert (await app.train_due(), await activity.untrained(world.tables)) == (0, [])


async def test_a_loop_that_grew_right_after_it_was_examined_is_examined_whichever_process_is_there(
    world: World,
) -> None:
    app = world.instance()
    await joined(world, app, "e1")
    await app.train_due()
    await joined(world, app, "e2")
    world.now -= 3600 - WHILE_YOUNG / 2
    await app.train_due()
    assert await seen(world, app) == (1, False)
    (note,) = await activity.untrained(world.tables)
    assert note.after - world.now == WHILE_YOUNG / 2

    await settled(world, other := world.instance())
    assert await seen(world, other) == (2, True)


async def test_a_run_that_dies_before_it_has_examined_a_loop_is_repeated(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def dies(*_: object) -> float:
        raise asyncio.CancelledError  # as when the host ends the run

    app = world.instance()
    await joined(world, app, "e1")
    monkeypatch.setattr(app.examiner, "run", dies)
    with pytest.raises(asyncio.CancelledError):
        await app.train_due()

    await settled(world, other := world.instance())
    assert await seen(world, other) == (1, True)


async def test_a_loop_is_examined_anew_after_an_erasure_though_no_event_is_new(world: World) -> None:
    app = world.instance()
    await joined(world, app, "e1", "e2", "e3")
    await settled(world, app)
    loop = await app.loops.named(DEFAULT)
    await erasures.ask(world.blobs, loop.id, "event", digest_of("e2").hex(), world.now, b"12345678")
    await activity.note_erasure(world.tables, loop.id)
    assert await seen(world, app) == (0, False)

    await settled(world, app)
    assert await seen(world, app) == (2, True)


async def test_examinations_that_take_long_leave_the_other_loops_to_the_next_runs(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    app = world.instance()
    ids = await three_loops(app)
    began: list[str] = []

    async def run(loop_id: str, now: float, until: float) -> float:
        began.append(loop_id)
        return now  # it wants another turn

    monkeypatch.setattr(app.examiner, "run", run)
    monkeypatch.setattr("shared.app._EXAMINING", -1.0)
    for loop_id in ids:
        await activity.note_joined(app.tables, loop_id)

    for _ in range(6):
        await app.train_due()
    assert set(began[:3]) == ids
    assert began[3:] == began[:3]


async def test_of_a_loop_that_is_deleted_while_it_waits_to_be_examined_nothing_is_left(world: World) -> None:
    app = world.instance()
    loop, _ = await app.loops.create("news")
    for again in range(2):
        await app.ranker.rank(loop, orjson.dumps({**BODY, "eventId": f"e{again}"}))
        world.now += 3600
        await app.join_due()
        if not again:
            await app.train_due()
    world.now -= 3600 - WHILE_YOUNG / 2
    await app.train_due()
    assert await seen(world, app, "news") == (1, False)
    await app.loops.delete("news")

    for _ in range(80):
        world.now += 60
        await app.train_due()
    assert await world.blobs.names(f"loops/{loop.id}/") == []
    assert await activity.untrained(world.tables) == []


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


async def test_a_loop_that_becomes_multi_slot_learns_its_slots(world: World) -> None:
    app = world.instance()
    for n in range(3):
        await world.rank(app, f"e{n}")
    single = await world.learn(app)
    loop = await app.loops.change(DEFAULT, with_policy(DEFAULT_ARGUMENTS[Problem.MULTI_SLOT]))
    assert loop.multi_slot

    # Nothing to learn slots from yet: the model before stays published, and serves nobody.
    assert await world.learn(app) == single
    answer = await world.rank_slots(app, "m0", ("s0", 1.0), ("s1", -1.0))
    assert {slot["id"] for slot in answer["slots"]} == {"s0", "s1"}
    version = await world.learn(app)

    checkpoint, _ = await checkpoints.load(world.blobs, loop.id)
    assert (version.events, version.parent, checkpoint.events, checkpoint.rewarded) == (1, single.version, 4, 1)
    model = ServingModel(await registry.load(world.blobs, loop.id, version), "")
    assert model.multi_slot
    model.close()
    other = world.instance()
    assert await world.rank_slots(other, "m1") == await world.rank_slots(world.instance(), "m1")
    assert (await other.models.get(loop)).name == version.version.encode()


async def test_a_changed_policy_gets_its_model_though_no_event_is_new(world: World) -> None:
    app = world.instance()
    for n in range(3):
        await world.rank(app, f"e{n}")
    before = await world.learn(app)
    assert await app.train_due() == 0

    loop = await app.loops.change(DEFAULT, with_policy("--cb_explore_adf --epsilon 0.1 --cb_type mtr -q Fj"))

    assert await app.train_due() == 1
    version, _ = await registry.current(world.blobs, loop.id)
    assert version
    assert (version.events, version.parent, version.lineage) == (3, before.version, loop.policy.lineage)
    assert version.lineage != before.lineage


@pytest.mark.parametrize(("part", "call"), [("evaluator", "look"), ("importances", "look"), ("trainer", "run")])
async def test_a_run_that_began_before_a_policy_was_changed_does_not_bring_the_old_one_back(
    world: World, monkeypatch: pytest.MonkeyPatch, part: str, call: str
) -> None:
    app, other = world.instance(), world.instance()
    await world.rank(app, "e1")
    await world.learn(app)
    loop = await app.loops.named(DEFAULT)
    really = getattr(getattr(app, part), call)

    async def after_the_change(*given: Any) -> Any:
        monkeypatch.undo()
        world.now += WHILE_YOUNG  # or the note would stay until the loop can be examined again
        await other.loops.change(DEFAULT, with_policy("--cb_explore_adf --epsilon 0.1 --cb_type mtr -q Fj"))
        assert await other.train_due() == 1
        assert await activity.untrained(world.tables) == []
        return await really(*given)

    monkeypatch.setattr(getattr(app, part), call, after_the_change)
    await activity.note_joined(world.tables, loop.id)
    for _ in range(3):
        await app.train_due()
        world.now += WHILE_YOUNG

    version, _ = await registry.current(world.blobs, loop.id)
    assert version
    assert version.lineage == (await app.loops.by_id(loop.id)).learned.lineage
    assert await activity.untrained(world.tables) == []
    assert app.counters["train.versions"] == 1


async def test_a_changed_epsilon_keeps_the_model(world: World) -> None:
    app = world.instance()
    await world.rank(app, "e1")
    before = await world.learn(app)

    arguments = policy.with_exploration(DEFAULT_ARGUMENTS[Problem.SINGLE_SLOT], 0.7)
    loop = await app.loops.change(DEFAULT, with_policy(arguments))

    assert await app.train_due() == 1  # a look
    assert (await registry.current(world.blobs, loop.id))[0] == before


async def test_an_apprentice_learns_what_it_ranked_as_one(world: World) -> None:
    app = world.instance()
    await world.rank(app, "e1")
    assert (await world.learn(app)).events == 1
    await app.loops.change(DEFAULT, configured(learning_mode=APPRENTICE))
    for n in range(4):
        found = await world.rank(app, f"p{n}")
        assert found["rewardActionId"] == "a0"

    assert (await world.learn(app)).events == 4, "what was ranked online is no lesson to it"


async def test_a_new_model_is_built_from_the_days_that_the_loop_says(world: World) -> None:
    app = world.instance()
    await world.rank(app, "e1")
    await world.learn(app)
    world.now += 3 * 86_400
    await world.rank(app, "e2")
    assert (await world.learn(app)).events == 2

    await app.loops.change(DEFAULT, with_policy("--cb_explore_adf --epsilon 0.2 -q Fj"))  # from the last two days
    assert (await world.learn(app)).events == 1
    await app.loops.change(DEFAULT, configured(model_retrain_days=0))
    await app.loops.change(DEFAULT, with_policy("--cb_explore_adf --epsilon 0.2 -q Fi"))
    assert (await world.learn(app)).events == 2


# -- what the settings of the deployment make of it ------------------------------------------------------------------


async def test_a_deployment_without_a_signing_key_signs_nothing(world: World) -> None:
    assert await world.instance().signer() is None


async def test_the_signer_is_made_once(world: World) -> None:
    key = generate_key()
    app = App(Config("", "k", signing_key=key), world.tables, world.blobs)

    signer = await app.signer()

    assert signer is not None
    assert signer.fingerprint == Signer(key).fingerprint
    assert await app.signer() is signer


async def test_trusted_signers_are_read(world: World) -> None:
    first, second = "ab" * 32, "CD:" * 31 + "CD"
    app = App(Config("", "k", trusted_signers=f"{first}, {second}"), world.tables, world.blobs)

    assert app.trusted_signers == {"ab" * 32, "cd" * 32}
    assert world.instance().trusted_signers == frozenset()
    with pytest.raises(ConfigError, match="RANKLOOP_TRUSTED_SIGNERS"):
        App(Config("", "k", trusted_signers="no fingerprint"), world.tables, world.blobs)


async def test_tokens_count_where_a_tenant_is_named(world: World) -> None:
    headers = {"authorization": "Bearer not.a.token"}
    tenant = Config("", "k", entra_tenant="0" * 8 + "-0000-0000-0000-" + "0" * 12, entra_audiences=frozenset({"me"}))

    with pytest.raises(ApiError, match="takes no bearer tokens"):
        await world.instance().access.roles(headers, None)
    with pytest.raises(ApiError) as refused:
        await App(tenant, world.tables, world.blobs).access.roles(headers, None)
    assert refused.value.code == "Unauthorized"
    assert "takes no bearer tokens" not in refused.value.message


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

    def __init__(self, storage: str, count: Count) -> None:
        Account.opened.append(storage)
        count("storage.busy")
        self.tables, self.blobs, self.queues = MemoryTables(), MemoryBlobs(), MemoryQueues()

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
    gc.unfreeze()  # or garbage of other tests would stay for good, and what they left open untold


async def test_the_process_has_one_app_built_of_its_environment(account: type[Account]) -> None:
    app = running.current()

    assert running.current() is app
    assert account.opened == ["an account"]
    assert app.config == Config("an account", "k")
    assert app.counters["storage.busy"] == 1, "the storage counts where the app does"


@pytest.mark.parametrize("in_azure", [True, False])
async def test_in_azure_what_no_call_was_there_to_say_is_said_by_the_next_one(
    account: type[Account], monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, in_azure: bool
) -> None:
    if in_azure:
        monkeypatch.setenv("WEBSITE_SITE_NAME", "x")
    app = running.current()
    runs: list[Callable[[], Awaitable[object]]] = [
        app.join_due,
        app.train_due,
        lambda: app.work(b"no piece of work"),
        lambda: web.serve(func.HttpRequest("GET", "https://h/", body=b""), "health/live"),
    ]

    for run in runs:
        logging.getLogger("rankloop.journal").error("lines are lost")
        caplog.clear()
        with suppress(Exception):
            await run()
        said = [message for message in caplog.messages if message.endswith("lines are lost")]
        assert len(said) == in_azure

    app.unsaid.install({})


async def test_what_is_loaded_is_not_looked_through_for_garbage(account: type[Account]) -> None:
    gc.unfreeze()

    running.current()
    assert gc.get_freeze_count() > 10_000

    frozen = gc.get_freeze_count()
    running.current()
    assert gc.get_freeze_count() == frozen


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


async def test_an_evaluation_that_cannot_go_on_keeps_no_loop_from_learning(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def look(loop_id: str, now: float) -> bool:
        raise StorageError("its plan is damaged")

    app = world.instance()
    await world.rank(app, "e1")
    world.now += 1200
    await app.join_due()
    monkeypatch.setattr(app.evaluator, "look", look)

    assert await app.train_due() == 1

    loop = await app.loops.named(DEFAULT)
    assert (await registry.current(world.blobs, loop.id))[0] is not None
    assert app.counters.snapshot()["evaluate.failed"] == 1
    (note,) = await activity.untrained(world.tables)
    assert 0 < note.after - world.now <= 60, "and it is looked at again"


async def test_a_piece_of_an_evaluation_of_a_deleted_loop_is_passed_over(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    taken: list[str] = []

    async def take(message: Scoring, now: float) -> None:
        taken.append(message.loop)

    app = world.instance()
    monkeypatch.setattr(app.evaluator, "take", take)
    kept = (await app.loops.named(DEFAULT)).id
    gone = (await app.loops.create("gone"))[0].id
    await app.loops.delete("gone")

    for loop_id in (kept, gone):
        await app.work(msgspec.json.encode(Scoring(loop=loop_id, job="j", group=0, shard=0)))

    assert taken == [kept]

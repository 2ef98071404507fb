"""Journal to model, whatever happens on the way: killed at every storage call, raced, in memory and on Azurite."""

import asyncio
import contextlib
import itertools
import random
import uuid
from dataclasses import dataclass, field
from typing import Any

import orjson
import pytest

from localhost.azurite import Azurite
from shared.app import App
from shared.config import Config
from shared.counters import Counters
from shared.learning import registry, trainer
from shared.learning.lesson import Job
from shared.learning.trainer import Trainer
from shared.log import activity, joined, joiner
from shared.log import checkpoint as checkpoints
from shared.log.apprentice import Apprenticeship
from shared.log.arms import Arms
from shared.log.buckets import Waits
from shared.log.join import LoopRules, Rules, decode_events, join, observations_of
from shared.log.joiner import Joiner
from shared.log.records import APPRENTICE, ONLINE, Arm, event_key
from shared.loops import policy, service
from shared.loops.loops import DEFAULT
from shared.loops.policy import DEFAULT_ARGUMENTS, Problem
from shared.storage import Blobs, Tables, Unavailable
from shared.storage.azure import AzureStorage
from shared.storage.memory import MemoryBlobs, MemoryTables
from tests.cutoff import EFFECTS, CutOff, Killed
from tests.journalled import LOOP, T0, Gate, Obs, Rank, Record, WatchedBlobs, WatchedTables, journal

POLICY = policy.read(DEFAULT_ARGUMENTS[Problem.SINGLE_SLOT])

MIDNIGHT = T0 // 86_400 * 86_400 + 86_400
CHANGE = MIDNIGHT + 60
WAITS = Waits(((0, 5.0), (CHANGE, 12.0)))


def history(seed: int, count: int = 60) -> list[Record]:
    """Three minutes around midnight with a change of wait in them: deferred, early, late, repeated, unknown.

    A seventh is held back, as much is decided under that holdback, or by an apprentice.
    """
    chance = random.Random(seed)
    ranks = [
        Rank(f"e{n}", MIDNIGHT - 60 + 180 * n / count, chance.random() < 0.3, chance.randrange(3), **_trial(n))
        for n in range(count)
    ]
    rewards = [Obs(r.id, r.t + chance.uniform(-20, 15), float(r.chosen == 1)) for r in ranks if chance.random() < 0.8]
    activations = [Obs(r.id, r.t + 1, 0.0, "a") for r in ranks if r.deferred and chance.random() < 0.7]
    again = [Rank(r.id, r.t + 30, chosen=r.chosen) for r in ranks[::9]]
    return [*ranks, *rewards, *activations, *again, Obs("unknown", MIDNIGHT)]


def _trial(n: int) -> dict[str, Any]:
    if n % 7 < 2:
        return {"arm": Arm(n % 7 == 0, MIDNIGHT - 500.25)}
    return {"mode": APPRENTICE, "began": MIDNIGHT - 700.5} if n % 7 == 2 else {}


def wanted_lines(records: list[Record], rules: LoopRules) -> list[bytes]:
    """The joined log of all records as one window for each wait."""
    events = decode_events([r.line() for r in records if isinstance(r, Rank)])
    observed = observations_of({event_key(e.e) for e in events}, [r.line() for r in records if isinstance(r, Obs)])
    before, after = [e for e in events if e.t < CHANGE], [e for e in events if e.t >= CHANGE]
    marks = [r.mark() for r in records if isinstance(r, Rank) and r.t < CHANGE]
    return join(before, observed, [], rules.at(CHANGE - 5)).lines + join(after, observed, marks, rules.at(CHANGE)).lines


@pytest.fixture
def small_windows(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(joiner, "MAX_EVENTS", 12)
    monkeypatch.setattr(trainer, "MAX_EVENTS", 40)


@dataclass
class World:
    """Storage in memory with its own clock, and the processes that use it."""

    prune: bool = False
    now: float = MIDNIGHT + 1000.0
    calls: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.tables = MemoryTables(lambda: self.now)
        self.blobs = MemoryBlobs()

    def app(self, gate: Gate | None = None) -> App:
        """A fresh process."""

        async def watch(name: str, done: bool) -> None:
            if not done:
                self.calls.append(name)
            if gate is not None:
                await gate(name, done)

        settings = Config(storage="memory", key="k", prune_journal=self.prune)
        app = App(settings, WatchedTables(self.tables, watch), WatchedBlobs(self.blobs, watch))
        app.clock.local = lambda: self.now
        return app

    async def begin(self, records: list[Record]) -> str:
        """A loop with these records in its journal; its id."""
        app = self.app()
        self.now = MIDNIGHT - 7200.0
        loop = await app.loops.named(DEFAULT)
        path = f"loops/{loop.id}/settings.json"
        blob = await self.blobs.get(path)
        assert blob is not None
        settings = orjson.loads(blob.data)
        settings["waits"] = WAITS.steps
        settings["configuration"] |= {"reward_wait_time": 12.0, "reward_aggregation": "sum"}
        await self.blobs.put(path, orjson.dumps(settings), blob.etag)
        await journal(self.tables, records, WAITS, loop_id=loop.id)
        self.now = MIDNIGHT + 1000.0
        self.calls.clear()
        return loop.id


Outcome = tuple[list[bytes], dict[str, bytes], bytes | None, tuple[Arms | None, Apprenticeship | None]]


async def outcome(blobs: Blobs, loop_id: str) -> Outcome:
    """What must be the same whatever happened: the joined lines, the log's blobs, the serving model, the sums."""
    windows = await joined.windows(blobs, loop_id, 0, 2**33)
    lines = [line for window in windows for line in await joined.read(blobs, loop_id, window)]
    held = {path: await blobs.get(path) for path in await blobs.names(joined.log_path(loop_id))}
    version, _ = await registry.current(blobs, loop_id)
    model = await registry.load(blobs, loop_id, version) if version else None
    prefix = len(joined.log_path(loop_id))
    counted, _ = await checkpoints.load(blobs, loop_id)
    logged = {path[prefix:]: blob.data for path, blob in held.items() if blob}
    return lines, logged, model, (counted.arms, counted.apprentice)


async def both_timers(app: App) -> None:
    await app.join_due()
    await app.train_due()


async def until_idle(world: World) -> None:
    """Timers that go on in fresh processes until nothing is left to do."""
    for _ in range(20):
        await both_timers(world.app())
        if not await activity.noted(world.tables) and not await activity.untrained(world.tables):
            return
        world.now += 301  # the next export slot
    pytest.fail("the timers never came to an end")


async def uninterrupted(records: list[Record]) -> Outcome:
    world = World()
    loop_id = await world.begin(records)
    await until_idle(world)
    return await outcome(world.blobs, loop_id)


@pytest.mark.parametrize("prune", [False, True])
@pytest.mark.parametrize("effect", EFFECTS)
@pytest.mark.usefixtures("small_windows")
async def test_a_run_that_is_cut_off_at_any_storage_call_changes_nothing(effect: str, prune: bool) -> None:
    """Killed before its n-th call, for every n; its reply lost; or repeated by the SDK, in conflict with itself."""
    records = history(1, 40)
    wanted = await uninterrupted(records)
    assert wanted[2] is not None
    assert len(wanted[1]) > 6

    for n in itertools.count():
        world = World(prune=prune)
        loop_id = await world.begin(records)
        gate = CutOff(n, effect)

        with contextlib.suppress(Killed, Unavailable):
            await both_timers(world.app(gate))
        if not gate.reached:
            break  # beyond the last call
        await until_idle(world)

        assert await outcome(world.blobs, loop_id) == wanted, f"cut off at call {n}: {world.calls}"
    assert n > 15


@pytest.mark.usefixtures("small_windows")
async def test_the_uninterrupted_run_is_what_the_contract_says() -> None:
    records = history(1)
    lines, blobs, _, (counted, apprentice) = await uninterrupted(records)

    assert lines == wanted_lines(records, LoopRules(LOOP, WAITS, 0.0, "sum", (-1.0, 1.0)))
    assert len({path.split("hour=")[0] for path in blobs}) == 2, "midnight lies in it"
    assert any(f"{CHANGE:010d}-" in path for path in blobs), "a window begins where the wait changes"
    rewards: dict[str, list[float]] = {"held": [], "model": [], "apprentice": []}
    trials = {r.id: _trial(int(r.id[1:])) for r in records if isinstance(r, Rank)}
    for line in map(orjson.loads, lines):
        trial = trials[line["EventId"]]
        if trial and "_skipLearn" not in line:
            kind = "apprentice" if "arm" not in trial else "held" if trial["arm"].held else "model"
            rewards[kind].append(-line["_original_label_cost"])
    assert all(rewards.values())
    assert counted is not None and apprentice is not None
    assert [(sums.events, sums.rewards) for sums in (counted.held, counted.model)] == [
        (len(rewards[kind]), sum(rewards[kind])) for kind in ("held", "model")
    ]
    assert (apprentice.start, apprentice.totals.events) == (MIDNIGHT - 700.5, len(rewards["apprentice"]))
    assert apprentice.totals.rewards == sum(rewards["apprentice"])


@pytest.mark.parametrize("prune", [False, True])
@pytest.mark.parametrize("seed", range(8))
@pytest.mark.usefixtures("small_windows")
async def test_processes_that_race_and_die_leave_the_same_log(seed: int, prune: bool) -> None:
    records = history(seed)
    wanted = await uninterrupted(records)
    world = World(prune=prune)
    loop_id = await world.begin(records)
    chance = random.Random(seed)

    async def gate(name: str, done: bool) -> None:
        for _ in range(chance.randrange(4)):
            await asyncio.sleep(0)
        if chance.random() < 0.02:
            raise Killed

    for _ in range(5):
        await asyncio.gather(*(both_timers(world.app(gate)) for _ in range(3)), return_exceptions=True)
    await until_idle(world)

    assert await outcome(world.blobs, loop_id) == wanted


async def test_an_idle_deployment_costs_one_read_for_each_timer() -> None:
    world = World()
    await world.begin([])
    app = world.app()

    await app.join_due()
    await app.train_due()

    assert world.calls == ["query activity", "query activity"]


async def test_events_that_are_not_due_cost_one_read() -> None:
    world = World()
    await world.begin([Rank("e", MIDNIGHT)])
    world.now = MIDNIGHT + 10.0
    app = world.app()

    await app.join_due()

    assert world.calls == ["query activity"]


async def test_a_clock_that_runs_ahead_passes_no_open_bucket() -> None:
    world = World()
    loop_id = await world.begin([Rank("first", MIDNIGHT + 1)])
    world.now = MIDNIGHT + 8.0
    app = world.app()
    await app.clock.ensure()
    app.clock.local = lambda: world.now + 30  # this machine's clock was set after its last sample

    await app.join_due()
    await journal(world.tables, [Rank("second", MIDNIGHT + 2)], WAITS, shards=[3], loop_id=loop_id)
    world.now = MIDNIGHT + 100.0
    await until_idle(world)

    lines, *_ = await outcome(world.blobs, loop_id)
    assert [orjson.loads(line)["EventId"] for line in lines] == ["first", "second"]


async def test_an_event_that_is_written_while_the_join_begins_is_not_passed() -> None:
    world = World()
    loop_id = await world.begin([Rank("first", MIDNIGHT + 1)])
    world.now = MIDNIGHT + 100.0
    asked = 0

    async def gate(name: str, done: bool) -> None:
        nonlocal asked
        if name == "query activity" and not done:
            asked += 1
            if asked == 2:  # between the two readings of the notes, on a shard that nobody has noted yet
                await journal(world.tables, [Rank("second", MIDNIGHT + 2)], WAITS, shards=[3], loop_id=loop_id)

    await world.app(gate).join_due()

    lines, *_ = await outcome(world.blobs, loop_id)
    assert [orjson.loads(line)["EventId"] for line in lines] == ["first", "second"]


async def test_one_loops_failure_holds_up_no_other(caplog: pytest.LogCaptureFixture) -> None:
    world = World()
    loop_id = await world.begin([Rank("e", MIDNIGHT)])
    await journal(world.tables, [Rank("e", MIDNIGHT)], WAITS, loop_id="0" * 32)  # a loop without settings
    app = world.app()

    assert await app.join_due() > 0
    assert await app.train_due() == 1

    assert app.counters["join.failed"] == 1
    assert (await outcome(world.blobs, loop_id))[0]
    assert "settings of loop" in caplog.text


@dataclass
class OnAzurite:
    """The joiner and the trainer on a real Azurite, for a loop of its own."""

    tables: Tables
    blobs: Blobs
    loop: LoopRules
    counters: Counters = field(default_factory=Counters)

    async def run(self, prune: bool) -> None:
        spans = (await activity.noted(self.tables))[self.loop.loop_id]
        await Joiner(self.tables, self.blobs, self.counters, prune).run(self.loop, spans, MIDNIGHT + 1000.0)
        checkpoint, _ = await checkpoints.load(self.blobs, self.loop.loop_id)
        job = Job(
            self.loop.loop_id, POLICY.training, "", POLICY.lineage, False, ONLINE, checkpoint.watermark, 0, 0, 5.0
        )
        await Trainer(self.blobs, self.counters).run(job, MIDNIGHT + 1000.0)


@pytest.mark.parametrize("prune", [False, True])
@pytest.mark.usefixtures("small_windows")
async def test_rivals_on_azurite_give_what_memory_gives(azurite: Azurite, prune: bool) -> None:
    records = history(1)
    wanted = await uninterrupted(records)
    async with AzureStorage(azurite.connection_string) as storage:
        loop = LoopRules(uuid.uuid4().hex, WAITS, 0.0, "sum", (-1.0, 1.0))
        rivals = [OnAzurite(storage.tables, storage.blobs, loop) for _ in range(3)]
        await journal(storage.tables, records, WAITS, loop_id=loop.loop_id)

        await asyncio.gather(*(rival.run(prune) for rival in rivals))
        await rivals[0].run(prune)

        assert await outcome(storage.blobs, loop.loop_id) == wanted
        assert (await activity.noted(storage.tables)).get(loop.loop_id) is None
        left = [row async for row, _ in storage.tables.query(f"rank{loop.loop_id}20231114", ("", "~"))]
        assert bool(left) is not prune


async def test_rules_follow_the_settings() -> None:
    world = World()
    loop_id = await world.begin([])
    loop = await world.app().loops.by_id(loop_id)

    rules = loop.rules().at(CHANGE - 5), loop.rules().at(CHANGE)
    assert rules == tuple(Rules(wait, 0.0, "sum", service.REWARD_RANGE) for wait in (5.0, 12.0))

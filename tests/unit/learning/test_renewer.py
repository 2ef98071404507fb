"""New models for changed settings: what they are made of, what becomes of their jobs, and who may die on the way."""

from __future__ import annotations

import asyncio
import itertools
import random
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import msgspec
import pytest

from shared import jobs
from shared.contract.evaluations import Status
from shared.counters import Counters
from shared.jobs import Record
from shared.learning import pointer, registry, renewal, renewer
from shared.learning.lesson import Job
from shared.learning.model import ModelError
from shared.learning.pieces import cut, learn_task
from shared.learning.piecework import Piece
from shared.learning.registry import Version
from shared.learning.shaping import Shaping, cause
from shared.learning.trainer import Trainer
from shared.log import joined
from shared.log.join import Rules, decode_events, join
from shared.log.joined import Window
from shared.log.records import APPRENTICE, ONLINE, Observed
from shared.log.relabel import relabel
from shared.loops import policy
from shared.storage import StorageError, Unavailable
from shared.storage.memory import MemoryBlobs
from tests.cutoff import Killed
from tests.journalled import LOOP, T0, Rank, WatchedBlobs
from tests.unit.learning.test_trainer import OTHER, learned_by_hand, slot_lines
from tests.unit.ranking.trained import SINGLE, SLOTS, job, trained_model

RULES = Rules(600.0, 0.0, "sum", (-1.0, 1.0))
OTHERS = Rules(600.0, 0.5, "max", (-1.0, 1.0))
SHAPING = Shaping(RULES, 0.2, ONLINE, 0)
WINDOW = 60


def lines(window: int, rules: Rules = RULES, mode: str = ONLINE, count: int = 20) -> list[bytes]:
    """Joined lines whose events have no, one or two rewards."""
    chance = random.Random(window)
    ranks = [
        Rank(f"{window}-{n}", T0 + window * WINDOW + n, chosen=chance.randrange(3), p=0.4, mode=mode)
        for n in range(count)
    ]
    rewards = [
        Observed(r.id, r.t + 1 + n, "r", chance.choice([-0.5, 0.25, 1.0]))
        for r in ranks
        for n in range(chance.randrange(3))
    ]
    return join(decode_events([r.line() for r in ranks]), rewards, [], rules).lines


def shaped(arguments: str = SINGLE, /, **changes: Any) -> Job:
    """What to train a loop on, whose settings are these."""
    shaping = msgspec.structs.replace(SHAPING, **changes)
    made = job(arguments, shaping.mode)
    return replace(made, retrain_days=shaping.retrain_days, merges=policy.read(arguments).merges, shaping=shaping)


class World:
    """A loop in memory; what is sent lies in `sent` until `work` does it."""

    def __init__(self) -> None:
        self.blobs = MemoryBlobs()
        self.counters = Counters()
        self.sent: list[Piece] = []
        self.windows = 0
        self.now = 1000.0

    async def send(self, piece: Piece) -> None:
        self.sent.append(piece)

    async def apart(self, task: bytes) -> bytes:
        await asyncio.sleep(0)
        return learn_task(task)

    def trainer(self, blobs: MemoryBlobs | WatchedBlobs | None = None) -> Trainer:
        return Trainer(blobs or self.blobs, self.counters, send=self.send, apart=self.apart)

    async def log(self, *given: Sequence[bytes], labels: str = "") -> None:
        for some in given:
            at = Window(T0 + self.windows * WINDOW, T0 + (self.windows + 1) * WINDOW)
            assert await joined.write(self.blobs, LOOP, at, "dsjson", some, labels)
            self.windows += 1

    def due(self, of: Job) -> Job:
        return replace(of, watermark=T0 + self.windows * WINDOW)

    async def train(self, of: Job, blobs: WatchedBlobs | None = None) -> float | None:
        self.now += 1000.0
        return await self.trainer(blobs).run(self.due(of), self.now)

    async def work(self, of: Job, piece: Piece, blobs: WatchedBlobs | None = None) -> None:
        await self.trainer(blobs).take(self.due(of), piece, self.now)

    async def work_all(self, of: Job) -> None:
        while self.sent:
            await self.work(of, self.sent.pop(0))

    async def version(self) -> Version:
        version, _ = await registry.current(self.blobs, LOOP)
        assert version is not None
        return version

    async def model(self) -> bytes:
        return await registry.load(self.blobs, LOOP, await self.version())

    async def jobs(self) -> list[Record]:
        found = [await jobs.get(self.blobs, LOOP, one) for one in await jobs.newest(self.blobs, LOOP)]
        return [record for record in found if record is not None]

    async def job(self) -> Record:
        return (await self.jobs())[0]

    async def left(self) -> list[str]:
        return await self.blobs.names(f"loops/{LOOP}/pieces/")


@pytest.fixture
def world() -> World:
    return World()


@pytest.fixture
def large(world: World, monkeypatch: pytest.MonkeyPatch) -> World:
    """Each window is a piece."""
    monkeypatch.setattr(renewal, "PIECE_BYTES", 1)
    return world


# -- which settings, and what of the log ---------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"rules": OTHERS}, "defaultReward changed from 0 to 0.5; rewardAggregation changed from sum to max"),
        ({"rules": replace(RULES, wait=5.0)}, "rewardWaitTime changed from PT10M to PT5S"),
        ({"rules": replace(RULES, reward_range=(0.0, 2.0))}, "rewardRange changed from -1 to 1 to 0 to 2"),
        ({"exploration": 0.1}, "explorationPercentage changed from 0.2 to 0.1"),
        ({"retrain_days": 3}, "modelRetrainDays changed from 0 to 3"),
    ],
)
async def test_a_changed_setting_makes_a_new_model_by_the_rules_of_now(
    world: World, changes: dict[str, object], words: str
) -> None:
    await world.log(*map(lines, range(3)), labels=RULES.labels)
    await world.train(shaped())
    before = await world.version()
    changed = shaped(SINGLE, **changes)
    assert changed.shaping is not None
    rules = changed.shaping.rules

    assert await world.train(changed) is None

    version = await world.version()
    assert await world.model() == learned_by_hand([line for n in range(3) for line in lines(n, rules)])[0]
    # Labels that are what they were make the model that there was, under its name.
    assert (version.version == before.version) is (lines(0, rules) == lines(0))
    assert version.parent == (None if version.version == before.version else before.version)
    assert (version.base, version.shaping) == (None, changed.shaping)
    record = await world.job()
    assert (record.status, record.cause, record.version) == (Status.SUCCEEDED, words, version.version)
    assert (record.done, record.pieces, record.events, record.estimated) == (1, 1, 60, 60)
    # And it is gone on from, by the same rules, whatever the join has labelled by.
    await world.log(lines(3), labels=RULES.labels)
    await world.train(changed)
    assert await world.model() == learned_by_hand([line for n in range(4) for line in lines(n, rules)])[0]
    assert len(await world.jobs()) == 1
    assert await world.left() == []


async def test_what_is_labelled_by_the_rules_of_now_is_not_looked_at_again(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    looked: list[bytes] = []

    def watched(line: bytes, rules: Rules) -> bytes:
        looked.append(line)
        return relabel(line, rules)

    monkeypatch.setattr("shared.learning.lesson.relabel", watched)
    await world.log(lines(0), labels=RULES.labels)
    await world.log(lines(1, OTHERS), labels=OTHERS.labels)
    await world.log(lines(2))  # of the release before
    await world.train(shaped())

    assert looked == [*lines(1, OTHERS), *lines(2)]
    assert await world.model() == learned_by_hand([line for n in range(3) for line in lines(n)])[0]


async def test_a_version_of_the_release_before_is_taken_for_one_of_now(world: World) -> None:
    await world.log(lines(0))
    await world.train(job())
    assert (await world.version()).shaping is None
    await world.log(lines(1))

    await world.train(shaped(exploration=0.7))

    assert await world.model() == learned_by_hand([*lines(0), *lines(1)])[0]
    assert (await world.version()).shaping == msgspec.structs.replace(SHAPING, exploration=0.7)
    assert await world.jobs() == []


@pytest.mark.parametrize(("first", "second"), [(ONLINE, APPRENTICE), (APPRENTICE, ONLINE)])
async def test_a_model_that_learned_in_another_mode_learns_on_where_the_log_has_more_of_that(
    world: World, first: str, second: str
) -> None:
    old, new = lines(0, mode=first), lines(1, mode=second, count=3)
    await world.log(old)
    await world.train(shaped(mode=first))
    await world.train(shaped(mode=second))
    assert await world.model() == learned_by_hand(old)[0]
    await world.log(new)
    await world.train(shaped(mode=second))

    assert await world.model() == learned_by_hand([*old, *new])[0]
    (record,) = await world.jobs()
    assert record.cause == f"learningMode changed from {first} to {second}"
    assert (record.status, record.version) == (Status.SUCCEEDED, None)
    assert "learns on" in (record.outcome or "")


async def test_a_changed_mode_makes_a_new_model_where_the_log_is_of_that_mode(world: World) -> None:
    await world.log(lines(0, count=3), lines(1, mode=APPRENTICE))
    await world.train(shaped())
    await world.train(shaped(mode=APPRENTICE))

    assert await world.model() == learned_by_hand(lines(1, mode=APPRENTICE))[0]


async def test_a_changed_rule_begins_with_the_imported_model_and_what_came_after_it(world: World) -> None:
    elsewhere = trained_model(50)
    await world.log(lines(0))
    await pointer.install(world.blobs, LOOP, elsewhere, job().arguments, job().lineage, T0 + WINDOW, 500.0)
    await world.log(lines(1), lines(2))
    await world.train(shaped())

    await world.train(shaped(rules=OTHERS))

    version = await world.version()
    assert await world.model() == learned_by_hand([*lines(1, OTHERS), *lines(2, OTHERS)], "", elsewhere)[0]
    assert version.origin == version.base == registry.version_name(T0 + WINDOW, elsewhere)
    assert version.learned_from == T0 + WINDOW
    await world.train(shaped(OTHER, rules=OTHERS))
    assert await world.model() == learned_by_hand([x for n in range(3) for x in lines(n, OTHERS)], OTHER)[0]
    assert (await world.version()).origin is None


async def test_an_imported_model_that_is_gone_gives_way_to_the_log(world: World) -> None:
    elsewhere = trained_model(50)
    await pointer.install(world.blobs, LOOP, elsewhere, job().arguments, job().lineage, T0, 500.0)
    await world.log(lines(0))
    await world.train(shaped())
    await world.blobs.delete(registry.model_path(LOOP, registry.version_name(T0, elsewhere)))

    await world.train(shaped(rules=OTHERS))

    assert await world.model() == learned_by_hand(lines(0, OTHERS))[0]


def test_what_cannot_be_told_of_the_settings_before_is_left_out() -> None:
    assert cause(None, SHAPING, "--a", "--b") == "the policy changed from --a to --b"
    assert cause(SHAPING, SHAPING, "--a", "--a") == ""
    assert cause(SHAPING, None, "--a", "--b") == "the policy changed from --a to --b"


# -- jobs ------------------------------------------------------------------------------------------------------------


async def cancel(world: World) -> None:
    record = await world.job()
    await jobs.change(world.blobs, LOOP, record.id, lambda held: held.end(Status.CANCELED, world.now))


async def test_a_canceled_job_leaves_the_model_to_learn_on_by_the_settings_of_now(large: World) -> None:
    await large.log(lines(0), lines(1))
    await large.train(shaped())
    before = await large.version()
    assert await large.train(shaped(rules=OTHERS)) == large.now
    assert [piece.number for piece in large.sent] == [0, 1]
    await cancel(large)
    await large.log(lines(2))

    await large.work_all(shaped(rules=OTHERS))
    assert await large.version() == before
    await large.train(shaped(rules=OTHERS))

    assert await large.model() == learned_by_hand([*lines(0), *lines(1), *lines(2, OTHERS)])[0]
    assert (await large.job()).status is Status.CANCELED
    await large.train(shaped(rules=OTHERS))
    assert len(await large.jobs()) == 1, "it is not begun again"
    assert await large.left() == []


async def test_after_a_canceled_change_of_policy_the_old_one_learns_on(large: World) -> None:
    await large.log(lines(0), lines(1))
    await large.train(shaped())
    await large.train(shaped(OTHER))
    await cancel(large)
    for n in (2, 3):
        await large.log(lines(n))
        await large.train(shaped(OTHER))

    assert await large.model() == learned_by_hand([line for n in range(4) for line in lines(n)])[0]
    assert (await large.version()).lineage == shaped().lineage
    assert len(await large.jobs()) == 1
    await large.train(shaped(OTHER, exploration=0.5))
    assert len(await large.jobs()) == 2, "another change begins another one"


async def test_settings_that_go_back_end_the_job(large: World) -> None:
    await large.log(lines(0), lines(1))
    await large.train(shaped())
    before = await large.version()
    await large.train(shaped(exploration=0.5))
    stale = large.sent[:]
    await large.train(shaped())

    assert (await large.job()).status is Status.CANCELED
    for piece in stale:
        await large.work(shaped(), piece)
    assert await large.version() == before
    large.sent.clear()
    await large.train(shaped(exploration=0.5))
    await large.work_all(shaped(exploration=0.5))
    assert [record.status for record in await large.jobs()] == [Status.SUCCEEDED, Status.CANCELED]


async def test_other_settings_end_the_job_and_begin_another_one(large: World) -> None:
    await large.log(lines(0), lines(1))
    await large.train(shaped())
    await large.train(shaped(exploration=0.5))
    await large.train(shaped(exploration=0.6))

    assert [record.status for record in await large.jobs()] == [Status.RUNNING, Status.CANCELED]
    await large.work_all(shaped(exploration=0.6))
    assert [record.status for record in await large.jobs()] == [Status.SUCCEEDED, Status.CANCELED]


async def test_a_deleted_model_ends_the_job(large: World) -> None:
    await large.log(lines(0), lines(1))
    await large.train(shaped())
    await large.train(shaped(exploration=0.5))
    await pointer.reset(large.blobs, LOOP, T0 + 2 * WINDOW, 5000.0)

    await large.work_all(shaped(exploration=0.5))
    await large.train(shaped(exploration=0.5))

    assert (await large.version()).blank
    assert (await large.job()).status is Status.CANCELED


async def test_a_policy_of_another_problem_waits_for_its_first_event_under_one_job(large: World) -> None:
    await large.log(lines(0), lines(1))
    await large.train(shaped())
    for n in (2, 3):
        await large.train(shaped(SLOTS))
        await large.work_all(shaped(SLOTS))
        await large.log(lines(n))
    assert (await large.job()).status is Status.RUNNING
    await large.log(slot_lines(4))
    for _ in range(3):
        await large.train(shaped(SLOTS))
        await large.work_all(shaped(SLOTS))

    assert await large.model() == learned_by_hand(slot_lines(4), SLOTS)[0]
    assert [record.status for record in await large.jobs()] == [Status.SUCCEEDED]


# -- pieces ----------------------------------------------------------------------------------------------------------


def test_pieces_are_whole_windows_of_so_many_bytes() -> None:
    sizes = {Window(n * 10, n * 10 + 10): size for n, size in enumerate([4, 4, 4, 20, 1, 1])}

    assert cut(sizes, 99, 10) == [(20, 8), (30, 4), (40, 20), (99, 2)]
    assert cut({}, 99) == []


async def test_pieces_that_vw_merges_are_learned_apart(large: World) -> None:
    await large.log(*map(lines, range(4)))
    await large.train(shaped())
    straight = await large.model()

    assert await large.train(shaped(exploration=0.5)) == large.now
    record = await large.job()
    assert (record.pieces, record.done, record.status, record.estimated) == (4, 0, Status.RUNNING, None)
    order = large.sent[:]
    random.Random(1).shuffle(order)
    for piece in order[:2]:
        await large.work(shaped(exploration=0.5), piece)
    record = await large.job()
    assert (record.done, record.events, record.started) == (2, 40, large.now)
    assert record.estimated is not None
    assert 60 <= record.estimated <= 100
    for piece in [*order[2:], *order]:
        await large.work(shaped(exploration=0.5), piece)

    version, record = await large.version(), await large.job()
    assert version.shards == [(T0 + n * WINDOW, T0 + (n + 1) * WINDOW) for n in range(4)]
    assert (version.events, version.learned, version.trained_through) == (80, 80, T0 + 4 * WINDOW)
    assert (record.done, record.events, record.estimated, record.status) == (4, 80, 80, Status.SUCCEEDED)
    losses = [learned_by_hand(lines(n))[1] for n in range(4)]
    assert version.reward == pytest.approx(-sum(losses) / 80, rel=1e-5)
    assert await large.model() != straight
    assert await large.left() == []
    # Learning goes on from it, and a straight run is what that gives.
    merged = await large.model()
    await large.log(lines(4))
    await large.train(shaped(exploration=0.5))
    assert await large.model() == learned_by_hand(lines(4), "", merged)[0]


async def test_others_go_on_from_each_other_and_are_one_run_bit_for_bit(large: World) -> None:
    await large.log(*map(lines, range(3)))
    await large.train(shaped())
    sequential = replace(shaped(OTHER), merges=False)
    await large.train(sequential)
    assert [piece.number for piece in large.sent] == [0]
    await large.work(sequential, msgspec.structs.replace(large.sent[0], number=2))  # before its time
    await large.work_all(sequential)

    assert await large.model() == learned_by_hand([x for n in range(3) for x in lines(n)], OTHER)[0]
    assert (await large.version()).shards == []
    assert (await large.job()).events == 60


@pytest.mark.no_cover
@pytest.mark.parametrize("merges", [True, False])
@pytest.mark.parametrize("after", [False, True])
async def test_whoever_is_killed_costs_a_piece_and_nothing_else(
    merges: bool, after: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Killed at each storage call of all workers in turn, its message delivered again."""
    monkeypatch.setattr(renewal, "PIECE_BYTES", 1)
    models = set()
    for at in itertools.count():
        world, calls, killed = World(), 0, False
        await world.log(*map(lines, range(3)))
        await world.train(shaped())
        changed = replace(shaped(OTHER), merges=merges)

        async def gate(name: str, done: bool, at: int = at) -> None:
            nonlocal calls
            if done is after:
                calls += 1
                if calls == at + 1:
                    raise Killed

        await world.train(changed)
        while world.sent:
            piece = world.sent.pop(0)
            try:
                await world.work(changed, piece, WatchedBlobs(world.blobs, gate))
            except Killed:
                killed = True
                await world.work(changed, piece)
        if (await world.version()).lineage != changed.lineage:
            world.now += renewer.AGAIN  # the one killed had yet to send the next
            await world.train(changed)
            await world.work_all(changed)
        await world.train(changed)
        models.add(await world.model())
        record = await world.job()
        assert (record.status, record.version) == (Status.SUCCEEDED, (await world.version()).version)
        assert len(await world.jobs()) == 1
        if not killed:
            break
    assert at > 20
    assert len(models) == 1
    if not merges:
        assert models == {learned_by_hand([x for n in range(3) for x in lines(n)], OTHER)[0]}


async def test_a_lost_message_is_sent_again(large: World) -> None:
    await large.log(*map(lines, range(3)))
    await large.train(shaped())
    await large.train(shaped(OTHER))
    await large.work(shaped(OTHER), large.sent[0])
    large.sent.clear()
    held, state = await renewal.load(large.blobs, LOOP)
    assert held is not None
    late = msgspec.structs.replace(held, sent=large.now + 1000 - renewer.AGAIN + 1)
    await renewal.save(large.blobs, LOOP, late, state)
    await large.train(shaped(OTHER))
    assert large.sent == [], "it is too soon"
    await large.train(shaped(OTHER))

    assert [piece.number for piece in large.sent] == [1, 2]
    await large.work_all(shaped(OTHER))
    assert (await large.job()).status is Status.SUCCEEDED


async def test_pieces_that_are_taken_and_never_end_fail_the_job(large: World) -> None:
    await large.log(lines(0), lines(1))
    await large.train(shaped())
    before = await large.version()
    for _ in range(renewer.VAIN + 1):
        await large.train(shaped(OTHER))
        assert len(large.sent) == 2
        large.sent.clear()
    await large.train(shaped(OTHER))
    await large.train(shaped(OTHER))

    record = await large.job()
    assert record.status is Status.FAILED
    assert record.error == "Pieces were sent 4 times, and none came to an end."
    assert (await large.version(), large.sent) == (before, [])


async def test_a_piece_that_fails_again_and_again_fails_the_job_with_its_reason(large: World) -> None:
    await large.log(lines(0), lines(1))
    await large.train(shaped())
    before = await large.version()
    path = joined.window_path(LOOP, Window(T0, T0 + WINDOW), "dsjson")
    blob = await large.blobs.get(path)
    assert blob is not None
    await large.blobs.put(path, blob.data[:-3], blob.etag, blob.metadata)
    await large.train(shaped(OTHER))
    for n in range(jobs.FAILURES):
        assert (await large.job()).failures == n
        with pytest.raises(StorageError):
            await large.work(shaped(OTHER), large.sent[0])
    await large.work(shaped(OTHER), large.sent[0])  # passed over

    record = await large.job()
    assert record.status is Status.FAILED
    assert (record.error or "").startswith("Piece 1: ")
    await large.log(lines(2))
    await large.train(shaped(OTHER))
    assert (await large.version()).base == before.version, "the old model learns on"


async def test_a_piece_waits_for_whoever_does_not_know_the_settings_yet(large: World) -> None:
    await large.log(lines(0), lines(1))
    await large.train(shaped())
    await large.train(shaped(OTHER))

    with pytest.raises(StorageError, match="other settings"):
        await large.work(shaped(), large.sent[0])
    assert (await large.job()).failures == 0
    await large.work_all(shaped(OTHER))
    assert (await large.job()).status is Status.SUCCEEDED


async def test_storage_that_does_not_answer_is_no_failure(large: World) -> None:
    await large.log(lines(0), lines(1))
    await large.train(shaped())
    await large.train(shaped(OTHER))

    async def down(name: str, done: bool) -> None:
        if name.startswith("get") and ".dsjson" in name:
            raise Unavailable("down")

    with pytest.raises(Unavailable):
        await large.work(shaped(OTHER), large.sent[0], WatchedBlobs(large.blobs, down))
    record = await large.job()
    assert (record.failures, record.error) == (0, None)


async def test_what_cannot_be_sent_is_done_by_the_train_timer(large: World, monkeypatch: pytest.MonkeyPatch) -> None:
    async def nobody(piece: Piece) -> None:
        raise Unavailable("no queue")

    monkeypatch.setattr(large, "send", nobody)
    await large.log(*map(lines, range(3)))
    await large.train(shaped())
    for _ in range(3):
        assert await large.train(shaped(OTHER)) == large.now, "one piece a run"
    assert await large.train(shaped(OTHER)) is None

    assert (await large.job()).status is Status.SUCCEEDED
    assert len((await large.version()).shards) == 3


async def test_models_that_cannot_be_merged_fail_the_job(large: World, monkeypatch: pytest.MonkeyPatch) -> None:
    def refused(models: Sequence[bytes]) -> bytes:
        raise ModelError("num_bits")

    monkeypatch.setattr(renewer, "merge", refused)
    await large.log(lines(0), lines(1))
    await large.train(shaped())
    before = await large.version()
    await large.train(shaped(OTHER))
    await large.work_all(shaped(OTHER))

    record = await large.job()
    assert (record.status, record.error) == (Status.FAILED, "The pieces cannot be merged: num_bits")
    assert await large.version() == before


@pytest.mark.parametrize("seed", range(4))
async def test_rivals_make_one_model(large: World, seed: int) -> None:
    await large.log(*map(lines, range(4)))
    await large.train(shaped())
    chance = random.Random(seed)

    async def gate(name: str, done: bool) -> None:
        for _ in range(chance.randrange(4)):
            await asyncio.sleep(0)

    changed = shaped(OTHER)
    watched = [WatchedBlobs(large.blobs, gate) for _ in range(3)]
    await asyncio.gather(*(large.train(changed, blobs) for blobs in watched))
    pieces = [*large.sent, *large.sent]
    chance.shuffle(pieces)
    done = await asyncio.gather(
        *(large.work(changed, piece, blobs) for piece, blobs in zip(pieces, itertools.cycle(watched), strict=False)),
        return_exceptions=True,
    )
    assert [error for error in done if error is not None] == []
    large.sent.clear()
    large.now += 1000
    await large.train(changed)
    await large.work_all(changed)
    await large.train(changed)

    version = await large.version()
    assert (version.lineage, version.events) == (changed.lineage, 80)
    assert [record.status for record in await large.jobs()] == [Status.SUCCEEDED]

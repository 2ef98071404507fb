import asyncio
import hashlib
import itertools
import random
from collections.abc import Sequence
from dataclasses import replace

import orjson
import pytest

from shared import jobs
from shared.contract.evaluations import Status
from shared.counters import Counters
from shared.learning import pointer, registry, trainer
from shared.learning.lesson import Job
from shared.learning.model import Learner, ModelError
from shared.learning.registry import Version
from shared.learning.trainer import Trainer, next_export
from shared.log import joined
from shared.log.join import Rules, decode_events, join
from shared.log.joined import Window
from shared.log.records import APPRENTICE, LOGGING_ONLY, MODES, ONLINE, Observed
from shared.storage import StorageError
from shared.storage.memory import MemoryBlobs
from tests.cutoff import Killed
from tests.journalled import LOOP, T0, Rank, SlotRank, WatchedBlobs
from tests.unit.ranking.trained import SINGLE, SLOTS, job, joined_line, trained_model

RULES = Rules(600.0, 0.0, "sum", (-1.0, 1.0))
JOB = job()
OTHER = "--cb_explore_adf --epsilon 0.2 --power_t 0.5 -l 0.5 --cb_type mtr -q Fj"
"""A policy that models of the default one are of no use for."""
WINDOW = 60
DAY = 86_400


def lines(window: int, count: int = 20, mode: str = ONLINE) -> list[bytes]:
    chance = random.Random(window)
    start = T0 + window * WINDOW
    ranks = [Rank(f"{window}-{n}", start + n, chosen=chance.randrange(3), p=0.4, mode=mode) for n in range(count)]
    rewards = [Observed(r.id, r.t + 1, "r", float(r.chosen == 1)) for r in ranks]
    return join(decode_events([r.line() for r in ranks]), rewards, [], RULES).lines


def slot_lines(window: int, count: int = 20, mode: str = ONLINE) -> list[bytes]:
    start = T0 + window * WINDOW
    ranks = [SlotRank(f"{window}-{n}", start + n, mode=mode) for n in range(count)]
    rewards = [Observed(r.id, r.t + 1, "r", 0.0, [("top", n % 2), ("side", n % 3)]) for n, r in enumerate(ranks)]
    return join(decode_events([r.line() for r in ranks]), rewards, [], RULES).lines


class Bench:
    def __init__(self) -> None:
        self.blobs = MemoryBlobs()
        self.counters = Counters()

    async def log(self, *windows: int, count: int = 20) -> None:
        for n in windows:
            await self.log_lines(n, lines(n, count))

    async def log_lines(self, window: int, given: Sequence[bytes]) -> None:
        at = Window(T0 + window * WINDOW, T0 + (window + 1) * WINDOW)
        assert await joined.write(self.blobs, LOOP, at, "dsjson", given)

    async def train(self, windows: int, now: float, frequency: float = 300.0, of: Job = JOB) -> float | None:
        due = replace(of, watermark=T0 + windows * WINDOW, export_frequency=frequency)
        return await Trainer(self.blobs, self.counters).run(due, now)

    async def version(self) -> Version:
        version, _ = await registry.current(self.blobs, LOOP)
        assert version is not None
        return version

    async def model(self) -> bytes:
        return await registry.load(self.blobs, LOOP, await self.version())


@pytest.fixture
def bench() -> Bench:
    return Bench()


def in_one_run(windows: int) -> tuple[bytes, float]:
    return learned_by_hand([line for n in range(windows) for line in lines(n)])


def learned_by_hand(
    given: Sequence[bytes], arguments: str = JOB.arguments, data: bytes | None = None
) -> tuple[bytes, float]:
    """What VW makes of the lines, going on from a model where there is one; and its loss."""
    learner = Learner(arguments, data)
    for line in given:
        learner.learn(line)
    model, loss = learner.save(), learner.loss
    learner.close()
    return model, loss


async def test_learning_in_steps_is_learning_in_one_run_bit_for_bit(bench: Bench) -> None:
    model, loss = in_one_run(6)
    for n, windows in enumerate((1, 2, 5, 6)):
        await bench.log(*range([0, 1, 2, 5][n], windows))
        assert await bench.train(windows, now=1000.0 * (n + 1)) is None

    assert await bench.model() == model
    version = await bench.version()
    assert version.version == registry.version_name(T0 + 6 * WINDOW, model)
    assert version.sha256 == hashlib.sha256(model).hexdigest()
    assert (version.events, version.trained_through, version.arguments) == (120, T0 + 6 * WINDOW, JOB.arguments)
    assert (version.lineage, version.blank) == (JOB.lineage, False)
    assert version.reward == pytest.approx(-loss / 120, rel=1e-5)
    assert (version.first_created, version.created) == (1000.0, 4000.0)
    assert (bench.counters["train.versions"], bench.counters["train.events"]) == (4, 120)


async def test_a_loop_that_learns_for_long_lets_others_have_their_turn(bench: Bench) -> None:
    await bench.log(*range(4))
    seconds = iter(range(0, 1000, 50))
    job = replace(JOB, watermark=T0 + 4 * WINDOW)

    again = await Trainer(bench.blobs, bench.counters, lambda: next(seconds)).run(job, 7.0)

    assert again == 7.0, "it wants another turn at once"
    version = await bench.version()
    assert 0 < version.events < 80
    assert version.trained_through == T0 + version.events // 20 * WINDOW
    assert await bench.train(4, now=8.0) == 300.0, "what was published is not published again before its time"
    assert await bench.train(4, now=300.0) is None
    assert await bench.model() == in_one_run(4)[0]


async def test_each_version_names_its_parent(bench: Bench) -> None:
    await bench.log(0, 1)
    await bench.train(1, now=1000)
    first = await bench.version()
    await bench.train(2, now=2000)

    assert first.parent is None
    assert (await bench.version()).parent == first.version
    assert await registry.load(bench.blobs, LOOP, first), "a version is never taken away"


async def test_a_loop_without_events_gets_no_model(bench: Bench) -> None:
    assert await bench.train(3, now=1000) is None
    assert await bench.blobs.names("") == []


async def test_nothing_new_is_nothing_to_do(bench: Bench) -> None:
    await bench.log(0)
    await bench.train(1, now=1000)
    held = await bench.blobs.names("")

    assert await bench.train(1, now=5000) is None
    assert await bench.blobs.names("") == held


async def test_how_late_a_model_is_is_told_from_when_there_was_news(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def fails(*given: object) -> int:
        raise StorageError("down")

    await bench.log(0, 1)
    one = Trainer(bench.blobs, bench.counters)
    first = replace(JOB, watermark=T0 + WINDOW, export_frequency=300.0)
    assert await one.run(first, 1000.0) is None
    assert bench.counters.take_worst() == {}  # there was none before it

    assert await one.run(first, 90_000.0) is None
    assert bench.counters.take_worst() == {}  # a day old, and knows all that there is
    monkeypatch.setattr(one, "_extend", fails)
    second = replace(first, watermark=T0 + 2 * WINDOW)
    told = []
    for now in (90_000.0, 90_060.0, 90_120.0):
        with pytest.raises(StorageError):
            await one.run(second, now)
        told.append(bench.counters.take_worst())
    monkeypatch.undo()
    assert await one.run(second, 90_180.0) is None
    bench.counters.take_worst()
    assert await one.run(second, 90_240.0) is None

    assert told == [{"model.age": 89_000.0 + n, "model.late": float(n)} for n in (0, 60, 120)]
    assert bench.counters.take_worst() == {}


async def test_a_next_model_that_is_not_due_is_not_late(bench: Bench) -> None:
    await bench.log(0, 1)
    assert await bench.train(1, now=1000.0) is None
    assert await bench.train(2, now=1100.0) == next_export(1000.0, 300.0)

    assert bench.counters.take_worst() == {"model.age": 100.0, "model.late": 0.0}


async def test_windows_past_the_watermark_wait(bench: Bench) -> None:
    await bench.log(0, 1)
    await bench.train(1, now=1000)

    assert (await bench.version()).events == 20


@pytest.mark.parametrize(
    ("created", "frequency", "due"), [(1000, 300, 1200), (1199.9, 300, 1200), (1200, 300, 1500), (7.0, 5, 10)]
)
def test_time_is_cut_into_export_slots(created: float, frequency: float, due: float) -> None:
    assert next_export(created, frequency) == due


async def test_a_slot_has_one_version(bench: Bench) -> None:
    await bench.log(0, 1, 2)
    assert await bench.train(1, now=1000) is None
    assert await bench.train(2, now=1100) == 1200
    assert await bench.train(2, now=1199.9) == 1200
    assert (await bench.version()).events == 20

    assert await bench.train(2, now=1200) is None
    assert (await bench.version()).events == 40
    assert await bench.train(3, now=1201) == 1500


async def test_a_backlog_is_learned_in_one_run_with_versions_on_the_way(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(trainer, "MAX_EVENTS", 50)
    await bench.log(*range(6))

    assert await bench.train(6, now=1000, frequency=30 * 86_400.0) is None

    assert await bench.model() == in_one_run(6)[0]
    assert bench.counters["train.versions"] == 2
    assert (await bench.version()).trained_through == T0 + 6 * WINDOW


REFUSED = b'{"_label_cost":0.0,"refuse":"me"}'


class Picky(Learner):
    """VW that refuses a line."""

    def learn(self, line: bytes) -> None:
        if line == REFUSED:
            raise ModelError("refused")
        super().learn(line)


async def test_lines_that_vw_refuses_are_counted_and_passed(
    bench: Bench, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(trainer, "Learner", Picky)
    given = [*lines(0)[:5], REFUSED, *lines(0)[5:]]
    await joined.write(bench.blobs, LOOP, Window(T0, T0 + WINDOW), "dsjson", given)

    await bench.train(1, now=1000)

    assert bench.counters["train.refused"] == 1
    assert (await bench.version()).events == 20
    assert await bench.model() == in_one_run(1)[0]
    assert "refused by VW" in caplog.text


async def test_a_damaged_parent_is_not_gone_on_from(bench: Bench) -> None:
    await bench.log(0, 1)
    await bench.train(1, now=1000)
    version = await bench.version()
    path = registry.model_path(LOOP, version.version)
    blob = await bench.blobs.get(path)
    assert blob is not None
    await bench.blobs.put(path, blob.data[:-1], blob.etag)

    with pytest.raises(StorageError, match="damaged"):
        await bench.train(2, now=5000)
    assert await bench.version() == version


async def test_a_damaged_log_is_not_learned(bench: Bench) -> None:
    await bench.log(0)
    (path,) = await bench.blobs.names("")
    blob = await bench.blobs.get(path)
    assert blob is not None
    await bench.blobs.put(path, blob.data[:-3], blob.etag, blob.metadata)

    with pytest.raises(StorageError, match="damaged"):
        await bench.train(1, now=1000)
    assert await registry.current(bench.blobs, LOOP) == (None, None)


@pytest.mark.parametrize("seed", range(6))
async def test_rivals_learn_each_window_once(bench: Bench, monkeypatch: pytest.MonkeyPatch, seed: int) -> None:
    monkeypatch.setattr(trainer, "MAX_EVENTS", 50)
    await bench.log(*range(6))
    chance = random.Random(seed)

    async def gate(name: str, done: bool) -> None:
        for _ in range(chance.randrange(5)):
            await asyncio.sleep(0)

    rivals = [Trainer(WatchedBlobs(bench.blobs, gate), bench.counters) for _ in range(3)]
    due = replace(JOB, watermark=T0 + 6 * WINDOW)
    await asyncio.gather(*(rival.run(due, 1000.0) for rival in rivals))
    assert await bench.train(6, now=2000) is None, "a later slot finishes what a rival may have left"

    assert await bench.model() == in_one_run(6)[0]
    assert (await bench.version()).events == 120


async def test_a_run_that_lost_leaves_what_the_other_published(bench: Bench) -> None:
    await bench.log(0, 1)
    raced = False

    async def gate(name: str, done: bool) -> None:
        nonlocal raced
        if name == f"put {registry.pointer_path(LOOP)}" and not done and not raced:
            raced = True
            await bench.train(2, now=1000)

    due = replace(JOB, watermark=T0 + WINDOW)
    # It asks to be called again at once, with what the loop is by then.
    assert await Trainer(WatchedBlobs(bench.blobs, gate), bench.counters).run(due, 1000.0) == 1000.0
    assert await bench.train(1, now=1000.0) is None

    assert bench.counters["train.rivals"] == 1
    assert await bench.model() == in_one_run(2)[0]


# -- which lines are learned -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("multi_slot", [False, True])
def test_a_job_takes_the_lines_of_its_mode_and_problem(mode: str, multi_slot: bool) -> None:
    mine = job(SLOTS if multi_slot else SINGLE, mode)

    taken = {(made, own) for made in (lines, slot_lines) for own in MODES if mine.takes(made(0, 1, own)[0])}

    assert taken == {(slot_lines if multi_slot else lines, mode)}


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("kind", [Rank, SlotRank])
def test_an_event_that_was_never_activated_is_taken_by_no_job(kind: type[Rank], mode: str) -> None:
    (line,) = join(decode_events([kind("e", T0, True, mode=mode).line()]), [], [], RULES).lines
    (activated,) = join(
        decode_events([kind("e", T0, True, mode=mode).line()]), [Observed("e", T0 + 1, "a")], [], RULES
    ).lines

    arguments = SLOTS if kind is SlotRank else SINGLE
    assert not any(job(arguments, own).takes(line) for own in MODES)
    assert [own for own in MODES if job(arguments, own).takes(activated)] == [mode]


@pytest.mark.parametrize("line", [b"", b"garbage", b"[]", b' {"_label_cost":0}'])
def test_what_is_no_joined_line_is_taken_by_no_single_slot_job(line: bytes) -> None:
    assert not JOB.takes(line)


async def test_lines_of_another_mode_or_problem_are_counted_and_passed(bench: Bench) -> None:
    mixed = [*lines(0), *lines(1, 3, APPRENTICE), *slot_lines(2, 4), *lines(3, 5, LOGGING_ONLY), *lines(4)]
    await bench.log_lines(0, mixed)

    await bench.train(1, now=1000)

    assert await bench.model() == learned_by_hand([*lines(0), *lines(4)])[0]
    assert (await bench.version()).events == 40
    assert (bench.counters["train.events"], bench.counters["train.skipped"], bench.counters["train.refused"]) == (
        40,
        12,
        0,
    )


async def test_a_loop_that_changed_its_mode_goes_on_from_its_model_with_what_the_new_mode_teaches(bench: Bench) -> None:
    await bench.log(0)
    await bench.train(1, now=1000)
    await bench.log_lines(1, [*lines(1), *lines(2, 20, APPRENTICE)])

    await bench.train(2, now=2000, of=job(mode=APPRENTICE))

    assert await bench.model() == learned_by_hand([*lines(0), *lines(2, 20, APPRENTICE)])[0]


async def test_a_multi_slot_loop_learns_its_slots(bench: Bench) -> None:
    await bench.log_lines(0, [*slot_lines(0), *lines(0)])
    await bench.log_lines(1, slot_lines(1))
    for windows in (1, 2):
        await bench.train(windows, now=1000.0 * windows, of=job(SLOTS))

    assert await bench.model() == learned_by_hand([*slot_lines(0), *slot_lines(1)], SLOTS)[0]
    current, _ = await registry.current(bench.blobs, LOOP)
    assert current is not None
    assert current.events > 0
    assert current.reward is None, "VW sums the losses of slots in another way"
    assert (await bench.version()).events == 40


# -- a change of policy ----------------------------------------------------------------------------------------------


async def test_a_new_policy_gets_a_model_from_the_log(bench: Bench) -> None:
    await bench.log(0, 1, 2)
    await bench.train(3, now=1000)
    before = await bench.version()

    assert await bench.train(3, now=1001, of=job(OTHER)) is None  # at once: no export slot holds it back

    version = await bench.version()
    wanted, loss = learned_by_hand([line for n in range(3) for line in lines(n)], OTHER)
    assert await bench.model() == wanted
    assert (version.arguments, version.lineage) == (job(OTHER).arguments, job(OTHER).lineage)
    assert (version.events, version.trained_through) == (60, T0 + 3 * WINDOW)
    assert version.reward == pytest.approx(-loss / 60, rel=1e-5)
    assert (version.first_created, version.created, version.parent) == (1000.0, 1001.0, before.version)
    # And it is gone on from.
    await bench.log(3)
    await bench.train(4, now=2000, of=job(OTHER))
    assert await bench.model() == learned_by_hand([line for n in range(4) for line in lines(n)], OTHER)[0]


async def test_a_policy_that_only_explores_otherwise_goes_on_from_the_model(bench: Bench) -> None:
    await bench.log(0)
    await bench.train(1, now=1000)
    await bench.log(1)

    await bench.train(2, now=2000, of=job(SINGLE.replace("--epsilon 0.2", "--epsilon 0.7")))

    assert await bench.model() == in_one_run(2)[0]
    assert bench.counters["train.versions"] == 2


@pytest.mark.parametrize(("days", "first"), [(0, 0), (1, 2), (2, 1), (30, 0)])
async def test_a_new_model_is_built_from_the_last_days(bench: Bench, days: int, first: int) -> None:
    """One window a day, and the last one reaches up to the watermark."""
    a_day = DAY // WINDOW
    windows = [0, a_day, 2 * a_day]
    await bench.log(*windows)
    through = windows[-1] + 1
    await bench.train(through, now=1000)
    assert (await bench.version()).events == 60
    exactly = [n for n in windows if n * WINDOW >= through * WINDOW - days * DAY] if days else windows
    assert exactly == windows[first:]

    await bench.train(through, now=1001, of=replace(job(OTHER), retrain_days=days))

    assert await bench.model() == learned_by_hand([line for n in windows[first:] for line in lines(n)], OTHER)[0]


async def test_what_was_deleted_from_the_log_is_not_learned_again(bench: Bench) -> None:
    await bench.log(0, 1, 2)
    await bench.train(3, now=1000)

    await bench.train(3, now=1001, of=replace(job(OTHER), since=T0 + 2 * WINDOW))

    assert await bench.model() == learned_by_hand(lines(2), OTHER)[0]


async def test_nor_is_it_learned_by_the_first_model(bench: Bench) -> None:
    await bench.log(0, 1, 2)

    await bench.train(3, now=1000, of=replace(JOB, since=T0 + WINDOW))

    assert await bench.model() == learned_by_hand([*lines(1), *lines(2)])[0]


async def test_the_model_before_serves_until_the_new_policy_has_learned_something(bench: Bench) -> None:
    await bench.log(0)
    await bench.train(1, now=1000)
    before = await bench.version()

    assert await bench.train(1, now=2000, of=job(SLOTS)) is None
    await bench.log(1)
    assert await bench.train(2, now=3000, of=job(SLOTS)) is None
    assert await bench.version() == before
    assert bench.counters["train.versions"] == 1
    await bench.log_lines(2, slot_lines(2))
    assert await bench.train(3, now=4000, of=job(SLOTS)) is None

    assert await bench.model() == learned_by_hand(slot_lines(2), SLOTS)[0]
    assert (await bench.version()).parent == before.version


async def test_a_new_model_is_published_when_it_is_whole(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(trainer, "MAX_EVENTS", 30)
    await bench.log(*range(6))
    await bench.train(6, now=1000)
    versions = bench.counters["train.versions"]
    assert versions > 1

    assert await bench.train(6, now=1001, of=job(OTHER)) is None

    assert bench.counters["train.versions"] == versions + 1
    assert (await bench.version()).events == 120


@pytest.mark.parametrize("after", [False, True])
async def test_a_rebuild_that_is_killed_anywhere_is_repeated_to_the_same_bytes(after: bool) -> None:
    wanted, moved = learned_by_hand([line for n in range(3) for line in lines(n)], OTHER)[0], 0
    for at in itertools.count():
        bench, calls = Bench(), 0
        await bench.log(0, 1, 2)
        await bench.train(3, now=1000)
        before = await bench.version()

        async def gate(name: str, done: bool, at: int = at) -> None:
            nonlocal calls
            if done is after:
                calls += 1
                if calls == at + 1:
                    raise Killed

        due = replace(job(OTHER), watermark=T0 + 3 * WINDOW)
        try:
            await Trainer(WatchedBlobs(bench.blobs, gate), bench.counters).run(due, 1001.0)
            break  # nothing was left to be killed at
        except Killed:
            moved += await bench.version() != before
        assert await Trainer(bench.blobs, bench.counters).run(due, 1002.0) is None

        assert await bench.model() == wanted
        assert (await bench.version()).parent == before.version
        (record,) = [await jobs.get(bench.blobs, LOOP, one) for one in await jobs.newest(bench.blobs, LOOP)]
        assert record is not None
        assert (record.status, record.version) == (Status.SUCCEEDED, (await bench.version()).version)
    assert at > 15
    assert 0 < moved < at


async def test_a_rebuild_that_lost_to_a_rival_leaves_what_it_published(bench: Bench) -> None:
    await bench.log(0, 1)
    await bench.train(1, now=1000)
    raced = False

    async def gate(name: str, done: bool) -> None:
        nonlocal raced
        if name == f"put {registry.pointer_path(LOOP)}" and not done and not raced:
            raced = True
            await bench.train(2, now=1001, of=job(OTHER))

    due = replace(job(OTHER), watermark=T0 + 2 * WINDOW)
    assert await Trainer(WatchedBlobs(bench.blobs, gate), bench.counters).run(due, 1001.0) == 1001.0
    assert await bench.train(2, now=1001, of=job(OTHER)) is None

    assert bench.counters["train.rivals"] == 1
    assert await bench.model() == learned_by_hand([*lines(0), *lines(1)], OTHER)[0]
    assert (bench.counters["train.versions"], (await bench.version()).events) == (2, 40)


# -- deleted and imported models -------------------------------------------------------------------------------------


async def test_after_a_deleted_model_only_what_is_joined_later_is_learned(bench: Bench) -> None:
    await bench.log(0, 1)
    await bench.train(2, now=1000)
    await pointer.reset(bench.blobs, LOOP, T0 + 2 * WINDOW, 1001.0)

    assert await bench.train(2, now=1002) is None
    assert (await bench.version()).blank
    await bench.log(2)
    assert await bench.train(3, now=1003) is None  # at once: nothing serves

    version = await bench.version()
    assert await bench.model() == learned_by_hand(lines(2))[0]
    assert (version.blank, version.events, version.parent) == (False, 20, None)
    assert (version.first_created, version.created) == (1003.0, 1003.0)


async def test_a_changed_policy_does_not_bring_a_deleted_model_back(bench: Bench) -> None:
    await bench.log(0, 1)
    await bench.train(2, now=1000)
    await pointer.reset(bench.blobs, LOOP, T0 + 2 * WINDOW, 1001.0)

    assert await bench.train(2, now=1002, of=job(OTHER)) is None
    assert (await bench.version()).blank
    await bench.log(2)
    await bench.train(3, now=2000, of=job(OTHER))

    assert await bench.model() == learned_by_hand(lines(2), OTHER)[0]
    assert (await bench.version()).arguments == job(OTHER).arguments


async def test_a_model_that_is_deleted_while_one_is_trained_stays_deleted(bench: Bench) -> None:
    await bench.log(0, 1)
    await bench.train(1, now=1000)
    raced = False

    async def gate(name: str, done: bool) -> None:
        nonlocal raced
        if name == f"put {registry.pointer_path(LOOP)}" and not done and not raced:
            raced = True
            await pointer.reset(bench.blobs, LOOP, T0 + 2 * WINDOW, 1500.0)

    due = replace(JOB, watermark=T0 + 2 * WINDOW)
    assert await Trainer(WatchedBlobs(bench.blobs, gate), bench.counters).run(due, 1500.0) == 1500.0
    assert await bench.train(2, now=1500) is None

    assert (await bench.version()).blank
    assert bench.counters["train.rivals"] == 1


async def test_a_job_of_an_old_policy_does_not_undo_the_new_one(bench: Bench) -> None:
    """The loop's policy changes while one instance trains; another one builds the new model meanwhile."""
    await bench.log(0, 1)
    await bench.train(1, now=1000)
    raced = False

    async def gate(name: str, done: bool) -> None:
        nonlocal raced
        if name == f"put {registry.pointer_path(LOOP)}" and not done and not raced:
            raced = True
            await bench.train(2, now=1500, of=job(OTHER))

    due = replace(JOB, watermark=T0 + 2 * WINDOW)
    assert await Trainer(WatchedBlobs(bench.blobs, gate), bench.counters).run(due, 1500.0) == 1500.0

    assert (await bench.version()).lineage == job(OTHER).lineage
    assert bench.counters["train.versions"] == 2


async def test_learning_goes_on_from_an_imported_model_as_vw_would(bench: Bench) -> None:
    """Made elsewhere, with other arguments, which are in its file and hold on."""
    elsewhere = trained_model(50, "--cb_explore_adf --epsilon 0.1 -l 0.25 --power_t 0 --cb_type mtr -q Fj -b 16")
    await bench.log(0, 1)
    await bench.train(1, now=1000)
    await pointer.install(bench.blobs, LOOP, elsewhere, JOB.arguments, JOB.lineage, T0 + WINDOW, 1001.0)
    assert await bench.model() == elsewhere

    assert await bench.train(2, now=1002) == 1200
    assert await bench.train(2, now=1200) is None

    assert await bench.model() == learned_by_hand(lines(1), "", elsewhere)[0]
    version = await bench.version()
    assert (version.events, version.first_created, version.created) == (20, 1001.0, 1200.0)
    assert version.lineage == JOB.lineage


async def test_a_log_without_anything_yet_is_passed_on_top_of_an_imported_model(bench: Bench) -> None:
    """The join comes to where the first events are before it has joined any of them."""
    await pointer.install(bench.blobs, LOOP, trained_model(50), JOB.arguments, JOB.lineage, 0, 1001.0)
    listed = 0

    async def gate(name: str, done: bool) -> None:
        nonlocal listed
        listed += name == "names" and done

    due = replace(JOB, watermark=T0)
    assert await Trainer(WatchedBlobs(bench.blobs, gate), bench.counters).run(due, 2000.0) is None

    version = await bench.version()
    assert (version.learned, version.learned_from, version.trained_through) == (0, T0, T0)
    assert listed < 10


async def test_what_vw_forgets_of_a_policy_is_told_it_again(bench: Bench) -> None:
    """l1 is not in the file: without it a model that is gone on from would learn otherwise than one in one run."""
    sparse = SINGLE + " --l1 0.0001"
    await bench.log(0, 1)
    for windows in (1, 2):
        await bench.train(windows, now=1000.0 * windows, of=job(sparse))

    assert await bench.model() == learned_by_hand([*lines(0), *lines(1)], job(sparse).arguments)[0]
    forgotten = learned_by_hand(lines(1), "", learned_by_hand(lines(0), job(sparse).arguments)[0])[0]
    assert await bench.model() != forgotten


async def test_an_imported_model_gives_way_to_a_new_policy(bench: Bench) -> None:
    await bench.log(0, 1)
    await pointer.install(bench.blobs, LOOP, trained_model(50), JOB.arguments, JOB.lineage, T0 + 2 * WINDOW, 1001.0)

    await bench.train(2, now=1002, of=job(OTHER))

    assert await bench.model() == learned_by_hand([*lines(0), *lines(1)], OTHER)[0]


async def test_texts_of_callers_are_no_marks(bench: Bench) -> None:
    """Wherever they stand behind the head of a line, which is the join's own."""
    plain = joined_line(random.Random(1))
    for text in ('"_skipLearn":true', '","_skipLearn":true,"x":"', '"mode":"Apprentice"', '"_outcomes":[{}]'):
        changed = plain.replace(b'"hour":', orjson.dumps(text) + b':1,"hour":').replace(b'"t1"', orjson.dumps(text))
        assert changed != plain
        assert JOB.takes(changed)
        assert not job(mode=APPRENTICE).takes(changed)
        assert not job(SLOTS).takes(changed)

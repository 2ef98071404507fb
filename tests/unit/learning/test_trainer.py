import asyncio
import hashlib
import random
from dataclasses import replace

import pytest

from shared.counters import Counters
from shared.learning import registry, trainer
from shared.learning.model import Learner, ModelError
from shared.learning.registry import Version
from shared.learning.trainer import Job, Trainer, next_export
from shared.log import joined
from shared.log.join import Rules, decode_events, join
from shared.log.joined import Window
from shared.log.records import Observed
from shared.loops.policy import DEFAULT_ARGUMENTS
from shared.storage import StorageError
from shared.storage.memory import MemoryBlobs
from tests.journalled import LOOP, T0, Rank, WatchedBlobs

RULES = Rules(600.0, 0.0, "sum", (-1.0, 1.0))
JOB = Job(LOOP, DEFAULT_ARGUMENTS, T0, 300.0)
WINDOW = 60


def lines(window: int, count: int = 20) -> list[bytes]:
    chance = random.Random(window)
    start = T0 + window * WINDOW
    ranks = [Rank(f"{window}-{n}", start + n, chosen=chance.randrange(3), p=0.4) for n in range(count)]
    rewards = [Observed(r.id, r.t + 1, "r", float(r.chosen == 1)) for r in ranks]
    return join(decode_events([r.line() for r in ranks]), rewards, [], RULES).lines


class Bench:
    def __init__(self) -> None:
        self.blobs = MemoryBlobs()
        self.counters = Counters()

    async def log(self, *windows: int, count: int = 20) -> None:
        for n in windows:
            window = Window(T0 + n * WINDOW, T0 + (n + 1) * WINDOW)
            assert await joined.write(self.blobs, LOOP, window, "dsjson", lines(n, count))

    async def train(self, windows: int, now: float, frequency: float = 300.0) -> float | None:
        job = replace(JOB, watermark=T0 + windows * WINDOW, export_frequency=frequency)
        return await Trainer(self.blobs, self.counters).run(job, now)

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
    learner = Learner(DEFAULT_ARGUMENTS, None)
    for n in range(windows):
        for line in lines(n):
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
    assert (version.events, version.trained_through, version.arguments) == (120, T0 + 6 * WINDOW, DEFAULT_ARGUMENTS)
    assert version.reward == pytest.approx(-loss / 120, rel=1e-5)
    assert (version.first_created, version.created) == (1000.0, 4000.0)
    assert (bench.counters["train.versions"], bench.counters["train.events"]) == (4, 120)


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


class Picky(Learner):
    """VW that refuses a line."""

    def learn(self, line: bytes) -> None:
        if line == b"refuse me":
            raise ModelError("refused")
        super().learn(line)


async def test_lines_that_vw_refuses_are_counted_and_passed(
    bench: Bench, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(trainer, "Learner", Picky)
    given = [*lines(0)[:5], b"refuse me", *lines(0)[5:]]
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
    job = replace(JOB, watermark=T0 + 6 * WINDOW)
    await asyncio.gather(*(rival.run(job, 1000.0) for rival in rivals))
    assert await bench.train(6, now=2000) is None, "a later slot finishes what a rival may have left"

    assert await bench.model() == in_one_run(6)[0]
    assert (await bench.version()).events == 120


async def test_a_run_that_lost_goes_on_from_where_the_other_is(bench: Bench) -> None:
    await bench.log(0, 1)
    raced = False

    async def gate(name: str, done: bool) -> None:
        nonlocal raced
        if name == f"put {registry.pointer_path(LOOP)}" and not done and not raced:
            raced = True
            await bench.train(2, now=1000)

    job = replace(JOB, watermark=T0 + WINDOW)
    assert await Trainer(WatchedBlobs(bench.blobs, gate), bench.counters).run(job, 1000.0) is None

    assert bench.counters["train.rivals"] == 1
    assert await bench.model() == in_one_run(2)[0]

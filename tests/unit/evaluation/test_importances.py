"""Feature importances from what was asked for to what they find, whoever computes them and whoever is killed."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import msgspec
import pytest

from shared import jobs
from shared.child import ChildError
from shared.contract.evaluations import Status
from shared.contract.versions import Version
from shared.evaluation import asked, importances, resources
from shared.evaluation.importance import Task, Weighed, weigh
from shared.evaluation.importances import AGAIN, VAIN, Importances, Weighing
from shared.evaluation.resources import FeatureImportance
from shared.log import joined
from shared.log.buckets import Waits
from shared.log.joined import Window
from shared.loops import policy
from shared.loops.service import ServiceConfiguration
from shared.loops.settings import Loop
from shared.storage import Conflict, StorageError, Unavailable
from shared.storage.memory import MemoryBlobs
from tests.cutoff import Killed
from tests.unit.evaluation import brewed
from tests.unit.evaluation.test_importance import POLICY

ID = "0" * 32
LOOP = Loop(ID, ServiceConfiguration(), policy.read(POLICY), Waits(((0, 600.0),)))
T0 = brewed.T0
NOW = T0 + 7200.0
COUNT = 600


class Dying(MemoryBlobs):
    """Blobs whose process ends before or after the call that is counted down to."""

    left, before = -1, False

    async def _die(self, before: bool) -> None:
        if before == self.before:
            self.left -= 1
            if self.left == 0:
                raise Killed

    async def put(self, path: str, data: bytes, etag: str | None = None, metadata: dict[str, str] | None = None) -> str:
        await self._die(True)
        held = await super().put(path, data, etag, metadata)
        await self._die(False)
        return held

    async def delete(self, path: str) -> None:
        await self._die(True)
        await super().delete(path)
        await self._die(False)


class World:
    """One loop's storage, and instances that work on it."""

    def __init__(self, blobs: MemoryBlobs | None = None) -> None:
        self.blobs = blobs or MemoryBlobs()
        self.sent: list[Weighing] = []
        self.now = NOW
        self.computed = 0
        self.down = False

    async def log(self, count: int = COUNT) -> None:
        """Four windows of a minute each, all together of so many events."""
        lines = list(brewed.lines(count))
        for n in range(4):
            window = Window(T0 + 60 * n, T0 + 60 * n + 60)
            part = lines[n * count // 4 : (n + 1) * count // 4]
            assert await joined.write(self.blobs, ID, window, joined.DSJSON, part)

    def instance(self, apart: Callable[[bytes], bytes] = weigh) -> Importances:
        async def send(piece: Weighing) -> None:
            if self.down:
                raise Unavailable("down")
            self.sent.append(piece)

        async def beside(task: bytes) -> bytes:
            self.computed += 1
            return await asyncio.to_thread(apart, task)

        return Importances(self.blobs, send, beside)

    async def begin(self, name: str = "i1") -> FeatureImportance:
        made = FeatureImportance(
            id=name,
            name="day",
            start=T0,
            end=T0 + 3600.0,
            created=self.now,
            status=Status.RUNNING,
            api_version=Version.V2022,
            job_id=asked.job_id(ID, name, self.now),
        )
        await self.instance().begin(ID, made, asked.of(LOOP, made), self.now)
        return made

    async def held(self, name: str = "i1") -> FeatureImportance | None:
        return await resources.get(self.blobs, ID, FeatureImportance, name)

    async def record(self) -> jobs.Record:
        (job_id, *_) = await jobs.newest(self.blobs, ID)
        record = await jobs.get(self.blobs, ID, job_id)
        assert record is not None
        return record

    async def left(self) -> list[str]:
        return await self.blobs.names(f"loops/{ID}/weighing/")


@pytest.fixture
async def world() -> World:
    made = World()
    await made.log()
    return made


def broken(task: bytes) -> bytes:
    raise ChildError("code -11: it ended")


async def finished(world: World) -> Weighed:
    held = await world.held()
    assert held is not None
    assert held.status is Status.SUCCEEDED
    return msgspec.json.decode(held.content, type=Weighed)


async def test_what_is_sent_is_computed_and_told() -> None:
    world = World()
    await world.log(2000)
    await world.begin()
    assert (await world.record()).status is Status.RUNNING
    (message,) = world.sent

    await world.instance().take(message, NOW + 5)

    found = await finished(world)
    assert (found.learned, found.events, found.features_found) == (1000, 1000, 11)
    assert (found.features[0].feature_name, found.features[0].score) == ("weather", 1.0)
    record = await world.record()
    assert (record.status, record.kind, record.cause) == (Status.SUCCEEDED, "importance", "feature importance i1")
    assert (record.started, record.ended, record.done, record.pieces) == (NOW + 5, NOW + 5, 1, 1)
    assert (record.events, record.estimated) == (2000, 2000)
    assert await world.left() == []
    await world.instance().take(message, NOW + 6)
    assert world.computed == 1


async def test_the_task_is_what_the_settings_were(world: World) -> None:
    made = await world.begin()
    plan, _ = await asked.load(world.blobs, ID, made.job_id)
    assert plan is not None

    task = msgspec.msgpack.decode(await asked.gather(world.blobs, ID, plan), type=Task)

    assert (task.training, task.serving) == (LOOP.learned.training, "--epsilon 0")
    assert (task.excerpt.mode, task.excerpt.multi_slot, task.excerpt.rules) == ("Online", False, plan.rules)
    assert [stretch.start for stretch in task.excerpt.stretches] == [T0 + 60 * n for n in range(4)]


async def test_an_id_is_taken_once(world: World) -> None:
    await world.begin()
    world.now += 1

    with pytest.raises(Conflict):
        await world.begin()

    assert len(await world.left()) == 1
    assert len(world.sent) == 1


@pytest.mark.parametrize("before", [False, True])
async def test_whoever_is_killed_it_ends_in_the_same(before: bool) -> None:
    whole = World()
    await whole.log()
    await whole.begin()
    await whole.instance().take(whole.sent[0], NOW)
    wanted = await finished(whole)

    for step in range(1, 30):
        blobs = Dying()
        world = World(blobs)
        await world.log()
        blobs.before, blobs.left = before, step
        died = False
        try:
            await world.begin()
            await world.instance().take(world.sent[0], NOW)
        except Killed:
            died = True
        blobs.left = -1
        if not died:
            assert step > 8
            break
        if await world.held() is None:  # the caller has no answer, and asks again
            world.now += 1
            await world.begin()
        for message in world.sent:
            await world.instance().take(message, world.now)
        for _ in range(2):
            world.now += AGAIN + 1
            await world.instance().look(ID, world.now)
            for message in world.sent:
                await world.instance().take(message, world.now)
        assert await finished(world) == wanted
        assert await world.left() == []
    else:
        pytest.fail("it never came to an end")


async def test_two_at_once_find_the_same(world: World) -> None:
    await world.begin()

    await asyncio.gather(*(world.instance().take(world.sent[0], NOW) for _ in range(3)))

    assert (await finished(world)).events == 300
    assert await world.left() == []


async def test_a_lost_message_is_sent_again_and_not_for_ever(world: World) -> None:
    await world.begin()
    assert await world.instance().look(ID, NOW + AGAIN - 1)
    assert len(world.sent) == 1

    for n in range(1, VAIN + 2):
        await world.instance().look(ID, NOW + n * (AGAIN + 1))

    assert len(world.sent) == VAIN + 1
    held, record = await world.held(), await world.record()
    assert held is not None
    assert (held.status, record.status) == (Status.TIMEOUT, Status.TIMEOUT)
    assert held.description == record.error == f"It was sent {VAIN + 1} times, and never done."
    assert not await world.instance().look(ID, NOW + 10 * AGAIN)


async def test_where_nobody_else_may_the_timer_does_it(world: World) -> None:
    world.down = True
    await world.begin()

    assert await world.instance().look(ID, NOW + 60)

    assert (await finished(world)).events == 300
    assert not await world.instance().look(ID, NOW + 120)


async def test_what_fails_is_tried_again_and_then_has_failed(world: World) -> None:
    await world.begin()

    for n in range(jobs.FAILURES):
        assert (await world.record()).failures == n
        with pytest.raises(ChildError):
            await world.instance(broken).take(world.sent[0], NOW + n)

    held, record = await world.held(), await world.record()
    assert held is not None
    assert (held.status, record.status, record.ended) == (Status.FAILED, Status.FAILED, NOW + jobs.FAILURES - 1)
    assert held.description == "code -11: it ended"
    assert await world.left() == []
    await world.instance().take(world.sent[0], NOW + 9)
    assert world.computed == jobs.FAILURES


@pytest.mark.parametrize(
    ("fault", "failures", "told"),
    [(Unavailable("down"), 0, None), (StorageError("a window is gone"), 1, "a window is gone")],
)
async def test_a_damaged_log_is_a_failure_and_storage_that_does_not_answer_is_none(
    world: World, monkeypatch: pytest.MonkeyPatch, fault: StorageError, failures: int, told: str | None
) -> None:
    await world.begin()

    async def failing(*given: Any) -> bytes:
        raise fault

    monkeypatch.setattr(asked, "gather", failing)
    with pytest.raises(type(fault)):
        await world.instance().take(world.sent[0], NOW)

    record = await world.record()
    assert (record.running, record.failures, record.error) == (True, failures, told)


async def test_a_canceled_job_ends_it(world: World) -> None:
    made = await world.begin()

    def canceled(record: jobs.Record) -> jobs.Record:
        return record.end(Status.CANCELED, NOW, outcome="It was canceled by a call.")

    async def while_computed(task: bytes) -> bytes:
        await jobs.change(world.blobs, ID, made.job_id, canceled)
        return weigh(task)

    async def nowhere(piece: Weighing) -> None:
        raise AssertionError

    await Importances(world.blobs, nowhere, while_computed).take(world.sent[0], NOW)

    held = await world.held()
    assert held is not None
    assert (held.status, held.description, held.content) == (
        Status.CANCELED,
        "It was canceled by a call.",
        msgspec.Raw(b"null"),
    )
    assert await world.left() == []


async def test_a_job_that_was_canceled_is_settled_by_the_next_look(world: World) -> None:
    made = await world.begin()
    await jobs.change(world.blobs, ID, made.job_id, lambda record: record.end(Status.CANCELED, NOW, outcome="So."))

    assert await world.instance().look(ID, NOW + 60)

    held = await world.held()
    assert held is not None
    assert (held.status, held.description) == (Status.CANCELED, "So.")


async def test_one_that_runs_can_be_deleted(world: World) -> None:
    made = await world.begin()

    await world.instance().delete(ID, made, NOW + 1)

    assert await world.held() is None
    assert await world.left() == []
    assert (await world.record()).outcome == "Its feature importance was deleted."
    await world.instance().take(world.sent[0], NOW + 2)
    assert (world.computed, await world.held()) == (0, None)


async def test_one_of_a_release_before_can_be_deleted(world: World) -> None:
    made = msgspec.structs.replace(await world.begin(), job_id="")

    await world.instance().delete(ID, made, NOW + 1)

    assert await world.held() is None


async def test_what_was_never_stored_is_forgotten(world: World) -> None:
    made = await world.begin()
    await resources.delete(world.blobs, ID, FeatureImportance, made.id)

    assert await world.instance().look(ID, NOW + 60)
    assert len(await world.left()) == 1, "it may be about to be stored"
    await world.instance().look(ID, NOW + AGAIN + 60)

    assert await world.left() == []


async def test_a_rival_look_is_no_matter(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    await world.begin()

    async def beaten(*given: Any) -> None:
        raise Conflict("another one was quicker")

    monkeypatch.setattr(asked, "save", beaten)
    assert await world.instance().look(ID, NOW + AGAIN + 1)


async def test_a_record_is_changed_until_nobody_else_does(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    await world.begin()
    put, tries = world.blobs.put, 0

    async def rivalled(path: str, data: bytes, etag: str | None = None, metadata: Any = None) -> str:
        nonlocal tries
        tries += 1
        if tries == 1:
            held = await world.held()
            assert held is not None
            await put(path, msgspec.json.encode(msgspec.structs.replace(held, description="another's")), etag)
        return await put(path, data, etag, metadata)

    monkeypatch.setattr(world.blobs, "put", rivalled)

    def changed(held: FeatureImportance) -> FeatureImportance:
        return msgspec.structs.replace(held, name="changed")

    found = await resources.change(world.blobs, ID, FeatureImportance, "i1", changed)

    assert found is not None
    assert (found.name, found.description, tries) == ("changed", "another's", 2)
    assert await resources.change(world.blobs, ID, FeatureImportance, "other", changed) is None
    assert await resources.change(world.blobs, ID, FeatureImportance, "i1", changed) == found
    assert tries == 2


def test_of_a_large_log_windows_are_taken_that_are_evenly_spread() -> None:
    held = {Window(60 * n, 60 * n + 60): 10 for n in range(9)}

    assert asked.thinned(held, 90) == list(held)
    assert [window.start for window in asked.thinned(held, 45)] == [0, 120, 240, 360, 480]
    assert [window.start for window in asked.thinned(held, 30)] == [0, 180, 360]
    assert asked.thinned(held, 1) == [Window(0, 60)]
    assert asked.thinned({}, 1) == []


async def test_it_is_computed_in_a_process_of_its_own(world: World) -> None:
    made = await world.begin()
    plan, _ = await asked.load(world.blobs, ID, made.job_id)
    assert plan is not None
    task = await asked.gather(world.blobs, ID, plan)

    assert await importances.in_child(task) == weigh(task)

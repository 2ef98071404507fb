"""Loops over storage in memory, as several instances of the deployment see them."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import replace

import orjson
import pytest

from shared import freshness
from shared.clock import StorageClock
from shared.contract.errors import ApiError
from shared.log import activity
from shared.log.buckets import Waits
from shared.loops.loops import DEFAULT, DEPLOYMENT, NOTICE, REMEMBERED, Loops, settings_path
from shared.loops.service import ServiceConfiguration
from shared.storage import Blob, StorageError, Unavailable
from shared.storage.memory import MemoryBlobs, MemoryTables

NOW = 1_700_000_003.5


class Blobs(MemoryBlobs):
    """Blobs that can be out of reach, and tell of each write before it is made."""

    def __init__(self) -> None:
        super().__init__()
        self.down: set[str] = set()
        self.reads: list[str] = []
        self.before_put: Callable[[str], Awaitable[None]] | None = None

    def _reach(self, path: str) -> None:
        self.reads.append(path)
        if any(path.startswith(prefix) for prefix in self.down):
            raise Unavailable("down")

    async def get(self, path: str) -> Blob | None:
        self._reach(path)
        await asyncio.sleep(0)
        return await super().get(path)

    async def get_changed(self, path: str, etag: str | None) -> Blob | None:
        self._reach(path)
        await asyncio.sleep(0)
        return await super().get_changed(path, etag)

    async def put(self, path: str, data: bytes, etag: str | None = None, metadata: dict[str, str] | None = None) -> str:
        await asyncio.sleep(0)
        if self.before_put is not None:
            hook, self.before_put = self.before_put, None
            await hook(path)
        return await super().put(path, data, etag, metadata)


class Deployment:
    """One storage account, any number of instances, and a clock for all that is moved by hand."""

    def __init__(self) -> None:
        self.steady = 1000.0
        self.tables, self.blobs = MemoryTables(lambda: NOW), Blobs()

    def instance(self) -> Loops:
        clock = StorageClock(lambda: self.tables.put("clock", {"PartitionKey": "c", "RowKey": "p"}), lambda: NOW)
        return Loops(self.tables, self.blobs, clock)

    def later(self, seconds: float) -> None:
        self.steady += seconds


@pytest.fixture
async def deployment(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Deployment]:
    made = Deployment()
    monkeypatch.setattr(freshness.Freshness.__init__, "__defaults__", (lambda: made.steady,))
    yield made


def to(**changes: object) -> Callable[[ServiceConfiguration], ServiceConfiguration]:
    return lambda held: replace(held, **changes)  # type: ignore[arg-type]


async def test_the_first_instance_founds_the_default_loop(deployment: Deployment) -> None:
    loop = await deployment.instance().named(DEFAULT)

    assert len(loop.id) == 32
    assert set(loop.id) <= set("0123456789abcdef")
    assert loop.configuration == ServiceConfiguration()
    assert loop.waits == Waits(((0, 600.0),))
    assert await deployment.blobs.names("") == [DEPLOYMENT, settings_path(loop.id)]


async def test_a_founding_whose_answer_was_lost_stands(deployment: Deployment) -> None:
    put = deployment.blobs.put

    async def repeated(path: str, data: bytes, etag: str | None = None, metadata: dict[str, str] | None = None) -> str:
        if path == DEPLOYMENT:
            await put(path, data, etag, metadata)  # took effect, but the SDK saw no answer and repeats it
        return await put(path, data, etag, metadata)

    deployment.blobs.put = repeated  # type: ignore[method-assign]
    loop = await deployment.instance().named(DEFAULT)

    assert await deployment.blobs.names("") == [DEPLOYMENT, settings_path(loop.id)]
    assert (await deployment.instance().named(DEFAULT)).id == loop.id


async def test_instances_that_start_at_once_found_one_loop(deployment: Deployment) -> None:
    found = await asyncio.gather(*[deployment.instance().named(DEFAULT) for _ in range(5)])

    assert len({loop.id for loop in found}) == 1
    # Settings of those that were not quick enough are cleared away.
    assert await deployment.blobs.names("") == [DEPLOYMENT, settings_path(found[0].id)]
    assert (await deployment.instance().named(DEFAULT)).id == found[0].id


async def test_an_unknown_loop_is_not_found(deployment: Deployment) -> None:
    with pytest.raises(ApiError) as caught:
        await deployment.instance().named("news")

    assert (caught.value.code, caught.value.status) == ("ResourceNotFound", 404)


async def test_a_change_is_seen_at_once_here_and_within_five_seconds_elsewhere(deployment: Deployment) -> None:
    here, there = deployment.instance(), deployment.instance()
    await there.named(DEFAULT)

    changed = await here.configure(DEFAULT, to(default_reward=0.5))

    assert changed.configuration.default_reward == 0.5
    assert (await here.named(DEFAULT)).configuration.default_reward == 0.5
    assert (await there.named(DEFAULT)).configuration.default_reward == 0.0
    deployment.later(5)
    assert (await there.named(DEFAULT)).configuration.default_reward == 0.5
    assert (await deployment.instance().named(DEFAULT)).configuration == changed.configuration


async def test_a_loops_settings_are_read_again_only_after_a_change(deployment: Deployment) -> None:
    loops = deployment.instance()
    path = settings_path((await loops.named(DEFAULT)).id)
    deployment.blobs.reads.clear()

    for _ in range(5):
        deployment.later(5)
        await loops.named(DEFAULT)
    assert deployment.blobs.reads == [DEPLOYMENT] * 5
    await deployment.instance().configure(DEFAULT, to(default_reward=0.5))
    deployment.blobs.reads.clear()
    deployment.later(5)
    await loops.named(DEFAULT)
    assert deployment.blobs.reads == [DEPLOYMENT, path]


async def test_two_changes_at_once_both_hold(deployment: Deployment) -> None:
    first, second = deployment.instance(), deployment.instance()
    await first.named(DEFAULT)
    await second.named(DEFAULT)

    await asyncio.gather(
        first.configure(DEFAULT, to(default_reward=0.5)), second.configure(DEFAULT, to(exploration_percentage=0.7))
    )

    found = (await deployment.instance().named(DEFAULT)).configuration
    assert (found.default_reward, found.exploration_percentage) == (0.5, 0.7)
    counted = await deployment.blobs.get(DEPLOYMENT)
    assert counted
    assert orjson.loads(counted.data)["version"] == 2


async def test_a_change_that_was_overtaken_is_made_of_the_newer_settings(deployment: Deployment) -> None:
    loops = deployment.instance()
    await loops.named(DEFAULT)
    seen: list[float] = []

    async def overtake(path: str) -> None:
        await deployment.instance().configure(DEFAULT, to(default_reward=0.25))

    def change(held: ServiceConfiguration) -> ServiceConfiguration:
        seen.append(held.default_reward)
        return replace(held, exploration_percentage=0.7)

    deployment.blobs.before_put = overtake
    found = (await loops.configure(DEFAULT, change)).configuration

    assert seen == [0.0, 0.25]
    assert (found.default_reward, found.exploration_percentage) == (0.25, 0.7)


async def test_a_change_that_is_counted_meanwhile_is_counted_too(deployment: Deployment) -> None:
    loops = deployment.instance()
    await loops.named(DEFAULT)

    async def count_another(path: str) -> None:
        async def overtake(path: str) -> None:
            assert path == DEPLOYMENT
            await rewrite(deployment, DEPLOYMENT, version=7)

        deployment.blobs.before_put = overtake  # for the write after this one

    deployment.blobs.before_put = count_another
    await loops.configure(DEFAULT, to(default_reward=0.5))

    counted = await deployment.blobs.get(DEPLOYMENT)
    assert counted
    assert orjson.loads(counted.data)["version"] == 8


async def test_a_change_that_is_refused_changes_nothing(deployment: Deployment) -> None:
    loops = deployment.instance()
    before = await loops.named(DEFAULT)

    def refuse(held: ServiceConfiguration) -> ServiceConfiguration:
        raise ApiError("InvalidServiceConfiguration", "no")

    with pytest.raises(ApiError):
        await loops.configure(DEFAULT, refuse)

    deployment.later(5)
    assert await loops.named(DEFAULT) == before


async def test_a_changed_wait_holds_at_once_while_no_event_is_pending(deployment: Deployment) -> None:
    loop = await deployment.instance().configure(DEFAULT, to(reward_wait_time=15.0))

    assert loop.waits == Waits(((0, 15.0),))


async def test_a_changed_wait_is_a_minute_ahead_while_events_are_pending(deployment: Deployment) -> None:
    loops = deployment.instance()
    loop = await loops.named(DEFAULT)
    await activity.note_rows(deployment.tables, activity.span_of(loop.id, 0, 1_699_999_980, loop.waits))

    changed = await loops.configure(DEFAULT, to(reward_wait_time=15.0))

    assert NOTICE == 60
    assert changed.waits == Waits(((0, 600.0), (1_700_000_065, 15.0)))
    assert changed.configuration.reward_wait_time == 15.0
    assert (await deployment.instance().named(DEFAULT)).waits == changed.waits


async def test_another_loops_pending_events_do_not_delay_a_wait(deployment: Deployment) -> None:
    loops = deployment.instance()
    loop = await loops.named(DEFAULT)
    await activity.note_rows(deployment.tables, activity.span_of("f" * 32, 0, 1_699_999_980, loop.waits))

    assert (await loops.configure(DEFAULT, to(reward_wait_time=15.0))).waits == Waits(((0, 15.0),))


async def test_a_wait_that_stays_is_not_a_new_step(deployment: Deployment) -> None:
    loops = deployment.instance()
    loop = await loops.named(DEFAULT)
    await activity.note_rows(deployment.tables, activity.span_of(loop.id, 0, 1_699_999_980, loop.waits))

    assert (await loops.configure(DEFAULT, to(default_reward=0.5))).waits == loop.waits


async def test_waits_that_no_event_can_need_are_forgotten(deployment: Deployment) -> None:
    loops = deployment.instance()
    loop = await loops.named(DEFAULT)
    blob = await deployment.blobs.get(settings_path(loop.id))
    assert blob
    old = int(NOW) - REMEMBERED
    stored = orjson.loads(blob.data)
    stored["waits"] = [[0, 100.0], [old - 100, 200.0], [old - 50, 300.0], [old + 100, 600.0]]
    await deployment.blobs.put(settings_path(loop.id), orjson.dumps(stored), blob.etag)
    await activity.note_rows(deployment.tables, activity.span_of(loop.id, 0, 1_699_999_980, loop.waits))

    changed = await loops.configure(DEFAULT, to(reward_wait_time=15.0))

    assert changed.waits == Waits(((old - 50, 300.0), (old + 100, 600.0), (1_700_000_065, 15.0)))


async def test_a_loop_that_was_never_seen_is_unavailable_while_storage_is_away(deployment: Deployment) -> None:
    deployment.blobs.down = {""}
    loops = deployment.instance()

    with pytest.raises(Unavailable):
        await loops.named(DEFAULT)

    deployment.blobs.down = set()
    deployment.later(5)
    assert (await loops.named(DEFAULT)).configuration == ServiceConfiguration()


@pytest.mark.parametrize("down", ["deployment.json", "loops/", ""])
async def test_what_was_seen_stands_while_storage_is_away(deployment: Deployment, down: str) -> None:
    loops = deployment.instance()
    before = await loops.named(DEFAULT)
    await deployment.instance().configure(DEFAULT, to(default_reward=0.5))
    deployment.blobs.down = {down}

    for _ in range(3):
        deployment.later(5)
        assert await loops.named(DEFAULT) == before

    deployment.blobs.down = set()
    deployment.later(5)
    assert (await loops.named(DEFAULT)).configuration.default_reward == 0.5


async def test_settings_read_while_they_changed_are_not_kept(deployment: Deployment) -> None:
    await deployment.instance().named(DEFAULT)
    loops = deployment.instance()
    read = loops._read

    async def slow(loop_id: str) -> object:
        loop = await read(loop_id)
        if not changed:
            changed.append(True)
            await deployment.instance().configure(DEFAULT, to(default_reward=0.5))
            await loops._freshness.refresh()
        return loop

    changed: list[bool] = []
    loops._read = slow  # type: ignore[method-assign, assignment]
    await loops.named(DEFAULT)

    assert (await loops.named(DEFAULT)).configuration.default_reward == 0.5


async def test_by_id_reads_the_loop_as_it_is_now(deployment: Deployment) -> None:
    here, there = deployment.instance(), deployment.instance()
    loop = await here.named(DEFAULT)
    await there.configure(DEFAULT, to(default_reward=0.5))

    assert (await here.by_id(loop.id)).configuration.default_reward == 0.5
    with pytest.raises(StorageError, match="are gone"):
        await here.by_id("f" * 32)


async def test_the_rules_of_the_join_are_the_loops_settings(deployment: Deployment) -> None:
    loop = await deployment.instance().configure(DEFAULT, to(default_reward=0.5, reward_aggregation="sum"))

    rules = loop.rules()

    assert (rules.loop_id, rules.waits, rules.default_reward, rules.aggregation, rules.reward_range) == (
        loop.id,
        loop.waits,
        0.5,
        "sum",
        (-1.0, 1.0),
    )


async def rewrite(deployment: Deployment, path: str, **members: object) -> None:
    blob = await deployment.blobs.get(path)
    assert blob
    await deployment.blobs.put(path, orjson.dumps({**orjson.loads(blob.data), **members}), blob.etag)


async def test_settings_of_a_later_release_are_refused(deployment: Deployment) -> None:
    loop = await deployment.instance().named(DEFAULT)
    await rewrite(deployment, settings_path(loop.id), format=2)

    with pytest.raises(StorageError, match="format 2"):
        await deployment.instance().named(DEFAULT)


async def test_a_deployment_of_a_later_release_is_refused(deployment: Deployment) -> None:
    await deployment.instance().named(DEFAULT)
    await rewrite(deployment, DEPLOYMENT, format=2)

    with pytest.raises(StorageError):
        await deployment.instance().named(DEFAULT)


async def test_members_of_a_later_release_survive_a_change(deployment: Deployment) -> None:
    await deployment.instance().named(DEFAULT)
    await rewrite(deployment, DEPLOYMENT, comment="kept")

    await deployment.instance().configure(DEFAULT, to(default_reward=0.5))

    blob = await deployment.blobs.get(DEPLOYMENT)
    assert blob
    assert orjson.loads(blob.data)["comment"] == "kept"


async def test_a_deployment_that_vanishes_is_an_error_for_a_change(deployment: Deployment) -> None:
    loops = deployment.instance()
    await loops.named(DEFAULT)
    await deployment.blobs.delete(DEPLOYMENT)

    with pytest.raises(StorageError, match="is gone"):
        await loops.configure(DEFAULT, to(default_reward=0.5))


async def test_a_loop_that_is_taken_out_of_the_deployment_is_not_found(deployment: Deployment) -> None:
    loops = deployment.instance()
    await loops.named(DEFAULT)
    await rewrite(deployment, DEPLOYMENT, loops={}, version=1)
    deployment.later(5)

    with pytest.raises(ApiError) as caught:
        await loops.named(DEFAULT)

    assert caught.value.code == "ResourceNotFound"

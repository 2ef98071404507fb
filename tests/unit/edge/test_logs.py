"""Log calls, and the settings of a log's mirror, over storage in memory and a clock that is moved by hand."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import orjson
import pytest

from shared.access.roles import LOOP_KEY
from shared.app import App
from shared.config import Config
from shared.contract.errors import ApiError
from shared.contract.versions import Version
from shared.edge import configurations, logs
from shared.edge.calls import Call, Reply
from shared.log import checkpoint as checkpoints
from shared.log import joined
from shared.log.checkpoint import Checkpoint
from shared.log.joined import Window
from shared.log.mirror import progress_path
from shared.loops.loops import DEFAULT
from shared.storage import Unavailable
from shared.storage.memory import MemoryBlobs, MemoryContainer, MemoryContainers, MemoryTables

T0 = 1_700_000_040
MIDNIGHT = T0 // 86_400 * 86_400
BODY = orjson.dumps({"actions": [{"id": f"a{n}", "features": [{"x": n}]} for n in range(3)]})
SECRET = "c2VjcmV0"
URI = f"https://account.blob.core.windows.net/container?sp=rwdl&sig={SECRET}"


class World:
    """An app and its storage in memory."""

    def __init__(self) -> None:
        self.now = T0 + 1.5
        self.tables, self.blobs, self.containers = MemoryTables(lambda: self.now), MemoryBlobs(), MemoryContainers()
        self.open_to: list[str] = []
        self.app = App(Config("", "k", log_deadline=5.0), self.tables, self.blobs, open_container=self._open)
        self.app.clock.local = lambda: self.now

    @asynccontextmanager
    async def _open(self, url: str) -> AsyncIterator[MemoryContainer]:
        self.open_to.append(url)
        if "closed" in url:
            raise Unavailable("its storage answers 403 AuthorizationPermissionMismatch")
        async with self.containers.open(url) as container:
            yield container

    async def call(self, body: bytes = b"", version: Version = Version.V2022) -> Call:
        return Call(await self.app.loops.named(DEFAULT), DEFAULT, body, {}, version, roles=LOOP_KEY)

    async def configure(self, version: Version = Version.V2022, **changes: object) -> dict[str, Any]:
        held = orjson.loads((await configurations.get_service_configuration(self.app, await self.call())).body)
        call = await self.call(orjson.dumps({**held, **changes}), version)
        answer: dict[str, Any] = orjson.loads((await configurations.put_service_configuration(self.app, call)).body)
        return answer

    async def hold(self, watermark: int, *starts: int) -> str:
        """Put windows into the loop's log; its id."""
        loop_id = (await self.app.loops.named(DEFAULT)).id
        for start in starts:
            await joined.write(self.blobs, loop_id, Window(start, start + 60), "dsjson", [b"{}"])
        _, etag = await checkpoints.load(self.blobs, loop_id)
        await checkpoints.save(self.blobs, loop_id, Checkpoint(watermark=watermark), etag)
        return loop_id

    async def mirrored_through(self, loop_id: str) -> int | None:
        blob = await self.blobs.get(progress_path(loop_id))
        return orjson.loads(blob.data)["through"] if blob else None


@pytest.fixture
def world(monkeypatch: pytest.MonkeyPatch) -> World:
    made, real = World(), asyncio.sleep

    async def sleep(seconds: float) -> None:
        made.now += max(seconds, 0.0)
        await real(0)

    monkeypatch.setattr(asyncio, "sleep", sleep)
    return made


def said(reply: Reply) -> Any:
    assert reply.status == 200
    return orjson.loads(reply.body)


async def test_the_dates_of_a_log_are_told_until_it_is_deleted(world: World) -> None:
    assert said(await logs.get_log_properties(world.app, await world.call())) == {}
    await world.hold(MIDNIGHT + 600, MIDNIGHT - 3600, MIDNIGHT + 60)
    held = {"dateRange": {"from": "2023-11-13T00:00:00+00:00", "to": "2023-11-14T00:00:00+00:00"}}
    assert said(await logs.get_log_properties(world.app, await world.call())) == held

    reply = await logs.delete_logs(world.app, await world.call())

    assert (reply.status, reply.body) == (204, b"")
    assert said(await logs.get_log_properties(world.app, await world.call())) == {}
    assert world.app.counters["log.cleared"] == 1


async def test_an_event_counts_from_the_answer_on(world: World) -> None:
    loop = await world.app.loops.named(DEFAULT)
    await world.app.ranker.rank(loop, BODY)

    await logs.delete_logs(world.app, await world.call())
    await world.app.ranker.rank(loop, BODY)
    world.now += 3600
    await world.app.join_due()

    assert T0 + 5 < world.now - 3600 < T0 + 6
    checkpoint, _ = await checkpoints.load(world.blobs, loop.id)
    assert checkpoint.events == 1


async def test_uploads_of_local_inference_are_refused(world: World) -> None:
    with pytest.raises(ApiError) as caught:
        await logs.upload(world.app, await world.call(b"x"))
    assert caught.value.code == "InvalidApiAccess"


# -- settings of the mirror ------------------------------------------------------------------------------------------


async def test_a_mirror_that_can_be_written_is_kept_and_begins_at_what_is_joined(world: World) -> None:
    loop_id = await world.hold(T0, T0 - 60)

    answer = await world.configure(logMirrorEnabled=True, logMirrorSasUri=URI)

    assert (answer["logMirrorEnabled"], answer["logMirrorSasUri"]) == (True, URI)
    assert world.open_to == [URI]
    assert world.containers.by_url[URI].blobs == {}
    assert await world.mirrored_through(loop_id) == T0


@pytest.mark.parametrize(
    ("version", "code"),
    [(Version.V2022, "InvalidSasUri"), *((v, "InvalidContainer") for v in Version if v is not Version.V2022)],
)
@pytest.mark.parametrize("uri", [None, URI.replace("https", "http"), URI.replace("container", "closed")])
async def test_one_that_cannot_is_refused_and_nothing_is_changed(
    world: World, version: Version, code: str, uri: str | None
) -> None:
    loop_id = await world.hold(T0, T0 - 60)
    with pytest.raises(ApiError) as caught:
        await world.configure(version, logMirrorEnabled=True, logMirrorSasUri=uri, logRetentionDays=30)

    assert (caught.value.code, caught.value.target) == (code, "logMirrorSasUri")
    assert SECRET not in caught.value.message
    loop = await world.app.loops.by_id(loop_id)
    assert not loop.configuration.log_mirror_enabled
    assert loop.configuration.log_retention_days == 90
    assert await world.mirrored_through(loop_id) is None


async def test_only_a_change_of_the_mirror_is_tried(world: World) -> None:
    loop_id = await world.hold(T0, T0 - 60)
    await world.configure(logMirrorEnabled=False, logMirrorSasUri=URI)
    assert world.open_to == []
    await world.configure(logMirrorEnabled=True)
    await world.hold(T0 + 60, T0)
    await world.configure(logRetentionDays=30)
    assert (world.open_to, await world.mirrored_through(loop_id)) == ([URI], T0)

    other = URI.replace("container", "another")
    await world.configure(logMirrorSasUri=other)
    assert (world.open_to, await world.mirrored_through(loop_id)) == ([URI, other], T0)

    await world.configure(logMirrorEnabled=False)
    await world.configure(logMirrorEnabled=True)
    assert (world.open_to, await world.mirrored_through(loop_id)) == ([URI, other, other], T0 + 60)

"""What becomes of logs on a real Azurite: deleted, expired, mirrored, and gone with their loop."""

import asyncio
import http.server
import logging
import threading
import time
import uuid
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from typing import Any

import orjson
import pytest
from azure.storage.blob import generate_container_sas
from azure.storage.blob.aio import ContainerClient

from localhost.azurite import ACCOUNT, ACCOUNT_KEY, HOST, Azurite
from shared.app import App
from shared.config import Config
from shared.contract.errors import ApiError
from shared.edge import configurations, logs
from shared.edge.calls import Call
from shared.learning import registry
from shared.log import activity, joined
from shared.log import checkpoint as checkpoints
from shared.log.checkpoint import Checkpoint
from shared.log.joined import Window
from shared.loops.loops import DEFAULT
from shared.storage import Blobs
from shared.storage.azure import AzureStorage, open_container
from shared.storage.memory import MemoryBlobs
from tests.integration.timed import TimedTables

DAY = 86_400
HOUR = 3600.0
CONTEXT = [{"when": "noon"}]
ACTIONS = [{"id": f"a{n}", "features": [{"x": n}]} for n in range(3)]


class World:
    """An app on an Azurite of its own; noon of today at first."""

    def __init__(self, azurite: Azurite, storage: AzureStorage) -> None:
        self.now = time.time() // DAY * DAY + DAY / 2 + 1.5
        self.blob_port = azurite.ports.blob
        self.tables, self.blobs = TimedTables(self, storage.tables), storage.blobs
        self.app = self.instance()

    def instance(self) -> App:
        settings = Config(
            "", "k", log_deadline=30.0, reward_deadline=30.0, mirror_hosts=(f"http://{HOST}:{self.blob_port}",)
        )
        app = App(settings, self.tables, self.blobs)
        app.clock.local = lambda: self.now
        return app

    async def rank(self, event_id: str, name: str = DEFAULT, reward: float | None = None) -> None:
        loop = await self.app.loops.named(name)
        body = orjson.dumps({"eventId": event_id, "contextFeatures": CONTEXT, "actions": ACTIONS})
        assert (await self.app.ranker.rank(loop, body)).durable
        if reward is not None:
            await self.app.observer.observe(loop.id, loop.waits, event_id, "r", None, reward)

    async def timers(self) -> None:
        await self.app.join_due()
        await self.app.train_due()
        assert [name for name in self.app.counters.snapshot() if name.endswith(".failed")] == []

    async def call(self, body: object = None, name: str = DEFAULT) -> Call:
        return Call(await self.app.loops.named(name), name, b"" if body is None else orjson.dumps(body), {})

    async def properties(self) -> Any:
        return orjson.loads((await logs.get_log_properties(self.app, await self.call())).body)

    async def configure(self, **changes: object) -> None:
        held = orjson.loads((await configurations.get_service_configuration(self.app, await self.call())).body)
        await configurations.put_service_configuration(self.app, await self.call({**held, **changes}))

    async def events(self, loop_id: str) -> list[str]:
        """What any reader finds in a loop's log."""
        checkpoint, _ = await checkpoints.load(self.blobs, loop_id)
        windows = await joined.windows(self.blobs, loop_id, checkpoint.since, checkpoint.watermark)
        lines = [line for window in windows for line in await joined.read(self.blobs, loop_id, window)]
        return [orjson.loads(line)["EventId"] for line in lines]

    async def learned(self, loop_id: str) -> int:
        version, _ = await registry.current(self.blobs, loop_id)
        return version.events if version else 0

    def day(self, ago: int = 0) -> str:
        return f"{datetime.fromtimestamp(self.now - ago * DAY, UTC):%Y-%m-%d}T00:00:00+00:00"

    def sas_uri(self, container: str, permission: str = "rwdl") -> str:
        """A real shared access signature of the development account."""
        ends = datetime.now(UTC) + timedelta(days=60)
        sas = generate_container_sas(ACCOUNT, container, account_key=ACCOUNT_KEY, permission=permission, expiry=ends)
        return f"http://{HOST}:{self.blob_port}/{ACCOUNT}/{container}?{sas}"


@pytest.fixture
async def world(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[World]:
    with Azurite() as azurite:
        async with AzureStorage(azurite.connection_string) as storage:
            made = World(azurite, storage)
            real = asyncio.sleep

            async def sleep(seconds: float) -> None:
                # Only what waits for the clock that is moved by hand; the SDKs' pauses are real.
                made.now += seconds
                await real(0)

            monkeypatch.setattr(logs, "asyncio", type("Moved", (), {"sleep": staticmethod(sleep)}))
            yield made


async def test_pending_events_of_a_deleted_log_are_never_learned_and_later_ones_are(world: World) -> None:
    loop = await world.app.loops.named(DEFAULT)
    for n in range(5):
        await world.rank(f"joined{n}", reward=1.0)
    world.now += HOUR
    await world.timers()
    assert await world.learned(loop.id) == 5
    assert await world.properties() == {"dateRange": {"from": world.day(), "to": world.day()}}
    for n in range(5):
        await world.rank(f"pending{n}", reward=1.0)
        world.now += 1.0

    assert (await logs.delete_logs(world.app, await world.call())).status == 204
    assert await world.properties() == {}
    assert await world.blobs.names(joined.log_path(loop.id)) == []
    for n in range(3):
        await world.rank(f"later{n}", reward=1.0)
    await world.rank("pending0", reward=0.5)
    world.now += HOUR
    await world.timers()

    assert await world.events(loop.id) == ["later0", "later1", "later2", "pending0"]
    assert await world.learned(loop.id) == 5 + 4
    assert await world.properties() == {"dateRange": {"from": world.day(), "to": world.day()}}
    assert await activity.noted(world.tables) == {}


async def test_the_sweep_expires_old_days_and_keeps_newer_ones(world: World) -> None:
    await world.configure(logRetentionDays=7, modelRetrainDays=0)
    other, _ = await world.app.loops.create("other")
    await world.rank("now")
    world.now += HOUR
    await world.app.join_due()
    loop = await world.app.loops.named(DEFAULT)
    for loop_id in (loop.id, other.id):
        for ago in (40, 9, 8, 7, 6, 1):
            start = int(world.now) // 60 * 60 - ago * DAY
            await joined.write(world.blobs, loop_id, Window(start, start + 60), "dsjson", [b"{}"])
            await joined.write(world.blobs, loop_id, Window(start, start + 60), "observations", [b"{}"])
    await checkpoints.save(world.blobs, other.id, Checkpoint(watermark=int(world.now) // 60 * 60), None)
    assert (await world.properties())["dateRange"] == {"from": world.day(40), "to": world.day()}

    await world.timers()

    assert world.app.counters["log.expired"] == 3 * 2
    assert (await world.properties())["dateRange"] == {"from": world.day(7), "to": world.day()}
    assert len(await world.blobs.names(joined.log_path(other.id))) == 6 * 2


async def test_a_log_is_mirrored_and_its_signature_is_told_to_nobody(
    world: World, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    container, loop = f"mirror-{uuid.uuid4().hex}", await world.app.loops.named(DEFAULT)
    uri = world.sas_uri(container)
    signature = uri.rpartition("sig=")[2]
    with pytest.raises(ApiError, match="404 ContainerNotFound") as caught:
        await world.configure(logMirrorEnabled=True, logMirrorSasUri=uri)
    said = [caught.value.message]
    async with ContainerClient.from_container_url(uri.partition("?")[0], credential=ACCOUNT_KEY) as client:
        await client.create_container()
        forged = uri.replace(signature, "AAAA" + signature[4:])
        for refused in (forged, world.sas_uri(container, "rl")):
            with pytest.raises(ApiError) as caught:
                await world.configure(logMirrorEnabled=True, logMirrorSasUri=refused)
            said.append(caught.value.message)
        await world.rank("before", reward=1.0)
        world.now += HOUR
        await world.timers()
        await world.configure(logMirrorEnabled=True, logMirrorSasUri=uri)
        assert [name async for name in client.list_blob_names()] == []

        for _ in range(2):
            start = int(world.now) // 60 * 60
            await world.rank("first", reward=1.0)
            await world.rank("second")
            world.now += HOUR
            await world.timers()
            await world.timers()

        names = [name async for name in client.list_blob_names()]
        made, day = (datetime.fromtimestamp(at, UTC) for at in (loop.created, start))
        folder = f"{made:%Y%m%d%H%M%S}/data/{day:%Y/%m/%d}"
        assert names == [f"{folder}_{start - int(HOUR):010d}.json", f"{folder}_{start:010d}.json"]
        text = await (await client.download_blob(names[1])).readall()
        windows = await joined.windows(world.blobs, loop.id, start, start + 60)
        assert text.splitlines() == await joined.read(world.blobs, loop.id, windows[0])
        assert [orjson.loads(line)["EventId"] for line in text.splitlines()] == ["first", "second"]

        await client.delete_container()
        await world.rank("third")
        world.now += HOUR
        assert (await world.app.join_due(), await world.app.train_due()) == (1, 1)
    assert world.app.counters["mirror.failed"] > 0
    assert world.app.counters["train.failed"] == 0
    assert "404 ContainerNotFound" in caplog.text
    for text_ in (caplog.text, *said):
        assert signature not in text_
        assert signature[4:] not in text_


async def test_a_deleted_loop_leaves_nothing_behind_and_takes_nothing_of_another(world: World) -> None:
    loop, _ = await world.app.loops.create("gone")
    for name in (DEFAULT, "gone"):
        await world.rank("joined", name, reward=1.0)
    world.now += HOUR
    await world.timers()
    for name in (DEFAULT, "gone"):
        await world.rank("pending", name, reward=1.0)
    await world.blobs.put(f"journal/rank{loop.id}20260101/00_1/w", b"overflow")
    kept = (await world.app.loops.named(DEFAULT)).id

    async def held(loop_id: str) -> list[str]:
        found = [table for table in await world.tables.names("") if loop_id in table]
        found += [path for path in await world.blobs.names("") if loop_id in path]
        spans = (await activity.noted(world.tables)).get(loop_id, [])
        return found + [span.row_key for span in spans]

    before = await held(kept)
    assert len(before) >= 7
    assert len(await held(loop.id)) >= 8
    await world.app.loops.delete("gone")
    world.now += 61
    await world.timers()

    assert await held(loop.id) == []
    assert await held(kept) == before
    world.now += 901
    world.app = world.instance()
    await world.timers()
    assert loop.id not in await world.instance().loops.deleted()
    assert await world.events(kept) == ["joined", "pending"]


# -- somebody else's container ---------------------------------------------------------------------------------------


@contextmanager
def answering(status: int, headers: dict[str, str]) -> Iterator[tuple[int, list[str]]]:
    """A server on loopback that answers everything alike; its port, and what it was asked."""
    asked: list[str] = []

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_PUT(self) -> None:
            asked.append(self.path)
            self.rfile.read(int(self.headers.get("Content-Length", 0)))
            self.send_response(status)
            for name, value in {"Content-Length": "0", **headers}.items():
                self.send_header(name, value)
            self.end_headers()

        do_GET = do_HEAD = do_DELETE = do_PUT

        def log_message(self, *_: object) -> None:
            return

    server = http.server.ThreadingHTTPServer((HOST, 0), Handler)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        yield server.server_address[1], asked
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


@pytest.mark.parametrize("status", [301, 302, 307, 308])
async def test_a_container_sends_us_nowhere_else(status: int) -> None:
    with (
        answering(201, {}) as (inside, asked),
        answering(status, {"Location": f"http://{HOST}:{inside}/"}) as (port, met),
    ):
        uri = f"http://{HOST}:{port}/account/container?sp=rwdl&sig=c2VjcmV0"
        app = App(Config("", "k", mirror_hosts=(f"http://{HOST}:{port}",)), None, MemoryBlobs())  # type: ignore[arg-type]
        with pytest.raises(ApiError, match=str(status)) as caught:
            await app.mirror.check(uri, "InvalidSasUri", time.time())

    assert len(met) >= 1
    assert asked == []
    assert "c2VjcmV0" not in caught.value.message


async def test_a_container_that_does_not_answer_is_said_to(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    with answering(500, {}) as (port, _):
        pass
    app = App(Config("", "k", mirror_hosts=(f"http://{HOST}:{port}",)), None, MemoryBlobs())  # type: ignore[arg-type]
    with pytest.raises(ApiError, match="does not answer") as caught:
        await app.mirror.check(f"http://{HOST}:{port}/account/container?sp=rwdl&sig=c2VjcmV0", "InvalidSasUri", 0.0)
    assert "c2VjcmV0" not in caught.value.message + caplog.text


async def test_a_blob_that_is_gone_already_is_deleted(world: World) -> None:
    container = f"mirror-{uuid.uuid4().hex}"
    uri = world.sas_uri(container)
    async with ContainerClient.from_container_url(uri.partition("?")[0], credential=ACCOUNT_KEY) as client:
        await client.create_container()
    async with open_container(uri) as opened:
        await opened.put("a/b", b"1")
        await opened.put("a/b", b"2")
        await opened.delete("a/b")
        await opened.delete("a/b")


@pytest.mark.parametrize("kind", ["memory", "azurite"])
async def test_folders_are_listed_one_level_deep(kind: str, azurite: Azurite) -> None:
    async def check(blobs: Blobs) -> None:
        prefix = f"loops/{uuid.uuid4().hex}/"
        assert await blobs.folders(prefix) == []
        for name in ("b/2/x", "b/10/y", "a/1", "b", "c/3/4/5", "file"):
            await blobs.put(prefix + name, b"")
        assert await blobs.folders(prefix) == [f"{prefix}{name}/" for name in "abc"]
        assert await blobs.folders(prefix + "b/") == [f"{prefix}b/10/", f"{prefix}b/2/"]
        assert await blobs.folders(prefix + "a/") == []

    if kind == "memory":
        await check(MemoryBlobs())
        return
    async with AzureStorage(azurite.connection_string) as storage:
        await check(storage.blobs)


async def test_folders_of_a_container_that_is_not_there() -> None:
    with Azurite() as azurite:
        async with AzureStorage(azurite.connection_string) as storage:
            assert await storage.blobs.folders("loops/") == []

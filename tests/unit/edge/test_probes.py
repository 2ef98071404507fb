"""What a platform asks without a key: whether an instance is alive and ready, and that it learns no more than that."""

from __future__ import annotations

import asyncio
from typing import Any

import orjson
import pytest

from shared import readiness
from shared.edge.door import enter
from shared.loops.deployment import DEPLOYMENT
from shared.storage import Blob
from tests.unit.edge.inmemory import Blobs, InMemory, error

RANK = {"actions": [{"id": "a", "features": [{"x": 1}]}], "eventId": "e1"}


class Steady:
    """A clock that is moved by hand."""

    now = 0.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def steady(served: InMemory) -> Steady:
    """The clock of the app's readiness."""
    clock = Steady()
    served.app.readiness = readiness.Readiness(served.app.loops, served.app.clock, clock)
    return clock


@pytest.mark.parametrize(("path", "status"), [("health/live", "alive"), ("HEALTH/ready/", "ready")])
@pytest.mark.parametrize("method", ["GET", "HEAD"])
async def test_a_probe_takes_no_key_and_tells_one_word(served: InMemory, method: str, path: str, status: str) -> None:
    response = await served(method, path, ocp_apim_subscription_key="")

    assert (response.status_code, orjson.loads(response.get_body())) == (200, {"status": status})
    assert response.headers["cache-control"] == "no-store"


@pytest.mark.parametrize("path", ["health", "health/", "health/other", "loops/default/health/live"])
async def test_there_is_nothing_beside_them(served: InMemory, path: str) -> None:
    assert (await served("GET", path)).status_code == 404


async def test_a_probe_is_only_asked(served: InMemory) -> None:
    assert (await served("POST", "health/ready")).status_code == 404


async def test_without_storage_an_instance_is_alive_and_not_ready(served: InMemory, steady: Steady) -> None:
    served.tables.down = served.blobs.down = True

    assert (await served("GET", "health/live")).status_code == 200
    refused = await served("GET", "health/ready")

    assert refused.status_code == 503
    assert error(refused) == {
        "code": "OperationNotAllowed", "message": "Not ready: storage does not answer.", "target": "storage",
    }  # fmt: skip
    assert refused.headers["Retry-After"] == "1"
    assert b"secret-name" not in refused.get_body()

    served.tables.down = served.blobs.down = False
    steady.now = readiness.STANDS
    assert (await served("GET", "health/ready")).status_code == 200


async def test_tables_are_asked_once_a_minute(served: InMemory, steady: Steady) -> None:
    served.now = 1_700_000_000.0
    for _ in range(3):
        steady.now += readiness.STANDS
        assert (await served("GET", "health/ready")).status_code == 200
    served.tables.down = True
    steady.now += readiness.STANDS
    assert (await served("GET", "health/ready")).status_code == 200
    served.now += 60.0
    steady.now += readiness.STANDS
    assert error(await served("GET", "health/ready"))["target"] == "storage"


async def test_tables_that_do_not_answer_are_storage_that_does_not(served: InMemory) -> None:
    served.tables.down = True

    assert error(await served("GET", "health/ready"))["target"] == "storage"


async def test_a_deployment_that_cannot_be_read_is_told_from_silent_storage(served: InMemory) -> None:
    await served.blobs.put(DEPLOYMENT, b'{"format":999}')

    refused = error(await served("GET", "health/ready"))

    assert (refused["target"], refused["message"]) == (
        "deployment",
        "Not ready: the deployment's settings cannot be read.",
    )


class Slow(Blobs):
    """Blobs that answer when they are let, and are counted."""

    def __init__(self) -> None:
        super().__init__()
        self.reads = 0
        self.gate = asyncio.Event()

    async def get_changed(self, path: str, etag: str | None) -> Blob | None:
        self.reads += 1
        await self.gate.wait()
        return await super().get_changed(path, etag)


async def test_storage_is_asked_once_however_many_ask(
    served: InMemory, steady: Steady, monkeypatch: pytest.MonkeyPatch
) -> None:
    slow = Slow()
    monkeypatch.setattr(served.app.loops, "_blobs", slow)
    asked: list[asyncio.Future[Any]] = [asyncio.ensure_future(served("GET", "health/ready")) for _ in range(100)]
    await asyncio.sleep(0)
    slow.gate.set()

    assert {(await each).status_code for each in asked} == {200}
    first = slow.reads
    assert first <= 2  # the second founds the deployment
    assert (await served("GET", "health/ready")).status_code == 200
    assert slow.reads == first
    steady.now += readiness.STANDS
    await served("GET", "health/ready")
    assert slow.reads == first + 1


async def test_storage_that_hangs_is_not_waited_for(
    served: InMemory, steady: Steady, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(readiness, "PATIENCE", 0.01)
    monkeypatch.setattr(served.app.loops, "_blobs", Slow())

    assert error(await served("GET", "health/ready"))["target"] == "storage"


async def test_a_probe_is_answered_where_no_call_finds_a_place(served: InMemory) -> None:
    places = served.app.admission.others
    while enter(served.app, "rankloop/v1/health", 0) is not None:
        pass
    held = places.taken

    assert (await served("GET", "rankloop/v1/health")).status_code == 503
    assert (await served("GET", "health/ready")).status_code == 200
    assert (await served("GET", "health/live")).status_code == 200
    assert places.taken == held

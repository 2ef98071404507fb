"""Which model serves: the published one, swapped when it changes, and the one before where it cannot be loaded."""

from __future__ import annotations

import hashlib
import logging

import orjson
import pytest

from shared import freshness
from shared.counters import Counters
from shared.learning import registry
from shared.learning.registry import Version
from shared.ranking.model_cache import Held, ModelCache
from shared.storage import Blob, StorageError, Unavailable
from shared.storage.memory import MemoryBlobs
from tests.unit.ranking.trained import example, trained_model

LOOP = "0123456789abcdef0123456789abcdef"
EXAMPLE = orjson.dumps(example(1, [0, 1, 2, 3]))


class Storage(MemoryBlobs):
    """Blobs that can be out of reach, and count how often they are read."""

    def __init__(self) -> None:
        super().__init__()
        self.down = False
        self.looks = 0

    async def get_changed(self, path: str, etag: str | None) -> Blob | None:
        self.looks += 1
        if self.down:
            raise Unavailable("down")
        return await super().get_changed(path, etag)

    async def publish(self, data: bytes, name: str, sha256: str | None = None) -> None:
        digest = sha256 or hashlib.sha256(data).hexdigest()
        version = Version(name, digest, "", 5, 1, 0.0, 0.0, 0.0)
        _, etag = await registry.current(self, LOOP)
        await self.put(registry.model_path(LOOP, name), data)
        await registry.point(self, LOOP, version, etag)


class Time:
    """A steady clock that stands until it is moved."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def time(monkeypatch: pytest.MonkeyPatch) -> Time:
    clock = Time()
    monkeypatch.setattr(freshness.Freshness.__init__, "__defaults__", (clock,))
    return clock


def greediness(held: Held) -> float:
    """The probability of the best action, which says which epsilon the model was loaded with."""
    assert held.model
    return max(held.model.score(EXAMPLE).distribution)


async def test_a_loop_without_a_model_has_none(time: Time) -> None:
    cache = ModelCache(Storage(), Counters())

    held = await cache.get(LOOP, "--epsilon 0.2")

    assert (held.version, held.model, held.arguments) == (None, None, "--epsilon 0.2")


async def test_the_published_model_serves_with_the_loops_arguments(time: Time) -> None:
    storage = Storage()
    await storage.publish(trained_model(300), "v1")

    held = await ModelCache(storage, Counters()).get(LOOP, "--epsilon 0.4")

    assert held.version
    assert held.version.version == "v1"
    assert greediness(held) == pytest.approx(0.7)


async def test_the_pointer_is_not_looked_at_for_every_call(time: Time) -> None:
    storage, counters = Storage(), Counters()
    await storage.publish(trained_model(300), "v1")
    cache = ModelCache(storage, counters)

    first = await cache.get(LOOP, "--epsilon 0.4")
    for _ in range(10):
        assert await cache.get(LOOP, "--epsilon 0.4") is first

    assert storage.looks == 1


async def test_a_new_version_takes_over_within_five_seconds(time: Time) -> None:
    storage, counters = Storage(), Counters()
    await storage.publish(trained_model(299), "v1")
    cache = ModelCache(storage, counters)
    before = await cache.get(LOOP, "--epsilon 0.4")
    await storage.publish(trained_model(300), "v2")

    assert await cache.get(LOOP, "--epsilon 0.4") is before
    time.now += 5
    held = await cache.get(LOOP, "--epsilon 0.4")

    assert held.version
    assert held.version.version == "v2"
    assert greediness(held) == pytest.approx(0.7)


async def test_changed_arguments_hold_at_once(time: Time) -> None:
    storage, counters = Storage(), Counters()
    await storage.publish(trained_model(300), "v1")
    cache = ModelCache(storage, counters)
    await cache.get(LOOP, "--epsilon 0.4")

    held = await cache.get(LOOP, "--epsilon 0")

    assert greediness(held) == 1.0
    assert storage.looks == 1


async def test_each_loop_has_its_own_model(time: Time) -> None:
    storage = Storage()
    await storage.publish(trained_model(300), "v1")
    cache = ModelCache(storage, Counters())

    assert (await cache.get(LOOP, "")).model is not None
    assert (await cache.get("f" * 32, "")).model is None


async def test_a_model_that_does_not_load_leaves_the_one_before(time: Time, caplog: pytest.LogCaptureFixture) -> None:
    storage, counters = Storage(), Counters()
    await storage.publish(trained_model(300), "v1")
    cache = ModelCache(storage, counters)
    await cache.get(LOOP, "--epsilon 0.4")
    await storage.publish(b"no model", "v2")
    time.now += 5

    with caplog.at_level(logging.ERROR):
        held = await cache.get(LOOP, "--epsilon 0.4")

    assert held.version
    assert held.version.version == "v1"
    assert greediness(held) == pytest.approx(0.7)
    assert counters["model.refused"] == 1
    assert "v2 does not load" in caplog.text
    # It is not tried again with every call, and the next version takes over.
    assert await cache.get(LOOP, "--epsilon 0.4") is held
    assert counters["model.refused"] == 1
    await storage.publish(trained_model(299), "v3")
    time.now += 5
    held = await cache.get(LOOP, "--epsilon 0.4")
    assert held.version
    assert held.version.version == "v3"


async def test_changed_arguments_of_a_model_that_does_not_load_are_tried_once(time: Time) -> None:
    storage, counters = Storage(), Counters()
    await storage.publish(b"no model", "v1")
    cache = ModelCache(storage, counters)
    held = await cache.get(LOOP, "--epsilon 0.4")
    refused = counters["model.refused"]
    assert (held.model, refused > 0) == (None, True)

    for _ in range(5):
        await cache.get(LOOP, "--epsilon 0.4")

    assert counters["model.refused"] == refused


async def test_bytes_that_are_not_the_published_ones_do_not_serve(time: Time) -> None:
    storage, counters = Storage(), Counters()
    await storage.publish(trained_model(299), "v1")
    cache = ModelCache(storage, counters)
    before = await cache.get(LOOP, "")
    # VW would take this one without a word: it is a model, just not the one that was published.
    await storage.publish(trained_model(300), "v2", sha256="0" * 64)
    time.now += 5

    assert await cache.get(LOOP, "") is before


async def test_what_was_seen_goes_on_serving_while_storage_is_away(time: Time) -> None:
    storage = Storage()
    await storage.publish(trained_model(300), "v1")
    cache = ModelCache(storage, Counters())
    before = await cache.get(LOOP, "")
    storage.down = True
    time.now += 60

    assert await cache.get(LOOP, "") is before


async def test_a_model_that_was_never_seen_is_an_error_while_storage_is_away(time: Time) -> None:
    storage = Storage()
    await storage.publish(trained_model(300), "v1")
    storage.down = True
    cache = ModelCache(storage, Counters())

    with pytest.raises(StorageError):
        await cache.get(LOOP, "")

    storage.down = False
    time.now += 5
    assert (await cache.get(LOOP, "")).model is not None

"""Which model serves: the published one, swapped when it changes, and the one before where it cannot be loaded."""

from __future__ import annotations

import asyncio
import hashlib
import logging
from types import SimpleNamespace

import orjson
import pytest

from shared import freshness
from shared.counters import Counters
from shared.learning import pointer, registry
from shared.learning.model import ServingModel
from shared.learning.pointer import Pointer
from shared.learning.registry import Version
from shared.log.buckets import Waits
from shared.loops import policy
from shared.loops.service import ServiceConfiguration
from shared.loops.settings import Loop
from shared.ranking import model_cache
from shared.ranking.model_cache import IDLE, Held, ModelCache
from shared.storage import Blob, StorageError, Unavailable
from shared.storage.memory import MemoryBlobs
from tests.unit.ranking.trained import LOOP, SINGLE, SLOTS, example, slots_example, trained_model

EXAMPLE = orjson.dumps(example(1, [0, 1, 2, 3]))


def loop(exploration: float = 0.4, arguments: str = SINGLE, loop_id: str = LOOP) -> Loop:
    """A loop with an exploration percentage and a policy."""
    configuration = ServiceConfiguration(exploration_percentage=exploration)
    return Loop(loop_id, configuration, policy.read(arguments), Waits(((0, 600.0),)))


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

    async def publish(self, data: bytes, name: str, sha256: str | None = None, arguments: str = SINGLE) -> None:
        digest = sha256 or hashlib.sha256(data).hexdigest()
        version = Version(name, digest, arguments, 5, 1, 0.0, 0.0, 0.0)
        _, etag = await registry.current(self, LOOP)
        await self.put(registry.model_path(LOOP, name), data)
        await pointer.move(self, LOOP, Pointer(version), etag)


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
    monkeypatch.setattr(model_cache, "time", SimpleNamespace(monotonic=clock))
    return clock


def greediness(held: Held) -> float:
    """The probability of the best action, which says which epsilon the model was loaded with."""
    assert held.model
    return max(held.model.score(EXAMPLE).distribution)


async def test_a_loop_without_a_model_has_none(time: Time) -> None:
    cache = ModelCache(Storage(), Counters())

    held = await cache.get(loop(0.2))

    assert (held.version, held.model, held.exploration, held.name) == (None, None, 0.2, b"N/A")


async def test_the_published_model_serves_with_the_loops_exploration(time: Time) -> None:
    storage = Storage()
    await storage.publish(trained_model(300), "v1")

    held = await ModelCache(storage, Counters()).get(loop())

    assert held.version
    assert (held.version.version, held.name) == ("v1", b"v1")
    assert greediness(held) == pytest.approx(0.7)


async def test_the_pointer_is_not_looked_at_for_every_call(time: Time) -> None:
    storage, counters = Storage(), Counters()
    await storage.publish(trained_model(300), "v1")
    cache = ModelCache(storage, counters)

    first = await cache.get(loop())
    for _ in range(10):
        assert await cache.get(loop()) is first

    assert storage.looks == 1


async def test_a_new_version_takes_over_within_five_seconds(time: Time) -> None:
    storage, counters = Storage(), Counters()
    await storage.publish(trained_model(299), "v1")
    cache = ModelCache(storage, counters)
    before = await cache.get(loop())
    await storage.publish(trained_model(300), "v2")

    assert await cache.get(loop()) is before
    time.now += 5
    held = await cache.get(loop())

    assert held.version
    assert held.version.version == "v2"
    assert greediness(held) == pytest.approx(0.7)


async def test_a_changed_exploration_holds_at_once(time: Time) -> None:
    storage, counters = Storage(), Counters()
    await storage.publish(trained_model(300), "v1")
    cache = ModelCache(storage, counters)
    await cache.get(loop())

    held = await cache.get(loop(0))

    assert greediness(held) == 1.0
    assert storage.looks == 1


async def test_each_loop_has_its_own_model(time: Time) -> None:
    storage = Storage()
    await storage.publish(trained_model(300), "v1")
    cache = ModelCache(storage, Counters())

    assert (await cache.get(loop())).model is not None
    assert (await cache.get(loop(loop_id="f" * 32))).model is None


async def test_a_model_that_does_not_load_leaves_the_one_before(time: Time, caplog: pytest.LogCaptureFixture) -> None:
    storage, counters = Storage(), Counters()
    await storage.publish(trained_model(300), "v1")
    cache = ModelCache(storage, counters)
    await cache.get(loop())
    await storage.publish(b"no model", "v2")
    time.now += 5

    with caplog.at_level(logging.ERROR):
        held = await cache.get(loop())

    assert held.version
    assert held.version.version == "v1"
    assert greediness(held) == pytest.approx(0.7)
    assert counters["model.refused"] == 1
    assert "v2 does not load" in caplog.text
    # It is not tried again with every call, and the next version takes over.
    assert await cache.get(loop()) is held
    assert counters["model.refused"] == 1
    await storage.publish(trained_model(299), "v3")
    time.now += 5
    held = await cache.get(loop())
    assert held.version
    assert held.version.version == "v3"


async def test_a_changed_exploration_of_a_model_that_does_not_load_is_tried_once(time: Time) -> None:
    storage, counters = Storage(), Counters()
    await storage.publish(b"no model", "v1")
    cache = ModelCache(storage, counters)
    held = await cache.get(loop())
    refused = counters["model.refused"]
    assert (held.model, refused > 0) == (None, True)

    for _ in range(5):
        await cache.get(loop())

    assert counters["model.refused"] == refused


async def test_bytes_that_are_not_the_published_ones_do_not_serve(time: Time) -> None:
    storage, counters = Storage(), Counters()
    await storage.publish(trained_model(299), "v1")
    cache = ModelCache(storage, counters)
    before = await cache.get(loop())
    # VW would take this one without a word: it is a model, just not the one that was published.
    await storage.publish(trained_model(300), "v2", sha256="0" * 64)
    time.now += 5

    assert await cache.get(loop()) is before


async def test_what_was_seen_goes_on_serving_while_storage_is_away(time: Time) -> None:
    storage = Storage()
    await storage.publish(trained_model(300), "v1")
    cache = ModelCache(storage, Counters())
    before = await cache.get(loop())
    storage.down = True
    time.now += 60

    assert await cache.get(loop()) is before


async def test_a_model_that_was_never_seen_is_an_error_while_storage_is_away(time: Time) -> None:
    storage = Storage()
    await storage.publish(trained_model(300), "v1")
    storage.down = True
    cache = ModelCache(storage, Counters())

    with pytest.raises(StorageError):
        await cache.get(loop())

    storage.down = False
    time.now += 5
    assert (await cache.get(loop())).model is not None


# -- policies --------------------------------------------------------------------------------------------------------


async def test_a_loop_may_explore_everything_or_nothing(time: Time) -> None:
    storage = Storage()
    await storage.publish(trained_model(300), "v1")
    cache = ModelCache(storage, Counters())

    assert greediness(await cache.get(loop(0.0))) == 1.0
    assert greediness(await cache.get(loop(1.0))) == pytest.approx(0.25)
    assert greediness(await cache.get(loop(0.0))) == 1.0


@pytest.mark.parametrize("policy_of_the_loop", [SINGLE, "--cb_explore_adf --first 10"])
async def test_the_versions_own_policy_says_whether_epsilon_is_overridden(time: Time, policy_of_the_loop: str) -> None:
    """A loop's policy may have changed, and the model of the one before serves on until there is a new one."""
    storage, counters = Storage(), Counters()
    softmax = "--cb_explore_adf --softmax --lambda 100 --power_t 0 -l 0.1 --cb_type mtr -q ::"
    await storage.publish(trained_model(300, softmax), "v1", arguments=softmax)
    cache = ModelCache(storage, counters)

    even, wide = await cache.get(loop(0.0, policy_of_the_loop)), await cache.get(loop(1.0, policy_of_the_loop))

    # VW would refuse nothing here, but mix a softmax with an epsilon that its policy does not name.
    assert counters["model.refused"] == 0
    assert greediness(even) == greediness(wide) == greediness(await cache.get(loop(0.4, policy_of_the_loop)))
    assert 0.25 < greediness(even) < 1.0


async def test_a_model_of_a_policy_with_epsilon_explores_as_the_loop_says_though_the_new_policy_has_none(
    time: Time,
) -> None:
    storage = Storage()
    await storage.publish(trained_model(300), "v1")

    held = await ModelCache(storage, Counters()).get(loop(0.4, "--cb_explore_adf --first 10"))

    assert greediness(held) == pytest.approx(0.7)


@pytest.mark.parametrize(("learned", "asked"), [(SINGLE, SLOTS), (SLOTS, SINGLE)])
async def test_a_model_of_the_other_problem_serves_nobody(time: Time, learned: str, asked: str) -> None:
    storage = Storage()
    await storage.publish(trained_model(300, learned), "v1", arguments=learned)
    cache = ModelCache(storage, Counters())
    before = await cache.get(loop(0.4, learned))

    held = await cache.get(loop(0.4, asked))

    assert (held.version, held.model, held.name) == (None, None, b"N/A")
    assert before.model is not None
    # It was not closed: a call that still acts on the loop's settings of a moment ago may be served.
    assert await cache.get(loop(0.4, learned)) is before


async def test_a_model_for_slots_serves_a_loop_with_slots(time: Time) -> None:
    storage = Storage()
    await storage.publish(trained_model(300, SLOTS), "v1", arguments=SLOTS)

    held = await ModelCache(storage, Counters()).get(loop(1.0, SLOTS))

    assert held.model
    assert held.model.multi_slot
    (drawn,) = held.model.score_slots(orjson.dumps(slots_example("e", [0, 1, 2, 3], 1)))
    assert [p for _, p in drawn] == [0.25] * 4


async def test_a_deleted_model_serves_no_longer(time: Time) -> None:
    storage, counters = Storage(), Counters()
    await storage.publish(trained_model(300), "v1")
    cache = ModelCache(storage, counters)
    assert (await cache.get(loop())).model is not None
    await pointer.reset(storage, LOOP, 5, 0.0)
    time.now += 5

    held = await cache.get(loop())

    assert (held.version, held.model, held.exploration, held.name) == (None, None, 0.4, b"N/A")
    assert (await cache.get(loop(0.2))).exploration == 0.2
    assert counters["model.loaded"] == 2  # once with what a new process assumes, once as the loop says
    _, etag = await registry.current(storage, LOOP)
    data = trained_model(299)
    await registry.store(
        storage, LOOP, version := Version("v2", hashlib.sha256(data).hexdigest(), SINGLE, 9, 1, 0, 0, 0), data
    )
    await pointer.move(storage, LOOP, Pointer(version), etag)
    time.now += 5
    assert (await cache.get(loop())).name == b"v2"


# -- what this process does itself -----------------------------------------------------------------------------------


async def test_what_this_process_published_is_looked_at_when_it_says_so(time: Time) -> None:
    storage = Storage()
    await storage.publish(trained_model(299), "v1")
    cache = ModelCache(storage, Counters())
    await cache.get(loop())
    await storage.publish(trained_model(300), "v2")

    await cache.renew(LOOP)

    assert (await cache.get(loop())).name == b"v2"
    storage.down = True
    with pytest.raises(StorageError):
        await cache.renew(LOOP)
    assert (await cache.get(loop())).name == b"v2"


async def test_a_loop_that_nobody_called_needs_no_renewal(time: Time) -> None:
    storage = Storage()

    await ModelCache(storage, Counters()).renew(LOOP)

    assert storage.looks == 0


async def test_models_of_loops_that_nobody_calls_are_dropped_when_another_loop_comes(
    time: Time, monkeypatch: pytest.MonkeyPatch
) -> None:
    storage, counters = Storage(), Counters()
    await storage.publish(trained_model(300), "v1")
    closed: list[ServingModel] = []
    monkeypatch.setattr(ServingModel, "close", lambda model: closed.append(model))
    cache = ModelCache(storage, counters)
    idle = await cache.get(loop(0.0))
    (other, another), loaded = ("e" * 32, "f" * 32), counters["model.loaded"]
    assert closed == []
    time.now += IDLE - 10
    await cache.get(loop(loop_id=other))
    assert closed == []  # not idle for long enough
    time.now += 20

    await cache.get(loop(loop_id=other))
    assert closed == []  # no loop is new
    await cache.get(loop(loop_id=another))

    assert closed == [idle.model]
    # Called again, it is loaded again, and those that were called lately were left alone.
    looks = storage.looks
    assert (await cache.get(loop(0.0))).name == b"v1"
    assert counters["model.loaded"] == loaded + 1
    assert storage.looks == looks + 1
    assert (await cache.get(loop(loop_id=other))).model is None


async def test_a_loop_that_was_never_seen_is_not_dropped(time: Time) -> None:
    storage = Storage()
    storage.down = True
    cache = ModelCache(storage, Counters())
    with pytest.raises(StorageError):
        await cache.get(loop())
    storage.down = False
    time.now += 2 * IDLE

    assert (await cache.get(loop(loop_id="f" * 32))).model is None
    await storage.publish(trained_model(300), "v1")
    assert (await cache.get(loop())).name == b"v1"


async def test_a_loop_that_is_being_called_again_is_not_dropped(time: Time, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its call waits for a look at storage, when a loop that is new comes by."""
    storage = Storage()
    await storage.publish(trained_model(300), "v1")
    closed: list[ServingModel] = []
    cache = ModelCache(storage, Counters())
    await cache.get(loop())
    monkeypatch.setattr(ServingModel, "close", lambda model: closed.append(model))
    time.now += 2 * IDLE
    waiting = asyncio.ensure_future(cache.get(loop()))
    await asyncio.sleep(0)

    await cache.get(loop(loop_id="f" * 32))

    assert (await waiting).name == b"v1"
    assert closed == []


async def test_a_policy_that_only_a_later_release_knows_leaves_the_model_before(
    time: Time, caplog: pytest.LogCaptureFixture
) -> None:
    storage, counters = Storage(), Counters()
    await storage.publish(trained_model(300), "v1")
    cache = ModelCache(storage, counters)
    await cache.get(loop())
    await storage.publish(trained_model(299), "v2", arguments=f"{SINGLE} --of_tomorrow")
    time.now += 5

    held = await cache.get(loop())

    assert held.name == b"v1"
    assert greediness(held) == pytest.approx(0.7)
    assert counters["model.refused"] == 1
    assert "v2 does not load" in caplog.text


async def test_a_model_is_held_with_the_policy_it_was_made_with(time: Time) -> None:
    storage = Storage()
    await storage.publish(trained_model(300), "v1")
    cache = ModelCache(storage, Counters())

    held = await cache.get(loop(0.4, "--cb_explore_adf --first 10 --interactions FFFj"))

    assert held.policy == policy.read(SINGLE)
    assert (await cache.get(loop(loop_id="f" * 32))).policy is None


async def test_a_pointer_that_names_the_same_version_again_loads_nothing(time: Time) -> None:
    storage, counters = Storage(), Counters()
    await storage.publish(trained_model(300), "v1")
    cache = ModelCache(storage, counters)
    held = await cache.get(loop())
    loaded = counters["model.loaded"]
    assert await pointer.change(storage, LOOP, lambda before: before.pinned(1.0))
    time.now += 5

    assert (await cache.get(loop())).model is held.model
    assert counters["model.loaded"] == loaded
    await storage.publish(trained_model(299), "v2")
    time.now += 5
    assert (await cache.get(loop())).name == b"v2"

"""The story of each event on a real Azurite, over HTTP: complete, and with the very answer that its caller got."""

from __future__ import annotations

import hashlib
import random
import time
from collections import Counter
from collections.abc import AsyncIterator
from typing import Any

import azure.functions as func
import msgspec
import orjson
import pytest

from localhost.azurite import Azurite
from shared import app as running
from shared.app import App
from shared.config import Config
from shared.contract.stories import Story, ToldEvent
from shared.edge import web
from shared.learning import pointer, registry
from shared.learning.rebuild import Rebuilder
from shared.learning.registry import MODEL
from shared.log.subject import HEADER
from shared.loops.loops import DEFAULT
from shared.loops.policy import DEFAULT_ARGUMENTS, Problem
from shared.storage.azure import AzureStorage
from tests.integration.timed import TimedTables

DAY, HOUR = 86_400.0, 3600.0
KEY = "k"
API = "personalizer/v1.1-preview.3"
ODD = ["a/b", "a%2Fc d", "é🎉\u2028", 'quo"te\\', "nul\0in", "..", "?x=1&y#z", "x" * 256]
"""Event ids and action ids that something on the way might take for something else."""
ACTIONS: list[dict[str, Any]] = [{"id": f"a{n}", "features": [{"topic": f"t{n}"}]} for n in range(5)]
ODD_ACTIONS = [{"id": name, "features": [{"x": n, "été": {"q": [1, 2]}}]} for n, name in enumerate(ODD)]
BAG = "--cb_explore_adf --bag 3 --power_t 0 -l 0.1 -q ::"


class World:
    """A served app on an Azurite of its own, at noon of some day at first, and what it has answered.

    Attributes:
        answers: the body of each Rank answer, by event id.
        counted: what instances have counted that serve no more.
    """

    def __init__(self, storage: AzureStorage) -> None:
        self.now = time.time() // DAY * DAY + DAY / 2 + 1.5
        self.tables, self.blobs = TimedTables(self, storage.tables), storage.blobs
        self.answers: dict[str, bytes] = {}
        self.chance = random.Random(1)
        self.counted = Counter[str]()
        self.app = self.instance()

    def instance(self) -> App:
        app = App(Config("", KEY, log_deadline=30.0, reward_deadline=30.0), self.tables, self.blobs)
        app.clock.local = lambda: self.now
        return app

    async def call(self, method: str, path: str, body: Any = None, **headers: str) -> func.HttpResponse:
        request = func.HttpRequest(
            method,
            "https://localhost/",
            headers={"ocp-apim-subscription-key": KEY, **headers},
            params={},
            route_params={},
            body=b"" if body is None else body if isinstance(body, bytes) else orjson.dumps(body),
        )
        return await web.serve(request, path)  # decoded, as the host hands it over

    async def done(self, method: str, path: str, body: Any = None, **headers: str) -> bytes:
        response = await self.call(method, path, body, **headers)
        assert response.status_code < 300, response.get_body()
        return response.get_body()

    async def rank(self, event_id: str, reward: float | None = None, deferred: bool = False, **body: Any) -> None:
        slots = "multislot/" if "slots" in body else ""
        given = {"eventId": event_id, "actions": ACTIONS, "contextFeatures": [{"hour": self.chance.randrange(24)}]}
        subject = {HEADER: "somebody"} if deferred else {}
        sent = {**given, "deferActivation": deferred, **body}
        self.answers[event_id] = await self.done("POST", f"{API}/{slots}rank", sent, **subject)
        if reward is not None:
            told = {"reward": [{"slotId": "s0", "value": reward}]} if slots else {"value": reward}
            await self.done("POST", f"{API}/{slots}events/{event_id}/reward", told)

    async def some(self, label: str) -> None:
        """Events of all kinds, of a single-slot loop."""
        for n in range(4):
            await self.rank(f"{label}-{n}", float(n % 2), contextFeatures=[{"guest": f"g{n}", "n": n}])
        await self.rank(f"{label}-excluded", 1.0, excludedActions=["a0", "a3"])
        await self.rank(f"{label}-one left", excludedActions=["a0", "a1", "a2", "a3"])
        await self.rank(f"{label}-odd", 1.0, actions=ODD_ACTIONS, excludedActions=[ODD[1], ODD[4]])
        await self.rank(f"{label}-odder", actions=ODD_ACTIONS, contextFeatures=None)
        await self.rank(f"{label}-waiting", 1.0, deferred=True)
        await self.rank(f"{label}-shown", 1.0, deferred=True)
        await self.done("POST", f"{API}/events/{label}-shown/activate")
        await self.app.journal.drain()

    async def some_slots(self, label: str) -> None:
        """The same of a multi-slot loop."""
        slots: list[dict[str, Any]] = [
            {"id": f"s{n}", "baselineAction": f"a{n}", "features": [{"place": n}]} for n in range(3)
        ]
        for n in range(4):
            await self.rank(f"{label}-{n}", float(n % 2), slots=slots)
        only = [{"id": "s0", "baselineAction": "a0", "excludedActions": ["a2", "a3", "a4"]},
                {"id": "nul\0 slot", "baselineAction": "a1", "excludedActions": ["a2", "a3", "a4"]},
                {"id": "none left?", "baselineAction": "a2", "excludedActions": ["a3", "a4"]},
                {"id": "odd/é", "baselineAction": "a3", "excludedActions": ["a4"]},
                {"id": "surely none", "baselineAction": "a4", "excludedActions": ["a0"]}]  # fmt: skip
        for n in range(2):
            await self.rank(f"{label}-few-{n}", 1.0, slots=only)
        two = [{"id": "s0", "baselineAction": "a0"},
               {"id": "empty", "baselineAction": "a1", "excludedActions": ["a0"]}]  # fmt: skip
        for n in range(8):
            await self.rank(f"{label}-two-{n}", 1.0, actions=ACTIONS[:2], slots=two)
        odd = [{"id": name, "baselineAction": name, "features": None} for name in ODD]
        await self.rank(f"{label}-odd", actions=ODD_ACTIONS, slots=odd)
        await self.rank(f"{label}-deferred", 1.0, deferred=True, slots=slots)
        await self.app.journal.drain()

    async def timers(self, pass_by: float = HOUR) -> None:
        """Let time pass, and the timers run; another instance serves then."""
        self.now += pass_by
        await self.app.join_due()
        await self.app.train_due()
        assert [name for name in self.app.counters.snapshot() if name.endswith(".failed")] == []
        for name, count in self.app.counters.snapshot().items():
            self.counted[name] += count
        self.app = self.instance()

    async def configure(self, **changes: object) -> None:
        held = orjson.loads(await self.done("GET", f"{API}/configurations/service"))
        await self.done("PUT", f"{API}/configurations/service", {**held, **changes})

    async def use(self, arguments: str) -> None:
        await self.configure(isAutoOptimizationEnabled=False)
        await self.done("PUT", f"{API}/configurations/policy", {"name": "x", "arguments": arguments})

    async def story(self, event_id: str) -> Story:
        return msgspec.json.decode(await self.done("GET", f"rankloop/v1/events/{event_id}"), type=Story)

    async def event(self, event_id: str) -> ToldEvent:
        (event,) = (await self.story(event_id)).events
        return event

    async def check(self, state: str = "joined") -> None:
        """Hold every answer so far to what its story computes."""
        for event_id, answer in self.answers.items():
            event = await self.event(event_id)
            assert event.replay.cannot_replay is msgspec.UNSET, event
            assert event.replay.answer is not msgspec.UNSET
            assert bytes(event.replay.answer) == answer, event_id
            assert event.replay.sha256 == hashlib.sha256(answer).hexdigest()
            assert event.replay.same, event_id
            assert (event.state, event.event_id) == (state, event_id)

    async def loop_id(self) -> str:
        return (await self.app.loops.named(DEFAULT)).id

    async def stored(self) -> tuple[int, int]:
        """How many versions have their bytes, and how many their record."""
        listed = await registry.listed(self.blobs, await self.loop_id())
        return sum(MODEL in parts for parts in listed.values()), len(listed)


@pytest.fixture
async def world(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[World]:
    with Azurite() as azurite:
        async with AzureStorage(azurite.connection_string) as storage:
            made = World(storage)
            monkeypatch.setattr(running, "current", lambda: made.app)
            yield made


async def test_every_answer_of_one_slot_is_computed_again_byte_for_byte(world: World) -> None:
    await world.some("no model")
    await world.check("pending")
    await world.timers()
    await world.check()
    before = (await world.event("no model-1")).trained_into
    assert before is not None
    assert (await world.event("no model-1")).ranked.model_version is None

    await world.some("first model")
    await world.configure(explorationPercentage=0.65)
    await world.some("explores more")
    await world.configure(learningMode="Apprentice")
    await world.some("apprentice")
    await world.configure(learningMode="LoggingOnly")
    await world.some("only logged")
    await world.configure(learningMode="Online", explorationPercentage=0.0)
    await world.some("greedy")
    await world.timers()
    await world.some("second model")
    await world.timers()

    await world.check()
    assert (await world.event("first model-1")).ranked.model_version == before
    assert (await world.event("explores more-1")).ranked.exploration == 0.65
    assert (await world.event("second model-1")).ranked.model_version not in (None, before)
    assert [(await world.event(f"{label}-1")).trained_into for label in ("apprentice", "only logged")] == [None, None]


async def test_odd_ids_and_every_answer_of_several_slots_are_computed_again(world: World) -> None:
    for event_id in ODD:
        await world.rank(event_id, 0.5)
    await world.timers()
    await world.use(DEFAULT_ARGUMENTS[Problem.MULTI_SLOT].replace("-l 0.001", "-l 0.1"))
    await world.some_slots("no model")
    await world.timers()
    await world.some_slots("model")
    await world.configure(learningMode="Apprentice")
    await world.some_slots("apprentice")
    await world.configure(learningMode="LoggingOnly")
    await world.some_slots("only logged")
    await world.configure(learningMode="Online")
    await world.timers()

    await world.check()
    empty = [event_id for event_id, answer in world.answers.items() if b'{"id":"empty"}' in answer]
    assert empty, "slots that earlier ones left nothing"
    event = await world.event("model-1")
    assert event.ranked.model_version is not None
    assert event.decision.slots is not msgspec.UNSET
    assert len(event.ranked.seeds) == len(event.decision.slots) == 3
    assert [reward.slot for reward in event.rewards] == ["s0", "s1", "s2"]
    assert [(o.kind, o.slot, o.value, o.counted) for o in event.observations] == [("reward", "s0", 1.0, True)]


async def test_a_story_is_whole(world: World) -> None:
    """Ranked, observed early, late and twice, ranked again, joined, learned."""
    start = world.now
    await world.rank("e", deferred=True)
    await world.done("POST", f"{API}/events/e/activate")
    for value in (0.25, 0.75):
        await world.done("POST", f"{API}/events/e/reward", {"value": value}, **{"x-ms-client-request-id": "one"})
    await world.app.journal.drain()
    pending = await world.event("e")
    assert (pending.state, pending.window, pending.trained_into, pending.rewards) == ("pending", None, None, [])
    assert pending.pending_until is not None
    world.now = start + 30
    await world.rank("e")
    await world.app.journal.drain()
    assert [event.state for event in (await world.story("e")).events] == ["pending", "retry"]
    world.now = start + 700
    await world.done("POST", f"{API}/events/e/reward", {"value": -1.0})
    world.now = start + 900
    await world.rank("e")
    await world.done("POST", f"{API}/events/e/reward", {"value": 0.5})
    await world.timers()
    await world.rank("e", 1.0)
    await world.app.journal.drain()

    story = await world.story("e")
    first, retry, second, third = story.events

    assert [event.state for event in story.events] == ["joined", "retry", "joined", "pending"]
    assert story.missing == []
    assert first.ranked.deferred and first.ranked.subject and not second.ranked.deferred
    assert first.activated == first.observations[0].time
    assert [(o.value, o.arrived, o.counted, o.repeated) for o in first.observations] == [
        (msgspec.UNSET, "inTime", True, False),
        (0.25, "inTime", True, False),
        (0.75, "inTime", False, True),
        (-1.0, "late", False, False),
    ]
    assert [(o.value, o.arrived, o.counted) for o in second.observations] == [(0.5, "inTime", True)]
    assert [(reward.aggregated, reward.learned) for reward in first.rewards] == [(0.25, 0.25)]
    assert first.window is not None and first.window.since <= first.ranked.time < first.window.to
    serving, _ = await registry.current(world.blobs, await world.loop_id())
    assert serving is not None
    assert first.trained_into == second.trained_into == third.ranked.model_version == serving.version
    assert (third.trained_into, third.rewards, retry.observations) == (None, [], [])
    assert all(event.replay.same for event in story.events)


async def learn_often(world: World, label: str, times: int = 8) -> None:
    """Events and a version each ten minutes."""
    for n in range(times):
        for m in range(3):
            await world.rank(f"{label}-{n}-{m}", float(m == 1))
        await world.app.journal.drain()
        await world.timers(601.0)


async def test_what_was_thinned_out_is_rebuilt_from_the_log(world: World) -> None:
    await world.configure(rewardWaitTime="PT15S", modelExportFrequency="PT15S")
    await learn_often(world, "before")
    model = await world.done("GET", f"{API}/model")
    loop = await world.app.loops.named(DEFAULT)
    imported = await pointer.install(
        world.blobs,
        loop.id,
        model,
        loop.policy.training,
        loop.policy.lineage,
        int(world.now) // 5 * 5,
        world.now,
    )
    await world.app.models.renew(loop.id)
    await learn_often(world, "after")
    held, all_ = await world.stored()
    assert held == all_ >= 16

    await world.timers(4 * DAY - world.now % DAY)  # silent loops are swept as a day begins

    left, recorded = await world.stored()
    assert recorded == all_
    assert left <= 8
    assert world.counted["models.thinned"] == held - left
    await world.check()
    assert world.app.counters["models.rebuilt"] >= 6
    assert (await registry.recorded(world.blobs, loop.id, imported.version)) is not None
    await world.timers(HOUR)
    assert await world.stored() == (left, recorded), "it comes to an end"

    await world.timers(90 * DAY)  # the log is gone, and with it what only it needed
    assert (await world.stored())[1] <= 4
    assert (await world.call("GET", "rankloop/v1/events/before-0-0")).status_code == 404


async def test_what_is_not_learned_repeatably_is_kept_and_what_is_gone_is_said(world: World) -> None:
    await world.use(BAG)
    await world.configure(rewardWaitTime="PT15S", modelExportFrequency="PT15S")
    await learn_often(world, "bag", 4)
    held = await world.stored()
    await world.timers(3 * DAY)
    assert await world.stored() == held
    await world.check()

    event = await world.event("bag-2-0")
    assert event.ranked.model_version is not None
    loop_id = await world.loop_id()
    for name in await registry.listed(world.blobs, loop_id):
        await world.blobs.delete(registry.model_path(loop_id, name))
    world.app.rebuilder = Rebuilder(world.blobs, world.app.counters)  # as on an instance that has kept none in memory

    told = (await world.event("bag-3-0")).replay
    assert told.answer is msgspec.UNSET
    assert "its policy does not learn repeatably" in str(told.cannot_replay)


async def test_an_unknown_event_is_not_found(world: World) -> None:
    await world.rank("known")
    await world.done("POST", f"{API}/events/only rewarded/reward", {"value": 1.0})
    await world.app.journal.drain()

    for event_id in ("unknown", "only rewarded"):
        response = await world.call("GET", f"rankloop/v1/events/{event_id}")
        assert (response.status_code, response.headers["x-ms-error-code"]) == (404, "ResourceNotFound")
    response = await world.call("GET", f"rankloop/v1/events/{'x' * 257}")
    assert (response.status_code, response.headers["x-ms-error-code"]) == (400, "InvalidRequest")

"""The published tutorials through the product's own pipeline, in this process and on a clock of the test's own.

Nothing is simulated but time and storage: rank decides with the published model and journals, rewards are observed,
the timers join, train and publish. Each run has fixed seeds, and gives the same figures wherever it runs.
"""

import random
import uuid
from dataclasses import replace

import orjson
import pytest

from demo.coffee import COFFEE
from demo.curve import Curve
from demo.grocery import GROCERY
from demo.scenario import Scenario
from shared.app import App
from shared.config import Config
from shared.learning import registry
from shared.loops.loops import DEFAULT
from shared.loops.service import ServiceConfiguration
from shared.ranking.model_cache import ModelCache
from shared.ranking.rank import Ranker
from shared.storage.memory import MemoryBlobs, MemoryTables

START = 1_800_000_000.0
STEP = 100
"""Events between two models."""
QUICK = 5.0
"""Seconds of the reward wait and between exports."""


class Run:
    """A loop in memory that plays a scenario; a lesson follows on every hundred events."""

    def __init__(self, scenario: Scenario) -> None:
        self.scenario = scenario
        self.curve = Curve()
        self.time = START
        settings = Config(storage="", key="", prune_journal=True)
        self.app = App(settings, MemoryTables(lambda: self.time), MemoryBlobs())
        self.app.clock.local = lambda: self.time
        self.chance = random.Random(7)
        self.actions = [{"id": name, "features": [features]} for name, features in scenario.actions.items()]

    async def play(self, events: int) -> list[float]:
        await self.app.loops.configure(DEFAULT, quick)
        for first in range(0, events, STEP):
            await self.lesson(first)
        return self.curve.rewards

    async def lesson(self, first: int) -> None:
        """A hundred events within one bucket; then time passes, and the timers run."""
        # A cache of its own sees the newest model at once: the product's looks every two seconds of real time.
        app = self.app
        ranker = Ranker(ModelCache(app.blobs, app.counters), app.journal, app.clock, app.counters, 60.0, strict=True)
        loop = await app.loops.named(DEFAULT)
        for n in range(first, first + STEP):
            visit = self.chance.choice(self.scenario.visits)
            event_id = f"{self.scenario.name}-{n}"
            request = {"contextFeatures": visit.context, "actions": self.actions, "eventId": event_id}
            answer = orjson.loads((await ranker.rank(loop, orjson.dumps(request))).body)
            reward = visit.rewards[answer["rewardActionId"]]
            await app.observer.observe(loop.id, loop.waits, event_id, "r", reward, None)
            self.curve.rewards.append(reward)
            self.time += 4.0 / STEP
        self.time += 116.0
        assert await app.join_due() >= 1
        assert await app.train_due() == 1
        version, _ = await registry.current(app.blobs, loop.id)
        assert version is not None
        assert version.events == len(self.curve.rewards)


def quick(held: ServiceConfiguration) -> ServiceConfiguration:
    return replace(held, reward_wait_time=QUICK, model_export_frequency=QUICK)


@pytest.fixture(autouse=True)
def _same_ids(monkeypatch: pytest.MonkeyPatch) -> None:
    """The loop's id is part of every draw's seed."""
    monkeypatch.setattr(uuid, "uuid4", lambda: uuid.UUID(int=2026))


def mean(rewards: list[float]) -> float:
    return sum(rewards) / len(rewards)


async def test_grocery_reaches_what_exploration_leaves() -> None:
    rewards = await Run(GROCERY).play(5_000)

    print(f"grocery: first 1,000 {mean(rewards[:1000]):.3f}, last 1,000 {mean(rewards[-1000:]):.3f}")
    assert mean(rewards[-1000:]) >= 0.86


async def test_coffee_learns_what_pairs_of_features_can_tell() -> None:
    rewards = await Run(COFFEE).play(10_000)

    print(f"coffee: first 1,000 {mean(rewards[:1000]):.3f}, last 1,000 {mean(rewards[-1000:]):.3f}")
    assert mean(rewards[-1000:]) >= 0.42
    assert mean(rewards[-1000:]) > mean(rewards[:1000])


async def test_the_same_run_gives_the_same_model() -> None:
    versions = []
    for _ in range(2):
        run = Run(COFFEE)
        await run.play(300)
        versions.append((await registry.current(run.app.blobs, (await run.app.loops.named(DEFAULT)).id))[0])

    assert versions[0] == versions[1]

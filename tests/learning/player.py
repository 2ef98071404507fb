"""Turns a tutorial into the rewards it earns: the product's own pipeline in this process, on a clock of the run's own.

Nothing is simulated but time and storage: rank decides with the published model and journals, rewards are observed, the
timers join, train and publish. A run has fixed seeds, and gives the same figures wherever it runs.
"""

from __future__ import annotations

import random
import uuid
from dataclasses import replace
from unittest.mock import patch

import orjson

from bench.learning.course import STEP
from demo.curve import Curve
from demo.scenario import Scenario
from shared.app import App
from shared.config import Config
from shared.learning import registry
from shared.loops import policy
from shared.loops.loops import DEFAULT
from shared.loops.settings import Loop
from shared.ranking.model_cache import ModelCache
from shared.ranking.ranker import Ranker
from shared.storage.memory import MemoryBlobs, MemoryTables

START = 1_800_000_000.0
SEED = 7
"""Of what comes in."""
QUICK = 5.0
"""Seconds of the reward wait and between exports."""
_LOOP = uuid.UUID(int=2026)
"""The loop's id, since it is part of every draw's seed."""


class Player:
    """A loop in memory that plays a scenario with a policy; a lesson follows on every hundred events."""

    def __init__(self, scenario: Scenario, arguments: str) -> None:
        self.scenario = scenario
        self.policy = policy.read(arguments)
        self.curve = Curve()
        self.time = START
        settings = Config(storage="", key="", prune_journal=True)
        self.app = App(settings, MemoryTables(lambda: self.time), MemoryBlobs())
        self.app.clock.local = lambda: self.time
        self.chance = random.Random(SEED)
        self.actions = [{"id": name, "features": [features]} for name, features in scenario.actions.items()]

    async def play(self, events: int) -> Curve:
        """What so many events earn; a multiple of a hundred."""
        with patch.object(uuid, "uuid4", lambda: _LOOP):
            await self.app.loops.change(DEFAULT, self._quick)
        for first in range(0, events, STEP):
            await self._lesson(first)
        return self.curve

    async def _lesson(self, first: int) -> None:
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
            await app.observer.observe(loop.id, loop.waits, event_id, "r", None, reward)
            self.curve.rewards.append(reward)
            self.time += 4.0 / STEP
        self.time += 116.0
        assert await app.join_due() >= 1
        assert await app.train_due() == 1
        version, _ = await registry.current(app.blobs, loop.id)
        assert version is not None
        assert version.events == len(self.curve.rewards)

    def _quick(self, loop: Loop) -> Loop:
        configuration = replace(loop.configuration, reward_wait_time=QUICK, model_export_frequency=QUICK)
        return replace(loop, configuration=configuration, policy=self.policy)
